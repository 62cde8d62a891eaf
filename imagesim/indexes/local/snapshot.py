"""A process's copy of one generation, brought up to date before each search by what was written since."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from django.db import connections

from imagesim.indexes.local import store
from imagesim.indexes.local.locks import SharedLock
from imagesim.indexes.local.table import Table
from imagesim.types import IndexMeta


class Snapshot:
    """Searches share the table; a refresh reads the database first and then has the table alone for a moment."""

    def __init__(self, meta: IndexMeta) -> None:
        self._meta = meta
        self._table = Table(meta)
        self._stamp = -1
        self._token = ""
        self._refreshing = Lock()
        self._lock = SharedLock()

    @contextmanager
    def current(self, at: store.State, using: str, uncertain: bool) -> Iterator[Table]:
        """The table as of ``at`` or later.

        ``uncertain``: this process has written within transactions of its caller's. What was read there may have
        been rolled back since, so that nothing is built upon it: the table is read anew where it differs at all.
        """
        if (at.stamp, at.token) != (self._stamp, self._token):
            self._refresh(at, using, uncertain)
        with self._lock.shared():
            yield self._table

    def _refresh(self, at: store.State, using: str, uncertain: bool) -> None:
        with self._refreshing:
            if at.stamp <= self._stamp:
                # Another thread came first, or this one sits in a transaction that sees an older state, or the
                # database was restored: look again to tell.
                at = store.state_of(at, using)
                if (at.stamp, at.token) == (self._stamp, self._token):
                    return None
                if at.stamp < self._stamp and connections[using].in_atomic_block and not uncertain:
                    return None  # an older view of the same history; what this process has is newer
            if self._stamp < 0 or uncertain or at.stamp <= self._stamp or at.purged > self._stamp:
                return self._read_anew(at, using)
            # What is committed between the look at the stamp and this read is simply read again next time.
            records = list(store.changes(at, self._stamp, self._meta.dims, using))
            if store.state_of(at, using).purged > self._stamp:
                return self._read_anew(at, using)  # a tombstone may have gone before it was read
            with self._lock.exclusive():
                self._table.apply(records)
                self._stamp, self._token = at.stamp, at.token
            return None

    def _read_anew(self, at: store.State, using: str) -> None:
        table = Table(self._meta, store.images(at, self._meta.dims, using))
        for records in store.in_chunks(store.changes(at, 0, self._meta.dims, using), store.AT_ONCE):
            table.apply(records)
        with self._lock.exclusive():
            self._table, self._stamp, self._token = table, at.stamp, at.token
