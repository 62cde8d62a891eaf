"""Answers that pages keep: which requests are repeated, and when."""

from __future__ import annotations

import io

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim import picture_versions, shared_cache
from imagesim.indexes import get_index
from imagesim.indexing.sync import sync
from imagesim.items.registry import registry
from imagesim.pages import widgets
from imagesim.retrieval.answer_cache import CachedAnswer
from imagesim.retrieval.params import SearchRequest
from imagesim.types import Hits
from tests import shop
from tests.shop import encoded, picture

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settings(settings, media_root):
    settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": shop.EMBEDDER, "SIMILAR_SECONDS": 60}
    cache.clear()


@pytest.fixture
def shelf() -> dict[str, Product]:
    return shop.shelf()


@pytest.fixture
def searches(monkeypatch) -> list[object]:
    """The searches that reach the index."""
    made: list[object] = []
    index, ask = get_index(), get_index().search
    monkeypatch.setattr(index, "search", lambda queries, **given: made.append(queries) or ask(queries, **given))
    return made


def similar(item: Product, **arguments: object) -> Hits:
    return imagesim.similar_to(Product.objects.get(pk=item.pk), timeout=60, **arguments)


def names(hits: Hits) -> list[str]:
    return [hit.item.name for hit in hits]


def test_pages_and_the_api_share_the_answer(shelf, searches, client):
    first = widgets.similar_hits(shelf["red"], limit=12)
    response = client.get(f"/api/visual/items/shop.product/{shelf['red'].pk}/similar/").json()
    assert len(searches) == 1
    assert [result["item"]["name"] for result in response["results"]] == names(first)
    assert [result["relevance"] for result in response["results"]] == [round(hit.relevance, 4) for hit in first]
    assert (response["more"], response["exact"], response["cut"]) == (first.more, first.exact, first.cut)


def test_zero_seconds_ask_the_index(shelf, searches):
    for _time in range(2):
        imagesim.similar_to(shelf["red"], timeout=0)
        widgets.similar_hits(shelf["red"], timeout=0)
    assert len(searches) == 4


def test_without_the_cache_the_index_is_asked(shelf, searches, settings, client):
    unreachable = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    settings.CACHES = {"default": unreachable}
    for _time in range(2):
        assert widgets.similar_hits(shelf["red"])
        assert similar(shelf["red"], filters={"price__lte": 30}, fallback=True)
    assert len(searches) == 4


def test_another_question_is_another_answer(shelf, searches):
    for arguments in ({}, {"limit": 2}, {"offset": 1}, {"in_stock": True}, {"filters": {"price__lte": 30}}):
        for _time in range(2):
            similar(shelf["red"], **arguments)
    assert len(searches) == 5


def test_items_are_read_again(shelf, searches):
    similar(shelf["red"])
    Product.objects.filter(name="dark").update(price=99)
    assert next(hit.item.price for hit in similar(shelf["red"]) if hit.item.name == "dark") == 99
    assert len(searches) == 1


@pytest.mark.parametrize("change", [{"active": False}, {"stock": 0}, {"price": 70}, {"category": "hats"}])
def test_a_hit_that_no_longer_fits_is_seen_at_once(shelf, searches, change):
    asked = {"in_stock": True, "category": "shoes", "filters": {"price__lte": 60}}
    assert names(similar(shelf["red"], **asked)) == ["dark", "blue"]
    if "category" in change:
        change = {"category": Category.objects.get(slug="hats")}
    Product.objects.filter(name="dark").update(**change)
    shop.index([each for each in Product.objects.all() if each.active])
    assert names(similar(shelf["red"], **asked)) == ["blue"]
    assert names(similar(shelf["red"], **asked)) == ["blue"]
    assert len(searches) == 2


def test_other_pictures_of_the_item_are_seen_at_once(shelf, searches):
    assert names(similar(shelf["red"]))[0] == "dark"
    shelf["red"].price = 11
    shelf["red"].save()
    sync()
    assert names(similar(shelf["red"]))[0] == "dark"
    assert len(searches) == 1
    shelf["red"].photos.all().delete()
    Photo.objects.create(product=shelf["red"], file=ContentFile(encoded(picture("blue")), "other.png"))
    sync()
    for _time in range(2):
        assert names(similar(shelf["red"]))[0] == "blue"
    assert len(searches) == 2


