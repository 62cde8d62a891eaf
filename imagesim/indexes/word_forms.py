"""Other forms of a word that stemmers and typing errors do not cover: its plural or singular, and another spelling."""

from __future__ import annotations

from functools import lru_cache

from imagesim.indexes.stop_words import IRREGULAR_PLURALS, PLURALS, SPELLINGS

SHORTEST = 3
"""The minimum number of letters of a singular."""


@lru_cache(maxsize=4_000)
def plurals(word: str, language: str) -> tuple[str, ...]:
    """Return what may be the plural of a word, or the singular."""
    if not word.isalpha():
        return ()
    found: list[str] = []
    for singular, plural in _pairs(IRREGULAR_PLURALS.get(language, "")):
        found += [other for form, other in ((singular, plural), (plural, singular)) if word == form]
    for singular, plural in _pairs(PLURALS.get(language, "")):
        for ending, other in ((singular, plural), (plural, singular)):
            form = word[: len(word) - len(ending)] + other
            if word.endswith(ending) and min(len(word), len(form)) >= SHORTEST:
                found.append(form)
    if word.endswith("s"):  # "glass" is no plural, and has none by an "s" alone
        found = [form for form in found if form not in (f"{word}s", word[:-1] if word.endswith("ss") else "")]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=4_000)
def other_spellings(word: str, language: str) -> tuple[str, ...]:
    """Return a word with a part of it in another spelling. Most of these are no words, which no catalogue has."""
    found = [
        word.replace(part, other)
        for pair in _pairs(SPELLINGS.get(language, ""))
        for part, other in (pair, pair[::-1])
        if part in word
    ]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=64)
def _pairs(written: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a table."""
    return tuple((first, second) for first, _, second in (pair.partition("-") for pair in written.split()))
