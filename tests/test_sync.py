"""From a save to the index, on the real local index and with a small real embedder."""

from __future__ import annotations

import concurrent.futures.thread
from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.connection import ConnectionDoesNotExist
from django.utils.translation import gettext_lazy

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim import tasks
from imagesim.exceptions import AccessRefused, IndexUnavailable, NotRegistered, SearchIndexError
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexing import jobs
from imagesim.indexing.differences import DIFFERENCES
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import MAX_OWNERS, sync
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.models import Embedding, ItemImage, ItemState, Job, Scope
from imagesim.monitoring.status import get_status
from imagesim.types import Filters
from tests.shop import EMBEDDER, LaggingReplica, encoded, picture, product, registered
from tests.zoo.models import Lamp

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


@pytest.fixture(autouse=True)
def _small_embedder(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}


def keys():
    return [key for key, _ in get_index().scan()]


def key(item):
    return f"shop.product:{item.pk}"


def state(item):
    return ItemState.objects.get(model="shop.product", object_pk=str(item.pk))


def test_a_saved_product_is_found():
    shoe = product("shoe", picture("red"))
    report = sync()
    assert (report.indexed, report.embedded, report.interrupted) == (1, 1, "")
    assert keys() == [key(shoe)]
    assert not state(shoe).pending
    assert ItemImage.objects.get().digest == Embedding.objects.get().digest


def test_no_change_waits_after_a_sync():
    product("shoe", picture("red"))
    sync()
    assert sync().done == 0


@pytest.mark.parametrize("failed", [False, True])
def test_a_sync_with_nothing_to_do_writes_nothing(failed):
    """On SQLite, a statement that could write takes a lock even if it changes no row, and waits for every reader: a
    login that reads first would then fail with "database is locked"."""
    product("shoe", b"broken" if failed else picture("red"))
    sync()
    assert state(Product.objects.get()).outcome == ("failed" if failed else "indexed")
    with CaptureQueriesContext(connection) as queries:
        tasks.sync()
    assert not {query["sql"].split()[0] for query in queries} & {"UPDATE", "INSERT", "DELETE"}


def test_a_deleted_product_is_removed():
    shoe = product("shoe", picture("red"))
    sync()
    name = key(shoe)
    shoe.delete()
    assert sync().removed == 1
    assert name not in keys()


def test_a_stock_change_opens_no_picture():
    shoe = product("shoe", picture("red"))
    sync()
    shoe.stock = 0
    shoe.save(update_fields=["stock"])
    report = sync()
    assert (report.indexed, report.embedded, report.opened) == (1, 0, 0)


def test_a_lost_index_is_filled_again_without_the_pictures():
    """Otherwise, all items would fail, and nothing would be found, until the storage is back."""
    shoe, boot = product("shoe", picture("red")), product("boot", picture("blue"))
    sync()
    get_index().drop(get_index().active())
    boot.photos.get().file.storage.delete(boot.photos.get().file.name)
    new = product("sandal", picture("green"))

    report = sync()

    assert (report.indexed, report.opened, report.embedded) == (3, 1, 1)
    assert set(keys()) == {key(each) for each in (shoe, boot, new)}


def test_a_lost_index_with_another_model(settings):
    shoe = product("shoe", picture("red"))
    sync()
    get_index().drop(get_index().active())
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": {**EMBEDDER, "OPTIONS": {"name": "other"}}}
    assert sync().embedded == 1
    assert [hit.item for hit in imagesim.similar_to(shoe)] == []


def test_a_shared_picture_is_embedded_once():
    product("shoe", picture("red"))
    product("boot", picture("red"))
    assert sync().embedded == 1


def test_excluded_by_should_index():
    shoe = product("shoe", picture("red"))
    sync()
    shoe.active = False
    shoe.save()
    assert sync().skipped == 1
    assert keys() == []


def test_new_photo_replaces_the_entry():
    shoe = product("shoe", picture("red"))
    sync()
    Photo.objects.create(product=shoe, position=1, file=ContentFile(encoded(picture("blue")), "b.png"))
    report = sync()
    assert (report.indexed, report.embedded) == (1, 1)
    assert ItemImage.objects.count() == 2


