from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from PIL import Image

import imagesim
from demo_shop.shop.models import Product
from imagesim import runtime
from imagesim.calibration import Background, Calibration
from imagesim.embedders import get_embedder
from imagesim.exceptions import BadImage, BadQuery, EmbedderError, IndexMissing, ModelMismatch
from imagesim.indexes import get_index
from imagesim.items.registry import registry
from imagesim.models import StoredCalibration
from imagesim.pages import widgets
from imagesim.regions import MAX_REGIONS
from imagesim.retrieval import concurrency, filters, look
from imagesim.retrieval.category_names import CategoryNames
from imagesim.retrieval.search import Search
from imagesim.types import Hits, Query, Region
from tests import shop
from tests.embedders import PixelEmbedder
from tests.regions import FINDER, hat_and_shoes
from tests.shop import encoded, product

pytestmark = pytest.mark.django_db


@pytest.fixture(params=shop.LOCAL_DAILY)
def index_kind(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _index(index_kind, request, settings, media_root) -> Iterator[None]:
    with shop.with_index(request, settings, index_kind, REGIONS=FINDER):
        yield


@pytest.fixture
def shelf() -> dict[str, Product]:
    made = {
        name: product(name, Image.new("RGB", (64, 64), colour), category=category, stock=stock)
        for name, colour, category, stock in (
            ("red shoe", "red", "shoes", 3),
            ("dark shoe", "darkred", "shoes", 3),
            ("sold shoe", "red", "shoes", 0),
            ("red dress", "red", "dresses", 3),
            ("blue hat", "blue", "hats", 3),
            ("green sofa", "green", "sofas", 3),
            ("lime sofa", "lime", "sofas", 3),
        )
    }
    shop.index()
    return made


@pytest.fixture
def photo() -> Image.Image:
    return hat_and_shoes()


def noise(size: tuple[int, int]) -> Image.Image:
    """The same each time, unlike ``Image.effect_noise``."""
    grey = np.random.default_rng(0).normal(128, 90, size[::-1]).clip(0, 255)
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def names(hits: Hits) -> list[str]:
    return [hit.item.name for hit in hits]


class TestCost:
    """Twelve boxes of a whole photo of fifty megapixels must not take 2.8 GB."""

    def test_regions_are_cropped_and_reduced_one_by_one(self, shelf, monkeypatch):
        sizes = []
        embed = PixelEmbedder.embed_images

        def seen(self: PixelEmbedder, pictures: Any) -> Any:
            sizes.extend(picture.size for picture in pictures)
            return embed(self, pictures)

        monkeypatch.setattr(PixelEmbedder, "embed_images", seen)
        monkeypatch.setattr(PixelEmbedder, "min_decode_side", least := 64)
        imagesim.shop_the_look(Image.new("RGB", (2000, 1000), "red"), regions=[(0, 0, 0.5, 1)] * 12, limit=1)
        assert len(sizes) == 13
        assert all(least <= min(size) < 2 * least for size in sizes)

    def test_overlapping_regions_are_limited(self, shelf):
        with pytest.raises(BadQuery, match="larger than 6 photos") as caught:
            imagesim.shop_the_look(encoded(Image.new("RGB", (100, 100))), regions=[(0, 0, 1, 1)] * 7)
        assert caught.value.field == "regions"


@pytest.mark.parametrize(
    ("memory", "processors", "slots"),
    [(24 << 30, 2, 2), (24 << 30, 64, 16), (512 << 20, 2, 1), (2 << 30, 8, 1), (4 << 30, 8, 2), (1 << 40, 1, 2)],
)
def test_photo_slots_depend_on_memory(memory, processors, slots):
    assert concurrency.slots_for(memory, processors, 50_000_000) == slots


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is of Linux")
@pytest.mark.parametrize("limit", ["as", "data"])
def test_a_memory_limit_of_the_process_counts(limit: str) -> None:
    program = "from imagesim.runtime import memory_bytes; print(memory_bytes())"
    command = ["prlimit", f"--{limit}=734003200", sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "734003200"


def control_groups(groups: str, files: dict[str, str], folder: Path, monkeypatch) -> None:
    (own := folder / "own").write_text(f"{groups}\n")
    for name, content in files.items():
        (path := folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    monkeypatch.setattr(runtime, "_OWN_GROUPS", own)
    monkeypatch.setattr(runtime, "_GROUPS", folder / "cgroup")


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/system.slice/shop.service", {"system.slice/shop.service/memory.max": "700000000"}, 700_000_000),
        ("0::/shop.slice/web.service", {"shop.slice/memory.max": "1", "shop.slice/web.service/memory.max": "max"}, 1),
        ("0::/", {"memory.max": "2"}, 2),  # in a container
        ("4:memory:/docker/a1\n0::/", {"memory/memory.limit_in_bytes": "3"}, 3),  # of version 1
        ("4:cpu,memory:/shop\n1:cpuset:/", {"memory/shop/memory.limit_in_bytes": "4"}, 4),
        ("0::/../other", {"memory.max": "5"}, 5),  # moved out of the namespace
    ],
)
def test_the_memory_limit_of_a_container_or_a_systemd_unit_counts(groups, limits, expected, tmp_path, monkeypatch):
    control_groups(groups, limits, tmp_path, monkeypatch)
    assert runtime.memory_bytes() == expected


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),  # in a container
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 2),  # one and a half
        ("4:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("0::/", {}, 64),
    ],
)
def test_the_processor_quota_of_a_container_or_a_systemd_unit_counts(groups, files, expected, tmp_path, monkeypatch):
    """More threads than that would all pause for the rest of each period."""
    control_groups(groups, files, tmp_path, monkeypatch)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(64), raising=False)
    assert runtime.threads() == expected


