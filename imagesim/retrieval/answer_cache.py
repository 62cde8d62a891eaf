"""Answers of ``similar_to`` in Django's default cache: keys and scores. The items are read again for every page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models

from imagesim import __version__, events, hydrate, shared_cache
from imagesim.indexes import get_index
from imagesim.items import Items
from imagesim.measured_colours import filter_values
from imagesim.registry import key_of, registry
from imagesim.retrieval import rerank, search, variants
from imagesim.retrieval.params import SearchRequest
from imagesim.retrieval.variants import Variant
from imagesim.types import Candidate, Hit, Hits


@dataclass(frozen=True)
class _Answer:
    """An answer without its items. ``facts`` are the values that the filters compare, of each hit and of each of the
    closest; ``categories`` are those that were searched."""

    candidates: tuple[Candidate, ...]
    closest: tuple[Candidate, ...]
    facts: list[Any]
    about: dict[str, Any]
    categories: tuple[str, ...] = ()


def similar_to(item: models.Model, *, seconds: int, **arguments: Any) -> Hits:
    """:func:`imagesim.similar_to`, from the cache if it was answered in the last ``seconds``; 0 does not cache.

    The index is asked again as soon as a hit is no longer shown, or a value that the request filters by has changed:
    its stock, its category or one of the filters.
    """
    if not seconds or not (_is_plain(arguments.get("like")) and _is_plain(arguments.get("unlike"))):
        return search.similar_to(item, **arguments)
    items = registry.for_item(item)
    variant = variants.current("similar")
    request = SearchRequest.create("similar", arguments, (items,), variant)
    name = _name(items, item, request, variant)
    known: _Answer | None = shared_cache.read(name)
    if known is not None and (hits := _restored(items, item, request, known)) is not None:
        return hits
    hits = search.similar_to(item, **arguments)
    shown = [hit.item for hit in (*hits, *hits.closest)]
    sold_out = request.in_stock is not None and any(_in_stock(each) != request.in_stock for each in shown)
    same = variants.current("similar") == variant  # its index may have been dropped meanwhile
    if same and not hits.degraded and not sold_out:  # the index learns of a change a moment later
        kept = ("more", "exact", "next_offset", "facets", "cut", "messages", "region")
        about = {each: getattr(hits, each) for each in kept}
        facts = [_facts(items, each, request) for each in shown]
        searched = tuple(map(str, _categories(items, item, request)))
        answer = _Answer(_candidates(hits), _candidates(hits.closest), facts, about, searched)
        shared_cache.keep(name, answer, seconds)
    return hits


def _is_plain(value: Any) -> bool:
    """Whether these are words and items, not pictures, which no key can stand for."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | models.Model)


def _name(items: Items[Any], item: models.Model, request: SearchRequest, variant: Variant | None) -> str:
    """The key of the answer; another category of the item, other rules, or another variant make it another one."""
    parts = (__version__, get_index().name, items.key_of(item), *items.get_categories(item))
    shown = (variant.key, variant.backing_index) if variant else ()
    asked = " ".join((*parts, request.cache_key, rerank.active().version, *shown))
    return f"imagesim.similar.{hashlib.sha256(asked.encode()).hexdigest()}"


def _restored(items: Items[Any], item: models.Model, request: SearchRequest, known: _Answer) -> Hits | None:
    """The answer with its items as they are now; None if it has to be made again."""
    found, closest = hydrate.load(known.candidates, known.closest)
    if [_facts(items, hit.item, request) for hit in (*found, *closest)] != known.facts:
        return None
    hits = Hits(found, closest=closest, **known.about)
    token = events.make_token(  # one per page view
        "similar",
        hits,
        query_key=items.key_of(item),
        categories=known.categories,
        offset=request.offset,
        limit=request.limit,
    )
    return hits.replace(token=token)


def _categories(items: Items[Any], item: models.Model, request: SearchRequest) -> Iterable[str]:
    """The categories that are searched; empty for all."""
    if request.category or request.same_category:
        return request.category or items.get_categories(item)
    if not request.region_id:
        return ()
    from imagesim.retrieval.item_regions import region_of  # other pages need not load it

    return region_of(item, request.region_id).categories


def _facts(items: Items[Any], item: models.Model, request: SearchRequest) -> Any:
    values = filter_values(items, [item])[0] if request.filters else {}
    return (
        key_of(item),
        None if request.in_stock is None else _in_stock(item),
        list(hydrate.fact_of(item, "get_categories", ())) if request.category or request.same_category else [],
        [values.get(condition.field) for condition in request.filters],
    )


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
