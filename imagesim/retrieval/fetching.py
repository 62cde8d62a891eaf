"""The items with given primary keys, in one query a model (and one a further prefetch).

Where nothing but the keys changes from one question to the next, the SQL is kept: making it takes longer than
answering it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections, models
from django.db.models.manager import BaseManager

from imagesim.items import Items
from imagesim.retrieval.joining import Fetch
from imagesim.statements import Prepared

Way = tuple[Fetch[Any], Prepared[Any]]

_kept: WeakKeyDictionary[Items[Any], dict[tuple[str, int, bool], Way | None]] = WeakKeyDictionary()
"""Of each registration, by database, number of keys, and whether what belongs to the items is read along; None where
the SQL cannot be kept."""


def by_pk(items: Items[Any], pks: Sequence[Any], queryset: models.QuerySet[Any], *, many: bool) -> list[Any]:
    """Those of ``queryset``, which is all that the items give, in no order; ``many``: with what belongs to them in
    numbers, such as photos."""
    if not pks:
        return []
    if not _asks_the_same(items):
        return _fetch(items, pks, queryset, many).items()
    field, connection = queryset.model._meta.pk, connections[queryset.db]
    params = tuple(field.get_db_prep_value(pk, connection) for pk in pks)
    kept, name = _kept.setdefault(items, {}), (queryset.db, len(pks), many)
    if name not in kept:
        fetch = _fetch(items, pks, queryset, many)
        statement = Prepared(fetch.queryset)
        # It may have parameters of its own, such as those of an expression that the photos are ordered by.
        kept[name] = (fetch, statement) if statement.params == params else None
    if (way := kept[name]) is None:
        return _fetch(items, pks, queryset, many).items()
    fetch, statement = way
    return fetch.items(statement.ask(params))


def _fetch(items: Items[Any], pks: Sequence[Any], queryset: models.QuerySet[Any], many: bool) -> Fetch[Any]:
    one, lookups = items.relations_read
    queryset = queryset.filter(pk__in=pks)
    return Fetch(queryset.select_related(*one) if one else queryset, lookups if many else ())


def _asks_the_same(items: Items[Any]) -> bool:
    """Whether the shop leaves the queryset to the model's manager, and that to Django."""
    own = getattr(items.get_queryset, "__func__", None) is not Items.get_queryset
    return not own and type(items.model._default_manager).get_queryset is BaseManager.get_queryset
