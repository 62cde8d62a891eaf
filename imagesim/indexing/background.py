"""Where no broker is configured: one daemon thread a server process, which does what Celery would."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections, connections

logger = logging.getLogger("imagesim.indexing.sync")

LOOK_EVERY = 5.0
"""Seconds between two looks for what other processes wrote."""
STOP_SECONDS = 5.0


class Background:
    """The thread starts with the first request, so only in servers: a command that saves leaves the work to them.

    It does what it is told to, and every few seconds ``idle`` by itself. It closes its own database connections when
    there is nothing to do, and ends with the process.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._todo: deque[tuple[Callable[..., Any], dict[str, Any]]] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @property
    def is_running(self) -> bool:
        return self._pid == os.getpid() and self._thread is not None and self._thread.is_alive()

    def put(self, task: Callable[..., Any], arguments: dict[str, Any]) -> bool:
        """Have it done soon; False in a process that is no server, where it is left to one."""
        if not self.is_running:
            return False
        job = (task, arguments)
        if job not in self._todo:
            self._todo.append(job)
        self._wake.set()
        return True

    def start(self, idle: Callable[[], Any]) -> None:
        with self._lock:
            if self.is_running or self._stop.is_set():
                return
            self._pid = os.getpid()
            self._todo.clear()
            self._wake = threading.Event()
            self._thread = threading.Thread(target=self._run, args=[idle], name="imagesim-sync", daemon=True)
            self._thread.start()
        logger.warning(
            "No message broker is configured: changes are synced by a background thread of this process. "
            "Set up Celery for a shop of any size."
        )

    def stop(self) -> None:
        """Let the batch at hand end, so that the interpreter does not go away under it."""
        self._stop.set()
        self._wake.set()
        if self.is_running and self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self, idle: Callable[[], Any]) -> None:
        while not self._stop.is_set():
            task, arguments = self._todo.popleft() if self._todo else (idle, {})
            close_old_connections()
            try:
                task(**arguments)
            except Exception:  # the database is locked or gone, a model cannot be loaded: look again later
                logger.exception("the background sync failed; it goes on")
            if not self._todo:
                connections.close_all()
                self._wake.wait(LOOK_EVERY)
                self._wake.clear()


background = Background()
atexit.register(background.stop)
