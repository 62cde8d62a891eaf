"""Bringing the index up to date with the changes: claim, read the items again, write, mark."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, models, router

from imagesim.conf import get_settings
from imagesim.exceptions import (
    ConfigurationError,
    EmbedderError,
    IndexMissing,
    IndexUnavailable,
    NotRegistered,
)
from imagesim.items import Items
from imagesim.models import ItemImage, ItemState, Scope
from imagesim.registry import make_key, registry
from imagesim.types import Entry, EntryImage, Removal, WriteResult
from imagesim.writing import changes, claims
from imagesim.writing.claims import Claim, Mark
from imagesim.writing.pictures import Picture, Vectors
from imagesim.writing.targets import Target, live_targets

try:
    from billiard.exceptions import SoftTimeLimitExceeded
except ImportError:

    class SoftTimeLimitExceeded(Exception):  # type: ignore[no-redef]
        """Celery is not installed, so it never ends a task."""


logger = logging.getLogger("imagesim.sync")

Outcome = ItemState.Outcome
Progress = Callable[[int, int], None]
"""Called with (done so far, how many there are as far as known)."""

OUT_OF_REACH = (IndexUnavailable, IndexMissing, EmbedderError, ConfigurationError)
"""What no item can help: the work stops, nothing is marked, and all goes on waiting."""

PASSED_ON = (OperationalError, InterfaceError, SoftTimeLimitExceeded)
NOBODYS_FAULT = (*OUT_OF_REACH, *PASSED_ON)

METADATA_BATCH = 512
"""Changes of metadata open no picture and call no model, so many of them go at once."""


@dataclass
class SyncReport:
    """What a sync did. ``interrupted`` says why it could not go on, else it is empty."""

    indexed: int = 0
    removed: int = 0
    left_out: int = 0
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
        return self.indexed + self.removed + self.left_out + self.failed + self.retried

    def add(self, other: SyncReport) -> None:
        for name in ("indexed", "removed", "left_out", "failed", "retried", "embedded", "opened"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Prepared:
    """One claimed change, made ready to be written."""

    state: ItemState
    operations: dict[str, Entry | Removal] = field(default_factory=dict)
    """By physical index."""
    outcome: str = Outcome.INDEXED
    error: str = ""
    retry: bool = False
    checksum: str = ""
    pictures: list[Picture] | None = None
    results: list[WriteResult] = field(default_factory=list)


# What the shop and the faces call.


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
        count = changes.record_queryset(items.label, objects, scope=scope, using=alias)
        changes.announce(changes.state_alias(alias))
        return count
    by_place: dict[tuple[str, str], list[str]] = {}
    for item in objects:
        items = registry.for_item(item)
        alias = using or item._state.db or str(router.db_for_write(type(item)))
        by_place.setdefault((items.label, changes.state_alias(alias)), []).append(items.pk_of(item))
    total = 0
    for (label, alias), pks in by_place.items():
        total += changes.record(label, pks, scope=scope, using=alias)
        changes.announce(alias)
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
        _ensure_index()
        for alias in [using] if using else state_aliases():
            claims.revive(alias)
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
            report.left_out,
            report.failed,
            report.retried,
            extra={"event": "sync.done", **vars(report)},
        )
    return report


def state_aliases() -> list[str]:
    """The databases that may hold changes."""
    aliases = [changes.state_alias(str(router.db_for_write(model))) for model in registry.all_models()]
    return list(dict.fromkeys(aliases)) or [str(router.db_for_write(ItemState))]


def _ensure_index() -> None:
    from imagesim.rebuild import make_first_index

    make_first_index()


def _drain(alias: str, report: SyncReport, limit: int | None, progress: Progress | None, until: float | None) -> None:
    total = claims.due(alias).count() if progress else 0
    while True:
        worked = False
        # What is quick goes first: a stock flip must not wait for a thousand pictures.
        for scope, size in ((Scope.METADATA, METADATA_BATCH), (Scope.ALL, get_settings().SYNC_BATCH_SIZE)):
            if limit is not None:
                size = min(size, limit - report.done)
            if size <= 0 or (until and time.monotonic() > until):
                report.more = claims.due(alias).exists()
                return
            claim = claims.claim(alias, scope, size)
            if not claim.states:
                continue
            worked = True
            report.add(_sync_claim(claim))
            if progress:
                total = max(total, report.done)
                progress(report.done, total)
            if len(claim.states) == size and scope is Scope.METADATA:
                break  # more of the quick ones wait
        if not worked:
            return


def _sync_claim(claim: Claim) -> SyncReport:
    """One batch from claim to mark. What is nobody's fault gives the claim back and is raised."""
    started = time.monotonic()
    report = SyncReport()
    try:
        try:
            _work(claim, claim.states, report)
        except NOBODYS_FAULT:
            raise
        except Exception as error:
            logger.exception("a batch of %d failed; trying its items one by one", len(claim.states))
            _one_by_one(claim, report, error)
    except BaseException as error:
        _give_back(claim, error)
        raise
    seconds = time.monotonic() - started
    logger.debug(
        "batch of %d in %.3f s",
        len(claim.states),
        seconds,
        extra={"event": "sync.batch", "items": len(claim.states), "seconds": seconds},
    )
    return report


