"""The index that needs no server of its own: exact search with NumPy over rows of Django's database."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from imagesim.database import CONNECTION_ERRORS, close_lost_connections, retry_conflicts
from imagesim.exceptions import IndexUnavailable, migrate_hint, with_migrate_hint
from imagesim.indexes import BaseIndex, retry_missing, validation
from imagesim.indexes.local import store
from imagesim.indexes.local.knn import answer
from imagesim.indexes.local.store import Snapshot
from imagesim.indexes.tables import LocalGeneration
from imagesim.indexes.validation import CompiledFilters, prepare_all
from imagesim.types import Candidates, Entry, Facet, Filters, IndexMeta, Query, Removal, Similarity, WriteResult

__all__ = ["LocalIndex"]

META_SECONDS = 10.0
"""How many seconds :meth:`LocalIndex.meta` relies on the backing index of the last search being the active one. A
search checks it every time."""

KEPT_SECONDS = 300.0
"""How many seconds the vectors of a backing index that is not active stay in memory after their last use."""

SLICE_SECONDS = 0.1
"""How many seconds the words of entries are read before the lock is released for writers and other readers."""


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Convert errors of the database connection, and of tables that are not migrated yet, to IndexUnavailable. The next
    call opens a lost connection again."""
    try:
        yield
    except DatabaseError as error:
        if not isinstance(error, CONNECTION_ERRORS) and not migrate_hint(error):
            raise
        close_lost_connections()
        raise IndexUnavailable(f"The local index cannot reach its database: {with_migrate_hint(error)}") from error


