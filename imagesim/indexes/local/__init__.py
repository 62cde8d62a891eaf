"""The index of a shop that needs no server for it: exact search with NumPy over rows of the database."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from threading import Lock
from typing import Any

import numpy as np
from django.db import InterfaceError, OperationalError, connections, transaction
from django.utils import timezone

from imagesim.exceptions import IndexUnavailable
from imagesim.indexes import validation
from imagesim.indexes.base import BaseIndex
from imagesim.indexes.local import store
from imagesim.indexes.local.knn import answer
from imagesim.indexes.local.snapshot import Snapshot
from imagesim.models import LocalEntry, LocalGeneration
from imagesim.types import Candidates, Entry, Facet, Filters, IndexMeta, Query, Removal, Similarity, WriteResult

__all__ = ["LocalIndex"]


class LocalIndex(BaseIndex):
    """Exact search, meant for up to some 100,000 images.

    Every process keeps the vectors in memory (4 bytes a dimension) and, before a search, asks the
    database with one small query whether anything was written since; if so it reads just that.
    """

    def __init__(self, *, name: str = "imagesim", similarity: Similarity = "cosine") -> None:
        super().__init__(name=name, similarity=similarity)
        self._metas: dict[str, IndexMeta] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._written_within: set[str] = set()
        self._guard = Lock()

    # A physical index.

    def create(self, meta: IndexMeta) -> str:
        moment = timezone.now()
        name = f"{self.name}-{moment:%Y%m%d%H%M%S%f}-{secrets.token_hex(3)}"
        with _reported():
            LocalGeneration.objects.create(
                index=self.name, name=name, meta=asdict(meta), token=secrets.token_hex(8), created_at=moment
            )
        return name

    def promote(self, backing_index: str) -> None:
        using = store.write_alias()
        with _reported(), transaction.atomic(using=using):
            generations = LocalGeneration.objects.using(using).filter(index=self.name)
            generations.filter(active=True).exclude(name=backing_index).update(active=False)
            if not generations.filter(name=backing_index).update(active=True):
                raise store.missing(self.name, backing_index)

    def drop(self, backing_index: str) -> None:
        using = store.write_alias()
        with _reported():
            generations = LocalGeneration.objects.using(using).filter(index=self.name, name=backing_index)
            if generations.update(active=False):
                store.empty(backing_index, using)
                generations.delete()
        with self._guard:
            self._snapshots.pop(backing_index, None)

    def backing_indexes(self) -> list[str]:
        with _reported():
            rows = LocalGeneration.objects.filter(index=self.name)
            return list(rows.order_by("created_at", "id").values_list("name", flat=True))

    def active(self) -> str | None:
        with _reported():
            names = LocalGeneration.objects.filter(index=self.name, active=True).values_list("name", flat=True)
            return names.first()

    def meta(self, backing_index: str | None = None) -> IndexMeta:
        using = store.read_alias()
        with _reported():
            if backing_index is None:
                backing_index = store.state(self.name, None, using).name
            return self._meta(backing_index, using)

    # Writing.

    def write(self, operations: Sequence[Entry | Removal], *, backing_index: str | None = None) -> list[WriteResult]:
        using = store.write_alias()
        with _reported():
            nested = connections[using].in_atomic_block
            if not operations:
                store.state(self.name, backing_index, using)
                return []
            with transaction.atomic(using=using):
                at = store.next_seq_no(self.name, backing_index, using)
                if nested:
                    self._written_within.add(at.name)
                return _write(at, operations, self._meta(at.name, using), using)

    def refresh(self, backing_index: str | None = None) -> None:
        """Nothing to do but to say whether there is such an index: what is committed is seen by the next search."""
        with _reported():
            store.state(self.name, backing_index, store.read_alias())

    # Reading.

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        started = time.perf_counter()
        using = store.read_alias()
        with _reported():
            at = store.state(self.name, None, using)
            meta = self._meta(at.name, using)
            tests = []
            for query in queries:
                validation.check_page(query)
                validation.check_fingerprint(query, meta)
                tests.append(validation.checked_conditions(query.filters.conditions, meta.filters))
            vectors = [validation.unit_vector(query.vector) for query in queries]
            # Queries that share their filters share one pass over the matrix.
            alike: list[tuple[tuple[Filters, Similarity], list[int]]] = []
            for number, query in enumerate(queries):
                sharing = (query.filters, query.similarity or self.similarity)
                for shared, numbers in alike:
                    if shared == sharing:
                        numbers.append(number)
                        break
                else:
                    alike.append((sharing, [number]))
            pages: dict[int, Any] = {}
            with self._snapshot(at, using, alone=True).current(at, using, at.name in self._written_within) as table:
                for (filters, similarity), numbers in alike:
                    asked = [queries[number] for number in numbers]
                    stacked = np.stack([vectors[number] for number in numbers])
                    found = answer(table, filters, tests[numbers[0]], similarity, asked, stacked)
                    pages.update(zip(numbers, found, strict=True))
        took = (time.perf_counter() - started) * 1000
        return [
            Candidates(candidates, more=more, took_ms=took)
            for candidates, more in (pages[number] for number in range(len(queries)))
        ]

    def count(self, filters: Filters = Filters(), *, backing_index: str | None = None) -> int:
        using = store.read_alias()
        with _reported():
            at = store.state(self.name, backing_index, using)
            if filters == Filters():
                return LocalEntry.objects.using(using).filter(generation=at.id, removed_at__isnull=True).count()
            tests = validation.checked_conditions(filters.conditions, self._meta(at.name, using).filters)
            with self._snapshot(at, using).current(at, using, at.name in self._written_within) as table:
                return table.count(table.passing(filters, tests))

    def facets(self, filters: Filters, fields: Sequence[str], *, backing_index: str | None = None) -> dict[str, Facet]:
        using = store.read_alias()
        with _reported():
            at = store.state(self.name, backing_index, using)
            meta = self._meta(at.name, using)
            tests = validation.checked_conditions(filters.conditions, meta.filters)
            kinds = validation.facet_kinds(fields, meta.filters)
            with self._snapshot(at, using).current(at, using, at.name in self._written_within) as table:
                free = {name: validation.without(filters, tests, (name,)) for name in kinds}
                masks = {asked: table.passing(*asked) for asked in free.values()}
                return {name: table.facet(name, kind, masks[free[name]]) for name, kind in kinds.items()}

    def scan(self, *, backing_index: str | None = None, batch_size: int = 1000) -> Iterator[tuple[str, int]]:
        using = store.read_alias()
        with _reported():
            at = store.state(self.name, backing_index, using)
        yield from store.keys(at, batch_size, using)

    def ping(self) -> None:
        with _reported():
            LocalGeneration.objects.filter(index=self.name).exists()

    def _meta(self, backing_index: str, using: str) -> IndexMeta:
        meta = self._metas.get(backing_index)  # never changes in the life of a physical index
        if meta is None:
            meta = self._metas[backing_index] = store.meta_of(self.name, backing_index, using)
        return meta

    def _snapshot(self, at: store.State, using: str, *, alone: bool = False) -> Snapshot:
        meta = self._meta(at.name, using)
        with self._guard:
            snapshot = self._snapshots.get(at.name)
            if snapshot is None:
                snapshot = self._snapshots[at.name] = Snapshot(meta)
            if alone and len(self._snapshots) > 1:
                # After a swap the former one belongs to those who search it now, and to nobody after them.
                self._snapshots = {at.name: snapshot}
            return snapshot


@contextmanager
def _reported() -> Iterator[None]:
    """The database's errors as the index's own."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise IndexUnavailable(f"The local index cannot reach its database: {error}") from error


def _write(at: store.State, operations: Sequence[Entry | Removal], meta: IndexMeta, using: str) -> list[WriteResult]:
    results: dict[int, WriteResult] = {}
    fit: dict[int, validation.Prepared | Removal] = {}
    for number, operation in enumerate(operations):
        try:
            fit[number] = validation.prepare_any(operation, meta)
        except ValueError as error:
            results[number] = WriteResult(operation.key, "failed", f"{error}.")
    held = store.versions(at.id, [operations[number].key for number in fit], using)
    rows: dict[str, LocalEntry] = {}
    for number, prepared in fit.items():
        key, version = operations[number].key, operations[number].version
        if version <= held.get(key, 0):
            results[number] = WriteResult(key, "newer")
            continue
        held[key] = version
        if isinstance(prepared, Removal):
            rows[key] = store.tombstone_row(at, prepared)
        else:
            rows[key] = store.entry_row(at, prepared)
        results[number] = WriteResult(key, "done")
    store.put(list(rows.values()), using)
    if any(isinstance(operation, Removal) for operation in operations):
        store.purge(at, using)
    return [results[number] for number in range(len(operations))]
