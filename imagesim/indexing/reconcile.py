"""Compare the database with the index, and repair the differences that no signal reported."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext

from django.utils import timezone

from imagesim.database import atomic, primary, retry_conflicts
from imagesim.indexing import jobs, outbox
from imagesim.indexing.differences import DIFFERENCES, Difference, compare, grouped
from imagesim.indexing.documents import count_items
from imagesim.indexing.purge import purge_thumbnails, purge_tombstones, purge_unused
from imagesim.indexing.statistics import update_when_reconciled
from imagesim.indexing.sync import Progress, sync
from imagesim.indexing.time_limit import stopped_at_time_limit
from imagesim.indexing.write_targets import live_targets
from imagesim.models import ItemState, Job
from imagesim.registry import make_key, registry

logger = logging.getLogger("imagesim.indexing.sync")

UNUSED = ("embeddings", "regions", "thumbnails")
HEARTBEAT_SECONDS = 2.0


class _TimeOver(Exception):
    pass


@stopped_at_time_limit()
def reconcile(
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    seconds: float | None = None,
    repair_now: bool = True,
    unfinished: int | None = None,
    message: str = "",
) -> Job:
    """Find missing, stale, orphaned and duplicate entries of the index, and queue their items for reindexing.

    Also deletes embeddings and thumbnails of images that no item has, and the states of items deleted long ago. With
    ``dry_run`` nothing is changed; ``job.report`` has the differences in either case. ``repair_now=False`` leaves the
    repairs to the next sync. After ``seconds`` it stops between two pages of items, and the next call continues it.
    With ``unfinished``, the primary key of one, only that one is continued; with ``message``, the id of a Celery
    message that has started one, only that one. A job that was paused or cancelled is returned as such; what it found
    so far is queued.

    :raises AlreadyRunning: if another process is reconciling, or a reconcile is paused.
    :raises IndexUnavailable: if the index cannot be reached.
    :raises IndexMissing: if no index is active.
    :raises NotRegistered: in a process that registers no model, which would take every entry for orphaned.
    """
    registry.require_models()
    if dry_run:
        job = Job(kind=Job.Kind.RECONCILE, status=Job.Status.RUNNING)  # is not stored
    else:
        job = jobs.start(Job.Kind.RECONCILE, unfinished=unfinished, message=message)
    started = time.monotonic()
    report = dict.fromkeys(("checked", *DIFFERENCES, *UNUSED, "tombstones", "repaired"), 0)
    if job.cursor:  # it was stopped there
        report |= job.report
    try:
        with nullcontext() if dry_run else jobs.kept_alive(job):  # a page of slow items, or a large table to purge
            _reconcile(job, report, dry_run, progress, started + seconds if seconds else None)
    except jobs.JobLost:
        raise
    except _TimeOver:
        jobs.heartbeat(job, cursor=job.cursor, done=job.done, report=report)
        jobs.suspend(job)
        return job
    except jobs.JobPaused:
        jobs.leave_paused(job, cursor=job.cursor, done=job.done, report=report)
        return job
    except jobs.JobCancelled:
        jobs.finish(job, cancelled=True, done=job.done, report=report)
        return job
    except BaseException as error:
        if not dry_run:
            jobs.finish(job, error=f"{type(error).__name__}: {error}", done=job.done, report=report)
        raise
    if not dry_run:
        jobs.finish(job, done=job.done, report=report)
        if repair_now:
            sync()
        for target in live_targets():
            if target.complete:
                update_when_reconciled(target.backing_index)
    job.report = report
    logger.info(
        "compared %d items in %.1f s: %s",
        report["checked"],
        time.monotonic() - started,
        ", ".join(f"{report[name]} {name}" for name in DIFFERENCES),
        extra={"event": "reconcile.done", "dry_run": dry_run, "seconds": time.monotonic() - started, **report},
    )
    return job


def _reconcile(job: Job, report: dict[str, int], dry_run: bool, progress: Progress | None, until: float | None) -> None:
    since = timezone.now()
    targets = live_targets()
    compared = [target for target in targets if target.complete]
    for target in compared:
        target.index.refresh(target.backing_index)
    job.total = count_items()
    after = job.cursor
    if not dry_run:
        # Without the cursor: if this process dies, the next one begins anew.
        jobs.checkpoint(job, total=job.total, done=job.done if after else 0, cursor="")
    job.cursor = after
    last_heartbeat = time.monotonic()
    for checked, differences, position in compare(compared, since, after):
        report["checked"] += checked
        job.done += checked
        job.cursor = position or job.cursor
        for difference in differences:
            if difference.kind:
                report[difference.kind] += 1
                logger.debug("%s: %s", difference.kind, make_key(difference.label, difference.pk))
        if not dry_run:
            _queue(differences)
            report["repaired"] += sum(1 for difference in differences if difference.kind)
            if time.monotonic() - last_heartbeat > HEARTBEAT_SECONDS:
                last_heartbeat = time.monotonic()
                jobs.checkpoint(job, done=job.done, report=report)
        if progress:
            progress(job.done, job.total)
        if position and until and not dry_run and time.monotonic() > until:
            raise _TimeOver
    if not dry_run:
        report["tombstones"] = purge_tombstones(since)
    purge_unused({target.meta.fingerprint for target in targets}, since, dry_run, report)
    report["thumbnails"] = purge_thumbnails(dry_run)


@retry_conflicts
def _queue(differences: Sequence[Difference]) -> None:
    """Queue the items for reindexing, with a version above any in the index."""
    for (label, scope), group in grouped(differences, lambda d: (d.label, d.scope)).items():
        pks = [difference.pk for difference in group]
        with atomic(ItemState):  # a worker must not lease them before they have their versions
            outbox.record(label, pks, scope=scope)
            states = primary(ItemState).filter(model=label)
            # Without a checksum the entry is written even if it equals the last one.
            states.filter(object_pk__in=pks).update(checksum="")
            for difference in group:
                if difference.indexed_version:
                    behind = states.filter(object_pk=difference.pk, version__lte=difference.indexed_version)
                    behind.update(version=difference.indexed_version + 1)