def test_related_rows_are_not_read_from_a_replica(settings):
    """A new item was skipped, because its pictures were not on the replica yet."""
    product("shoe", picture("red"))
    settings.DATABASE_ROUTERS = [LaggingReplica(Photo, Category)]
    assert sync().indexed == 1
    assert not any(reconcile().report[kind] for kind in DIFFERENCES)
    assert rebuild().failed == 0
    with pytest.raises(ConnectionDoesNotExist):
        Photo.objects.exists()  # what the shop itself reads is left to its router


def test_only_changed_images_are_stored_again():
    shoe = product("shoe", picture("red"))
    sync()
    [image] = ItemImage.objects.all()
    imagesim.touch(shoe)
    assert sync().opened == 1
    assert ItemImage.objects.get().pk == image.pk
    shoe.photos.get().file.storage.delete(image.name)
    imagesim.touch(shoe)
    sync()
    [missing] = ItemImage.objects.all()
    assert (missing.pk != image.pk, "There is no file" in missing.error) == (True, True)
    shoe.photos.all().delete()
    sync()
    assert not ItemImage.objects.exists()


def test_a_broken_picture_affects_no_other():
    shoe = product("shoe", picture("red"), b"not a picture")
    boot = product("boot", b"neither")
    cap = product("cap", picture("blue"))
    report = sync()
    assert (report.indexed, report.failed) == (2, 1)
    assert keys() == sorted([key(shoe), key(cap)])
    assert "picture" in state(boot).error
    assert state(boot).outcome == "failed"


def test_a_picture_for_which_there_was_too_little_memory_is_tried_again(monkeypatch):
    shoe = product("shoe", picture("red"))

    def load(self):
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr("PIL.ImageFile.ImageFile.load", load)
        assert sync().retried == 1
    assert "memory" in state(shoe).error
    ItemState.objects.update(not_before=timezone.now())
    assert sync().indexed == 1
    assert keys() == [key(shoe)]


def test_items_are_not_to_blame_when_the_process_ends(monkeypatch):
    """The thread of a web server continues while the interpreter shuts down, which ends every pool of threads."""
    shoe = product("shoe", picture("red"))
    with monkeypatch.context() as ending:
        ending.setattr(concurrent.futures.thread, "_shutdown", True)  # what the interpreter does
        with pytest.raises(SystemExit):
            sync()
    left = state(shoe)
    assert (left.pending, left.outcome, left.error, left.attempts, left.lease) == (True, "new", "", 0, "")
    assert sync().indexed == 1


def test_without_threads_changes_wait(monkeypatch):
    """For instance because of a limit on memory or processes. The command must not end silently, nor Celery's worker
    stop."""
    product("shoe", picture("red"))
    with monkeypatch.context() as limited:
        limited.setattr("threading.Thread.start", Mock(side_effect=RuntimeError("can't start new thread")))
        assert "can't start new thread" in sync().interrupted
    ItemState.objects.update(not_before=timezone.now())
    assert sync().indexed == 1


@pytest.mark.parametrize("given", ["shoes", None, [None], 7, [Category(slug="shoes")]], ids=repr)
def test_categories_that_are_no_list_of_texts(monkeypatch, given):
    """Otherwise, an item would be indexed under each letter of its category."""
    monkeypatch.setattr(type(registry.for_model(Product)), "get_categories", lambda self, item: given)
    shoe = product("shoe", picture("red"))
    assert sync().retried == 1
    expected = f"TypeError: ProductItems.get_categories() returns {given!r}; it must return a list of strings."
    assert state(shoe).error == expected


def test_a_set_of_filter_values_is_named(monkeypatch):
    """Otherwise, it would be indexed as one text, "{'red', 'blue'}"."""
    given = {"colour": {"red"}}
    monkeypatch.setattr(type(registry.for_model(Product)), "get_filters", lambda self, item: given)
    shoe = product("shoe", picture("red"))
    assert sync().failed == 1
    assert state(shoe).error == "filter 'colour': {'red'} has no order; give a tuple or a list."


