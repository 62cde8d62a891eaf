"""The list of items and their states in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from imagesim.admin.base import (
    Outcome,
    ReadOnly,
    ReadOnlyAdmin,
    admins_of,
    badge,
    change_url,
    queue,
    queued_message,
    reason,
    shorten,
    thumbnail,
)
from imagesim.exceptions import NotRegistered
from imagesim.items.hydrate import with_pks, without_failing
from imagesim.items.registry import registry
from imagesim.models import ItemImage, ItemState

SEARCH_LIMIT = 500
"""The maximum number of items per model that a search by name adds."""


class ImageInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = ItemImage
    fields = ("picture", "short_digest", "error")
    readonly_fields = fields
    extra = 0

    @admin.display(description=_("picture"))
    def picture(self, image: ItemImage) -> str | SafeString:
        return picture_of(image.state, image.name, alt=image.name, links=True)

    @admin.display(description=_("digest"))
    def short_digest(self, image: ItemImage) -> SafeString:
        return format_html('<code title="{}">{}</code>', image.digest, image.digest[:12])


class ImageErrorFilter(admin.SimpleListFilter):
    title = _("pictures")
    parameter_name = "pictures"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("bad", _("with an error")), ("good", _("without an error"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        bad = Exists(ItemImage.objects.filter(state=OuterRef("pk")).exclude(error=""))
        if self.value() == "bad":
            return queryset.filter(bad)
        return queryset.exclude(bad) if self.value() == "good" else queryset


class ModelFilter(admin.SimpleListFilter):
    title = _("model")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(items.label, items.model._meta.verbose_name_plural) for items in registry]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(model=self.value()) if self.value() else queryset


@admin.register(ItemState)
class ItemStateAdmin(ReadOnlyAdmin):
    list_display = ("item", "picture", "state", "error_line", "attempts", "changed_at")
    list_display_links = ("state",)
    list_filter = ("outcome", "pending", ImageErrorFilter, ModelFilter)
    search_fields = ("object_pk", "error", "images__name", "images__error")
    search_help_text = _("Key, error, image name, or the search fields of the model's own admin")
    ordering = ("-changed_at", "-pk")
    show_full_result_count = False
    list_per_page = 50
    actions = ("reindex_selected",)
    inlines = (ImageInline,)
    fieldsets = (
        (None, {"fields": ("item", "picture", "model", "object_pk", "state", "why", "error")}),
        (
            _("Sync"),
            {"fields": (*("attempts", "not_before", "changed_at", "synced_at"), "version", "synced_version", "lease")},
        ),
    )
    readonly_fields = ("item", "picture", "state", "why")

    def has_reindex_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("imagesim.reindex_itemstate")

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        first, *others = super().get_list_display(request)
        return (first, "model_name", *others) if len(registry) > 1 else (first, *others)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        attach_items(changelist.result_list)
        self._attach_urls(request, changelist.result_list)
        return changelist

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ItemState | None:
        state: ItemState | None = super().get_object(request, object_id, from_field)
        if state is not None:
            self._attach_urls(request, [state])
        return state

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        """Give every picture the same state, so that its item is loaded once."""
        return {**super().get_formset_kwargs(request, obj, inline, prefix), "queryset": obj.images.all()}

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """Search the items' own admin lists as well, because staff know names, not keys."""
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if not search_term:
            return found, duplicates
        by_name = self._by_name(request, search_term)
        return (queryset.filter(Q(pk__in=found.values("pk")) | by_name), False) if by_name else (found, duplicates)

    @admin.display(description=_("item"))
    def item(self, state: ItemState) -> str | SafeString:
        item = item_of(state)
        if item is None:
            return str(state)
        url = getattr(state, "_imagesim_url", "")
        return format_html('<a href="{}">{}</a>', url, item) if url else str(item)

    @admin.display(description=_("picture"))
    def picture(self, state: ItemState) -> SafeString | str:
        return picture_of(state)

    @admin.display(description=_("why"))
    def why(self, state: ItemState) -> str:
        item = item_of(state)
        return reason(state, item) if item is not None else ""

    @admin.display(description=_("model"), ordering="model")
    def model_name(self, state: ItemState) -> str:
        try:
            return str(registry.for_label(state.model).model._meta.verbose_name)
        except NotRegistered:
            return state.model

    @admin.display(description=_("state"), ordering="outcome")
    def state(self, state: ItemState) -> SafeString:
        return badge(state)

    @admin.display(description=_("error"))
    def error_line(self, state: ItemState) -> str:
        return shorten(state.error)

    @admin.action(description=_("Reindex selected items"), permissions=["reindex"])
    def reindex_selected(self, request: HttpRequest, queryset: models.QuerySet[ItemState]) -> None:
        self.message_user(request, queued_message(queue(queryset)), messages.SUCCESS)

    def _attach_urls(self, request: HttpRequest, states: Iterable[ItemState]) -> None:
        """Keep the URL of each item's page with its state, if the user may view it."""
        for state in states:
            if (item := item_of(state)) is not None:
                state._imagesim_url = change_url(self.admin_site, item, request)  # type: ignore[attr-defined]

    def _by_name(self, request: HttpRequest, term: str) -> Q:
        found = Q()
        for items in registry:
            for own in admins_of(self.admin_site, items.model):
                if not own.get_search_fields(request) or not own.has_view_permission(request):
                    continue
                matching, _may_repeat = own.get_search_results(request, own.get_queryset(request), term)
                pks = [str(pk) for pk in matching.values_list("pk", flat=True)[:SEARCH_LIMIT]]
                if pks:
                    found |= Q(model=items.label, object_pk__in=pks)
        return found


def item_of(state: ItemState) -> models.Model | None:
    """Return the item, loaded once; None if it no longer exists or its model is no longer registered."""
    if not hasattr(state, "_imagesim_item"):
        attach_items([state])
    found: models.Model | None = state._imagesim_item  # type: ignore[attr-defined]
    return found


def attach_items(states: Iterable[ItemState]) -> None:
    """Load the items of a page of states, and find out which of them the shop's pages show now: two queries per
    model."""
    states = list(states)
    found: dict[tuple[str, str], models.Model] = {}
    shown: set[tuple[str, str]] = set()
    for items, pks in registry.grouped((state.model, state.object_pk) for state in states):
        rows = items.for_reading(with_pks(items.model._base_manager.all(), pks))
        found |= {(items.label, items.pk_of(item)): item for item in rows}
        # What is shown may depend on the time, so it is not in the states. If the shop's code fails, the sync has
        # stored that with the items, and this page shows it.
        with without_failing(items, None, "get_hit_queryset"):
            hits = with_pks(items.get_hit_queryset(), pks).order_by()
            shown |= {(items.label, str(pk)) for pk in hits.values_list("pk", flat=True)}
    for state in states:
        key = (state.model, state.object_pk)
        state._imagesim_item = found.get(key)  # type: ignore[attr-defined]
        state._imagesim_is_shown = key in shown  # type: ignore[attr-defined]


def picture_of(state: ItemState, name: str = "", *, alt: str = "", links: bool = False) -> SafeString | str:
    """Return an ``<img>`` of the item's picture, as :func:`thumbnail` does; empty if there is no item.

    For an item that the shop does not show, it is the picture as it was stored: the thumbnail view answers 404.
    """
    if (item := item_of(state)) is None:
        return ""
    is_shown = state.outcome != Outcome.SKIPPED and state._imagesim_is_shown  # type: ignore[attr-defined]
    return thumbnail(item, name, alt=alt, links=links, reduced=is_shown)