class TestResults:
    def test_every_region_with_its_hits(self, shelf, photo):
        seen = imagesim.shop_the_look(encoded(photo), limit=2, in_stock=True)
        assert seen.size == (300, 600)
        shoes, hat = seen.regions
        assert (shoes.region.label, shoes.name, shoes.categories) == ("shoes", "Shoes", ("shoes",))
        assert (shoes.region.x, shoes.region.y) == (0.2, 0.8)
        assert names(shoes.hits) == ["red shoe", "dark shoe"]
        assert [hit.stage for hit in shoes.hits] == ["", ""]
        assert shoes.hits[0].score == pytest.approx(1, abs=1e-3)
        assert hat.categories == ("hats",)
        assert names(hat.hits)[0] == "blue hat"
        assert len(seen.hits) == 2

    def test_one_batch_and_one_request(self, shelf, photo, monkeypatch):
        embedder, index, batches, requests = get_embedder(), get_index(), [], []
        embed, search = embedder.embed_images, index.search
        monkeypatch.setattr(embedder, "embed_images", lambda images: (batches.append(len(images)), embed(images))[1])
        monkeypatch.setattr(
            index, "search", lambda queries, **given: (requests.append(len(queries)), search(queries, **given))[1]
        )
        imagesim.shop_the_look(photo, limit=4)  # more than the number of hats
        assert (batches, requests) == ([3], [5])  # each region in the categories of its label and in all

    def test_a_label_that_the_hits_contradict_is_not_shown(self, shelf):
        """For instance when a finder of garments calls a bottle of juice hosiery."""
        green = Image.new("RGB", (300, 300), "green")
        box = Region(0, 0, 1, 1, "hosiery", 0.9)
        (region,) = imagesim.shop_the_look(green, regions=[box], whole=False, limit=1).regions
        assert (region.region.label, region.categories) == ("item", ("sofas",))
        assert [hit.stage for hit in region.hits] == [""]

    def test_a_label_whose_categories_hold_nothing_like_it_is_not_shown(self, shelf):
        """Otherwise, in a shop of clothes and groceries, shelves of fruit would be dresses."""
        green = Image.new("RGB", (300, 300), "green")
        box = Region(0, 0, 1, 1, "hat", 0.4)
        (region,) = imagesim.shop_the_look(green, regions=[box], whole=False, limit=2, min_relevance=0.4).regions
        assert (region.region.label, region.categories) == ("item", ("sofas",))
        assert [(hit.item.name, hit.stage) for hit in region.hits] == [("green sofa", ""), ("lime sofa", "")]

    def test_a_label_that_is_contradicted_without_another_kind_is_not_shown(self, shelf):
        for number, green in enumerate(("forestgreen", "limegreen", "seagreen")):
            product(f"thing {number}", Image.new("RGB", (64, 64), green), category=f"things-{number}")
        Product.objects.filter(category__slug="sofas").delete()
        shop.index()
        box = Region(0, 0, 1, 1, "hat", 0.1)
        green = Image.new("RGB", (300, 300), "green")
        (region,) = imagesim.shop_the_look(green, regions=[box], whole=False, limit=3, min_relevance=0.05).regions
        assert (region.region.label, region.categories) == ("item", ())
        assert [(hit.item.name[:5], hit.stage) for hit in region.hits] == [("thing", "")] * 3

    def test_a_shop_without_garments_names_none(self, shelf, monkeypatch):
        Product.objects.exclude(category__slug="sofas").delete()
        shop.index()
        cache.clear()
        scene = noise((300, 300))
        seen = imagesim.shop_the_look(scene, regions=[Region(0, 0, 1, 1, "bag")], min_relevance=0.9)
        assert [(each.region.label, list(each.hits)) for each in seen.regions] == [("item", [])]

    def test_few_hits_are_followed_by_marked_ones_of_other_categories(self, shelf, photo):
        hat = imagesim.shop_the_look(photo, limit=4).regions[1]
        assert names(hat.hits)[0] == "blue hat"
        assert [hit.stage for hit in hat.hits] == ["", "wider", "wider", "wider"]
        assert len(set(names(hat.hits))) == 4

    @pytest.mark.parametrize("collapse", [True, False])
    def test_these_may_be_variants(self, shelf, photo, collapse):
        product("red shoe box", shop.picture("red"), category="boxes", parent=shelf["red shoe"])
        shop.index()
        shoes, _hat = imagesim.shop_the_look(photo, collapse=collapse).regions
        assert "red shoe" in names(shoes.hits)
        assert ("red shoe box" in names(shoes.hits)) is not collapse

    def test_sold_out_items_are_found_unless_in_stock(self, shelf, photo):
        assert "sold shoe" not in names(imagesim.shop_the_look(photo, in_stock=True).regions[0].hits)
        assert "sold shoe" in names(imagesim.shop_the_look(photo).regions[0].hits)
        assert names(imagesim.shop_the_look(photo, in_stock=False).regions[0].hits) == ["sold shoe"]

    def test_more_tells_whether_there_are_more_hits(self, shelf, photo):
        assert [region.hits.more for region in imagesim.shop_the_look(photo, limit=1).regions] == [True, False]
        shoes, _hat = imagesim.shop_the_look(photo, limit=3, category="shoes").regions
        assert (len(shoes.hits), shoes.hits.more) == (3, False)
        for limit, more in ((6, True), (7, False)):  # the hat's category has one, all others are filled from the rest
            seen = imagesim.shop_the_look(photo, limit=limit)
            assert (len(seen.hits), seen.hits.more) == (limit, more)
            assert (len(seen.regions[1].hits), seen.regions[1].hits.more) == (limit, more)

    def test_deleted_items_are_replaced_by_further_hits(self, shelf):
        red = Image.new("RGB", (300, 300), "red")
        nearest = names(imagesim.shop_the_look(red, regions=[], limit=1 + look.SPARES[0]).hits)
        Product.objects.filter(name__in=nearest[1:]).update(active=False)
        seen = imagesim.shop_the_look(red, regions=[], limit=1)
        assert (names(seen.hits), seen.hits.more) == (nearest[:1], True)

    def test_more_of_the_nearest_items_have_ended_than_are_spare(self, shelf):
        """For instance in a shop of auctions, between two reconciles: what has ended is still in the index."""
        red = Image.new("RGB", (300, 300), "red")
        before = imagesim.shop_the_look(red, regions=[], limit=2 + look.SPARES[0])
        assert before.hits.more
        Product.objects.filter(name__in=names(before.hits)[1:]).update(active=False)  # without a signal
        seen = imagesim.shop_the_look(red, regions=[], limit=2)
        assert names(seen.hits)[:1] == names(before.hits)[:1]
        assert len(seen.hits) == 2

    def test_filters(self, shelf, photo):
        Product.objects.filter(name="dark shoe").update(brand="zeta")
        shop.index()
        seen = imagesim.shop_the_look(photo, filters={"brand": "zeta"})
        assert [names(hits) for hits in (seen.hits, *(r.hits for r in seen.regions))] == [["dark shoe"]] * 3

    def test_a_label_without_categories_uses_the_vote_of_the_hits(self, shelf):
        image = Image.new("RGB", (300, 300), "white")
        image.paste("green", (100, 100, 200, 200))
        (sofa,) = imagesim.shop_the_look(image, limit=2).regions
        assert sofa.region.label == "item"
        assert sofa.categories == ("sofas",)
        assert names(sofa.hits) == ["green sofa", "lime sofa"]

    def test_a_hit_on_which_the_shops_code_fails_fails_no_other(self, shelf, photo, monkeypatch):
        items = registry.for_model(Product)
        for method in ("get_categories", "get_group"):
            asked = getattr(items, method)
            broken = lambda item, asked=asked: asked(item if item.name != "dark shoe" else item.nothing)  # noqa: E731
            monkeypatch.setattr(items, method, broken)
        found = names(imagesim.shop_the_look(photo, limit=3).regions[0].hits)
        assert (set(found[:2]), found[2]) == ({"red shoe", "sold shoe"}, "dark shoe")  # equal scores: by key
        (region,) = imagesim.shop_the_look(photo, regions=[(0.2, 0.8, 0.6, 0.15)], whole=False).regions
        assert "dark shoe" in names(region.hits)

    def test_a_missing_category_is_not_replaced_by_another(self, shelf, monkeypatch):
        bag = Region(0, 0, 1, 1, label="bag")
        image = Image.new("RGB", (300, 300), "white")
        (seen,) = imagesim.shop_the_look(image, regions=[bag], limit=3).regions
        assert seen.categories == ()
        assert [hit.stage for hit in seen.hits] == ["wider"] * 3
        monkeypatch.setattr(widgets, "cards", list)
        (section,) = widgets.sections(imagesim.shop_the_look(image, regions=[bag], limit=3, whole=False))
        assert section.only_wider
        (seen,) = imagesim.shop_the_look(image, regions=[bag], limit=2, category="shoes").regions
        assert [hit.stage for hit in seen.hits] == ["", ""]

    def test_a_page_shows_the_photo_where_no_region_has_results(self, shelf):
        """Otherwise, without JavaScript, a photo whose wrong region finds nothing would show nothing, whatever the
        whole photo is like."""
        hits = imagesim.search(image=encoded(Image.new("RGB", (64, 64), "green")), limit=2)
        bag = (look.LookRegion(Region(0, 0, 0.1, 0.1, "bag"), Hits()),)
        found = [section.name for section in widgets.sections(look.Look((64, 64), bag, hits))]
        assert found == ["Whole photo", "Bag"]
        assert [section.name for section in widgets.sections(look.Look((64, 64), bag))] == ["Bag"]

    def test_a_page_begins_with_the_region_that_it_is_surest_of(self, shelf):
        hits = imagesim.search(image=encoded(Image.new("RGB", (64, 64), "green")), limit=1)
        regions = [
            look.LookRegion(Region(0, 0, 1, 1, label), Hits([replace(hits[0], relevance=sure, stage=stage)]))
            for label, sure, stage in (("hat", 0.5, ""), ("bag", 0.9, "wider"), ("shoes", 0.8, ""))
        ]
        found = widgets.sections(look.Look((64, 64), tuple(regions)))
        assert [section.name for section in found] == ["Shoes", "Hat", "Bag"]

    def test_a_page_begins_with_the_photo_that_is_surer_than_a_thing_in_it(self, shelf):
        """For a crate of fruit, some of which is taken for a separate thing, the page must not begin with other
        fruit."""
        (hit,) = imagesim.search(image=encoded(Image.new("RGB", (64, 64), "green")), limit=1)
        whole = Hits([replace(hit, relevance=0.9)])
        for label, sure, first in (("item", 0.8, "Whole photo"), ("item", 0.95, "Product"), ("hat", 0.8, "Hat")):
            region = look.LookRegion(Region(0, 0, 1, 1, label), Hits([replace(hit, relevance=sure)]))
            assert widgets.sections(look.Look((64, 64), (region,), whole))[0].name == first

    def test_a_photo_without_regions(self, shelf):
        seen = imagesim.shop_the_look(Image.new("RGB", (300, 300), "white"), in_stock=True)
        assert seen.regions == ()
        assert len(seen.hits) == 6

    def test_deleted_items_are_not_shown(self, shelf, photo):
        Product.objects.filter(name="red shoe").update(active=False)
        assert names(imagesim.shop_the_look(photo, limit=1, in_stock=True).regions[0].hits) == ["dark shoe"]

    def test_an_empty_index(self, photo):
        shop.index([])
        seen = imagesim.shop_the_look(photo)
        assert [len(region.hits) for region in seen.regions] == [0, 0]

    def test_no_index(self, photo):
        with pytest.raises(IndexMissing):
            imagesim.shop_the_look(photo)

    @pytest.mark.slow
    def test_the_size_of_a_reduced_photo_is_the_original_one(self, shelf):
        large = Image.new("RGB", (3000, 4000), "white")
        large.paste("red", (0, 2000, 3000, 4000))
        exif = Image.Exif()
        exif[0x0112] = 6
        sideways = large.transpose(Image.Transpose.ROTATE_90)
        seen = imagesim.shop_the_look(io.BytesIO(encoded(sideways, "JPEG", exif=exif)))
        assert seen.size == (3000, 4000)
        region = seen.regions[0].region
        assert (region.x, region.y) == pytest.approx((0, 0.5), abs=0.01)

    def test_slivers_are_ignored(self, shelf, monkeypatch):
        slivers = [Region(0, 0, 0.001, 1, "shoes"), Region(0, 0, 1, 0.5, "shoes")]
        monkeypatch.setattr("tests.regions.ColourFinder.find", lambda self, image: slivers)
        assert len(imagesim.shop_the_look(Image.new("RGB", (400, 400), "red")).regions) == 1

    def test_a_photo_with_many_regions(self, shelf, monkeypatch):
        many = [Region(0.04 * n, 0, 0.04, 1, "shoes") for n in range(25)]
        monkeypatch.setattr("tests.regions.ColourFinder.find", lambda self, image: many)
        assert len(imagesim.shop_the_look(Image.new("RGB", (400, 400), "red")).regions) == MAX_REGIONS

    def test_async_variant(self, shelf, photo):
        assert len(async_to_sync(look.ashop_the_look)(photo).regions) == 2


