"""An 8-bit copy of a matrix of vectors, with bounds on the error of scores that are computed from it.

The time of a scan depends on the bytes that it reads, and this copy has a quarter of those of the vectors. Where the
bounds do not decide, the vectors themselves are scored, so that answers stay exact. It needs the package ``numkong``
(the extra ``simd``), since NumPy has no fast products of 8-bit integers.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from imagesim.types import Vector

STEPS = 127
"""The largest code. -128 is not used, so that the codes are symmetric."""
QUANTISED_FROM = 4096
"""The number of rows from which the copy is worth its memory and the second scoring of the best rows."""
BATCH = 4096

Floats = npt.NDArray[np.float32]


class Quantised(NamedTuple):
    """Vectors as integers: ``codes * scale`` differs from a vector by a vector of length ``error``.

    ``codes`` has the shape (n, dims), the others (n,). ``length`` is the length of ``codes * scale``.
    """

    codes: npt.NDArray[np.int8]
    scale: Floats
    error: Floats
    length: Floats


def quantise(vectors: Vector) -> Quantised:
    """Round each of ``vectors`` (n, dims) to 255 steps between plus and minus its largest component."""
    largest = np.abs(vectors).max(axis=1)
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(STEPS)
    codes = np.rint(vectors / scale[:, None])
    near = codes * scale[:, None]
    error = np.linalg.norm(vectors - near, axis=1)
    return Quantised(codes.astype(np.int8), scale, error, np.linalg.norm(near, axis=1))


class Codes:
    """The quantised rows of a matrix. Changed rows are quantised together when they are next needed, which is
    faster."""

    def __init__(self, dims: int, capacity: int) -> None:
        self._rows = _empty(dims, capacity)
        self._stale = np.ones(capacity, dtype=bool)

    def resize(self, capacity: int) -> None:
        """Make room for ``capacity`` rows, which must be more than before."""
        rows, used = _empty(self._rows.codes.shape[1], capacity), len(self._stale)
        for new, old in zip(_arrays(rows), self._rows, strict=True):
            new[:used] = old
        self._rows = rows
        self._stale = np.concatenate([self._stale, np.ones(capacity - used, dtype=bool)])

    def mark(self, rows: npt.NDArray[np.int64]) -> None:
        """Note that these rows of the matrix have changed."""
        self._stale[rows] = True

    def update(self, matrix: Vector) -> None:
        """Quantise the rows of ``matrix`` (used, dims) that have changed."""
        changed = np.flatnonzero(self._stale[: len(matrix)])
        for start in range(0, len(changed), BATCH):
            rows = changed[start : start + BATCH]
            for column, values in zip(_arrays(self._rows), quantise(matrix[rows]), strict=True):
                column[rows] = values
            self._stale[rows] = False

    def bounds(self, query: Quantised, rows: slice | npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return lower and upper bounds (m,) of the dot products of a unit vector and the given rows.

        With q = q' + e and x = x' + f, where q' and x' are quantised, q·x differs from q'·x' by q·f + e·x', and
        so by no more than |q||f| + |e||x'|.
        """
        codes, scale, error, length = (column[rows] for column in self._rows)
        scores = np.empty(len(codes), dtype=np.float32)
        kernels().dot(query.codes, codes, out=scores)  # numkong would write beyond an array of another size
        scores *= scale * query.scale
        margin = error + query.error * length
        return scores - margin, scores + margin


def _empty(dims: int, capacity: int) -> Quantised:
    return Quantised(
        np.empty((capacity, dims), dtype=np.int8), *(np.empty(capacity, dtype=np.float32) for _ in range(3))
    )


def _arrays(quantised: Quantised) -> tuple[npt.NDArray[Any], ...]:
    return quantised


@cache
def kernels() -> Any:
    """Return the package ``numkong``, or None if it is not installed."""
    try:
        import numkong
    except ImportError:
        return None
    return numkong
