"""How well the words of entries match those of a query.

The local index keeps one :class:`TextIndex` of all its entries. An index on a search server lets the server choose the
entries and scores those few with the same class, so that every index gives one ranking.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imagesim.indexes.analysis import QueryWord, Token, analyse, base_language, query_words

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]
    Slots = npt.NDArray[np.int64]

# How much a match is worth, by kind. A word spelled as asked counts in full.
STEM = 0.97
COMPOUND = 0.8
PREFIX = (0.5, 0.4)
FUZZY = {1: 0.8, 2: 0.65}
TYPING = 0.95
"""Of a word that starts as the last word of a query that is still being typed."""

UNSORTED_WORDS = 500
KNOWN_WORD = 0.7
"""Of a fuzzy match where the catalogue has the word as it was typed."""

REPACK = 0.2
"""Of the entries changed since the arrays were packed, from which on they are packed anew."""


@dataclass(frozen=True, slots=True)
class TextField:
    """A field of text: its name, its weight against the other fields, the language that it is written in."""

    name: str
    weight: float = 1.0
    language: str = "en"


class TextMatches(NamedTuple):
    """The entries that have a word of a query, in no order.

    ``scores`` say how well their words answer it, 0..1; ``coverage`` is the share of the query's words that they have
    in any form, the rare ones counting for more.
    """

    slots: Slots
    scores: npt.NDArray[np.float32]
    coverage: npt.NDArray[np.float32]

    def best(self) -> Slots:
        """The slots, best first."""
        return self.slots[np.lexsort((self.slots, -self.scores))]


NO_MATCHES = (np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))


class TextIndex:
    """An inverted index of entries' words, in arrays packed now and then and a small overlay of later changes.

    An entry is known by a number (``slot``). The score of an entry is the share of the query's words that it has, each
    weighted by how rare it is (inverse document frequency), by how well it matches (as spelled, by its stem, as part
    of a compound, as a prefix, with one or two typing errors) and by the field that it stands in; entries whose name
    holds little else come first. It does not depend on how often a word is repeated.

    Reading changes nothing, so that threads may read at once; whoever writes must be alone.
    """

    def __init__(self, fields: Sequence[TextField]) -> None:
        self.fields = tuple(fields)
        self.languages = tuple(dict.fromkeys(base_language(field.language) for field in fields)) or ("en",)
        top = max((field.weight for field in fields), default=1.0)
        self._factor = np.array([math.sqrt(field.weight / top) for field in fields], dtype=np.float32)
        self._main = np.array([field.weight == top for field in fields], dtype=bool)
        self._words: list[str] = []
        self._vocabulary = _Vocabulary()
        self._ids: dict[str, int] = {}
        self._stems: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._packed = 0
        self._starts: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._slots: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._in_field: npt.NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._stale: npt.NDArray[np.bool_] = np.zeros(16, dtype=bool)
        self._lengths: npt.NDArray[np.uint16] = np.zeros((16, max(1, len(fields))), dtype=np.uint16)
        self._added: dict[int, list[tuple[int, int]]] = {}
        self._overlay: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self._count = 0
        self._has: npt.NDArray[np.bool_] = np.zeros(16, dtype=bool)

    def __len__(self) -> int:
        return self._count

    # Upkeep.

    def set(self, slot: int, texts: Mapping[str, Sequence[str]]) -> None:
        """Put the words of ``texts`` (values by the name of a field) in place of what the entry had."""
        self.remove(slot)
        postings: list[tuple[int, int]] = []
        for number, field in enumerate(self.fields):
            language = base_language(field.language)
            tokens = [token for value in texts.get(field.name, ()) for token in analyse(value, language)]
            self._lengths[slot, number] = min(len({token.word for token in tokens}), 65535)
            postings += [(self._id(token, language), number) for token in dict.fromkeys(tokens)]
        if postings:
            self._added[slot] = postings
            self._has[slot] = True
            self._count += 1
            for word, number in postings:
                self._overlay[word].add((slot, number))
        if len(self._added) > 1000 + REPACK * self._count:
            self.pack()
        self._vocabulary.update(self._words)

    def remove(self, slot: int) -> None:
        """Forget the entry's words."""
        if slot >= len(self._stale):
            size = max(slot + 1, len(self._stale) * 3 // 2)
            grown = size - len(self._stale)
            self._stale = np.concatenate([self._stale, np.zeros(grown, dtype=bool)])
            self._has = np.concatenate([self._has, np.zeros(grown, dtype=bool)])
            self._lengths = np.concatenate(
                [self._lengths, np.zeros((grown, self._lengths.shape[1]), dtype=self._lengths.dtype)]
            )
        for word, number in self._added.pop(slot, ()):
            self._overlay[word].discard((slot, number))
        self._stale[slot] = True
        if self._has[slot]:
            self._has[slot] = False
            self._count -= 1

    def _id(self, token: Token, language: str) -> int:
        known = self._ids.get(token.word)
        if known is None:
            known = self._ids[token.word] = len(self._words)
            self._words.append(token.word)
        self._stems[language, token.stem].add(known)
        return known

    def pack(self) -> None:
        """Merge the overlay into the arrays."""
        word_of = np.repeat(np.arange(len(self._starts) - 1), np.diff(self._starts))
        keep = ~self._stale[self._slots]
        added = [(word, slot, number) for slot, each in self._added.items() for word, number in each]
        new = np.array(added, dtype=np.int64).reshape(-1, 3)
        words = np.concatenate([word_of[keep], new[:, 0]])
        slots = np.concatenate([self._slots[keep], new[:, 1].astype(np.int32)])
        fields = np.concatenate([self._in_field[keep], new[:, 2].astype(np.uint8)])
        order = np.lexsort((fields, slots, words))
        self._slots, self._in_field = slots[order], fields[order]
        counts = np.bincount(words, minlength=len(self._words))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._stale[:] = False
        self._added.clear()
        self._overlay.clear()

    # Reading.

    def match(
        self,
        text: str,
        *,
        mask: Mask | None = None,
        total: int | None = None,
        frequencies: Mapping[str, int] | None = None,
        prefix: bool = False,
    ) -> TextMatches:
        """The entries that have a word of ``text``, among those of ``mask`` (slots,).

        ``total`` and ``frequencies`` (entries per word) replace the index's own counts where it holds only a part of
        the entries. ``prefix``: the last word is still being typed.
        """
        words = query_words(text, self.languages)
        size = len(self._stale)
        if not words or not self._count:
            return TextMatches(*NO_MATCHES)
        covered = np.zeros(size, dtype=np.float32)
        plain = np.zeros(size, dtype=np.float32)
        in_main = np.zeros((size, len(self.fields)), dtype=np.float32)
        weights = 0.0
        everything = self._count if total is None else total
        for word in words:
            found = self._lookup(word, prefix=prefix and word.last)
            exact = [number for number, quality in found.items() if quality >= STEM]
            known = self._frequency(exact) if frequencies is None else frequencies.get(word.word, 0)
            if known:
                found = {
                    number: quality if quality >= STEM or quality == COMPOUND else quality * KNOWN_WORD
                    for number, quality in found.items()
                }
            weight = math.log1p((max(everything - known, 0) + 0.5) / (known + 0.5))
            weights += weight
            best = np.zeros(size, dtype=np.float32)
            for number, quality in found.items():
                slots, fields = self._postings(number)
                np.maximum.at(best, slots, quality * self._factor[fields])
                main = self._main[fields]
                np.maximum.at(in_main, (slots[main], fields[main]), quality)  # replaced by the sum below
            covered += weight * best
            plain += weight * (best > 0)
            if word is words[0]:
                names = in_main.copy()
            else:
                names += in_main
            in_main[:] = 0
        covered /= weights
        plain /= weights
        hit = covered > 0
        if mask is not None:
            hit[: len(mask)] &= mask
            hit[len(mask) :] = False
        slots = np.flatnonzero(hit)
        lengths = np.maximum(self._lengths[slots], 1)
        share = np.minimum(names[slots] / lengths, 1.0)[:, self._main].max(axis=1) if self._main.any() else 0.0
        scores = covered[slots] * (0.9 + 0.1 * share)
        return TextMatches(slots, scores.astype(np.float32), plain[slots])

    def _frequency(self, numbers: Iterable[int]) -> int:
        """In how many entries any of these words stands."""
        slots = [self._postings(number)[0] for number in numbers]
        return len(np.unique(np.concatenate(slots))) if slots else 0

    def _postings(self, number: int) -> tuple[Slots, Slots]:
        """(slots, fields) of a word."""
        if number < len(self._starts) - 1:
            part = slice(int(self._starts[number]), int(self._starts[number + 1]))
            keep = ~self._stale[self._slots[part]]
            slots, fields = self._slots[part][keep].astype(np.int64), self._in_field[part][keep].astype(np.int64)
        else:
            slots, fields = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        if later := self._overlay.get(number):
            pairs = np.array(list(later), dtype=np.int64)
            slots, fields = np.concatenate([slots, pairs[:, 0]]), np.concatenate([fields, pairs[:, 1]])
        return slots, fields

    def _lookup(self, word: QueryWord, *, prefix: bool) -> dict[int, float]:
        """The words of the catalogue that a word of the query may stand for, each with the quality of the match."""
        found: dict[int, float] = {}

        def note(number: int, quality: float) -> None:
            if quality > found.get(number, 0.0):
                found[number] = quality

        if word.word in self._ids:
            note(self._ids[word.word], 1.0)
        for language, stem in word.stems.items():
            for number in self._stems.get((language, stem), ()):
                note(number, STEM)
        typed = word.word
        if len(typed) < 3:
            if prefix:
                for number in self._vocabulary.starting_with(typed, self._words):
                    note(number, TYPING)
            return found
        for number in self._vocabulary.starting_with(typed, self._words):
            if len(self._words[number]) > len(typed):
                note(number, TYPING if prefix else PREFIX[0] + PREFIX[1] * len(typed) / len(self._words[number]))
        for part in {typed, *word.stems.values()}:
            if len(part) >= 4:
                for number in self._vocabulary.ending_with(part, self._words):
                    if len(self._words[number]) - len(part) >= 3:
                        note(number, COMPOUND)
        if not typed.isdigit():
            self._fuzzy(typed, note)
        return found

    def _fuzzy(self, typed: str, note: Callable[[int, float], None]) -> None:
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        most = 1 if len(typed) <= 5 else 2  # as Elasticsearch's AUTO
        near = process.extract(typed, self._words, scorer=OSA.distance, score_cutoff=most, limit=None)
        for known, distance, number in near:
            if distance and not known.isdigit() and len(known) >= 3:
                note(number, FUZZY[int(distance)])


class _Vocabulary:
    """The words of an index in the order of their first and of their last letters, to find those that start or end
    with a text. Words added since the last sorting are looked at one by one."""

    def __init__(self) -> None:
        self._sorted: list[str] = []
        self._reversed: list[str] = []
        self._ids: dict[str, int] = {}
        self._known = 0

    def update(self, words: Sequence[str]) -> None:
        if len(words) - self._known > UNSORTED_WORDS:
            self._sorted = sorted(words)
            self._reversed = sorted(word[::-1] for word in words)
            self._ids = {word: number for number, word in enumerate(words)}
            self._known = len(words)

    def starting_with(self, text: str, words: Sequence[str]) -> Iterator[int]:
        start = bisect_left(self._sorted, text)
        for word in islice(self._sorted, start, None):
            if not word.startswith(text):
                break
            yield self._ids[word]
        yield from (number for number in range(self._known, len(words)) if words[number].startswith(text))

    def ending_with(self, text: str, words: Sequence[str]) -> Iterator[int]:
        backwards = text[::-1]
        start = bisect_left(self._reversed, backwards)
        for word in islice(self._reversed, start, None):
            if not word.startswith(backwards):
                break
            yield self._ids[word[::-1]]
        yield from (number for number in range(self._known, len(words)) if words[number].endswith(text))
