"""The template tags as plain functions. Errors of the index never break a page."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.db import models
from django.http import HttpRequest
from django.urls import NoReverseMatch, get_resolver, get_urlconf, reverse
from django.utils.functional import cached_property
from django.utils.translation import get_language, gettext, ngettext

from imagesim import events
from imagesim.circuit_breaker import log_repeated, outage_of
from imagesim.conf import get_settings
from imagesim.exceptions import (
    CircuitOpen,
    ConfigurationError,
    EmbedderError,
    NotIndexed,
    SearchIndexError,
    format_choices,
)
from imagesim.images.colours import NAMES
from imagesim.items import SIMILAR_ID, Items, make_key
from imagesim.items.hydrate import fact_of
from imagesim.items.registry import key_of, registry
from imagesim.middleware import degraded
from imagesim.models import stored_name
from imagesim.pages.thumbnails import Pictures
from imagesim.retrieval.arguments import bad_value
from imagesim.retrieval.params import argument_names
from imagesim.retrieval.search import similar_to
from imagesim.retrieval.variants import page_floor
from imagesim.types import Hit, Hits, Region

if TYPE_CHECKING:
    from imagesim.retrieval.look import Look
    from imagesim.retrieval.regions import ItemRegion

logger = logging.getLogger(__name__)

THUMBNAIL_WIDTH = 320
"""Width in pixels of a card's image, in browsers that do not use ``srcset``."""


@dataclass(frozen=True)
class Card:
    """A hit with its title, details and URLs for a page. A URL may be empty, and is computed when a template asks for
    it.

    ``complete`` is called with each URL, to add the site to it.
    """

    hit: Hit
    complete: Callable[[str], str] = str

    @property
    def item(self) -> Any:
        return self.hit.item

    @property
    def key(self) -> str:
        return key_of(self.hit.item)

    @property
    def title(self) -> str:
        return str(self.hit.item)

    @cached_property
    def url(self) -> str:
        return self.complete(page_url(lambda: self.item.get_absolute_url()))

    @property
    def image_url(self) -> str:
        return self._pictures.original

    @cached_property
    def thumbnail_url(self) -> str:
        return self._pictures.url(THUMBNAIL_WIDTH)

    @property
    def srcset(self) -> str:
        return self._pictures.srcset

    @cached_property
    def similar_url(self) -> str:
        items = registry.for_item(self.item)
        if type(items).get_similar_url is Items.get_similar_url:  # an anchor on the page: its URL takes time
            return f"{self.url}#{SIMILAR_ID}" if self.url else ""
        return self.complete(page_url(lambda: items.get_similar_url(self.item)))

    @cached_property
    def details(self) -> dict[str, str]:
        return fact_of(self.item, "get_details", {}) or {}

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(registry.for_item(self.item), self.item, self.hit.image.name, self.complete)


@dataclass(frozen=True)
class Section:
    """A region of a look for a page: its name, its cards, and whether all of them are from other categories."""

    name: str
    cards: list[Card]
    only_wider: bool = False
    closest: list[Card] = field(default_factory=list)
    region: Region | None = None


def page_url(address: Callable[[], str | None]) -> str:
    """Return the URL of an item's page; empty if there is none, such as for an item without a slug, which must not fail
    the pages of other items."""
    try:
        return address() or ""
    except (AttributeError, NoReverseMatch):
        return ""


def cards(hits: Iterable[Hit]) -> list[Card]:
    """Return the hits as cards."""
    return [Card(hit) for hit in hits]


