"""The interface of region finders, which find the regions of a photo, and the configured finder.

A region is the box and the label of a thing that a shop could sell.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage

from imagesim import images
from imagesim.conf import Backend, get_instance, get_settings
from imagesim.exceptions import BadImage, ConfigurationError
from imagesim.types import Region

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_REGIONS = 12
"""The maximum number of regions of one image."""

SAME_REGIONS = ("cache_dir", "device", "precision", "runtime")
"""Options that affect where and how fast a finder runs, but not which regions it finds."""


class BaseRegionFinder(ABC):
    """The interface of a region finder, which finds the things in a photo that a shop could sell.

    Constructing one is cheap: a model is loaded on first use, never in ``__init__``, which receives the ``OPTIONS`` of
    the setting.
    """

    def __init__(self, **options: Any) -> None:
        if options:
            raise ConfigurationError(f"{type(self).__name__} does not know the option {sorted(options)[0]!r}.")

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Return every label that ``find`` can return, so that a shop can map each one to its categories."""

    @abstractmethod
    def find(self, image: Image) -> list[Region]:
        """Return the regions of an upright RGB image of any size, by descending score; empty if nothing is found.

        The same image always has the same regions. Boxes lie within the image and have an area.

        :raises EmbedderError: if the model cannot be loaded or fails.
        """

    @property
    def version(self) -> str:
        """Return a text that changes if the same options find other regions, as with new weights. Must not load the
        model."""
        return ""

    def warm_up(self) -> None:  # noqa: B027  # optional
        """Load the model now, so that the first photo does not wait for it."""

    def check(self) -> list[CheckMessage]:
        """Run the system checks of this finder's options. Must not load the model."""
        return []


class NoRegions(BaseRegionFinder):
    """Find nothing: visitors draw the regions themselves."""

    labels = ()

    def find(self, image: Image) -> list[Region]:
        return []


__all__ = ["MAX_REGIONS", "BaseRegionFinder", "comparable", "get_region_finder", "get_region_fingerprint"]


def get_region_finder(backend: Backend | None = None) -> BaseRegionFinder:
    """Return the configured region finder (or the one of ``backend``), one instance per process."""
    return get_instance(backend or get_settings().REGIONS, BaseRegionFinder)  # type: ignore[type-abstract]


def comparable(regions: Iterable[Region], size: tuple[int, int]) -> list[Region]:
    """Return the regions of an image of ``size`` that are large enough to be compared, at most the first
    ``MAX_REGIONS``."""
    return [region for region in regions if _is_comparable(region, size)][:MAX_REGIONS]


def _is_comparable(region: Region, size: tuple[int, int]) -> bool:
    left, top, right, bottom = region.pixels(size)
    try:
        images.check_shape((right - left, bottom - top))
    except BadImage:
        return False
    return True


def _plain(value: Any) -> Any:
    """Return the value of an option for JSON. Sets are sorted, because their order differs between processes."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def get_region_fingerprint(backend: Backend | None = None) -> str:
    """Return an identifier of what the configured finder (or the one of ``backend``) finds. Found regions are stored
    under it."""
    backend = backend or get_settings().REGIONS
    finder = get_region_finder(backend)
    options = {name: value for name, value in backend.options.items() if name not in SAME_REGIONS}
    text = json.dumps([backend.path, options, finder.version], sort_keys=True, default=_plain)
    return f"{type(finder).__name__[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
