"""The relevance of candidates, computed from their scores and the categories of the nearest; those below a floor are
cut. :mod:`imagesim.retrieval.text` does the same for words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING

from imagesim.calibration import VOTERS, Ballot, Calibration, Kind
from imagesim.indexes import get_index
from imagesim.models import StoredCalibration
from imagesim.retrieval.rerank import WINDOW, Judged
from imagesim.runtime import runtime
from imagesim.types import Candidate, Candidates, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.retrieval.rerank import Plan
    from imagesim.retrieval.retriever import Retriever

CALIBRATION_SECONDS = 60.0
"""How long a process uses the calibration that it last read."""

SPARE = 12
"""Candidates requested beyond a page, to replace those that are cut."""

CLOSEST = 4
"""The number of nearest candidates shown separately if none is relevant."""

CLOSEST_RELEVANCE = 0.2
"""The least relevance of these. Most things whose whole department a shop lacks have nothing as close
(docs/relevance.md); without it, a photo of glasses had camera lenses for its closest."""

# The vote of a candidate if the category of the query is known.
SAME_CATEGORY = 1.0
SAME_PARENT = 0.4
OTHER_CATEGORY = 0.2
OWN_KIND = 0.6
"""The minimum relevance of an entry in a category of the query item."""


def calibration_of(meta: IndexMeta) -> Calibration:
    """Return the calibration stored for an index, or the prior."""
    key = ("calibration", get_index().name, meta.fingerprint, meta.projection)
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
    """Computes the relevance of candidates for a kind of query.

    ``own`` are the categories of the query if they are known, such as those of an item, and ``near`` those under the
    same parents; otherwise the nearest candidates vote. ``labelled`` queries are restricted to the categories of a
    region's label: these are its own, too. Those that a visitor chose are not: shoes are no answer to a blank picture.
    """

    calibration: Calibration
    kind: Kind
    own: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()
    labelled: bool = False

    def relevances(
        self,
        query: Query,
        candidates: Sequence[Candidate],
        scores: Sequence[float],
        voters: Sequence[Candidate] | None = None,
    ) -> list[float]:
        """Return the relevance of each candidate by its score. ``voters``: the candidates themselves by default."""
        if not candidates:
            return []
        votes = self._votes(query, candidates, candidates if voters is None else voters)
        found = self.calibration.relevances(self.kind, scores, votes)
        own = self.own or frozenset(query.filters.categories if self.labelled else ())
        # The relevance of the first does not depend on how far a page looks.
        for part in (range(WINDOW, len(candidates)), range(min(WINDOW, len(candidates)))):
            best: dict[str, float] = {}
            for number in sorted(part, key=scores.__getitem__):
                names = candidates[number].categories
                least = OWN_KIND if own and not own.isdisjoint(names) else 0.0
                # At least as relevant as less similar candidates of the same category.
                for name in names:
                    least = max(least, best.get(name, 0.0))
                found[number] = max(found[number], least)
                for name in names:
                    best[name] = found[number]
        return found

    def _votes(self, query: Query, candidates: Sequence[Candidate], voters: Sequence[Candidate]) -> list[float] | None:
        """Return None without votes: the query is restricted to categories that the visitor chose, or there are
        none."""
        if self.own:
            return [self._known(frozenset(candidate.categories)) for candidate in candidates]
        if query.filters.categories or not any(voter.categories for voter in voters):
            return None
        voters = sorted(voters, key=lambda voter: -voter.score)[:VOTERS]
        deviation = self.calibration.background[self.kind].deviation
        ballot = Ballot([voter.score for voter in voters], [voter.categories for voter in voters], deviation)
        numbers = {voter.key: number for number, voter in enumerate(voters)}
        shares = {names: ballot.share(names) for names in {each.categories for each in candidates}}
        return [
            ballot.share(each.categories, numbers[each.key]) if each.key in numbers else shares[each.categories]
            for each in candidates
        ]

    def _known(self, categories: Collection[str]) -> float:
        if self.own & frozenset(categories):
            return SAME_CATEGORY
        return SAME_PARENT if self.near & frozenset(categories) else OTHER_CATEGORY


class WithRelevance:
    """Compute the relevance of the candidates, and cut those below ``floor``; None cuts nothing."""

    def __init__(self, retriever: Retriever, judge: Judge, floor: float | None, plan: Plan | None = None) -> None:
        self._retriever = retriever
        self._judge = judge
        self._floor = floor or 0.0
        self._plan = plan

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        lookups = self._plan.lookups(queries) if self._plan else []
        found = self._retriever.search([*(window_of(query, self._plan) for query in queries), *lookups])
        windows, pinned = found[: len(queries)], found[len(queries) :] or [Candidates(())] * len(queries)
        return [self._judged(*each) for each in zip(queries, windows, pinned, strict=True)]

    def _judged(self, query: Query, window: Candidates, pinned: Candidates) -> Candidates:
        judged, pins = (self._judge_all(query, each.candidates, window) for each in (window, pinned))
        return cut(query, judged, window, self._floor, self._plan, pins)

    def _judge_all(self, query: Query, candidates: Sequence[Candidate], window: Candidates) -> list[Judged]:
        scores = [candidate.score for candidate in candidates]
        relevances = self._judge.relevances(query, candidates, scores, window.candidates)
        return [Judged(*each) for each in zip(candidates, scores, relevances, strict=True)]


def window_of(query: Query, plan: Plan | None = None) -> Query:
    """Return the query from its first candidate on, so that votes and cuts do not depend on the page."""
    least = max(VOTERS, plan.window) if plan else VOTERS
    return replace(query, offset=0, limit=max(least, query.offset + query.limit + SPARE))


def cut(
    query: Query,
    judged: Sequence[Judged],
    window: Candidates,
    floor: float,
    plan: Plan | None = None,
    pinned: Sequence[Judged] = (),
    mentioned: frozenset[str] = frozenset(),
) -> Candidates:
    """The page of a query among the judged candidates of its window, which ``plan`` may rearrange.

    Without any, the closest are those of the categories that the words mention: juices for "mango juice", where nobody
    knows of mangoes.
    """
    if plan is not None and plan.window:
        kept = plan.apply(judged, pinned, floor, by_group=query.collapse)
    else:
        kept = [each for each in judged if each.relevance >= floor]
    end = query.offset + query.limit
    more = len(kept) > end or (window.more and bool(judged) and judged[-1].relevance >= floor)
    near: Sequence[Judged] = ()
    if not kept and not query.offset:
        of_kind = [each for each in judged if not mentioned.isdisjoint(each.candidate.categories)]
        near = of_kind or [each for each in judged if each.relevance >= CLOSEST_RELEVANCE]
    return replace(
        window,
        candidates=tuple(each.as_candidate() for each in kept[query.offset : end]),
        more=more,
        cut=sum(each.relevance < floor for each in judged[:end]),
        closest=tuple(each.as_candidate() for each in near[: min(CLOSEST, query.limit)]),
    )