@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
class TestGivenRegions:
    def test_given_boxes_replace_the_finder(self, shelf, photo, monkeypatch):
        monkeypatch.setattr("tests.regions.ColourFinder.find", lambda self, image: pytest.fail("asked"))
        boxes = [(0.2, 0.8, 0.6, 0.15), Region(0.333, 0.1, 0.333, 0.1, label="hat"), [0, 0, 1, 1]]
        first, second, third = imagesim.shop_the_look(photo, regions=boxes, limit=2).regions
        assert names(first.hits)[0] in ("red shoe", "sold shoe", "red dress")  # all of them are equally red
        assert first.name == ""
        assert second.categories == ("hats",)
        assert third.region.width == 1

    def test_an_empty_list_searches_the_whole_photo(self, shelf, photo):
        assert imagesim.shop_the_look(photo, regions=[]).regions == ()

    @pytest.mark.parametrize(
        "regions",
        [
            "0,0,1,1",
            7,
            [7],
            ["0,0,1,1"],
            [(0, 0, 1)],
            [(0, 0, 1, 1, 1)],
            [(0, 0, "1", 1)],
            [(0, 0, True, 1)],
            [(-0.1, 0, 1, 1)],
            [(0.5, 0, 0.6, 1)],
            [(0, 0.5, 1, 0.6)],
            [(0, 0, 0, 1)],
            [(0, 0, float("nan"), 1)],
            [(0, 0, float("inf"), 1)],
            [(0, 0, 0.001, 0.001)],
            [(0, 0, 1, 1)] * 13,
            {"x": 0},
        ],
    )
    def test_invalid_boxes(self, shelf, photo, regions):
        with pytest.raises(BadQuery) as caught:
            imagesim.shop_the_look(photo, regions=regions)
        assert caught.value.field == "regions"
        assert str(caught.value).endswith(".")

    def test_a_point_chooses_the_region_under_it(self, shelf, photo):
        (hat,) = imagesim.shop_the_look(photo, point=(0.5, 0.15)).regions
        assert hat.region.label == "hat"

    @pytest.mark.parametrize("point", [(0.5, 0.5), (0, 0), (1, 1)])
    def test_a_point_outside_the_regions_is_a_square_around_it(self, shelf, photo, point):
        (square,) = imagesim.shop_the_look(photo, point=point).regions
        left, top, right, bottom = square.region.pixels((300, 600))
        assert right - left == pytest.approx(100, abs=1)
        assert bottom - top == pytest.approx(100, abs=1)
        assert square.region.label == ""

    @pytest.mark.parametrize("point", [7, "0.5,0.5", (0.5,), (0.5, 1.1), (0.5, None), (0.5, float("nan"))])
    def test_an_invalid_point(self, shelf, photo, point):
        with pytest.raises(BadQuery, match="not a point"):
            imagesim.shop_the_look(photo, point=point)

    def test_regions_and_point_are_exclusive(self, shelf, photo):
        with pytest.raises(BadQuery, match="not both"):
            imagesim.shop_the_look(photo, regions=[], point=(0, 0))


