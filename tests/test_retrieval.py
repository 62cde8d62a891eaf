from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from threading import BoundedSemaphore
from typing import Any

import numpy as np
import pytest
from asgiref.sync import async_to_sync
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection, connections
from django.db.models import F, QuerySet
from django.test.utils import CaptureQueriesContext

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim.embedders import get_embedder
from imagesim.exceptions import (
    BadImage,
    BadQuery,
    Busy,
    EmbedderError,
    FilterNotIndexed,
    IndexMissing,
    IndexUnavailable,
    ModelMismatch,
    NotIndexed,
    NotRegistered,
)
from imagesim.indexes import get_index
from imagesim.indexes.projections import Projection
from imagesim.items.registry import registry
from imagesim.models import Embedding, ItemState
from imagesim.retrieval import concurrency, fill_page
from imagesim.testing.embedders import PixelEmbedder
from imagesim.types import Entry, EntryImage, Hits, Query
from tests import shop
from tests.shop import picture, product

pytestmark = pytest.mark.django_db


@pytest.fixture(params=shop.TWO_DAILY)
def index_kind(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _index(index_kind, request, settings, media_root) -> Iterator[None]:
    with shop.with_index(request, settings, index_kind):
        yield


@pytest.fixture
def shelf() -> dict[str, Product]:
    return shop.shelf()


def names(hits: Hits) -> list[str]:
    return [hit.item.name for hit in hits]


def delete_without_signal(products: QuerySet[Product]) -> None:
    """Delete as raw SQL would: without a signal, and the index is not told."""
    Photo.objects.filter(product__in=products)._raw_delete("default")
    products._raw_delete("default")


class CountingIndex:
    """Stands in front of the index and counts what it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.searches: list[Query] = []
        index = get_index()
        search = index.search

        def counting(queries: Any, **given: Any) -> Any:
            self.searches += queries
            return search(queries, **given)

        monkeypatch.setattr(index, "search", counting)


ALL = {"dark", "orange", "hat", "blue", "navy"}
FILTERED: list[tuple[dict[str, Any], set[str]]] = [
    ({"category": "hats"}, {"hat", "navy"}),
    ({"category": ["hats", "shoes"]}, ALL),
    ({"category": []}, ALL),
    ({"same_category": True}, {"dark", "orange", "blue"}),
    ({"in_stock": True}, {"dark", "hat", "blue"}),
    ({"in_stock": False}, {"orange", "navy"}),
    ({"filters": {"brand": "zeta"}}, {"dark"}),
    ({"filters": {"brand": "zeta", "colour": "blue"}}, set()),
    ({"filters": {"colour__in": ["blue", "orange"]}}, {"orange", "blue", "navy"}),
    ({"filters": {"colour__in": []}}, set()),
    ({"filters": {"colour__not_in": ["blue", "orange"]}}, {"dark", "hat"}),
    ({"filters": {"colour__not_in": []}}, ALL),
    ({"filters": {"price__not_in": [20, 30], "colour__in": ["blue", "orange"]}}, {"blue", "navy"}),
    ({"filters": {"price__gte": 30, "price__lt": Decimal("60.00")}}, {"orange", "hat", "blue"}),
    ({"filters": {"price__gt": 30, "price__lte": 60.0}}, {"hat", "blue", "navy"}),
    ({"filters": {"price": 20}}, {"dark"}),
    ({"filters": {"price__in": [20, 30]}}, {"dark", "orange"}),
    ({"category": "hats", "in_stock": True, "filters": {"price__lte": 45}}, {"hat"}),
    ({"min_score": 0.5}, {"hat", "dark", "orange"}),
    ({"min_score": 1}, set()),
    ({"exact": True}, ALL),
    ({"exact": False}, ALL),
]


class TestSimilarTo:
    def test_most_similar_first_without_itself(self, shelf):
        hits = imagesim.similar_to(shelf["red"])
        assert names(hits)[-2:] == ["navy", "blue"]
        assert set(names(hits)) == set(shelf) - {"red"}
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert all(-1 <= score <= 1 for score in scores)
        assert (hits.more, hits.degraded, hits.exact, hits.next_offset) == (False, "", True, 5)
        assert hits.took_ms >= 0

    def test_the_matching_image(self, shelf):
        twice = product("twice", picture("blue"), picture("red"))
        shop.index()
        hit = next(hit for hit in imagesim.similar_to(shelf["red"]) if hit.item == twice)
        assert hit.image.name == twice.photos.get(position=1).file.name
        assert hit.score == pytest.approx(1, abs=1e-3)

    def test_several_images_search_their_mean(self, shelf):
        both = product("both", picture("red"), picture("blue"))
        shop.index()
        score = {hit.item.name: hit.score for hit in imagesim.similar_to(both)}
        assert score["red"] == pytest.approx(score["blue"], abs=0.25)
        assert score["red"] < 1

    def test_variants_are_one_hit_and_not_similar_to_themselves(self, shelf):
        for number in range(3):
            product(f"variant{number}", picture("red", mark=number), parent=shelf["red"])
        shop.index()
        family = {"red", "variant0", "variant1", "variant2"}
        assert not family & set(names(imagesim.similar_to(shelf["red"])))
        assert not family & set(names(imagesim.similar_to(Product.objects.get(name="variant1"))))
        assert len(family & set(names(imagesim.similar_to(shelf["dark"])))) == 1
        assert len(family & set(names(imagesim.similar_to(shelf["dark"], collapse=False)))) == 4

    def test_filters(self, shelf):
        found = [(asked, set(names(imagesim.similar_to(shelf["red"], **asked)))) for asked, _wanted in FILTERED]
        assert found == FILTERED

    def test_impossible_filters_are_not_searched(self, shelf, monkeypatch):
        counted = CountingIndex(monkeypatch)
        hits = imagesim.similar_to(shelf["red"], filters={"colour__in": []}, offset=7)
        assert (list(hits), hits.more, hits.next_offset) == ([], False, 7)
        assert counted.searches == []

    def test_a_filter_that_the_index_does_not_know_yet(self, shelf, monkeypatch):
        items = registry.for_model(Product)
        monkeypatch.setattr(type(items), "filters", {**items.filters, "new": "brand"})
        monkeypatch.setattr(items, "kinds", {**items.kinds, "new": "keyword"})
        for asked in ({"new": "acme"}, {"new__not_in": ["acme"]}):
            with pytest.raises(FilterNotIndexed, match="the filter 'new' yet"):
                imagesim.similar_to(shelf["red"], filters=asked)

    def test_pages(self, shelf):
        everything = names(imagesim.similar_to(shelf["red"]))
        first = imagesim.similar_to(shelf["red"], limit=2)
        second = imagesim.similar_to(shelf["red"], limit=2, offset=first.next_offset)
        third = imagesim.similar_to(shelf["red"], limit=2, offset=second.next_offset)
        assert names(first) + names(second) + names(third) == everything
        assert [page.more for page in (first, second, third)] == [True, True, False]

    def test_page_past_the_end(self, shelf):
        hits = imagesim.similar_to(shelf["red"], offset=500)
        assert (list(hits), hits.more, hits.degraded) == ([], False, "")

    def test_an_unknown_category_is_reported(self, shelf):
        hits = imagesim.similar_to(shelf["red"], category="sofas")
        assert list(hits) == []
        assert hits.degraded == "Nothing is indexed in the category 'sofas'."

    def test_a_category_without_matches_is_not_unknown(self, shelf):
        assert imagesim.similar_to(shelf["red"], category="hats", min_score=0.999).degraded == ""

    def test_category_and_same_category_contradict(self, shelf):
        with pytest.raises(BadQuery, match="not both"):
            imagesim.similar_to(shelf["red"], category="hats", same_category=True)

    def test_a_deleted_item_is_skipped(self, shelf, monkeypatch):
        delete_without_signal(Product.objects.filter(name__in=["hat", "dark"]))
        counted = CountingIndex(monkeypatch)
        hits = imagesim.similar_to(shelf["red"], limit=2)
        assert len(hits) == 2
        assert not {"hat", "dark"} & set(names(hits))
        assert len(counted.searches) == 2
        after = imagesim.similar_to(shelf["red"], limit=2, offset=hits.next_offset)
        assert len(set(names(hits) + names(after))) == 3

    def test_searching_stops_after_too_many_deleted_items(self, shelf, monkeypatch):
        delete_without_signal(Product.objects.exclude(name="red"))
        monkeypatch.setattr(fill_page, "GROWTH", 1)  # otherwise the second request finds that nothing follows
        counted = CountingIndex(monkeypatch)
        hits = imagesim.similar_to(shelf["red"], limit=1)
        assert list(hits) == []
        assert hits.more
        assert len(counted.searches) == fill_page.MAX_ROUNDS

    @pytest.mark.parametrize("ended", [range(60), range(1, 60, 2), range(9)], ids=["first", "each other", "a few"])
    def test_a_page_is_full_while_many_of_the_nearest_items_have_ended(self, ended):
        """For instance in a shop of auctions, between two reconciles: what has ended is still in the index."""
        near = [product(f"p{number}", picture("red", mark=number)) for number in range(60)]
        far = [product(f"far{number}", picture("blue", mark=number)) for number in range(9)]
        asked = product("asked", picture("red"))
        shop.index([asked, *near, *far])
        Product.objects.filter(name__in=[f"p{number}" for number in ended]).update(active=False)  # without a signal
        shown = {each.name for number, each in enumerate(near) if number not in ended} | {each.name for each in far}
        found: list[str] = []
        hits = Hits(more=True)
        while hits.more:
            hits = imagesim.similar_to(asked, limit=4, offset=hits.next_offset)
            assert len(hits) == 4 or not hits.more
            found += names(hits)
        assert sorted(found) == sorted(shown)
        far_from = [name.startswith("far") for name in found]
        assert far_from == sorted(far_from)

    def test_an_item_that_is_no_hit_now_has_similar_items(self, shelf):
        """Such as a lot that has ended, or has not begun: the clock decides, and nothing is indexed again."""

        class Lots(type(registry.for_model(Product))):
            def get_hit_queryset(self):
                return super().get_hit_queryset().filter(stock__gt=0)

        with shop.registered(Product, Lots):
            assert "orange" not in names(imagesim.similar_to(shelf["red"]))
            assert "red" in names(imagesim.similar_to(shelf["orange"]))
            Product.objects.filter(name="orange").update(stock=1)  # without a signal
            assert "orange" in names(imagesim.similar_to(shelf["red"]))

    @pytest.mark.parametrize("group", ["", "parent_id"])
    def test_an_item_sold_since_indexing_is_not_in_stock(self, shelf, group):
        """For instance when a checkout sells the last piece with ``update()``, of which the index learns at the next
        reconcile. For variants, the hit stands for its whole group."""
        own = type("Own", (type(registry.for_model(Product)),), {"group": group})
        with shop.registered(Product, own):
            assert names(imagesim.similar_to(shelf["red"], in_stock=True, limit=1)) == ["dark"]
            Product.objects.filter(name="dark", stock__gte=5).update(stock=F("stock") - 5)
            hits = imagesim.similar_to(shelf["red"], in_stock=True, limit=2)
            assert names(hits) == (["dark", "hat"] if group else ["hat", "blue"])
            assert "dark" in names(imagesim.similar_to(shelf["red"]))

    def test_an_item_hidden_since_indexing_is_not_shown(self, shelf):
        Product.objects.filter(name="hat").update(active=False)  # without a signal
        assert "hat" not in names(imagesim.similar_to(shelf["red"]))

    def test_an_entry_with_an_invalid_key_is_not_shown(self, shelf):
        vector = get_embedder().embed_images([picture("red")])[0]
        image = EntryImage("0" * 64, "x.png", vector)
        odd = Entry(key="shop.product:abc", model="shop.product", pk="abc", version=1, images=(image,))
        other = Entry(key="shop.gone:1", model="shop.product", pk="1", version=1, images=(image,))
        get_index().write([odd, other])
        get_index().refresh()
        assert len(imagesim.similar_to(shelf["red"])) == 5

    def test_three_queries_and_one_request(self, shelf, monkeypatch):
        item = Product.objects.get(name="red")
        counted = CountingIndex(monkeypatch)
        imagesim.similar_to(item)  # the local index reads once what was written
        counted.searches.clear()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            hits = imagesim.similar_to(item, limit=3)
            for hit in hits:
                assert hit.item.category.name
                assert hit.item.photos.all()[0].file.name
        own = [query["sql"] for query in queries if "imagesim_local" not in query["sql"]]
        assert len(counted.searches) == 1
        assert len(own) == 3, own  # the vector, the items with their categories, their photos
        assert "imagesim_embedding" in own[0]
        assert "shop_product" in own[1]
        assert "shop_photo" in own[2]

    def test_not_registered(self, shelf):
        with pytest.raises(NotRegistered, match=r"shop\.Category"):
            imagesim.similar_to(Category.objects.first())

    def test_unsaved_item(self, shelf):
        with pytest.raises(NotIndexed):
            imagesim.similar_to(Product(name="new"))

    def test_not_indexed_yet(self, shelf):
        reason = "excluded by `get_queryset` or `should_index`"
        with pytest.raises(NotIndexed, match=rf"shop\.product:\d+ has no embedding yet.* {reason}"):
            imagesim.similar_to(product("new", picture("red")))

    def test_without_an_index(self, shelf):
        shop.drop_index()
        with pytest.raises(IndexMissing):
            imagesim.similar_to(shelf["red"])
        with pytest.raises(IndexMissing):
            imagesim.search(text="red")

    def test_empty_index(self, shelf):
        shop.index([])
        assert list(imagesim.similar_to(shelf["red"])) == []
        assert list(imagesim.search(text="red")) == []

    def test_bad_arguments_are_rejected_before_the_search(self, shelf, monkeypatch):
        counted = CountingIndex(monkeypatch)
        for asked in ({"limit": 0}, {"offset": -1}, {"min_score": 2}, {"collapse": 1}, {"filters": {"size": 1}}):
            with pytest.raises(BadQuery):
                imagesim.similar_to(shelf["red"], **asked)
            with pytest.raises(BadQuery):
                imagesim.search(text="red", **asked)
        assert not counted.searches

    def test_a_filter_declared_after_the_index_was_made(self, shelf, monkeypatch):
        from imagesim.items.registry import registry

        items = registry.for_model(Product)
        monkeypatch.setattr(type(items), "filters", {**items.filters, "slug": "slug"})
        monkeypatch.delitem(items.__dict__, "kinds", raising=False)
        with pytest.raises(BadQuery, match="imagesim_rebuild"):
            imagesim.similar_to(shelf["red"], filters={"slug": "x"})
        del items.__dict__["kinds"]


class TestSearch:
    @pytest.mark.parametrize(
        "wrap",
        [
            bytes,
            bytearray,
            memoryview,
            io.BytesIO,
            lambda data: SimpleUploadedFile("photo.jpg", data),
        ],
    )
    def test_by_picture(self, shelf, wrap):
        hits = imagesim.search(image=wrap(shop.encoded(picture("navy"))), limit=2)
        assert names(hits) == ["navy", "blue"]
        assert hits[0].score == pytest.approx(1, abs=1e-3)

    def test_by_pil_image_and_by_a_stored_file(self, shelf):
        assert names(imagesim.search(image=picture("navy"), limit=1)) == ["navy"]
        assert names(imagesim.search(image=Photo.objects.get(product=shelf["hat"]).file, limit=1)) == ["hat"]

    def test_indexed_and_query_images_are_decoded_alike(self, shelf):
        """The very bytes that were indexed find their item with a score of 1."""
        for made in shelf.values():
            with made.photos.get().file.open() as file:
                hit = imagesim.search(image=file, limit=1)[0]
            assert hit.item == made
            assert hit.score == pytest.approx(1, abs=1e-3)

    def test_by_words(self, shelf):
        assert set(names(imagesim.search(text="blue", limit=2))) == {"navy", "blue"}

    def test_by_picture_and_words(self, shelf):
        plain = imagesim.search(image=picture("red"), limit=6)
        mixed = imagesim.search(image=picture("red"), text="blue", limit=6)
        score = [{hit.item.name: hit.score for hit in hits} for hits in (plain, mixed)]
        assert score[1]["blue"] > score[0]["blue"]
        assert score[1]["red"] < score[0]["red"]

    def test_filters_and_pages(self, shelf):
        assert names(imagesim.search(text="red", category="hats", in_stock=True)) == ["hat"]
        everything = names(imagesim.search(text="red"))
        assert everything == [
            n for offset in range(6) for n in names(imagesim.search(text="red", limit=1, offset=offset))
        ]

    @pytest.mark.parametrize("model", [Product, "shop.product", "shop.Product", [Product], ["shop.product", Product]])
    def test_model(self, shelf, model):
        assert len(imagesim.search(text="red", model=model)) == 6

    def test_bad_model(self, shelf):
        with pytest.raises(NotRegistered, match=r"shop\.nope"):
            imagesim.search(text="red", model="shop.nope")
        with pytest.raises(NotRegistered, match=r"shop\.Category"):
            imagesim.search(text="red", model=Category)
        for wrong in (7, b"shop.product", [7], int):
            with pytest.raises(BadQuery, match="'model' must be"):
                imagesim.search(text="red", model=wrong)

    def test_without_image_and_text(self, shelf):
        with pytest.raises(BadQuery, match="an image, a text, or both"):
            imagesim.search()
        with pytest.raises(BadQuery, match="empty"):
            imagesim.search(text=" ")

    @pytest.mark.parametrize("index_kind", ["local"], indirect=True)
    @pytest.mark.parametrize("image", ["photo.jpg", "https://example.org/photo.jpg", 7, ["photo"], io.StringIO("a")])
    def test_urls_and_paths_are_never_fetched(self, shelf, image):
        with pytest.raises(BadQuery, match="must be bytes, a file open for reading bytes, or a PIL image"):
            imagesim.search(image=image)

    def test_bad_picture(self, shelf):
        with pytest.raises(BadImage):
            imagesim.search(image=b"hello")

    def test_a_model_without_words(self, shelf, settings):
        mute = {**shop.EMBEDDER, "OPTIONS": {"supports_texts": False}}
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": mute}
        with pytest.raises(BadQuery, match="does not embed texts"):
            imagesim.search(text="red")


@pytest.mark.django_db(transaction=True)
def test_a_connection_to_the_database_that_was_lost_is_opened_again():
    """In a process that runs on without requests, between which Django would reopen it."""
    if connection.vendor != "postgresql":
        pytest.skip("the server has to end the connection")
    navy = product("navy", picture("navy"))
    product("blue", picture("blue"))
    shop.index()
    other = connections.create_connection("default")
    try:
        for call in (
            lambda: imagesim.similar_to(navy, limit=1),
            lambda: imagesim.search(text="blue", limit=1),
            lambda: imagesim.shop_the_look(picture("blue")),
        ):
            connection.ensure_connection()
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
            with pytest.raises((OperationalError, IndexUnavailable)):
                call()
            call()
    finally:
        other.close()


def test_it_is_said_when_no_text_has_the_words(media_root):
    shop.shelf(with_texts=True)
    hits = imagesim.search(text="scarlet", min_relevance=0.0)
    assert hits
    assert [message.text for message in hits.messages] == ["Nothing here is called “scarlet”; found by looks alone."]
    assert not imagesim.search(text="scarlet", offset=1).messages  # the first page has shown it
    assert not imagesim.search(text="hat").messages


class TestModels:
    def other(self, **options: Any) -> dict[str, Any]:
        return {"BACKEND": "tests.embedders.PixelEmbedder", "OPTIONS": {"name": "other", **options}}

    def test_the_query_is_embedded_by_the_model_of_the_index(self, shelf, settings):
        """A new model is configured, but the rebuild is not done yet: the old model still answers."""
        former = settings.IMAGESIM["EMBEDDER"]
        settings.IMAGESIM = {
            **settings.IMAGESIM,
            "EMBEDDER": self.other(dims=32),
            "PREVIOUS_EMBEDDERS": [self.other(dims=16), former],
        }
        assert names(imagesim.search(text="blue", limit=1)) in (["blue"], ["navy"])
        assert names(imagesim.similar_to(shelf["navy"], limit=1)) == ["blue"]

    def test_a_model_that_the_settings_do_not_name(self, shelf, settings):
        """Items have their embeddings in the database; for words, the model would be needed."""
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": self.other(dims=32)}
        assert names(imagesim.similar_to(shelf["navy"], limit=1)) == ["blue"]
        with pytest.raises(ModelMismatch, match=r"test-pixels-64.*'test-other-32'.*PREVIOUS_EMBEDDERS"):
            imagesim.search(text="blue")

    @pytest.mark.parametrize("reason", ["another model", "a service that is down"])
    def test_words_are_answered_by_texts_alone_without_the_model(self, media_root, settings, reason):
        shop.shelf(with_texts=True)
        gone = {
            "BACKEND": "imagesim.embedders.http.HttpEmbedder",
            "OPTIONS": {"url": "http://127.0.0.1:9/v1", "model": get_embedder().fingerprint, "dims": 64},
        }
        embedder = self.other(dims=32) if reason == "another model" else gone
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": embedder}
        hits = imagesim.search(text="hat", min_relevance=0.5)
        assert names(hits)[0] == "hat"
        assert hits.degraded == "Only texts were searched: the model cannot be used at the moment."
        for arguments in ({"text": "turquoise"}, {"text": "hat", "like": picture("red")}):
            with pytest.raises((ModelMismatch, EmbedderError)):
                imagesim.search(**arguments)

    def test_weights_that_changed_are_not_looked_for_in_the_settings(self, shelf, monkeypatch):
        """The weights of the built-in model change with some upgrades, and no setting names the former ones."""
        index = get_index()
        index.promote(index.create(replace(index.meta(), fingerprint="imagesim-lite-0123456789abcdef")))
        monkeypatch.setattr(PixelEmbedder, "fingerprint", "imagesim-lite-fedcba9876543210")
        with pytest.raises(ModelMismatch, match=r"weights of 'imagesim-lite'.*imagesim_rebuild.*again") as raised:
            imagesim.search(text="red")
        assert "PREVIOUS_EMBEDDERS" not in str(raised.value)

    def test_a_model_with_another_fingerprint_is_rejected(self, shelf):
        index = get_index()
        backing_index = index.create(replace(index.meta(), fingerprint="of-yesterday"))
        index.promote(backing_index)
        with pytest.raises(ModelMismatch, match=r"of-yesterday.*test-pixels-64.*imagesim_rebuild"):
            imagesim.search(text="red")

    def test_a_swap_during_the_search_is_retried(self, shelf, settings, monkeypatch):
        old = get_index().meta()
        former = settings.IMAGESIM["EMBEDDER"]
        settings.IMAGESIM = {
            **settings.IMAGESIM,
            "EMBEDDER": self.other(dims=32),
            "PREVIOUS_EMBEDDERS": [former],
        }
        monkeypatch.setattr(shop, "EMBEDDER", self.other(dims=32))
        shop.index()
        index = get_index()
        new, asked = index.meta(), []
        monkeypatch.setattr(index, "meta", lambda *args: (asked.append(1), old if len(asked) == 1 else new)[1])
        assert names(imagesim.search(text="navy", limit=1)) == ["navy"]
        assert len(asked) == 2

    def test_an_index_with_a_projection(self, shelf):
        embedder = get_embedder()
        basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 64)))
        projection = Projection(embedder.fingerprint, "test", basis[:, :48].astype(np.float32))
        projection.save()
        index = get_index()
        backing_index = index.create(replace(index.meta(), dims=48, projection=projection.id))
        entries = shop.entries(list(shelf.values()))
        index.write(
            [
                replace(e, images=tuple(replace(i, vector=projection.apply(i.vector)) for i in e.images))
                for e in entries
            ],
            backing_index=backing_index,
        )
        index.refresh(backing_index)
        index.promote(backing_index)
        assert names(imagesim.similar_to(shelf["blue"], limit=1)) == ["navy"]
        assert names(imagesim.search(image=picture("blue"), limit=1)) == ["blue"]

    def test_embeddings_of_another_model_are_ignored(self, shelf):
        Embedding.objects.update(fingerprint="another")
        with pytest.raises(NotIndexed):
            imagesim.similar_to(shelf["red"])


def test_async_variants(shelf):
    assert names(async_to_sync(imagesim.asimilar_to)(shelf["navy"], limit=1)) == ["blue"]
    assert names(async_to_sync(imagesim.asearch)(text="navy", limit=1)) == ["navy"]


@pytest.mark.parametrize("index_kind", ["local"], indirect=True)
class TestAsyncPhotos:
    """The async calls respect the limit on photos at a time, as the synchronous views do."""

    @pytest.fixture(autouse=True)
    def slots(self, monkeypatch) -> BoundedSemaphore:
        slots = BoundedSemaphore(1)
        monkeypatch.setattr(concurrency, "_semaphores", lambda: (slots, BoundedSemaphore(1)))
        monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.01)
        return slots

    @pytest.fixture
    def calls(self, shelf) -> list[Callable[[], Awaitable[object]]]:
        photo = picture("blue")
        return [
            partial(imagesim.asearch, image=photo),
            partial(imagesim.asearch, like=["navy", (photo, 0.5)]),
            partial(imagesim.asearch, text="navy", unlike=photo),
            partial(imagesim.asimilar_to, shelf["red"], like=photo),
            partial(imagesim.ashop_the_look, photo, regions=[]),
            partial(imagesim.ashop_the_look, photo=photo, regions=[]),
        ]

    def run(self, call: Callable[[], Awaitable[object]]) -> object:
        async def main() -> object:
            return await call()

        return async_to_sync(main)()

    def test_each_holds_a_slot_and_frees_it(self, calls, slots):
        for call in calls:
            assert self.run(call) is not None
        with slots:
            for call in calls:
                with pytest.raises(Busy):
                    self.run(call)

    def test_without_a_photo_none_is_needed(self, shelf, slots):
        with slots:
            async_to_sync(imagesim.asearch)(text="navy", like=[shelf["red"], "blue^0.5"], unlike=(shelf["hat"], 0.5))
            async_to_sync(imagesim.asimilar_to)(shelf["red"])

    def test_one_that_is_held_already_suffices(self, calls):
        with imagesim.photo_slot():
            for call in calls:
                assert self.run(call) is not None

    def test_the_event_loop_goes_on_during_the_wait(self, calls, slots, monkeypatch):
        monkeypatch.setattr(concurrency, "WAIT_SECONDS", 10)

        async def main() -> object:
            slots.acquire()
            searching = asyncio.ensure_future(calls[0]())
            await asyncio.sleep(0.05)
            assert not searching.done()
            slots.release()
            return await searching

        assert async_to_sync(main)()


def test_a_search_writes_nothing(shelf):
    with CaptureQueriesContext(connection) as queries:
        imagesim.similar_to(shelf["red"])
        imagesim.search(text="red", image=picture("red"))
    assert not [q["sql"] for q in queries if q["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    assert ItemState.objects.count() == 6


def test_the_last_page_that_the_settings_allow(shelf, settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "MAX_LIMIT": 500, "MAX_OFFSET": 4_000}
    asked = {"limit": 500, "offset": 4_000, "category": "shoes", "min_relevance": 0.4}
    assert imagesim.similar_to(shelf["red"], fallback=True, diversity=0.5, **asked) == []
    assert imagesim.search(image=picture("red"), text="shoe", **asked) == []
    assert imagesim.search(text="shoe", **asked) == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda item: imagesim.similar_to(item, limit=1),
        lambda item: imagesim.similar_to(item, same_category=True, fallback=True, diversity=0.5),
        lambda item: imagesim.search(text="hat"),
        lambda item: imagesim.search(text="navy under 5"),
        lambda item: imagesim.shop_the_look(shop.encoded(picture("red")), regions=[(0, 0, 0.5, 0.5)]).regions[0].hits,
    ],
)
def test_the_engines_time_is_that_of_all_requests(monkeypatch, ask):
    red = shop.shelf(with_texts=True)["red"]
    index, asked = get_index(), []
    search = index.search

    def timed(queries, **options):
        asked.extend(queries)
        return [replace(each, took_ms=1.0) for each in search(queries, **options)]

    monkeypatch.setattr(index, "search", timed)
    assert ask(red).took_ms == len(asked) > 0
