"""Which of Django's writes commit together with their change, outside a transaction of the shop."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.urls import reverse

from demo_shop.shop.models import Category, Photo, Product
from imagesim.indexing import outbox
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.items import Items
from imagesim.models import ItemState
from tests.shop import EMBEDDER, picture, product, registered
from tests.zoo.models import BrightLamp, DeskLamp, Lamp, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media_root")]


class LampItems(Items[Lamp]):
    images = "pictures__file"
    filters = {"tag": "tags__label", "lumen": "lumen"}


@pytest.fixture(autouse=True)
def _lamps(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}
    with registered(Lamp, LampItems):
        yield


@pytest.fixture
def shoe():
    return product("shoe", picture("red"))


@pytest.fixture
def same_transaction(monkeypatch):
    """Record for each change whether it was written in the transaction of the item."""
    seen = []
    open_calls = []

    def watch(original):
        def watched(*args, **kwargs):
            if not open_calls:  # MySQL cannot select what it records: it calls itself, in its own transaction
                seen.append(connection.in_atomic_block)
            open_calls.append(original)
            try:
                return original(*args, **kwargs)
            finally:
                open_calls.pop()

        return watched

    monkeypatch.setattr(outbox, "record", watch(outbox.record))
    return seen


class TestSeparateTransactions:
    """If a process dies between the two statements, only reconcile finds the change."""

    def test_a_save(self, shoe, same_transaction):
        shoe.save()
        Product.objects.create(name="boot", slug="boot", category=shoe.category, price=1)
        assert same_transaction == [False, False]

    def test_a_row_related_to_an_item(self, shoe, same_transaction):
        Photo.objects.create(product=shoe, file="x.png")
        shoe.category.slug = "other"
        shoe.category.save()
        assert not any(same_transaction)

    def test_a_model_with_two_tables(self, same_transaction):
        """Its tables are written in one transaction, but that has ended when the signal is sent."""
        DeskLamp.objects.create(name="Low")
        assert same_transaction == [False]

    def test_reconcile_finds_a_lost_change(self, shoe, monkeypatch):
        sync()

        def die(*args, **kwargs):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(outbox, "record", die)
            with pytest.raises(KeyboardInterrupt):
                Product.objects.get(pk=shoe.pk).delete()
            shoe.brand = "New"
            with pytest.raises(KeyboardInterrupt):
                shoe.save()
        assert Product.objects.get(pk=shoe.pk).brand == "New"  # it was saved, and the deletion was not
        assert not ItemState.objects.filter(pending=True).exists()
        assert reconcile().report["stale"] == 1
        assert reconcile().report["stale"] == 0


class TestSameTransaction:
    def test_inside_a_transaction_of_the_shop(self, shoe, same_transaction):
        with transaction.atomic():
            shoe.save()
        assert same_transaction == [True]

    def test_a_delete(self, shoe, same_transaction):
        shoe.delete()
        assert same_transaction
        assert all(same_transaction)

    def test_a_queryset_deleted(self, shoe, same_transaction):
        Product.objects.all().delete()
        assert same_transaction
        assert all(same_transaction)

    def test_update_or_create(self, shoe, same_transaction):
        Product.objects.update_or_create(slug="shoe", defaults={"stock": 5})
        Product.objects.update_or_create(
            slug="boot", defaults={"stock": 5}, create_defaults={"name": "b", "category": shoe.category, "price": 1}
        )
        Product.objects.get_or_create(slug="sock", defaults={"name": "s", "category": shoe.category, "price": 1})
        assert same_transaction == [True, True, True]

    def test_many_to_many(self, same_transaction):
        lamp = Lamp.objects.create(name="Tall")
        same_transaction.clear()
        tag = Tag.objects.create(label="x")
        lamp.tags.add(tag)
        lamp.tags.set([])
        tag.lamp_set.add(lamp)
        tag.lamp_set.clear()
        assert same_transaction
        assert all(same_transaction)

    def test_the_admin(self, shoe, same_transaction, client):
        client.force_login(get_user_model().objects.create_superuser("boss"))
        page = reverse("admin:shop_category_change", args=[shoe.category_id])
        answer = client.post(page, {"name": "All", "slug": "new", "position": 0})
        assert answer.status_code == 302, answer.content
        assert Category.objects.filter(slug="new").exists()
        assert same_transaction
        assert all(same_transaction)

    def test_a_model_with_atomic_save(self, same_transaction, monkeypatch):
        lamp = BrightLamp(name="Sun", lumen=2000)
        lamp.save()
        BrightLamp(name="Moon", lumen=1000).save(using="default")
        assert same_transaction == [True, True]

        def die(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(outbox, "record", die)
        lamp.lumen = 3000
        with pytest.raises(KeyboardInterrupt):
            lamp.save()
        assert BrightLamp.objects.filter(lumen=2000).exists()
