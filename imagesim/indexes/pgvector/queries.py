"""Make SQL from queries, and candidates from the rows of its result.

A search first takes the nearest images, either of all that satisfy the filters or by the graph, and scores them by
their full vectors. Then it chooses the best image of each entry or group, and the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from imagesim.filter_types import FILTER_TYPES, Canonical
from imagesim.indexes.pgvector.database import Bound
from imagesim.indexes.pgvector.tables import Generation
from imagesim.indexes.validation import CompiledFilter, CompiledFilters, least_score
from imagesim.types import Candidate, Query, Similarity

if TYPE_CHECKING:
    from imagesim.types import Vector

COMPARISONS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


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
    found += [_condition(test, generation, bind) for test in compiled.tests]
    found += [sql.SQL("({}) IS NOT TRUE").format(conditions(each, generation, bind)) for each in compiled.none_of]
    return sql.SQL(" AND ").join(found)


def _condition(test: CompiledFilter, generation: Generation, bind: Bound) -> sql.Composable:
    filter_type = FILTER_TYPES[test.kind]
    if test.operator in ("eq", "in"):
        column = generation.column(test.field)
        return sql.SQL("e.{} && {}").format(column, bind(list(test.values), f"{filter_type.postgresql}[]"))
    value, operator = bind(test.values[0], filter_type.postgresql), sql.SQL(COMPARISONS[test.operator])
    if filter_type.is_range:
        # Some value is smaller if the smallest value is.
        column = generation.column(test.field, "_min" if test.operator in ("lt", "lte") else "_max")
        return sql.SQL("e.{} {} {}").format(column, operator, value)
    column = generation.column(test.field)
    return sql.SQL("EXISTS (SELECT 1 FROM unnest(e.{}) AS v WHERE v {} {})").format(column, operator, value)


def entry_columns(query: Query, generation: Generation) -> sql.Composable:
    """Return the columns of the table alias ``e`` that :func:`candidate` reads."""
    own = [sql.Identifier("in_stock") if name == "in_stock" else generation.column(name) for name in query.fields]
    names = [sql.Identifier(name) for name in ("key", "grp", "categories")] + own
    return sql.SQL(", ").join(sql.SQL("e.{}").format(name) for name in names)


def candidate(
    row: Sequence[Any], query: Query, image: Sequence[str], *, score: float = 0.0, text: float = 0.0, head: float = 0.0
) -> Candidate:
    """Return the candidate of a row with the columns of :func:`entry_columns`; ``image`` is (digest, name)."""
    key, group, categories, *own = row
    values: dict[str, tuple[Canonical, ...]] = {}
    for name, value in zip(query.fields, own, strict=True):
        if name == "in_stock":
            values[name] = (value,)
        elif value:
            values[name] = tuple(value)
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
    vector: Vector
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
        if self.filters == CompiledFilters(type(self.query.filters)()):
            source = sql.SQL("{} i").format(generation.table("image"))
        else:
            source = sql.SQL("{} i JOIN {} e ON e.id = i.entry WHERE {}").format(
                generation.table("image"), generation.table("entry"), conditions(self.filters, generation, bind)
            )
        return sql.SQL(
            "SELECT entry, position, score, 0 - score AS farness FROM (SELECT i.entry, i.position, {score} AS score "
            "FROM (SELECT i.entry, i.position, i.vector FROM {source} ORDER BY {rough} LIMIT {take}) i) s"
        ).format(score=score, source=source, rough=rough, take=bind(self.take, "int"))
