"""The one item on a plain ground, as in a product picture or a photo of something laid flat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesim.regions.base import BaseRegionFinder
from imagesim.types import Region

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

WORKING_SIZE = 160  # pixels of the longer side; enough for a box to within a percent
GROUND_TOLERANCE = 40.0  # Euclidean distance in RGB of the ground from its mean colour, at most
PLAIN_SHARE = 0.75  # share of the border that is ground in a picture with a plain ground
SPECK_SHARE = 0.02  # a row or column with a smaller share of the item is noise or the edge of a shadow
SMALLEST_SHARE = 0.02  # of the picture; a smaller box is not an item


class SingleItemFinder(BaseRegionFinder):
    """The box of the item on a plain ground, with the label ``item``; nothing on any other picture.

    The ground's colour is interpolated between the medians of the four borders, so that a soft gradient counts as
    plain. It needs NumPy only.
    """

    labels = ("item",)

    def find(self, image: Image) -> list[Region]:
        box = item_box(image)
        return [] if box is None else [Region(*box, label="item", score=1.0)]


def item_box(image: Image) -> tuple[float, float, float, float] | None:
    """x, y, width, height in 0..1 of the one thing on a plain ground; None where the ground is not plain."""
    import numpy as np

    pixels = _small(image)
    height, width = pixels.shape[:2]
    if min(height, width) < 8:
        return None
    distance = np.linalg.norm(pixels - _ground(pixels), axis=2)
    border = np.concatenate([distance[0], distance[-1], distance[1:-1, 0], distance[1:-1, -1]])
    if float((border < GROUND_TOLERANCE).mean()) < PLAIN_SHARE:
        return None
    item = distance >= GROUND_TOLERANCE
    rows = np.flatnonzero(item.mean(axis=1) >= SPECK_SHARE)
    columns = np.flatnonzero(item.mean(axis=0) >= SPECK_SHARE)
    if not len(rows) or not len(columns):
        return None
    top, bottom = rows[0], rows[-1] + 1
    left, right = columns[0], columns[-1] + 1
    if (bottom - top) * (right - left) < SMALLEST_SHARE * height * width:
        return None
    return (
        float(left / width),
        float(top / height),
        float((right - left) / width),
        float((bottom - top) / height),
    )


def _small(image: Image) -> npt.NDArray[np.float32]:
    import numpy as np
    from PIL import Image as Pillow

    scale = WORKING_SIZE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Pillow.Resampling.BOX, reducing_gap=2.0), dtype=np.float32)


def _ground(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The colour of the ground at every pixel, interpolated from the medians of the four sides."""
    import numpy as np

    height, width = pixels.shape[:2]
    top, bottom = np.median(pixels[:2], axis=(0, 1)), np.median(pixels[-2:], axis=(0, 1))
    left, right = np.median(pixels[:, :2], axis=(0, 1)), np.median(pixels[:, -2:], axis=(0, 1))
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    vertical = top * (1 - down) + bottom * down
    horizontal = left * (1 - across) + right * across
    ground: npt.NDArray[np.float32] = ((vertical + horizontal) / 2).astype(np.float32)
    return ground
