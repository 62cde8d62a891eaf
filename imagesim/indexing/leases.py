"""Who works on which change: claims that expire, and marks that hold only while nothing changed meanwhile.

A claim is a random token in the row. Every new change empties it, so "the row still has my token" means both
"it is still mine" and "nothing changed since I claimed it". No lock outlives one short transaction, so that a shop's
save never waits for an embedding.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.utils import timezone

from imagesim.conf import get_settings
from imagesim.models import ItemImage, ItemState, Scope

FIRST_DELAY = 2.0
LONGEST_DELAY = 600.0
FAILED_RETRY_DELAY = 900.0
"""Seconds until what keeps failing, but may pass, is tried again by itself after it was set aside."""


@dataclass
class Lease:
    """Changes that are this worker's to sync until ``until``."""

    using: str
    token: str
    states: list[ItemState]
    until: datetime = field(default_factory=timezone.now)


@dataclass
class SyncResult:
    """What became of one claimed change."""

    state: ItemState
    outcome: str
    error: str = ""
    checksum: str = ""
    written: bool = True
    """Whether the index now holds this version (a skipped or failed write does not count)."""
    retry: bool = False
    """Whether to try again later, because what is missing may come."""
    patient: bool = False
    """Whether to retry without end: the index was overloaded, which is not the item's fault."""
    images: list[ItemImage] | None = None
    """The item's pictures as they are now; None leaves what is stored."""


def due(using: str, scope: Scope | None = None) -> QuerySet[ItemState]:
    """What waits and may be tried now, claimed by nobody alive."""
    now = timezone.now()
    states = ItemState.objects.using(using).filter(pending=True, not_before__lte=now)
    if scope is not None:
        states = states.filter(scope=scope)
    return states.filter(Q(leased_until=None) | Q(leased_until__lt=now))


def lease(using: str, scope: Scope, limit: int) -> Lease:
    """Take up to ``limit`` changes of this scope that nobody else has.

    A change whose former worker died at it is taken alone, and its attempts are counted: if it was the one that
    killed the worker, it takes nobody along, and is set aside in the end.
    """
    token = secrets.token_hex(16)
    until = timezone.now() + timedelta(seconds=get_settings().SYNC_LEASE_SECONDS)
    wanted = due(using, scope).order_by("not_before", "id")
    if not wanted.exists():  # most often; asked without a transaction and its locks
        return Lease(using, token, [], until)
    mine = {"lease": token, "leased_until": until, "checksum": ""}
    if connections[using].features.has_select_for_update_skip_locked:
        with transaction.atomic(using=using):
            states = _together(list(wanted.select_for_update(skip_locked=True)[:limit]))
            ItemState.objects.using(using).filter(pk__in=[state.pk for state in states]).update(
                **mine, attempts=_counted()
            )
    else:
        seen = _together(list(wanted[:limit]))
        due(using).filter(pk__in=[state.pk for state in seen]).update(**mine, attempts=_counted())
        taken = dict(
            ItemState.objects.using(using).filter(lease=token).values_list("pk", "version")
        )  # another worker may have taken some in between, and some may have changed again
        states = [state for state in seen if taken.get(state.pk) == state.version]
        changed = taken.keys() - {state.pk for state in states}
        if changed:
            ItemState.objects.using(using).filter(pk__in=changed, lease=token).update(lease="", leased_until=None)
    for state in states:
        state.attempts += 1 if state.lease else 0
        state.lease, state.leased_until = token, until
    return Lease(using, token, states, until)


def _together(states: list[ItemState]) -> list[ItemState]:
    if states and states[0].lease:
        return states[:1]
    return [state for state in states if not state.lease]


def _counted() -> Case:
    """One attempt more where an earlier claim was never given back."""
    return Case(When(lease="", then=F("attempts")), default=F("attempts") + Value(1))


