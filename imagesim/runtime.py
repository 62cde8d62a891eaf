"""What this process keeps between calls: backends, circuit breakers, caches, connections.

A module-level cache cannot be cleared by one that does not know it, and a child process inherits it with its
parent's sockets and locks. What is kept on :data:`runtime` instead is made anew in a child, and dropped by
:meth:`Runtime.reset` when settings change and between tests.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Runtime:
    """One value per key, made on first use; safe to use from several threads and after a fork."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._values: dict[Hashable, Any] = {}
        self._inherited: list[dict[Hashable, Any]] = []

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of ``key`` in this process, made by ``make`` if there is none.

        Other threads that ask for any key wait meanwhile, so that no model is loaded twice. Whatever ``make``
        raises is raised here, and the next call tries again.
        """
        with self._lock:
            if self._pid != os.getpid():
                # Not dropped: a destructor could close what the parent still uses.
                self._inherited.append(self._values)
                self._values, self._pid = {}, os.getpid()
            if key not in self._values:
                self._values[key] = make()
            value: T = self._values[key]
        return value

    def reset(self, keep: Callable[[Any], bool] = lambda value: False) -> None:
        """Drop every value but those that ``keep`` is true of; a value with a method ``close`` is closed."""
        with self._lock:
            dropped = {key: value for key, value in self._values.items() if not keep(value)}
            for key in dropped:
                del self._values[key]
        for value in dropped.values():
            if self._pid == os.getpid() and callable(close := getattr(value, "close", None)):
                close()

    def after_fork(self) -> None:
        """In a child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()


runtime = Runtime()
os.register_at_fork(after_in_child=runtime.after_fork)
