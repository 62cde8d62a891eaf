"""From a query to SQL, and from its rows to candidates.

A search takes the nearest images first, either of all that pass the filters or by the graph, then scores these by their
full vectors, and at last finds the best of each entry or group and the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from imagesim.filter_types import FILTER_TYPES, Canonical
from imagesim.indexes.pgvector.database import Bound
from imagesim.indexes.pgvector.tables import Generation
from imagesim.indexes.validation import CompiledFilter, CompiledFilters
from imagesim.types import Candidate, Query, Similarity

if TYPE_CHECKING:
    from imagesim.types import Vector

ROUNDING = 1e-7
"""Of scores, which are float32."""
COMPARISONS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def conditions(compiled: CompiledFilters, generation: Generation, bind: Bound) -> sql.Composable:
    """The condition of the filters on the entries ``e``."""
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
        # One value is smaller if the smallest is.
        column = generation.column(test.field, "_min" if test.operator in ("lt", "lte") else "_max")
        return sql.SQL("e.{} {} {}").format(column, operator, value)
    column = generation.column(test.field)
    return sql.SQL("EXISTS (SELECT 1 FROM unnest(e.{}) AS v WHERE v {} {})").format(column, operator, value)


def entry_columns(query: Query, generation: Generation) -> sql.Composable:
    """The columns of an entry ``e`` that a candidate is made from; :func:`candidate` reads them."""
    own = [sql.Identifier("in_stock") if name == "in_stock" else generation.column(name) for name in query.fields]
    names = [sql.Identifier(name) for name in ("key", "grp", "categories")] + own
    return sql.SQL(", ").join(sql.SQL("e.{}").format(name) for name in names)


def candidate(
    row: Sequence[Any], query: Query, image: Sequence[str], *, score: float = 0.0, text: float = 0.0, head: float = 0.0
) -> Candidate:
    """A candidate from the columns of :func:`entry_columns` and (digest, name) of its image."""
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
    """A vector as pgvector reads it, with the nine digits that tell every float32."""
    return f"[{','.join(['%.9g'] * len(vector)) % tuple(vector.tolist())}]"


@dataclass(frozen=True, slots=True)
class Nearest:
    """A checked query by a vector. ``take`` images are scored by their full vectors; of all that pass the filters where
    ``exact``, else of those that the graph finds."""

    query: Query
    vector: Vector
    filters: CompiledFilters
    similarity: Similarity
    take: int
    exact: bool

    def statement(self, generation: Generation) -> tuple[sql.Composed, dict[str, Any]]:
        """The statement, and its values.

        Its rows: how many images were scored, how many of them score too low, how many entries or groups the others are
        of; and, where there is one, the image, score and columns of an entry of the page.
        """
        query, bind = self.query, Bound()
        vector = sql.SQL("(SELECT vector FROM asked)")
        score = sql.SQL("0 - (i.vector <#> {})").format(vector)  # not what the graph is ordered by
        farness = sql.SQL("l1_distance(i.vector, {})").format(vector) if self.similarity == "l1" else None
        least: sql.Composable = sql.SQL("true")
        if query.min_score is not None:
            least = sql.SQL("score >= {}").format(bind(query.min_score - ROUNDING, "double precision"))
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
