"""Pause, resume and cancel jobs, from another process than the one that runs them; swap in the index on standby.

What is asked for is stored with the job; its process notices at its next batch. A job without a process, because it is
paused or its process died, is changed at once.
"""

from __future__ import annotations

from typing import Any

from django.db import router
from django.utils import timezone

from imagesim.database import retry_conflicts
from imagesim.indexing import jobs
from imagesim.indexing.rebuild import discard
from imagesim.models import Job

Status, Request = Job.Status, Job.Request


def actions(job: Job) -> list[str]:
    """Return what can be done with the job now: some of ``pause``, ``resume`` and ``cancel``, or ``swap`` and
    ``discard``."""
    if not job.slot or job.requested in (Request.CANCEL, Request.SWAP):
        return []
    if job.status == Status.STANDBY:
        return ["swap", "discard"]
    is_paused = job.status == Status.PAUSED or job.requested == Request.PAUSE
    return ["resume" if is_paused else "pause", "cancel"]


@retry_conflicts
def pause(job: Job) -> bool:
    """Have the job stop after its current batch and wait, with what it has done; return False if it has ended.

    Its slot stays taken: no other job of its kind starts until it is resumed or cancelled.
    """
    running = _unfinished(job).filter(status=Status.RUNNING)
    if not running.exclude(requested__in=(Request.CANCEL, Request.SWAP)).update(requested=Request.PAUSE):
        return False
    job.refresh_from_db()
    if jobs.abandoned(job):
        alone = running.filter(owner=job.owner, heartbeat_at=job.heartbeat_at)
        alone.update(status=Status.PAUSED, requested="", owner="")
    job.refresh_from_db()
    return True


@retry_conflicts
def resume(job: Job) -> bool:
    """Let the job continue; return False if it is not paused. A process has to be started that does so."""
    rows = _unfinished(job)
    resumed = rows.filter(status=Status.PAUSED).update(requested="", **_waiting()) or rows.filter(
        status=Status.RUNNING, requested=Request.PAUSE
    ).update(requested="")
    job.refresh_from_db()
    return bool(resumed)


@retry_conflicts
def swap(job: Job) -> bool:
    """Let the index on standby become the active one; return False if the job does not stand by.

    A process has to be started that does so: ``rebuild(unfinished=job.pk)``. If it dies, another one continues.
    """
    ready = _unfinished(job).filter(status=Status.STANDBY, requested="")
    swapped = ready.update(requested=Request.SWAP, finished_at=None, **_waiting())
    job.refresh_from_db()
    if swapped:
        jobs.standby_ended.send_robust(Job, target=job.target)
    return bool(swapped)


def _waiting() -> dict[str, Any]:
    """The values of a job that the next process takes over at once."""
    return {"status": Status.RUNNING, "owner": "", "heartbeat_at": timezone.now() - 2 * jobs.STALE_AFTER}


def cancel(job: Job) -> bool:
    """Have the job end after its current batch, without its result; return False if it has ended.

    The active index stays as it is. The one that a rebuild was filling, or that stands by, is deleted; what a reconcile
    found so far stays queued.
    """
    if not _unfinished(job).update(requested=Request.CANCEL):
        return False
    job.refresh_from_db()
    stood_by = job.status == Status.STANDBY
    if (job.status in (Status.PAUSED, Status.STANDBY) or jobs.abandoned(job)) and jobs.take_over(job):
        if stood_by:
            jobs.standby_ended.send_robust(Job, target=job.target)
        if job.kind == Job.Kind.REBUILD:
            discard(job)
        else:
            jobs.finish(job, cancelled=True)
    job.refresh_from_db()
    return True


def _unfinished(job: Job) -> Any:
    return Job.objects.using(router.db_for_write(Job)).filter(pk=job.pk, slot=job.kind)
