"""Embedders for the tests of this project; the tiny one is part of ``imagesim.testing``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from imagesim.exceptions import EmbedderError
from imagesim.testing.embedders import SIDE, PixelEmbedder


class PartsEmbedder(PixelEmbedder):
    """An embedder with two components: shape (the lightness of the pixels) and colour (their mean)."""

    components = MappingProxyType({"shape": slice(0, SIDE * SIDE), "colour": slice(SIDE * SIDE, SIDE * SIDE + 3)})

    def __init__(self, *, weights: dict[str, float] | None = None) -> None:
        super().__init__(name="parts", dims=SIDE * SIDE + 3)
        self._weights = weights or {}

    @property
    def weights(self) -> dict[str, float]:
        return self._weights

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        small = [np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32) for image in images]
        shapes = [each.mean(axis=2).ravel() - each.mean() for each in small]
        colours = [each.reshape(-1, 3).mean(axis=0) - 100 for each in small]
        return self._unit(np.hstack([self._unit(np.stack(shapes)), self._unit(np.stack(colours))]))


class GreyEmbedder(PixelEmbedder):
    """A different model: it sees no colours, only how light they are."""

    components = MappingProxyType({"half": slice(0, 16)})

    def __init__(self, *, name: str = "grey", **options: Any) -> None:
        super().__init__(name=name, **options)

    def _pixels(self, image: Image.Image) -> np.ndarray:
        return super()._pixels(image.convert("L"))


class WrappingEmbedder(PixelEmbedder):
    """Reports every exception as an error of the model, as many embedders do, and is slow until the file ``quick``
    exists."""

    def __init__(self, *, quick: str, **options: Any) -> None:
        super().__init__(name="wrapping", **options)
        self._quick = Path(quick)

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        try:
            if not self._quick.exists():
                self.wait()
            return super().embed_images(images)
        except Exception as error:
            raise EmbedderError(f"The model failed: {error!r}") from error

    def wait(self) -> None:
        self._quick.with_suffix(".waiting").touch()
        time.sleep(100)
