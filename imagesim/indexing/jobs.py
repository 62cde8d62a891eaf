"""One long piece of work at a time, with signs of life, so that another can go on where a dead one stopped."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, router, transaction
from django.utils import timezone

from imagesim.models import Job

STALE_AFTER = timedelta(seconds=60)
"""Without a sign of life for so long, whoever ran it is taken for dead."""


class JobLost(Exception):
    """Another process took the work over, because this one gave no sign of life."""


def start(kind: Job.Kind) -> Job | None:
    """A run of this kind that is this process's alone: a new one, or one that a dead process left unfinished.

    None while another process is at it.
    """
    using = router.db_for_write(Job)
    now = timezone.now()
    mine = {"status": Job.Status.RUNNING, "owner": _me(), "heartbeat_at": now}
    try:
        with transaction.atomic(using=using):
            return Job.objects.using(using).create(kind=kind, slot=kind, started_at=now, **mine)
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
    if not taken.update(**mine):
        return None
    former.refresh_from_db()
    return former


def abandoned(job: Job) -> bool:
    """Whether nobody works on it any more: its process is gone, or gives no sign of life."""
    if timezone.now() - job.heartbeat_at > STALE_AFTER:
        return True
    host, _, rest = job.owner.partition("/")
    pid, _, began = rest.partition("/")
    return host == socket.gethostname() and pid.isdecimal() and _began(int(pid)) != began


def unfinished_rebuild() -> bool:
    """Whether a rebuild was left in the middle by a process that is gone."""
    job = Job.objects.filter(slot=Job.Kind.REBUILD).first()
    return job is not None and abandoned(job)


def alive(job: Job, **facts: Any) -> None:
    """Give a sign of life and store ``facts``.

    :raises LostRun: if another process has taken the work over.
    """
    facts["heartbeat_at"] = timezone.now()
    if not _mine(job).update(**facts):
        raise JobLost(f"The {job} was taken over by another process.")
    for name, value in facts.items():
        setattr(job, name, value)


def finish(job: Job, *, error: str = "", **facts: Any) -> None:
    """The end of it, good or bad.

    :raises LostRun: if another process has taken the work over.
    """
    status = Job.Status.FAILED if error else Job.Status.DONE
    alive(job, status=status, error=error, slot=None, finished_at=timezone.now(), **facts)


def step_aside(job: Job) -> None:
    """Leave the work unfinished, for whoever comes next to go on with at once."""
    _mine(job).update(owner="", heartbeat_at=job.started_at - STALE_AFTER)


def _mine(job: Job) -> Any:
    return Job.objects.using(job._state.db or router.db_for_write(Job)).filter(
        pk=job.pk, owner=job.owner, slot=job.kind
    )


def _me() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{_began(os.getpid())}"


def _began(pid: int) -> str:
    """When the process began, so that a later one with the same number is told apart; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return "" if os.path.isdir("/proc/self") else "unknown"
    return "" if fields[0] == "Z" else fields[19]
