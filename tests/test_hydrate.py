"""The items behind candidates: in order, currently shown, one query per model and one per prefetch, managers
respected."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.core.validators import MinValueValidator
from django.db import OperationalError, models
from django.db.models import Count, Prefetch
from django.db.models.functions import Coalesce

from demo_shop.shop.models import Category, Photo, Product
from imagesim.items import Items
from imagesim.items.hydrate import load, load_items
from imagesim.items.registry import registry
from imagesim.pages import widgets
from imagesim.types import Candidate
from tests.shop import registered
from tests.zoo.models import BrightLamp, Bulb, DeskLamp, Lamp, Maker, Picture, Shelf, Standing, Tag

pytestmark = pytest.mark.django_db


class LampItems(Items):
    images = "pictures__file"
    category = "maker__name"


def shown(items: Items, pks, *, to_many: bool = True) -> list:
    """Return the items with these primary keys, with their model registered by the class of ``items``."""
    with registered(items.model, type(items)):
        return list(load_items([f"{items.label}:{pk}" for pk in pks], to_many=to_many).values())


def read(items: Items, made, *, to_many: bool = True) -> list:
    return sorted(shown(items, [each.pk for each in made], to_many=to_many), key=lambda item: item.name)


def names(rows) -> list[str]:
    return [row.file.name for row in rows]


def with_queryset(make) -> Items:
    return type("Own", (LampItems,), {"get_queryset": lambda self: make()})(Lamp)


@pytest.fixture
def lamps():
    maker = Maker.objects.create(name="Lux", code="lux")
    facts = {"maker": maker, "lit": True, "made": date(2020, 2, 3), "burns": timedelta(hours=2), "facts": {"a": [1]}}
    made = [Lamp.objects.create(name="A", lumen=90, **facts), *(Lamp.objects.create(name=name) for name in "BCD")]
    for place, name in enumerate(("b.png", "a.png")):
        Picture.objects.create(lamp=made[0], file=name, position=-place)
    return made


@pytest.fixture
def products(db):
    category = Category.objects.create(name="Hats", slug="hats")
    made = [Product.objects.create(name=f"P{n}", slug=f"p{n}", category=category, price="9.90") for n in range(3)]
    for product in made[:2]:
        for place in (2, 1, 3):
            Photo.objects.create(product=product, file=f"{product.name}-{place}.jpg", position=place)
    return made


def candidate(key: str, score: float = 0.5) -> Candidate:
    return Candidate(key, score, key, "digest", "name.jpg", "wider")


def test_impossible_keys_are_not_queried(products, django_assert_num_queries):
    items = registry.for_model(Product)
    with django_assert_num_queries(0):
        assert shown(items, ["9" * 40, "-" + "9" * 40, "red", ""]) == []
    assert shown(items, ["9" * 40, str(products[0].pk)], to_many=False) == [products[0]]


def test_items_that_break_the_validators_of_their_key_are_shown(products, monkeypatch):
    # Saving does not run validators, so a shop can have such items.
    monkeypatch.setattr(Product._meta.pk, "validators", [MinValueValidator(10**9)])
    assert len(shown(registry.for_model(Product), [str(product.pk) for product in products])) == 3


def test_hits_keep_the_order_of_the_candidates(products, django_assert_num_queries):
    keys = [f"shop.product:{product.pk}" for product in reversed(products)]
    with django_assert_num_queries(2):  # products with their categories, photos
        candidates = [candidate(keys[0], 0.9), candidate("shop.product:999999"), *map(candidate, keys[1:])]
        hits, again = load(candidates, candidates[:1])
        assert again == hits[:1]
        assert [hit.item for hit in hits] == list(reversed(products))
        assert {hit.item.category.slug for hit in hits} == {"hats"}
        assert names(hits[2].item.photos.all()) == ["P0-1.jpg", "P0-2.jpg", "P0-3.jpg"]
        assert names(hits[0].item.photos.all()) == []
    assert (hits[0].score, hits[0].image.name, hits[0].image.digest, hits[0].stage) == (
        *(0.9, "name.jpg", "digest"),
        "wider",
    )


def test_one_query_per_model_and_prefetch(products, lamps, django_assert_num_queries):
    with registered(Lamp, LampItems):
        keys = [f"zoo.lamp:{lamps[1].pk}", f"shop.product:{products[0].pk}", f"zoo.lamp:{lamps[0].pk}"]
        with django_assert_num_queries(4):
            found = load_items(keys)
            assert {key: item.name for key, item in found.items()} == dict(zip(keys, ("B", "P0", "A"), strict=True))


def test_hidden_items_are_not_loaded(lamps):
    hidden = type("Lit", (LampItems,), {"should_index": lambda self, lamp: lamp.lit})(Lamp)
    assert [lamp.name for lamp in read(hidden, lamps)] == ["A"]


def test_an_item_on_which_the_shops_code_fails_breaks_no_page_of_another(lamps, caplog):
    broken = type("Broken", (LampItems,), {"should_index": lambda self, lamp: lamp.lit or 1 / 0})(Lamp)
    assert [lamp.name for lamp in read(broken, lamps)] == ["A"]
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    each = {f"Broken.should_index() fails for zoo.lamp:{lamp.pk}, which is not shown" for lamp in lamps[1:]}
    assert record.getMessage() in each  # once for all of them, in the order of the database
    assert record.exc_info[0] is ZeroDivisionError


def test_an_outage_of_the_database_is_no_failure_of_an_item(lamps):
    def unreachable(self, lamp):
        raise OperationalError("server closed the connection")

    with pytest.raises(OperationalError):
        read(type("Unreachable", (LampItems,), {"should_index": unreachable})(Lamp), lamps)


def test_loaded_items_can_be_queried_and_saved(lamps):
    (lamp,) = read(LampItems(Lamp), lamps[:1])
    assert names(lamp.pictures.all()) == ["a.png", "b.png"]
    assert names(lamp.pictures.filter(position=0)) == ["b.png"]
    lamp.lumen += 1
    lamp.save()
    lamp.pictures.create(file="new.png", position=9)
    assert lamp.pictures.count() == 3
    assert Lamp.objects.get(name="A").lumen == 91


def test_without_to_many_relations(lamps, django_assert_num_queries):
    with django_assert_num_queries(1):
        (lamp,) = read(LampItems(Lamp), lamps[:1], to_many=False)
        assert lamp.maker.name == "Lux"
    assert "_prefetched_objects_cache" not in lamp.__dict__


def test_one_query_per_lookup_for_any_number_of_items(lamps, django_assert_num_queries):
    filters = {"tag": "tags__label", "watt": "bulb_set__watt", "shelf": "standing_set__shelf__name"}
    items = type("Tagged", (LampItems,), {"filters": filters})(Lamp)
    lamps[0].tags.add(Tag.objects.create(label="tall"))
    Bulb.objects.create(lamp=lamps[0], watt=40)
    Standing.objects.create(lamp=lamps[0], shelf=Shelf.objects.create(name="top"))
    with django_assert_num_queries(6):  # lamps, pictures, tags, bulbs, standings, shelves
        found = read(items, lamps)
        assert [[tag.label for tag in lamp.tags.all()] for lamp in found[:2]] == [["tall"], []]
        assert names(found[0].pictures.all()) == ["a.png", "b.png"]
        assert [bulb.watt for bulb in found[0].bulb_set.all()] == [40]
        assert [standing.shelf.name for standing in found[0].standing_set.all()] == ["top"]


def test_multi_table_inheritance(lamps):
    desk = [DeskLamp.objects.create(name=name, arm=20) for name in "XY"]
    items = LampItems(DeskLamp)
    assert [lamp.arm for each in desk for lamp in read(items, [each])] == [20, 20]
    assert type(read(items, desk)[0]) is DeskLamp


def test_values_are_converted_from_the_database(products):
    items = type("ProductItems", (Items,), {"images": "photos__file", "category": "category__slug"})(Product)
    for product in products:
        (found,) = read(items, [product])
        assert found.price == Decimal("9.90")
        assert found.created_at == product.created_at


@pytest.mark.parametrize(
    "queryset",
    [
        lambda: Lamp.objects.annotate(number=Count("picture")),
        lambda: Lamp.objects.filter(picture__file="a.png"),
        lambda: Lamp.objects.distinct(),
        lambda: Lamp.objects.all() | Lamp.objects.filter(name="A"),
    ],
)
def test_querysets_that_do_more_than_filter(lamps, queryset):
    (found,) = read(with_queryset(queryset), lamps[:1])
    assert names(found.pictures.all()) == ["a.png", "b.png"]


def test_the_prefetch_of_the_shop_is_kept(lamps):
    own = Prefetch("pictures", Picture.objects.filter(file="a.png"))
    (found,) = read(with_queryset(lambda: Lamp.objects.prefetch_related(own)), lamps[:1])
    assert names(found.pictures.all()) == ["a.png"]


def test_a_queryset_of_the_shop_is_evaluated_each_time(lamps):
    class Dimmed(LampItems):
        least = 0

        def get_queryset(self):
            return super().get_queryset().filter(lumen__gte=self.least)

    keys = [f"zoo.lamp:{lamp.pk}" for lamp in lamps]
    with registered(Lamp, Dimmed):
        assert len(load_items(keys)) == 4
        Dimmed.least = 50
        assert [lamp.name for lamp in load_items(keys).values()] == ["A"]


def test_the_managers_of_the_shop_are_respected(lamps, monkeypatch):
    class Hidden(models.Manager):
        def get_queryset(self):
            return super().get_queryset().exclude(file="a.png")

    items = LampItems(BrightLamp)  # its manager returns only the bright ones
    assert read(items, lamps) == []
    Lamp.objects.update(lumen=120)
    assert [type(lamp) for lamp in read(items, lamps[:2])] == [BrightLamp, BrightLamp]
    hidden = Hidden()
    hidden.model = Picture
    monkeypatch.setitem(Picture._meta.__dict__, "default_manager", hidden)
    monkeypatch.delitem(Lamp.pictures.__dict__, "related_manager_cls", raising=False)
    try:
        assert names(read(LampItems(Lamp), lamps[:1])[0].pictures.all()) == ["b.png"]
    finally:
        Lamp.pictures.__dict__.pop("related_manager_cls", None)  # made from the manager of this test


def test_related_pictures_keep_their_ordering(lamps, monkeypatch):
    monkeypatch.setattr(Picture._meta, "ordering", [Coalesce("position", models.Value(7)).desc()])
    assert names(read(LampItems(Lamp), lamps)[0].pictures.all()) == ["b.png", "a.png"]


def test_no_key_and_a_repeated_key(lamps, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert shown(LampItems(Lamp), []) == []
        assert load([], []) == [[], []]
    key = str(lamps[0].pk)
    assert shown(LampItems(Lamp), [key, key.upper(), "no key"]) == [lamps[0]]


class TestHitQueryset:
    class Narrow(Items):
        images = "photos__file"
        category = "category__slug"

        def get_hit_queryset(self):
            return Product.objects.only("name", "active")

        def get_image_url(self, item, name):
            return f"https://cdn.example/{name}"

        def get_thumbnail_url(self, item, name, width):
            return f"https://cdn.example/{width}/{name}"

    def test_a_page_reads_only_what_the_shop_says(self, products, django_assert_num_queries):
        with registered(Product, self.Narrow), django_assert_num_queries(1):
            candidates = [Candidate(f"shop.product:{each.pk}", 0.5, "", "", "p.jpg") for each in products]
            cards = widgets.cards(load(candidates)[0])
            assert [card.title for card in cards] == ["P0", "P1", "P2"]
            assert {card.image_url for card in cards} == {"https://cdn.example/p.jpg"}
            assert {card.thumbnail_url for card in cards} == {"https://cdn.example/320/p.jpg"}
        assert {"price", "slug"} <= cards[0].item.get_deferred_fields()

    def test_indexing_reads_everything(self, products, django_assert_num_queries):
        items = self.Narrow(Product)
        with django_assert_num_queries(1):
            (item,) = shown(items, [str(products[0].pk)], to_many=False)
            assert (item.category.slug, item.get_deferred_fields()) == ("hats", set())
