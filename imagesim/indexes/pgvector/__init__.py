"""The index in PostgreSQL, with its extension pgvector."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from django.core.checks import CheckMessage
from django.core.checks import Error as CheckError
from django.db import connections
from django.utils import timezone
from psycopg import sql

from imagesim.exceptions import ConfigurationError
from imagesim.indexes import BaseIndex, retry_missing, validation
from imagesim.indexes.pgvector import recall, searching, tables, text, writing
from imagesim.indexes.pgvector.database import Database, rows
from imagesim.indexes.pgvector.tables import Generation
from imagesim.indexes.recall import DEFAULT_CANDIDATES, check_recall
from imagesim.indexes.statistics import IndexStatistics, Probe, RecallReport
from imagesim.types import Candidates, Entry, Facet, Filters, IndexMeta, Query, Removal, Similarity, WriteResult

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

__all__ = ["PgvectorIndex"]

META_SECONDS = 10.0
"""How many seconds a process uses the meta, the number of entries and the recall of its last search before it reads
them again. A search notices a swap of the active index at once."""


@dataclass(frozen=True, slots=True)
class _State:
    """The state of a backing index at one of its last searches. It is not read again before ``time.monotonic()``
    reaches ``until``."""

    name: str
    entries: int
    recall: RecallReport | None
    until: float


class PgvectorIndex(BaseIndex):
    """Approximate search with exact scores; exact search on demand or if few entries satisfy the filters.

    :param database: the alias of the database in which the index creates its tables.
    :param name: backing indexes are called ``name-<time>-<random>``.
    :param quantisation: the storage of vectors in the graph: ``"half"`` for two bytes per dimension, ``"none"`` for
        four, or ``"auto"`` for ``"half"`` if pgvector is 0.7 or later. Found entries are scored by the full vectors.
    :param m, ef_construction: parameters of the HNSW graph: 2 to 100, and 2 * ``m`` to 1000.
    :param recall: the share of the ten best matches that an approximate search has to find, 0.5 to 1. It is measured on
        the index's own vectors: searches take the least number of candidates that reaches it, or are exact. With None,
        it is not measured.
    :param num_candidates: the number of images of the graph that are scored in full for a page, more for later pages.
        None takes the number that ``recall`` needs, or 100 before it has been measured.
    :param request_timeout: the seconds that a search may take; a write may take ten times as long.
    :param build_memory: the memory for building the graph (``maintenance_work_mem``).
    :raises ConfigurationError: naming the wrong option and the right ones.
    """

    supports_approximate = True

    def __init__(
        self,
        *,
        database: str = "default",
        name: str = "imagesim",
        quantisation: Literal["auto", "none", "half"] = "auto",
        m: int = 16,
        ef_construction: int = 100,
        recall: float | None = 0.99,
        num_candidates: int | None = None,
        request_timeout: float = 5.0,
        build_memory: str = "256MB",
        similarity: Similarity = "cosine",
    ) -> None:
        super().__init__(name=name, similarity=similarity)
        validation.check_choice("quantisation", quantisation, ("auto", "half", "none"))
        if num_candidates is not None and not 1 <= num_candidates <= searching.MAX_EF_SEARCH:
            raise ConfigurationError(
                f"INDEX's num_candidates must be from 1 to {searching.MAX_EF_SEARCH}, not {num_candidates!r}."
            )
        if not (2 <= m <= 100 and 2 * m <= ef_construction <= 1_000):
            raise ConfigurationError(
                "INDEX's m must be from 2 to 100, and its ef_construction from twice as many to 1000, not "
                f"{m!r} and {ef_construction!r}."
            )
        validation.check_timeout(request_timeout)
        self._database = Database(database, name, request_timeout)
        self._quantisation = quantisation
        self._graph = {"m": m, "ef_construction": ef_construction}
        self._recall = check_recall(recall)
        self._num_candidates = num_candidates
        self._build_memory = build_memory
        self._known: dict[str, Generation] = {}
        self._states: dict[str | None, _State] = {}  # the key None is for the active index

    # Backing indexes.

    def create(self, meta: IndexMeta) -> str:
        backing_index = self.name_at(timezone.now())
        self._check_vendor()
        self._database.create_extension()
        with self._database.writing() as cursor:
            element = self._element(self._database.version(cursor), meta.dims)
            tables.create(cursor, self.name, backing_index, meta, element)
        return backing_index

    def _element(self, version: tuple[int, int], dims: int) -> str:
        """Return the type of the vectors in the graph: ``vector`` or ``halfvec``.

        :raises ConfigurationError: if pgvector does not support this type, or this many dimensions.
        """
        half = self._quantisation == "half" or (self._quantisation == "auto" and version >= (0, 7))
        if half and version < (0, 7):
            raise ConfigurationError("INDEX's quantisation 'half' needs pgvector 0.7 or later; use 'auto' or 'none'.")
        element = "halfvec" if half else "vector"
        if dims > tables.MAX_DIMS[element]:
            raise ConfigurationError(
                f"A graph of pgvector takes {tables.MAX_DIMS[element]:,} dimensions here, and the model has {dims:,}: "
                "choose another model, or let it be fitted to fewer."
            )
        return element

    def _check_vendor(self) -> None:
        vendor = self._database.connection.vendor
        if vendor != "postgresql":
            raise ConfigurationError(
                f"INDEX is in PostgreSQL, but the database {self._database.alias!r} is {vendor}; name another alias as "
                "'database' in INDEX's OPTIONS."
            )

    def make_searchable(self, backing_index: str) -> None:
        with self._database.reading() as cursor:
            generation = self._generation(cursor, backing_index)
        tables.build_indexes(self._database, generation, self._graph, self._build_memory)
        with self._database.writing(seconds=0) as cursor:
            tables.analyse(cursor, generation)

    def promote(self, backing_index: str) -> None:
        self.make_searchable(backing_index)
        with self._database.writing(seconds=0) as cursor:
            tables.activate(cursor, self.name, backing_index)
        self._states.clear()

    def drop(self, backing_index: str) -> None:
        with self._database.writing() as cursor:
            tables.drop(cursor, self.name, backing_index)
        self._known.pop(backing_index, None)
        self._states.clear()

    def backing_indexes(self) -> list[str]:
        return tables.names(self._database)

    def active(self) -> str | None:
        return next(iter(tables.names(self._database, "active")), None)

    def meta(self, backing_index: str | None = None) -> IndexMeta:
        last = self._states.get(backing_index)
        if last is not None and time.monotonic() < last.until and (known := self._known.get(last.name)):
            return known.meta
        with self._reading(backing_index) as (_cursor, generation):
            return generation.meta

    def _generation(self, cursor: CursorWrapper, backing_index: str | None) -> Generation:
        """Return a backing index, by default the active one, as :func:`tables.read` does."""
        return tables.read(cursor, self.name, backing_index, self._known)

    @contextmanager
    def _reading(self, backing_index: str | None) -> Iterator[tuple[CursorWrapper, Generation]]:
        """Provide a cursor for reading, and a backing index."""
        with self._database.reading() as cursor:
            yield cursor, self._generation(cursor, backing_index)

    # Writing.

    def write(self, operations: Sequence[Entry | Removal], *, backing_index: str | None = None) -> list[WriteResult]:
        with self._database.writing() as cursor:
            generation = self._generation(cursor, backing_index)
            return writing.write(cursor, generation, operations)

    def refresh(self, backing_index: str | None = None) -> None:
        """Check that the index exists. Nothing else is needed: a search sees everything that is committed."""
        with self._database.reading() as cursor:
            self._generation(cursor, backing_index)

    def update_statistics(self, backing_index: str | None = None) -> None:
        with self._database.writing(seconds=0) as cursor:
            generation = self._generation(cursor, backing_index)
            tables.analyse(cursor, generation)
            entries = searching.count_entries(cursor, generation)
            if entries > searching.EXACT_UP_TO:
                recall.store(cursor, generation, {"entries": entries})
        self._states.clear()

    def statistics(self, backing_index: str | None = None) -> IndexStatistics:
        with self._reading(backing_index) as (cursor, generation):
            return recall.read(cursor, generation).for_target(self._recall)

    def measure_recall(
        self,
        probes: Sequence[Probe],
        *,
        backing_index: str | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> RecallReport | None:
        if self._recall is None or self.similarity == "l1":
            return None
        with self._reading(backing_index) as (cursor, generation):
            effort = self._effort(self._database.version(cursor), searching.count_entries(cursor, generation))
        report = recall.measure(self._database, generation, effort, probes, progress)
        self._states.clear()
        return report

    # Reading.

    @retry_missing
    def search(self, queries: Sequence[Query], *, backing_index: str | None = None) -> list[Candidates]:
        settings = dict(searching.EXACTLY)
        last = self._states.get(backing_index)
        if (version := self._database.known_version) and last and last.entries > searching.EXACT_UP_TO:
            effort = self._effort(version, last.entries, last.recall)
            settings |= effort.settings(effort.candidates(1.0) or DEFAULT_CANDIDATES)
        with self._database.reading(**settings) as cursor:
            generation, last = self._read(cursor, backing_index)
            compiled = [validation.check_query(query, generation.meta) for query in queries]
            effort = self._effort(self._database.version(cursor), last.entries, last.recall)
            return [
                text.answer(cursor, generation, query, filters)
                if query.text
                else searching.answer(cursor, generation, query, filters, effort, settings)
                for query, filters in zip(queries, compiled, strict=True)
            ]

    def _effort(self, version: tuple[int, int], entries: int, measured: RecallReport | None = None) -> searching.Effort:
        return searching.Effort(self.similarity, self._num_candidates, version, entries, self._recall, measured)

    def _read(self, cursor: CursorWrapper, backing_index: str | None) -> tuple[Generation, _State]:
        """Return a backing index, by default the active one, and its state, which is read again every ``META_SECONDS``.

        :raises ModelMismatch: if the queries may have been projected for the index that was active before.
        """
        generation = self._generation(cursor, backing_index)
        last = self._states.get(backing_index)
        now = time.monotonic()
        if last is not None and last.name == generation.name and now <= last.until:
            return generation, last
        entries = searching.count_entries(cursor, generation)
        measured = None if self._recall is None else recall.read(cursor, generation).recall
        current = self._states[backing_index] = _State(generation.name, entries, measured, now + META_SECONDS)
        if last is not None and now < last.until and (former := self._known.get(last.name)):
            validation.check_projection(former.meta, generation.meta)
        return generation, current

    @retry_missing
    def count(self, filters: Filters = Filters(), *, backing_index: str | None = None) -> int:
        with self._reading(backing_index) as (cursor, generation):
            return searching.count(cursor, generation, validation.compile_filters(filters, generation.meta.filters))

    @retry_missing
    def facets(self, filters: Filters, fields: Sequence[str], *, backing_index: str | None = None) -> dict[str, Facet]:
        with self._reading(backing_index) as (cursor, generation):
            compiled = validation.compile_filters(filters, generation.meta.filters)
            kinds = validation.facet_kinds(fields, generation.meta.filters)
            return {
                name: searching.facet(cursor, generation, name, kind, compiled.without((name,)))
                for name, kind in kinds.items()
            }

    def scan(self, *, backing_index: str | None = None, batch_size: int = 1000) -> Iterator[tuple[str, int]]:
        query = sql.SQL("SELECT key, version FROM {} WHERE removed_at IS NULL AND key > %s ORDER BY key LIMIT %s")
        after, page = "", [("", 0)]
        name = backing_index
        while page:
            with self._reading(name) as (cursor, generation):
                name = generation.name  # stay with the same index until the end, even if it is swapped
                page = list(rows(cursor, query.format(generation.table("entry")), [after, batch_size]))
            yield from page
            after = page[-1][0] if page else after

    def ping(self) -> None:
        with self._database.reading(min(2.0, self._database.timeout)) as cursor:
            cursor.execute("SELECT 1")

    def check(self) -> list[CheckMessage]:
        alias = self._database.alias
        if alias not in list(connections.databases) or connections[alias].vendor != "postgresql":
            return [
                CheckError(
                    f"The index is in PostgreSQL, but the database {alias!r} is not.",
                    hint="Name an alias of DATABASES that is, as 'database' in INDEX's OPTIONS.",
                    id="imagesim.E102",
                )
            ]
        return []
