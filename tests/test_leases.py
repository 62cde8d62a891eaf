"""Concurrent workers, workers that die, and temporary and permanent errors."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError, close_old_connections, connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from demo_shop.shop.models import Product
from demo_shop.shop.similarity import ProductItems
from imagesim import images
from imagesim.embedders import get_embedder
from imagesim.exceptions import EmbedderError, IndexUnavailable
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexing import jobs, leases, outbox
from imagesim.indexing import sync as syncing
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.models import ItemImage, ItemState, Job, LocalEntry, Scope
from imagesim.types import Entry, EntryImage, WriteResult
from tests.embedders import PixelEmbedder
from tests.shop import EMBEDDER, picture, price_in_the_index, product, synced_products

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "SYNC_MAX_ATTEMPTS": 3}


@pytest.fixture
def shop():
    return synced_products(4)


def change(*products):
    for each in products:
        each.price = int(float(each.price)) + 1
        each.save()


def take(limit=10, scope=Scope.METADATA):
    return leases.lease(scope, limit)


def state(item):
    return ItemState.objects.get(object_pk=str(item.pk))


def expire_delays():
    past = timezone.now() - timedelta(seconds=1)
    ItemState.objects.filter(pending=True).update(not_before=past)
    ItemState.objects.exclude(lease="").update(leased_until=past)


def die_of(item):
    """Have as many workers as allowed die while they sync the item."""
    change(item)
    for _ in range(4):
        take()
        expire_delays()


def entries():
    return dict(get_index().scan())


class TestLeases:
    def test_two_workers_never_lease_the_same_change(self, shop):
        change(*shop)
        first, second = take(3), take(3)
        assert (len(first.states), len(second.states)) == (3, 1)
        assert not {s.pk for s in first.states} & {s.pk for s in second.states}
        assert take().states == []

    def test_a_lease_expires(self, shop):
        change(shop[0])
        take()
        assert take().states == []
        expire_delays()
        assert len(take().states) == 1

    def test_a_change_with_an_expired_lease_is_leased_alone(self, shop):
        change(*shop)
        take()
        expire_delays()
        alone = [take().states for _ in range(4)]
        assert [len(states) for states in alone] == [1, 1, 1, 1]
        assert {states[0].attempts for states in alone} == {1}
        assert sync().done == 0

    def test_an_item_that_kills_workers_fails(self, shop):
        change(*shop)
        take()
        for _ in range(5):  # every worker dies at the first item that it takes
            expire_delays()
            dead = take().states[0]
            ItemState.objects.exclude(pk=dead.pk).update(not_before=timezone.now() + timedelta(hours=1))
        expire_delays()
        report = sync()
        assert (report.failed, report.indexed) == (1, 3)
        assert "stopped" in ItemState.objects.get(outcome="failed").error

    def test_an_item_whose_workers_died_of_something_else_is_repaired_by_reconcile(self, shop):
        die_of(shop[0])
        assert (sync().failed, len(entries())) == (1, 3)
        assert reconcile().report["missing"] == 1
        sync()
        assert len(entries()) == 4
        assert not any(reconcile().report[kind] for kind in ("missing", "stale"))

    def test_an_item_that_kills_workers_takes_one_along_at_a_reconcile(self, shop):
        die_of(shop[0])
        assert sync().failed == 1
        reconcile(repair_now=False)
        assert len(take().states) == 1
        expire_delays()
        assert sync().failed == 1

    def test_a_release_counts_no_attempt(self, shop):
        change(shop[0])
        leases.release(take())
        again = take()
        assert [s.attempts for s in again.states] == [0]

    def test_a_lease_is_renewed_during_a_long_sync(self, shop):
        change(shop[0])
        lease = take()
        assert leases.renew(lease)
        lease.until = timezone.now()
        assert leases.renew(lease)
        assert state(shop[0]).leased_until == lease.until
        change(shop[0])
        lease.until = timezone.now()
        assert not leases.renew(lease)

    def test_delays_double_from_two_seconds_to_ten_minutes(self, monkeypatch):
        monkeypatch.setattr(leases.random, "uniform", lambda low, high: high)
        assert [leases.delay(attempts) for attempts in (1, 2, 3, 9, 10, 10_000)] == [2, 4, 8, 512, 600, 600]
        monkeypatch.setattr(leases.random, "uniform", lambda low, high: low)
        assert [leases.delay(attempts) for attempts in (1, 3, 10_000)] == [1, 4, 300]

    def test_a_failed_item_is_retried_after_a_quarter_of_an_hour(self, shop, monkeypatch):
        monkeypatch.setattr(leases.random, "uniform", lambda low, high: (low + high) / 2)
        monkeypatch.setattr(ProductItems, "should_index", _raise(ValueError("odd")))
        change(shop[0])
        waits = []
        for _ in range(3):
            expire_delays()
            before = timezone.now()
            sync()
            waits.append(round((state(shop[0]).not_before - before).total_seconds()))
        assert waits == [2, 3, 900]  # three quarters of 2 and of 4; then it has failed
        assert (state(shop[0]).outcome, state(shop[0]).pending) == ("failed", False)

    def test_a_late_write_is_queued_again(self, shop):
        change(shop[0])
        lease = take()
        late = lease.states[0]
        pk = shop[0].pk
        shop[0].delete()
        sync()
        assert not ItemState.objects.get(object_pk=str(pk)).pending
        LocalEntry.objects.filter(removed_at__isnull=False).delete()  # the index forgot the removal
        image = EntryImage("0" * 64, "late.png", np.ones(64, dtype=np.float32))
        get_index().write([Entry(f"shop.product:{pk}", "shop.product", str(pk), late.version, (image,))])
        leases.mark(lease, [leases.SyncResult(late, "indexed")])
        assert ItemState.objects.get(object_pk=str(pk)).pending
        sync()
        assert f"shop.product:{pk}" not in entries()


class TestClocks:
    """The machines that save and that sync have separate clocks, which differ and can be changed."""

    @staticmethod
    @contextmanager
    def ahead(by):
        now = timezone.now
        with patch.object(timezone, "now", lambda: now() + by):
            yield

    def test_a_change_is_due_at_once_for_a_worker_whose_clock_is_behind(self, shop):
        with self.ahead(timedelta(seconds=30)):
            change(shop[0])
        assert sync().indexed == 1

    @pytest.mark.parametrize("by", [timedelta(days=1), timedelta(days=400)])
    def test_a_change_of_a_clock_that_was_wrong_is_due(self, shop, by):
        with self.ahead(by):
            change(shop[0])
        assert sync().indexed == 1

    def test_a_lease_of_a_clock_that_was_wrong_is_over(self, shop):
        change(shop[0])
        with self.ahead(timedelta(days=1)):
            take()  # its worker dies
        assert sync().indexed == 1

    def test_a_failure_of_a_clock_that_was_wrong_is_retried(self, shop):
        ItemState.objects.update(outcome="failed", not_before=timezone.now() + timedelta(days=1))
        assert sync().indexed == 4

    def test_a_lease_may_be_longer_than_a_clock_can_be_wrong(self, shop, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "SYNC_LEASE_SECONDS": 7200}
        change(shop[0])
        take()
        assert take().states == []

    def test_an_embedding_that_was_leased_by_a_clock_that_was_wrong_is_computed(self):
        shoe = product("shoe", picture("red"))
        with shoe.photos.get().file.open("rb") as file:
            key = images.digest(file.read()), get_embedder().fingerprint
        with self.ahead(timedelta(days=1)):
            assert leases.EmbeddingLeases().lease({key}) == {key}  # its worker dies
        assert leases.EmbeddingLeases().lease({key}) == {key}

    def test_a_job_of_a_clock_that_was_wrong_is_abandoned(self):
        now = timezone.now()
        assert jobs.abandoned(Job(owner="elsewhere/1/1", heartbeat_at=now + timedelta(days=1)))
        assert not jobs.abandoned(Job(owner="elsewhere/1/1", heartbeat_at=now + timedelta(minutes=10)))

    def test_a_job_that_a_clock_ahead_gave_up_is_continued_at_once(self):
        with self.ahead(timedelta(minutes=10)):
            job = jobs.start(Job.Kind.RECONCILE)
            jobs.suspend(job)
        assert jobs.start(Job.Kind.RECONCILE) == job
        with self.ahead(timedelta(minutes=10)):
            jobs.pause(job)
            jobs.leave_paused(job)
            jobs.resume(job)
        assert jobs.start(Job.Kind.RECONCILE) == job

    def test_what_a_worker_behind_failed_to_write_to_a_dropped_index_is_queued(self, shop):
        began = timezone.now()
        with self.ahead(-timedelta(seconds=45)):
            change(shop[0])
            lease = take()
            leases.mark(lease, [leases.SyncResult(lease.states[0], "failed", "refused", checksum="1", written=False)])
        assert not state(shop[0]).pending
        assert leases.requeue_refused(began) == 1
        assert state(shop[0]).pending

    def test_reconcile_compares_what_was_synced_by_a_clock_that_was_wrong(self, shop):
        ItemState.objects.update(synced_at=timezone.now() + timedelta(days=1))
        Product.objects.filter(pk=shop[0].pk).update(price=499)
        assert reconcile().report["stale"] == 1


class TestLeasing:
    def test_changes_of_one_scope_oldest_first(self, shop):
        change(*shop)
        ItemState.objects.filter(pk=state(shop[1]).pk).update(scope=Scope.ALL)
        hours = timedelta(hours=1)
        for item, waits in ((shop[0], 1), (shop[2], 3), (shop[3], 2)):
            ItemState.objects.filter(pk=state(item).pk).update(not_before=timezone.now() - waits * hours)
        assert [s.object_pk for s in take(2).states] == [str(shop[2].pk), str(shop[3].pk)]
        assert [s.object_pk for s in take(scope=Scope.ALL).states] == [str(shop[1].pk)]

    def test_a_change_with_an_expired_lease_is_not_batched(self, shop):
        change(*shop)
        take(1)
        expire_delays()
        dead = ItemState.objects.exclude(lease="").get()
        ItemState.objects.filter(pk=dead.pk).update(not_before=timezone.now())
        assert dead.pk not in {s.pk for s in take().states}
        assert [s.pk for s in take().states] == [dead.pk]

    def test_a_lease_is_renewed_when_half_of_it_is_over(self, shop, settings, django_assert_num_queries):
        settings.IMAGESIM = {**settings.IMAGESIM, "SYNC_LEASE_SECONDS": 100}
        change(shop[0])
        lease = take()
        now = timezone.now()
        lease.until = now + timedelta(seconds=60)
        with django_assert_num_queries(0):
            assert leases.renew(lease)
        lease.until = now + timedelta(seconds=40)
        assert leases.renew(lease)
        assert lease.until - now >= timedelta(seconds=100)
        assert state(shop[0]).leased_until == lease.until

    def test_a_released_change_waits_for_the_delay(self, shop):
        change(shop[0])
        now = timezone.now()
        leases.release(take(), delay=60)
        assert timedelta(seconds=60) <= state(shop[0]).not_before - now <= timedelta(seconds=70)
        assert take().states == []

    @pytest.mark.parametrize("dies", ["in the middle", "after a release"])
    def test_what_was_written_before_a_worker_stopped_is_written_again(self, shop, monkeypatch, dies):
        """The shop has changed the row without a signal in between, and an index takes every version only once."""
        change(shop[0])

        def stop(*args):
            raise KeyboardInterrupt if dies == "in the middle" else OperationalError("the database is gone")

        with monkeypatch.context() as patched:
            patched.setattr(leases, "mark", stop)
            if dies == "in the middle":
                patched.setattr(syncing, "_release", lambda *args: None)
            with pytest.raises((KeyboardInterrupt, OperationalError)):
                sync()
        Product.objects.filter(pk=shop[0].pk).update(price=499)
        expire_delays()
        sync()
        assert entries()[f"shop.product:{shop[0].pk}"] == state(shop[0]).version
        assert price_in_the_index(shop[0]) == 499
        assert reconcile().report["stale"] == 0

    def test_what_was_written_before_a_batch_failed_is_written_again(self, shop, monkeypatch):
        change(*shop[:2])
        original, calls = leases.mark, []

        def mark(*args):
            calls.append(args)
            if len(calls) == 1:
                Product.objects.update(price=499)
                raise ValueError("odd")
            return original(*args)

        monkeypatch.setattr(leases, "mark", mark)
        sync()
        assert len(calls) == 3  # both, then each alone
        assert [price_in_the_index(item) for item in shop[:2]] == [499, 499]

    def test_an_item_that_changed_before_its_batch_is_tried_again_is_left_to_the_next(self, shop):
        change(*shop[:2])
        lease = take()
        before = {each.pk: each.version for each in lease.states}
        change(shop[0])
        leases.renew_versions(lease)
        assert [each.object_pk for each in lease.states] == [str(shop[1].pk)]
        assert lease.states[0].version == before[lease.states[0].pk] + 1 == state(shop[1]).version

    def test_without_skip_locked_an_expired_lease_is_taken_over(self, shop, monkeypatch):
        monkeypatch.setattr(connections["default"].features, "has_select_for_update_skip_locked", False)
        change(shop[0])
        (first,) = take().states
        expire_delays()
        (second,) = take().states
        assert (second.version, second.attempts) == (first.version + 1, 1)
        assert (state(shop[0]).version, state(shop[0]).attempts) == (second.version, 1)

    def test_a_lease_of_another_worker_is_not_released(self, shop):
        change(shop[0])
        first = take()
        change(shop[0])
        second = take()
        leases.release(first)
        assert state(shop[0]).lease == second.token


class TestLateWrites:
    @pytest.mark.parametrize(
        "then", ["the database is gone", "another index is gone", "another index refuses it", "something unexpected"]
    )
    def test_a_deleted_item_does_not_come_back(self, shop, monkeypatch, then):
        """A worker writes an item whose removal the index has forgotten, and then something else fails."""
        original, late = syncing.write, []

        def write(documents, targets):
            if late:
                return original(documents, targets)
            late.append("")
            shop[0].delete()
            sync()  # another worker
            LocalEntry.objects.filter(removed_at__isnull=False).delete()
            outcomes = original(documents, targets)
            late[0] = key in entries()
            if then == "another index refuses it":
                refused = WriteResult("", "failed", "too long")
                return [replace(each, results=(*each.results, refused)) for each in outcomes]
            errors = {"the database is gone": OperationalError, "another index is gone": IndexUnavailable}
            raise errors.get(then, TypeError)("gone")

        key = f"shop.product:{shop[0].pk}"
        change(shop[0])
        monkeypatch.setattr(syncing, "write", write)
        with suppress(OperationalError):
            sync()
        sync()
        assert late == [True]
        assert key not in entries()


def sync_result(item, outcome="indexed", **result):
    """Return the row after its change was leased and ended like this, and the state as it was leased."""
    (leased,) = take().states or take(scope=Scope.ALL).states
    before = ItemState(**{field.attname: getattr(leased, field.attname) for field in ItemState._meta.concrete_fields})
    lease = leases.Lease(leased.lease, [leased], leased.leased_until)
    assert leases.mark(lease, [leases.SyncResult(leased, outcome, **result)]) == 1
    return state(item), before


class TestResults:
    """The row after each kind of result."""

    @pytest.fixture
    def item(self, shop):
        change(shop[0])
        ItemState.objects.filter(pending=True).update(synced_at=None, error="old", outcome="failed", attempts=1)
        return shop[0]

    @pytest.mark.parametrize("outcome", ["indexed", "skipped", "removed"])
    @pytest.mark.parametrize("written", [True, False])
    def test_success(self, item, outcome, written):
        former = state(item).synced_version
        after, before = sync_result(item, outcome, written=written, checksum="c")
        assert (after.outcome, after.error, after.attempts, after.pending) == (outcome, "", 0, False)
        assert (after.lease, after.leased_until, after.checksum) == ("", None, "c")
        assert after.synced_version == (before.version if written else former)
        assert after.version == before.version
        assert after.synced_at is not None

    def test_permanent_failure(self, item):
        former = state(item).synced_version
        after, before = sync_result(item, "failed", error="bad", written=False, checksum="c")
        assert (after.outcome, after.error, after.attempts, after.pending) == ("failed", "bad", 0, False)
        assert (after.synced_version, after.version, after.not_before) == (former, before.version, None)
        assert after.checksum == "c"
        assert after.synced_at is not None

    def test_a_retry_reads_the_pictures_too(self, item):
        after, before = sync_result(item, "indexed", error="late", written=True, retry=True)
        assert (after.pending, after.scope, after.attempts) == (True, Scope.ALL, 2)
        assert (after.version, after.synced_version) == (before.version + 1, before.version)

    def test_an_item_that_is_queued_again_has_one_more_attempt(self, item):
        for _ in range(2):
            ItemState.objects.filter(pending=True).update(attempts=2)
            after, _before = sync_result(item, "failed", error="bad", written=False, retry=True)
            assert (after.pending, after.attempts) == (False, 2)
            assert 0.75 * 900 - 5 <= (after.not_before - timezone.now()).total_seconds() <= 1.25 * 900
            ItemState.objects.filter(pk=after.pk).update(not_before=timezone.now(), scope=Scope.METADATA)
            assert leases.requeue_failed() == 1
            again = state(item)
            assert (again.pending, again.scope, again.version) == (True, Scope.ALL, after.version + 1)

    def test_retries_of_failed_items_are_spread(self, item, monkeypatch):
        monkeypatch.setattr(leases.random, "uniform", lambda low, high: high)
        ItemState.objects.filter(pending=True).update(attempts=2)
        after, _before = sync_result(item, "failed", error="bad", written=False, retry=True)
        assert 1120 <= (after.not_before - timezone.now()).total_seconds() <= 1125

    def test_images_are_replaced_if_the_result_has_some(self, item):
        def result(*names):
            change(item)
            given = [ItemImage(state=state(item), position=number, name=name) for number, name in enumerate(names)]
            sync_result(item, images=None if names == (None,) else given)
            return list(ItemImage.objects.filter(state=state(item)).order_by("position").values_list("pk", "name"))

        two = result("a", "b")
        assert [name for _pk, name in two] == ["a", "b"]
        assert result(None) == two
        assert [name for _pk, name in result("b")] == ["b"]
        assert result() == []

    def test_late_writes_over_newer_ones_are_repaired(self, shop):
        change(*shop)
        lease = take()
        for each in shop[1:]:
            change(each)  # their leases are gone
        ItemState.objects.filter(pk=state(shop[1]).pk).update(pending=False, checksum="new")
        before = {s.pk: s for s in ItemState.objects.all()}
        lease.states[3].version = before[lease.states[3].pk].version
        ItemState.objects.filter(pk=lease.states[3].pk).update(pending=False)
        results = [leases.SyncResult(s, "indexed", written=True) for s in lease.states]
        assert leases.mark(lease, results) == 1
        corrected = state(shop[1])
        assert (corrected.pending, corrected.scope, corrected.checksum) == (True, Scope.ALL, "")
        assert corrected.version == before[corrected.pk].version + 1
        assert state(shop[2]).version == before[state(shop[2]).pk].version  # waits anyway
        assert not ItemState.objects.get(pk=lease.states[3].pk).pending  # what is stored is what was written

    def test_no_repair_without_a_write(self, shop):
        change(shop[0])
        lease = take()
        change(shop[0])
        ItemState.objects.filter(pk=state(shop[0]).pk).update(pending=False)
        leases.mark(lease, [leases.SyncResult(lease.states[0], "failed", written=False)])
        assert not state(shop[0]).pending


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("database_server")
class TestLocks:
    """On a database with row locks: workers and saves do not wait for each other."""

    def test_rows_being_saved_are_skipped(self, shop):
        change(*shop)
        with transaction.atomic():
            change(shop[0])
            assert _elsewhere(lambda: len(take().states)) == 3

    def test_storing_results_does_not_wait_for_a_save(self, shop):
        change(*shop)
        lease = take()
        with transaction.atomic():
            change(shop[0])
            results = [leases.SyncResult(each, "indexed") for each in lease.states]
            assert _elsewhere(lambda: leases.mark(lease, results)) == 3
        assert state(shop[0]).pending
        assert sync().indexed == 1

    @pytest.mark.parametrize("work", [leases.release, leases.renew, leases.renew_versions])
    def test_a_lease_does_not_wait_for_a_save(self, shop, work):
        """For instance a save of an import in one transaction: its next save would wait for what the worker has locked
        before, and the import would end in a deadlock."""
        change(*shop)
        lease = take()
        lease.until = timezone.now()  # to be renewed
        with transaction.atomic():
            change(shop[2])
            _elsewhere(lambda: work(lease))
            change(*shop)
        assert sync().indexed == 4

    def test_failed_items_are_queued_again_without_waiting_for_a_save(self, shop):
        past = timezone.now() - timedelta(seconds=1)
        ItemState.objects.update(outcome="failed", not_before=past)
        with transaction.atomic():
            change(shop[2])
            assert _elsewhere(leases.requeue_failed) == 3
            change(*shop)

    @pytest.mark.parametrize(
        "work", [lambda: outbox.touch(Product.objects.all()), lambda: outbox.record("shop.product", [90, 100])]
    )
    def test_many_items_are_locked_in_the_order_of_their_keys(self, work):
        """Like a shop that saves them one by one. As texts, "100" comes before "90"."""
        items = [product(str(pk), pk=pk) for pk in (90, 100)]
        thread = threading.Thread(target=lambda: (work(), connections.close_all()))
        with transaction.atomic():
            change(items[0])
            thread.start()
            thread.join(1.5)
            change(items[1])
        thread.join(20)
        assert state(items[1]).pending

    def test_a_reconcile_does_not_wait_for_a_save(self, shop):
        Product.objects.update(stock=0)
        with transaction.atomic():
            change(shop[2])
            assert _elsewhere(lambda: reconcile(repair_now=False).report["stale"]) == 4
            change(*shop)
        assert sync().indexed == 4

    @pytest.mark.parametrize(
        "work",
        [
            leases.repair_late,
            lambda late: leases.account_for([(each, "other") for each in late]),
            lambda late: outbox.record_each("shop.product", [each.object_pk for each in late]),
        ],
    )
    def test_what_has_to_wait_for_a_save_is_changed_one_at_a_time(self, shop, work):
        """Late writes, and changes that a worker records, must not be left out: the save may be rolled back."""
        late = list(ItemState.objects.order_by("pk"))
        ItemState.objects.update(version=F("version") + 1)
        thread = threading.Thread(target=lambda: (work(late), connections.close_all()))
        with transaction.atomic():
            change(shop[3])
            thread.start()
            thread.join(1.5)  # longer than PostgreSQL waits before it looks for a deadlock
            assert thread.is_alive()
            change(*shop)
            transaction.set_rollback(True)
        thread.join(20)
        assert ItemState.objects.filter(pending=True).count() == 4

    def test_a_save_does_not_wait_for_a_worker(self, shop, monkeypatch):
        change(*shop)
        original = syncing.write

        def slow(documents, targets):
            assert _elsewhere(lambda: change(shop[0])) is None
            return original(documents, targets)

        monkeypatch.setattr(syncing, "write", slow)
        sync(limit=4)
        monkeypatch.undo()
        assert state(shop[0]).pending

    def test_without_skip_locked_a_mark_locks_what_it_reads(self, shop, monkeypatch):
        """As on SQLite: a save between reading and storing would be lost, because its row would be marked as synced."""
        monkeypatch.setattr(connections["default"].features, "has_select_for_update_skip_locked", False)
        change(shop[0])
        lease = take()
        original, answers = leases._values_after, []

        def save() -> str:
            with transaction.atomic(), connections["default"].cursor() as cursor:
                mysql = connections["default"].vendor == "mysql"
                cursor.execute("SET innodb_lock_wait_timeout = 1" if mysql else "SET LOCAL lock_timeout = '200ms'")
                try:
                    ItemState.objects.filter(pk=lease.states[0].pk).update(lease="", pending=True)
                except OperationalError:
                    transaction.set_rollback(True)
                    return "waits"
                return "overtakes"

        def between(result, now):
            answers.append(_elsewhere(save))
            return original(result, now)

        monkeypatch.setattr(leases, "_values_after", between)
        assert leases.mark(lease, [leases.SyncResult(lease.states[0], "indexed")]) == 1
        assert answers == ["waits"]


def _elsewhere(work, seconds=20):
    """Return the result of ``work`` in another connection; fail if it has to wait."""
    results = []

    def run():
        close_old_connections()
        try:
            results.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(seconds)
    assert results, "it waits for a lock"
    return results[0]


class TestErrors:
    def test_an_unavailable_index_fails_no_item(self, shop, monkeypatch):
        change(*shop)
        monkeypatch.setattr(LocalIndex, "write", _raise(IndexUnavailable("down")))
        for _ in range(5):
            expire_delays()
            assert sync().interrupted == "down"
        assert {(s.attempts, s.pending, s.error) for s in ItemState.objects.all()} == {(0, True, "down")}
        monkeypatch.undo()
        expire_delays()
        assert sync().indexed == 4
        assert not ItemState.objects.exclude(error="").exists()

    def test_a_failing_model_fails_no_item(self, monkeypatch):
        product("shoe", picture("red"))
        monkeypatch.setattr(PixelEmbedder, "embed_images", _raise(RuntimeError("no memory")))
        assert "no memory" in sync().interrupted
        monkeypatch.setattr(PixelEmbedder, "embed_images", _raise(EmbedderError("no weights")))
        expire_delays()
        assert sync().interrupted == "no weights"
        monkeypatch.undo()
        expire_delays()
        assert sync().indexed == 1

    def test_a_picture_that_the_model_cannot_embed(self, monkeypatch):
        original = PixelEmbedder.embed_images

        def embed(self, given):
            if any(image.getpixel((60, 60)) == (0, 0, 255) for image in given if image.width == 64):
                raise ValueError("odd shape")
            return original(self, given)

        monkeypatch.setattr(PixelEmbedder, "embed_images", embed)
        odd = product("odd", picture("blue"))
        product("shoe", picture("red"))
        report = sync()
        assert (report.indexed, report.failed) == (1, 1)
        assert "odd shape" in state(odd).error

    def test_an_overloaded_index_is_retried_without_limit(self, shop, monkeypatch):
        change(shop[0])

        def write(self, operations, *, backing_index=None):
            return [WriteResult(o.key, "failed", "429", retryable=True) for o in operations]

        monkeypatch.setattr(LocalIndex, "write", write)
        for _ in range(6):
            expire_delays()
            assert sync().retried == 1
        assert (state(shop[0]).outcome, state(shop[0]).pending) == ("indexed", True)
        monkeypatch.undo()
        expire_delays()
        assert sync().indexed == 1

    def test_an_entry_that_the_index_rejects(self, shop, monkeypatch):
        change(*shop)
        original = LocalIndex.write

        def write(self, operations, *, backing_index=None):
            results = original(self, operations[1:], backing_index=backing_index)
            return [WriteResult(operations[0].key, "failed", "bad field"), *results]

        monkeypatch.setattr(LocalIndex, "write", write)
        report = sync()
        assert (report.failed, report.indexed) == (1, 3)
        aside = ItemState.objects.get(outcome="failed")
        assert (aside.error, aside.pending, aside.not_before) == ("bad field", False, None)

    def test_the_shops_code_fails_on_one_item(self, shop, monkeypatch):
        change(*shop)
        bad = shop[1].pk
        monkeypatch.setattr(ProductItems, "should_index", lambda self, item: 1 // (item.pk - bad) or True)
        report = sync()
        assert (report.indexed, report.retried) == (3, 1)
        for _ in range(3):
            expire_delays()
            sync()
        assert state(shop[1]).outcome == "failed"
        assert "ZeroDivisionError" in state(shop[1]).error
        assert len(entries()) == 4  # the former entry still answers
        monkeypatch.undo()
        ItemState.objects.filter(outcome="failed").update(not_before=timezone.now())
        assert sync().indexed == 1  # its time has come

    def test_an_unexpected_error(self, shop, monkeypatch):
        change(*shop)
        original = LocalIndex.write
        bad = f"shop.product:{shop[2].pk}"

        def write(self, operations, *, backing_index=None):
            if any(operation.key == bad for operation in operations):
                raise TypeError("cannot serialise")
            return original(self, operations, backing_index=backing_index)

        monkeypatch.setattr(LocalIndex, "write", write)
        report = sync()
        assert (report.indexed, report.retried) == (3, 1)
        assert "cannot serialise" in state(shop[2]).error

    def test_an_unavailable_storage(self, shop, monkeypatch):
        monkeypatch.setattr(images, "read", _raise(ConnectionError("no route")))
        for photo in shop[0].photos.all():
            photo.save()
        report = sync()
        assert report.retried == 1
        assert len(entries()) == 4
        assert "no route" in state(shop[0]).error
        assert state(shop[0]).outcome == "indexed"
        monkeypatch.undo()
        expire_delays()
        assert sync().indexed == 1
        assert state(shop[0]).error == ""

    def test_a_file_that_is_missing_at_first(self):
        shoe = product("shoe", picture("red"))
        file = shoe.photos.get().file
        with file.open("rb") as opened:
            data = opened.read()
        file.storage.delete(file.name)
        assert sync().retried == 1
        assert entries() == {}
        file.storage.save(file.name, ContentFile(data))
        expire_delays()
        assert sync().indexed == 1
        assert len(entries()) == 1

    def test_a_deleted_file_removes_its_image(self, shop):
        """It is certain that the file is not there, unlike where the storage does not answer."""
        photo = shop[0].photos.get()
        photo.file.storage.delete(photo.file.name)
        photo.save()
        assert sync().retried == 1
        assert len(entries()) == 3
        assert state(shop[0]).outcome == "failed"

    def test_a_file_that_stays_missing(self):
        shoe = product("shoe", picture("red"))
        shoe.photos.get().file.storage.delete(shoe.photos.get().file.name)
        for _ in range(4):
            expire_delays()
            sync()
        aside = state(shoe)
        assert (aside.outcome, aside.pending) == ("failed", False)
        assert "no file" in aside.error
        assert aside.not_before > timezone.now()

    def test_unchanged_entries_are_not_written(self, shop, monkeypatch):
        before = entries()
        shop[0].slug = "nothing-of-interest"
        shop[0].save()
        monkeypatch.setattr(LocalIndex, "write", _raise(AssertionError("written")))
        assert sync().indexed == 1
        assert entries() == before
        assert not state(shop[0]).pending

    def test_an_expired_lease_clears_the_checksum(self, shop):
        """The worker may have written something else; so the next one writes even what is unchanged."""
        change(shop[0])
        take()
        expire_delays()
        shop[0].price = 10
        shop[0].save()
        assert sync().indexed == 1
        assert state(shop[0]).synced_version == state(shop[0]).version


def _raise(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize("scope", list(Scope))
def test_changes_are_found_by_their_index(scope):
    """Otherwise every batch, and every look for changes, reads and sorts all states."""
    if connection.vendor != "sqlite":
        pytest.skip("the planners of other databases read a small table from end to end")
    plan = leases.due(scope).order_by("not_before", "id").explain()
    assert "USING INDEX imagesim_pending (pending=? AND scope=?)" in plan
    assert "TEMP B-TREE" not in plan
    assert "PRIMARY KEY" in leases.due().filter(pk__in=range(64)).explain()
