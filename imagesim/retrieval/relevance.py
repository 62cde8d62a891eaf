"""Retrievers that tell what belongs to an answer: every candidate gets a relevance, and those below a floor are cut.

``WithRelevance`` judges candidates by their scores; ``WithText`` puts the entries whose words match a query first, and
has their images steer the search for what looks like them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING

from imagesim.calibration import VOTERS, Calibration, Kind, votes
from imagesim.models import StoredCalibration
from imagesim.runtime import runtime
from imagesim.types import Candidate, Candidates, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.retrieval.retriever import Retriever
    from imagesim.types import Vector

CALIBRATION_SECONDS = 60.0
"""How long a process uses the calibration that it last read."""

SPARE = 12
"""Candidates asked for beyond a page, in place of those that are cut."""

CLOSEST = 4
"""Candidates that come closest, shown apart where none is relevant."""

# The share of its own category that a candidate has, where the category of the question is known.
SAME_CATEGORY = 1.0
SAME_PARENT = 0.5
OTHER_CATEGORY = 0.1
OWN_KIND = 0.6
"""The least relevance of an entry in a category of the item that is asked about."""

# The relevance of a match of words: 1 / (1 + exp(-slope * (match - middle))). Half of the query's words, counted by how
# rare they are, make an even chance.
TEXT_SLOPE = 12.0
TEXT_MIDDLE = 0.45
NAMED = 0.5
"""The relevance from which on the best match of words may steer the search."""

BY_NAME = 0.75
"""The match from which on an entry is what the query calls so, and comes before all that only looks so."""

TEXT_WINDOW = 120
"""Entries whose words match that are put before the others; further ones come by their looks alone."""

LOOKS_WINDOW = 160
"""Candidates by their looks among which the entries whose words match are found again."""

SCORED = 48
"""Entries whose words match that get the score of their image even where it is not among the candidates."""

FEEDBACK = 10
"""Entries whose images steer the search, at most (pseudo-relevance feedback, Rocchio 1971)."""

FEEDBACK_SHARE = 0.8
"""Of the best match: what matches less does not steer."""

QUERY_WEIGHT = 1.0
"""Of the words' own vector beside the mean of the images."""


def calibration_of(meta: IndexMeta) -> Calibration:
    """The calibration stored for an index, or the prior."""
    key = ("calibration", meta.fingerprint, meta.projection)
    kept = runtime.get(key, _Kept)
    if monotonic() >= kept.until:
        row = StoredCalibration.objects.filter(fingerprint=meta.fingerprint, projection=meta.projection).first()
        try:
            kept.calibration = Calibration() if row is None else Calibration.from_json(row.data)
        except ValueError:
            kept.calibration = Calibration()
        kept.until = monotonic() + CALIBRATION_SECONDS
    return kept.calibration


@dataclass
class _Kept:
    calibration: Calibration = field(default_factory=Calibration)
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Judge:
    """Gives candidates their relevance for a kind of question.

    ``own`` are the categories of the question where they are known, as those of an item are, and ``near`` those under
    the same parents; the neighbours vote where they are not.
    """

    calibration: Calibration
    kind: Kind
    own: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()

    def judge(self, query: Query, candidates: Sequence[Candidate], most: float = 1.0) -> list[Candidate]:
        """The candidates, which come best first, with their relevance of at most ``most``."""
        scores = [candidate.score for candidate in candidates]
        relevances = self.calibration.relevances(self.kind, scores, self._votes(query, candidates))
        # A region is searched in the categories that its label names: what is in them is of its kind.
        own = self.own or frozenset(query.filters.categories if self.kind == "region" else ())
        return [
            replace(each, relevance=min(most, max(relevance, OWN_KIND if own & {*each.categories} else 0.0)))
            for each, relevance in zip(candidates, relevances, strict=True)
        ]

    def _votes(self, query: Query, candidates: Sequence[Candidate]) -> list[float] | None:
        """None where they say nothing: the query keeps to categories of the visitor's choice, or there are none."""
        if self.own:
            return [self._known(frozenset(candidate.categories)) for candidate in candidates]
        if query.filters.categories or not any(candidate.categories for candidate in candidates):
            return None
        voters = sorted(candidates, key=lambda candidate: -candidate.score)[:VOTERS]
        shares = votes(
            [voter.score for voter in voters],
            [voter.categories for voter in voters],
            self.calibration.background[self.kind].deviation,
        )
        return [max((shares.get(name, 0.0) for name in each.categories), default=0.0) for each in candidates]

    def _known(self, categories: Collection[str]) -> float:
        if self.own & frozenset(categories):
            return SAME_CATEGORY
        return SAME_PARENT if self.near & frozenset(categories) else OTHER_CATEGORY


class WithRelevance:
    """Judge the candidates, and cut those below ``floor``; None cuts nothing."""

    def __init__(self, retriever: Retriever, judge: Judge, floor: float | None) -> None:
        self._retriever = retriever
        self._judge = judge
        self._floor = floor or 0.0

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        windows = self._retriever.search([_window(query) for query in queries])
        return [
            cut(query, self._judge.judge(query, window.candidates), window, self._floor)
            for query, window in zip(queries, windows, strict=True)
        ]


