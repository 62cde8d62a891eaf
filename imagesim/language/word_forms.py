"""Words that mean the same and that stemming and fuzzy matching do not find: the plural or singular of a word, other
spellings, words for the same people, and compounds that end with a word."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from imagesim.language import kana
from imagesim.language.analysis import stem_of
from imagesim.language.dictionaries import has_dictionary, in_dictionary
from imagesim.language.stemmers import PLURALS_ONLY, is_other_word
from imagesim.language.stop_words import (
    AUDIENCES,
    DIMINUTIVES,
    EQUIVALENTS,
    INFLECTIONS,
    IRREGULAR_PLURALS,
    OTHER_THINGS,
    PARTICIPLES,
    PLURALS,
    SPELLINGS,
    SUFFIXES,
    UNITS,
)
from imagesim.language.word_roles import SHORTEST_FIRST, has_digit, shortest_before

SHORTEST = 3
"""The minimum number of letters of a singular."""

SHORTEST_PART = 4
"""The minimum number of letters of the last part by which a compound is found."""

SHORT_PART = 3
"""The number of letters of a short last part, in languages that write compounds as one word. The dictionary has to have
the first part: it has that of "Armbanduhr", but not that of "Komitee"."""

LINKS = ("s", "n", "en", "e", "es", "er")
"""Letters that link the first part of a compound to the last."""

SHORTEST_BEFORE_SHORT = 4
"""The minimum number of letters before a last part of three."""


@lru_cache(maxsize=4_000)
def plurals(word: str, language: str) -> tuple[str, ...]:
    """Return possible plurals and singulars of a word; not all of them need to be real words."""
    if has_digit(word):  # "501s" are jeans of the model 501
        return (word[:-1],) if language == "en" and word.endswith("s") and word[:-1].isdecimal() else ()
    found = [word[:-1]] if word.endswith("s") and word[:-1] in UNITS else []  # "kgs" and "mls"
    found += irregular_forms(word, language)
    for singular, plural in _pairs(PLURALS.get(language, "")):
        for ending, other in ((singular, plural), (plural, singular)):
            form = word[: len(word) - len(ending)] + other
            if word.endswith(ending) and min(len(word), len(form)) >= SHORTEST:
                found.append(form)
    if word.endswith("s"):  # "glass" is not the plural of "glas", nor is "glasss" its plural
        found = [form for form in found if form not in (f"{word}s", word[:-1] if word.endswith("ss") else "")]
    if language == "en":
        found = [form for form in found if PLURALS_ONLY.isdisjoint((word, form))]
    return tuple(dict.fromkeys(found))


def irregular_forms(word: str, language: str) -> list[str]:
    """Return the other forms that a table has of a word, or of the last part of a compound."""
    found: list[str] = []
    for singular, plural in _pairs(IRREGULAR_PLURALS.get(language, "")):
        for form, other in ((singular, plural), (plural, singular)):
            first = word.removesuffix(form)
            if word == form or (word.endswith(form) and language in INFLECTIONS and len(first) >= SHORTEST_FIRST):
                found.append(first + other)
    return found


@lru_cache(maxsize=4_000)
def diminutive_of(word: str, language: str) -> tuple[str, ...]:
    """Return the words that a word may be a diminutive of; not all of them need to be real words."""
    endings = [pair for pair in _pairs(DIMINUTIVES.get(language, "")) if word.endswith(pair[0])]
    found = (word.removesuffix(ending) + other for ending, other in endings)
    return tuple(each for each in found if len(each) >= SHORTEST)


def is_made_so(word: str, stem: str, asked: str, language: str) -> bool:
    """Return whether a word with this stem says what was done to a thing, if something else is asked for: a "hammered"
    bracelet is not a hammer, and "painted" wood is not paint."""
    ending = PARTICIPLES.get(language, "")
    return bool(ending) and word.endswith(ending) and not stem.endswith(ending) and not asked.endswith(ending)


@lru_cache(maxsize=4_000)
def other_spellings(word: str, language: str) -> tuple[str, ...]:
    """Return a word with a part of it spelled differently. Most results are not real words, and so match nothing."""
    found = [
        word.replace(part, other)
        for pair in _pairs(SPELLINGS.get(language, ""))
        for part, other in (pair, pair[::-1])
        if part in word
    ]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=4_000)
def equivalents(word: str, language: str) -> tuple[str, ...]:
    """Return the other words for the people that a word says a thing is for, or for its origin, decade or rank."""
    pairs = (*_pairs(AUDIENCES.get(language, "")), *_pairs(EQUIVALENTS.get(language, "")))
    found = [other for pair in pairs for form, other in (pair, pair[::-1]) if form == word]
    return tuple(dict.fromkeys(found))


def compound_endings(word: str, stems: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the endings of compounds whose last part is a word with these stems by language, each with the languages
    of the compounds. An empty set stands for every language."""
    if kana.is_word(word):
        return {word: set()} if len(word) >= kana.SHORTEST_PART else {}
    found: dict[str, set[str]] = {}
    for language, stem in stems.items():
        for inflection in INFLECTIONS.get(language, "").split():
            if not is_other_word(stem + inflection, stem, language):
                found.setdefault(stem + inflection, set()).add(language)
        for form in (*plurals(word, language), *diminutive_of(word, language)):
            found.setdefault(form, set()).add(language)
    found |= {each: set() for each in (word, *stems.values())}
    endings = {each: languages for each, languages in found.items() if len(each) >= SHORTEST_PART}
    for each in (part for part in found if len(part) == SHORT_PART):
        compounding = {one for one in stems if one in INFLECTIONS and each not in SUFFIXES.get(one, "").split()}
        if languages := compounding & (found[each] or compounding):
            endings[each] = languages
    return endings


