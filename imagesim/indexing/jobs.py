"""Long jobs: one per kind at a time, with a heartbeat, so that another process can continue the job of a dead process.

Other processes pause, resume and cancel a job, and swap in or discard the index on standby. Their requests are stored
with the job: its process notices at its next batch, and a job without a process, because it is paused or its process
died, is changed immediately.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from django.db import DatabaseError, IntegrityError, connections
from django.db.models import QuerySet
from django.dispatch import Signal
from django.utils import timezone

from imagesim.database import atomic, for_thread, primary, retry_conflicts
from imagesim.exceptions import AlreadyRunning, IndexUnavailable, mask_credentials
from imagesim.indexes import get_index
from imagesim.indexing import dispatch, leases, processes
from imagesim.models import Job

STALE_AFTER = timedelta(seconds=60)
"""A process whose last heartbeat is older is considered dead."""

BEAT_SECONDS = 15.0
"""Seconds between two heartbeats during a long call."""

MAX_ENDED_JOBS = 1_000
"""The number of ended jobs of a kind that are kept: hourly reconciles of 40 days."""

COMMANDS = {"rebuild": "imagesim_rebuild", "reconcile": "imagesim_sync --reconcile"}
"""The command that runs a job, by its kind."""

logger = logging.getLogger(__name__)

standby_ended = Signal()
"""Sent with ``target``, the name of a backing index that no longer stands by, before it is swapped in or dropped. A
receiver that fails does not affect either."""


class JobLost(Exception):
    """Another process took the job over, because this one sent no heartbeat."""


class JobStopped(Exception):
    """Someone asked for the job to stop."""


class JobPaused(JobStopped):
    """The job is to be left as it is, until it is resumed."""


class JobCancelled(JobStopped):
    """The job is to end, without its result."""


@retry_conflicts
def start(kind: Job.Kind, *, unfinished: int | None = None, hold: bool = False, message: str = "") -> Job:
    """Start a job of this kind, or take over one that a dead process left unfinished.

    With ``unfinished``, its primary key, only that one is taken over; with ``message``, the id of a Celery message that
    has already started one, only the one that it started. ``hold``: a rebuild is to stop before the swap, even one that
    is taken over.

    :raises AlreadyRunning: while another process is running one, and while one is paused or stands by.
    """
    rows = primary(Job)
    if message and unfinished is None:
        unfinished = rows.filter(kind=kind, message=message).values_list("pk", flat=True).first()
    now = timezone.now()
    ours = {"status": Job.Status.RUNNING, "owner": processes.current(), "heartbeat_at": now}
    if unfinished is None:
        ended = rows.filter(kind=kind, slot=None).order_by("-pk")
        if last := ended.values_list("pk", flat=True)[MAX_ENDED_JOBS : MAX_ENDED_JOBS + 1].first():
            rows.filter(kind=kind, slot=None, pk__lte=last).delete()
        with suppress(IntegrityError), atomic(Job):
            return rows.create(kind=kind, slot=kind, started_at=now, hold=hold, message=message, **ours)
    former = rows.filter(slot=kind).first()
    if former is None and unfinished is None:  # it ended at this very moment
        return start(kind, hold=hold, message=message)
    if former is None or unfinished not in (None, former.pk) or not abandoned(former) or not take_over(former):
        raise AlreadyRunning(why_none(kind))
    if hold and not former.hold:
        heartbeat(former, hold=True)
    return former


@retry_conflicts
def take_over(job: Job) -> bool:
    """Make this process the owner of a job that has none; return False if another one was faster."""
    ours = {"status": Job.Status.RUNNING, "owner": processes.current(), "heartbeat_at": timezone.now(), "error": ""}
    died = bool(job.owner)  # which did not give it up
    if not _ours(job).filter(heartbeat_at=job.heartbeat_at).update(**ours):
        return False
    _refresh(job)
    job.process_died = died
    return True


def unfinished(kind: str) -> Job | None:
    """Return the job of this kind that runs, waits to be continued, is paused, or stands by."""
    return primary(Job).filter(slot=kind).first()


def standby() -> Job | None:
    """Return the rebuild whose index, ``target``, stands by."""
    return primary(Job).filter(slot=Job.Kind.REBUILD, status=Job.Status.STANDBY).first()


def standby_index() -> str:
    """Return the name of the index that stands by; empty if none does."""
    job = standby()
    return job.target if job else ""


def why_none(kind: Job.Kind) -> str:
    """Return why a job of this kind cannot be started now."""
    job = unfinished(kind)
    if job is not None and job.status == Job.Status.PAUSED:
        return (
            f"A {kind.value} is paused: `manage.py imagesim_jobs resume {kind.value}` continues it, "
            f"`manage.py imagesim_jobs cancel {kind.value}` ends it."
        )
    if job is not None and job.status == Job.Status.STANDBY:
        return (
            f"The index {job.target} is on standby: `manage.py imagesim_rebuild --swap` makes it the active one, "
            "`manage.py imagesim_rebuild --discard` deletes it."
        )
    return f"A {kind.value} is running already; imagesim_status shows its progress."


def abandoned(job: Job) -> bool:
    """Return whether the job's process has given it up, has ended or sends no heartbeat. A job that is paused or stands
    by needs no process."""
    if job.status in (Job.Status.PAUSED, Job.Status.STANDBY):
        return False
    if not job.owner:  # given up: this does not depend on the clocks of two machines, as the age of a heartbeat does
        return True
    age = timezone.now() - job.heartbeat_at
    if age > STALE_AFTER or age < -leases.CLOCK_WAS_WRONG:
        return True
    return processes.has_ended(job.owner)


def status_of(job: Job) -> Job.Status:
    """Return the status of the job; if its process has ended, it waits for another one to continue it."""
    is_left = job.status == Job.Status.RUNNING and abandoned(job)
    return Job.Status.WAITING if is_left else Job.Status(job.status)


def unfinished_rebuild() -> Job | None:
    """Return the rebuild that its process left unfinished, if there is one."""
    job = unfinished(Job.Kind.REBUILD)
    return job if job is not None and abandoned(job) else None


@retry_conflicts
def heartbeat(job: Job, **values: Any) -> None:
    """Store a heartbeat and ``values``.

    :raises JobLost: if another process has taken the job over.
    """
    values["heartbeat_at"] = timezone.now()
    if not _ours(job).update(**values):
        raise JobLost(f"The {job} was taken over by another process.")
    for name, value in values.items():
        setattr(job, name, value)


@contextmanager
def kept_alive(job: Job) -> Iterator[None]:
    """Store heartbeats from a thread, during calls that can take longer than :data:`STALE_AFTER`.

    If the job was taken over, or is to stop, its next checkpoint raises. Within a transaction of the caller no
    heartbeat is stored: no process would see it, and it could wait for that transaction.
    """
    ended, ours = Event(), _ours(job)
    if connections[ours.db].in_atomic_block:
        yield
        return

    enter = for_thread()

    def beat() -> None:
        try:
            enter()
            while not ended.wait(BEAT_SECONDS):
                try:
                    ours.update(heartbeat_at=timezone.now())
                except DatabaseError as error:
                    logger.warning("A heartbeat of the %s could not be stored: %s", job, error)
        finally:
            connections.close_all()  # this thread's own

    thread = Thread(target=beat, name="imagesim-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def checkpoint(job: Job, **values: Any) -> None:
    """Store a heartbeat and ``values``, and obey a request made in the meantime.

    :raises JobLost: if another process has taken the job over.
    :raises JobStopped: if the job is to pause or to end.
    """
    heartbeat(job, **values)
    requested = _ours(job).values_list("requested", flat=True).first()
    if requested == Job.Request.CANCEL:
        raise JobCancelled(f"The {job} was cancelled.")
    if requested == Job.Request.PAUSE:
        raise JobPaused(f"The {job} was paused.")


def finish(job: Job, *, error: str = "", cancelled: bool = False, **facts: Any) -> None:
    """Finish the job, as failed if there is an ``error``.

    :raises JobLost: if another process has taken the job over.
    """
    status = Job.Status.CANCELLED if cancelled else Job.Status.FAILED if error else Job.Status.DONE
    heartbeat(job, status=status, error=error, slot=None, requested="", finished_at=timezone.now(), **facts)


@retry_conflicts
def leave_paused(job: Job, **values: Any) -> None:
    """Leave the job to whoever resumes it. It keeps its slot and its target; no process is needed meanwhile."""
    still = _ours(job).filter(requested=Job.Request.PAUSE)
    if still.update(status=Job.Status.PAUSED, requested="", owner="", error="", **values):
        job.status = Job.Status.PAUSED
    else:
        suspend(job)  # resumed at this very moment


@retry_conflicts
def stand_by(job: Job) -> None:
    """Leave a rebuild whose index is complete to whoever swaps or discards it.

    It keeps its slot and its target, so every sync writes there too; no process is needed meanwhile.

    :raises JobStopped: if the job is to pause or to end.
    :raises JobLost: if another process has taken the job over.
    """
    now = timezone.now()
    values = {"status": Job.Status.STANDBY, "requested": "", "owner": "", "heartbeat_at": now, "finished_at": now}
    while not _ours(job).filter(requested__in=("", Job.Request.SWAP)).update(**values):
        checkpoint(job)
    for name, value in values.items():
        setattr(job, name, value)


@retry_conflicts
def suspend(job: Job, *, error: str = "") -> None:
    """Leave the job unfinished, so that the next process can take it over immediately. ``error``: why."""
    _ours(job).update(owner="", error=error)


def discard(job: Job) -> None:
    """Drop the index that a rebuild of this process was filling, and finish the job as cancelled. If the index cannot
    be reached, the job is left to the next process: the unfinished index can take many gigabytes."""
    error = drop_leftovers()
    if isinstance(error, IndexUnavailable):
        suspend(job, error=mask_credentials(error))
        return
    leases.requeue_refused(job.started_at)
    finish(job, cancelled=True)
    logger.info("the rebuild was cancelled; the active index is unchanged", extra={"event_name": "rebuild.cancelled"})


def drop_leftovers() -> Exception | None:
    """Drop every index but the active one, because it was not completed. Only for a process that has the slot of a
    rebuild; a failure is logged and returned."""
    try:
        index = get_index()
        for backing_index in {*index.backing_indexes()} - {index.active()}:
            index.drop(backing_index)
    except Exception as error:
        logger.warning("What is left of an unfinished index could not be dropped: %s", error)
        return error
    return None


# Requests from processes other than the one that runs the job.


def actions(job: Job) -> list[str]:
    """Return what can be done with the job now: some of ``pause``, ``resume`` and ``cancel``, or ``swap`` and
    ``discard``."""
    if not job.slot or job.requested == Job.Request.SWAP:
        return []
    if job.requested == Job.Request.CANCEL:
        return ["cancel"] if abandoned(job) else []
    if job.status == Job.Status.STANDBY:
        return ["swap", "discard"]
    is_paused = job.status == Job.Status.PAUSED or job.requested == Job.Request.PAUSE
    return ["resume" if is_paused else "pause", "cancel"]


@retry_conflicts
def pause(job: Job) -> bool:
    """Make the job stop after its current batch and wait, keeping what it has done; return False if it has ended.

    Its slot stays taken: no other job of its kind starts until it is resumed or cancelled.
    """
    running = _same(job).filter(status=Job.Status.RUNNING)
    if not running.exclude(requested__in=(Job.Request.CANCEL, Job.Request.SWAP)).update(requested=Job.Request.PAUSE):
        return False
    _refresh(job)
    if abandoned(job):
        alone = running.filter(owner=job.owner, heartbeat_at=job.heartbeat_at)
        alone.update(status=Job.Status.PAUSED, requested="", owner="")
        _refresh(job)
    return True


@retry_conflicts
def resume(job: Job) -> bool:
    """Let the job continue; return False if it is not paused. A process must then be started to continue it."""
    rows = _same(job)
    resumed = rows.filter(status=Job.Status.PAUSED).update(requested="", **_waiting()) or rows.filter(
        status=Job.Status.RUNNING, requested=Job.Request.PAUSE
    ).update(requested="")
    _refresh(job)
    return bool(resumed)


@retry_conflicts
def swap(job: Job) -> bool:
    """Let the index on standby become the active one; return False if the job does not stand by.

    A process must then be started to do so: ``rebuild(unfinished=job.pk)``. If it dies, another one continues.
    """
    ready = _same(job).filter(status=Job.Status.STANDBY, requested="")
    swapped = ready.update(requested=Job.Request.SWAP, finished_at=None, **_waiting())
    _refresh(job)
    if swapped:
        standby_ended.send_robust(Job, target=job.target)
    return bool(swapped)


def start_process(job: Job) -> str:
    """Start a process for a job that was left without one; return the command to run if none can be started, otherwise
    an empty string."""
    return COMMANDS[job.kind] if abandoned(job) and not dispatch.start(job.kind, job=job.pk) else ""


def cancel(job: Job) -> bool:
    """Make the job end after its current batch, without its result; return False if it has ended.

    The active index stays as it is. The index that a rebuild was filling, or that stands by, is deleted; what a
    reconcile found so far stays queued.
    """
    if not _same(job).update(requested=Job.Request.CANCEL):
        return False
    _refresh(job)
    stood_by = job.status == Job.Status.STANDBY
    if (job.status in (Job.Status.PAUSED, Job.Status.STANDBY) or abandoned(job)) and take_over(job):
        if stood_by:
            standby_ended.send_robust(Job, target=job.target)
        if job.kind == Job.Kind.REBUILD:
            discard(job)
        else:
            finish(job, cancelled=True)
    _refresh(job)
    return True


def _refresh(job: Job) -> None:
    job.refresh_from_db(using=primary(Job).db)  # a replica may lag behind


def _waiting() -> dict[str, Any]:
    """Return the values of a job that the next process takes over immediately."""
    return {"status": Job.Status.RUNNING, "owner": ""}


def _same(job: Job) -> QuerySet[Job]:
    return primary(Job).filter(pk=job.pk, slot=job.kind)


def _ours(job: Job) -> QuerySet[Job]:
    return _same(job).filter(owner=job.owner)
