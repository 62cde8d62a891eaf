"""Find the stems of words with the Snowball stemmer of their language."""

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
"""The name of the Snowball stemmer for each language code."""


SHORTEST = 3
"""The minimum number of letters of a stem in a language with a preparing step: "ça" is too short for the Turkish
"çanta"."""

_PLURAL_OR_POSSESSED = re.compile(r"(?<=...)l[ae]r[ıi]?$|(?<=[aeıioöuü])s[ıiuü]$")


def _dutch(word: str) -> str:
    """Return a Dutch word that ends with "e" with the ending "en", which the stemmer removes while it leaves the "e" of
    adjectives: only as "roden" gets "rode" the stem of "rood"."""
    return f"{word}n" if word.endswith("e") else word


def _turkish(word: str) -> str:
    """Return a Turkish word without the ending of the plural, or of the last part of a compound, of which the stemmer
    would leave the "s": "çanta" for the second word of "omuz çantası"."""
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
    for _ in range(2):  # "fietsen" becomes "fiets", which has the stem "fiet"
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
