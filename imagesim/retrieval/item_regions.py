"""The regions of items' own images, as the sync stored them: no model is loaded and no image is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.db import models
from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.exceptions import BadQuery, ConfigurationError
from imagesim.items import Items
from imagesim.models import ImageRegions, ItemImage
from imagesim.regions import get_region_fingerprint
from imagesim.regions.labels import GARMENTS, ITEM, NEUTRAL, label_for, likely_categories, name_of
from imagesim.registry import registry
from imagesim.retrieval import rerank
from imagesim.retrieval.arguments import Searched
from imagesim.retrieval.filters import categories_of
from imagesim.types import Region

_WORN = frozenset({*GARMENTS, *NEUTRAL}) - {ITEM}


@dataclass(frozen=True, slots=True)
class ItemRegion:
    """A region with one thing in one of an item's own images."""

    id: str
    """Identifies it among those of the item, as long as the image and the region finder are the same."""
    image: str
    """The name of the image in the storage."""
    region: Region
    categories: tuple[str, ...]
    """The shop's categories for its label; empty if any may hold what is like it."""
    row: int
    place: int
    """Where its vectors are: the primary key of ``ImageRegions``, and the position in it."""

    @property
    def name(self) -> str:
        """Its label in the visitor's language."""
        return name_of(self.region.label or ITEM)


def item_regions(item: models.Model) -> list[ItemRegion]:
    """The things in the item's own images, in the order of the images; at most two database queries.

    Left out is a thing of a kind that the shop has no category for, as nothing could be found for it, and a garment in
    the images of an item whose own categories are none of garments.

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
    """The region of the item that has this id.

    :raises BadQuery: if there is none, or no longer.
    """
    for found in item_regions(item):
        if found.id == id:
            return found
    raise BadQuery(_("%(item)s has no region %(id)s.") % {"item": item, "id": repr(id)[:40]}, field="region_id")


def label_categories(searched: Searched, region: Region) -> tuple[str, ...]:
    """The shop's categories for a region's label."""
    if not region.label:
        return ()
    return tuple(dict.fromkeys(category for items in searched for category in _categories_in(items, region)))


def is_sold(searched: Searched, region: Region) -> bool:
    """Whether the shop has categories for the region's label, or declares that the nearest items decide."""
    return bool(label_categories(searched, region)) or any(region.label in _declared(items) for items in searched)


def sells_garments(searched: Searched) -> bool:
    """Whether the shop has a category for any label of a garment, or its categories are not known."""
    return any(
        _declared(items) or not (known := categories_of(items)) or any(map(label_for, known)) for items in searched
    )


def _declared(items: Items[Any]) -> Mapping[str, Sequence[str]]:
    """The categories by label, as ``look_categories`` and the reranker declare them."""
    return {**items.look_categories, **rerank.active().label_categories}


def _categories_in(items: Items[Any], region: Region) -> Iterable[str]:
    """The categories declared for the label or its alternatives, else those whose names suggest it."""
    declared, known = _declared(items), categories_of(items)
    if region.label in declared:
        return declared[region.label]
    if declared.keys().isdisjoint(region.alternatives):
        return likely_categories(region.label, known, region.alternatives)
    each = (declared.get(label) or likely_categories(label, known) for label in region.alternatives)
    return [category for categories in each for category in categories]


def _in_image(items: Items[Any], row: ImageRegions, name: str, garments: bool) -> Iterator[ItemRegion]:
    for place, region in enumerate(row.boxes):
        if not garments and region.label in _WORN:
            continue
        categories = () if region.label == ITEM else label_categories((items,), region)
        if categories or region.label in ("", ITEM) or is_sold((items,), region) or not categories_of(items):
            yield ItemRegion(_id(row.digest, region), name, region, categories, row.pk, place)


def _may_show_garments(items: Items[Any], item: models.Model) -> bool:
    """Whether garments are believed in the item's images: a finder of garments takes armchairs for bags."""
    own = items.get_categories(item)
    declared = {slug for label, slugs in _declared(items).items() if label in _WORN for slug in slugs}
    return not own or any(category in declared or label_for(category) for category in own)


def _id(digest: str, region: Region) -> str:
    place = f"{digest} {region.x:.4f} {region.y:.4f} {region.width:.4f} {region.height:.4f}"
    return hashlib.sha256(place.encode()).hexdigest()[:12]
