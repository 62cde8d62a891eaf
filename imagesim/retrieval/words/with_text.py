"""``WithText``: searches the texts of entries and the vectors, and merges both answers by relevance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import TYPE_CHECKING, NamedTuple

from imagesim.calibration import Calibration
from imagesim.retrieval import feedback
from imagesim.retrieval.fusion import BY_NAME, fused, fused_relevance, text_relevance
from imagesim.retrieval.relevance import CLOSEST, WIDENINGS, Cutoff, Judge, share_of, widened
from imagesim.retrieval.words.compounds import lower_parts
from imagesim.retrieval.words.match_rules import (
    CALLED,
    is_of_kind,
    lower_lookalikes,
    lower_mentions,
    lower_other_categories,
    lower_other_departments,
    names_entries,
    prefer_kinds,
    raise_heads,
)
from imagesim.retrieval.words.query_text import QueryText, QueryTexts
from imagesim.retrieval.words.requirements import Admission, capped_if_unmet
from imagesim.types import Candidate, Candidates, Query

if TYPE_CHECKING:
    from imagesim.retrieval.category_names import CategoryNames
    from imagesim.retrieval.feedback import Moved, MovedVectors
    from imagesim.retrieval.retriever import Retriever
    from imagesim.types import Vector

TEXT_WINDOW = 48
"""The maximum number of entries found by their texts. Others are found by vectors alone."""

LOOKS_WINDOW = 40
"""The number of entries found by vectors that are sorted by relevance together with those found by their texts. Further
ones keep the order of their vectors."""

AGREEMENT = 0.7
"""The model is taken to understand the words if the entries that they name are, on average, at least this fraction as
similar to the vector of the words as the nearest entries are. Then no feedback is needed."""

MAJORITY = 0.5
"""The share of the nearest entries, weighted by score, that must also be in the categories of the entries that the
words name."""


class _Nearest(NamedTuple):
    """The entries nearest to the vector of a query.

    ``vector``: that of the words or, if ``is_moved``, moved towards the images of the ``sources``. Without a moved
    vector, ``sources`` are the entries that the words name if the model does not understand the words.
    """

    vector: Vector
    is_moved: bool
    found: Candidates
    sources: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The judged ``matches`` of one query, and what is needed to rank the entries found by its vector alongside them.

    ``evidence`` and ``trust``: see ``WithText._evidence``; ``entries_are_named``: see
    :func:`~imagesim.retrieval.words.match_rules.names_entries`.
    """

    query: Query
    texts: QueryTexts
    calibration: Calibration
    category_names: CategoryNames | None
    judge: Judge
    nearest: _Nearest
    matches: Sequence[Candidate]
    evidence: Mapping[str, float]
    trust: float
    entries_are_named: bool

    def looks(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Return entries found by the vector with their relevance by looks."""
        looks = self.judge.judged(self.query, found, found)
        if self.trust < 1.0:
            looks = [each._replace(relevance=self.trust * each.relevance) for each in looks]
        if self.entries_are_named:
            looks = lower_lookalikes(looks, self.texts)
        looks = lower_other_departments(looks, self.texts, self.calibration.roles)
        if self.category_names and not self.nearest.is_moved:
            looks = self.category_names.without_unrelated(self.nearest.vector, looks, self.calibration)
        return looks

    def merged(self, looks: Sequence[Candidate]) -> list[Candidate]:
        """Return the matches and the entries found by the vector in one order."""
        query = self.query
        matches = [each for each in self.matches if query.min_score is None or each.score >= query.min_score]
        merged = fused(matches, looks, self.evidence, window=LOOKS_WINDOW, by_group=query.collapse)
        return capped_if_unmet(merged, self.texts.own.requires)


@dataclass(frozen=True, slots=True)
class WithText:
    """Ranks entries whose texts match first, then those that look similar.

    One request searches the words and their vector. If the model does not understand the words, a second one searches a
    vector moved towards the images of the best matches (:mod:`imagesim.retrieval.feedback`). So a query in any language
    of the shop's texts finds similar entries.

    ``vectors_of`` returns vectors by the digest of the image that matched; ``remembered``: the moved vectors of earlier
    queries, which are used in the first request; ``category_names``: those with which the words are compared.
    """

    retriever: Retriever
    texts: QueryTexts
    calibration: Calibration
    cutoff: Cutoff
    vectors_of: Callable[[Sequence[Candidate]], Mapping[str, Vector]]
    remembered: MovedVectors | None = None
    category_names: CategoryNames | None = None

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Candidates:
        window = self.cutoff.window_of(query, LOOKS_WINDOW)
        texts = self.texts.own.applied_to(replace(query, offset=0, limit=TEXT_WINDOW, min_score=None))
        moved = self.remembered.get(window) if self.remembered else None
        near = replace(window, vector=moved.vector) if moved else window if self._has_looks(window) else None
        by_text, by_vector, pinned = self._ask(texts, window, near)
        admission = Admission(self.texts.own.requires, texts, self.retriever)
        admission.ask([*by_text.candidates, *by_vector.candidates])
        matching = prefer_kinds(lower_mentions(admission.admitted(by_text.candidates), self.texts), self.texts)
        vectors = self.vectors_of([*matching, *pinned.candidates])
        nearest = self._nearest(window, matching, vectors, moved, by_vector)
        matching = lower_other_categories(raise_heads(matching, self.texts), self.texts)
        ranking, pins = self._ranking(query, matching, pinned.candidates, nearest, vectors)
        merged, last = self._filled(query, window, ranking, admission)
        page = self.cutoff.page(query, merged, last, pins, self.texts.mentioned)
        if not (page.candidates or page.closest or query.offset):
            page = replace(page, closest=self._with_known_words(texts, admission, ranking))
        return page

    def _ranking(
        self,
        query: Query,
        matching: Sequence[Candidate],
        pinned: Sequence[Candidate],
        nearest: _Nearest,
        vectors: Mapping[str, Vector],
    ) -> tuple[_Ranking, list[Candidate]]:
        """Judge the matches, and the pinned entries, which are returned as the second value."""
        judge = Judge(self.calibration, "items" if nearest.is_moved else "words")
        voters = nearest.found.candidates
        scores = _scores([*matching, *pinned], nearest.vector, vectors)
        pins = judge.judged(query, pinned, voters, scores[len(matching) :])
        matches = judge.judged(query, matching, voters, scores[: len(matching)])
        are_named = nearest.is_moved and names_entries(self.texts, matching, self.calibration.roles)
        if are_named:
            matches = lower_lookalikes(matches, self.texts)
        evidence, trust = self._evidence(query, judge, matches, nearest, vectors)
        ranking = _Ranking(
            query=query,
            texts=self.texts,
            calibration=self.calibration,
            category_names=self.category_names,
            judge=judge,
            nearest=nearest,
            matches=matches,
            evidence=evidence,
            trust=trust,
            entries_are_named=are_named,
        )
        return ranking, pins

    def _filled(
        self, query: Query, window: Query, ranking: _Ranking, admission: Admission
    ) -> tuple[list[Candidate], Candidates]:
        """Return the merged entries, and the last answer to the vector. If the page lacks entries, the window is
        widened."""
        nearest = ranking.nearest.found
        for widenings_left in reversed(range(WIDENINGS + 1)):
            looks = ranking.looks(admission.admitted(nearest.candidates))
            merged = ranking.merged(looks)
            if not widenings_left or not self.cutoff.needs_more(query, nearest, looks, merged):
                break
            window = widened(window)
            (nearest,) = self.retriever.search([replace(window, vector=ranking.nearest.vector)])
        return merged, nearest

    def _with_known_words(self, texts: Query, admission: Admission, ranking: _Ranking) -> tuple[Candidate, ...]:
        """Return the closest entries if the catalogue lacks some of the words: those named by the other words that tell
        what is sought. For "nike zoom", these are by Nike; for "Bücherregal" (bookcase), they are called "Regal"."""
        if self.texts.own.read_known is None:
            return ()
        (found,) = self.retriever.search([self.texts.own.read_known().applied_to(texts)])
        admitted = admission.admitted(found.candidates, closest=True)
        called = [each for each in admitted if each.head >= CALLED][:CLOSEST]
        scores = _scores(called, ranking.nearest.vector, self.vectors_of(called))
        return tuple(ranking.judge.judged(texts, called, ranking.nearest.found.candidates, scores))

    def _nearest(
        self,
        window: Query,
        matching: Sequence[Candidate],
        vectors: Mapping[str, Vector],
        moved: Moved | None,
        by_vector: Candidates,
    ) -> _Nearest:
        """Return the entries nearest to the vector of the words, which is moved if the model does not understand them.

        ``by_vector``: the answer to the vector of the words or, if it is remembered, to the ``moved`` one. A vector is
        not moved towards a single entry that only mentions the words: what looks like the wine "that goes with beef" is
        not beef.
        """
        named = feedback.entries_for(matching, vectors)
        if moved and moved.sources == feedback.sources_of(named):
            return _Nearest(moved.vector, True, by_vector, named)
        if moved:  # the entries that match have changed since
            (by_vector,) = self.retriever.search([window]) if self._has_looks(window) else [Candidates(())]
        sources: Sequence[Candidate] = []
        if named and not self._understands(named, _scores(named, window.vector, vectors), by_vector):
            sources = named
        if len(sources) > 1 or any(
            max(each.text, each.head) >= BY_NAME or is_of_kind(self.texts, each.categories) for each in sources
        ):
            vector = feedback.moved(window.vector, sources, vectors)
            (by_vector,) = self.retriever.search([replace(window, vector=vector)])
            if self.remembered:
                self.remembered.set(window, vector, feedback.sources_of(sources))
            return _Nearest(vector, True, by_vector, sources)
        if self.remembered:
            self.remembered.forget(window)
        return _Nearest(window.vector, False, by_vector, sources)

    def _evidence(
        self,
        query: Query,
        judge: Judge,
        matches: Sequence[Candidate],
        nearest: _Nearest,
        vectors: Mapping[str, Vector],
    ) -> tuple[dict[str, float], float]:
        """Return the relevance by looks of matches, by key, where it is not that of their score, and the mean relevance
        of the ``nearest.sources``, which limits the relevance of all that looks like them.

        An entry is near a vector that was moved towards its own image, even a monitor whose description mentions
        coffee. So it is compared with the vector moved towards the other entries. That is not needed for entries that
        are named by the words, or are of a kind that the words name.
        """
        sources = nearest.sources
        certain = [each.text >= BY_NAME or is_of_kind(self.texts, each.categories) for each in sources]
        if all(certain):
            return {}, 1.0
        scores = feedback.scores_by_the_others(query.vector, sources, vectors)
        if len(sources) == 1:
            looks = self.calibration.relevances("words", scores, None)
        else:
            looks = judge.relevances(query, sources, scores, nearest.found.candidates)
        own = {each.key: look for each, look, sure in zip(sources, looks, certain, strict=True) if not sure}
        relevances = [
            fused_relevance(each.text, text_relevance(each.text), own[each.key]) if each.key in own else 1.0
            for each in sources
        ]
        trust = math.fsum(map(mul, feedback.weights(sources), relevances))
        return {each.key: trust * each.relevance for each in matches} | own, trust

    def _understands(self, named: Sequence[Candidate], scores: Sequence[float], by_vector: Candidates) -> bool:
        """Return whether the model understands the words: their vector finds the ``named`` entries.

        These must be about as near to it as the nearest entries, and most of the nearest must be in the same categories
        as these, because the vectors of some words are near to everything. ``scores``: those of the named entries.
        """
        background = self.calibration.background["words"]
        best = [each.score - background.mean for each in by_vector.candidates[: len(named)]]
        most = sum(best) / max(1, len(best))
        if most <= 0 or sum(scores) / len(scores) - background.mean < AGREEMENT * most:
            return False
        categories = frozenset(name for each in named for name in each.categories)
        return not categories or share_of(categories, by_vector.candidates, background.deviation) >= MAJORITY

    def _ask(self, texts: Query, window: Query, near: Query | None) -> tuple[Candidates, Candidates, Candidates]:
        """Search the texts, the vector of ``near`` if it is not None, and the pinned entries in one request.

        Return the entries whose texts match, those nearest to the vector, and the pinned ones.
        """
        nothing = Candidates(())
        lookups = self.cutoff.plan.lookups([window])
        compounds, kinds = self.texts.compounds, self.texts.own.ending_categories
        # For "skillet", other frying pans follow what is called a skillet.
        limits = [1.0] * len(self.texts.alternatives) + [BY_NAME] * len(self.texts.kind_synonyms)
        others = [*self.texts.alternatives, *self.texts.kind_synonyms, *compounds]
        firsts = [replace(compounds[0].applied_to(texts), heads=(0,))] if compounds and kinds else []
        asked = [texts, *(each.applied_to(texts) for each in others), *firsts, *([near] if near else ()), *lookups]
        found = iter(self.retriever.search(asked))
        by_text, *by_others = (next(found) for _text in (texts, *others))
        of_firsts = {each.key: each.head for _text in firsts for each in next(found).candidates}
        by_vector = next(found) if near else nothing
        pinned = next(found) if lookups else nothing
        for number, compound in enumerate(compounds, start=len(others) - len(compounds)):
            whole = compound.categories if compound.is_whole else frozenset[str]()
            by_others[number] = lower_parts(by_others[number], kinds, of_firsts, whole)
        for number, most in enumerate(limits):
            by_others[number] = _matches_of(others[number], by_others[number], most)
        if others:
            by_text = _best_matches([by_text, *by_others], by_group=texts.collapse)
        return by_text, by_vector, pinned

    def _has_looks(self, window: Query) -> bool:
        """Return whether the vector of the words has a meaning: to a model, article numbers and emoji have none."""
        return bool(window.vector.any()) and any(map(str.isalpha, self.texts.own.text))


def _matches_of(text: QueryText, found: Candidates, most: float) -> Candidates:
    """Return what was found by a text other than that of the query, with matches of at most ``most``.

    If the text is the name of a category, other things hardly match: a ring with a "cushion cut" diamond is no cushion.
    """
    candidates = prefer_kinds(found.candidates, QueryTexts(text)) if text.is_whole else found.candidates
    return replace(found, candidates=tuple(each._replace(text=min(each.text, most)) for each in candidates))


def _best_matches(answers: Sequence[Candidates], *, by_group: bool) -> Candidates:
    """Merge the answers to several texts: each entry with its best match, and one entry of each group of variants if
    they are collapsed."""
    best: dict[str, Candidate] = {}
    for each in (candidate for answer in answers for candidate in answer.candidates):
        name = each.identity(by_group)
        if name not in best or each.text > best[name].text:
            best[name] = each
    ordered = sorted(best.values(), key=lambda each: (-each.text, each.key))
    return replace(answers[0], candidates=tuple(ordered[:TEXT_WINDOW]))


def _scores(candidates: Sequence[Candidate], vector: Vector, vectors: Mapping[str, Vector]) -> list[float]:
    """Return the cosine of each candidate's image and the vector; 0 if that of the image is not known."""
    import numpy as np

    images = {each.image_digest: vectors[each.image_digest] for each in candidates if each.image_digest in vectors}
    scores = np.clip(np.array([*images.values()]) @ vector, -1.0, 1.0).tolist() if images else []
    known = dict(zip(images, scores, strict=True))
    return [known.get(each.image_digest, 0.0) for each in candidates]
