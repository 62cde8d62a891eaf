"""Regions: boxes that visitors draw in a photo or a finder returns, those of items' own images as the sync stored them,
and the categories that a shop has for their labels. No model is loaded, and no image is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import models
from django.utils.translation import gettext as _

from imagesim import images
from imagesim.conf import get_settings
from imagesim.exceptions import BadImage, BadQuery, ConfigurationError
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.models import ImageRegions, ItemImage
from imagesim.regions import MAX_REGIONS, get_region_fingerprint
from imagesim.regions.labels import GARMENTS, ITEM, NEUTRAL, label_for, likely_categories, name_of
from imagesim.retrieval import rerank
from imagesim.retrieval.arguments import Searched
from imagesim.retrieval.filters import categories_of
from imagesim.types import Region

if TYPE_CHECKING:
    Box = Region | Sequence[float]
    Corners = tuple[int, int, int, int]


MAX_AREA = 6
"""The total area of the regions of a photo, as a multiple of the photo's. Regions may overlap."""

LABELS_RIGHT = 0.8
"""The score of a label that comes with a visitor's box: the share of found labels that are right (docs/regions.md)."""

TAPPED = 1 / 3
"""The side of the square around a point without a region, as a share of the photo's shorter side."""


def read_regions(regions: Iterable[Box]) -> list[Region]:
    """Return the regions that a visitor drew.

    :raises BadQuery: if one is not a box within the photo, or there are too many, or they are too large together.
    """
    if isinstance(regions, str | bytes | Mapping) or not isinstance(regions, Iterable):
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
    """Return a region from x, y, width and height (0..1 of the photo), with ``label`` unless it is empty.

    :raises BadQuery: if it is not a box within the photo.
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
    """Return x and y of a point, 0..1 of the photo.

    :raises BadQuery: if it is not a point.
    """
    if len(place := _shares(point)) == 2:
        return place[0], place[1]
    raise BadQuery(
        _("%(point)s is not a point; give a list of two numbers from 0 to 1 (x, y).") % {"point": repr(point)[:80]},
        field="point",
    )


def _shares(given: object) -> list[float]:
    """Return the numbers from 0 to 1 in a sequence; an empty list if it holds anything else, or is too long for a
    box."""
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
    """Return (left, top, right, bottom) of the region in pixels of a photo of ``size``.

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
        _(
            "%(box)s is not a region; give a list of four numbers from 0 to 1 (x, y, width, height) that lie within "
            "the photo."
        )
        % {"box": repr(box)[:80]},
        field="regions",
    )


_WORN = frozenset({*GARMENTS, *NEUTRAL}) - {ITEM}


@dataclass(frozen=True, slots=True)
class ItemRegion:
    """A region with one thing in one of an item's own images."""

    id: str
    """Identifies the region among those of the item, as long as the image and the region finder are the same."""
    image: str
    """The name of the image in the storage."""
    region: Region
    categories: tuple[str, ...]
    """The shop's categories for its label; empty if any category may hold similar items."""
    row: int
    place: int
    """Where its vectors are: the primary key of ``ImageRegions``, and the position in it."""

    @property
    def name(self) -> str:
        """Its label in the visitor's language."""
        return name_of(self.region.label or ITEM)


def item_regions(item: models.Model) -> list[ItemRegion]:
    """Return the things in the item's own images, in the order of the images, with at most two database queries.

    Things for whose label the shop has no category are left out, because nothing could be found for them, and so are
    garments in the images of an item whose own categories are not for garments.

    :raises NotRegistered: if the item's model is not registered.
    """
    items = registry.for_item(item)
    if not get_settings().ITEM_REGIONS:
        return []
    own = ItemImage.objects.filter(state__model=items.label, state__object_pk=items.pk_of(item), error="")
    names = {digest: name for digest, name in own.order_by("-position").values_list("digest", "name") if digest}
    if not names:
        return []
    try:
        rows = ImageRegions.objects.filter(digest__in=names, finder=get_region_fingerprint())
    except ConfigurationError:
        return []
    known = {row.digest: row for row in rows}
    garments = bool(known) and _may_show_garments(items, item)
    return [
        found
        for digest in reversed(names)
        if digest in known
        for found in _in_image(items, known[digest], names[digest], garments)
    ]


aitem_regions = sync_to_async(item_regions)


def region_of(item: models.Model, id: str) -> ItemRegion:
    """Return the region of the item that has this id.

    :raises BadQuery: if there is none.
    """
    for found in item_regions(item):
        if found.id == id:
            return found
    raise BadQuery(_("%(item)s has no region %(id)s.") % {"item": item, "id": repr(id)[:40]}, field="region_id")


def label_categories(searched: Searched, region: Region) -> tuple[str, ...]:
    """Return the shop's categories for a region's label."""
    if not region.label:
        return ()
    return tuple(dict.fromkeys(category for items in searched for category in _categories_in(items, region)))


def is_sold(searched: Searched, region: Region) -> bool:
    """Return whether the shop has categories for the region's label, or declares that the nearest items decide."""
    return bool(label_categories(searched, region)) or any(region.label in _declared(items) for items in searched)


def sells_garments(searched: Searched) -> bool:
    """Return whether the shop has a category for any label of a garment, or its categories are not known."""
    return any(
        _declared(items) or not (known := categories_of(items)) or any(map(label_for, known)) for items in searched
    )


def _declared(items: Items[Any]) -> Mapping[str, Sequence[str]]:
    """Return the categories by label that ``look_categories`` and the reranker declare."""
    return {**items.look_categories, **rerank.active().label_categories}


def _categories_in(items: Items[Any], region: Region) -> Iterable[str]:
    """Return the categories declared for the label or its alternatives, or else those whose names suggest it."""
    declared, known = _declared(items), categories_of(items)
    if region.label in declared:
        return declared[region.label]
    if declared.keys().isdisjoint(region.alternatives):
        return likely_categories(region.label, known, region.alternatives)
    each = (declared.get(label) or likely_categories(label, known) for label in region.alternatives)
    return [category for categories in each for category in categories]


def _in_image(items: Items[Any], row: ImageRegions, name: str, garments: bool) -> Iterator[ItemRegion]:
    """Yield the things in one image with this name, without ``garments`` if they are not wanted."""
    for place, region in enumerate(row.boxes):
        if not garments and region.label in _WORN:
            continue
        categories = () if region.label == ITEM else label_categories((items,), region)
        if categories or region.label in ("", ITEM) or is_sold((items,), region) or not categories_of(items):
            yield ItemRegion(_id(row.digest, region), name, region, categories, row.pk, place)


def _may_show_garments(items: Items[Any], item: models.Model) -> bool:
    """Return whether the item's images may show garments: a finder of garments mistakes armchairs for bags."""
    own = items.get_categories(item)
    declared = {slug for label, slugs in _declared(items).items() if label in _WORN for slug in slugs}
    return not own or any(category in declared or label_for(category) for category in own)


def _id(digest: str, region: Region) -> str:
    """Return the id of a region in the image with this digest."""
    place = f"{digest} {region.x:.4f} {region.y:.4f} {region.width:.4f} {region.height:.4f}"
    return hashlib.sha256(place.encode()).hexdigest()[:12]
