"""Long jobs: one per kind at a time, with a heartbeat, so that another process can continue the job of a dead one."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, router, transaction
from django.utils import timezone

from imagesim.models import Job

STALE_AFTER = timedelta(seconds=60)
"""A process whose last heartbeat is older is considered dead."""


class JobLost(Exception):
    """Another process took the job over, because this one sent no heartbeat."""


def start(kind: Job.Kind) -> Job | None:
    """Start a job of this kind, or take over one that a dead process left unfinished.

    None while another process is running one.
    """
    using = router.db_for_write(Job)
    now = timezone.now()
    ours = {"status": Job.Status.RUNNING, "owner": _owner(), "heartbeat_at": now}
    try:
        with transaction.atomic(using=using):
            return Job.objects.using(using).create(kind=kind, slot=kind, started_at=now, **ours)
    except IntegrityError:
        pass
    former = Job.objects.using(using).filter(slot=kind).first()
    if former is None:
        return start(kind)
    if not abandoned(former):
        return None
    taken = Job.objects.using(using).filter(
        pk=former.pk, slot=kind, owner=former.owner, heartbeat_at=former.heartbeat_at
    )
    if not taken.update(**ours):
        return None
    former.refresh_from_db()
    return former


def abandoned(job: Job) -> bool:
    """Whether the job's process has ended or sends no heartbeat."""
    if timezone.now() - job.heartbeat_at > STALE_AFTER:
        return True
    host, _, rest = job.owner.partition("/")
    pid, _, began = rest.partition("/")
    return host == socket.gethostname() and pid.isdecimal() and _process_start(int(pid)) != began


def unfinished_rebuild() -> bool:
    """Whether there is a rebuild that its process left unfinished."""
    job = Job.objects.filter(slot=Job.Kind.REBUILD).first()
    return job is not None and abandoned(job)


def heartbeat(job: Job, **values: Any) -> None:
    """Store a heartbeat and ``values``.

    :raises JobLost: if another process has taken the job over.
    """
    values["heartbeat_at"] = timezone.now()
    if not _ours(job).update(**values):
        raise JobLost(f"The {job} was taken over by another process.")
    for name, value in values.items():
        setattr(job, name, value)


def finish(job: Job, *, error: str = "", **facts: Any) -> None:
    """Finish the job, as failed if there is an ``error``.

    :raises JobLost: if another process has taken the job over.
    """
    status = Job.Status.FAILED if error else Job.Status.DONE
    heartbeat(job, status=status, error=error, slot=None, finished_at=timezone.now(), **facts)


def suspend(job: Job) -> None:
    """Leave the job unfinished, so that the next process can take it over at once."""
    _ours(job).update(owner="", heartbeat_at=job.started_at - STALE_AFTER)


def _ours(job: Job) -> Any:
    return Job.objects.using(job._state.db or router.db_for_write(Job)).filter(
        pk=job.pk, owner=job.owner, slot=job.kind
    )


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
