"""Analyse texts into words: their spelling without case and accents, and their stems."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from imagesim.indexes import stemmers
from imagesim.indexes.stop_words import (
    AMOUNTS,
    CONJUNCTIONS,
    ELIDED,
    FEATURES,
    FILLERS,
    HEAD_FIRST,
    INFLECTIONS,
    NEGATIONS,
    PREPOSITIONS,
    QUALIFIERS,
    SHADES,
    SIZES,
    STOP_WORDS,
    UNITS,
)
from imagesim.indexes.word_forms import other_spellings, plurals
from imagesim.word_roles import has_digit

if TYPE_CHECKING:
    from imagesim.types import IndexMeta

ANALYSIS = 4
"""Raised when indexes made before have to be rebuilt for their words to be found as well."""

MAX_TERMS = 16
"""Distinct words of a query that are looked up; further ones are ignored."""

MAX_WORD = 64
"""Characters of a word that count."""

MAX_TOKENS = 400
"""Words of one field that are indexed."""

SHORTEST_PART = 4
"""The minimum number of letters of a part that a compound is found by."""

SHORTEST_SLIP = 3
"""The minimum number of letters of a stop word that is known with two of them exchanged."""

HYPHEN = re.compile("[-‐‑]")
# To regular expressions, vowel signs and other marks are no part of a word; in Hindi, Thai and others they are.
_MARKS = "".join(map(chr, filter(lambda code: unicodedata.category(chr(code))[0] == "M", range(0x300, 0x2000))))
_LETTERS = rf"[^\W_]+(?:[{_MARKS}][^\W_]*)*"
# Of more than two numbers nobody knows what divides them: "38,39,40".
DECIMAL = r"(?<!\d[.,])(?<!\d)\d+[.,]\d+(?![.,]?\d)"
_WORD = re.compile(rf"{DECIMAL}[^\W\d_]*|{_LETTERS}(?:['’]{_LETTERS})?")
# From the start of a word only: from each of its letters, a long word would take time by the square of its length.
_JOINED = re.compile(rf"(?<![^\W_])(?<![{_MARKS}]){_LETTERS}(?:{HYPHEN.pattern}{_LETTERS})+")
_POSSESSIVE = re.compile(r"['’]s?$|['’]")
_ELISION = re.compile(rf"(?<![^\W_])(?:{'|'.join(sorted(ELIDED))})['’](?=[aeiouyhàâéèêëîïôùûœ])", re.IGNORECASE)
_TURKISH_CAPITALS = str.maketrans({"I": "ı", "İ": "i"})
_SOFT_HYPHEN = "\u00ad"
# Unicode does not decompose these into a letter and an accent.
_PLAIN_LETTERS = str.maketrans({"æ": "ae", "đ": "d", "ı": "i", "ł": "l", "ø": "o", "œ": "oe"})
# A letter of another script beside one of hiragana, which Japanese writes particles and endings with.
_GRAMMAR = re.compile(r"([^\u3041-\u309f])?[\u3041-\u309f](?(1)|([^\u3041-\u309f]))")
_WITHOUT_SPACES = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
_NO_SPACES = re.compile(f"[{_WITHOUT_SPACES}]+")
_SCRIPTS = re.compile(f"[{_WITHOUT_SPACES}]+|[^{_WITHOUT_SPACES}]+")


class Token(NamedTuple):
    """An analysed word: its spelling without case and accents, and its stem."""

    word: str
    stem: str


def fold(text: str) -> str:
    """``text`` without case, compatibility forms and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return plain.translate(_PLAIN_LETTERS)


_AMOUNTS = frozenset(map(fold, AMOUNTS))
_UNITS = frozenset(map(fold, UNITS))


@lru_cache(maxsize=200_000)
def _token(word: str, language: str) -> Token:
    return Token(fold(word), fold(stemmers.stem(word, language)))


def stem_of(word: str, language: str) -> str:
    """Return the stem of a word in lower case."""
    return _token(word, language).stem


def stem_key(language: str, stem: str) -> str:
    """Return a stem with its language, as one text."""
    return f"{language}:{stem}"


