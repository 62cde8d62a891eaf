"""Negations beside a limit: "can't cost more than 50 €" states the opposite of "more than 50 €"."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from imagesim.language.analysis import NO_SPACES, feature_marks
from imagesim.language.letters import spelled
from imagesim.language.stop_words import NEGATIONS, read_table
from imagesim.language.word_lists import exchanged, is_on_a_list

WORDS = read_table(Path(__file__).with_name("negated_limits.txt"))

SHORTEST_OMISSION = 5
"""The minimum number of letters of a negation that is recognised with a letter missing."""


class Negation(NamedTuple):
    """The texts ``before`` and ``after`` a limit, without its negation.

    - ``negates``: it makes the opposite of the limit.
    - ``is_open``: the limit asks for no price: "need not be under 50". Two negations in a clause may mean either.
    - ``is_far``: filler words are between, so it may belong to them: "not a cheap one for more than 50 €".
    - ``in_doubt``: it may belong to the limit or to what is sought: "no bags over 50 €".
    - ``is_behind``: it stands behind the limit.
    """

    before: str
    after: str
    negates: bool = False
    is_open: bool = False
    is_far: bool = False
    in_doubt: bool = False
    is_behind: bool = False


class _Lists(NamedTuple):
    """The words of some languages that may stand beside a limit."""

    negations: frozenset[str]
    nothing: frozenset[str]
    again: frozenset[str]
    that: frozenset[str]
    hide: frozenset[str]
    all: frozenset[str]
    first: frozenset[str]
    slips: frozenset[str]
    endings: tuple[str, ...]
    verbs: frozenset[str]
    open: frozenset[str]
    behind: re.Pattern[str]
    last: re.Pattern[str]

    def kind(self, word: str, following: str) -> str:
        """Return which kind of negation a word is, or "that"; empty if it is neither."""
        if word in self.nothing or (word in self.hide and following in self.all):
            return "nothing"
        kinds = {"again": self.again, "not": self.negations, "that": self.that}
        return next((kind for kind, words in kinds.items() if word in words), "")


def negation_of(before: str, after: str, languages: tuple[str, ...], *, followed: bool = False) -> Negation:
    """Return the negation of a limit that has these texts before and after it.

    It stands directly before the limit, or with nothing but verbs of costing and wanting between; in some languages,
    behind it. The base codes of the ``languages`` are sorted. ``followed``: whether another limit follows this text.
    """
    lists = _lists(languages)
    words = before.split()
    kinds: list[str] = []
    is_open, is_far, in_doubt, kept, following = False, False, False, len(words), ""
    for n in range(len(words) - 1, -1, -1):
        word = _plain(words[n])
        is_open |= word in lists.open
        kind = lists.kind(word, following) or ("not" if _is_slip(word, lists, languages) else "")
        following = word
        if kind and kind != "that":
            if is_far:
                return Negation(before.rstrip(), after, is_far=word in lists.first)
            kept = n
        elif ending := next(filter(words[n].endswith, lists.endings), ""):
            kinds.append("not")
            words[n] = words[n].removesuffix(ending)
            kept = n + 1
            break
        elif not kind and word not in lists.verbs and word not in lists.open:
            if kinds or not _is_listed(word, languages):
                in_doubt = _begins_with_negation(words[: n + 1], lists, languages)
                break
            is_far = True
        kinds += filter(None, [kind])
    left = " ".join(words[:kept])
    if behind := lists.behind.match(after) or (None if followed else lists.last.match(after)):
        kinds.insert(0, "not")
        after = after[behind.end() :]
    if set(kinds) <= {"that"}:
        return Negation(before.rstrip(), after, in_doubt=in_doubt)
    negations = _count(kinds[::-1])
    follows = after.split()
    while follows and is_verb(follows[0], languages) and not _is_listed(follows[0], languages):
        follows.pop(0)
    rest = f" {' '.join(follows)}" if after[:1].isspace() else after
    return Negation(
        left, rest, negations % 2 == 1, is_open or not negations, in_doubt=in_doubt, is_behind=behind is not None
    )


def _count(kinds: Sequence[str]) -> int:
    """Return how many negations the words of these kinds are; 0 if that is not certain.

    Those in different clauses count one by one, and so do "nothing not". Words of ``again`` repeat another negation of
    their clause: "no quiero nada". Others may or may not: "don't want nothing".
    """
    total = 0
    for is_that, clause in groupby(kinds, "that".__eq__):
        found = [] if is_that else [kind for kind in clause if kind != "again"] or ["not"]
        if len(found) > 1 and found != ["nothing", "not"]:
            return 0
        total += len(found)
    return total


def _begins_with_negation(words: Sequence[str], lists: _Lists, languages: tuple[str, ...]) -> bool:
    """Return whether the text before a limit, in one clause, begins with a negation that may be that of the limit:
    "no bags" in "no bags over 50 €"."""
    for word in map(_plain, words):
        if word in lists.negations:
            return word in lists.first and not any(each.endswith((",", ";")) for each in words)
        if word not in lists.verbs and word not in lists.open and not _is_listed(word, languages):
            break
    return False


def _is_slip(word: str, lists: _Lists, languages: tuple[str, ...]) -> bool:
    """Return whether a word is a misspelled negation."""
    return word in lists.slips and not _is_listed(word, languages)


def is_verb(word: str, languages: tuple[str, ...]) -> bool:
    """Return whether a word is one of costing or wanting, which asks for nothing."""
    return _plain(word) in _lists(languages).verbs


def words_for_all(languages: tuple[str, ...]) -> frozenset[str]:
    """Return the words for everything, without accents: "all", "anything"."""
    return _lists(languages).all


@lru_cache(maxsize=1_000)
def _is_listed(word: str, languages: tuple[str, ...]) -> bool:
    """Return whether a word is a filler word or on another list of one of the languages."""
    return any(is_on_a_list(_plain(word), each) for each in languages)


@lru_cache(maxsize=1_000)  # each word before a limit is looked up for the limits behind it, too
def _plain(word: str) -> str:
    """Return a word as the lists have it. A comma stays, so a word before one, which ends a clause, is on no list."""
    return spelled(re.sub("['’`´]", "", word.casefold()))


@lru_cache(maxsize=64)
def _lists(languages: tuple[str, ...]) -> _Lists:
    def words(name: str, *of: str) -> frozenset[str]:
        return frozenset(
            _plain(word) for each in of or languages for line in WORDS[name].get(each, ()) for word in line.split()
        )

    def negations(*of: str) -> frozenset[str]:
        listed = {_plain(word) for each in of for word in NEGATIONS.get(each, "").split()}
        return words("not", *of).union(words("nothing", *of), words("again", *of), listed)

    def pattern(name: str, end: str = "") -> re.Pattern[str]:
        lines = "|".join(line for each in languages for line in WORDS[name].get(each, ()))
        return re.compile(rf"[\s,]*(?:{lines}){end}" if lines else r"(?!)", re.IGNORECASE)

    every = negations(*languages)
    verbs, opening = (words("verbs") | words("all")) - every, words("open")
    endings = (word for each in languages for line in WORDS["not"].get(each, ()) for word in line.split())
    return _Lists(
        negations=every,
        nothing=words("nothing"),
        again=words("again"),
        that=words("that"),
        hide=words("hide"),
        all=words("all"),
        first=frozenset[str]().union(
            *(negations(each) - words("next", each) - feature_marks((each,)) for each in languages)
        ),
        slips=frozenset(_slips(every) - verbs - opening),
        endings=tuple(sorted(filter(NO_SPACES.match, endings), key=len, reverse=True)),
        verbs=verbs,
        open=opening,
        behind=pattern("behind"),
        last=pattern("last", r"\W*$"),
    )


def _slips(words: Set[str]) -> Set[str]:
    """Return words with two neighbouring letters exchanged, or with one missing."""
    missing = {w[:i] + w[i + 1 :] for w in words if len(w) >= SHORTEST_OMISSION for i in range(1, len(w))}
    return (exchanged(words) | missing) - words
