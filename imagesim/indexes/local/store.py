"""Read and write the tables of the local index, and keep a process's copy of them current."""

from __future__ import annotations

import json
import logging
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from threading import Condition, Lock
from typing import Any, NamedTuple

import numpy as np
from django.db import connections, router, transaction
from django.db.models import F, Max, QuerySet, Sum
from django.db.models.functions import Length
from django.utils import timezone

from imagesim.database import batched, delete_in_batches, in_code_point_order, retry_conflicts, stream
from imagesim.exceptions import index_missing
from imagesim.indexes.local.columnar import Record, Table
from imagesim.indexes.tables import LocalEntry, LocalGeneration
from imagesim.indexes.validation import TOMBSTONE_AGE, Prepared, Results, newest, stored_meta
from imagesim.types import Entry, IndexMeta, Removal

logger = logging.getLogger("imagesim.indexes.local")

BATCH = 500
_READ = ("key", "version", "document", "vectors", "checksum")
_WRITTEN = ("version", "seq_no", "removed_at", "document", "vectors", "checksum")


class State(NamedTuple):
    """A generation and its current sequence number, as read from the database ``using``."""

    using: str
    id: int
    name: str
    seq_no: int
    token: str
    purged: int


_COLUMNS = State._fields[1:]


def read_alias(backing_index: str | None) -> str:
    """Return the database to read from: one for generations and entries, so that they match even with replicas.

    A named backing index may be one that is just being filled, and is read from the database that it is written to.
    """
    return str(router.db_for_read(LocalGeneration)) if backing_index is None else write_alias()


def write_alias() -> str:
    """Return the database to write to."""
    return str(router.db_for_write(LocalGeneration))


def state(index: str, backing_index: str | None, using: str | None = None) -> State:
    """Return the state of a backing index, by default of the active one.

    ``using``: the database, by default the one for reading.

    This is raw SQL because every query reads it twice, which took a quarter of the processor time of ``similar_to``
    with the ORM.

    :raises IndexMissing: if there is none.
    """
    using = using or read_alias(backing_index)
    connection = connections[using]
    quote = connection.ops.quote_name
    which = {"index": index} | ({"active": True} if backing_index is None else {"name": backing_index})
    columns, table = ", ".join(map(quote, _COLUMNS)), quote(LocalGeneration._meta.db_table)
    conditions = " AND ".join(f"{quote(name)} = %s" for name in which)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} WHERE {conditions} ORDER BY {quote('id')}", list(which.values()))
        row = cursor.fetchone()
    at = None if row is None else State(using, *row)
    if at is None or not at.token:
        raise index_missing(index, backing_index)
    return at


def meta_of(index: str, backing_index: str, using: str) -> IndexMeta:
    """Return the meta of a backing index.

    :raises IndexMissing: if there is no such index.
    :raises SearchIndexError: if its meta is invalid.
    """
    found = LocalGeneration.objects.using(using).filter(index=index, name=backing_index).first()
    if found is None:
        raise index_missing(index, backing_index)
    return stored_meta(backing_index, found.meta)


def next_seq_no(index: str, backing_index: str | None, using: str) -> State:
    """Lock the generation's row and increase its sequence number; return its new state.

    This must be called inside a transaction.

    :raises IndexMissing: if there is no such generation.
    """
    which: dict[str, Any] = {"active": True} if backing_index is None else {"name": backing_index}
    rows = LocalGeneration.objects.using(using).filter(index=index, **which).exclude(token="")
    if not rows.update(seq_no=F("seq_no") + 1, token=secrets.token_hex(8)):
        raise index_missing(index, backing_index)
    return State(using, *rows.values_list(*_COLUMNS).get())


def write(
    at: State,
    operations: Sequence[Entry | Removal],
    valid: Mapping[int, Prepared | Removal],
    results: Results,
) -> None:
    """Insert or replace the rows of the ``valid`` operations, unless the stored version is as new; add their results.
    The caller must hold the lock of the generation."""
    versions: dict[str, int] = {}  # of tombstones, too; not of damaged rows, so that these can be replaced
    for keys in batched([operations[number].key for number in valid], BATCH):
        stored = _entries(at).filter(key__in=keys)
        versions.update((row[0], row[1]) for row in stored.values_list(*_READ) if _is_sound(row))
    rows = [
        _tombstone(at, each) if isinstance(each, Removal) else _entry(at, each)
        for each in newest(operations, valid, versions, results).values()
    ]
    has_target = connections[at.using].features.supports_update_conflicts_with_target
    unique = ["generation", "key"] if has_target else None
    LocalEntry.objects.using(at.using).bulk_create(
        rows, batch_size=BATCH, update_conflicts=True, unique_fields=unique, update_fields=_WRITTEN
    )
    if any(isinstance(operation, Removal) for operation in operations):
        _purge(at)


