"""Negations beside a limit: "can't cost more than 50 €" states the opposite of "more than 50 €"."""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imagesim.language.analysis import NO_SPACES
from imagesim.language.letters import spelled
from imagesim.language.stop_words import NEGATIONS, read_table
from imagesim.language.word_lists import exchanged, is_on_a_list

WORDS = read_table(Path(__file__).with_name("negated_limits.txt"))

SHORTEST_OMISSION = 5
"""The minimum number of letters of a negation that is recognised with a letter missing."""


class Negation(NamedTuple):
    """The texts ``before`` and ``after`` a limit, without its negation.

    - ``negates``: it makes the opposite of the limit.
    - ``is_open``: the limit asks for no price: "need not be under 50". Two negations may mean either.
    - ``is_far``: filler words are between, so it may belong to them: "not a cheap one for more than 50 €".
    """

    before: str
    after: str
    negates: bool = False
    is_open: bool = False
    is_far: bool = False


class _Lists(NamedTuple):
    """The words of some languages that may stand beside a limit."""

    negations: frozenset[str]
    slips: frozenset[str]
    endings: tuple[str, ...]
    verbs: frozenset[str]
    open: frozenset[str]
    behind: re.Pattern[str]


def negation_of(before: str, after: str, languages: tuple[str, ...]) -> Negation:
    """Return the negation of a limit that has these texts before and after it.

    It stands directly before the limit, or with nothing but verbs of costing and wanting between; in some languages,
    behind it. The base codes of the ``languages`` are sorted.
    """
    lists = _lists(languages)
    words = before.split()
    negations, is_open, is_far, kept = 0, False, False, len(words)
    for n in range(len(words) - 1, -1, -1):
        word = _plain(words[n])
        is_open |= word in lists.open
        if word in lists.negations or (word in lists.slips and not _is_listed(word, languages)):
            if is_far:
                return Negation(before.rstrip(), after, is_far=True)
            negations += 1
            kept = n
        elif ending := next(filter(words[n].endswith, lists.endings), ""):
            negations += 1
            words[n] = words[n].removesuffix(ending)
            kept = n + 1
            break
        elif word not in lists.verbs and word not in lists.open:
            if negations or not _is_listed(word, languages):
                break
            is_far = True
    left = " ".join(words[:kept])
    if behind := lists.behind.match(after):
        negations += 1
        after = after[behind.end() :]
    if not negations:
        return Negation(before.rstrip(), after)
    follows = after.split()
    while follows and is_verb(follows[0], languages) and not _is_listed(follows[0], languages):
        follows.pop(0)
    rest = f" {' '.join(follows)}" if after[:1].isspace() else after
    return Negation(left, rest, negations == 1, is_open or negations > 1)


def is_verb(word: str, languages: tuple[str, ...]) -> bool:
    """Return whether a word is one of costing or wanting, which asks for nothing."""
    return _plain(word) in _lists(languages).verbs


def _is_listed(word: str, languages: tuple[str, ...]) -> bool:
    """Return whether a word is a filler word or on another list of one of the languages."""
    return any(is_on_a_list(_plain(word), each) for each in languages)


def _plain(word: str) -> str:
    """Return a word as the lists have it. A comma stays, so a word before one, which ends a clause, is on no list."""
    return spelled(re.sub("['’`´]", "", word.casefold()))


@lru_cache(maxsize=64)
def _lists(languages: tuple[str, ...]) -> _Lists:
    def words(name: str) -> frozenset[str]:
        return frozenset(
            _plain(word) for each in languages for line in WORDS[name].get(each, ()) for word in line.split()
        )

    negations = words("not") | {_plain(word) for each in languages for word in NEGATIONS.get(each, "").split()}
    verbs, opening = words("verbs") - negations, words("open")
    slips = frozenset(_slips(negations) - verbs - opening)
    behind = "|".join(line for each in languages for line in WORDS["behind"].get(each, ()))
    endings = (word for each in languages for line in WORDS["not"].get(each, ()) for word in line.split())
    return _Lists(
        negations,
        slips,
        tuple(sorted(filter(NO_SPACES.match, endings), key=len, reverse=True)),
        verbs,
        opening,
        re.compile(rf"[\s,]*(?:{behind})" if behind else r"(?!)", re.IGNORECASE),
    )


def _slips(words: Set[str]) -> Set[str]:
    """Return words with two neighbouring letters exchanged, or with one missing."""
    missing = {w[:i] + w[i + 1 :] for w in words if len(w) >= SHORTEST_OMISSION for i in range(1, len(w))}
    return (exchanged(words) | missing) - words
