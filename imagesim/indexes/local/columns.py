"""The metadata of entries as NumPy columns, from which a filter makes a boolean mask in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from imagesim.indexes.validation import CompiledFilter

Mask = npt.NDArray[np.bool_]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


class Column:
    """The values of one filter: the first of every entry in an array, further ones of the few entries that have
    several in a list of (slot, value) beside it. Words are kept as codes.
    """

    def __init__(self, words: bool) -> None:
        self.words = words
        self._codes: dict[str, int] = {}
        self._words: list[str] = []
        self._first = np.empty(16, dtype=np.int32 if words else np.float64)
        self._more: dict[int, list[float]] = {}
        self._flat: tuple[npt.NDArray[np.int64], npt.NDArray[Any]] | None = None

    def set(self, slot: int, values: Sequence[Any]) -> None:
        if slot >= len(self._first):
            self._first.resize(max(slot + 1, len(self._first) * 3 // 2), refcheck=False)
        coded = self._coded(values)
        self._first[slot] = coded[0] if coded else self._nothing
        if len(coded) > 1:
            self._more[slot] = coded[1:]
            self._flat = None
        elif self._more.pop(slot, None):
            self._flat = None

    def _coded(self, values: Sequence[Any]) -> list[float]:
        return [self._codes.setdefault(v, len(self._codes)) if self.words else float(v) for v in values]

    @property
    def _nothing(self) -> float:
        return -1 if self.words else np.nan

    def one_of(self, values: Iterable[Any], size: int) -> Mask:
        """The entries of the first ``size`` slots that have one of the values."""
        if self.words:
            codes = [self._codes[v] for v in values if v in self._codes]
            return self._where(self._table(codes) if len(codes) != 1 else lambda a: a == codes[0], size)
        numbers = [float(v) for v in values]
        return self._where(lambda a: np.isin(a, numbers) if len(numbers) != 1 else a == numbers[0], size)

    def compare(self, operator: str, value: Any, size: int) -> Mask:
        """The entries of the first ``size`` slots that have a value that is less, greater …; nothing is neither."""
        compare = _COMPARE[operator]
        if self.words:
            return self._where(self._table([code for word, code in self._codes.items() if compare(word, value)]), size)
        return self._where(lambda a: compare(a, float(value)), size)

    def matching(self, test: CompiledFilter, size: int) -> Mask:
        if test.operator in ("eq", "in"):
            return self.one_of(test.values, size)
        return self.compare(test.operator, test.values[0], size)

    def values(self, passing: Mask) -> tuple[int, npt.NDArray[Any]]:
        """How many of the passing slots have a value, and all the values they have: codes, or numbers."""
        first = self._first[np.flatnonzero(passing)]
        first = first[first != -1] if self.words else first[~np.isnan(first)]
        if not self._more:
            return len(first), first
        slot, value = self._further()
        return len(first), np.concatenate([first, value[passing[slot]]])

    def word(self, code: int) -> str:
        if len(self._words) < len(self._codes):
            self._words = list(self._codes)  # codes are given in the order of the words
        return self._words[code]

    def _table(self, wanted: list[int]) -> Callable[[Any], Any]:
        table = np.zeros(len(self._codes) + 1, dtype=bool)  # the last is for "nothing", which is -1
        table[wanted] = True
        return lambda a: table[a]

    def _where(self, test: Callable[[Any], Any], size: int) -> Mask:
        mask: Mask = test(self._first[:size])
        if self._more:
            slot, value = self._further()
            mask[slot[test(value)]] = True
        return mask

    def _further(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """(slot, value) of every value that is not an entry's first."""
        if self._flat is None:
            slots = [slot for slot, values in self._more.items() for _ in values]
            values = [value for values in self._more.values() for value in values]
            self._flat = (np.array(slots, dtype=np.int64), np.array(values, dtype=self._first.dtype))
        return self._flat
