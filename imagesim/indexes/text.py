"""Match the words of entries with those of a query.

The local index keeps one :class:`TextIndex` of all its entries. An index on a search server lets the server choose some
entries and scores these with the same class, so that all indexes rank alike.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from operator import or_
from typing import TYPE_CHECKING

import numpy as np

from imagesim.indexes.text_scores import (
    AT_END,
    FEATURE,
    IN_FEATURE,
    IN_LIST,
    IN_TEXT,
    NO_MATCHES,
    PLACES,
    Coverage,
    TextMatches,
    best_by_slot,
    word_weight,
)
from imagesim.indexes.word_matcher import COMPOUND, ENDING, STEM, WordMatcher, known_part
from imagesim.language.analysis import base_language, described, features, indexed, listed_stems, name_ends
from imagesim.language.codes import MODEL
from imagesim.language.query_words import query_words, shades_of
from imagesim.language.stop_words import INFLECTIONS
from imagesim.runtime import RecentlyUsed

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.language.analysis import Token
    from imagesim.language.query_words import QueryWord
    from imagesim.types import Query, TextSpec

    Mask = npt.NDArray[np.bool_]
    Slots = npt.NDArray[np.int64]
    Qualities = npt.NDArray[np.float32]

KNOWN_WORD = 0.7
"""The factor of a match by anything other than the word or its stem, if the catalogue contains the word itself."""

LISTED = 0.6
"""The factor of a match with one item of a list in a category's name: not all of "Sofas & tables" are sofas. It is low
enough that the vectors decide."""

MAX_LENGTH = 32_767
"""The length of a field, in words, counts as at most this: the largest ``smallint`` of PostgreSQL."""

MAX_SEEN = 2_000
"""The number of field values whose postings are cached while entries are added."""

UNPACKED = 1_000
"""The maximum number of changed entries in the overlay before it is merged into the arrays."""


FIELD_BITS = 16
FIELD_MASK = (1 << FIELD_BITS) - 1
"""A posting is an integer: the number of its field in the lowest ``FIELD_BITS`` bits, that of its word above them."""


def calls_by_compounds(field: TextSpec) -> bool:
    """Return whether a field has names of categories that say by the end of a word what their things are, as the German
    "Couchtische" does. In English, the end of a word need not say so: a pineapple is not an apple."""
    return field.category and base_language(field.language) in INFLECTIONS


class TextIndex:
    """An inverted index of the words of entries: sorted arrays, and a small overlay with later changes.

    An entry is identified by a number (``slot``). Its score is the share of the query's words that it contains, each
    weighted by rarity (inverse document frequency), by the quality of the match (exact, stem, part of a compound,
    prefix, one or two typing errors) and by the field; entries whose name has few other words come first. Repetitions
    of a word do not count.

    Several threads can read at the same time; a writer needs exclusive access.
    """

    def __init__(self, specs: Mapping[str, TextSpec]) -> None:
        self._names, self._specs = tuple(specs), tuple(specs.values())
        self._language = [base_language(spec.language) for spec in self._specs]
        self.languages = tuple(dict.fromkeys(self._language)) or ("en",)
        top = max((spec.weight for spec in self._specs), default=1.0)
        factor = np.array([math.sqrt(spec.weight / top) for spec in self._specs], dtype=np.float32)
        self._main = [number for number, spec in enumerate(self._specs) if spec.weight == top]
        self._colours = [number for number, spec in enumerate(self._specs) if spec.colours]
        least = min((self._specs[number].weight for number in self._colours), default=0.0)
        # Indexed by the field numbers of postings.
        self._place = np.repeat(PLACES, len(specs))
        self._field = np.tile(np.arange(len(specs)), len(PLACES))
        self._factor = np.concatenate([factor * LISTED if place == IN_LIST else factor for place in PLACES])
        mentions = np.array([spec.weight < least and not spec.category for spec in self._specs], dtype=bool)
        self._mentions = mentions[self._field] & np.isin(self._place, (IN_TEXT, IN_FEATURE))
        kinds = np.array([calls_by_compounds(spec) for spec in self._specs], dtype=bool)
        self._kinds = kinds[self._field] & (self._place == IN_TEXT)
        self._words = WordMatcher(self.languages)
        self._most_words = 0
        self._starts: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._slots: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._in_field: npt.NDArray[np.uint16] = np.empty(0, dtype=np.uint16)
        self._stale: npt.NDArray[np.bool_] = np.zeros(16, dtype=bool)
        self._any_stale = False
        self._lengths: npt.NDArray[np.uint16] = np.zeros((16, max(1, len(specs))), dtype=np.uint16)
        self._added: dict[int, array[int]] = {}  # arrays, because they take a fifth of the memory of lists
        self._overlay: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self._unsettled: list[int] = []
        self._seen: RecentlyUsed[tuple[int, tuple[str, ...]], list[int]] = RecentlyUsed(MAX_SEEN)
        self._has: npt.NDArray[np.bool_] = np.zeros(16, dtype=bool)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._has))

    # Upkeep.

    def set(self, slot: int, texts: Mapping[str, Sequence[str]]) -> None:
        """Replace the words of the entry with those of ``texts``, lists of values by field name."""
        self.add(slot, texts)
        self.settle()

    def add(self, slot: int, texts: Mapping[str, Sequence[str]]) -> None:
        """Do the same as :meth:`set`, except that the change becomes visible only with :meth:`settle`."""
        self._reserve(slot + 1)
        self._forget(slot)
        self._unsettled.append(slot)
        if postings := self._postings_of(slot, texts):
            self._added[slot] = array("q", postings)
            self._has[slot] = True

    def settle(self) -> None:
        """Make entries visible that were added or removed since the last call."""
        if not self._unsettled:
            return
        is_first = bool(self._added) and not len(self._slots)
        if is_first or len(self._added) > UNPACKED or len(self._words) > self._most_words:
            self.pack()
        else:
            self._words.sort()
            for slot in self._unsettled:
                for posting in self._added.get(slot, ()):
                    self._overlay[posting >> FIELD_BITS].add((slot, posting & FIELD_MASK))
        self._unsettled.clear()
        self._seen = RecentlyUsed(MAX_SEEN)

    def _reserve(self, size: int) -> None:
        if size > len(self._stale):
            grown = max(size, len(self._stale) * 3 // 2) - len(self._stale)
            self._stale = np.concatenate([self._stale, np.zeros(grown, dtype=bool)])
            self._has = np.concatenate([self._has, np.zeros(grown, dtype=bool)])
            self._lengths = np.concatenate([self._lengths, np.zeros((grown, self._lengths.shape[1]), dtype=np.uint16)])

    def _forget(self, slot: int) -> None:
        for posting in self._added.pop(slot, ()):
            self._overlay[posting >> FIELD_BITS].discard((slot, posting & FIELD_MASK))
        self._stale[slot] = self._any_stale = True
        self._has[slot] = False

    def _postings_of(self, slot: int, texts: Mapping[str, Sequence[str]]) -> list[int]:
        """Return the postings of an entry: its distinct words, each with its field in the lowest bits."""
        postings: list[int] = []
        for number, name in enumerate(self._names):
            values = texts.get(name)
            words = self._words_of(number, tuple(values)) if values else ()
            self._lengths[slot, number] = min(len(words), MAX_LENGTH)
            postings += words
        return postings

    def _words_of(self, number: int, values: tuple[str, ...]) -> list[int]:
        """Return the postings of the field ``number`` with these values. They are cached, since many entries share the
        name of a category or a brand."""
        key = number, values
        if known := self._seen.get([key]):
            return known[key]
        language = self._language[number]
        tokens, mentioned = self._read(number, values)
        listed = listed_stems(values, language) if self._specs[number].category else ()
        ends = name_ends(values, language) if number in self._main else ()
        places = {token: IN_LIST for token in tokens if token.stem in listed}
        places |= dict.fromkeys(ends, AT_END)
        places |= dict.fromkeys(mentioned, IN_FEATURE)
        found = [
            word << FIELD_BITS | number + places.get(token, IN_TEXT) * len(self._specs)
            for token, word in self._words.numbers(tokens, language).items()
        ]
        self._seen.set({key: found})
        return found

    def _read(self, number: int, values: Sequence[str]) -> tuple[Collection[Token], Collection[Token]]:
        """Return the words of the field ``number`` with these values, and those that only mention a feature."""
        spec, language = self._specs[number], self._language[number]
        is_kind = spec.category or spec.colours
        if not is_kind and number not in self._main:
            return described(values, language)
        tokens = {token for value in values for token in indexed(value, language)}
        return tokens, frozenset() if is_kind else features(values, language)

    def pack(self) -> None:
        """Merge the overlay into the arrays, forget words if most no longer occur in any entry, and sort the others."""
        keep = ~self._stale[self._slots]
        new = np.concatenate([np.empty(0, np.int64), *self._added.values()])
        owners = np.repeat(list(self._added), [len(each) for each in self._added.values()]).astype(np.int32)
        word_of = np.repeat(np.arange(len(self._starts) - 1), np.diff(self._starts))
        words = np.concatenate([word_of[keep], new >> FIELD_BITS])
        used = np.flatnonzero(np.bincount(words)).tolist()
        if len(self._words) > 2 * len(used) + UNPACKED:
            self._words, numbers = self._words.only(used)
            self._seen = RecentlyUsed(MAX_SEEN)
            words = numbers[words]
        self._words.sort(all_words=True)
        self._most_words = 2 * len(self._words) + 10 * UNPACKED
        order = np.argsort(words, kind="stable")
        self._slots = np.concatenate([self._slots[keep], owners])[order]
        self._in_field = np.concatenate([self._in_field[keep], (new & FIELD_MASK).astype(np.uint16)])[order]
        counts = np.bincount(words, minlength=len(self._words))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._stale[:] = self._any_stale = False
        self._added.clear()
        self._overlay.clear()

    # Reading.

    def match(
        self,
        query: Query,
        *,
        mask: Mask | None = None,
        total: int | None = None,
        frequencies: Mapping[str, int] | None = None,
    ) -> TextMatches:
        """Return the entries that match the words of a query, among those whose slots are set in ``mask``.

        ``total`` and ``frequencies`` (entries per word) replace the index's own counts if it holds only a part of the
        entries.
        """
        words = query_words(query.text, self.languages, query.foreign)
        if not words or not len(self):
            return NO_MATCHES
        entries = len(self) if total is None else total
        shades = shades_of(words, query.colours)
        coverage = Coverage(len(self._stale), len(self._main))
        lacking = {word.code: np.zeros(len(self._stale), dtype=bool) for word in words if word.code}
        matching = self._words.match(words, prefix=query.typing, spelled=query.spelled)
        for position, (word, qualities) in enumerate(zip(words, matching, strict=True)):
            slots, fields, quality = self._postings(qualities)
            known = self._count(slots[quality >= STEM]) if frequencies is None else frequencies.get(word.word, 0)
            self._weaken(quality, slots, fields, word, known, query)
            if query.colours == (position,):
                quality[self._mentions[fields] & self._is_coloured(slots)] = 0.0
            quality *= self._factor[fields]
            weight = word_weight(word, entries, known, shade=position in shades, spelled=query.spelled)
            is_head = not query.heads or position in query.heads
            best = coverage.add(slots, self._place[fields], quality, weight, is_head=is_head)
            if word.code:
                lacking[word.code] |= best == 0
            for number, main in enumerate(self._main):
                within = self._field[fields] == main
                coverage.in_main[number] += best_by_slot(slots[within], quality[within], len(best))
        hit = coverage.hit
        if mask is not None:
            hit[: len(mask)] &= mask
            hit[len(mask) :] = False
        hit = self._with_models(self._with_codes(hit, words, lacking, query), words)
        slots = np.flatnonzero(hit)
        by_features = 1.0 if _asks_for_features(words) else FEATURE
        return coverage.matches(slots, self._lengths[slots][:, self._main].T, by_features)

    def _weaken(
        self, quality: Qualities, slots: Slots, fields: Slots, word: QueryWord, known: int, query: Query
    ) -> None:
        """Reduce the quality of matches by anything other than the word or its stem, if ``known`` entries have it, and
        of its stem in languages that it does not belong to. The three arrays are those of :meth:`_postings`."""
        asked = quality >= STEM
        if known:
            is_part = quality == np.float32(COMPOUND)
            factor = np.where(is_part, known_part(word, query.in_compounds), KNOWN_WORD).astype(np.float32)
            # A "Schreibtisch" (desk) is a "Tisch" (table) if its category is "Schreibtische", or "Sofas & Tische".
            listed = asked & (self._place[fields] == IN_LIST)
            of_kind = self._marked(slots[listed | (is_part & self._kinds[fields])])[slots]
            factor[asked | (is_part & of_kind) | (quality == np.float32(ENDING))] = 1.0
            quality *= factor
        if word.not_of:
            quality[asked & np.isin(self._language, list(word.not_of))[self._field[fields]]] = 0.0

    def _with_models(self, hit: Mask, words: Sequence[QueryWord]) -> Mask:
        """Return which of the entries that were ``hit`` have the models that a query may name, if any has."""
        for model in filter(re.compile(MODEL).fullmatch, dict.fromkeys(chain(*(word.joined for word in words)))):
            having = hit & self._has_code(model, typing=False)
            hit = having if having.any() else hit
        return hit

    def _with_codes(
        self, hit: Mask, words: Sequence[QueryWord], lacking: Mapping[tuple[str, ...], Mask], query: Query
    ) -> Mask:
        """Return which of the entries that were ``hit`` have the numbers of parts that a query contains.

        If none has such a number, and the query is nothing else, all of its parts have to be there: an entry with only
        some of them is another part. ``lacking`` says for each number which entries lack any.
        """
        for code, without in lacking.items():
            alone = all(word.code == code and word.word not in query.spelled for word in words)
            having = (hit & self._has_code(each, typing=query.typing) for each in code)
            hit = next((each for each in having if each.any()), hit & ~without if alone else hit)
        return hit

    def _has_code(self, code: str, *, typing: bool) -> Mask:
        """Return a mask of the entries with a number, or with a longer one that it may be the beginning of."""
        slots, _fields, _quality = self._postings(dict.fromkeys(self._words.with_code(code, typing=typing), 1.0))
        return self._marked(slots)

    def _is_coloured(self, slots: Slots) -> Mask:
        """Return which of the entries have values in a colour field, so that colours in other texts do not count."""
        found: Mask = np.any(self._lengths[slots][:, self._colours] > 0, axis=1)
        return found

    def _count(self, slots: Slots) -> int:
        """Return the number of different slots."""
        return int(np.count_nonzero(self._marked(slots)))

    def _marked(self, slots: Slots) -> Mask:
        """Return a mask of these slots."""
        marked = np.zeros(len(self._stale), dtype=bool)
        marked[slots] = True
        return marked

    def _postings(self, found: Mapping[int, float]) -> tuple[Slots, Slots, Qualities]:
        """Return (slots, fields, qualities) of all postings of words, three arrays of one length. The words are given
        by their numbers, with the quality of each."""
        words = np.fromiter(found, dtype=np.int64, count=len(found))
        qualities = np.fromiter(found.values(), dtype=np.float32, count=len(found))
        packed = words < len(self._starts) - 1
        starts = self._starts[words[packed]]
        counts = self._starts[words[packed] + 1] - starts
        ends = np.cumsum(counts)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)
        slots, fields, quality = self._slots[at], self._in_field[at], np.repeat(qualities[packed], counts)
        if self._any_stale:
            keep = ~self._stale[slots]
            slots, fields, quality = slots[keep], fields[keep], quality[keep]
        if self._overlay:
            later = [
                (slot, field, value)
                for word, value in zip(words.tolist(), qualities.tolist(), strict=True)
                for slot, field in self._overlay.get(word, ())
            ]
            if later:
                more = np.array(later, dtype=np.float64).T
                slots, fields = np.concatenate([slots, more[0]]), np.concatenate([fields, more[1]])
                quality = np.concatenate([quality, more[2].astype(np.float32)])
        return slots.astype(np.int64), fields.astype(np.int64), quality


def _asks_for_features(words: Sequence[QueryWord]) -> bool:
    """Return whether a query only says what the thing is for, or what it has: "something for a headache", "headache
    tablets"."""
    purposes = [word.complement or word.problem for word in words]
    asides = (word.filler or word.remedy for word in words)
    return any(purposes) and all(map(or_, purposes, asides))
