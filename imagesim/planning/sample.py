"""Times of a small index, from which those of a large one follow.

An exact scan takes time in proportion to the number of vectors. A graph takes each vector by a search among those
before it, which takes time in proportion to the logarithm of their number; so does a query, but for what it takes
whatever the index holds.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from imagesim.exceptions import BadQuery, ImagesimError
from imagesim.types import Entry, EntryImage, Filters, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.indexes import BaseIndex
    from imagesim.types import Vector

ENTRIES = 20_000
BATCH = 500
QUERIES = 50
NOTHING = Filters(keys=("sample:none",))
"""Filters that nothing passes."""
SETTLED = 0.95
MAX_MEASUREMENTS = 10


@dataclass(frozen=True)
class Sample:
    """Seconds that ``entries`` took to be written and their graph to be built, and milliseconds of a query, of which
    ``overhead`` do not depend on the index. ``exact``: it has no graph, and a query scans all."""

    entries: int
    seconds: float
    milliseconds: float
    overhead: float = 0.0
    exact: bool = False

    def fill_seconds(self, entries: float) -> float:
        return self.seconds * entries / self.entries * (1.0 if self.exact else self._depth(entries))

    def query_ms(self, entries: float) -> float:
        growth = entries / self.entries if self.exact else self._depth(entries)
        return self.overhead + max(self.milliseconds - self.overhead, 0.0) * growth

    def _depth(self, entries: float) -> float:
        return math.log(max(entries, 2)) / math.log(self.entries)


def measure(index: BaseIndex, vectors: Sequence[Vector]) -> Sample:
    """Fill a backing index with these vectors beside the active one, search it, and drop it.

    :param index: of a name that no other index has; its answers are those of this backing index.
    :raises BadQuery: if there are too few vectors.
    :raises SearchIndexError: if the index cannot be reached.
    """
    if len(vectors) < QUERIES:
        raise BadQuery(f"To measure the index takes at least {QUERIES} vectors, not {len(vectors)}.")
    backing_index = index.create(IndexMeta("sample", len(vectors[0]), {}))
    try:
        middle = len(vectors) // 2
        _write(index, backing_index, vectors, range(middle))  # a server compiles its code meanwhile
        started = time.perf_counter()
        _write(index, backing_index, vectors, range(middle, len(vectors)))
        written = time.perf_counter() - started
        index.promote(backing_index)
        index.refresh(backing_index)
        seconds = time.perf_counter() - started + written
        each, none = (
            settled(partial(_milliseconds, index, vectors[:QUERIES], filters)) for filters in (Filters(), NOTHING)
        )
        return Sample(len(vectors), seconds, each, none, exact=not index.supports_approximate)
    finally:
        index.drop(backing_index)


def _write(index: BaseIndex, backing_index: str, vectors: Sequence[Vector], numbers: range) -> None:
    for start in range(0, len(numbers), BATCH):
        entries = [_entry(number, vectors[number]) for number in numbers[start : start + BATCH]]
        if failed := next((each for each in index.write(entries, backing_index=backing_index) if each.error), None):
            raise ImagesimError(f"The index did not take a sample: {failed.error}")


def settled(measure: Callable[[], float]) -> float:
    """Return the first measurement that is not clearly less than the one before: the first searches of a server take
    longer, while it compiles its code."""
    last = measure()
    for _ in range(MAX_MEASUREMENTS):
        before, last = last, measure()
        if last > SETTLED * before:
            break
    return last


def _milliseconds(index: BaseIndex, vectors: Sequence[Vector], filters: Filters) -> float:
    """Return the median time of a search, as the caller sees it: the server's own is in whole milliseconds."""
    taken = []
    for vector in vectors:
        started = time.perf_counter()
        index.search([Query(vector, limit=10, exact=False, filters=filters)])
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def _entry(number: int, vector: Vector) -> Entry:
    key = f"sample:{number}"
    return Entry(key, "sample", str(number), 1, (EntryImage(f"{number:064x}", f"{number}.jpg", vector),))
