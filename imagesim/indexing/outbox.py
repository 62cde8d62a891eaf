"""Record that items changed: one statement, in the transaction of the change."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.core.exceptions import EmptyResultSet
from django.db import DatabaseError, connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Cast
from django.utils import timezone

from imagesim.database import (
    after_commit,
    batched,
    current_schema,
    keeps_session,
    lacks_tables,
    retry_conflicts,
    state_alias,
)
from imagesim.exceptions import ConfigurationError, format_choices, migrate_hint
from imagesim.indexing import dispatch
from imagesim.items.registry import registry
from imagesim.models import ItemState, Scope
from imagesim.runtime import runtime

CHUNK = 500
CLOCK_DIFFERENCE = timedelta(minutes=1)
"""How far behind a worker's clock may be: changes are due immediately for it too."""
VENDORS = ("postgresql", "sqlite", "mysql")  # the last includes MariaDB
_TO_ANNOUNCE = "_imagesim_changes_to_announce"
# Keys that the database casts to the same text as Python. (SQLite stores a UUID without its dashes.)
_CASTABLE = (models.IntegerField, models.CharField, models.TextField)


def now_version() -> int:
    """Return the version of a change, unless the item already has a higher one: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def touch(
    objects: models.QuerySet[Any] | Iterable[models.Model] | models.Model,
    *,
    scope: Scope = Scope.ALL,
    using: str | None = None,
) -> int:
    """Mark one or several items as changed, after writes that send no signal (``update()``, ``bulk_create()``, raw
    SQL).

    ``scope=Scope.METADATA`` means that no image changed. One query for a queryset of any size, in the open
    transaction. Returns how many items were marked.

    :raises NotRegistered: if the model is not registered.
    """
    if isinstance(objects, models.QuerySet):
        alias = using or getattr(objects, "_db", None) or str(router.db_for_write(objects.model))
        return record(registry.for_model(objects.model).label, objects, scope=scope, using=alias)
    by_place: dict[tuple[str, str], list[str]] = {}
    for item in [objects] if isinstance(objects, models.Model) else objects:
        items = registry.for_item(item)
        alias = using or item._state.db or str(router.db_for_write(type(item)))
        by_place.setdefault((items.label, alias), []).append(items.pk_of(item))
    return sum(record(label, pks, scope=scope, using=alias) for (label, alias), pks in by_place.items())


atouch = sync_to_async(touch)


@retry_conflicts
def record(
    label: str,
    which: models.QuerySet[Any] | Iterable[object],
    *,
    scope: Scope = Scope.ALL,
    using: str = "",
    announce: bool = True,
    late: bool = False,
) -> int:
    """Record that items of one model changed, those of a queryset or with these primary keys; return how many.

    ``using`` is the database of the items, by default that of this app's tables. Keys are recorded by one statement per
    ``CHUNK``, in the open transaction. If the app's tables are on another database than the items, they are recorded
    again after the commit, because a worker may have synced the first record before it. With ``announce=False`` no
    worker is woken, because this process goes on to sync the changes. With ``late`` everything is recorded after the
    commit, because the transaction has not yet written the rows that lead to the items, as while it loads a fixture.
    """
    alias = state_alias()
    using = using or alias
    if late:
        after_commit(using, record, label, which, scope=scope, using=using, announce=announce)
        return 0
    if lacks_tables():  # a row that all tenants share, which may concern items of each: only reconciling finds them
        return 0
    upsert: _Upsert = runtime.get((_Upsert, alias), partial(_Upsert, alias))
    if isinstance(which, models.QuerySet):
        count = _record_queryset(label, which.using(using), scope, upsert)
    else:
        # In one order everywhere, so that two writers of the same items wait for each other instead of deadlocking:
        # numerical order, in which shops save items one by one.
        keys = sorted({str(pk) for pk in which}, key=lambda key: (len(key), key))
        count = len(keys)
        if keys and alias != using and connections[using].in_atomic_block:
            after_commit(using, record, label, keys, scope=scope, announce=False)
        with transaction.atomic(using=alias, savepoint=False) if count > CHUNK else nullcontext():
            for chunk in batched(keys, CHUNK):
                _execute(alias, *upsert.values(label, chunk, scope))
    if count and announce:
        connections[using].__dict__.setdefault(_TO_ANNOUNCE, set()).add(current_schema(using))
        after_commit(using, _announce, connections[using])
    return count


def record_each(label: str, pks: Iterable[object], *, scope: Scope = Scope.ALL, using: str = "") -> None:
    """Record, in a worker that goes on to sync, that items with these primary keys changed: one at a time.

    One statement for all would wait for those that are being saved while it has others locked, and deadlock with a
    transaction of the shop that goes on to save those.
    """
    for pk in pks:
        record(label, [pk], scope=scope, using=using, announce=False)


def _record_queryset(label: str, queryset: models.QuerySet[Any], scope: Scope, upsert: _Upsert) -> int:
    """Record all items of a queryset: by one statement if the database supports it, otherwise in chunks, so that memory
    does not grow with their number."""
    if queryset.db == upsert.using and upsert.can_select(queryset):
        try:
            return _execute(upsert.using, *upsert.select(label, queryset, scope))
        except EmptyResultSet:
            return 0
    total = 0
    pks = queryset.values_list("pk", flat=True)
    with transaction.atomic(using=upsert.using, savepoint=False):
        in_one_session = queryset.db == upsert.using or keeps_session(connections[queryset.db])
        for chunk in batched(pks.iterator(chunk_size=CHUNK) if in_one_session else pks, CHUNK):
            total += record(label, chunk, scope=scope, using=queryset.db, announce=False)
    return total


def _execute(using: str, sql: str, params: Sequence[Any]) -> int:
    try:
        with connections[using].cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)
    except DatabaseError as error:
        if not (hint := migrate_hint(error)):
            raise
        left = "(If it was uninstalled: the code that registers models has to be removed before its tables.)"
        raise type(error)(f"{error}\n{hint} {left}") from error


def _announce(connection: BaseDatabaseWrapper) -> None:
    """Wake the dispatcher, once for everything that a transaction on the items' database recorded in this schema."""
    schemas, schema = getattr(connection, _TO_ANNOUNCE), current_schema(connection.alias)
    if schema in schemas:
        schemas.remove(schema)
        dispatch.wake()


