"""Stems of words, by the Snowball stemmer of their language."""

from __future__ import annotations

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


def stem(word: str, language: str) -> str:
    """Return the stem of a word in lower case; the word itself in a language without a stemmer."""
    name = SNOWBALL.get(language)
    if not name:
        return word
    if language == "nl":
        return _dutch(word)
    found: str = _stemmer(name).stemWord(word)
    return found


def _dutch(word: str) -> str:
    """Return the stem of a Dutch word. The stemmer leaves the ending of most adjectives as it is, but removes it with
    an "n": "rode" has the stem of "rood" as "roden". And "fietsen" is "fiets", which is "fiet"."""
    for _ in range(2):
        word = _stemmer("dutch").stemWord(f"{word}n" if word.endswith("e") else word)
    return word


@lru_cache(maxsize=64)
def _stemmer(name: str) -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer(name)
