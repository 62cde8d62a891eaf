"""Retrievers that add relevance: every candidate gets a relevance, and those below a floor are cut.

``WithRelevance`` computes it from scores; ``WithText`` puts entries whose words match the query first, and uses their
images to search for similar ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING

from imagesim.calibration import VOTERS, Ballot, Calibration, Kind
from imagesim.indexes import get_index
from imagesim.indexes.analysis import query_words
from imagesim.models import StoredCalibration
from imagesim.retrieval.rerank import WINDOW, Judged
from imagesim.runtime import runtime
from imagesim.types import Candidate, Candidates, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.retrieval.rerank import Plan
    from imagesim.retrieval.retriever import Retriever
    from imagesim.types import Vector

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

# The relevance of a match of words: 1 / (1 + exp(-slope * (match - middle))). Half of the query's words, weighted by
# rarity, give a probability of about one half.
TEXT_SLOPE = 12.0
TEXT_MIDDLE = 0.45
NAMED = 0.5
"""The minimum relevance of the best match of words for using its images as feedback."""

BY_NAME = 0.75
"""The minimum match for an entry to rank by its texts, before all entries that only look similar."""

KIND_MATCH = 0.5
"""The minimum match of an entry of the category that the words name: shoes of any colour answer "yellow shoes"."""

UNKNOWN = 0.2
"""The relevance by vectors that is neutral. Vectors decide about entries that match less than :data:`BY_NAME`: for "red
shoes", they keep shoes and drop red apples."""

TEXT_WINDOW = 48
"""The number of entries with matching words that are ranked by words and vectors; others are ranked by vectors
alone."""

LOOKS_WINDOW = 40
"""The number of entries found by vectors that are ordered by relevance together with those whose words match; others
keep their order."""

FEEDBACK = 10
"""The maximum number of entries whose images modify the query vector (pseudo-relevance feedback, Rocchio 1971)."""

FEEDBACK_SHARE = 0.8
"""The share of the best match below which an entry is not used for feedback."""

QUERY_WEIGHT = 1.0
"""The weight of the words' own vector relative to the mean of the images."""

AGREEMENT = 0.7
"""The ratio of the named entries' similarity to the words' vector to that of the nearest entries, above which the model
is taken to understand the words and no feedback is needed."""


MAJORITY = 0.5
"""The share of the nearest entries, weighted by score, that must be in the named entries' categories."""

