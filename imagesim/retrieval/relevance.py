"""The relevance of candidates, the probability that they belong to the answer, and which of them are shown.

Relevance by looks comes from the score of a candidate and the categories of the nearest candidates, relevance by words
from the match of its texts. The two are combined as independent evidence. Candidates below a floor are cut.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from imagesim.calibration import VOTERS, Ballot, Calibration, Kind
from imagesim.indexes import get_index
from imagesim.indexes.validation import MAX_PAGE_END
from imagesim.models import StoredCalibration
from imagesim.retrieval.fusion import combined
from imagesim.retrieval.rerank import NO_CHANGES, Plan
from imagesim.runtime import runtime
from imagesim.types import Candidate, Candidates, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.retrieval.category_names import CategoryNames
    from imagesim.retrieval.retriever import Retriever

CALIBRATION_SECONDS = 60.0
"""How long a process uses a calibration before it reads it again."""

SPARE = 12
"""The number of candidates requested in addition to a page, in place of those that are cut."""

WIDENINGS = 2
FURTHER = 48
"""How often a page that is not full requests more candidates, and how many, while any of the last ones is relevant."""

CLOSEST = 4
"""The number of nearest candidates shown separately if none is relevant."""

CLOSEST_RELEVANCE = 0.2
"""The minimum relevance of these. Without it, camera lenses were shown as the closest to a photo of glasses. In most
shops, nothing is as close to a thing whose whole department they lack (docs/relevance-measured.md)."""

# The vote of a candidate if the category of the query is known.
SAME_CATEGORY = 1.0
SAME_PARENT = 0.4
OTHER_CATEGORY = 0.2
OWN_KIND = 0.6
"""The minimum relevance of an entry that shares a category with the item to which others are similar."""


def calibration_of(meta: IndexMeta) -> Calibration:
    """Return the calibration stored for an index, or the prior."""
    key = ("calibration", get_index().name, meta.fingerprint, meta.projection)
    kept = runtime.get(key, _CachedCalibration)
    if monotonic() >= kept.until:
        row = StoredCalibration.objects.filter(fingerprint=meta.fingerprint, projection=meta.projection).first()
        data = None if row is None else row.data
        if data != kept.data:  # an unchanged object keeps what is cached by its identity
            kept.data = data
            try:
                kept.calibration = Calibration() if data is None else Calibration.from_json(data)
            except ValueError:
                kept.calibration = Calibration()
        kept.until = monotonic() + CALIBRATION_SECONDS
    return kept.calibration


@dataclass
class _CachedCalibration:
    """A calibration, the ``data`` that it was read from, and until when a process uses it without reading again."""

    calibration: Calibration = field(default_factory=Calibration)
    data: Any = None
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Judge:
    """Computes the relevance of candidates for one kind of query.

    - ``own``: the categories of the query if they are known, such as those of an item; ``near``: categories with the
      same parents. Without ``own``, the nearest candidates vote on the category.
    - ``label``: the probability, by the region finder, of the label to whose categories the query is restricted;
      ``beside``: the position in the request of the same query without this restriction, whose candidates vote on the
      label. Other categories in the filters were chosen by the visitor, and are not evidence: shoes are not an answer
      to a blank picture.
    - ``names``: if the query is a picture, the names of the categories, with which it is compared.
    - ``unfiltered``: the position in the request of the same query without the choices of the visitor. A candidate is
      as relevant as there: that others are filtered out, which would have voted, says nothing about it.
    """

    calibration: Calibration
    kind: Kind
    own: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()
    label: float | None = None
    names: CategoryNames | None = None
    beside: int | None = None
    unfiltered: int | None = None

    def relevances(
        self,
        query: Query,
        candidates: Sequence[Candidate],
        scores: Sequence[float],
        voters: Sequence[Candidate],
    ) -> list[float]:
        """Return the relevance of each candidate, from its score and the categories of the ``voters``.

        Only the best voters count, so that the relevance is the same on every page.
        """
        if not candidates:
            return []
        voters = sorted(voters, key=lambda voter: -voter.score)[:VOTERS]
        if self.label is not None and query.filters.categories:
            support = self._support(query, candidates, voters)
            found = self.calibration.labelled(self.kind, scores, self.label, support)
        else:
            found = self.calibration.relevances(self.kind, scores, self._votes(query, candidates, voters))
        # With a filter by category, no other categories are left to compare.
        if self.names and not query.filters.categories:
            called = self.names.relevances(query.vector, voters, self.calibration)
            for number, each in enumerate(candidates):
                name = max((called.get(category, 0.0) for category in each.categories), default=0.0)
                found[number] = max(found[number], combined(name, found[number]))
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
        """Return the candidates with their relevance and ``scores``, by default those with which they were found."""
        scores = [candidate.score for candidate in candidates] if scores is None else scores
        relevances = self.relevances(query, candidates, scores, voters)
        return [
            each._replace(score=score, relevance=relevance)
            for each, score, relevance in zip(candidates, scores, relevances, strict=True)
        ]

    def _votes(self, query: Query, candidates: Sequence[Candidate], voters: Sequence[Candidate]) -> list[float] | None:
        """Return the share of the votes for each candidate's categories; None if there are no votes, because the
        visitor chose the categories, or no voter has any."""
        if self.own:
            return [self._vote_of_known(candidate.categories) for candidate in candidates]
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
        """Return the evidence for the label, 0 to 1: the share of the votes for its categories, averaged with the
        probability by their names, if the model embeds texts. Names tell more, but only in a language that the model
        knows.
        """
        label = frozenset(query.filters.categories)
        share = share_of(label, voters, self.calibration.background[self.kind].deviation)
        if self.names is None:
            return share
        named = self.names.share(query.vector, label, candidates, voters, self.calibration)
        return share if named is None else (share + named) / 2

    def _vote_of_known(self, categories: Collection[str]) -> float:
        """Return the vote for an entry in these categories if those of the query are known."""
        if not self.own.isdisjoint(categories):
            return SAME_CATEGORY
        return OTHER_CATEGORY if self.near.isdisjoint(categories) else SAME_PARENT


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Decides which of the judged candidates are shown: those with at least the relevance ``floor``, as ``plan``
    arranges them.

    ``least``: the number of candidates that every page judges, for a retriever that does not sort by score;
    ``last_stage``: the last stage of a retriever with a fallback.
    """

    floor: float = 0.0
    plan: Plan = NO_CHANGES
    least: int = 0
    last_stage: str = ""

    def window_of(self, query: Query, least: int = VOTERS) -> Query:
        """Return the query for all candidates from the first one on, so that votes and cuts do not depend on the page:
        at least ``least``, and at most as many as an index returns."""
        least = max(least, self.least, self.plan.window, query.offset + query.limit + SPARE)
        return replace(query, offset=0, limit=min(least, MAX_PAGE_END))

    def needs_more(
        self, query: Query, window: Candidates, looks: Sequence[Candidate], judged: Sequence[Candidate] | None = None
    ) -> bool:
        """Return whether to request more candidates: the page is not full, and relevant ones may follow its window.

        They may if any of the last ones is relevant, because those of one category lie scattered among others, or if
        another stage of the fallback follows. ``looks``: the candidates of the ``window``; ``judged``: the same with
        those found otherwise, if there are any.
        """
        relevant = sum(each.relevance >= self.floor for each in (looks if judged is None else judged))
        if not window.more or relevant > query.offset + query.limit:  # one more shows that more follow
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
        """Return the page of a query from the judged candidates of its window.

        If the first page is empty, it has the closest candidates: those in the categories that the words mention, such
        as other juices for "mango juice", or if there are none, all with at least :data:`CLOSEST_RELEVANCE`.
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
            relevant=tuple(kept),
        )


def widened(window: Query) -> Query:
    """Return the query with a longer window."""
    return replace(window, limit=min(window.limit + FURTHER, MAX_PAGE_END))


@dataclass(frozen=True, slots=True)
class WithRelevance:
    """Computes the relevance of candidates, and cuts those that are not relevant enough. ``judges``: one for each query
    of a request, in the same order."""

    retriever: Retriever
    judges: Sequence[Judge]
    cutoff: Cutoff = Cutoff()

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        lookups = self.cutoff.plan.lookups(queries)
        asked = [self.cutoff.window_of(query) for query in queries]
        answers = self.retriever.search([*asked, *lookups])
        windows, pinned = answers[: len(queries)], answers[len(queries) :] or [Candidates(())] * len(queries)
        # The queries whose filters and nearest candidates decide on relevance.
        bases = [n if judge.unfiltered is None else judge.unfiltered for n, judge in enumerate(self.judges)]
        beside = [self.judges[n].beside for n in bases]
        voters = [windows[n if other is None else other].candidates for n, other in zip(bases, beside, strict=True)]
        judged = [
            judge.judged(queries[n], window.candidates, nearest)
            for judge, n, window, nearest in zip(self.judges, bases, windows, voters, strict=True)
        ]
        # Queries whose candidates only vote, or fill the pages of others.
        aside = {judge.beside for judge in self.judges}
        for _widening in range(WIDENINGS):
            short = [
                n
                for n, query in enumerate(queries)
                if n not in aside and self.cutoff.needs_more(query, windows[n], judged[n])
            ]
            if not short:
                break
            for n in short:
                asked[n] = widened(asked[n])
            for n, windows[n] in zip(short, self.retriever.search([asked[n] for n in short]), strict=True):
                judged[n] = self.judges[n].judged(queries[bases[n]], windows[n].candidates, voters[n])
        for n, judge in enumerate(self.judges):
            if judge.unfiltered is not None:
                judged[n] = _judged_as(judged[judge.unfiltered], judged[n])
        return [
            self.cutoff.page(query, found, window, judge.judged(query, pins.candidates, nearest))
            for judge, query, found, window, pins, nearest in zip(
                self.judges, queries, judged, windows, pinned, voters, strict=True
            )
        ]


def _judged_as(others: Sequence[Candidate], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with the relevance that they have among the others, if they are there."""
    known = {each.key: each.relevance for each in others}
    return [each._replace(relevance=known.get(each.key, each.relevance)) for each in candidates]


@dataclass(frozen=True, slots=True)
class WithLabel:
    """Searches the categories of a region's label; the nearest candidates of all categories vote on it, in the same
    request."""

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
    """Return the share of the nearest entries, weighted by score, that are in one of these categories, 0 to 1.

    ``deviation``: the standard deviation of the scores of unrelated entries.
    """
    voters = nearest[:VOTERS]
    votes = [[""] if categories.intersection(voter.categories) else [] for voter in voters]
    return Ballot([voter.score for voter in voters], votes, deviation).share([""]) if voters else 0.0
