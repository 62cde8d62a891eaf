"""Retrievers answer queries with candidates. The innermost is the index behind a circuit breaker.

Wrappers with the same method change the answer: more variety, further categories if there are too few candidates, a
floor of relevance (:mod:`imagesim.retrieval.relevance`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeVar

from django.utils.translation import gettext as _

from imagesim import images
from imagesim.circuit_breaker import Breaker, log_repeated
from imagesim.database import closing_lost_connections
from imagesim.exceptions import FilterNotIndexed, IndexMissing, IndexUnavailable, ModelMismatch
from imagesim.indexes import BaseIndex, get_index
from imagesim.indexes.validation import MAX_PAGE_END
from imagesim.retrieval import variants
from imagesim.retrieval.variants import Where
from imagesim.runtime import runtime
from imagesim.types import Candidate, Candidates, Facet, Filters, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.types import Hit, Vector

logger = logging.getLogger("imagesim.retrieval")

P = ParamSpec("P")
R = TypeVar("R")

FAILURES = 3
RESET_SECONDS = 5.0


class Retriever(Protocol):
    """Answers queries with candidates, best first: one :class:`Candidates` per query, in the same order."""

    def search(self, queries: Sequence[Query], /) -> list[Candidates]: ...


class GuardedIndex:
    """The read methods of an index; each raises CircuitOpen at once while the breaker is open.

    ``backing_index``: that of the visitor's variant, or empty for the active one. Each method raises VariantLost if the
    backing index of the variant was dropped. ``took_ms``: the engine's time for all searches so far.
    """

    def __init__(self, index: BaseIndex, breaker: Breaker, backing_index: str = "") -> None:
        self.index = index
        self.breaker = breaker
        self.backing_index = backing_index
        self.took_ms = 0.0

    def meta(self) -> IndexMeta:
        # Usually cached, so its success does not prove that the engine works.
        self.breaker.require()
        with self._may_be_lost():
            try:
                return self.index.meta(self.backing_index or None)
            except IndexUnavailable as error:
                self.breaker.failed(error)
                raise

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        with self._may_be_lost(), self.breaker.guard():
            answers = self.index.search(queries, backing_index=self.backing_index or None)
        self.took_ms += sum(each.took_ms for each in answers)
        return answers

    def facets(self, filters: Filters, fields: Sequence[str]) -> dict[str, Facet]:
        with self._may_be_lost(), self.breaker.guard():
            return self.index.facets(filters, fields, backing_index=self.backing_index or None)

    def count(self, filters: Filters = Filters()) -> int:
        with self._may_be_lost(), self.breaker.guard():
            return self.index.count(filters, backing_index=self.backing_index or None)

    @contextmanager
    def _may_be_lost(self) -> Iterator[None]:
        try:
            yield
        except IndexMissing as error:
            if not self.backing_index:
                raise
            log_repeated(logger, logging.WARNING, self.backing_index, "The index %s is gone", self.backing_index)
            raise VariantLost(self.backing_index) from error


def reading_index(backing_index: str = "") -> GuardedIndex:
    """Return the configured index with its circuit breaker. A process has one breaker for each backing index."""
    index = get_index()
    name = backing_index or index.name
    make = partial(Breaker, f"The index {name!r}", threshold=FAILURES, reset_seconds=RESET_SECONDS)
    return GuardedIndex(index, runtime.get(("breaker", index, backing_index), make), backing_index)


def open_index(filters: Filters, where: Where | None = None) -> tuple[GuardedIndex, IndexMeta]:
    """Return the index to search and its meta, which is read once per query: the active index or, if the kind of the
    query is given, that of the visitor's variant.

    :raises FilterNotIndexed: if a filter was declared after the index was made.
    :raises VariantLost: if the index of the visitor's variant was dropped.
    :raises CircuitOpen, SearchIndexError: if the index cannot answer.
    """
    variant = variants.current(where) if where else None
    index = reading_index(variant.backing_index if variant else "")
    meta = index.meta()
    for condition in chain(filters.conditions, *(each.conditions for each in filters.none_of)):
        if condition.field not in meta.filters:
            raise FilterNotIndexed(
                _("The index does not know the filter %(name)r yet; run `manage.py imagesim_rebuild`.")
                % {"name": condition.field},
                field=condition.field,
            )
    return index, meta


class VariantLost(Exception):
    """The backing index of the visitor's variant no longer exists; the message is its name."""


def retry_on_swap(function: Callable[P, R]) -> Callable[P, R]:
    """Call a search again, from its arguments, if its index was replaced in the meantime.

    If a rebuild with another model was swapped in, the query is embedded again. If the index of the visitor's variant
    was dropped, the query has no variant: the settings of a variant may be right for its own model only.

    A lost database connection makes one call fail; the next call opens another.
    """

    @wraps(function)
    @closing_lost_connections()
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        again = partial(
            function, *map(_rereadable, args), **{name: _rereadable(value) for name, value in kwargs.items()}
        )
        try:
            return again()
        except ModelMismatch:
            return again()
        except VariantLost as error:
            variants.active().lost(str(error))
        with variants.replaced_by(None):
            return again()

    return call


def _rereadable(value: Any) -> Any:
    """Return an argument of a call in a form that can be read again, such as the bytes of a stream in memory."""
    if type(value) in (list, tuple):
        return type(value)(map(_rereadable, value))
    if type(value) is dict:
        return {name: _rereadable(each) for name, each in value.items()}
    if images.reads_once(value):
        return BytesIO(images.read(value))
    return list(value) if isinstance(value, Iterator) and not hasattr(value, "read") else value


T = TypeVar("T", bound="Hit | Candidate")

RELEVANT_SHARE = 0.5
"""The minimum share of the best score; candidates below it stay behind the others, so that results stay relevant."""


