"""Writing down that an item changed: one statement, in the transaction of the change itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import cache, cached_property, partial
from itertools import islice
from typing import Any, ClassVar

from django.core.exceptions import EmptyResultSet
from django.db import connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Cast
from django.dispatch import Signal
from django.utils import timezone

from imagesim.models import ItemState, Scope

changes_waiting = Signal()
"""Sent with ``using`` after a commit that wrote changes; never lets a listener's failure reach the save."""

CHUNK = 500
_TO_ANNOUNCE = "_imagesim_changes_to_announce"
# Keys whose text the database gives as Python does. (SQLite keeps a UUID without its dashes.)
_CASTABLE = (models.IntegerField, models.CharField, models.TextField)


def now_version() -> int:
    """The version a change gets unless the item already has a higher one: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def record(label: str, pks: Iterable[object], *, scope: Scope = Scope.ALL, using: str) -> int:
    """Write down that these items of one model changed; returns how many. One statement a ``CHUNK`` of them.

    Within a transaction it is part of that; rolled back, it leaves nothing.
    """
    # In one order everywhere, so that two writers of the same items wait for each other and never deadlock.
    keys = sorted({str(pk) for pk in pks})
    if not keys:
        return 0
    upsert = _upsert(using)
    with transaction.atomic(using=using, savepoint=False) if len(keys) > CHUNK else nullcontext():
        rest = iter(keys)
        while chunk := list(islice(rest, CHUNK)):
            upsert.values(label, chunk, scope)
    return len(keys)


def record_queryset(label: str, queryset: models.QuerySet[Any], *, scope: Scope = Scope.ALL, using: str) -> int:
    """Write down that all items of ``queryset`` on the database ``using`` changed, wherever the changes are kept.

    One statement where the database can, else in chunks: memory does not grow with the number of items.
    """
    alias = state_alias(using)
    upsert = _upsert(alias)
    if alias == using and upsert.supports_select and _is_plain(queryset) and upsert.casts(_key_field(queryset.model)):
        return upsert.select(label, queryset.using(using), scope)
    total = 0
    with transaction.atomic(using=alias, savepoint=False):
        pks = iter(queryset.using(using).values_list("pk", flat=True).iterator(chunk_size=CHUNK))
        while chunk := list(islice(pks, CHUNK)):
            total += record(label, chunk, scope=scope, using=alias)
    return total


def _is_plain(queryset: models.QuerySet[Any]) -> bool:
    query = queryset.query
    return not (query.is_sliced or query.combinator or query.distinct_fields)


def state_alias(using: str) -> str:
    """The database that holds the changes of items on ``using``: the same, so that both commit together.

    Where a router keeps this app's tables out of it, the one it writes them to.
    """
    return using if router.allow_migrate_model(using, ItemState) else str(router.db_for_write(ItemState))


def announce(using: str) -> None:
    """After the commit, say once that changes wait, however many were written within the transaction."""
    connection = connections[using]
    setattr(connection, _TO_ANNOUNCE, True)
    transaction.on_commit(partial(_announce, using), using=using, robust=True)


def _announce(using: str) -> None:
    connection = connections[using]
    if getattr(connection, _TO_ANNOUNCE, False):
        setattr(connection, _TO_ANNOUNCE, False)
        changes_waiting.send_robust(sender=ItemState, using=using)


@cache
def _upsert(using: str) -> _Upsert:
    return _Upsert(using)


def _key_field(model: type[models.Model]) -> models.Field[Any, Any]:
    field: Any = model._meta.pk
    while field.remote_field:
        field = field.target_field
    return field  # type: ignore[no-any-return]


class _Upsert:
    """INSERT a change, or raise the version of the one that is there, in each database's own words.

    One a database, made once: every save comes by here.
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
    """Each column of a new row with its value, as far as it is always the same: a parameter costs more to bind."""

    def __init__(self, using: str) -> None:
        self.using = using
        quote = self.connection.ops.quote_name
        self.table = quote(ItemState._meta.db_table)
        fields: dict[str, Any] = {name: ItemState._meta.get_field(name) for name in self.COLUMNS}
        self.names = {name: quote(field.column) for name, field in fields.items()}
        self.columns = ", ".join(self.names.values())

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.using]  # each thread has its own

    @property
    def supports_upsert(self) -> bool:
        return self.connection.vendor in ("postgresql", "sqlite", "mysql")

    @property
    def supports_select(self) -> bool:
        return self.connection.vendor in ("postgresql", "sqlite")

    def casts(self, field: models.Field[Any, Any]) -> bool:
        """Whether the database's text of this kind of key is the one Python makes of it."""
        native_uuid = self.connection.features.has_native_uuid_field
        return isinstance(field, _CASTABLE) or (native_uuid and isinstance(field, models.UUIDField))

    def values(self, label: str, pks: Sequence[str], scope: Scope) -> None:
        if not self.supports_upsert:
            self._one_by_one(label, pks, scope)
            return
        values = self._values(scope)
        row = f"({', '.join(self.COLUMNS.values())})"
        sql = f"INSERT INTO {self.table} ({self.columns}) VALUES {', '.join([row] * len(pks))} {self.conflict}"
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [value for pk in pks for value in (label, pk, *values)])

    def select(self, label: str, queryset: models.QuerySet[Any], scope: Scope) -> int:
        text = Cast("pk", models.CharField(max_length=255))
        keys = queryset.order_by().annotate(imagesim_pk=text).values_list("imagesim_pk").distinct()
        try:
            inner, params = keys.query.get_compiler(self.using).as_sql()
        except EmptyResultSet:
            return 0
        selected = ", ".join({**self.COLUMNS, "object_pk": "found.imagesim_pk"}.values())
        # The condition says nothing: SQLite needs one to tell ON CONFLICT from a join.
        sql = (
            f"INSERT INTO {self.table} ({self.columns}) SELECT {selected} FROM ({inner}) found "
            f"WHERE 1 = 1 ORDER BY found.imagesim_pk {self.conflict}"
        )
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [label, *self._values(scope), *params])
            return int(cursor.rowcount)

    def _values(self, scope: Scope) -> list[Any]:
        """What a new row says after its primary key, as the database wants it."""
        now = ItemState._meta.get_field("changed_at").get_db_prep_save(timezone.now(), self.connection)
        return [now_version(), int(scope), now, now]

    @cached_property
    def conflict(self) -> str:
        n = self.names
        if self.connection.vendor == "mysql":
            # Assignments take effect from left to right, so what others are computed from comes last.
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

    def _one_by_one(self, label: str, pks: Sequence[str], scope: Scope) -> None:
        """For databases without an upsert that the above knows: one row after the other, under its lock."""
        states = ItemState.objects.using(self.using)
        for pk in pks:
            with transaction.atomic(using=self.using):
                now = timezone.now()
                fresh = {"version": now_version(), "scope": scope, "not_before": now, "changed_at": now}
                state, created = states.select_for_update().get_or_create(model=label, object_pk=pk, defaults=fresh)
                if not created:
                    states.filter(pk=state.pk).update(
                        **{
                            **fresh,
                            "version": max(state.version + 1, now_version()),
                            "scope": max(state.scope, scope) if state.pending else scope,
                            "error": "",
                            "attempts": 0,
                            "lease": "",
                            "leased_until": None,
                            "pending": True,
                        }
                    )
