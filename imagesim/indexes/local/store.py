"""Reading and writing the tables of the local index, and each process's copy of them, current before each search."""

from __future__ import annotations

import json
import logging
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from operator import itemgetter
from threading import Condition, Lock
from typing import Any, NamedTuple

import numpy as np
from django.db import connections, router, transaction
from django.db.models import F, Max, Sum
from django.db.models.functions import Length
from django.utils import timezone

from imagesim.database import in_code_point_order, retry_conflicts, stream
from imagesim.exceptions import SearchIndexError, index_missing
from imagesim.indexes.local import store
from imagesim.indexes.local.columnar import Record, Table
from imagesim.indexes.tables import LocalEntry, LocalGeneration
from imagesim.indexes.validation import Prepared
from imagesim.types import IndexMeta, Removal

logger = logging.getLogger("imagesim.indexes.local")

# A late write of an older version is refused as long as the tombstone exists; after that the writer's own look at the
# database guards against it (as with Elasticsearch's index.gc_deletes).
TOMBSTONE_AGE = timedelta(hours=1)
BATCH = 500
_READ = ("key", "version", "document", "vectors", "checksum")
_WRITTEN = ("version", "seq_no", "removed_at", "document", "vectors", "checksum")


class State(NamedTuple):
    """A generation and its current sequence number."""

    id: int
    name: str
    seq_no: int
    token: str
    purged: int


def read_alias() -> str:
    """The database for both generations and entries, also with several replicas."""
    return str(router.db_for_read(LocalGeneration))


def write_alias() -> str:
    return str(router.db_for_write(LocalGeneration))


def state(index: str, backing_index: str | None, using: str) -> State:
    """The state of a backing index, the active one by default.

    Raw SQL: every query reads it twice, and with the ORM that took a quarter of ``similar_to``'s processor time.

    :raises IndexMissing: if there is none.
    """
    connection = connections[using]
    quote = connection.ops.quote_name
    which = {"index": index} | ({"active": True} if backing_index is None else {"name": backing_index})
    columns, table = ", ".join(map(quote, State._fields)), quote(LocalGeneration._meta.db_table)
    conditions = " AND ".join(f"{quote(name)} = %s" for name in which)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} WHERE {conditions} ORDER BY {quote('id')}", list(which.values()))
        row = cursor.fetchone()
    if row is None:
        raise index_missing(index, backing_index)
    return State(*row)


def meta_of(index: str, backing_index: str, using: str) -> IndexMeta:
    found = LocalGeneration.objects.using(using).filter(index=index, name=backing_index).first()
    if found is None:
        raise index_missing(index, backing_index)
    try:
        return IndexMeta.from_stored(found.meta)
    except ValueError:
        message = f"The index {backing_index!r} has no valid meta; build a new one with imagesim_rebuild."
        raise SearchIndexError(message) from None


def next_seq_no(index: str, backing_index: str | None, using: str) -> State:
    """Lock the generation's row and raise its sequence number; inside a transaction only."""
    which: dict[str, Any] = {"active": True} if backing_index is None else {"name": backing_index}
    rows = LocalGeneration.objects.using(using).filter(index=index, **which)
    if not rows.update(seq_no=F("seq_no") + 1, token=secrets.token_hex(8)):
        raise index_missing(index, backing_index)
    return state(index, backing_index, using)


def versions(generation: int, keys: Sequence[str], using: str) -> dict[str, int]:
    """The stored version of each key, tombstones included. A damaged row has none, so that it can be replaced."""
    found: dict[str, int] = {}
    for start in range(0, len(keys), BATCH):
        rows = LocalEntry.objects.using(using).filter(generation=generation, key__in=keys[start : start + BATCH])
        found.update((row[0], row[1]) for row in rows.values_list(*_READ) if _is_sound(row))
    return found


def put(rows: Sequence[LocalEntry], using: str) -> None:
    """Insert or replace rows; the caller holds the generation's lock."""
    connection = transaction.get_connection(using)
    target = ["generation", "key"] if connection.features.supports_update_conflicts_with_target else None
    LocalEntry.objects.using(using).bulk_create(
        rows, batch_size=BATCH, update_conflicts=True, unique_fields=target, update_fields=_WRITTEN
    )


def entry_row(at: State, prepared: Prepared) -> LocalEntry:
    entry = prepared.entry
    images = [[image.digest, image.name] for image in entry.images]
    document = [entry.model, prepared.group, entry.in_stock, prepared.categories, prepared.filters, images]
    if prepared.texts:
        document.append(prepared.texts)
    return _row(at, entry.key, entry.version, json.dumps(document).encode(), prepared.vectors.astype("<f4").tobytes())


def tombstone_row(at: State, removal: Removal) -> LocalEntry:
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
    """CRC-32 of an entry's columns, against truncated rows and flipped bits."""
    return zlib.crc32(vectors, zlib.crc32(document, zlib.crc32(f"{key}\n{version}".encode(errors="replace"))))


def _is_sound(row: Sequence[Any]) -> bool:
    key, version, document, vectors, expected = row
    return bool(checksum(key, version, document, vectors) == expected)