def _work(claim: Claim, states: Sequence[ItemState], report: SyncReport) -> None:
    targets = live_targets()
    vectors = Vectors(targets, alive=lambda: claims.renew(claim))
    prepared = prepare(states, targets, vectors, claim.using)
    write(prepared, targets)
    marks = [_mark_of(each) for each in prepared]
    claims.mark(claim, marks)
    _follow_moved_pictures(prepared, claim.using)
    report.embedded += vectors.embedded
    report.opened += vectors.opened
    for mark in marks:
        name = "retried" if mark.retry else mark.outcome
        setattr(report, name, getattr(report, name) + 1)


def _one_by_one(claim: Claim, report: SyncReport, error: Exception) -> None:
    """Find the item on which the batch failed, for a reason that nobody foresaw, and set only that one back."""
    for state in claim.states:
        try:
            if len(claim.states) == 1:
                raise error
            _work(claim, [state], report)
        except NOBODYS_FAULT:
            raise
        except Exception as single:
            mark = Mark(state, Outcome.FAILED, f"{type(single).__name__}: {single}", written=False, retry=True)
            claims.mark(claim, [mark])
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
        changes.record(label, pks, scope=Scope.METADATA, using=using)


def _give_back(claim: Claim, error: BaseException) -> None:
    try:
        claims.release(claim, delay=1.0 if isinstance(error, Exception) else 0.0)
    except DatabaseError:
        logger.warning("the database is gone too; the claim of %d items expires by itself", len(claim.states))


# From a change to what is to be written.


def prepare(states: Sequence[ItemState], targets: Sequence[Target], vectors: Vectors, using: str) -> list[Prepared]:
    """Read the items again and make what each target is to hold of them.

    :raises IndexMissing: if a target's projection is gone.
    """
    for target in targets:
        _ = target.projection
    prepared = [Prepared(state) for state in states]
    found = _read_items([state for state in states if not _worn_out(state)], using)
    known = _known_images(states, using)
    for each in prepared:
        if _worn_out(each.state):
            each.outcome = Outcome.FAILED
            each.error = f"The worker stopped {each.state.attempts} times while it was at this item."
            continue
        item = found.get((each.state.model, each.state.object_pk))
        if isinstance(item, Exception):
            _fail(each, item)
        elif item is None:
            each.outcome = Outcome.REMOVED
        else:
            _look_at(each, item, known.get(each.state.pk, []))
    vectors.resolve(picture for each in prepared for picture in each.pictures or () if picture.file is not None)
    for each in prepared:
        _finish(each, found.get((each.state.model, each.state.object_pk)), targets, vectors)
    return prepared


def _worn_out(state: ItemState) -> bool:
    """Whether workers keep dying at it."""
    return state.attempts > get_settings().SYNC_MAX_ATTEMPTS


