"""Which saves queue which items, and what a save costs."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from django.core import serializers
from django.core.files.base import ContentFile
from django.db import connection, models, transaction
from django.db.models.functions import Concat
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext, isolate_apps

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim.indexing import signals
from imagesim.indexing import sync as syncing
from imagesim.indexing.links import by_sender, links, throughs
from imagesim.indexing.sync import sync
from imagesim.items.registry import registry
from imagesim.models import ItemState, Scope
from tests.shop import EMBEDDER, LaggingReplica, encoded, picture, product, registered

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


@pytest.fixture(autouse=True)
def _small_embedder(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}


class PlainItems(imagesim.Items[Product]):
    images = "photos__file"
    category = "category__slug"
    in_stock = "stock"
    group = "parent_id"
    filters = {"price": "price"}


class DependingItems(PlainItems):
    depends_on = ("active",)

    def should_index(self, product):
        return product.active


@pytest.fixture
def plain():
    with registered(Product, PlainItems):
        yield


@pytest.fixture
def shoe():
    made = product("shoe", picture("red"))
    sync_and_clear()
    return made


def sync_and_clear():
    ItemState.objects.update(pending=False)


def queued():
    return {
        int(state.object_pk): Scope(state.scope)
        for state in ItemState.objects.filter(model="shop.product", pending=True)
    }


@pytest.mark.parametrize(
    ("fields", "scope"),
    [
        (["stock"], Scope.METADATA),
        (["price", "name"], Scope.METADATA),
        (["category"], Scope.METADATA),
        (["category_id"], Scope.METADATA),
        (["parent"], Scope.METADATA),
        (None, Scope.METADATA),
        (["name"], Scope.METADATA),  # words are searched in it
        (["description", "colour", "active"], None),
        ([], None),
    ],
)
@pytest.mark.usefixtures("plain")
def test_fields_of_the_item(shoe, fields, scope):
    shoe.save(update_fields=fields)
    assert queued() == ({} if scope is None else {shoe.pk: scope})


def test_overridden_methods_can_read_any_field(shoe):
    shoe.save(update_fields=["name"])
    assert queued() == ({} if registry.for_model(Product).depends_on is not None else {shoe.pk: Scope.METADATA})


def test_depends_on_limits_the_fields(shoe):
    with registered(Product, DependingItems):
        shoe.save(update_fields=["description"])
        assert queued() == {}
        shoe.save(update_fields=["active"])
        assert queued() == {shoe.pk: Scope.METADATA}


def test_a_new_item_is_queued_completely():
    shoe = product("shoe")
    assert queued() == {shoe.pk: Scope.ALL}


@pytest.mark.usefixtures("plain")
def test_adding_a_picture(shoe):
    Photo.objects.create(product=shoe, file=ContentFile(encoded(picture("blue")), "b.png"))
    assert queued() == {shoe.pk: Scope.ALL}


@pytest.mark.usefixtures("plain")
def test_replacing_a_picture(shoe):
    photo = shoe.photos.get()
    photo.file = ContentFile(encoded(picture("blue")), "b.png")
    photo.save(update_fields=["file"])
    assert queued() == {shoe.pk: Scope.ALL}


@pytest.mark.usefixtures("plain")
def test_describing_a_picture_queues_nothing(shoe):
    shoe.photos.get().save(update_fields=["alt"])
    assert queued() == {}


@pytest.mark.usefixtures("plain")
def test_reordering_pictures(shoe):
    shoe.photos.get().save(update_fields=["position"])
    assert queued() == {shoe.pk: Scope.METADATA}


@pytest.mark.usefixtures("plain")
def test_deleting_a_picture(shoe):
    shoe.photos.get().delete()
    assert queued() == {shoe.pk: Scope.ALL}


def test_moving_a_picture_queues_both_items(shoe):
    boot = product("boot", picture("blue"))
    sync()
    photo = shoe.photos.get()
    photo.product = boot
    photo.save()
    assert queued() == {boot.pk: Scope.ALL, shoe.pk: Scope.ALL}
    sync()
    assert ItemState.objects.get(object_pk=str(boot.pk)).images.count() == 2
    assert ItemState.objects.get(object_pk=str(shoe.pk)).images.count() == 0
    assert ItemState.objects.get(object_pk=str(shoe.pk)).outcome == "skipped"


@pytest.mark.usefixtures("plain")
def test_moving_a_picture_takes_one_further_query(shoe, django_capture_on_commit_callbacks):
    boot, photo = product("boot", picture("blue")), shoe.photos.get()
    sync_and_clear()
    photo.product = boot
    with django_capture_on_commit_callbacks(execute=True), CaptureQueriesContext(connection) as queries:
        photo.save(update_fields=["product"])
    assert len(queries) == 3
    assert queued().keys() == {shoe.pk, boot.pk}
    sync_and_clear()
    photo.save()
    assert queued().keys() == {boot.pk}


def test_the_owner_of_a_picture_is_not_read_from_a_replica(shoe, settings):
    boot, photo = product("boot", picture("blue")), shoe.photos.get()
    deferred = Photo.objects.defer("product").get(product=boot)
    sync_and_clear()
    settings.DATABASE_ROUTERS = [LaggingReplica(Photo)]
    photo.product = product("cap")
    photo.save(update_fields=["product"])
    deferred.delete()
    assert queued().keys() == {shoe.pk, boot.pk, photo.product_id}


def test_moving_a_picture_with_a_stale_instance(shoe):
    """Like a process that loaded the row before another one moved it."""
    boot = product("boot", picture("blue"))
    sync()
    photo = shoe.photos.get()
    with photo.file.open("wb") as file:
        file.write(encoded(picture("green")))
    Photo.objects.filter(pk=photo.pk).update(product=boot)
    imagesim.touch([boot])
    sync()  # the sync records the picture by its name
    sync()
    assert ItemState.objects.get(object_pk=str(shoe.pk)).outcome == "skipped"


@pytest.mark.parametrize("step", ["_store_again", "_queue_former_owners"])
def test_a_former_owner_is_known_to_the_next_worker_where_one_dies(shoe, step):
    """It dies after the picture is stored as one of the new owner, so the picture is not new to the next worker."""
    boot = product("boot", picture("blue"))
    sync()
    Photo.objects.filter(product=shoe).update(product=boot)
    imagesim.touch([boot])
    with patch.object(syncing, step, side_effect=SystemExit), pytest.raises(SystemExit):
        sync()
    sync()
    assert ItemState.objects.get(object_pk=str(shoe.pk)).outcome == "skipped"


@pytest.mark.usefixtures("plain")
def test_renaming_a_category_queues_only_its_items(shoe):
    product("cap", category="caps")
    sync_and_clear()
    with CaptureQueriesContext(connection) as queries:
        shoe.category.save(update_fields=["slug"])
    assert queued() == {shoe.pk: Scope.METADATA}
    assert len(queries) == (3 if connection.vendor == "mysql" else 2)  # as in test_outbox.py


@pytest.mark.usefixtures("plain")
def test_other_fields_of_a_category_queue_nothing(shoe):
    shoe.category.save(update_fields=["name"])
    assert queued() == {}


@pytest.mark.usefixtures("plain")
def test_a_new_category_has_no_items_yet():
    with CaptureQueriesContext(connection) as queries:
        Category.objects.create(name="New", slug="new")
    assert len(queries) == 1


def test_a_deleted_item(shoe):
    pk = shoe.pk
    shoe.delete()
    assert queued() == {pk: Scope.ALL}


def test_a_deleted_queryset(shoe):
    boot = product("boot")
    sync_and_clear()
    pks = {shoe.pk, boot.pk}
    Product.objects.all().delete()
    assert queued().keys() == pks


def test_variants_deleted_with_their_parent(shoe):
    variant = product("variant", picture("blue"), parent=shoe)
    sync_and_clear()
    pks = {shoe.pk, variant.pk}
    shoe.delete()
    assert queued().keys() == pks


@pytest.mark.django_db(transaction=True)
def test_fixtures_are_indexed(shoe):
    rows = serializers.serialize("json", [*Category.objects.all(), *Product.objects.all(), *ItemState.objects.all()])
    pk = shoe.pk
    shoe.delete()
    ItemState.objects.all().delete()
    with transaction.atomic():  # as loaddata does
        for row in serializers.deserialize("json", rows):
            row.save()
    assert queued().keys() == {pk}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("change", ["item", "stock", "picture"])
def test_a_save_costs_at_most_one_query_more(shoe, change):
    rows = {"item": (shoe, None), "stock": (shoe, ["stock"]), "picture": (shoe.photos.get(), None)}
    row, fields = rows[change]
    with CaptureQueriesContext(connection) as with_us:
        row.save(update_fields=fields)
    signals.disconnect()
    try:
        with CaptureQueriesContext(connection) as without_us:
            row.save(update_fields=fields)
    finally:
        signals.connect()
    assert len(with_us) == len(without_us) + 1


def test_receivers_only_for_registered_models():
    assert {sender.__name__ for sender in signals._links} == {"Product", "Category", "Photo"}
    assert not any("imagesim" in str(key[0]) for key, *_ in post_save.receivers if key[1] == id(ItemState))


@isolate_apps("tests")
def test_paths_of_many_kinds():
    class Brand(models.Model):  # noqa: DJ008
        class Meta:
            app_label = "tests"

    class Tag(models.Model):  # noqa: DJ008
        word = models.CharField(max_length=10)

        class Meta:
            app_label = "tests"

    class Ware(models.Model):  # noqa: DJ008
        picture = models.ImageField()
        brand = models.ForeignKey(Brand, models.CASCADE, to_field="id")
        tags = models.ManyToManyField(Tag)
        title = models.CharField(max_length=10)

        class Meta:
            app_label = "tests"

        @property
        def label(self):
            return self.title

    class Special(Ware):  # noqa: DJ008
        class Meta:
            app_label = "tests"

    class Stock(models.Model):  # noqa: DJ008
        ware = models.ForeignKey(Ware, models.CASCADE)
        count = models.IntegerField()

        class Meta:
            app_label = "tests"

    class WareItems(imagesim.Items[Ware]):
        images = "picture"
        filters = {"brand": "brand", "tag": "tags__word", "label": "label"}
        filter_kinds = {"label": "keyword"}
        related = {Stock: "ware"}

    items = WareItems(Ware)
    found = links(items)
    own = found[0]
    assert own.scope_of(["picture"]) == Scope.ALL
    assert own.scope_of(None) == Scope.ALL
    assert own.scope_of(["title"]) == Scope.METADATA  # a property may read any field
    senders = by_sender(found, [Brand, Tag, Ware, Special, Stock])
    assert Special in senders
    assert [(link.owner, link.has_key) for link in senders[Stock]] == [(("ware_id",), True)]
    assert [link.lookup for link in senders[Tag]] == ["tags"]
    assert not senders[Tag][0].created_matters
    [through] = throughs(items)
    assert (through.through, through.near, through.lookup, through.far_lookup) == (Ware.tags.through, Ware, "", "tags")


@isolate_apps("tests")
def test_the_owner_of_a_row():
    class Ware(models.Model):  # noqa: DJ008
        number = models.CharField(max_length=10, unique=True)

        class Meta:
            app_label = "tests"

    class Part(models.Model):  # noqa: DJ008
        ware = models.ForeignKey(Ware, models.CASCADE)

        class Meta:
            app_label = "tests"

    class Picture(models.Model):  # noqa: DJ008
        ware = models.ForeignKey(Ware, models.CASCADE, to_field="number")
        part = models.ForeignKey(Part, models.CASCADE)
        file = models.ImageField()

        class Meta:
            app_label = "tests"

    class WareItems(imagesim.Items[Ware]):
        images = ["picture__file", "part__picture__file"]
        text = {}

    found = {link.lookup: link for link in links(WareItems(Ware))}
    assert (found["part"].owner, found["part"].owner_path) == (("ware_id",), "")
    assert (found["picture"].owner, found["picture"].owner_path) == (("ware_id",), "number")
    assert (found["part__picture"].owner, found["part__picture"].owner_path) == (("part_id",), "part__id")


@isolate_apps("tests")
def test_a_row_that_refers_to_its_item_by_several_columns():
    class Ware(models.Model):  # noqa: DJ008
        shop = models.IntegerField()
        number = models.IntegerField()

        class Meta:
            app_label = "tests"
            unique_together = ("shop", "number")

    class Picture(models.Model):  # noqa: DJ008
        shop = models.IntegerField()
        number = models.IntegerField()
        file = models.ImageField()
        ware = models.ForeignObject(Ware, models.CASCADE, ["shop", "number"], ["shop", "number"])

        class Meta:
            app_label = "tests"

    class WareItems(imagesim.Items[Ware]):
        images = "picture__file"
        text = {}

    [_, pictures] = links(WareItems(Ware))
    assert (pictures.lookup, pictures.owner) == ("picture", ())
    assert str(pictures.items_of(Picture(pk=1), "default").query).endswith("= 1")


@isolate_apps("tests")
def test_a_generated_field_is_written_with_what_it_is_computed_from():
    class Ware(models.Model):  # noqa: DJ008
        brand = models.CharField(max_length=10)
        number = models.CharField(max_length=10)
        net = models.IntegerField()
        reduced = models.IntegerField()
        on_sale = models.BooleanField()
        picture = models.ImageField()
        name = models.GeneratedField(
            expression=Concat("brand", models.Value(" "), "number"),
            output_field=models.CharField(max_length=21),
            db_persist=True,
        )
        price = models.GeneratedField(
            expression=models.Case(
                models.When(models.Q(on_sale=True) & models.Q(reduced__gt=0), then=models.F("reduced")), default="net"
            ),
            output_field=models.IntegerField(),
            db_persist=True,
        )

        class Meta:
            app_label = "tests"

    class Special(Ware):  # noqa: DJ008
        class Meta:
            app_label = "tests"

    class WareItems(imagesim.Items[Ware]):
        images = "picture"
        filters = {"price": "price"}

    for model in (Ware, Special):
        items = WareItems(model)
        own = links(items)[0]
        assert items.default_text() == {"name": 3}
        names = {"brand", "number", "net", "reduced", "on_sale", "picture", "name", "price"}
        assert {name for name in names if own.scope_of([name]) is not None} == names
        assert own.scope_of(["net"]) == Scope.METADATA
