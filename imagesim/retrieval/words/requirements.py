"""Requirements in the words of a query, such as "gluten free bread", "mens shoes" and "bearing 6204". Entries that do
not meet them are left out, however relevant they are otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imagesim.indexes.validation import MAX_TEXT_MATCHES
from imagesim.language.analysis import analyse, feature_marks, stem_of, word_list
from imagesim.language.codes import is_article_number
from imagesim.language.letters import fold
from imagesim.language.stop_words import INFLECTIONS, as_lists, read_table
from imagesim.language.word_lists import negations
from imagesim.retrieval.relevance import CLOSEST_RELEVANCE

if TYPE_CHECKING:
    from imagesim.language.query_words import QueryWord
    from imagesim.language.word_roles import Roles
    from imagesim.retrieval.retriever import Retriever
    from imagesim.types import Candidate, Query


MENTIONED = 0.1
"""The minimum match of an entry that has a required word in any of its texts. A lower match is that of a part of a
word, or of a misspelling."""

CALLED = 0.85
"""The minimum match of an entry that has a word, or another form of it, in its name. A word in a description, or one
that is only the beginning of a longer word, gives less."""

MAX_ASKED = 24
"""The maximum number of words that are searched to check requirements, each by a query of its own. The first
requirement is always checked, however many words it takes: "vegan" has some twenty forms in seven languages."""

WORDS = read_table(Path(__file__).with_name("requirements.txt"))


def _listed(name: str) -> Callable[[tuple[str, ...]], frozenset[str]]:
    return word_list(as_lists(WORDS[name]))


_seasons, _allergens, _substances = _listed("seasons"), _listed("allergens"), _listed("substances")
FREE, FREE_ENDINGS = as_lists(WORDS["free"]), as_lists(WORDS["free endings"])
_free, _free_endings = word_list(FREE), word_list(FREE_ENDINGS)

SHORTEST_PART = 3
"""The minimum number of letters of a word for people or a place at the beginning of a compound: "Gartenstühle"."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a query requires of its answers.

    ``excluded``: see :func:`excluded_categories`; ``called_for`` and ``for_others``: the two lists of
    :func:`called_for`. ``required``: for each word that requires something, the texts of which an entry has to contain
    one (:func:`requirements`); ``numbers``: the same for each article number (:func:`required_numbers`). ``unmet``:
    whether the query also requires something that no text of the catalogue mentions.
    """

    excluded: frozenset[str] = frozenset()
    called_for: tuple[str, ...] = ()
    for_others: tuple[str, ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    numbers: tuple[tuple[str, ...], ...] = ()
    unmet: bool = False


class _Group(NamedTuple):
    """Words for the same people or the same place: "men", "mens", "gentlemen".

    ``parts``: those with which compounds of the language may begin.
    """

    words: frozenset[str]
    stems: frozenset[str]
    parts: tuple[str, ...]

    def calls(self, stems: Collection[str]) -> bool:
        """Return whether a name with these stems has a word of the group, or a compound that begins with one."""
        return not self.stems.isdisjoint(stems) or any(stem.startswith(self.parts) for stem in stems)


@lru_cache(maxsize=64)
def _groups(language: str, *, of_places: bool) -> tuple[tuple[_Group, ...], ...]:
    """Return the groups of words for people or for places, in lists of groups that exclude one another, such as those
    for men, women and children."""
    kinds = WORDS["places" if of_places else "people"].get(language, ())
    return tuple(tuple(_group(words, language) for words in groups.split(" / ")) for groups in kinds)


def _group(words: str, language: str) -> _Group:
    tokens = analyse(words, language)
    parts = {token.word for token in tokens if language in INFLECTIONS and len(token.word) >= SHORTEST_PART}
    return _Group(frozenset(token.word for token in tokens), frozenset(token.stem for token in tokens), tuple(parts))


def is_circumstance(word: QueryWord) -> bool:
    """Return whether a word is one for people, a place or a season in any of its languages."""
    return word.word in _seasons(tuple(word.stems)) or is_for_people(word) or _is_in_groups(word, of_places=True)


def is_for_people(word: QueryWord) -> bool:
    """Return whether a word is one for people in any of its languages."""
    return _is_in_groups(word, of_places=False)


def _is_in_groups(word: QueryWord, *, of_places: bool) -> bool:
    return any(
        word.word in group.words
        for language in word.stems
        for groups in _groups(language, of_places=of_places)
        for group in groups
    )


def excluded_categories(words: Sequence[QueryWord], roles: Roles, languages: Sequence[str]) -> frozenset[str]:
    """Return the categories that are for people other than those whom the words name, or for another place: "Women's
    shoes" for "mens shoes", "Kitchen scales" for "bathroom scales". For places, only a category's own name counts, not
    that of its department. ``words``: without those in the name of a colour, such as the "baby" of "baby blue"."""
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
    """Return two lists of texts: those in the names of things for the people or the place that the words name, and
    those in the names of things for others, as far as the catalogue contains their words.

    The name of a thing says more than its category: boxers for men may be in the category "Women", and some "Watches"
    are for women. The texts have the form "for men", because the index then finds the word anywhere in a name.
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
    """Yield the categories whose names have a word of a group, but none of the groups that the ``typed`` words are in.
    ``names``: the stems of the words of each category's name."""
    for kind, groups in enumerate(_groups(language, of_places=of_places)):
        asked = {n for n, group in enumerate(groups) if not group.words.isdisjoint(typed)}
        for category, stems in names.items() if asked else ():
            called = _groups_in_name(stems, language, of_places=of_places)[kind]
            if called and called.isdisjoint(asked):
                yield category


