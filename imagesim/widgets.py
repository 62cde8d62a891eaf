"""What the template tags show, as plain functions: a page never breaks because the index cannot answer."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext

from imagesim import events
from imagesim.conf import get_settings
from imagesim.exceptions import CircuitOpen, EmbedderError, NotIndexed, SearchIndexError
from imagesim.middleware import degraded
from imagesim.registry import key_of, registry
from imagesim.retrieval import hydrate, search
from imagesim.retrieval.params import argument_names
from imagesim.thumbnails import srcset, thumbnail_url
from imagesim.types import Candidate, Facet, Hit, Hits

if TYPE_CHECKING:
    from imagesim.retrieval.look import Look

logger = logging.getLogger(__name__)

THUMBNAIL_WIDTH = 320
"""Pixels of the picture that a card shows where the browser does not choose one."""


@dataclass(frozen=True)
class Card:
    """A hit with what a page needs to show it; ``url`` and the addresses of its picture may be empty."""

    hit: Hit
    title: str
    url: str
    image_url: str
    thumbnail_url: str = ""
    srcset: str = ""

    @property
    def item(self) -> Any:
        return self.hit.item

    @property
    def key(self) -> str:
        return key_of(self.hit.item)


@dataclass(frozen=True)
class Section:
    """One region of a look, by the name a page shows, and whether all of its cards are of other kinds."""

    name: str
    cards: list[Card]
    only_wider: bool = False


def cards(hits: Hits) -> list[Card]:
    """The hits, ready to show."""
    return [_card(hit) for hit in hits]


def _card(hit: Hit) -> Card:
    items, name = registry.for_item(hit.item), hit.image.name
    return Card(
        hit=hit,
        title=str(hit.item),
        url=hit.item.get_absolute_url() if hasattr(hit.item, "get_absolute_url") else "",
        image_url=items.get_image_url(hit.item, name),
        thumbnail_url=thumbnail_url(items, hit.item, name, THUMBNAIL_WIDTH),
        srcset=srcset(items, hit.item, name),
    )


def similar_hits(
    item: models.Model, *, filters: dict[str, Any] | None = None, timeout: int = 0, **arguments: Any
) -> Hits:
    """:func:`imagesim.similar_to` for a page: where the index cannot answer, no hits and the reason in ``degraded``.

    Arguments that ``similar_to`` does not know are filters, so that a template can say ``price__lte=50``.
    With ``timeout`` (seconds) the answer is kept in the default cache; the items themselves are always read anew.

    :raises NotRegistered, BadQuery: a mistake in the template or in what it was given.
    """
    filters = dict(filters or {})
    for name in set(arguments) - set(argument_names("similar")):
        filters[name] = arguments.pop(name)
    arguments["filters"] = filters or None
    name = _cache_name(item, arguments) if timeout else ""
    kept = cache.get(name) if timeout else None
    if kept is not None:
        return _restored(item, *kept)
    try:
        hits = search.similar_to(item, **arguments)
    except NotIndexed as reason:
        logger.info("No similar items for %s: %s", key_of(item), reason)
        return Hits(degraded=str(reason))
    except (CircuitOpen, SearchIndexError, EmbedderError) as reason:
        logger.warning("No similar items for %s: %s", key_of(item), reason)
        degraded(reason.code)
        return Hits(degraded=str(reason))
    if timeout and not hits.degraded:
        cache.set(name, _kept(hits), timeout)
    return hits


def of_its_kind(item: models.Model, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a row of similar products: the item's own kind first, and nothing that is not relevant."""
    kind: dict[str, Any] = {"min_relevance": get_settings().MIN_RELEVANCE or None}
    if not {"category", "same_category", "fallback"} & set(arguments) and registry.for_item(item).get_categories(item):
        kind |= {"same_category": True, "fallback": True}
    return kind | arguments


def sections(look: Look) -> list[Section]:
    """A look as a page shows it without JavaScript: its regions, and the photo as a whole where none was found."""
    found = [
        Section(
            region.name or gettext("Your box"),
            cards(drop_weak_fallback(region.hits)),
            only_wider=all(hit.stage for hit in region.hits),
        )
        for region in look.regions
    ]
    return found or [Section(gettext("Whole photo"), cards(drop_weak_fallback(look.hits)))]


def drop_weak_fallback(hits: Hits) -> Hits:
    """Without those that fill up from other categories and are less alike than what its own has on average."""
    own = [hit.score for hit in hits if not hit.stage]
    usual = sum(own) / len(own) if own else -1.0
    return Hits([hit for hit in hits if not hit.stage or hit.score >= usual], more=hits.more)


def api_url(name: str, *arguments: str) -> str:
    """The address of a view of the REST face; empty if the project does not include it."""
    try:
        return reverse(f"imagesim:{name}", args=arguments)
    except NoReverseMatch:
        return ""


def events_url() -> str:
    """Where views and clicks are told; empty while events are off."""
    return api_url("events") if events.enabled() else ""


def _cache_name(item: models.Model, arguments: dict[str, Any]) -> str:
    asked = repr(sorted((name, _named(value)) for name, value in arguments.items() if value is not None))
    return f"imagesim.similar.{hashlib.sha256(f'{key_of(item)} {asked}'.encode()).hexdigest()}"


def _named(value: Any) -> Any:
    """An item says its name, which others may have too; its key is its own."""
    if isinstance(value, models.Model):
        return f"{value._meta.label_lower}:{value.pk}"
    if isinstance(value, dict):
        return sorted((name, _named(each)) for name, each in value.items())
    return [_named(each) for each in value] if isinstance(value, list | tuple) else value


def _kept(hits: Hits) -> tuple[list[Candidate], bool, dict[str, Facet]]:
    candidates = [
        Candidate(key_of(hit.item), hit.score, "", hit.image.digest, hit.image.name, hit.stage) for hit in hits
    ]
    return candidates, hits.more, hits.facets


def _restored(item: models.Model, candidates: list[Candidate], more: bool, facets: dict[str, Facet]) -> Hits:
    hits = Hits(hydrate.load(candidates)[0], more=more, facets=facets)
    hits.token = events.make_token("similar", hits, query_key=key_of(item))  # one per page that is shown
    return hits
