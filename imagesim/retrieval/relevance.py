"""The relevance of candidates: by looks, from their scores and the categories of the nearest, and by words. Both are
independent evidence, of which a match by name needs no other. Those below a floor are cut.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from imagesim.calibration import VOTERS, Ballot, Calibration, Kind
from imagesim.indexes import get_index
from imagesim.indexes.validation import MAX_PAGE_END
from imagesim.models import StoredCalibration
from imagesim.retrieval.feedback import NAMED
from imagesim.retrieval.rerank import NO_CHANGES, Plan
from imagesim.runtime import runtime
from imagesim.types import Candidate, Candidates, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.retrieval.category_names import CategoryNames
    from imagesim.retrieval.retriever import Retriever

CALIBRATION_SECONDS = 60.0
"""How long a process uses the calibration that it last read."""

SPARE = 12
"""Candidates requested beyond a page, to replace those that are cut."""

WIDENINGS = 2
FURTHER = 48
"""How often, and by how many candidates, a page that is not full looks further while any of the last is relevant."""

CLOSEST = 4
"""The number of nearest candidates shown separately if none is relevant."""

CLOSEST_RELEVANCE = 0.2
"""The least relevance of these. Most things whose whole department a shop lacks have nothing as close
(docs/relevance-measured.md); without it, a photo of glasses had camera lenses for its closest."""

TEXT_SLOPE = 12.0
"""The relevance of a match of words is 1 / (1 + exp(-slope * (match - NAMED))): half of the query's words, weighted by
rarity, give a probability of about one half."""

BY_NAME = 0.75
"""The minimum match for an entry to rank by its texts, before all entries that only look similar."""

KIND_MATCH = 0.5
"""The minimum match of an entry of the category that the words name: shoes of any colour answer "yellow shoes"."""

ALL_OF_NAME = 0.96
HALF_OF_NAME = 0.94
"""The minimum match of an entry that is called by the words and nothing else, and by them and as many others."""

UNKNOWN = 0.2
"""The relevance by vectors that is neutral. Vectors decide about entries that match less than :data:`BY_NAME`: for "red
shoes", they keep shoes and drop red apples."""

MIN_LOOKS = 0.1
"""The minimum relevance by vectors that counts beside a match of words: the model is unreliable for many words, so
vectors can halve the odds of a match, but not reject it."""

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
        data = None if row is None else row.data
        if data != kept.data:  # what is kept with an unchanged one stays valid
            kept.data = data
            try:
                kept.calibration = Calibration() if data is None else Calibration.from_json(data)
            except ValueError:
                kept.calibration = Calibration()
        kept.until = monotonic() + CALIBRATION_SECONDS
    return kept.calibration


@dataclass
class _Kept:
    calibration: Calibration = field(default_factory=Calibration)
    data: Any = None
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Judge:
    """Computes the relevance of candidates for a kind of query.

    ``own`` are the categories of the query if they are known, such as those of an item, and ``near`` those under the
    same parents; otherwise the nearest candidates vote. A query with a ``label`` is restricted to the categories of a
    region's label, which is right with this probability by its finder alone; ``beside`` is the position of the same
    query without these categories in the request, whose candidates vote on the label. Categories that
    a visitor chose say nothing: shoes are no answer to a blank picture. With ``names`` the query is a picture, which is
    compared with those of the categories found, unless it is restricted to some.
    """

    calibration: Calibration
    kind: Kind
    own: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()
    label: float | None = None
    names: CategoryNames | None = None
    beside: int | None = None

    def relevances(
        self,
        query: Query,
        candidates: Sequence[Candidate],
        scores: Sequence[float],
        voters: Sequence[Candidate],
    ) -> list[float]:
        """Return the relevance of each candidate by its score, and by the categories of the ``voters``.

        It depends on the first voters alone, so that it is the same however far a page looks.
        """
        if not candidates:
            return []
        voters = sorted(voters, key=lambda voter: -voter.score)[:VOTERS]
        if self.label is not None and query.filters.categories:
            support = self._support(query, candidates, voters)
            found = self.calibration.labelled(self.kind, scores, self.label, support)
        else:
            found = self.calibration.relevances(self.kind, scores, self._votes(query, candidates, voters))
        if self.names and not query.filters.categories:  # which leave the names no rivals
            called = self.names.relevances(query.vector, voters, self.calibration)
            for number, each in enumerate(candidates):
                name = max((called.get(category, 0.0) for category in each.categories), default=0.0)
                found[number] = max(found[number], _both(name, found[number]))
        if self.own:
            for number, each in enumerate(candidates):
                if not self.own.isdisjoint(each.categories):
                    found[number] = max(found[number], OWN_KIND)
        # A voter has no vote for itself: it is at least as relevant as less similar ones of the same category.
        best: dict[str, float] = {}
        known = {voter.key for voter in voters}
        of_voters = (number for number, each in enumerate(candidates) if each.key in known)
        for number in sorted(of_voters, key=scores.__getitem__):
            names = candidates[number].categories
            found[number] = max(found[number], *(best.get(name, 0.0) for name in names), 0.0)
            best |= dict.fromkeys(names, found[number])
        return found

    def judged(
        self,
        query: Query,
        candidates: Sequence[Candidate],
        voters: Sequence[Candidate],
        scores: Sequence[float] | None = None,
    ) -> list[Candidate]:
        """Return the candidates with their scores, by default those that they were found with, and relevances."""
        scores = [candidate.score for candidate in candidates] if scores is None else scores
        relevances = self.relevances(query, candidates, scores, voters)
        return [
            each._replace(score=score, relevance=relevance)
            for each, score, relevance in zip(candidates, scores, relevances, strict=True)
        ]

    def _votes(self, query: Query, candidates: Sequence[Candidate], voters: Sequence[Candidate]) -> list[float] | None:
        """Return None without votes: the query is restricted to categories that the visitor chose, or there are
        none."""
        if self.own:
            return [self._known(frozenset(candidate.categories)) for candidate in candidates]
        if query.filters.categories or not any(voter.categories for voter in voters):
            return None
        deviation = self.calibration.background[self.kind].deviation
        ballot = Ballot([voter.score for voter in voters], [voter.categories for voter in voters], deviation)
        numbers = {voter.key: number for number, voter in enumerate(voters)}
        shares = {names: ballot.share(names) for names in {each.categories for each in candidates}}
        return [
            ballot.share(each.categories, numbers[each.key]) if each.key in numbers else shares[each.categories]
            for each in candidates
        ]

    def _support(self, query: Query, candidates: Sequence[Candidate], voters: Sequence[Candidate]) -> float:
        """Return how much speaks for the label, 0 to 1: the share of the votes that is for its categories, and that of
        their names among those of the nearest candidates, which tell more, but only where the model knows the language.
        """
        label = frozenset(query.filters.categories)
        share = share_of(label, voters, self.calibration.background[self.kind].deviation)
        if self.names is None:
            return share
        named = self.names.share(query.vector, label, candidates, voters, self.calibration)
        return share if named is None else (share + named) / 2

    def _known(self, categories: Collection[str]) -> float:
        if self.own & frozenset(categories):
            return SAME_CATEGORY
        return SAME_PARENT if self.near & frozenset(categories) else OTHER_CATEGORY


