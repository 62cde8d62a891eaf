"""Models of every family from a hub: preprocessed and tokenized as by open_clip, fetched once, resumed and verified."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagesim.embedders import lite, model_files, model_spec
from imagesim.embedders.openclip import OpenClipEmbedder
from imagesim.embedders.process import import_torchvision
from imagesim.exceptions import EmbedderError
from tests.clip_families import FAMILIES, Family, configuration, write, write_tokenizer
from tests.model_hub import ModelHub, serve

ROOT = Path(__file__).parent.parent
TEXTS = ["red dress", "", "It&#39;s   half_price: “blue” JEANS!", "日本の着物 🧥", "many yellow flowers " * 40]
SOURCES = ("hf-hub", "pinned", "local-dir", "tag")


@pytest.fixture(scope="module")
def server() -> Iterator[ModelHub]:
    """A hub with a repository of each family, under its published name."""
    with serve() as running, pytest.MonkeyPatch.context() as patch:
        use(running.url, patch)
        yield running


@pytest.fixture(autouse=True)
def _as_new(server: ModelHub) -> Iterator[None]:
    server.requests.clear()
    yield
    server.cut_after, server.refused_after_cut, server.damaged = None, False, False
    server.gated.clear()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client does not wait before it tries again, and keeps the part of a small file that it has, too."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)


@pytest.fixture(scope="module")
def repositories(server: ModelHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path, str]]:
    """The name, the folder and the commit of each family's repository."""
    import_torchvision()
    from open_clip.pretrained import get_pretrained_cfg

    made = {}
    root = tmp_path_factory.mktemp("hub")
    for title, family in FAMILIES.items():
        name = get_pretrained_cfg(family.model, family.tag)["hf_hub"].rstrip("/")
        folder = write(root / name.replace("/", "--"), family)
        text = configuration(family)["text_cfg"]
        if "hf_tokenizer_name" in text:
            write_tokenizer(folder, title)
        if text.get("hf_tokenizer_name", name) != name:
            server.add(text["hf_tokenizer_name"], folder)
        made[title] = (name, folder, server.add(name, folder))
    return made


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the tests that do not examine it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """open_clip's own architectures are the small ones, so that a tag loads one of them."""
    import_torchvision()
    from open_clip import add_model_config, factory

    folder = tmp_path_factory.mktemp("model_configs")
    for family in FAMILIES.values():
        config = configuration(Family(**{**vars(family), "configuration": ""}))
        (folder / f"{family.model}.json").write_text(json.dumps(config))
        if family.configuration:
            (folder / f"{family.configuration}.json").write_text(json.dumps(configuration(family)))
    known = {**model_spec.built_in_configs(), **{path.stem: path for path in folder.iterdir()}}
    add_model_config(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_spec, "built_in_configs", lambda: known)
        yield
    factory._MODEL_CONFIG_PATHS.remove(folder)
    factory._rescan_model_configs()


def use(url: str, patch: pytest.MonkeyPatch) -> None:
    """Do what HF_ENDPOINT does, which is read only when the library is imported."""
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def embedder(title: str, source: str, repositories: dict[str, tuple[str, Path, str]], cache: Path) -> OpenClipEmbedder:
    name, folder, commit = repositories[title]
    options: dict[str, Any] = {"model": f"hf-hub:{name}"}
    if source == "pinned":
        options = {"model": f"hf-hub:{name}@{commit}"}
    elif source == "local-dir":
        options = {"model": f"local-dir:{folder}"}
    elif source == "tag":
        options = {"model": FAMILIES[title].model, "pretrained": FAMILIES[title].tag}
    return OpenClipEmbedder(**options, precision="fp32", cache_dir=cache)


def drawn() -> list[Image.Image]:
    noise = Image.effect_noise((500, 500), 90).convert("RGB")
    return [noise.resize(size) for size in ((500, 500), (300, 120), (90, 410), (40, 30))]