def _entries(at: State) -> QuerySet[LocalEntry]:
    """Return the rows of a generation, tombstones among them."""
    return LocalEntry.objects.using(at.using).filter(generation=at.id)


def _entry(at: State, prepared: Prepared) -> LocalEntry:
    entry = prepared.entry
    images = [[image.digest, image.name] for image in entry.images]
    document = [entry.model, prepared.group, entry.in_stock, prepared.categories, prepared.filters, images]
    if prepared.texts:
        document.append(prepared.texts)
    return _row(at, entry.key, entry.version, json.dumps(document).encode(), prepared.vectors.astype("<f4").tobytes())


def _tombstone(at: State, removal: Removal) -> LocalEntry:
    row = _row(at, removal.key, removal.version, b"", b"")
    row.removed_at = timezone.now()
    return row


def _row(at: State, key: str, version: int, document: bytes, vectors: bytes) -> LocalEntry:
    return LocalEntry(
        generation_id=at.id,
        key=key,
        version=version,
        seq_no=at.seq_no,
        document=document,
        vectors=vectors,
        checksum=checksum(key, version, document, vectors),
    )


def checksum(key: str, version: int, document: bytes, vectors: bytes) -> int:
    """Return the CRC-32 of an entry's columns, by which truncated rows and flipped bits are detected."""
    return zlib.crc32(vectors, zlib.crc32(document, zlib.crc32(f"{key}\n{version}".encode(errors="replace"))))


def _is_sound(row: Sequence[Any]) -> bool:
    key, version, document, vectors, expected = row
    return bool(checksum(key, version, document, vectors) == expected)


def _record(row: Sequence[Any], dims: int) -> Record:
    """Return the entry of a row of the columns ``_READ``, or a removal if the row is a tombstone or damaged."""
    key, _version, document, vectors, _checksum = row
    damaged = not _is_sound(row)
    if not damaged and not document:
        return Record(key)
    try:
        if damaged:
            raise ValueError("its checksum is wrong")
        model, group, in_stock, categories, filters, images, *texts = json.loads(bytes(document))
        matrix = np.frombuffer(vectors, dtype="<f4").reshape(len(images), dims)
    except (ValueError, TypeError) as error:
        logger.error(
            "the entry %s of the local index is damaged and skipped (%s); repair it with "
            "`manage.py imagesim_sync --reconcile`",
            key,
            error,
            extra={"event_name": "index.damaged", "key": key},
        )
        return Record(key)
    return Record(key, model, group, in_stock, categories, filters, images, matrix, *texts)


def _purge(at: State) -> None:
    """Delete old tombstones."""
    old = _entries(at).filter(removed_at__lt=timezone.now() - TOMBSTONE_AGE)
    newest = old.aggregate(newest=Max("seq_no"))["newest"]
    if newest is not None:
        old.delete()
        # The number must never decrease, even if the clocks of writers differ.
        LocalGeneration.objects.using(at.using).filter(pk=at.id).update(purged=max(newest, at.purged))


def changes(at: State, since: int, dims: int) -> Iterator[Record]:
    """Yield what was written after the sequence number ``since``; if that is 0, all entries without tombstones."""
    rows = _entries(at).filter(seq_no__gt=since) if since else _entries(at).filter(removed_at__isnull=True)
    for row in stream(rows.values_list(*_READ), chunk_size=BATCH):
        yield _record(row, dims)


def count_images(at: State, dims: int) -> int:
    """Return the number of vectors of all entries."""
    size = _entries(at).aggregate(size=Sum(Length("vectors")))["size"]
    return int(size or 0) // (4 * dims)


def count_entries(at: State) -> int:
    """Return the number of entries."""
    return _entries(at).filter(removed_at__isnull=True).count()


def keys(at: State, batch_size: int) -> Iterator[tuple[str, int]]:
    """Yield (key, version) of every entry, ordered by the code points of the keys; damaged entries are skipped."""
    entries = _entries(at).filter(removed_at__isnull=True)
    rows = in_code_point_order(entries.values_list(*_READ), "key", itemgetter(0), chunk_size=batch_size)
    return ((row[0], row[1]) for row in rows if _is_sound(row))


