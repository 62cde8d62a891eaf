"""``WithText``: answers words by the texts of entries and by vectors, fused by relevance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import TYPE_CHECKING

from imagesim.calibration import Calibration
from imagesim.retrieval import feedback
from imagesim.retrieval.behind_names import (
    name_entries,
    without_lookalikes,
    without_other_categories,
    without_other_departments,
)
from imagesim.retrieval.compounds import by_parts
from imagesim.retrieval.query_requirements import Admission, at_most_closest
from imagesim.retrieval.relevance import (
    ALL_OF_NAME,
    BY_NAME,
    CLOSEST,
    HALF_OF_NAME,
    KIND_MATCH,
    WIDENINGS,
    Cutoff,
    Judge,
    fused,
    fused_relevance,
    share_of,
    text_relevance,
    widened,
)
from imagesim.types import Candidate, Candidates, Query

if TYPE_CHECKING:
    from imagesim.retrieval.category_names import CategoryNames
    from imagesim.retrieval.feedback import MovedVectors
    from imagesim.retrieval.query_text import QueryTexts
    from imagesim.retrieval.retriever import Retriever
    from imagesim.types import Vector

CALLED = 0.6
"""The minimum match by its heads of what is called by the words, though it is in other categories. It is more than a
mention gives in a text of a third of the weight: for "red table", a red blind for the window beside the table."""

OUTSIDE = 0.45
"""The most that a match of what is in other categories counts, if it has the word for the kind in a part of another at
best: for "red shoes", red boxing gloves ("Boxhandschuhe") come after shoes."""

OTHER_KIND = 0.35
"""The most that a match of what is in other categories counts, if the words are the whole name of one: for "desk", a
desk lamp is shown only if it looks more like a desk than most."""

OF_OTHERS = 0.45
"""The least match of the words beside the heads by which an entry of the kind ranks before those that only look so. One
in a text of a third of the weight suffices, with no typing error."""

OF_PART = 0.8
"""If the words name a part of a category, the least share of the best match there from which on an entry has that
minimum: for "sofa", the sofas of "Sofas & tables"."""

AFTER = 0.01
"""How far what is called so in another category comes after the best of the kind, if that has this share, too."""

ASIDE = 0.8
ASIDE_SHARE = 0.65
"""The factor of matches below this share of the best, if the words are the name of some entries: a cable that lies
behind the desk is no desk. Low enough that vectors decide."""

TEXT_WINDOW = 48
"""The number of entries with matching words that are ranked by words and vectors; others are ranked by vectors
alone."""

LOOKS_WINDOW = 40
"""The number of entries found by vectors that are ordered by relevance together with those whose words match; others
keep their order."""

AGREEMENT = 0.7
"""The ratio of the named entries' similarity to the words' vector to that of the nearest entries, above which the model
is taken to understand the words and no feedback is needed."""

MAJORITY = 0.5
"""The share of the nearest entries, weighted by score, that must be in the named entries' categories."""


