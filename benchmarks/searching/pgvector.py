"""The index in PostgreSQL: bytes, recall and time at every selectivity, compared with a plain query of pgvector."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from django.db import connections
from pgvector import Vector

from benchmarks.searching.common import (
    SELECTIVITIES,
    STEPS,
    K,
    Row,
    entries,
    in_turn,
    meta,
    nearest,
    recall,
    selecting,
    write_all,
)
from demo_shop import environment
from imagesim.indexes.pgvector import PgvectorIndex
from imagesim.types import Query

ALIAS = "pgvector-benchmark"


def measure(given: argparse.Namespace, vectors: np.ndarray, queries: np.ndarray) -> Iterator[Row]:
    connections.databases[ALIAS] = {**connections["default"].settings_dict, **environment.postgres(given.pgvector)}
    index = PgvectorIndex(database=ALIAS, name="imagesim-benchmark", request_timeout=60)
    for left in () if given.reuse else index.backing_indexes():
        index.drop(left)
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        [version] = cursor.fetchone()
    label = f"pgvector {version}"
    if not given.reuse:
        started = time.perf_counter()
        backing_index = fill(index, vectors)
        yield Row(f"{label}: filling, {len(vectors):,} stored embeddings", time.perf_counter() - started, "s")
        started = time.perf_counter()
        index.promote(backing_index)
        yield Row(f"{label}: building the indexes", time.perf_counter() - started, "s")
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT id, element FROM imagesim_pgvector WHERE name = %s", [index.active()])
        number, element = cursor.fetchone()
        yield from stored(cursor, label, number, len(vectors))
        for selectivity in SELECTIVITIES:
            yield from compare(index, cursor, label, number, element, vectors, queries, selectivity)
    if not given.keep:
        index.drop(index.active() or "")
    connections[ALIAS].close()


def fill(index: PgvectorIndex, vectors: np.ndarray) -> str:
    backing_index = index.create(meta(vectors.shape[1]))
    write_all(index, backing_index, entries(vectors, "shop.product"))
    return backing_index


def stored(cursor: object, label: str, number: int, count: int) -> Iterator[Row]:
    query = "SELECT pg_total_relation_size(%s), pg_total_relation_size(%s), pg_relation_size(%s)"
    prefix = f"imagesim_pgvector_{number}"
    cursor.execute(query, [f"{prefix}_entry", f"{prefix}_image", f"{prefix}_graph"])  # type: ignore[attr-defined]
    entry, image, graph = cursor.fetchone()  # type: ignore[attr-defined]
    yield Row(f"{label}: bytes per entry", (entry + image) / count, "B")
    yield Row(f"{label}: of these the graph", graph / count, "B")


def compare(
    index: PgvectorIndex,
    cursor: object,
    label: str,
    number: int,
    element: str,
    vectors: np.ndarray,
    queries: np.ndarray,
    selectivity: float,
) -> Iterator[Row]:
    filters = selecting(selectivity)
    dims = vectors.shape[1]

    def ours(exact: bool | None) -> Callable[[np.ndarray], list[int]]:
        def ask(query: np.ndarray) -> list[int]:
            [answer] = index.search([Query(query, filters, limit=K, exact=exact)])
            return [int(match.key.rpartition(":")[2]) - 1 for match in answer.candidates]

        return ask

    where = "" if selectivity >= 1 else f"WHERE e.filter0_min < {selectivity * STEPS}"
    join = f"JOIN imagesim_pgvector_{number}_entry e ON e.id = i.entry" if where else ""
    of_graph = "i.vector" if element == "vector" else f"i.vector::halfvec({dims})"
    statement = f"""SELECT i.entry FROM imagesim_pgvector_{number}_image i {join} {where}
        ORDER BY {of_graph} <#> %s::{element}({dims}) LIMIT {K}"""

    def plain(query: np.ndarray) -> list[int]:
        """As in pgvector's documentation, with its defaults (40 candidates). Ids rise as entries were written."""
        cursor.execute(statement, [Vector(query).to_text()])  # type: ignore[attr-defined]
        return [int(row[0]) - first for row in cursor.fetchall()]  # type: ignore[attr-defined]

    cursor.execute(f"SELECT min(id) FROM imagesim_pgvector_{number}_entry")  # type: ignore[attr-defined]
    first = int(cursor.fetchone()[0])  # type: ignore[attr-defined]
    contenders = {"ours": ours(None), "ours, exact": ours(True), "plain query": plain}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    recalls: dict[str, list[float]] = {name: [] for name in contenders}
    for ask in contenders.values():
        for query in queries[:20]:
            ask(query)
    true = [nearest(vectors, query, selectivity) for query in queries]
    for name, turn, found, milliseconds in in_turn(contenders, queries):
        wall[name].append(milliseconds)
        recalls[name].append(recall(found, true[turn]))
    peer = statistics.median(wall["plain query"])
    for name in contenders:
        what = f"{label}, {100 * selectivity:g} % match: {name}"
        aim = ">= 0.99" if "ours" in name else ""
        yield Row(f"{what}: recall@{K}", statistics.fmean(recalls[name]), "", target=aim)
        detail = {"p95_ms": float(np.percentile(wall[name], 95))}
        yield Row(f"{what}: time", statistics.median(wall[name]), "ms", "plain query", peer, detail=detail)
