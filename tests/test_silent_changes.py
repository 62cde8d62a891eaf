"""Items that change without a signal between two steps: none stays stale once a reconcile has run."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import QuerySet

from demo_shop.shop.models import Product
from demo_shop.shop.similarity import ProductItems
from imagesim.indexes import get_index
from imagesim.indexes.local import store
from imagesim.indexing import leases
from imagesim.indexing import rebuild as rebuilding
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.models import ItemState, LocalEntry, Scope
from tests.shop import EMBEDDER, picture, price_in_the_index, product, synced_products

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "SYNC_BATCH_SIZE": 2}


@pytest.fixture
def item():
    """The first of four, with a price of 10."""
    return synced_products(4)[0]


def silently(item, price):
    Product.objects.filter(pk=item.pk).update(price=price)


def save(item, price):
    item.price = price
    item.save()


def assert_right(item, price):
    assert price_in_the_index(item) == price
    report = reconcile(dry_run=True).report
    assert (report["missing"], report["stale"], report["orphaned"]) == (0, 0, 0)


class TestRebuild:
    def test_after_a_waiting_change_was_filled(self, item, monkeypatch):
        """The sync writes that change, too: with a version that the new index has not taken."""
        original = rebuilding._fill_page

        def fill(*args):
            failed = original(*args)
            silently(item, 30)
            return failed

        save(item, 20)
        monkeypatch.setattr(rebuilding, "_fill_page", fill)
        rebuild()
        assert_right(item, 30)

    def test_a_lease_from_before_the_fill_stores_nothing(self, item):
        save(item, 20)
        lease = leases.lease(Scope.METADATA, 10)
        rebuild()
        assert leases.mark(lease, [leases.SyncResult(lease.states[0], "indexed")]) == 0
        assert_right(item, 20)

    @pytest.mark.parametrize("back", [silently, save])
    def test_a_change_that_only_the_new_index_has_is_taken_back(self, item, back):
        silently(item, 20)
        rebuild()
        assert price_in_the_index(item) == 20
        back(item, 10)
        sync()
        reconcile()
        assert_right(item, 10)

    def test_a_waiting_change_is_taken_back_after_the_swap(self, item, monkeypatch):
        save(item, 20)
        with monkeypatch.context() as patched:
            patched.setattr(rebuilding, "sync", lambda **options: None)  # the model cannot be reached
            rebuild()
        save(item, 10)
        sync()
        assert_right(item, 10)

    def test_nothing_is_written_again_where_nothing_changed(self, item):
        before = list(ItemState.objects.order_by("pk").values())
        rebuild()
        assert list(ItemState.objects.order_by("pk").values()) == before
        assert get_index().count() == 4


def set_version(item, version):
    """Let the index hold the entry of the item with a different version, as after a restored backup of the database."""
    (entry,) = LocalEntry.objects.filter(key=f"shop.product:{item.pk}")
    found = store.checksum(entry.key, version, bytes(entry.document), bytes(entry.vectors))
    LocalEntry.objects.filter(pk=entry.pk).update(version=version, checksum=found)


def version(item):
    return ItemState.objects.get(object_pk=str(item.pk)).version


class TestAnIndexAheadOfTheDatabase:
    @pytest.mark.parametrize("ahead", [0, 1000])
    def test_what_it_rejects_is_written_by_the_next_reconcile(self, item, ahead):
        """For instance the versions that a sync wrote within a transaction of the caller that was rolled back."""
        save(item, 20)
        set_version(item, version(item) + ahead)
        sync()
        assert price_in_the_index(item) == 10
        reconcile()
        assert_right(item, 20)

    @pytest.mark.django_db(transaction=True)
    def test_a_worker_leases_what_reconcile_queues_with_its_version(self, item, monkeypatch):
        original = QuerySet.update

        def update(self, **values):
            if values == {"checksum": ""} and not connection.in_atomic_block:
                done = original(self, **values)
                sync()  # a worker, at the same time
                return done
            return original(self, **values)

        silently(item, 20)
        set_version(item, version(item) + 10**9)
        monkeypatch.setattr(QuerySet, "update", update)
        reconcile()
        assert_right(item, 20)


class TestAnEntryThatTheIndexRefused:
    def test_is_written_once_its_item_was_mended(self, item, monkeypatch):
        original = ProductItems.get_filters

        def get_filters(self, each):
            return {**original(self, each), "price": "a lot"} if each.price == 20 else original(self, each)

        monkeypatch.setattr(ProductItems, "get_filters", get_filters)
        shoe = product("shoe", picture("blue"), price=20)
        sync()
        assert ItemState.objects.get(object_pk=str(shoe.pk)).outcome == "failed"
        assert reconcile().report["repaired"] == 0
        silently(shoe, 30)
        assert reconcile().report["stale"] == 1
        assert_right(shoe, 30)
