"""Find the exact nearest neighbours in a table, for queries that share their filters.

The calling thread shares the scan with helper threads if they are free.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imagesim.indexes.local import quantised
from imagesim.indexes.local.columnar import Matrix, Rows, Slot, Table
from imagesim.indexes.local.quantised import Codes
from imagesim.indexes.validation import CompiledFilters, least_score
from imagesim.runtime import threads
from imagesim.types import Candidate, Query, Similarity

if TYPE_CHECKING:
    from imagesim.types import Vector

# More than four threads read memory no faster. There is one helper per processor rather than one less, because the
# system often wakes the first on the processor of its caller, where it gains nothing, and only the next one on another.
HELPERS = min(threads(), 4) if threads() > 1 else 0
SHARED_FROM = 8
"""The number of parts from which helpers are used; fewer are done before a helper has woken up."""


def share(work: Callable[[int], None], parts: Sequence[int]) -> None:
    """Call ``work`` with each of ``parts``. It must be idempotent: two threads may do the same part at the same time.

    The caller never waits for a helper: when no other part is left, it repeats the parts that helpers have begun but
    not finished. So a late or blocked helper costs nothing, but it may still be running when this function returns.
    """
    waiting, done = iter(parts), set[int]()

    def help_out() -> None:
        for part in waiting:
            work(part)
            done.add(part)

    if len(parts) >= SHARED_FROM:
        with suppress(RuntimeError):  # the interpreter is shutting down, or no more threads can be started
            for _ in range(HELPERS):
                _helpers.submit(help_out)
    for part in chain(waiting, parts):
        if part not in done:
            work(part)
            done.add(part)


def _engage() -> None:
    """Create the pool of helpers, also after a fork, which does not copy threads. They start when they are first
    used."""
    global _helpers
    _helpers = ThreadPoolExecutor(max(HELPERS, 1), "imagesim-search")


_helpers: ThreadPoolExecutor
_engage()
if hasattr(os, "register_at_fork"):  # not on every platform
    os.register_at_fork(after_in_child=_engage)


Scores = npt.NDArray[np.float32]

QUERY_BATCH = 16
ROW_BATCH = 2048
GATHER_BATCH = 256  # small, so that gathered rows are read again from the cache
GATHER_BELOW = 0.25
"""The share of rows below which gathering them is faster than scanning the whole matrix."""
CODE_BATCH = 8192
PRODUCT_FROM = 6
"""The number of queries from which a matrix product is faster."""
BLOCK = 64
SLACK: dict[Similarity, np.float32] = {
    "cosine": np.float32(1e-5),
    "dot_product": np.float32(1e-5),
    "l2": np.float32(1e-5),
    "l1": np.float32(1e-3),
}
"""A generous bound on the rounding error of float32 scores."""


def answer(
    table: Table,
    filters: CompiledFilters,
    similarity: Similarity,
    queries: Sequence[Query],
    vectors: Vector,
) -> list[tuple[tuple[Candidate, ...], bool]]:
    """Return (candidates, whether more follow) for each of the queries, which share their filters.

    ``vectors`` has the shape (queries, dims).
    """
    rows = table.rows(table.passing(filters))
    answers = []
    for start in range(0, len(queries), QUERY_BATCH):
        part = queries[start : start + QUERY_BATCH]
        scans = scan(table.matrix, vectors[start : start + len(part)], rows, similarity)
        for query, vector, scanned in zip(part, vectors[start:], scans, strict=False):
            answers.append(_page(table, query, vector, similarity, scanned))
    return answers


def _page(
    table: Table, query: Query, vector: Vector, similarity: Similarity, scanned: FullScan | QuantisedScan
) -> tuple[tuple[Candidate, ...], bool]:
    wanted = query.offset + query.limit + 1  # one more, to know whether anything follows
    least = least_score(query)
    lowest = -2.0 if least is None else least
    at_least = -np.inf if similarity == "l1" else lowest
    slack = SLACK[similarity]
    k = wanted + 8
    while True:
        near, floor = scanned.best(k, at_least)
        nearness, cosine = rescore(table.matrix.data, vector, near, similarity)
        ranked = _ranked(table, query.collapse, nearness, cosine, near, lowest)
        if floor < at_least or k >= scanned.size:
            break  # nothing below the floor can be wanted
        if len(ranked) >= wanted and -ranked[wanted - 1].farness > floor + slack / 2:
            break  # rows below the floor cannot rank before these
        k *= 4  # the best rows belong to too few groups
    page = ranked[query.offset : query.offset + query.limit]
    candidates = tuple(
        Candidate(
            found.key,
            found.cosine,
            found.slot.group,
            *found.slot.images[found.position],
            categories=found.slot.categories,
            values=table.values_of(found.key, query.fields),
        )
        for found in page
    )
    return candidates, len(ranked) > query.offset + query.limit


class Found(NamedTuple):
    """The best image of an entry. Its sort order is that of answers: best first, then by key."""

    farness: float
    key: str
    position: int
    cosine: float
    slot: Slot


def _ranked(table: Table, collapse: bool, nearness: Scores, cosine: Scores, rows: Rows, lowest: float) -> list[Found]:
    """Return the best image of every entry, or of every group with ``collapse``, best first."""
    found = []
    each = zip((-nearness).tolist(), cosine.tolist(), rows.tolist(), table.slot_of(rows).tolist(), strict=True)
    for far, cos, row, number in each:
        slot = table.slots[number]
        if cos >= lowest:
            position = int(np.flatnonzero(slot.rows == row)[0]) if len(slot.rows) > 1 else 0
            found.append(Found(far, slot.key, position, cos, slot))
    found.sort()
    best: dict[str, Found] = {}
    for one in found:
        best.setdefault(one.slot.group if collapse else one.key, one)
    return list(best.values())


def scan(
    matrix: Matrix, queries: Vector, rows: Rows | None, similarity: Similarity
) -> Sequence[FullScan | QuantisedScan]:
    """Scan the given rows, or all rows if None, for ``queries`` (q, dims); return one result per query."""
    count = matrix.used if rows is None else len(rows)
    few = count < quantised.QUANTISED_FROM
    codes = None if few or similarity == "l1" or len(queries) >= PRODUCT_FROM else matrix.codes()
    if codes is not None:
        return [QuantisedScan(matrix.data, codes, query, rows, similarity) for query in queries]
    scores = score_rows(matrix.data, queries, rows, similarity)
    return [FullScan(each, rows, SLACK[similarity]) for each in scores]


@dataclass(frozen=True, slots=True)
class FullScan:
    """The scores (m,) of the rows (m,), or of the first m rows if ``rows`` is None."""

    scores: Scores
    rows: Rows | None
    slack: np.float32

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.scores)

    def best(self, k: int, at_least: float) -> tuple[Rows, np.float32]:
        """Return all rows that may score at least a floor, unordered, and that floor.

        The floor is the ``k``-th best score or ``at_least``, whichever is higher, less a margin. No other row scores
        more than half of ``SLACK`` above the floor.
        """
        near, floor = top(self.scores, k, at_least, self.slack)
        return near if self.rows is None else self.rows[near], floor


class QuantisedScan:
    """Bounds on the scores of rows, computed from their 8-bit copy. Rows that may be among the best are scored exactly.
    The methods are those of :class:`FullScan`."""

    def __init__(self, matrix: Vector, codes: Codes, query: Vector, rows: Rows | None, similarity: Similarity) -> None:
        self.size = len(matrix) if rows is None else len(rows)
        self._matrix, self._query, self._rows, self._similarity = matrix, query, rows, similarity
        gathered = None if _reads_all(matrix, rows) else rows
        count = len(matrix) if gathered is None else self.size
        lowest, highest = np.empty((2, count), dtype=np.float32)
        coded = quantised.quantise(query[None])
        batch = CODE_BATCH if gathered is None else GATHER_BATCH

        def bound(start: int) -> None:
            part = slice(start, min(start + batch, count))
            lower, upper = codes.bounds(coded, part if gathered is None else gathered[part])
            lowest[part], highest[part] = lower, upper  # each in one assignment: another thread may do the same part

        share(bound, range(0, count, batch))
        self._lower, self._upper = lowest, highest
        if rows is not None and gathered is None:
            self._lower, self._upper = lowest[rows], highest[rows]

    def best(self, k: int, at_least: float) -> tuple[Rows, np.float32]:
        slack = SLACK[self._similarity]
        near, floor = top(self._lower, k, at_least, slack, upper=self._upper)
        rows = near if self._rows is None else self._rows[near]
        [scores] = score_rows(self._matrix, self._query[None], rows, self._similarity)
        best, higher = FullScan(scores, rows, slack).best(k, at_least)
        return best, max(floor, higher)


def _reads_all(matrix: Vector, rows: Rows | None) -> bool:
    """Return whether to read the whole matrix, which is faster than gathering the given rows if these are many."""
    return rows is None or len(rows) >= GATHER_BELOW * len(matrix)


def score_rows(matrix: Vector, queries: Vector, rows: Rows | None, similarity: Similarity) -> Scores:
    """Score ``queries`` (q, dims) against the given rows (m,) of ``matrix`` (n, dims), or against all if None.

    Return the scores, of the shape (q, m); for "l1" these are negative distances.
    """
    gathered = None if similarity != "l1" and _reads_all(matrix, rows) else rows
    if gathered is None and similarity != "l1" and (len(queries) >= PRODUCT_FROM or not _dot):
        scores = np.asarray(queries @ matrix.T)
    else:
        count = len(matrix) if gathered is None else len(gathered)
        scores = np.empty((len(queries), count), dtype=np.float32)
        batch = ROW_BATCH if gathered is None and similarity != "l1" else GATHER_BATCH

        def score(start: int) -> None:
            part = slice(start, min(start + batch, count))
            of_part = matrix[part] if gathered is None else matrix.take(gathered[part], axis=0)
            for number, query in enumerate(queries):  # while the batch is still in the cache
                if similarity == "l1":
                    scores[number, part] = -np.abs(of_part - query).sum(axis=1)
                else:
                    scores[number, part] = _dot(of_part, query) if _dot else np.einsum("ij,j->i", of_part, query)

        share(score, range(0, count, batch))
    return scores if gathered is rows else np.ascontiguousarray(scores[:, rows])


# ``vecdot`` works row by row and reads memory as fast as a thread can. A matrix-vector product of BLAS takes longer,
# and its threads wait for each other on a busy machine. NumPy 1 has no ``vecdot``.
_dot: Any = getattr(np, "vecdot", None)


def top(
    scores: Scores, k: int, at_least: float, slack: np.float32, *, upper: Scores | None = None
) -> tuple[npt.NDArray[np.int64], np.float32]:
    """Return the positions of all ``scores`` (m,) that reach a floor, unordered, and that floor.

    The floor is the ``k``-th best score or ``at_least``, whichever is higher, less the rounding error ``slack``. With
    ``upper``, ``scores`` are lower bounds, and the positions are those whose upper bound reaches the floor.
    """
    floor = np.float32(at_least) - slack
    if k < len(scores):
        floor = max(floor, _kth_best(scores, k) - slack)
    return np.flatnonzero((scores if upper is None else upper) >= floor), floor


def _kth_best(scores: Scores, k: int) -> np.float32:
    """Return a close lower bound of the k-th best score: with many scores, the k-th best of the maxima of blocks."""
    blocks = len(scores) // BLOCK
    if blocks > 2 * k:
        # A block consists of every n-th score, not of neighbours: so the maxima are found in a tenth of the time.
        scores = scores[: blocks * BLOCK].reshape(BLOCK, blocks).max(axis=0)
    return np.float32(np.partition(scores, len(scores) - k)[len(scores) - k])


def rescore(matrix: Vector, query: Vector, rows: Rows, similarity: Similarity) -> tuple[Scores, Scores]:
    """Return (nearness, cosine) of a few rows, two arrays of the shape of ``rows``.

    They are computed in float64 row by row, so that equal rows get equal scores at any position, which a blocked
    float32 product does not guarantee.
    """
    cosine = np.empty(len(rows), dtype=np.float32)
    nearness = cosine if similarity != "l1" else np.empty_like(cosine)
    wide = query.astype(np.float64)
    for start in range(0, len(rows), ROW_BATCH):
        part = matrix[rows[start : start + ROW_BATCH]].astype(np.float64)
        cosine[start : start + len(part)] = np.einsum("ij,j->i", part, wide).clip(-1, 1)
        if similarity == "l1":
            nearness[start : start + len(part)] = -np.abs(part - wide).sum(axis=1)
    return nearness, cosine