def test_and_so_are_those_that_it_got_while_it_was_not_shown(shelf, searches):
    assert names(similar(shelf["red"]))[0] == "dark"
    for active in (False, True):
        shelf["red"].active = active
        shelf["red"].save()
        shelf["red"].photos.all().delete()
        Photo.objects.create(product=shelf["red"], file=ContentFile(encoded(picture("blue")), "other.png"))
        sync()
    assert names(similar(shelf["red"]))[0] == "blue"


def test_an_answer_is_not_kept_for_longer_than_the_version_of_the_pictures(shelf, monkeypatch):
    """Otherwise, an answer from before another picture would count again once the version is forgotten."""
    kept: dict[str, int] = {}
    monkeypatch.setattr(shared_cache, "keep", lambda key, value, seconds: kept.update({key: seconds}))
    imagesim.similar_to(shelf["red"], timeout=7 * picture_versions.SECONDS)
    assert max(kept.values()) == picture_versions.SECONDS


def test_the_first_pictures_of_items_take_no_place_in_the_cache(db):
    shop.product("red", picture("red"))
    assert sync().indexed == 1
    assert not [key for key in cache._cache if "imagesim.pictures" in key]


@pytest.mark.parametrize("change", [{"active": False}, {"stock": 0}, {"price": 70}])
def test_so_are_the_closest_that_no_longer_fit(shelf, searches, change):
    """Where nothing is relevant, the closest must not be shown from the cache after they have been sold out."""
    asked = {"in_stock": True, "filters": {"price__lte": 60}, "min_relevance": 0.9999}
    first = similar(shelf["red"], **asked)
    assert not first
    assert "dark" in names(first.closest)
    Product.objects.filter(name="dark").update(**change)
    shop.index([each for each in Product.objects.all() if each.active])
    assert "dark" not in names(similar(shelf["red"], **asked).closest)


def test_an_answer_of_an_index_that_lags_behind_is_not_kept(shelf, searches):
    Product.objects.filter(name="dark").update(stock=0)  # the index does not know yet
    for _time in range(2):
        assert "dark" in names(similar(shelf["red"], in_stock=True))
    assert len(searches) == 2


def test_without_variants_it_is_kept_without_what_was_sold(shelf, searches):
    Product.objects.filter(name="dark").update(stock=0)
    with shop.registered(Product, type("Own", (type(registry.for_model(Product)),), {"group": ""})):
        for _time in range(2):
            assert "dark" not in names(similar(shelf["red"], in_stock=True))
    assert len(searches) == 1


def test_another_category_of_the_item_is_another_question(shelf, searches):
    similar(shelf["red"], same_category=True)
    Product.objects.filter(name="red").update(category=Category.objects.get(slug="hats"))
    assert set(names(similar(shelf["red"], same_category=True))) == {"hat", "navy"}
    assert len(searches) == 2


def test_the_names_of_categories_are_told_apart(shelf):
    items, request = registry.for_model(Product), SearchRequest.create("similar", {}, (registry.for_model(Product),))
    names = {CachedAnswer(items, "key", own, request, None).name for own in (("a b",), ("a", "b"), ("a", "b", ""))}
    assert len(names) == 3


def test_pictures_are_never_taken_for_one_another(shelf, searches):
    found = [
        similar(shelf["red"], unlike=io.BytesIO(encoded(picture(colour)))) for colour in ("red", "blue", "red", "blue")
    ]
    assert len(searches) == 4
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_in_stock", {"in_stock": True}),
        ("get_categories", {"category": "shoes"}),
        ("get_filters", {"filters": {"price__gt": 0}}),
    ],
)
def test_a_hit_on_which_the_shops_code_fails_fails_no_page(shelf, monkeypatch, method, arguments):
    first = similar(shelf["red"], **arguments)
    items = registry.for_model(Product)
    asked = getattr(items, method)
    monkeypatch.setattr(items, method, lambda item: asked(item if item.pk != first[0].item.pk else item.nothing))
    for _time in range(2):
        assert names(similar(shelf["red"], **arguments)) == names(first)
