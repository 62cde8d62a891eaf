"""``WithText``: searches the texts of entries and the vectors, and merges both answers by relevance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import TYPE_CHECKING

from imagesim.calibration import Calibration
from imagesim.retrieval import feedback
from imagesim.retrieval.compounds import by_parts
from imagesim.retrieval.fusion import BY_NAME, fused, fused_relevance, text_relevance
from imagesim.retrieval.match_rules import (
    CALLED,
    is_of_kind,
    lower_lookalikes,
    lower_mentions,
    lower_other_categories,
    lower_other_departments,
    match_heads,
    match_kind,
    name_entries,
)
from imagesim.retrieval.query_requirements import Admission, at_most_closest
from imagesim.retrieval.relevance import CLOSEST, WIDENINGS, Cutoff, Judge, share_of, widened
from imagesim.types import Candidate, Candidates, Query

if TYPE_CHECKING:
    from imagesim.retrieval.category_names import CategoryNames
    from imagesim.retrieval.feedback import MovedVectors
    from imagesim.retrieval.query_text import QueryTexts
    from imagesim.retrieval.retriever import Retriever
    from imagesim.types import Vector

TEXT_WINDOW = 48
"""The maximum number of entries found by their texts. Others are found by vectors alone."""

LOOKS_WINDOW = 40
"""The number of entries found by vectors that are sorted by relevance together with those found by their texts. Further
ones keep the order of their vectors."""

AGREEMENT = 0.7
"""The model is taken to understand the words if the entries that these name are at least this fraction as similar to
the vector of the words as the nearest entries are. Then no feedback is needed."""

MAJORITY = 0.5
"""The share of the nearest entries, weighted by score, that must also be in the categories of the entries that the
words name."""


@dataclass(frozen=True, slots=True)
class WithText:
    """Ranks entries whose texts match first, then those that look similar.

    One request searches the words and their vector. If the model does not understand the words, a second one searches a
    vector moved towards the images of the best entries (:mod:`imagesim.retrieval.feedback`). In this way a query in any
    language of the shop's texts finds similar entries. A vector that is ``remembered`` is used in the first request.
    """

    retriever: Retriever
    texts: QueryTexts
    calibration: Calibration
    cutoff: Cutoff
    vectors_of: Callable[[Sequence[Candidate]], Mapping[str, Vector]]
    remembered: MovedVectors | None = None
    names: CategoryNames | None = None

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Candidates:
        window = self.cutoff.window_of(query, LOOKS_WINDOW)
        texts = self.texts.own.applied_to(replace(query, offset=0, limit=TEXT_WINDOW, min_score=None))
        known = self.remembered.get(window) if self.remembered else None
        near = replace(window, vector=known.vector) if known else window if self._has_looks(window) else None
        by_text, by_vector, pinned = self._ask(texts, window, near)
        admission = Admission(self.texts.own.requires, texts, self.retriever)
        admission.ask([*by_text.candidates, *by_vector.candidates])
        matching = match_kind(lower_mentions(admission.admitted(by_text.candidates), self.texts), self.texts)
        vectors = self.vectors_of([*matching, *pinned.candidates])
        named: Sequence[Candidate] = feedback.entries_for(matching, vectors)
        if known and known.sources == feedback.sources_of(named):
            vector, sources = known.vector, named
        else:
            vector, by_vector, sources = self._moved(window, named, vectors, None if known else by_vector)
        matching = lower_other_categories(match_heads(matching, self.texts), self.texts)
        by_names = vector is not query.vector and name_entries(self.texts, matching, self.calibration.roles)
        judge = Judge(self.calibration, "words" if vector is query.vector else "items")
        voters = by_vector.candidates
        scores = _scores([*matching, *pinned.candidates], vector, vectors)
        pins = judge.judged(query, pinned.candidates, voters, scores[len(matching) :])
        matches = judge.judged(query, matching, voters, scores[: len(matching)])
        if by_names:
            matches = lower_lookalikes(matches, self.texts)
        evidence, trust = self._evidence(query, judge, matches, sources, vectors, voters)
        matches = [each for each in matches if query.min_score is None or each.score >= query.min_score]
        took_ms = by_text.took_ms + by_vector.took_ms
        for widenings_left in reversed(range(WIDENINGS + 1)):
            found = admission.admitted(by_vector.candidates)
            looks = judge.judged(query, found, found)
            if trust < 1.0:
                looks = [each._replace(relevance=trust * each.relevance) for each in looks]
            if by_names:
                looks = lower_lookalikes(looks, self.texts)
            looks = lower_other_departments(looks, self.texts, self.calibration.roles)
            if self.names and vector is query.vector:
                looks = self.names.without_unrelated(vector, looks, self.calibration)
            judged = fused(matches, looks, evidence, window=LOOKS_WINDOW, by_group=query.collapse)
            judged = at_most_closest(judged, self.texts.own.requires)
            if not widenings_left or not self.cutoff.goes_on(query, by_vector, looks, judged):
                break
            window = widened(window)
            (by_vector,) = self.retriever.search([replace(window, vector=vector)])
            took_ms += by_vector.took_ms
        page = self.cutoff.page(query, judged, by_vector, pins, self.texts.mentioned)
        if not (page.candidates or page.closest or query.offset):
            page = replace(page, closest=self._with_known_words(texts, admission, judge, vector, voters))
        return replace(page, took_ms=took_ms)

    def _with_known_words(
        self, texts: Query, admission: Admission, judge: Judge, vector: Vector, voters: Sequence[Candidate]
    ) -> tuple[Candidate, ...]:
        """Return the closest entries if the catalogue lacks some of the words: those called by the other words that
        tell what is sought. For "nike zoom" these are by Nike, and for "Bücherregal" (bookcase) called "Regal"."""
        known = self.texts.own.known_words
        if known is None:
            return ()
        (found,) = self.retriever.search([known.applied_to(texts)])
        kept = admission.admitted(found.candidates, closest=True)
        called = [each for each in kept if each.head >= CALLED][:CLOSEST]
        return tuple(judge.judged(texts, called, voters, _scores(called, vector, self.vectors_of(called))))

    def _moved(
        self,
        window: Query,
        named: Sequence[Candidate],
        vectors: Mapping[str, Vector],
        by_vector: Candidates | None,
    ) -> tuple[Vector, Candidates, Sequence[Candidate]]:
        """Return the vector to search by, the answer to it, and the entries towards which it was moved. It is moved if
        the model does not understand the words.

        ``named``: the entries that the words name best; ``by_vector``: the answer to the words' own vector, None if it
        was not searched. A vector is not moved towards a single entry that only mentions the words: what looks like the
        wine "that goes with beef" is no beef.
        """
        if by_vector is None:
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
            return vector, by_vector, sources
        if self.remembered:
            self.remembered.forget(window)
        return window.vector, by_vector, sources

    def _evidence(
        self,
        query: Query,
        judge: Judge,
        matches: Sequence[Candidate],
        named: Sequence[Candidate],
        vectors: Mapping[str, Vector],
        voters: Sequence[Candidate],
    ) -> tuple[dict[str, float], float]:
        """Return the relevance by looks of matches, by key, where it is not that of their score, and the mean relevance
        of the entries that moved the vector (``named``), which limits that of all that looks like them.

        An entry is near a vector that was moved towards its own image, even a monitor whose description mentions
        coffee. So it is compared with the vector moved by the other entries. That is not needed for entries that are
        called by the words, or are of a kind that the words name.
        """
        certain = [each.text >= BY_NAME or is_of_kind(self.texts, each.categories) for each in named]
        if all(certain):
            return {}, 1.0
        scores = feedback.scores_by_the_others(query.vector, named, vectors)
        if len(named) == 1:
            looks = self.calibration.relevances("words", scores, None)
        else:
            looks = judge.relevances(query, named, scores, voters)
        own = {each.key: look for each, look, sure in zip(named, looks, certain, strict=True) if not sure}
        relevances = [
            fused_relevance(n.text, text_relevance(n.text), own[n.key]) if n.key in own else 1.0 for n in named
        ]
        trust = math.fsum(map(mul, feedback.weights(named), relevances))
        return {each.key: trust * each.relevance for each in matches} | own, trust

    def _understands(self, named: Sequence[Candidate], scores: Sequence[float], by_vector: Candidates) -> bool:
        """Whether the model understands the words: their vector finds the entries that they name.

        These must be about as near to it as the nearest entries, and most of the nearest must be in the same categories
        as these, because the vectors of some words are near to everything.
        """
        background = self.calibration.background["words"]
        best = [each.score - background.mean for each in by_vector.candidates[: len(named)]]
        most = sum(best) / max(1, len(best))
        if most <= 0 or sum(scores) / len(scores) - background.mean < AGREEMENT * most:
            return False
        categories = frozenset(name for each in named for name in each.categories)
        return not categories or share_of(categories, by_vector.candidates, background.deviation) >= MAJORITY

    def _ask(self, texts: Query, window: Query, near: Query | None) -> tuple[Candidates, Candidates, Candidates]:
        """Search in one request; return the entries whose texts match, those nearest to the vector of ``near``, and the
        pinned ones."""
        nothing = Candidates(())
        lookups = self.cutoff.plan.lookups([window])
        compounds, kinds = self.texts.compounds, self.texts.own.ending_categories
        others = [*self.texts.alternatives, *compounds]
        firsts = [replace(compounds[0].applied_to(texts), heads=(0,))] if compounds and kinds else []
        asked = [texts, *(each.applied_to(texts) for each in others), *firsts, *([near] if near else ()), *lookups]
        found = iter(self.retriever.search(asked))
        by_text, *by_others = (next(found) for _text in (texts, *others))
        of_firsts = {each.key: each.head for _text in firsts for each in next(found).candidates}
        by_vector = next(found) if near else nothing
        pinned = next(found) if lookups else nothing
        for number, compound in enumerate(compounds, start=len(others) - len(compounds)):
            whole = compound.categories if compound.is_whole else frozenset[str]()
            by_others[number] = by_parts(by_others[number], kinds, of_firsts, whole)
        if others:
            by_text = _best_matches([by_text, *by_others], by_group=texts.collapse)
        return by_text, by_vector, pinned

    def _has_looks(self, window: Query) -> bool:
        """Whether the vector of the words has a meaning: to a model, article numbers and emoji have none."""
        return bool(window.vector.any()) and any(map(str.isalpha, self.texts.own.text))


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
