"""Stems of words, by the Snowball stemmer of their language."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

SNOWBALL = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french",
    "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian",
    "lt": "lithuanian", "nb": "norwegian", "ne": "nepali", "nl": "dutch", "no": "norwegian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil",
    "tr": "turkish",
}  # fmt: skip
"""Languages with a stemmer, by their code."""


SHORTEST = 3
"""The minimum number of letters of a stem that is prepared for the stemmer: the Turkish "çanta" has more than "ça"."""

_PLURAL_OR_POSSESSED = re.compile(r"(?<=...)l[ae]r[ıi]?$|(?<=[aeıioöuü])s[ıiuü]$")


def _dutch(word: str) -> str:
    """Return a word with the ending that the stemmer removes, in place of that of most adjectives, which it leaves:
    "rode" has the stem of "rood" as "roden"."""
    return f"{word}n" if word.endswith("e") else word


def _turkish(word: str) -> str:
    """Return a word without the ending of a plural, or of the last part of a compound, of which the stemmer leaves the
    "s": "çanta" of "omuz çantası"."""
    return _PLURAL_OR_POSSESSED.sub("", word)


_PREPARED = {"nl": _dutch, "tr": _turkish}


def stem(word: str, language: str) -> str:
    """Return the stem of a word in lower case; the word itself in a language without a stemmer."""
    name = SNOWBALL.get(language)
    if not name:
        return word
    stem_word: Callable[[str], str] = _stemmer(name).stemWord
    prepare = _PREPARED.get(language)
    if not prepare:
        return stem_word(word)
    for _ in range(2):  # "fietsen" is "fiets", which is "fiet"
        word = prepare(word)
        shorter = stem_word(word)
        if len(shorter) < SHORTEST:
            break
        word = shorter
    return word


@lru_cache(maxsize=64)
def _stemmer(name: str) -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer(name)