def unsupported(using: str) -> str:
    """Return why the database cannot be used; empty if it can."""
    vendor = connections[using].vendor
    if vendor in VENDORS:
        return ""
    return f"Changes cannot be recorded in the database {using!r} ({vendor}); use {format_choices(VENDORS)}."


class _Upsert:
    """The SQL by which one database INSERTs changes, or raises the versions of those that exist.

    One instance per database alias, because every save needs it.

    :raises ConfigurationError: if the database is not PostgreSQL, SQLite, MySQL or MariaDB.
    """

    COLUMNS: ClassVar = {
        "model": "%s",
        "object_pk": "%s",
        "version": "%s",
        "synced_version": "0",
        "pending": "TRUE",
        "scope": "%s",
        "outcome": f"'{ItemState.Outcome.NEW}'",
        "error": "''",
        "attempts": "0",
        "not_before": "%s",
        "lease": "''",
        "leased_until": "NULL",
        "changed_at": "%s",
        "synced_at": "NULL",
        "checksum": "''",
    }
    """Each column of a new row with its value. Constant values are not parameters, which cost more to bind."""

    def __init__(self, using: str) -> None:
        self.using = using
        if self.connection.vendor not in VENDORS:
            raise ConfigurationError(unsupported(using))
        quote = self.connection.ops.quote_name
        self.table = quote(ItemState._meta.db_table)
        fields: dict[str, Any] = {name: ItemState._meta.get_field(name) for name in self.COLUMNS}
        self.names = {name: quote(field.column) for name, field in fields.items()}
        self.columns = ", ".join(self.names.values())

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.using]  # each thread has its own

    def can_select(self, queryset: models.QuerySet[Any]) -> bool:
        """Return whether :meth:`select` can record the items of a queryset: the database must accept its SQL as part of
        the statement."""
        query = queryset.query
        is_plain = not (query.is_sliced or query.combinator or query.distinct_fields or query.select_for_update)
        key: Any = queryset.model._meta.pk
        while key.remote_field:
            key = key.target_field
        return is_plain and self.connection.vendor in ("postgresql", "sqlite") and self.casts(key)

    def casts(self, field: models.Field[Any, Any]) -> bool:
        """Return whether the database casts a key of this field to the same text as Python."""
        if field.get_db_converters(self.connection):  # such as a key that is shown as a hash of its number
            return False
        native_uuid = self.connection.features.has_native_uuid_field
        return isinstance(field, _CASTABLE) or (native_uuid and isinstance(field, models.UUIDField))

    def values(self, label: str, pks: Sequence[str], scope: Scope) -> tuple[str, list[Any]]:
        """Return the statement that records the items with these keys, and its parameters."""
        values = self._values(scope)
        row = f"({', '.join(self.COLUMNS.values())})"
        sql = f"INSERT INTO {self.table} ({self.columns}) VALUES {', '.join([row] * len(pks))} {self.conflict}"
        return sql, [value for pk in pks for value in (label, pk, *values)]

    def select(self, label: str, queryset: models.QuerySet[Any], scope: Scope) -> tuple[str, list[Any]]:
        """Return the statement that records the items of a queryset, and its parameters.

        :raises EmptyResultSet: if Django knows without a query that it has none.
        """
        text = Cast("pk", models.CharField(max_length=255))
        keys = queryset.order_by().annotate(imagesim_pk=text).values_list("imagesim_pk").distinct()
        inner, params = keys.query.get_compiler(self.using).as_sql()
        selected = ", ".join({**self.COLUMNS, "object_pk": "found.imagesim_pk"}.values())
        # SQLite needs a condition to tell ON CONFLICT from a join.
        sql = (
            f"INSERT INTO {self.table} ({self.columns}) SELECT {selected} FROM ({inner}) found "
            f"WHERE 1 = 1 ORDER BY LENGTH(found.imagesim_pk), found.imagesim_pk {self.conflict}"
        )
        return sql, [label, *self._values(scope), *params]

    def _values(self, scope: Scope) -> list[Any]:
        """Return the parameters of a new row after its primary key, in the database's types."""
        now, field = timezone.now(), ItemState._meta.get_field("changed_at")
        times = [field.get_db_prep_save(each, self.connection) for each in (now - CLOCK_DIFFERENCE, now)]
        return [now_version(), int(scope), *times]

    @cached_property
    def conflict(self) -> str:
        n = self.names
        if self.connection.vendor == "mysql":
            # Assignments take effect from left to right, so the columns that others are computed from come last.
            new = {name: f"VALUES({column})" for name, column in n.items()}
            old = n
            start = "ON DUPLICATE KEY UPDATE"
        else:
            new = {name: f"excluded.{column}" for name, column in n.items()}
            old = {name: f"{self.table}.{column}" for name, column in n.items()}
            start = f"ON CONFLICT ({n['model']}, {n['object_pk']}) DO UPDATE SET"
        wider = f"{old['pending']} AND {old['scope']} > {new['scope']}"
        later = f"{old['version']} >= {new['version']}"
        assignments = {
            "scope": f"CASE WHEN {wider} THEN {old['scope']} ELSE {new['scope']} END",
            "version": f"CASE WHEN {later} THEN {old['version']} + 1 ELSE {new['version']} END",
            **{name: new[name] for name in ("error", "attempts", "not_before", "lease", "leased_until", "changed_at")},
            "pending": new["pending"],
        }
        return f"{start} {', '.join(f'{n[name]} = {value}' for name, value in assignments.items())}"