@pytest.mark.parametrize("given", [None, ["red"]], ids=repr)
@pytest.mark.parametrize("method", ["get_filters", "get_texts"])
def test_filters_and_texts_that_are_no_dict(monkeypatch, method, given):
    monkeypatch.setattr(type(registry.for_model(Product)), method, lambda self, item: given)
    shoe = product("shoe", picture("red"))
    assert sync().retried == 1
    assert state(shoe).error == f"TypeError: ProductItems.{method}() returns {given!r}; it must return a dict."


@pytest.mark.parametrize("given", ["red shoe", None, [None]], ids=repr)
def test_texts_that_are_no_list(monkeypatch, given):
    """Otherwise, the words of an item would be the letters of its text, and no word would find it."""
    monkeypatch.setattr(type(registry.for_model(Product)), "get_texts", lambda self, item: {"name": given})
    shoe = product("shoe", picture("red"))
    assert sync().retried == 1
    expected = f"TypeError: ProductItems.get_texts() returns {given!r}; it must return a list of strings."
    assert state(shoe).error == expected


@pytest.mark.parametrize(
    "given",
    [["shoes", 7], {gettext_lazy("shoes"), 7}, iter(["shoes", "7"])],
    ids=["list", "set", "iterator"],
)
def test_categories_of_any_collection(monkeypatch, given):
    monkeypatch.setattr(type(registry.for_model(Product)), "get_categories", lambda self, item: given)
    product("shoe", picture("red"))
    assert sync().indexed == 1
    assert [get_index().count(Filters(categories=(each,))) for each in ("shoes", "7", "s")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (None, "ProductItems.get_images() returns None; it must return a list of files."),
        ("shoe.png", "ProductItems.get_images() returns 'shoe.png'; it must return a list of files."),
        (
            ["shoe.png"],
            "ProductItems.get_images() returns 'shoe.png', which is not a file; it must return the files of a field",
        ),
        ([None], "ProductItems.get_images() returns None, which is not a file;"),
    ],
)
def test_what_get_images_gives_by_mistake_is_named(monkeypatch, given, error):
    monkeypatch.setattr(type(registry.for_model(Product)), "get_images", lambda self, item: given)
    shoe = product("shoe", picture("red"))
    assert sync().retried == 1
    assert state(shoe).error.startswith(f"TypeError: {error}")


def test_what_a_path_of_images_gives_by_mistake_is_named(monkeypatch):
    lamp = Lamp.objects.create(name="Tall", facts={"media": [{"url": "https://cdn.example.com/a.png"}]})
    with registered(Lamp, type("LampItems", (Items,), {"images": "facts__media"})):
        imagesim.touch(lamp)
        assert sync().retried == 1
        error = ItemState.objects.get(model="zoo.lamp").error
    assert error.startswith(
        "TypeError: LampItems.images = 'facts__media' gives {'url': 'https://cdn.example.com/a.png'},"
    )
    assert error.endswith("extend the path to the key that holds the address.")


def test_renaming_a_category_updates_its_products():
    shoe = product("shoe", picture("red"))
    sync()
    category = Category.objects.get()
    category.slug = "boots"
    category.save()
    assert state(shoe).pending
    assert state(shoe).scope == Scope.METADATA
    assert sync().indexed == 1


def test_syncs_at_one_time_count_their_items(monkeypatch):
    """The clock of Windows stands still for up to 16 ms."""
    shoe = product("shoe", picture("red"))
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    assert sync().indexed == 1
    imagesim.touch(shoe)
    report = sync()
    assert (report.indexed, report.again) == (1, 0)


def test_touch_marks_a_queryset():
    product("shoe", picture("red"))
    product("boot", picture("blue"))
    sync()
    Product.objects.update(stock=0)
    assert imagesim.touch(Product.objects.all(), scope=Scope.METADATA) == 2
    report = sync()
    assert (report.indexed, report.opened) == (2, 0)


def test_a_placeholder_of_many_products_does_not_queue_them_again():
    first = product("shoe-0", picture("grey"))
    placeholder = first.photos.get().file.name
    for number in range(1, MAX_OWNERS + 2):
        Photo.objects.create(product=product(f"shoe-{number}"), file=placeholder)
    sync()
    Photo.objects.create(product=product("last"), file=placeholder)
    assert sync().done == 1


