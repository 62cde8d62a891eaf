"""Long jobs: one per kind at a time, with a heartbeat, so that another process can continue the job of a dead one.

A running job asks at each batch whether someone wants it to pause or to stop (:mod:`imagesim.indexing.job_control`).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.db.models import QuerySet
from django.dispatch import Signal
from django.utils import timezone

from imagesim.database import delete, retry_conflicts
from imagesim.models import Job

STALE_AFTER = timedelta(seconds=60)
"""A process whose last heartbeat is older is considered dead."""

BEAT_SECONDS = 15.0
"""Between two heartbeats during a long call."""

KEPT = 1_000
"""Jobs of a kind that are kept after their end: hourly reconciles of 40 days."""

logger = logging.getLogger(__name__)


standby_ended = Signal()
"""Sent with ``target``, the name of a backing index that no longer stands by, before it is swapped in or dropped. A
receiver that fails does not affect either."""


class JobLost(Exception):
    """Another process took the job over, because this one sent no heartbeat."""


class JobStopped(Exception):
    """Someone asked for it."""


class JobPaused(JobStopped):
    """The job is to be left as it is, until it is resumed."""


class JobCancelled(JobStopped):
    """The job is to end, without its result."""


@retry_conflicts
def start(kind: Job.Kind, *, unfinished: int | None = None, hold: bool = False, message: str = "") -> Job | None:
    """Start a job of this kind, or take over one that a dead process left unfinished.

    With ``unfinished``, its primary key, take only that one over; with ``message``, the id of a Celery message that has
    started one before, only that one. None while another process is running one, and while one is paused or stands by.
    ``hold``: a rebuild is to stop before the swap, also one that is taken over.
    """
    using = router.db_for_write(Job)
    rows = Job.objects.using(using)
    if message and unfinished is None:
        unfinished = rows.filter(kind=kind, message=message).values_list("pk", flat=True).first()
    now = timezone.now()
    ours = {"status": Job.Status.RUNNING, "owner": _owner(), "heartbeat_at": now}
    if unfinished is None:
        _delete_old(rows.filter(kind=kind, slot=None))
        try:
            with transaction.atomic(using=using):
                return rows.create(kind=kind, slot=kind, started_at=now, hold=hold, message=message, **ours)
        except IntegrityError:
            pass
    former = rows.filter(slot=kind).first()
    if former is None:
        return start(kind, hold=hold, message=message) if unfinished is None else None
    if not abandoned(former) or unfinished not in (None, former.pk):
        return None
    if not take_over(former):
        return None
    if hold and not former.hold:
        heartbeat(former, hold=True)
    return former


def _delete_old(ended: QuerySet[Job]) -> None:
    if last := ended.order_by("-pk").values_list("pk", flat=True)[KEPT : KEPT + 1].first():
        delete(ended.filter(pk__lte=last))


@retry_conflicts
def take_over(job: Job) -> bool:
    """Make this process the owner of a job that has none; return False if another one was faster."""
    using = router.db_for_write(Job)
    ours = {"status": Job.Status.RUNNING, "owner": _owner(), "heartbeat_at": timezone.now()}
    same = {"pk": job.pk, "slot": job.kind, "owner": job.owner, "heartbeat_at": job.heartbeat_at}
    if not Job.objects.using(using).filter(**same).update(**ours):
        return False
    job.refresh_from_db(using=using)
    return True


def unfinished(kind: str) -> Job | None:
    """Return the job of this kind that runs, waits to be continued, is paused, or stands by."""
    return _all().filter(slot=kind).first()


def standby() -> Job | None:
    """Return the rebuild whose index, ``target``, stands by."""
    return _all().filter(slot=Job.Kind.REBUILD, status=Job.Status.STANDBY).first()


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
    """Whether the job's process has ended or sends no heartbeat. A job that is paused or stands by has no process to
    miss."""
    if job.status in (Job.Status.PAUSED, Job.Status.STANDBY):
        return False
    if timezone.now() - job.heartbeat_at > STALE_AFTER:
        return True
    host, _, rest = job.owner.partition("/")
    pid, _, began = rest.partition("/")
    return host == socket.gethostname() and pid.isdecimal() and _process_start(int(pid)) != began


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

    Whether the job was taken over, or is to stop, shows at its next checkpoint. Within a transaction of the caller no
    process would see a heartbeat, and it could wait for that transaction: there none is stored.
    """
    ended, ours = Event(), _ours(job)
    if connections[ours.db].in_atomic_block:
        yield
        return

    def beat() -> None:
        try:
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
    """Store a heartbeat and ``values``, and do as was requested meanwhile.

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
    if still.update(status=Job.Status.PAUSED, requested="", owner="", **values):
        job.status = Job.Status.PAUSED
    else:
        suspend(job)  # resumed in the same moment


@retry_conflicts
def stand_by(job: Job) -> None:
    """Leave a rebuild whose index is complete to whoever swaps or discards it.

    It keeps its slot and its target, so that every sync writes there, too; no process is needed meanwhile.

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
def suspend(job: Job) -> None:
    """Leave the job unfinished, so that the next process can take it over at once."""
    _ours(job).update(owner="", heartbeat_at=job.started_at - STALE_AFTER)


def _all() -> QuerySet[Job]:
    return Job.objects.using(router.db_for_write(Job))  # a replica may lag behind


def _ours(job: Job) -> QuerySet[Job]:
    return _all().filter(pk=job.pk, owner=job.owner, slot=job.kind)


def _owner() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{_process_start(os.getpid())}"


def _process_start(pid: int) -> str:
    """Return the start time of the process, which distinguishes it from a later one with the same id; empty if it has
    ended."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return "" if os.path.isdir("/proc/self") else "unknown"
    return "" if fields[0] == "Z" else fields[19]
