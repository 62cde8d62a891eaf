"""Exact nearest neighbours over the rows of a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imagesim.indexes.local.matrix import Rows
from imagesim.indexes.local.parallel import share
from imagesim.types import Similarity

if TYPE_CHECKING:
    from imagesim.types import Vector

Scores = npt.NDArray[np.float32]

# Below this share of the matrix it is cheaper to gather the rows than to read past the others.
GATHER_BELOW = 0.25
ROWS_AT_ONCE = 2048
# What is gathered is read again at once, while it is in the cache.
GATHERED_AT_ONCE = 256
BLOCK = 64
# So many queries at once make a matrix product worth while.
PRODUCT_FROM = 6
# What float32 may be off by, generously: a dot product of unit vectors, a sum of absolute differences.
SLACK: dict[Similarity, np.float32] = {
    "cosine": np.float32(1e-5),
    "dot_product": np.float32(1e-5),
    "l2": np.float32(1e-5),
    "l1": np.float32(1e-3),
}


def score(matrix: Vector, queries: Vector, rows: Rows | None, similarity: Similarity) -> tuple[Scores, Rows | None]:
    """How near the ``queries`` (q, dims) are to the given rows of ``matrix`` (n, dims), to all where None.

    :returns: the scores (q, m) and the rows that the columns stand for (None: column = row).
    """
    if similarity != "l1" and (rows is None or len(rows) >= GATHER_BELOW * len(matrix)):
        scores = _product(matrix, queries)
        return (scores, None) if rows is None else (np.ascontiguousarray(scores[:, rows]), rows)
    rows = np.arange(len(matrix)) if rows is None else rows
    scores = np.empty((len(queries), len(rows)), dtype=np.float32)

    def gather(start: int) -> None:
        part = slice(start, start + GATHERED_AT_ONCE)
        gathered = matrix.take(rows[part], axis=0)
        for number, query in enumerate(queries):
            scores[number, part] = _nearness(gathered, query, similarity)

    share(gather, range(0, len(rows), GATHERED_AT_ONCE))
    return scores, rows


def _nearness(rows: Vector, query: Vector, similarity: Similarity) -> Scores:
    if similarity == "l1":
        return np.asarray(-np.abs(rows - query).sum(axis=1))
    return np.asarray(_dot(rows, query) if _dot is not None else np.einsum("ij,j->i", rows, query))


def _product(matrix: Vector, queries: Vector) -> Scores:
    if len(queries) >= PRODUCT_FROM or _dot is None:
        return np.asarray(queries @ matrix.T)
    scores = np.empty((len(queries), len(matrix)), dtype=np.float32)

    def multiply(start: int) -> None:
        part = slice(start, start + ROWS_AT_ONCE)
        for number, query in enumerate(queries):  # so that several share what is in the cache
            _dot(matrix[part], query, out=scores[number, part])

    share(multiply, range(0, len(matrix), ROWS_AT_ONCE))
    return scores


# Dot products row by row read memory as fast as a thread can. A matrix-vector product takes longer with the libraries
# at hand, and its threads wait for each other on a busy machine. (NumPy 2 has it.)
_dot: Any = getattr(np, "vecdot", None)


def best(scores: Scores, k: int, at_least: float, slack: np.float32) -> tuple[npt.NDArray[np.int64], np.float32]:
    """The positions of all ``scores`` (m,) down to a floor, in no order, and that floor.

    The floor lies a little below the ``k``-th best score or below ``at_least``, whichever is higher, so that
    what rounding may have moved across it is there too.
    """
    floor = np.float32(at_least) - slack
    if k < len(scores):
        floor = max(floor, _kth_best(scores, k) - slack)
    return np.flatnonzero(scores >= floor), floor


def _kth_best(scores: Scores, k: int) -> np.float32:
    """A lower bound of the k-th best score, close to it and cheap: the k-th best of the best of each block."""
    blocks = len(scores) // BLOCK
    if blocks > 2 * k:
        # A block is every n-th score, not n neighbours: their best are found in a tenth of the time.
        scores = scores[: blocks * BLOCK].reshape(BLOCK, blocks).max(axis=0)
    return np.float32(np.partition(scores, len(scores) - k)[len(scores) - k])


def exactly(matrix: Vector, query: Vector, rows: Rows, similarity: Similarity) -> tuple[Scores, Scores]:
    """(nearness, cosine) of few rows, computed in float64 row by row: equal rows get equal scores wherever they
    lie, which a blocked float32 product does not promise."""
    cosine = np.empty(len(rows), dtype=np.float32)
    nearness = cosine if similarity != "l1" else np.empty_like(cosine)
    wide = query.astype(np.float64)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = matrix[rows[start : start + ROWS_AT_ONCE]].astype(np.float64)
        cosine[start : start + len(part)] = np.einsum("ij,j->i", part, wide).clip(-1, 1)
        if similarity == "l1":
            nearness[start : start + len(part)] = -np.abs(part - wide).sum(axis=1)
    return nearness, cosine
