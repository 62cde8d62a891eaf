"""The name under which a process owns a job, and whether the process of a name still runs."""

from __future__ import annotations

import os
import socket


def current() -> str:
    """Return the name of this process: its host, its id and its start time."""
    return f"{socket.gethostname()}/{os.getpid()}/{_start(os.getpid())}"


def has_ended(name: str) -> bool:
    """Return whether the process of this name is known to have ended; False if it ran on another host."""
    host, _, rest = name.partition("/")
    pid, _, began = rest.partition("/")
    return host == socket.gethostname() and pid.isdecimal() and _start(int(pid)) != began


def _start(pid: int) -> str:
    """Return the start time of the process, which distinguishes it from a later one with the same id; empty if it has
    ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return "" if os.path.isdir("/proc/self") else "unknown"
    return "" if fields[0] == "Z" else fields[19]
