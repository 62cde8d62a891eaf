"""Items and the rows that belong to them (a product's photos) in one query, where a prefetch would be another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from django.db import models, router
from django.db.models import F, ForeignKey, ManyToOneRel
from django.db.models.constants import LOOKUP_SEP
from django.db.models.manager import BaseManager
from django.db.models.query import ModelIterable

M = TypeVar("M", bound=models.Model)

PREFIX = "_imagesim_"
"""Of the columns of the joined rows."""


class Fetch(Generic[M]):
    """How the items of a queryset are read, in no order, with what the to-many ``lookups`` lead to.

    One lookup that is a plain foreign key pointing to the items is joined, if the queryset does no more than filter;
    all others are prefetched. ``queryset`` is what is asked of the database.
    """

    def __init__(self, queryset: models.QuerySet[M], lookups: Iterable[str]) -> None:
        lookups = list(dict.fromkeys(lookups))
        self.queryset = queryset.prefetch_related(*lookups)
        self._joined: _Joined | None = None
        for lookup in lookups:
            others = [each for each in lookups if each != lookup]
            relation = _joinable(queryset, lookup, others)
            if relation is not None:
                self._joined = _Joined(relation)
                self.queryset = self._joined.asked(queryset.prefetch_related(*others))
                break

    def items(self, rows: models.QuerySet[M] | None = None) -> list[M]:
        """Those that the rows of :attr:`queryset` make, or ``rows`` that were asked for by the same SQL."""
        rows = self.queryset if rows is None else rows
        return self._joined.items(rows) if self._joined else list(rows)


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


class _Joined:
    """The rows of a relation beside the items they belong to, in the relation's own order."""

    def __init__(self, relation: ManyToOneRel) -> None:
        model = relation.related_model
        self._relation = relation
        self._names = [field.attname for field in model._meta.concrete_fields]
        self._key = self._names.index(model._meta.pk.attname)
        self._columns = {PREFIX + name: F(f"{relation.name}{LOOKUP_SEP}{name}") for name in self._names}

    def asked(self, queryset: models.QuerySet[M]) -> models.QuerySet[M]:
        asked: models.QuerySet[M] = queryset.order_by(self._relation.name).annotate(**self._columns)
        return asked

    def items(self, rows: models.QuerySet[M]) -> list[M]:
        model, owner = self._relation.related_model, self._relation.field
        found: dict[Any, tuple[M, dict[Any, models.Model]]] = {}
        for read in rows:
            values = [read.__dict__.pop(column) for column in self._columns]
            key = values[self._key]
            item, own = found.setdefault(read.pk, (read, {}))
            if key is not None and key not in own:  # another join may bring a row twice
                row = own[key] = model.from_db(rows.db, self._names, values)
                owner.set_cached_value(row, item)
        accessor = self._relation.get_accessor_name()
        for item, own in found.values():
            of_item = getattr(item, accessor).all()
            of_item._result_cache, of_item._prefetch_done = list(own.values()), True
            item.__dict__.setdefault("_prefetched_objects_cache", {})[accessor] = of_item
        return [item for item, _own in found.values()]
