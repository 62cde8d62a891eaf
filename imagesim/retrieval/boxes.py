"""Read and check the boxes that a visitor draws in a photo, and those that a region finder returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from imagesim import images
from imagesim.exceptions import BadImage, BadQuery
from imagesim.regions import MAX_REGIONS
from imagesim.types import Region

if TYPE_CHECKING:
    Box = Region | Sequence[float]
    Corners = tuple[int, int, int, int]

MAX_AREA = 6
"""The total area of the regions of a photo, as a multiple of the photo's. Regions may overlap."""

LABELS_RIGHT = 0.8
"""The score of a label that comes with a visitor's box: the share of found labels that are right (docs/regions.md)."""

TAPPED = 1 / 3
"""Side of the square around a point without a region, as a share of the photo's shorter side."""


def read_regions(regions: Iterable[Box]) -> list[Region]:
    if isinstance(regions, str | bytes) or not isinstance(regions, Iterable):
        raise _bad_region(regions)
    boxes = [as_region(box) for box in regions]
    if len(boxes) > MAX_REGIONS:
        raise BadQuery(
            _("There are %(count)d regions; send at most %(most)d.") % {"count": len(boxes), "most": MAX_REGIONS},
            field="regions",
        )
    if sum(box.width * box.height for box in boxes) > MAX_AREA:
        raise BadQuery(
            _("The regions together are larger than %(most)d photos; draw smaller ones.") % {"most": MAX_AREA},
            field="regions",
        )
    return boxes


def as_region(box: object, label: str = "") -> Region:
    """A region from x, y, width and height (0..1 of the photo), with ``label``.

    :raises BadQuery: if it is no box within the photo.
    """
    if isinstance(box, Region):
        region = box
    elif len(sides := _shares(box)) == 4:
        x, y, width, height = sides
        region = Region(x, y, width, height)
    else:
        raise _bad_region(box)
    if label:
        region = replace(region, label=label, score=LABELS_RIGHT)
    inside = 0 <= region.x <= 1 and 0 <= region.y <= 1 and 0 < region.width <= 1 and 0 < region.height <= 1
    slack = 1e-6
    if not inside or region.x + region.width > 1 + slack or region.y + region.height > 1 + slack:
        raise _bad_region(box)
    return region


def read_point(point: object) -> tuple[float, float]:
    if len(place := _shares(point)) == 2:
        return place[0], place[1]
    raise BadQuery(
        _("%(point)s is no point; give x and y from 0 to 1.") % {"point": repr(point)[:80]},
        field="point",
    )


def _shares(given: object) -> list[float]:
    """Return the numbers from 0 to 1 in a sequence; none if it holds anything else, or is too long for a box."""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or len(given) > 4:
        return []
    sound = all(isinstance(each, int | float) and not isinstance(each, bool) and 0 <= each <= 1 for each in given)
    return [float(each) for each in given] if sound else []


def region_at(boxes: Sequence[Region], point: tuple[float, float], size: tuple[int, int]) -> Region:
    """Return the smallest region that contains the point, else a square around it."""
    x, y = point
    holding = [b for b in boxes if b.x <= x <= b.x + b.width and b.y <= y <= b.y + b.height]
    if holding:
        return min(holding, key=lambda b: b.width * b.height)
    width, height = (TAPPED * min(size) / side for side in size)
    left, top = min(max(0.0, x - width / 2), 1 - width), min(max(0.0, y - height / 2), 1 - height)
    return Region(left, top, width, height)


def corners(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the region in a photo of ``size``.

    :raises BadQuery: if it is too small or too narrow to be compared.
    """
    left, top, right, bottom = region.pixels(size)
    try:
        images.check_shape((right - left, bottom - top))
    except BadImage as error:
        raise BadQuery(
            _("The region at %(x).3f, %(y).3f is too small or too narrow to be compared; draw a larger one.")
            % {"x": region.x, "y": region.y},
            field="regions",
        ) from error
    return left, top, right, bottom


def _bad_region(box: object) -> BadQuery:
    return BadQuery(
        _("%(box)s is not a region; give x, y, width and height from 0 to 1 that lie within the photo.")
        % {"box": repr(box)[:80]},
        field="regions",
    )
