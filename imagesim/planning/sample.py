"""Times of a small index, from which those of a large one follow.

A graph takes each vector by a search among those before it, which takes time in proportion to the logarithm of their
number; so does a query.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesim.exceptions import BadQuery, ImagesimError
from imagesim.types import Entry, EntryImage, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.indexes import BaseIndex
    from imagesim.types import Vector

ENTRIES = 5_000
BATCH = 500
QUERIES = 50


@dataclass(frozen=True)
class Sample:
    """Seconds that ``entries`` took to be written and their graph to be built, and milliseconds of a query."""

    entries: int
    seconds: float
    milliseconds: float

    def fill_seconds(self, entries: float) -> float:
        return self.seconds * entries / self.entries * self._depth(entries)

    def query_ms(self, entries: float) -> float:
        return self.milliseconds * self._depth(entries)

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
    started = time.perf_counter()
    backing_index = index.create(IndexMeta("sample", len(vectors[0]), {}))
    try:
        for start in range(0, len(vectors), BATCH):
            some = vectors[start : start + BATCH]
            entries = [_entry(number, vector) for number, vector in enumerate(some, start)]
            if failed := next((each for each in index.write(entries, backing_index=backing_index) if each.error), None):
                raise ImagesimError(f"The index did not take a sample: {failed.error}")
        index.promote(backing_index)
        index.refresh(backing_index)
        seconds = time.perf_counter() - started
        queries = [Query(vector, limit=10, exact=False) for vector in vectors[:QUERIES]]
        taken = [index.search([query])[0].took_ms for query in [*queries, *queries]]
        return Sample(len(vectors), seconds, statistics.median(taken[QUERIES:]))
    finally:
        index.drop(backing_index)


def _entry(number: int, vector: Vector) -> Entry:
    key = f"sample:{number}"
    return Entry(key, "sample", str(number), 1, (EntryImage(f"{number:064x}", f"{number}.jpg", vector),))