@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
class TestClosest:
    """Where nothing is relevant, the closest items are shown separately."""

    @pytest.fixture(autouse=True)
    def however_close(self, monkeypatch):
        monkeypatch.setattr("imagesim.retrieval.relevance.CLOSEST_RELEVANCE", 0.0)

    def test_regions_and_photo_have_closest_hits(self, shelf, photo):
        boxes = [look_at.region for look_at in imagesim.shop_the_look(photo).regions]
        seen = imagesim.shop_the_look(photo, regions=boxes, min_relevance=1.0)
        assert [len(each.hits) for each in seen.regions] == [0, 0]
        shoes, hat = (each.hits.closest for each in seen.regions)
        assert {hit.item.name for hit in shoes} <= {"red shoe", "dark shoe", "sold shoe"}
        assert shoes
        assert hat[0].item.name == "blue hat"
        assert seen.hits.closest
        assert all(not each.hits.closest for each in imagesim.shop_the_look(photo).regions)

    def test_items_of_a_chosen_category_need_to_be_alike(self, shelf, photo):
        """A label says what is in the picture; a visitor's filter does not."""
        hat = (1 / 3, 0.1, 1 / 3, 0.1)
        chosen = imagesim.shop_the_look(photo, regions=[hat], category="sofas", min_relevance=0.55)
        assert [names(each.hits) for each in chosen.regions] == [[]]
        assert names(chosen.hits) == []
        assert {each.item.name for each in chosen.regions[0].hits.closest} == {"green sofa", "lime sofa"}
        own = imagesim.shop_the_look(photo, regions=[hat], category="hats", min_relevance=0.55)
        assert [names(each.hits) for each in own.regions] == [["blue hat"]]

    def test_what_comes_closest_keeps_no_label(self, shelf, photo):
        """Peppers are taken for a top; the hoodies that come closest to them must not stand under that name."""
        assert imagesim.shop_the_look(photo, min_relevance=1.0).regions == ()
        green = Image.new("RGB", (300, 300), "white")
        green.paste("green", (100, 100, 200, 200))
        (thing,) = imagesim.shop_the_look(green, min_relevance=1.0).regions
        assert (thing.region.label, bool(thing.hits.closest)) == ("item", True)

    @pytest.mark.parametrize("label", ["bag", "shoes"])
    def test_a_region_that_is_like_nothing_is_left_out(self, shelf, monkeypatch, label):
        """A finder of garments sees bags and skirts in shelves of groceries; the page must not list them without
        results."""
        monkeypatch.setattr("imagesim.retrieval.relevance.CLOSEST_RELEVANCE", 0.2)
        box = Region(0, 0, 1, 1, label=label, score=0.4)
        monkeypatch.setattr("tests.regions.ColourFinder.find", lambda self, image: [box])
        scene = noise((300, 300))
        assert imagesim.shop_the_look(scene, min_relevance=0.4).regions == ()
        assert len(imagesim.shop_the_look(scene).regions) == 1
        for asked in ({"regions": [box]}, {"point": (0.5, 0.5)}, {"filters": {"price__lt": 0}}):
            assert len(imagesim.shop_the_look(scene, min_relevance=0.4, **asked).regions) == 1

    def test_closest_hits_on_pages_and_in_the_rest_api(self, shelf, photo, client):
        for number, item in enumerate(shelf.values()):
            Product.objects.filter(pk=item.pk).update(slug=f"item-{number}")
        shoes, _hat = imagesim.shop_the_look(photo).regions
        seen = imagesim.shop_the_look(photo, regions=[shoes.region], min_relevance=1.0)
        first = widgets.sections(seen)[0]
        assert (first.cards, first.closest[0].title in shelf, first.region.label) == ([], True, "shoes")
        files = {"image": io.BytesIO(encoded(photo)), "min_relevance": "1"}
        answer = client.post("/api/visual/look/", files).json()
        assert answer["regions"] == []
        box = {"region": "[0.2, 0.8, 0.6, 0.15]", "label": "shoes", "min_relevance": "1"}
        region = client.post(f"/api/visual/look/{answer['photo']}/region/", box).json()
        assert region["results"] == []
        assert region["closest"][0]["item"]["name"] in shelf
        assert answer["closest"]


