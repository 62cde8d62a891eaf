"""Export both towers of a model for ONNX Runtime, with torch: ``python -m imagesim.embedders.onnx_export OPTIONS``.

The options are those of :func:`imagesim.embedders.onnx.prepare`, as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagesim.embedders import loading, onnx, precision
from imagesim.embedders.loading import Loaded
from imagesim.embedders.model_spec import ModelName, parse_name
from imagesim.embedders.onnx import FACTS, OnnxModel
from imagesim.exceptions import EmbedderError

MIN_COSINE = 0.9999
"""The minimum cosine between the vectors of torch and of ONNX Runtime, both in fp32."""
TEXTS = (
    "red dress",
    "a photo of women's black running shoes, size 42",
    "",
    "It&#39;s   half_price: “blue” JEANS (30% off) — don't miss!",
    "Übergröße ärmelloses Kleid; 日本の着物 🧥 <end_of_text>",
    "long sleeved cotton shirt with many small yellow flowers and a collar " * 12,
)


def export(name: ModelName, cache_dir: Path | None, kept: Path) -> None:
    """Load the model with torch, and export both towers to the folder ``kept``, unless they disagree with the model.

    :raises EmbedderError: as :func:`imagesim.embedders.onnx.prepare`.
    """
    _require_unchanged(name, kept)
    loaded = loading.load(name, precision.choose_device("cpu"), "fp32", cache_dir)

    def build(scratch: Path) -> None:
        facts = _export(loaded, scratch, step=2 if name.kind == "lite" else 8)
        trial = asdict(_compare(loaded, OnnxModel(scratch)))
        (scratch / FACTS).write_text(json.dumps({**facts, "trial": trial}, indent=1), "utf-8")
        _require_unchanged(name, kept)

    onnx.build_once(kept, build)


def _require_unchanged(name: ModelName, kept: Path) -> None:
    """Require that the model's files are those of the fingerprint that ``kept`` is named after.

    :raises EmbedderError: if they have changed since: the export would be used for another model.
    """
    if not kept.name.startswith(name.fingerprint()):
        raise EmbedderError(f"The files of {name} were changed meanwhile: try again.")


def _export(loaded: Loaded, scratch: Path, step: int) -> dict[str, Any]:
    """Write the networks and the tokenizer to ``scratch``; return the other facts that :class:`OnnxModel` needs."""
    from torch.onnx.utils import register_custom_op_symbolic

    class Tower(torch.nn.Module):
        def __init__(self, method: str) -> None:
            super().__init__()
            self.whole, self.method = loaded.model, method

        def forward(self, x: Any) -> Any:
            return torch.nn.functional.normalize(getattr(self.whole, self.method)(x), dim=-1)

    preprocess = dict(loaded.model.visual.preprocess_cfg)
    size = preprocess["size"]
    preprocess["size"] = [size, size] if isinstance(size, int) else list(size)
    tokenizer = _tokenizer(loaded, scratch)
    facts = {"dims": loaded.dims, "step": step, "preprocess": preprocess, "tokenizer": tokenizer}
    (scratch / FACTS).write_text(json.dumps(facts), "utf-8")

    pixels = torch.stack([loaded.prepare(image) for image in precision.synthetic_pictures(2)])
    tokens = loaded.tokens(["red dress", "blue jeans for men"])
    register_custom_op_symbolic("aten::cdist", _cdist, onnx.OPSET)
    torch.backends.mha.set_fastpath_enabled(False)  # it cannot be exported
    for tower, example in (("image", pixels), ("text", tokens)):
        axes = {0: "n"} | ({1: "length"} if tower == "text" and tokenizer["padding"] is not None else {})
        network = Tower(f"encode_{tower}")
        onnx.write(network, example, scratch / f"{tower}.onnx", {"vectors": {0: "n"}}, axes)
    return facts


def _cdist(graph: Any, a: Any, b: Any, p: Any, mode: Any) -> Any:
    """Compute Euclidean distances as a matrix product; the exporter's own version holds all differences in memory."""

    def squares(x: Any) -> Any:
        return graph.op("ReduceSum", graph.op("Mul", x, x), last, keepdims_i=1)

    last = graph.op("Constant", value_t=torch.tensor([-1]))
    product = graph.op("MatMul", a, graph.op("Transpose", b, perm_i=[0, 2, 1]))
    doubled = graph.op("Add", product, product)
    total = graph.op("Add", squares(a), graph.op("Transpose", squares(b), perm_i=[0, 2, 1]))
    return graph.op("Sqrt", graph.op("Relu", graph.op("Sub", total, doubled)))


