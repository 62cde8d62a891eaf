"""Finds out what the words of a query mean, and whether their synonyms are searched in place of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from django.utils.text import Truncator
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from imagesim.embedders import get_embedder, get_embedder_of
from imagesim.exceptions import ModelMismatch
from imagesim.indexes.validation import MAX_NONE_OF, MAX_TEXT_MATCHES, MAX_VALUES
from imagesim.items.hydrate import load_items, without_failing
from imagesim.items.registry import registry
from imagesim.language.analysis import analyse, base_language, languages_of
from imagesim.language.word_lists import ENGLISH
from imagesim.retrieval.feedback import MovedVectors
from imagesim.retrieval.fusion import BY_NAME, HALF_OF_NAME
from imagesim.retrieval.relevance import calibration_of
from imagesim.retrieval.retriever import GuardedIndex
from imagesim.retrieval.words.query_text import Reading
from imagesim.retrieval.words.reader import QueryReader
from imagesim.retrieval.words.requirements import MENTIONED
from imagesim.retrieval.words.with_text import WithText
from imagesim.runtime import RecentlyUsed, runtime
from imagesim.types import Filters, Message

if TYPE_CHECKING:
    from imagesim.calibration import Calibration
    from imagesim.embedders import BaseEmbedder
    from imagesim.retrieval.category_names import CategoryNames
    from imagesim.retrieval.relevance import Cutoff
    from imagesim.retrieval.retriever import Retriever
    from imagesim.retrieval.words.query_text import QueryText, QueryTexts
    from imagesim.types import Candidate, Candidates, IndexMeta, Query, Vector

BY_COMPOUND = 0.72
"""The minimum match of an entry that is named by a synonym of one word, which may be the end of a compound in a long
name."""

EXCLUDED = 0.75
"""The minimum match of an entry that is called what a query excludes: that of a word in its name, or of the last part
of a compound there, but not of its first part."""

MAX_READINGS = 500
"""The maximum number of queries whose meaning a process remembers."""


def read_words(text: str, alternatives: Sequence[str], meta: IndexMeta) -> Reading:
    """Return what a query means in the catalogue, with ``alternatives`` that mean the same. A process remembers it."""
    has_word, spoken = _embedder(meta).has_word, base_language(get_language() or "")
    reader = QueryReader(calibration_of(meta).roles, languages_of(meta), has_word, spoken)
    # Roles are compared by identity. The reader is kept with the reading, so that no other roles get the same id.
    key = (text, alternatives, id(reader.roles), reader.languages, has_word, spoken)
    readings: RecentlyUsed[Hashable, tuple[QueryReader, Reading]] = runtime.get(
        "readings", partial(RecentlyUsed, MAX_READINGS)
    )
    return readings.complete([key], lambda _new: {key: (reader, reader.read_query(text, alternatives))})[key][1]


def _embedder(meta: IndexMeta) -> BaseEmbedder:
    """Return the embedder of the index, or that of the settings if they name another: both know the same words."""
    try:
        return get_embedder_of(meta.fingerprint)
    except ModelMismatch:
        return get_embedder()


def complete(reading: Reading, query: Query, index: Retriever) -> tuple[Reading, Filters]:
    """Ask the index, in one request, what the words of the catalogue alone do not tell: which entries are called what
    the query excludes, whether something is called by all of the words, also those that exclude something or join
    several things, and whether anything has the words that the catalogue seems to lack. Return the completed reading,
    and the filters without what is excluded."""
    excluded = [text for each in reading.excluded for text in (each.own, *each.alternatives)]
    first = replace(query, offset=0, collapse=False, min_score=None, limit=1)
    every = replace(first, limit=MAX_TEXT_MATCHES // max(1, len(excluded)))  # reading matches takes most of the time
    doubtful = [reading.texts.own] if reading.things else reading.lacking
    whole = [reading.whole.own] if reading.whole else []
    answers = index.search(
        [each.applied_to(every) for each in excluded] + [each.applied_to(first) for each in (*doubtful, *whole)]
    )
    named, known = answers[: len(excluded)], answers[len(excluded) : len(excluded) + len(doubtful)]
    if reading.whole and _is_name(reading.whole.own.text, answers[-1].candidates):
        return Reading(reading.whole.own.text, reading.whole, frozenset(), reading.colours), query.filters
    match = max((each.text for answer in known for each in answer.candidates), default=0.0)
    if match >= MENTIONED:
        reading = reading._replace(lacking=())
    if reading.things and match < HALF_OF_NAME:
        reading = reading._replace(wanted=reading.others, texts=reading.things)
    filters = query.filters
    categories = frozenset[str]().union(*map(_named_in_full, reading.excluded))
    if categories and len(filters.none_of) < MAX_NONE_OF:
        filters = replace(filters, none_of=(*filters.none_of, Filters(categories=tuple(sorted(categories)))))
    keys = dict.fromkeys(each.key for answer in named for each in answer.candidates if each.text >= EXCLUDED)
    return reading, replace(filters, exclude_keys=(*filters.exclude_keys, *keys)[:MAX_VALUES])


def _is_name(text: str, candidates: Sequence[Candidate]) -> bool:
    """Return whether one of the candidates is called by all words of a text, even those that seem to exclude something:
    "Coffee instead of tea" may be a book."""
    keys = [each.key for each in candidates if each.text >= HALF_OF_NAME]
    for item in load_items(keys, to_many=False).values():
        items = registry.for_item(item)
        most = max(spec.weight for spec in items.text_specs.values())
        with without_failing(items, item, "get_texts"):
            for path, values in items.get_texts(item).items():
                spec = items.text_specs[path]
                name = {each.word for value in values for each in analyse(value, spec.language)}
                if spec.weight == most and name.issuperset(each.word for each in analyse(text, spec.language)):
                    return True
    return False


def _named_in_full(texts: QueryTexts) -> frozenset[str]:
    """Return the categories that one of the texts names by all of its words, and not only a part of them."""
    synonyms = texts.with_synonyms
    every = [texts.own, *texts.alternatives, *texts.kind_synonyms]
    every += [synonyms.own, *synonyms.alternatives] if synonyms else []
    return frozenset[str]().union(*(each.categories - each.meaning.partly for each in every if each.is_part))


def nothing_called(texts: Sequence[QueryText]) -> Message:
    """Return the message about the words of a query that nothing has."""
    words = Truncator(", ".join(each.text for each in texts)).chars(60)
    return Message(_("Nothing here is called “%(words)s”.") % {"words": words})


def found_by_looks(text: str) -> Message:
    """Return the message above hits whose texts have none of the words."""
    words = Truncator(text).chars(60)
    return Message(_("Nothing here is called “%(words)s”; found by looks alone.") % {"words": words})


def by_words(
    texts: QueryTexts,
    retriever: Retriever,
    calibration: Calibration,
    cutoff: Cutoff,
    vectors_of: Callable[[Sequence[Candidate]], Mapping[str, Vector]],
    vector_of: Callable[[str], Vector],
    category_names: CategoryNames,
) -> Retriever:
    """Return the retriever for a query by words, which chooses between the words and their synonyms if there are any.

    ``vectors_of`` and ``category_names``: see :class:`~imagesim.retrieval.words.with_text.WithText`; ``vector_of``: see
    :class:`WithSynonyms`.
    """
    # The wrappers of an index (MMR, fallback) change the order of the nearest entries, on which a moved vector depends.
    remembered = None
    if isinstance(retriever, GuardedIndex):
        name = retriever.backing_index or retriever.index.name
        remembered = runtime.get(("moved vectors", name), MovedVectors)

    def with_text(texts: QueryTexts) -> WithText:
        return WithText(retriever, texts, calibration, cutoff, vectors_of, remembered, category_names)

    if texts.with_synonyms is None:
        return with_text(texts)
    return WithSynonyms(retriever, texts, texts.with_synonyms, with_text, vector_of)


@dataclass(frozen=True, slots=True)
class WithSynonyms:
    """Searches for ``synonyms`` of the words if nothing is named by the words themselves.

    The index is asked whether anything is, because a large catalogue has more words than those whose roles are known.
    Synonyms are used if one of them is a single word by which things are called (alone or at the end of a compound),
    the name of a category, or several words that the name of a thing has together: "nail polish" has the synonym "nail
    varnish", which is not a varnish for wood. They are also used if only the one word that says what is sought is
    replaced, and things are called by its synonym: "settee washable" asks for sofas.

    ``read`` returns the retriever for texts, and ``vector_of`` the vector of a text. The vector of an English synonym
    replaces that of the words, because the model knows the word of the catalogue better. Most models read words of
    other languages as English, or not at all.
    """

    retriever: Retriever
    texts: QueryTexts
    synonyms: QueryTexts
    read: Callable[[QueryTexts], Retriever]
    vector_of: Callable[[str], Vector]

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Candidates:
        texts, others = self.texts, self.synonyms
        synonyms = [each for each in (others.own, *others.alternatives) if each.text != texts.own.text]
        is_known = any(each.is_name or each.meaning.in_full or each.is_part for each in synonyms)
        # In a shop with a category "Drum kits", "drum set" means that, and not all drums.
        is_meant = any(each.is_whole for each in synonyms) and not (texts.own.is_name or texts.own.is_whole)
        first = replace(query, offset=0, limit=1, min_score=None)
        asked = [texts.own, *([] if is_known else synonyms)]
        own, *found = self.retriever.search([each.applied_to(first) for each in asked])
        least = [BY_NAME, *(BY_NAME if " " in each.text else BY_COMPOUND for each in asked[1:])]
        by_head = others.of_head and not any(each.head >= BY_NAME for each in own.candidates)
        call_something = [
            any(each.text >= match or (by_head and each.head >= BY_NAME) for each in answer.candidates)
            for answer, match in zip((own, *found), least, strict=True)
        ]
        is_called = call_something[0]
        if is_meant:
            # For "running shoes", an "Oak Running Shoe" is an answer, and so is the category "Sneakers".
            texts = texts.with_alternatives(others) if is_called else others.without(texts.own)
        elif not is_called and (is_known or any(call_something)):
            texts = others
        if texts is not self.texts and texts.language == ENGLISH:
            query = replace(query, vector=self.vector_of(texts.own.text))
        (answer,) = self.read(texts).search([query])
        return answer
