"""What visitors type is text and takes no memory, with each tokenizer."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagesim.embedders import loading
from imagesim.embedders.onnx import separator
from imagesim.embedders.openclip import OpenClipEmbedder
from imagesim.embedders.process import import_torchvision
from tests.clip_families import write_tokenizer


def test_special_tokens_are_taken_apart() -> None:
    separate = separator(["[PAD]", "</s>", "<s>", "<", "[PAD]]"])
    assert separate("red [PAD]dress</S>") == "red [ PAD]dress< /S>"
    assert separate("[PAD]]<s><s>") == "[ PAD]]< s>< s>"
    assert separate("a < b, [pad ] and s>") == "a < b, [pad ] and s>"
    assert separator([])("[PAD]") == "[PAD]"


def check(tokens: Any, special: set[int], text: str) -> None:
    """Check whether the words around ``text`` keep their tokens, and no token between them is a special one."""
    plain, typed = (np.asarray(tokens([each]))[0].tolist() for each in ("red dress", f"red {text} dress"))
    for row in (plain, typed):  # without what the tokenizer itself puts around a text
        while row[-1] in special:
            row.pop()
        while row[0] in special:
            row.pop(0)
    assert len(typed) > len(plain)
    assert (typed[0], typed[-1]) == (plain[0], plain[-1])
    assert not special & set(typed)


TYPED = ["[PAD]", "[SEP]", "[CLS] [UNK]", "[pad]", "</s>", "<pad>", "<eos>", "&lt;/s&gt;", "＜/s＞", "<|endoftext|>"]
TYPED += ["<end_of_text>", "<START_OF_TEXT>", "<s><pad></s>"]


@pytest.mark.timeout(400)  # the first to use ONNX Runtime exports the model
@pytest.mark.parametrize(
    ("kind", "runtime"),
    [("lite", "torch"), ("lite", "onnx"), ("clip", "torch"), pytest.param("clip", "onnx", marks=pytest.mark.long)],
)
def test_the_models_read_them_as_text(kind: str, runtime: str, model_cache: Path, local_clip: Path) -> None:
    if runtime == "onnx" and not (find_spec("onnxruntime") and find_spec("onnx")):
        pytest.skip("ONNX Runtime is not installed")
    cache = Path(os.environ["IMAGESIM_TEST_SCRATCH"], "onnx") if kind == "clip" else model_cache
    options = {"model": f"local-dir:{local_clip}"} if kind == "clip" else {}
    embedder = OpenClipEmbedder(**options, runtime=runtime, cache_dir=cache)  # type: ignore[arg-type]
    special = {0, 49406, 49407} if kind == "clip" else {0, 100, 101, 102, 103}
    for text in TYPED:
        check(embedder._loaded().tokens, special, text)


@pytest.mark.parametrize("clean", ["whitespace", "canonicalize"])
@pytest.mark.parametrize("kind", ["SigLIP", "SigLIP 2"])
def test_tokenizers_of_pieces_read_them_as_text(kind: str, clean: str, tmp_path: Path) -> None:
    import_torchvision()
    from open_clip.tokenizer import HFTokenizer

    write_tokenizer(tmp_path, kind)
    tokenizer = HFTokenizer(str(tmp_path), context_length=64, clean=clean)
    loading.adapt_tokenizer(tokenizer)
    for text in TYPED:
        check(tokenizer, {0, 1, 2} if kind == "SigLIP 2" else {0, 1}, text)


def test_new_words_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    ours, theirs = SimpleTokenizer(), SimpleTokenizer()
    loading.adapt_tokenizer(ours)
    monkeypatch.setattr(loading, "MAX_WORDS", 50, raising=False)
    texts = [f"{chr(97 + number % 26) * 9}{chr(97 + number // 26)} dress" for number in range(200)]
    for _ in range(2):
        assert (ours(texts) == theirs(texts)).all()
    assert len(ours.cache) == 50
