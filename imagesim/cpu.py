"""How many processors and how much memory there are for this process."""

from __future__ import annotations

import os
from pathlib import Path

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container's limit stands: control groups of version 2 and 1."""


def threads() -> int:
    """How many threads are worth while for work that keeps a processor busy: the processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        return os.cpu_count() or 1


def memory_bytes() -> int:
    """The memory that this process may use with others: the machine's, or its container's if that is less."""
    found = [limit for path in _LIMITS if (limit := _read(path))]
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not on every platform
        found.append(4 * 1024**3)
    return min(found)


def _read(path: str) -> int:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0  # "max": no limit
