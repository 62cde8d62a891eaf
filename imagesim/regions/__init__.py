"""Photo -> regions: the boxes and labels of the things that a shop could sell."""

from __future__ import annotations

from imagesim.backends import get_instance
from imagesim.conf import Backend, get_settings
from imagesim.regions.base import BaseRegionFinder

__all__ = ["BaseRegionFinder", "get_region_finder"]


def get_region_finder(backend: Backend | None = None) -> BaseRegionFinder:
    """The configured region finder (or the one of ``backend``), one instance per process."""
    return get_instance(backend or get_settings().REGIONS, BaseRegionFinder)  # type: ignore[type-abstract]
