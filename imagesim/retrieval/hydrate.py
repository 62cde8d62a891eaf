"""Load the shop's items for candidates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import models

from imagesim.items import Items, split_key, valid_pks
from imagesim.registry import registry
from imagesim.types import Candidate, Hit, HitImage


def load(*answers: Sequence[Candidate]) -> list[list[Hit]]:
    """Return the hits of each list of candidates, in the same order, without items that were deleted or are no longer
    shown.

    The items of all the lists are loaded together.
    """
    items = load_items(candidate.key for candidates in answers for candidate in candidates)
    return [
        [
            Hit(item, each.score, HitImage(each.image_name, each.image_digest), each.stage, each.relevance, each.rules)
            for each in candidates
            if (item := items.get(each.key)) is not None
        ]
        for candidates in answers
    ]


def load_items(keys: Iterable[str]) -> dict[str, models.Model]:
    """The items with these keys that the shop shows now, by key: one query per model and one per prefetch."""
    pks: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        label, pk = split_key(key)
        pks.setdefault(label, []).append(pk)
    declared = [items for items in registry if items.label in pks]
    return {items.key_of(item): item for items in declared for item in load_shown(items, pks[items.label])}


def load_shown(items: Items[Any], pks: Collection[str], *, to_many: bool = True) -> list[models.Model]:
    """The items of one model with these primary keys that the shop shows now, in no order.

    ``to_many``: as pages show hits, with their photos; without, only the to-one relations are loaded.
    """
    queryset = items.get_hit_queryset() if to_many else items.for_reading(items.get_queryset(), to_many=False)
    valid = valid_pks(queryset.model, pks)
    if not valid:
        return []
    return [item for item in queryset.filter(pk__in=valid).order_by() if items.should_index(item)]
