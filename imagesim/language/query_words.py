"""Analyse a query into words, and mark the role of each by the lists of words: for example filler, qualifier or shade
of a colour."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import or_

from imagesim.language.analysis import (
    INITIALS,
    JOINED,
    MAX_WORD,
    NO_SPACES,
    analyse,
    asked,
    in_one_piece,
    normalised,
    qualifiers,
    stem_key,
    stem_of,
    without_dots,
)
from imagesim.language.codes import are_numbers, codes, without_zeros
from imagesim.language.letters import fold, spelled, spelling_language
from imagesim.language.stemmers import CHANGED_WITHIN
from imagesim.language.stop_words import (
    AMOUNTS,
    ELIDED,
    LENGTHS,
    NAMED_SIZES,
    SIZES,
    UNITS,
)
from imagesim.language.word_forms import (
    compound_endings,
    diminutive_of,
    equivalents,
    other_spellings,
    plurals,
)
from imagesim.language.word_lists import ENGLISH, GRAMMAR, Lists, is_on_a_list, lists_of, picture_forms, specifies
from imagesim.language.word_roles import has_digit

MAX_TERMS = 16
"""The maximum number of distinct words of a query that are looked up; further ones are ignored."""

_ELISION = re.compile(rf"(?<![^\W_])(?:{'|'.join(sorted(ELIDED))})['’](?=[aeiouyhàâéèêëîïôùûœ])", re.IGNORECASE)
_OF = "of"
_AMOUNTS = frozenset(map(fold, AMOUNTS))
_NAMED_SIZES = frozenset(map(fold, NAMED_SIZES))
_UNITS = frozenset(map(fold, UNITS))
_LENGTHS = frozenset(map(fold, LENGTHS))
_IN_ONE_PIECE = re.compile(r"\d(?:.*\d)?([^\W\d_]+)")


@lru_cache(maxsize=4_000)
def _forms(word: str, languages: tuple[str, ...]) -> tuple[list[tuple[str, Mapping[str, str]]], frozenset[str]]:
    """Return the other forms of a word, each with its stems by language, and all these stems. Plurals and singulars
    have no stems here: it is enough to know the word."""
    found: list[tuple[str, Mapping[str, str]]] = []
    every: set[str] = set()
    for of in (plurals, diminutive_of, other_spellings, equivalents):
        stems: dict[str, dict[str, str]] = {}
        for language in languages:
            for form in of(word, language):
                stems.setdefault(form, {})[language] = stem_of(form, language)
        found += [(form, {} if of is plurals else each) for form, each in stems.items()]
        every.update(*(each.values() for each in stems.values()))
    return found, frozenset(every)


@dataclass(frozen=True, slots=True)
class QueryWord:
    """A word of a query with its stem in each language of the index.

    - ``last``: it ends the query, so it may still be being typed.
    - ``follows``: no stop word comes between it and the word before.
    - ``filler``: it asks for no product, such as "cheap".
    - ``before_amount``: it says that a size, an age or a price follows: the "size" of "size 42"; or what the number
      next to it measures: the "wide" of "80 cm wide".
    - ``slip``: it may be a stop word with two letters exchanged ("hte"), or, in Japanese, a part of the grammar.
    - ``joined``: the compounds with the word before and with the word after it: "skateboard" for "skate board".
    - ``complement``: it says what the thing named before is for, or what it is like.
    - ``shade``: next to a colour, it is a part of the name of the colour, as in "light blue".
    - ``unit``: it is the unit of the number before it, as in "5 kg".
    - ``number``: it says how many there are: the "set" of "knife set", the "bottle" of "bottle of wine".
    - ``problem``: people buy things against it, such as "rust".
    - ``remedy``: it says that something is done about the problem before it: the "remover" of "rust remover".
    - ``qualifier``: it never says what a thing is, such as "modern", or is a part of such a word: "heavy-duty".
    - ``not_of``: the languages of the index that it does not belong to; it has no stem in them.
    - ``code``: the words as which the part number that it belongs to may be written, the longest first.
    """

    word: str
    stems: Mapping[str, str]
    last: bool = False
    follows: bool = False
    filler: bool = False
    before_amount: bool = False
    slip: bool = False
    joined: tuple[str, ...] = ()
    complement: bool = False
    shade: bool = False
    unit: bool = False
    number: bool = False
    problem: bool = False
    remedy: bool = False
    qualifier: bool = False
    not_of: frozenset[str] = frozenset()
    code: tuple[str, ...] = ()

    @property
    def spellings(self) -> list[tuple[str, Mapping[str, str]]]:
        """The word and its equivalents (compounds with its neighbours, other forms), each with stems by
        language."""
        return self.spellings_among(lambda _beginning: True)

    def spellings_among(self, has: Callable[[str], bool]) -> list[tuple[str, Mapping[str, str]]]:
        """Return the same, but only the compounds with a beginning that the catalogue ``has``: most words are next to
        each other by chance, and stemming them as one takes most of the time of matching a query."""
        found = [(self.word, self.stems)]
        alike = CHANGED_WITHIN.isdisjoint(self.stems)
        for joined in self.joined:
            first = len(joined) - len(self.word) if joined.endswith(self.word) else len(self.word)
            if alike and not has(joined[: first + 1]):
                continue
            stems = {language: stem_of(joined, language) for language in self.stems}
            # "weisses" and "t" in one piece have the stem "weiss", which contains nothing of the second word.
            found.append((joined, {language: stem for language, stem in stems.items() if len(stem) > first}))
        if match := GRAMMAR.fullmatch(self.word):  # "青い" (blue) is written "青" alone, too
            found.append((match[1] or match[2], {}))
        return found + _forms(self.word, tuple(self.stems))[0]

    @property
    def other_stems(self) -> frozenset[str]:
        """The stems of the words that mean the same, according to :mod:`~imagesim.language.word_forms`."""
        return _forms(self.word, tuple(self.stems))[1]

    @property
    def endings(self) -> dict[str, set[str]]:
        """The endings of compounds whose last part is this word, each with the languages of these compounds.

        An empty set stands for every language. For short ones see :data:`~imagesim.language.word_forms.SHORT_PART`.
        """
        return compound_endings(self.word, self.stems)


def query_words(
    text: str, languages: Sequence[str], foreign: Collection[tuple[str, str]] = ()
) -> tuple[QueryWord, ...]:
    """Return the distinct words of a query, without the stop words of ``languages`` if other words remain.

    ``foreign`` are (word, language) pairs of words that do not belong to that language.
    """
    return _query_words(text, tuple(languages), frozenset(foreign))


@lru_cache(maxsize=1_000)
def _query_words(text: str, languages: tuple[str, ...], foreign: frozenset[tuple[str, str]]) -> tuple[QueryWord, ...]:
    text = _ELISION.sub("", text)  # the elided words of "c'è" or "l'huile" ask for nothing
    text = INITIALS.sub(lambda match: f"{without_dots(match[0])} ", text)
    by_language = {language: asked(text, language) for language in languages}
    typed = [token.word for token in by_language.get(spelling_language(languages), ())]
    stems = [
        {each: by_language[each][i].stem for each in languages if not foreign or (word, each) not in foreign}
        for i, word in enumerate(typed)
    ]
    words = {word.word: word for word in _with_roles(typed, stems, foreign)}
    found = _with_codes(list(words.values())[:MAX_TERMS], text, typed, languages)
    if found:
        found[-1] = replace(found[-1], last=not text[-1:].isspace())
    return tuple(found)


def _with_roles(
    typed: Sequence[str], stems: Sequence[Mapping[str, str]], foreign: Collection[tuple[str, str]]
) -> list[QueryWord]:
    """Return the words of a query with their roles, without stop words if other words remain."""
    on = [lists_of(word, tuple(each.items())) for word, each in zip(typed, stems, strict=True)]
    apart = [each.stop or NO_SPACES.match(word) is not None for word, each in zip(typed, on, strict=True)]
    pairs = [
        "" if apart[i] or apart[i + 1] or are_numbers(first, second) else (first + second)[:MAX_WORD]
        for i, (first, second) in enumerate(pairwise(typed))
    ]
    amounts, announcing = _amounts(typed, [each.stop for each in on])
    announcing |= _of_measures(typed, on)
    complements = accumulate((each.complement for each in on), or_)
    words: list[QueryWord] = []
    for i, (word, complement) in enumerate(zip(typed, complements, strict=True)):
        follows = i > 0 and not on[i - 1].stop
        precedes = i + 1 < len(typed) and not on[i + 1].stop
        is_picture = on[i].filler and specifies(word, stems[i], picture_forms, follows=follows, precedes=precedes)
        joined = tuple(filter(None, (*pairs[max(i - 1, 0) : i + 1], without_zeros(word))))
        words.append(
            QueryWord(
                word,
                stems[i],
                follows=follows,
                filler=i in amounts or i in announcing or (on[i].filler and not is_picture),
                before_amount=i in announcing,
                slip=on[i].slip,
                joined=joined,
                complement=complement,
                shade=on[i].shade,
                unit=follows and word in _UNITS and typed[i - 1][0].isdigit(),
                number=on[i].number or (on[i].container and typed[i + 1 : -1][:1] == [_OF]),
                problem=on[i].problem,
                remedy=follows and on[i].remedy and on[i - 1].problem,
                qualifier=on[i].qualifier or not qualifiers(tuple(stems[i])).isdisjoint(joined),
                not_of=frozenset(language for each, language in foreign if each == word),
            )
        )
    return [word for word, each in zip(words, on, strict=True) if not each.stop] or words


def _amounts(typed: Sequence[str], is_stop: Sequence[bool]) -> tuple[set[int], set[int]]:
    """Return the numbers of the words that are sizes, ages or prices, and of those that say that one follows."""
    amounts, announcing = set[int](), set[int]()
    last: int | None = None  # the number of the word after which this one may be a size or price
    for i, word in enumerate(typed):
        is_size = word in SIZES and len(word) > 1 if last is None else word in SIZES or word in _NAMED_SIZES
        if is_size or (last is not None and has_digit(word)):
            amounts.add(i)
            announcing.update(() if last is None else (last,))
        if word in _AMOUNTS:
            last = i
        elif not (i in amounts or is_stop[i]):  # "moins de 50", and both parts of "42.5"
            last = None
    return amounts, announcing


def _of_measures(typed: Sequence[str], on: Sequence[Lists]) -> set[int]:
    """Return the numbers of the words that say what a number next to them measures, or how exactly: the "wide" of "80
    cm wide", the "at least" of "at least 2 m", and the "height" of "height 90". None if there are no other words."""
    found = set[int]()
    for order in (range(len(typed)), range(len(typed) - 1, -1, -1)):
        unit: str | None = None  # that of the number next to this word; None if there is no number
        for i in order:
            word = typed[i]
            if has_digit(word):
                match = _IN_ONE_PIECE.fullmatch(word)
                unit = match[1] if match else next(iter(typed[i + 1 : i + 2]), "")
            elif unit is not None and (
                on[i].measure_name or (on[i].measure and unit in _UNITS) or (on[i].length and unit in _LENGTHS)
            ):
                found.add(i)
            elif not (on[i].stop or word in _UNITS):
                unit = None
    is_other = (not (i in found or on[i].stop or has_digit(word) or word in _UNITS) for i, word in enumerate(typed))
    return found if any(is_other) else set()


