"""Analyse texts into words: their spelling without case and accents, and their stems."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

from imagesim.language import kana, stemmers
from imagesim.language.codes import (
    DECIMAL,
    FRACTION,
    HYPHEN,
    UNIT,
    apart_from_letters,
    codes,
    models,
    plain_decimal,
    plain_numbers,
    with_tyre_sizes,
    without_zeros,
)
from imagesim.language.letters import ACCENTED, UNACCENTED, characters, fold, spelled, written_out
from imagesim.language.stop_words import (
    AUDIENCES,
    CONJUNCTIONS,
    ELIDED,
    FEATURES,
    HEAD_FIRST,
    INFLECTIONS,
    JOINING,
    QUALIFIERS,
    QUALITIES,
    RELATIONS,
    STOP_WORDS,
)

if TYPE_CHECKING:
    from imagesim.types import IndexMeta

ANALYSIS = 22
"""The version of the analysis without the stemmers, increased when earlier indexes have to be rebuilt to find words as
well as new indexes do."""

MAX_WORD = 64
"""The maximum number of characters of a word; further ones are cut off."""

MAX_TOKENS = 400
"""The maximum number of words of one text that are analysed."""

# Regular expressions do not count vowel signs and other marks as letters, but they are parts of words in Hindi or Thai.
_MARKS = "".join(map(chr, filter(lambda code: unicodedata.category(chr(code))[0] == "M", range(0x300, 0x2000))))
_LETTERS = rf"[^\W_]+(?:[{_MARKS}][^\W_]*)*"
_WORD = re.compile(rf"(?=\d)(?:{FRACTION}|{DECIMAL}[^\W\d_]*)|{_LETTERS}(?:['’]{_LETTERS})?")
_DIGIT = re.compile(r"\d")
# Match from the start of a word only: from each letter, the time would grow with the square of the length of a word.
JOINED = re.compile(rf"(?<![^\W_])(?<![{_MARKS}]){_LETTERS}(?:{HYPHEN.pattern}{_LETTERS})+")
_HYPHEN_WITHIN = re.compile(rf"{HYPHEN.pattern}[^\W_]")
# "J. R. R. Tolkien", "V.S.O.P": the letters are one word, too.
INITIALS = re.compile(r"(?<![^\W_])(?:[^\W\d_]\.\s?){2,}(?:[^\W\d_](?![^\W_]))?")
_INITIAL = re.compile(r"\.\s?[^\W\d_]\.")
# "90x190", "90 cm × 190 cm", "M8 x 40": the "x" is not a word of its own. A cable of 3 x 1.5 mm² with earth is a
# "3G1.5".
_NUMBER = r"\d+(?:[.,]\d+)?"
_UNIT = rf"\s?(?:{UNIT})\b"
_BY = re.compile(rf"(?:(?:{_UNIT})?\s?[x×*]\s?|(?<=\d)g)(?=\d)")
_TIMES = re.compile(r"[x×*g]\s?\d")
_DIMENSIONS = re.compile(rf"(?<![^\W_])[^\W\d_]{{0,2}}{_NUMBER}(?:{_BY.pattern}{_NUMBER})+")
_POSSESSIVE = re.compile(r"['’]s?$|['’]")
_DOTTED_CAPITAL = "İ"  # ``str.lower`` makes two characters of it
_LINE_END = re.compile(r"[\n\r]")
_SENTENCES = re.compile(r"(?<![.!?;:…。！？])[.!?;:…。！？]+(?:\s+|$)|[\n\r•]+")  # from the first mark, as JOINED
_UNREAD = re.compile("[\u00ad\u0640]")  # soft hyphens, and the line that only makes an Arabic word wider
_WITHOUT_SPACES = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
NO_SPACES = re.compile(f"[{_WITHOUT_SPACES}]+")
_SCRIPTS = re.compile(f"[{_WITHOUT_SPACES}]+|[^{_WITHOUT_SPACES}]+")


class Token(NamedTuple):
    """An analysed word: its spelling without case and accents, and its stem."""

    word: str
    stem: str


@lru_cache(maxsize=50_000)  # some 25 MB
def _token(word: str, language: str) -> Token:
    own = spelled(word, language)
    return Token(own, spelled(stemmers.stem(word, language), language) or own)  # Snowball leaves nothing of "ιου"


def stem_of(word: str, language: str) -> str:
    """Return the stem of a word in lower case."""
    return _token(word, language).stem


def stem_key(language: str, stem: str) -> str:
    """Return a stem prefixed with its language, as one string."""
    return f"{language}:{stem}"


def word_list(table: Mapping[str, str]) -> Callable[[tuple[str, ...]], frozenset[str]]:
    """Return a cached function from languages to the words that ``table`` lists for them, without accents.

    Tables are those of :mod:`~imagesim.language.stop_words`.
    """

    @lru_cache(maxsize=64)
    def words(languages: tuple[str, ...]) -> frozenset[str]:
        return frozenset(spelled(word, language) for language in languages for word in table.get(language, "").split())

    return words


stop_words = word_list(STOP_WORDS)
feature_marks = word_list(FEATURES)
qualifiers = word_list(QUALIFIERS)
_qualities = word_list(QUALITIES)
_relations = word_list(RELATIONS)
_audiences = word_list({language: pairs.replace("-", " ") for language, pairs in AUDIENCES.items()})


def base_language(code: str) -> str:
    """Return the language of a language code without its region: ``'pt'`` for ``'pt-br'``."""
    return code.lower().replace("_", "-").partition("-")[0]


def languages_of(meta: IndexMeta) -> tuple[str, ...]:
    """Return the languages of the texts of an index."""
    return tuple(dict.fromkeys(base_language(spec.language) for spec in meta.texts.values()))


@lru_cache(maxsize=500)  # some 25 MB with long texts in a script without spaces
def analyse(text: str, language: str) -> tuple[Token, ...]:
    """Return the words of ``text`` in order.

    Scripts without spaces are divided into pairs of characters (``运动鞋``: ``运动``, ``动鞋``), except for words of
    katakana, or of hiragana alone, which are given in one spelling (``白Tシャツ``: ``白``, ``t``, ``シャツ``; see
    :mod:`~imagesim.language.kana`). The hyphenated words follow at the end in one piece (``t-shirt``: ``t``, ``shirt``,
    ``tshirt``), and so do initials (``J. R. R. Tolkien``: ``j``, ``r``, ``r``, ``tolkien``, ``jrr``) and dimensions,
    whichever way they are written (``90 x 190 cm``: ``90``, ``190``, ``cm``, ``90x190``), and the numbers of parts
    (:func:`codes`). A decimal number is one word together with a unit that follows without a space (``8,5W``:
    ``8.5w``), without zeros at its end (``+1.50``: ``1.5``), and so is a fraction (``1 1/4"``: ``1-1/4``). Long numbers
    also follow without their leading zeros (``0066896``: ``66896``). The division does not depend on the language: an
    elided word is a word of its own in each (``d'été``: ``d``, ``été``).
    """
    text = normalised(text, language)
    tokens: list[Token] = []
    # A process that is asked for words calls this for every sentence of the catalogue, so a slow pattern is only
    # searched for if a quick one says that it may be found.
    has_digits = _DIGIT.search(text) is not None
    is_spaced = text.isascii() or not NO_SPACES.search(text)
    dimensions = _DIMENSIONS.findall(text) if has_digits and _TIMES.search(text) else ()
    plain = _DIMENSIONS.sub(lambda match: _BY.sub(" ", match[0]) + " ", text) if dimensions else text
    for each in _WORD.findall(apart_from_letters(plain)):
        word = each[:MAX_WORD]
        if is_spaced and word.isalnum():
            tokens.append(_token(word, language))
        else:
            tokens += _tokens_of(word, language)
        if len(tokens) >= MAX_TOKENS:
            break
    if _HYPHEN_WITHIN.search(text):
        pieces = (re.sub(FRACTION, " ", text) if "/" in text else text).split()
        for match in chain.from_iterable(JOINED.finditer(piece) for piece in pieces if _HYPHEN_WITHIN.search(piece)):
            tokens.append(_token(in_one_piece(match[0]), language))
    for match in INITIALS.finditer(text) if _INITIAL.search(text) else ():
        tokens.append(_token(without_dots(match[0]), language))
    for each in dimensions:
        tokens.append(_token("x".join(map(plain_decimal, _BY.split(each)))[:MAX_WORD], language))
    for code in codes(text) if has_digits else ():
        tokens += [_token(each, language) for each in code.joined]
    if "0" in text:
        long = [each.word for each in tokens if each.word.startswith("0")]
        tokens += [_token(short, language) for short in map(without_zeros, long) if short]
    return tuple(tokens[:MAX_TOKENS])


def _tokens_of(word: str, language: str) -> Iterator[Token]:
    """Yield the words of a match of ``_WORD``: an elided word is one of its own, and so is each part in a script
    without spaces."""
    if "/" in word:
        yield _token(word.replace(" ", "-"), language)
        return
    if not word.isalnum():
        elided, _, rest = word.replace("’", "'").partition("'")
        if rest and elided.replace("ı", "i") in ELIDED:  # Turkish makes the "I" of "PUISQU'ON" an "ı"
            yield _token(elided, language)
            word = rest
        word = _POSSESSIVE.sub("", plain_decimal(word))
    for part in [word] if word.isascii() else _SCRIPTS.findall(word):
        if NO_SPACES.match(part):
            yield from (Token(each, each) for piece in kana.parts(part) for each in _without_spaces(piece))
        elif any(map(str.isalnum, part)):  # not an accent after a character of such a script
            yield _token(part, language)


def _without_spaces(part: str) -> list[str]:
    """Return the words of text in a script without spaces: the pairs of its characters, or one word in katakana."""
    return [kana.spelled(part)] if kana.is_written(part) else _pairs(part)


def _pairs(part: str) -> list[str]:
    return [first + second for first, second in pairwise(characters(part))] or [part]


def normalised(text: str, language: str = "") -> str:
    """Return ``text`` in the normal form NFKC, without what is not read, and in the lower case of the language.

    Every language gets the same number of characters, so that :func:`analyse` divides the text in the same way.
    """
    if not text.isascii():
        text = _UNREAD.sub("", plain_numbers(text)).replace(_DOTTED_CAPITAL, "i")
    return with_tyre_sizes(written_out((text.replace("I", "ı") if language == "tr" else text).lower(), language))


def indexed(text: str, language: str) -> tuple[Token, ...]:
    """Return the words of ``text`` by which it is found: those of :func:`analyse`, :func:`models`, and each character
    of scripts without spaces, except kana. A query for one of these has no pair: ``鞋`` finds ``运动鞋``. Words in
    hiragana are also found by their pairs, and those next to Chinese characters as words: ``赤いりんご`` by
    ``リンゴ``. In Vietnamese, words are also found without their accents, in a form that no word of a text has:
    ``giấy`` by ``giayˑ``."""
    return _with_parts(text, language, last=False)


def asked(text: str, language: str) -> tuple[Token, ...]:
    """Return the words of a query; without any accents in a language in which they tell words apart, with the stems of
    all words that differ only in these."""
    words = analyse(text, language)
    if language in ACCENTED and all(word.word.isascii() for word in words):
        return tuple(word._replace(stem=word.stem + UNACCENTED) if word.stem.isalpha() else word for word in words)
    return words


def naming(text: str, language: str) -> tuple[Token, ...]:
    """Return the words of :func:`indexed` that may say what a thing is. In Japanese, the only single character that
    does is the last one of a word: ``靴`` (shoes) of ``革靴``, but not of ``靴下`` (socks)."""
    return _with_parts(text, language, last=language == "ja")


def _with_parts(text: str, language: str, *, last: bool) -> tuple[Token, ...]:
    """Return the words of ``text`` after their parts; with ``last``, only the last of the single characters is a
    part."""
    return (*_parts_of(text, language, last=last), *analyse(text, language))


def _parts_of(text: str, language: str, *, last: bool = False) -> Iterator[Token]:
    """Yield the words that :func:`indexed` adds to those of :func:`analyse`."""
    plain = normalised(text, language)
    found = [] if text.isascii() else [*_parts_found(plain, last=last)]
    if language in ACCENTED:
        found += [fold(token.word) + UNACCENTED for token in analyse(text, language) if token.word.isalpha()]
    return (Token(each, each) for each in dict.fromkeys((*found, *models(plain))))


def _parts_found(plain: str, *, last: bool) -> Iterator[str]:
    for run in NO_SPACES.findall(plain):
        yield from characters(kana.KANA.sub("", run[-1:] if last else run))
        for part in kana.parts(run):
            if not kana.is_written(part):
                yield from (word[:MAX_WORD] for word in kana.words_within(part))
            elif not kana.is_word(part):
                yield from _pairs(part)


def without_dots(initials: str) -> str:
    """Return initials in one piece: "jrr" for "j. r. r."."""
    return re.sub(r"[\W_]", "", initials)[:MAX_WORD]


def in_one_piece(hyphenated: str) -> str:
    """Return a hyphenated word without its hyphens, cut off after ``MAX_WORD`` characters."""
    return HYPHEN.sub("", hyphenated)[:MAX_WORD]


def listed_stems(names: Sequence[str], language: str) -> frozenset[str]:
    """Return the stems of the things that the names of a category list: "sofa" and "table" for "Sofas & tables".

    Only the head of each part counts: "shirt" and "top" for "Women's shirts and tops". The set is empty if no name
    lists different things.
    """
    conjunction = JOINING.get(language) or rf"\s{CONJUNCTIONS.get(language, 'and')}\s"
    found: set[str] = set()
    for name in names:
        parts = [
            _in_order(part, language) for part in re.split(rf"[&,/+;|、，・]|{conjunction}", name, flags=re.IGNORECASE)
        ]
        heads = {stems[head_of(stems, language)] for tokens in parts if (stems := [each.stem for each in tokens])}
        found |= heads if len(heads) > 1 else set()
    return frozenset(found)


def head_of(name: Sequence[str], language: str) -> int:
    """Return the number of the word that says what things with this name are, given as stems: the first in languages
    whose adjectives follow, otherwise the last. Words for whom or where a thing is may come before the first, as in
    "Γυναικεία παπούτσια" (women's shoes), and, in languages with compounds, after the last: the things called "Schuhe
    Damen" are shoes."""
    first = language in HEAD_FIRST
    aside = _qualifier_stems(language) if first or language in INFLECTIONS else frozenset()
    numbers = range(len(name)) if first else reversed(range(len(name)))
    return next((number for number in numbers if name[number] not in aside), 0 if first else len(name) - 1)


@lru_cache(maxsize=64)
def _qualifier_stems(language: str) -> frozenset[str]:
    return frozenset(stem_of(word, language) for word in QUALIFIERS.get(language, "").split())


def name_ends(names: Sequence[str], language: str) -> frozenset[Token]:
    """Return the words that say what things are called: the last of each name, before what it has or is for and before
    numbers; the first in languages whose adjectives follow. That of "Allstar Sneakers 42 for men" is "sneakers"."""
    marks = feature_marks((language,))
    found: set[Token] = set()
    for tokens in (_in_order(name, language, hyphen) for name in names for hyphen in ("", " ")):
        ends = (n for n, each in enumerate(tokens) if n and (each.word in marks or each.word[0].isdigit()))
        if language in HEAD_FIRST and tokens:
            found.add(tokens[head_of([each.stem for each in tokens], language)])
        else:
            found.update(tokens[: next(ends, None)][-1:])
    return frozenset(found)


def _in_order(text: str, language: str, hyphen: str = "") -> tuple[Token, ...]:
    """Return the words of a text in order, without those in one piece that :func:`analyse` adds at the end. A
    hyphenated word is one word, or has ``hyphen`` between its parts; initials are one word."""
    plain = normalised(text, language)
    if not (_HYPHEN_WITHIN.search(plain) or _INITIAL.search(plain)):
        return analyse(text, language)
    plain = INITIALS.sub(lambda match: f"{without_dots(match[0])} ", plain)
    return analyse(JOINED.sub(lambda match: HYPHEN.sub(hyphen, match[0]), plain), language)


def features(names: Sequence[str], language: str) -> frozenset[Token]:
    """Return the words of names that only say what a thing has or is for: "camera" for "Baby monitor with camera", but
    not "clippers" for "Trimmer for men cordless hair clippers", which goes on to say what it is."""
    parts = [part for name in names for part in _behind_audience(analyse(name, language), language)]
    return _features(parts, language, feature_marks((language,)), start=1)


def _behind_audience(words: Sequence[Token], language: str) -> Iterator[Sequence[Token]]:
    """Yield a name up to the words for those whom a thing is for, and what follows directly after them."""
    marks, audiences = feature_marks((language,)), _audiences((language,))
    mark = next((n for n, each in enumerate(words) if each.word in marks), len(words))
    for n in range(mark + 2, len(words)):
        goes_on = not any(words[n].word in each for each in (stop_words((language,)), marks, audiences))
        if goes_on and words[n - 1].word in audiences:
            yield words[:n]
            yield words[n:]
            return
    yield words


def described(texts: Sequence[str], language: str) -> tuple[set[Token], frozenset[Token]]:
    """Return the words by which descriptions are found, as :func:`indexed` does, and those of them that only say what a
    thing has or is for: "coffee" for "Full of flavour. Good for coffee and tea."."""
    marks = feature_marks((language,)) | _relations((language,))
    words, parts = set[Token](), list[Sequence[Token]]()
    for text in texts:
        sentences = [analyse(sentence, language) for sentence in _SENTENCES.split(text)]
        parts += sentences
        # The words of a text are those of its sentences, unless it is cut off, or one of them may have parts in two.
        plain = normalised(text, language)
        is_divided = _INITIAL.search(plain) or (_LINE_END.search(plain) and _TIMES.search(plain))
        if is_divided or sum(map(len, sentences)) >= MAX_TOKENS:
            words.update(indexed(text, language))
        else:
            words.update(_parts_of(text, language), *sentences)
    return words, _features(parts, language, marks, start=0)


def _features(
    texts: Iterable[Sequence[Token]], language: str, marks: Collection[str], *, start: int
) -> frozenset[Token]:
    """Return the words after the first mark of each text, except those that come before it in any of the texts.

    Marks at a position before ``start`` do not count. A word before one of ``QUALITIES`` is a feature, too.
    """
    own, mentioned = set[Token](), set[Token]()
    qualities, conjunction = _qualities((language,)), CONJUNCTIONS.get(language)
    for words in texts:
        first = next((n for n, token in enumerate(words) if n >= start and token.word in marks), len(words))
        before = {n for n in range(first - 1) if words[n + 1].word in qualities}
        before |= {
            n - 2 for n in before if n > 1 and words[n - 1].word == conjunction
        }  # "microwave and dishwasher safe"
        joined = {one.word + other.word for one, other in pairwise(words[:first])}  # they come at the end
        own.update(each for n, each in enumerate(words) if (n < first and n not in before) or each.word in joined)
        mentioned.update(words[n] for n in before)
        mentioned.update(words[first + 1 :])
    return frozenset(mentioned - own)
