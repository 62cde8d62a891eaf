"""Record that items changed: one statement, in the transaction of the change."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from itertools import islice
from typing import Any, ClassVar

from django.core.exceptions import EmptyResultSet
from django.db import DatabaseError, connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Cast
from django.dispatch import Signal
from django.utils import timezone

from imagesim.database import retry_conflicts
from imagesim.exceptions import ConfigurationError, format_choices, migrate_hint
from imagesim.models import ItemState, Scope
from imagesim.runtime import runtime

changes_waiting = Signal()
"""Sent with ``using`` after a commit that recorded changes. A receiver that fails does not affect the save."""

CHUNK = 500
VENDORS = ("postgresql", "sqlite", "mysql")  # the last includes MariaDB
_TO_ANNOUNCE = "_imagesim_changes_to_announce"
# Keys that the database casts to the same text as Python. (SQLite stores a UUID without its dashes.)
_CASTABLE = (models.IntegerField, models.CharField, models.TextField)


def now_version() -> int:
    """The version of a change, unless the item already has a higher one: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@retry_conflicts
def record(label: str, pks: Iterable[object], *, scope: Scope = Scope.ALL, using: str) -> int:
    """Record that these items of one model, on the database ``using``, changed; return how many.

    One statement per ``CHUNK`` of them, in the open transaction. If the app's tables are on another database than the
    items, they are recorded again after the commit, because a worker may have synced the first record before it.
    """
    alias = state_alias()
    if alias != using and connections[using].in_atomic_block:
        again = partial(record, label, pks := list(pks), scope=scope, using=alias)
        transaction.on_commit(again, using=using, robust=True)
    # In one order everywhere, so that two writers of the same items wait for each other instead of deadlocking.
    keys = sorted({str(pk) for pk in pks})
    if not keys:
        return 0
    upsert = _upsert(alias)
    with transaction.atomic(using=alias, savepoint=False) if len(keys) > CHUNK else nullcontext():
        rest = iter(keys)
        while chunk := list(islice(rest, CHUNK)):
            upsert.values(label, chunk, scope)
    return len(keys)


@retry_conflicts
def record_queryset(label: str, queryset: models.QuerySet[Any], *, scope: Scope = Scope.ALL, using: str) -> int:
    """Record that all items of ``queryset`` on the database ``using`` changed; return how many.

    One statement if the database supports it, otherwise in chunks: memory does not grow with the number of items.
    """
    alias = state_alias()
    upsert = _upsert(alias)
    if alias == using and upsert.supports_select and _is_plain(queryset) and upsert.casts(_key_field(queryset.model)):
        return upsert.select(label, queryset.using(using), scope)
    total = 0
    with transaction.atomic(using=alias, savepoint=False):
        pks = iter(queryset.using(using).values_list("pk", flat=True).iterator(chunk_size=CHUNK))
        while chunk := list(islice(pks, CHUNK)):
            total += record(label, chunk, scope=scope, using=using)
    return total


def _is_plain(queryset: models.QuerySet[Any]) -> bool:
    query = queryset.query
    return not (query.is_sliced or query.combinator or query.distinct_fields or query.select_for_update)


def state_alias() -> str:
    """Return the database of this app's tables: the one that the router names for them."""
    return str(router.db_for_write(ItemState))


def announce(using: str) -> None:
    """Send ``changes_waiting`` after the commit on the database of the items, once per transaction."""
    connection = connections[using]
    setattr(connection, _TO_ANNOUNCE, True)
    transaction.on_commit(partial(_announce, using), using=using, robust=True)


def _announce(using: str) -> None:
    connection = connections[using]
    if getattr(connection, _TO_ANNOUNCE, False):
        setattr(connection, _TO_ANNOUNCE, False)
        changes_waiting.send_robust(sender=ItemState, using=state_alias())


def _upsert(using: str) -> _Upsert:
    return runtime.get((_Upsert, using), partial(_Upsert, using))


def unsupported(using: str) -> str:
    """Why the database cannot be used; empty if it can."""
    vendor = connections[using].vendor
    if vendor in VENDORS:
        return ""
    return f"Changes cannot be recorded in the database {using!r} ({vendor}); use {format_choices(VENDORS)}."


def _key_field(model: type[models.Model]) -> models.Field[Any, Any]:
    field: Any = model._meta.pk
    while field.remote_field:
        field = field.target_field
    return field  # type: ignore[no-any-return]


class _Upsert:
    """INSERT a change, or raise the version of the one that exists, in the SQL of one database.

    One instance per database alias, because every save executes it.

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

    @property
    def supports_select(self) -> bool:
        return self.connection.vendor in ("postgresql", "sqlite")

    def casts(self, field: models.Field[Any, Any]) -> bool:
        """Whether the database casts a key of this field to the same text as Python."""
        native_uuid = self.connection.features.has_native_uuid_field
        return isinstance(field, _CASTABLE) or (native_uuid and isinstance(field, models.UUIDField))

    def values(self, label: str, pks: Sequence[str], scope: Scope) -> None:
        values = self._values(scope)
        row = f"({', '.join(self.COLUMNS.values())})"
        sql = f"INSERT INTO {self.table} ({self.columns}) VALUES {', '.join([row] * len(pks))} {self.conflict}"
        self._execute(sql, [value for pk in pks for value in (label, pk, *values)])

    def select(self, label: str, queryset: models.QuerySet[Any], scope: Scope) -> int:
        text = Cast("pk", models.CharField(max_length=255))
        keys = queryset.order_by().annotate(imagesim_pk=text).values_list("imagesim_pk").distinct()
        try:
            inner, params = keys.query.get_compiler(self.using).as_sql()
        except EmptyResultSet:
            return 0
        selected = ", ".join({**self.COLUMNS, "object_pk": "found.imagesim_pk"}.values())
        # SQLite needs a condition to tell ON CONFLICT from a join.
        sql = (
            f"INSERT INTO {self.table} ({self.columns}) SELECT {selected} FROM ({inner}) found "
            f"WHERE 1 = 1 ORDER BY found.imagesim_pk {self.conflict}"
        )
        return self._execute(sql, [label, *self._values(scope), *params])

    def _execute(self, sql: str, params: Sequence[Any]) -> int:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql, params)
                return int(cursor.rowcount)
        except DatabaseError as error:
            if not (hint := migrate_hint(error)):
                raise
            raise type(error)(f"{error} {hint}") from error

    def _values(self, scope: Scope) -> list[Any]:
        """The parameters of a new row after its primary key, as the database wants them."""
        now = ItemState._meta.get_field("changed_at").get_db_prep_save(timezone.now(), self.connection)
        return [now_version(), int(scope), now, now]

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
