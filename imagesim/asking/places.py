"""So many photos of visitors are worked on at one time in one process, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.exceptions import Busy
from imagesim.processors import memory_bytes, threads

BYTES_A_PIXEL = 8
"""Of a photo while it is decoded, at the most: the decoder's own pixels and a copy that is upright and RGB."""

SHARE_OF_MEMORY = 0.25
"""What the photos of visitors in work may take together in one process; a server has several, and other work."""


def slots_for(memory: int, processors: int, pixels: int) -> int:
    """How many photos of ``pixels`` are worked on at one time: a processor each, as far as the memory goes."""
    return max(1, min(max(2, processors), int(SHARE_OF_MEMORY * memory / (BYTES_A_PIXEL * pixels))))


DECODED_AT_ONCE = slots_for(memory_bytes(), threads(), get_settings().MAX_IMAGE_PIXELS)
"""Photos of visitors in work at one time in one process."""

WAITING_AT_ONCE = 2 * DECODED_AT_ONCE
"""Requests that wait for a place. Further ones are sent away at once, so that a flood does not take every thread."""

WAIT_SECONDS = 10

_slots = BoundedSemaphore(DECODED_AT_ONCE)
_queue = BoundedSemaphore(WAITING_AT_ONCE)


@contextmanager
def slot() -> Iterator[None]:
    """Wait a little for one of the places in which photos are worked on, so that a flood cannot stop the shop.

    For views that take photos of visitors; those of the REST face do it.

    :raises Busy: if none became free, or too many wait already.
    """
    if not _slots.acquire(blocking=False):
        if not _queue.acquire(blocking=False):
            raise _busy()
        try:
            if not _slots.acquire(timeout=WAIT_SECONDS):
                raise _busy()
        finally:
            _queue.release()
    try:
        yield
    finally:
        _slots.release()


def _busy() -> Busy:
    return Busy(_("Many photos are being looked at just now; try again in a little while."))