def may_be_compound(word: str, ending: str, language: str) -> bool:
    """Return whether a word may be a kind of what its ``ending`` says. A short one needs a first part that the
    dictionary has."""
    if kana.is_word(ending):
        is_long = 0 < shortest_before(ending) <= len(word) - len(ending)
        return is_long and not word.endswith(other_endings(ending, language))
    first = word.removesuffix(ending)
    if not SHORTEST_FIRST <= len(first) < len(word) or not _is_part(ending, word, language):
        return False
    return len(ending) >= SHORTEST_PART or _may_begin(first, language)


def _is_part(ending: str, word: str, language: str) -> bool:
    """Return whether ``word`` may be a kind of what ``ending`` says.

    In languages that do not write compounds as one word, the ending may be that of a form: the stem of "drinking" is
    "drink", so it does not end with "king", nor does "adjustable" with "table".
    """
    if language in INFLECTIONS:
        return is_other_thing(ending, language) or not is_other_thing(word, language)
    return len(stem_of(word, language)) > len(word) - len(ending) + 1


def _may_begin(first: str, language: str) -> bool:
    """Return whether a compound may begin with ``first`` if its last part is short: it must be a word of the language's
    dictionary, if there is one, with or without the letters that link it to the last part: "sonnen" or "sonne"."""
    if len(first) < SHORTEST_BEFORE_SHORT:
        return False
    forms = (first, *(first.removesuffix(each) for each in LINKS if first.endswith(each)))
    known = (len(form) >= SHORTEST_FIRST and in_dictionary(form, language) for form in forms)
    return not has_dictionary(language) or any(known)


def is_other_thing(word: str, language: str) -> bool:
    """Return whether a word contains a compound that is not a kind of what its last part says."""
    return any(each in word for each in OTHER_THINGS.get(language, "").split())


@lru_cache(maxsize=4_000)
def other_endings(ending: str, language: str) -> tuple[str, ...]:
    """Return the longer endings of words that are not a kind of what this one says: "サングラス" (sunglasses) of
    "グラス"."""
    others = OTHER_THINGS.get(language, "").split()
    return tuple(each for each in others if len(each) > len(ending) and each.endswith(ending))


@lru_cache(maxsize=64)
def _pairs(written: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a table that is written as "first-second first-second"."""
    return tuple((first, second) for first, _, second in (pair.partition("-") for pair in written.split()))
