"""Retrievers: what answers queries with candidates. The innermost is the index behind a circuit breaker.

What changes an answer is wrapped around it: more variety and further categories (``rerank``). A retriever that cuts by
relevance, or one that fuses the candidates of several sources, is another wrapper with the same one method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary

from django.utils.translation import gettext as _

from imagesim.circuit_breaker import Breaker
from imagesim.exceptions import BadQuery, IndexUnavailable, ModelMismatch
from imagesim.indexes import BaseIndex, get_index
from imagesim.types import Candidates, Facet, Filters, IndexMeta, Query

R = TypeVar("R")

FAILURES = 3
RESET_SECONDS = 5.0

_breakers: WeakKeyDictionary[BaseIndex, Breaker] = WeakKeyDictionary()
_lock = Lock()


class Retriever(Protocol):
    """Answers queries with candidates, best first: one :class:`Candidates` per query, in the same order."""

    def search(self, queries: Sequence[Query], /) -> list[Candidates]: ...


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
    """The configured index with its circuit breaker, one per process."""
    index = get_index()
    with _lock:
        if index not in _breakers:
            _breakers[index] = Breaker(f"The index {index.name!r}", threshold=FAILURES, reset_seconds=RESET_SECONDS)
        return GuardedIndex(index, _breakers[index])


def open_index(filters: Filters) -> tuple[GuardedIndex, IndexMeta]:
    """The configured index and its meta, read once per query.

    :raises BadQuery: if a filter was declared after the index was made.
    :raises CircuitOpen, SearchIndexError: if the index cannot answer.
    """
    index = reading_index()
    meta = index.meta()
    for condition in filters.conditions:
        if condition.field not in meta.filters:
            raise BadQuery(
                _("The index does not know the filter %(name)r yet; run `manage.py imagesim_rebuild`.")
                % {"name": condition.field},
                field=condition.field,
            )
    return index, meta


def retry_on_swap(meta: IndexMeta, answer: Callable[[IndexMeta], R]) -> R:
    """``answer(meta)``; once more with the meta of now if a rebuild with another model was swapped in meanwhile."""
    try:
        return answer(meta)
    except ModelMismatch:
        return answer(reading_index().meta())
