"""Answer vector queries, exactly or by the graph, and count entries and the values of fields."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg import sql

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import validation
from imagesim.indexes.pgvector.database import Bound, rows, set_local
from imagesim.indexes.pgvector.queries import Nearest, candidate, conditions
from imagesim.indexes.pgvector.tables import Generation
from imagesim.indexes.recall import DEFAULT_CANDIDATES, candidates_for
from imagesim.indexes.statistics import RecallReport, break_even
from imagesim.indexes.validation import MAX_FACET_VALUES, CompiledFilters
from imagesim.types import Candidates, Facet, FilterKind, Filters, Query, Similarity

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper


EXACT_UP_TO = 2_000
"""The number of entries up to which search is always exact: the graph would save nothing."""
MOST_CANDIDATES = 1_000
"""The maximum number of candidates that one scan of the graph returns."""
SCANNED = 20_000
"""The minimum of ``hnsw.max_scan_tuples``: the number of images after which a scan under a narrow filter ends."""
ITERATIVE = (0, 8)
"""The first version of pgvector with iterative scans, which go on until enough images satisfy the filters."""


Settings = dict[str, Any]
"""Settings of PostgreSQL by name, with ``__`` for a dot."""

EXACTLY: Settings = {"enable_sort": "on", "jit": "off"}
"""Those of exact search. A search by the graph changes the first."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What decides how an index searches: its options, the version of pgvector and the number of its entries.

    ``num_candidates`` is a fixed number of candidates, or None to follow ``measured``; ``recall`` is the recall that
    the settings ask for.
    """

    similarity: Similarity
    num_candidates: int | None
    version: tuple[int, int]
    entries: int
    recall: float | None = None
    measured: RecallReport | None = None

    def candidates(self, share: float) -> int:
        """Return how many images to take from the graph if ``share`` of the entries satisfy the filters; 0 for exact
        search."""
        if self.num_candidates:
            return self.num_candidates
        return self.measured.effort(share) if self.measured else DEFAULT_CANDIDATES

    @property
    def iterative(self) -> bool:
        """Whether this version of pgvector has iterative scans."""
        return self.version >= ITERATIVE

    def settings(self, take: int, share: float = 1.0) -> Settings:
        """Return the settings with which the graph returns ``take`` images, if ``share`` of all satisfy the filters."""
        wanted = take if self.iterative else round(take / share)
        settings: Settings = {"enable_sort": "off", "hnsw__ef_search": min(wanted, MOST_CANDIDATES)}
        if self.iterative:
            settings["hnsw__iterative_scan"] = "relaxed_order"
            settings["hnsw__max_scan_tuples"] = max(SCANNED, round(4 * take / share))
        return settings


def answer(
    cursor: CursorWrapper,
    generation: Generation,
    query: Query,
    filters: CompiledFilters,
    effort: Effort,
    settings: Settings,
) -> Candidates:
    """Answer one vector query with compiled filters. ``settings`` are those of the transaction; they are changed in
    place if the query needs others."""
    started = time.perf_counter()
    nearest, share = _plan(cursor, generation, query, filters, effort)
    end = query.offset + query.limit
    while True:
        needed: Settings = {"enable_sort": "on"} if nearest.exact else effort.settings(nearest.take, share)
        if changed := {name: value for name, value in needed.items() if settings.get(name) != value}:
            set_local(cursor, **changed)
            settings |= changed
        found = rows(cursor, *nearest.statement(generation))
        images, low, units = found[0][:3]
        if units > end or low or (nearest.exact and images < nearest.take):
            break
        # The images belong to too few products to fill the page, or too few of the graph satisfy the filters.
        nearest = replace(nearest, take=8 * nearest.take if nearest.exact else _all(query), exact=True)
    page = [candidate(row[5:], query, row[3], score=float(row[4])) for row in found if row[4] is not None]
    took = (time.perf_counter() - started) * 1000
    return Candidates(tuple(page[: query.limit]), more=units > end, took_ms=took, exact=nearest.exact)


def _all(query: Query) -> int:
    """Return how many images an exact search takes first, which is enough unless products have many images."""
    return 4 * (query.offset + query.limit) + 100


def _plan(
    cursor: CursorWrapper, generation: Generation, query: Query, filters: CompiledFilters, effort: Effort
) -> tuple[Nearest, float]:
    """Return the first search to try, and the estimated share of entries that satisfy the filters.

    The share is 1 if it is not needed: for exact search and without filters.
    """
    similarity = query.similarity or effort.similarity
    few = query.exact is None and effort.entries <= EXACT_UP_TO
    exact, share, passing = query.exact is True or few or similarity == "l1", 1.0, 0  # the graph only knows cosines
    if not exact and query.filters != Filters():
        passing = estimate(cursor, generation, filters)
        share = max(passing, 1) / max(effort.entries, passing, 1)
    candidates = effort.candidates(share)
    take = candidates_for(query, candidates or DEFAULT_CANDIDATES)
    if query.exact is None:
        exact = exact or not candidates
        exact = exact or (share < 1 and passing <= max(EXACT_UP_TO, break_even(effort.entries, take)))
        exact = exact or (not effort.iterative and take / share > MOST_CANDIDATES)
    vector = validation.unit_vector(query.vector)
    return Nearest(query, vector, filters, similarity, _all(query) if exact else take, exact), share


def estimate(cursor: CursorWrapper, generation: Generation, compiled: CompiledFilters) -> int:
    """Estimate with PostgreSQL's planner how many entries satisfy the filters. A wrong estimate only costs time."""
    bind = Bound()
    where = conditions(compiled, generation, bind)
    query = sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 FROM {} e WHERE {}").format(generation.table("entry"), where)
    [[plan]] = rows(cursor, query, bind.values)
    return int((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"])


def count_entries(cursor: CursorWrapper, generation: Generation) -> int:
    """Return the number of entries: exactly up to ``EXACT_UP_TO``, beyond it as PostgreSQL estimates it."""
    table = generation.table("entry")
    few = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} WHERE removed_at IS NULL LIMIT {}) s")
    [[counted]] = rows(cursor, few.format(table, sql.Literal(EXACT_UP_TO + 1)))
    if counted <= EXACT_UP_TO:
        return int(counted)
    size = sql.SQL("SELECT reltuples::bigint FROM pg_class WHERE oid = {}::regclass")
    [[estimated]] = rows(cursor, size.format(sql.Literal(table.as_string(None))))
    return max(int(estimated), int(counted))


def count(cursor: CursorWrapper, generation: Generation, compiled: CompiledFilters) -> int:
    """Return the number of entries that satisfy the filters."""
    bind = Bound()
    query = sql.SQL("SELECT count(*) FROM {} e WHERE {}")
    where = conditions(compiled, generation, bind)
    [[found]] = rows(cursor, query.format(generation.table("entry"), where), bind.values)
    return int(found)


def facet(
    cursor: CursorWrapper, generation: Generation, name: str, kind: FilterKind, compiled: CompiledFilters
) -> Facet:
    """Count the values of one field among the entries that satisfy the filters."""
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