def renew(lease: Lease) -> bool:
    """Hold on to a claim that takes long; False if it was lost (all of it was taken over or changed)."""
    now = timezone.now()
    seconds = get_settings().SYNC_LEASE_SECONDS
    if lease.until - now > timedelta(seconds=seconds / 2):
        return True
    lease.until = now + timedelta(seconds=seconds)
    mine = ItemState.objects.using(lease.using).filter(lease=lease.token)
    return bool(mine.update(leased_until=lease.until))


def release(lease: Lease, *, delay: float = 0.0) -> None:
    """Give back what was not marked, as it was: nothing failed on account of these items."""
    not_before = timezone.now() + timedelta(seconds=delay)
    ItemState.objects.using(lease.using).filter(lease=lease.token).update(
        lease="", leased_until=None, not_before=not_before
    )


def mark(lease: Lease, results: Sequence[SyncResult]) -> int:
    """Write down what became of the claimed changes; returns how many are still this worker's.

    A row that is locked (its item is being saved right now) is left alone: the save will empty the claim, or
    the claim will expire. A row that changed since it was claimed keeps what the change wrote, but see
    :func:`_repair_late`.
    """
    by_pk = {each.state.pk: each for each in results}
    states = ItemState.objects.using(lease.using)
    with transaction.atomic(using=lease.using):
        still = states.filter(pk__in=list(by_pk), lease=lease.token).order_by("pk")
        if connections[lease.using].features.has_select_for_update_skip_locked:
            mine = list(still.select_for_update(skip_locked=True).values_list("pk", flat=True))
        else:
            still.order_by().update(leased_until=lease.until)  # takes the write lock before anything is read
            mine = list(still.values_list("pk", flat=True))
        held = [by_pk[pk] for pk in mine]
        _save_states(lease.using, held)
        _save_images(lease.using, [each for each in held if each.images is not None])
    late = [each.state for each in results if each.written and each.state.pk not in set(mine)]
    if late:
        repair_late(lease.using, late)
    return len(mine)


def _save_states(using: str, results: Sequence[SyncResult]) -> None:
    if not results:
        return
    now = timezone.now()
    for each in results:
        state = each.state
        state.lease, state.leased_until = "", None
        former, state.outcome, state.error = state.outcome, each.outcome, each.error
        state.checksum = each.checksum
        state.synced_at = now
        if each.written:
            state.synced_version = state.version
        if not each.retry:
            state.pending, state.attempts = False, 0
            state.not_before = None if each.outcome == ItemState.Outcome.FAILED else now
            continue
        state.attempts += 1
        state.scope = Scope.ALL
        if each.written:
            # What will be written next differs from what was written now, so it needs a version of its own.
            state.version += 1
        worn_out = state.attempts >= get_settings().SYNC_MAX_ATTEMPTS
        if worn_out:
            state.attempts = get_settings().SYNC_MAX_ATTEMPTS - 1  # one more, each time it is tried again
        if worn_out and not each.patient:
            state.pending = False
            state.not_before = now + timedelta(seconds=FAILED_RETRY_DELAY * random.uniform(0.75, 1.25))
        else:
            state.pending = True
            if state.outcome == ItemState.Outcome.FAILED and not each.written:
                state.outcome = former  # not given up yet, and the former entry is still there
            state.not_before = now + timedelta(seconds=delay(state.attempts))
    simple, others = _simple(results)
    for (outcome, written), states in simple.items():
        for start in range(0, len(states), 250):
            _save_simple(using, outcome, written, states[start : start + 250], now)
    if others:
        ItemState.objects.using(using).bulk_update(others, _MARKED, batch_size=200)