def test_items_that_share_a_picture_are_not_queued_again():
    """The sizes of a product, for example, or a first sync would take several times as long."""
    first = product("shoe-38", picture("red"))
    sync()
    Photo.objects.create(product=product("shoe-39"), file=first.photos.get().file.name)
    with CaptureQueriesContext(connection) as queries:
        report = sync()
    assert (report.indexed, report.again) == (1, 0)
    assert not [each for each in queries if each["sql"].startswith("INSERT INTO") and "itemstate" in each["sql"]]
    assert not state(first).pending
    assert state(first).synced_version == state(first).version


def test_a_first_index_that_cannot_be_filled_is_dropped(monkeypatch):
    """Otherwise, each sync would create another one."""

    def fail(self):
        raise LookupError("the shop's own code")

    product("shoe", picture("red"))
    monkeypatch.setattr(type(registry.for_model(Product)), "get_queryset", fail)
    for start in (sync, rebuild):
        with pytest.raises(LookupError):
            start()
        assert get_index().backing_indexes() == []


@pytest.mark.parametrize(("owner", "call"), [(jobs, "heartbeat"), (LocalIndex, "promote")])
def test_the_first_index_of_a_process_that_was_killed_is_dropped(monkeypatch, owner, call):
    """Before the job has noted its name, or later."""

    def kill(*args, **kwargs):
        raise KeyboardInterrupt

    product("shoe", picture("red"))
    monkeypatch.setattr(owner, call, kill)
    for name in ("drop_leftovers", "finish"):  # after kill -9 nothing is cleaned up
        monkeypatch.setattr(jobs, name, lambda *args, **kwargs: None)
    with pytest.raises(KeyboardInterrupt):
        sync()
    monkeypatch.undo()
    assert len(get_index().backing_indexes()) == 1
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(days=1))
    assert sync().indexed == 1
    assert get_index().backing_indexes() == [get_index().active()]


@pytest.mark.parametrize("indexed", [False, True])
def test_a_process_without_models_leaves_the_work_to_the_others(monkeypatch, indexed):
    """A process in the first phase of a deployment must not make an index without filters, nor take the items of the
    others for deleted."""
    shoe = product("shoe", picture("red"))
    if indexed:
        sync()
        imagesim.touch(Product.objects.all())
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_items", {})
        report = sync()
        assert report.done == 0
        assert report.interrupted.startswith("No model is registered;")
        for task in (tasks.reconcile, tasks.rebuild):
            task()
        for work in (reconcile, rebuild):
            with pytest.raises(NotRegistered):
                work()
        assert (get_index().active() is None) is not indexed
    assert sync().done == 1
    assert keys() == [key(shoe)]
    assert get_index().meta().filters


@pytest.mark.parametrize(
    ("method", "error"),
    [
        pytest.param("write", AccessRefused("the key has expired"), id="refused key"),
        pytest.param("meta", SearchIndexError("not made by imagesim"), id="not ours"),
    ],
)
def test_an_index_that_refuses_as_such_says_nothing_of_the_items(monkeypatch, method, error):
    """Otherwise, each item of a batch would be tried alone, repeatedly, until all have failed."""
    product("shoe", picture("red"))
    product("boot", picture("blue"))
    sync()
    product("sock", picture("green"))
    monkeypatch.setattr(LocalIndex, method, Mock(side_effect=error))
    report = sync()
    assert (report.interrupted, report.done) == (str(error), 0)
    assert list(ItemState.objects.filter(pending=True).values_list("attempts", flat=True)) == [0]
    monkeypatch.undo()
    assert get_status().queue_error == str(error)
    ItemState.objects.update(not_before=timezone.now())
    assert sync().indexed == 1
    assert get_status().queue_error == ""


def test_a_first_index_that_keeps_failing_leaves_a_bounded_number_of_jobs(monkeypatch):
    monkeypatch.setattr(jobs, "MAX_ENDED_JOBS", 3)

    def fail(meta):
        raise IndexUnavailable("no disk left")

    monkeypatch.setattr(get_index(), "create", fail)
    for _time in range(10):
        assert sync().interrupted == "no disk left"
    assert Job.objects.count() == 4
    assert {job.status for job in Job.objects.all()} == {"failed"}
    monkeypatch.undo()
    assert not sync().interrupted
    assert Job.objects.first().status == "done"
