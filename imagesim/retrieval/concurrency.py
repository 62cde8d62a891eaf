"""So many photos of visitors are worked on at one time in one process, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore

from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.cpu import memory_bytes, threads
from imagesim.exceptions import Busy

BYTES_A_PIXEL = 8
"""Of a photo while it is decoded, at the most: the decoder's own pixels and a copy that is upright and RGB."""

WAIT_SECONDS = 10

SHARE_OF_MEMORY = 0.25
"""What the photos of visitors in work may take together in one process; a server has several, and other work."""


def slots_for(memory: int, processors: int, pixels: int) -> int:
    """How many photos of ``pixels`` are worked on at one time: a processor each, as far as the memory goes."""
    return max(1, min(max(2, processors), int(SHARE_OF_MEMORY * memory / (BYTES_A_PIXEL * pixels))))


@cache
def _semaphores() -> tuple[BoundedSemaphore, BoundedSemaphore]:
    """(photos in work, requests that wait for one of them to end) of this process.

    Requests beyond those are sent away at once, so that a flood does not take every thread.
    """
    slots = slots_for(memory_bytes(), threads(), get_settings().MAX_IMAGE_PIXELS)
    return BoundedSemaphore(slots), BoundedSemaphore(2 * slots)


@contextmanager
def slot() -> Iterator[None]:
    """Wait a little for one of the places in which photos are worked on, so that a flood cannot stop the shop.

    For views that take photos of visitors; those of the REST face do it.

    :raises Busy: if none became free, or too many wait already.
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
        yield
    finally:
        slots.release()


def _busy() -> Busy:
    return Busy(_("Many photos are being looked at just now; try again in a little while."))
