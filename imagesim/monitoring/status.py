"""The state of the app for monitoring and the admin: how many items are in the shop, indexed, waiting and failed.

The views are cheap enough to be called every few seconds. ``live/`` only shows that the process responds: it is for
load balancers, because a shop continues to sell while its visual search is unavailable. ``health/`` shows the state of
each part. ``metrics/`` is what Prometheus scrapes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.db.models import Count, Max, Min, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from imagesim.circuit_breaker import log_repeated, logged
from imagesim.conf import get_settings
from imagesim.database import primary
from imagesim.embedders import get_embedder, get_embedder_of
from imagesim.exceptions import (
    ConfigurationError,
    ImagesimError,
    IndexMissing,
    ModelMismatch,
    SearchIndexError,
    mask_credentials,
)
from imagesim.indexes import BaseIndex, get_index
from imagesim.indexes.statistics import RecallReport
from imagesim.indexing import jobs
from imagesim.indexing.documents import Outcome, count_items
from imagesim.indexing.write_targets import outdated
from imagesim.metrics import histograms
from imagesim.models import Embedding, ItemState, Job
from imagesim.registry import registry

if TYPE_CHECKING:
    from prometheus_client.core import Metric


RECONCILE_AGE = timedelta(days=8)
"""A reconcile that runs once per week is enough for a very large catalogue."""

REFRESHED = timedelta(minutes=1)
"""After this time what was written is counted in the index, which Elasticsearch refreshes now and then."""


@dataclass
class IndexStatus:
    """The active index, or the one on standby. ``error`` is the reason why its state is unknown."""

    backend: str = ""
    name: str = ""
    backing_index: str = ""
    model: str = ""
    """The fingerprint of the model that made its vectors."""
    dims: int = 0
    entries: int | None = None
    outdated: str = ""
    """What has been declared differently since it was made, ``filters`` or ``text``; a rebuild applies it."""
    recall: RecallReport | None = None
    """The last measurement of approximate answers; None if all are exact."""
    error: str = ""


@dataclass
class JobStatus:
    """A rebuild or a reconcile, with its progress and the estimated time left."""

    kind: str
    status: str
    done: int
    total: int
    failed: int
    target: str
    started_at: datetime
    finished_at: datetime | None
    seconds_left: float | None
    report: dict[str, Any]
    error: str
    abandoned: bool = False
    """Whether its process no longer exists. The next job of its kind continues it."""
    requested: str = ""
    """``pause``, ``cancel`` or ``swap``, until its process notices."""


@dataclass
class Status:
    """``items`` belong in the index; ``pending`` changes wait; ``failed`` items have an error."""

    items: int = 0
    indexed: int = 0
    pending: int = 0
    failed: int = 0
    skipped: int = 0
    embeddings: int = 0
    mismatch: int = 0
    """By how many entries the index has more than was written to it, as after a restored database; negative where it
    has fewer, as after a restored index. 0 if that can be what waits or was synced just now, or is less than a
    hundredth. A reconcile repairs it."""
    unrecorded: int = 0
    """How many items no signal has reported, as of a model registered later or a bulk write. A reconcile finds them."""
    queue_age: float = 0.0
    """How long the oldest change that is due or retried has been waiting, in seconds."""
    queue_error: str = ""
    """Why the oldest change of those that were tried waits: its own error, or why the last sync was interrupted."""
    index: IndexStatus = field(default_factory=IndexStatus)
    standby: IndexStatus | None = None
    """A complete index beside the active one, which waits to be swapped in or discarded."""
    rebuild: JobStatus | None = None
    reconcile: JobStatus | None = None
    unreconciled_since: datetime | None = None
    """Since when no reconcile was completed, if that was longer than :data:`RECONCILE_AGE` ago."""


def get_status() -> Status:
    """Return the status, cheap enough to be polled every few seconds; does not raise if the index is unavailable."""
    index, now = _index_status(), timezone.now()
    labels = [items.label for items in registry]
    counts = primary(ItemState).aggregate(
        indexed_count=Count("pk", filter=Q(outcome=Outcome.INDEXED, model__in=labels)),
        pending_count=Count("pk", filter=Q(pending=True)),
        failed_count=Count("pk", filter=Q(outcome=Outcome.FAILED, pending=False, model__in=labels)),
        skipped_count=Count("pk", filter=Q(outcome=Outcome.SKIPPED, model__in=labels)),
        entries=Count("pk", filter=Q(outcome=Outcome.INDEXED)),
        kept=Count("pk", filter=Q(outcome=Outcome.FAILED)),  # with the entry of before, in part
        moving=Count("pk", filter=Q(pending=True) | Q(synced_at__gte=now - REFRESHED)),
        known=Count("pk", filter=Q(model__in=labels) & (Q(pending=True) | ~Q(outcome=Outcome.REMOVED))),
        oldest=Min("changed_at", filter=_waits(now)),
    )
    items, standby = count_items(), jobs.standby()
    return Status(
        items=max(items - counts["skipped_count"], 0),
        indexed=counts["indexed_count"],
        pending=counts["pending_count"],
        failed=counts["failed_count"],
        skipped=counts["skipped_count"],
        embeddings=Embedding.objects.count(),
        mismatch=_mismatch(index.entries, counts["entries"], counts["kept"], counts["moving"]),
        unrecorded=max(items - counts["known"], 0),
        queue_age=(now - counts["oldest"]).total_seconds() if counts["oldest"] else 0.0,
        queue_error=_queue_error() if counts["pending_count"] else "",
        index=index,
        standby=None if standby is None else _index_status(standby.target),
        rebuild=_latest(Job.Kind.REBUILD),
        reconcile=_latest(Job.Kind.RECONCILE),
        unreconciled_since=unreconciled_since(),
    )


def unreconciled_since() -> datetime | None:
    """Since when no reconcile was completed, which also deletes what is no longer used, if that was long ago."""
    done = Q(kind=Job.Kind.RECONCILE, status=Job.Status.DONE)
    found = Job.objects.aggregate(first=Min("started_at"), last=Max("finished_at", filter=done))
    since: datetime | None = found["last"] or found["first"]
    return since if since is not None and timezone.now() - since > RECONCILE_AGE else None


def _mismatch(found: int | None, entries: int, kept: int, moving: int) -> int:
    if found is None:
        return 0
    more, fewer = found - entries - kept - moving, entries - found - moving
    return more if more > entries / 100 else -fewer if fewer > entries / 100 else 0


def _waits(now: datetime) -> Q:
    """A change that is due, or that has failed and is retried: it waits all the same between two attempts."""
    return Q(pending=True) & (Q(not_before__lte=now) | Q(attempts__gt=0))


def _queue_error() -> str:
    waiting = primary(ItemState).filter(pending=True).exclude(error="").order_by("changed_at")
    return waiting.values_list("error", flat=True).first() or ""


def _index_status(standby: str = "") -> IndexStatus:
    """The status of the active index, or of the backing index on standby."""
    status = IndexStatus(backend=get_settings().INDEX.path)
    try:
        index = get_index()
        status.name = index.name
        backing_index = standby or index.active()
        if backing_index is None:
            status.error = "No index is active yet; run `manage.py imagesim_sync`."
            return status
        if not standby:
            index.meta()  # refuses an alias of several indexes, as every search does
        meta = index.meta(backing_index)
        status.backing_index, status.model, status.dims = backing_index, meta.fingerprint, meta.dims
        status.entries = index.count(backing_index=backing_index)
        status.outdated = outdated(meta)
        statistics = index.statistics(backing_index)
        status.recall = statistics.recall if statistics else None
    except (SearchIndexError, ConfigurationError) as error:
        status.error = mask_credentials(error)
    return status


def _latest(kind: Job.Kind) -> JobStatus | None:
    job = Job.objects.filter(kind=kind).order_by("-started_at", "-pk").first()
    if job is None:
        return None
    left = None
    if job.status == Job.Status.RUNNING and job.done:
        spent = (timezone.now() - job.started_at).total_seconds()
        left = spent / job.done * max(job.total - job.done, 0)
    abandoned = job.status == Job.Status.RUNNING and jobs.abandoned(job)
    same = {each.name: getattr(job, each.name) for each in fields(JobStatus) if hasattr(job, each.name)}
    return JobStatus(**same, seconds_left=left, abandoned=abandoned)


logger = logging.getLogger("imagesim.health")

State = Literal["ok", "degraded", "failing"]
SEVERITY: tuple[State, ...] = ("ok", "degraded", "failing")


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
@require_safe
def live_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@login_not_required
@never_cache
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
    """Yields one gauge per figure of the status. If the index is unavailable, ``imagesim_index_up`` is 0."""

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        status = get_status()
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
@require_safe
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Return all metrics in the text format of Prometheus."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    now = CollectorRegistry()
    now.register(_Gauges())
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(now)  # type: ignore[no-untyped-call]
        return HttpResponse(generate_latest(now), content_type=CONTENT_TYPE_LATEST)
    for histogram in histograms().values():
        now.register(histogram)
    return HttpResponse(generate_latest(now), content_type=CONTENT_TYPE_LATEST)


def _guarded(name: str, check: Callable[[], tuple[State, str]]) -> Check:
    try:
        return Check(name, *check())
    except (ImagesimError, DatabaseError) as error:
        return Check(name, "failing", str(error))
    except Exception as error:
        logger.exception("The check of the %s failed", name)
        return Check(name, "failing", type(error).__name__)


def _database() -> tuple[State, str]:
    ItemState.objects.exists()
    return "ok", ""


def _queue() -> tuple[State, str]:
    now = timezone.now()
    oldest = ItemState.objects.filter(_waits(now)).aggregate(oldest=Min("changed_at"))["oldest"]
    age = (now - oldest).total_seconds() if oldest else 0.0
    if age > get_settings().HEALTH_QUEUE_SECONDS:
        error = _queue_error()
        return "degraded", f"The oldest change has been waiting for {age:.0f} s" + (f": {error}" if error else ".")
    return "ok", ""


def _index() -> tuple[State, str]:
    index = get_index()
    index.ping()
    try:
        meta = index.meta()
        get_embedder_of(meta.fingerprint)
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
    """Whether this process could use its models when it last needed them."""
    settings = get_settings()
    failures = [get_embedder(each).last_failure() for each in (settings.EMBEDDER, *settings.PREVIOUS_EMBEDDERS)]
    return next((("failing", failure) for failure in failures if failure), ("ok", ""))


def _standby(index: BaseIndex) -> tuple[State, str]:
    """Whether the index on standby, if there is one, is there and can be written to."""
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
    try:  # a model of users of the shop's own need have neither
        return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))
    except Exception:  # the session, wherever it is stored, cannot be read either
        return False
