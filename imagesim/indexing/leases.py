"""Assign changes to workers with leases that expire, and store results only if the item has not changed meanwhile.

A lease is a random token in the row. Every new change clears it, so "the row still has my token" means both that the
lease still holds and that the item has not changed since. No lock outlives one short transaction, so a shop's save
never waits for an embedding. Embeddings have leases of their own, so that no two workers compute the same one.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Case, F, Prefetch, Q, QuerySet, Value, When
from django.db.models.expressions import RawSQL
from django.utils import timezone

from imagesim.conf import get_settings
from imagesim.database import atomic, batched, primary, retry_conflicts, state_alias
from imagesim.indexing.outbox import CLOCK_DIFFERENCE
from imagesim.models import EmbeddingLease, ItemImage, ItemState, Scope

FIRST_DELAY = 2.0
LONGEST_DELAY = 600.0
FAILED_RETRY_DELAY = 900.0
"""Seconds until a failed item with a temporary error is retried."""
EMBEDDING_LEASE_SECONDS = 120
"""The longest time after which a worker that leased embeddings and no longer renews that is considered dead."""
CLOCK_WAS_WRONG = timedelta(hours=1)
"""A time that lies further ahead than this, beyond what is ever set, comes from a wrong clock, such as that of a
machine that has just started. It counts as over."""

CHUNK = 500
"""Rows that are locked together."""

EmbeddingKey = tuple[str, str]
"""(digest, fingerprint)"""


@dataclass
class Lease:
    """Changes that this worker may sync until ``until``, with the stored images of their items."""

    token: str
    states: list[ItemState]
    until: datetime = field(default_factory=timezone.now)

    @property
    def rows(self) -> QuerySet[ItemState]:
        """The changes that are still leased."""
        return primary(ItemState).filter(pk__in=[state.pk for state in self.states], lease=self.token)


@dataclass(frozen=True)
class SyncResult:
    """The result of syncing one leased change."""

    state: ItemState
    outcome: str
    error: str = ""
    checksum: str = ""
    written: bool = True
    """Whether the index now holds this version (a skipped or failed write does not count)."""
    partly: bool = False
    """Whether an index may hold it nevertheless, because only another one refused it, or the error came later."""
    retry: bool = False
    """Whether to retry later, because the error can be temporary."""
    retry_forever: bool = False
    """Whether to retry without a limit, because the index was overloaded."""
    images: Sequence[ItemImage] | None = None
    """The images of the item, to replace the stored ones; None keeps those."""


def stored_images() -> Prefetch[str, QuerySet[ItemImage], str]:
    """Return the prefetch that loads the ``stored_images`` of states."""
    return Prefetch("images", primary(ItemImage), to_attr="stored_images")


def due(scope: Scope | None = None) -> QuerySet[ItemState]:
    """Return the waiting changes that are due and not leased."""
    states = primary(ItemState).filter(_is_over("not_before"), pending=True)
    if scope is not None:
        # For ``pending=True`` Django writes the bare column, by which SQLite does not search the index.
        states = states.filter(scope=scope, pending__in=[True])
    return states.filter(Q(leased_until=None) | _is_over("leased_until", get_settings().SYNC_LEASE_SECONDS))


def _is_over(time: str, seconds: float = 0) -> Q:
    """Return the condition that a time, which was set up to ``seconds`` ahead, is over."""
    now = timezone.now()
    return Q(**{f"{time}__lte": now}) | Q(**{f"{time}__gt": now + timedelta(seconds=seconds) + CLOCK_WAS_WRONG})


@retry_conflicts
def lease(scope: Scope, limit: int) -> Lease:
    """Lease up to ``limit`` due changes of this scope.

    A change whose lease expired, because its worker died, is leased alone and its attempts are counted: if it was the
    one that killed the worker, it takes no others down with it, and finally fails. It gets a new version, as in
    :func:`release`.
    """
    token = secrets.token_hex(16)
    until = timezone.now() + timedelta(seconds=get_settings().SYNC_LEASE_SECONDS)
    changes = {
        "attempts": F("attempts") + _expired(),
        "version": F("version") + _expired(),
        "lease": token,  # after what is computed from it: MySQL evaluates left to right
        "leased_until": until,
        "checksum": "",
    }
    in_order = ("not_before", "id")
    skips_locked = _skips_locked()
    with atomic(ItemState) if skips_locked else nullcontext():
        wanted = due(scope).order_by(*in_order)
        rows = wanted.select_for_update(skip_locked=True) if skips_locked else wanted
        former = _together(list(rows.values_list("pk", "version", "checksum", "lease")[:limit]))
        if not former:  # the most frequent case
            return Lease(token, [], until)
        pks = [pk for pk, *_ in former]
        # Locked rows stay due. If filtered by key alone, MariaDB locks no other rows, which a save may hold.
        taken = primary(ItemState) if skips_locked else due()
        taken.filter(pk__in=pks).update(**changes)
    # Without those that another worker has leased in between, or that a save has changed again.
    ours = primary(ItemState).filter(pk__in=pks, lease=token).order_by(*in_order)
    states = list(ours.prefetch_related(stored_images()))
    checksums = {(pk, version): checksum for pk, version, checksum, _lease in former}
    for state in states:
        state.checksum = checksums.get((state.pk, state.version), "")
    return Lease(token, states, until)


def _skips_locked() -> bool:
    return bool(connections[state_alias()].features.has_select_for_update_skip_locked)


def lock(rows: QuerySet[ItemState]) -> list[int]:
    """Lock rows until the end of the open transaction; return their keys, without those that are being saved.

    Waiting for these while others are locked would deadlock with a transaction of the shop that goes on to save the
    others: PostgreSQL ends the one that waits last.
    """
    if _skips_locked():
        return list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    rows.order_by().update(lease=F("lease"))  # takes the write lock before reading
    return list(rows.values_list("pk", flat=True))


def _update(rows: QuerySet[ItemState], *, wait: bool = False, **values: Any) -> int:
    """Update rows; return how many. Those that are being saved are left out or, with ``wait``, come last, one at a
    time, so that no other row is locked while this waits."""
    count, locked = 0, []
    for chunk in batched(list(rows.values_list("pk", flat=True)), CHUNK):
        with atomic(ItemState):
            free = {*lock(rows.filter(pk__in=chunk))}
            count += primary(ItemState).filter(pk__in=free).update(**values)
        locked += [pk for pk in chunk if pk not in free]
    return count + sum(rows.filter(pk=pk).update(**values) for pk in locked if wait)


def _together(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the changes to lease in one update: a change whose lease expired, alone, otherwise all that are not
    leased."""
    return rows[:1] if rows and rows[0][-1] else [row for row in rows if not row[-1]]


