"""Database helpers beyond Django's ORM: atomic saves, retries, tenants' schemas, and rows in code point order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.apps import apps
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections, models, router, transaction
from django.db.models.functions import Collate

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from imagesim.types import Vector

P = ParamSpec("P")
R = TypeVar("R")
Model = TypeVar("Model", bound=models.Model)

CONNECTION_ERRORS = (OperationalError, InterfaceError)
"""What Django raises if a database cannot be reached, or has ended the connection."""
DELETE_BATCH = 10_000
"""Rows deleted per statement."""
CONFLICT_RETRIES = 5
_CONFLICT_NUMBERS = (1205, 1213)
"""MySQL and MariaDB: a lock wait that timed out, a deadlock. They also lock the gaps that others insert into."""
_CONFLICT_STATES = ("40001", "40P01")
"""PostgreSQL: a serialization failure, if the project isolates transactions more strictly; a deadlock."""
_READ_ONLY = "25006"


class AtomicSave:
    """A mixin whose ``save()`` commits the row together with the writes of its signal receivers.

    ``class Product(AtomicSave, models.Model)``.

    Without it, and outside a transaction, Django commits the row first and then sends ``post_save``. Within a
    transaction the mixin changes nothing and adds no savepoint.
    """

    def save_base(self, *args: Any, using: str | None = None, **kwargs: Any) -> None:
        alias = using or router.db_for_write(type(self), instance=self)  # type: ignore[arg-type]
        with transaction.atomic(using=alias, savepoint=False):
            super().save_base(*args, using=alias, **kwargs)  # type: ignore[misc]


def atomic(model: type[models.Model]) -> transaction.Atomic:
    """Return a transaction in the database that rows of a model are written to, which a router may choose."""
    return transaction.atomic(using=router.db_for_write(model))


def without_transaction(view: Callable[P, R]) -> Callable[P, R]:
    """Take a view out of the transactions of ``ATOMIC_REQUESTS``, which would stay open while it works on pictures."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def primary(model: type[Model]) -> models.QuerySet[Model]:
    """Return the rows of a model from the database that they are written to: a replica may lag behind."""
    return model._default_manager.using(router.db_for_write(model))


_related_from_primary = ContextVar("imagesim_related_from_primary", default=False)


