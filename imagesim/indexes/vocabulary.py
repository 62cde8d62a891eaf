"""The numbered words of an index, which are found by prefix, by suffix, by a part or in spite of typing errors."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from imagesim.language import kana
from imagesim.language.letters import UNACCENTED
from imagesim.language.word_roles import has_digit

if TYPE_CHECKING:
    import numpy.typing as npt

UNSORTED_WORDS = 500
UNSORTED_SHARE = 16
"""Words are sorted again if more than ``UNSORTED_WORDS`` plus one in ``UNSORTED_SHARE`` of the sorted ones are new."""

FUZZY_CACHE = 2_000
"""The number of query words whose misspellings are cached."""


class _SortedWords:
    """Words in alphabetical order, with their numbers."""

    def __init__(self, words: Sequence[str]) -> None:
        self._numbers = sorted(range(len(words)), key=words.__getitem__)
        self._words = [words[number] for number in self._numbers]

    def starting_with(self, text: str) -> list[int]:
        """Return the numbers of the words that start with ``text``."""
        return self._numbers[bisect_left(self._words, text) : bisect_left(self._words, text + LAST)]


class Vocabulary:
    """The numbered words of an index, sorted forwards and backwards to find them by prefix and by suffix.

    Words that were added since they were last sorted are scanned one by one.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.ids: dict[str, int] = {}
        self._known = 0
        self._forwards, self._backwards = _SortedWords([]), _SortedWords([])
        self._letters: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._lengths: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._near: dict[str, tuple[int, list[tuple[int, int]]]] = {}
        self._kana: list[int] = []

    def add(self, word: str) -> int:
        """Add a word if it is new; return its number."""
        number = self.ids.setdefault(word, len(self.words))
        if number == len(self.words):
            self.words.append(word)
            if kana.is_word(word):
                self._kana.append(number)
        return number

    def sort(self, *, all_words: bool = False) -> None:
        words = self.words
        if len(words) - self._known > (0 if all_words else UNSORTED_WORDS + self._known // UNSORTED_SHARE):
            self._forwards, self._backwards = _SortedWords(words), _SortedWords([word[::-1] for word in words])
            new = words[self._known :]
            self._letters = np.concatenate([self._letters, np.array([letters(word) for word in new], np.uint64)])
            self._lengths = np.concatenate([self._lengths, np.array([len(word) for word in new], np.int64)])
            self._known = len(words)

    def starting_with(self, text: str) -> list[int]:
        """Return the numbers of the words that start with ``text``."""
        unsorted = range(self._known, len(self.words))
        return self._forwards.starting_with(text) + [
            number for number in unsorted if self.words[number].startswith(text)
        ]

    def ending_with(self, endings: Collection[str]) -> set[int]:
        """Return the numbers of the words that have any of these endings."""
        found = set[int]().union(*(self._backwards.starting_with(ending[::-1]) for ending in endings))
        unsorted = range(self._known, len(self.words)) if endings else ()
        every = tuple(endings)
        return found.union(n for n in unsorted if self.words[n].endswith(every))

    def containing(self, text: str) -> list[int]:
        """Return the numbers of the words of Japanese kana within which ``text``, another such word, occurs:
        "ランニング" in "メンズランニングシューズ". In other languages, what words contain says nothing."""
        words = self.words
        # Most words do not contain it: the test for that takes a fifth of the time of a call for each.
        return [number for number in self._kana if text in words[number] and kana.is_within(text, words[number])]

    def near(self, typed: str) -> list[tuple[int, int]]:
        """Return (number, distance) of the words that ``typed`` may be a misspelling of; see :func:`most_errors`.

        The first letter has to be right, as it usually is: "sokker" (socks) is not "okker" (ochre).
        """
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        most = most_errors(typed)
        if not most:
            return []
        seen, found = self._near.get(typed, (0, []))
        if seen == len(self.words):
            return found
        candidates = list(range(max(seen, self._known), len(self.words)))
        if seen < self._known:
            # An error changes the length by at most one, and adds or removes at most two letters of the set.
            close = np.abs(self._lengths[seen:] - len(typed)) <= most
            close[close] = _bits(self._letters[seen:][close] ^ np.uint64(letters(typed))) <= 2 * most
            candidates = (np.flatnonzero(close) + seen).tolist() + candidates
        words = [self.words[number] for number in candidates]
        near = process.extract(typed, words, scorer=OSA.distance, score_cutoff=most, limit=None)
        found = found + [
            (candidates[position], int(distance))
            for known, distance, position in near
            if distance
            and len(known) >= 3
            and not has_digit(known)
            and known[0] == typed[0]
            and (known[-1] == UNACCENTED) == (typed[-1] == UNACCENTED)
        ]
        if len(self._near) >= FUZZY_CACHE:
            self._near = {}
        self._near[typed] = (len(self.words), found)
        return found


TWO_ERRORS = 8
"""The number of letters from which a word may have two typing errors. It is 6 in Elasticsearch's ``AUTO``."""

LAST = "\U0010ffff"
"""A character that sorts after every letter."""

_BITS = np.array([number.bit_count() for number in range(1 << 16)], dtype=np.uint8)


_VOWELS_AND_DOUBLES = re.compile(r"[aeiouy]+|(.)(?=\1)")


@lru_cache(maxsize=10_000)
def consonants(word: str) -> str:
    """Return the consonants of a word, with doubled ones reduced to one."""
    return _VOWELS_AND_DOUBLES.sub("", word)


def most_errors(word: str) -> int:
    """Return how many typing errors a word may have. "Brille" is not taken for "Bälle", which differs by two, nor
    "beanie" for "bean". The letters of Japanese kana are syllables, so fewer may be wrong. A word with a digit has
    none: a number, size or code that differs is another one."""
    if has_digit(word):
        return 0
    if kana.is_word(word):
        return kana.most_errors(word)
    return 2 if len(word) >= TWO_ERRORS else 1


def shortest_beginning(word: str) -> int:
    """Return the minimum number of letters that a word must have for longer words that begin with it to be found."""
    return kana.SHORTEST_PART if kana.is_word(word) else 3


def letters(word: str) -> int:
    """Return the set of the letters of a word as 64 bits; different letters may share a bit."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) & 63)
    return bits


def _bits(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return how many bits of each number are set."""
    counts: npt.NDArray[np.int64] = _BITS[numbers.view(np.uint16).reshape(-1, 4)].sum(axis=1, dtype=np.int64)
    return counts