@retry_conflicts
def promote(index: str, backing_index: str) -> None:
    """Make a generation the only active one of its index.

    :raises IndexMissing: if it does not exist, or is being dropped.
    """
    using = write_alias()
    generations = LocalGeneration.objects.using(using).filter(index=index)
    with transaction.atomic(using=using):
        generations.filter(active=True).exclude(name=backing_index).update(active=None)
        if not generations.filter(name=backing_index).exclude(token="").update(active=True):
            raise index_missing(index, backing_index)


@retry_conflicts
def drop(index: str, backing_index: str) -> None:
    """Delete a generation. Its entries are deleted in batches, so that no transaction is long; the generation counts as
    missing in the meantime, because it has no token."""
    using = write_alias()
    generations = LocalGeneration.objects.using(using).filter(index=index, name=backing_index)
    if generations.update(active=None, token=""):
        entries = LocalEntry.objects.using(using).filter(generation__name=backing_index)
        delete_in_batches(entries, BATCH)
        generations.delete()


class SharedLock:
    """A lock for many readers or one writer. A waiting writer has priority over new readers."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock as one of several readers."""
        with self._condition:
            while self._writing or self._writers_waiting:
                self._condition.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                if not self._readers:
                    self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock as the only writer."""
        with self._condition:
            self._writers_waiting += 1
            try:
                while self._writing or self._readers:
                    self._condition.wait()
            except BaseException:
                self._condition.notify_all()  # those that wait for this writer
                raise
            finally:
                self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._condition:
                self._writing = False
                self._condition.notify_all()


class Snapshot:
    """A process's copy of one backing index. Searches share its table.

    A refresh reads the database first, and locks the table only while it applies the changes.

    :param uncommitted: this process's writes that may have been rolled back, by token, and weakly referenced. If the
        copy is of one of these states, the whole table is read again for any other.
    """

    def __init__(self, index: str, meta: IndexMeta, uncommitted: Mapping[str, object]) -> None:
        self._index = index
        self._meta = meta
        self._uncommitted = uncommitted
        self._table = Table(meta)
        self._seq_no = -1
        self._token = ""
        self._write: object = None  # among the uncommitted ones as long as this refers to it
        self._refreshing = Lock()
        self._lock = SharedLock()

    @contextmanager
    def current(self, at: State) -> Iterator[Table]:
        """Provide the table as of the state ``at`` or later; it must not be used after the ``with`` block."""
        while True:
            if (at.seq_no, at.token) != (self._seq_no, self._token):
                self._refresh(at)
            with self._lock.shared():
                # Meanwhile, another thread may have read what only its own transaction sees.
                if self._token == at.token or (self._seq_no >= at.seq_no and self._token not in self._uncommitted):
                    yield self._table
                    return
            at = self._state(at)

    def _state(self, at: State) -> State:
        """Return the state as it is now."""
        return state(self._index, at.name, at.using)

    def _refresh(self, at: State) -> None:
        with self._refreshing:
            uncertain = self._token in self._uncommitted
            if at.seq_no <= self._seq_no:
                # Another thread was faster, or this thread is in a transaction that sees an older state, or the
                # database was restored.
                at = self._state(at)
                if (at.seq_no, at.token) == (self._seq_no, self._token):
                    return
                if at.seq_no < self._seq_no and connections[at.using].in_atomic_block and not uncertain:
                    return  # the transaction sees an older state than the one in memory
            if self._seq_no < 0 or uncertain or at.seq_no <= self._seq_no or at.purged > self._seq_no:
                self._read_all(at)
                return
            # Changes that are committed after the state was read may be included; they are read again next time.
            records = list(changes(at, self._seq_no, self._meta.dims))
            if self._state(at).purged > self._seq_no:
                self._read_all(at)  # a tombstone may have been purged before it was read
                return
            with self._lock.exclusive():
                self._table.apply(records)
                self._set_state(at)

    def _read_all(self, at: State) -> None:
        table = Table(self._meta, count_images(at, self._meta.dims))
        for chunk in batched(changes(at, 0, self._meta.dims), BATCH):
            table.apply(chunk)
        self._state(at)  # it may have been dropped, and its entries deleted
        with self._lock.exclusive():
            self._table = table
            self._set_state(at)

    def _set_state(self, at: State) -> None:
        self._seq_no, self._token, self._write = at.seq_no, at.token, self._uncommitted.get(at.token)
