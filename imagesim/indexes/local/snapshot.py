"""A process's copy of one generation, brought up to date before each search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Condition, Lock

from django.db import connections

from imagesim.indexes.local import store
from imagesim.indexes.local.columnar import Table
from imagesim.types import IndexMeta


class SharedLock:
    """A lock held by many readers or one writer. A waiting writer goes before new readers."""

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

    def __init__(self, meta: IndexMeta) -> None:
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
                at = store.state_of(at, using)
                if (at.seq_no, at.token) == (self._seq_no, self._token):
                    return
                if at.seq_no < self._seq_no and connections[using].in_atomic_block and not uncertain:
                    return  # an older view of the same history; this process has a newer one
            if self._seq_no < 0 or uncertain or at.seq_no <= self._seq_no or at.purged > self._seq_no:
                self._read_all(at, using)
                return
            # What is committed between reading the state and reading the changes is read again next time.
            records = list(store.changes(at, self._seq_no, self._meta.dims, using))
            if store.state_of(at, using).purged > self._seq_no:
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
