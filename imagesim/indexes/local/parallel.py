"""Work that the calling thread shares with helpers, where they happen to be free."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from imagesim.cpu import threads

# More than four read memory no faster. One for every processor: the system often wakes the first on its caller's own,
# where it brings nothing, and then the next on another.
HELPERS = min(threads(), 4) if threads() > 1 else 0
# Fewer parts are done before a helper has woken up.
SHARED_FROM = 8


def share(work: Callable[[int], None], parts: Sequence[int]) -> None:
    """Call ``work`` with each of ``parts``. One may be done twice, at the same time, and must come to the same.

    Nobody waits for a helper: what one has begun and not ended when nothing else is left, the caller does as well. So
    one that comes late, is held up or cannot be had costs nothing, and may still be at it when this returns.
    """
    waiting, done = iter(parts), set[int]()

    def take() -> None:
        for part in waiting:
            work(part)
            done.add(part)

    if len(parts) >= SHARED_FROM:
        with suppress(RuntimeError):  # the interpreter ends, or the system gives no more threads
            for _ in range(HELPERS):
                _helpers.submit(take)
    take()
    for part in parts:
        if part not in done:
            work(part)


def _engage() -> None:
    """Threads start when they are first asked; a fork leaves them behind."""
    global _helpers
    _helpers = ThreadPoolExecutor(max(HELPERS, 1), "imagesim-search")


_helpers: ThreadPoolExecutor
_engage()
os.register_at_fork(after_in_child=_engage)