def _expired() -> Case:
    """1 if an earlier lease was never released, otherwise 0."""
    return Case(When(lease="", then=Value(0)), default=Value(1))


@retry_conflicts
def renew(lease: Lease) -> bool:
    """Extend a lease after half of its time, except for what is being saved; return False if nothing was extended."""
    now = timezone.now()
    seconds = get_settings().SYNC_LEASE_SECONDS
    if lease.until - now > timedelta(seconds=seconds / 2):
        return True
    lease.until = now + timedelta(seconds=seconds)
    return bool(_update(lease.rows, leased_until=lease.until))


@retry_conflicts
def release(lease: Lease, *, delay: float = 0.0, reason: str = "") -> None:
    """Release the changes without a result: these items did not fail, and ``reason`` is why they wait.

    They may have been written, though. The next write can differ, after a change without a signal, and the index
    accepts a version only once, so they get new versions. The change of an item that is being saved is released by its
    save, or its lease expires.
    """
    not_before = timezone.now() + timedelta(seconds=delay)
    said: dict[str, Any] = {"error": reason} if reason else {}
    _update(lease.rows, lease="", leased_until=None, not_before=not_before, version=F("version") + 1, **said)
    repair_late(lease.states)


@retry_conflicts
def renew_versions(lease: Lease) -> None:
    """Give the changes new versions before they are written again, and drop those that are no longer leased, or are
    being saved."""
    with atomic(ItemState):
        rows = primary(ItemState).filter(pk__in=lock(lease.rows))
        rows.update(version=F("version") + 1)
        versions = dict(rows.values_list("pk", "version"))
    dropped = [state for state in lease.states if state.pk not in versions]
    lease.states = [state for state in lease.states if state.pk in versions]
    for state in lease.states:
        state.version = versions[state.pk]
    if dropped:
        repair_late(dropped)


