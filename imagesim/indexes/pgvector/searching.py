"""Answer vector queries, exactly or by the graph, and count entries and the values of fields.

A search first takes the nearest images, either of all that satisfy the filters or by the graph, and scores them by
their full vectors. Then it chooses the best image of each entry or group, and the page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from psycopg import sql

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import validation
from imagesim.indexes.pgvector.database import Bound, rows, set_local
from imagesim.indexes.pgvector.tables import Generation
from imagesim.indexes.recall import DEFAULT_CANDIDATES, candidates_for, candidates_in_use
from imagesim.indexes.statistics import RecallReport, break_even
from imagesim.indexes.validation import MAX_FACET_VALUES, CompiledFilter, CompiledFilters, least_score
from imagesim.types import Candidate, Candidates, Facet, FilterKind, Filters, Query, Similarity

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

    from imagesim.types import Vector

COMPARISONS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}

EXACT_UP_TO = 2_000
"""The number of entries up to which search is always exact: the graph would save nothing."""
MAX_EF_SEARCH = 1_000
"""The maximum number of candidates that one scan of the graph returns."""
SCANNED = 20_000
"""The minimum of ``hnsw.max_scan_tuples``: the number of images after which a scan under a narrow filter ends."""
ITERATIVE = (0, 8)
"""The first version of pgvector with iterative scans, which go on until enough images satisfy the filters."""

Settings = dict[str, Any]
"""Settings of PostgreSQL by name, with ``__`` for a dot."""

EXACTLY: Settings = {"enable_sort": "on", "jit": "off"}
"""Those of exact search. A search by the graph changes the first."""


def exact_up_to(entries: int, candidates: int) -> float:
    """Return the number of matching entries up to which scoring all of them takes no longer than the graph."""
    return max(EXACT_UP_TO, break_even(entries, candidates))


def conditions(compiled: CompiledFilters, generation: Generation, bind: Bound) -> sql.Composable:
    """Return the SQL condition of the filters on the table alias ``e`` of entries."""
    filters = compiled.filters
    found: list[sql.Composable] = [sql.SQL("e.removed_at IS NULL")]

    def add(text: str, values: Sequence[Any], type: str = "text[]") -> None:
        if values:
            found.append(sql.SQL(text).format(bind(list(values), type)))

    add("e.model = ANY({})", filters.models)
    add("e.categories && {}", filters.categories)
    add("e.key = ANY({})", filters.keys)
    add("e.key <> ALL({})", filters.exclude_keys)
    add("e.grp <> ALL({})", filters.exclude_groups)
    if filters.in_stock is not None:
        found.append(sql.SQL("e.in_stock" if filters.in_stock else "NOT e.in_stock"))
    found += [_condition(group, generation, bind) for group in compiled.groups]
    found += [sql.SQL("({}) IS NOT TRUE").format(conditions(each, generation, bind)) for each in compiled.none_of]
    return sql.SQL(" AND ").join(found)


def _condition(group: Sequence[CompiledFilter], generation: Generation, bind: Bound) -> sql.Composable:
    first, filter_type = group[0], FILTER_TYPES[group[0].kind]
    column = generation.column(first.field)
    if first.operator in ("eq", "in"):
        return sql.SQL("e.{} && {}").format(column, bind(list(first.values), f"{filter_type.postgresql}[]"))
    bounds = [(test.operator, bind(test.values[0], filter_type.postgresql)) for test in group]
    compared = [sql.SQL(f"v {COMPARISONS[operator]} {{}}").format(value) for operator, value in bounds]
    one_value = sql.SQL("EXISTS (SELECT 1 FROM unnest(e.{}) AS v WHERE {})").format(
        column, sql.SQL(" AND ").join(compared)
    )
    if not filter_type.is_range:
        return one_value
    # Some value is smaller if the smallest value is.
    low, high = generation.column(first.field, "_min"), generation.column(first.field, "_max")
    found = [
        sql.SQL(f"e.{{}} {COMPARISONS[operator]} {{}}").format(low if operator in ("lt", "lte") else high, value)
        for operator, value in bounds
    ]
    if len(bounds) > 1:
        found.append(sql.SQL("(e.{} = e.{} OR {})").format(low, high, one_value))
    return sql.SQL(" AND ").join(found)


def entry_columns(query: Query, generation: Generation) -> sql.Composable:
    """Return the columns of the table alias ``e`` that :func:`candidate` reads."""
    own = [_values_of(name, generation) for name in query.fields]
    return sql.SQL(", ").join([sql.SQL("e.key, e.grp, e.categories"), *own])


def _values_of(name: str, generation: Generation) -> sql.Composable:
    """Return the array of all values of a filter, of ``category`` or of ``in_stock``, of the table alias ``e``."""
    if name == "in_stock":
        return sql.SQL("ARRAY[e.in_stock]")
    return sql.SQL("e.{}").format(sql.Identifier("categories") if name == "category" else generation.column(name))


def candidate(
    row: Sequence[Any], query: Query, image: Sequence[str], *, score: float = 0.0, text: float = 0.0, head: float = 0.0
) -> Candidate:
    """Return the candidate of a row with the columns of :func:`entry_columns`; ``image`` is (digest, name)."""
    key, group, categories, *own = row
    values = {name: tuple(value) for name, value in zip(query.fields, own, strict=True) if value}
    digest, name = image
    score = max(-1.0, min(1.0, score))
    own_categories = tuple(categories)
    return Candidate(key, score, group, digest, name, categories=own_categories, text=text, head=head, values=values)


def _text(vector: Vector) -> str:
    """Return a vector as text for pgvector, with nine digits, which distinguish all float32 numbers."""
    return f"[{','.join(['%.9g'] * len(vector)) % tuple(vector.tolist())}]"


@dataclass(frozen=True, slots=True)
class Nearest:
    """A checked vector query. ``take`` is the number of images that are scored by their full vectors and ranked: if
    ``exact``, the nearest of all that satisfy the filters, otherwise those that the graph finds."""

    query: Query
    vector: Vector = field(repr=False)
    filters: CompiledFilters
    similarity: Similarity
    take: int
    exact: bool

    def statement(self, generation: Generation) -> tuple[sql.Composed, dict[str, Any]]:
        """Return the statement and its values.

        Each of its rows holds the number of images that were scored, the number of those below ``min_score``, and the
        number of entries or groups of the rest; then the image, score and columns of one entry of the page, which are
        NULL if the page is empty.
        """
        query, bind = self.query, Bound()
        vector = sql.SQL("(SELECT vector FROM asked)")
        score = sql.SQL("0 - (i.vector <#> {})").format(vector)  # the graph is ordered by another expression
        farness = sql.SQL("l1_distance(i.vector, {})").format(vector) if self.similarity == "l1" else None
        least: sql.Composable = sql.SQL("true")
        if (lowest := least_score(query)) is not None:
            least = sql.SQL("score >= {}").format(bind(lowest, "double precision"))
        if self.exact:
            near = self._exactly(generation, bind, score, farness, least)
        else:
            near = self._roughly(generation, bind, score, vector)
        statement = sql.SQL(
            "WITH asked AS MATERIALIZED (SELECT {vector} AS vector), near AS MATERIALIZED ({near}), "
            "best AS (SELECT DISTINCT ON ({unit}) e.id, e.key, n.position, n.score, n.farness "
            "FROM near n JOIN {entry} e ON e.id = n.entry WHERE {least} "
            "ORDER BY {unit}, n.farness, e.key, n.position), "
            "page AS (SELECT * FROM best ORDER BY farness, key LIMIT {limit} OFFSET {offset}) "
            "SELECT c.images, c.low, c.units, e.images -> p.position::int, p.score, {columns} FROM (SELECT "
            "(SELECT count(*) FROM near) AS images, (SELECT count(*) FROM near WHERE NOT ({least})) AS low, "
            "(SELECT count(*) FROM best) AS units) c "
            "LEFT JOIN (page p JOIN {entry} e ON e.id = p.id) ON true ORDER BY p.farness, p.key"
        ).format(
            vector=bind(_text(self.vector), "vector"),
            near=near,
            least=least,
            unit=sql.SQL("e.grp" if query.collapse else "e.key"),
            entry=generation.table("entry"),
            limit=bind(query.limit + 1, "int"),  # one more, to know whether anything follows
            offset=bind(query.offset, "int"),
            columns=entry_columns(query, generation),
        )
        return statement, bind.values

    def _exactly(
        self,
        generation: Generation,
        bind: Bound,
        score: sql.Composable,
        farness: sql.Composable | None,
        least: sql.Composable,
    ) -> sql.Composable:
        return sql.SQL(
            "SELECT entry, position, score, farness FROM "
            "(SELECT i.entry, i.position, e.key, {score} AS score, {far} AS farness "
            "FROM {image} i JOIN {entry} e ON e.id = i.entry WHERE {where}) s "
            "WHERE {least} ORDER BY farness, key, position LIMIT {take}"
        ).format(
            score=score,
            far=farness or sql.SQL("0 - ({})").format(score),
            image=generation.table("image"),
            entry=generation.table("entry"),
            where=conditions(self.filters, generation, bind),
            least=least,
            take=bind(self.take, "int"),
        )

    def _roughly(
        self, generation: Generation, bind: Bound, score: sql.Composable, vector: sql.Composable
    ) -> sql.Composable:
        rough = sql.SQL("{} <#> {}::{}").format(generation.graph_vector("i"), vector, generation.graph_type)
        if self.filters == CompiledFilters(Filters()):
            source = sql.SQL("{} i").format(generation.table("image"))
        else:
            source = sql.SQL("{} i JOIN {} e ON e.id = i.entry WHERE {}").format(
                generation.table("image"), generation.table("entry"), conditions(self.filters, generation, bind)
            )
        return sql.SQL(
            "SELECT entry, position, score, 0 - score AS farness FROM (SELECT i.entry, i.position, {score} AS score "
            "FROM (SELECT i.entry, i.position, i.vector FROM {source} ORDER BY {rough} LIMIT {take}) i) s"
        ).format(score=score, source=source, rough=rough, take=bind(self.take, "int"))


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
        return candidates_in_use(self.num_candidates, self.measured, share)

    @property
    def iterative(self) -> bool:
        """Whether this version of pgvector has iterative scans."""
        return self.version >= ITERATIVE

    def settings(self, take: int, share: float = 1.0) -> Settings:
        """Return the settings with which the graph returns ``take`` images, if ``share`` of all satisfy the filters."""
        wanted = take if self.iterative else round(take / share)
        settings: Settings = {"enable_sort": "off", "hnsw__ef_search": min(wanted, MAX_EF_SEARCH)}
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
        # The images belong to too few products to fill the page, or too few from the graph satisfy the filters.
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
        exact = exact or (share < 1 and passing <= exact_up_to(effort.entries, take))
        exact = exact or (not effort.iterative and take / share > MAX_EF_SEARCH)
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
    values = _values_of(name, generation)
    if FILTER_TYPES[kind].is_text:
        values = sql.SQL("array_remove({}, '')").format(values)
    counts = sql.SQL(
        "WITH e AS (SELECT {values} AS of FROM {entry} e WHERE {where}) "
        "SELECT v, count(*) AS entries, (SELECT count(*) FROM e WHERE of <> '{{}}') FROM e, unnest(e.of) AS v "
        "GROUP BY v ORDER BY entries DESC, v LIMIT {most}"
    ).format(values=values, most=sql.Literal(MAX_FACET_VALUES + 1), **parts)
    found = rows(cursor, counts, bind.values)
    counted = found[0][2] if found else 0
    pairs = tuple((restore(value), int(number)) for value, number, _ in found[:MAX_FACET_VALUES])
    return Facet(kind, counted, pairs, more=len(found) > MAX_FACET_VALUES)
