"""Which of the lists of its language a word is on: those of stop words, fillers, qualifiers and others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from imagesim.language.analysis import MAX_WORD, analyse, feature_marks, stem_of, stop_words, word_list
from imagesim.language.letters import fold
from imagesim.language.stemmers import is_other_word
from imagesim.language.stop_words import (
    CONTAINERS,
    FILLERS,
    HEAD_FIRST,
    MEASURES,
    NEGATIONS,
    NUMBERS_OF_THINGS,
    PICTURES,
    PREPOSITIONS,
    PROBLEMS,
    QUALIFIERS,
    REMEDIES,
    SHADES,
    as_lists,
)

SHORTEST_SLIP = 3
"""The minimum number of letters of a word that is recognised with two neighbouring letters exchanged."""

SHORTEST_STEM = 4
"""The minimum number of letters of a stem by which other forms of a listed word are recognised: "pot" is the stem of
the Italian "potete" (you can), but also of "potato"."""

ENGLISH = "en"
"""The language of the words that an embedding model knows. Its lists contain every form of a word, so stems are not
used for them: "short" says what a thing is like, "shorts" what it is."""

# One letter of hiragana, the script of Japanese particles and endings, next to at most one letter of another script.
GRAMMAR = re.compile(r"([^\u3041-\u309f])?[\u3041-\u309f](?(1)|([^\u3041-\u309f]))")

negations = word_list(NEGATIONS)
_prepositions = word_list(PREPOSITIONS)
shades = word_list(SHADES)
_numbers_of_things = word_list(NUMBERS_OF_THINGS)
_containers = word_list(CONTAINERS)
_problems = word_list(PROBLEMS)
_remedies = word_list(REMEDIES)
_measure_names, _lengths, _measures = (word_list(as_lists(MEASURES[name])) for name in ("names", "lengths", "words"))

Forms = Callable[[str], tuple[frozenset[str], frozenset[str]]]
"""A function from a language to the words of a list, and the stems by which other forms of them are recognised."""


def _forms_of(table: Mapping[str, str]) -> Forms:
    """Return a cached function of this type for a table of :mod:`~imagesim.language.stop_words`."""

    @lru_cache(maxsize=64)
    def forms(language: str) -> tuple[frozenset[str], frozenset[str]]:
        words = table.get(language, "").split()  # one by one: a text has a maximum number of words
        tokens = [token for word in words for token in analyse(word, language)]
        stems = () if language == ENGLISH else (token.stem for token in tokens if len(token.stem) >= SHORTEST_STEM)
        # Without its accents, "küchen" (kitchens) is another word, "Kuchen" (cake): it is recognised by its stem.
        others = {plain for word in words if is_other_word(word, stem_of(plain := fold(word), language), language)}
        return frozenset(token.word for token in tokens) - others, frozenset(stems)

    return forms


_filler_forms = _forms_of(FILLERS)
picture_forms = _forms_of(PICTURES)
_qualifier_forms = _forms_of(QUALIFIERS)
_shade_forms = _forms_of(SHADES)


def _is_listed(word: str, stems: Mapping[str, str], forms: Forms) -> bool:
    """Return whether a list contains a word, or another form of it, in one of the languages of its ``stems``."""
    for language, stem in stems.items():
        words, others = forms(language)
        if word in words or stem in others:
            return True
    return False


def specifies(word: str, stems: Mapping[str, str], forms: Forms, *, follows: bool, precedes: bool) -> bool:
    """Return whether a word is on a list and next to a word that it specifies: the "photo" of a "photo frame", or of
    the French "cadre photo"."""
    return any(
        (follows if language in HEAD_FIRST else precedes) and _is_listed(word, {language: stem}, forms)
        for language, stem in stems.items()
    )


@lru_cache(maxsize=64)
def _slips(languages: tuple[str, ...]) -> frozenset[str]:
    """Return the stop words of these languages with two neighbouring letters exchanged."""
    stop = stop_words(languages)
    return frozenset(exchanged(stop) - stop)


def exchanged(words: Iterable[str]) -> set[str]:
    """Return the words of at least ``SHORTEST_SLIP`` letters with each two neighbouring letters exchanged."""
    return {
        word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        for word in words
        if len(word) >= SHORTEST_SLIP
        for i in range(len(word) - 1)
    }


class Lists(NamedTuple):
    """Which lists a word is on."""

    stop: bool
    slip: bool
    filler: bool
    complement: bool
    shade: bool
    qualifier: bool
    number: bool
    container: bool
    problem: bool
    remedy: bool
    measure_name: bool
    length: bool
    measure: bool


@lru_cache(maxsize=10_000)
def lists_of(word: str, stems: tuple[tuple[str, str], ...]) -> Lists:
    """Return which lists of the languages that it has ``stems`` in a word is on."""
    of_languages = dict(stems)
    languages = tuple(of_languages)
    return Lists(
        stop=word in stop_words(languages),
        slip=word in _slips(languages) or GRAMMAR.fullmatch(word) is not None,
        filler=_is_listed(word, of_languages, _filler_forms),
        complement=word in feature_marks(languages) or word in _prepositions(languages),
        shade=_is_listed(word, of_languages, _shade_forms),
        qualifier=_is_listed(word, of_languages, _qualifier_forms),
        number=word in _numbers_of_things(languages),
        container=word in _containers(languages),
        problem=word in _problems(languages),
        remedy=word in _remedies(languages),
        measure_name=word in _measure_names(languages),
        length=word in _lengths(languages),
        measure=word in _measures(languages),
    )


def is_on_a_list(word: str, language: str) -> bool:
    """Return whether a word, given without accents, is on any list of a language."""
    if len(word) > MAX_WORD:  # a text in a script without spaces, whose stem takes as long as it is
        return False
    stems = {language: stem_of(word, language)}
    lists = (stop_words, negations, feature_marks, _prepositions, _slips)
    return any(word in words((language,)) for words in lists) or any(
        _is_listed(word, stems, forms) for forms in (_filler_forms, _qualifier_forms, _shade_forms)
    )
