"""Fitting linear maps to a catalogue's embeddings, in closed form and in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.types import Vector


def principal_axes(vectors: Vector, dims: int) -> Vector:
    """The (d, dims) map that keeps inner products best: the leading eigenvectors of the second moments.

    Not centred, because what is to survive is the cosine between vectors as they are (Eckart & Young, 1936).
    """
    moments = (vectors.T.astype(np.float64) @ vectors) / len(vectors)
    _, axes = np.linalg.eigh(moments)
    return np.ascontiguousarray(axes[:, ::-1][:, :dims], dtype=np.float32)


def truncation(dims_in: int, dims: int) -> Vector:
    """The (dims_in, dims) map that keeps the first components, for models trained to allow it (Matryoshka)."""
    return np.eye(dims_in, dims, dtype=np.float32)


def within_class_whitening(differences: Vector, identity_weight: float) -> Vector:
    """The (d, d) map under which positives come closer: the inverse root of their shrunk covariance.

    Within-class covariance normalisation (Hatch, Kajarekar & Stolcke, 2006). ``differences`` (n, d) are
    those between the two vectors of each positive pair. ``identity_weight`` in (0, 1] pulls towards the
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


def positive_pairs(
    labels: list[frozenset[str]], *, allowed: npt.NDArray[np.int64], count: int, seed: int
) -> npt.NDArray[np.int64]:
    """Up to ``count`` pairs (n, 2) of rows among ``allowed`` that share a label, drawn evenly over labels."""
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for row in allowed:
        for label in labels[row]:
            members.setdefault(label, []).append(int(row))
    pools = [np.asarray(rows) for rows in members.values() if len(rows) > 1]
    if not pools:
        return np.empty((0, 2), dtype=np.int64)
    each = max(1, count // len(pools))
    pairs = [rng.choice(pool, (min(each, len(pool) * (len(pool) - 1)), 2)) for pool in pools]
    found = np.concatenate(pairs)
    distinct: npt.NDArray[np.int64] = found[found[:, 0] != found[:, 1]][:count]
    return distinct
