"""The in-memory copy of a local index: the matrix of its vectors, and its metadata as columns."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from operator import attrgetter
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imagesim.filter_types import FILTER_TYPES, Canonical
from imagesim.indexes.local import quantised
from imagesim.indexes.local.column import Column, Mask
from imagesim.indexes.local.quantised import Codes
from imagesim.indexes.validation import CompiledFilters
from imagesim.runtime import RecentlyUsed
from imagesim.types import Candidate, Facet, FilterKind, IndexMeta, Query

if TYPE_CHECKING:
    from collections.abc import Hashable

    from imagesim.indexes.text import TextIndex
    from imagesim.indexes.text_scores import TextMatches
    from imagesim.types import Vector

Rows = npt.NDArray[np.int64]

TextPage = tuple[tuple[Candidate, ...], bool]
"""The entries of a page, and whether more follow."""

MAX_PAGES = 300
"""The number of pages of entries found by words that a table keeps until it changes: a few megabytes."""

_WORDS = attrgetter(
    "text", "typing", "heads", "spelled", "colours", "foreign", "in_compounds", "fields", "collapse", "offset", "limit"
)
"""What the entries found by words depend on, besides the filters."""


@dataclass(slots=True)
class Record:
    """One entry as read from the database. A record without vectors removes the entry with its key."""

    key: str
    model: str = ""
    group: str = ""
    in_stock: bool = True
    categories: Sequence[str] = ()
    filters: dict[str, Any] | None = None
    images: Sequence[Sequence[str]] = ()
    vectors: Vector | None = None
    texts: dict[str, list[str]] | None = None


@dataclass(slots=True)
class Slot:
    """The fields of an entry that a candidate needs. ``images`` are (digest, name) pairs, ``rows`` the rows of their
    vectors in the same order."""

    key: str
    group: str
    images: tuple[tuple[str, str], ...]
    rows: Rows
    categories: tuple[str, ...] = ()


FREE = Slot("", "", (), np.empty(0, dtype=np.int64))
"""What a table has in place of an entry that was removed."""


class Matrix:
    """A growing float32 matrix whose rows are allocated, freed and reused.

    The first ``used`` rows have been allocated; some of them may be free again. The initial capacity is twice
    ``expected``, because growing means copying, and rows that were never written take address space but no memory.
    """

    def __init__(self, dims: int, expected: int = 0) -> None:
        self.dims = dims
        self.used = 0
        self._free: list[int] = []
        self._data = np.empty((max(2 * expected, 1024), dims), dtype=np.float32)
        self._codes: Codes | None = None

    @property
    def data(self) -> Vector:
        """The allocated rows as a view of the shape (used, dims)."""
        return self._data[: self.used]

    def codes(self) -> Codes | None:
        """Return the up-to-date 8-bit copy, or None if there are few rows or ``numkong`` is not installed."""
        if self.used < quantised.QUANTISED_FROM or quantised.kernels() is None:
            return None
        codes = self._codes
        if codes is None:
            codes = self._codes = Codes(self.dims, len(self._data))
        codes.update(self.data)
        return codes  # not self._codes: another thread may have replaced it by one that is not up to date

    def put(self, vectors: Vector) -> Rows:
        """Store ``vectors`` (n, dims) and return their rows (n,)."""
        reused = [self._free.pop() for _ in range(min(len(self._free), len(vectors)))]
        fresh = len(vectors) - len(reused)
        self._reserve(self.used + fresh)
        rows = np.concatenate([np.array(reused, dtype=np.int64), np.arange(self.used, self.used + fresh)])
        self.used += fresh
        self._data[rows] = vectors
        if self._codes is not None:
            self._codes.mark(rows)
        return rows

    def free(self, rows: Rows) -> None:
        """Allow these rows to be reused."""
        self._free.extend(rows.tolist())

    def _reserve(self, rows: int) -> None:
        if rows > len(self._data):
            # ``ndarray.resize`` is not used: its result is not in huge pages, so reading it takes twice as long.
            data = np.empty((max(rows, 2 * len(self._data)), self.dims), dtype=np.float32)
            data[: self.used] = self.data
            self._data = data
            if self._codes is not None:
                self._codes.resize(len(data))


class Table:
    """All entries of one index in memory. It is not thread-safe: the caller has to hold a lock."""

    def __init__(self, meta: IndexMeta, images: int = 0) -> None:
        self.matrix = Matrix(meta.dims, images)
        self.slots: list[Slot] = []
        self._by_key: dict[str, int] = {}
        self._free: list[int] = []
        self._filters = {name: Column(text=FILTER_TYPES[kind].is_text) for name, kind in meta.filters.items()}
        self._categories = Column(text=True)
        self._models = Column(text=True)
        self._groups = Column(text=True)
        self._in_stock = Column(text=False)
        self._by_name = {**self._filters, "category": self._categories, "in_stock": self._in_stock}
        self._kinds: dict[str, FilterKind] = {**meta.filters, "in_stock": "boolean"}
        self._rows = Column(text=False)
        self._slot_of_row: npt.NDArray[np.int32] = np.empty(16, dtype=np.int32)
        self._images = 0
        # Texts that are not in the index of words yet, by slot. A process that only answers vector queries never needs
        # that index, so they are kept as JSON, which takes a quarter of the memory of dicts, and no time of the garbage
        # collector.
        self._new_texts: dict[int, str] = {}
        # The hashes of those that are in it. Most changes are of prices and stock, and analysing texts takes longest.
        self._known_texts: dict[int, int] = {}
        self._text_lock = Lock()
        self._texts: TextIndex | None = None
        self._text_specs = meta.texts
        self._pages: RecentlyUsed[Hashable, TextPage] = RecentlyUsed(MAX_PAGES)

    def __len__(self) -> int:
        return len(self._by_key)

    def apply(self, records: Iterable[Record]) -> None:
        """Replace the entries with the keys of ``records``, or remove them."""
        self._pages = RecentlyUsed(MAX_PAGES)
        for record in records:
            slot = self._by_key.get(record.key)
            if slot is not None:
                self._clear(slot)
            if record.vectors is not None:
                self._fill(self._new_slot(record.key) if slot is None else slot, record, record.vectors)
            elif slot is not None:
                del self._by_key[record.key]
                self._free.append(slot)

    def _new_slot(self, key: str) -> int:
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self.slots)
            self.slots.append(FREE)
        self._by_key[key] = slot
        return slot

    def _clear(self, slot: int) -> None:
        rows = self.slots[slot].rows
        self._slot_of_row[rows] = -1
        self._images -= len(rows)
        self.matrix.free(rows)
        self.slots[slot] = FREE
        self._new_texts[slot] = "{}"
        for column in (*self._filters.values(), self._categories, self._models, self._groups, self._rows):
            column.set(slot, ())

    def _fill(self, slot: int, record: Record, vectors: Vector) -> None:
        rows = self.matrix.put(vectors)
        if self.matrix.used > len(self._slot_of_row):
            self._slot_of_row.resize(max(self.matrix.used, len(self._slot_of_row) * 5 // 4), refcheck=False)
        self._slot_of_row[rows] = slot
        self._rows.set(slot, rows.tolist())
        self._images += len(rows)
        images = tuple((str(digest), str(name)) for digest, name in record.images)
        self.slots[slot] = Slot(record.key, record.group, images, rows, tuple(record.categories))
        texts = json.dumps(record.texts or {}, ensure_ascii=False)
        if self._known_texts.get(slot) == hash(texts):
            self._new_texts.pop(slot, None)
        else:
            self._new_texts[slot] = texts
        filters = record.filters or {}
        for name, column in self._filters.items():
            column.set(slot, filters.get(name, ()))
        self._categories.set(slot, record.categories)
        self._models.set(slot, (record.model,))
        self._groups.set(slot, (record.group,))
        self._in_stock.set(slot, (record.in_stock,))

    def passing(self, compiled: CompiledFilters) -> Mask | None:
        """Return a mask (slots,) of the slots that satisfy the filters, or None if all do. Free slots may be set in
        it."""
        filters, size = compiled.filters, len(self.slots)
        masks: list[Mask] = []
        if filters.models:
            masks.append(self._models.any_of(filters.models, size))
        if filters.categories:
            masks.append(self._categories.any_of(filters.categories, size))
        if filters.in_stock is not None:
            masks.append(self._in_stock.any_of((filters.in_stock,), size))
        masks.extend(self._filters[group[0].field].matching(group, size) for group in compiled.groups)
        if filters.exclude_groups:
            masks.append(~self._groups.any_of(filters.exclude_groups, size))
        if filters.exclude_keys:
            masks.append(~self._with_keys(filters.exclude_keys, size))
        if filters.keys:
            masks.append(self._with_keys(filters.keys, size))
        for each in compiled.none_of:
            left_out = self.passing(each)
            masks.append(np.zeros(size, dtype=bool) if left_out is None else ~left_out)
        if not masks:
            return None
        mask = masks[0]
        for other in masks[1:]:
            mask &= other
        return mask

    def _with_keys(self, keys: Sequence[str], size: int) -> Mask:
        mask = np.zeros(size, dtype=bool)
        mask[[self._by_key[key] for key in keys if key in self._by_key]] = True
        return mask

    def values_of(self, key: str, fields: Sequence[str]) -> dict[str, tuple[Canonical, ...]]:
        """Return the value of ``Candidate.values`` for an entry: its values of the given fields."""
        found: dict[str, tuple[Canonical, ...]] = {}
        for name in fields:
            filter_type = FILTER_TYPES[self._kinds[name]]
            if values := self._by_name[name].at(self._by_key[key]):
                found[name] = tuple(filter_type.canonical(filter_type.restore(each)) for each in values)
        return found

    def count(self, mask: Mask | None) -> int:
        """Return the number of entries in the mask, or of all entries if it is None."""
        return len(self) if mask is None else int(np.count_nonzero(self._occupied(mask)))

    def read_texts(self, seconds: float = math.inf) -> bool:
        """Bring the index of the entries' words up to date, for about ``seconds``; return whether it is up to date."""
        from imagesim.indexes.text import TextIndex

        ends = monotonic() + seconds
        with self._text_lock:
            if self._texts is None:
                self._texts = TextIndex(self._text_specs)
            while self._new_texts:
                slot, texts = self._new_texts.popitem()
                self._known_texts[slot] = hash(texts)
                self._texts.add(slot, json.loads(texts))
                if monotonic() > ends:
                    break
            if not self._new_texts:
                self._texts.settle()
            return not self._new_texts

    def match(self, query: Query, filters: CompiledFilters) -> TextPage:
        """Return the page of entries that match the words of the query, and whether more follow. Ties are ordered by
        key."""
        asked = (filters, *_WORDS(query))
        if known := self._pages.get([asked]):
            return known[asked]
        self.read_texts()
        assert self._texts is not None
        matches = self._texts.match(query, mask=self.passing(filters))
        end = query.offset + query.limit
        wanted = end + 16
        while True:
            found = self._best_matches(matches, query, wanted)
            if len(found) > end or wanted >= len(matches.slots):
                break
            wanted *= 8  # the best matches were variants of too few products to fill the page
        page = tuple(found.values())[query.offset : end], len(found) > end
        self._pages.set({asked: page})
        return page

    def _best_matches(self, matches: TextMatches, query: Query, wanted: int) -> dict[str, Candidate]:
        """Return the best candidates among the ``wanted`` best matches, by group, or by key without ``collapse``."""
        slots, scores = matches.slots, np.round(matches.scores.astype(np.float64), 6)
        least = scores.min(initial=1.0) if len(scores) <= wanted else np.partition(scores, -wanted)[-wanted]
        better = scores > least
        every = sorted(
            (-score, self.slots[slot].key, slot)
            for score, slot in zip(scores[better].tolist(), slots[better].tolist(), strict=True)
        )
        # A common word may match thousands of entries equally: the first by key are chosen without sorting all of them.
        tied = ((self.slots[slot].key, slot) for slot in slots[scores == least].tolist())
        every += ((-float(least), *each) for each in nsmallest(wanted - len(every), tied))
        chosen: dict[str, tuple[float, int]] = {}
        for farness, key, slot in every:
            chosen.setdefault(self.slots[slot].group if query.collapse else key, (-farness, slot))
            if len(chosen) > query.offset + query.limit:
                break
        heads = matches.heads_of([slot for _score, slot in chosen.values()])
        return {
            name: self._matching(self.slots[slot], query, score, head)
            for (name, (score, slot)), head in zip(chosen.items(), heads, strict=True)
        }

    def _matching(self, entry: Slot, query: Query, score: float, head: float) -> Candidate:
        digest, name = entry.images[0]
        return Candidate(
            entry.key,
            0.0,
            entry.group,
            digest,
            name,
            categories=entry.categories,
            text=score,
            head=head,
            values=self.values_of(entry.key, query.fields),
        )

    def facet(self, name: str, kind: FilterKind, mask: Mask | None) -> Facet:
        """Count the values of a filter, of ``category`` or of ``in_stock`` among the entries in the mask."""
        return self._by_name[name].facet(kind, self._occupied(mask))

    def _occupied(self, mask: Mask | None) -> Mask:
        occupied = np.ones(len(self.slots), dtype=bool)
        occupied[self._free] = False
        return occupied if mask is None else mask & occupied

    def rows(self, mask: Mask | None) -> Rows | None:
        """Return the rows (n,) of the matrix that belong to the entries in the mask, or None if these are all rows."""
        if mask is not None:
            return self._rows.values(mask)[1].astype(np.int64)
        if self._images == self.matrix.used:
            return None
        return np.flatnonzero(self._slot_of_row[: self.matrix.used] >= 0)

    def slot_of(self, rows: Rows) -> npt.NDArray[np.int32]:
        """Return the slots (n,) of the entries to which these rows (n,) of the matrix belong."""
        return self._slot_of_row[rows]
