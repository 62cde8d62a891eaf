"""How words are spelled to be compared: without case and accents, or as their language needs it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from imagesim.language.codes import DIGITS

_VOICED = frozenset("\u3099\u309a")  # Unicode takes these marks of Japanese letters for accents: "ハ", "バ", "パ"
# These letters are not decomposed into a letter and an accent by Unicode.
_PLAIN_LETTERS = str.maketrans({"æ": "ae", "đ": "d", "ı": "i", "ł": "l", "ø": "o", "œ": "oe"}) | DIGITS

_TONE = re.compile("[\u0300\u0301\u0303\u0309\u0323]")
_OTHER_MARKS = re.compile("[\u0304\u0305\u0307\u0308\u030a-\u031a\u031c-\u0322\u0324-\u036f]")
_OWN = re.compile("[\u0300-\u0303\u0306\u0309\u031b\u0323đ]")
_FIRST_VOWEL = re.compile("[aeiouy][\u0302\u0306\u031b]*")

_SERBIAN = str.maketrans(
    dict(zip("абвгдежзијклмнопрстћуфхцчшђ", "abvgdežzijklmnoprstćufhcčšđ", strict=True))
    | {"љ": "lj", "њ": "nj", "џ": "dž"}
)


_WITH = re.compile(r"(?<![\w/])(?<!\d )w/(?:(o|out)(?!\w)|(?!\w{1,2}(?!\w)))\s*", re.IGNORECASE)
_LETTER = re.compile(r"(?<![\w/])(?<!\d )([csp])/(?=\s|\d|[^\W\d_]{3})\s*", re.IGNORECASE)
_BY_LETTER = {"es": {"c": "con ", "s": "sin ", "p": "para "}, "pt": {"c": "com ", "s": "sem ", "p": "para "}}


def written_out(text: str, language: str = "") -> str:
    """Return ``text`` with "without" for "w/o" and "with" for "w/", unless this may be a unit: "60 W/220 V". In Spanish
    and Portuguese, the same for "s/" and "c/", and for "p/" (for)."""
    if "/" not in text:
        return text
    if words := _BY_LETTER.get(language):
        text = _LETTER.sub(lambda match: words[match[1].lower()], text)
    return _WITH.sub(lambda match: "without " if match[1] else "with ", text)


def fold(text: str) -> str:
    """Return ``text`` without case, compatibility characters and accents, and with ASCII digits."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(each for each in decomposed if not unicodedata.combining(each) or each in _VOICED)
    if not _VOICED.isdisjoint(plain):
        plain = unicodedata.normalize("NFC", plain)
    return plain.translate(_PLAIN_LETTERS)


def _vietnamese(word: str) -> str:
    """Return a Vietnamese word with its accents, which tell words apart: "giấy" is paper, and "giày" a shoe. The mark
    of the tone is on the first vowel, because it is typed on either of two ("khóa", "khoá")."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    if not _OWN.search(decomposed):
        return fold(word)
    plain = _OTHER_MARKS.sub("", decomposed)
    tone = _TONE.search(plain)
    plain = _TONE.sub("", plain)
    if tone:
        plain = _FIRST_VOWEL.sub(lambda vowel: vowel[0] + tone[0], plain, count=1)
    return unicodedata.normalize("NFC", plain)


def _serbian(word: str) -> str:
    """Return a Serbian word in Latin letters, in which it may be typed as well."""
    return fold(word.lower().translate(_SERBIAN))


_NASAL = re.compile("[ङञणनम]्(?=[क-म])|ँ")


def _hindi(word: str) -> str:
    """Return a word in Devanagari with the same letter for each way to write a nasal before a consonant, and for a
    nasal vowel: "तंबू" for "तम्बू" (tent), "कुर्सियां" for "कुर्सियाँ" (chairs)."""
    return fold(_NASAL.sub("ं", unicodedata.normalize("NFC", word)))


_SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "hi": _hindi, "mr": _hindi, "ne": _hindi, "sr": _serbian, "vi": _vietnamese,
}  # fmt: skip
"""Languages whose words are not compared as :func:`fold` spells them."""

_ALIKE = {
    "sr": frozenset({"be", "bg", "kk", "mk", "ru", "uk"}),
    "vi": frozenset({"ca", "cs", "es", "et", "fr", "ga", "gl", "hu", "is", "it", "pl", "pt", "ro", "sk"}),
}
"""Languages with the Cyrillic letters of Serbian, and those with accents of Vietnamese ("été")."""

_THAI = re.compile("[\u0e00-\u0e7f]")
_CHARACTERS = re.compile(
    "[\u0e40-\u0e44]?[\u0e01-\u0e2e][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]*[\u0e30\u0e32\u0e33\u0e45]?|."
)


def characters(text: str) -> list[str]:
    """Return the characters of a text in a script without spaces. In Thai, the vowels and the tone of a consonant
    belong to it, on whichever side they are: "เก้าอี้" (chair) has two, "เก้า" and "อี้"."""
    return _CHARACTERS.findall(text) if _THAI.search(text) else list(text)


ACCENTED = frozenset({"vi"})
"""Languages in which accents tell words apart. A query without any, as many type, finds the words with all of them."""

KEPT = frozenset({"dé", "dés", "nó"})
"""Words that keep their accents, in every language, because without them they are stop words: French dice and
Portuguese knots. (The Spanish "dé", gives, and the Dutch "dé", the, are stop words of their own.)"""

UNACCENTED = "ˑ"
"""The last character of a stem for all words that are spelled like it apart from their accents: "giayˑ" for "giày" and
"giấy"."""


def spelled(word: str, *languages: str) -> str:
    """Return a word as it is compared: as :func:`fold` does, unless it is one of ``KEPT``, or one of the ``languages``
    has a spelling of its own."""
    if word.isascii():
        return word.lower()
    if (own := unicodedata.normalize("NFC", word.lower())) in KEPT:
        return own
    return _SPELLINGS.get(spelling_language(languages), fold)(word)


def spelling_language(languages: Sequence[str]) -> str:
    """Return the one of ``languages`` that :func:`spelled` goes by: one with a spelling of its own, unless another is
    written in the same letters, so that its words would be spelled differently from its texts. Then words of the
    former are found by their stems."""
    own = (each for each in _SPELLINGS if each in languages and _ALIKE.get(each, frozenset()).isdisjoint(languages))
    others = (each for each in languages if each not in _SPELLINGS)
    return next(chain(own, others, languages), "")
