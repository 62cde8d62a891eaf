"""Bringing the index up to date with the changes: lease, read the items again, write, store the results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import Error as DatabaseError
from django.db import models
from django.utils import timezone

from imagesim import picture_versions
from imagesim.circuit_breaker import log_repeated
from imagesim.conf import get_settings
from imagesim.database import primary, related_rows_from_primary
from imagesim.exceptions import (
    AccessRefused,
    AlreadyRunning,
    ConfigurationError,
    EmbedderError,
    IndexMissing,
    IndexUnavailable,
    NotRegistered,
    SearchIndexError,
    mask_credentials,
)
from imagesim.indexes import get_index
from imagesim.indexing import jobs, leases, outbox
from imagesim.indexing.documents import Document, Outcome, names_of_images, prepare, queryset_of, write
from imagesim.indexing.embedding import Vectors, store_vectors
from imagesim.indexing.interruptions import INFRASTRUCTURE_ERRORS, read_only_as_outage, stopped_at_time_limit
from imagesim.indexing.item_regions import find_regions
from imagesim.indexing.leases import Lease, SyncResult
from imagesim.indexing.statistics import calibrate_while_filling, update_if_grown
from imagesim.indexing.write_targets import Target, live_targets, new_meta
from imagesim.items.registry import make_key, registry
from imagesim.models import Embedding, ItemImage, ItemState, Job, Scope

logger = logging.getLogger("imagesim.indexing.sync")

Progress = Callable[[int, int], None]
"""Called with (number done, total as far as known)."""

INTERRUPTING = (SearchIndexError, EmbedderError, ConfigurationError, NotRegistered)
"""Errors that interrupt the sync: no result is stored, and all changes stay queued."""

NOT_THE_ITEMS = (
    *(IndexUnavailable, AccessRefused, IndexMissing),
    *(EmbedderError, ConfigurationError, NotRegistered),
    *INFRASTRUCTURE_ERRORS,
)
"""Errors in the work on a batch that say nothing about its items; other errors of the index may concern one entry."""

METADATA_BATCH = 512
"""Metadata changes open no image and call no model, so a batch can be large."""

MAX_OWNERS = 10
"""The number of items up to which an image may have been moved from one to another. An image of more items is shared by
them, like a placeholder: reading them all again with each new one would take quadratic time."""


@dataclass
class SyncReport:
    """How many items a sync handled, by result. ``interrupted`` is the reason if it stopped early, otherwise empty.

    An item that is synced several times, because it was changed meanwhile, counts once, and in ``again`` for each
    further time with the same result.
    """

    indexed: int = 0
    removed: int = 0
    skipped: int = 0
    failed: int = 0
    retried: int = 0
    again: int = 0
    embedded: int = 0
    opened: int = 0
    seconds: float = 0.0
    more: bool = False
    """Whether due changes remain, because of ``limit`` or ``seconds``."""
    interrupted: str = ""

    @property
    def done(self) -> int:
        return self.indexed + self.removed + self.skipped + self.failed + self.retried

    def add(self, results: Iterable[SyncResult], vectors: Vectors, began: datetime) -> None:
        """Add the results of one batch of the sync that began at ``began``."""
        self.embedded += vectors.embedded
        self.opened += vectors.opened
        for result in results:
            before = result.state
            name = "retried" if result.retry else result.outcome
            if before.synced_at is not None and before.synced_at > began and before.outcome == name:
                name = "again"
            setattr(self, name, getattr(self, name) + 1)


@stopped_at_time_limit()
@read_only_as_outage()
@related_rows_from_primary()
def sync(
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    seconds: float | None = None,
) -> SyncReport:
    """Index the waiting changes. Any number of processes can run it at the same time.

    Creates the first index if none is active, and fills it with all items. Stops when nothing is due, or after
    ``limit`` items or ``seconds``. If the index cannot be reached, no item fails: ``interrupted`` gives the reason,
    and the changes stay queued. The same happens in a process that registers no model, such as one that runs older code
    from before the models were registered: it would create an index without filters, and take the other processes'
    items for deleted.
    """
    started, began = time.monotonic(), timezone.now()
    report = SyncReport()
    try:
        registry.require_models()
        if get_index().active() is None:
            bootstrap_index()
        leases.requeue_failed()
        _drain(report, began, limit, progress, started + seconds if seconds else None)
    except INTERRUPTING as error:
        report.interrupted = str(error)
        extra = {"event_name": "sync.interrupted", "reason": str(error)}
        log_repeated(logger, logging.WARNING, error.code, "sync interrupted: %s", error, extra=extra)
    if report.indexed and not report.interrupted and not report.more:
        update_if_grown()
    report.seconds = time.monotonic() - started
    if report.done:
        logger.info(
            "synced %d in %.2f s: %d indexed (%d embedded, %d images opened), %d removed, %d skipped, "
            "%d failed, %d to retry, %d again",
            *(report.done, report.seconds, report.indexed, report.embedded, report.opened),
            *(report.removed, report.skipped, report.failed, report.retried, report.again),
            extra={"event_name": "sync.done", **vars(report)},
        )
    return report


def bootstrap_index() -> None:
    """Create the first index, queue every item, and make it the active one.

    :raises IndexMissing: while another process is doing so.
    """
    index = get_index()
    try:
        job = jobs.start(Job.Kind.REBUILD)
    except AlreadyRunning as error:
        raise IndexMissing(f"There is no index {index.name!r} yet. {error}") from error
    try:
        if index.active() is None:  # no other process has been faster
            jobs.drop_leftovers()
            meta = new_meta()
            backing_index = index.create(meta)
            jobs.heartbeat(job, target=backing_index)
            with jobs.kept_alive(job):
                _record_all(meta.fingerprint)
            index.promote(backing_index)
            logger.info(
                "created the first index %s",
                backing_index,
                extra={"event_name": "index.created", "index": backing_index},
            )
    except BaseException as error:
        jobs.heartbeat(job)  # what another process has taken over is not dropped
        jobs.drop_leftovers()  # the next sync, seconds later, creates another
        jobs.finish(job, error=str(error) or type(error).__name__)
        raise
    jobs.finish(job, report={"first": True})


def _record_all(fingerprint: str) -> None:
    """Queue every item. For items that a lost index had, no image whose embedding is stored is opened again: the
    storage may be lost as well, or take hours."""
    stored = primary(Embedding).filter(fingerprint=fingerprint).exists()
    for items in registry:
        queryset = queryset_of(items)
        scope = Scope.METADATA if stored else Scope.ALL
        outbox.record(items.label, queryset, scope=scope, using=queryset.db, announce=False)
    queued = primary(ItemState).filter(pending=True, scope=Scope.METADATA)
    queued.exclude(outcome=Outcome.INDEXED).update(scope=Scope.ALL)
    queued.update(checksum="")  # an entry is written even if it equals the one that was lost


def _drain(
    report: SyncReport, began: datetime, limit: int | None, progress: Progress | None, until: float | None
) -> None:
    total = leases.due().count() if progress else 0
    while True:
        worked = False
        # Metadata first: a stock change must not wait for a thousand images.
        for scope, size in ((Scope.METADATA, METADATA_BATCH), (Scope.ALL, get_settings().SYNC_BATCH_SIZE)):
            if limit is not None:
                size = min(size, limit - report.done)
            if size <= 0 or (until and time.monotonic() > until):
                report.more = leases.due().exists()
                return
            lease = leases.lease(scope, size)
            if not lease.states:
                continue
            worked = True
            try:
                _sync_batch(lease, lease.states, report, began)
            except BaseException as error:
                _release(lease, error)
                raise
            if scope is Scope.ALL:
                calibrate_while_filling()
            if progress:
                total = max(total, report.done)
                progress(report.done, total)
            if len(lease.states) == size and scope is Scope.METADATA:
                break  # more metadata changes wait
        if not worked:
            return


def _sync_batch(lease: Lease, states: Sequence[ItemState], report: SyncReport, began: datetime) -> None:
    """Sync leased changes. If they fail unexpectedly, sync each alone, so that only those that fail again are
    retried."""
    started = time.monotonic()
    targets = live_targets()  # what is wrong with an index as such is not the items' fault
    try:
        renew = partial(leases.renew, lease)
        vectors = Vectors(targets, renew)
        documents = write(prepare(states, targets, vectors), targets)
        results = [document.as_sync_result() for document in documents]
        # After the items can be found, and before their changes are marked as done. A metadata change opens no image.
        read = [document for document in documents if document.state.scope == Scope.ALL]
        find_regions(read, targets, renew)
        _queue_former_owners(documents)
        leases.mark(lease, results)
        _renew_picture_versions(results)
        _store_again(documents, targets, vectors)
    except NOT_THE_ITEMS:
        raise
    except Exception as error:
        log_repeated(logger, logging.ERROR, "batch", "a batch of %d failed", len(states), exc_info=True)
        if len(states) == 1:
            message = f"{type(error).__name__}: {error}"
            result = SyncResult(states[0], Outcome.FAILED, message, written=False, partly=True, retry=True)
            leases.mark(lease, [result])
            report.retried += 1
            return
        leases.renew_versions(lease)
        for state in lease.states:
            _sync_batch(lease, [state], report, began)
        return
    report.add(results, vectors, began)
    seconds = time.monotonic() - started
    extra = {"event_name": "sync.batch", "items": len(states), "seconds": seconds}
    logger.debug("batch of %d in %.3f s", len(states), seconds, extra=extra)


def _renew_picture_versions(results: Sequence[SyncResult]) -> None:
    """Let pages know which of the items that they may have asked about have other pictures now."""
    changed = [each.state for each in results if each.images is not None and each.state.outcome != Outcome.NEW]
    picture_versions.renew(make_key(state.model, state.object_pk) for state in changed)


def _store_again(documents: Sequence[Document], targets: Sequence[Target], vectors: Vectors) -> None:
    """Store again the embeddings that a reconcile deleted while they were used here, because no item had their images
    yet: for example, those of an item that was excluded from the index for some days."""
    pictures = (picture for document in documents for picture in document.pictures or () if not picture.error)
    new = {picture.digest for picture in pictures if picture.digest != picture.known_digest}
    if not new:
        return
    stored = set(primary(Embedding).filter(digest__in=new).values_list("digest", "fingerprint"))
    used = {(digest, target.meta.fingerprint) for digest in new for target in targets}
    store_vectors({key: vector for key in used - stored if (vector := vectors.get(*key)) is not None})


def _queue_former_owners(documents: Sequence[Document]) -> None:
    """Queue the items that last had an image that is new here and have it no longer: it was moved, and no signal named
    that item. Items that share the image, such as sizes of one product, are left alone.

    Called before the results are stored, after which the image is no longer new: if a worker dies in between, the items
    are already queued.
    """
    new = {picture.stored_name for document in documents for picture in document.pictures or () if picture.new}
    if not new:
        return
    images = primary(ItemImage)
    counted = images.filter(name__in=new).values("name").annotate(owners=models.Count("pk"))
    # A query of its own: with a subquery, PostgreSQL reads both tables from end to end if a picture has many items.
    names = list(counted.filter(owners__lte=MAX_OWNERS).values_list("name", flat=True))
    last = list(
        images.filter(name__in=names)
        .exclude(state__in=[document.state.pk for document in documents])
        .select_related("state")
    )
    have = names_of_images(image.state for image in last)
    moved = {key for image in last if image.name not in have.get(key := (image.state.model, image.state.object_pk), ())}
    for label, pk in moved:
        outbox.record_each(label, [pk], scope=Scope.METADATA)


def _release(lease: Lease, error: BaseException) -> None:
    try:
        failed = isinstance(error, Exception)  # and was not only stopped, as by a signal
        leases.release(lease, delay=1.0 if failed else 0.0, reason=mask_credentials(error) if failed else "")
    except DatabaseError:
        logger.warning("The database is unavailable too; the lease of %d items will expire", len(lease.states))
