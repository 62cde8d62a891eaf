"""Reconcile finds and repairs differences that no signal reported."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from unittest.mock import Mock

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from demo_shop.shop.models import Photo, Product
from imagesim import similar_to, tasks
from imagesim.embedders import get_embedder
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexes.tables import LocalEntry
from imagesim.indexing import differences, jobs, leases
from imagesim.indexing.outbox import touch
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.items import Items
from imagesim.items.registry import make_key, registry
from imagesim.items.thumbnail_files import WIDTHS, file_name, stored
from imagesim.models import Embedding, EmbeddingLease, ItemState, Job, StoredCalibration
from imagesim.monitoring.status import get_status
from imagesim.pages.thumbnails import _stored
from imagesim.types import Removal
from tests.shop import EMBEDDER, encoded, picture, registered, synced_products
from tests.zoo.models import Bulb, Lamp, Picture, Tag

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]

OTHER = {"BACKEND": "tests.embedders.PixelEmbedder", "OPTIONS": {"name": "other", "dims": 32}}
CLEAN = {"missing": 0, "stale": 0, "orphaned": 0, "duplicate": 0}


@pytest.fixture(autouse=True)
def _small_embedder(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}


@pytest.fixture
def shop():
    return synced_products(4)


def found(run):
    return {name: run.report[name] for name in CLEAN}


def entries():
    return dict(get_index().scan())


def key(item):
    return make_key("shop.product", item.pk)


def assert_equal_again():
    assert found(reconcile(dry_run=True)) == CLEAN
    assert entries().keys() == {key(p) for p in Product.objects.filter(active=True)}


def test_no_differences(shop):
    run = reconcile()
    assert found(run) == CLEAN
    assert run.report["checked"] == 4
    stored = Job.objects.get(pk=run.pk)
    assert (stored.done, stored.total) == (4, 4)  # even if it was too quick for a heartbeat
    assert_equal_again()


def test_bulk_created_is_missing(shop):
    shoe = Product.objects.create(name="x", slug="x", category=shop[0].category, price=1)
    Photo.objects.bulk_create([Photo(product=shoe, file=shop[0].photos.get().file.name)])
    ItemState.objects.filter(object_pk=str(shoe.pk)).delete()
    assert found(reconcile()) == {**CLEAN, "missing": 1}
    assert_equal_again()


def test_bulk_created_without_pictures_is_recorded(shop):
    """The status told people to reconcile, and went on doing so."""
    category = shop[0].category
    Product.objects.bulk_create([Product(name=name, slug=name, category=category, price=1) for name in "xy"])
    assert get_status().unrecorded == 2
    assert found(reconcile()) == CLEAN
    assert (get_status().unrecorded, get_status().skipped) == (0, 2)
    assert found(reconcile()) == CLEAN
    assert not ItemState.objects.filter(pending=True).exists()


def test_updated_without_a_signal_is_stale(shop):
    Product.objects.filter(pk=shop[0].pk).update(price=99)
    assert found(reconcile(dry_run=True)) == {**CLEAN, "stale": 1}
    assert found(reconcile()) == {**CLEAN, "stale": 1}
    assert_equal_again()


def test_photo_swapped_without_a_signal_is_stale(shop):
    Photo.objects.filter(product=shop[0]).update(file=shop[1].photos.get().file.name)
    assert found(reconcile()) == {**CLEAN, "stale": 1}
    assert_equal_again()


def test_a_picture_with_a_very_long_name_is_not_stale_for_ever(shop, monkeypatch):
    """Only a part of its name is stored."""

    def images(item):
        return [ContentFile(encoded(picture("red", mark=item.pk)), f"{'folder/' * 80}{item.pk}.png")]

    monkeypatch.setattr(registry.for_model(Product), "get_images", images, raising=False)
    assert found(reconcile()) == {**CLEAN, "stale": 4}
    assert found(reconcile()) == CLEAN


def test_deleted_without_a_signal_is_an_orphan(shop):
    Photo.objects.filter(product=shop[0])._raw_delete("default")
    Product.objects.filter(pk=shop[0].pk)._raw_delete("default")
    assert found(reconcile()) == {**CLEAN, "orphaned": 1}
    assert_equal_again()


def test_an_item_that_is_deleted_meanwhile_is_no_orphan(shop, monkeypatch):
    """Its state is read before it is deleted, and whether it exists is checked afterwards."""
    existing = differences._existing

    def after_a_delete(states):
        Product.objects.filter(pk=shop[0].pk).delete()
        return existing(states)

    monkeypatch.setattr(differences, "_existing", after_a_delete)
    assert found(reconcile()) == CLEAN
    assert_equal_again()


@pytest.mark.parametrize("field", ["active", "price"])
def test_an_item_whose_change_is_recorded_meanwhile_is_no_difference(shop, monkeypatch, field):
    """Outside a transaction, a save commits the row first and then sends its signal."""
    compare = differences._compare_item

    def before_the_record(items, item, *arguments):
        kind = compare(items, item, *arguments)
        touch(item)
        return kind

    monkeypatch.setattr(differences, "_compare_item", before_the_record)
    Product.objects.filter(pk=shop[0].pk).update(**{field: 0})
    assert found(reconcile()) == CLEAN
    assert_equal_again()


def test_hidden_without_a_signal_is_an_orphan(shop):
    Product.objects.filter(pk=shop[0].pk).update(active=False)
    assert found(reconcile()) == {**CLEAN, "orphaned": 1}
    assert_equal_again()


def test_entry_lost_by_the_index_is_missing(shop):
    version = ItemState.objects.get(object_pk=str(shop[0].pk)).version
    get_index().write([Removal(key(shop[0]), version + 1)])
    assert found(reconcile()) == {**CLEAN, "missing": 1}
    assert_equal_again()


@pytest.mark.parametrize("change", [{"vectors": b"short"}, {"document": b"[]"}, {"version": 2**60}, {"checksum": 1}])
def test_a_damaged_entry_is_missing_and_written_again(shop, change):
    LocalEntry.objects.filter(key=key(shop[1])).update(**change)
    get_index()._snapshots.clear()  # as another process reads it
    assert key(shop[1]) not in {make_key("shop.product", hit.item.pk) for hit in similar_to(shop[0])}
    assert found(reconcile()) == {**CLEAN, "missing": 1}
    assert_equal_again()
    assert key(shop[1]) in {make_key("shop.product", hit.item.pk) for hit in similar_to(shop[0])}


def test_a_deleted_embedding_is_recreated(shop):
    Embedding.objects.first().delete()
    assert found(reconcile(dry_run=True)) == {**CLEAN, "missing": 1}
    assert found(reconcile()) == {**CLEAN, "missing": 1}
    assert Embedding.objects.count() == 4
    assert all(len(similar_to(each)) == 3 for each in shop)
    assert_equal_again()


def test_a_duplicate_key_is_found(shop, monkeypatch):
    """No write of this app makes one, but another program that writes to the index may."""
    twice = [entry for entry in get_index().scan() for _ in range(2 if entry[0] == key(shop[1]) else 1)]
    monkeypatch.setattr(LocalIndex, "scan", lambda self, **_: iter(twice))
    assert found(reconcile(dry_run=True)) == {**CLEAN, "duplicate": 1}
    twice += [("shop.product:none", 1), ("shop.product:none", 1)]
    assert found(reconcile(dry_run=True)) == {**CLEAN, "duplicate": 2}


def test_unknown_entry_is_an_orphan(shop):
    pk = shop[0].pk
    ItemState.objects.filter(object_pk=str(pk)).delete()
    Photo.objects.filter(product=shop[0])._raw_delete("default")
    Product.objects.filter(pk=pk)._raw_delete("default")
    assert found(reconcile()) == {**CLEAN, "orphaned": 1}
    assert_equal_again()


def test_restored_backup(shop):
    """The shop and the states are from yesterday; the index is from today, and its versions are ahead."""
    backup = list(ItemState.objects.values())
    for item in shop:
        item.price = 50
        item.save()
    sync()
    Product.objects.update(price=10)
    for row in backup:
        ItemState.objects.filter(pk=row["id"]).update(**{k: v for k, v in row.items() if k != "id"})
    ItemState.objects.update(version=F("version") - 10**9, synced_version=F("version") - 10**9)
    run = reconcile()
    assert run.report["stale"] == 4
    assert_equal_again()
    assert get_index().count() == 4


@pytest.fixture
def differing(shop, monkeypatch):
    """The first and the last of the items are stale, one is gone, and a page has one item."""
    monkeypatch.setattr(differences, "CHUNK", 1)
    Product.objects.filter(pk__in=[shop[0].pk, shop[3].pk]).update(price=99)
    Photo.objects.filter(product=shop[1])._raw_delete("default")
    Product.objects.filter(pk=shop[1].pk)._raw_delete("default")


def test_it_can_be_limited_in_time(differing):
    first = reconcile(seconds=1e-9)
    assert (first.status, first.done, jobs.abandoned(Job.objects.get(pk=first.pk))) == ("running", 1, True)
    done = [reconcile(seconds=1e-9, unfinished=first.pk) for _time in range(3)][-1]
    assert (done.pk, done.status, done.done) == (first.pk, "done", 3)
    assert found(done) == {**CLEAN, "stale": 2, "orphaned": 1}
    assert done.report["checked"] == 3
    assert_equal_again()


@pytest.mark.parametrize("sent", [True, False])
def test_the_task_compares_in_slices(differing, monkeypatch, sent):
    """So that the only worker syncs between them; if no worker could continue, it does so itself."""
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 1e-9)
    started = []
    monkeypatch.setattr(tasks, "start", lambda task, **options: started.append((task, options)) or sent)
    tasks.reconcile()
    job = Job.objects.get(kind="reconcile")
    go_on = ("reconcile", {"job": job.pk})
    if sent:
        assert (job.status, job.done) == ("running", 1)
        assert started == [("sync", {}), go_on]
    else:
        assert (job.status, job.done) == ("done", 3)
        assert started.count(("sync", {})) == 4


def test_dry_run_changes_nothing(shop):
    Product.objects.filter(pk=shop[0].pk).update(price=99)
    before = list(ItemState.objects.order_by("pk").values())
    reconcile(dry_run=True)
    assert list(ItemState.objects.order_by("pk").values()) == before


def test_embeddings_of_a_replaced_model_are_deleted_when_old(shop, settings):
    """Those of the active index and of the model in the settings stay, whether or not that index is built yet."""
    active = Embedding.objects.first().fingerprint
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}
    configured = get_embedder().fingerprint
    digests = list(Embedding.objects.values_list("digest", flat=True))
    for fingerprint in (configured, "replaced-64"):
        Embedding.objects.bulk_create(Embedding(digest=d, fingerprint=fingerprint, vector=b"") for d in digests)
    assert reconcile().report["embeddings"] == 0  # they are recent
    Embedding.objects.update(created_at=timezone.now() - timedelta(days=2))
    assert reconcile(dry_run=True).report["embeddings"] == len(digests)
    assert reconcile().report["embeddings"] == len(digests)
    assert {e.fingerprint for e in Embedding.objects.all()} == {active, configured}


def test_orphaned_embeddings_are_deleted_when_old(shop):
    shop[0].photos.all().delete()
    sync()
    assert reconcile().report["embeddings"] == 0
    Embedding.objects.update(created_at=timezone.now() - timedelta(days=2))
    assert reconcile().report["embeddings"] == 1
    assert Embedding.objects.count() == 3


def test_an_embedding_that_is_purged_while_its_item_comes_back_is_kept(shop, monkeypatch):
    """Otherwise, its page would show no similar products until the next reconcile."""
    shoe, mark = shop[0], leases.mark

    def purged_before(*args):
        assert reconcile(repair_now=False).report["embeddings"] == 1
        return mark(*args)

    shoe.active = False
    shoe.save()
    sync()
    Embedding.objects.update(created_at=timezone.now() - timedelta(days=2))
    shoe.active = True
    shoe.save()
    monkeypatch.setattr(leases, "mark", purged_before)
    assert sync().indexed == 1
    assert Embedding.objects.count() == 4
    assert len(similar_to(shoe)) == 3


def test_leases_of_workers_that_died_are_deleted_when_old(shop):
    lease = EmbeddingLease(digest="d", fingerprint="f", worker="w", until=timezone.now() - timedelta(hours=23))
    lease.save()
    reconcile()
    assert EmbeddingLease.objects.exists()
    EmbeddingLease.objects.update(until=timezone.now() - timedelta(hours=25))
    reconcile(dry_run=True)
    assert EmbeddingLease.objects.exists()
    reconcile()
    assert not EmbeddingLease.objects.exists()


def test_thumbnails_of_pictures_that_no_item_has_are_deleted(shop):
    gone, replaced, kept = (each.photos.get() for each in shop[:3])
    for photo in (gone, replaced, kept):
        for width in WIDTHS:
            _stored(photo.file, width)
    gone.product.delete()
    replaced.file.save("new.png", ContentFile(encoded(picture("blue"))))
    sync()
    assert reconcile(dry_run=True).report["thumbnails"] == 6
    assert len(stored(default_storage)) == 9
    assert reconcile().report["thumbnails"] == 6
    assert set(stored(default_storage)) == {file_name(kept.file.name, width) for width in WIDTHS}


def test_a_storage_that_cannot_be_listed_stops_no_reconcile(shop, monkeypatch, caplog):
    monkeypatch.setattr(default_storage._wrapped, "listdir", Mock(side_effect=NotImplementedError("no folders")))
    assert reconcile().status == Job.Status.DONE
    assert "no folders" in caplog.text


def test_tombstones_are_purged_when_old(shop):
    shop[0].delete()
    sync()
    ItemState.objects.update(synced_at=timezone.now() - timedelta(days=2))
    assert reconcile().report["tombstones"] == 1
    assert ItemState.objects.count() == 3


def test_an_item_that_comes_back_while_its_tombstone_is_purged_is_kept(shop):
    pk, category = shop[0].pk, shop[0].category
    shop[0].delete()
    sync()
    ItemState.objects.update(synced_at=timezone.now() - timedelta(days=2))
    again = []

    def create(execute, sql, *args):
        done = execute(sql, *args)
        if sql.startswith("SELECT") and "synced_at" in sql.partition("WHERE")[2] and not again:
            again.append(Product.objects.create(pk=pk, name="x", slug="x", category=category, price=1))
        return done

    with connection.execute_wrapper(create):
        assert reconcile(repair_now=False).report["tombstones"] == 0
    assert again
    assert ItemState.objects.get(object_pk=str(pk)).pending


def test_a_purged_item_can_come_back(shop):
    pk = shop[0].pk
    photo = shop[0].photos.get().file.name
    shop[0].delete()
    sync()
    ItemState.objects.filter(outcome="removed").delete()
    again = Product.objects.create(pk=pk, name="x", slug="x", category=shop[1].category, price=1)
    Photo.objects.create(product=again, file=photo)
    sync()
    assert key(again) in entries()


def test_check_exits_with_1_where_they_differ(shop):
    out = StringIO()
    call_command("imagesim_status", "--check", "--format", "json", stdout=out)
    facts = json.loads(out.getvalue())
    assert facts["check"] == {**CLEAN, "differs": False}
    assert (facts["items"], facts["indexed"], facts["pending"], facts["failed"]) == (4, 4, 0, 0)
    Product.objects.filter(pk=shop[0].pk).update(price=99)
    with pytest.raises(SystemExit) as exit:
        call_command("imagesim_status", "--check", stdout=StringIO())
    assert exit.value.code == 1


def test_an_item_on_which_the_shops_code_fails_stops_no_job(shop, monkeypatch):
    """Its former category may be gone. The item is left out of the calibration."""
    items, first = type(registry.for_model(Product)), shop[0]
    before = items.get_categories

    def get_categories(self, item):
        if item == first:
            raise AttributeError("None has no slug")
        return before(self, item)

    monkeypatch.setattr(items, "get_categories", get_categories)
    assert reconcile().status == Job.Status.DONE
    assert rebuild().status == Job.Status.DONE
    assert StoredCalibration.objects.get().items == len(shop) - 1


def test_a_tree_of_categories_that_fails_stops_no_job(shop, monkeypatch):
    monkeypatch.setattr(type(registry.for_model(Product)), "get_category_parents", lambda self: 1 / 0)
    assert rebuild().status == Job.Status.DONE


def test_rows_that_a_database_gives_in_another_order_are_no_difference():
    """PostgreSQL returns rows without an order as they are stored, and a row that was updated is stored after the
    others."""

    class LampItems(Items):
        images = "pictures__file"
        filters = {"watt": "bulb__watt", "tag": "tags__label"}
        text = {"tags__label": 1}

    with registered(Lamp, LampItems):
        rebuild()
        lamp = Lamp.objects.create(name="Tall")
        Picture.objects.create(lamp=lamp, file=ContentFile(encoded(picture("red")), "lamp.png"))
        for watt in (60, 25, 40):
            Bulb.objects.create(lamp=lamp, watt=watt)
        lamp.tags.add(*(Tag.objects.create(label=label) for label in ("new", "tall", "old")))
        sync()
        Bulb.objects.filter(watt=60).update(watt=60)
        Lamp.tags.through.objects.filter(tag__label="new").update(lamp=lamp)
        Tag.objects.filter(label="tall").update(label="tall")
        assert found(reconcile(dry_run=True)) == CLEAN
