"""Find the stems of words with the Snowball stemmer of their language."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from imagesim.indexes.stop_words import OWN_STEMS

SNOWBALL = {
    "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french",
    "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian",
    "lt": "lithuanian", "nb": "norwegian", "ne": "nepali", "nl": "dutch", "no": "norwegian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil",
    "tr": "turkish",
}  # fmt: skip
"""The name of the Snowball stemmer for each language code. Arabic has a better one here."""


SHORTEST = 3
"""The minimum number of letters of a stem in a language with a preparing step: "ça" is too short for the Turkish
"çanta"."""

_S_PLURAL = re.compile(r"(?<=..[^aeiouy][aiouy])s$|(?<=.[^m]p)s$")
_TABLE_OR_FISH = re.compile(r"(.*[ft]isch)(?:e[mnrs]?|s)?")
_PLURAL_OR_POSSESSED = re.compile(r"(?<=...)l[ae]r[ıi]?$|(?<=[aeıioöuü])s[ıiuü]$")


_ADJECTIVE = re.compile(r"(?<=.ał)(?:y|a|e|ą|ego|ej|emu|ych|ym|ymi)$")
_GENITIVE_PLURAL = re.compile(r"(?<=...)ow$")
_NOT_SPELLED = re.compile("[\u0640\u064b-\u0652\u0670]")  # short vowels, and the letter that only makes a word wider
# The last two are those of a Persian keyboard.
_ALIFS = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ة": "ه", "ی": "ي", "ک": "ك"})
_ARTICLE = re.compile("^(?:[وفبك]?ال|و?لل)(?=...)")
_WEAK = re.compile("[اويئؤء]+")
_SAAT = re.compile("^saat(?:i|leri?)$")
_VOWELS = frozenset("aeıioöuü")
_FINAL_LETTERS = str.maketrans("ךםןףץ", "כמנפצ")


def _dutch(word: str) -> str:
    """Return a Dutch word that ends with "e" with the ending "en", which the stemmer removes while it leaves the "e" of
    adjectives: only as "roden" gets "rode" the stem of "rood"."""
    return f"{word}n" if word.endswith("e") else word


def _polish(word: str) -> str:
    """Return a Polish word with the accent of its ending, where it is typed without ("butow"), and an adjective such as
    "biały" (white), which the stemmer takes for a verb, without its ending."""
    return _GENITIVE_PLURAL.sub("ów", _ADJECTIVE.sub("", word))


def _turkish(word: str) -> str:
    """Return a Turkish word without the ending of the plural, or of the last part of a compound, of which the stemmer
    would leave the "s": "çanta" for the second word of "omuz çantası". Its vowels are in harmony, so that "ayakkabi",
    typed without the letter "ı", has the endings of "ayakkabı"; but not in the foreign "saati" (watch)."""
    letters, back = list(_SAAT.sub("saat", word)), False
    for number, letter in enumerate(letters):
        if letter in "ıi" and back:
            letters[number] = "ı"
        elif letter in _VOWELS:
            back = letter in "aıou"
    return _PLURAL_OR_POSSESSED.sub("", "".join(letters))


_ARABIC = {"ستاره": "ستار", "ستائر": "ستار", "مكتبه": "مكتبه", "مكتبات": "مكتبه"}
"""Arabic words, as they are typed without the dots of the last letter, with the consonants of another thing that shops
sell: curtains ("ستائر") with those of jackets, a bookcase ("مكتبة") with those of a desk."""


def _arabic(word: str) -> str:
    """Return the consonants of an Arabic word. Most plurals have other vowels than the singular, so that no ending
    tells them: "فستان" (dress) and "فساتين", "كوب" (cup) and "أكواب"."""
    word = _ARTICLE.sub("", _NOT_SPELLED.sub("", word)).translate(_ALIFS)
    if own := _ARABIC.get(word):
        return own
    for ending, least in (("ات", 2), ("ه", 2), ("ين", 3), ("ون", 3), ("ان", 3)):
        rest = word.removesuffix(ending)
        if rest != word and len(_WEAK.sub("", rest)) >= least:
            word = rest
    word = _WEAK.sub("و", word[1:] if word.startswith("ا") and len(word) > SHORTEST else word)
    word = word[:1] + word[1:].rstrip("و")
    strong = word[:1] + word[1:].replace("و", "")
    return strong if len(strong) >= SHORTEST else word


def _hebrew(word: str) -> str:
    """Return a Hebrew word without the article and the endings of number, gender and the construct state: "שמל" for
    "שמלה" (dress), "השמלות" and "שמלת"."""
    word = word.translate(_FINAL_LETTERS)
    word = word[1:] if word.startswith("ה") and len(word) > SHORTEST + 1 else word
    for ending, least in (("יימ", 2), ("ימ", 2), ("ות", 2), ("ה", 2), ("ת", 3), ("י", 3)):
        if word.endswith(ending) and len(word) - len(ending) >= least:
            return word[: -len(ending)]
    return word


def _german(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of a German word: without the "s" of the plural of "Sofas" or "Laptops", which the stemmer
    leaves, and with the end of "Esszimmertisch" and "Räucherfisch", which it takes for the ending of an adjective."""
    if found := _TABLE_OR_FISH.fullmatch(word):
        return found[1]
    return stem_word(_S_PLURAL.sub("", word))


_PLURAL_OF_INITIALS = re.compile(r"([^aeiouy]{2,}(?<!s))s")


def _english(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of an English word: without the "s" of "TVs" or "DVDs", which the stemmer leaves."""
    found = _PLURAL_OF_INITIALS.fullmatch(word)
    return found[1] if found else stem_word(word)


def _listed(pairs: str) -> dict[str, str]:
    """Return the stems of words that are listed as "word-stem word-stem"."""
    return {word: own for word, _, own in (pair.partition("-") for pair in pairs.split())}


_LISTED = {language: _listed(pairs) for language, pairs in OWN_STEMS.items()}


def is_other_word(word: str, stem: str, language: str) -> bool:
    """Return whether a word has a stem of its own, in place of ``stem``: "schale" is no form of "schal"."""
    own = _LISTED.get(language, {}).get(word)
    return own is not None and own != stem


PLURALS_ONLY = frozenset(word for word, own in _LISTED["en"].items() if word == own and word.endswith("s"))
"""English words without a singular."""

_OWN = {"ar": _arabic, "he": _hebrew}
_AROUND = {"de": _german, "en": _english}
_PREPARED = {"nl": _dutch, "pl": _polish, "tr": _turkish}

CHANGED_WITHIN = frozenset({"ar", "ga", "he", "id", "nl"})
"""Languages in which the stem of a word may begin with other letters than the word."""


def stem(word: str, language: str) -> str:
    """Return the stem of a word in lower case; the word itself if there is no stemmer, or if it ends with a digit, as
    codes do and no form of a word."""
    if word[-1:].isdigit():
        return word
    if own := _OWN.get(language):
        return word if word.isascii() else own(word)
    name = SNOWBALL.get(language)
    if not name:
        return word
    if listed := _LISTED.get(language, {}).get(word):
        return listed
    stem_word: Callable[[str], str] = _stemmer(name).stemWord
    if around := _AROUND.get(language):
        return around(word, stem_word)
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
