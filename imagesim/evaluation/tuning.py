"""Fit a linear map to a catalogue's embeddings, and keep it only if it improves held-out queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imagesim.evaluation import study
from imagesim.evaluation.catalogue import Case, Catalogue
from imagesim.evaluation.study import Estimate, Variant, estimate, paired_difference, principal_axes
from imagesim.indexes.projections import transform

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.types import Vector

IDENTITY_WEIGHTS = (0.9, 0.7, 0.5, 0.3, 0.1)
PAIRS = 50_000
HELD_OUT = 0.3
K = 10
"""The number of answers of a query on which its nDCG is measured."""


@dataclass(frozen=True)
class Tuned:
    """A fitted map, and its gain on held-out queries: the paired difference in nDCG."""

    matrix: Vector
    identity_weight: float
    before: Estimate
    after: Estimate
    gain: Estimate

    @property
    def wins(self) -> bool:
        """Whether the whole confidence interval lies above zero."""
        return self.gain.low > 0

    def report(self) -> dict[str, Any]:
        return {
            "identity_weight": self.identity_weight,
            "ndcg_before": self.before.mean,
            "ndcg_after": self.after.mean,
            "gain": self.gain.interval,
        }


def tune(catalogue: Catalogue, queries: Sequence[Case], *, dims: int | None = None, seed: int = 0) -> Tuned | None:
    """Fit within-class whitening on one part of the items, choose its strength on a second, judge it on a third.

    Positives are the pictures of one item, and the items that each query names as relevant. With ``dims``, the map also
    keeps only that many principal axes. None if the catalogue has too few positives.
    """
    rng = np.random.default_rng(seed)
    # Split by group, so that no picture of a held-out item, or of a variant of it, is used for training.
    numbers = {group: number for number, group in enumerate(dict.fromkeys(catalogue.groups))}
    draw = rng.random(len(numbers))[[numbers[group] for group in catalogue.groups]]
    fitted = np.flatnonzero(draw >= HELD_OUT * 1.5)
    owner = catalogue.owner
    choosing = [case for case in queries if HELD_OUT <= draw[owner[case.row]] < HELD_OUT * 1.5]
    judging = [case for case in queries if draw[owner[case.row]] < HELD_OUT]
    pairs = _pairs(catalogue, queries, set(fitted.tolist()), seed)
    if len(pairs) < 10 or not choosing or not judging:
        return None
    differences = catalogue.vectors[pairs[:, 0]] - catalogue.vectors[pairs[:, 1]]
    axes = None if dims is None else principal_axes(catalogue.vectors, dims)
    best, best_value = None, -np.inf
    for weight in (1.0, *IDENTITY_WEIGHTS):
        matrix = within_class_whitening(differences, weight)
        if dims is not None:
            matrix = matrix @ principal_axes(transform(catalogue.vectors, matrix), dims)
        value = float(study.run(catalogue, choosing, Variant(), k=K, matrix=matrix).values["ndcg"].mean())
        if value > best_value:
            best, best_value, chosen = matrix, value, weight
    assert best is not None
    plain = study.run(catalogue, judging, Variant(), k=K, matrix=axes).values["ndcg"]
    tuned = study.run(catalogue, judging, Variant(), k=K, matrix=best).values["ndcg"]
    return Tuned(best, chosen, estimate(plain), estimate(tuned), paired_difference(tuned, plain))


def _pairs(catalogue: Catalogue, queries: Sequence[Case], allowed: set[int], seed: int) -> npt.NDArray[np.int64]:
    rows = np.flatnonzero(np.isin(catalogue.owner, list(allowed)))
    same_item = _pairs_of_one_item(catalogue.owner, rows, PAIRS // 2, seed)
    first = catalogue.first_images()

    def related() -> Iterator[tuple[int, int]]:
        for case in queries:
            if int(catalogue.owner[case.row]) in allowed:
                yield from ((case.row, int(first[item])) for item in case.relevant if item in allowed)

    # Done twice, because each query may name a category of thousands.
    total = sum(1 for _ in related())
    keep = set(np.random.default_rng(seed).choice(total, min(PAIRS, total), replace=False).tolist())
    found = [pair for place, pair in enumerate(related()) if place in keep]
    return np.concatenate([same_item, np.asarray(found, dtype=np.int64).reshape(-1, 2)])


def truncation(dims_in: int, dims: int) -> Vector:
    """Return the (dims_in, dims) map that keeps the first components, for models trained to allow it (Matryoshka)."""
    return np.eye(dims_in, dims, dtype=np.float32)


def within_class_whitening(differences: Vector, identity_weight: float) -> Vector:
    """Return the (d, d) map that moves positives closer: the inverse root of their shrunk covariance.

    Within-class covariance normalisation (Hatch, Kajarekar & Stolcke, 2006). ``differences`` (n, d) are the
    differences between the two vectors of each positive pair. ``identity_weight`` in (0, 1] shrinks towards the
    identity (Ledoit & Wolf, 2004): 1 changes nothing.
    """
    covariance = (differences.T.astype(np.float64) @ differences) / max(1, len(differences))
    scale = np.trace(covariance) / len(covariance)
    if scale <= 0:
        return np.eye(len(covariance), dtype=np.float32)
    shrunk = (1 - identity_weight) * covariance / scale + identity_weight * np.eye(len(covariance))
    values, axes = np.linalg.eigh(shrunk)
    matrix: Vector = ((axes * values**-0.5) @ axes.T).astype(np.float32)
    return matrix


def _pairs_of_one_item(
    owner: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], count: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return up to ``count`` pairs (n, 2) of ``rows`` with the same owner, drawn evenly over owners."""
    rng = np.random.default_rng(seed)
    pools = [pool for pool in np.split(rows, np.flatnonzero(np.diff(owner[rows])) + 1) if len(pool) > 1]
    if not pools:
        return np.empty((0, 2), dtype=np.int64)
    each = max(1, count // len(pools))
    pairs = [rng.choice(pool, (min(each, len(pool) * (len(pool) - 1)), 2)) for pool in pools]
    found = np.concatenate(pairs)
    distinct: npt.NDArray[np.int64] = found[found[:, 0] != found[:, 1]][:count]
    return distinct