class _RelatedRows:
    """A router before those of the shop: the rows related to one that was read from the primary come from there, too.
    A shop's router that reads from a replica, as in Django's documentation, need not regard the instance."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        instance = hints.get("instance")
        if instance is None or not _related_from_primary.get():
            return None
        alias: str | None = instance._state.db
        return alias if alias == router.db_for_write(model, **hints) else None


_related_rows = _RelatedRows()


@contextmanager
def related_rows_from_primary() -> Iterator[None]:
    """Read the rows related to items, their pictures for example, from the database that the items were read from."""
    if router.routers and _related_rows not in router.routers:
        router.routers.insert(0, _related_rows)
    token = _related_from_primary.set(True)
    try:
        yield
    finally:
        _related_from_primary.reset(token)


def after_commit(using: str | None, call: Callable[..., object], /, *arguments: Any, **options: Any) -> None:
    """Call a function once the open transaction is committed; immediately if none is open, or if the project commits by
    hand (without autocommit), which no hook reports. It is called in the schema of the current tenant.

    A failure of the function is logged, and has no effect on what was committed.
    """
    connection = transaction.get_connection(using)
    schema = current_schema(connection.alias)

    def run() -> None:
        with in_schema(schema, connection.alias):
            call(*arguments, **options)

    run.__qualname__ = call.__qualname__  # the name Django logs a failure by, which a partial lacks
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(run, using=using, robust=True)
    else:
        run()


def retry_conflicts(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: call again, up to ``CONFLICT_RETRIES`` times, if the database rolled back the writes of this call
    because of another transaction: a deadlock, a serialization failure, or on MySQL a lock wait that timed out.

    The function must be safe to repeat. Within a transaction of the caller it is called once, because all that the
    caller wrote was rolled back too.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for earlier in range(CONFLICT_RETRIES):
            try:
                return function(*args, **kwargs)
            except OperationalError as error:
                if not is_conflict(error) or any(
                    each.in_atomic_block for each in connections.all(initialized_only=True)
                ):
                    raise
                time.sleep(random.uniform(0.0, 0.05) * 2**earlier)
        return function(*args, **kwargs)

    return call


def delete_in_batches(rows: models.QuerySet[Any], size: int | None = None) -> int:
    """Delete the rows, ``size`` (``DELETE_BATCH``) per statement, so that none takes long; return how many.

    In the order of their keys, each batch behind the one before: from the start, PostgreSQL would read the rows that
    were deleted again for every batch, and those that stay.
    """
    deleted = 0
    rest = rows.order_by("pk")
    while pks := list(rest.values_list("pk", flat=True)[: size or DELETE_BATCH]):
        deleted += retry_conflicts(rows.model._base_manager.filter(pk__in=pks).delete)()[0]
        rest = rows.order_by("pk").filter(pk__gt=pks[-1])
    return deleted


@retry_conflicts
def insert_new(rows: Collection[models.Model]) -> None:
    """Insert rows of one model, except those that another process has already stored."""
    if rows:
        primary(type(next(iter(rows)))).bulk_create(rows, ignore_conflicts=True)


@retry_conflicts
def put(model: type[Model], values: Mapping[str, Any], **key: Any) -> Model:
    """Create the row with this unique ``key``, or change its ``values``; return it.

    ``update_or_create()`` reads and then writes in one transaction, which SQLite refuses while another process writes,
    unless transactions begin with the write lock.
    """
    row, created = model._default_manager.get_or_create(defaults=values, **key)
    if not created:
        for name, value in values.items():
            setattr(row, name, value)
        row.save(update_fields=list(values))
    return row


def stored_array(column: bytes | memoryview) -> Vector:
    """Return the vector, or several concatenated, that a binary column holds as little-endian float32."""
    import numpy as np

    return np.frombuffer(bytes(column), dtype="<f4")


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of a Django error that PostgreSQL reported, or None."""
    cause = getattr(error, "__cause__", None)
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # of psycopg 3; of psycopg2


def is_conflict(error: OperationalError) -> bool:
    """Return whether another transaction's writes caused the error, so a retry can succeed."""
    number, state = next(iter(error.args), None), sqlstate(error)
    return number in _CONFLICT_NUMBERS or state in _CONFLICT_STATES


def is_read_only(error: BaseException) -> bool:
    """Return whether PostgreSQL reported that the server or the user may only read, as on a standby after a failover,
    or where a full disk is near. Other databases raise OperationalError then."""
    return sqlstate(error) == _READ_ONLY


def close_lost_connections() -> None:
    """Close connections that the server has ended, so that the next statement opens new ones.

    Django does so only between requests and between Celery tasks; a long-running script or service would fail until it
    is restarted. Working connections are left open, even with CONN_MAX_AGE = 0: somebody may be reading rows.
    """
    for connection in connections.all(initialized_only=True):
        lost = connection.connection is not None and connection.errors_occurred and not connection.in_atomic_block
        if lost and not connection.is_usable():
            connection.close()


@contextmanager
def closing_lost_connections() -> Iterator[None]:
    """Call :func:`close_lost_connections` if the database ends the block with an error."""
    try:
        yield
    except CONNECTION_ERRORS:
        close_lost_connections()
        raise


def state_alias() -> str:
    """Return the database of this app's tables: the one that the router names for them."""
    return str(router.db_for_write(apps.get_model("imagesim", "ItemState")))


def current_schema(using: str) -> str:
    """Return the schema that a connection works in if there is one per tenant (django-tenants); otherwise empty."""
    return str(getattr(connections[using], "schema_name", None) or "")


def tenant_schema() -> str:
    """Return the schema of the current tenant if each has its own tables of this app; otherwise empty."""
    schema = current_schema(state_alias())
    if not schema or schema == _public_schema():
        return ""
    own = getattr(settings, "TENANT_APPS", ["imagesim"])  # not set if tenants are of several types
    return schema if is_listed("imagesim", own) else ""


def is_listed(name: str, listed: Iterable[str]) -> bool:
    """Return whether an app is in a list such as ``INSTALLED_APPS``, by its name or by that of its configuration."""
    return any(each == name or each.startswith(f"{name}.apps.") for each in listed)


