"""Build a new index beside the active one, then swap them; or keep the new one on standby until someone swaps them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import Error as DatabaseError
from django.db import models

from imagesim.conf import get_settings
from imagesim.database import primary, related_rows_from_primary
from imagesim.embedders import get_embedder_of
from imagesim.exceptions import (
    AccessRefused,
    AlreadyRunning,
    EmbedderError,
    ImagesimError,
    IndexMissing,
    IndexUnavailable,
    SearchIndexError,
    mask_credentials,
)
from imagesim.indexes import get_index
from imagesim.indexing import jobs, leases, outbox
from imagesim.indexing.calibrate import calibrate_quietly
from imagesim.indexing.documents import count_items, items_behind, prepare, queryset_of, write
from imagesim.indexing.embedding import Vectors
from imagesim.indexing.interruptions import INFRASTRUCTURE_ERRORS, read_only_as_outage, stopped_at_time_limit
from imagesim.indexing.item_regions import find_regions
from imagesim.indexing.reconcile import purge_former_models
from imagesim.indexing.statistics import update_quietly
from imagesim.indexing.sync import Progress, sync
from imagesim.indexing.write_targets import Target, new_meta
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.models import ItemState, Job, Scope

logger = logging.getLogger("imagesim.indexing.sync")

OUTAGE_SECONDS = 600.0
"""How long a rebuild waits for an unavailable index before it stops; the next rebuild continues it. It waits as long
for an embedder that worked before and now fails: while the rebuild is unfinished, other changes wait for that embedder
too."""

WAIT_SECONDS = 2.0
"""Seconds between two heartbeats while it waits."""

MAX_LOST = 0.5
"""The share of the active index that may be missing from the new one because the items failed."""


class _TimeOver(Exception):
    """The time limit of the rebuild is reached."""


@stopped_at_time_limit()
@read_only_as_outage()
@related_rows_from_primary()
def rebuild(
    *,
    progress: Progress | None = None,
    seconds: float | None = None,
    unfinished: int | None = None,
    hold: bool = False,
    message: str = "",
) -> Job:
    """Build a new index of all items with the embedder in the settings, and make it active when it is complete.

    Searches and saves continue in the meantime. After a kill, or after ``seconds``, the next call continues the
    rebuild; with ``unfinished``, the primary key of one, a call continues only that one. A job that was paused or
    cancelled is returned as such, and the active index is unchanged. With ``hold`` the complete index stands by
    instead: every sync goes on writing to it, until :func:`swap` or :func:`imagesim.indexing.jobs.cancel`. ``message``
    is the id of the Celery message that is being handled: if it is delivered again, it does not start another rebuild.

    :raises AlreadyRunning: if another process is rebuilding, a rebuild is paused, or an index stands by.
    :raises IndexMissing: with ``hold``, if no index is active: only then can another one stand by.
    :raises ModelMismatch: with ``hold``, if the settings do not name the model of the active index, which is needed to
        write to it for as long as the other one stands by.
    :raises NotRegistered: in a process that registers no model.
    """
    registry.require_models()
    if hold:
        _check_hold()
    job = jobs.start(Job.Kind.REBUILD, unfinished=unfinished, hold=hold, message=message)
    started = time.monotonic()
    try:
        with jobs.kept_alive(job):  # a page of pictures or the graph of an index can take many minutes
            _rebuild(job, progress, started + seconds if seconds else None)
    except _TimeOver:
        jobs.suspend(job)
        return job
    except jobs.JobPaused:
        jobs.leave_paused(job)
        logger.info("the rebuild is paused after %d items", job.done, extra={"event_name": "rebuild.paused"})
        return job
    except jobs.JobCancelled:
        jobs.discard(job)
        return job
    except (IndexUnavailable, AccessRefused) as error:
        with suppress(DatabaseError):
            jobs.suspend(job, error=mask_credentials(error))
        raise
    except (*INFRASTRUCTURE_ERRORS, KeyboardInterrupt, SystemExit):
        with suppress(DatabaseError):
            jobs.suspend(job)
        raise
    except jobs.JobLost:
        raise
    except Exception as error:
        logger.error(
            "The rebuild failed; the active index is unchanged: %s",
            error,
            exc_info=not isinstance(error, ImagesimError),  # whose message says everything
        )
        jobs.heartbeat(job)  # what another process has taken over is not dropped
        if job.requested == Job.Request.SWAP:
            jobs.stand_by(job)  # it is complete, and took hours
            raise
        if job.target:
            jobs.drop_leftovers()
        leases.requeue_refused(job.started_at)
        jobs.finish(job, error=f"{type(error).__name__}: {error}")
        raise
    if job.status == Job.Status.STANDBY:
        logger.info("%s is on standby", job.target, extra={"event_name": "rebuild.standby", "index": job.target})
        return job
    logger.info(
        "rebuilt %s: %d items in %.1f s",
        job.target,
        job.done,
        time.monotonic() - started,
        extra={
            "event_name": "rebuild.done",
            "index": job.target,
            "items": job.done,
            "seconds": time.monotonic() - started,
        },
    )
    return job


def _check_hold() -> None:
    index = get_index()
    if index.active() is None:
        raise IndexMissing(
            f"No index {index.name!r} is active yet, beside which another one could stand by: "
            "run `manage.py imagesim_sync` first."
        )
    get_embedder_of(index.meta().fingerprint)


def swap() -> Job:
    """Make the index on standby the active one, and drop the former.

    :raises AlreadyRunning: if no index stands by.
    :raises IndexMissing: if it no longer exists; nothing is changed.
    """
    job = jobs.standby()
    if job is None:
        raise AlreadyRunning("No index is on standby; `manage.py imagesim_rebuild --hold` builds one.")
    _check_target(job)
    jobs.swap(job)
    return rebuild(unfinished=job.pk)


def _check_target(job: Job) -> None:
    """:raises IndexMissing: if the index on standby no longer exists, or is that of another shop, as in a copy of its
    database."""
    if job.target not in get_index().backing_indexes():
        raise IndexMissing(
            f"The index {job.target} on standby no longer exists: end it with `manage.py imagesim_rebuild --discard`."
        )


def _rebuild(job: Job, progress: Progress | None, until: float | None) -> None:
    index = get_index()
    jobs.checkpoint(job)
    if not job.target or job.target != _retry_while_unavailable(index.active, job):
        if job.requested == Job.Request.SWAP:
            _retry_while_unavailable(lambda: _check_target(job), job)
        else:
            _build(job, progress, until)
        if job.hold and job.requested != Job.Request.SWAP:
            calibrate_quietly(job.target)
            jobs.stand_by(job)
            return
        if _retry_while_unavailable(index.active, job) is not None:
            # Waiting changes are written to both indexes, so that none is missing after the swap.
            sync(progress=lambda done, total: jobs.checkpoint(job))
        jobs.checkpoint(job)
        _retry_while_unavailable(lambda: index.promote(job.target), job)
    _drop_others(job)
    purge_former_models({_retry_while_unavailable(lambda: index.meta(job.target), job, jobs.heartbeat).fingerprint})
    calibrate_quietly()
    jobs.finish(job)
    sync()


def _build(job: Job, progress: Progress | None, until: float | None) -> None:
    """Fill the new index, and make it ready for searches."""
    index = get_index()
    target = _target(job)
    for items, queryset in items_behind(job.cursor):
        _fill(job, target, items, queryset, progress, until)
    if _retry_while_unavailable(index.active, job) is not None:
        sync(progress=lambda done, total: jobs.checkpoint(job))  # the items left to it, and what changed meanwhile
    # Even if it is promoted next: the measured recall is that of the graph, which not every index has before this.
    _retry_while_unavailable(lambda: index.make_searchable(target.backing_index), job)
    _retry_while_unavailable(lambda: index.refresh(target.backing_index), job)
    if job.failed:
        _retry_while_unavailable(lambda: _check_losses(target), job)
    update_quietly(target.backing_index, heartbeat=lambda: jobs.checkpoint(job))


def _check_losses(target: Target) -> None:
    """Check that most of what can be found now will also be found in the new index.

    :raises SearchIndexError: if more than :data:`MAX_LOST` of the active index would be lost because the items failed,
        for example because its server has no space left. Items that the shop itself excludes in the meantime are not a
        loss.
    """
    index = target.index
    active = index.count() if index.active() is not None else 0
    taken = index.count(backing_index=target.backing_index)
    failing = primary(ItemState).exclude(error="")
    if min(active - taken, failing.count()) > active * MAX_LOST:
        reason = "; ".join(failing.order_by("-changed_at").values_list("error").first() or ())
        raise SearchIndexError(
            f"The new index took only {taken} of the {active} items of the active one, so it is not used: {reason}"
        )


def _target(job: Job) -> Target:
    """Return the index to fill: that of an unfinished job if it still exists and has the right metadata, else a new
    one."""
    index = get_index()
    meta = new_meta()
    unfinished = bool(job.target) and job.target in _retry_while_unavailable(index.backing_indexes, job)
    if unfinished and index.meta(job.target) == meta:
        return Target(index, job.target, meta, active=False)
    jobs.drop_leftovers()
    total = count_items()  # runs the shop's own code, which may fail: before there is an index
    backing_index = _retry_while_unavailable(lambda: index.create(meta), job)
    # From now on, every sync writes to this index too.
    jobs.heartbeat(job, target=backing_index, cursor="", done=0, failed=0, total=total)
    return Target(index, backing_index, meta, active=False)


def _fill(
    job: Job,
    target: Target,
    items: Items[Any],
    rest: models.QuerySet[Any],
    progress: Progress | None,
    until: float | None,
) -> None:
    """Write those items of a model that are in ``rest`` to the new index, page by page."""
    size = get_settings().SYNC_BATCH_SIZE
    while pks := [str(pk) for pk in rest.order_by("pk").values_list("pk", flat=True)[:size]]:
        if job.process_died:  # perhaps because of one of these items: the sync finds it, and goes on without it
            outbox.record_each(items.label, pks)
            failed, job.process_died = 0, False
        else:
            failed = _retry_while_unavailable(lambda pks=pks: _fill_page(target, items.label, pks), job)
        cursor = f"{items.label}|{pks[-1]}"
        jobs.checkpoint(job, cursor=cursor, done=job.done + len(pks), failed=job.failed + failed)
        if progress:
            progress(job.done, job.total)
        if until and time.monotonic() > until:
            raise _TimeOver
        rest = queryset_of(items, behind=pks[-1])


def _fill_page(target: Target, label: str, pks: list[str]) -> int:
    """Write one page of items to the new index; return how many failed. Those are left to the sync, as are items
    without a state."""
    rows = primary(ItemState).filter(model=label, object_pk__in=pks)
    known = {state.object_pk: state for state in rows.prefetch_related(leases.stored_images())}
    states = [known[pk] for pk in pks if pk in known]
    for state in states:
        if not state.pending:
            state.scope = Scope.METADATA  # its images are known, so they are not opened again
        state.attempts = 0
        state.checksum = ""
    written, left, failed = [], [pk for pk in pks if pk not in known], 0
    documents = prepare(states, [target], Vectors([target]))
    find_regions(documents, [target])
    for document in write(documents, [target]):
        if document.written and not document.retry and document.outcome == document.state.outcome:
            written.append((document.state, document.checksum))
        else:
            left.append(document.state.object_pk)
            failed += document.retry or not document.written or document.outcome == ItemState.Outcome.FAILED
    leases.account_for(written)
    # Recorded as changed, these are handled by the sync, which stores their outcomes and errors, and retries them.
    outbox.record_each(label, left)
    return failed


def _drop_others(job: Job) -> None:
    index = get_index()
    # With plain heartbeats: after the swap it is too late to stop.
    for backing_index in _retry_while_unavailable(index.backing_indexes, job, jobs.heartbeat):
        if backing_index != job.target:
            jobs.heartbeat(job)  # drop nothing after another process took it over: there may be a later rebuild
            _retry_while_unavailable(lambda name=backing_index: index.drop(name), job, jobs.heartbeat)


def _retry_while_unavailable(call: Callable[..., Any], job: Job, beat: Callable[[Job], None] = jobs.checkpoint) -> Any:
    """Call again while the index cannot be reached, or while an embedder that worked before fails, such as a service
    that is being restarted; the job gets a heartbeat every few seconds.

    In the meantime the job has the reason as its error, and keeps it if its process gives up or dies.
    """
    until = time.monotonic() + OUTAGE_SECONDS
    attempts = 0
    while True:
        try:
            result = call()
        except (IndexUnavailable, EmbedderError) as error:
            if isinstance(error, EmbedderError) and not job.done:
                raise
            reason = mask_credentials(error)
            if job.error != reason:
                jobs.heartbeat(job, error=reason)
            if time.monotonic() > until:
                raise
            attempts += 1
            logger.warning("The rebuild waits: %s", reason)
            wait = min(leases.delay(attempts), 15.0)
            while wait > 0:
                time.sleep(min(wait, WAIT_SECONDS))
                wait -= WAIT_SECONDS
                beat(job)
        else:
            if job.error:
                jobs.heartbeat(job, error="")
            return result
