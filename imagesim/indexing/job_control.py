"""Pause, resume and cancel jobs, from another process than the one that runs them.

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
    """Return what can be done with the job now: some of ``pause``, ``resume`` and ``cancel``."""
    if not job.slot or job.requested == Request.CANCEL:
        return []
    is_paused = job.status == Status.PAUSED or job.requested == Request.PAUSE
    return ["resume" if is_paused else "pause", "cancel"]


@retry_conflicts
@retry_conflicts
def pause(job: Job) -> bool:
    """Have the job stop after its current batch and wait, with what it has done; return False if it has ended.

    Its slot stays taken: no other job of its kind starts until it is resumed or cancelled.
    """
    running = _unfinished(job).filter(status=Status.RUNNING)
    if not running.exclude(requested=Request.CANCEL).update(requested=Request.PAUSE):
        return False
    job.refresh_from_db()
    if jobs.abandoned(job):
        alone = running.filter(owner=job.owner, heartbeat_at=job.heartbeat_at)
        alone.update(status=Status.PAUSED, requested="", owner="")
    job.refresh_from_db()
    return True


@retry_conflicts
@retry_conflicts
def resume(job: Job) -> bool:
    """Let the job continue; return False if it is not paused. A process has to be started that does so."""
    rows = _unfinished(job)
    long_ago = timezone.now() - 2 * jobs.STALE_AFTER  # so that the next process takes it over at once
    resumed = rows.filter(status=Status.PAUSED).update(
        status=Status.RUNNING, requested="", owner="", heartbeat_at=long_ago
    ) or rows.filter(status=Status.RUNNING, requested=Request.PAUSE).update(requested="")
    job.refresh_from_db()
    return bool(resumed)


def cancel(job: Job) -> bool:
    """Have the job end after its current batch, without its result; return False if it has ended.

    The active index stays as it is. The one that a rebuild was filling is deleted; what a reconcile found so far stays
    queued.
    """
    if not _unfinished(job).update(requested=Request.CANCEL):
        return False
    job.refresh_from_db()
    if (job.status == Status.PAUSED or jobs.abandoned(job)) and jobs.take_over(job):
        if job.kind == Job.Kind.REBUILD:
            discard(job)
        else:
            jobs.finish(job, cancelled=True)
    job.refresh_from_db()
    return True


def _unfinished(job: Job) -> Any:
    return Job.objects.using(router.db_for_write(Job)).filter(pk=job.pk, slot=job.kind)
