"""Work that the calling thread shares with helper threads where they are free."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from imagesim.cpu import threads

# More than four read memory no faster. One per processor, not one less: the system often wakes the first on the
# processor of its caller, where it gains nothing, and only the next on another.
HELPERS = min(threads(), 4) if threads() > 1 else 0
SHARED_FROM = 8
"""Parts from which on helpers are used; fewer are done before a helper has woken up."""


def share(work: Callable[[int], None], parts: Sequence[int]) -> None:
    """Call ``work`` with each of ``parts``, which must be idempotent: a part may be done twice at the same time.

    Nobody waits for a helper: the caller repeats what helpers have begun and not finished when no other part is left.
    So a late or blocked helper costs nothing, and may still be running when this returns.
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
    """Make the pool, again after a fork, which does not copy threads. They start when first used."""
    global _helpers
    _helpers = ThreadPoolExecutor(max(HELPERS, 1), "imagesim-search")


_helpers: ThreadPoolExecutor
_engage()
os.register_at_fork(after_in_child=_engage)
