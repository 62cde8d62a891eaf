"""Find the stems of words with the Snowball stemmer of their language."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
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

_S_PLURAL = re.compile(r"(?<=..[^aeiouy][aiouy])s$|(?<=.[^m]p)s$")
_TABLE_OR_FISH = re.compile(r"(.*[ft]isch)(?:e[mnrs]?|s)?")
_PLURAL_OR_POSSESSED = re.compile(r"(?<=...)l[ae]r[ıi]?$|(?<=[aeıioöuü])s[ıiuü]$")


def _dutch(word: str) -> str:
    """Return a Dutch word that ends with "e" with the ending "en", which the stemmer removes while it leaves the "e" of
    adjectives: only as "roden" gets "rode" the stem of "rood"."""
    return f"{word}n" if word.endswith("e") else word


def _turkish(word: str) -> str:
    """Return a Turkish word without the ending of the plural, or of the last part of a compound, of which the stemmer
    would leave the "s": "çanta" for the second word of "omuz çantası"."""
    return _PLURAL_OR_POSSESSED.sub("", word)


_GERMAN = {
    "buche": "buche", "buchen": "buche",
    "karte": "karte", "karten": "karte", "kohle": "kohle", "kohlen": "kohle", "küche": "küche", "küchen": "küche",
    "leder": "leder", "matte": "matte", "matten": "matte", "reise": "reise", "reisen": "reise", "rahmen": "rahmen",
    "roller": "roller", "schale": "schale", "schalen": "schale",
}  # fmt: skip
"""German words to which the stemmer gives the stem of another thing that shops sell: to leather ("Leder") that of LED,
to beech ("Buche") that of a book, to a bowl ("Schale") that of a scarf ("Schal")."""


def _german(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of a German word: without the "s" of the plural of "Sofas" or "Laptops", which the stemmer
    leaves, and with the end of "Esszimmertisch" and "Räucherfisch", which it takes for the ending of an adjective."""
    if found := _TABLE_OR_FISH.fullmatch(word):
        return found[1]
    return _GERMAN.get(word) or stem_word(_S_PLURAL.sub("", word))


_ENGLISH = {
    "bedding": "bedding", "bowling": "bowling", "boxing": "boxing", "briefs": "briefs", "clothes": "clothes",
    "clothing": "clothes", "coated": "coated", "coating": "coated", "dressing": "dressing", "dressings": "dressing",
    "fishing": "fishing", "flooring": "flooring", "icing": "icing", "knitting": "knitting", "legged": "legged",
    "legging": "legging", "leggings": "legging", "padded": "padded", "padding": "padded", "painting": "painting",
    "paintings": "painting", "pcs": "pcs", "plated": "plated", "pressed": "pressed", "rugged": "rugged",
    "shorts": "shorts", "skirting": "skirting", "stocking": "stocking", "stockings": "stocking", "suited": "suited",
    "tights": "tights", "topped": "topped", "topping": "topping", "toppings": "topping", "training": "training",
    "wrapping": "wrapping",
}  # fmt: skip
"""English words to which the stemmer gives the stem of another thing that shops sell, or of what things are like: to
leggings that of a "three-legged table", and to shorts that of a "short sleeve"."""

_PLURAL_OF_INITIALS = re.compile(r"([^aeiouy]{2,}(?<!s))s")


def _english(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of an English word: without the "s" of "TVs" or "DVDs", which the stemmer leaves."""
    found = _PLURAL_OF_INITIALS.fullmatch(word)
    return found[1] if found else stem_word(word)


def is_other_word(word: str, stem: str, language: str) -> bool:
    """Return whether a word has a stem of its own, in place of ``stem``: "schale" is no form of "schal"."""
    own = {"de": _GERMAN, "en": _ENGLISH}.get(language, {}).get(word)
    return own is not None and own != stem


PLURALS_ONLY = frozenset(word for word, own in _ENGLISH.items() if word == own and word.endswith("s"))
"""English words without a singular."""

_PREPARED = {"nl": _dutch, "tr": _turkish}


def stem(word: str, language: str) -> str:
    """Return the stem of a word in lower case; the word itself if there is no stemmer, or if it ends with a digit, as
    codes do and no form of a word."""
    name = SNOWBALL.get(language)
    if not name or word[-1:].isdigit():
        return word
    stem_word: Callable[[str], str] = _stemmer(name).stemWord
    if language == "en":
        return _ENGLISH.get(word) or _english(word, stem_word)
    if language == "de":
        return _german(word, stem_word)
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


def _stemmer(name: str) -> Any:
    """Return the stemmer of this name for the current thread; it keeps the word that it works on."""
    found = vars(_of_thread).get(name)
    if found is None:
        import snowballstemmer

        found = vars(_of_thread)[name] = snowballstemmer.stemmer(name)
    return found


_of_thread = threading.local()