LEAST_LOOKS = 0.1
"""The minimum relevance by vectors that counts beside a match of words: the model is unreliable for many words, so
vectors can halve the odds of a match, but not reject it."""


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
    same parents; otherwise the nearest candidates vote.
    """

    calibration: Calibration
    kind: Kind
    own: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()

    def relevances(
        self,
        query: Query,
        candidates: Sequence[Candidate],
        scores: Sequence[float],
        voters: Sequence[Candidate] | None = None,
    ) -> list[float]:
        """Return the relevance of each candidate by its score. ``voters``: the candidates themselves by default."""
        votes = self._votes(query, candidates, candidates if voters is None else voters)
        found = self.calibration.relevances(self.kind, scores, votes)
        # A region is searched in the categories of its label, so all candidates are in its categories.
        own = self.own or frozenset(query.filters.categories if self.kind == "region" else ())
        # The relevance of the first does not depend on how far a page looks.
        for part in (range(WINDOW, len(candidates)), range(min(WINDOW, len(candidates)))):
            best: dict[str, float] = {}
            for number in sorted(part, key=scores.__getitem__):
                names = candidates[number].categories
                # At least as relevant as less similar candidates of the same category.
                kind = OWN_KIND if own and not own.isdisjoint(names) else 0.0
                found[number] = max(found[number], kind, *(best.get(name, 0.0) for name in names))
                best |= dict.fromkeys(names, found[number])
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
        return [ballot.share(each.categories, numbers.get(each.key)) for each in candidates]

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
        found = self._retriever.search([*(_window(query, self._plan) for query in queries), *lookups])
        windows, pinned = found[: len(queries)], found[len(queries) :] or [Candidates(())] * len(queries)
        return [self._judged(*each) for each in zip(queries, windows, pinned, strict=True)]

    def _judged(self, query: Query, window: Candidates, pinned: Candidates) -> Candidates:
        judged, pins = (self._judge_all(query, each.candidates, window) for each in (window, pinned))
        return cut(query, judged, window, self._floor, self._plan, pins)

    def _judge_all(self, query: Query, candidates: Sequence[Candidate], window: Candidates) -> list[Judged]:
        scores = [candidate.score for candidate in candidates]
        relevances = self._judge.relevances(query, candidates, scores, window.candidates) if candidates else []
        return [Judged(*each) for each in zip(candidates, scores, relevances, strict=True)]


def _window(query: Query, plan: Plan | None = None) -> Query:
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
) -> Candidates:
    """The page of a query among the judged candidates of its window, which ``plan`` may rearrange."""
    if plan is not None and plan.window:
        kept = plan.apply(judged, pinned, floor, by_group=query.collapse)
    else:
        kept = [each for each in judged if each.relevance >= floor]
    end = query.offset + query.limit
    more = len(kept) > end or (window.more and bool(judged) and judged[-1].relevance >= floor)
    near = [] if kept or query.offset else [each for each in judged if each.relevance >= CLOSEST_RELEVANCE]
    return replace(
        window,
        candidates=tuple(each.as_candidate() for each in kept[query.offset : end]),
        more=more,
        cut=sum(each.relevance < floor for each in judged[:end]),
        closest=tuple(each.as_candidate() for each in near[: min(CLOSEST, query.limit)]),
    )


class WithText:
    """Rank entries with matching texts first, then those that look similar.

    One request searches the words and their vector. If the model does not understand the words, a second request uses a
    vector made mostly of the images of the best entries (pseudo-relevance feedback), so that a query finds similar
    entries in any language of the shop's texts.
    """

    def __init__(
        self,
        retriever: Retriever,
        text: str,
        calibration: Calibration,
        floor: float | None,
        vectors_of: Callable[[Sequence[Candidate]], Mapping[str, Vector]],
        languages: Sequence[str] = (),
        plan: Plan | None = None,
    ) -> None:
        self._retriever = retriever
        self._text = text
        self._calibration = calibration
        self._heads: dict[str, tuple[int, ...]] = {}
        self._named: frozenset[str] = frozenset()
        for each in (text, *(plan.alternatives if plan else ())):
            words = query_words(each, languages)
            self._heads[each], named = calibration.roles.heads([set(word.stems.values()) for word in words])
            self._named |= named
        self._floor = floor or 0.0
        self._vectors_of = vectors_of
        self._plan = plan

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Candidates:
        window = _window(query, self._plan)
        window = replace(window, limit=max(LOOKS_WINDOW, window.limit))
        named = replace(
            query, text=self._text, heads=self._heads[self._text], offset=0, limit=TEXT_WINDOW, min_score=None
        )
        words, seen, pinned = self._ask(named, window)
        called, pins = [self._of_kind(each) for each in words.candidates], pinned.candidates
        vectors = self._vectors_of([*called, *pins])
        scores = _scores(called, query.vector, vectors)
        steering = [each for each in _steering(called) if each.image_digest in vectors]
        known = {each.key: score for each, score in zip(called, scores, strict=True)}
        kind: Kind = "words"
        if steering and not self._understands(steering, [known[each.key] for each in steering], seen):
            kind, vector = "items", _steered(query.vector, steering, vectors)
            (seen,) = self._retriever.search([replace(window, vector=vector)])
            scores = _scores(called, vector, vectors)
        else:
            vector = query.vector
        judge = Judge(self._calibration, kind)
        nearest = [candidate.score for candidate in seen.candidates]
        looks = zip(seen.candidates, nearest, judge.relevances(query, seen.candidates, nearest), strict=True)
        named_ones = zip(called, scores, judge.relevances(query, called, scores, seen.candidates), strict=True)
        near = _scores(pins, vector, vectors)
        judged_pins = zip(pins, near, judge.relevances(query, pins, near, seen.candidates), strict=True)
        judged = _fused(
            [Judged(*each) for each in named_ones if query.min_score is None or each[1] >= query.min_score],
            [Judged(*each) for each in looks],
            by_group=query.collapse,
        )
        page = cut(query, judged, seen, self._floor, self._plan, [Judged(*each) for each in judged_pins])
        return replace(page, took_ms=words.took_ms + seen.took_ms)

    def _of_kind(self, candidate: Candidate) -> Candidate:
        """Return the candidate, with a match of at least :data:`KIND_MATCH` if it is in a category that the words
        name."""
        if self._named.isdisjoint(candidate.categories):
            return candidate
        return replace(candidate, text=max(candidate.text, KIND_MATCH))

    def _understands(self, steering: Sequence[Candidate], scores: Sequence[float], seen: Candidates) -> bool:
        """Whether the words' vector finds the entries that the words name.

        The named entries must be about as near to it as the nearest entries, and in the categories of most of the
        nearest: some words are near to everything.
        """
        background = self._calibration.background["words"]
        best = [each.score - background.mean for each in seen.candidates[: len(steering)]]
        most = sum(best) / max(1, len(best))
        if most <= 0 or sum(scores) / len(scores) - background.mean < AGREEMENT * most:
            return False
        voters = seen.candidates[:VOTERS]
        named = {name for each in steering for name in each.categories}
        votes = [[""] if named.intersection(voter.categories) else [] for voter in voters]
        share = Ballot([voter.score for voter in voters], votes, background.deviation).share([""])
        return not named or share >= MAJORITY

    def _ask(self, words: Query, window: Query) -> tuple[Candidates, Candidates, Candidates]:
        """The entries by words, by looks, and those that are pinned."""
        # Article numbers and emoji have no meaning for an image model.
        looks = [window] if window.vector.any() and any(map(str.isalpha, self._text)) else []
        lookups = self._plan.lookups([window]) if self._plan else []
        alternatives = self._plan.alternatives if self._plan else ()
        others = [replace(words, text=each, heads=self._heads[each]) for each in alternatives]
        called, *found = self._retriever.search([words, *others, *looks, *lookups])
        if others:
            called = _best_called([called, *found[: len(others)]])
        nothing = Candidates(())
        return called, found[len(others)] if looks else nothing, found[-1] if lookups else nothing


def _best_called(answers: Sequence[Candidates]) -> Candidates:
    """The entries that any of several texts names, each by the text that names it best."""
    best: dict[str, Candidate] = {}
    for each in (candidate for answer in answers for candidate in answer.candidates):
        if each.key not in best or each.text > best[each.key].text:
            best[each.key] = each
    ordered = sorted(best.values(), key=lambda each: (-each.text, each.key))
    return replace(answers[0], candidates=tuple(ordered[:TEXT_WINDOW]))


def text_relevance(match: float) -> float:
    """Return the relevance of an entry with this match (0..1)."""
    return 1 / (1 + math.exp(-TEXT_SLOPE * (match - TEXT_MIDDLE)))


def _steering(called: Sequence[Candidate]) -> list[Candidate]:
    best = max((each.text for each in called), default=0.0)
    if text_relevance(best) < NAMED:
        return []
    least = max(FEEDBACK_SHARE * best, TEXT_MIDDLE)
    return [candidate for candidate in called if candidate.text >= least][:FEEDBACK]


def _steered(vector: Vector, steering: Sequence[Candidate], vectors: Mapping[str, Vector]) -> Vector:
    """Return the vector of the words, moved towards the images of the entries that they name."""
    import numpy as np

    middle = np.sum([each.text * vectors[each.image_digest] for each in steering], axis=0)
    total = QUERY_WEIGHT * vector + middle / max(float(np.linalg.norm(middle)), 1e-6)
    length = float(np.linalg.norm(total))
    best = vectors[steering[0].image_digest]
    steered: Vector = np.asarray(total / length if length > 1e-6 else best, dtype=np.float32)
    return steered


def _scores(candidates: Sequence[Candidate], vector: Vector, vectors: Mapping[str, Vector]) -> list[float]:
    """Return the cosine of each candidate's image; 0 if its vector is not known."""
    import numpy as np

    if not vectors:
        return [0.0] * len(candidates)
    known = dict(zip(vectors, np.clip(np.stack(list(vectors.values())) @ vector, -1.0, 1.0).tolist(), strict=True))
    return [known.get(candidate.image_digest, 0.0) for candidate in candidates]


