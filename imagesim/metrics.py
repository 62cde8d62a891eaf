"""Timing of calls, for the log and for observers such as the Prometheus metrics.

If ``prometheus_client`` is installed (``pip install "django-imagesim[metrics]"``), histograms are kept in its default
registry, where the shop's exporter finds them; with several processes, set ``PROMETHEUS_MULTIPROC_DIR``. Gauges are
read from the database at each scrape: see :mod:`imagesim.monitoring.health`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from imagesim.circuit_breaker import log_repeated
from imagesim.exceptions import ImagesimError

if TYPE_CHECKING:
    from prometheus_client import Histogram

Observer = Callable[[str, float, str], None]

logger = logging.getLogger("imagesim.timing")
observers: list[Observer] = []
"""Called with the event, its duration in seconds and its outcome: ``"ok"``, the ``code`` of an error, or
``"error"``. The failure of an observer is logged; it does not fail the search."""


@contextmanager
def timed(event: str) -> Iterator[None]:
    """Report the duration and outcome of a block, or as a decorator of every call of a function, as ``event``."""
    started = time.perf_counter()
    outcome = "error"
    try:
        yield
        outcome = "ok"
    except ImagesimError as error:
        outcome = error.code
        raise
    finally:
        seconds = time.perf_counter() - started
        for observer in observers:
            try:
                observer(event, seconds, outcome)
            except Exception:  # such as prometheus_client's, if its folder is full or gone
                log_repeated(logger, logging.ERROR, "observer", "A time could not be recorded", exc_info=True)
        extra = {"event_name": event, "seconds": seconds, "outcome": outcome}
        logger.debug("%s took %.1f ms: %s", event, seconds * 1000, outcome, extra=extra)


SEARCH_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
EMBED_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


@cache
def histograms() -> dict[str, Histogram]:
    """Return the histograms of this process, by the family of their events."""
    from prometheus_client import Histogram

    labels = ["kind", "outcome"]
    searched = "Queries by kind and outcome, embedding and index included"
    embedded = "Embedding of a query, or of a batch of item images"
    return {
        "search": Histogram("imagesim_search_seconds", searched, labels, buckets=SEARCH_BUCKETS),
        "embed": Histogram("imagesim_embed_seconds", embedded, labels, buckets=EMBED_BUCKETS),
    }


def connect() -> None:
    """Record the timed calls in Prometheus's histograms. May be called more than once."""
    histograms()
    if observe not in observers:
        observers.append(observe)


def observe(event: str, seconds: float, outcome: str) -> None:
    """Record one call; ``event`` is a name such as ``search.similar`` or ``embed.batch``."""
    family, _, kind = event.partition(".")
    if family in histograms():
        histograms()[family].labels(kind, outcome).observe(seconds)