def text_relevance(match: float) -> float:
    """Return the relevance of an entry with this match (0..1)."""
    return 1 / (1 + math.exp(-TEXT_SLOPE * (match - NAMED)))


def fused_relevance(match: float, by_words: float, looks: float) -> float:
    """Return the relevance of an entry by its match of words, of the relevance ``by_words``, and by its looks."""
    return either(by_words, looks) if match >= BY_NAME else _both(by_words, looks)


def either(by_words: float, looks: float) -> float:
    """Return the probability that an entry is relevant by either."""
    return 1 - (1 - by_words) * (1 - looks)


def _both(text: float, looks: float) -> float:
    """Combine the probabilities of words and vectors, with :data:`UNKNOWN` as neutral."""
    together = _odds(text) * _odds(max(looks, MIN_LOOKS)) / _odds(UNKNOWN)
    return together / (1 + together)


def _odds(probability: float) -> float:
    return max(probability, 1e-6) / max(1 - probability, 1e-6)


def fused(
    matches: Sequence[Candidate],
    looks: Sequence[Candidate],
    evidence: Mapping[str, float],
    *,
    window: int,
    by_group: bool,
) -> list[Candidate]:
    """Merge both lists: entries that rank by their texts, by match, then the rest by relevance.

    Words and vectors are independent evidence. Entries that rank by their texts are relevant by either; the relevance
    of lower matches combines both. The first ``window`` entries by vectors are merged. They are the same for
    every page, so that pages neither overlap nor skip entries. ``evidence``: the relevance by looks of matches, by key,
    where it is not the one that orders them.
    """
    # By ascending place, with the key that sorts them.
    found: dict[str, tuple[float, float, float, str, Candidate]] = {}
    for each in matches:
        key, match = each.key, each.text
        by_words = text_relevance(match)
        place = -round(match, 2) if match >= BY_NAME else 0.0
        relevance = fused_relevance(match, by_words, evidence.get(key, each.relevance))
        order = (place, -either(by_words, each.relevance), -each.score, key)
        found[each.identity(by_group)] = (*order, each._replace(relevance=relevance))
    for each in looks[:window]:
        name = each.identity(by_group)
        if name not in found:
            found[name] = (0.0, -each.relevance, -each.score, each.key, each)
    rest = (each for each in looks[window:] if each.identity(by_group) not in found)
    return [*(each for *_, each in sorted(found.values())), *rest]


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Which of the judged candidates of a query are shown: those from ``floor`` on, as ``plan`` arranges them.

    ``least`` is how many candidates every page judges, for a retriever whose order is not that of the scores, and
    ``last_stage`` the last one of a retriever with a fallback.
    """

    floor: float = 0.0
    plan: Plan = NO_CHANGES
    least: int = 0
    last_stage: str = ""

    def window_of(self, query: Query, least: int = VOTERS) -> Query:
        """Return the query from its first candidate on, so that votes and cuts do not depend on the page."""
        least = max(least, self.least, self.plan.window)
        return replace(query, offset=0, limit=max(least, query.offset + query.limit + SPARE))

    def goes_on(
        self, query: Query, window: Candidates, looks: Sequence[Candidate], judged: Sequence[Candidate] | None = None
    ) -> bool:
        """Whether to search further: the page is not full, and relevant candidates may follow its window.

        They may while any of the last ones in it is relevant: those of one category lie scattered among others. They
        also may while those of other categories follow, up to the last stage. ``judged`` are all candidates, if those
        of the window (``looks``) are not the only ones.
        """
        relevant = sum(each.relevance >= self.floor for each in (looks if judged is None else judged))
        if not window.more or relevant > query.offset + query.limit:  # with the one that tells whether more follow
            return False
        return any(each.relevance >= self.floor or each.stage != self.last_stage for each in looks[-SPARE:])

    def page(
        self,
        query: Query,
        judged: Sequence[Candidate],
        window: Candidates,
        pinned: Sequence[Candidate],
        mentioned: frozenset[str] = frozenset(),
    ) -> Candidates:
        """Return the page of a query among the judged candidates of its window.

        Without any, the closest are those of the categories that the words mention: juices for "mango juice", where
        nobody knows of mangoes.
        """
        if self.plan.window:
            kept = self.plan.apply(judged, pinned, self.floor, by_group=query.collapse)
        else:
            kept = [each for each in judged if each.relevance >= self.floor]
        end = query.offset + query.limit
        near: Sequence[Candidate] = ()
        if not kept and not query.offset:
            of_kind = [each for each in judged if not mentioned.isdisjoint(each.categories)]
            near = of_kind or [each for each in judged if each.relevance >= CLOSEST_RELEVANCE]
        return replace(
            window,
            candidates=tuple(kept[query.offset : end]),
            more=len(kept) > end,
            cut=sum(each.relevance < self.floor for each in judged[:end]),
            closest=tuple(near[: min(CLOSEST, query.limit)]),
        )


def widened(window: Query) -> Query:
    """Return the query for a longer window."""
    return replace(window, limit=min(window.limit + FURTHER, MAX_PAGE_END))


@dataclass(frozen=True, slots=True)
class WithRelevance:
    """Compute the relevance of the candidates, and cut those that are not relevant enough. Each query has its judge."""

    retriever: Retriever
    judges: Sequence[Judge]
    cutoff: Cutoff = Cutoff()

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        lookups = self.cutoff.plan.lookups(queries)
        asked = [self.cutoff.window_of(query) for query in queries]
        answers = self.retriever.search([*asked, *lookups])
        windows, pinned = answers[: len(queries)], answers[len(queries) :] or [Candidates(())] * len(queries)
        voters = [
            windows[n if judge.beside is None else judge.beside].candidates for n, judge in enumerate(self.judges)
        ]
        judged = [
            judge.judged(query, window.candidates, nearest)
            for judge, query, window, nearest in zip(self.judges, queries, windows, voters, strict=True)
        ]
        aside = {judge.beside for judge in self.judges}  # asked for votes, and for what fills a page
        for _widening in range(WIDENINGS):
            short = [
                n
                for n, query in enumerate(queries)
                if n not in aside and self.cutoff.goes_on(query, windows[n], judged[n])
            ]
            if not short:
                break
            for n in short:
                asked[n] = widened(asked[n])
            for n, window in zip(short, self.retriever.search([asked[n] for n in short]), strict=True):
                windows[n] = replace(window, took_ms=windows[n].took_ms + window.took_ms)
                judged[n] = self.judges[n].judged(queries[n], window.candidates, voters[n])
        return [
            self.cutoff.page(query, found, window, judge.judged(query, pins.candidates, nearest))
            for judge, query, found, window, pins, nearest in zip(
                self.judges, queries, judged, windows, pinned, voters, strict=True
            )
        ]


@dataclass(frozen=True, slots=True)
class WithLabel:
    """Search in the categories of a region's label, on which the nearest of all candidates vote in the same request."""

    retriever: Retriever
    judge: Judge
    cutoff: Cutoff = Cutoff()

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        wide = [
            replace(query, offset=0, limit=VOTERS, filters=replace(query.filters, categories=())) for query in queries
        ]
        judges = [replace(self.judge, beside=len(queries) + number) for number in range(len(queries))]
        judges += [replace(self.judge, label=None, names=None)] * len(wide)  # only their votes are read
        return WithRelevance(self.retriever, judges, self.cutoff).search([*queries, *wide])[: len(queries)]


def share_of(categories: frozenset[str], nearest: Sequence[Candidate], deviation: float) -> float:
    """Return how many of the nearest entries are in one of these categories, 0 to 1, weighted by score.

    ``deviation``: that of the scores of unrelated entries.
    """
    voters = nearest[:VOTERS]
    votes = [[""] if categories.intersection(voter.categories) else [] for voter in voters]
    return Ballot([voter.score for voter in voters], votes, deviation).share([""]) if voters else 0.0
