"""No finder at all: the visitor draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesim.regions.base import BaseRegionFinder
from imagesim.types import Region

if TYPE_CHECKING:
    from PIL.Image import Image


class NoRegions(BaseRegionFinder):
    """Finds nothing, at no cost."""

    labels = ()

    def find(self, image: Image) -> list[Region]:
        return []
