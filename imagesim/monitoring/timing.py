"""Timing of calls, for the log and for observers such as the Prometheus metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from imagesim.exceptions import ImagesimError

P = ParamSpec("P")
R = TypeVar("R")
Observer = Callable[[str, float, str], None]

logger = logging.getLogger("imagesim.timing")
observers: list[Observer] = []
"""Called with the event, its duration in seconds and its outcome: ``"ok"``, the ``code`` of an error, or
``"error"``."""


def timed(event: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function: report every call as ``event``."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            started = time.perf_counter()
            outcome = "error"
            try:
                result = function(*args, **kwargs)
                outcome = "ok"
            except ImagesimError as error:
                outcome = error.code
                raise
            finally:
                _report(event, time.perf_counter() - started, outcome)
            return result

        return call

    return decorate


def _report(event: str, seconds: float, outcome: str) -> None:
    for observer in observers:
        observer(event, seconds, outcome)
    logger.debug(
        "%s took %.1f ms: %s",
        event,
        seconds * 1000,
        outcome,
        extra={"event": event, "seconds": seconds, "outcome": outcome},
    )