def _window(query: Query) -> Query:
    """The query from its first candidate on: who votes, and what is cut, does not depend on the page."""
    return replace(query, offset=0, limit=max(VOTERS, query.offset + query.limit + SPARE))


def cut(query: Query, judged: Sequence[Candidate], window: Candidates, floor: float) -> Candidates:
    """The page of a query among the judged candidates of its window."""
    kept = [candidate for candidate in judged if candidate.relevance >= floor]
    end = query.offset + query.limit
    more = len(kept) > end or (window.more and bool(judged) and judged[-1].relevance >= floor)
    return replace(
        window,
        candidates=tuple(kept[query.offset : end]),
        more=more,
        cut=sum(candidate.relevance < floor for candidate in judged[:end]),
        closest=() if kept or query.offset else tuple(judged[: min(CLOSEST, query.limit)]),
    )


class WithText:
    """The entries that the query calls by name first, then those that look so.

    The vector of the query is that of its words. Where words match, the images of the best entries take its place for
    the most part, so that a query finds what looks like them in any language that the shop writes in.
    """

    def __init__(
        self,
        retriever: Retriever,
        text: str,
        calibration: Calibration,
        floor: float | None,
        vectors_of: Callable[[Sequence[Candidate]], Mapping[str, Vector]],
    ) -> None:
        self._retriever = retriever
        self._text = text
        self._calibration = calibration
        self._floor = floor or 0.0
        self._vectors_of = vectors_of

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Candidates:
        (words,) = self._retriever.search(
            [replace(query, text=self._text, offset=0, limit=TEXT_WINDOW, min_score=None)]
        )
        called = [replace(each, relevance=text_relevance(each.text)) for each in words.candidates]
        best = called[0] if called else None
        steering = [] if best is None or best.relevance < NAMED else _steering(called)
        vectors = self._vectors_of(called[:SCORED])
        vector = _steered(query.vector, steering, vectors)
        seen = self._search(replace(query, vector=vector), len(called)) if vector.any() else Candidates(())
        judge = Judge(self._calibration, "items" if steering else "words")
        looks = judge.judge(query, seen.candidates, best.relevance if steering and best else 1.0)
        called = [_scored(each, vector, vectors) for each in called]
        if query.min_score is not None:
            called = [each for each in called if each.score >= query.min_score]
        judged = _fused(called, looks, looks[:LOOKS_WINDOW], by_group=query.collapse)
        return replace(cut(query, judged, seen, self._floor), took_ms=words.took_ms + seen.took_ms)

    def _search(self, query: Query, spare: int) -> Candidates:
        limit = max(LOOKS_WINDOW, _window(query).limit + spare)
        (found,) = self._retriever.search([replace(_window(query), limit=limit)])
        return found


def text_relevance(match: float) -> float:
    """The relevance of an entry whose words match a query so well (0..1)."""
    return 1 / (1 + math.exp(-TEXT_SLOPE * (match - TEXT_MIDDLE)))


def _steering(called: Sequence[Candidate]) -> list[Candidate]:
    least = max(FEEDBACK_SHARE * called[0].text, TEXT_MIDDLE)
    return [candidate for candidate in called if candidate.text >= least][:FEEDBACK]


def _steered(vector: Vector, steering: Sequence[Candidate], vectors: Mapping[str, Vector]) -> Vector:
    """The vector of the words, moved to the images of the entries that they name."""
    import numpy as np

    known = [(each.text, vectors[each.image_digest]) for each in steering if each.image_digest in vectors]
    if not known:
        return vector
    middle = np.sum([weight * each for weight, each in known], axis=0)
    total = QUERY_WEIGHT * vector + middle / max(float(np.linalg.norm(middle)), 1e-6)
    length = float(np.linalg.norm(total))
    steered: Vector = np.asarray(total / length if length > 1e-6 else known[0][1], dtype=np.float32)
    return steered


def _scored(candidate: Candidate, vector: Vector, vectors: Mapping[str, Vector]) -> Candidate:
    own = vectors.get(candidate.image_digest)
    return candidate if own is None else replace(candidate, score=max(-1.0, min(1.0, float(own @ vector))))


def _fused(
    called: Sequence[Candidate], looks: Sequence[Candidate], window: Sequence[Candidate], *, by_group: bool
) -> list[Candidate]:
    """Both lists as one: what is called so by how well it matches, then the rest by relevance.

    An entry in both lists is as relevant as either says, taken as independent evidence. Only the ``window`` of the
    looks counts for that, which is the same for every page: so pages neither overlap nor leave out.
    """

    def identity(candidate: Candidate) -> str:
        return candidate.group if by_group else candidate.key

    seen = {identity(candidate): candidate for candidate in reversed(window)}
    every: dict[str, Candidate] = {}
    named: dict[str, float] = {}
    for each in called:
        other = seen.get(identity(each))
        both = each if other is None else replace(
            each,
            relevance=1 - (1 - each.relevance) * (1 - other.relevance),
            score=max(each.score, other.score),
        )  # fmt: skip
        every[identity(each)] = both
        named[identity(each)] = each.text if each.text >= BY_NAME else 0.0
    for each in looks:
        every.setdefault(identity(each), each)
    return sorted(
        every.values(),
        key=lambda each: (-round(named.get(identity(each), 0.0), 2), -each.relevance, -each.score, each.key),
    )
