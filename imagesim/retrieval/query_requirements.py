"""What a query requires, and what is no answer to it whatever it looks like: "gluten free bread", "mens shoes"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imagesim.indexes.analysis import analyse, feature_marks, fold, stem_of, word_list
from imagesim.indexes.codes import is_article_number
from imagesim.indexes.query_words import negations
from imagesim.indexes.stop_words import INFLECTIONS, read_table
from imagesim.indexes.validation import MAX_TEXT_MATCHES
from imagesim.retrieval.relevance import CLOSEST_RELEVANCE

if TYPE_CHECKING:
    from imagesim.indexes.query_words import QueryWord
    from imagesim.retrieval.query_text import QueryText
    from imagesim.retrieval.retriever import Retriever
    from imagesim.types import Candidate, Query
    from imagesim.word_roles import Roles


MENTIONED = 0.1
"""The minimum match of what has a required word in any of its texts. Less is a part of a word, or a typing error."""

CALLED = 0.85
"""The minimum match of what has a word, or another form of it, in its name. No mention gives as much, nor does the
beginning of a longer word."""

MAX_ASKED = 24
"""The maximum number of words for which the index is asked, each by another query, to know what has all that is
required. What the first requires is always asked for: "vegan" has some twenty forms in seven languages."""

WORDS = read_table(Path(__file__).with_name("words") / "requirements.txt")


def _listed(name: str) -> Callable[[tuple[str, ...]], frozenset[str]]:
    return word_list({language: " ".join(lines) for language, lines in WORDS[name].items()})


_seasons, _allergens, _substances = _listed("seasons"), _listed("allergens"), _listed("substances")
_clothing = _listed("clothing")
_free, _free_endings = _listed("free"), _listed("free endings")

SHORTEST_PART = 3
"""The minimum number of letters of a word for people or a place that a compound begins with: "Gartenstühle"."""


class _Group(NamedTuple):
    words: frozenset[str]
    stems: frozenset[str]
    parts: tuple[str, ...]
    """Those of the words that compounds of the language may begin with."""

    def calls(self, stems: Collection[str]) -> bool:
        """Whether a name with these stems has a word of the group, or a compound that begins with one."""
        return not self.stems.isdisjoint(stems) or any(stem.startswith(self.parts) for stem in stems)


@lru_cache(maxsize=64)
def _groups(language: str, *, of_places: bool) -> tuple[tuple[_Group, ...], ...]:
    """Return the groups of words of a language of which one excludes the others, by kind."""
    kinds = WORDS["places" if of_places else "people"].get(language, ())
    return tuple(tuple(_group(words, language) for words in groups.split(" / ")) for groups in kinds)


def _group(words: str, language: str) -> _Group:
    tokens = analyse(words, language)
    parts = {token.word for token in tokens if language in INFLECTIONS and len(token.word) >= SHORTEST_PART}
    return _Group(frozenset(token.word for token in tokens), frozenset(token.stem for token in tokens), tuple(parts))


def is_circumstance(word: QueryWord) -> bool:
    """Whether a word is one for people, a place or a season in any of its languages."""
    return word.word in _seasons(tuple(word.stems)) or is_for_people(word) or _is_in_groups(word, of_places=True)


def is_for_people(word: QueryWord) -> bool:
    """Whether a word is one for people in any of its languages."""
    return _is_in_groups(word, of_places=False)


def is_clothing(word: QueryWord) -> bool:
    """Whether a word is one for all clothes in any of its languages."""
    return word.word in _clothing(tuple(word.stems))


def _is_in_groups(word: QueryWord, *, of_places: bool) -> bool:
    return any(
        word.word in group.words
        for language in word.stems
        for groups in _groups(language, of_places=of_places)
        for group in groups
    )


def excluded_categories(words: Sequence[QueryWord], roles: Roles, languages: Sequence[str]) -> frozenset[str]:
    """Return the categories that are for others than those whom the words name, or by their own name for another
    place: "Women's shoes" for "mens shoes", and "Kitchen scales" for "bathroom scales". ``words`` are those that are no
    part of the name of a colour, such as "baby blue"."""
    typed = {word.word for word in words}
    return frozenset(
        category
        for language in languages
        for of_places, names in ((False, roles.stems_of_categories), (True, roles.specifiers_of_categories))
        for category in _excluded(typed, names, language, of_places=of_places)
    )


def called_for(
    words: Sequence[QueryWord], roles: Roles, languages: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return texts by which things are called that are for the people or the place whom the words name, and those for
    others, as far as the catalogue has their words. Names tell more than categories: boxers for men may be filed below
    "Women", and of "Watches" some are for women.

    The texts are such as "for men", which match a word wherever a name has it.
    """
    typed = {word.word for word in words}
    own: dict[str, str] = {}
    others: dict[str, str] = {}
    for language in languages:
        asked, not_asked = set[str](), set[str]()
        for groups in (*_groups(language, of_places=False), *_groups(language, of_places=True)):
            of_kind = {word for group in groups if not group.words.isdisjoint(typed) for word in group.words}
            asked |= of_kind
            not_asked |= {word for group in groups if of_kind for word in group.words} - of_kind
        mark = min(feature_marks((language,)), default="")
        for found, of_groups in ((own, asked - not_asked), (others, not_asked)):
            for word in sorted(of_groups):
                if roles.has((stem := stem_of(word, language),)):
                    found.setdefault(stem, f"{mark} {word}".strip())
    return tuple(own.values()), tuple(others.values())


