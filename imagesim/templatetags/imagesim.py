"""``{% load imagesim %}``: thin wrappers over :mod:`imagesim.pages.widgets`; the templates can be overridden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django import template
from django.conf import settings
from django.db import models
from django.template.context import Context
from django.utils.encoding import escape_uri_path
from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.images import formats
from imagesim.items import SIMILAR_ID
from imagesim.items.registry import registry
from imagesim.pages import widgets
from imagesim.pages.thumbnails import Pictures
from imagesim.types import Hits

if TYPE_CHECKING:
    from imagesim.pages.refinement import Refinement
    from imagesim.retrieval.look import Look

register = template.Library()


@register.inclusion_tag("imagesim/similar_products.html", takes_context=True)
def similar_products(
    context: Context,
    item: models.Model,
    *,
    limit: int = 8,
    heading: str = "",
    empty: str = "",
    min_hits: int = 1,
    section_id: str = SIMILAR_ID,
    **arguments: Any,
) -> dict[str, Any]:
    """``{% similar_products product limit=8 same_category=True in_stock=True price__lte=50 %}``.

    Takes the arguments of :func:`imagesim.similar_to`, filters by name, and ``timeout`` (seconds in the cache),
    ``heading``, ``section_id`` (where "Find similar" leads) and ``empty``, a text to show if there are no hits; without
    it, nothing is shown. Fewer than ``min_hits`` are not shown either. By default, items of the same category come
    first, then those of its parent, then others, and only relevant ones are shown (``MIN_RELEVANCE``).

    If the URL of the page names a thing in the item's own images (``region_id``, as the dots of ``product_regions``
    do), the hits are those similar to that thing.
    """
    request = context.get("request")
    region = None if "region_id" in arguments else widgets.chosen_region(request, item)
    if region is not None:
        arguments["region_id"], min_hits = region.id, 1
        heading, empty = region.name, _("No similar products found.")
    min_hits = widgets.whole_number("min_hits", min_hits)
    hits = widgets.similar_hits(item, limit=limit, **widgets.of_its_kind(item, arguments))
    closest = widgets.cards(hits.closest) if region is not None else []
    if len(hits) < min_hits:
        hits = hits[:0]
    return _of_page(context) | {
        "item": item,
        "hits": hits,
        "cards": widgets.cards(hits),
        "shop_messages": hits.messages,
        "closest": closest,
        "all_url": registry.for_item(item).get_similar_url(item) if region is not None else "",
        "offset": arguments.get("offset", 0),
        "token": hits.token,
        "events_api": widgets.events_url(request),
        "heading": heading or _("Similar products"),
        "section_id": section_id,
        "empty": empty,
    }


@register.simple_tag
def similar_hits(item: models.Model, **arguments: Any) -> list[widgets.Card]:
    """``{% similar_hits product limit=3 as cards %}``: similar products as cards, for your own layout."""
    return widgets.cards(widgets.similar_hits(item, **arguments))


@register.inclusion_tag("imagesim/find_similar.html")
def find_similar(item: models.Model) -> dict[str, str]:
    """``{% find_similar product %}``: a button that leads to similar products, for your own cards."""
    return {"url": widgets.page_url(lambda: registry.for_item(item).get_similar_url(item)), "title": str(item)}


@register.inclusion_tag("imagesim/product_regions.html", takes_context=True)
def product_regions(context: Context, item: models.Model, name: str = "") -> dict[str, Any]:
    """``{% product_regions product photo.file.name %}``: dots on an image of an item, each on a thing in it.

    Each dot links to what is similar to that thing. Without ``name``, it is the item's first image. The image has to be
    shown whole, in an element of its size with the class ``imagesim-photo``, and the tag next to it. Needs
    ``ITEM_REGIONS``; it reads two tables and loads no model.
    """
    request = context.get("request")
    return {"dots": widgets.dots(item, name, request.GET.get("region_id", "") if request else "")}


@register.simple_tag
def thumbnail(item: models.Model, name: str = "", width: int = widgets.THUMBNAIL_WIDTH) -> str:
    """``{% thumbnail product photo.file.name 160 %}``: the URL of a small picture of an item."""
    return Pictures(registry.for_item(item), item, name).url(widgets.whole_number("width", width))


@register.simple_tag
def thumbnail_srcset(item: models.Model, name: str = "") -> str:
    """``{% thumbnail_srcset product photo.file.name %}``: a small picture in several widths, for ``srcset``."""
    return Pictures(registry.for_item(item), item, name).srcset


@register.inclusion_tag("imagesim/search_bar.html", takes_context=True)
def search_bar(
    context: Context,
    *,
    action: str,
    look: str = "",
    text: str = "",
    placeholder: str = "",
    bar_id: str = "imagesim-bar",
) -> dict[str, Any]:
    """``{% search_bar action=url look=url %}``: a field for words with suggestions, and a camera, for the head of every
    page.

    ``action`` is the page that answers words (``q`` by GET). ``look`` is the page with ``{% shop_the_look %}`` that a
    photo is sent to if one is chosen, taken, or dropped or pasted anywhere; without it there is no camera.
    """
    conf = get_settings()
    return {
        "action": action,
        "look": look,
        "text": text,
        "placeholder": placeholder,
        "bar_id": bar_id,
        "formats": ", ".join(formats.accepted_formats()),
        "suggest_api": widgets.api_url("suggest", context.get("request")),
        "csp_nonce": _csp_nonce(context),
        "max_bytes": conf.MAX_IMAGE_BYTES,
        "max_length": conf.MAX_TEXT_LENGTH,
    }


@register.inclusion_tag("imagesim/image_search.html", takes_context=True)
def image_search(
    context: Context,
    *,
    action: str = "",
    look: str = "",
    text: str = "",
    hits: Hits | None = None,
    next_url: str = "",
    previous_url: str = "",
    total: int = 0,
    offset: int = 0,
    form_id: str = "imagesim-search",
) -> dict[str, Any]:
    """``{% image_search action=url %}``: search with words or a photo (chosen, dropped, pasted or taken).

    ``action`` is a page of the shop that answers the form without JavaScript: ``q`` and ``image``, by POST (and ``q``
    by GET). Fields elsewhere on the page, such as filters, belong to the form by ``form="imagesim-search"``. ``hits``
    and ``text`` are what the page found, to be shown with the form. ``next_url`` and ``previous_url`` are the URLs of
    the next and the previous page, ``total`` is the number of results, if the page knows it, and ``offset`` is how many
    come before this page. ``look`` is a page with ``{% shop_the_look %}`` that photos go to; without it their results
    appear here.
    """
    has_page = bool(action) or hits is not None
    return _photo_form(context, action, form_id) | {
        "has_page": bool(action),
        "api": widgets.answers_url("image_search", "search", context.get("request"), has_page=has_page),
        "text": text,
        "look": look,
        "next_url": next_url,
        "previous_url": previous_url,
        "total": total,
        "offset": offset,
        "token": "" if hits is None else hits.token,
        "cards": None if hits is None else widgets.cards(hits),
        "shown": f"{len(hits or ())}{'+' if next_url else ''}",
        "shop_messages": () if hits is None else hits.messages,
        "closest": [] if hits is None else widgets.cards(hits.closest),
        "max_length": get_settings().MAX_TEXT_LENGTH,
    }


def _csp_nonce(context: Context) -> Any:
    """Return the nonce of a Content-Security-Policy, of Django 6.0 or of django-csp. It is false on a page that does
    not use it."""
    return context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", "")


def _of_page(context: Context) -> dict[str, Any]:
    """Return what the requests of the scripts need from the page: the header with the CSRF token has a name of its own
    in projects that set ``CSRF_HEADER_NAME``."""
    return {
        "request": context.get("request"),
        "csrf_token": context.get("csrf_token"),
        "csrf_header": settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-"),
        "csp_nonce": _csp_nonce(context),
    }


def _photo_form(context: Context, action: str, form_id: str) -> dict[str, Any]:
    """Return what a form that takes a photo needs, on a page that answers it or that has its answer."""
    request = context.get("request")
    return _of_page(context) | {
        "action": action or (escape_uri_path(request.path) if request else ""),
        "events_api": widgets.events_url(request),
        "form_id": form_id,
        "accept": formats.accept_attribute(),
        "formats": ", ".join(formats.accepted_formats()),
        "max_bytes": get_settings().MAX_IMAGE_BYTES,
        "results_text": widgets.results_text(),
    }


@register.inclusion_tag("imagesim/refinement.html", takes_context=True)
def refine(context: Context, refinement: Refinement, *, form_id: str = "imagesim-search") -> dict[str, Any]:
    """``{% refine refinement %}``: facets with counts, the order, and steps such as "cheaper", as links.

    ``refinement`` is a :class:`imagesim.pages.refinement.Refinement` that the view has applied to its hits. The choices
    are also sent with the form ``form_id``.
    """
    return {"refinement": refinement, "form_id": form_id, "csp_nonce": _csp_nonce(context)}


@register.inclusion_tag("imagesim/shop_the_look.html", takes_context=True)
def shop_the_look(
    context: Context,
    *,
    action: str = "",
    samples: Iterable[Mapping[str, str]] = (),
    look: Look | None = None,
    photo: str = "",
    limit: int = 8,
    facets: Mapping[str, str] = MappingProxyType({}),
    names: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    form_id: str = "imagesim-look",
) -> dict[str, Any]:
    """``{% shop_the_look action=url samples=photos %}``: upload a photo, and see similar products for its regions.

    ``action`` is a page of the shop that answers the form without JavaScript: ``image`` and the filters, by POST.
    ``look`` is what that page found, and ``photo`` the URL of the photo, if it has one. ``samples`` are photos to try
    it with: dicts of ``url`` (of the photo, on this site), ``name`` (what it shows) and ``page`` (a URL that answers
    with the look without JavaScript). ``limit`` is how many results each region has. ``facets`` are filters with their
    titles (``{"brand": "Brand"}``), by whose values visitors can narrow the results, and ``names`` what to show for
    values (``{"colour": {"red": "Rot"}}``). Fields elsewhere on the page, such as filters, belong to the form by
    ``form="imagesim-look"``.
    """
    request, has_page = context.get("request"), bool(action) or look is not None
    return _photo_form(context, action, form_id) | {
        "api": widgets.answers_url("shop_the_look", "look", request, has_page=has_page),
        "region_api": widgets.api_url("look_region", request, token="TOKEN"),
        "search_api": widgets.api_url("search", request),
        "samples": list(samples),
        "sections": None if look is None else widgets.sections(look),
        "shop_messages": () if look is None else look.messages,
        "photo": photo,
        "size": None if look is None else look.size,
        "limit": widgets.whole_number("limit", limit),
        "facets": widgets.look_facets(facets or {}, names or {}),  # "" if the page has no such variable
    }
