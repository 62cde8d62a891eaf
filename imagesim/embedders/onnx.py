"""Run both towers of a model in ONNX Runtime, in a process that never imports torch.

A separate process with torch exports them once per machine (``python -m imagesim.embedders.onnx``) and compares them
with the model. They are stored in the cache folder beside the assembled model. Weights are mapped from their file, so
that processes share the memory pages.
"""

from __future__ import annotations

import html
import json
import string
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Warning

from imagesim.embedders import lite, onnx_files, precision
from imagesim.exceptions import EmbedderError

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.embedders.loading import Loaded
    from imagesim.embedders.model_spec import ModelName
    from imagesim.embedders.openclip import OpenClipEmbedder
    from imagesim.types import Vector

VERSION = 1
"""Increment it when a change of the export must replace the stored files."""
OPSET = 17
FACTS = "model.json"
NEEDED = ("onnxruntime", "tokenizers", "ftfy")
"""The packages that running an exported model needs."""

LEAST_COSINE = 0.9999
"""The minimum cosine between the vectors of torch and of ONNX Runtime, both in fp32."""
TEXTS = (
    "red dress",
    "a photo of women's black running shoes, size 42",
    "",
    "It&#39;s   half_price: “blue” JEANS (30% off) — don't miss!",
    "Übergröße ärmelloses Kleid; 日本の着物 🧥 <end_of_text>",
    "long sleeved cotton shirt with many small yellow flowers and a collar " * 12,
)


class OnnxModel:
    """An exported model in memory; the methods are those of :class:`imagesim.embedders.loading.Loaded`.

    :param folder: the result of :func:`prepare`.
    """

    precision = "fp32"
    batch_size = 16
    model = None
    """There is no open_clip model in this process."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
        self.dims = int(self._facts["dims"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._image, self._text = (onnx_files.session(folder / f"{tower}.onnx") for tower in ("image", "text"))

    def prepare(self, image: Image) -> Any:
        """Convert an RGB image to the model's input, float32 (3, height, width), as open_clip does."""
        import numpy as np

        facts = self._facts["preprocess"]
        pixels = np.asarray(resize_and_crop(image, facts), np.float32).transpose(2, 0, 1) / np.float32(255)
        mean, std = (np.array(facts[name], np.float32)[:, None, None] for name in ("mean", "std"))
        return (pixels - mean) / std

    def images(self, prepared: Sequence[Any]) -> Vector:
        """Embed prepared images: float32 (n, dims), unit rows."""
        import numpy as np

        step = self._facts["step"]
        parts = [np.stack(list(prepared[start : start + step])) for start in range(0, len(prepared), step)]
        return np.concatenate([self._image.run(None, {"input": part})[0] for part in parts])

    def texts(self, texts: Sequence[str]) -> Vector:
        """Embed texts: float32 (n, dims), unit rows."""
        vectors: Vector = self._text.run(None, {"input": self.tokens(texts)})[0]
        return vectors

    def tokens(self, texts: Sequence[str]) -> Any:
        """Tokenize texts as open_clip's tokenizer of the model does: int64 (n, length)."""
        import numpy as np

        facts = self._facts["tokenizer"]
        rows = [self._tokenizer.encode(clean(text, facts["clean"])).ids for text in texts]
        ids = np.array(rows, np.int64)
        if facts["dropped"] is not None:
            ids[ids == facts["dropped"]] = 0
        if facts["padding"] is not None:  # padding is masked, but would still be computed
            ids = ids[:, : max(1, int((ids != facts["padding"]).sum(1).max()))]
        return ids