def _record(row: Sequence[Any], dims: int) -> Record:
    """The entry of a row of ``_READ``; a removal where the row is a tombstone or damaged."""
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
            extra={"event": "index.damaged", "key": key},
        )
        return Record(key)
    return Record(key, model, group, in_stock, categories, filters, images, matrix, *texts)


def purge(at: State, using: str) -> None:
    """Delete old tombstones; the caller holds the generation's lock."""
    old = LocalEntry.objects.using(using).filter(generation=at.id, removed_at__lt=timezone.now() - TOMBSTONE_AGE)
    newest = old.aggregate(newest=Max("seq_no"))["newest"]
    if newest is not None:
        old.delete()
        # Never less than before, although the clocks of writers differ.
        LocalGeneration.objects.using(using).filter(pk=at.id).update(purged=max(newest, at.purged))


def changes(at: State, since: int, dims: int, using: str) -> Iterator[Record]:
    """What was written after the sequence number ``since``; everything but tombstones from 0 on."""
    rows = LocalEntry.objects.using(using).filter(generation=at.id)
    rows = rows.filter(seq_no__gt=since) if since else rows.filter(removed_at__isnull=True)
    for row in stream(rows.values_list(*_READ), chunk_size=BATCH):
        yield _record(row, dims)


def count_images(at: State, dims: int, using: str) -> int:
    """How many vectors the entries hold."""
    entries = LocalEntry.objects.using(using).filter(generation=at.id)
    size = entries.aggregate(size=Sum(Length("vectors")))["size"]
    return int(size or 0) // (4 * dims)


def keys(at: State, batch_size: int, using: str) -> Iterator[tuple[str, int]]:
    """(key, version) of every entry in the order of the keys' code points; damaged ones are skipped."""
    entries = LocalEntry.objects.using(using).filter(generation=at.id, removed_at__isnull=True)
    rows = in_code_point_order(entries.values_list(*_READ), "key", itemgetter(0), chunk_size=batch_size)
    return ((row[0], row[1]) for row in rows if _is_sound(row))


@retry_conflicts
def promote(index: str, backing_index: str, using: str) -> None:
    """Make a generation the active one, and no other."""
    generations = LocalGeneration.objects.using(using).filter(index=index)
    with transaction.atomic(using=using):
        generations.filter(active=True).exclude(name=backing_index).update(active=None)
        if not generations.filter(name=backing_index).update(active=True):
            raise index_missing(index, backing_index)


@retry_conflicts
def drop(index: str, backing_index: str, using: str) -> None:
    """Delete a generation; its entries in batches, so that no transaction is long."""
    generations = LocalGeneration.objects.using(using).filter(index=index, name=backing_index)
    if generations.update(active=None):
        entries = LocalEntry.objects.using(using).filter(generation__name=backing_index)
        while ids := list(entries.order_by("pk").values_list("pk", flat=True)[:BATCH]):
            LocalEntry.objects.using(using).filter(pk__in=ids).delete()
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
        with self._condition:
            self._writers_waiting += 1
            while self._writing or self._readers:
                self._condition.wait()
            self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._condition:
                self._writing = False
                self._condition.notify_all()


class Snapshot:
    """Searches share the table. A refresh reads the database first, then locks the table while it applies changes."""

    def __init__(self, index: str, meta: IndexMeta) -> None:
        self._index = index
        self._meta = meta
        self._table = Table(meta)
        self._seq_no = -1
        self._token = ""
        self._refreshing = Lock()
        self._lock = SharedLock()

    @contextmanager
    def current(self, at: store.State, using: str, uncertain: bool) -> Iterator[Table]:
        """The table as of ``at`` or later.

        :param uncertain: this process has written inside transactions of its caller. Those may have been rolled back
            since, so the table is read again as a whole if it differs at all.
        """
        if (at.seq_no, at.token) != (self._seq_no, self._token):
            self._refresh(at, using, uncertain)
        with self._lock.shared():
            yield self._table

    def _refresh(self, at: store.State, using: str, uncertain: bool) -> None:
        with self._refreshing:
            if at.seq_no <= self._seq_no:
                # Another thread was faster, or this one is in a transaction that sees an older state, or the
                # database was restored.
                at = store.state(self._index, at.name, using)
                if (at.seq_no, at.token) == (self._seq_no, self._token):
                    return
                if at.seq_no < self._seq_no and connections[using].in_atomic_block and not uncertain:
                    return  # an older view of the same history; this process has a newer one
            if self._seq_no < 0 or uncertain or at.seq_no <= self._seq_no or at.purged > self._seq_no:
                self._read_all(at, using)
                return
            # What is committed between reading the state and reading the changes is read again next time.
            records = list(store.changes(at, self._seq_no, self._meta.dims, using))
            if store.state(self._index, at.name, using).purged > self._seq_no:
                self._read_all(at, using)  # a tombstone may have been purged before it was read
                return
            with self._lock.exclusive():
                self._table.apply(records)
                self._seq_no, self._token = at.seq_no, at.token

    def _read_all(self, at: store.State, using: str) -> None:
        table = Table(self._meta, store.count_images(at, self._meta.dims, using))
        records = store.changes(at, 0, self._meta.dims, using)
        while chunk := list(islice(records, store.BATCH)):
            table.apply(chunk)
        with self._lock.exclusive():
            self._table, self._seq_no, self._token = table, at.seq_no, at.token
