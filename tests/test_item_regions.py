"""Things in items' own images: found once by the sync, shown as dots, each leading to similar items."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from asgiref.sync import async_to_sync
from django.core import signing
from django.core.cache import cache
from django.core.management import call_command
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from PIL import Image

import imagesim
from demo_shop.shop.models import Product
from demo_shop.shop.similarity import ProductItems
from imagesim import events
from imagesim.exceptions import BadQuery, EmbedderError, NotIndexed
from imagesim.indexes import get_index
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync as sync_now
from imagesim.models import Embedding, ImageRegions, ItemState, RegionVectors
from imagesim.pages import widgets
from imagesim.regions import get_region_fingerprint
from tests import shop
from tests.embedders import PixelEmbedder
from tests.regions import ColourFinder
from tests.shop import product

pytestmark = pytest.mark.django_db
FINDER = {"BACKEND": "tests.test_item_regions.CountingFinder"}


class CountingFinder(ColourFinder):
    """Counts the images that it is given, and may fail on each, or on those of one size."""

    searched: list[tuple[int, int]] = []
    broken = False
    fails_on: tuple[int, int] | None = None

    def find(self, image: Image.Image) -> list[Any]:
        type(self).searched.append(image.size)
        if self.broken or image.size == self.fails_on:
            raise RuntimeError("no")
        return super().find(image)


class FailingEmbedder(PixelEmbedder):
    """Fails the first time that it is given the regions of an image."""

    failure: Any = None

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        vectors, failure = super().embed_images(images), self.failure
        if failure is None or images[0].size in ((300, 600), (64, 64)):
            return vectors
        type(self).failure = None
        if isinstance(failure, Exception):
            raise failure
        return vectors * np.float32(failure)


@pytest.fixture(params=shop.LOCAL_DAILY)
def index_kind(request: Any) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _settings(index_kind: str, request: Any, settings: Any, media_root: Any) -> Iterator[None]:
    CountingFinder.searched, CountingFinder.broken, CountingFinder.fails_on = [], False, None
    with shop.with_index(request, settings, index_kind, REGIONS=FINDER, ITEM_REGIONS=True, MIN_RELEVANCE=0.0):
        yield


def sync() -> None:
    sync_now()
    get_index().refresh(get_index().active())


def outfit(*, shift: int = 0) -> Image.Image:
    """A blue hat above, red shoes below, on stripes."""
    image = Image.new("RGB", (300, 600), "white")
    for top in range(0, 600, 40):
        image.paste("grey", (0, top, 300, top + 20))
    image.paste("blue", (100, 60 + shift, 200, 120 + shift))
    image.paste("red", (60, 480, 240, 570))
    return image


@pytest.fixture
def dressed() -> Product:
    """A dress that is shown with hat and shoes, in addition to some of both."""
    made = product("dress", outfit(), Image.new("RGB", (64, 64), "yellow"), category="dresses")
    for name, colour, category in (
        ("red-shoe", "red", "shoes"),
        ("dark-shoe", "darkred", "shoes"),
        ("red-scarf", "red", "scarves"),
        ("blue-hat", "blue", "hats"),
    ):
        product(name, Image.new("RGB", (64, 64), colour), category=category)
    sync()
    return made


def labels(item: Product) -> list[str]:
    return [found.region.label for found in imagesim.item_regions(item)]


def region(item: Product, label: str) -> imagesim.ItemRegion:
    return next(found for found in imagesim.item_regions(item) if found.region.label == label)


def test_the_sync_finds_them_once_for_each_image(dressed: Product) -> None:
    assert labels(dressed) == ["shoes", "hat"]
    assert ImageRegions.objects.count() == 5  # two pictures are the same; "nothing in it" is stored, too
    assert RegionVectors.objects.count() == 1
    searched = len(CountingFinder.searched)
    assert searched == 5
    rebuild()
    product("same picture", outfit(), category="dresses")
    imagesim.touch(Product.objects.all())
    sync()
    reconcile()
    assert len(CountingFinder.searched) == searched
    assert labels(Product.objects.get(name="same picture")) == ["shoes", "hat"]


def test_one_thing_that_fills_its_picture_has_no_dot(dressed: Product) -> None:
    assert labels(Product.objects.get(name="red-shoe")) == []


def test_what_the_shop_does_not_sell_has_no_dot(dressed: Product) -> None:
    Product.objects.filter(category__slug="hats").delete()
    from django.core.cache import cache

    cache.clear()  # the list of categories
    assert labels(dressed) == ["shoes"]


def test_a_garment_in_the_picture_of_an_armchair_is_not_believed(dressed: Product, settings: Any) -> None:
    chair = product("chair", outfit(), category="armchairs")
    sync()
    assert labels(chair) == []
    assert labels(dressed) == ["shoes", "hat"]


def test_items_like_a_thing_are_of_its_kind_and_not_the_item_itself(dressed: Product) -> None:
    shoes = region(dressed, "shoes")
    hits = imagesim.similar_to(dressed, region_id=shoes.id)
    assert [hit.item.name for hit in hits] == ["red-shoe", "dark-shoe"]
    assert hits.region == shoes.region
    assert [hit.item.name for hit in imagesim.similar_to(dressed, region_id=region(dressed, "hat").id)] == ["blue-hat"]
    wide = imagesim.similar_to(dressed, region_id=shoes.id, category="scarves")
    assert [hit.item.name for hit in wide] == ["red-scarf"]


def test_an_unknown_region_is_refused(dressed: Product) -> None:
    with pytest.raises(BadQuery, match="has no region 'gone'") as refused:
        imagesim.similar_to(dressed, region_id="gone")
    assert refused.value.field == "region_id"


def test_a_changed_picture_has_its_own_regions(dressed: Product) -> None:
    before = region(dressed, "shoes").id, region(dressed, "hat").id
    photo = dressed.photos.first()
    photo.file.save("new.png", shop.ContentFile(shop.encoded(outfit(shift=100))))
    sync()
    assert labels(dressed) == ["shoes", "hat"]
    assert async_to_sync(imagesim.aitem_regions)(dressed) == imagesim.item_regions(dressed)
    assert not set(before) & {found.id for found in imagesim.item_regions(dressed)}


def test_a_change_of_metadata_finds_nothing(dressed: Product, settings: Any) -> None:
    ImageRegions.objects.all().delete()
    CountingFinder.searched.clear()
    Product.objects.filter(pk=dressed.pk).update(price="5.00")
    imagesim.touch(dressed, scope=imagesim.Scope.METADATA)
    sync()
    assert CountingFinder.searched == []


@pytest.mark.parametrize("repair", [rebuild, reconcile])
def test_switched_on_later_a_rebuild_or_a_reconcile_finds_them(settings: Any, repair: Any) -> None:
    settings.IMAGESIM = {**settings.IMAGESIM, "ITEM_REGIONS": False}
    made = product("dress", outfit(), category="")
    sync()
    assert CountingFinder.searched == []
    assert labels(made) == []
    settings.IMAGESIM = {**settings.IMAGESIM, "ITEM_REGIONS": True}
    product("shoe", Image.new("RGB", (64, 64), "red"))
    product("hat", Image.new("RGB", (64, 64), "blue"), category="hats")
    repair()
    assert labels(made) == ["shoes", "hat"]


def test_a_finder_that_does_not_work_stops_no_item(settings: Any, caplog: Any) -> None:
    CountingFinder.broken = True
    made = product("dress", outfit())
    sync()
    assert ItemState.objects.get(object_pk=str(made.pk)).outcome == "indexed"
    assert not ImageRegions.objects.exists()
    assert "regions of items cannot be found: The region finder fails: RuntimeError: no" in caplog.text
    assert "in find" in caplog.text  # whoever writes a finder needs the line
    CountingFinder.broken = False
    product("hat", Image.new("RGB", (64, 64), "blue"), category="hats")
    reconcile()
    assert "hat" in labels(made)


@pytest.mark.parametrize("given", [None, [(0.1, 0.1, 0.5, 0.5)]], ids=repr)
def test_a_finder_that_gives_no_regions_stops_no_item(monkeypatch: Any, caplog: Any, given: Any) -> None:
    monkeypatch.setattr(CountingFinder, "find", lambda self, image: given)
    made = product("dress", outfit())
    sync()
    assert ItemState.objects.get(object_pk=str(made.pk)).outcome == "indexed"
    assert not ImageRegions.objects.exists()  # so they are found once the finder works again
    assert "The region finder fails: " in caplog.text


def test_a_picture_on_which_the_finder_fails_has_no_regions(settings: Any, caplog: Any) -> None:
    CountingFinder.fails_on = (300, 600)
    made = product("dress", outfit())
    sync()
    assert labels(made) == []
    assert ImageRegions.objects.get().regions == []
    assert "the region finder fails on" in caplog.text


@pytest.mark.parametrize("failure", [0, np.nan, ValueError("no"), EmbedderError("it answered 429")], ids=repr)
def test_a_picture_on_whose_regions_the_model_fails_stops_no_other(settings: Any, caplog: Any, failure: Any) -> None:
    """Neither its own entry nor the regions of other pictures; and no such vector is stored."""
    embedder = {"BACKEND": "tests.test_item_regions.FailingEmbedder"}
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": embedder}
    FailingEmbedder.failure = failure
    product("dress", outfit())
    product("coat", outfit(shift=10))
    sync()
    assert list(ItemState.objects.values_list("outcome", "error")) == [("indexed", "")] * 2
    assert "the model fails on the regions of" in caplog.text
    assert RegionVectors.objects.count() == 1
    reconcile()
    vectors = [np.frombuffer(bytes(row.vectors), "<f4") for row in RegionVectors.objects.all()]
    assert len(vectors) == 2
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.sqrt(2))


def test_another_model_embeds_them_in_its_rebuild(dressed: Product, settings: Any) -> None:
    other = {"BACKEND": "tests.embedders.PixelEmbedder", "OPTIONS": {"name": "other", "dims": 32}}
    searched = len(CountingFinder.searched)
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": other, "PREVIOUS_EMBEDDERS": [shop.EMBEDDER]}
    rebuild()
    assert len(CountingFinder.searched) == searched
    assert [hit.item.name for hit in imagesim.similar_to(dressed, region_id=region(dressed, "hat").id)] == ["blue-hat"]
    RegionVectors.objects.all().delete()
    with pytest.raises(NotIndexed):
        imagesim.similar_to(dressed, region_id=region(dressed, "hat").id)


def test_regions_nobody_uses_are_deleted_when_old(dressed: Product, settings: Any) -> None:
    dressed.photos.all().delete()
    sync()
    assert reconcile().report["regions"] == 0  # they are recent
    ImageRegions.objects.update(created_at=timezone.now() - timedelta(days=2))
    assert reconcile(dry_run=True).report["regions"] == 2
    assert ImageRegions.objects.count() == 5
    assert reconcile().report["regions"] == 2
    assert ImageRegions.objects.count() == 3
    assert not RegionVectors.objects.exists()


def test_what_another_finder_found_is_deleted(dressed: Product, settings: Any) -> None:
    ImageRegions.objects.update(finder="replaced", created_at=timezone.now() - timedelta(days=2))
    assert labels(dressed) == []
    reconcile()
    assert {row.finder for row in ImageRegions.objects.all()} == {get_region_fingerprint()}
    assert labels(dressed) == ["shoes", "hat"]


def test_vectors_of_a_replaced_model_are_deleted(dressed: Product) -> None:
    row = ImageRegions.objects.exclude(regions=[]).get()
    RegionVectors.objects.create(image=row, fingerprint="replaced", vectors=b"")
    ImageRegions.objects.update(created_at=timezone.now() - timedelta(days=2))
    reconcile()
    assert list(RegionVectors.objects.values_list("fingerprint", flat=True)) == [
        Embedding.objects.values_list("fingerprint", flat=True).first()
    ]


def test_the_fingerprint_names_what_decides_about_the_regions() -> None:
    lite = "imagesim.regions.lite.LiteRegionFinder"
    from imagesim.conf import Backend

    usual = get_region_fingerprint(Backend(lite))
    assert usual.startswith("LiteRegionFinder-")
    assert get_region_fingerprint(Backend(lite, {"precision": "fp32"})) == usual
    assert get_region_fingerprint(Backend(lite, {"neutral": False})) != usual


@pytest.mark.long
def test_the_fingerprint_is_the_same_in_all_processes() -> None:
    """The order of a set differs between them: each process would otherwise find the regions of all items again."""
    ask = (
        "from imagesim.conf import Backend; from imagesim.regions import get_region_fingerprint as ask\n"
        "finder = 'imagesim.regions.transformers.TransformersRegionFinder'\n"
        "print(ask(Backend(finder, {'ignore': {'bow', 'hood', 'sleeve', 'pocket'}})))"
    )
    asked = {
        subprocess.check_output([sys.executable, "-c", ask], env=os.environ | {"PYTHONHASHSEED": seed})
        for seed in ("1", "2", "3")
    }
    assert len(asked) == 1


# Pages.


def render(source: str, item: Product, path: str = "/product/dress/") -> str:
    context = Context({"product": item, "request": RequestFactory().get(path)})
    return Template("{% load imagesim %}" + source).render(context)


def test_the_tag_puts_a_link_on_each_thing(dressed: Product) -> None:
    name = dressed.photos.first().file.name
    page = Template("{% load imagesim %}{% product_regions product name %}").render(
        Context({"product": dressed, "name": name, "request": RequestFactory().get("/")})
    )
    shoes = region(dressed, "shoes")
    assert page.count("<a ") == 2
    assert f'href="/search/?like=dress&amp;region_id={shoes.id}"' in page
    assert 'aria-label="Similar: Shoes"' in page
    assert 'cx="50.0%" cy="87.5%"' in page
    assert "style=" not in page  # the policy forbids it
    assert "<svg" not in render("{% product_regions product 'another.png' %}", dressed)
    assert render("{% product_regions product %}", dressed).count("<a ") == 2  # the first picture


def test_positions_are_the_same_in_every_language(dressed: Product, settings: Any) -> None:
    from django.utils import translation

    with translation.override("de"):
        page = render("{% product_regions product %}", dressed)
    assert 'cy="87.5%"' in page
    assert "Ähnliches: Schuhe" in page


def test_the_row_of_similar_products_follows_the_address(dressed: Product) -> None:
    shoes = region(dressed, "shoes")
    page = render("{% similar_products product %}", dressed, f"/product/dress/?region_id={shoes.id}")
    assert "Shoes</h2>" in page
    assert "red-shoe" in page
    assert "red-scarf" not in page
    assert "All similar products" in page
    usual = render("{% similar_products product %}", dressed)
    assert render("{% similar_products product %}", dressed, "/product/dress/?region_id=gone") == usual


def test_where_nothing_is_like_a_thing_the_page_says_so(dressed: Product, settings: Any) -> None:
    Product.objects.filter(category__slug="hats").update(active=False)
    imagesim.touch(Product.objects.filter(category__slug="hats"))
    sync()
    hat = region(dressed, "hat")
    page = render("{% similar_products product %}", dressed, f"/product/dress/?region_id={hat.id}")
    assert "No similar products found." in page
    assert "red-shoe" not in page


def test_the_default_address_is_the_row_on_the_items_own_page(dressed: Product) -> None:
    from imagesim.items import Items

    assert Items(Product).get_region_url(dressed, "abc") == "/product/dress/?region_id=abc#imagesim-similar"


def test_two_of_a_kind_are_numbered(dressed: Product) -> None:
    row = ImageRegions.objects.exclude(regions=[]).get()
    first = row.regions[0]
    row.regions = [first, {**first, "x": 0.0}]
    row.save()
    assert [dot.name for dot in widgets.dots(dressed)] == ["Shoes", "Shoes 2"]


def test_a_page_reads_two_tables(dressed: Product, django_assert_num_queries: Any) -> None:
    widgets.dots(dressed)  # the categories are cached
    dressed = Product.objects.select_related("category").prefetch_related("photos").get(pk=dressed.pk)
    with django_assert_num_queries(2):
        assert len(widgets.dots(dressed)) == 2


def test_the_shops_search_page_answers_a_dot(dressed: Product, client: Client) -> None:
    dot = next(dot for dot in widgets.dots(dressed) if dot.name == "Shoes")
    page = client.get(dot.url)
    assert page.status_code == 200
    assert "Similar: Shoes" in page.content.decode()
    assert [hit.item.name for hit in page.context["hits"]] == ["red-shoe", "dark-shoe"]
    assert client.get("/search/?like=dress&region_id=gone").status_code == 200


# REST.


def test_rest_lists_them_and_finds_what_is_similar(dressed: Product, client: Client) -> None:
    answer = client.get(f"/api/visual/items/shop.product/{dressed.pk}/regions/")
    assert answer.status_code == 200
    first = answer.json()["regions"][0]
    assert first["label"] == "shoes"
    assert first["name"] == "Shoes"
    assert first["box"] == {"x": 0.2, "y": 0.8, "width": 0.6, "height": 0.15}
    assert first["categories"] == ["shoes"]
    assert first["similar"] == f"http://testserver/search/?like=dress&region_id={first['id']}"
    assert first["image"]["url"].startswith("http://testserver/media/products/dress")
    url = f"/api/visual/items/shop.product/{dressed.pk}/similar/"
    found = client.get(url, {"region_id": first["id"]}).json()
    assert [hit["item"]["name"] for hit in found["results"]] == ["red-shoe", "dark-shoe"]
    assert found["region"] == first["box"]
    refused = client.get(url, {"region_id": "gone"})
    assert refused.status_code == 400
    assert refused.json()["field"] == "region_id"
    assert client.get("/api/visual/items/shop.product/0/regions/").status_code == 404


def test_events_of_a_cached_answer_have_its_category(dressed: Product, settings: Any) -> None:
    settings.IMAGESIM = settings.IMAGESIM | {"EVENTS": True}
    cache.clear()
    asked = {"timeout": 60, "region_id": region(dressed, "shoes").id}
    found = [imagesim.similar_to(dressed, **asked) for _time in range(2)]
    assert [signing.loads(hits.token, salt=events.SALT)["c"] for hits in found] == ["shoes", "shoes"]
    assert [hit.item.name for hit in found[1]] == ["red-shoe", "dark-shoe"]


def test_rest_lists_those_of_an_item_without_a_page(dressed: Product, client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(ProductItems, "get_similar_url", lambda self, product: reverse("no-such-page"))
    answer = client.get(f"/api/visual/items/shop.product/{dressed.pk}/regions/")
    assert {each["similar"] for each in answer.json()["regions"]} == {None}


def test_the_plan_says_what_they_cost(capsys: Any) -> None:
    call_command("imagesim_plan", "--items", "1000", "--dims", "512", "--no-measure", "--regions", "2")
    told = capsys.readouterr().out
    assert "Database, regions" in told


def test_the_check_names_a_missing_finder(settings: Any) -> None:
    from imagesim.checks import check_item_regions

    assert check_item_regions() == []
    settings.IMAGESIM = {"ITEM_REGIONS": True}
    assert [message.id for message in check_item_regions()] == ["imagesim.W019"]


@pytest.mark.slow
def test_a_page_with_dots_loads_no_model() -> None:
    program = """
import django, sys
django.setup()
from imagesim import item_regions
from imagesim.pages import widgets
from imagesim.regions import get_region_fingerprint
get_region_fingerprint()
print([name for name in ("torch", "timm", "open_clip") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=None, timeout=100
    )
    assert done.stdout.strip() == "[]", done.stderr