def combinations() -> Iterator[Any]:
    """Every family with every source; in the daily run, each family with one source, and each source with two
    families."""
    for row, title in enumerate(FAMILIES):
        for column, source in enumerate(SOURCES):
            yield pytest.param(title, source, marks=[] if row % len(SOURCES) == column else pytest.mark.long)


@pytest.mark.parametrize(("title", "source"), list(combinations()))
def test_a_model_is_used_as_open_clip_uses_it(
    title: str, source: str, repositories: dict[str, tuple[str, Path, str]], cache: Path, small: None
) -> None:
    import open_clip
    import torch

    family = FAMILIES[title]
    ours = embedder(title, source, repositories, cache)
    # What the name of the weights says is compared with the configuration that comes with them.
    name = (
        f"local-dir:{repositories[title][1]}" if source in ("local-dir", "tag") else f"hf-hub:{repositories[title][0]}"
    )
    model, _, preprocess = open_clip.create_model_and_transforms(name, cache_dir=str(cache))
    tokenizer = open_clip.get_tokenizer(name, cache_dir=str(cache))
    model.eval()

    images, texts = drawn(), TEXTS
    prepared = [ours.prepare(image) for image in images]
    theirs = [preprocess(image) for image in images]
    assert all(torch.equal(one, other) for one, other in zip(prepared, theirs, strict=True))
    loaded = ours._loaded()
    tokens = tokenizer(texts)
    assert torch.equal(loaded.tokens(texts), tokens)
    with torch.inference_mode():
        expected = model.encode_image(torch.stack(theirs), normalize=True).numpy()
        expected_texts = model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(ours.embed_images(images), expected, atol=2e-5)
    np.testing.assert_allclose(ours.embed_texts(texts), expected_texts, atol=2e-5)

    # And as its authors published it.
    used = loaded.model.visual.preprocess_cfg
    assert json.loads(json.dumps({key: used[key] for key in family.preprocess})) == json.loads(
        json.dumps(family.preprocess)
    )
    assert tuple(prepared[0].shape) == (3, family.side, family.side)
    assert tokens.shape == (len(TEXTS), family.context)
    assert ours.input_side == family.side
    assert ours.dims == 32


def test_openai_weights_have_their_activation_under_either_name(
    repositories: dict[str, tuple[str, Path, str]], cache: Path, small: None
) -> None:
    """open_clip itself only warns that ``ViT-B-32`` has another activation than OpenAI's weights."""
    plain = embedder("OpenAI", "tag", repositories, cache)
    named = OpenClipEmbedder(model="ViT-B-32-quickgelu", pretrained="openai", precision="fp32", cache_dir=cache)
    images = drawn()
    np.testing.assert_array_equal(plain.embed_images(images), named.embed_images(images))
    assert "QuickGELU" in str(plain.model.visual)
    assert "QuickGELU" not in str(embedder("LAION", "tag", repositories, cache).model.visual)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_branches_of_mobileclip_are_merged(
    precision: str, repositories: dict[str, tuple[str, Path, str]], cache: Path
) -> None:
    import open_clip
    import torch

    ours = OpenClipEmbedder(model=f"local-dir:{repositories['MobileCLIP'][1]}", precision=precision, cache_dir=cache)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{repositories['MobileCLIP'][1]}")
    assert sum(1 for _ in ours.model.visual.modules()) < sum(1 for _ in model.visual.modules())
    assert {str(value.dtype) for value in ours.model.visual.trunk.parameters()} == {
        {"fp32": "torch.float32", "bf16": "torch.bfloat16"}[precision]
    }
    with torch.inference_mode():
        expected = model.eval().encode_image(torch.stack([preprocess(each) for each in drawn()]), normalize=True)
    assert (ours.embed_images(drawn()) * expected.numpy()).sum(1).min() > (0.99999 if precision == "fp32" else 0.99)


