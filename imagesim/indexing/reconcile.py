"""Compare the database with the index, repair the differences that no signal reported, and delete what no item uses:
states of items deleted long ago, embeddings, regions, thumbnails."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

from django.core.files.storage import Storage
from django.db import DatabaseError
from django.db.models import QuerySet
from django.utils import timezone

from imagesim.conf import get_settings
from imagesim.database import (
    atomic,
    delete_in_batches,
    pages,
    primary,
    related_rows_from_primary,
    retry_conflicts,
)
from imagesim.embedders import get_embedder
from imagesim.exceptions import ImagesimError
from imagesim.indexing import jobs, leases, outbox
from imagesim.indexing.differences import DIFFERENCES, Difference, compare, grouped
from imagesim.indexing.documents import Outcome, count_items
from imagesim.indexing.interruptions import read_only_as_outage, stopped_at_time_limit
from imagesim.indexing.statistics import update_when_reconciled
from imagesim.indexing.sync import Progress, sync
from imagesim.indexing.write_targets import live_targets
from imagesim.items import thumbnail_files
from imagesim.items.registry import make_key, registry
from imagesim.models import (
    Embedding,
    EmbeddingLease,
    ImageColours,
    ImageRegions,
    ItemImage,
    ItemState,
    Job,
    RegionVectors,
)
from imagesim.regions import get_region_fingerprint

logger = logging.getLogger("imagesim.indexing.sync")

UNUSED = ("embeddings", "regions", "thumbnails")
HEARTBEAT_SECONDS = 2.0

UNUSED_AGE = timedelta(days=1)
"""Anything younger is kept, because its item may be in the middle of a sync."""
CHUNK = 500
TOMBSTONE_AGE = timedelta(days=1)
"""How long the state of a deleted item is kept; longer than any write can be delayed."""

UNKNOWN_MODEL = "Embeddings are not purged, because the configured models have no fingerprint: %s"


class _TimeOver(Exception):
    pass


@stopped_at_time_limit()
@read_only_as_outage()
@related_rows_from_primary()
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
    message that has started one, only the one that it started. A job that was paused or cancelled is returned as such;
    the differences found so far are queued.

    :raises AlreadyRunning: if another process is reconciling, or a reconcile is paused.
    :raises IndexUnavailable: if the index cannot be reached.
    :raises IndexMissing: if no index is active.
    :raises NotRegistered: in a process that registers no model, to which every entry would seem orphaned.
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
        extra={"event_name": "reconcile.done", "dry_run": dry_run, "seconds": time.monotonic() - started, **report},
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
        # Without the cursor: if this process dies, the next one starts from the beginning.
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
    """Queue the items for reindexing, with a version above any in the index. An item that is being saved is left to the
    save, or to the next reconcile."""
    for (label, scope), group in grouped(differences, lambda d: (d.label, d.scope)).items():
        with atomic(ItemState):  # a worker must not lease them before they have their versions
            states = primary(ItemState).filter(model=label)
            found = states.filter(object_pk__in=[difference.pk for difference in group])
            saved = set(found.exclude(pk__in=leases.lock(found)).values_list("object_pk", flat=True))
            pks = [difference.pk for difference in group if difference.pk not in saved]
            gave_up = states.filter(object_pk__in=pks, outcome=Outcome.FAILED, not_before=None, checksum="")
            tried_once = list(gave_up.values_list("pk", flat=True))
            outbox.record(label, pks, scope=scope)
            # One of them may be what kills workers, and can then kill only one more.
            states.filter(pk__in=tried_once).update(attempts=get_settings().SYNC_MAX_ATTEMPTS)
            # Without a checksum the entry is written even if it equals the last one.
            states.filter(object_pk__in=pks).update(checksum="")
            for difference in group:
                if difference.indexed_version and difference.pk not in saved:
                    behind = states.filter(object_pk=difference.pk, version__lte=difference.indexed_version)
                    behind.update(version=difference.indexed_version + 1)


# Data that no item uses. A rebuild deletes the data of former models.


def purge_tombstones(since: datetime) -> int:
    """Delete the states of items that were removed long ago; return how many."""
    old = primary(ItemState).filter(outcome=Outcome.REMOVED, pending=False, synced_at__lt=since - TOMBSTONE_AGE)
    count = 0
    while pks := list(old.values_list("pk", flat=True)[:CHUNK]):
        count += _delete_still(old, pks)
    return count


@retry_conflicts
def _delete_still(old: QuerySet[ItemState], pks: list[int]) -> int:
    """Delete those that are still old; return how many. A process that creates such an item again waits, and adds a new
    row."""
    token = secrets.token_hex(16)
    with atomic(ItemState):
        old.filter(pk__in=pks).update(lease=token)  # takes the locks
        return primary(ItemState).filter(pk__in=pks, lease=token).delete()[1].get(ItemState._meta.label, 0)


def purge_unused(fingerprints: set[str], since: datetime, dry_run: bool, report: dict[str, int]) -> None:
    """Delete the stored data of images that no item has, and of models and region finders that neither an index nor the
    settings use. With ``dry_run`` it is only counted.
    """
    before = since - UNUSED_AGE
    if not dry_run:
        delete_in_batches(EmbeddingLease.objects.filter(until__lt=before))  # of workers that died
    try:
        fingerprints = fingerprints | {get_embedder().fingerprint}
        finder = get_region_fingerprint()
    except ImagesimError as error:
        logger.warning(UNKNOWN_MODEL, error)
        return
    embeddings = Embedding.objects.filter(created_at__lt=before).defer("vector")
    report["embeddings"] = _purge(embeddings, dry_run, lambda row: row.fingerprint in fingerprints)
    regions = ImageRegions.objects.filter(created_at__lt=before).defer("regions")
    report["regions"] = _purge(regions, dry_run, lambda row: row.finder == finder)
    if not dry_run:
        _purge(ImageColours.objects.filter(created_at__lt=before), dry_run)
        _purge_region_vectors(fingerprints, before)


def purge_former_models(fingerprints: set[str]) -> int:
    """Delete the embeddings of models that are neither in ``fingerprints`` nor in the settings; return how many."""
    before = timezone.now() - UNUSED_AGE
    try:
        kept = fingerprints | {get_embedder().fingerprint}
    except ImagesimError as error:  # a service that does not answer; the next reconcile deletes them
        logger.warning(UNKNOWN_MODEL, error)
        return 0
    _purge_region_vectors(kept, before)
    return delete_in_batches(Embedding.objects.filter(created_at__lt=before).exclude(fingerprint__in=kept))


def _purge_region_vectors(fingerprints: set[str], before: datetime) -> None:
    delete_in_batches(RegionVectors.objects.filter(image__created_at__lt=before).exclude(fingerprint__in=fingerprints))


def purge_thumbnails(dry_run: bool) -> int:
    """Delete the thumbnails of pictures that no item has any more; return how many."""
    return sum(_purge_thumbnails(storage, dry_run) for storage in thumbnail_files.storages())


def _purge_thumbnails(storage: Storage, dry_run: bool) -> int:
    try:
        unused = set(thumbnail_files.stored(storage))
        if not unused:  # true of most storages
            return 0
        for page in pages(primary(ItemImage).only("name"), CHUNK):
            names = (thumbnail_files.file_name(image.name, width) for image in page for width in thumbnail_files.WIDTHS)
            unused.difference_update(names)
        for name in () if dry_run else unused:
            thumbnail_files.delete(storage, name)
    except DatabaseError:
        raise
    except Exception as error:  # storages raise errors of their own clients, and some list nothing
        # Its class: the default storage is wrapped in an object that does not name it.
        logger.warning("Thumbnails are not purged in %s: %r", storage.__class__.__name__, error)
        return 0
    return len(unused)


def _purge(old: QuerySet[Any], dry_run: bool, is_current: Callable[[Any], bool] = lambda row: True) -> int:
    """Delete the rows, each of one image, whose image no item has, and those that are not current; return how many."""
    count = 0
    for page in pages(old, CHUNK):
        digests = {row.digest for row in page}
        used = set(primary(ItemImage).filter(digest__in=digests).values_list("digest", flat=True))
        unused = [row.pk for row in page if row.digest not in used or not is_current(row)]
        count += len(unused)
        if unused and not dry_run:
            retry_conflicts(old.model._base_manager.filter(pk__in=unused).delete)()
    return count
