"""Read the words of a query, and decide what is asked for that can be read in several ways: as several kinds, as
"sandal shoes", or as synonyms."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from django.utils.text import Truncator
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from imagesim.calibration import VOTERS
from imagesim.embedders import get_embedder, get_embedder_of
from imagesim.exceptions import ModelMismatch
from imagesim.indexes.analysis import base_language, languages_of
from imagesim.indexes.query_words import ENGLISH
from imagesim.retrieval.feedback import MovedVectors
from imagesim.retrieval.query_reader import QueryReader
from imagesim.retrieval.relevance import BY_NAME, calibration_of, share_of
from imagesim.retrieval.retriever import GuardedIndex
from imagesim.retrieval.text import WithText
from imagesim.runtime import RecentlyUsed, runtime
from imagesim.types import Message

if TYPE_CHECKING:
    from imagesim.calibration import Calibration
    from imagesim.embedders import BaseEmbedder
    from imagesim.retrieval.category_names import CategoryNames
    from imagesim.retrieval.query_text import QueryText, QueryTexts, Reading
    from imagesim.retrieval.relevance import Cutoff
    from imagesim.retrieval.retriever import Retriever
    from imagesim.types import Candidate, Candidates, IndexMeta, Query, Vector

MAX_READINGS = 500
"""The number of texts of which a process remembers how they were read."""

CERTAIN = 0.5
"""The share of the nearest entries, weighted by score, that must be of one kind for the vectors to decide."""


def read_words(text: str, alternatives: Sequence[str], meta: IndexMeta) -> Reading:
    """Read the words of a query, and texts that mean the same, with those of the catalogue, or remember how they were
    read."""
    has_word, spoken = _embedder(meta).has_word, base_language(get_language() or "")
    reader = QueryReader(calibration_of(meta).roles, languages_of(meta), has_word, spoken)
    # Roles are compared by identity, and kept with the reading, so that no others get its key.
    key = (text, alternatives, id(reader.roles), reader.languages, has_word, spoken)
    readings: RecentlyUsed[Hashable, tuple[QueryReader, Reading]] = runtime.get(
        "readings", partial(RecentlyUsed, MAX_READINGS)
    )
    return readings.complete([key], lambda _new: {key: (reader, reader.read_query(text, alternatives))})[key][1]


def _embedder(meta: IndexMeta) -> BaseEmbedder:
    """Return the embedder of the index, or if the settings do not name it, theirs: the English words are the same."""
    try:
        return get_embedder_of(meta.fingerprint)
    except ModelMismatch:
        return get_embedder()


def found_by_looks(text: str) -> Message:
    """Return what to say above hits of which no text has any of the words."""
    words = Truncator(text).chars(60)
    return Message(_("Nothing here is called “%(words)s”; found by looks alone.") % {"words": words})


def by_words(
    texts: QueryTexts,
    retriever: Retriever,
    calibration: Calibration,
    cutoff: Cutoff,
    vectors_of: Callable[[Sequence[Candidate]], Mapping[str, Vector]],
    vector_of: Callable[[str], Vector],
    names: CategoryNames,
) -> Retriever:
    """Return what answers texts: as they are, in each of their readings, or in other words."""
    # Moving a vector depends on the order of the nearest, which the retrievers around an index change.
    remembered = None
    if isinstance(retriever, GuardedIndex):
        name = retriever.backing_index or retriever.index.name
        remembered = runtime.get(("moved vectors", name), MovedVectors)

    def with_text(texts: QueryTexts) -> WithText:
        return WithText(retriever, texts, calibration, cutoff, vectors_of, remembered, names)

    def read(texts: QueryTexts) -> Retriever:
        if readings := texts.text.readings:
            return WithReadings(retriever, readings, calibration, lambda text: with_text(texts.read_as(text)))
        return with_text(texts)

    return WithSynonyms(retriever, texts, read, vector_of) if texts.in_other_words else read(texts)


@dataclass(frozen=True, slots=True)
class WithReadings:
    """Search for the kind that most of the entries nearest to the vector of the words are of.

    A model that knows the phrase sees sandals in "sandal shoes", and shoes in "sport shoes". If most of the nearest are
    of no such kind, the first of the ``readings`` counts, which is that of the head of the phrase. The texts do not
    tell: the rarer of the words would weigh more. ``read`` makes the retriever for a reading.
    """

    retriever: Retriever
    readings: Sequence[QueryText]
    calibration: Calibration
    read: Callable[[QueryText], Retriever]

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Candidates:
        nearest: Sequence[Candidate] = ()
        took_ms = 0.0
        if query.vector.any():
            (found,) = self.retriever.search([replace(query, offset=0, limit=VOTERS, min_score=None)])
            nearest, took_ms = found.candidates, found.took_ms
        deviation = self.calibration.background["words"].deviation
        shares = [share_of(each.categories, nearest, deviation) for each in self.readings]
        best = max(shares)
        chosen = self.readings[shares.index(best) if best >= CERTAIN else 0]
        (answer,) = self.read(chosen).search([query])
        return replace(answer, took_ms=answer.took_ms + took_ms)


@dataclass(frozen=True, slots=True)
class WithSynonyms:
    """Search for synonyms of the words if nothing is called by the words themselves.

    The roles of words are those of the commonest words of a large catalogue, so that the index is asked. ``read`` makes
    the retriever for the texts, ``vector_of`` the vector of a text: a model knows the commoner of two English words
    better, as the catalogue does. To most models a German word is an English one, or nothing. One of the
    synonyms has to be a word by which things are called, the name of a category, or several words by which something is
    called as a whole: "nail varnish" is no varnish for wood.
    """

    retriever: Retriever
    texts: QueryTexts
    read: Callable[[QueryTexts], Retriever]
    vector_of: Callable[[str], Vector]

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Candidates:
        texts, others = self.texts, self.texts.in_other_words
        synonyms = (
            [each for each in (others.text, *others.alternatives) if each.text != texts.text.text] if others else []
        )
        is_known = any(each.is_name or each.meaning.in_full or each.is_part for each in synonyms)
        # "Drum set" means the "Drum kits" of a shop, and not all of its drums.
        is_meant = any(each.is_whole for each in synonyms) and not (texts.text.is_name or texts.text.is_whole)
        first = replace(query, offset=0, limit=1, min_score=None)
        asked = [texts.text, *([] if is_known else synonyms)]
        own, *found = self.retriever.search([each.asked(first) for each in asked])
        is_called, *replaces = (any(each.text >= BY_NAME for each in answer.candidates) for answer in (own, *found))
        took_ms = own.took_ms
        if others and is_meant:
            # Beside the "Sneakers", the "Oak Running Shoes" are an answer to "running shoes".
            texts = texts.beside(others) if is_called else others.without(texts.text)
        elif others and not is_called and (is_known or any(replaces)):
            texts = others
        if texts is not self.texts and texts.language == ENGLISH:
            query = replace(query, vector=self.vector_of(texts.text.text))
        (answer,) = self.read(texts).search([query])
        return replace(answer, took_ms=answer.took_ms + took_ms)
