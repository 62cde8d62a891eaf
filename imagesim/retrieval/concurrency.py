"""Limits for visitors' requests: photos processed at a time in each process, and seconds per request."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from threading import BoundedSemaphore
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.exceptions import DeadlineExceeded, busy
from imagesim.runtime import memory_bytes, runtime, threads

BYTES_PER_PIXEL = 8
"""The maximum bytes per pixel during decoding: the decoder's own pixels and an upright RGB copy."""

WAIT_SECONDS = 5
"""How long a request waits for a photo slot."""

SHARE_OF_MEMORY = 0.25
"""The maximum share of memory for the photos of one process; a server has several processes, and other work."""

P = ParamSpec("P")
R = TypeVar("R")

_deadline: ContextVar[float | None] = ContextVar("imagesim_deadline", default=None)
_holds_slot: ContextVar[bool] = ContextVar("imagesim_holds_slot", default=False)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Set a deadline, ``seconds`` from now, for the work within; an earlier deadline that is already set stays."""
    ends = time.monotonic() + seconds
    former = _deadline.get()
    token = _deadline.set(ends if former is None else min(ends, former))
    try:
        yield
    finally:
        _deadline.reset(token)


def check_deadline() -> None:
    """Check the deadline between two steps of the work.

    :raises DeadlineExceeded: if the deadline of the request has passed.
    """
    if (ends := _deadline.get()) is not None and time.monotonic() > ends:
        raise DeadlineExceeded(_("The request took too long and was aborted; try again in a moment."))


def slots_for(memory: int, processors: int, pixels: int) -> int:
    """Return how many photos of ``pixels`` a process may work on at a time: one per processor and at least two, if its
    share of ``memory``, in bytes, is enough."""
    return max(1, min(max(2, processors), int(SHARE_OF_MEMORY * memory / (BYTES_PER_PIXEL * pixels))))


def _semaphores() -> tuple[BoundedSemaphore, BoundedSemaphore]:
    """Return the semaphores of this process: for photos being processed, and for requests that wait for a slot.

    Further requests are refused at once. Half as many can wait as are processed, so that a server with few threads has
    some left for other pages.
    """

    def make() -> tuple[BoundedSemaphore, BoundedSemaphore]:
        slots = slots_for(memory_bytes(), threads(), get_settings().MAX_IMAGE_PIXELS)
        return BoundedSemaphore(slots), BoundedSemaphore(max(1, slots // 2))

    return runtime.get("photo slots", make)


@contextmanager
def photo_slot() -> Iterator[None]:
    """Hold one of the photo slots, after waiting for up to ``WAIT_SECONDS``.

    For synchronous views that accept photos from visitors. The REST views and ``limit_uploads`` use it, and so do the
    asynchronous calls, such as ``asearch``.

    :raises Busy: if no slot became free, or too many requests are already waiting.
    :raises DeadlineExceeded: if the deadline passed during the wait.
    """
    slots, queue = _semaphores()
    if not slots.acquire(blocking=False):
        if not queue.acquire(blocking=False):
            raise busy()
        try:
            if not slots.acquire(timeout=WAIT_SECONDS):
                raise busy()
        finally:
            queue.release()
    token = _holds_slot.set(True)
    try:
        check_deadline()
        yield
    finally:
        _holds_slot.reset(token)
        slots.release()


def asynchronous(search: Callable[P, R], takes_photo: Callable[..., bool]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return the asynchronous variant of a search. It holds a photo slot if ``takes_photo`` returns True for its
    arguments, unless the view holds one already, as under ``limit_uploads``.

    It runs in Django's own thread for the request, whose connections and transactions it uses, and waits for the slot
    there, so that the event loop is not blocked.
    """

    @wraps(search)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        needs_slot = takes_photo(*args, **kwargs) and not _holds_slot.get()
        with photo_slot() if needs_slot else nullcontext():
            return search(*args, **kwargs)

    return sync_to_async(limited)
