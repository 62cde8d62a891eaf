"""Exact search of other libraries over the same vectors. Libraries that are not installed are skipped with a message
(``pip install -r benchmarks/requirements.txt``). Building an index is not timed, evaluating the filter is: every query
may have a different one. hnswlib's graph and LanceDB's files are included for scale."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.searching.common import STEPS, K, parts

Ask = Callable[[np.ndarray], Any]


def peers(vectors: np.ndarray, selectivity: float) -> Iterator[tuple[str, Ask]]:
    """Yield (name, search) of every installed library; building is not timed."""
    limit = round(selectivity * STEPS)
    for make in (_numpy, _faiss, _usearch, _sqlite_vec, _lancedb, _hnswlib):
        try:
            yield make(vectors, limit)
        except ImportError as error:
            print(f"  skipped: {error}")


def _numpy(vectors: np.ndarray, limit: int) -> tuple[str, Ask]:
    """Search as wagtail-vector-index's NumPy backend does: one similarity per entry, in Python, then a sort."""
    rows = np.flatnonzero(parts(len(vectors)) < limit)

    def ask(query: np.ndarray) -> Any:
        length = np.linalg.norm(query)
        scored = [(np.dot(vectors[row], query) / (np.linalg.norm(vectors[row]) * length), row) for row in rows]
        return sorted(scored, reverse=True)[:K]

    return "wagtail-vector-index's numpy method", ask


def _faiss(vectors: np.ndarray, limit: int) -> tuple[str, Ask]:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    if limit >= STEPS:
        return "faiss flat", lambda query: index.search(query[None], K)
    values = parts(len(vectors))

    def ask(query: np.ndarray) -> Any:
        selector = faiss.IDSelectorBatch(np.flatnonzero(values < limit))
        return index.search(query[None], K, params=faiss.SearchParameters(sel=selector))

    return "faiss flat, ID selector", ask


def _usearch(vectors: np.ndarray, limit: int) -> tuple[str, Ask]:
    """Its exact search has no filter: the matching rows are gathered for it, as its users do."""
    from usearch.index import search

    if limit >= STEPS:
        return "usearch exact", lambda query: search(vectors, query, K, "ip", exact=True)
    values = parts(len(vectors))

    def ask(query: np.ndarray) -> Any:
        return search(vectors[np.flatnonzero(values < limit)], query, K, "ip", exact=True)

    return "usearch exact, rows gathered", ask


def _sqlite_vec(vectors: np.ndarray, limit: int) -> tuple[str, Ask]:
    import apsw  # Python's own sqlite3 often cannot load extensions
    import sqlite_vec

    connection = apsw.Connection(":memory:")
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute(
        f"create virtual table v using vec0(part integer, e float[{vectors.shape[1]}] distance_metric=cosine)"
    )
    with connection:
        connection.executemany(
            "insert into v(rowid, part, e) values (?, ?, ?)",
            (
                (n, int(part), row.tobytes())
                for n, (part, row) in enumerate(zip(parts(len(vectors)), vectors, strict=True))
            ),
        )
    where = "" if limit >= STEPS else f" and part < {limit}"
    sql = f"select rowid, distance from v where e match ? and k = {K}{where}"
    return "sqlite-vec", lambda query: connection.execute(sql, (query.tobytes(),)).fetchall()


def _lancedb(vectors: np.ndarray, limit: int) -> tuple[str, Ask]:
    import lancedb
    import pyarrow as pa

    database = lancedb.connect(tempfile.mkdtemp(prefix="bench-lance-"))
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = database.create_table("v", pa.table({"vector": flat, "part": parts(len(vectors))}))

    def ask(query: np.ndarray) -> Any:
        search = table.search(query).distance_type("dot").limit(K).select(["part", "_distance"])
        return (search if limit >= STEPS else search.where(f"part < {limit}", prefilter=True)).to_arrow()

    return "LanceDB, no index", ask


def _hnswlib(vectors: np.ndarray, limit: int) -> tuple[str, Ask]:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=100, M=16)
    index.add_items(vectors)
    index.set_ef(100)
    if limit >= STEPS:
        return "hnswlib (approximate)", lambda query: index.knn_query(query, k=K)
    chosen = (parts(len(vectors)) < limit).tolist()
    return "hnswlib (approximate), filter", lambda query: index.knn_query(query, k=K, filter=lambda n: chosen[n])
