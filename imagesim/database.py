"""Database helpers beyond Django's ORM: atomic saves, schemas of tenants, and rows in the order of code points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connections, models, router, transaction
from django.db.models.functions import Collate


class AtomicSave:
    """A mixin whose ``save()`` commits the row together with the writes of its signal receivers.

    ``class Product(AtomicSave, models.Model)``.

    Without it, and outside of a transaction, Django commits the row first and then sends ``post_save``. Within a
    transaction it changes nothing and adds no savepoint.
    """

    def save_base(self, *args: Any, using: str | None = None, **kwargs: Any) -> None:
        alias = using or router.db_for_write(type(self), instance=self)  # type: ignore[arg-type]
        with transaction.atomic(using=alias, savepoint=False):
            super().save_base(*args, using=alias, **kwargs)  # type: ignore[misc]


def current_schema(using: str) -> str:
    """Return the schema that a connection works in, where there is one per tenant (django-tenants); else empty."""
    return str(getattr(connections[using], "schema_name", None) or "")


@contextmanager
def in_schema(schema: str, using: str) -> Iterator[None]:
    """Have a connection work in a schema that :func:`current_schema` returned, for instance in another thread."""
    connection: Any = connections[using]
    if not schema:
        yield
        return
    tenant = connection.tenant
    connection.set_schema(schema)
    try:
        yield
    finally:
        connection.set_tenant(tenant)


Row = TypeVar("Row")


def pages(rows: models.QuerySet[Any, Row], size: int) -> Iterator[list[Row]]:
    """Yield pages of ``rows`` in the order of the primary key, each by a query of its own: rows may be deleted
    meanwhile."""
    rows = rows.order_by("pk")
    page = list(rows[:size])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1].pk)[:size])  # type: ignore[attr-defined]


_COLLATIONS = {"postgresql": "C", "sqlite": "BINARY"}


def in_code_point_order(
    rows: models.QuerySet[Any, Row], text: str, value: Callable[[Row], str], *, chunk_size: int
) -> Iterator[Row]:
    """Stream ``rows`` in the order of the column or annotation ``text``; ``value`` returns it for one row.

    Through a server-side cursor; on SQLite page by page, because a running SELECT blocks writers there.
    """
    connection = connections[rows.db]
    if connection.vendor == "mysql":  # its collations depend on the character set of the column, but bytes are bytes
        code_points: Any = models.Func(
            text, template="CAST(%(expressions)s AS BINARY)", output_field=models.BinaryField()
        )
    else:
        code_points = Collate(text, _COLLATIONS[connection.vendor])
    rows = rows.order_by(code_points)
    if connection.vendor != "sqlite":
        yield from rows.iterator(chunk_size=chunk_size)
        return
    page = list(rows[:chunk_size])
    while page:
        yield from page
        page = list(rows.filter(models.lookups.GreaterThan(code_points, value(page[-1])))[:chunk_size])