def similar_hits(
    item: models.Model, *, filters: dict[str, Any] | None = None, timeout: int | None = None, **arguments: Any
) -> Hits:
    """Call :func:`imagesim.similar_to` for a page: if the index cannot answer, there are no hits, and ``degraded`` has
    the reason.

    Other keyword arguments are filters, so that a template can say ``price__lte=50``. The answer is cached in the
    default cache for ``timeout`` seconds, by default ``SIMILAR_SECONDS``; the items are still read from the database.

    :raises NotRegistered, BadQuery: for errors in the template or its arguments.
    """
    if filters and not isinstance(filters, Mapping):
        raise bad_value("filters", filters, gettext("a dict such as {'price__lte': 50}"))
    filters = dict(filters or {})
    for name in set(arguments) - set(argument_names("similar")):
        filters[name] = arguments.pop(name)
    arguments["filters"] = filters or None
    seconds = get_settings().SIMILAR_SECONDS if timeout is None else whole_number("timeout", timeout)
    key = make_key(registry.for_item(item).label, item.pk)  # also of an unsaved item, such as in the preview of a CMS
    try:
        return similar_to(item, timeout=seconds, **arguments)
    except NotIndexed as reason:
        logger.info("No similar items for %s: %s", key, reason)
        return Hits(degraded=str(reason))
    except (CircuitOpen, SearchIndexError, EmbedderError) as reason:
        log_repeated(logger, logging.WARNING, outage_of(reason), "No similar items for %s: %s", key, reason)
        degraded(reason.code)
        return Hits(degraded=str(reason))


def whole_number(name: str, value: Any) -> int:
    """Return the value of a tag's argument, which may be of any type in a template.

    :raises BadQuery: if it is not a whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise bad_value(name, value, gettext("a whole number"))


@dataclass(frozen=True)
class Dot:
    """A thing in an item's own image, for a page; ``url`` links to items that are similar to it."""

    found: ItemRegion
    name: str
    url: str
    is_chosen: bool = False

    @property
    def x(self) -> float:
        """The position of its centre, in percent of the image's width; ``y`` of its height."""
        return round(100 * (self.found.region.x + self.found.region.width / 2), 2)

    @property
    def y(self) -> float:
        return round(100 * (self.found.region.y + self.found.region.height / 2), 2)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width and height in percent."""
        region = self.found.region
        left, top, wide, high = (round(100 * each, 2) for each in (region.x, region.y, region.width, region.height))
        return left, top, wide, high


def dots(item: models.Model, name: str = "", chosen: str = "") -> list[Dot]:
    """Return the dots of the item's image that is stored under ``name``, by default its first one."""
    from imagesim.retrieval.regions import item_regions  # pages without dots need not load it

    items = registry.for_item(item)
    name = name or str(getattr(items.find_image(item, ""), "name", ""))
    count: Counter[str] = Counter()
    shown = []
    for found in item_regions(item):
        url = items.get_region_url(item, found.id)
        if found.image == stored_name(name) and url:
            count[found.name] += 1  # two people's shoes are "Shoes" and "Shoes 2"
            number = f" {count[found.name]}" if count[found.name] > 1 else ""
            shown.append(Dot(found, found.name + number, url, found.id == chosen))
    return shown


def chosen_region(request: HttpRequest | None, item: models.Model) -> ItemRegion | None:
    """Return the region of the item that the page's URL names; None if the item has no such region."""
    wanted = request.GET.get("region_id", "") if request else ""
    if not wanted:
        return None
    from imagesim.retrieval.regions import item_regions

    return next((found for found in item_regions(item) if found.id == wanted), None)


