"""Run both towers of a model in ONNX Runtime, in a process that never imports torch.

A separate process with torch exports them once per machine (:mod:`imagesim.embedders.onnx_export`) and compares them
with the model. They are stored in the cache folder beside the assembled model. Weights are mapped from their file, so
that processes share the memory pages.
"""

from __future__ import annotations

import html
import json
import re
import string
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Warning

from imagesim.embedders import lite, onnx_files, precision

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.embedders.model_spec import ModelName
    from imagesim.types import Vector

VERSION = 1
"""Increment it when a change of the export must replace the stored files."""
FACTS = "model.json"
NEEDED = ("onnxruntime", "tokenizers", "ftfy")
"""The packages that running an exported model needs."""


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
        added = self._tokenizer.get_added_tokens_decoder().values()
        self._separate = separator(token.content for token in added if token.special)
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
        rows = [self._tokenizer.encode(self._separate(clean(text, facts["clean"]))).ids for text in texts]
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


def separator(special_tokens: Iterable[str]) -> Callable[[str], str]:
    """Return a function that puts a space into each special token within a text, so that its characters are tokenized:
    a text that spells ``[PAD]``, ``</s>`` or ``<end_of_text>`` is a text like any other.

    Tokenizers take the name of such a token for the token itself: the end of the text, or its padding. Their own
    options against it do not hold for SentencePiece's unigrams, which find the name as a piece of their vocabulary.
    """
    names = sorted({name for name in special_tokens if len(name) > 1}, key=len, reverse=True)
    if not names:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, names)), re.IGNORECASE)
    return lambda text: pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


# Loading.


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


def facts(kept: Path) -> dict[str, Any]:
    """Return what the folder ``kept`` says of its exported model: ``dims``, ``preprocess`` and others; empty if there
    is none."""
    try:
        return dict(json.loads((kept / FACTS).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def report(kept: Path) -> str:
    """Return a readable description of how the exported model compared with torch."""
    try:
        trial = precision.PrecisionTrial(**facts(kept)["trial"])
    except (KeyError, TypeError):
        return "fp32 in ONNX Runtime; not yet exported on this machine"
    return f"fp32 in ONNX Runtime; compared with torch: {trial}"


def prepare(name: ModelName, cache_dir: Path | None, kept: Path) -> Path:
    """Return ``kept``, the folder of the exported model; another process exports it if it is missing or damaged.

    :raises EmbedderError: if the model cannot be loaded, exported or written, or if its vectors differ from those of
        torch.
    """
    options = {
        "model": name.full,
        "pretrained": name.pretrained,
        "cache_dir": cache_dir and str(cache_dir),
        "kept": str(kept),
    }
    onnx_files.export_once(kept, "imagesim.embedders.onnx_export", options, str(name))
    return kept


def load(name: ModelName, cache_dir: Path | None, kept: Path) -> OnnxModel:
    """Load the exported model; export it first if necessary.

    :raises EmbedderError: as :func:`prepare`.
    """
    return OnnxModel(prepare(name, cache_dir, kept))
