"""Analyse texts into words: their spelling without case and accents, and their stems."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

ANALYSIS = 2
"""Raised when indexes made before have to be rebuilt for their words to be found as well."""

MAX_TERMS = 16
"""Distinct words of a query that are looked up; further ones are ignored."""

MAX_WORD = 64
"""Characters of a word that count."""

MAX_TOKENS = 400
"""Words of one field that are indexed."""

SNOWBALL = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish",
    "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""Languages with a stemmer, by their code."""

_STOP = {
    "en": "a an and are as at be but by for from i in is it my of on or that the this to with your we me some",
    "de": "der die das den dem des ein eine einer eines einem einen und oder für mit von vom zum zur im in am an auf "
    "aus bei ist zu als auch nach ich mein meine",
    "fr": "le la les l un une des du de d et ou pour avec sans en dans sur au aux ce cette est à",
    "es": "el la los las un una unos unas y o de del para con sin en por al es que",
    "it": "il lo la i gli le un uno una e o di del della dei per con senza in su da al alla è",
    "nl": "de het een en of voor met van in op te bij aan uit is",
    "pt": "o a os as um uma uns umas e ou de do da dos das para com sem em no na por ao",
}
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
# From the start of a word only: from each of its letters, a long word would take time by the square of its length.
_JOINED = re.compile(r"(?<![^\W_])[^\W_]+(?:[-‐‑][^\W_]+)+")
_HYPHENS = "-‐‑"
_POSSESSIVE = re.compile(r"['’]s?$|['’]")
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]+")


class Token(NamedTuple):
    """An analysed word: its spelling without case and accents, and its stem."""

    word: str
    stem: str


def fold(text: str) -> str:
    """``text`` without case, compatibility forms and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@lru_cache(maxsize=200_000)
def _token(word: str, language: str) -> Token:
    name = SNOWBALL.get(language)
    stem = _stemmer(name).stemWord(word) if name else word
    return Token(fold(word), fold(stem))


@lru_cache(maxsize=64)
def _stemmer(name: str) -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer(name)


@lru_cache(maxsize=64)
def stop_words(languages: tuple[str, ...]) -> frozenset[str]:
    """Return the stop words of these languages."""
    return frozenset(fold(word) for language in languages for word in _STOP.get(language, "").split())


def base_language(code: str) -> str:
    """``'pt-br'`` -> ``'pt'``."""
    return code.lower().replace("_", "-").partition("-")[0]


@lru_cache(maxsize=4_000)
def analyse(text: str, language: str) -> tuple[Token, ...]:
    """The words of ``text`` in their order; runs of a script without spaces as pairs of characters.

    A hyphenated word is followed by the same in one piece (``t-shirt``: ``t``, ``shirt``, ``tshirt``).
    """
    text = (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()
    tokens: list[Token] = []
    for match in _WORD.finditer(text):
        word = match[0][:MAX_WORD]
        if not word.isalnum():
            word = _POSSESSIVE.sub("", word)
        if not word.isascii() and _NO_SPACES.fullmatch(word):
            pairs = [word[i : i + 2] for i in range(len(word) - 1)] or [word]
            tokens += [Token(pair, pair) for pair in pairs]
        elif word:
            tokens.append(_token(word, language))
        if len(tokens) >= MAX_TOKENS:
            break
    for match in _JOINED.finditer(text) if any(hyphen in text for hyphen in _HYPHENS) else ():
        tokens.append(_token(_in_one_piece(match[0]), language))
    return tuple(tokens[:MAX_TOKENS])


def _in_one_piece(hyphenated: str) -> str:
    return re.sub(r"[-‐‑]", "", hyphenated)[:MAX_WORD]


@dataclass(frozen=True, slots=True)
class QueryWord:
    """A word of a query with its stem in each language of the index."""

    word: str
    stems: Mapping[str, str]
    last: bool = False


def query_words(text: str, languages: Sequence[str]) -> list[QueryWord]:
    """Return the distinct words of a query, without stop words of the languages if other words remain."""
    by_language = {language: analyse(text, language) for language in languages}
    positions = next(iter(by_language.values()), ())
    words = [
        QueryWord(token.word, {language: by_language[language][i].stem for language in languages})
        for i, token in enumerate(positions)
    ]
    stop = stop_words(tuple(languages))
    kept = [word for word in words if word.word not in stop] or words
    distinct = list({word.word: word for word in kept}.values())[:MAX_TERMS]
    joined = {word.word for word in distinct}
    # "t-shirt" is searched as two words or as one, not as three.
    whole = {fold(_in_one_piece(match[0])) for match in _JOINED.finditer(text.lower())}
    distinct = [word for word in distinct if word.word not in whole or len(joined) == 1]
    if distinct:
        last = distinct[-1]
        distinct[-1] = QueryWord(last.word, last.stems, last=not text[-1:].isspace())
    return distinct
