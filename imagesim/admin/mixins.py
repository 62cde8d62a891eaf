"""For the shop's own ModelAdmin: what the index holds of each product, and the action that has it done again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.views.main import ChangeList
from django.core.checks import CheckMessage, Error
from django.db import models
from django.forms import Media
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from imagesim.admin import job_actions
from imagesim.admin.badges import badge
from imagesim.models import ItemState
from imagesim.registry import registry


class ItemStateMixin:
    """Adds the column "visual search" and the action "reindex selected" to the ModelAdmin of a registered model.

    ``class ProductAdmin(ItemStateMixin, admin.ModelAdmin)``. The column takes one query a page and comes after the
    first one, unless ``list_display`` places it elsewhere. To show it in the form as well, name ``visual_search`` in
    ``readonly_fields``.
    """

    model: type[models.Model]

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        found: list[CheckMessage] = super().check(**kwargs)  # type: ignore[misc]
        if self.model not in registry:
            message = f"ItemStateMixin is used for {self.model._meta.label}, which is not registered with imagesim."
            hint = "Register it in a similarity.py with @imagesim.register, or leave the mixin away."
            found.append(Error(message, hint=hint, obj=self.__class__, id="imagesim.E401"))
        return found

    @property
    def media(self) -> Media:
        return super().media + Media(css={"all": ["imagesim/admin/admin.css"]})  # type: ignore[misc, no-any-return]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        shown = list(super().get_list_display(request))  # type: ignore[misc]
        return shown if "visual_search" in shown else [*shown[:1], "visual_search", *shown[1:]]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist: ChangeList = super().get_changelist_instance(request)  # type: ignore[misc]
        attach_states(changelist.result_list)
        return changelist

    def has_reindex_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("imagesim.reindex_itemstate")

    @admin.display(description=_("visual search"))
    def visual_search(self, item: models.Model) -> SafeString:
        if not hasattr(item, "_imagesim_state"):
            attach_states([item])
        return badge(getattr(item, "_imagesim_state", None))

    @admin.action(description=_("Reindex selected %(verbose_name_plural)s for visual search"), permissions=["reindex"])
    def reindex_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        job_actions.reindex_items(self, request, queryset)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Beside whatever ``actions`` the shop's class lists, unless it switched actions off."""
        actions: dict[str, Any] = super().get_actions(request)  # type: ignore[misc]
        switched_off = self.actions is None or IS_POPUP_VAR in request.GET  # type: ignore[attr-defined]
        if not switched_off and self.has_reindex_permission(request):
            actions["reindex_selected"] = self.get_action("reindex_selected")  # type: ignore[attr-defined]
        return actions


def attach_states(items: Any) -> None:
    """Load the states of a page of items of one model in one query."""
    items = list(items)
    if not items or type(items[0]) not in registry:
        return
    declared = registry.for_item(items[0])
    pks = [declared.pk_of(item) for item in items if item.pk is not None]
    states = {state.object_pk: state for state in ItemState.objects.filter(model=declared.label, object_pk__in=pks)}
    for item in items:
        item._imagesim_state = states.get(declared.pk_of(item)) if item.pk is not None else None
