"""``imagesim.testing``, used as docs/howto-testing.md shows it to a shop."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from PIL import Image

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim.conf import get_settings
from imagesim.embedders import get_embedder
from imagesim.exceptions import IndexUnavailable, SearchIndexError
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.regions import NoRegions, get_region_finder
from imagesim.testing import make_picture, override_imagesim, picture_file, sync_inline
from imagesim.testing.embedder_contract import EmbedderContract
from imagesim.testing.embedders import PixelEmbedder
from imagesim.testing.index_contract import IndexContract


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
        """Two tests write the same number of changes: what the first one leaves in memory must not count for the
        second."""
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
        with override_imagesim(MAX_LIMIT=50):
            assert get_settings().MAX_LIMIT == 50
            assert isinstance(get_embedder(), PixelEmbedder)

    @override_settings(IMAGESIM={"SIMILAR_SECONDS": 60, "WARM_UP": True})
    def test_nothing_is_left_to_the_next_test(self) -> None:
        """The cache is not rolled back: an answer, or a count of requests, would be found by the next test."""
        with override_imagesim():
            assert (get_settings().SIMILAR_SECONDS, get_settings().WARM_UP) == (0, False)
            assert set(get_settings().REST_THROTTLES.values()) == {None}

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


class RemoteIndex(LocalIndex):
    """An index with an option that it requires; its swaps fail from the second one on."""

    def __init__(self, *, host: str, **options: Any) -> None:
        super().__init__(**options)
        self.host, self.promoted = host, 0

    def promote(self, backing_index: str) -> None:
        self.promoted += 1
        if self.promoted > 1:
            raise SearchIndexError("no swap")
        super().promote(backing_index)


class RemoteContract(IndexContract):
    def options(self, index: Any) -> dict[str, Any]:
        return {"host": index.host}


def test_the_contract_takes_an_index_with_required_options() -> None:
    RemoteContract().test_an_unknown_similarity_is_a_configuration_error(RemoteIndex(host="x"))


@pytest.mark.django_db(transaction=True)
def test_readers_of_the_contract_end_with_a_failed_swap() -> None:
    index, before = RemoteIndex(host="x", name="swaps"), set(threading.enumerate())
    with pytest.raises(SearchIndexError, match="no swap"):
        RemoteContract().test_searches_continue_during_swaps(lambda: RemoteIndex(host="x", name="swaps"), index)
    assert set(threading.enumerate()) <= before
    for backing_index in index.backing_indexes():
        index.drop(backing_index)


class UnlockedEmbedder(PixelEmbedder):
    """Loads its model without a lock."""

    loads = 0
    loaded = False

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        if not self.loaded:
            self.loads += 1
            until = time.monotonic() + 10
            while self.loads == 1 and time.monotonic() < until:
                time.sleep(0.01)
            if self.loads > 1:
                raise RuntimeError("loaded twice")
            self.loaded = True
        return super().embed_images(images)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_contract_finds_a_model_that_is_loaded_twice() -> None:
    with pytest.raises(AssertionError):
        EmbedderContract().test_several_threads_can_load_the_model(UnlockedEmbedder())
