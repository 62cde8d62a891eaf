"""The index in Elasticsearch: bytes, recall and time at every selectivity, compared with the server's own methods."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.searching import shop, sweep
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
from imagesim.indexes.elasticsearch import ElasticsearchIndex
from imagesim.types import Query

LEASE_SECONDS = 45
"""Servers before 9.2 keep the source with the vectors for replicas; every 30 s they check whether it is still needed,
and a merge removes what is not."""
GRAPH_BYTES = 4 * 16  # HNSW with m = 16: Elasticsearch's own figure, m x 4 bytes per vector


def measure(
    given: argparse.Namespace,
    vectors: np.ndarray,
    queries: np.ndarray,
    quantisation: str,
    parts: Sequence[str],
    folder: Path,
) -> Iterator[Row]:
    url, label = given.elasticsearch, f"elasticsearch {quantisation}"
    index = ElasticsearchIndex(
        hosts=url, name="imagesim-benchmark", replicas=0, quantisation=quantisation, request_timeout=60
    )
    if given.reuse:
        backing_index = str(index.active())
        assert index.count() == len(vectors), f"{backing_index} holds {index.count():,} entries, not {len(vectors):,}"
    else:
        for left in index.backing_indexes():
            index.drop(left)
        backing_index, waiting, wall = fill(index, vectors)
        yield Row(f"{label}: filling, {len(vectors):,} stored embeddings", wall, "s")
        yield Row(f"{label}: share of that in imagesim's code", 1 - waiting / wall, "")
        if given.segments:
            merge(index, backing_index, given.segments)
        index.update_statistics(backing_index)
        index.promote(backing_index)
    yield from stored(index, backing_index, label, vectors.shape, quantisation)
    if "elasticsearch" in parts:
        for selectivity in SELECTIVITIES:
            yield from compare(index, label, vectors, queries, selectivity)
    if "sweep" in parts:
        yield from sweep.measure(index, label, vectors, queries)
    if "shop" in parts or "load" in parts:
        yield from shop.measure(index, url, folder, vectors, len(queries), parts)
    if not given.keep:
        index.drop(backing_index)


def merge(index: ElasticsearchIndex, backing_index: str, segments: int = 1) -> None:
    """Merge the index, and wait until the files of merged segments are gone."""
    client = index._client.options(request_timeout=7200)
    client.indices.flush(index=backing_index, force=True)
    time.sleep(LEASE_SECONDS)
    client.indices.forcemerge(index=backing_index, max_num_segments=segments)
    client.indices.flush(index=backing_index, force=True)
    size, last = 0, -1
    while size != last:
        time.sleep(3)
        last, size = size, store_bytes(index, backing_index)


def store_bytes(index: ElasticsearchIndex, backing_index: str) -> int:
    found = index._client.indices.stats(index=backing_index, metric="store")["indices"][backing_index]
    return int(found["primaries"]["store"]["size_in_bytes"])


def stored(
    index: ElasticsearchIndex, backing_index: str, label: str, shape: tuple[int, ...], quantisation: str
) -> Iterator[Row]:
    count, dims = shape
    primaries = index._client.indices.stats(index=backing_index)["indices"][backing_index]["primaries"]
    size = primaries["store"]["size_in_bytes"] / count
    sum_ = 4 * dims + {"int8": dims + 4, "none": 0, "bbq": dims / 8 + 16}[quantisation] + GRAPH_BYTES
    yield Row(f"{label}: segments", primaries["segments"]["count"], "")
    yield Row(f"{label}: bytes per entry", size, "B", "sum of its parts", sum_, "<= 1.25 x, merged")
    yield Row(f"{label}: times the sum of its parts", size / sum_, "x", target="<= 1.25, merged")


def fill(index: ElasticsearchIndex, vectors: np.ndarray) -> tuple[str, float, float]:
    """Return (backing index, seconds spent waiting for the server, seconds in total)."""
    waiting = 0.0
    perform = index._client.transport.perform_request

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal waiting
        started = time.perf_counter()
        try:
            return perform(*args, **kwargs)
        finally:
            waiting += time.perf_counter() - started

    index._client.transport.perform_request = timed  # type: ignore[method-assign]
    started = time.perf_counter()
    backing_index = index.create(meta(vectors.shape[1]))
    write_all(index, backing_index, entries(vectors, "shop.product"))
    index.refresh(backing_index)
    wall = time.perf_counter() - started
    index._client.transport.perform_request = perform  # type: ignore[method-assign]
    return backing_index, waiting, wall


def compare(
    index: ElasticsearchIndex, label: str, vectors: np.ndarray, queries: np.ndarray, selectivity: float
) -> Iterator[Row]:
    filters = selecting(selectivity)
    clause = [] if selectivity >= 1 else [{"range": {"filters.part": {"lt": selectivity * STEPS}}}]

    def ours(exact: bool | None) -> Callable[[np.ndarray], tuple[list[int], float]]:
        def ask(query: np.ndarray) -> tuple[list[int], float]:
            [answer] = index.search([Query(query, filters, limit=K, exact=exact)])
            return [int(match.key.rpartition(":")[2]) - 1 for match in answer.candidates], answer.took_ms

        return ask

    def raw(body: Callable[[list[float]], dict[str, Any]]) -> Callable[[np.ndarray], tuple[list[int], float]]:
        def ask(query: np.ndarray) -> tuple[list[int], float]:
            answer = index._client.search(index=index.name, body=body(query.tolist()))
            return [int(hit["_id"].rpartition(":")[2]) - 1 for hit in answer["hits"]["hits"]], answer["took"]

        return ask

    contenders = {
        "ours": ours(None),
        "ours, exact": ours(True),
        "plain knn, 100 candidates, not rescored": raw(
            lambda q: {
                "size": K,
                "_source": False,
                "knn": {
                    "field": "images.vector",
                    "query_vector": q,
                    "k": K,
                    "num_candidates": 100,
                    **({"filter": clause} if clause else {}),
                },
            }
        ),
        "script_score over all, as in 2020": raw(
            lambda q: {
                "size": K,
                "_source": False,
                "query": {
                    "bool": {
                        "filter": clause,
                        "must": {
                            "nested": {
                                "path": "images",
                                "score_mode": "max",
                                "query": {
                                    "script_score": {
                                        "query": {"match_all": {}},
                                        "script": {
                                            "source": "cosineSimilarity(params.q, 'images.vector') + 1.0",
                                            "params": {"q": q},
                                        },
                                    }
                                },
                            }
                        },
                    }
                },
            }
        ),
    }
    took: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    recalls: dict[str, list[float]] = {name: [] for name in contenders}
    for ask in contenders.values():
        for query in queries[:20]:
            ask(query)
    true = [nearest(vectors, query, selectivity) for query in queries]
    for name, number, (found, engine), milliseconds in in_turn(contenders, queries):
        wall[name].append(milliseconds)
        took[name].append(engine)
        recalls[name].append(recall(found, true[number]))
    peer = statistics.median(wall["script_score over all, as in 2020"])
    for name in contenders:
        spread = {"took_ms": statistics.median(took[name]), "p95_ms": float(np.percentile(wall[name], 95))}
        what = f"{label}, {100 * selectivity:g} % match: {name}"
        yield Row(
            f"{what}: recall@{K}", statistics.fmean(recalls[name]), "", target=">= 0.99" if "ours" in name else ""
        )
        yield Row(f"{what}: time", statistics.median(wall[name]), "ms", "script_score", peer, detail=spread)
        yield Row(f"{what}: took", spread["took_ms"], "ms")
