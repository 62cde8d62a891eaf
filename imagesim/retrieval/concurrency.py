"""Bounds on the work of visitors' requests: photos in work per process, and seconds per request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import BoundedSemaphore

from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.cpu import memory_bytes, threads
from imagesim.exceptions import Busy, DeadlineExceeded

BYTES_PER_PIXEL = 8
"""Of a photo while it is decoded, at the most: the decoder's own pixels and a copy that is upright and RGB."""

WAIT_SECONDS = 5

SHARE_OF_MEMORY = 0.25
"""What the photos of visitors in work may take together in one process; a server has several, and other work."""

_deadline: ContextVar[float | None] = ContextVar("imagesim_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give the work within ``seconds``; a deadline that is already set and ends sooner stays."""
    ends = time.monotonic() + seconds
    former = _deadline.get()
    token = _deadline.set(ends if former is None else min(ends, former))
    try:
        yield
    finally:
        _deadline.reset(token)


def check_deadline() -> None:
    """To be called between two steps of the work.

    :raises DeadlineExceeded: if the request at hand has had its time.
    """
    if (ends := _deadline.get()) is not None and time.monotonic() > ends:
        raise DeadlineExceeded(_("This took too long and was given up; try again in a little while."))


def slots_for(memory: int, processors: int, pixels: int) -> int:
    """How many photos of ``pixels`` are worked on at one time: one per processor, as far as the memory goes."""
    return max(1, min(max(2, processors), int(SHARE_OF_MEMORY * memory / (BYTES_PER_PIXEL * pixels))))


@cache
def _semaphores() -> tuple[BoundedSemaphore, BoundedSemaphore]:
    """(photos in work, requests that wait for one of them to end) of this process.

    Requests beyond those are refused at once, and fewer may wait than are in work: a server of few threads must have
    some left for its other pages.
    """
    slots = slots_for(memory_bytes(), threads(), get_settings().MAX_IMAGE_PIXELS)
    return BoundedSemaphore(slots), BoundedSemaphore(max(1, slots // 2))


@contextmanager
def photo_slot() -> Iterator[None]:
    """Wait up to ``WAIT_SECONDS`` for one of the slots in which photos are worked on, and hold it.

    For views that take photos of visitors; the REST views and ``limit_uploads`` do it.

    :raises Busy: if none became free, or too many wait already.
    :raises DeadlineExceeded: if the wait took the time of the request.
    """
    slots, queue = _semaphores()
    if not slots.acquire(blocking=False):
        if not queue.acquire(blocking=False):
            raise _busy()
        try:
            if not slots.acquire(timeout=WAIT_SECONDS):
                raise _busy()
        finally:
            queue.release()
    try:
        check_deadline()
        yield
    finally:
        slots.release()


def _busy() -> Busy:
    return Busy(_("Many photos are being looked at just now; try again in a little while."))
