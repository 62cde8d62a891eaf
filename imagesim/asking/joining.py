"""Items and the rows that belong to them (a product's photos) in one query, where a prefetch would be another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from django.db import models, router
from django.db.models import F, ForeignKey, ManyToOneRel
from django.db.models.constants import LOOKUP_SEP
from django.db.models.manager import BaseManager
from django.db.models.query import ModelIterable

M = TypeVar("M", bound=models.Model)

PREFIX = "_imagesim_"
"""Of the columns of the joined rows."""


def fetch(queryset: models.QuerySet[M], lookups: Iterable[str]) -> list[M]:
    """The items of ``queryset``, in no order, with what the to-many ``lookups`` lead to.

    One lookup that is a plain foreign key pointing to the items is joined, if the queryset does no more than filter;
    all others are prefetched.
    """
    lookups = list(dict.fromkeys(lookups))
    for lookup in lookups:
        others = [each for each in lookups if each != lookup]
        relation = _joinable(queryset, lookup, others)
        if relation is not None:
            return _joined(queryset.prefetch_related(*others), relation)
    return list(queryset.prefetch_related(*lookups))


def _joinable(queryset: models.QuerySet[Any], lookup: str, others: Sequence[str]) -> ManyToOneRel | None:
    """The relation behind the lookup, if a join gives just what a prefetch would."""
    related = queryset.model._meta.related_objects
    relation = next((each for each in related if each.get_accessor_name() == lookup), None)
    if not isinstance(relation, ManyToOneRel) or relation.one_to_one or not isinstance(relation.field, ForeignKey):
        return None
    model, query = relation.related_model, queryset.query
    own: Iterable[Any] = queryset._prefetch_related_lookups  # type: ignore[attr-defined]
    prefetched = [getattr(each, "prefetch_through", each) for each in (*others, *own)]
    plain = (
        type(model._default_manager).get_queryset is BaseManager.get_queryset
        and not model._meta.parents
        and router.db_for_read(model) == queryset.db
        and issubclass(queryset._iterable_class, ModelIterable)
        and query.group_by is None
        and not (query.annotations or query.distinct or query.is_sliced)
        # A join that the queryset filters by would leave out rows.
        and all(getattr(each, "table_name", "") != model._meta.db_table for each in query.alias_map.values())
        and all(each.split(LOOKUP_SEP)[0] != lookup for each in prefetched)
    )
    return relation if plain else None


def _joined(queryset: models.QuerySet[M], relation: ManyToOneRel) -> list[M]:
    model, owner = relation.related_model, relation.field
    names = [field.attname for field in model._meta.concrete_fields]
    key = names.index(model._meta.pk.attname)
    columns = {PREFIX + name: F(f"{relation.name}{LOOKUP_SEP}{name}") for name in names}
    found: dict[Any, tuple[M, dict[Any, models.Model]]] = {}
    for read in queryset.order_by(relation.name).annotate(**columns):
        values = [read.__dict__.pop(column) for column in columns]
        item, rows = found.setdefault(read.pk, (read, {}))
        if values[key] is not None and values[key] not in rows:  # another join may bring a row twice
            row = rows[values[key]] = model.from_db(queryset.db, names, values)
            owner.set_cached_value(row, item)
    accessor = relation.get_accessor_name()
    for item, rows in found.values():
        of_item = getattr(item, accessor).all()
        of_item._result_cache, of_item._prefetch_done = list(rows.values()), True
        item.__dict__.setdefault("_prefetched_objects_cache", {})[accessor] = of_item
    return [item for item, _rows in found.values()]
