"""Bringing the index up to date with the changes: claim, read the items again, write, mark."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import Error as DatabaseError
from django.db import models, router

from imagesim.conf import get_settings
from imagesim.exceptions import (
    ConfigurationError,
    EmbedderError,
    IndexMissing,
    IndexUnavailable,
)
from imagesim.indexing import leases, outbox
from imagesim.indexing.bootstrap import bootstrap_index
from imagesim.indexing.documents import INFRASTRUCTURE_ERRORS, Outcome, Prepared, prepare
from imagesim.indexing.embedding import Vectors
from imagesim.indexing.leases import Lease, SyncResult
from imagesim.indexing.querysets import state_aliases
from imagesim.indexing.storing import mark_of, write
from imagesim.indexing.write_targets import live_targets
from imagesim.models import ItemImage, ItemState, Scope
from imagesim.registry import registry

logger = logging.getLogger("imagesim.indexing.sync")

Progress = Callable[[int, int], None]
"""Called with (done so far, how many there are as far as known)."""

OUT_OF_REACH = (IndexUnavailable, IndexMissing, EmbedderError, ConfigurationError)
"""What no item can help: the work stops, nothing is marked, and all goes on waiting."""

NOBODYS_FAULT = (*OUT_OF_REACH, *INFRASTRUCTURE_ERRORS)

METADATA_BATCH = 512
"""Changes of metadata open no picture and call no model, so many of them go at once."""


@dataclass
class SyncReport:
    """What a sync did. ``interrupted`` says why it could not go on, else it is empty."""

    indexed: int = 0
    removed: int = 0
    skipped: int = 0
    failed: int = 0
    retried: int = 0
    embedded: int = 0
    opened: int = 0
    seconds: float = 0.0
    more: bool = False
    """Whether due changes were left, because of ``limit`` or the time given."""
    interrupted: str = ""

    @property
    def done(self) -> int:
        return self.indexed + self.removed + self.skipped + self.failed + self.retried

    def add(self, other: SyncReport) -> None:
        for name in ("indexed", "removed", "skipped", "failed", "retried", "embedded", "opened"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def touch(
    objects: models.QuerySet[Any] | Iterable[models.Model], *, scope: Scope = Scope.ALL, using: str | None = None
) -> int:
    """Mark items as changed, after writes that send no signal (``update()``, ``bulk_create()``, raw SQL).

    ``scope=Scope.METADATA`` says that no picture changed. One query for a queryset of any size, in the transaction
    that is open. Returns how many items were marked.

    :raises NotRegistered: if the model is not registered.
    """
    if isinstance(objects, models.QuerySet):
        items = registry.for_model(objects.model)
        alias = using or getattr(objects, "_db", None) or str(router.db_for_write(objects.model))
        count = outbox.record_queryset(items.label, objects, scope=scope, using=alias)
        outbox.announce(outbox.state_alias(alias))
        return count
    by_place: dict[tuple[str, str], list[str]] = {}
    for item in objects:
        items = registry.for_item(item)
        alias = using or item._state.db or str(router.db_for_write(type(item)))
        by_place.setdefault((items.label, outbox.state_alias(alias)), []).append(items.pk_of(item))
    total = 0
    for (label, alias), pks in by_place.items():
        total += outbox.record(label, pks, scope=scope, using=alias)
        outbox.announce(alias)
    return total


def sync(
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    using: str | None = None,
    seconds: float | None = None,
) -> SyncReport:
    """Bring the index up to date with the changes that wait, side by side with any number of others doing the same.

    Makes and promotes the first index if none is in service, and fills it with all items. Stops when nothing
    is due, or after ``limit`` items or ``seconds``. An index that cannot be reached is no failure of any item:
    ``interrupted`` says so, and everything goes on waiting.
    """
    started = time.monotonic()
    report = SyncReport()
    try:
        bootstrap_index()
        for alias in [using] if using else state_aliases():
            leases.revive(alias)
            _drain(alias, report, limit, progress, started + seconds if seconds else None)
    except OUT_OF_REACH as error:
        report.interrupted = str(error)
        logger.warning("sync interrupted: %s", error, extra={"event": "sync.interrupted", "reason": str(error)})
    report.seconds = time.monotonic() - started
    if report.done or report.interrupted:
        logger.info(
            "synced %d in %.2f s: %d indexed (%d embedded, %d pictures opened), %d removed, %d left out, "
            "%d set aside, %d to retry",
            report.done,
            report.seconds,
            report.indexed,
            report.embedded,
            report.opened,
            report.removed,
            report.skipped,
            report.failed,
            report.retried,
            extra={"event": "sync.done", **vars(report)},
        )
    return report


def _drain(alias: str, report: SyncReport, limit: int | None, progress: Progress | None, until: float | None) -> None:
    total = leases.due(alias).count() if progress else 0
    while True:
        worked = False
        # What is quick goes first: a stock flip must not wait for a thousand pictures.
        for scope, size in ((Scope.METADATA, METADATA_BATCH), (Scope.ALL, get_settings().SYNC_BATCH_SIZE)):
            if limit is not None:
                size = min(size, limit - report.done)
            if size <= 0 or (until and time.monotonic() > until):
                report.more = leases.due(alias).exists()
                return
            lease = leases.lease(alias, scope, size)
            if not lease.states:
                continue
            worked = True
            report.add(_sync_lease(lease))
            if progress:
                total = max(total, report.done)
                progress(report.done, total)
            if len(lease.states) == size and scope is Scope.METADATA:
                break  # more of the quick ones wait
        if not worked:
            return


def _sync_lease(lease: Lease) -> SyncReport:
    """One batch from claim to mark. What is nobody's fault gives the claim back and is raised."""
    started = time.monotonic()
    report = SyncReport()
    try:
        try:
            _work(lease, lease.states, report)
        except NOBODYS_FAULT:
            raise
        except Exception as error:
            logger.exception("a batch of %d failed; trying its items one by one", len(lease.states))
            _one_by_one(lease, report, error)
    except BaseException as error:
        _give_back(lease, error)
        raise
    seconds = time.monotonic() - started
    logger.debug(
        "batch of %d in %.3f s",
        len(lease.states),
        seconds,
        extra={"event": "sync.batch", "items": len(lease.states), "seconds": seconds},
    )
    return report