@retry_conflicts
def mark(lease: Lease, results: Sequence[SyncResult]) -> int:
    """Store the results of leased changes; return the number of leases that were still valid.

    A row that is locked (its item is being saved at this moment) is skipped: the save will clear the lease, or the
    lease will expire. A row that changed since it was leased keeps what the change wrote; see :func:`repair_late`.
    """
    by_pk = {each.state.pk: each for each in results}
    now = timezone.now()
    with atomic(ItemState):
        ours = lock(primary(ItemState).filter(pk__in=list(by_pk), lease=lease.token).order_by("pk"))
        alike: dict[tuple[tuple[str, Any], ...], list[SyncResult]] = {}
        for each in (by_pk[pk] for pk in ours):
            alike.setdefault(tuple(_values_after(each, now).items()), []).append(each)
        key = connections[state_alias()].ops.quote_name("id")
        for values, equal in alike.items():
            for chunk in batched(equal, 250):
                # Raw SQL for what differs: 512 metadata changes on PostgreSQL and Elasticsearch took 0.39 s to sync,
                # 0.02 s of it here; with bulk_update 2.7 s, 2.0 s of it here. An upsert takes three times as long.
                parameters = [value for each in chunk for value in (each.state.pk, each.checksum)]
                checksum = RawSQL(f"CASE {key} {'WHEN %s THEN %s ' * len(chunk)}END", parameters)
                rows = primary(ItemState).filter(pk__in=[each.state.pk for each in chunk])
                rows.update(checksum=checksum, **dict(values))
        if new := [by_pk[pk] for pk in ours if by_pk[pk].images is not None]:
            images = primary(ItemImage)
            images.filter(state__in=[each.state.pk for each in new]).delete()
            images.bulk_create([image for each in new for image in each.images or ()], batch_size=500)
    # After the transaction: these rows may be locked, and a save must not wait for those above meanwhile.
    for pk in ours:
        del by_pk[pk]
    if late := [each.state for each in by_pk.values() if each.written or each.partly]:
        repair_late(late)
    return len(ours)


def _values_after(result: SyncResult, now: datetime) -> dict[str, Any]:
    """Return the values to store for a result, other than its checksum."""
    values: dict[str, Any] = {"lease": "", "leased_until": None, "error": result.error, "synced_at": now}
    if result.written:
        values["synced_version"] = F("version")
    if not result.retry:
        not_before = None if result.outcome == ItemState.Outcome.FAILED else now
        return {**values, "outcome": result.outcome, "pending": False, "attempts": 0, "not_before": not_before}
    most = get_settings().SYNC_MAX_ATTEMPTS
    was_last = result.state.attempts + 1 >= most
    attempts = most - 1 if was_last else result.state.attempts + 1  # after the last one, one more per retry
    pending = not was_last or result.retry_forever
    seconds = delay(attempts) if pending else FAILED_RETRY_DELAY * random.uniform(0.75, 1.25)
    values |= {"pending": pending, "attempts": attempts, "not_before": now + timedelta(seconds=seconds)}
    # The next write will differ from this one, part of which may be in an index. (MySQL evaluates left to right.)
    values |= {"scope": Scope.ALL, "version": F("version") + 1}
    if result.written or not pending or result.outcome != ItemState.Outcome.FAILED:
        values["outcome"] = result.outcome  # otherwise it may still succeed, and the former entry is still there
    return values


@retry_conflicts
def repair_late(written: Collection[ItemState]) -> int:
    """Queue items that changed while an older version of them was being written; return how many.

    If the newer version was a removal, and the index has since purged its tombstone (Elasticsearch does so after a
    minute), the older one has overwritten it. A third write, with a version above both, corrects that.
    """
    versions = {state.pk: state.version for state in written}
    rows = primary(ItemState).filter(pk__in=versions).values_list("pk", "version")
    again = [pk for pk, version in rows if version != versions[pk]]
    released = {"checksum": "", "lease": "", "leased_until": None}
    synced = primary(ItemState).filter(pk__in=again, pending=False)
    queued = {"pending": True, "scope": Scope.ALL, "version": F("version") + 1, "not_before": timezone.now()}
    return _update(synced, wait=True, **queued, **released)


