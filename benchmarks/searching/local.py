"""The local index compared with one matrix-vector product over the same matrix, and with other libraries."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from benchmarks.searching.common import Row, entries, meta, nearest, recall, selecting, take_turns, write_all
from benchmarks.searching.peers import peers
from imagesim.indexes.local import LocalIndex, quantised
from imagesim.types import Filters, Query


def measure(vectors: np.ndarray, queries: np.ndarray, with_peers: bool) -> Iterator[Row]:
    index = LocalIndex(name="benchmark")
    backing_index = index.create(meta(vectors.shape[1]))
    write_all(index, backing_index, entries(vectors))
    index.promote(backing_index)

    def search_full(query: np.ndarray, filters: Filters) -> object:
        """Search without the 8-bit copy."""
        before, quantised.QUANTISED_FROM = quantised.QUANTISED_FROM, sys.maxsize
        try:
            return index.search([Query(query, filters, limit=10)])
        finally:
            quantised.QUANTISED_FROM = before

    for selectivity, target in ((1.0, "0.5 x"), (0.1, "ahead"), (0.01, "ahead"), (0.001, "ahead")):
        filters = selecting(selectivity)
        [first] = index.search([Query(queries[0], filters, limit=10)])  # loads the table into memory
        found = [int(match.key.rpartition(":")[2]) - 1 for match in first.candidates]
        assert recall(found, nearest(vectors, queries[0], selectivity)) == 1
        contenders = {
            "ours": lambda query, filters=filters: index.search([Query(query, filters, limit=10)]),
            "matrix @ vector": lambda query: vectors @ query,
            **dict(peers(vectors, selectivity) if with_peers else ()),
        }
        if quantised.kernels() is not None:
            contenders["without the 8-bit copy"] = lambda query, filters=filters: search_full(query, filters)
        slow = [name for name in contenders if name.startswith("wagtail") and selectivity == 1.0]
        times = take_turns({n: c for n, c in contenders.items() if n not in slow}, queries)
        times |= take_turns({name: contenders[name] for name in slow}, queries[:2]) if slow else {}
        ours, limit = times.pop("ours"), times.pop("matrix @ vector")
        yield Row(
            f"local, {selectivity:.1%} pass: search", ours, "ms", "matrix @ vector", limit, target, {"peers": times}
        )
        if selectivity == 1.0:
            yield Row("local, 100.0% pass: times the bare product", ours / limit, "x", target="<= 0.5")
        for name, taken in times.items():
            yield Row(f"local, {selectivity:.1%} pass: {name}", taken, "ms", "ours", ours)
