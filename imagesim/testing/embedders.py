"""A small embedder for tests: deterministic and instant; similar pictures get similar vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from imagesim.embedders import BaseEmbedder

SIDE = 8


class PixelEmbedder(BaseEmbedder):
    """Projects a few pixels with a fixed random matrix. A colour's name is embedded as a picture of that colour, any
    other word as noise.

    ``name`` and ``dims`` make the fingerprint, so that a test can change the model.
    """

    def __init__(self, *, name: str = "pixels", dims: int = 64, supports_texts: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.supports_texts = supports_texts
        self._dims = dims
        self._name = name
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        self._projection = np.random.default_rng(seed).standard_normal((SIDE * SIDE * 3 + 1, dims)).astype(np.float32)

    @property
    def dims(self) -> int:
        return self._dims

    @property
    def fingerprint(self) -> str:
        return f"test-{self._name}-{self._dims}"

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        rows = np.stack([self._pixels(image) for image in images]) if images else np.empty((0, SIDE * SIDE * 3 + 1))
        return self._unit(rows @ self._projection)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        rows = [
            sum((self._word(word) for word in text.lower().split() or [""]), np.zeros(self._dims)) for text in texts
        ]
        return self._unit(np.stack(rows) if rows else np.empty((0, self._dims)))

    def _pixels(self, image: Image.Image) -> np.ndarray:
        small = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
        pixels: np.ndarray = np.append(small.ravel() / 127.5 - 1, np.float32(0.1))
        return pixels

    def _word(self, word: str) -> np.ndarray:
        try:
            colour = ImageColor.getrgb(word)[:3]
        except ValueError:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            rows = self._unit(np.random.default_rng(seed).standard_normal((1, self._dims)))
        else:
            rows = self.embed_images([Image.new("RGB", (SIDE, SIDE), colour)])
        row: np.ndarray = rows[0]
        return row

    @staticmethod
    def _unit(rows: np.ndarray) -> np.ndarray:
        unit: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit
