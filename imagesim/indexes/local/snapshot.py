"""A process's copy of one generation, brought up to date before each search by what was written since."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from django.db import connections

from imagesim.indexes.local import store
from imagesim.indexes.local.columnar import Table
from imagesim.indexes.local.locks import SharedLock
from imagesim.types import IndexMeta


class Snapshot:
    """Searches share the table; a refresh reads the database first and then has the table alone for a moment."""

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

        ``uncertain``: this process has written within transactions of its caller's. What was read there may have
        been rolled back since, so that nothing is built upon it: the table is read anew where it differs at all.
        """
        if (at.seq_no, at.token) != (self._seq_no, self._token):
            self._refresh(at, using, uncertain)
        with self._lock.shared():
            yield self._table

    def _refresh(self, at: store.State, using: str, uncertain: bool) -> None:
        with self._refreshing:
            if at.seq_no <= self._seq_no:
                # Another thread came first, or this one sits in a transaction that sees an older state, or the
                # database was restored: look again to tell.
                at = store.state_of(at, using)
                if (at.seq_no, at.token) == (self._seq_no, self._token):
                    return None
                if at.seq_no < self._seq_no and connections[using].in_atomic_block and not uncertain:
                    return None  # an older view of the same history; what this process has is newer
            if self._seq_no < 0 or uncertain or at.seq_no <= self._seq_no or at.purged > self._seq_no:
                return self._read_anew(at, using)
            # What is committed between the look at the seq_no and this read is simply read again next time.
            records = list(store.changes(at, self._seq_no, self._meta.dims, using))
            if store.state_of(at, using).purged > self._seq_no:
                return self._read_anew(at, using)  # a tombstone may have gone before it was read
            with self._lock.exclusive():
                self._table.apply(records)
                self._seq_no, self._token = at.seq_no, at.token
            return None

    def _read_anew(self, at: store.State, using: str) -> None:
        table = Table(self._meta, store.images(at, self._meta.dims, using))
        for records in store.in_chunks(store.changes(at, 0, self._meta.dims, using), store.AT_ONCE):
            table.apply(records)
        with self._lock.exclusive():
            self._table, self._seq_no, self._token = table, at.seq_no, at.token
