"""The state of the app for monitoring and the admin: how many items are in the shop, indexed, waiting and failed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q
from django.utils import timezone

from imagesim.conf import get_settings
from imagesim.database import primary
from imagesim.exceptions import ConfigurationError, SearchIndexError, mask_credentials
from imagesim.indexes import get_index
from imagesim.indexes.projections import get_projection
from imagesim.indexes.statistics import RecallReport
from imagesim.indexing import jobs
from imagesim.indexing.documents import Outcome, count_items
from imagesim.indexing.write_targets import outdated
from imagesim.items.registry import registry
from imagesim.models import Embedding, ItemState, Job

RECONCILE_AGE = timedelta(days=8)
"""When a reconcile is overdue: once per week is enough for a very large catalogue."""

REFRESHED = timedelta(minutes=1)
"""After this time, written entries are counted in the index, which Elasticsearch refreshes only now and then."""


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
    """How many more entries the index has than were written to it, as after a restored database; negative if it has
    fewer, as after a restored index. 0 if waiting or just synced changes can explain it, or if it is less than a
    hundredth. A reconcile repairs it."""
    unrecorded: int = 0
    """How many items no signal has reported, such as those of a model registered later or of a bulk write. A reconcile
    finds them."""
    queue_age: float = 0.0
    """How long the oldest change that is due or retried has been waiting, in seconds."""
    queue_error: str = ""
    """Why the oldest change that was tried still waits: its own error, or why the last sync was interrupted."""
    index: IndexStatus = field(default_factory=IndexStatus)
    standby: IndexStatus | None = None
    """A complete index alongside the active one, which waits to be swapped in or discarded."""
    rebuild: JobStatus | None = None
    reconcile: JobStatus | None = None
    unreconciled_since: datetime | None = None
    """The time since which no reconcile has completed, if it was longer than :data:`RECONCILE_AGE` ago."""


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
        kept=Count("pk", filter=Q(outcome=Outcome.FAILED)),  # some of them with their former entry
        moving=Count("pk", filter=Q(pending=True) | Q(synced_at__gte=now - REFRESHED)),
        known=Count("pk", filter=Q(model__in=labels) & (Q(pending=True) | ~Q(outcome=Outcome.REMOVED))),
        oldest=Min("changed_at", filter=waits(now)),
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
        queue_error=queue_error() if counts["pending_count"] else "",
        index=index,
        standby=None if standby is None else _index_status(standby.target),
        rebuild=_latest(Job.Kind.REBUILD),
        reconcile=_latest(Job.Kind.RECONCILE),
        unreconciled_since=unreconciled_since(),
    )


def unreconciled_since() -> datetime | None:
    """Return the time since which no reconcile, which also deletes what is no longer used, has completed, if it was
    long ago."""
    done = Q(kind=Job.Kind.RECONCILE, status=Job.Status.DONE)
    found = Job.objects.aggregate(first=Min("started_at"), last=Max("finished_at", filter=done))
    since: datetime | None = found["last"] or found["first"]
    return since if since is not None and timezone.now() - since > RECONCILE_AGE else None


def _mismatch(found: int | None, entries: int, kept: int, moving: int) -> int:
    if found is None:
        return 0
    more, fewer = found - entries - kept - moving, entries - found - moving
    return more if more > entries / 100 else -fewer if fewer > entries / 100 else 0


def waits(now: datetime) -> Q:
    """Return the condition for a change that is due, or that has failed and is retried: between two attempts it still
    waits."""
    return Q(pending__in=[True]) & (Q(not_before__lte=now) | Q(attempts__gt=0))  # see leases.due()


def queue_error() -> str:
    waiting = primary(ItemState).filter(pending=True).exclude(error="").order_by("changed_at")
    return waiting.values_list("error", flat=True).first() or ""


def _index_status(standby: str = "") -> IndexStatus:
    """Return the status of the active index, or of the backing index on standby."""
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
        get_projection(meta.projection)
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
    abandoned = jobs.status_of(job) != job.status
    if job.status == Job.Status.RUNNING and job.done and not abandoned:
        spent = (timezone.now() - job.started_at).total_seconds()
        left = spent / job.done * max(job.total - job.done, 0)
    same = {each.name: getattr(job, each.name) for each in fields(JobStatus) if hasattr(job, each.name)}
    return JobStatus(**same, seconds_left=left, abandoned=abandoned)
