"""Ranking metrics, one value a query, and their means with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Grades = npt.NDArray[np.float64]

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % bootstrap confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def precision(grades: Grades, relevant: float, k: int) -> float:
    """Share of the first ``k`` answers that are relevant, capped by the number of relevant items.

    ``grades`` are the grades of the answers in rank order (0: not relevant); ``relevant`` is the number of
    relevant items there are. Capping (R-precision's idea) keeps a perfect ranking at 1 where fewer than k exist.
    """
    return float(np.count_nonzero(grades[:k])) / max(1.0, min(k, relevant))


def recall(grades: Grades, relevant: float, k: int) -> float:
    """Share of the relevant items found among the first ``k`` answers."""
    return float(np.count_nonzero(grades[:k])) / max(1.0, relevant)


def reciprocal_rank(grades: Grades) -> float:
    """1 / rank of the first relevant answer, 0 if there is none."""
    found = np.flatnonzero(grades)
    return 1.0 / (int(found[0]) + 1) if len(found) else 0.0


def ndcg(grades: Grades, ideal: Grades, k: int) -> float:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen, 2002), linear gain.

    ``ideal`` are the grades of all relevant items, best first.
    """
    best = _dcg(ideal[:k])
    return _dcg(grades[:k]) / best if best else 0.0


def _dcg(grades: Grades) -> float:
    return float(np.sum(grades / np.log2(np.arange(2, len(grades) + 2))))


def estimate(values: Grades, *, seed: int = 0) -> Estimate:
    """Mean of per-query ``values`` (n,) with a percentile-bootstrap interval over queries (Efron, 1979)."""
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"))
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[draws].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(values.mean()), float(low), float(high))


def paired_difference(ours: Grades, theirs: Grades, *, seed: int = 0) -> Estimate:
    """Mean of ``ours - theirs`` over the same queries (n,): above 0 throughout means a real gain."""
    return estimate(ours - theirs, seed=seed)
