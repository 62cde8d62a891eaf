"""Prometheus metrics, if ``prometheus_client`` is installed (``pip install "django-imagesim[metrics]"``).

Histograms of what a process measures, in prometheus_client's own registry, where the shop's exporter finds
them; with several processes, set ``PROMETHEUS_MULTIPROC_DIR``. Gauges are read from the database at each scrape: see
:mod:`imagesim.monitoring.exposition`.
"""

from __future__ import annotations

from prometheus_client import Histogram

from imagesim.monitoring import timing

SEARCH_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
EMBED_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

searches = Histogram(
    "imagesim_search_seconds",
    "Queries by kind and outcome, embedding and index included",
    ["kind", "outcome"],
    buckets=SEARCH_BUCKETS,
)
embeddings = Histogram(
    "imagesim_embed_seconds",
    "Embedding of a query, or of a batch of item images",
    ["kind", "outcome"],
    buckets=EMBED_BUCKETS,
)
HISTOGRAMS = {"search": searches, "embed": embeddings}


def connect() -> None:
    """Record the timed calls. May be called more than once."""
    if observe not in timing.observers:
        timing.observers.append(observe)


def observe(event: str, seconds: float, outcome: str) -> None:
    """Record one call; ``event`` is a name such as ``search.similar`` or ``embed.batch``."""
    family, _, kind = event.partition(".")
    if family in HISTOGRAMS:
        HISTOGRAMS[family].labels(kind, outcome).observe(seconds)
