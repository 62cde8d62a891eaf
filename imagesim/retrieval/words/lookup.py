"""Looks up the words of a query among those of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from imagesim.language.analysis import NO_SPACES, normalised, stem_of
from imagesim.language.letters import spelled
from imagesim.language.query_words import QueryWord, query_words
from imagesim.language.stop_words import INFLECTIONS
from imagesim.language.word_roles import Roles

_DIVISION = re.compile(rf"[\W_]|[xX]\d|{NO_SPACES.pattern}")
"""The places at which the analysis divides a typed word into several."""


def own_stems(word: QueryWord, roles: Roles) -> Collection[str]:
    """Return the stems of a word, and those of its other forms that the catalogue contains: the French stemmer gives
    "oreiller" (pillow) the stem of "oreille" (ear), and "oreillers" another one."""
    return (word.other_stems & roles.known).union(word.stems.values())


def words_in(typed: str, languages: Sequence[str]) -> Sequence[QueryWord]:
    """Return the words into which the analysis divides a typed one, to look them up in the catalogue. If it is not
    divided, the word has only its stems, and none of the properties from lists, which take the most time."""
    if not typed or _DIVISION.search(typed):
        return query_words(typed, languages)
    return [QueryWord(spelled(typed, *languages), {each: stem_of(normalised(typed, each), each) for each in languages})]


def has_all(typed: str, roles: Roles, languages: Sequence[str]) -> bool:
    """Return whether the catalogue has all words into which the analysis divides a typed one."""
    words = words_in(typed, languages)
    return bool(words) and all(roles.has(own_stems(word, roles)) for word in words)


def known_words(
    words: Sequence[QueryWord],
    typed: Sequence[Collection[str]],
    spelled: Collection[str],
    roles: Roles,
    endings: Mapping[int, str],
) -> str:
    """Return the words of a query that tell what is sought, if the catalogue lacks others; empty if it has all of them.

    These are words by which things are called, also as the last part of compounds ("Pumpe", if there is a
    "Tauchpumpe"), and names, which are in no dictionary. For a compound that the catalogue lacks, it is the last part.
    ``typed``: the stems of each word as typed; ``spelled``: the words that are spelled correctly; ``endings``: the last
    parts of the compounds that the catalogue lacks, by the number of the word.
    """
    if all(map(roles.has, typed)):
        return ""

    def tells(word: QueryWord, stems: Collection[str]) -> bool:
        is_name = word.word not in spelled and not word.qualifier and roles.is_written(stems)
        ends = not INFLECTIONS.keys().isdisjoint(word.stems) and roles.ends_compounds(word.endings)
        return not word.filler and (is_name or ends or roles.identifies(stems))

    known = ((endings.get(n), word.word if tells(word, typed[n]) else "") for n, word in enumerate(words))
    return " ".join(filter(None, (ending or word for ending, word in known)))
