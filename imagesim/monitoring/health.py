"""The health of each part, and the views for monitors.

They are cheap enough to be called every few seconds. ``live/`` only shows that the process responds: it is for load
balancers, because a shop continues to sell while its visual search is unavailable. ``health/`` shows the state of each
part. ``metrics/`` is what Prometheus scrapes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseError
from django.db.models import Min
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from imagesim.circuit_breaker import log_repeated, logged
from imagesim.conf import get_settings
from imagesim.database import without_transaction
from imagesim.embedders import get_embedder, get_embedder_of
from imagesim.exceptions import ImagesimError, IndexMissing, ModelMismatch, with_migrate_hint
from imagesim.indexes import BaseIndex, get_index
from imagesim.indexes.projections import get_projection
from imagesim.indexing import jobs
from imagesim.indexing.write_targets import outdated
from imagesim.metrics import histograms
from imagesim.models import ItemState
from imagesim.monitoring.status import get_status, queue_error, waits

if TYPE_CHECKING:
    from prometheus_client.core import Metric

logger = logging.getLogger("imagesim.health")

State = Literal["ok", "degraded", "failing"]
SEVERITY: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Check:
    """The state of one part. ``degraded``: it works but needs attention; ``failing``: it does not work."""

    name: str
    state: State
    detail: str = ""


def get_health() -> list[Check]:
    """Return the checks of all parts, in a fixed order. Never raises."""
    checks = {"database": _database, "queue": _queue, "index": _index, "model": _model}
    return [_guarded(name, check) for name, check in checks.items()]


def worst(checks: list[Check]) -> State:
    return max((check.state for check in checks), key=SEVERITY.index)


@login_not_required  # monitors have no account
@never_cache
@without_transaction
@require_safe
def live_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@login_not_required
@never_cache
@without_transaction
@require_safe
def health_view(request: HttpRequest) -> JsonResponse:
    """Return 200 while all parts work, even if degraded; 503 if one fails. Only staff see the details."""
    checks = get_health()
    status = worst(checks)
    content: dict[str, object] = {"status": status, "checks": {check.name: check.state for check in checks}}
    if _is_staff(request):
        content["details"] = {check.name: check.detail for check in checks if check.detail}
    for check in checks:
        if check.state != "ok":
            kind = f"{check.name} {check.state}"
            log_repeated(logger, logging.WARNING, kind, "The %s is %s: %s", check.name, check.state, check.detail)
    return logged(JsonResponse(content, status=503 if status == "failing" else 200))


class _Gauges:
    """Yields one gauge per figure of the status. If the index is unavailable, ``imagesim_index_up`` is 0; if the
    database is, ``imagesim_database_up`` is 0 and there are no others."""

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        up = ("imagesim_database_up", "Whether the database answers")
        try:
            status = get_status()
        except DatabaseError as error:  # what this process has measured is shown all the same
            reason = with_migrate_hint(error)
            log_repeated(logger, logging.WARNING, "metrics", "The status is not known: %s", reason)
            yield GaugeMetricFamily(*up, 0)
            return
        yield GaugeMetricFamily(*up, 1)
        index, recall = status.index, status.index.recall
        for name, text, value in (
            ("imagesim_items", "Items that belong in the index", status.items),
            ("imagesim_items_indexed", "Items in the index", status.indexed),
            ("imagesim_items_failed", "Items that failed with an error", status.failed),
            ("imagesim_items_skipped", "Items without images, or not to be indexed", status.skipped),
            ("imagesim_changes_pending", "Changes that wait to be synced", status.pending),
            ("imagesim_queue_age_seconds", "Age of the oldest change that is due or retried", status.queue_age),
            ("imagesim_embeddings", "Embeddings in the database", status.embeddings),
            ("imagesim_index_up", "Whether the active index answers", int(not index.error)),
            ("imagesim_index_entries", "Entries of the active index", index.entries),
            ("imagesim_standby_entries", "Entries of the index on standby", getattr(status.standby, "entries", None)),
            ("imagesim_index_recall", "Least recall@10 of the last measurement", getattr(recall, "recall", None)),
            ("imagesim_index_recall_target", "The recall that is asked for", getattr(recall, "target", None)),
            ("imagesim_index_recall_before", "What it was when last measured", getattr(recall, "before", None)),
            (
                "imagesim_index_candidates",
                "Candidates of a search without filters; 0: exact",
                getattr(recall, "candidates", None),
            ),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, text, value)


@never_cache
@without_transaction
@require_safe
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Return all metrics in the text format of Prometheus."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    now = CollectorRegistry()
    now.register(_Gauges())
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(now)  # type: ignore[no-untyped-call]
    else:
        for histogram in histograms().values():
            now.register(histogram)
    return HttpResponse(generate_latest(now), content_type=CONTENT_TYPE_LATEST)


def _guarded(name: str, check: Callable[[], tuple[State, str]]) -> Check:
    try:
        return Check(name, *check())
    except ImagesimError as error:
        return Check(name, "failing", str(error))
    except DatabaseError as error:
        return Check(name, "failing", with_migrate_hint(error))
    except Exception as error:
        log_repeated(logger, logging.ERROR, name, "The check of the %s failed", name, exc_info=True)
        return Check(name, "failing", type(error).__name__)


def _database() -> tuple[State, str]:
    ItemState.objects.exists()
    return "ok", ""


def _queue() -> tuple[State, str]:
    now = timezone.now()
    oldest = ItemState.objects.filter(waits(now)).aggregate(oldest=Min("changed_at"))["oldest"]
    age = (now - oldest).total_seconds() if oldest else 0.0
    if age > get_settings().HEALTH_QUEUE_SECONDS:
        error = queue_error()
        return "degraded", f"The oldest change has been waiting for {age:.0f} s" + (f": {error}" if error else ".")
    return "ok", ""


def _index() -> tuple[State, str]:
    index = get_index()
    index.ping()
    try:
        meta = index.meta()
        get_embedder_of(meta.fingerprint)
        get_projection(meta.projection)
        statistics = index.statistics()
    except IndexMissing as error:
        return "degraded", str(error)
    except ModelMismatch as error:  # photos are refused, and changes wait
        return "failing", str(error)
    declared = outdated(meta)
    if declared:
        return "degraded", f"The index was made with other {declared}: run `manage.py imagesim_rebuild`."
    recall = statistics.recall if statistics else None
    if recall and not recall.kept:
        return "degraded", f"The recall is {recall.recall:.3f}, not {recall.target:g}: raise num_candidates of INDEX."
    return _standby(index)


def _model() -> tuple[State, str]:
    """Return whether this process could use its models when it last needed them."""
    settings = get_settings()
    failures = [get_embedder(each).last_failure() for each in (settings.EMBEDDER, *settings.PREVIOUS_EMBEDDERS)]
    return next((("failing", failure) for failure in failures if failure), ("ok", ""))


def _standby(index: BaseIndex) -> tuple[State, str]:
    """Return whether the index on standby, if there is one, exists and can be written to."""
    job = jobs.standby()
    if job is None:
        return "ok", ""
    if job.target not in index.backing_indexes():
        return "degraded", f"The index {job.target} on standby is gone: run `manage.py imagesim_rebuild --discard`."
    try:
        get_embedder_of(index.meta(job.target).fingerprint)
    except ModelMismatch as error:
        return "degraded", f"The index {job.target} on standby: {error}"
    return "ok", ""


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    try:  # a custom user model need not have either
        return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))
    except Exception:  # the session, wherever it is stored, cannot be read either
        return False
