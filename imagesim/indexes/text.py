"""Match the words of entries with those of a query.

The local index keeps one :class:`TextIndex` of all its entries. An index on a search server lets the server choose the
entries and scores those few with the same class, so that every index gives one ranking.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imagesim.indexes.analysis import analyse, base_language, described_features, features, listed_stems
from imagesim.indexes.query_words import query_words, shades_of
from imagesim.indexes.word_matcher import COMPOUND, STEM, WordMatcher

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.indexes.analysis import Token
    from imagesim.types import Query, TextSpec

    Mask = npt.NDArray[np.bool_]
    Slots = npt.NDArray[np.int64]
    Qualities = npt.NDArray[np.float32]

KNOWN_WORD = 0.7
"""The factor of any other match than by the word or its stem, if the catalogue contains the word."""

KNOWN_PART = 0.6
"""The same for a part of a compound: a boxing glove ("Boxhandschuh") is not a shoe ("Schuh") if there are shoes."""

LISTED = 0.6
"""The factor of a match with a word of a list in a category's name: not all of "Sofas & tables" are sofas. Low enough
that vectors decide."""

FEATURE = 0.48
"""The factor of a match with nothing but what a text says that the thing has or is for: a "baby monitor with camera" is
no camera, and milk that is "good for coffee" no coffee. Low enough that vectors decide."""

FILLER = 0.02
"""The factor of the weight of a filler word: no entry is less relevant for not being "cheap", but one called "New
Order" comes first for "new order"."""

SHADE = 0.1
"""The same for the shade of a colour: "light blue" asks for what is blue, and comes first itself."""

MAX_SEEN = 1_000
"""The number of texts whose words are kept while entries are added."""

UNPACKED = 1_000
"""The maximum number of changed entries in the overlay before they are merged into the arrays."""


FIELD_BITS = 16
FIELD_MASK = (1 << FIELD_BITS) - 1
"""Where a posting has the number of its field."""


@dataclass(frozen=True, slots=True)
class TextField:
    """A field of text: its name, its weight relative to the other fields, its language, and whether it holds the name
    of a category, or those of the entry's colours."""

    name: str
    weight: float = 1.0
    language: str = "en"
    category: bool = False
    colours: bool = False


def text_fields(specs: Mapping[str, TextSpec]) -> list[TextField]:
    """Return the fields of an index whose meta has these ``texts``."""
    return [TextField(name, spec.weight, spec.language, spec.category, spec.colours) for name, spec in specs.items()]


class TextMatches(NamedTuple):
    """The entries that contain a word of a query, by slot; ``scores`` are the shares of the query that they match,
    0..1, and ``heads`` those of its heads alone."""

    slots: Slots
    scores: npt.NDArray[np.float32]
    heads: npt.NDArray[np.float32]

    def heads_of(self, slots: Sequence[int]) -> list[float]:
        """Return how well these entries match the heads."""
        found: list[float] = np.round(self.heads[np.searchsorted(self.slots, slots)].astype(np.float64), 6).tolist()
        return found

    def best(self) -> Slots:
        """The slots, best first."""
        return self.slots[np.lexsort((self.slots, -self.scores))]


NO_MATCHES = TextMatches(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))


