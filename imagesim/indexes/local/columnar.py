"""What a process keeps of one local index: the matrix of its vectors and the columns of its metadata."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.local.columns import Column, Mask
from imagesim.indexes.local.facets import facet
from imagesim.indexes.local.matrix import Matrix, Rows
from imagesim.indexes.validation import CompiledFilter
from imagesim.types import Facet, FilterKind, Filters, IndexMeta

if TYPE_CHECKING:
    from imagesim.types import Vector


@dataclass(slots=True)
class Record:
    """One row of the database as the table takes it; without images it takes the entry out."""

    key: str
    model: str
    group: str
    in_stock: bool
    categories: Sequence[str]
    filters: dict[str, Any]
    images: Sequence[Sequence[str]]
    vectors: Vector


@dataclass(slots=True)
class Slot:
    """What a match says of an entry, and the rows its vectors lie in, in the order of its images."""

    key: str
    group: str
    images: tuple[tuple[str, str], ...]
    rows: Rows


class Table:
    """Not safe for threads by itself: whoever holds it has a lock."""

    def __init__(self, meta: IndexMeta, images: int = 0) -> None:
        self.matrix = Matrix(meta.dims, images)
        self.slots: list[Slot | None] = []
        self._by_key: dict[str, int] = {}
        self._free: list[int] = []
        self._kinds = dict(meta.filters)
        self._filters = {name: Column(words=FILTER_TYPES[kind].is_text) for name, kind in meta.filters.items()}
        self._categories = Column(words=True)
        self._models = Column(words=True)
        self._groups = Column(words=True)
        self._in_stock = Column(words=False)
        self._rows = Column(words=False)
        self._slot_of_row: npt.NDArray[np.int32] = np.empty(16, dtype=np.int32)
        self._images = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def apply(self, records: Iterable[Record]) -> None:
        """Put every record in place of what was there of its key."""
        for record in records:
            slot = self._by_key.get(record.key)
            if slot is not None:
                self._clear(slot)
            if record.images:
                self._fill(self._new_slot(record.key) if slot is None else slot, record)
            elif slot is not None:
                del self._by_key[record.key]
                self._free.append(slot)

    def _new_slot(self, key: str) -> int:
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self.slots)
            self.slots.append(None)
        self._by_key[key] = slot
        return slot

    def _clear(self, slot: int) -> None:
        old = self.slots[slot]
        if old is not None:
            self._slot_of_row[old.rows] = -1
            self._images -= len(old.rows)
            self.matrix.free(old.rows)
            self.slots[slot] = None
        for column in (*self._filters.values(), self._categories, self._models, self._groups, self._rows):
            column.set(slot, ())

    def _fill(self, slot: int, record: Record) -> None:
        rows = self.matrix.put(record.vectors)
        if self.matrix.used > len(self._slot_of_row):
            self._slot_of_row.resize(max(self.matrix.used, len(self._slot_of_row) * 5 // 4), refcheck=False)
        self._slot_of_row[rows] = slot
        self._rows.set(slot, rows.tolist())
        self._images += len(rows)
        images = tuple((str(digest), str(name)) for digest, name in record.images)
        self.slots[slot] = Slot(record.key, record.group, images, rows)
        for name, column in self._filters.items():
            column.set(slot, record.filters.get(name, ()))
        self._categories.set(slot, record.categories)
        self._models.set(slot, (record.model,))
        self._groups.set(slot, (record.group,))
        self._in_stock.set(slot, (record.in_stock,))

    def passing(self, filters: Filters, tests: Sequence[CompiledFilter]) -> Mask | None:
        """Which slots satisfy the filters; None where all do."""
        size = len(self.slots)
        masks: list[Mask] = []
        if filters.models:
            masks.append(self._models.one_of(filters.models, size))
        if filters.categories:
            masks.append(self._categories.one_of(filters.categories, size))
        if filters.in_stock is not None:
            masks.append(self._in_stock.one_of((filters.in_stock,), size))
        masks.extend(self._filters[test.field].matching(test, size) for test in tests)
        if filters.exclude_groups:
            masks.append(~self._groups.one_of(filters.exclude_groups, size))
        if filters.exclude_keys:
            mask = np.ones(size, dtype=bool)
            mask[[self._by_key[key] for key in filters.exclude_keys if key in self._by_key]] = False
            masks.append(mask)
        if not masks:
            return None
        mask = masks[0]
        for other in masks[1:]:
            mask &= other
        return mask

    def count(self, mask: Mask | None) -> int:
        """How many entries pass. Slots that are free now hold no model, so a mask may still have them set."""
        return len(self) if mask is None else int(np.count_nonzero(self._alive(mask)))

    def facet(self, name: str, kind: FilterKind, mask: Mask | None) -> Facet:
        """What the passing entries have of a filter, or of ``category`` or ``in_stock``."""
        column = {"category": self._categories, "in_stock": self._in_stock}.get(name) or self._filters[name]
        return facet(kind, column, self._alive(mask))

    def _alive(self, mask: Mask | None) -> Mask:
        alive = np.ones(len(self.slots), dtype=bool)
        alive[self._free] = False
        return alive if mask is None else mask & alive

    def rows(self, mask: Mask | None) -> Rows | None:
        """The rows of the matrix that belong to the passing entries; None where that is every row."""
        if mask is None:
            return (
                None if self._images == self.matrix.used else np.flatnonzero(self._slot_of_row[: self.matrix.used] >= 0)
            )
        return self._rows.values(mask)[1].astype(np.int64)

    def slot_of(self, rows: Rows) -> npt.NDArray[np.int32]:
        return self._slot_of_row[rows]
