"""Measure recall against time: what more candidates gain and cost, with and without rescoring."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.searching.common import STEPS, K, Row, nearest, recall, selecting
from imagesim.indexes.elasticsearch import ElasticsearchIndex
from imagesim.types import Query

CANDIDATES = (10, 25, 50, 100, 200, 400, 800)
SELECTIVITIES = (1.0, 0.1)

Ask = Callable[[np.ndarray], tuple[list[int], float]]


def measure(index: ElasticsearchIndex, label: str, vectors: np.ndarray, queries: np.ndarray) -> Iterator[Row]:
    """Yield a point per number of candidates: mean recall@10, and the median milliseconds in the server and in the
    caller."""
    usual = index._num_candidates
    for selectivity in SELECTIVITIES:
        true = [nearest(vectors, query, selectivity) for query in queries]
        for candidates in CANDIDATES:
            ways: dict[str, Ask] = {"not rescored": plain(index, selectivity, candidates)}
            if candidates > 4 * (K + 1):  # the index uses at least this many for a page of ten
                index._num_candidates = candidates
                ways["ours"] = ours(index, selectivity)
            for way, points in asked(ways, queries, true).items():
                yield Row(
                    f"{label}, {selectivity:.0%} pass, {candidates} candidates, {way}: recall@{K}",
                    points["recall"],
                    "",
                    detail={"sweep": {"way": way, "selectivity": selectivity, "candidates": candidates, **points}},
                )
    index._num_candidates = usual


def asked(ways: dict[str, Ask], queries: np.ndarray, true: Sequence[list[int]]) -> dict[str, dict[str, float]]:
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for query, best in zip(queries, true, strict=True):
        for way, ask in ways.items():
            started = time.perf_counter()
            rows, took = ask(query)
            found[way].append((recall(rows, best), took, (time.perf_counter() - started) * 1000))
    return {
        way: {
            "recall": statistics.fmean(point[0] for point in points),
            "took_ms": statistics.median(point[1] for point in points),
            "wall_ms": statistics.median(point[2] for point in points),
        }
        for way, points in found.items()
    }


def ours(index: ElasticsearchIndex, selectivity: float) -> Ask:
    def ask(query: np.ndarray) -> tuple[list[int], float]:
        [answer] = index.search([Query(query, selecting(selectivity), limit=K, exact=False)])
        return [int(match.key.rpartition(":")[2]) - 1 for match in answer.candidates], answer.took_ms

    return ask


def plain(index: ElasticsearchIndex, selectivity: float, candidates: int) -> Ask:
    clause = [] if selectivity >= 1 else [{"range": {"filters.part": {"lt": selectivity * STEPS}}}]

    def ask(query: np.ndarray) -> tuple[list[int], float]:
        knn: dict[str, Any] = {"field": "images.vector", "query_vector": query.tolist(), "k": K}
        knn |= {"num_candidates": candidates, **({"filter": clause} if clause else {})}
        answer = index._client.search(index=index.name, size=K, source=False, knn=knn)
        return [int(hit["_id"].rpartition(":")[2]) - 1 for hit in answer["hits"]["hits"]], answer["took"]

    return ask


def draw(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw the curves of a report, as SVG (or the format of the file's extension)."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "imagesim", "font.size": 9}
    points = [row["detail"]["sweep"] for row in rows if "sweep" in row["detail"]]
    figure, axes = pyplot.subplots(1, len(SELECTIVITIES), figsize=(8, 3.2), sharey=True, layout="constrained")
    for axis, selectivity in zip(axes, SELECTIVITIES, strict=True):
        for way, marker in (("ours", "o"), ("not rescored", "s")):
            line = [each for each in points if (each["way"], each["selectivity"]) == (way, selectivity)]
            axis.plot([each["wall_ms"] for each in line], [each["recall"] for each in line], marker, ls="-", label=way)
            for each in line:
                place = (each["wall_ms"], each["recall"])
                axis.annotate(str(each["candidates"]), place, textcoords="offset points", xytext=(3, -9), fontsize=7)
        axis.axhline(0.99, color="grey", linewidth=0.8, linestyle=":")
        axis.set(title=f"{selectivity:.0%} of the catalogue match", xlabel="milliseconds in the caller, median")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"recall@{K}")
    axes[-1].legend(loc="lower right")
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