@lru_cache(maxsize=20_000)
def _groups_in_name(stems: frozenset[str], language: str, *, of_places: bool) -> tuple[frozenset[int], ...]:
    """Return, for each list of groups, the numbers of the groups that have a word in the name with these stems."""
    kinds = _groups(language, of_places=of_places)
    return tuple(frozenset(n for n, group in enumerate(groups) if group.calls(stems)) for groups in kinds)


def requirements(text: str, languages: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the words of a text that state a requirement, each with the texts of which an entry has to contain one:
    "vegan" with ("vegan", "plant based") for "vegan cheese", "gluten" with ("gluten free",) for "gluten free bread".
    Requirements for which more than :data:`MAX_ASKED` words would have to be searched are left out."""
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
    """Yield the article and part numbers in a query, each as the texts of which an entry has to contain one: "bearing
    6204" asks for no other bearing, and a number alone does not ask for things that look like its article. The texts of
    a number in several parts include all of the parts together, wherever they are."""
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
    """Return the words for diets, each with the texts of which an entry has to contain one: the words of its line,
    including those after the slash."""
    found: dict[str, tuple[str, ...]] = {}
    for words, _slash, others in (line.partition(" / ") for line in WORDS["diet"].get(language, ())):
        enough = tuple(each.replace("_", " ") for each in f"{words} {others}".split())
        found |= dict.fromkeys(map(fold, words.split()), enough)
    return found


class Admission:
    """Finds out which entries meet the requirements of a query. The index is asked once about each entry."""

    def __init__(self, requires: Requirements, query: Query, retriever: Retriever) -> None:
        self._requires = requires
        self._retriever = retriever
        self._query = replace(
            query, offset=0, limit=MAX_TEXT_MATCHES, collapse=False, min_score=None, heads=(), colours=()
        )
        required = (each for texts in (*requires.required, *requires.numbers) for each in texts)
        words = dict.fromkeys(word for each in required for word in each.split())
        self._least = dict.fromkeys(words, MENTIONED) | dict.fromkeys(
            (*requires.for_others, *requires.called_for), CALLED
        )
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
        """Return the candidates that meet the requirements.

        A candidate is for the people or the place that the query names if its name says so, whatever its categories.
        Otherwise neither its name nor all of its categories may be for others. The ``closest`` need not have an article
        number.
        """
        self.ask(candidates)
        requires, having = self._requires, self._having
        aside = {each.key for each in candidates if each.categories and requires.excluded >= {*each.categories}}
        aside = aside.union(*map(having.__getitem__, requires.for_others))
        aside = aside.difference(*map(having.__getitem__, requires.called_for))
        left = {each.key for each in candidates} - aside
        for texts in requires.required if closest else (*requires.required, *requires.numbers):
            left &= set[str]().union(*(set.intersection(*map(having.__getitem__, each.split())) for each in texts))
        return [each for each in candidates if each.key in left]


def capped_if_unmet(judged: list[Candidate], requires: Requirements) -> list[Candidate]:
    """Return the candidates. If no text of the catalogue mentions what is required, their relevance is at most
    :data:`~imagesim.retrieval.relevance.CLOSEST_RELEVANCE`, so that they are shown only as the closest."""
    if not requires.unmet:
        return judged
    return [each._replace(relevance=min(each.relevance, CLOSEST_RELEVANCE)) for each in judged]
