"""Compare the database with the index, and repair the differences that no signal reported.

Items are read by primary key, states and entries side by side in the order of their keys, embeddings by id: memory
does not grow with the tables.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from django.db import models
from django.db.models.functions import Concat
from django.utils import timezone

from imagesim import measured_colours
from imagesim.database import atomic, in_code_point_order, pages, primary, retry_conflicts
from imagesim.indexing import item_regions, jobs, outbox
from imagesim.indexing.documents import (
    Outcome,
    checksum,
    count_items,
    images_by_state,
    items_behind,
    metadata_of,
    queryset_of,
)
from imagesim.indexing.purge import purge_thumbnails, purge_tombstones, purge_unused
from imagesim.indexing.statistics import update_when_reconciled
from imagesim.indexing.sync import Progress, sync
from imagesim.indexing.time_limit import stopped_at_time_limit
from imagesim.indexing.write_targets import Target, live_targets
from imagesim.items import Items, valid_pks
from imagesim.models import Embedding, ItemImage, ItemState, Job, Scope, stored_name
from imagesim.registry import make_key, registry, split_key

logger = logging.getLogger("imagesim.indexing.sync")

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

DIFFERENCES = ("missing", "stale", "orphaned", "duplicate")
UNUSED = ("embeddings", "regions", "thumbnails")
CHUNK = 500
HEARTBEAT_SECONDS = 2.0


@dataclass(frozen=True)
class Difference:
    """An item whose entry is missing or wrong."""

    label: str
    pk: str
    kind: str
    """One of ``DIFFERENCES``; empty if the entry is right and only the state has to be synced again."""
    scope: Scope = Scope.METADATA
    """``ALL`` where its images have to be opened."""
    indexed_version: int = 0
    """The version in the index, if it is ahead of the database, as after a restored backup."""


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
    for checked, differences, position in _differences(compared, since, after):
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


def _differences(targets: Sequence[Target], since: datetime, after: str) -> Iterator[tuple[int, list[Difference], str]]:
    """Compare all items behind the position ``after``, and the entries of each of the ``targets``; yield the number of
    items just checked, their differences and the position of the last one."""
    fingerprints = {target.meta.fingerprint for target in targets}
    for items, queryset in items_behind(after):
        for page, differences in _compare_items(items, queryset, fingerprints, since):
            yield len(page), differences, f"{items.label}|{page[-1]}"
    for differences in _compare_vanished(since):
        yield 0, differences, ""
    for target in targets:
        for differences in _compare_entries(target.index.scan(backing_index=target.backing_index), since):
            yield 0, differences, ""


@retry_conflicts
def _queue(differences: Sequence[Difference]) -> None:
    """Queue the items for reindexing, with a version above any in the index."""
    for (label, scope), group in _grouped(differences, lambda d: (d.label, d.scope)).items():
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


# The shop's items and their states.


def _compare_items(
    items: Items[Any], queryset: models.QuerySet[Any], fingerprints: Set[str], since: datetime
) -> Iterator[tuple[list[str], list[Difference]]]:
    """Compare items of a model with their states; yield the keys and the differences of each page. ``fingerprints`` are
    those of the models of all complete indexes."""
    for page in pages(items.for_reading(queryset), CHUNK):
        states = _states(items.label, [items.pk_of(item) for item in page])
        images = images_by_state(states.values())
        digests = {image.digest for known in images.values() for image in known}
        embedded = _embedded(digests, fingerprints)
        unsearched = set(item_regions.without_regions(embedded, fingerprints))
        colours = measured_colours.stored(digests) if items.measured_colours else {}
        unmeasured = set(embedded) - set(colours) if items.measured_colours else set()
        differences = []
        for item in page:
            pk = items.pk_of(item)
            state = states.get(pk)
            known = images.get(state.pk, []) if state is not None else []
            kind = _compare_item(items, item, state, known, embedded, colours, since)
            opens = any(image.digest in unsearched for image in known)
            # Queued without a difference: an image with a temporary error, without regions, or without colours.
            again = any(image.error and not image.permanent for image in known)
            if kind or opens or again or _lacks_colours(items, item, known, unmeasured):
                scope = Scope.ALL if opens else Scope.METADATA
                differences.append(Difference(items.label, pk, kind, scope))
        yield [items.pk_of(item) for item in page], differences


def _embedded(digests: Set[str], fingerprints: Set[str]) -> set[str]:
    """Return the images that every model has embedded."""
    stored = Embedding.objects.filter(fingerprint__in=fingerprints, digest__in=digests)
    counted = Counter(stored.values_list("digest", flat=True))
    return {digest for digest, count in counted.items() if count == len(fingerprints)}


def _compare_item(
    items: Items[Any],
    item: Any,
    state: ItemState | None,
    known: Sequence[ItemImage],
    embedded: set[str],
    colours: Mapping[str, tuple[str, ...]],
    since: datetime,
) -> str:
    """One of ``DIFFERENCES``, or empty."""
    if state is not None and _is_in_progress(state, since):
        return ""
    try:
        wanted = items.should_index(item)
        if state is None:
            return "missing" if wanted and list(items.get_images(item)) else ""
        if not wanted:
            return "orphaned" if state.outcome == Outcome.INDEXED else ""
        names = [stored_name(str(file.name)) for file in items.get_images(item)]
        if names != [image.name for image in known]:
            return "stale" if state.outcome == Outcome.INDEXED else "missing"
        refused = state.outcome == Outcome.FAILED and state.checksum  # by the index
        if state.outcome != Outcome.INDEXED and not refused:
            return "missing" if state.outcome in (Outcome.NEW, Outcome.REMOVED) and names else ""
        usable = [(image.digest, image.name) for image in known if not image.error]
        if any(digest not in embedded for digest, _ in usable):
            return "missing"
        metadata = metadata_of(items, item, [digest for digest, _ in usable], colours)
        return "" if checksum(metadata, usable) == state.checksum else "stale"
    except Exception as error:  # the shop's code fails on this item; the sync stores the error
        logger.warning("%s cannot be compared: %s", make_key(items.label, items.pk_of(item)), error)
        return "" if state is not None and state.outcome == Outcome.FAILED else "stale"


def _lacks_colours(items: Items[Any], item: Any, known: Sequence[ItemImage], unmeasured: set[str]) -> bool:
    """Whether an image of the item has to be measured."""
    try:
        return any(image.digest in unmeasured for image in known) and measured_colours.has_to_measure(items, item)
    except Exception:  # the shop's code fails on this item; the comparison has said so
        return False


def _compare_vanished(since: datetime) -> Iterator[list[Difference]]:
    """Yield the states of items that no longer exist."""
    states = primary(ItemState).exclude(outcome=Outcome.REMOVED).filter(pending=False)
    for page in pages(states, CHUNK):
        existing = _existing(page)
        yield [
            Difference(state.model, state.object_pk, "orphaned" if state.outcome == Outcome.INDEXED else "")
            for state in page
            if (state.model, state.object_pk) not in existing and not _is_in_progress(state, since)
        ]


def _is_in_progress(state: ItemState, since: datetime) -> bool:
    """Whether a change waits, or the item was synced since the comparison began."""
    return state.pending or (state.synced_at is not None and state.synced_at >= since)


# The states and the entries of the index, side by side.


def _compare_entries(entries: Iterator[tuple[str, int]], since: datetime) -> Iterator[list[Difference]]:
    found: list[Difference] = []
    states = _states_by_key()
    for number, (key, version, duplicate, state) in enumerate(_side_by_side(entries, states), 1):
        kind, ahead = _compare_entry(version, duplicate, state)
        if kind:
            found.append(Difference(*split_key(key), kind, indexed_version=ahead))
        if number % CHUNK == 0:  # also without a difference, for the heartbeat
            yield _confirmed(found, since)
            found = []
    yield _confirmed(found, since)


def _compare_entry(version: int | None, duplicate: bool, state: ItemState | None) -> tuple[str, int]:
    """One of ``DIFFERENCES`` or empty, and the entry's version where it is ahead of the state."""
    if duplicate:
        return "duplicate", version or 0
    if state is None:
        return "orphaned", version or 0
    ahead = version if version is not None and version > state.version else 0
    if ahead:  # also while a change waits: the index would reject it
        return "stale", ahead
    if state.pending:
        return "", 0
    if state.outcome == Outcome.INDEXED:
        if version is None:
            return "missing", 0
        return ("stale", 0) if version < state.synced_version else ("", 0)
    if version is None or (state.outcome == Outcome.FAILED and state.not_before is not None):
        return "", 0  # correctly absent; or it will be retried, and the former entry stays meanwhile
    return "orphaned", version


