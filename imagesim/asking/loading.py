"""From what the index found to the shop's own items."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from imagesim.asking.joining import fetch
from imagesim.items import split_key
from imagesim.registry import registry
from imagesim.types import Hit, HitImage, Match


def load(matches: Iterable[Match]) -> list[Hit]:
    """The hits behind matches, in their order; without items that are gone or left out now."""
    matches = list(matches)
    found = load_items(match.key for match in matches)
    return [hit_of(match, found[match.key]) for match in matches if match.key in found]


def hit_of(match: Match, item: models.Model) -> Hit:
    return Hit(item, match.score, HitImage(match.image_name, match.image_digest), match.stage)


def load_items(keys: Iterable[str]) -> dict[str, models.Model]:
    """The items with these keys that the shop shows now, by key, in one query a model (and one a further prefetch)."""
    pks: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        label, pk = split_key(key)
        pks.setdefault(label, []).append(pk)
    found: dict[str, models.Model] = {}
    for items in registry:
        if items.label in pks:
            one, many = items.relations_read
            queryset = items.get_queryset()
            queryset = queryset.filter(pk__in=_valid(queryset.model, pks[items.label]))
            for item in fetch(queryset.select_related(*one) if one else queryset, many):
                if items.should_index(item):
                    found[items.key_of(item)] = item
    return found


def _valid(model: type[models.Model], pks: Collection[str]) -> list[Any]:
    """Primary keys in the model's own type; an entry made when it had another is left out."""
    assert model._meta.pk is not None
    valid = []
    for pk in pks:
        try:
            valid.append(model._meta.pk.to_python(pk))
        except ValidationError:
            continue
    return valid