def _words_of(table: Mapping[str, str]) -> Callable[[tuple[str, ...]], frozenset[str]]:
    """Return a function that gives the words of a table of :mod:`~imagesim.indexes.stop_words` for some languages."""

    @lru_cache(maxsize=64)
    def words(languages: tuple[str, ...]) -> frozenset[str]:
        return frozenset(fold(word) for language in languages for word in table.get(language, "").split())

    return words


stop_words = _words_of(STOP_WORDS)
negations = _words_of(NEGATIONS)
_features = _words_of(FEATURES)
_prepositions = _words_of(PREPOSITIONS)
_qualifiers = _words_of(QUALIFIERS)
_shades = _words_of(SHADES)


def _stems_of(table: Mapping[str, str]) -> Callable[[str], frozenset[str]]:
    """Return a function that gives the stems of the words of such a table for one language."""

    @lru_cache(maxsize=64)
    def stems(language: str) -> frozenset[str]:
        return frozenset(token.stem for token in analyse(table.get(language, ""), language))

    return stems


def _has_stem(stems: Mapping[str, str], of: Callable[[str], frozenset[str]]) -> bool:
    """Whether a word, of which these are the stems by language, is in such a table in one of them."""
    return any(stem in of(language) for language, stem in stems.items())


_filler_stems = _stems_of(FILLERS)
_qualifier_stems = _stems_of(QUALIFIERS)
_shade_stems = _stems_of(SHADES)


@lru_cache(maxsize=64)
def _slips(languages: tuple[str, ...]) -> frozenset[str]:
    """Return the stop words of these languages with two neighbouring letters exchanged."""
    stop = stop_words(languages)
    slips = {
        word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        for word in stop
        if len(word) >= SHORTEST_SLIP
        for i in range(len(word) - 1)
    }
    return frozenset(slips - stop)


def base_language(code: str) -> str:
    """``'pt-br'`` -> ``'pt'``."""
    return code.lower().replace("_", "-").partition("-")[0]


def languages_of(meta: IndexMeta) -> tuple[str, ...]:
    """Return the languages of the texts of an index."""
    return tuple(dict.fromkeys(base_language(spec.language) for spec in meta.texts.values()))


@lru_cache(maxsize=4_000)
def analyse(text: str, language: str) -> tuple[Token, ...]:
    """The words of ``text`` in their order; runs of a script without spaces as pairs of characters
    (``白Tシャツ``: ``白``, ``t``, ``シャ``, ``ャツ``).

    A hyphenated word is followed by the same in one piece (``t-shirt``: ``t``, ``shirt``, ``tshirt``). A decimal is one
    word, with a unit that is written to it (``8,5W``: ``8.5w``). All languages divide a text in the same way: what is
    elided is a word in each (``d'été``: ``d``, ``été``).
    """
    text = _normalised(text.translate(_TURKISH_CAPITALS) if language == "tr" else text)
    tokens: list[Token] = []
    for match in _WORD.finditer(text):
        word = match[0][:MAX_WORD]
        if not word.isalnum():
            elided, _, rest = word.replace("’", "'").partition("'")
            if rest and elided in ELIDED:
                tokens.append(_token(elided, language))
                word = rest
            word = _POSSESSIVE.sub("", word.replace(",", "."))
        for part in [word] if word.isascii() else _SCRIPTS.findall(word):
            if _NO_SPACES.match(part):
                pairs = [part[i : i + 2] for i in range(len(part) - 1)] or [part]
                tokens += [Token(pair, pair) for pair in pairs]
            elif part:
                tokens.append(_token(part, language))
        if len(tokens) >= MAX_TOKENS:
            break
    for match in _JOINED.finditer(text) if HYPHEN.search(text) else ():
        tokens.append(_token(_in_one_piece(match[0]), language))
    return tuple(tokens[:MAX_TOKENS])


