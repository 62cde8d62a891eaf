"""Embedders for the tests of this project; the tiny one is part of ``imagesim.testing``."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

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
    """Another model: it sees no colours, only how light they are."""

    components = MappingProxyType({"half": slice(0, 16)})

    def __init__(self, *, name: str = "grey", **options: Any) -> None:
        super().__init__(name=name, **options)

    def _pixels(self, image: Image.Image) -> np.ndarray:
        return super()._pixels(image.convert("L"))