def _excluded(
    typed: Collection[str], names: Mapping[str, frozenset[str]], language: str, *, of_places: bool
) -> Iterator[str]:
    for kind, groups in enumerate(_groups(language, of_places=of_places)):
        asked = {n for n, group in enumerate(groups) if not group.words.isdisjoint(typed)}
        for category, stems in names.items() if asked else ():
            called = _called(stems, language, of_places=of_places)[kind]
            if called and called.isdisjoint(asked):
                yield category


@lru_cache(maxsize=20_000)
def _called(stems: frozenset[str], language: str, *, of_places: bool) -> tuple[frozenset[int], ...]:
    """Return, for each kind of groups, the numbers of those that call a name with these stems."""
    kinds = _groups(language, of_places=of_places)
    return tuple(frozenset(n for n, group in enumerate(groups) if group.calls(stems)) for groups in kinds)


def requirements(text: str, languages: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the words of a text that require something, each with the texts of which a thing has to have one: "vegan"
    with ("vegan", "plant based") for "vegan cheese", and "gluten" with ("gluten free",) for "gluten free bread". What
    would take more than :data:`MAX_ASKED` words is left out."""
    found: dict[str, list[str]] = {}
    negating = negations(tuple(languages))
    for language in languages:
        typed = [token.word for token in analyse(text, language)]
        diets, allergens = _diets(language), _allergens((language,))
        substances = _substances((language,)) | allergens
        free, endings = _free((language,)), _free_endings((language,))
        for before, word, after in zip(["", *typed], typed, [*typed[1:], ""], strict=False):
            enough: Sequence[str] = ()
            is_compound = word.startswith(tuple(substances)) and any(map(word.endswith, endings))
            if word in diets:
                enough = diets[word]
            elif word in substances and after in free:
                enough = (f"{word} {after}" if word in allergens else word,)
            elif is_compound or (word in substances and before in negating):
                enough = (word,)
            if enough:
                known = found.setdefault(word, [])
                known += [each for each in enough if each not in known]
    kept: dict[str, tuple[str, ...]] = {}
    asked: set[str] = set()
    for word, texts in found.items():
        asked.update(each for text in texts for each in text.split())
        if kept and len(asked) > MAX_ASKED:
            break
        kept[word] = tuple(texts)
    return kept


def required_numbers(words: Sequence[QueryWord]) -> Iterator[tuple[str, ...]]:
    """Yield the numbers of articles and parts that a query names, each as the texts of which a thing has to have one:
    "bearing 6204" asks for no other bearing, and a number alone for nothing that looks like its article. Of one in
    several parts these are its parts, too, which may stand in several texts."""
    units = {before.word for before, word in pairwise(words) if word.unit}
    codes = dict.fromkeys(word.code for word in words if word.code)
    for code in codes:
        parts = [word.word for word in words if word.code == code]
        yield (*code, " ".join(parts))
    for word in words:
        if is_article_number(word.word) and not (word.code or word.filler or word.word in units):
            yield (word.word,)


@lru_cache(maxsize=64)
def _diets(language: str) -> dict[str, tuple[str, ...]]:
    """Return the words for diets, each with the texts that satisfy it."""
    found: dict[str, tuple[str, ...]] = {}
    for words, _also, others in (line.partition(" / ") for line in WORDS["diet"].get(language, ())):
        enough = tuple(each.replace("_", " ") for each in f"{words} {others}".split())
        found |= dict.fromkeys(map(fold, words.split()), enough)
    return found


class Admission:
    """Tells which entries are an answer to a text, for which the index is asked once about each."""

    def __init__(self, text: QueryText, query: Query, retriever: Retriever) -> None:
        self._text = text
        self._retriever = retriever
        self._query = replace(
            query, offset=0, limit=MAX_TEXT_MATCHES, collapse=False, min_score=None, heads=(), colours=()
        )
        required = (each for texts in (*text.required, *text.numbers) for each in texts)
        words = dict.fromkeys(word for each in required for word in each.split())
        self._least = dict.fromkeys(words, MENTIONED) | dict.fromkeys((*text.for_others, *text.called_for), CALLED)
        self._having: dict[str, set[str]] = {each: set() for each in self._least}
        self._known: set[str] = set()

    def ask(self, candidates: Iterable[Candidate]) -> None:
        """Ask the index, in one request, which of the candidates have the words that matter."""
        keys = tuple(dict.fromkeys(each.key for each in candidates if each.key not in self._known))
        if not (keys and self._least):
            return
        self._known.update(keys)
        filters = self._query.filters
        asked = [
            (
                text,
                replace(self._query, text=text, filters=replace(filters, keys=keys[start : start + MAX_TEXT_MATCHES])),
            )
            for start in range(0, len(keys), MAX_TEXT_MATCHES)
            for text in self._least
        ]
        answers = self._retriever.search([each for _text, each in asked])
        for (text, _query), answer in zip(asked, answers, strict=True):
            least = self._least[text]
            self._having[text].update(each.key for each in answer.candidates if each.text >= least)

    def admitted(self, candidates: Sequence[Candidate], *, closest: bool = False) -> Sequence[Candidate]:
        """Return the candidates without what is for others by its name, or by all of its categories and not its name,
        and without what lacks any of the requirements. The ``closest`` may lack the number of a part."""
        self.ask(candidates)
        text, having = self._text, self._having
        aside = {each.key for each in candidates if each.categories and text.excluded >= {*each.categories}}
        aside = aside.union(*map(having.__getitem__, text.for_others))
        aside = aside.difference(*map(having.__getitem__, text.called_for))
        left = {each.key for each in candidates} - aside
        for texts in text.required if closest else (*text.required, *text.numbers):
            left &= set[str]().union(*(set.intersection(*map(having.__getitem__, each.split())) for each in texts))
        return [each for each in candidates if each.key in left]


def at_most_closest(judged: list[Candidate], text: QueryText) -> list[Candidate]:
    """Return the candidates, none of which is relevant enough to be shown if no text mentions what is required."""
    if not text.unmet:
        return judged
    return [each._replace(relevance=min(each.relevance, CLOSEST_RELEVANCE)) for each in judged]
