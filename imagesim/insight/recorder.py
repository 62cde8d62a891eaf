"""Record answers outside the request: in a bounded buffer, written by a thread; what does not fit is dropped.

The number of rows per visitor is bounded too. A program that calls itself a browser may load hundreds of thousands of
pages, each of which would be a row that is kept for ``EVENTS_DAYS`` and distorts the reports of what people ask.
"""

from __future__ import annotations

import atexit
import logging
import re
import threading
import time
from collections import OrderedDict, deque
from contextvars import Context
from datetime import datetime

from django.core import mail
from django.db import connections, router
from django.db.models import Model
from django.http import HttpRequest

from imagesim.addresses import address_of, is_global, number_of_proxies
from imagesim.circuit_breaker import log_repeated
from imagesim.database import current_schema, delete_in_batches, in_schema, insert_new
from imagesim.events import Answer
from imagesim.insight.middleware import MAX_AGENT, current_request, is_visitor
from imagesim.insight.models import MAX_TEXT, DailyCount, Purchase, RolledDay, Search
from imagesim.insight.rollup import local_date
from imagesim.runtime import runtime

logger = logging.getLogger(__name__)

CAPACITY = 2_000
"""The number of rows that may wait for the writer (one per answer or, during an experiment, two); others are
dropped."""

BATCH = 500
"""The number of rows that are written together."""

INTERVAL = 2.0
"""How many seconds answers are collected before they are written."""

STOP_SECONDS = 5.0

MAX_ANSWERS = 1_000
"""The maximum number of answers to one visitor that are recorded, per day and process."""

MAX_ANSWERS_OF_ADDRESS = 10_000
"""The same for all visitors with one address. They may be many, but a program can claim to be a new browser each
time."""

MAX_COUNTED = 20_000
"""How many visitors and addresses are counted: those that asked last."""

DAY = 24 * 60 * 60

_ADDRESS = re.compile(r"\S+@\S+")


class Recorder:
    """The buffer of this process. Its thread starts with the first answer and ends with the process; none is started in
    a test run, where tests call :meth:`flush`."""

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: deque[tuple[str, Model]] = deque()  # with the schema of the tenant
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake, self._full, self._stop = threading.Event(), threading.Event(), threading.Event()
        atexit.register(self.close)

    def add(self, row: Model) -> None:
        """Queue a row; drop it if the buffer is full. Never waits for the database."""
        if len(self._waiting) >= CAPACITY:
            self.dropped += 1
            log_repeated(logger, logging.WARNING, "dropped", "Answers are not recorded: the database is too slow")
            return
        self._waiting.append((current_schema(router.db_for_write(type(row))), row))
        if self._thread is None:
            self._start()
        self._wake.set()
        if len(self._waiting) >= BATCH:
            self._full.set()

    def flush(self) -> int:
        """Write the waiting rows, each to the schema in which it was queued; return how many. Rows that the database
        refuses are dropped."""
        written = 0
        while batch := self._take():
            for (schema, model), rows in batch.items():
                try:
                    with in_schema(schema, router.db_for_write(model)):
                        insert_new(rows)
                    written += len(rows)
                except Exception:  # of the database, or caused by what a visitor sent: the thread must go on
                    self.dropped += len(rows)
                    log_repeated(logger, logging.ERROR, "refused", "Answers could not be recorded", exc_info=True)
        return written

    def close(self) -> None:
        """End the thread after it has written the waiting rows."""
        atexit.unregister(self.close)
        self._stop.set()
        self._wake.set()
        self._full.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _take(self) -> dict[tuple[str, type[Model]], list[Model]]:
        """Return the rows of the next batch by schema and table."""
        batch: dict[tuple[str, type[Model]], list[Model]] = {}
        for _number in range(min(BATCH, len(self._waiting))):
            schema, row = self._waiting.popleft()
            batch.setdefault((schema, type(row)), []).append(row)
        return batch

    def _start(self) -> None:
        if hasattr(mail, "outbox"):  # a test run, as in imagesim.indexing.dispatch
            return
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                thread = threading.Thread(target=self._run, name="imagesim-insight", daemon=True)
                # For tracers, it is no part of the request. If it cannot be started now, the next answer tries again.
                Context().run(thread.start)
                self._thread = thread

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._full.wait(INTERVAL)
            self._wake.clear()
            self._full.clear()
            self.flush()
            connections.close_all()


def recorder() -> Recorder:
    """Return the recorder of this process."""
    return runtime.get(Recorder, Recorder)


class VisitorCounts:
    """The number of answers that each visitor, and each address, got today, in the memory of this process. Both are
    kept as hashes, which are neither stored nor the same in another process."""

    def __init__(self) -> None:
        self._day = 0
        self._counts: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, request: HttpRequest) -> bool:
        """Count an answer; return whether it is within the bounds."""
        bounds = _bounds(request)
        within = True
        with self._lock:
            if self._day != (today := int(time.time() // DAY)):
                self._day, self._counts = today, OrderedDict()
            for who, most in bounds.items():
                count = self._counts[who] = self._counts.pop(who, 0) + 1
                within = within and count <= most
            while len(self._counts) > MAX_COUNTED:
                self._counts.popitem(last=False)
        if not within:
            log_repeated(logger, logging.WARNING, "flood", "Further answers to a visitor are not recorded today")
        return within

    def is_within(self, request: HttpRequest) -> bool:
        """Return whether another answer is within the bounds, without counting it."""
        return all(self._counts.get(who, 0) < most for who, most in _bounds(request).items())


def visitor_counts() -> VisitorCounts:
    """Return the counts of this process."""
    return runtime.get(VisitorCounts, VisitorCounts)


def _bounds(request: HttpRequest) -> dict[int, int]:
    """Return the keys of a visitor and of the address, each with the maximum number of answers that are recorded.

    Empty if the address may be that of a proxy, and so of all visitors. Without ``NUM_PROXIES`` it is unknown whether
    ``X-Forwarded-For`` was set by a proxy or invented by the visitor: it is used to tell visitors apart, and no address
    is counted.
    """
    address, forwarded = address_of(request), request.META.get("HTTP_X_FORWARDED_FOR", "")
    agent = request.META.get("HTTP_USER_AGENT", "")[:MAX_AGENT]
    if is_global(address) and not (forwarded and number_of_proxies() is None):
        return {hash(address): MAX_ANSWERS_OF_ADDRESS, hash((address, agent)): MAX_ANSWERS}
    return {hash((address, forwarded, agent)): MAX_ANSWERS} if forwarded else {}


class InsightObserver:
    """Records the answers to visitors."""

    def answered(self, answer: Answer) -> None:
        request = current_request()
        if request is not None and is_visitor(request) and visitor_counts().admit(request):
            recorder().add(to_row(answer))

    def purge(self, before: datetime) -> int:
        """Delete answers, purchases and daily figures from before this time."""
        rows = (
            Search.objects.filter(created_at__lt=before),
            Purchase.objects.filter(created_at__lt=before),
            DailyCount.objects.filter(day__lt=local_date(before)),
            RolledDay.objects.filter(day__lt=local_date(before)),
        )
        return sum(delete_in_batches(each) for each in rows)


observer = InsightObserver()


def to_row(answer: Answer) -> Search:
    """Return the record of an answer. Anything that looks like an e-mail address is not kept."""
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
    """Return a visitor's text without characters that a database refuses: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="ignore").decode()
