"""The index as the read side asks it: behind a circuit breaker, so that an outage costs no page a time-out."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from weakref import WeakKeyDictionary

from imagesim.circuit_breaker import Breaker
from imagesim.exceptions import IndexUnavailable
from imagesim.indexes import BaseIndex, get_index
from imagesim.types import Candidates, Facet, Filters, IndexMeta, Query

__all__ = ["GuardedIndex", "reading_index"]

FAILURES = 3
RESET_SECONDS = 5.0

_breakers: WeakKeyDictionary[BaseIndex, Breaker] = WeakKeyDictionary()
_lock = Lock()


class GuardedIndex:
    """The reading methods of an index; each raises CircuitOpen at once while the breaker is open."""

    def __init__(self, index: BaseIndex, breaker: Breaker) -> None:
        self.index = index
        self.breaker = breaker

    def meta(self) -> IndexMeta:
        # Mostly remembered from a moment ago, so that its success says nothing about the engine.
        self.breaker.require()
        try:
            return self.index.meta()
        except IndexUnavailable as error:
            self.breaker.failed(error)
            raise

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        with self.breaker.guard():
            return self.index.search(queries)

    def facets(self, filters: Filters, fields: Sequence[str]) -> dict[str, Facet]:
        with self.breaker.guard():
            return self.index.facets(filters, fields)

    def count(self, filters: Filters = Filters()) -> int:
        with self.breaker.guard():
            return self.index.count(filters)


def reading_index() -> GuardedIndex:
    """The configured index with its breaker, one a process."""
    index = get_index()
    with _lock:
        if index not in _breakers:
            _breakers[index] = Breaker(f"The index {index.name!r}", threshold=FAILURES, reset_seconds=RESET_SECONDS)
        return GuardedIndex(index, _breakers[index])
