"""Match the words of entries with those of a query.

The local index keeps one :class:`TextIndex` of all its entries. An index on a search server lets the server choose some
entries and scores these with the same class, so that all indexes rank alike.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imagesim.indexes.analysis import base_language, described_features, features, indexed, listed_stems, name_ends
from imagesim.indexes.codes import MODEL
from imagesim.indexes.query_words import query_words, shades_of, word_weight
from imagesim.indexes.stop_words import INFLECTIONS
from imagesim.indexes.word_matcher import COMPOUND, ENDING, STEM, WordMatcher, known_part

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.indexes.analysis import Token
    from imagesim.indexes.query_words import QueryWord
    from imagesim.types import Query, TextSpec

    Mask = npt.NDArray[np.bool_]
    Slots = npt.NDArray[np.int64]
    Qualities = npt.NDArray[np.float32]

KNOWN_WORD = 0.7
"""The factor of a match by anything other than the word or its stem, if the catalogue contains the word itself."""

LISTED = 0.6
"""The factor of a match with one item of a list in a category's name: not all of "Sofas & tables" are sofas. It is low
enough that the vectors decide."""

FEATURE = 0.48
"""The factor of an entry that matches only a feature or purpose in its texts: a "baby monitor with camera" is no
camera, and milk that is "good for coffee" no coffee. It is low enough that the vectors decide. It does not apply to a
query for a purpose, such as "something for a headache"."""

ENDS = 0.9
"""The least that the length of a name counts that ends with the very word: "Allstar Sneakers" for "sneakers", and no
"Oak table glass" for "glasses"."""

MAX_SEEN = 1_000
"""The number of field values whose postings are cached while entries are added."""

UNPACKED = 1_000
"""The maximum number of changed entries in the overlay before it is merged into the arrays."""


FIELD_BITS = 16
FIELD_MASK = (1 << FIELD_BITS) - 1
"""A posting is an integer: the number of its field in the lowest ``FIELD_BITS`` bits, that of its word above them."""


def calls_by_compounds(field: TextSpec) -> bool:
    """Return whether a field has names of categories that say by the end of a word what their things are, as the German
    "Couchtische" does. In English it need not: a pineapple is no apple."""
    return field.category and base_language(field.language) in INFLECTIONS


class TextMatches(NamedTuple):
    """The entries that contain a word of a query, by ascending slots. ``scores`` are the shares of the query that they
    match, 0 to 1, and ``heads`` those of its head words alone."""

    slots: Slots
    scores: npt.NDArray[np.float32]
    heads: npt.NDArray[np.float32]

    def heads_of(self, slots: Sequence[int]) -> list[float]:
        """Return the scores of these entries for the head words alone. All ``slots`` must be among the matches."""
        found: list[float] = np.round(self.heads[np.searchsorted(self.slots, slots)].astype(np.float64), 6).tolist()
        return found


NO_MATCHES = TextMatches(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))


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
        # Words listed in a category's name, those that names end with, and features mentioned in a text have fields of
        # their own after all others: those of field n are the fields n + self._listed, n + self._ends and
        # n + self._features.
        self._listed, self._ends, self._features = (times * len(specs) for times in (1, 2, 3))
        self._factor = np.concatenate([factor, factor * LISTED, factor, factor])
        self._main = [number for number, spec in enumerate(self._specs) if spec.weight == top]
        self._colours = [number for number, spec in enumerate(self._specs) if spec.colours]
        least = min((self._specs[number].weight for number in self._colours), default=0.0)
        mentions = [spec.weight < least and not spec.category for spec in self._specs]
        self._mentions = np.array([*mentions, *([False] * 2 * len(specs)), *mentions])
        self._kinds = np.array([*(calls_by_compounds(spec) for spec in self._specs), *([False] * 3 * len(specs))])
        self._words = WordMatcher(self.languages)
        self._most_words = 0
        self._starts: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._slots: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._in_field: npt.NDArray[np.uint16] = np.empty(0, dtype=np.uint16)
        self._stale: npt.NDArray[np.bool_] = np.zeros(16, dtype=bool)
        self._any_stale = False
        self._lengths: npt.NDArray[np.uint16] = np.zeros((16, max(1, len(specs))), dtype=np.uint16)
        self._added: dict[int, list[int]] = {}
        self._overlay: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self._unsettled: list[int] = []
        self._seen: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        self._has: npt.NDArray[np.bool_] = np.zeros(16, dtype=bool)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._has))

    # Upkeep.

    def set(self, slot: int, texts: Mapping[str, Sequence[str]]) -> None:
        """Replace the words of the entry by those of ``texts``, lists of values by field name."""
        self.add(slot, texts)
        self.settle()

    def add(self, slot: int, texts: Mapping[str, Sequence[str]]) -> None:
        """Do the same as :meth:`set`, except that the change becomes visible only with :meth:`settle`."""
        self._reserve(slot + 1)
        self._forget(slot)
        self._unsettled.append(slot)
        if postings := self._postings_of(slot, texts):
            self._added[slot] = postings
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
        """Return the postings of an entry: its distinct words, each with its field in the lowest bits."""
        postings: list[int] = []
        for number, name in enumerate(self._names):
            values = texts.get(name)
            words = self._words_of(number, tuple(values)) if values else ()
            self._lengths[slot, number] = len(words)
            postings += words
        return postings

    def _words_of(self, number: int, values: tuple[str, ...]) -> list[int]:
        """Return the postings of the field ``number`` with these values. They are cached, since many entries share the
        name of a category or a brand."""
        found = self._seen.get((number, values))
        if found is None:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            language = self._language[number]
            tokens = {token for value in values for token in indexed(value, language)}
            words = {token: self._words.add(token, language) for token in tokens}
            listed = listed_stems(values, language) if self._specs[number].category else ()
            of_features = self._features_of(number, values)
            fields = {token: number + self._listed for token in tokens if token.stem in listed}
            ends = name_ends(values, language) if number in self._main else ()
            fields |= dict.fromkeys(ends, number + self._ends)
            fields |= dict.fromkeys(of_features, number + self._features)
            found = self._seen[number, values] = [
                word << FIELD_BITS | fields.get(token, number) for token, word in words.items()
            ]
        return found

    def _features_of(self, number: int, values: Sequence[str]) -> frozenset[Token]:
        if self._specs[number].category or self._specs[number].colours:
            return frozenset()
        language = self._language[number]
        return features(values, language) if number in self._main else described_features(values, language)

    def pack(self) -> None:
        """Merge the overlay into the arrays, forget words if most are of no entry any more, and sort the others."""
        keep = ~self._stale[self._slots]
        new = np.array([posting for each in self._added.values() for posting in each], dtype=np.int64)
        owners = np.repeat(list(self._added), [len(each) for each in self._added.values()]).astype(np.int32)
        word_of = np.repeat(np.arange(len(self._starts) - 1), np.diff(self._starts))
        words = np.concatenate([word_of[keep], new >> FIELD_BITS])
        used = np.flatnonzero(np.bincount(words)).tolist()
        if len(self._words) > 2 * len(used) + UNPACKED:
            self._words, numbers = self._words.only(used)
            self._seen.clear()
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
        everything = len(self) if total is None else total
        if not words or not len(self):
            return NO_MATCHES
        size = len(self._stale)
        covered, hit = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=bool)
        named, ends = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        in_main = np.zeros((len(self._main), size), dtype=np.float32)
        of_heads = np.zeros(size, dtype=np.float32)
        lacking = {word.code: np.zeros(size, dtype=bool) for word in words if word.code}
        weights = head_weights = 0.0
        shades = shades_of(words, query.colours)
        for position, found in enumerate(self._words.match(words, prefix=query.typing, spelled=query.spelled)):
            word = words[position]
            numbers = np.fromiter(found, dtype=np.int64, count=len(found))
            qualities = np.fromiter(found.values(), dtype=np.float32, count=len(found))
            slots, fields, quality = self._postings(numbers, qualities)
            asked = quality >= STEM
            known = self._count(slots[asked]) if frequencies is None else frequencies.get(word.word, 0)
            if known:
                is_part = quality == np.float32(COMPOUND)
                factor = np.where(is_part, known_part(word, query.in_compounds), KNOWN_WORD).astype(np.float32)
                # A "Schreibtisch" (desk) is a "Tisch" (table) if its category is "Schreibtische", or "Sofas & Tische".
                listed = asked & (self._listed <= fields) & (fields < self._ends)
                of_kind = self._marked(slots[listed | (is_part & self._kinds[fields])])[slots]
                factor[asked | (is_part & of_kind) | (quality == np.float32(ENDING))] = 1.0
                quality *= factor
            if word.not_of:
                quality[asked & self._is_in_language(fields, word.not_of)] = 0.0
            weight = word_weight(word, everything, known, shade=position in shades, spelled=query.spelled)
            if position in query.colours and len(query.colours) == 1:
                quality[self._mentions[fields] & self._is_coloured(slots)] = 0.0
            weights += weight
            quality *= self._factor[fields]
            best = _best_by_slot(slots, quality, size)
            covered += weight * best
            own = (quality > 0) & (quality == best[slots]) & (fields < self._features)
            named[slots[own]] = True
            if word.code:
                lacking[word.code] |= best == 0
            if not query.heads or position in query.heads:
                hit |= best > 0
                head_weights += weight
                of_heads += weight * best
                ends[slots[(self._ends <= fields) & (fields < self._features) & (quality >= 1.0)]] = True
            for number, main in enumerate(self._main):
                within = fields % len(self._specs) == main
                in_main[number] += _best_by_slot(slots[within], quality[within], size)
        if mask is not None:
            hit[: len(mask)] &= mask
            hit[len(mask) :] = False
        hit = self._with_codes(hit, words, lacking, query)
        for model in filter(re.compile(MODEL).fullmatch, dict.fromkeys(chain(*(word.joined for word in words)))):
            having = hit & self._has_code(model, typing=False)
            hit = having if having.any() else hit
        slots = np.flatnonzero(hit)
        by_features = 1.0 if _asks_for_features(words) else FEATURE
        factor = np.where(named[slots], np.float32(1), np.float32(by_features))
        share = in_main[:, slots] / np.maximum(self._lengths[slots][:, self._main].T, 1)
        share = np.minimum(share, 1.0).max(axis=0, initial=0.0)
        scores = (covered[slots] / weights * factor * (0.9 + 0.1 * share)).astype(np.float32)
        factor *= 0.9 + 0.1 * np.maximum(share, ENDS * ends[slots])
        return TextMatches(slots, scores, (of_heads[slots] / max(head_weights, 1e-6) * factor).astype(np.float32))

    def _with_codes(
        self, hit: Mask, words: Sequence[QueryWord], lacking: Mapping[tuple[str, ...], Mask], query: Query
    ) -> Mask:
        """Return which of the entries that were ``hit`` have the numbers of parts that a query contains.

        If none has such a number, and the query is nothing else, all of its parts have to be there: what has only some
        of them is another part. ``lacking`` says for each number which entries lack any.
        """
        for code, without in lacking.items():
            alone = all(word.code == code and word.word not in query.spelled for word in words)
            having = (hit & self._has_code(each, typing=query.typing) for each in code)
            hit = next((each for each in having if each.any()), hit & ~without if alone else hit)
        return hit

    def _has_code(self, code: str, *, typing: bool) -> Mask:
        """Return a mask of the entries with a number, or with a longer one that it may be the beginning of."""
        numbers = self._words.with_code(code, typing=typing)
        slots, _fields, _quality = self._postings(np.array(numbers, dtype=np.int64), np.ones(len(numbers), np.float32))
        return self._marked(slots)

    def _is_in_language(self, fields: Slots, languages: Collection[str]) -> Mask:
        """Return which of these fields are in one of the languages."""
        of_them = np.isin(self._language, list(languages))
        return of_them[fields % len(self._specs)]

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

    def _postings(self, words: Slots, qualities: Qualities) -> tuple[Slots, Slots, Qualities]:
        """Return (slots, fields, qualities) of all postings of the given words, three arrays of one length."""
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
    """Return whether a query only says what the thing is for, or what it has: "something for a headache"."""
    return any(word.complement for word in words) and all(word.complement or word.filler for word in words)


def _best_by_slot(slots: Slots, values: Qualities, size: int) -> Qualities:
    """Return an array (size,) with the largest value of each slot, or 0 for a slot without values."""
    best = np.zeros(size, dtype=np.float32)
    np.maximum.at(best, slots, values)
    return best