def _read_items(states: Iterable[ItemState], using: str) -> dict[tuple[str, str], models.Model | Exception]:
    """The items by (label, primary key); what the shop's own code raised where it stood in the way."""
    pks: dict[str, list[str]] = {}
    for state in states:
        pks.setdefault(state.model, []).append(state.object_pk)
    found: dict[tuple[str, str], models.Model | Exception] = {}
    for label, wanted in pks.items():
        try:
            items = registry.for_label(label)
        except NotRegistered:
            continue  # no longer an item: to be removed
        try:
            for item in items.for_reading(queryset_of(items, using).filter(pk__in=valid_pks(items, wanted))):
                found[label, items.pk_of(item)] = item
        except PASSED_ON:
            raise
        except Exception as error:
            logger.exception("%s.get_queryset() failed", type(items).__name__)
            found.update({(label, pk): error for pk in wanted})
    return found


def queryset_of(items: Items[Any], using: str) -> models.QuerySet[Any]:
    """The items that may be indexed, from the database that is written to: a replica may lag behind the change."""
    alias = using if router.allow_migrate_model(using, items.model) else str(router.db_for_write(items.model))
    return items.get_queryset().using(alias)


def valid_pks(items: Items[Any], pks: Iterable[str]) -> Iterator[Any]:
    field = items.model._meta.pk
    for pk in pks:
        try:
            yield field.to_python(pk)
        except ValidationError:
            continue  # the model's key has changed its type; no item can have this one


def _known_images(states: Sequence[ItemState], using: str) -> dict[int, list[ItemImage]]:
    known: dict[int, list[ItemImage]] = {}
    rows = ItemImage.objects.using(using).filter(state__in=[state.pk for state in states]).order_by("position")
    for image in rows:
        known.setdefault(image.state_id, []).append(image)
    return known


def _look_at(each: Prepared, item: models.Model, known: Sequence[ItemImage]) -> None:
    """Which pictures the item has, and which of them have to be opened."""
    items = registry.for_label(each.state.model)
    try:
        if not items.should_index(item):
            each.outcome, each.pictures = Outcome.LEFT_OUT, []
            return
        pictures = [Picture(str(file.name), file) for file in items.get_images(item)]
    except PASSED_ON:
        raise
    except Exception as error:
        _fail(each, error)
        return
    by_name = {image.name: image for image in known}
    for picture in pictures:
        seen = by_name.get(picture.name[:500])
        if seen is None:
            picture.new = True
        elif each.state.scope == Scope.METADATA and (seen.permanent or (seen.digest and not seen.error)):
            picture.digest, picture.error, picture.permanent = seen.digest, seen.error, seen.permanent
        else:
            picture.known_digest = seen.digest
    each.pictures = pictures


def _finish(each: Prepared, item: Any, targets: Sequence[Target], vectors: Vectors) -> None:
    """The operation for each target, now that the vectors are there."""
    state = each.state
    key = make_key(state.model, state.object_pk)
    if each.outcome == Outcome.INDEXED and each.pictures is not None:
        try:
            _make_entries(each, key, item, targets, vectors)
        except PASSED_ON:
            raise
        except Exception as error:
            _fail(each, error)
    if each.outcome in (Outcome.REMOVED, Outcome.LEFT_OUT) or (each.outcome == Outcome.FAILED and _is_unusable(each)):
        each.operations = {target.physical: Removal(key, state.version) for target in targets}
        each.checksum = ""
    if each.outcome == Outcome.REMOVED:
        each.pictures = []


def _is_unusable(each: Prepared) -> bool:
    """Whether it is certain that the item cannot be shown now; else its former entry goes on answering."""
    if each.pictures is None:
        return not each.retry
    return not any(picture.unreachable for picture in each.pictures)