@retry_conflicts
def account_for(filled: Sequence[tuple[ItemState, str]]) -> None:
    """Account for entries, each with its checksum, that a rebuild wrote to the new index under the items' versions.

    A waiting change gets a new version: the new index would otherwise reject the sync's entry, although the item may
    have changed without a signal in between. If an item had changed without a signal before, the two indexes differ,
    and no checksum describes both. It is cleared, so that the next change is written, and the next reconcile writes the
    item.
    """
    waiting = [state.pk for state, _ in filled if state.pending]
    changes = {"version": F("version") + 1, "lease": "", "leased_until": None}
    _update(primary(ItemState).filter(pk__in=waiting, pending=True), wait=True, **changes)
    made = {state.pk: checksum for state, checksum in filled}
    stored = primary(ItemState).filter(pk__in=made).values_list("pk", "checksum")
    different = [pk for pk, checksum in stored if checksum != made[pk]]
    _update(primary(ItemState).filter(pk__in=different), wait=True, checksum="")
    repair_late([state for state, _ in filled])


@retry_conflicts
def requeue_failed() -> int:
    """Queue failed items that are due for a retry, except those that are being saved; return how many."""
    failed = primary(ItemState).filter(_is_over("not_before"), outcome=ItemState.Outcome.FAILED, pending=False)
    return _update(failed, pending=True, scope=Scope.ALL, version=F("version") + 1)


@retry_conflicts
def requeue_refused(since: datetime) -> int:
    """Queue the items that an index refused since a time, because that index is dropped; return how many.

    Another index may have refused some of them in the minute before: a worker's clock may be behind by as much.
    """
    since -= CLOCK_DIFFERENCE
    refused = primary(ItemState).filter(outcome=ItemState.Outcome.FAILED, pending=False, synced_at__gte=since)
    queued = {"pending": True, "version": F("version") + 1, "not_before": timezone.now(), "checksum": ""}
    return _update(refused.exclude(checksum=""), wait=True, **queued)


def delay(attempts: int) -> float:
    """Return the seconds until the next attempt: doubling, with jitter so that not all are retried at the same time."""
    return float(min(FIRST_DELAY * 2 ** min(attempts - 1, 20), LONGEST_DELAY)) * random.uniform(0.5, 1.0)


class EmbeddingLeases:
    """This worker's leases on embeddings: if several workers need the same embedding, only the first computes it."""

    def __init__(self) -> None:
        self._worker = secrets.token_hex(16)
        self._until: datetime | None = None
        """When the first of the leases expires; None without any."""

    @retry_conflicts
    def lease(self, wanted: Collection[EmbeddingKey]) -> set[EmbeddingKey]:
        """Lease embeddings; return those of ``wanted`` that this worker has to compute."""
        if not wanted:
            return set()
        until = timezone.now() + _embedding_lease()
        self._until = self._until or until
        leased = primary(EmbeddingLease).filter(digest__in={digest for digest, _ in wanted})
        leased.filter(_is_over("until")).delete()
        rows = [
            EmbeddingLease(digest=digest, fingerprint=fingerprint, worker=self._worker, until=until)
            for digest, fingerprint in sorted(wanted)  # in one order everywhere, so that workers do not deadlock
        ]
        primary(EmbeddingLease).bulk_create(rows, ignore_conflicts=True)
        return set(leased.filter(worker=self._worker).values_list("digest", "fingerprint")) & set(wanted)

    @retry_conflicts
    def renew(self) -> None:
        """Extend all leases after half of their time."""
        now = timezone.now()
        if self._until and self._until - now <= _embedding_lease() / 2:
            self._until = now + _embedding_lease()
            primary(EmbeddingLease).filter(worker=self._worker).update(until=self._until)

    @retry_conflicts
    def release(self) -> None:
        """Release all leases, whether the embeddings were computed or not."""
        if self._until:
            primary(EmbeddingLease).filter(worker=self._worker).delete()
            self._until = None


def _embedding_lease() -> timedelta:
    return timedelta(seconds=min(get_settings().SYNC_LEASE_SECONDS, EMBEDDING_LEASE_SECONDS))
