"""Load an open_clip model and run it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagesim.embedders import lite
from imagesim.embedders.model_source import model_source
from imagesim.embedders.model_spec import ModelName
from imagesim.embedders.onnx import separator
from imagesim.embedders.process import import_torchvision
from imagesim.embedders.reduced_precision import DTYPES
from imagesim.exceptions import EmbedderError

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.types import Vector

logger = logging.getLogger(__name__)

MAX_WORDS = 10_000
"""The maximum number of words whose tokens are cached."""


class Loaded:
    """A model in memory with its preprocessing and tokenizer. Thread-safe."""

    def __init__(
        self, model: Any, preprocess: Callable[[Any], Any], tokenizer: Any, device: Any, precision: str
    ) -> None:
        self.model = model
        self.precision = precision
        self.batch_size = 16 if device.type == "cpu" else 128
        self._preprocess = preprocess
        self.tokenizer = tokenizer
        self._device = device
        self._dtype = torch.float32
        self.dims = 0
        self.padding: int | None = None

    def prepare(self, image: Image) -> Any:
        """Convert an RGB image to the model's input, float32 (3, side, side)."""
        return self._preprocess(image)

    def images(self, prepared: Sequence[Any]) -> Vector:
        """Embed prepared images: float32 (n, dims), unit rows."""
        with torch.inference_mode():
            pixels = torch.stack(list(prepared))
            pixels = pixels.to(self._device, self._dtype, memory_format=torch.channels_last)
            return self._unit(self.model.encode_image(pixels))

    def texts(self, texts: Sequence[str]) -> Vector:
        """Embed texts: float32 (n, dims), unit rows."""
        with torch.inference_mode():
            return self._unit(self.model.encode_text(self.tokens(texts).to(self._device)))

    def tokens(self, texts: Sequence[str]) -> Any:
        """Tokenize texts: int64 (n, length)."""
        tokens = self.tokenizer(list(texts))
        if self.padding is not None:  # padding is masked, but would still be computed
            tokens = tokens[:, : max(1, int((tokens != self.padding).sum(1).max()))]
        return tokens

    @staticmethod
    def _unit(rows: Any) -> Vector:
        vectors: Vector = torch.nn.functional.normalize(rows.float(), dim=-1).cpu().numpy()
        return vectors


def load(name: ModelName, device: Any, precision: str, cache_dir: Path | None) -> Loaded:
    """Build the model and load its weights.

    :raises EmbedderError: naming the cause (name, weights or network) and what to do.
    """
    import_torchvision()
    import open_clip

    inside = name.kind == "lite"  # the built-in model casts its trunk itself and keeps the heads in fp32
    try:
        source = model_source(name, cache_dir)
        model, preprocess = open_clip.create_model_from_pretrained(
            source.model, device=device, precision="fp32" if inside else precision, **source.arguments
        )
        tokenizer = source.create_tokenizer()
        adapt_tokenizer(tokenizer)
    except EmbedderError:
        raise
    except Exception as error:
        raise EmbedderError(f"{name} cannot be loaded: {error}") from error
    if inside and device.type == "cpu":
        _share(model, lite.folder(cache_dir, name.size))
    model.eval().requires_grad_(False)
    if not inside:
        _reparameterise(model.visual)
    model.visual.to(memory_format=torch.channels_last)
    loaded = Loaded(model, preprocess, tokenizer, device, precision)
    if inside:
        loaded.dims = lite.dims(name.size)
        loaded.padding = 0
        model.visual.trunk.lower(precision)
        from imagesim.embedders.lite_model import TextParts

        model.text.proj = TextParts(model.text.proj, model.visual.trunk.heads)
    else:
        loaded.dims = _dims(name, cache_dir)
        loaded._dtype = DTYPES.get(precision, torch.float32)
    logger.info("%s runs on %s in %s.", name, device, precision)
    return loaded


class _BoundedCache(dict[str, str]):
    """A cache that takes no more when it is full. open_clip's own grows with each new word that a visitor types."""

    def __setitem__(self, key: str, value: str) -> None:
        if len(self) < MAX_WORDS:
            super().__setitem__(key, value)


def adapt_tokenizer(tokenizer: Any) -> None:
    """Make one of open_clip's tokenizers treat special tokens within a text as text, and bound its cache."""
    if hasattr(tokenizer, "bpe_ranks"):  # open_clip's own
        tokenizer.cache = _BoundedCache(tokenizer.cache)
        names = [tokenizer.decoder[number] for number in tokenizer.all_special_ids]
    else:
        added = tokenizer.tokenizer.added_tokens_decoder.values()
        names = [*tokenizer.tokenizer.all_special_tokens, *(token.content for token in added if token.special)]
    clean, separate = tokenizer.clean_fn, separator(names)
    tokenizer.clean_fn = functools.wraps(clean)(lambda text: separate(clean(text)))


def _reparameterise(tower: Any) -> None:
    """Merge the branches that some towers (MobileCLIP's) have for training only. The results stay the same."""
    trunk = getattr(tower, "trunk", None)
    if trunk is None:
        return
    from timm.utils.model import reparameterize_model

    dtype = next(trunk.parameters()).dtype
    tower.trunk = reparameterize_model(trunk.float(), inplace=True).to(dtype)


def _share(model: Any, folder: Path) -> None:
    """Map the weights from their file, so that processes share memory pages and read only those they use."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"), assign=True)


def _dims(name: ModelName, cache_dir: Path | None) -> int:
    config = name.config(cache_dir)
    if config is None:
        raise EmbedderError(f"{name} has no configuration.")
    return int(config["embed_dim"])
