"""Record answers off the request's path: a bounded buffer, written by a thread; what does not fit is dropped."""

from __future__ import annotations

import atexit
import logging
import re
import threading
from collections import deque
from datetime import datetime

from django.core import mail
from django.db import connections, router

from imagesim.circuit_breaker import log_repeated
from imagesim.database import current_schema, in_schema, retry_conflicts
from imagesim.events import Answer
from imagesim.insight.middleware import current_request
from imagesim.insight.models import MAX_TEXT, DailyCount, Purchase, RolledDay, Search
from imagesim.insight.visitors import is_visitor
from imagesim.runtime import runtime
from imagesim.tasks import delete_in_batches

logger = logging.getLogger(__name__)

CAPACITY = 2_000
"""Answers that wait for the writer; further ones are dropped."""

BATCH = 500
"""Answers per INSERT."""

INTERVAL = 2.0
"""Seconds in which answers are collected before they are written."""

STOP_SECONDS = 5.0

_ADDRESS = re.compile(r"\S+@\S+")


class Recorder:
    """The buffer of this process. Its thread starts with the first answer and ends with the process; none is started in
    a test run, where tests call :meth:`flush`."""

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: deque[tuple[str, Search]] = deque()  # with the schema of the tenant
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake, self._full, self._stop = threading.Event(), threading.Event(), threading.Event()
        atexit.register(self.close)

    def add(self, search: Search) -> None:
        """Queue an answer; drop it if the buffer is full. Never waits for the database."""
        if len(self._waiting) >= CAPACITY:
            self.dropped += 1
            log_repeated(logger, logging.WARNING, "dropped", "Answers are not recorded: the database is too slow")
            return
        self._waiting.append((current_schema(router.db_for_write(Search)), search))
        if self._thread is None:
            self._start()
        self._wake.set()
        if len(self._waiting) >= BATCH:
            self._full.set()

    def flush(self) -> int:
        """Write what waits, each answer to the schema in which it was given; return how many. What the database refuses
        is dropped."""
        written = 0
        using = router.db_for_write(Search)
        while batch := self._take():
            for schema, rows in batch.items():
                try:
                    with in_schema(schema, using):
                        _store(rows)
                    written += len(rows)
                except Exception:  # of the database, or of what a visitor sent: the thread must go on
                    self.dropped += len(rows)
                    log_repeated(logger, logging.ERROR, "refused", "Answers could not be recorded", exc_info=True)
        return written

    def close(self) -> None:
        """End the thread after it has written what waits."""
        atexit.unregister(self.close)
        self._stop.set()
        self._wake.set()
        self._full.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _take(self) -> dict[str, list[Search]]:
        """Return the answers of the next batch by schema."""
        batch: dict[str, list[Search]] = {}
        for _number in range(min(BATCH, len(self._waiting))):
            schema, search = self._waiting.popleft()
            batch.setdefault(schema, []).append(search)
        return batch

    def _start(self) -> None:
        if hasattr(mail, "outbox"):  # a test run, as in imagesim.indexing.dispatch
            return
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="imagesim-insight", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._full.wait(INTERVAL)
            self._wake.clear()
            self._full.clear()
            self.flush()
            connections.close_all()


@retry_conflicts
def _store(batch: list[Search]) -> None:
    Search.objects.bulk_create(batch, ignore_conflicts=True)


def recorder() -> Recorder:
    """Return the recorder of this process."""
    return runtime.get(Recorder, Recorder)


class InsightObserver:
    """Records the answers to visitors."""

    def answered(self, answer: Answer) -> None:
        try:
            request = current_request()
            if request is not None and is_visitor(request):
                recorder().add(to_row(answer))
        except Exception:  # a search must not fail because it cannot be recorded
            log_repeated(logger, logging.ERROR, "answered", "An answer was not recorded", exc_info=True)

    def purge(self, before: datetime) -> int:
        """Delete answers, purchases and daily figures of the days before."""
        rows = (
            Search.objects.filter(created_at__lt=before),
            Purchase.objects.filter(created_at__lt=before),
            DailyCount.objects.filter(day__lt=before.date()),
            RolledDay.objects.filter(day__lt=before.date()),
        )
        return sum(delete_in_batches(each) for each in rows)


observer = InsightObserver()


def to_row(answer: Answer) -> Search:
    """Return the record of an answer. What looks like an e-mail address is not kept."""
    text = _ADDRESS.sub("…@…", _storable(answer.text)) if answer.text else ""
    return Search(
        request=answer.request,
        where=answer.where,
        text=" ".join(text.split())[:MAX_TEXT],
        query_key=answer.query_key,
        category=_storable(answer.category),
        offset=answer.offset,
        page=answer.offset // max(answer.limit, 1) + 1,
        found=answer.found,
        best=answer.best,
        keys=list(answer.keys),
    )


def _storable(text: str) -> str:
    """Return a text of a visitor without what a database refuses: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="ignore").decode()
