"""From what the index found to the shop's own items."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from imagesim.items import Items, split_key
from imagesim.registry import registry
from imagesim.retrieval.fetching import by_pk
from imagesim.types import Candidate, Hit, HitImage


def load(candidates: Iterable[Candidate]) -> list[Hit]:
    """The hits behind matches, in their order; without items that are gone or left out now."""
    candidates = list(candidates)
    found = load_items(candidate.key for candidate in candidates)
    return [hit_of(candidate, found[candidate.key]) for candidate in candidates if candidate.key in found]


def hit_of(candidate: Candidate, item: models.Model) -> Hit:
    return Hit(item, candidate.score, HitImage(candidate.image_name, candidate.image_digest), candidate.stage)


def load_items(keys: Iterable[str]) -> dict[str, models.Model]:
    """The items with these keys that the shop shows now, by key, in one query a model (and one a further prefetch)."""
    pks: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        label, pk = split_key(key)
        pks.setdefault(label, []).append(pk)
    shown = [(items, item) for items in registry if items.label in pks for item in load_shown(items, pks[items.label])]
    return {items.key_of(item): item for items, item in shown}


def load_shown(items: Items[Any], pks: Collection[str], *, many: bool = True) -> list[models.Model]:
    """The items of one model with these primary keys that the shop shows now, in no order; ``many``: with what
    belongs to them in numbers, such as photos."""
    queryset = items.get_queryset()
    found = by_pk(items, _valid(queryset.model, pks), queryset, many=many)
    return [item for item in found if items.should_index(item)]


def _valid(model: type[models.Model], pks: Collection[str]) -> list[Any]:
    """Primary keys in the model's own type; what can be none is left out: a number too large for the column, or a key
    of an entry made when the model had another type of it."""
    field: Any = model._meta.pk
    while field.is_relation:  # of a model that is the child of another
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
