"""The process: its processors and memory, and its state between calls (backends, breakers, caches, connections).

A module-level cache cannot be cleared by code that does not know it, and a child process inherits it with its parent's
sockets and locks. Values kept on :data:`runtime` are created again in a child, and dropped by
:meth:`Runtime.reset` when settings change and between tests.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

try:
    import resource
except ImportError:  # not on every platform
    resource = None  # type: ignore[assignment]

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_MEMORY = ("memory", "memory.max", "memory.limit_in_bytes")


def threads() -> int:
    """Return the number of useful threads for processor-bound work: the processors that this process can use, by its
    affinity and by the quota of its container or systemd unit. With more threads, all of them pause when the quota is
    used up."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        usable = os.cpu_count() or 1
    return min([usable, *_quotas()])


def _quotas() -> Iterator[int]:
    """Yield how many processors' time this process's control group, and each group around it, may use."""
    for path in _group_files("cpu", "cpu.max", "cpu.cfs_quota_us"):
        words = _read(path).split()
        if path.name == "cpu.cfs_quota_us":  # the period is in a separate file
            words.append(_read(path.with_name("cpu.cfs_period_us")))
        if len(words) == 2 and all(word.isdecimal() for word in words):  # "max" or "-1": no quota
            yield max(1, math.ceil(int(words[0]) / int(words[1])))


def memory_bytes() -> int:
    """Return the memory limit of this process in bytes: the minimum of the machine's memory, the limit of its container
    or systemd unit, and its own limit."""
    found = [int(text) for path in _group_files(*_MEMORY) if (text := _read(path)).isdecimal()]  # "max": no limit
    for name in ("RLIMIT_AS", "RLIMIT_DATA"):
        with contextlib.suppress(AttributeError):  # as above
            limit = resource.getrlimit(getattr(resource, name))[0]
            if limit != resource.RLIM_INFINITY:
                found.append(limit)
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not on every platform
        found.append(4 * 1024**3)
    return min(found)


def _group_files(controller: str, newer: str, older: str) -> Iterator[Path]:
    """Yield the files that hold a limit of this process's control group and of the groups around it: ``newer`` is the
    name of the file in version 2 of control groups, ``older`` that in version 1.

    In a container only the last may exist: its own group is then the outermost that it sees.
    """
    for line in _read(_OWN_GROUPS).splitlines():
        _number, controllers, group = line.split(":", 2)
        if not controllers:
            folder, name = _GROUPS, newer
        elif controller in controllers.split(","):
            folder, name = _GROUPS / controller, older
        else:
            continue
        for path in (own := PurePosixPath(group), *own.parents):
            yield folder / path.relative_to("/") / name


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""


@contextlib.contextmanager
def called_after(seconds: float, function: Callable[[], object]) -> Iterator[None]:
    """Call ``function`` in a thread if the block takes longer than ``seconds``."""
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def interpreter() -> str:
    """Return the path of this environment's Python.

    In a server that embeds Python, such as uWSGI, ``sys.executable`` is the server.
    """
    if sys.executable and Path(sys.executable).name.startswith(("python", "pypy")):
        return sys.executable
    places = (Path(sys.prefix, *place) for place in (("bin", "python3"), ("Scripts", "python.exe"), ("python.exe",)))
    return next((str(place) for place in places if place.is_file()), sys.executable)


T = TypeVar("T")


class Runtime:
    """One value per key, created on first use; thread-safe and fork-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._values: dict[Hashable, Any] = {}
        self._inherited: list[dict[Hashable, Any]] = []

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of ``key`` in this process, created by ``make`` if there is none.

        In the meantime, other threads that ask for any key wait, so that no model is loaded twice. An exception of
        ``make`` is raised here, and the next call tries again.
        """
        with self._lock:
            if self._pid != os.getpid():
                # Not dropped: a destructor could close a resource that the parent still uses.
                self._inherited.append(self._values)
                self._values, self._pid = {}, os.getpid()
            if key not in self._values:
                self._values[key] = make()
            value: T = self._values[key]
        return value

    def reset(self, keep: Callable[[Any], bool] = lambda value: False) -> None:
        """Drop every value except those for which ``keep`` is true, calling ``close`` on those that have it."""
        with self._lock:
            dropped = {key: value for key, value in self._values.items() if not keep(value)}
            for key in dropped:
                del self._values[key]
        for value in dropped.values():
            if self._pid == os.getpid() and callable(close := getattr(value, "close", None)):
                close()

    def after_fork(self) -> None:
        """Replace the lock in a child process: another thread of the parent may have held it."""
        self._lock = threading.RLock()


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentlyUsed(Generic[K, V]):
    """The ``size`` values that were used most recently, by key; thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Iterable[K]) -> dict[K, V]:
        """Return the known values of these keys."""
        with self._lock:
            found = {key: self._values[key] for key in keys if key in self._values}
            for key in found:
                self._values.move_to_end(key)
        return found

    def complete(self, keys: Collection[K], make: Callable[[list[K]], Mapping[K, V]]) -> dict[K, V]:
        """Return the values of these keys; ``make`` is given the unknown keys, if there are any, and may omit some."""
        found = self.get(keys)
        if new := [key for key in dict.fromkeys(keys) if key not in found]:
            made = make(new)
            self.set(made)
            found |= made
        return found

    def set(self, values: Mapping[K, V]) -> None:
        with self._lock:
            for key, value in values.items():
                self._values[key] = value
                self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def forget(self, key: K) -> None:
        with self._lock:
            self._values.pop(key, None)


runtime = Runtime()
if hasattr(os, "register_at_fork"):  # not on every platform
    os.register_at_fork(after_in_child=runtime.after_fork)
