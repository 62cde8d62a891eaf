"""The shop's categories as its items have them, believed for a few minutes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from django.core.cache import cache

from imagesim import paths
from imagesim.items import Items

SECONDS = 300


def categories_of(items: Items[Any]) -> list[str]:
    """Every category that items of this model are in, as the index has them; empty where only a method knows."""
    name = _cache_name("categories", items, items.category)
    known: list[str] | None = cache.get(name)
    if known is None:
        known = []
        if items.category and paths.resolve(items.model, items.category).field is not None:
            values = items.get_queryset().order_by().values_list(items.category, flat=True).distinct()
            known = sorted({str(value) for value in values if value not in (None, "")})
        cache.set(name, known, SECONDS)
    return known


def wider(shelf: Iterable[Items[Any]], categories: Collection[str]) -> tuple[str, ...]:
    """The parents of ``categories`` with all that is under them; empty where no parent is known."""
    found: set[str] = set()
    for items in shelf:
        above = _parents_of(items)
        parents = {parent for category in categories for parent in above.get(category, ())}
        found |= parents | {category for category, own in above.items() if parents & set(own)}
    return tuple(sorted(found | set(categories))) if found else ()


def _parents_of(items: Items[Any]) -> dict[str, list[str]]:
    name = _cache_name("parents", items, f"{items.category}.{items.category_parent}")
    known: dict[str, list[str]] | None = cache.get(name)
    if known is None:
        known = {str(category): list(above) for category, above in items.get_category_parents().items()}
        cache.set(name, known, SECONDS)
    return known


def _cache_name(what: str, items: Items[Any], path: str) -> str:
    return re.sub(r"[^\w.]", "_", f"imagesim.{what}.{items.label}.{path}")