def of_its_kind(item: models.Model, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the default arguments of similar products: the item's own categories first, and relevant hits only."""
    kind: dict[str, Any] = {"min_relevance": page_floor()}
    if not {"category", "same_category", "fallback", "region_id"} & set(arguments) and registry.for_item(
        item
    ).get_categories(item):
        kind |= {"same_category": True, "fallback": True}
    return kind | arguments


def sections(look: Look) -> list[Section]:
    """Return the sections of a look for a page without JavaScript: its regions and, in two cases, the whole photo.
    First, if no region was found, or none has results. Second, if the best region is a thing without a label, which may
    be only a part of what is meant, and the whole photo has more relevant results.

    The sections with the most relevant results come first. The nearest items are shown only if no section has results.
    """
    from imagesim.regions.labels import ITEM  # other pages need not load it

    regions = sorted(look.regions, key=lambda region: -_best(region.hits))
    found = [
        Section(
            region.name or gettext("Your box"),
            cards(drop_weak_fallback(region.hits)),
            only_wider=all(hit.stage for hit in region.hits),
            closest=cards(region.hits.closest),
            region=region.region,
        )
        for region in regions
    ]
    whole = Section(gettext("Whole photo"), cards(drop_weak_fallback(look.hits)), closest=cards(look.hits.closest))
    is_part = bool(regions) and regions[0].region.label in ("", ITEM) and _best(look.hits) > _best(regions[0].hits)
    if not found or is_part or (whole.cards and not any(section.cards for section in found)):
        found = [whole, *found]
    if any(section.cards for section in found):
        found = [replace(each, closest=[]) for each in sorted(found, key=lambda section: not section.cards)]
    return found


def look_facets(facets: Mapping[str, str], names: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return the facets of a look for its template: the names of filters with their titles, and what to show for their
    values: ``names``, and those of measured colours.

    :raises ConfigurationError: if there is no such filter with texts.
    """
    known = {name for items in registry for name, kind in items.kinds.items() if kind == "keyword"}
    if unknown := next((name for name in facets if name not in known), None):
        raise ConfigurationError(f"'facets' of a look names {unknown!r}; it can name {format_choices(sorted(known))}.")
    palettes = {items.measured_colours for items in registry}
    found = []
    for name, label in facets.items():
        shown = {**(NAMES if name in palettes else {}), **names.get(name, {})}
        as_json = json.dumps({str(value): str(text) for value, text in shown.items()})
        found.append({"name": name, "label": label, "is_palette": name in palettes, "names": as_json})
    return found


def _best(hits: Hits) -> float:
    """Return the relevance of the best hit in a region's own category."""
    return max((hit.relevance for hit in hits if not hit.stage), default=0.0)


def results_text() -> str:
    """Return "6 results" in each plural form of the language, as JSON for a script, which has no gettext: pairs of a
    number that takes the form, and the form. The script compares numbers by ``Intl.PluralRules``."""
    forms: dict[str, int] = {}
    for number in (*range(1, 12), 100):  # in Arabic, only 100 takes the last form
        forms.setdefault(ngettext("%(shown)s result", "%(shown)s results", number) % {"shown": "{count}"}, number)
    return json.dumps({"language": get_language() or "en", "forms": [[number, form] for form, number in forms.items()]})


def drop_weak_fallback(hits: Hits) -> Hits:
    """Drop hits from other categories whose score is below the mean of the hits from the region's own categories."""
    own = [hit.score for hit in hits if not hit.stage]
    usual = sum(own) / len(own) if own else -1.0
    return Hits([hit for hit in hits if not hit.stage or hit.score >= usual], more=hits.more)


def api_url(name: str, request: HttpRequest | None = None, **arguments: str) -> str:
    """Return the URL of a view of the REST API; empty if the project does not include it.

    Arguments in the prefix that the project includes it under, such as a tenant's, are taken from the page's own URL.
    """
    prefix = str(get_resolver(get_urlconf()).namespace_dict.get("imagesim", ("",))[0])
    match = getattr(request, "resolver_match", None)
    known = match.kwargs if match else {}
    outer = {each: known[each] for each in re.findall(r"\(\?P<(\w+)>", prefix) if each in known}
    try:
        return reverse(f"imagesim:{name}", kwargs=outer | arguments)
    except NoReverseMatch:
        return ""


def answers_url(tag: str, name: str, request: HttpRequest | None, *, has_page: bool) -> str:
    """Return :func:`api_url` for the form of a tag; without the REST API, the form needs a page of the shop that
    answers."""
    url = api_url(name, request)
    if not (url or has_page):
        message = (
            "{%% %s %%} has no answers: include imagesim.rest.urls, in no other namespace and with no arguments in its "
            "prefix that the page's URL lacks, or name the page that answers it in action"
        )
        log_repeated(logger, logging.WARNING, tag, message, tag)
    return url


def events_url(request: HttpRequest | None) -> str:
    """Return the URL for views and clicks; empty while events are disabled."""
    return api_url("events", request) if events.enabled() else ""
