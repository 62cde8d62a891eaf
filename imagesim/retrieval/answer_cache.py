"""Answers of ``similar_to`` in Django's default cache: keys and scores. The items are read again for every page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models

from imagesim import __version__, picture_versions, shared_cache
from imagesim.indexes import get_index
from imagesim.items import Items, hydrate
from imagesim.items.measured_colours import filter_values
from imagesim.items.registry import key_of
from imagesim.retrieval import rerank
from imagesim.retrieval.params import SearchRequest
from imagesim.retrieval.variants import Variant
from imagesim.types import Candidate, Hit, Hits


@dataclass(frozen=True)
class _Answer:
    """An answer without its items.

    ``facts``: for each hit and each of the closest, the values that the request filters by; ``about``: the other
    attributes of the hits; ``categories``: those that were searched; ``version``: that of the item's pictures.
    """

    candidates: tuple[Candidate, ...]
    closest: tuple[Candidate, ...]
    facts: list[Any]
    about: dict[str, Any]
    categories: tuple[str, ...]
    version: str


class CachedAnswer:
    """The answer to one request in the cache, under ``name``.

    The name depends on the categories of the item (all of them are in ``own``), the rules, and the visitor's variant.
    """

    def __init__(
        self, items: Items[Any], key: str, own: Sequence[str], request: SearchRequest, variant: Variant | None
    ) -> None:
        shown = (variant.key, variant.backing_index) if variant else ()
        parts = (__version__, get_index().name, key, *own, request.cache_key, rerank.active().version, *shown)
        self.name = f"imagesim.similar.{hashlib.sha256(repr(parts).encode()).hexdigest()}"
        self._version_name, self._version = picture_versions.version_name(key), ""
        self._items, self._request = items, request

    def read(self) -> tuple[Hits, tuple[str, ...]] | None:
        """Return the hits, their items as they are now, and the categories that were searched.

        None if there is no answer, if the item has other pictures since, if one of its hits is no longer shown, or if a
        value that the request filters by has changed: the stock, the category or one of the filters.
        """
        found = shared_cache.read_many([self.name, self._version_name])
        self._version = found.get(self._version_name, "")
        known: _Answer | None = found.get(self.name)
        if known is None or known.version != self._version:
            return None
        hits, closest = hydrate.load(known.candidates, known.closest)
        if [self._facts(hit.item) for hit in (*hits, *closest)] != known.facts:
            return None
        return Hits(hits, closest=closest, **known.about), known.categories

    def keep(self, hits: Hits, categories: tuple[str, ...], seconds: int) -> None:
        """Keep an answer, found after :meth:`read`, for this number of seconds, unless it is degraded, or the stock of
        an item has changed since it was indexed."""
        request = self._request
        shown = [hit.item for hit in (*hits, *hits.closest)]
        stale = request.in_stock is not None and any(_in_stock(each) != request.in_stock for each in shown)
        if hits.degraded or stale:
            return
        kept = ("more", "exact", "next_offset", "facets", "cut", "messages", "region")
        about = {each: getattr(hits, each) for each in kept}
        facts = [self._facts(each) for each in shown]
        answer = _Answer(_candidates(hits), _candidates(hits.closest), facts, about, categories, self._version)
        shared_cache.keep(self.name, answer, min(seconds, picture_versions.SECONDS))

    def _facts(self, item: models.Model) -> Any:
        """Return the key of an item and the values that the request filters by."""
        request = self._request
        values = filter_values(self._items, [item])[0] if request.filters else {}
        return (
            key_of(item),
            None if request.in_stock is None else _in_stock(item),
            list(hydrate.fact_of(item, "get_categories", ())) if request.category else [],
            [values.get(condition.field) for condition in request.filters],
        )


def can_keep(request: SearchRequest) -> bool:
    """Return whether the answer to a request can be kept: pictures in ``like`` or ``unlike`` have no key."""
    return _is_plain(request.like) and _is_plain(request.unlike)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | models.Model)


def _in_stock(item: models.Model) -> bool | None:
    return hydrate.fact_of(item, "get_in_stock", None)


def _candidates(hits: Iterable[Hit]) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            key_of(hit.item),
            hit.score,
            "",
            hit.image.digest,
            hit.image.name,
            hit.stage,
            relevance=hit.relevance,
            rules=hit.rules,
        )
        for hit in hits
    )
