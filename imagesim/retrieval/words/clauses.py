"""The parts of a query that are joined ("shoes and bags") or excluded ("plants but no cacti"), and queries for all that
there is ("all products").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imagesim.language.analysis import feature_marks, stop_words, word_list
from imagesim.language.letters import fold
from imagesim.language.query_words import QueryWord, query_words
from imagesim.language.stop_words import NEGATIONS, QUALIFIERS, SIZES, STOP_WORDS, as_lists, read_table
from imagesim.language.word_lists import negations, picture_forms
from imagesim.language.word_roles import Roles, has_digit
from imagesim.retrieval.words.negated_limits import is_verb, words_for_all
from imagesim.retrieval.words.requirements import FREE, FREE_ENDINGS

WORDS = read_table(Path(__file__).with_name("clauses.txt"))

MAX_PARTS = 6
"""The maximum number of parts of a query: each that is excluded is searched. With more joined parts, a query is a list
of words."""

_MATERIALS, _MADE, _GOODS = (as_lists(WORDS[name]) for name in ("materials", "made", "goods"))
_goods = word_list(_GOODS)


class Clauses(NamedTuple):
    """A query without what it excludes, and the parts that it excludes."""

    wanted: str
    excluded: tuple[str, ...] = ()


def clauses_of(text: str, languages: tuple[str, ...], roles: Roles) -> Clauses:
    """Return the clauses of a query: "plants" and ("cacti",) for "plants but no cacti". ``languages``: the base codes
    of those in which it may be written.

    What follows "without" may be a feature that is sought, as in "shoes without laces", so it is not excluded, except
    materials: "shoes without leather", "leather-free shoes".
    """
    for match in _excluding(languages).finditer(text):
        wanted, after = text[: match.start()].strip(" ,;-–"), text[match.end() :]
        if not any(map(str.isalnum, wanted)):
            continue
        if match["but"] and not match["not"] and not says_everything(wanted, languages, roles):
            continue
        parts = tuple(filter(None, (_without_stop_words(each, languages) for each in _split(after, languages))))
        if 0 < len(parts) <= MAX_PARTS:
            return Clauses(wanted, parts)
    return _without_materials(text, languages)


def _without_materials(text: str, languages: tuple[str, ...]) -> Clauses:
    """Return a query without the materials that it excludes: "sofa" and ("leather",) for "sofa not made of leather"."""
    pattern = _materials_excluded(languages)
    excluded = dict.fromkeys(match["after"] or match["before"] for match in pattern.finditer(text))
    wanted = pattern.sub(" ", text).strip(" ,;-–")
    if not (excluded and any(map(str.isalnum, wanted))):
        return Clauses(text)
    return Clauses(" ".join(wanted.split()), tuple(excluded)[:MAX_PARTS])


def joined_parts(text: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    """Return the parts of a text that are joined by words such as "and", commas or slashes: ("shoes", "bags"). Empty
    without any."""
    parts = _split(text, languages)
    return parts if 1 < len(parts) <= MAX_PARTS and all(parts) else ()


def joining_word(languages: Sequence[str]) -> str:
    """Return a word that joins things, such as "and", in the first of the languages that has one."""
    lines = (line for each in languages for line in WORDS["and"].get(each, ()))
    return next(lines, "").partition(" ")[0]


def says_everything(text: str, languages: tuple[str, ...], roles: Roles) -> bool:
    """Return whether a text asks for whatever there is: "all products", "show me everything". Not if the catalogue
    calls something so, as a shop of books may."""
    words = query_words(text, languages)
    every, goods = words_for_all(languages), _goods(languages)

    def is_goods(word: QueryWord) -> bool:
        return word.word in goods and not roles.calls(word.stems.values())

    def is_all(word: QueryWord) -> bool:
        return word.word in every and not (len(words) == 1 and roles.calls(word.stems.values()))

    said = [is_all(word) or is_goods(word) for word in words]
    return any(said) and all(each or is_open(word, languages, roles) for each, word in zip(said, words, strict=True))


def is_open(word: QueryWord, languages: tuple[str, ...], roles: Roles) -> bool:
    """Return whether a word says nothing of what is sought: a filler word, or a verb of costing or wanting. Sizes and
    pictures, on the same lists, may be what is sought."""
    if has_digit(word.word) or word.word in SIZES or word.word.startswith(_pictures(languages)):
        return False
    is_listed = word.filler or word.word in stop_words(languages) or is_verb(word.word, languages)
    return is_listed and not roles.calls(word.stems.values())


@lru_cache(maxsize=64)
def _pictures(languages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for language in languages for each in picture_forms(language)[0])


def _split(text: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each.strip() for each in _joining(languages).split(text))


def _without_stop_words(text: str, languages: tuple[str, ...]) -> str:
    """Return a part without the stop words and negations before it: "bonsai" of "no bonsai"."""
    leading = stop_words(languages) | negations(languages)
    words = text.split()
    while words and words[0].casefold() in leading:
        words.pop(0)
    return " ".join(words)


@lru_cache(maxsize=64)
def _joining(languages: tuple[str, ...]) -> re.Pattern[str]:
    words = "|".join(word for each in languages for line in WORDS["and"].get(each, ()) for word in line.split())
    return re.compile(rf"\s*(?:[;&]|[,/+](?!\d))\s*(?:(?:{words})\s)?\s*|\s+(?:{words})\s+", re.IGNORECASE)


@lru_cache(maxsize=64)
def _excluding(languages: tuple[str, ...]) -> re.Pattern[str]:
    def pattern(name: str) -> str:
        return "|".join(line for each in languages for line in WORDS[name].get(each, ())) or r"(?!)"

    nots = "|".join(sorted(map(re.escape, negations(languages) - feature_marks(languages)))) or r"(?!)"
    return re.compile(
        rf"(?<!\w)(?:(?:{pattern('except')})|(?P<but>{pattern('but')})(?:\s+(?P<not>{nots}))?)(?!\w)\s*", re.IGNORECASE
    )


@lru_cache(maxsize=64)
def _materials_excluded(languages: tuple[str, ...]) -> re.Pattern[str]:
    def either(*tables: Mapping[str, str]) -> str:
        words = {word for table in tables for each in languages for word in table.get(each, "").split()}
        words |= {fold(word) for word in words if len(word) > 2}  # "lã" is no "la"
        return "|".join(sorted(map(re.escape, words), key=len, reverse=True)) or r"(?!)"

    # The Portuguese "no" is "in the", and not the English one.
    foreign = {each: stop_words(tuple(other for other in languages if other != each)) for each in languages}
    nots = {
        each: " ".join(word for word in NEGATIONS.get(each, "").split() if word not in foreign[each])
        for each in languages
    }
    material, between = either(_MATERIALS), either(STOP_WORDS, _MADE)
    free, endings = either(FREE), either(FREE_ENDINGS)
    # "Glass free standing" is not without glass.
    parts = {each: " ".join(_rest_of_qualifiers(each)) for each in languages}
    return re.compile(
        rf"(?<!\w)(?:(?:{either(nots)})[\s-]+(?:(?:{between})\s+)*(?P<after>{material})"
        rf"|(?P<before>{material})(?:[\s-]+(?:{free})(?![\s-]+(?:{either(parts)})\b)|(?:{endings})))(?!\w)",
        re.IGNORECASE,
    )


def _rest_of_qualifiers(language: str) -> list[str]:
    """Return what follows "free" in qualifiers of a language: the "standing" of "freestanding"."""
    free = FREE.get(language, "").split()
    return [
        word.removeprefix(each)
        for word in QUALIFIERS.get(language, "").split()
        for each in free
        if word != each and word.startswith(each)
    ]