def _confirmed(differences: Sequence[Difference], since: datetime) -> list[Difference]:
    """Return the differences of items that were not synced during the comparison."""
    confirmed = []
    for label, group in _grouped(differences, lambda difference: difference.label).items():
        states = _states(label, [difference.pk for difference in group])
        for difference in group:
            state = states.get(difference.pk)
            ahead = state is not None and difference.indexed_version > state.version
            if state is None or ahead or not _is_in_progress(state, since):
                confirmed.append(difference)
    return confirmed


def _states(label: str, pks: Sequence[str]) -> dict[str, ItemState]:
    return {s.object_pk: s for s in primary(ItemState).filter(model=label, object_pk__in=pks)}


def _grouped(every: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for each in every:
        groups.setdefault(key(each), []).append(each)
    return groups


def _existing(states: Iterable[ItemState]) -> set[tuple[str, str]]:
    """Return the label and the primary key of those items that exist."""
    found: set[tuple[str, str]] = set()
    for items, pks in registry.grouped((state.model, state.object_pk) for state in states):
        existing = queryset_of(items).filter(pk__in=valid_pks(items.model, pks)).values_list("pk", flat=True)
        found |= {(items.label, str(pk)) for pk in existing}
    return found


def _states_by_key() -> Iterator[tuple[str, ItemState]]:
    """Every state with its key, in the order of the keys' code points, which is also that of the index's scan."""
    key: Any = Concat("model", models.Value(":"), "object_pk", output_field=models.CharField(max_length=400))
    states = primary(ItemState).annotate(key=key)
    for state in in_code_point_order(states, "key", attrgetter("key"), chunk_size=CHUNK):
        yield state.key, state


def _side_by_side(
    entries: Iterator[tuple[str, int]], states: Iterator[tuple[str, ItemState]]
) -> Iterator[tuple[str, int | None, bool, ItemState | None]]:
    """(key, version in the index, whether the index holds it twice, state), in the order of the keys."""
    groups = ((key, [version for _, version in group]) for key, group in groupby(entries, key=itemgetter(0)))
    entry, state = next(groups, None), next(states, None)
    while entry is not None or state is not None:
        key = min(each[0] for each in (entry, state) if each is not None)
        version, duplicate, known = None, False, None
        if entry is not None and entry[0] == key:
            version, duplicate = max(entry[1]), len(entry[1]) > 1
            entry = next(groups, None)
        if state is not None and state[0] == key:
            known = state[1]
            state = next(states, None)
        yield key, version, duplicate, known
