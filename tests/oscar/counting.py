from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.embedders import PixelEmbedder


class CountingEmbedder(PixelEmbedder):
    """An embedder that counts the pictures."""

    embedded = 0

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray[Any, Any]:
        type(self).embedded += len(images)
        return super().embed_images(images)
