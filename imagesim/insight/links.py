"""Names of items, and links to them in the admin."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from imagesim.exceptions import NotRegistered
from imagesim.items import split_key, valid_pks
from imagesim.registry import registry


def linked_items(site: AdminSite, request: HttpRequest, keys: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the name of each item that exists and the address of its page in the admin, empty if the user may not see
    it. One query per model."""
    wanted: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        label, pk = split_key(key)
        wanted.setdefault(label, []).append(pk)
    found: dict[str, tuple[str, str]] = {}
    for label, pks in wanted.items():
        try:
            items = registry.for_label(label)
        except NotRegistered:
            continue
        own = site._registry.get(items.model)
        may_view = own is not None and own.has_view_permission(request)
        meta = items.model._meta
        for item in items.model._base_manager.filter(pk__in=valid_pks(items.model, pks)):
            url = ""
            if may_view:
                try:
                    url = reverse(f"{site.name}:{meta.app_label}_{meta.model_name}_change", args=[item.pk])
                except NoReverseMatch:
                    url = ""
            found[items.key_of(item)] = (str(item), url)
    return found