def test_a_tokenizer_of_another_repository(
    server: ModelHub, repositories: dict[str, tuple[str, Path, str]], tmp_path: Path
) -> None:
    name, folder, _ = repositories["SigLIP 2"]
    other = tmp_path / "other"
    other.mkdir()
    for file in (model_files.CONFIG, model_files.WEIGHTS[0]):
        shutil.copy(folder / file, other)
    commit = server.add("acme/finetuned", other)  # its configuration names the first repository
    expected = OpenClipEmbedder(model=f"hf-hub:{name}", precision="fp32", cache_dir=tmp_path / "a").embed_texts(TEXTS)
    for model in ("hf-hub:acme/finetuned", f"hf-hub:acme/finetuned@{commit}"):
        ours = OpenClipEmbedder(model=model, precision="fp32", cache_dir=tmp_path / "b")
        np.testing.assert_allclose(ours.embed_texts(TEXTS), expected, atol=1e-6)


# NaFlex


def naflex(folder: Path, family: Family = FAMILIES["SigLIP 2"]) -> Path:
    config = configuration(family)
    config["vision_cfg"] |= {"timm_model_name": "naflexvit_base_patch16_siglip", "image_seq_len": 576}
    folder.mkdir()
    (folder / model_files.CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": family.preprocess}))
    (folder / model_files.WEIGHTS[0]).write_bytes(b"many gigabytes")
    return folder


def test_a_naflex_model_is_refused_before_its_weights_are_fetched(server: ModelHub, tmp_path: Path) -> None:
    server.add("timm/ViT-B-16-SigLIP2-naflex", naflex(tmp_path / "model"))
    ours = OpenClipEmbedder(model="hf-hub:timm/ViT-B-16-SigLIP2-naflex", cache_dir=tmp_path / "cache")
    with pytest.raises(EmbedderError, match="NaFlex model, whose pictures keep their own shape") as raised:
        ours.embed_texts(["shirt"])
    assert "fixed size, such as 'ViT-B-16-SigLIP2'" in str(raised.value)
    assert not [path for _, path, _ in server.requests if "safetensors" in path or "blobs" in path]
    assert [message.id for message in ours.check()] == ["imagesim.E207"]  # the configuration is here by now


def test_a_naflex_model_is_a_failed_check(tmp_path: Path) -> None:
    folder = naflex(tmp_path / "model")
    for options in ({"model": f"local-dir:{folder}"}, {"model": "ViT-B-16-SigLIP2-naflex", "pretrained": "webli"}):
        (message,) = OpenClipEmbedder(**options).check()
        assert message.id == "imagesim.E207"


# Fetching. Every family; in the daily run, one.

every_family = pytest.mark.parametrize(
    "title", [pytest.param(each, marks=[] if each == "LAION" else pytest.mark.long) for each in FAMILIES]
)


@every_family
def test_what_was_fetched_is_used_without_the_hub(
    title: str,
    server: ModelHub,
    repositories: dict[str, tuple[str, Path, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second start makes no request; and newer weights under the same name are not mixed with the old ones."""
    _, folder, _ = repositories[title]
    newer = shutil.copytree(folder, tmp_path / "newer")
    server.add("acme/moving", folder)
    first = OpenClipEmbedder(model="hf-hub:acme/moving", precision="fp32", cache_dir=tmp_path / "cache")
    before = first.embed_texts(["shirt"])
    server.add("acme/moving", newer)
    server.requests.clear()
    second = OpenClipEmbedder(model="hf-hub:acme/moving", precision="fp32", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(second.embed_texts(["shirt"]), before)
    assert server.requests == []
    use("http://127.0.0.1:9", monkeypatch)
    third = OpenClipEmbedder(model="hf-hub:acme/moving", precision="fp32", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(third.embed_texts(["shirt"]), before)


@every_family
def test_a_tag_needs_no_hub_the_second_time(
    title: str,
    server: ModelHub,
    repositories: dict[str, tuple[str, Path, str]],
    tmp_path: Path,
    small: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = embedder(title, "tag", repositories, tmp_path).embed_texts(["shirt"])
    server.requests.clear()
    np.testing.assert_array_equal(embedder(title, "tag", repositories, tmp_path).embed_texts(["shirt"]), before)
    assert server.requests == []
    use("http://127.0.0.1:9", monkeypatch)
    np.testing.assert_array_equal(embedder(title, "tag", repositories, tmp_path).embed_texts(["shirt"]), before)


@every_family
def test_a_pinned_commit_stays(
    title: str, server: ModelHub, repositories: dict[str, tuple[str, Path, str]], tmp_path: Path
) -> None:
    _, folder, _ = repositories[title]
    old, newer = (shutil.copytree(folder, tmp_path / name) for name in ("old", "newer"))
    config = json.loads((newer / model_files.CONFIG).read_text())
    config["preprocess_cfg"]["mean"] = [0.1, 0.1, 0.1]
    (newer / model_files.CONFIG).write_text(json.dumps(config))
    pinned, latest = server.add("acme/pinned", old), server.add("acme/pinned", newer)
    means = {}
    for commit in (pinned, latest):
        ours = OpenClipEmbedder(model=f"hf-hub:acme/pinned@{commit}", precision="fp32", cache_dir=tmp_path / "cache")
        means[commit] = ours.model.visual.preprocess_cfg["mean"][0]
    assert means == {pinned: pytest.approx(FAMILIES[title].normalisation[0][0]), latest: pytest.approx(0.1)}


@every_family
def test_an_interrupted_download_is_resumed(
    title: str, server: ModelHub, repositories: dict[str, tuple[str, Path, str]], tmp_path: Path, patient: None
) -> None:
    name, folder, _ = repositories[title]
    server.cut_after = 100_000
    OpenClipEmbedder(model=f"hf-hub:{name}", precision="fp32", cache_dir=tmp_path).embed_texts(["shirt"])
    assert [asked for _, path, asked in server.requests if "blobs" in path] == ["", "bytes=100000-"]
    (blob,) = [path for path in tmp_path.rglob("*") if path.is_file() and len(path.name) == 64]
    assert blob.read_bytes() == (folder / model_files.WEIGHTS[0]).read_bytes()


@every_family
def test_half_a_download_is_not_used(
    title: str, server: ModelHub, repositories: dict[str, tuple[str, Path, str]], tmp_path: Path, patient: None
) -> None:
    ours = OpenClipEmbedder(model=f"hf-hub:{repositories[title][0]}", precision="fp32", cache_dir=tmp_path)
    server.cut_after, server.refused_after_cut = 100_000, True
    with pytest.raises(EmbedderError, match="could not be fetched whole"):
        ours.embed_texts(["shirt"])
    server.refused_after_cut = False
    assert ours.embed_texts(["shirt"]).shape == (1, 32)


@every_family
def test_a_damaged_download_is_refused_and_fetched_again(
    title: str, server: ModelHub, repositories: dict[str, tuple[str, Path, str]], tmp_path: Path
) -> None:
    name, _, commit = repositories[title]
    for model in (f"hf-hub:{name}", f"hf-hub:{name}@{commit}"):
        ours = OpenClipEmbedder(model=model, precision="fp32", cache_dir=tmp_path)
        server.damaged = True
        with pytest.raises(EmbedderError, match="not the one that the hub announced"):
            ours.embed_texts(["shirt"])
        server.damaged = False
        assert ours.embed_texts(["shirt"]).shape == (1, 32)
        shutil.rmtree(tmp_path)


@every_family
def test_weights_that_were_damaged_in_the_cache_are_refused(
    title: str, repositories: dict[str, tuple[str, Path, str]], tmp_path: Path, small: None
) -> None:
    embedder(title, "tag", repositories, tmp_path).embed_texts(["shirt"])
    (blob,) = [path for path in tmp_path.rglob("*") if path.is_file() and len(path.name) == 64]
    kept = blob.read_bytes()
    blob.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(EmbedderError, match="not the one that the hub announced"):
        embedder(title, "tag", repositories, tmp_path).embed_texts(["shirt"])
    assert embedder(title, "tag", repositories, tmp_path).embed_texts(["shirt"]).shape == (1, 32)


def test_two_processes_find_the_same_damaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob, path, digest = tmp_path / ("0" * 64), tmp_path / "weights", lite.file_digest
    blob.write_bytes(b"?")
    path.symlink_to(blob)

    def digest_and_removed(file: Path) -> str:
        found = digest(file)
        path.unlink()  # by the other process
        blob.unlink()
        return found

    monkeypatch.setattr(lite, "file_digest", digest_and_removed)
    with pytest.raises(EmbedderError, match="not the one that the hub announced"):
        model_files._verify(path)


def test_weights_in_the_older_format(
    server: ModelHub, repositories: dict[str, tuple[str, Path, str]], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    _, folder, _ = repositories["LAION"]
    older = tmp_path / "older"
    older.mkdir()
    shutil.copy(folder / model_files.CONFIG, older)
    torch.save(load_file(folder / model_files.WEIGHTS[0]), older / model_files.WEIGHTS[1])
    server.add("acme/older", older)
    vectors = [
        OpenClipEmbedder(model=model, precision="fp32", cache_dir=tmp_path / "cache").embed_texts(["shirt"])
        for model in ("hf-hub:acme/older", f"local-dir:{folder}")
    ]
    np.testing.assert_allclose(*vectors, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("hf-hub:acme/nothing", "no repository 'acme/nothing', or it is private"),
        ("hf-hub:acme/terms", "asks for its terms to be accepted"),
        (f"hf-hub:acme/terms@{'0' * 40}", "asks for its terms to be accepted"),
        (f"hf-hub:acme/empty@{'0' * 40}", f"no commit '{'0' * 40}'"),
        ("hf-hub:acme/empty", "no file 'open_clip_config.json'"),
    ],
)
def test_what_cannot_be_fetched_is_explained(server: ModelHub, model: str, error: str, tmp_path: Path) -> None:
    for name in ("acme/terms", "acme/empty"):
        (tmp_path / name).mkdir(parents=True)
        server.add(name, tmp_path / name)
    server.gated.add("acme/terms")
    with pytest.raises(EmbedderError, match=error):
        OpenClipEmbedder(model=model, cache_dir=tmp_path / "cache").embed_texts(["shirt"])


def test_the_size_of_the_input_is_known_before_the_model_is_there(
    server: ModelHub,
    repositories: dict[str, tuple[str, Path, str]],
    tmp_path: Path,
    patient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise, the first picture would be decoded to a different size from those after it."""
    name, _, _ = repositories["Perception Encoder"]
    ours = OpenClipEmbedder(model=f"hf-hub:{name}", cache_dir=tmp_path)
    assert ours.min_decode_side == 2 * 384
    assert ours._state.loaded is None
    assert not [path for _, path, _ in server.requests if "blobs" in path]
    use("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(EmbedderError, match="cannot be reached"):
        OpenClipEmbedder(model="hf-hub:acme/unknown", cache_dir=tmp_path).min_decode_side  # noqa: B018


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("title", ["LAION", "SigLIP 2", "XLM-RoBERTa"])
def test_processes_of_their_own_fetch_and_start_offline(
    title: str, server: ModelHub, repositories: dict[str, tuple[str, Path, str]], tmp_path: Path
) -> None:
    """By the environment variables that a shop sets, in new processes."""
    code = (
        "from django.conf import settings; settings.configure()\n"
        "from tests.clip_families import FAMILIES, configuration\n"
        f"configuration(FAMILIES[{title!r}])\n"  # timm knows the small trunk
        "from imagesim.embedders.openclip import OpenClipEmbedder\n"
        f"e = OpenClipEmbedder(model='hf-hub:{repositories[title][0]}', precision='fp32')\n"
        "print(e.embed_texts(['shirt'])[0, :3].tolist())\n"
    )
    said = []
    for endpoint in (server.url, "http://127.0.0.1:9"):
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=140, check=False, env=environment, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.splitlines()[-1])
        if len(said) == 1:
            assert any("blobs" in path for _, path, _ in server.requests)
            server.requests.clear()
    assert len(set(said)) == 1
    assert server.requests == []