def _save_simple(using: str, outcome: str, written: bool, states: Sequence[ItemState], now: datetime) -> None:
    """As ``bulk_update`` would, at a tenth of its cost, which is most of what a stock flip costs here."""
    connection = connections[using]
    fields: dict[str, Any] = {name: ItemState._meta.get_field(name) for name in ("id", *_MARKED)}
    column = {name: connection.ops.quote_name(field.column) for name, field in fields.items()}
    same = {
        "lease": "",
        "leased_until": None,
        "outcome": outcome,
        "error": "",
        "pending": False,
        "attempts": 0,
        "not_before": now,
        "synced_at": now,
    }
    assignments = [f"{column[name]} = %s" for name in same]
    params = [fields[name].get_db_prep_save(value, connection) for name, value in same.items()]
    if written:
        assignments.append(f"{column['synced_version']} = {column['version']}")
    assignments.append(f"{column['checksum']} = CASE {column['id']} {'WHEN %s THEN %s ' * len(states)}END")
    for state in states:
        params += [state.pk, state.checksum]
    where = f"{column['id']} IN ({', '.join(['%s'] * len(states))})"
    params += [state.pk for state in states]
    table = connection.ops.quote_name(ItemState._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {', '.join(assignments)} WHERE {where}", params)


_MARKED = [
    "lease",
    "leased_until",
    "outcome",
    "error",
    "checksum",
    "synced_at",
    "synced_version",
    "pending",
    "attempts",
    "not_before",
    "scope",
    "version",
]


def _simple(results: Sequence[SyncResult]) -> tuple[dict[tuple[str, bool], list[ItemState]], list[ItemState]]:
    """The great many that went well differ in little: (those by outcome and whether written, the others)."""
    simple: dict[tuple[str, bool], list[ItemState]] = {}
    others = []
    for each in results:
        if not each.retry and not each.error and each.outcome != ItemState.Outcome.FAILED:
            simple.setdefault((each.outcome, each.written), []).append(each.state)
        else:
            others.append(each.state)
    return simple, others


def _save_images(using: str, results: Sequence[SyncResult]) -> None:
    stored: dict[int, list[ItemImage]] = {}
    images = ItemImage.objects.using(using)
    for image in images.filter(state__in=[each.state.pk for each in results]).order_by("position"):
        stored.setdefault(image.state_id, []).append(image)
    changed = [each for each in results if _facts(stored.get(each.state.pk, [])) != _facts(each.images or [])]
    if changed:
        images.filter(state__in=[each.state.pk for each in changed]).delete()
        images.bulk_create([image for each in changed for image in each.images or []], batch_size=500)


def _facts(images: Iterable[ItemImage]) -> list[tuple[int, str, str, str, bool]]:
    return [(i.position, i.name, i.digest, i.error, i.permanent) for i in images]


def repair_late(using: str, written: Iterable[ItemState]) -> int:
    """Have another look at items that changed while an older state of them was being written.

    If the newer state was written first, and the index has since forgotten it (a tombstone lives a minute), the
    older one has landed on top. Written once more, with a version above both, it cannot stay.
    """
    versions = {state.pk: state.version for state in written}
    rows = ItemState.objects.using(using).filter(pk__in=versions, pending=False).values_list("pk", "version")
    again = [pk for pk, version in rows if version != versions[pk]]
    return (
        ItemState.objects.using(using)
        .filter(pk__in=again, pending=False)
        .update(
            pending=True,
            scope=Scope.ALL,
            version=F("version") + 1,
            not_before=timezone.now(),
            checksum="",
            lease="",
            leased_until=None,
        )
    )


def revive(using: str) -> int:
    """Try again what was set aside though it may pass, once its time has come."""
    now = timezone.now()
    aside = ItemState.objects.using(using).filter(outcome=ItemState.Outcome.FAILED, pending=False, not_before__lte=now)
    return aside.update(pending=True, scope=Scope.ALL, version=F("version") + 1)


def delay(attempts: int) -> float:
    """Seconds to wait before the next attempt: doubling, with jitter so that not all come back at once."""
    return float(min(FIRST_DELAY * 2 ** min(attempts - 1, 20), LONGEST_DELAY)) * random.uniform(0.5, 1.0)
