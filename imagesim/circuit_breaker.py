"""A circuit breaker: what just failed several times is not asked again for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagesim.exceptions import IndexUnavailable

logger = logging.getLogger("imagesim.circuit_breaker")


class Breaker:
    """Closed while all is well. After ``threshold`` failures in a row it opens: every call is refused at once
    with :class:`IndexUnavailable`, so that a page does not wait for a time-out. After ``reset_seconds`` one call is
    let through; if it succeeds the breaker closes, else it stays open as long again.

    One a process and purpose; safe with threads.
    """

    def __init__(
        self,
        name: str,
        *,
        threshold: int = 3,
        reset_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.threshold = threshold
        self.reset_seconds = reset_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at = 0.0
        self.reason = ""

    @property
    def is_open(self) -> bool:
        return self._failures >= self.threshold

    def allow(self) -> bool:
        """Whether to try now. While open, true once per ``reset_seconds``: the caller is the one who finds out."""
        with self._lock:
            if self._failures < self.threshold:
                return True
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + self.reset_seconds
            return True

    def require(self) -> None:
        """:raises IndexUnavailable: while it makes no sense to try. Takes nobody's turn to find out."""
        if self.is_open and self._clock() < self._retry_at:
            raise self._refusal()

    def _refusal(self) -> IndexUnavailable:
        return IndexUnavailable(f"{self.name} is left alone for a moment after it failed: {self.reason}")

    def succeeded(self) -> None:
        with self._lock:
            if self._failures >= self.threshold:
                logger.info("%s answers again", self.name, extra={"breaker": self.name, "state": "closed"})
            self._failures = 0
            self.reason = ""

    def failed(self, reason: object) -> None:
        with self._lock:
            self._failures += 1
            self.reason = str(reason)
            self._retry_at = self._clock() + self.reset_seconds
            if self._failures == self.threshold:
                logger.warning(
                    "%s fails (%s); not asked again for %g s",
                    self.name,
                    self.reason,
                    self.reset_seconds,
                    extra={"breaker": self.name, "state": "open", "reason": self.reason},
                )

    @contextmanager
    def guard(self, *errors: type[BaseException]) -> Iterator[None]:
        """Refuse at once while open; count ``errors`` (IndexUnavailable unless given) as failures.

        Any other exception says that the other side answered, and closes the breaker.

        :raises IndexUnavailable: at once while open, with the reason that opened it.
        """
        if not self.allow():
            raise self._refusal()
        try:
            yield
        except Exception as error:
            if isinstance(error, errors or IndexUnavailable):
                self.failed(error)
            else:
                self.succeeded()
            raise
        self.succeeded()