@dataclass(frozen=True, slots=True)
class WithText:
    """Rank entries with matching texts first, then those that look similar.

    One request searches the words and their vector. If the model does not understand the words, a second request uses a
    vector made mostly of the images of the best entries (:mod:`imagesim.retrieval.feedback`), so that a query finds
    similar entries in any language of the shop's texts; the first request uses it if it was ``remembered``.
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
        texts = self.texts.text.asked(replace(query, offset=0, limit=TEXT_WINDOW, min_score=None))
        known = self.remembered.get(window) if self.remembered else None
        near = replace(window, vector=known.vector) if known else window if self._has_looks(window) else None
        by_text, by_vector, pinned = self._ask(texts, window, near)
        admission = Admission(self.texts.text, texts, self.retriever)
        admission.ask([*by_text.candidates, *by_vector.candidates])
        matching = self._of_kind(self._called(admission.admitted(by_text.candidates)))
        vectors = self.vectors_of([*matching, *pinned.candidates])
        named: Sequence[Candidate] = feedback.entries_for(matching, vectors)
        if known and known.sources == feedback.sources_of(named):
            vector, sources = known.vector, named
        else:
            vector, by_vector, sources = self._moved(window, named, vectors, None if known else by_vector)
        matching = without_other_categories(self._of_heads(matching), self.texts)
        by_names = vector is not query.vector and name_entries(self.texts, matching, self.calibration.roles)
        judge = Judge(self.calibration, "words" if vector is query.vector else "items")
        voters = by_vector.candidates
        scores = _scores([*matching, *pinned.candidates], vector, vectors)
        pins = judge.judged(query, pinned.candidates, voters, scores[len(matching) :])
        matches = judge.judged(query, matching, voters, scores[: len(matching)])
        if by_names:
            matches = without_lookalikes(matches, self.texts)
        evidence, trust = self._evidence(query, judge, matches, sources, vectors, voters)
        matches = [each for each in matches if query.min_score is None or each.score >= query.min_score]
        took_ms = by_text.took_ms + by_vector.took_ms
        for widenings_left in reversed(range(WIDENINGS + 1)):
            found = admission.admitted(by_vector.candidates)
            looks = judge.judged(query, found, found)
            if trust < 1.0:
                looks = [each._replace(relevance=trust * each.relevance) for each in looks]
            if by_names:
                looks = without_lookalikes(looks, self.texts)
            looks = without_other_departments(looks, self.texts, self.calibration.roles)
            if self.names and vector is query.vector:
                looks = self.names.without_unrelated(vector, looks, self.calibration)
            judged = fused(matches, looks, evidence, window=LOOKS_WINDOW, by_group=query.collapse)
            judged = at_most_closest(judged, self.texts.text)
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
        """Return what is called by the words that the catalogue has, without those that it lacks: for "nike zoom", what
        is by Nike, and for "Bücherregal" (bookcase) a "Regal", if it has no books."""
        if not self.texts.text.known:
            return ()
        (found,) = self.retriever.search([replace(texts, text=self.texts.text.known, heads=(), colours=())])
        kept = admission.admitted(found.candidates, closest=True)
        called = [each for each in kept if each.text >= CALLED][:CLOSEST]
        return tuple(judge.judged(texts, called, voters, _scores(called, vector, self.vectors_of(called))))

    def _moved(
        self,
        window: Query,
        named: Sequence[Candidate],
        vectors: Mapping[str, Vector],
        by_vector: Candidates | None,
    ) -> tuple[Vector, Candidates, Sequence[Candidate]]:
        """Return the vector to search by, which is moved if the model does not understand the words, what is near it,
        and the entries that say then what the words mean. ``by_vector`` is near the words' own vector; None if it was
        not searched.

        A single entry that only mentions the words moves nothing: what looks like the wine that goes with beef is no
        beef.
        """
        if by_vector is None:
            (by_vector,) = self.retriever.search([window]) if self._has_looks(window) else [Candidates(())]
        sources: Sequence[Candidate] = []
        if named and not self._understands(named, _scores(named, window.vector, vectors), by_vector):
            sources = named
        if len(sources) > 1 or any(
            max(each.text, each.head) >= BY_NAME or self._is_of_kind(each.categories) for each in sources
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
        """Return the relevance by looks of the matches, by key, and how relevant the entries are that moved the vector.

        A monitor whose description mentions coffee is near to a vector that its own image has moved: it is judged by
        the others' images, and what looks like it is at most as relevant as it is. Entries that are called by the
        words, or are of a kind that these name, need no such evidence.
        """
        certain = [each.text >= BY_NAME or self._is_of_kind(each.categories) for each in named]
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

    def _called(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Lower the match of candidates that only mention the words, if the words are the name of others."""
        best = max((each.head for each in candidates), default=0.0)
        if not self.texts.text.is_name or best < BY_NAME:
            return candidates
        least = ASIDE_SHARE * best
        return _with_matches(candidates, lambda each: each.text if each.head >= least else ASIDE * each.text)

    def _of_kind(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates, those in a category that the words name with a match of at least
        :data:`KIND_MATCH`, those that neither are nor are called so of at most :data:`OUTSIDE`.

        If a word is the whole name of a category, it does not call an entry so beside others: for "glasses", no coffee
        table of glass, and for "oak table", no long name of a table lamp. With a colour it may: "black soap" may be a
        cleanser. Others come after the best of the kind, at :data:`OUTSIDE` if the word specifies their category. So do
        these beside another thing: for "canon camera", the lenses come after the cameras.
        """
        named = self.texts.categories
        kinds = {names for names in {each.categories for each in candidates} if self._is_of_kind(names)}
        of_kind = self._best_of_part(candidates).union(each.key for each in candidates if each.categories in kinds)
        best = max((each.text for each in candidates if each.key in of_kind), default=0.0)
        is_name, in_full = self.texts.text.is_name, self.texts.text.in_full
        called, most = CALLED, OUTSIDE
        if in_full or (named and self.texts.text.listed and best < BY_NAME):
            alone = HALF_OF_NAME if self.texts.text.colours else ALL_OF_NAME
            whole = is_name or len(self.texts.text.heads) <= 1  # none: all words are the name of a category
            called, most = alone if whole else BY_NAME, OTHER_KIND
        mentioned, specified = self.texts.mentioned, self.texts.text.specified - self.texts.mentioned
        of_mentioned = (each.text for each in candidates if not mentioned.isdisjoint(each.categories))
        best_mentioned = max(of_mentioned, default=0.0)
        fuller = with_others(candidates) if self.texts.text.specified_head else set[str]()
        least = BY_NAME if self.texts.text.only_kind else KIND_MATCH

        def match(each: Candidate) -> float:
            if not named and best_mentioned >= BY_NAME and not specified.isdisjoint(each.categories):
                return min(each.text, best_mentioned - AFTER)
            if each.key in of_kind:
                # Not by a stem alone that words of two languages share: a tablet is no table.
                known = least if each.categories in kinds and each.head >= OF_OTHERS else KIND_MATCH
                return max(each.text, BY_NAME if each.key in fuller else known)
            is_called = (each.head if self.texts.text.heads and not in_full else min(each.head, each.text)) >= called
            is_specified = not self.texts.text.specified.isdisjoint(each.categories)
            first = is_called and (each.text >= ALL_OF_NAME or best < OF_PART * each.text)
            if (first and not (is_specified and is_name)) or not named or not named.isdisjoint(each.categories):
                return each.text
            follows = is_called or (
                in_full and is_name and each.head >= called
            )  # "Allstar Sneakers" of the category "Footwear"
            return min(each.text, best - AFTER if follows and not is_specified else most)

        return _with_matches(candidates, match)

    def _is_of_kind(self, categories: Sequence[str]) -> bool:
        """Whether the words name any of the categories as a whole, not only a part of it."""
        return not self.texts.categories.intersection(categories) <= self.texts.partly

    def _of_heads(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates, with the same match for those that the heads of the query name: any lamp for "desk
        lamp", if nothing is called that. Only after the feedback, for which those count that match all of the
        words."""
        nothing_has_all = all(each.text < BY_NAME for each in candidates)
        by_name = self.texts.text.in_full or (self.texts.categories and self.texts.text.listed)
        least = BY_NAME if nothing_has_all and not by_name else math.inf
        mentioned = self.texts.mentioned

        def match(each: Candidate) -> float:
            of_head = each.head >= least and self.texts.text.specified.isdisjoint(each.categories)
            of_head = of_head and (not mentioned or not mentioned.isdisjoint(each.categories))
            return max(each.text, KIND_MATCH) if of_head else each.text

        return _with_matches(candidates, match)

    def _best_of_part(self, candidates: Sequence[Candidate]) -> set[str]:
        """Return the keys of the best matches in categories of which the words name a part, or about the best."""
        within = [each for each in candidates if not self.texts.partly.isdisjoint(each.categories)]
        least = OF_PART * max((each.text for each in within), default=0.0)
        return {each.key for each in within if each.text >= least}

    def _understands(self, named: Sequence[Candidate], scores: Sequence[float], by_vector: Candidates) -> bool:
        """Whether the words' vector finds the entries that the words name.

        The named entries must be about as near to it as the nearest entries, and in the categories of most of the
        nearest: some words are near to everything.
        """
        background = self.calibration.background["words"]
        best = [each.score - background.mean for each in by_vector.candidates[: len(named)]]
        most = sum(best) / max(1, len(best))
        if most <= 0 or sum(scores) / len(scores) - background.mean < AGREEMENT * most:
            return False
        categories = frozenset(name for each in named for name in each.categories)
        return not categories or share_of(categories, by_vector.candidates, background.deviation) >= MAJORITY

    def _ask(self, texts: Query, window: Query, near: Query | None) -> tuple[Candidates, Candidates, Candidates]:
        """Return the entries whose texts match, those that ``near`` finds by its vector, and those that are pinned."""
        nothing = Candidates(())
        lookups = self.cutoff.plan.lookups([window])
        compounds, kinds = self.texts.compounds, self.texts.text.of_ending
        others = [*self.texts.alternatives, *([compounds] if compounds else ())]
        firsts = [replace(compounds, heads=(0,))] if compounds and kinds else []
        asked = [texts, *(each.asked(texts) for each in (*others, *firsts)), *([near] if near else ()), *lookups]
        found = iter(self.retriever.search(asked))
        by_text, *by_others = (next(found) for _text in (texts, *others))
        of_firsts = {each.key: each.head for _text in firsts for each in next(found).candidates}
        by_vector = next(found) if near else nothing
        pinned = next(found) if lookups else nothing
        if compounds:
            whole = compounds.categories if compounds.is_whole else frozenset[str]()
            by_others[-1] = by_parts(by_others[-1], kinds, of_firsts, whole)
        if others:
            by_text = _best_matches([by_text, *by_others], by_group=texts.collapse)
        return by_text, by_vector, pinned

    def _has_looks(self, window: Query) -> bool:
        """Whether the vector means anything: article numbers and emoji have no meaning for an image model."""
        return bool(window.vector.any()) and any(map(str.isalpha, self.texts.text.text))


def _with_matches(candidates: Sequence[Candidate], match: Callable[[Candidate], float]) -> list[Candidate]:
    return [each if (text := match(each)) == each.text else each._replace(text=text) for each in candidates]


def with_others(candidates: Sequence[Candidate]) -> set[str]:
    """Return the keys of the candidates that have most of the words beside the heads, be it in a description.

    What some candidate has of the heads alone tells their share of the query.
    """
    share = min((each.text / each.head for each in candidates if each.head > 0), default=1.0)
    return {each.key for each in candidates if each.text - share * each.head >= OF_OTHERS * (1 - share) > 0}


def _best_matches(answers: Sequence[Candidates], *, by_group: bool) -> Candidates:
    """Return the entries that match any of several texts, each with its best match; one of each group of variants, of
    which different texts may match different ones."""
    best: dict[str, Candidate] = {}
    for each in (candidate for answer in answers for candidate in answer.candidates):
        name = each.identity(by_group)
        if name not in best or each.text > best[name].text:
            best[name] = each
    ordered = sorted(best.values(), key=lambda each: (-each.text, each.key))
    return replace(answers[0], candidates=tuple(ordered[:TEXT_WINDOW]))


def _scores(candidates: Sequence[Candidate], vector: Vector, vectors: Mapping[str, Vector]) -> list[float]:
    """Return the cosine of each candidate's image; 0 if its vector is not known."""
    import numpy as np

    images = {each.image_digest: vectors[each.image_digest] for each in candidates if each.image_digest in vectors}
    scores = np.clip(np.array([*images.values()]) @ vector, -1.0, 1.0).tolist() if images else []
    known = dict(zip(images, scores, strict=True))
    return [known.get(each.image_digest, 0.0) for each in candidates]
