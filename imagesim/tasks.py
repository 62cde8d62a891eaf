"""The Celery tasks. Without Celery they are plain functions, which the other dispatchers call.

Any task can be lost, repeated, late or out of order without harm, because the work to do is recorded in the database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from django.utils import timezone

from imagesim.conf import get_settings
from imagesim.database import CONNECTION_ERRORS, current_schema, delete_in_batches, primary, state_alias
from imagesim.exceptions import AlreadyRunning, IndexMissing, IndexUnavailable, ModelMismatch, NotRegistered
from imagesim.indexing.dispatch import SENT_AT, DjangoTasksDispatcher, start
from imagesim.runtime import runtime

if TYPE_CHECKING:
    from imagesim.models import Job

try:
    from celery import current_task
    from celery import shared_task as shared_task
except ImportError:
    current_task = None
    F = TypeVar("F", bound=Callable[..., Any])

    def shared_task(**options: Any) -> Callable[[F], F]:
        return lambda function: function


logger = logging.getLogger("imagesim.indexing.sync")

SLICE_SECONDS = 30.0
"""A task runs this long and then starts another one to continue: far below any broker's visibility timeout (Redis: an
hour)."""

_LASTING = {
    "acks_late": True,
    "reject_on_worker_lost": True,  # the message of a killed worker is delivered again
    "ignore_result": True,
    "soft_time_limit": 540,
    "time_limit": 600,
}
_LONG = {**_LASTING, "soft_time_limit": 3300, "time_limit": 3500}
"""For tasks with a call that can take long: a comparison, or building the graph of an index of millions of vectors."""


@shared_task(name="imagesim.tasks.sync", **_LASTING)
def sync() -> None:
    """Sync waiting changes, start another task when the time is up, and continue an abandoned rebuild.

    While the database is unavailable, nothing happens: the next poll tries again. Nor does it for a message that was
    sent before this process began a sync that sent another one. A stream of saves sends several a second, and if each
    worked until the time is up and sent another, all other tasks of the queue would wait for these.
    """
    from imagesim.indexing.interruptions import log_outage
    from imagesim.indexing.jobs import unfinished_rebuild
    from imagesim.indexing.sync import sync as sync_now

    continued: dict[str, float] = runtime.get("when the sync that is continued began", dict)  # by tenant
    tenant = current_schema(state_alias())
    sent_at, began = getattr(_request(), SENT_AT, None), time.time()
    if sent_at is not None and sent_at < continued.get(tenant, 0.0) <= began:  # the clock may have been set back
        return
    try:
        report = sync_now(seconds=SLICE_SECONDS)
        left = unfinished_rebuild()
    except CONNECTION_ERRORS as error:
        log_outage(error)
        return
    if report.more and not report.interrupted and start("sync"):
        continued[tenant] = began
    else:  # from here on, each message counts, also one of a machine whose clock is behind
        continued.pop(tenant, None)
    if left is not None:
        _continue(left)


@shared_task(name="imagesim.tasks.rebuild", **_LONG)
def rebuild(job: int | None = None, hold: bool = False, done: int | None = None) -> None:
    """Rebuild the index, ``SLICE_SECONDS`` per task; with ``job``, the primary key of a job, continue only that one.

    With ``hold`` the new index stands by. A message that has started a rebuild does not start another when it is
    delivered again, such as after that rebuild was cancelled. ``done`` is how many items the job had when the message
    was sent; if it was continued since, nothing happens. Every sync between two slices sends a message, and if each of
    them did a slice and sent another, the shop's changes would wait for more slices in every round.
    """
    from imagesim.indexing.rebuild import rebuild as rebuild_now
    from imagesim.models import Job

    if job is not None and done is not None and not primary(Job).filter(pk=job, done=done).exists():
        return
    try:
        made = rebuild_now(seconds=SLICE_SECONDS, unfinished=job, hold=hold, message=_message())
    except AlreadyRunning as error:
        logger.info("%s", error)
    except (IndexMissing, ModelMismatch, NotRegistered) as error:
        logger.error("not rebuilt: %s", error)
    except IndexUnavailable as error:
        logger.warning("the rebuild continues when the index is available again: %s", error)
    else:
        if made.status == Job.Status.RUNNING:
            _continue(made)


def _continue(job: Job) -> None:
    start("rebuild", job=job.pk, done=job.done)


@shared_task(name="imagesim.tasks.reconcile", **_LONG)
def reconcile(job: int | None = None) -> None:
    """Compare the database with the index and repair the differences; with ``job``, continue only that one.

    The items are compared for ``SLICE_SECONDS`` per task, so that a sync does not wait for a large catalogue.
    """
    from imagesim.indexing.reconcile import reconcile as reconcile_now
    from imagesim.models import Job

    try:
        while True:
            made = reconcile_now(seconds=SLICE_SECONDS, repair_now=False, unfinished=job, message=_message())
            start("sync")
            if made.status != Job.Status.RUNNING or start("reconcile", job=made.pk):
                return
            job = made.pk  # no other task continues it
    except AlreadyRunning as error:
        logger.info("%s", error)
    except (IndexUnavailable, IndexMissing, NotRegistered) as error:
        logger.warning("not reconciled: %s", error)
    start("sync")


def _message() -> str:
    """Return the id of the Celery message that is being handled, which stays the same on redelivery; empty without
    one."""
    return str(getattr(_request(), "id", None) or "")[:64]


def _request() -> Any:
    """Return the Celery message that is being handled, or None."""
    return getattr(current_task, "request", None)


@shared_task(name="imagesim.tasks.reindex", **_LASTING)
def reindex(label: str, pks: Sequence[str], using: str = "default") -> None:
    """Read these items of one model again, including their pictures, and sync."""
    from imagesim.indexing import outbox

    outbox.record_each(label, pks, using=using)
    sync()


@shared_task(name="imagesim.tasks.purge", **_LASTING)
def purge(days: int | None = None) -> int:
    """Delete events older than ``days`` (``EVENTS_DAYS``), and what observers keep of them; return the number of rows.
    For a beat schedule, once per day."""
    from imagesim import events
    from imagesim.models import Event

    days = get_settings().EVENTS_DAYS if days is None else days
    before = timezone.now() - timedelta(days=days)
    deleted = sum(observer.purge(before) for observer in events.observers)  # they may still read the events
    return deleted + delete_in_batches(Event.objects.filter(created_at__lt=before))


def run_task(name: str, arguments: dict[str, Any]) -> None:
    """Run the function ``name`` of this module: the only task registered with Django's task framework."""
    globals()[name](**arguments)


if DjangoTasksDispatcher.backend() is not None:  # another backend would refuse it, and this module would not load
    run_task = import_module("django.tasks").task(run_task)
