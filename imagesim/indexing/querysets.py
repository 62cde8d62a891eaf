"""Where items are read from: the registered models, on every database that changes are kept on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, router

from imagesim.indexing import outbox
from imagesim.items import Items
from imagesim.models import ItemState
from imagesim.registry import registry


def state_aliases() -> list[str]:
    """The databases that may hold changes."""
    aliases = [outbox.state_alias(str(router.db_for_write(model))) for model in registry.all_models()]
    return list(dict.fromkeys(aliases)) or [str(router.db_for_write(ItemState))]


def queryset_of(items: Items[Any], using: str) -> models.QuerySet[Any]:
    """The items that may be indexed, from the database that is written to: a replica may lag behind the change."""
    alias = using if router.allow_migrate_model(using, items.model) else str(router.db_for_write(items.model))
    return items.get_queryset().using(alias)


def valid_pks(items: Items[Any], pks: Iterable[str]) -> Iterator[Any]:
    field = items.model._meta.pk
    for pk in pks:
        try:
            yield field.to_python(pk)
        except ValidationError:
            continue  # the model's key has changed its type; no item can have this one