def _fused(called: Sequence[Judged], looks: Sequence[Judged], *, by_group: bool) -> list[Judged]:
    """Merge both lists: entries that rank by their texts, by match, then the rest by relevance.

    Words and vectors are independent evidence. Entries that rank by their texts are relevant by either; the relevance
    of lower matches combines both. The first :data:`LOOKS_WINDOW` entries by vectors are merged. They are the same for
    every page, so that pages neither overlap nor skip entries.
    """

    def identity(each: Judged) -> str:
        return each.candidate.group if by_group else each.candidate.key

    found: dict[str, tuple[float, float, Judged]] = {}
    for each in called:
        match = each.candidate.text
        text, by_name = text_relevance(match), match >= BY_NAME
        either = 1 - (1 - text) * (1 - each.relevance)
        judged = each._replace(relevance=either if by_name else _both(text, each.relevance))
        found[identity(each)] = (round(match, 2) if by_name else 0.0, either, judged)
    for each in looks[:LOOKS_WINDOW]:
        found.setdefault(identity(each), (0.0, each.relevance, each))
    first = sorted(found.values(), key=lambda each: (-each[0], -each[1], -each[2].score, each[2].candidate.key))
    return [*(each for *_, each in first), *(each for each in looks[LOOKS_WINDOW:] if identity(each) not in found)]


def _both(text: float, looks: float) -> float:
    """Combine the probabilities of words and vectors, with :data:`UNKNOWN` as neutral."""
    odds = [max(each, 1e-6) / max(1 - each, 1e-6) for each in (text, max(looks, LEAST_LOOKS), UNKNOWN)]
    together = odds[0] * odds[1] / odds[2]
    return together / (1 + together)
