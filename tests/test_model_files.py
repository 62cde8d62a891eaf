"""The files of a model in a local folder: what its fingerprint is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesim.embedders import hub
from imagesim.embedders.openclip import OpenClipEmbedder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files that a fingerprint is of, which no test loads."""
    folder = tmp_path / ".cache" / "model"  # hidden itself, as in the hub's cache
    (folder / "tokenizer").mkdir(parents=True)
    (folder / hub.CONFIG).write_text('{"model_cfg": {"embed_dim": 24}}')
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"weights")
    (folder / "tokenizer" / "merges.txt").write_text("a b")
    return folder


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