def _work(lease: Lease, states: Sequence[ItemState], report: SyncReport) -> None:
    targets = live_targets()
    vectors = Vectors(targets, alive=lambda: leases.renew(lease))
    prepared = prepare(states, targets, vectors, lease.using)
    write(prepared, targets)
    results = [mark_of(each) for each in prepared]
    leases.mark(lease, results)
    _follow_moved_pictures(prepared, lease.using)
    report.embedded += vectors.embedded
    report.opened += vectors.opened
    for mark in results:
        name = "retried" if mark.retry else mark.outcome
        setattr(report, name, getattr(report, name) + 1)


def _one_by_one(lease: Lease, report: SyncReport, error: Exception) -> None:
    """Find the item on which the batch failed, for a reason that nobody foresaw, and set only that one back."""
    for state in lease.states:
        try:
            if len(lease.states) == 1:
                raise error
            _work(lease, [state], report)
        except NOBODYS_FAULT:
            raise
        except Exception as single:
            mark = SyncResult(state, Outcome.FAILED, f"{type(single).__name__}: {single}", written=False, retry=True)
            leases.mark(lease, [mark])
            report.retried += 1


def _follow_moved_pictures(prepared: Sequence[Prepared], using: str) -> None:
    """A picture that is new here may have been taken from another item, whose row no signal named."""
    new = {picture.name[:500] for each in prepared for picture in each.pictures or () if picture.new}
    if not new:
        return
    owners = (
        ItemImage.objects.using(using)
        .filter(name__in=new)
        .exclude(state__in=[each.state.pk for each in prepared])
        .values_list("state__model", "state__object_pk")
        .distinct()
    )
    by_label: dict[str, list[str]] = {}
    for label, pk in owners:
        by_label.setdefault(label, []).append(pk)
    for label, pks in by_label.items():
        outbox.record(label, pks, scope=Scope.METADATA, using=using)


def _give_back(lease: Lease, error: BaseException) -> None:
    try:
        leases.release(lease, delay=1.0 if isinstance(error, Exception) else 0.0)
    except DatabaseError:
        logger.warning("the database is gone too; the claim of %d items expires by itself", len(lease.states))