def _normalised(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace(_SOFT_HYPHEN, "")
    return text.lower()


def _in_one_piece(hyphenated: str) -> str:
    return HYPHEN.sub("", hyphenated)[:MAX_WORD]


def listed_stems(names: Sequence[str], language: str) -> frozenset[str]:
    """Return the stems of what the names of a category list: "sofa" and "table" of "Sofas & tables", "shirt" and "top"
    of "Women's shirts and tops". Empty for a name of one part, or if all parts have one head."""
    conjunction = CONJUNCTIONS.get(language, "and")
    head = 0 if language in HEAD_FIRST else -1
    found: set[str] = set()
    for name in names:
        parts = [analyse(part, language) for part in re.split(rf"[&,/+;|]|\s{conjunction}\s", name.lower())]
        heads = {tokens[head].stem for tokens in parts if tokens}
        found |= heads if len(heads) > 1 else set()
    return frozenset(found)


def features(names: Sequence[str], language: str) -> frozenset[Token]:
    """Return the words of names that say only what the thing has or is for: "camera" of "Baby monitor with camera"."""
    marks, own, mentioned = _features((language,)), set[Token](), set[Token]()
    for name in names:
        words = analyse(name, language)
        first = next((n for n, token in enumerate(words) if n and token.word in marks), len(words))
        own.update(words[:first])
        mentioned.update(words[first + 1 :])
    return frozenset(mentioned - own)


def kind_of(name: str, language: str) -> tuple[str, ...]:
    """Return the stems of the name of a category, that for what its things are last: "garden table" of "Garden tables",
    "drawer chest" of "Chests of drawers". Empty for a list (:func:`listed_stems`)."""
    if listed_stems([name], language):
        return ()
    words = query_words(name, (language,))
    head = 0
    while language not in HEAD_FIRST and head + 1 < len(words) and _continues(words[head + 1]):
        head += 1
    return tuple(word.stems[language] for word in (*words[:head], *words[head + 1 :], *words[head : head + 1]))


def _continues(word: QueryWord) -> bool:
    """Whether a word of a name specifies, with the word before it, the same thing."""
    return word.follows and not word.complement


@dataclass(frozen=True, slots=True)
class QueryWord:
    """A word of a query with its stem in each language of the index.

    ``last``: it is still being typed. ``follows``: no stop word stands between it and the word before. ``filler``: it
    asks for no product: "cheap". ``slip``: it may be a stop word with two letters exchanged ("hte"), or in Japanese a
    part of the grammar. ``joined``: it in one piece with the word before, and with the one after: "skateboard" for
    "skate board". ``complement``: it says what the thing before is for, or like. ``shade``: beside a colour it is a
    part of its name: "light blue". ``unit``: it says of what the number before it is: "5 kg". ``qualifier``: it never
    says what a thing is: "modern".
    """

    word: str
    stems: Mapping[str, str]
    last: bool = False
    follows: bool = False
    filler: bool = False
    slip: bool = False
    joined: tuple[str, ...] = ()
    complement: bool = False
    shade: bool = False
    unit: bool = False
    qualifier: bool = False

    @property
    def spellings(self) -> list[tuple[str, Mapping[str, str]]]:
        """What is the same word, each with its stem in each language."""
        found = [(self.word, self.stems)]
        for joined in self.joined:
            first = len(joined) - len(self.word) if joined.endswith(self.word) else len(self.word)
            stems = {language: _token(joined, language).stem for language in self.stems}
            # The stem of "weisses" and "t" in one piece, "weiss", has nothing of the second word.
            found.append((joined, {language: stem for language, stem in stems.items() if len(stem) > first}))
        if match := _GRAMMAR.fullmatch(self.word):  # "青い" (blue) is written "青" alone, too
            found.append((match[1] or match[2], {}))
        found += [(form, {}) for form in self._forms(plurals)]
        return found + list(self._forms(other_spellings).items())

    @property
    def other_forms(self) -> dict[str, Mapping[str, str]]:
        """The plural and the singular of the word, and it in other spellings, each with its stem in the language in
        which it is that."""
        return {**self._forms(plurals), **self._forms(other_spellings)}

    def _forms(self, of: Callable[[str, str], Sequence[str]]) -> dict[str, Mapping[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for language in self.stems:
            for form in of(self.word, language):
                found.setdefault(form, {})[language] = stem_of(form, language)
        return dict(found)

    @property
    def endings(self) -> dict[str, set[str]]:
        """What compounds end with that have this word for their last part, each with the only languages of these
        compounds; without any, they may be in all."""
        found: dict[str, set[str]] = {}
        for language, stem in self.stems.items():
            for inflection in INFLECTIONS.get(language, "").split():
                found.setdefault(stem + inflection, set()).add(language)
        found |= {each: set() for each in (self.word, *self.stems.values())}
        return {each: languages for each, languages in found.items() if len(each) >= SHORTEST_PART}


def query_words(
    text: str, languages: Sequence[str], foreign: Collection[tuple[str, str]] = ()
) -> tuple[QueryWord, ...]:
    """Return the distinct words of a query, without stop words of the languages if other words remain. ``foreign``:
    words, each with a language in which it has no stem."""
    words = _query_words(text, tuple(languages))
    return tuple(_without_stems(word, foreign) for word in words) if foreign else words


def _without_stems(word: QueryWord, foreign: Collection[tuple[str, str]]) -> QueryWord:
    stems = {language: stem for language, stem in word.stems.items() if (word.word, language) not in foreign}
    return replace(word, stems=stems)


@lru_cache(maxsize=1_000)
def _query_words(text: str, languages: tuple[str, ...]) -> tuple[QueryWord, ...]:
    text = _ELISION.sub("", text)  # of "c'è" or "l'huile", it asks for nothing
    by_language = {language: analyse(text, language) for language in languages}
    positions = next(iter(by_language.values()), ())
    stop, slips = stop_words(languages), _slips(languages)
    prepositions = _features(languages) | _prepositions(languages)

    def apart(word: str) -> bool:
        return word in stop or _NO_SPACES.match(word) is not None

    pairs = [
        (first.word + second.word)[:MAX_WORD] if not any(map(apart, (first.word, second.word))) else ""
        for first, second in pairwise(positions)
    ]
    words = []
    amount = complement = False
    for i, token in enumerate(positions):
        stems = {language: by_language[language][i].stem for language in languages}
        follows = i > 0 and positions[i - 1].word not in stop
        is_size = token.word in SIZES and (amount or len(token.word) > 1)
        of_amount = is_size or (amount and has_digit(token.word))
        filler = of_amount or _has_stem(stems, _filler_stems)
        # "moins de 50", and both parts of "42.5"
        amount = token.word in _AMOUNTS or (amount and (of_amount or token.word in stop))
        joined = tuple(filter(None, pairs[max(i - 1, 0) : i + 1]))
        slip = token.word in slips or _GRAMMAR.fullmatch(token.word) is not None
        complement = complement or token.word in prepositions
        shade = _has_stem(stems, _shade_stems)
        unit = follows and token.word in _UNITS and positions[i - 1].word[0].isdigit()
        qualifier = _has_stem(stems, _qualifier_stems)
        words.append(
            QueryWord(token.word, stems, False, follows, filler, slip, joined, complement, shade, unit, qualifier)
        )
    kept = [word for word in words if word.word not in stop] or words
    distinct = list({word.word: word for word in kept}.values())[:MAX_TERMS]
    # "t-shirt" is searched as two words or as one, not as three.
    whole = {fold(_in_one_piece(match[0])) for match in _JOINED.finditer(_normalised(text))}
    distinct = [word for word in distinct if word.word not in whole or len(distinct) == 1]
    if distinct:
        distinct[-1] = replace(distinct[-1], last=not text[-1:].isspace())
    return tuple(distinct)


def shades_of(words: Sequence[QueryWord], colours: Collection[int]) -> frozenset[int]:
    """Return the numbers of the words that are a part of the name of a colour: "light" in "light blue"."""

    def beside(number: int) -> bool:
        before = words[number].follows and number - 1 in colours
        return before or (number + 1 in colours and words[number + 1].follows)

    return frozenset(n for n, word in enumerate(words) if word.shade and n not in colours and beside(n))


@lru_cache(maxsize=1_000)
def divided_shade(word: str, languages: tuple[str, ...]) -> tuple[str, str]:
    """Return the parts of "hellblau": a shade, empty if the word begins with none, and the rest."""
    return _divided(word, _shades(languages))


@lru_cache(maxsize=1_000)
def divided_qualifier(word: str, languages: tuple[str, ...]) -> tuple[str, str]:
    """Return the parts of "Herrenschuhe": a qualifier, in languages that write compounds as one word, and the rest."""
    return _divided(word, _qualifiers(tuple(language for language in languages if language in INFLECTIONS)))


def _divided(word: str, parts: Collection[str]) -> tuple[str, str]:
    """Return a word before and after the longest of ``parts`` that it begins with."""
    folded = fold(word)
    first = max((each for each in parts if folded.startswith(each)), key=len, default="")
    return word[: len(first)], word[len(first) :]
