"""The state of the write side: how many items are in the shop, indexed, waiting and failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from imagesim.conf import get_settings
from imagesim.exceptions import ConfigurationError, IndexMissing, IndexUnavailable, mask_credentials
from imagesim.indexes import get_index
from imagesim.indexing import jobs
from imagesim.indexing.documents import Outcome, queryset_of
from imagesim.indexing.outbox import state_aliases
from imagesim.models import Embedding, ItemState, Job
from imagesim.registry import registry


@dataclass
class IndexStatus:
    """The active index. ``error`` is the reason why nothing is known about it."""

    backend: str = ""
    name: str = ""
    backing_index: str = ""
    model: str = ""
    """The fingerprint of the model that made its vectors."""
    dims: int = 0
    entries: int | None = None
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
    """Whether its process is gone. The next job of its kind continues it."""


@dataclass
class Status:
    """``items`` is the number that belong in the index; ``pending`` changes wait; ``failed`` items have an error."""

    items: int = 0
    indexed: int = 0
    pending: int = 0
    failed: int = 0
    skipped: int = 0
    embeddings: int = 0
    queue_age: float = 0.0
    """Seconds that the oldest due change has been waiting."""
    index: IndexStatus = field(default_factory=IndexStatus)
    rebuild: JobStatus | None = None
    reconcile: JobStatus | None = None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, except for datetimes."""
        return asdict(self)


def get_status() -> Status:
    """Cheap enough for a page that refreshes every few seconds; does not raise if the index is unavailable."""
    status = Status(embeddings=Embedding.objects.count(), index=_index_status())
    now = timezone.now()
    oldest: list[datetime] = []
    for alias in state_aliases():
        labels = [items.label for items in registry]
        counts = ItemState.objects.using(alias).aggregate(
            indexed_count=Count("pk", filter=Q(outcome=Outcome.INDEXED, model__in=labels)),
            pending_count=Count("pk", filter=Q(pending=True)),
            failed_count=Count("pk", filter=Q(outcome=Outcome.FAILED, pending=False, model__in=labels)),
            skipped_count=Count("pk", filter=Q(outcome=Outcome.SKIPPED, model__in=labels)),
            oldest=Min("changed_at", filter=Q(pending=True, not_before__lte=now)),
        )
        for name in ("indexed", "pending", "failed", "skipped"):
            setattr(status, name, getattr(status, name) + counts[f"{name}_count"])
        if counts["oldest"]:
            oldest.append(counts["oldest"])
        status.items += sum(queryset_of(items, alias).count() for items in registry)
    status.items = max(status.items - status.skipped, 0)
    status.queue_age = (now - min(oldest)).total_seconds() if oldest else 0.0
    status.rebuild = _latest(Job.Kind.REBUILD)
    status.reconcile = _latest(Job.Kind.RECONCILE)
    return status


def _index_status() -> IndexStatus:
    status = IndexStatus(backend=get_settings().INDEX.path)
    try:
        index = get_index()
        status.name = index.name
        backing_index = index.active()
        if backing_index is None:
            status.error = "No index is active yet; run `manage.py imagesim_sync`."
            return status
        meta = index.meta(backing_index)
        status.backing_index, status.model, status.dims = backing_index, meta.fingerprint, meta.dims
        status.entries = index.count(backing_index=backing_index)
    except (IndexUnavailable, IndexMissing, ConfigurationError) as error:
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
    return JobStatus(
        kind=job.kind,
        status=job.status,
        done=job.done,
        total=job.total,
        failed=job.failed,
        target=job.target,
        started_at=job.started_at,
        finished_at=job.finished_at,
        seconds_left=left,
        report=job.report,
        error=job.error,
        abandoned=job.status == Job.Status.RUNNING and jobs.abandoned(job),
    )