@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
class TestAlone:
    """The tiny embedder draws the names of colours, just as a model of pictures and words knows what they look like."""

    @pytest.fixture
    def yellow(self, shelf):
        product("Alone", Image.new("RGB", (64, 64), "yellow"), category="yellow")
        shop.index()
        return encoded(Image.new("RGB", (64, 64), "yellow"))

    def test_an_item_that_is_alone_in_its_category(self, yellow):
        assert names(imagesim.search(image=yellow, min_relevance=0.4)) == ["Alone"]
        assert names(imagesim.shop_the_look(yellow, regions=[], min_relevance=0.4).hits) == ["Alone"]
        pink = imagesim.search(image=encoded(Image.new("RGB", (64, 64), "pink")), min_relevance=0.4)
        assert "Alone" not in names(pink)

    def test_a_chosen_category_leaves_its_name_no_rivals(self, yellow):
        khaki = encoded(Image.new("RGB", (64, 64), "khaki"))
        assert [hit.relevance for hit in imagesim.search(image=khaki, category="yellow")] < [0.9]

    def test_the_name_of_a_large_category_only_competes(self, yellow):
        """Where many of a kind can vote, its name would add oranges to satsumas."""
        index = get_index()
        names = CategoryNames([registry.for_model(Product)], index.meta())
        vector = get_embedder().embed_images([Image.new("RGB", (64, 64), "yellow")])[0]
        nearest = index.search([Query(vector)])[0].candidates
        assert names.relevances(vector, nearest, Calibration())["yellow"] > 0.9
        large = names.relevances(vector, nearest, Calibration(large=frozenset({"yellow"})))
        assert "yellow" not in large
        assert max(large.values()) < 0.1

    @pytest.mark.parametrize(("category", "is_lower"), [("navy", True), ("yellow", False)])
    def test_what_looks_like_the_words_and_is_called_otherwise(self, shelf, category, is_lower):
        """For "toothbrush", a shop without any must not show a cable."""
        product("Item", Image.new("RGB", (64, 64), "yellow"), category=category)
        shop.index(with_texts=True)
        meta = get_index().meta()
        found = []
        for background in (None, Background(0.0, 0.3)):
            data = replace(Calibration(), names=background).to_json()
            StoredCalibration.objects.update_or_create(defaults={"data": data}, fingerprint=meta.fingerprint)
            shop.forget()
            found.append({hit.item.name: hit.relevance for hit in imagesim.search(text="gold", limit=20)})
        assert found[0]["Item"] > 0.9
        assert (found[1]["Item"] < 0.8) is is_lower

    def test_a_model_without_words_compares_no_names(self, yellow, settings):
        embedder = {**shop.EMBEDDER, "OPTIONS": {"supports_texts": False}}
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": embedder}
        assert names(imagesim.search(image=yellow, min_relevance=0.4)) == []

    def test_a_model_whose_words_fail_still_finds_what_looks_like_it(self, yellow, monkeypatch, caplog):
        def fail(self, texts):
            raise EmbedderError("The words are away.")

        monkeypatch.setattr("imagesim.testing.embedders.PixelEmbedder.embed_texts", fail)
        assert names(imagesim.search(image=yellow))[0] == "Alone"
        assert "The words are away." in caplog.text


