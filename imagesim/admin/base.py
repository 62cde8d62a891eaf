"""What the admin pages share: read-only pages, states as coloured badges and in words, small pictures, URLs, and
queueing items."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db import models, router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from imagesim.circuit_breaker import log_repeated
from imagesim.indexing import dispatch
from imagesim.indexing.outbox import record
from imagesim.items.hydrate import load_items, without_failing
from imagesim.items.registry import concrete_model, registry
from imagesim.models import ItemState, Placed
from imagesim.pages.thumbnails import Pictures

logger = logging.getLogger(__name__)

Outcome = ItemState.Outcome
TONES: dict[str, str] = {Outcome.INDEXED: "good", Outcome.FAILED: "bad", Outcome.NEW: "waiting"}
ERROR_LENGTH = 200
THUMBNAIL_WIDTH = 160
"""In pixels; the style sheet displays it smaller."""


class ReadOnly:
    """A mixin for a ModelAdmin or an inline that forbids adding, changing and deleting."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Styled:
    """The style sheet of a page, or of a widget."""

    css: ClassVar = {"all": ["imagesim/admin/admin.css"]}


class ReadOnlyAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """A ModelAdmin whose pages cannot be edited."""

    Media = Styled


class Checkboxes(forms.CheckboxSelectMultiple):
    """Checkboxes whose labels are as wide as their texts; Django's admin wraps them at the width of a field's label."""

    Media = Styled


class WhereField(forms.MultipleChoiceField):
    """A form field for the places of a :class:`~imagesim.models.Placed` model."""

    def __init__(self, help_text: Any) -> None:
        super().__init__(
            label=gettext_lazy("Where"),
            choices=Placed.Where.choices,
            required=False,
            widget=Checkboxes(attrs={"class": "imagesim-checkboxes"}),
            help_text=help_text,
        )


class ShowsWhere:
    """A mixin for the ModelAdmin of a :class:`~imagesim.models.Placed` model."""

    @admin.display(description=gettext_lazy("Where"))
    def where_shown(self, row: Placed) -> str:
        labels = dict(row.Where.choices)  # a later version may have stored others, which are shown as stored
        return ", ".join(str(labels.get(each, each)) for each in row.where) or _("everywhere")


def _failed(state: ItemState) -> bool:
    """Return whether the item failed, and has not been changed or queued since, which clears the error."""
    return state.outcome == Outcome.FAILED and bool(state.error or not state.pending)


def badge(state: ItemState | None, url: str = "") -> SafeString:
    """Render the state as a coloured badge with the error as its tooltip, linked to ``url``; "unknown" for an item
    without a state."""
    if state is None:
        return format_html('<span class="imagesim-badge" data-tone="none">{}</span>', _("unknown"))
    waiting = state.pending and not _failed(state)
    tone = "waiting" if waiting else TONES.get(state.outcome, "none")
    word = _("waiting") if waiting else state.get_outcome_display()
    shown = format_html('<span class="imagesim-badge" data-tone="{}" title="{}">{}</span>', tone, state.error, word)
    return format_html('<a href="{}">{}</a>', url, shown) if url else shown


def state_dot(tone: str, word: object, title: str = "") -> SafeString:
    """Render the state of a rule or an experiment with a dot in the colour of ``tone``: on, waiting or off."""
    explained = format_html(' title="{}"', title) if title else ""
    return format_html('<span class="imagesim-state" data-tone="{}"{}>{}</span>', tone, explained, word)


