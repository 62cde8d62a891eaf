"""How many processors there are for this process."""

from __future__ import annotations

import os


def threads() -> int:
    """How many threads are worth while for work that keeps a processor busy: the processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        return os.cpu_count() or 1
