"""The work list: what is noted about the catalogue, how a scan continues, and its page."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection, connections
from django.urls import reverse
from django.utils import translation
from PIL import Image, ImageFilter

from demo_shop.shop.models import Product
from imagesim.exceptions import IndexUnavailable
from imagesim.images.quality import BLURRED, blur
from imagesim.indexes.local import LocalIndex
from imagesim.indexing.sync import sync
from imagesim.insight import catalogue, tasks
from imagesim.insight.catalogue import foreign_category
from imagesim.insight.models import CatalogueScan, Finding, PictureFacts
from imagesim.items.registry import key_of, registry
from imagesim.models import ItemImage, ItemState
from tests.shop import EMBEDDER, encoded, product

pytestmark = pytest.mark.django_db
LIST = reverse("admin:imagesim_insight_finding_changelist")
SCAN = reverse("admin:imagesim_insight_finding_scan")


@pytest.fixture(autouse=True)
def _shop(settings: Any, media_root: Any) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": EMBEDDER}


def scene(seed: int, side: int = 256) -> Image.Image:
    """A sharp picture: blocks of distinct colours."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)


def colours(low: int, high: int, seed: int) -> Image.Image:
    """A picture of similar colours."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(low, high, (6, 6, 3), dtype=np.uint8)).resize((256, 256), 0)


def found(item: Product | None = None) -> list[str]:
    rows = Finding.objects.all() if item is None else Finding.objects.filter(state__object_pk=str(item.pk))
    return sorted(rows.values_list("kind", flat=True))


def look() -> None:
    catalogue.begin()
    assert catalogue.scan(60).finished_at


def test_pictures_that_are_missing_broken_tiny_or_blurred() -> None:
    good = product("good", scene(1))
    none = product("none")
    broken = product("broken", b"no picture", scene(2))
    tiny = product("tiny", scene(3, 120))
    blurred = product("blurred", scene(4).filter(ImageFilter.GaussianBlur(5)))
    sync()
    look()
    assert found(good) == []
    assert found(none) == ["none"]
    assert found(broken) == ["broken"]
    assert found(tiny) == ["tiny"]
    assert found(blurred) == ["blurred"]
    assert Finding.objects.get(kind="tiny").explanation == "120 × 120 pixels"
    assert "no picture" not in Finding.objects.get(kind="broken").detail
    assert PictureFacts.objects.count() == 4


def test_what_is_not_indexed_and_why() -> None:
    hidden = product("hidden", scene(1), active=False)
    late = product("late", scene(2))
    bad = product("bad", b"no picture")
    sync()
    ItemState.objects.filter(object_pk=str(late.pk)).update(outcome="new", pending=True)
    look()
    assert found(hidden) == [], "where sold things are hidden, these were most of the list"
    assert Finding.objects.get(kind="unindexed", state__object_pk=str(late.pk)).explanation == "It waits to be indexed."
    assert found(bad) == ["broken", "unindexed"]
    assert Finding.objects.get(kind="unindexed", state__object_pk=str(bad.pk)).detail


def test_details_are_in_the_language_of_who_reads_them(admin_client: Any) -> None:
    product("tiny", scene(3, 120))
    late, failed = product("late", scene(2)), product("failed", scene(4))
    sync()
    ItemState.objects.filter(object_pk=str(late.pk)).update(outcome="new", pending=True)
    ItemState.objects.filter(object_pk=str(failed.pk)).update(outcome="failed")
    with translation.override("de"):
        look()
    Finding.objects.create(state=ItemState.objects.first(), kind=Finding.Kind.OUTLIER, detail="hats")
    pages = {}
    for language in ("en", "de"):
        with translation.override(language):
            pages[language] = admin_client.get(LIST, headers={"accept-language": language}).content.decode()
    for english, german in {
        "120 × 120 pixels": "120 × 120 Pixel",
        "It waits to be indexed.": "Wartet auf die Indexierung.",
        ">failed<": ">fehlgeschlagen<",
        "It looks like hats.": "Es sieht aus wie hats.",
    }.items():
        assert english in pages["en"]
        assert german not in pages["en"]
        assert german in pages["de"]


def test_a_picture_of_several_products_but_not_of_variants() -> None:
    shown = encoded(scene(1))
    first, second = product("first", shown), product("second", shown)
    parent = product("parent", encoded(scene(2)))
    product("variant", encoded(scene(2)), parent=parent)
    sync()
    look()
    rows = Finding.objects.filter(kind="shared")
    assert {(row.state.object_pk, row.other_key) for row in rows} == {
        (str(first.pk), key_of(second)),
        (str(second.pk), key_of(first)),
    }
    assert not Finding.objects.filter(kind="duplicate").exists()


def test_a_placeholder_of_all_products_does_not_load_them_all_at_each_step(monkeypatch: Any) -> None:
    shown = encoded(scene(1))
    for number in range(12):
        product(str(number), shown)
    sync()
    loaded: list[int] = []
    load = catalogue._load
    monkeypatch.setattr(catalogue, "_load", lambda states: loaded.append(len(states)) or load(states))
    monkeypatch.setattr(catalogue, "BATCH", 2)
    monkeypatch.setattr(catalogue, "MAX_OWNERS", 3)
    look()
    assert max(loaded) == 3
    assert Finding.objects.filter(kind="shared").count() == 12


def test_a_picture_that_is_almost_that_of_another_product() -> None:
    picture = scene(1)
    brighter = picture.point(lambda value: min(255, value + 2))
    first, second, other = product("a", picture), product("b", brighter), product("c", scene(9))
    sync()
    look()
    assert found(first) == found(second) == ["duplicate"]
    assert found(other) == []
    assert Finding.objects.get(state__object_pk=str(first.pk)).other_key == key_of(second)


@pytest.mark.slow
def test_a_product_unlike_its_category() -> None:
    for number in range(12):
        product(f"hat-{number}", colours(200, 255, number), category="hats")
        product(f"shoe-{number}", colours(0, 60, 100 + number), category="shoes")
    stray = product("stray", colours(200, 255, 77), category="shoes")
    sync()
    look()
    outliers = Finding.objects.filter(kind="outlier")
    assert [row.state.object_pk for row in outliers] == [str(stray.pk)]
    assert outliers.get().explanation == "It looks like hats."


@pytest.mark.slow
def test_a_small_category_has_no_outliers() -> None:
    for number in range(12):
        product(f"hat-{number}", colours(200, 255, number), category="hats")
    product("stray", colours(200, 255, 77), category="shoes")
    sync()
    look()
    assert not Finding.objects.filter(kind="outlier").exists()


def test_a_scan_goes_on_where_it_stopped_and_opens_no_picture_twice(monkeypatch) -> None:
    monkeypatch.setattr(catalogue, "BATCH", 2)
    for number in range(5):
        product(f"p{number}", scene(number, 120))
    sync()
    catalogue.begin()
    assert [catalogue.scan(0).done for _time in range(4)] == [2, 4, 5, 5]
    assert found() == ["tiny"] * 5
    monkeypatch.setattr(catalogue.images, "read", lambda file: pytest.fail("opened again"))
    look()
    assert found() == ["tiny"] * 5


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_scans_at_once_list_nothing_twice(monkeypatch: Any) -> None:
    for number in range(3):
        product(f"tiny{number}", scene(number, 64))
    sync()
    catalogue.begin()
    looked, writing, create = Barrier(2), Barrier(2), Finding.objects.bulk_create

    def look_at_the_same(items: Any) -> bool:
        looked.wait(10)
        return True

    def write_at_once(rows: Any) -> Any:
        with suppress(BrokenBarrierError):
            writing.wait(1)
        return create(rows)

    def step() -> None:
        try:
            catalogue._step()
        finally:
            connections.close_all()

    monkeypatch.setattr(catalogue, "_look_at_neighbours", look_at_the_same)
    monkeypatch.setattr(Finding.objects, "bulk_create", write_at_once)
    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(step) for _number in range(2)]:
            each.result()
    assert found() == ["tiny"] * 3
    assert catalogue.progress().done == 3


def test_the_page_can_be_read_before_the_first_scan_without_writing(admin_client: Any) -> None:
    """The database may be read-only at the time."""
    assert "0 of 0 products were looked at" in admin_client.get(LIST).content.decode()
    assert not CatalogueScan.objects.exists()


def test_what_was_repaired_leaves_the_list() -> None:
    shoe = product("shoe", scene(1, 120))
    sync()
    look()
    assert found(shoe) == ["tiny"]
    shoe.photos.all().delete()
    shoe.delete()
    sync()
    look()
    assert found(shoe) == []


def test_without_the_index_the_rest_is_noted(monkeypatch) -> None:
    product("tiny", scene(1, 120))
    sync()

    def down(self: Any, queries: Any, **given: Any) -> Any:
        raise IndexUnavailable("gone")

    monkeypatch.setattr(LocalIndex, "search", down)
    look()
    assert found() == ["tiny"]


def test_without_the_index_what_it_told_before_stays(monkeypatch) -> None:
    """A scan while the index is down must not take all duplicates off the list."""
    near = scene(3)
    near.putpixel((5, 5), (1, 2, 3))
    first, second = product("first", scene(3)), product("second", near)
    sync()
    look()
    assert found(first) == found(second) == ["duplicate"]

    def down(self: Any, queries: Any, **given: Any) -> Any:
        raise IndexUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(LocalIndex, "search", down)
        look()
    assert found(first) == found(second) == ["duplicate"]
    second.photos.all().delete()
    sync()
    look()
    assert found(first) == []


def test_many_pictures_take_several_requests(monkeypatch) -> None:
    monkeypatch.setattr(catalogue, "QUERIES", 2)
    for number in range(5):
        product(f"thing {number}", scene(3 if number > 2 else number))
    sync()
    sizes = []
    search = LocalIndex.search
    monkeypatch.setattr(
        LocalIndex,
        "search",
        lambda self, queries, **given: sizes.append(len(queries)) or search(self, queries, **given),
    )
    look()
    assert sizes == [2, 2, 1]
    assert found() == ["shared", "shared"]


def test_the_task_begins_again(monkeypatch) -> None:
    product("tiny", scene(1, 120))
    sync()
    assert tasks.scan()
    PictureFacts.objects.all().delete()
    assert tasks.scan()
    assert PictureFacts.objects.count() == 1


def test_the_command(capsys) -> None:
    product("tiny", scene(1, 120))
    sync()
    call_command("imagesim_scan", "--restart")
    assert capsys.readouterr().out == "1 items looked at, 1 entries\n"
    call_command("imagesim_scan", "--seconds", "0", "--restart", format="json")
    assert json.loads(capsys.readouterr().out) == {"items": 1, "finished": False, "entries": 1}


def test_the_page_links_to_the_products(admin_client) -> None:
    shown = encoded(scene(1, 120))
    first, second = product("first <b>", shown), product("second", shown)
    sync()
    assert "0 of 2 products were looked at" in admin_client.get(LIST).content.decode()
    answer = admin_client.post(SCAN, follow=True)
    page = answer.content.decode()
    assert "All 2 products were looked at" in page
    assert reverse("admin:shop_product_change", args=[first.pk]) in page
    assert reverse("admin:shop_product_change", args=[second.pk]) in page
    assert "first &lt;b&gt;" in page
    assert "imagesim-thumbnail" in page
    assert "120 × 120 pixels" in admin_client.get(LIST + "?kind__exact=tiny").content.decode()


def test_the_picture_of_a_product_that_the_shop_does_not_show(admin_client) -> None:
    hidden = product("hidden", scene(1, 120))
    sync()
    look()
    hidden.active = False
    hidden.save()
    sync()
    assert hidden.photos.get().file.url in admin_client.get(LIST).content.decode()


def test_a_deleted_product_leaves_the_list(admin_client) -> None:
    gone = product("gone", scene(1, 120))
    product("kept", scene(2, 120))
    sync()
    look()
    gone.delete()
    sync()
    page = admin_client.get(LIST)
    assert [finding.state.outcome for finding in page.context["cl"].result_list] == ["indexed"]
    assert page.context["total"] == 1
    look()
    assert found() == ["tiny"]


def test_a_product_that_was_deleted_unnoticed_is_not_listed() -> None:
    gone = product("gone", scene(1))
    product("kept", scene(1))
    sync()
    gone.photos.all()._raw_delete("default")
    Product.objects.filter(pk=gone.pk)._raw_delete("default")
    look()
    assert found() == []


def test_a_queryset_that_has_a_product_several_times(monkeypatch) -> None:
    """For instance because it is filtered by a related row."""
    product("tiny", scene(3, 120), scene(4))
    sync()
    every = Product.objects.filter(photos__isnull=False)
    monkeypatch.setattr(registry.for_model(Product), "get_queryset", every.all)
    look()
    assert found() == ["tiny"]


def test_a_list_without_entries_says_so(admin_client) -> None:
    product("good", scene(1))
    sync()
    page = admin_client.get(LIST).content.decode()
    assert "nothing to do" not in page
    assert "0 entries of the work list" in page
    look()
    page = admin_client.get(LIST).content.decode()
    assert "There is nothing to do." in page
    assert ".." not in page.partition('<div class="insight insight-scan">')[2].partition("</p>")[0]  # "a.m.."
    assert "nothing to do" not in admin_client.get(LIST + "?kind__exact=tiny").content.decode()


def test_who_may_see_and_who_may_scan(client) -> None:
    user = get_user_model().objects.create_user("staff", is_staff=True)
    client.force_login(user)
    assert client.get(LIST).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_finding"))
    assert client.get(LIST).status_code == 200
    assert "Look at more" not in client.get(LIST).content.decode()
    assert client.post(SCAN).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="scan_finding"))
    assert client.get(SCAN).url == LIST
    assert client.post(SCAN).status_code == 302


def test_blur_is_told_from_sharpness() -> None:
    sharp = scene(1)
    assert blur(sharp) < 0.4
    assert blur(sharp.filter(ImageFilter.GaussianBlur(4))) > BLURRED
    assert blur(Image.new("RGB", (300, 300), "red")) == 0
    assert blur(Image.new("RGB", (300, 5))) == 0


@pytest.mark.parametrize(
    ("near", "own_best", "category"),
    [
        ([(0.9, ("hats",))] * 3, 0.7, "hats"),
        ([(0.9, ("hats",))] * 3, 0.8, ""),  # not more similar by the margin
        ([(0.9, ("hats",))] * 2 + [(0.9, ("caps",))] * 2, 0.1, ""),  # too few of one category
        ([(0.9, ("hats", "shoes"))] * 3, 0.1, ""),  # they are also in its own category
        ([(0.9, ("caps",)), (0.8, ("hats",)), (0.8, ("hats",)), (0.8, ("hats",))], 0.6, "hats"),
        ([], -1.0, ""),
    ],
)
def test_when_an_item_looks_like_another_category(near: Any, own_best: float, category: str) -> None:
    assert foreign_category(near, {"shoes"}, own_best) == category


@pytest.mark.slow
def test_an_item_beside_one_of_its_own_category_is_no_outlier() -> None:
    for number in range(12):
        product(f"hat-{number}", colours(200, 255, number), category="hats")
        product(f"shoe-{number}", colours(0, 60, 100 + number), category="shoes")
    for number in (77, 78):
        product(f"light-{number}", colours(200, 255, number), category="shoes")
    sync()
    look()
    assert not Finding.objects.filter(kind="outlier").exists()


@pytest.mark.parametrize("method", ["should_index", "get_images", "get_categories", "get_group"])
def test_an_item_on_which_the_shop_fails_does_not_stop_the_scan(monkeypatch: Any, method: str) -> None:
    broken, tiny = product("broken", scene(1)), product("tiny", scene(2, 120))
    other = product("other", scene(3))
    sync()
    items = registry.for_item(broken)
    own = getattr(items, method)

    def failing(item: Product) -> Any:
        if item.pk == broken.pk:
            raise ValueError(item.name)
        return own(item)

    monkeypatch.setattr(items, method, failing)
    look()
    assert found(tiny) == ["tiny"]
    assert found(other) == []


def test_what_was_measured_of_a_picture_is_forgotten_with_the_picture() -> None:
    gone, kept = product("gone", scene(1)), product("kept", scene(2))
    sync()
    look()
    assert PictureFacts.objects.count() == 2
    gone.delete()
    sync()
    look()
    assert [facts.digest for facts in PictureFacts.objects.all()] == [
        ItemImage.objects.get(state__object_pk=str(kept.pk)).digest
    ]
