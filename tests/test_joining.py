"""Items with their pictures' rows in one query are what a prefetch gives, and a prefetch where that is not certain."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.models import Count, Prefetch

from demo_shop.shop.models import Category, Photo, Product
from imagesim.retrieval.joining import PREFIX, Fetch
from tests.zoo.models import BrightLamp, Bulb, DeskLamp, Lamp, Picture, Shelf, Standing, Tag

pytestmark = pytest.mark.django_db


@pytest.fixture
def products(db):
    category = Category.objects.create(name="Hats", slug="hats")
    made = [Product.objects.create(name=f"P{n}", slug=f"p{n}", category=category, price=n) for n in range(3)]
    for product in made[:2]:
        for place in (2, 1, 3):
            Photo.objects.create(product=product, file=f"{product.name}-{place}.jpg", position=place)
    return made


@pytest.fixture
def lamp(db):
    lamp = Lamp.objects.create(name="Tall", lumen=90)
    for place, name in enumerate(("b.png", "a.png")):
        Picture.objects.create(lamp=lamp, file=name, position=-place)
    Bulb.objects.create(lamp=lamp, watt=40)
    return lamp


def names(rows) -> list[str]:
    return [row.file.name for row in rows]


def test_one_query_gives_what_a_prefetch_gives(products, django_assert_num_queries):
    prefetched = {each.pk: each for each in Product.objects.prefetch_related("photos").select_related("category")}
    with django_assert_num_queries(1):
        found = {each.pk: each for each in Fetch(Product.objects.select_related("category"), ["photos"]).items()}
        for pk, product in found.items():
            expected = prefetched[pk]
            assert product.category == expected.category
            assert list(product.photos.all()) == list(expected.photos.all())
            assert names(product.photos.all()) == names(expected.photos.all())
            assert all(photo.product is product for photo in product.photos.all())
            assert not [name for name in product.__dict__ if name.startswith(PREFIX)]
            assert product.__dict__.keys() == expected.__dict__.keys()
    assert found.keys() == prefetched.keys()
    assert names(found[products[0].pk].photos.all()) == ["P0-1.jpg", "P0-2.jpg", "P0-3.jpg"]
    assert list(found[products[2].pk].photos.all()) == []


def test_the_rows_can_be_asked_further_and_changed(products):
    (product,) = Fetch(Product.objects.filter(pk=products[0].pk), ["photos"]).items()
    assert names(product.photos.filter(position__gt=1)) == ["P0-2.jpg", "P0-3.jpg"]
    product.photos.create(file="new.jpg", position=9)
    assert product.photos.count() == 4
    product.name = "renamed"
    product.save()
    assert Product.objects.get(pk=product.pk).name == "renamed"


def test_a_row_that_another_join_brings_twice_stands_once(lamp, django_assert_num_queries):
    lamp.tags.set([Tag.objects.create(label="one"), Tag.objects.create(label="two")])
    with django_assert_num_queries(1):
        (found,) = Fetch(Lamp.objects.filter(tags__isnull=False), ["pictures"]).items()
        assert names(found.pictures.all()) == ["a.png", "b.png"]


def test_of_several_lookups_one_is_joined_and_the_others_are_prefetched(lamp, django_assert_num_queries):
    Standing.objects.create(lamp=lamp, shelf=Shelf.objects.create(name="top"))
    with django_assert_num_queries(4):  # lamp and pictures, bulbs, standings, shelves
        (found,) = Fetch(Lamp.objects.all(), ["pictures", "bulb_set", "standing_set__shelf"]).items()
        assert names(found.pictures.all()) == ["a.png", "b.png"]
        assert [bulb.watt for bulb in found.bulb_set.all()] == [40]
        assert [standing.shelf.name for standing in found.standing_set.all()] == ["top"]


@pytest.mark.parametrize("model", [BrightLamp, DeskLamp])
def test_a_proxy_and_a_child_in_a_table_of_its_own(lamp, model, django_assert_num_queries):
    if model is DeskLamp:
        DeskLamp(lamp_ptr=lamp, arm=20).save_base(raw=True)
    else:
        Lamp.objects.update(lumen=120)
    with django_assert_num_queries(1):
        (found,) = Fetch(model.objects.filter(pk=lamp.pk), ["pictures"]).items()
        assert type(found) is model
        assert names(found.pictures.all()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "queryset",
    [
        lambda: Lamp.objects.annotate(number=Count("picture")),
        lambda: Lamp.objects.filter(picture__file="a.png"),
        lambda: Lamp.objects.distinct(),
        lambda: Lamp.objects.all()[:5],
        lambda: Lamp.objects.all() | Lamp.objects.filter(name="Tall"),
    ],
)
def test_what_does_more_than_filter(lamp, queryset):
    (found,) = Fetch(queryset(), ["pictures"]).items()
    assert names(found.pictures.all()) == ["a.png", "b.png"]


def test_the_shop_own_prefetch_stays(lamp):
    own = Lamp.objects.prefetch_related(Prefetch("pictures", Picture.objects.filter(file="a.png")))
    (found,) = Fetch(own, ["pictures"]).items()
    assert names(found.pictures.all()) == ["a.png"]


def test_a_manager_with_ideas_of_its_own_is_asked(lamp, monkeypatch, django_assert_num_queries):
    class Hidden(models.Manager):
        def get_queryset(self):
            return super().get_queryset().exclude(file="a.png")

    hidden = Hidden()
    hidden.model = Picture
    _ = Lamp.pictures.related_manager_cls  # made of the default manager when first asked for, then kept by Django
    monkeypatch.setitem(Picture._meta.__dict__, "default_manager", hidden)
    with django_assert_num_queries(2):
        Fetch(Lamp.objects.all(), ["pictures"]).items()
