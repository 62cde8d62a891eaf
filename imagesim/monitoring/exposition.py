"""The view that Prometheus scrapes: measurements of the processes, and gauges read from the database."""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from imagesim.monitoring.metrics import HISTOGRAMS
from imagesim.monitoring.status import get_status


class StatusCollector(Collector):
    """Yield one gauge per figure of the status. If the index is unavailable, ``imagesim_index_up`` is 0."""

    def collect(self) -> Iterator[Metric]:
        status = get_status()
        yield GaugeMetricFamily("imagesim_items", "Items that belong in the index", status.items)
        yield GaugeMetricFamily("imagesim_items_indexed", "Items in the index", status.indexed)
        yield GaugeMetricFamily("imagesim_items_failed", "Items that failed with an error", status.failed)
        yield GaugeMetricFamily("imagesim_items_skipped", "Items without images, or not to be indexed", status.skipped)
        yield GaugeMetricFamily("imagesim_changes_pending", "Changes that wait to be synced", status.pending)
        yield GaugeMetricFamily("imagesim_queue_age_seconds", "Age of the oldest change that is due", status.queue_age)
        yield GaugeMetricFamily("imagesim_embeddings", "Embeddings in the database", status.embeddings)
        yield GaugeMetricFamily("imagesim_index_up", "Whether the active index answers", int(not status.index.error))
        if status.index.entries is not None:
            yield GaugeMetricFamily("imagesim_index_entries", "Entries of the active index", status.index.entries)


@never_cache
@require_safe
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Return all metrics in the text format of Prometheus."""
    now = CollectorRegistry()
    now.register(StatusCollector())
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(now)  # type: ignore[no-untyped-call]
        return HttpResponse(generate_latest(now), content_type=CONTENT_TYPE_LATEST)
    for histogram in HISTOGRAMS.values():
        now.register(histogram)
    return HttpResponse(generate_latest(now), content_type=CONTENT_TYPE_LATEST)
