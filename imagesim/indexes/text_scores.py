"""The weights of the words of a query, and the scores of entries that match them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imagesim.language.codes import are_dimensions
from imagesim.language.stop_words import SIZES

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.language.query_words import QueryWord

    Slots = npt.NDArray[np.int64]
    Qualities = npt.NDArray[np.float32]

FILLER = 0.02
"""The factor of the weight of a filler word. An entry without "cheap" in its text is not less relevant, but one called
"New Order" comes first for "new order"."""

SHADE = 0.1
"""The factor of the weight of a shade, and of a unit: "light blue" finds everything blue, with light blue things first;
"90 x 190 cm" also finds what is 90x190, and "1.5 litres" what has 1.5 l. It is also that of dimensions in one piece
that no entry has: their numbers are words, too."""

SIZE = 0.1
"""The factor of the weight of a size or an age that some entries have: "gloves size 10" finds all gloves, those in this
size first. If none has it, the texts say nothing about sizes, and it is a filler."""

IN_TEXT, IN_LIST, AT_END, IN_FEATURE = PLACES = range(4)
"""Where a word is in a field: among others, in a list of things in the name of a category, at the end of a name, or
where a text only mentions a feature or purpose. Of n fields, the postings of field f at the place p have the field
number p * n + f."""

FEATURE = 0.48
"""The factor of an entry that matches only a feature or purpose in its texts: a "baby monitor with camera" is not a
camera, and milk that is "good for coffee" is not coffee. It is low enough that the vectors decide. It does not apply to
a query for a purpose, such as "something for a headache"."""

ENDS = 0.9
"""The minimum share of a name that counts as matched if the name ends with the exact word: "Allstar Sneakers" for
"sneakers", but not "Oak table glass" for "glasses"."""


def word_weight(word: QueryWord, entries: int, known: int, *, shade: bool, spelled: Collection[str]) -> float:
    """Return how much a word of a query counts: less if it asks for nothing, says what is done about a problem, is the
    shade of a colour, or a unit."""
    slip = word.slip and not known and word.word not in spelled
    is_size = word.filler and not word.before_amount and (word.word[0].isdigit() or word.word in SIZES)
    if is_size and known:
        return rarity(entries, known) * SIZE
    repeats = not known and are_dimensions(word.word)
    weight = FILLER if word.filler or word.remedy or slip else SHADE if shade or word.unit or repeats else 1
    return rarity(entries, known) * weight


def rarity(entries: int, known: int) -> float:
    """Return the inverse document frequency of a word that ``known`` of ``entries`` entries contain."""
    return math.log1p((max(entries - known, 0) + 0.5) / (known + 0.5))


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


class Coverage:
    """How much of a query each of ``size`` slots covers. It is added up word by word, each with its weight."""

    def __init__(self, size: int, main: int) -> None:
        self.hit = np.zeros(size, dtype=bool)
        """Whether the entry contains a head word."""
        self.in_main = np.zeros((main, size), dtype=np.float32)
        """The sum of the qualities in each of the ``main`` fields."""
        self._covered, self._of_heads = np.zeros((2, size), dtype=np.float32)
        self._weight = self._head_weight = 0.0
        self._named, self._ends = np.zeros((2, size), dtype=bool)

    def add(self, slots: Slots, places: Slots, quality: Qualities, weight: float, *, is_head: bool) -> Qualities:
        """Add a word by its postings; return the quality of its best match in each slot."""
        best = best_by_slot(slots, quality, len(self.hit))
        self._covered += weight * best
        self._weight += weight
        self._named[slots[(quality > 0) & (quality == best[slots]) & (places != IN_FEATURE)]] = True
        if is_head:
            self.hit |= best > 0
            self._of_heads += weight * best
            self._head_weight += weight
            self._ends[slots[(places == AT_END) & (quality >= 1.0)]] = True
        return best

    def matches(self, slots: Slots, lengths: npt.NDArray[np.uint16], by_features: float) -> TextMatches:
        """Return the scores of ``slots``. ``lengths`` are the numbers of words of their main fields; ``by_features`` is
        the factor of those that match by features alone."""
        factor = np.where(self._named[slots], np.float32(1), np.float32(by_features))
        share = np.minimum(self.in_main[:, slots] / np.maximum(lengths, 1), 1.0).max(axis=0, initial=0.0)
        scores = self._covered[slots] / self._weight * factor * (0.9 + 0.1 * share)
        factor *= 0.9 + 0.1 * np.maximum(share, ENDS * self._ends[slots])
        heads = self._of_heads[slots] / max(self._head_weight, 1e-6) * factor
        return TextMatches(slots, scores.astype(np.float32), heads.astype(np.float32))


def best_by_slot(slots: Slots, values: Qualities, size: int) -> Qualities:
    """Return an array (size,) with the largest value of each slot, or 0 for a slot without values."""
    best = np.zeros(size, dtype=np.float32)
    np.maximum.at(best, slots, values)
    return best
