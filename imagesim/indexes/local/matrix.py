"""One float32 matrix that grows: rows are given out, taken back and used again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from imagesim.types import Vector

Rows = npt.NDArray[np.int64]


class Matrix:
    """Vectors of shape (capacity, dims). ``used`` rows have been given out, some of which may be free again.

    Room that no row was put in costs address space but no memory, so there is plenty: with twice what ``expected``
    says, the matrix has to be copied only once the catalogue has doubled within the life of a process.
    """

    def __init__(self, dims: int, expected: int = 0) -> None:
        self.dims = dims
        self.used = 0
        self._free: list[int] = []
        self._data = np.empty((max(2 * expected, 1024), dims), dtype=np.float32)

    @property
    def data(self) -> Vector:
        """The rows in use, without a copy."""
        return self._data[: self.used]

    def put(self, vectors: Vector) -> Rows:
        """Store ``vectors`` (n, dims); the rows they lie in."""
        reused = [self._free.pop() for _ in range(min(len(self._free), len(vectors)))]
        fresh = len(vectors) - len(reused)
        self._reserve(self.used + fresh)
        rows = np.concatenate([np.array(reused, dtype=np.int64), np.arange(self.used, self.used + fresh)])
        self.used += fresh
        self._data[rows] = vectors
        return rows

    def free(self, rows: Rows) -> None:
        self._free.extend(rows.tolist())

    def _reserve(self, rows: int) -> None:
        if rows > len(self._data):
            # Not ``resize``: what it leaves is not in huge pages, and reading it takes twice as long.
            data = np.empty((max(rows, 2 * len(self._data)), self.dims), dtype=np.float32)
            data[: self.used] = self.data
            self._data = data