class TestMainRegion:
    """``search(region="auto")``."""

    def test_the_first_region_is_searched(self, shelf, photo):
        hits = imagesim.search(image=photo, region="auto", limit=3)
        assert set(names(hits)) == {"red shoe", "sold shoe", "dark shoe"}
        assert hits[0].score > 0.99
        assert (hits.region.label, hits.region.x, hits.region.y) == ("shoes", 0.2, 0.8)
        assert imagesim.search(image=encoded(photo), region="auto", limit=1)[0].score > 0.99
        whole = imagesim.search(image=photo, limit=1)
        assert (whole.region, whole[0].score < 0.9) == (None, True)

    def test_a_product_picture_is_searched_whole(self, shelf):
        product_photo = Image.new("RGB", (300, 300), "white")
        product_photo.paste("red", (60, 60, 200, 200))
        hits = imagesim.search(image=product_photo, region="auto", limit=3)
        assert hits.region is None
        assert hits == imagesim.search(image=product_photo, limit=3)
        closeup = noise((300, 300))
        closeup.paste("red", (10, 10, 290, 290))
        assert imagesim.search(image=closeup, region="auto").region is None

    def test_one_thing_in_a_scene_is_cropped(self, shelf):
        scene = noise((300, 300))
        scene.paste("red", (10, 10, 200, 200))
        assert imagesim.search(image=scene, region="auto").region.label == "shoes"

    @pytest.mark.parametrize(
        ("label", "inside", "chosen"), [("bag", "red", "item"), ("bag", "grey", ""), ("shoes", "red", "shoes")]
    )
    @pytest.mark.parametrize("offset", [0, 1])
    def test_a_label_that_is_not_sold_has_to_find_more_than_the_photo(
        self, shelf, monkeypatch, label, inside, chosen, offset
    ):
        """For instance when a finder of garments sees bags in groceries."""
        box = Region(0.3, 0.3, 0.2, 0.2, label=label)
        monkeypatch.setattr(look, "get_region_finder", lambda: SimpleNamespace(find=lambda image: [box]))
        monkeypatch.setattr(look, "shows_one_thing", lambda image, regions: False)
        ground = "grey" if inside == "red" else "red"
        scene = noise((300, 300)) if ground == "grey" else Image.new("RGB", (300, 300), ground)
        scene.paste(noise((60, 60)) if inside == "grey" else "red", (90, 90, 150, 150))
        hits = imagesim.search(image=scene, region="auto", limit=3, offset=offset)
        assert (hits.region.label if hits.region else "") == chosen
        assert len(hits)
        if not chosen:
            found = imagesim.search(image=scene, region="auto", limit=3, offset=offset, min_relevance=0.4)
            assert (len(found) > 0, found.region) == (True, None)

    @pytest.mark.parametrize(("label", "score", "found"), [("hat", 0.4, None), ("hat", 0.9, None), ("item", 1, "item")])
    def test_a_label_that_the_hits_contradict_is_not_searched(self, shelf, monkeypatch, label, score, found):
        """In a shop of clothes and groceries, photos of fruit must not be searched as tops."""
        box = Region(0.1, 0.1, 0.6, 0.6, label=label, score=score)
        monkeypatch.setattr(look, "get_region_finder", lambda: SimpleNamespace(find=lambda image: [box]))
        monkeypatch.setattr(look, "shows_one_thing", lambda image, regions: False)
        hits = imagesim.search(image=Image.new("RGB", (300, 300), "green"), region="auto", limit=2)
        assert (hits.region and hits.region.label, names(hits)[0]) == (found, "green sofa")

    def test_the_engines_time_is_that_of_all_searches(self, shelf, monkeypatch):
        box, run, ran = Region(0.1, 0.1, 0.6, 0.6, label="hat"), Search.run, []
        monkeypatch.setattr(look, "get_region_finder", lambda: SimpleNamespace(find=lambda image: [box]))
        monkeypatch.setattr(look, "shows_one_thing", lambda image, regions: False)
        monkeypatch.setattr(Search, "run", lambda self: ran.append(self) or run(self).replace(took_ms=1.0))
        assert imagesim.search(image=Image.new("RGB", (300, 300), "green"), region="auto").took_ms == len(ran) == 2

    def test_a_label_that_is_right_restricts_the_hits(self, shelf, photo):
        """Street photos must show results: a part of one looks less like a product picture than these do like each
        other."""
        hits = imagesim.search(image=photo, region="auto", limit=9, min_relevance=0.4)
        assert {hit.item.category.slug for hit in hits} == {"shoes"}
        assert min(hit.relevance for hit in hits) > 0.8
        dresses = imagesim.search(image=photo, region="auto", category="dresses")
        assert (names(dresses), dresses.region.label) == (["red dress"], "shoes")

    def test_every_page_is_of_the_same_search(self, shelf, monkeypatch):
        box = Region(0.3, 0.3, 0.2, 0.2, label="shoes")
        monkeypatch.setattr(look, "get_region_finder", lambda: SimpleNamespace(find=lambda image: [box]))
        monkeypatch.setattr(look, "shows_one_thing", lambda image, regions: False)
        scene = noise((300, 300))
        scene.paste("red", (90, 90, 150, 150))
        pages = [imagesim.search(image=scene, region="auto", limit=3, offset=offset) for offset in (0, 3, 90)]
        assert [hits.region.label for hits in pages] == ["shoes"] * 3
        assert not pages[-1]

    def test_a_photo_without_regions_is_searched_whole(self, shelf):
        hits = imagesim.search(image=Image.new("RGB", (64, 64), "lime"), region="auto", limit=1)
        assert (names(hits), hits.region) == (["lime sofa"], None)

    def test_region_requires_an_image_and_accepts_only_auto(self, shelf, photo):
        for arguments in ({"text": "red", "region": "auto"}, {"image": photo, "region": "all"}):
            with pytest.raises(BadQuery) as refusal:
                imagesim.search(**arguments)
            assert refusal.value.field == "region"

    def test_rest_api(self, shelf, photo, client):
        files = {"image": io.BytesIO(encoded(photo)), "region": "auto", "min_relevance": "0"}
        answer = client.post("/api/visual/search/", files).json()
        assert answer["region"] == pytest.approx({"x": 0.2, "y": 0.8, "width": 0.6, "height": 0.15}, abs=0.01)
        assert answer["results"][0]["score"] > 0.99