def _with_codes(
    words: Sequence[QueryWord], text: str, typed: Sequence[str], languages: Sequence[str]
) -> list[QueryWord]:
    """Return the words of a query, with the codes of those that belong to a part number, and without those that repeat
    others in one piece: "t-shirt" is searched as two words or as one, not as three."""
    found = list(words)
    plain = normalised(text)
    whole = {spelled(in_one_piece(match[0]), *languages) for match in JOINED.finditer(plain)}
    whole.update(filter(None, map(without_zeros, typed)))
    for code in codes(plain):
        joined = tuple(map(fold, code.joined))
        whole.update(joined)
        parts = {token.word for token in analyse(code.text, languages[0] if languages else "")}
        found = [_part_of(word, joined) if word.word in parts else word for word in found]
    return [word for word in found if word.word not in whole or len(found) == 1]


def _part_of(word: QueryWord, code: tuple[str, ...]) -> QueryWord:
    """Return the word as one part of a code that may also be written in one piece."""
    return replace(word, joined=tuple(dict.fromkeys((*word.joined, *code))), code=code)


def foreign_to(
    words: Collection[QueryWord], collisions: Mapping[str, Collection[str]], spoken: str
) -> frozenset[tuple[str, str]]:
    """Return words of a query, each with a language whose stem of it misleads. The language that is ``spoken`` is never
    returned."""
    return frozenset(
        (word.word, language)
        for language, stems in collisions.items()
        if language != spoken
        for word in words
        if any(stem_key(each, stem) in stems for each, stem in word.stems.items())
    )


def words_not_of(text: str, languages: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Return (word, language) for the words of an English text that are on a list of one of the other ``languages``:
    "hat" is a form of the German "haben" (have), and "fur" the German "für" (for) without its accent."""
    words = {token.word for token in analyse(text, ENGLISH)}
    return frozenset((word, language) for language in languages for word in words if is_on_a_list(word, language))


def shades_of(words: Sequence[QueryWord], colours: Collection[int]) -> frozenset[int]:
    """Return the numbers of the words that are a part of the name of a colour: "light" in "light blue"."""

    def beside(number: int) -> bool:
        before = words[number].follows and number - 1 in colours
        return before or (number + 1 in colours and words[number + 1].follows)

    return frozenset(n for n, word in enumerate(words) if word.shade and n not in colours and beside(n))


def divided(word: str, parts: Collection[str]) -> tuple[str, str]:
    """Divide a word after the longest of ``parts`` that it begins with, as "hellblau" after a shade; return ('', word)
    if there is none."""
    first = max(filter(fold(word).startswith, parts), key=len, default="")
    return word[: len(first)], word[len(first) :]
