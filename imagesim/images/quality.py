"""Measure how good a picture is for shoppers: its size, and how blurred it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesim import images

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

MIN_SIDE = 200
"""Pixels of the short side below which a picture is called tiny."""

BLURRED = 0.55
"""The blur above which a picture is called blurred. Calibrated by ``python -m benchmarks.duplicates``:
docs/howto-insight.md has the figures."""

SIDE = 384
"""Pixels of the long side at which blur is measured: about what a page shows."""

WINDOW = 9


@dataclass(frozen=True, slots=True)
class Quality:
    """Width and height in pixels of the upright picture, and its blur, 0 (sharp) to 1."""

    width: int
    height: int
    blur: float

    @property
    def is_tiny(self) -> bool:
        return min(self.width, self.height) < MIN_SIDE

    @property
    def is_blurred(self) -> bool:
        return self.blur > BLURRED


def measure(data: bytes) -> Quality:
    """Measure a picture, decoded no larger than that needs.

    :raises BadImage: as :func:`imagesim.images.decode`.
    """
    width, height = images.dimensions(data)
    return Quality(width, height, blur(images.decode(data, min_decode_side=SIDE)))


def blur(image: Image) -> float:
    """Return how blurred an image is, 0 (sharp) to 1, without a reference.

    This is the share of the variation between neighbouring pixels that a further blur leaves as it was (F. Crété et
    al., "The blur effect", 2007): a sharp image loses most of it. 0 for an image of one colour.
    """
    import numpy as np  # the admin of a shop need not load it

    grey = image.convert("L")
    if max(grey.size) > SIDE:
        grey.thumbnail((SIDE, SIDE))
    pixels = np.asarray(grey, dtype=np.float32)
    return max(_along(pixels), _along(pixels.T))


def _along(pixels: npt.NDArray[np.float32]) -> float:
    import numpy as np

    if pixels.shape[0] < WINDOW + 2:
        return 0.0
    sums = np.cumsum(np.pad(pixels, ((WINDOW // 2 + 1, WINDOW // 2), (0, 0)), mode="edge"), axis=0)
    smooth = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    before, after = np.abs(np.diff(pixels, axis=0)), np.abs(np.diff(smooth, axis=0))
    total = float(before.sum())
    lost = float(np.maximum(before - after, 0).sum())
    return (total - lost) / total if total else 0.0