class TestRefused:
    @pytest.mark.parametrize("asked", [{"limit": 0}, {"min_score": 3}, {"filters": {"size": 1}}, {"in_stock": 1}])
    def test_arguments(self, shelf, photo, asked: dict[str, Any]):
        with pytest.raises(BadQuery):
            imagesim.shop_the_look(photo, **asked)

    def test_photo(self, shelf):
        with pytest.raises(BadImage):
            imagesim.shop_the_look(b"no photo")
        with pytest.raises(BadQuery):
            imagesim.shop_the_look("photo.jpg")


@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
def test_categories_come_from_the_shop(shelf):
    items = registry.for_model(Product)
    assert filters.categories_of(items) == ["dresses", "hats", "shoes", "sofas"]
    product("scarf", category="scarves")
    assert "scarves" not in filters.categories_of(items)
    cache.clear()
    assert "scarves" in filters.categories_of(items)


@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
def test_categories_from_a_method_cannot_be_listed(shelf, monkeypatch):
    items = registry.for_model(Product)
    monkeypatch.setattr(type(items), "category", "get_absolute_url")
    assert filters.categories_of(items) == []


@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
def test_a_swap_during_the_search_is_retried(shelf, monkeypatch):
    index = get_index()
    search, asked = index.search, []

    def swapped_once(queries, **given):
        asked.append(queries)
        if len(asked) == 1:
            raise ModelMismatch("The index was swapped meanwhile.")
        return search(queries, **given)

    monkeypatch.setattr(index, "search", swapped_once)
    assert imagesim.shop_the_look(shop.picture("red"), regions=[]).hits
    assert len(asked) == 2