def _tokenizer(loaded: Loaded, scratch: Path) -> dict[str, Any]:
    """Write ``tokenizer.json``; return the other facts that :meth:`OnnxModel.tokens` needs."""
    tokenizer = loaded.tokenizer
    names = {"_clean_whitespace": "whitespace", "_clean_lower": "lower", "_clean_canonicalize": "canonicalize"}
    facts = {"clean": names[tokenizer.clean_fn.__name__], "dropped": None, "padding": loaded.padding}
    if hasattr(tokenizer, "bpe_ranks"):
        fast = _clip_tokenizer(tokenizer)
    else:
        tokenizer(["padded and shortened as here"])  # its settings stay with the fast tokenizer
        fast = tokenizer.tokenizer.backend_tokenizer
        facts["dropped"] = tokenizer.tokenizer.sep_token_id if tokenizer.strip_sep_token else None
    fast.save(str(scratch / "tokenizer.json"))
    return facts


def _clip_tokenizer(slow: Any) -> Any:
    """Convert open_clip's ``SimpleTokenizer`` to a fast one."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    first, last = slow.all_special_ids[:2]
    names = [slow.decoder[number] for number in slow.all_special_ids]
    merges = sorted(slow.bpe_ranks, key=slow.bpe_ranks.__getitem__)
    fast = Tokenizer(models.BPE(vocab=slow.encoder, merges=merges, end_of_word_suffix="</w>"))
    fast.add_special_tokens(names)
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.post_processor = processors.TemplateProcessing(
        single=f"{names[0]} $A {names[1]}", special_tokens=[(names[0], first), (names[1], last)]
    )
    fast.enable_truncation(slow.context_length)
    fast.enable_padding(length=slow.context_length, pad_id=0, pad_token="")
    return fast


def _compare(loaded: Loaded, exported: OnnxModel) -> precision.PrecisionTrial:
    """Compare the exported model with the model, on synthetic pictures of several shapes and on texts.

    :raises EmbedderError: if they disagree.
    """
    drawn = precision.synthetic_pictures(precision.SYNTHETIC_PICTURES)
    sides = [(60, 900), (900, 61), (17, 13), (640, 427), (427, 641)]
    drawn += [image.resize(size) for image, size in zip(drawn, sides, strict=False)]
    prepared = [loaded.prepare(image) for image in drawn]
    for ours, theirs in zip(map(exported.prepare, drawn), prepared, strict=True):
        if not np.allclose(ours, theirs, atol=1e-3):
            raise EmbedderError("its pictures cannot be prepared without torchvision.")
    if not np.array_equal(exported.tokens(TEXTS), loaded.tokens(TEXTS).numpy()):
        raise EmbedderError("its tokenizer cannot be run without open_clip.")
    _, full = precision.run(loaded, prepared, None)
    took, vectors = precision.run(exported, [pixels.numpy() for pixels in prepared], None)
    least = (full * vectors).sum(1).min()
    for texts in (TEXTS, TEXTS[:1]):
        least = min(least, (loaded.texts(texts) * exported.texts(texts)).sum(1).min())
    if not least >= MIN_COSINE:
        raise EmbedderError(f"its vectors differ from those of torch (minimum cosine {least:.5f}).")
    overlap = precision.overlap(full, vectors, precision.SYNTHETIC_TIE)
    return precision.PrecisionTrial("fp32", took, float(least), overlap)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    try:
        export(
            parse_name(options["model"], options["pretrained"]),
            options["cache_dir"] and Path(options["cache_dir"]),
            Path(options["kept"]),
        )
    except EmbedderError as error:
        sys.exit(str(error))