def resize_and_crop(image: Image, facts: dict[str, Any]) -> Image:
    """Resize, crop and pad exactly as open_clip's transforms do."""
    from PIL import Image as Pillow

    height, width = facts["size"]
    bilinear, mode = facts["interpolation"] == "bilinear", facts["resize_mode"]
    resample, fill = Pillow.Resampling.BILINEAR if bilinear else Pillow.Resampling.BICUBIC, 0
    if mode == "squash":
        return image.resize((width, height), resample)
    ratios = image.width / width, image.height / height
    if mode == "shortest" and height == width:
        size = [int(width * side / min(image.size)) for side in image.size]
    elif mode == "shortest":
        size, resample = [round(side / min(ratios)) for side in image.size], Pillow.Resampling.BICUBIC
    else:
        size, fill = [round(side / max(ratios)) for side in image.size], facts["fill_color"]
    image = image.resize((max(1, size[0]), max(1, size[1])), resample)
    if image.width < width or image.height < height:
        canvas = Pillow.new("RGB", (max(width, image.width), max(height, image.height)), (fill,) * 3)
        canvas.paste(image, ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2))
        image = canvas
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def clean(text: str, how: str) -> str:
    """Clean a text as open_clip's tokenizers do: ``whitespace``, ``lower`` or ``canonicalize``."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    if how == "canonicalize":
        text = text.replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    text = " ".join(text.split())
    return text if how == "whitespace" else text.lower()


# Export and loading.


def check(name: ModelName, kept: Callable[[], Path], others: list[CheckMessage]) -> list[CheckMessage]:
    """Return what is missing to run an exported model; ``others`` are the checks for loading it with torch."""
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        what = f"{name} needs the package {missing[0]!r} for ONNX Runtime, which is not installed"
        hint = "Run pip install 'django-imagesim[onnx]', or omit the option 'runtime'."
        return [Warning(f"{what}: this process cannot embed.", hint=hint, id="imagesim.W201")]
    return [] if others and others[0].id == "imagesim.W201" and (kept() / lite.MANIFEST).is_file() else others


def usable(kept: Path) -> bool:
    """Return whether an exported model is in the folder ``kept`` and can be run, without verifying its files."""
    return (kept / lite.MANIFEST).is_file() and all(find_spec(module) is not None for module in NEEDED)


def report(kept: Path) -> str:
    """Return a readable description of how the exported model compared with torch."""
    try:
        trial = precision.PrecisionTrial(**json.loads((kept / FACTS).read_text())["trial"])
    except (OSError, ValueError, KeyError, TypeError):
        return "fp32 in ONNX Runtime; not yet exported on this machine"
    return f"fp32 in ONNX Runtime; compared with torch: {trial}"


def prepare(name: ModelName, cache_dir: Path | None, kept: Path) -> Path:
    """Return ``kept``, the folder of the exported model; another process exports it if it is missing or damaged.

    :raises EmbedderError: if the model cannot be loaded, exported or written, or if its vectors differ from those of
        torch.
    """
    options = {"model": name.full, "pretrained": name.pretrained, "cache_dir": cache_dir and str(cache_dir)}
    onnx_files.export_once(kept, "imagesim.embedders.onnx", options, str(name))
    return kept


def load(name: ModelName, cache_dir: Path | None, kept: Path) -> OnnxModel:
    """Load the exported model; export it first if necessary.

    :raises EmbedderError: as :func:`prepare`.
    """
    return OnnxModel(prepare(name, cache_dir, kept))


def export(embedder: OpenClipEmbedder) -> None:
    """Load the model with torch, export both towers, and keep them if they agree with the model.

    :raises EmbedderError: as :func:`prepare`.
    """
    from imagesim.embedders import loading

    loaded = loading.load(embedder.name, precision.choose_device("cpu"), "fp32", embedder.cache_dir)

    def build(scratch: Path) -> None:
        try:
            facts = _export(loaded, scratch, step=2 if embedder.name.kind == "lite" else 8)
            trial = asdict(_compare(loaded, OnnxModel(scratch)))
        except OSError:
            raise
        except Exception as error:
            raise EmbedderError(" ".join(str(error).split())[:500] or type(error).__name__) from error
        (scratch / FACTS).write_text(json.dumps({**facts, "trial": trial}, indent=1))

    lite.build_once(embedder._exported(), build)


def _export(loaded: Loaded, scratch: Path, step: int) -> dict[str, Any]:
    """Write the networks and the tokenizer to ``scratch``; return the other facts that :class:`OnnxModel` needs."""
    import torch
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
    (scratch / FACTS).write_text(json.dumps(facts))

    pixels = torch.stack([loaded.prepare(image) for image in precision.synthetic_pictures(2)])
    tokens = loaded.tokens(["red dress", "blue jeans for men"])
    register_custom_op_symbolic("aten::cdist", _cdist, OPSET)
    torch.backends.mha.set_fastpath_enabled(False)  # it cannot be exported
    for tower, example in (("image", pixels), ("text", tokens)):
        axes = {0: "n"} | ({1: "length"} if tower == "text" and tokenizer["padding"] is not None else {})
        with torch.inference_mode():
            torch.onnx.export(
                Tower(f"encode_{tower}").eval(),
                (example,),
                str(scratch / "whole.onnx"),
                dynamo=False,  # the other exporter needs onnxscript and gives the same result
                opset_version=OPSET,
                input_names=["input"],
                output_names=["vectors"],
                dynamic_axes={"input": axes, "vectors": {0: "n"}},
            )
        onnx_files.save(scratch / "whole.onnx", scratch / f"{tower}.onnx")
    return facts


def _cdist(graph: Any, a: Any, b: Any, p: Any, mode: Any) -> Any:
    """Compute Euclidean distances as a matrix product; the exporter's own version holds all differences in memory."""
    import torch

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
    import numpy as np

    drawn = precision.synthetic_pictures(precision.DRAWN)
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
    if not least >= LEAST_COSINE:
        raise EmbedderError(f"its vectors differ from those of torch (minimum cosine {least:.5f}).")
    overlap = precision.overlap(full, vectors, precision.DRAWN_TIE)
    return precision.PrecisionTrial("fp32", took, float(least), overlap)


if __name__ == "__main__":
    from imagesim.embedders.openclip import OpenClipEmbedder

    try:
        export(OpenClipEmbedder(**json.loads(sys.argv[1])))
    except EmbedderError as error:
        sys.exit(str(error))
