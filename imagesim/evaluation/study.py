"""Ranking a catalogue's own queries under each variant, and the metrics of the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imagesim.evaluation import metrics
from imagesim.evaluation.catalogue import Catalogue
from imagesim.evaluation.fitting import principal_axes
from imagesim.evaluation.metrics import Estimate
from imagesim.evaluation.relevance import Case
from imagesim.evaluation.variants import OVERSAMPLE, QUANTISATIONS, SIMILARITIES, Variant
from imagesim.projections import transform

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.types import Vector

    Ranking = npt.NDArray[np.int64]

METRICS = ("precision", "recall", "ndcg", "mrr")
BLOCK = 256


@dataclass(frozen=True)
class Outcome:
    """How one variant did: per-query values and their estimates by metric, and the rankings themselves (items)."""

    name: str
    values: dict[str, npt.NDArray[np.float64]]
    rankings: list[Ranking]

    @property
    def estimates(self) -> dict[str, Estimate]:
        return {metric: metrics.estimate(values) for metric, values in self.values.items()}


def run(
    catalogue: Catalogue,
    queries: Sequence[Case],
    variant: Variant,
    *,
    k: int,
    matrix: Vector | None = None,
    name: str = "",
) -> Outcome:
    """Rank every query under ``variant`` (after the map ``matrix``, if given) and score the answers at ``k``."""
    vectors = catalogue.vectors if matrix is None else transform(catalogue.vectors, matrix)
    if variant.dims is not None and variant.dims < vectors.shape[1]:
        vectors = transform(vectors, principal_axes(vectors, variant.dims))
    rankings = list(rank(catalogue, vectors, queries, variant, k=k))
    return score(name or str(variant), queries, rankings, k=k)


def score(name: str, queries: Sequence[Case], rankings: list[Ranking], *, k: int) -> Outcome:
    """The metrics of given rankings (item positions, best first)."""
    values: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for case, ranking in zip(queries, rankings, strict=True):
        grades = np.array([case.grades.get(int(item), 0.0) for item in ranking[:k]])
        ideal = np.array(sorted(case.grades.values(), reverse=True))
        values["precision"].append(metrics.precision(grades, len(ideal), k))
        values["recall"].append(metrics.recall(grades, len(ideal), k))
        values["ndcg"].append(metrics.ndcg(grades, ideal, k))
        values["mrr"].append(metrics.reciprocal_rank(grades))
    return Outcome(name, {metric: np.array(found) for metric, found in values.items()}, rankings)


def rank(
    catalogue: Catalogue, vectors: Vector, queries: Sequence[Case], variant: Variant, *, k: int
) -> Iterator[Ranking]:
    """The ``k`` best items of each query; an item's score is that of its best image."""
    similarity = SIMILARITIES[variant.similarity]
    stored = QUANTISATIONS[variant.quantisation](vectors)
    rescore = variant.rescore and variant.quantisation != "none"
    starts = catalogue.first_images()
    for first in range(0, len(queries), BLOCK):
        block = queries[first : first + BLOCK]
        scores = similarity(vectors[[case.row for case in block]], stored)
        for case, row_scores in zip(block, scores, strict=True):
            row_scores = row_scores.copy()
            row_scores[list(case.excluded_rows)] = -np.inf
            by_item = np.maximum.reduceat(row_scores, starts)
            by_item[list(case.excluded_items)] = -np.inf
            best = _top(by_item, k * OVERSAMPLE if rescore else k)
            if rescore:
                best = _rescored(catalogue, vectors, case, best, variant)[:k]
            yield best


def _top(scores: Vector, k: int) -> Ranking:
    k = min(k, int(np.isfinite(scores).sum()))
    best = np.argpartition(-scores, k - 1)[:k] if 0 < k < len(scores) else np.arange(len(scores))
    ranked: Ranking = best[np.argsort(-scores[best], kind="stable")][:k]
    return ranked


def _rescored(catalogue: Catalogue, vectors: Vector, case: Case, items: Ranking, variant: Variant) -> Ranking:
    rows = np.flatnonzero(np.isin(catalogue.owner, items))
    rows = rows[~np.isin(rows, list(case.excluded_rows))]
    full = SIMILARITIES[variant.similarity](vectors[case.row][None], vectors[rows])[0]
    by_item = {int(item): -np.inf for item in items}
    for row, value in zip(rows, full, strict=True):
        item = int(catalogue.owner[row])
        by_item[item] = max(by_item[item], float(value))
    return np.array(sorted(by_item, key=lambda item: -by_item[item]), dtype=np.int64)


def overlap(ours: Sequence[Ranking], theirs: Sequence[Ranking], k: int) -> npt.NDArray[np.float64]:
    """Share of the first ``k`` items two variants have in common, a value a query: recall of one against the other."""
    return np.array([len(set(a[:k]) & set(b[:k])) / max(1, min(k, len(b))) for a, b in zip(ours, theirs, strict=True)])
