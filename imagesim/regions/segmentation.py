"""The input and output of the built-in finder's network, independent of the runtime. Needs NumPy only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image as Pillow

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.regions.boxes import Map

ASSETS = Path(__file__).parent / "assets"
WEIGHTS = ASSETS / "segmenter.safetensors"
CONFIG = ASSETS / "segmenter.json"

PIXELS = 512 * 352  # approximate number of pixels of the network's input
STEP = 32
WORN_SHARE = 0.02  # an item on a plain ground with a larger share of skin or hair is worn by someone
LONGEST = 3.0  # a photo with a larger aspect ratio is squeezed


class Segmentation(Protocol):
    """The interface of the network in memory. It is thread-safe."""

    classes: list[str]
    limits: dict[str, float]
    """The minimum score of each label."""

    def predict(self, image: Image) -> tuple[Map, Map]:
        """Return the probabilities of a photo of :func:`resize` (classes, height, width) at a quarter of its size, and
        the presence (labels,)."""


@cache
def config() -> dict[str, Any]:
    """Return the description of the weights: classes, limits of the scores, checksum."""
    loaded: dict[str, Any] = json.loads(CONFIG.read_text())
    return loaded


def input_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of the network's input for a photo of ``size``: multiples of STEP, of nearly the same
    shape."""
    width, height = size
    aspect = min(LONGEST, max(1 / LONGEST, width / height))
    wide = max(STEP, round((PIXELS * aspect) ** 0.5 / STEP) * STEP)
    return wide, max(STEP, round(PIXELS / wide / STEP) * STEP)


def resize(image: Image) -> Image:
    """Resize a photo to the network's input."""
    return image.resize(input_size(image.size), Pillow.Resampling.BILINEAR, reducing_gap=1.25)


def is_worn(classes: Sequence[str], probabilities: Map, box: tuple[float, float, float, float]) -> bool:
    """Return whether the box (x, y, width, height in 0..1) holds so much skin or hair that someone wears the item."""
    _, height, width = probabilities.shape
    rows = slice(int(box[1] * height), int((box[1] + box[3]) * height) + 1)
    columns = slice(int(box[0] * width), int((box[0] + box[2]) * width) + 1)
    body = probabilities[[classes.index("skin"), classes.index("hair")]].sum(axis=0)[rows, columns]
    return float((body > 0.5).mean()) > WORN_SHARE