def shorten(text: str) -> str:
    """Return the first line of an error, shortened to fit a column."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= ERROR_LENGTH else f"{line[: ERROR_LENGTH - 1]}…"


def queue(states: models.QuerySet[ItemState]) -> int:
    """Queue the items of these states for reindexing, with their pictures; return how many. Items of a model that is no
    longer registered are left out."""
    known = registry.grouped(states.values_list("model", "object_pk"))
    return sum(record(items.label, pks, using=str(router.db_for_write(items.model))) for items, pks in known)


def queued_message(count: int) -> str:
    text = ngettext(
        "%(count)d item is queued for reindexing, with its pictures.",
        "%(count)d items are queued for reindexing, with their pictures.",
        count,
    ) % {"count": count}
    return text if dispatch.mode() != "manual" else f"{text} {_('Run manage.py imagesim_sync to index them.')}"


def reason(state: ItemState | None, item: models.Model) -> str:
    """Return why no page shows the item; empty if pages do."""
    if state is not None and _failed(state):
        return _("It could not be indexed: %(error)s") % {"error": state.error}
    if not _is_shown(item):
        return _("The shop does not show it.")
    if state is None:
        return _("It was never indexed: no change of it was noticed. Save it, or reindex it from the list.")
    if state.outcome == Outcome.SKIPPED and not state.pending:
        return _("It has no picture.") if not state.images.exists() else state.error
    if state.outcome != Outcome.INDEXED:
        return _("It waits to be indexed.") if state.pending else _("It was removed from the index.")
    return ""


def _is_shown(item: models.Model) -> bool:
    """Return whether the shop's querysets and ``should_index()`` include the item now, whatever the index was told;
    true if the shop's code fails, which is a separate reason."""
    items = registry.for_item(item)
    with without_failing(items, item, "get_hit_queryset"):
        return items.key_of(item) in load_items([items.key_of(item)])
    return True


def thumbnail(
    item: Any, name: str = "", *, alt: str = "", links: bool = False, reduced: bool = True
) -> SafeString | str:
    """Return an ``<img>`` of the item's picture stored under ``name``, or of its first one; empty if it has none.

    With ``links`` it is linked to the picture as it was stored, and without ``reduced`` it shows that. If the storage
    fails, it is empty.
    """
    try:
        pictures = Pictures(registry.for_item(item), item, name)
        url = pictures.url(THUMBNAIL_WIDTH) if reduced else pictures.original
        original = pictures.original if links else ""
    except Exception:  # of the shop's code, or of its storage's client
        log_repeated(logger, logging.WARNING, "thumbnail", "A picture could not be shown", exc_info=True)
        return ""
    if not url:
        return ""
    image = format_html('<img class="imagesim-thumbnail" src="{}" alt="{}" loading="lazy">', url, alt)
    return format_html('<a href="{}">{}</a>', original, image) if original else image


def admins_of(site: AdminSite, model: type[models.Model]) -> list[Any]:
    """Return the admins that the site has registered for the model and for its proxies, the model's own first."""
    concrete = concrete_model(model)
    found = [own for registered, own in site._registry.items() if concrete_model(registered) is concrete]
    return sorted(found, key=lambda own: own.model is not model)


def change_url(site: AdminSite, item: models.Model, request: HttpRequest | None = None) -> str:
    """Return the URL of the item's page in this admin; empty if it has none, or none that the user of the request may
    view."""
    for own in admins_of(site, type(item)):
        if request is not None and not own.has_view_permission(request):
            continue
        with suppress(NoReverseMatch):
            return admin_url(site, f"{own.opts.app_label}_{own.opts.model_name}_change", quote(item.pk))
    return ""


def admin_url(site: AdminSite, name: str, *arguments: Any) -> str:
    """Return the URL of a page of this admin, by the name of its pattern."""
    return reverse(f"admin:{name}", args=arguments, current_app=site.name)


def page(own: Any, request: HttpRequest, template: str, context: Mapping[str, Any]) -> TemplateResponse:
    """Return a page of a ModelAdmin, with the context of every admin page and this ``context``."""
    site: AdminSite = own.admin_site
    request.current_app = site.name
    shared = {**site.each_context(request), "opts": own.opts}
    return TemplateResponse(request, template, {**shared, **context})


def posted(view: Callable[..., HttpResponse], page: Callable[..., str]) -> Callable[..., HttpResponse]:
    """Return a view that answers POST requests, and redirects others to the page with its button.

    After an expired session, the login ends with a GET of the URL that was posted to.
    """

    @wraps(view)
    def answer(request: HttpRequest, **arguments: Any) -> HttpResponse:
        if request.method == "POST":
            return view(request, **arguments)
        return HttpResponseRedirect(page(request, **arguments))

    return answer
