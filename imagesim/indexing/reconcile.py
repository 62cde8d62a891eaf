"""Comparing the database with the index, and repairing what no signal told of.

Everything streams: items by primary key, states and entries side by side in the order of their keys, embeddings
by id. Nothing grows with the table.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from django.db import models
from django.db.models.functions import Concat
from django.utils import timezone

from imagesim.collation import in_code_point_order
from imagesim.embedders import get_embedder
from imagesim.exceptions import AlreadyRunning, ConfigurationError
from imagesim.indexing import jobs, outbox
from imagesim.indexing.documents import Outcome, checksum, facts_of
from imagesim.indexing.querysets import queryset_of, state_aliases, valid_pks
from imagesim.indexing.sync import Progress, sync
from imagesim.indexing.write_targets import live_targets
from imagesim.items import Items
from imagesim.models import Embedding, ItemImage, ItemState, Job, Scope
from imagesim.registry import make_key, registry, split_key

logger = logging.getLogger("imagesim.indexing.sync")

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

DIFFERENCES = ("missing", "stale", "orphaned", "doubled")
CHUNK = 500
EMBEDDING_AGE = timedelta(days=1)
"""Younger embeddings may belong to an item that is just being synced."""
TOMBSTONE_AGE = timedelta(days=1)
"""How long what is known of a deleted item is kept. No write can be late by more."""


@dataclass
class _Finding:
    """An item whose entry is not what it should be."""

    using: str
    label: str
    pk: str
    kind: str
    """One of ``DIFFERENCES``; empty for what needs no repair in the index, only tidying here."""
    indexed_version: int = 0
    """The version in the index where that is ahead of ours, as after a restored backup."""


def reconcile(*, dry_run: bool = False, progress: Progress | None = None, repair_now: bool = True) -> Job:
    """Find what is missing, stale, orphaned or doubled in the index, and have it synced again.

    Also deletes embeddings that no picture has any more, and what is remembered of long deleted items. With
    ``dry_run`` nothing is changed; ``run.report`` says what was found either way. ``repair_now=False`` leaves
    the repairs to whoever syncs.

    :raises AlreadyRunning: if another process is at it.
    :raises IndexUnavailable: if the index cannot be reached.
    :raises IndexMissing: if nothing is in service.
    """
    job = _dry_run() if dry_run else jobs.start(Job.Kind.RECONCILE)
    if job is None:
        raise AlreadyRunning("A comparison is running already; imagesim_status shows how far it is.")
    started = time.monotonic()
    report = dict.fromkeys(("checked", *DIFFERENCES, "embeddings", "tombstones", "repaired"), 0)
    work = _Work(job, report, dry_run, progress)
    try:
        targets = live_targets()  # raises where there is nothing to compare with
        targets[0].index.refresh(targets[0].backing_index)
        work.begin(targets[0].meta.fingerprint)
        for alias in state_aliases():
            for items in registry:
                work.compare_items(items, alias)
            work.compare_vanished(alias)
            if not dry_run:
                work.purge_tombstones(alias)
        work.compare_entries(targets[0].index.scan(backing_index=targets[0].backing_index))
        work.purge_embeddings({target.meta.fingerprint for target in targets})
        work.flush()
    except jobs.JobLost:
        raise
    except BaseException as error:
        if not dry_run:
            jobs.finish(job, error=f"{type(error).__name__}: {error}", report=report)
        raise
    if not dry_run:
        jobs.finish(job, report=report)
        if repair_now:
            sync()
    job.report = report
    logger.info(
        "compared %d items in %.1f s: %s",
        report["checked"],
        time.monotonic() - started,
        ", ".join(f"{report[name]} {name}" for name in DIFFERENCES),
        extra={"event": "reconcile.done", "dry_run": dry_run, "seconds": time.monotonic() - started, **report},
    )
    return job


def _dry_run() -> Job:
    """Not stored: a look leaves no trace."""
    return Job(kind=Job.Kind.RECONCILE, status=Job.Status.RUNNING)


class _Work:
    """One comparison."""

    def __init__(self, job: Job, report: dict[str, int], dry_run: bool, progress: Progress | None) -> None:
        self.job, self.report, self.dry_run, self.progress = job, report, dry_run, progress
        self.started = timezone.now()
        self._last_sign = time.monotonic()

    def begin(self, fingerprint: str) -> None:
        """``fingerprint`` is that of the model of the index in service."""
        self.fingerprint = fingerprint
        self.job.total = sum(queryset_of(items, alias).count() for alias in state_aliases() for items in registry)
        if not self.dry_run:
            jobs.alive(self.job, total=self.job.total, done=0)

    def _advance(self, count: int) -> None:
        self.job.done += count
        if not self.dry_run and time.monotonic() - self._last_sign > 2:
            self._last_sign = time.monotonic()
            jobs.alive(self.job, done=self.job.done, report=self.report)
        if self.progress:
            self.progress(self.job.done, self.job.total)

    def flush(self) -> None:
        self._advance(0)

    def found(self, findings: Sequence[_Finding]) -> None:
        """Count, and have the items synced again with a version above any that the index holds."""
        for finding in findings:
            if finding.kind:
                self.report[finding.kind] += 1
                logger.debug("%s: %s", finding.kind, make_key(finding.label, finding.pk))
        if self.dry_run:
            return
        for (using, label), group in _grouped(findings, lambda f: (f.using, f.label)).items():
            pks = [finding.pk for finding in group]
            outbox.record(label, pks, scope=Scope.METADATA, using=using)
            states = ItemState.objects.using(using).filter(model=label)
            # Without a checksum the entry is written even if it says what was written last.
            states.filter(object_pk__in=pks).update(checksum="")
            for finding in group:
                if finding.indexed_version:
                    behind = states.filter(object_pk=finding.pk, version__lte=finding.indexed_version)
                    behind.update(version=finding.indexed_version + 1)
            outbox.announce(using)
        self.report["repaired"] += sum(1 for finding in findings if finding.kind)

    # The shop's items and what is known of them.

    def compare_items(self, items: Items[Any], using: str) -> None:
        queryset = items.for_reading(queryset_of(items, using).order_by("pk"))
        for page in _pages(queryset):
            states = _states(items.label, [items.pk_of(item) for item in page], using)
            images = _images(states.values(), using)
            embedded = self._embedded(image.digest for known in images.values() for image in known)
            findings = []
            for item in page:
                pk = items.pk_of(item)
                state = states.get(pk)
                kind = self._compare(items, item, state, images, embedded)
                if kind or (state is not None and _may_have_come(images.get(state.pk, ()))):
                    findings.append(_Finding(using, items.label, pk, kind))
            self.found(findings)
            self.report["checked"] += len(page)
            self._advance(len(page))

    def _compare(
        self,
        items: Items[Any],
        item: Any,
        state: ItemState | None,
        images: dict[int, list[ItemImage]],
        embedded: set[str],
    ) -> str:
        if state is not None and self._in_motion(state):
            return ""
        try:
            wanted = items.should_index(item)
            if state is None:
                return "missing" if wanted and list(items.get_images(item)) else ""
            if not wanted:
                return "orphaned" if state.outcome == Outcome.INDEXED else ""
            names = [str(file.name)[:500] for file in items.get_images(item)]
            known = images.get(state.pk, [])
            if names != [image.name for image in known]:
                return "stale" if state.outcome == Outcome.INDEXED else "missing"
            if state.outcome != Outcome.INDEXED:
                return "missing" if state.outcome in (Outcome.NEW, Outcome.REMOVED) and names else ""
            usable = [(image.digest, image.name) for image in known if not image.error]
            if any(digest not in embedded for digest, _ in usable):
                return "missing"
            return "" if checksum(facts_of(items, item), usable) == state.checksum else "stale"
        except Exception as error:  # the shop's code fails on this item: the sync sets it aside with the error
            logger.warning("%s cannot be compared: %s", make_key(items.label, items.pk_of(item)), error)
            return "" if state is not None and state.outcome == Outcome.FAILED else "stale"

    def _embedded(self, digests: Iterable[str]) -> set[str]:
        """Those of which the embedding is there that a question by an item needs."""
        found = Embedding.objects.filter(fingerprint=self.fingerprint, digest__in=set(digests))
        return set(found.values_list("digest", flat=True))

    def compare_vanished(self, using: str) -> None:
        """States of items that are no longer there."""
        states = ItemState.objects.using(using).exclude(outcome=Outcome.REMOVED).filter(pending=False).order_by("pk")
        for page in _pages(states):
            findings = []
            for label, group in _grouped(page, lambda state: state.model).items():
                there = _existing(label, [state.object_pk for state in group], using)
                for state in group:
                    if state.object_pk not in there and not self._in_motion(state):
                        kind = "orphaned" if state.outcome == Outcome.INDEXED else ""
                        findings.append(_Finding(using, label, state.object_pk, kind))
            self.found(findings)

    def _in_motion(self, state: ItemState) -> bool:
        """Whether it waits, or was synced since this comparison began: then it is in order, or will be."""
        return state.pending or (state.synced_at is not None and state.synced_at >= self.started)

    # The states and the entries of the index, side by side.

    def compare_entries(self, entries: Iterator[tuple[str, int]]) -> None:
        aliases = state_aliases()
        findings: list[_Finding] = []
        states = merge(*map(_states_by_key, aliases), key=itemgetter(0))
        for key, version, duplicate, state in _side_by_side(entries, states):
            kind, ahead = self._judge(version, duplicate, state)
            if kind:
                using = aliases[0] if state is None else str(state._state.db)
                findings.append(_Finding(using, *split_key(key), kind, ahead))
            if len(findings) >= CHUNK:
                self.found(self._confirmed(findings))
                findings = []
            self._advance(0)
        self.found(self._confirmed(findings))

    def _judge(self, version: int | None, duplicate: bool, state: ItemState | None) -> tuple[str, int]:
        if duplicate:
            return "doubled", version or 0
        if state is None:
            return "orphaned", version or 0
        ahead = version if version is not None and version > state.version else 0
        if ahead:  # also while a change waits: it would be refused
            return "stale", ahead
        if state.pending:
            return "", 0
        if state.outcome == Outcome.INDEXED:
            if version is None:
                return "missing", 0
            return ("stale", 0) if version < state.synced_version else ("", 0)
        if version is None or (state.outcome == Outcome.FAILED and state.not_before is not None):
            return "", 0  # not to be there; or set aside for now, and the former entry answers meanwhile
        return "orphaned", version

    def _confirmed(self, findings: Sequence[_Finding]) -> list[_Finding]:
        """Those that were not synced while the comparison went on."""
        confirmed = []
        for (using, label), group in _grouped(findings, lambda f: (f.using, f.label)).items():
            states = _states(label, [finding.pk for finding in group], using)
            for finding in group:
                state = states.get(finding.pk)
                ahead = state is not None and finding.indexed_version > state.version
                if state is None or ahead or not self._in_motion(state):
                    confirmed.append(finding)
        return confirmed

    # What nobody needs any more.

    def purge_tombstones(self, using: str) -> None:
        old = ItemState.objects.using(using).filter(
            outcome=Outcome.REMOVED, pending=False, synced_at__lt=self.started - TOMBSTONE_AGE
        )
        self.report["tombstones"] += old.count()
        _delete(old)

    def purge_embeddings(self, fingerprints: set[str]) -> None:
        """Those of pictures that no item has, and of models that neither an index nor the settings use."""
        try:
            fingerprints.add(get_embedder().fingerprint)
        except ConfigurationError as error:
            logger.warning("embeddings are kept, because the embedder cannot be asked for its name: %s", error)
            return
        old = Embedding.objects.filter(created_at__lt=self.started - EMBEDDING_AGE).defer("vector").order_by("pk")
        for page in _pages(old):
            digests = {embedding.digest for embedding in page if embedding.fingerprint in fingerprints}
            used: set[str] = set()
            for alias in state_aliases():
                used |= set(ItemImage.objects.using(alias).filter(digest__in=digests).values_list("digest", flat=True))
            gone = [e.pk for e in page if e.digest not in used or e.fingerprint not in fingerprints]
            self.report["embeddings"] += len(gone)
            if gone and not self.dry_run:
                Embedding.objects.filter(pk__in=gone).delete()


def _may_have_come(images: Iterable[ItemImage]) -> bool:
    """Whether a picture was given up that may be there by now."""
    return any(image.error and not image.permanent for image in images)


def _pages(queryset: models.QuerySet[Any]) -> Iterator[list[Any]]:
    """Page by page along the primary key, so that the memory for one page is enough."""
    after: Any = None
    while True:
        page = list((queryset if after is None else queryset.filter(pk__gt=after))[:CHUNK])
        if not page:
            return
        yield page
        after = page[-1].pk


def _delete(queryset: models.QuerySet[Any]) -> None:
    while True:
        pks = list(queryset.values_list("pk", flat=True)[:CHUNK])
        if not pks:
            return
        queryset.model._base_manager.using(queryset.db).filter(pk__in=pks).delete()


def _states(label: str, pks: Sequence[str], using: str) -> dict[str, ItemState]:
    return {s.object_pk: s for s in ItemState.objects.using(using).filter(model=label, object_pk__in=pks)}


def _images(states: Iterable[ItemState], using: str) -> dict[int, list[ItemImage]]:
    images: dict[int, list[ItemImage]] = {}
    for image in ItemImage.objects.using(using).filter(state__in=[s.pk for s in states]).order_by("position"):
        images.setdefault(image.state_id, []).append(image)
    return images


def _grouped(every: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for each in every:
        groups.setdefault(key(each), []).append(each)
    return groups


def _existing(label: str, pks: Sequence[str], using: str) -> set[str]:
    if label not in {items.label for items in registry}:
        return set()
    items = registry.for_label(label)
    found = queryset_of(items, using).filter(pk__in=list(valid_pks(items, pks))).values_list("pk", flat=True)
    return {str(pk) for pk in found}


def _states_by_key(using: str) -> Iterator[tuple[str, ItemState]]:
    """Every state with its key, in the order of the keys' code points as the index scans, whatever the collation."""
    key: Any = Concat("model", models.Value(":"), "object_pk", output_field=models.CharField(max_length=400))
    states = ItemState.objects.using(using).annotate(key=key)
    for state in in_code_point_order(states, "key", attrgetter("key"), chunk_size=CHUNK):
        yield state.key, state


def _side_by_side(
    entries: Iterator[tuple[str, int]], states: Iterator[tuple[str, ItemState]]
) -> Iterator[tuple[str, int | None, bool, ItemState | None]]:
    """(key, version in the index, whether the index has it twice, state), in the order of the keys."""
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