class Response:
    """A stream that cannot seek, such as a response from a server."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def read(self, size: int = -1) -> bytes:
        size = len(self._rest) if size < 0 else size
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


@pytest.mark.parametrize(
    "ask",
    [
        lambda photo: imagesim.shop_the_look(photo, regions=[]).hits,
        lambda photo: imagesim.search(image=photo),
        lambda photo: imagesim.search(like=photo),
        lambda photo: imagesim.search(like=[(photo, 0.5)]),
    ],
    ids=["look", "search", "like", "a weighted like"],
)
@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
def test_a_stream_that_cannot_seek_is_kept_for_a_second_search(shelf, monkeypatch, ask):
    index = get_index()
    search, swaps = index.search, [True]

    def swapped_once(queries, **given):
        if swaps:
            swaps.pop()
            raise ModelMismatch("The index was swapped meanwhile.")
        return search(queries, **given)

    monkeypatch.setattr(index, "search", swapped_once)
    found = ask(Response(shop.encoded(shop.picture("red"))))
    assert not swaps
    assert [hit.item for hit in found] == [hit.item for hit in ask(shop.picture("red"))]


@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
def test_what_can_be_read_once_is_kept_for_a_second_search(shelf, monkeypatch):
    """Otherwise, the second search would have no regions, or search in all categories."""
    search, asked, swaps = get_index().search, [], []

    def swapped(queries, **given):
        if swaps:
            swaps.pop()
            raise ModelMismatch("The index was swapped meanwhile.")
        asked.append(queries)
        return search(queries, **given)

    monkeypatch.setattr(get_index(), "search", swapped)
    boxes = ((0.1, 0.1, 0.5, 0.5), (0.4, 0.4, 0.5, 0.5))
    swaps.append(True)
    assert len(imagesim.shop_the_look(shop.picture("red"), regions=iter(boxes)).regions) == 2
    swaps.append(True)
    imagesim.similar_to(shelf["red shoe"], category=iter(["shoes"]))
    assert asked[-1][0].filters.categories == ("shoes",)
    swaps.append(True)
    imagesim.search(text="shoe", filters={"colour__in": iter(["red"])})
    assert not swaps
    assert asked[-1][0].filters.conditions[0].value == ("red",)
