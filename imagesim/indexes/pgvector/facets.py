"""Counts of the values of fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.pgvector.database import Bound, rows
from imagesim.indexes.pgvector.queries import conditions
from imagesim.indexes.pgvector.tables import Generation
from imagesim.indexes.validation import MAX_FACET_VALUES, CompiledFilters
from imagesim.types import Facet, FilterKind

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper


def count(cursor: CursorWrapper, generation: Generation, compiled: CompiledFilters) -> int:
    """How many entries pass the filters."""
    bind = Bound()
    query = sql.SQL("SELECT count(*) FROM {} e WHERE {}")
    where = conditions(compiled, generation, bind)
    [[found]] = rows(cursor, query.format(generation.table("entry"), where), bind.values)
    return int(found)


def facet(
    cursor: CursorWrapper, generation: Generation, name: str, kind: FilterKind, compiled: CompiledFilters
) -> Facet:
    """Count the values of one field among the entries that pass the filters."""
    bind = Bound()
    parts = {"entry": generation.table("entry"), "where": conditions(compiled, generation, bind)}
    restore = FILTER_TYPES[kind].restore
    if FILTER_TYPES[kind].is_range:
        low, high = generation.column(name, "_min"), generation.column(name, "_max")
        query = sql.SQL("SELECT count(e.{low}), min(e.{low}), max(e.{high}) FROM {entry} e WHERE {where}")
        [[counted, least, most]] = rows(cursor, query.format(low=low, high=high, **parts), bind.values)
        if not counted:
            return Facet(kind)
        return Facet(kind, counted, minimum=restore(least), maximum=restore(most))
    if name == "in_stock":
        values: sql.Composable = sql.SQL("ARRAY[e.in_stock]")
    else:
        column = sql.Identifier("categories") if name == "category" else generation.column(name)
        values = sql.SQL("e.{}").format(column)
    counts = sql.SQL(
        "WITH e AS (SELECT {values} AS of FROM {entry} e WHERE {where}) "
        "SELECT v, count(*) AS entries, (SELECT count(*) FROM e WHERE of <> '{{}}') FROM e, unnest(e.of) AS v "
        "GROUP BY v ORDER BY entries DESC, v LIMIT {most}"
    ).format(values=values, most=sql.Literal(MAX_FACET_VALUES + 1), **parts)
    found = rows(cursor, counts, bind.values)
    counted = found[0][2] if found else 0
    pairs = tuple((restore(value), int(number)) for value, number, _ in found[:MAX_FACET_VALUES])
    return Facet(kind, counted, pairs, more=len(found) > MAX_FACET_VALUES)
