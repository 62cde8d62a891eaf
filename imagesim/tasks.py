"""The Celery tasks, and the choice of who works after a commit: Celery, a thread of this process, or nobody.

Every task may be lost, doubled, late or out of order without harm: what there is to do stands in the database.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from django.core.signals import request_started

from imagesim.conf import get_settings
from imagesim.exceptions import ConfigurationError, IndexUnavailable, format_choices
from imagesim.indexing import broker
from imagesim.indexing.background import background
from imagesim.indexing.outbox import changes_waiting

try:
    from celery import shared_task
except ImportError:  # the extra "celery" is not installed: plain functions, for the background thread
    F = TypeVar("F", bound=Callable[..., Any])

    def shared_task(**options: Any) -> Callable[[F], F]:
        return lambda function: function


logger = logging.getLogger("imagesim.indexing.sync")

SLICE_SECONDS = 30.0
"""A task works so long and lets another go on: far below any broker's visibility timeout (Redis: an hour)."""
LOOK_EVERY = 10.0
"""Seconds between two looks of a Celery worker of its own accord."""
Mode = Literal["celery", "thread", "manual"]

_LASTING = {
    # A worker that dies in the middle gives its message back.
    "acks_late": True,
    "reject_on_worker_lost": True,
    "ignore_result": True,
    "soft_time_limit": 540,
    "time_limit": 600,
}


@shared_task(name="imagesim.tasks.sync", **_LASTING)
def sync(using: str | None = None) -> None:
    """Sync what waits; hand over to another task when the time is up, and wake an abandoned rebuild."""
    from imagesim.indexing.jobs import unfinished_rebuild
    from imagesim.indexing.sync import sync as sync_now

    report = sync_now(using=using, seconds=SLICE_SECONDS)
    if report.more and not report.interrupted:
        start("sync", using=using)
    if unfinished_rebuild():
        start("rebuild")


@shared_task(name="imagesim.tasks.rebuild", **_LASTING)
def rebuild() -> None:
    """Rebuild the index, a slice at a time."""
    from imagesim.indexing.rebuild import RebuildRunning
    from imagesim.indexing.rebuild import rebuild as rebuild_now
    from imagesim.models import Job

    try:
        job = rebuild_now(seconds=SLICE_SECONDS)
    except RebuildRunning as error:
        logger.info("%s", error)
    except IndexUnavailable as error:
        logger.warning("the rebuild goes on when the index is back: %s", error)
    else:
        if job.status == Job.Status.RUNNING:
            start("rebuild")


@shared_task(name="imagesim.tasks.reconcile", **{**_LASTING, "soft_time_limit": 3300, "time_limit": 3500})
def reconcile() -> None:
    """Compare the database with the index and repair what differs."""
    from imagesim.exceptions import IndexMissing
    from imagesim.indexing.reconcile import ReconcileRunning
    from imagesim.indexing.reconcile import reconcile as reconcile_now

    try:
        reconcile_now(repair_now=False)
    except (ReconcileRunning, IndexUnavailable, IndexMissing) as error:
        logger.warning("not compared: %s", error)
    start("sync")


@shared_task(name="imagesim.tasks.reindex", **_LASTING)
def reindex(label: str, pks: Sequence[str], using: str = "default") -> None:
    """Look at these items of one model again, pictures and all."""
    from imagesim.indexing import outbox

    outbox.record(label, pks, using=using)
    sync(using)


@shared_task(name="imagesim.tasks.embed", time_limit=60)
def embed(modality: Literal["image", "text"], values: Sequence[str]) -> str:
    """Embed queries for a web process that holds no model: base64 of little-endian float32, row by row."""
    from imagesim import images
    from imagesim.embedders import get_embedder

    embedder = get_embedder()
    if modality == "text":
        rows = embedder.embed_texts(values)
    else:
        rows = embedder.embed_images([images.decode(base64.b64decode(value)) for value in values])
    return base64.b64encode(rows.astype("<f4").tobytes()).decode()


_TASKS: dict[str, Callable[..., None]] = {
    "sync": sync,
    "rebuild": rebuild,
    "reconcile": reconcile,
    "reindex": reindex,
}


def mode() -> Mode:
    """Who does the work that is started here, by the ``SYNC`` setting; ``auto`` is Celery where it has a broker."""
    setting = get_settings().SYNC
    if setting == "auto":
        return "celery" if broker.is_configured() else "thread"
    return setting  # type: ignore[return-value]


def start(name: str, **arguments: Any) -> bool:
    """Have a task done soon: ``sync``, ``rebuild``, ``reconcile`` or ``reindex``, with its arguments.

    False where nobody will: the mode is manual, or the broker cannot be reached just now. Never raises because of
    the broker, and never waits long for it.
    """
    if name not in _TASKS:
        raise ConfigurationError(f"There is no task {name!r}; there are {format_choices(_TASKS)}.")
    chosen = mode()
    if chosen == "celery":
        return broker.send(_TASKS[name], arguments)
    return chosen == "thread" and background.put(_TASKS[name], arguments)


def wake(using: str, **kwargs: object) -> None:
    """Have what waits synced soon, by the means that the ``SYNC`` setting names."""
    chosen = mode()
    if chosen == "celery":
        broker.wake(sync, using)
    elif chosen == "thread":
        background.put(sync, {"using": using})


def look_regularly(sender: Any, **kwargs: Any) -> None:
    """When a worker is ready: have it send itself a sync now and then. So nothing waits for ever, even without beat,
    whatever became of the messages."""

    def look() -> None:
        # Expires before the next one, so that they do not pile up while all workers are busy.
        broker.send(sync, {}, expires=LOOK_EVERY)

    sender.timer.call_repeatedly(LOOK_EVERY, look)
    look()


def work_in_background(**kwargs: Any) -> None:
    """At a request, so in a server: start its thread where there is nobody else to work."""
    if not background.is_running and mode() == "thread":
        background.start(idle=sync)


def connect() -> None:
    """To the signals of a commit with changes, of a request, and of a worker that is ready."""
    changes_waiting.connect(wake, dispatch_uid="imagesim.wake")
    request_started.connect(work_in_background, dispatch_uid="imagesim.background")
    try:
        from celery.signals import worker_ready
    except ImportError:
        return
    worker_ready.connect(look_regularly, weak=False, dispatch_uid="imagesim.retrieval.look")
