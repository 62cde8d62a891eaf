"""A circuit breaker: a service that fails repeatedly is not called for a while, and its failures are not all logged."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.http import HttpResponse

from imagesim.exceptions import CircuitOpen, ImagesimError, IndexUnavailable
from imagesim.runtime import runtime

logger = logging.getLogger("imagesim.circuit_breaker")

Response = TypeVar("Response", bound=HttpResponse)

REPEAT_SECONDS = 60.0
"""How often a persistent failure is logged."""

TRACEBACK_SECONDS = 3600.0
"""How often a persistent failure is logged with its traceback."""


def left_out(kind: Hashable, seconds: float | None = None) -> int | None:
    """Return None if a failure of this ``kind`` was logged in this process less than ``seconds`` ago, by default
    :data:`REPEAT_SECONDS`, else how many since then were not logged."""
    logged: dict[Hashable, tuple[float, int]] = runtime.get("repeated failures", dict)
    now, seconds = time.monotonic(), REPEAT_SECONDS if seconds is None else seconds
    since, count = logged.get(kind, (-math.inf, 0))
    recently = since > now - seconds
    logged[kind] = (since, count + 1) if recently else (now, 0)
    return None if recently else count


def log_repeated(logger: logging.Logger, level: int, kind: str, message: str, *args: object, **kwargs: Any) -> None:
    """Log the first failure of a ``kind``, then one per minute with the number since the last; log the others at DEBUG.
    The traceback is logged once per hour; otherwise only the error is.

    The template of the message is the same each time: error trackers group by it.
    """
    more = ""
    if (count := left_out((logger.name, kind))) is None:
        level, kwargs = logging.DEBUG, {}
    elif kwargs.get("exc_info") and left_out((logger.name, kind, "traceback"), TRACEBACK_SECONDS) is None:
        given = kwargs.pop("exc_info")
        error = sys.exc_info()[1] if given is True else given
        if not any(each is error for each in args):
            more = f": {error!r}"
    if count:
        more += f" (and {count} more since the last)"
    logger.log(level, message + "%s", *args, more, **kwargs)


def outage_of(error: ImagesimError) -> str:
    """Return the ``kind`` under which an error of the index is logged: the refusals of an open breaker belong to the
    outage that opened it."""
    return IndexUnavailable.code if isinstance(error, CircuitOpen) else error.code


def logged(response: Response) -> Response:
    """Mark a 503 response whose cause was logged: Django would log each one as an error, without the cause."""
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


class Breaker:
    """Closed while calls succeed. After ``threshold`` failures in a row it opens: every call is refused immediately
    with :class:`CircuitOpen`, so that a page does not wait for a time-out. After ``reset_seconds`` one call is let
    through; if it succeeds, the breaker closes; otherwise it stays open for the same time again.

    One per process and service; safe with threads.
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
        """Return whether to call now. While open, true once per ``reset_seconds``: that call tests the service."""
        with self._lock:
            if self._failures < self.threshold:
                return True
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + self.reset_seconds
            return True

    def require(self) -> None:
        """Raise if calls are refused; unlike ``allow``, this does not use up the call that tests the service.

        :raises CircuitOpen: while calls are refused.
        """
        if self.is_open and self._clock() < self._retry_at:
            raise self._refusal()

    def _refusal(self) -> CircuitOpen:
        return CircuitOpen(f"{self.name} failed and is not called for {self.reset_seconds:g} s: {self.reason}")

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
                    "%s failed (%s) and is not called for %g s",
                    self.name,
                    self.reason,
                    self.reset_seconds,
                    extra={"breaker": self.name, "state": "open", "reason": self.reason},
                )

    @contextmanager
    def guard(self, *errors: type[BaseException]) -> Iterator[None]:
        """Refuse immediately while open; count ``errors`` (IndexUnavailable unless given) as failures.

        Any other exception means that the service answered, and closes the breaker.

        :raises CircuitOpen: immediately while open, with the reason that opened it.
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