class LocalIndex(BaseIndex):
    """Exact search, meant for up to some 100,000 images.

    Every process keeps the vectors in memory (4 bytes per dimension, or 5 with the extra ``simd``), and some kilobytes
    of each entry. Before a search, one small query asks the database whether anything was written since the last one;
    if so, only the changes are read. Damaged rows are skipped with an error in the log, and reconciling writes them
    again.
    """

    def __init__(self, *, name: str = "imagesim", similarity: Similarity = "cosine") -> None:
        super().__init__(name=name, similarity=similarity)
        self._metas: dict[str, IndexMeta] = {}
        self._searched: dict[str, tuple[str, float]] = {}  # by database
        self._snapshots: dict[str, Snapshot] = {}
        self._active = ""  # the backing index that was active when it was last read
        self._kept_until: dict[str, float] = {}  # of backing indexes that were named
        # The writes whose transaction has not been committed, by token, each with what the commit will call. After a
        # rollback, that and the token are freed as soon as no copy is of the state of this write.
        self._uncommitted: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._guard = Lock()

    # Backing indexes.

    @_translated_errors()
    def create(self, meta: IndexMeta) -> str:
        moment = timezone.now()
        name = self.name_at(moment)
        LocalGeneration.objects.create(
            index=self.name, name=name, meta=asdict(meta), token=secrets.token_hex(8), created_at=moment
        )
        return name

    @_translated_errors()
    def promote(self, backing_index: str) -> None:
        store.promote(self.name, backing_index)
        self._searched.clear()

    @_translated_errors()
    def drop(self, backing_index: str) -> None:
        store.drop(self.name, backing_index)
        with self._guard:
            self._snapshots.pop(backing_index, None)
            self._kept_until.pop(backing_index, None)
        self._searched.clear()

    @_translated_errors()
    def backing_indexes(self) -> list[str]:
        rows = LocalGeneration.objects.using(store.write_alias()).filter(index=self.name)
        return list(rows.order_by("created_at", "id").values_list("name", flat=True))

    @_translated_errors()
    def active(self) -> str | None:
        rows = LocalGeneration.objects.using(store.write_alias()).filter(index=self.name, active=True)
        return rows.values_list("name", flat=True).first()

    @_translated_errors()
    def meta(self, backing_index: str | None = None) -> IndexMeta:
        using = store.read_alias(backing_index)
        if backing_index is None:
            name, until = self._searched.get(using, ("", 0.0))
            backing_index = name if time.monotonic() < until else store.state(self.name, None, using).name
        return self._meta(backing_index, using)

    # Writing.

    @_translated_errors()
    @retry_conflicts
    def write(self, operations: Sequence[Entry | Removal], *, backing_index: str | None = None) -> list[WriteResult]:
        using = store.write_alias()
        if not operations:
            store.state(self.name, backing_index, using)
            return []
        with transaction.atomic(using=using):
            at = store.next_seq_no(self.name, backing_index, using)
            valid, results = prepare_all(operations, self._meta(at.name, using))
            store.write(at, operations, valid, results)
            committed = partial(self._uncommitted.pop, at.token, None)
            self._uncommitted[at.token] = committed  # nothing could read the state of a write that has failed
            transaction.on_commit(committed, using=using)
        return [results[number] for number in range(len(operations))]

    @_translated_errors()
    def refresh(self, backing_index: str | None = None) -> None:
        """Check that the index exists. Nothing else is needed: a search sees everything that is committed."""
        store.state(self.name, backing_index)

    # Reading.

    @retry_missing
    @_translated_errors()
    def search(self, queries: Sequence[Query], *, backing_index: str | None = None) -> list[Candidates]:
        started = time.perf_counter()
        at = store.state(self.name, backing_index)
        meta = self._meta(at.name, at.using)
        if backing_index is None:
            self._notice_swap(at, meta)
        compiled = [validation.check_query(query, meta) for query in queries]
        vectors = {n: validation.unit_vector(query.vector) for n, query in enumerate(queries) if not query.text}
        pages: dict[int, Any] = {}
        snapshot = self._snapshot(at, backing_index)
        if any(query.text for query in queries):
            self._read_texts(snapshot, at)
        with snapshot.current(at) as table:
            for number, query in enumerate(queries):
                if query.text:
                    pages[number] = table.match(query, compiled[number])
            for (filters, similarity), numbers in self._by_filters(queries, compiled).items():
                batch = [queries[number] for number in numbers]
                stacked = np.stack([vectors[number] for number in numbers])
                found = answer(table, filters, similarity, batch, stacked)
                pages.update(zip(numbers, found, strict=True))
        took = (time.perf_counter() - started) * 1000
        return [
            Candidates(candidates, more=more, took_ms=took / len(queries))
            for candidates, more in (pages[number] for number in range(len(queries)))
        ]

    def _notice_swap(self, at: store.State, meta: IndexMeta) -> None:
        """Raise ModelMismatch if the queries may have been projected for the index that was active before."""
        known, until = self._searched.get(at.using, ("", 0.0))
        now = time.monotonic()
        self._searched[at.using] = (at.name, now + META_SECONDS)
        if known != at.name and now < until:
            validation.check_projection(self._meta(known, at.using), meta)

    def _by_filters(
        self, queries: Sequence[Query], compiled: Sequence[CompiledFilters]
    ) -> dict[tuple[CompiledFilters, Similarity], list[int]]:
        """Group the positions of vector queries by filters and similarity; each group needs one pass over the
        matrix."""
        groups: dict[tuple[CompiledFilters, Similarity], list[int]] = {}
        for number, (query, filters) in enumerate(zip(queries, compiled, strict=True)):
            if not query.text:
                groups.setdefault((filters, query.similarity or self.similarity), []).append(number)
        return groups

    @retry_missing
    @_translated_errors()
    def count(self, filters: Filters = Filters(), *, backing_index: str | None = None) -> int:
        at = store.state(self.name, backing_index)
        if filters == Filters():
            return store.count_entries(at)
        compiled = validation.compile_filters(filters, self._meta(at.name, at.using).filters)
        with self._snapshot(at, backing_index).current(at) as table:
            return table.count(table.passing(compiled))

    @retry_missing
    @_translated_errors()
    def facets(self, filters: Filters, fields: Sequence[str], *, backing_index: str | None = None) -> dict[str, Facet]:
        at = store.state(self.name, backing_index)
        meta = self._meta(at.name, at.using)
        compiled = validation.compile_filters(filters, meta.filters)
        kinds = validation.facet_kinds(fields, meta.filters)
        with self._snapshot(at, backing_index).current(at) as table:
            others = {name: compiled.without((name,)) for name in kinds}
            masks = {each: table.passing(each) for each in others.values()}
            return {name: table.facet(name, kind, masks[others[name]]) for name, kind in kinds.items()}

    def scan(self, *, backing_index: str | None = None, batch_size: int = 1000) -> Iterator[tuple[str, int]]:
        with _translated_errors():  # a decorator would only see the call, which reads nothing yet
            at = store.state(self.name, backing_index)
            yield from store.keys(at, batch_size)
            store.state(self.name, at.name, at.using)  # it may have been dropped, and its entries deleted

    @_translated_errors()
    def ping(self) -> None:
        LocalGeneration.objects.filter(index=self.name).exists()

    @_translated_errors()
    def warm_up(self) -> None:
        at = store.state(self.name, None)
        if self._meta(at.name, at.using).texts:
            self._read_texts(self._snapshot(at, None), at)

    def _read_texts(self, snapshot: Snapshot, at: store.State) -> None:
        """Index the words of entries that this process has not indexed yet, which takes a third of a second per
        thousand if they have descriptions."""
        done = False
        while not done:
            with snapshot.current(at) as table:
                done = table.read_texts(SLICE_SECONDS)

    def _meta(self, backing_index: str, using: str) -> IndexMeta:
        meta = self._metas.get(backing_index)  # never changes
        if meta is None:
            meta = self._metas[backing_index] = store.meta_of(self.name, backing_index, using)
        return meta

    def _snapshot(self, at: store.State, backing_index: str | None) -> Snapshot:
        """Return the copy of the backing index that was named, or of the active one, and free the others.

        Other backing indexes that were named are kept for ``KEPT_SECONDS``, and the active one alongside them. After a
        swap, the former copy is freed when the last call that uses it ends.
        """
        meta = self._meta(at.name, at.using)
        with self._guard:
            now = time.monotonic()
            if backing_index is None:
                self._active = at.name
            else:
                self._kept_until[at.name] = now + KEPT_SECONDS
            snapshot = self._snapshots.get(at.name)
            if snapshot is None:
                snapshot = self._snapshots[at.name] = Snapshot(self.name, meta, self._uncommitted)
            if len(self._snapshots) > 1:
                self._kept_until = {name: until for name, until in self._kept_until.items() if until > now}
                kept = {self._active, *self._kept_until}
                self._snapshots = {name: each for name, each in self._snapshots.items() if name in kept}
            return snapshot
