"""A column: the values of one field of all entries as an array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from imagesim.filter_types import COMPARE, FILTER_TYPES
from imagesim.indexes.validation import MAX_FACET_VALUES, CompiledFilter
from imagesim.types import Facet, FilterKind

Mask = npt.NDArray[np.bool_]

UNUSED = 1_000
"""A column of texts may hold as many texts that no entry has any more as texts in use, plus this number."""


class Column:
    """The values of one field by slot: the first value of each entry in an array, any further ones in a sparse list.

    Texts are stored as integer codes, everything else as float64.
    """

    def __init__(self, *, text: bool) -> None:
        self.text = text
        self._codes: dict[str, int] = {}
        self._most_codes = UNUSED
        self._texts: list[str] = []
        self._first: npt.NDArray[Any] = np.zeros(16, dtype=np.int32 if text else np.float64)
        self._more: dict[int, list[float]] = {}
        self._flat: tuple[npt.NDArray[np.int64], npt.NDArray[Any]] | None = None

    def set(self, slot: int, values: Sequence[Any]) -> None:
        """Replace the values of one slot."""
        if len(self._codes) > self._most_codes:
            self._drop_unused()
        if slot >= len(self._first):
            self._first.resize(max(slot + 1, len(self._first) * 3 // 2), refcheck=False)
        encoded = [self._codes.setdefault(v, len(self._codes)) if self.text else float(v) for v in values]
        self._first[slot] = encoded[0] if encoded else (-1 if self.text else np.nan)
        if len(encoded) > 1:
            self._more[slot] = encoded[1:]
            self._flat = None
        elif self._more.pop(slot, None):
            self._flat = None

    def _drop_unused(self) -> None:
        """Forget texts that no slot has any more: those of items that were changed or deleted since."""
        texts = self._decoded()
        further = [int(code) for codes in self._more.values() for code in codes]
        used = np.union1d(self._first[self._first >= 0], np.array(further, dtype=np.int32))
        new = np.full(len(texts) + 1, -1, dtype=np.int32)  # the last is for the code -1: no value
        new[used] = np.arange(len(used))
        self._first = new[self._first]
        self._more = {slot: new[np.array(codes, dtype=np.int32)].tolist() for slot, codes in self._more.items()}
        self._codes = {texts[code]: number for number, code in enumerate(used.tolist())}
        self._texts, self._flat = [], None
        self._most_codes = 2 * len(self._codes) + UNUSED

    def any_of(self, values: Iterable[Any], size: int) -> Mask:
        """Return a mask (size,) of the first slots, set for those that have one of the values."""
        if self.text:
            codes = [self._codes[v] for v in values if v in self._codes]
            return self._where(self._lookup(codes) if len(codes) != 1 else lambda a: a == codes[0], size)
        numbers = [float(v) for v in values]
        return self._where(lambda a: np.isin(a, numbers) if len(numbers) != 1 else a == numbers[0], size)

    def matching(self, group: Sequence[CompiledFilter], size: int) -> Mask:
        """Return a mask (size,) of the first slots, set for those with a value that satisfies all conditions of a
        group. A slot without values never does."""
        if group[0].operator in ("eq", "in"):
            return self.any_of(group[0].values, size)
        if self.text:
            codes = [
                code
                for text, code in self._codes.items()
                if all(COMPARE[test.operator](text, test.values[0]) for test in group)
            ]
            return self._where(self._lookup(codes), size)

        def compare(values: npt.NDArray[Any]) -> Mask:
            masks = [COMPARE[test.operator](values, float(test.values[0])) for test in group]
            return reduce(np.logical_and, masks)

        return self._where(compare, size)

    def values(self, passing: Mask) -> tuple[int, npt.NDArray[Any]]:
        """Return how many of the passing slots have a value, and all their values as codes of texts or as numbers."""
        first = self._first[np.flatnonzero(passing)]
        first = first[first != -1] if self.text else first[~np.isnan(first)]
        if not self._more:
            return len(first), first
        slot, value = self._further()
        return len(first), np.concatenate([first, value[passing[slot]]])

    def at(self, slot: int) -> list[Any]:
        """Return the values of one slot as texts or numbers."""
        first = self._first[slot]
        if first == -1 if self.text else np.isnan(first):
            return []
        values = [first.item(), *self._more.get(slot, ())]
        return [self._decoded()[int(value)] for value in values] if self.text else values

    def _decoded(self) -> list[str]:
        """Return the texts in the order of their codes."""
        if len(self._texts) < len(self._codes):
            self._texts = list(self._codes)
        return self._texts

    def facet(self, kind: FilterKind, passing: Mask) -> Facet:
        """Count the values of the passing slots, without the empty text."""
        count, numbers = self.values(passing)
        if self.text and (blank := self._codes.get("")) is not None:
            named = self._where(lambda a: (a != -1) & (a != blank), len(passing))
            count, numbers = int((named & passing).sum()), numbers[numbers != blank]
        if not count:
            return Facet(kind)
        restore = FILTER_TYPES[kind].restore
        if FILTER_TYPES[kind].is_range:
            return Facet(kind, count, minimum=restore(numbers.min()), maximum=restore(numbers.max()))
        found, times = np.unique(numbers, return_counts=True)
        texts = self._decoded() if self.text else []
        counted = [
            (texts[value] if self.text else restore(value), number)
            for value, number in zip(found.tolist(), times.tolist(), strict=True)
        ]
        counted.sort(key=lambda each: (-each[1], each[0]))
        return Facet(kind, count, tuple(counted[:MAX_FACET_VALUES]), more=len(counted) > MAX_FACET_VALUES)

    def _lookup(self, codes: list[int]) -> Callable[[Any], Any]:
        table = np.zeros(len(self._codes) + 1, dtype=bool)  # the last is for the code -1: no value
        table[codes] = True
        return lambda a: table[a]

    def _where(self, test: Callable[[Any], Any], size: int) -> Mask:
        mask: Mask = test(self._first[:size])
        if self._more:
            slot, value = self._further()
            mask[slot[test(value)]] = True
        return mask

    def _further(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return two arrays with the slots and the values of all values that are not the first of their entry."""
        if self._flat is None:
            slots = [slot for slot, values in self._more.items() for _ in values]
            values = [value for values in self._more.values() for value in values]
            self._flat = (np.array(slots, dtype=np.int64), np.array(values, dtype=self._first.dtype))
        return self._flat
