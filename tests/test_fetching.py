"""Items read by SQL that was made once are those that the ORM reads; a queryset of the shop's own is asked anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import connection, models
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler

from demo_shop.shop.models import Category, Photo, Product
from imagesim.items import Items
from imagesim.retrieval.fetching import by_pk
from imagesim.retrieval.hydrate import load_shown
from tests.zoo.models import BrightLamp, DeskLamp, Lamp, Maker, Picture, Tag

pytestmark = pytest.mark.django_db


class LampItems(Items):
    images = "pictures__file"
    category = "maker__name"


def read(items: Items, made, *, many: bool = True) -> list:
    found = by_pk(items, [each.pk for each in made], items.get_queryset(), many=many)
    return sorted(found, key=lambda item: item.name)


@pytest.fixture
def lamps():
    maker = Maker.objects.create(name="Lux", code="lux")
    facts = {"maker": maker, "lit": True, "made": date(2020, 2, 3), "burns": timedelta(hours=2), "facts": {"a": [1]}}
    made = [Lamp.objects.create(name="A", lumen=90, **facts), *(Lamp.objects.create(name=name) for name in "BCD")]
    for place, name in enumerate(("b.png", "a.png")):
        Picture.objects.create(lamp=made[0], file=name, position=-place)
    return made


@pytest.fixture
def no_sql_is_made(monkeypatch):
    """A function to call; from then on making SQL fails."""

    def refuse(self, *args, **kwargs):
        raise AssertionError("SQL is made anew")

    return lambda: monkeypatch.setattr(SQLCompiler, "pre_sql_setup", refuse)


def test_the_same_sql_answers_for_other_keys(lamps, no_sql_is_made, django_assert_num_queries):
    items = LampItems(Lamp)
    expected = list(Lamp.objects.order_by("name").select_related("maker").prefetch_related("pictures"))
    assert [lamp.name for lamp in read(items, lamps[2:])] == ["C", "D"]
    no_sql_is_made()
    with django_assert_num_queries(1):
        found = read(items, lamps[:2])
        assert found == expected[:2]
        for lamp, other in zip(found, expected, strict=False):
            for field in Lamp._meta.concrete_fields:
                assert getattr(lamp, field.attname) == getattr(other, field.attname)
            assert lamp.maker == other.maker
            assert [each.file.name for each in lamp.pictures.all()] == [each.file.name for each in other.pictures.all()]
            assert lamp.__dict__.keys() == other.__dict__.keys()
            assert lamp._state.db == other._state.db
            assert not lamp._state.adding


def test_what_was_read_can_be_asked_further_and_saved(lamps):
    items = LampItems(Lamp)
    for _again in range(2):
        (lamp,) = read(items, lamps[:1])
        assert [each.file.name for each in lamp.pictures.filter(position=0)] == ["b.png"]
        lamp.lumen += 1
        lamp.save()
    assert Lamp.objects.get(name="A").lumen == 92


def test_without_what_belongs_to_the_item(lamps, no_sql_is_made, django_assert_num_queries):
    items = LampItems(Lamp)
    read(items, lamps[1:2], many=False)
    no_sql_is_made()
    with django_assert_num_queries(1):
        (lamp,) = read(items, lamps[:1], many=False)
        assert lamp.maker.name == "Lux"
    assert "_prefetched_objects_cache" not in lamp.__dict__


def test_what_cannot_be_joined_is_prefetched(lamps, django_assert_num_queries):
    items = type("Tagged", (LampItems,), {"filters": {"tag": "tags__label"}})(Lamp)
    lamps[0].tags.add(Tag.objects.create(label="tall"))
    for _again in range(2):
        with django_assert_num_queries(2):
            found = read(items, lamps[:2])
            assert [[tag.label for tag in lamp.tags.all()] for lamp in found] == [["tall"], []]
            assert len(found[0].pictures.all()) == 2


def test_a_child_in_a_table_of_its_own(lamps):
    desk = [DeskLamp.objects.create(name=name, arm=20) for name in "XY"]
    items = LampItems(DeskLamp)
    assert [lamp.arm for each in desk for lamp in read(items, [each])] == [20, 20]
    assert type(read(items, desk)[0]) is DeskLamp


def test_values_that_a_database_keeps_in_another_form():
    category = Category.objects.create(name="Hats", slug="hats")
    made = [Product.objects.create(name=f"P{n}", slug=f"p{n}", category=category, price="9.90") for n in range(2)]
    items = type("ProductItems", (Items,), {"images": "photos__file", "category": "category__slug"})(Product)
    for product in made:
        (found,) = read(items, [product])
        assert found.price == Decimal("9.90")
        assert found.created_at == product.created_at
        assert found.category.slug == "hats"


def test_a_queryset_of_the_shop_is_asked_each_time(lamps):
    class Dimmed(LampItems):
        least = 0

        def get_queryset(self):
            return super().get_queryset().filter(lumen__gte=self.least)

    items = Dimmed(Lamp)
    assert len(read(items, lamps)) == 4
    items.least = 50
    assert [lamp.name for lamp in read(items, lamps)] == ["A"]


def test_a_manager_of_the_shop_is_asked_each_time(lamps):
    items = LampItems(BrightLamp)
    assert read(items, lamps) == []
    Lamp.objects.update(lumen=120)
    assert [type(lamp) for lamp in read(items, lamps[:2])] == [BrightLamp, BrightLamp]


def test_an_order_with_values_of_its_own(lamps, monkeypatch):
    monkeypatch.setattr(Picture._meta, "ordering", [Coalesce("position", models.Value(7)).desc()])
    items = LampItems(Lamp)
    for _again in range(2):
        assert [each.file.name for each in read(items, lamps)[0].pictures.all()] == ["b.png", "a.png"]


def test_no_key_and_a_key_twice(lamps, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert by_pk(LampItems(Lamp), [], Lamp.objects.all(), many=True) == []
    key = str(lamps[0].pk)
    assert load_shown(LampItems(Lamp), [key, key.upper(), "no key"]) == [lamps[0]]


@pytest.mark.django_db(transaction=True)
def test_every_thread_asks_on_its_own_connection():
    category = Category.objects.create(name="Hats", slug="hats")
    product = Product.objects.create(name="P", slug="p", category=category, price=1)
    Photo.objects.create(product=product, file="p.jpg")
    items = type("ProductItems", (Items,), {"images": "photos__file"})(Product)

    def ask() -> list[str]:
        try:
            (found,) = read(items, [product])
            return [photo.file.name for photo in found.photos.all()]
        finally:
            connection.close()

    for _again in range(2):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(ask).result() == ["p.jpg"]
    assert ask() == ["p.jpg"]