@dataclass(frozen=True, slots=True)
class WithMMR:
    """Reorders the first ``window`` candidates by maximal marginal relevance; those with less than
    :data:`RELEVANT_SHARE` of the best score stay behind.

    The order does not depend on the page, so that pages neither overlap nor have gaps. ``vectors_of`` returns vectors
    by the digest of the image that matched. Queries by words or for given keys are passed on unchanged.
    """

    retriever: Retriever
    diversity: float
    vectors_of: Callable[[Sequence[Candidate]], Mapping[str, Vector]]
    window: ClassVar[int] = 100

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        asked = [
            query
            if query.offset >= self.window or query.text or query.filters.keys
            else replace(query, offset=0, limit=self.window)
            for query in queries
        ]
        return [
            found if window is query else self._reordered(query, found)
            for query, window, found in zip(queries, asked, self.retriever.search(asked), strict=True)
        ]

    def _reordered(self, query: Query, window: Candidates) -> Candidates:
        """Return the page of a query from the candidates of its window."""
        end = query.offset + query.limit
        best = max((candidate.score for candidate in window.candidates), default=0.0)
        near = [candidate for candidate in window.candidates if candidate.score >= RELEVANT_SHARE * best]
        far = [candidate for candidate in window.candidates if candidate.score < RELEVANT_SHARE * best]
        ordered = [*mmr(near, self.vectors_of(near), self.diversity), *far]
        page = tuple(ordered[query.offset : end])
        if end <= self.window or not window.more:
            return replace(window, candidates=page, more=window.more or len(ordered) > end)
        (rest,) = self.retriever.search([replace(query, offset=self.window, limit=end - self.window)])
        return replace(rest, candidates=page + rest.candidates)


@dataclass(frozen=True, slots=True)
class WithFallback:
    """Fills up pages from further stages if the categories of a query have too few items.

    ``stages``: the name and the categories of each. A stage excludes the candidates of the previous ones, which are all
    known, so that pages are stable. Queries for given keys are passed on unchanged.
    """

    retriever: Retriever
    stages: Sequence[tuple[str, tuple[str, ...]]]

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        wholes = [
            query if query.filters.keys else replace(query, offset=0, limit=_limit_for(query)) for query in queries
        ]
        answers = self.retriever.search(wholes)
        for stage, categories in self.stages:
            short = [n for n, whole in enumerate(wholes) if not whole.filters.keys and len(answers[n]) < whole.limit]
            rests = [_beyond(wholes[n], answers[n].candidates, categories) for n in short]
            for n, rest in zip(short, self.retriever.search(rests) if rests else (), strict=True):
                answers[n] = _continued(answers[n], rest, stage, by_group=wholes[n].collapse)
        return [
            answer if query.filters.keys else _page(answer, query.offset, query.offset + query.limit)
            for query, answer in zip(queries, answers, strict=True)
        ]


def _continued(before: Candidates, rest: Candidates, stage: str, *, by_group: bool) -> Candidates:
    """Return the candidates with those of a further stage."""
    new = unseen(before.candidates, rest.candidates, lambda candidate: candidate.identity(by_group))
    return Candidates(
        (*before.candidates, *(candidate._replace(stage=stage) for candidate in new)),
        more=rest.more,
        exact=before.exact and rest.exact,
    )


def _page(whole: Candidates, start: int, end: int) -> Candidates:
    """Return the candidates of a page."""
    return replace(whole, candidates=whole.candidates[start:end], more=whole.more or len(whole) > end)


def mmr(candidates: Sequence[Candidate], vectors: Mapping[str, Vector], diversity: float) -> list[Candidate]:
    """Return the candidates ordered by maximal marginal relevance (Carbonell & Goldstein 1998), with lambda = 1 -
    ``diversity``.

    Each position goes to the candidate that is most similar to the query and least similar to those before it. A
    candidate without a vector is taken to be similar to none.
    """
    import numpy as np

    if len(candidates) < 2 or not vectors:
        return list(candidates)
    dims = len(next(iter(vectors.values())))
    rows = np.stack([vectors.get(candidate.image_digest, np.zeros(dims, np.float32)) for candidate in candidates])
    similarity = rows @ rows.T
    relevance = np.array([candidate.score for candidate in candidates])
    nearest = np.full(len(candidates), -np.inf)
    left = np.ones(len(candidates), dtype=bool)
    order = [0]  # the best candidate always comes first
    while len(order) < len(candidates):
        last = order[-1]
        left[last] = False
        nearest = np.maximum(nearest, similarity[last])
        value = np.where(left, (1 - diversity) * relevance - diversity * nearest, -np.inf)
        order.append(int(value.argmax()))
    return [candidates[number] for number in order]


def unseen(seen: Sequence[T], found: Sequence[T], identity: Callable[[T], str]) -> list[T]:
    """Return those of ``found`` that are not among ``seen``."""
    known = {identity(each) for each in seen}
    return [each for each in found if identity(each) not in known]


def _limit_for(query: Query) -> int:
    """Return the number of candidates to request for a page: one more than it has, to know whether anything follows,
    but no more than an index returns."""
    return min(query.offset + query.limit + 1, MAX_PAGE_END)


def _beyond(query: Query, found: Sequence[Candidate], categories: tuple[str, ...]) -> Query:
    """Return the query for as many further entries, in these categories, as are still missing."""
    filters = replace(query.filters, categories=categories)
    if query.collapse:
        groups = tuple(dict.fromkeys(candidate.group for candidate in found))
        filters = replace(filters, exclude_groups=filters.exclude_groups + groups)
    else:
        filters = replace(filters, exclude_keys=filters.exclude_keys + tuple(candidate.key for candidate in found))
    return replace(query, filters=filters, limit=query.limit - len(found))