def _make_entries(each: Prepared, key: str, item: Any, targets: Sequence[Target], vectors: Vectors) -> None:
    state, pictures = each.state, each.pictures or []
    items = registry.for_label(state.model)
    errors = [picture for picture in pictures if picture.error]
    each.retry = any(not picture.permanent for picture in errors)
    each.error = "; ".join(f"{picture.name}: {picture.error}" for picture in errors)
    if not pictures:
        each.outcome = Outcome.LEFT_OUT
        return
    usable = {target.physical: _images(pictures, target, vectors) for target in targets}
    if not any(usable.values()):
        each.outcome = Outcome.FAILED
        return
    facts = facts_of(items, item)
    entry = Entry(key=key, model=state.model, pk=state.object_pk, version=state.version, images=(), **facts)
    for target in targets:
        if usable[target.physical]:
            each.operations[target.physical] = replace(entry, images=usable[target.physical])
    each.checksum = checksum(facts, [(picture.digest, picture.name) for picture in pictures if not picture.error])


def _images(pictures: Sequence[Picture], target: Target, vectors: Vectors) -> tuple[EntryImage, ...]:
    made = []
    for picture in pictures:
        vector = None if picture.permanent else vectors.get(picture.digest, target.meta.fingerprint)
        if vector is not None:
            vector = vector if target.projection is None else target.projection.apply(vector)
            made.append(EntryImage(picture.digest, picture.name, vector))
    return tuple(made)


def facts_of(items: Items[Any], item: models.Model) -> dict[str, Any]:
    """What an entry says of the item beside its pictures."""
    return {
        "categories": tuple(items.get_categories(item)),
        "in_stock": bool(items.get_in_stock(item)),
        "group": items.group_key_of(item),
        "filters": items.get_filters(item),
    }


def checksum(facts: dict[str, Any], pictures: Sequence[tuple[str, str]]) -> str:
    """64 characters that are equal if and only if the facts and the pictures' (digest, name) are."""
    return hashlib.sha256(json.dumps([facts, pictures], default=str, sort_keys=True).encode()).hexdigest()


def _fail(each: Prepared, error: Exception) -> None:
    """The shop's own code failed on this item. It may be mended, so it is tried again a few times."""
    logger.warning(
        "%s cannot be prepared: %s",
        each.state,
        error,
        exc_info=error,
        extra={"event": "sync.item_failed", "item": str(each.state)},
    )
    each.outcome, each.retry, each.pictures, each.operations = Outcome.FAILED, True, None, {}
    each.error = f"{type(error).__name__}: {error}"


# From what is to be written to what became of it.


def write(prepared: Sequence[Prepared], targets: Sequence[Target]) -> None:
    """Write to every target and keep each result.

    :raises IndexUnavailable: if a target cannot be reached; nothing is marked then.
    """
    for target in targets:
        todo = [each for each in prepared if target.physical in each.operations and not _unchanged(each, targets)]
        if not todo:
            continue
        try:
            results = target.index.write([each.operations[target.physical] for each in todo], physical=target.physical)
        except IndexMissing:
            if target.in_service:
                raise
            continue  # the rebuild gave up and dropped it
        for each, result in zip(todo, results, strict=True):
            each.results.append(result)


def _unchanged(each: Prepared, targets: Sequence[Target]) -> bool:
    """Whether the one index there is holds just this already: an item saved without a change that shows."""
    state = each.state
    return (
        len(targets) == 1
        and state.scope == Scope.METADATA
        and state.outcome == Outcome.INDEXED
        and bool(state.checksum)
        and state.checksum == each.checksum
        and not each.retry
    )


def _mark_of(each: Prepared) -> Mark:
    failed = [result for result in each.results if result.status == "failed"]
    mark = Mark(each.state, each.outcome, each.error, each.checksum, written=bool(each.results) and not failed)
    mark.retry = each.retry
    if each.pictures is not None:
        mark.images = [
            ItemImage(
                state=each.state,
                position=position,
                name=picture.name[:500],
                digest=picture.digest,
                error=picture.error,
                permanent=picture.permanent,
            )
            for position, picture in enumerate(each.pictures)
        ]
    if failed:
        mark.outcome = Outcome.FAILED
        mark.error = failed[0].error
        mark.retry = mark.patient = all(result.retryable for result in failed)
        mark.checksum = ""
    return mark
