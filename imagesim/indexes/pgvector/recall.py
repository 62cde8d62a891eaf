"""Measure the recall of a backing index, and store it in the index's meta.

The filters under which it is measured are conditions on the commonest values, taken from PostgreSQL's statistics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from psycopg import sql

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import validation
from imagesim.indexes.pgvector import searching
from imagesim.indexes.pgvector.database import Database, rows
from imagesim.indexes.pgvector.searching import MAX_EF_SEARCH, Effort
from imagesim.indexes.pgvector.tables import REGISTRY, Generation
from imagesim.indexes.recall import DEFAULT_CANDIDATES, LADDER, Ask, Measurement, Scope, chosen_scopes
from imagesim.indexes.statistics import STATISTICS, IndexStatistics, Probe, RecallReport, with_statistics
from imagesim.types import Candidates, Condition, Filters, Query

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

PARTS = (0.1, 0.25, 0.5)
"""The quantiles of numbers and dates under which recall is measured."""


def read(cursor: CursorWrapper, generation: Generation) -> IndexStatistics:
    """Return the statistics that were last stored."""
    return IndexStatistics.from_stored(_stored(cursor, generation).get(STATISTICS))


def store(cursor: CursorWrapper, generation: Generation, statistics: Mapping[str, Any]) -> None:
    """Replace the given keys of the stored statistics; the others remain."""
    meta = with_statistics(_stored(cursor, generation, " FOR UPDATE"), statistics)
    update = sql.SQL("UPDATE {} SET meta = %s WHERE id = %s").format(REGISTRY)
    cursor.execute(update, [json.dumps(meta), generation.id])


def _stored(cursor: CursorWrapper, generation: Generation, lock: str = "") -> dict[str, Any]:
    query = sql.SQL("SELECT meta FROM {} WHERE id = %s" + lock).format(REGISTRY)
    found = rows(cursor, query, [generation.id])
    return dict(json.loads(found[0][0])) if found else {}


def measure(
    database: Database, generation: Generation, effort: Effort, probes: Sequence[Probe], progress: Callable[[], None]
) -> RecallReport | None:
    """Measure and store the recall. ``effort`` is that of searches so far.

    Return None if the index is searched exactly, or if nothing could be measured.
    """
    if effort.recall is None or effort.entries <= searching.EXACT_UP_TO:
        return None
    with database.reading(10 * database.timeout) as cursor:
        known = read(cursor, generation).recall
        fewest = searching.exact_up_to(effort.entries, DEFAULT_CANDIDATES) / effort.entries
        scopes = chosen_scopes(list(_conditions(cursor, generation)), fewest)
    most = LADDER[-1] if effort.iterative else MAX_EF_SEARCH
    measurement = Measurement(_asking(database, generation, effort), progress, most)
    report = measurement.run(
        probes,
        scopes,
        effort.recall,
        backing_index=generation.name,
        entries=effort.entries,
        known=known,
        fixed=effort.num_candidates,
    )
    if report is not None:
        with database.writing() as cursor:
            store(cursor, generation, {"recall": asdict(report)})
    return report


def _asking(database: Database, generation: Generation, effort: Effort) -> Ask:
    def ask(queries: Sequence[Query], candidates: int) -> list[Candidates]:
        asked = replace(effort, num_candidates=candidates or None, measured=None)
        settings = dict(searching.EXACTLY)
        with database.reading(10 * database.timeout, **settings) as cursor:
            return [
                searching.answer(
                    cursor,
                    generation,
                    replace(query, exact=not candidates),
                    validation.compile_filters(query.filters, generation.meta.filters),
                    asked,
                    settings,
                )
                for query in queries
            ]

    return ask


def _conditions(cursor: CursorWrapper, generation: Generation) -> Iterator[Scope]:
    """Yield conditions on single values, with the shares that PostgreSQL's planner counted."""
    for value, share in _elements(cursor, generation, "categories"):
        yield Scope.of(Condition("category", "eq", value), share)
    query = "SELECT v, f FROM pg_stats, unnest(most_common_vals::text::boolean[], most_common_freqs) AS u(v, f) WHERE "
    for in_stock, share in _statistics(cursor, generation, query, "in_stock"):
        if in_stock:
            yield Scope("in_stock", share, Filters(in_stock=True))
    for number, (name, kind) in enumerate(generation.meta.filters.items()):
        filter_type = FILTER_TYPES[kind]
        if filter_type.is_range:
            yield from _ranges(cursor, generation, name, f"filter{number}_min")
        else:
            for value, share in _elements(cursor, generation, f"filter{number}"):
                of = value in ("t", "true") if kind == "boolean" else value
                yield Scope.of(Condition(name, "eq", of), share)


def _ranges(cursor: CursorWrapper, generation: Generation, name: str, column: str) -> Iterator[Scope]:
    restore = FILTER_TYPES[generation.meta.filters[name]].restore
    query = sql.SQL(
        "SELECT percentile_disc({parts}::float8[]) WITHIN GROUP (ORDER BY {column}), "
        "count({column})::float8 / greatest(count(*), 1) FROM {entry} WHERE removed_at IS NULL"
    ).format(parts=sql.Literal(list(PARTS)), column=sql.Identifier(column), entry=generation.table("entry"))
    [[edges, share]] = rows(cursor, query)
    for part, edge in zip(PARTS, edges or (), strict=False):
        if edge is not None:
            yield Scope.of(Condition(name, "lte", restore(edge)), part * share)


def _elements(cursor: CursorWrapper, generation: Generation, column: str) -> Sequence[tuple[str, float]]:
    """Return the commonest elements of a column of arrays, with the shares of the entries that have them."""
    # The array of frequencies ends with the lowest and the highest frequency, which belong to no further element.
    query = (
        "SELECT v, f FROM pg_stats, unnest(most_common_elems::text::text[], "
        "most_common_elem_freqs[:cardinality(most_common_elems::text::text[])]) AS u(v, f) WHERE "
    )
    return [(str(value), float(share)) for value, share in _statistics(cursor, generation, query, column)]


def _statistics(cursor: CursorWrapper, generation: Generation, query: str, column: str) -> Sequence[tuple[Any, Any]]:
    table = generation.table("entry").as_string(None)
    of = (
        "(schemaname, tablename) = (SELECT relnamespace::regnamespace::text, relname FROM pg_class "
        "WHERE oid = %s::regclass) AND attname = %s"
    )
    cursor.execute(query + of, [table, column])
    return list(cursor.fetchall())
