"""A region finder for tests, which finds red, blue and green areas."""

from __future__ import annotations

import numpy as np
from PIL import Image

from imagesim.regions import BaseRegionFinder
from imagesim.types import Region

FINDER = {"BACKEND": "tests.regions.ColourFinder"}
LABELS = {"shoes": (255, 0, 0), "hat": (0, 0, 255), "item": (0, 128, 0)}


class ColourFinder(BaseRegionFinder):
    """Find one region for each colour in ``LABELS`` in the photo: the bounding box of its pixels."""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(LABELS)

    def find(self, image: Image.Image) -> list[Region]:
        pixels = np.asarray(image, dtype=int)
        height, width = pixels.shape[:2]
        found = []
        for label, colour in LABELS.items():
            rows, columns = np.nonzero(np.abs(pixels - colour).max(axis=2) < 40)
            if len(rows):
                x, y = columns.min(), rows.min()
                found.append(
                    Region(
                        float(x / width),
                        float(y / height),
                        float((columns.max() + 1 - x) / width),
                        float((rows.max() + 1 - y) / height),
                        label=label,
                        score=0.9,
                    )
                )
        return found


def hat_and_shoes() -> Image.Image:
    """Draw a blue hat above and red shoes below, on white."""
    image = Image.new("RGB", (300, 600), "white")
    image.paste("blue", (100, 60, 200, 120))
    image.paste("red", (60, 480, 240, 570))
    return image
