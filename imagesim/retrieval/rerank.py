"""The order of an answer beyond likeness: more variety, and further afield where too little is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from imagesim.types import Candidate, Candidates, Query

if TYPE_CHECKING:
    from imagesim.types import Hit, Vector

Ask = Callable[[Query], Candidates]
"""Answers a query: the index itself, or what is wrapped around it here."""

T = TypeVar("T", bound="Hit | Candidate")

WINDOW = 100
"""The best matches that are put in a new order for variety; what follows them stays as it was."""

RELEVANT = 0.5
"""Of the best score. What is less alike stays behind: variety among what answers the question, not away from it."""


def with_mmr(ask: Ask, diversity: float, vectors_of: Callable[[Sequence[Candidate]], Mapping[str, Vector]]) -> Ask:
    """``ask``, with those of the first :data:`WINDOW` matches that are alike enough in the order of maximal marginal
    relevance.

    The order does not depend on the page, so pages neither overlap nor leave out. ``vectors_of`` gives vectors by the
    digest of the image that matched.
    """

    def answer(query: Query) -> Candidates:
        end = query.offset + query.limit
        if query.offset >= WINDOW:
            return ask(query)
        window = ask(replace(query, offset=0, limit=WINDOW))
        best = max((candidate.score for candidate in window.candidates), default=0.0)
        alike = [candidate for candidate in window.candidates if candidate.score >= RELEVANT * best]
        unlike = [candidate for candidate in window.candidates if candidate.score < RELEVANT * best]
        ordered = [*mmr(alike, vectors_of(alike), diversity), *unlike]
        page = tuple(ordered[query.offset : end])
        if end <= WINDOW or not window.more:
            return replace(window, candidates=page, more=window.more or len(ordered) > end)
        rest = ask(replace(query, offset=WINDOW, limit=end - WINDOW))
        return replace(rest, candidates=page + rest.candidates, took_ms=window.took_ms + rest.took_ms)

    return answer


def mmr(candidates: Sequence[Candidate], vectors: Mapping[str, Vector], diversity: float) -> list[Candidate]:
    """Maximal marginal relevance (Carbonell & Goldstein 1998), lambda being 1 - ``diversity``.

    Each place goes to the match that is most like the question and least like those before it. A match
    without a vector is taken to be like none.
    """
    import numpy as np

    if len(candidates) < 2 or not vectors:
        return list(candidates)
    dims = len(next(iter(vectors.values())))
    rows = np.stack([vectors.get(candidate.image_digest, np.zeros(dims, np.float32)) for candidate in candidates])
    alike = rows @ rows.T
    relevance = np.array([candidate.score for candidate in candidates])
    nearest = np.full(len(candidates), -np.inf)
    left = np.ones(len(candidates), dtype=bool)
    order = [0]  # the best match comes first, whatever else
    while len(order) < len(candidates):
        last = order[-1]
        left[last] = False
        nearest = np.maximum(nearest, alike[last])
        value = np.where(left, (1 - diversity) * relevance - diversity * nearest, -np.inf)
        order.append(int(value.argmax()))
    return [candidates[number] for number in order]


def with_fallback(ask: Ask, stages: Sequence[tuple[str, tuple[str, ...]]]) -> Ask:
    """``ask``, and where the question's own categories give too few, the same in those of each stage in turn.

    A stage leaves out what the ones before it found, all of which is known by then; so pages are stable.
    """

    def answer(query: Query) -> Candidates:
        end = query.offset + query.limit
        found: list[Candidate] = []
        took_ms, exact, more = 0.0, True, False
        for name, categories in (("", query.filters.categories), *stages):
            part = ask(_beyond(query, found, categories, limit=end - len(found) + 1))
            found = append_unseen(
                found, part.candidates, name, lambda candidate: candidate.group if query.collapse else candidate.key
            )
            took_ms, exact, more = took_ms + part.took_ms, exact and part.exact, part.more
            if len(found) > end:
                break
        return Candidates(tuple(found[query.offset : end]), more=more or len(found) > end, took_ms=took_ms, exact=exact)

    return answer


def append_unseen(own: Sequence[T], wider: Sequence[T], stage: str, identity: Callable[[T], str]) -> list[T]:
    """``own`` first, then what of ``wider`` is not among them, saying which stage found it."""
    known = {identity(each) for each in own}
    return [*own, *(replace(each, stage=stage) for each in wider if identity(each) not in known)]


def _beyond(query: Query, found: Sequence[Candidate], categories: tuple[str, ...], *, limit: int) -> Query:
    filters = replace(query.filters, categories=categories)
    if query.collapse:
        groups = tuple(dict.fromkeys(candidate.group for candidate in found))
        filters = replace(filters, exclude_groups=filters.exclude_groups + groups)
    else:
        filters = replace(filters, exclude_keys=filters.exclude_keys + tuple(candidate.key for candidate in found))
    return replace(query, filters=filters, offset=0, limit=limit)
