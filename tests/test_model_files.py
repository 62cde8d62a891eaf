"""The files of a model in a local folder: what its fingerprint covers."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest

from imagesim.embedders import model_files
from imagesim.embedders.openclip import OpenClipEmbedder
from imagesim.exceptions import EmbedderError
from imagesim.testing.embedder_contract import pictures


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files that a fingerprint covers, which no test loads."""
    folder = tmp_path / ".cache" / "model"  # itself in a hidden folder, like the hub's cache
    (folder / "tokenizer").mkdir(parents=True)
    (folder / model_files.CONFIG).write_text('{"model_cfg": {"embed_dim": 24}}')
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"weights")
    (folder / "tokenizer" / "merges.txt").write_text("a b")
    return folder


def test_a_fingerprint_is_the_same_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = PureWindowsPath("C:/model")
    monkeypatch.setattr(model_files, "folder_files", lambda folder: [folder / "tokenizer" / "merges.txt"])
    monkeypatch.setattr(model_files, "weights_digest", lambda path: "5e")
    assert model_files.folder_digests(folder) == {"tokenizer/merges.txt": "5e"}  # type: ignore[arg-type]


def fingerprint(folder: Path) -> str:
    """The fingerprint of the model in a folder, as a new process computes it."""
    return OpenClipEmbedder(model=f"local-dir:{folder}").fingerprint


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD",
        ".git/objects/4f/pack.idx",
        ".cache/huggingface/download/x.lock",
        ".gitattributes",
        "tokenizer/.tmp/a",
    ],
)
def test_hidden_files_are_no_part_of_a_model(model: Path, path: str) -> None:
    """A pull or a lock in a clone must not embed every picture again."""
    clean = fingerprint(model)
    (model / path).parent.mkdir(parents=True, exist_ok=True)
    (model / path).write_bytes(b"of a clone")
    assert fingerprint(model) == clean


@pytest.mark.parametrize("path", ["README.md", "tokenizer/card.md", "open_clip_config.json.lock"])
def test_cards_and_locks_are_no_part_of_a_model(model: Path, path: str) -> None:
    clean = fingerprint(model)
    (model / path).write_bytes(b"read by no model")
    assert fingerprint(model) == clean


@pytest.mark.parametrize("path", ["open_clip_pytorch_model.bin", "tokenizer/merges.txt", "tokenizer/vocab.json"])
def test_all_other_files_are(model: Path, path: str) -> None:
    before = fingerprint(model)
    (model / path).write_text("changed")
    assert fingerprint(model) != before


def weights(size: int = 64, **header: object) -> bytes:
    """Write a file in the safetensors format with one tensor of ``size`` bytes."""
    described = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}, **header}).encode()
    return struct.pack("<Q", len(described)) + described + bytes(size)


WHOLE = weights(__metadata__={"format": "pt"})
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 605143316\n"


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(WHOLE[:-1], f"has {len(WHOLE) - 1} bytes, and its header announces {len(WHOLE)}", id="end"),
        pytest.param(WHOLE + b"0", f"has {len(WHOLE) + 1} bytes", id="longer"),
        pytest.param(WHOLE[:40], "no header", id="header"),
        pytest.param(WHOLE[:5], "no header", id="length"),
        pytest.param(b"", "no header", id="empty"),
        pytest.param(bytes(100), "no header", id="zeros"),
        pytest.param(weights(a=7), "no header", id="other header"),
        pytest.param(POINTER, "git lfs pull", id="pointer"),
    ],
)
def test_weights_that_are_not_whole_are_named(model: Path, kind: str, data: bytes, said: str) -> None:
    path = model / "open_clip_model.safetensors"
    path.write_bytes(data)
    options = {"model": f"local-dir:{model}"} if kind == "folder" else {"model": "ViT-B-32", "pretrained": str(path)}
    (message,) = OpenClipEmbedder(**options).check()  # type: ignore[arg-type]
    assert message.id == "imagesim.E208"
    for failed in (lambda e: e.fingerprint, lambda e: e.embed_images(pictures())):
        with pytest.raises(EmbedderError) as raised:
            failed(OpenClipEmbedder(**options))  # type: ignore[arg-type]
        for text in (str(raised.value), message.msg):
            assert str(path) in text
            assert said in text


@pytest.mark.parametrize("instead", ["nothing", "folder"])
def test_weights_that_are_missing_are_a_failed_check(model: Path, instead: str) -> None:
    """Otherwise the model would be taken for another one, and a rebuild with it would be proposed."""
    path = model / "open_clip_pytorch_model.bin"
    path.unlink()
    if instead == "folder":
        path.mkdir()
    (message,) = OpenClipEmbedder(model=f"local-dir:{model}").check()
    assert message.id == "imagesim.E202"
    assert "the folder has no file of weights" in message.msg
    for failed in (lambda e: e.fingerprint, lambda e: e.embed_images(pictures())):
        with pytest.raises(EmbedderError, match=f"{model}.*the folder has no file of weights"):
            failed(OpenClipEmbedder(model=f"local-dir:{model}"))


