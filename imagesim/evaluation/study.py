"""Rank a catalogue's own queries under variants of storage and comparison, and compute the metrics of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imagesim.evaluation.catalogue import Case, Catalogue
from imagesim.exceptions import BadQuery, format_choices
from imagesim.indexes.projections import transform

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.types import Vector

    Grades = npt.NDArray[np.float64]
    Ranking = npt.NDArray[np.int64]

METRICS = ("precision", "recall", "ndcg", "mrr")
RESAMPLES = 1000
BLOCK = 256
OVERSAMPLE = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % bootstrap confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def interval(self) -> list[float]:
        """The lower bound, the mean and the upper bound, for JSON."""
        return [self.low, self.mean, self.high]

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def precision(grades: Grades, relevant: float, k: int) -> float:
    """Return the share of relevant items among the first ``k`` answers, capped by the number of relevant items.

    ``grades`` are the grades of the answers in rank order (0: not relevant); ``relevant`` is the number of
    relevant items. Capping (the idea of R-precision) keeps a perfect ranking at 1 if fewer than k exist.
    """
    return float(np.count_nonzero(grades[:k])) / max(1.0, min(k, relevant))


def recall(grades: Grades, relevant: float, k: int) -> float:
    """Return the share of the relevant items that the first ``k`` answers contain."""
    return float(np.count_nonzero(grades[:k])) / max(1.0, relevant)


def reciprocal_rank(grades: Grades) -> float:
    """Return 1 / rank of the first relevant answer, 0 if there is none."""
    found = np.flatnonzero(grades)
    return 1.0 / (int(found[0]) + 1) if len(found) else 0.0


def ndcg(grades: Grades, ideal: Grades, k: int) -> float:
    """Return the normalised discounted cumulative gain (Järvelin & Kekäläinen, 2002), linear gain.

    ``ideal`` are the grades of all relevant items, best first.
    """
    best = _dcg(ideal[:k])
    return _dcg(grades[:k]) / best if best else 0.0


def _dcg(grades: Grades) -> float:
    return float(np.sum(grades / np.log2(np.arange(2, len(grades) + 2))))


def estimate(values: Grades) -> Estimate:
    """Return the mean of per-query ``values`` (n,) with a percentile-bootstrap interval over queries (Efron, 1979)."""
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"))
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[draws].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(values.mean()), float(low), float(high))


def paired_difference(ours: Grades, theirs: Grades) -> Estimate:
    """Return the mean of ``ours - theirs`` over the same queries (n,): above 0 throughout means a significant gain."""
    return estimate(ours - theirs)


@dataclass(frozen=True)
class Variant:
    """One way to store and compare the vectors of a model.

    ``similarity`` is cosine, dot_product, l2 or l1; ``dims`` is the number kept by PCA (None: all); ``quantisation``
    is none, int8, int4 or bbq, the last three rescored on the full vectors unless ``rescore`` is off.
    """

    similarity: str = "cosine"
    dims: int | None = None
    quantisation: str = "none"
    rescore: bool = True

    def __str__(self) -> str:
        rescored = "" if self.quantisation == "none" else (" rescored" if self.rescore else " unrescored")
        return f"{self.similarity}, {self.dims or 'all'} dims, {self.quantisation}{rescored}"


def _cosine(queries: Vector, vectors: Vector) -> Vector:
    scores: Vector = queries @ vectors.T
    return scores


def _l2(queries: Vector, vectors: Vector) -> Vector:
    squares = np.einsum("ij,ij->i", vectors, vectors)[None] + np.einsum("ij,ij->i", queries, queries)[:, None]
    distances: Vector = np.sqrt(np.maximum(squares - 2 * (queries @ vectors.T), 0))
    return -distances


def _l1(queries: Vector, vectors: Vector) -> Vector:
    return -np.stack([np.abs(vectors - query).sum(axis=1) for query in queries])


SIMILARITIES: dict[str, Callable[[Vector, Vector], Vector]] = {
    "cosine": _cosine,
    "dot_product": _cosine,  # equal for unit vectors
    "l2": _l2,
    "l1": _l1,
}


def _scalar(bits: int) -> Callable[[Vector], Vector]:
    def quantise(vectors: Vector) -> Vector:
        # Lucene's scalar quantisation: one interval for all values, clipped at quantiles; with int8, the index asks for
        # the whole range.
        low, high = (vectors.min(), vectors.max()) if bits == 8 else np.quantile(vectors, (0.01, 0.99))
        levels = 2 ** (bits - 1 if bits == 8 else bits) - 1
        span = high - low or 1.0  # all values are equal
        steps = np.round((np.clip(vectors, low, high) - low) / span * levels)
        stored: Vector = (steps / levels * span + low).astype(np.float32)
        return stored

    return quantise


def _binary(vectors: Vector) -> Vector:
    # Like RaBitQ (Gao & Long, 2024): signs around the centroid, scaled to keep each vector's projection.
    centroid = vectors.mean(axis=0)
    centred = vectors - centroid
    scale = np.abs(centred).mean(axis=1, keepdims=True)
    stored: Vector = (np.sign(centred) * scale + centroid).astype(np.float32)
    return stored


QUANTISATIONS: dict[str, Callable[[Vector], Vector]] = {
    "none": lambda vectors: vectors,
    "int8": _scalar(8),
    "int4": _scalar(4),
    "bbq": _binary,
}


def check_variant(variant: Variant, dims: int) -> None:
    """Check the values of a variant.

    :raises BadQuery: naming the unknown value and the known ones.
    """
    if variant.similarity not in SIMILARITIES:
        raise BadQuery(
            f"{variant.similarity!r} is not a similarity function; it can be {format_choices(SIMILARITIES)}."
        )
    if variant.quantisation not in QUANTISATIONS:
        raise BadQuery(f"{variant.quantisation!r} is not a quantisation; it can be {format_choices(QUANTISATIONS)}.")
    if variant.dims is not None and not 0 < variant.dims <= dims:
        raise BadQuery(f"{variant.dims} dimensions cannot be kept; the model has {dims}.")


def principal_axes(vectors: Vector, dims: int) -> Vector:
    """Return the (d, dims) map that best preserves inner products: the leading eigenvectors of the second moments.

    The vectors are not centred: the cosine between vectors as they are must be preserved (Eckart & Young, 1936).
    """
    moments = (vectors.T.astype(np.float64) @ vectors) / len(vectors)
    _, axes = np.linalg.eigh(moments)
    return np.ascontiguousarray(axes[:, ::-1][:, :dims], dtype=np.float32)


@dataclass(frozen=True)
class Outcome:
    """The result of one variant: values per query and their estimates by metric, and the rankings (item positions)."""

    name: str
    values: dict[str, npt.NDArray[np.float64]]
    rankings: list[Ranking]

    @property
    def estimates(self) -> dict[str, Estimate]:
        return {metric: estimate(values) for metric, values in self.values.items()}


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
    """Compute the metrics of the given rankings (item positions, best first)."""
    values: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for case, ranking in zip(queries, rankings, strict=True):
        grades = np.array([case.grades.get(int(item), 0.0) for item in ranking[:k]])
        ideal = np.array(sorted(case.relevant.values(), reverse=True))
        values["precision"].append(precision(grades, len(ideal), k))
        values["recall"].append(recall(grades, len(ideal), k))
        values["ndcg"].append(ndcg(grades, ideal, k))
        values["mrr"].append(reciprocal_rank(grades))
    return Outcome(name, {metric: np.array(found) for metric, found in values.items()}, rankings)


def rank(
    catalogue: Catalogue, vectors: Vector, queries: Sequence[Case], variant: Variant, *, k: int
) -> Iterator[Ranking]:
    """Return the ``k`` best items of each query; an item's score is that of its best image."""
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
    """Return the share of the first ``k`` items that two variants have in common, per query: (queries,)."""
    return np.array([len(set(a[:k]) & set(b[:k])) / max(1, min(k, len(b))) for a, b in zip(ours, theirs, strict=True)])