def lacks_tables() -> bool:
    """Return whether this is the public schema of django-tenants and only those of tenants have tables of this app."""
    alias = state_alias()
    schema = current_schema(alias)
    return bool(schema) and schema == _public_schema() and not router.allow_migrate(alias, "imagesim")


def _public_schema() -> str:
    return getattr(settings, "PUBLIC_SCHEMA_NAME", "public")


@contextmanager
def in_schema(schema: str, using: str) -> Iterator[None]:
    """Make a connection work in a schema that :func:`current_schema` returned, for instance in another thread."""
    connection: Any = connections[using]
    if not schema or schema == current_schema(using):
        yield
        return
    tenant = connection.tenant
    connection.set_schema(schema)
    try:
        yield
    finally:
        connection.set_tenant(tenant)


def for_thread() -> Callable[[], None]:
    """Return a function that a new thread must call first, so that its connections work for this thread's tenants.
    Storages with a folder per tenant need this too."""
    tenants = {
        connection.alias: tenant
        for connection in connections.all(initialized_only=True)
        if (tenant := getattr(connection, "tenant", None)) is not None
    }

    def enter() -> None:
        for alias, tenant in tenants.items():
            connection: Any = connections[alias]
            connection.set_tenant(tenant)

    return enter


Row = TypeVar("Row")


def batched(values: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Yield the values in order, in lists of up to ``size``, for one statement each."""
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch


def pages(rows: models.QuerySet[Any, Row], size: int) -> Iterator[list[Row]]:
    """Yield pages of ``rows`` in the order of the primary key, each by its own query: rows may be deleted meanwhile."""
    rows = rows.order_by("pk")
    page = list(rows[:size])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1].pk)[:size])  # type: ignore[attr-defined]


def keeps_session(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a setting or cursor made outside a transaction still exists in the next statement.

    Behind a transaction pool, such as PgBouncer's, the next statement may reach another session: a server-side cursor
    is not found there, or belongs to another client with the same name, and a setting stays for whoever comes next. A
    pool is recognised because it gives its clients process numbers of its own instead of the server's. (A session pool
    does the same, and cannot be told apart.)
    """
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [process] = cursor.fetchone()
    return bool(process == connection.connection.info.backend_pid)


def stream(rows: models.QuerySet[Any, Row], *, chunk_size: int) -> Iterator[Row]:
    """Yield ``rows`` in their order, holding ``chunk_size`` of them at a time.

    Without a server-side cursor, a driver reads a whole result at once, so only the primary keys are read first, and
    then the rows page by page. Django uses no such cursors on MySQL, they do not last behind a transaction pool, and a
    setting switches them off.
    """
    connection = connections[rows.db]
    switched_off = connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS", False)
    if connection.vendor != "mysql" and not switched_off and keeps_session(connection):
        yield from rows.iterator(chunk_size=chunk_size)
        return
    pks = list(rows.values_list("pk", flat=True))
    for start in range(0, len(pks), chunk_size):
        yield from rows.filter(pk__in=pks[start : start + chunk_size])


_COLLATIONS = {"postgresql": "C", "sqlite": "BINARY"}


def in_code_point_order(
    rows: models.QuerySet[Any, Row], text: str, value: Callable[[Row], str], *, chunk_size: int
) -> Iterator[Row]:
    """Stream ``rows`` in code point order of the column or annotation ``text``; ``value`` returns it for one row.

    Reads as :func:`stream` does, but page by page on SQLite, where a running SELECT blocks writers.
    """
    connection = connections[rows.db]
    if connection.vendor == "mysql":  # its collations depend on the column's character set; bytes do not
        code_points: Any = models.Func(
            text, template="CAST(%(expressions)s AS BINARY)", output_field=models.BinaryField()
        )
    else:
        code_points = Collate(text, _COLLATIONS[connection.vendor])
    rows = rows.order_by(code_points)
    if connection.vendor != "sqlite":
        yield from stream(rows, chunk_size=chunk_size)
        return
    page = list(rows[:chunk_size])
    while page:
        yield from page
        page = list(rows.filter(models.lookups.GreaterThan(code_points, value(page[-1])))[:chunk_size])