class TextIndex:
    """An inverted index of entries' words: sorted arrays, and a small overlay of the changes since they were made.

    An entry is known by a number (``slot``). The score of an entry is the share of the query's words that it contains,
    each weighted by rarity (inverse document frequency), by the quality of the match (exact, stem, part of a compound,
    prefix, one or two typing errors) and by the field; entries whose name has few other words come first. Repetitions
    of a word do not count.

    Several threads can read at the same time; a writer needs exclusive access.
    """

    def __init__(self, fields: Sequence[TextField]) -> None:
        self.fields = tuple(fields)
        self._language = [base_language(field.language) for field in fields]
        self.languages = tuple(dict.fromkeys(self._language)) or ("en",)
        top = max((field.weight for field in fields), default=1.0)
        factor = np.array([math.sqrt(field.weight / top) for field in fields], dtype=np.float32)
        # The words that a category's name lists, and the features that a text mentions, are in fields of their own,
        # after all others: those of field n are in n + self._listed and n + self._features.
        self._listed, self._features = len(fields), 2 * len(fields)
        self._factor = np.concatenate([factor, factor * LISTED, factor])
        self._main = [number for number, field in enumerate(fields) if field.weight == top]
        self._colours = [number for number, field in enumerate(fields) if field.colours]
        least = min((fields[number].weight for number in self._colours), default=0.0)
        mentions = [f.weight < least and not f.category for f in fields]
        self._mentions = np.array([*mentions, *([False] * len(fields)), *mentions])
        self._words = WordMatcher(self.languages)
        self._starts: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._slots: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._in_field: npt.NDArray[np.uint16] = np.empty(0, dtype=np.uint16)
        self._stale: npt.NDArray[np.bool_] = np.zeros(16, dtype=bool)
        self._any_stale = False
        self._lengths: npt.NDArray[np.uint16] = np.zeros((16, max(1, len(fields))), dtype=np.uint16)
        self._added: dict[int, list[int]] = {}
        self._overlay: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self._unsettled: list[int] = []
        self._seen: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        self._has: npt.NDArray[np.bool_] = np.zeros(16, dtype=bool)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._has))

    # Upkeep.

    def set(self, slot: int, texts: Mapping[str, Sequence[str]]) -> None:
        """Replace the words of the entry by those of ``texts`` (values by the name of a field)."""
        self.add(slot, texts)
        self.settle()

    def remove(self, slot: int) -> None:
        """Remove the entry's words."""
        self.set(slot, {})

    def add(self, slot: int, texts: Mapping[str, Sequence[str]]) -> None:
        """As :meth:`set`, but visible only after :meth:`settle`."""
        self._reserve(slot + 1)
        self._forget(slot)
        self._unsettled.append(slot)
        if postings := self._postings_of(slot, texts):
            self._added[slot] = postings
            self._has[slot] = True

    def settle(self) -> None:
        """Make added entries visible."""
        if not self._unsettled:
            return
        self._words.sort()
        if len(self._added) > UNPACKED or (self._added and not len(self._slots)):
            self.pack()
        else:
            for slot in self._unsettled:
                for posting in self._added.get(slot, ()):
                    self._overlay[posting >> FIELD_BITS].add((slot, posting & FIELD_MASK))
        self._unsettled.clear()
        self._seen.clear()

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
        """Return the distinct words of an entry, each with its field in the lowest bits."""
        postings: list[int] = []
        for number, field in enumerate(self.fields):
            values = texts.get(field.name)
            words = self._words_of(number, tuple(values)) if values else ()
            self._lengths[slot, number] = len(words)
            postings += words
        return postings

    def _words_of(self, number: int, values: tuple[str, ...]) -> list[int]:
        """Return the postings of the field ``number`` with these values, which many entries share: the name of a
        category, a brand."""
        found = self._seen.get((number, values))
        if found is None:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            language = self._language[number]
            tokens = {token for value in values for token in analyse(value, language)}
            words = {token: self._words.add(token, language) for token in tokens}
            listed = listed_stems(values, language) if self.fields[number].category else ()
            of_features = self._features_of(number, values)
            fields = {token: number + self._listed for token in tokens if token.stem in listed}
            fields |= dict.fromkeys(of_features, number + self._features)
            found = self._seen[number, values] = [
                word << FIELD_BITS | fields.get(token, number) for token, word in words.items()
            ]
        return found

    def _features_of(self, number: int, values: Sequence[str]) -> frozenset[Token]:
        field = self.fields[number]
        if field.category or field.colours:
            return frozenset()
        language = self._language[number]
        return features(values, language) if number in self._main else described_features(values, language)

    def pack(self) -> None:
        """Merge the overlay into the arrays."""
        keep = ~self._stale[self._slots]
        new = np.array([posting for each in self._added.values() for posting in each], dtype=np.int64)
        owners = np.repeat(list(self._added), [len(each) for each in self._added.values()]).astype(np.int32)
        word_of = np.repeat(np.arange(len(self._starts) - 1), np.diff(self._starts))
        words = np.concatenate([word_of[keep], new >> FIELD_BITS])
        order = np.argsort(words, kind="stable")
        self._slots = np.concatenate([self._slots[keep], owners])[order]
        self._in_field = np.concatenate([self._in_field[keep], (new & FIELD_MASK).astype(np.uint16)])[order]
        counts = np.bincount(words, minlength=len(self._words))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._stale[:] = self._any_stale = False
        self._added.clear()
        self._overlay.clear()

    # Reading.

    def answer(
        self,
        query: Query,
        *,
        mask: Mask | None = None,
        total: int | None = None,
        frequencies: Mapping[str, int] | None = None,
    ) -> TextMatches:
        """Return the entries that contain a word of a query; see :meth:`match`."""
        return self.match(
            query.text,
            mask=mask,
            total=total,
            frequencies=frequencies,
            prefix=query.typing,
            heads=query.heads,
            spelled=query.spelled,
            colours=query.colours,
            foreign=query.foreign,
        )

    def match(
        self,
        text: str,
        *,
        mask: Mask | None = None,
        total: int | None = None,
        frequencies: Mapping[str, int] | None = None,
        prefix: bool = False,
        heads: Sequence[int] = (),
        spelled: Collection[str] = (),
        colours: Collection[int] = (),
        foreign: Collection[tuple[str, str]] = (),
    ) -> TextMatches:
        """Return the entries that contain a word of ``text``, among those of ``mask`` (slots,).

        ``total`` and ``frequencies`` (entries per word) replace the index's own counts if it holds only a part of the
        entries. ``prefix``: the last word is still being typed. ``heads``: the numbers of the words of which an entry
        must contain one; empty: any word suffices. ``spelled``: the words that are spelled correctly. ``colours``: the
        numbers of those that name a colour. ``foreign``: words, each with a language that it is not of: it has no stem
        there, and what is written so in a text of that language is another word.
        """
        words = query_words(text, self.languages, foreign)
        everything = len(self) if total is None else total
        if not words or not len(self):
            return NO_MATCHES
        size = len(self._stale)
        covered, hit = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=bool)
        named = np.zeros(size, dtype=bool)
        in_main = np.zeros((len(self._main), size), dtype=np.float32)
        of_heads = np.zeros(size, dtype=np.float32) if heads else covered
        weights = head_weights = 0.0
        shades = shades_of(words, colours)
        for position, found in enumerate(self._words.match(words, prefix=prefix, spelled=spelled)):
            word = words[position]
            numbers = np.fromiter(found, dtype=np.int64, count=len(found))
            qualities = np.fromiter(found.values(), dtype=np.float32, count=len(found))
            slots, fields, quality = self._postings(numbers, qualities)
            asked = quality >= STEM
            known = self._frequency(slots[asked]) if frequencies is None else frequencies.get(word.word, 0)
            if known:
                factor = np.where(quality == np.float32(COMPOUND), KNOWN_PART, KNOWN_WORD)
                # "Schreibtisch" is a "Tisch" if its category is "Sofas & Tische".
                listed = np.isin(slots, slots[asked & (self._listed <= fields) & (fields < self._features)])
                factor[asked | (listed & (quality == np.float32(COMPOUND)))] = 1.0
                quality *= factor.astype(np.float32)
            if word.not_of:
                quality[asked & self._is_in_language(fields, word.not_of)] = 0.0
            slip = word.slip and not known and word.word not in spelled
            weight = rarity(everything, known) * (FILLER if word.filler or slip else SHADE if position in shades else 1)
            if position in colours and len(colours) == 1:
                quality[self._mentions[fields] & self._is_coloured(slots)] = 0.0
            weights += weight
            quality *= self._factor[fields]
            best = _best_by_slot(slots, quality, size)
            covered += weight * best
            own = (quality > 0) & (quality == best[slots]) & (fields < self._features)
            named[slots[own]] = True
            if not heads or position in heads:
                hit |= best > 0
                head_weights += weight
                if heads:
                    of_heads += weight * best
            for number, main in enumerate(self._main):
                within = (fields == main) | (fields == main + self._features)
                in_main[number] += _best_by_slot(slots[within], quality[within], size)
        if mask is not None:
            hit[: len(mask)] &= mask
            hit[len(mask) :] = False
        slots = np.flatnonzero(hit)
        factor = np.where(named[slots], np.float32(1), np.float32(FEATURE))
        share = in_main[:, slots] / np.maximum(self._lengths[slots][:, self._main].T, 1)
        factor *= 0.9 + 0.1 * np.minimum(share, 1.0).max(axis=0, initial=0.0)
        scores = (covered[slots] / weights * factor).astype(np.float32)
        if not heads:
            return TextMatches(slots, scores, scores)
        return TextMatches(slots, scores, (of_heads[slots] / max(head_weights, 1e-6) * factor).astype(np.float32))

    def _is_in_language(self, fields: Slots, languages: Collection[str]) -> Mask:
        """Whether each of these fields is of one of the languages."""
        of_them = np.isin(self._language, list(languages))
        return of_them[fields % len(self.fields)]

    def _is_coloured(self, slots: Slots) -> Mask:
        """Return which of the entries have colours of their own: a mention of another says nothing about these."""
        found: Mask = np.any(self._lengths[slots][:, self._colours] > 0, axis=1)
        return found

    def _frequency(self, slots: Slots) -> int:
        seen = np.zeros(len(self._stale), dtype=bool)
        seen[slots] = True
        return int(np.count_nonzero(seen))

    def _postings(self, words: Slots, qualities: Qualities) -> tuple[Slots, Slots, Qualities]:
        """(slots, fields, qualities) of all entries with one of the words."""
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


def rarity(entries: int, known: int) -> float:
    """Return the weight of a word that ``known`` of the entries have (inverse document frequency)."""
    return math.log1p((max(entries - known, 0) + 0.5) / (known + 0.5))


def _best_by_slot(slots: Slots, values: Qualities, size: int) -> Qualities:
    """Return the largest value of each slot (size,), 0 if there is none."""
    best = np.zeros(size, dtype=np.float32)
    np.maximum.at(best, slots, values)
    return best
