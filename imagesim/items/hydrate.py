"""Load the shop's items for candidates."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django.db import models

from imagesim.circuit_breaker import log_repeated
from imagesim.database import CONNECTION_ERRORS, batched
from imagesim.items import Items, M, paths, split_key
from imagesim.items.keys import valid_pks
from imagesim.items.registry import registry
from imagesim.types import Candidate, Hit, HitImage

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK = 1_000
"""The number of items whose groups are read together."""


def load(*answers: Sequence[Candidate], in_stock: bool | None = None) -> list[list[Hit]]:
    """Return the hits of each list of candidates, in the same order, without items that were deleted or are no longer
    shown.

    The items of all the lists are loaded together; for ``in_stock`` see :func:`load_items`.
    """
    items = load_items((candidate.key for candidates in answers for candidate in candidates), in_stock)
    return [hits_of(candidates, items) for candidates in answers]


def hits_of(candidates: Iterable[Candidate], items: Mapping[str, models.Model]) -> list[Hit]:
    """Return the hits of the candidates whose items are among ``items``, in the same order."""
    return [
        Hit(item, each.score, HitImage(each.image_name, each.image_digest), each.stage, each.relevance, each.rules)
        for each in candidates
        if (item := items.get(each.key)) is not None
    ]


def load_items(
    keys: Iterable[str], in_stock: bool | None = None, *, to_many: bool = True, images_only: bool = False
) -> dict[str, models.Model]:
    """Return the items with these keys that the shop shows now, by key: one query per model and one per prefetch.

    With ``in_stock``, items known to differ from it are left out: an item whose stock changed by ``update()`` stays in
    the index as it was until the next reconcile. ``to_many``: load what pages show of hits, with their photos;
    otherwise only what a query reads of its own item. ``images_only``: of their relations, load only their photos.
    """
    found = {}
    for items, pks in registry.grouped(map(split_key, keys)):
        shown = items.for_images if images_only else items
        queryset = shown.get_hit_queryset() if to_many else items.for_asking(items.get_queryset())
        for item in with_pks(queryset, pks).order_by():
            if _is_shown(items, item) and (in_stock is None or _known_stock(items, item) in (in_stock, None)):
                found[items.key_of(item)] = item
    return found


def _known_stock(items: Items[Any], item: models.Model) -> bool | None:
    """Return whether the item is in stock, if that takes no query, otherwise None. Also None if items have variants:
    another one of the group, which this one stands for, may be in stock."""
    if type(items).get_in_stock is not Items.get_in_stock or not items.in_stock or items.has_groups:
        return None
    with without_failing(items, item, "get_in_stock"):
        return items.get_in_stock(item) if paths.is_loaded(item, items.in_stock) else None
    return None


def with_pks(queryset: models.QuerySet[M], pks: Iterable[str]) -> models.QuerySet[M]:
    """Return the rows of ``queryset`` with these primary keys, ignoring invalid ones."""
    return queryset.filter(pk__in=valid_pks(queryset.model, pks))


def with_groups(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each key with that of the item's group, in the same order; with the key itself if the item has no group, if
    the shop no longer has it, or if the shop's code fails on it."""
    if not any(items.has_groups for items in registry):
        yield from ((key, key) for key in keys)
        return
    for chunk in batched(keys, CHUNK):
        groups: dict[str, str] = {}
        for items, pks in registry.grouped(map(split_key, chunk)):
            if not items.has_groups:
                continue
            queryset = items.for_asking(items.get_queryset(), category=False)
            for item in with_pks(queryset, pks).order_by():
                with without_failing(items, item, "get_group"):
                    groups[items.key_of(item)] = items.group_key_of(item)
        yield from ((key, groups.get(key, key)) for key in chunk)


def _is_shown(items: Items[Any], item: models.Model) -> bool:
    """Return whether the shop shows the item now. False if the shop's code fails on it: the error would break every
    page that has it among its hits. The sync stores that error with the item."""
    with without_failing(items, item, "should_index", ", which is not shown"):
        return items.should_index(item)
    return False


def fact_of(item: models.Model, method: str, otherwise: T) -> T:
    """Return what the shop's ``method`` returns for a hit; ``otherwise`` if it fails, so that the page does not."""
    items = registry.for_item(item)
    with without_failing(items, item, method):
        found: T = getattr(items, method)(item)
        return found
    return otherwise


class without_failing:
    """A context manager that logs an error of the shop's ``method``, for one item or for all, instead of failing the
    page; a database outage is still raised. A class, because every hit of a page enters several, and a generator takes
    twice as long."""

    def __init__(self, items: Items[Any], item: models.Model | None, method: str, consequence: str = "") -> None:
        self._items, self._item, self._method, self._consequence = items, item, method, consequence

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, CONNECTION_ERRORS):
            return False
        who = f"{type(self._items).__name__}.{self._method}()"
        whom = "" if self._item is None else f" for {self._items.key_of(self._item)}"
        log_repeated(logger, logging.ERROR, who, f"%s fails%s{self._consequence}", who, whom, exc_info=error)
        return True
