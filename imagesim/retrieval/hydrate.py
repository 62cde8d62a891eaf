"""Load the shop's items for candidates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from imagesim.items import Items, split_key
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
    valid = _valid(queryset.model, pks)
    if not valid:
        return []
    return [item for item in queryset.filter(pk__in=valid).order_by() if items.should_index(item)]


def _valid(model: type[models.Model], pks: Collection[str]) -> list[Any]:
    """The primary keys in the model's own type.

    Skips those that cannot exist: a number too large for the column, or the key of an entry that was written when the
    model had a primary key of another type.
    """
    field: Any = model._meta.pk
    while field.is_relation:  # the primary key of a multi-table child
        field = field.target_field
    valid = []
    for pk in pks:
        try:
            value = field.to_python(pk)
            field.run_validators(value)
        except ValidationError:
            continue
        valid.append(value)
    return list(dict.fromkeys(valid))