def test_whole_weights_have_a_fingerprint(model: Path) -> None:
    before = fingerprint(model)
    (model / "open_clip_model.safetensors").write_bytes(WHOLE)
    assert fingerprint(model) != before
    (model / "more.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    assert not OpenClipEmbedder(model=f"local-dir:{model}").check()


def replaced(path: Path, data: bytes, how: str) -> None:
    """Give a file different bytes, but the same size and time of modification."""
    status = path.stat()
    assert len(data) == status.st_size
    target = path.with_name("new") if how == "another file" else path
    target.write_bytes(data)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    target.replace(path)
    assert path.stat().st_mtime_ns == status.st_mtime_ns


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("how", ["another file", "in place"])
def test_a_model_that_is_not_loaded_has_the_fingerprint_of_its_files(model: Path, kind: str, how: str) -> None:
    path = model / "open_clip_pytorch_model.bin"
    options = {"model": f"local-dir:{model}"} if kind == "folder" else {"model": "ViT-B-32", "pretrained": str(path)}
    embedder = OpenClipEmbedder(**options)  # type: ignore[arg-type]
    before = embedder.fingerprint
    replaced(path, b"WEIGHTS", how)
    assert embedder.fingerprint == OpenClipEmbedder(**options).fingerprint != before  # type: ignore[arg-type]


def test_files_are_read_again_only_if_they_changed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = OpenClipEmbedder(model=f"local-dir:{model}")
    assert (embedder.dims, before := embedder.fingerprint) == (24, embedder.fingerprint)
    monkeypatch.setattr("imagesim.embedders.lite.file_digest", lambda path: pytest.fail(f"{path} was read"))
    (model / ".git").write_text("hidden")
    assert embedder.fingerprint == before
    monkeypatch.undo()
    (model / model_files.CONFIG).write_text('{"model_cfg": {"embed_dim": 32}}')
    assert (embedder.fingerprint != before, embedder.dims) == (True, 32)


@pytest.mark.slow
def test_vectors_are_those_of_the_fingerprint(local_clip: Path, tmp_path: Path) -> None:
    """Weights that are replaced between the two, as by a deployment, would be indexed under the fingerprint of
    others."""
    folder, images = tmp_path / "model", pictures()[:2]
    shutil.copytree(local_clip, folder)
    weights = folder / "open_clip_model.safetensors"
    first = weights.read_bytes()
    start = 8 + int.from_bytes(first[:8], "little")
    floats = np.random.default_rng(0).permutation(np.frombuffer(first[start:], "<f4"))

    embedder = OpenClipEmbedder(model=f"local-dir:{folder}", runtime="torch", precision="fp32")
    before = embedder.fingerprint
    replaced(weights, first[:start] + floats.tobytes(), "another file")
    with pytest.raises(EmbedderError, match="were changed while this process used them: try again"):
        embedder.embed_images(images)
    others = embedder.embed_images(images)
    after = embedder.fingerprint
    assert after != before

    replaced(weights, first, "another file")  # a model in memory stays what it is
    assert embedder.fingerprint == after
    np.testing.assert_allclose(embedder.embed_images(images), others, atol=1e-4)
    fresh = OpenClipEmbedder(model=f"local-dir:{folder}", runtime="torch", precision="fp32")
    assert np.abs(fresh.embed_images(images) - others).max() > 0.01
    assert fresh.fingerprint == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"text"',
        "{}",
        '{"model_cfg": []}',
        '{"model_cfg": {"embed_dim": "wide"}}',
        '{"model_cfg": {"embed_dim": 24, "vision_cfg": 5}}',
        '{"model_cfg": {"embed_dim": 24, "vision_cfg": {"image_size": null}}}',
        '{"model_cfg": {"embed_dim": 24, "vision_cfg": {"image_size": []}}}',
    ],
)
def test_a_configuration_that_cannot_be_read_is_a_failed_check(model: Path, text: str) -> None:
    """Not an error in each command, none of which could be run."""
    (model / model_files.CONFIG).write_text(text)
    (message,) = OpenClipEmbedder(model=f"local-dir:{model}").check()
    assert message.id == "imagesim.E202"
    assert str(model / model_files.CONFIG) in message.msg
    for read in (lambda e: e.dims, lambda e: e.min_decode_side, lambda e: e.embed_texts(["shirt"])):
        with pytest.raises(EmbedderError, match="is no configuration of open_clip"):
            read(OpenClipEmbedder(model=f"local-dir:{model}"))
