"""``imagesim.testing``, used as docs/howto-testing.md shows it to a shop."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim.conf import get_settings
from imagesim.embedders import get_embedder
from imagesim.exceptions import IndexUnavailable
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.regions import NoRegions, get_region_finder
from imagesim.testing import make_picture, override_imagesim, picture_file, sync_inline
from imagesim.testing.embedders import PixelEmbedder


def make(colour: str) -> Product:
    shelf, _ = Category.objects.get_or_create(slug="shoes", defaults={"name": "Shoes"})
    product = Product.objects.create(name=colour, slug=colour, category=shelf, price=10, stock=1)
    Photo.objects.create(product=product, position=0, file=picture_file(colour, name=f"{colour}.png"))
    return product


def found(product: Product) -> list[Product]:
    return [hit.item for hit in imagesim.similar_to(product, limit=5)]


@override_imagesim()
class TestCaseWithItems(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        with sync_inline() as report:
            cls.red, cls.tomato, cls.blue = make("red"), make("tomato"), make("blue")
        assert report.indexed == 3

    def test_the_most_similar_comes_first(self) -> None:
        assert found(self.red) == [self.tomato, self.blue]

    def test_a_deleted_product_is_not_shown(self) -> None:
        with sync_inline() as report:
            self.tomato.delete()
        assert report.removed == 1
        assert found(self.red) == [self.blue]

    def test_a_new_item_is_found_and_rolled_back(self) -> None:
        """Two tests write as many changes as each other: what the first one leaves in memory is not the second's."""
        with sync_inline():
            crimson = make("crimson")
        assert crimson in found(self.red)
        assert len(found(self.red)) == 3

    def test_another_new_item_is_found(self) -> None:
        with sync_inline():
            navy = make("navy")
        assert found(self.blue)[0] == navy
        assert len(found(self.blue)) == 3

    def test_every_query_costs_the_same(self) -> None:
        with sync_inline():
            make("navy")
        asked = []
        for _ in range(3):
            with CaptureQueriesContext(connection) as queries:
                found(self.red)
            asked.append([query["sql"] for query in queries.captured_queries])
        assert len(asked[0]) == len(asked[1]) == len(asked[2]), asked

    def test_settings_can_be_changed_further(self) -> None:
        with override_imagesim(MAX_LIMIT=5):
            assert get_settings().MAX_LIMIT == 5
            assert isinstance(get_embedder(), PixelEmbedder)

    def test_the_backends_of_the_settings_exist(self) -> None:
        assert isinstance(get_embedder(), PixelEmbedder)
        assert isinstance(get_index(), LocalIndex)
        assert isinstance(get_region_finder(), NoRegions)


@pytest.mark.django_db(transaction=True)
def test_a_save_starts_no_thread(sync_inline, media_root) -> None:
    before = set(threading.enumerate())
    with sync_inline() as report:
        make("red")
        assert set(threading.enumerate()) == before
    assert report.indexed == 1


@pytest.mark.django_db
def test_an_interrupted_sync_is_an_error(sync_inline, media_root, monkeypatch) -> None:
    def unavailable(*arguments: object, **options: object) -> None:
        raise IndexUnavailable("the disk is full")

    monkeypatch.setattr(LocalIndex, "write", unavailable)
    with pytest.raises(RuntimeError, match="the disk is full"), sync_inline():
        make("red")


def test_pictures_differ_by_their_mark() -> None:
    pictures = {make_picture("red", mark=mark).tobytes() for mark in range(8)}
    assert len(pictures) == 8
    assert make_picture(size=(30, 20)).size == (30, 20)
