"""The page "Similar items" below an item's own page in the admin."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db import DatabaseError, models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from imagesim.admin.base import reason, thumbnail
from imagesim.circuit_breaker import log_repeated
from imagesim.exceptions import ImagesimError, NotIndexed, mask_credentials
from imagesim.models import ItemState
from imagesim.registry import concrete_model, registry
from imagesim.retrieval import search
from imagesim.types import Hit
from imagesim.widgets import of_its_kind

logger = logging.getLogger(__name__)

LIMIT = 24


@dataclass(frozen=True)
class SimilarItem:
    """A hit as the page shows it. ``url`` is empty where the admin has no page of the item."""

    name: str
    url: str
    picture: SafeString | str
    relevance: str
    rules: str


def similar_items(
    site: AdminSite, request: HttpRequest, item: models.Model, state: ItemState | None
) -> tuple[list[SimilarItem], str]:
    """Return what visitors see as similar and the user may view, best first, and why there is nothing if so.

    Never raises an error of the index, nor of the shop's code for the item: its page is where staff look for the cause.
    """
    try:
        hits = search.similar_to(item, limit=LIMIT, **of_its_kind(item, {}))
    except NotIndexed as error:
        return [], reason(state, item) or str(error)
    except ImagesimError as error:
        return [], _("The index cannot answer now: %(reason)s") % {"reason": mask_credentials(error)}
    except DatabaseError:
        raise
    except Exception as error:
        log_repeated(logger, logging.ERROR, "similar", "The items similar to %s were not found", item, exc_info=True)
        return [], f"{type(error).__name__}: {error}"
    shown = [_shown(site, hit) for hit in _visible(site, request, hits)]
    if shown:
        return shown, ""
    if hits:
        return [], _("There are similar items, but none that you may see.")
    return [], _("Nothing in the index is similar enough to it.")


def _visible(site: AdminSite, request: HttpRequest, hits: Iterable[Hit]) -> list[Hit]:
    """Return the hits that the user's own lists of these models contain. One query per list."""
    by_model: dict[Any, list[Hit]] = {}
    for hit in hits:
        by_model.setdefault(registry.for_item(hit.item).model, []).append(hit)
    allowed: set[tuple[Any, Any]] = set()
    for model, found in by_model.items():
        wanted = [hit.item.pk for hit in found]
        for own in admins_of(site, model):
            if own.has_view_permission(request):
                pks = own.get_queryset(request).filter(pk__in=wanted).values_list("pk", flat=True)
                allowed |= {(model, pk) for pk in pks}
    return [hit for hit in hits if (registry.for_item(hit.item).model, hit.item.pk) in allowed]


def _shown(site: AdminSite, hit: Hit) -> SimilarItem:
    relevance = _("%(percent)s %% relevant") % {"percent": number_format(round(100 * hit.relevance))}
    picture = thumbnail(hit.item, hit.image.name)
    return SimilarItem(str(hit.item), change_url(site, hit.item), picture, relevance, ", ".join(hit.rules))


def admins_of(site: AdminSite, model: type[models.Model]) -> list[Any]:
    """Return what the site has registered for the model and for its proxies, its own first."""
    concrete = concrete_model(model)
    found = [own for registered, own in site._registry.items() if concrete_model(registered) is concrete]
    return sorted(found, key=lambda own: own.model is not model)


def change_url(site: AdminSite, item: models.Model, request: HttpRequest | None = None) -> str:
    """Return the address of the item's page in this admin; empty if it has none, or none that the user of the request
    may view."""
    for own in admins_of(site, type(item)):
        if request is not None and not own.has_view_permission(request):
            continue
        with suppress(NoReverseMatch):
            return reverse(f"{site.name}:{own.opts.app_label}_{own.opts.model_name}_change", args=[quote(item.pk)])
    return ""
