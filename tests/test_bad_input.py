"""Invalid input from visitors and catalogues: the right status, one sentence, no 500, and no change."""

from __future__ import annotations

import copy
import io
import os
import random
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.urls import reverse
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

import imagesim
from demo_shop.shop.models import Photo, Product
from imagesim.exceptions import (
    BadImage,
    ImageTooLarge,
    IndexMissing,
    IndexUnavailable,
    NotIndexed,
    UnsupportedFormat,
)
from imagesim.indexes import get_index
from imagesim.indexing.sync import sync
from imagesim.models import Embedding, ItemImage, ItemState, LocalEntry, LocalGeneration
from tests import shop
from tests.examples import examples
from tests.shop import encoded, picture, product

pytestmark = pytest.mark.django_db
SEARCH = "/api/visual/search/"
ONE_SENTENCE = 400  # characters at most


SETTINGS = {
    "SYNC": "manual",
    "EMBEDDER": shop.EMBEDDER,
    "REST_THROTTLES": {"similar": None, "search": None, "suggest": None, "look": None, "refused": None},
    "REST_MAX_OFFSET": 1000,
}


@pytest.fixture(scope="module")
def stock(kept) -> dict[str, Product]:
    """Indexed once for all tests."""
    with override_settings(IMAGESIM=SETTINGS):
        made = {name: product(name, picture(name)) for name in ("red", "tomato", "blue")}
        report = sync()
        assert (report.indexed, report.failed) == (3, 0)
    return made


@pytest.fixture(autouse=True)
def _settings(settings, stock) -> None:
    settings.IMAGESIM = SETTINGS
    cache.clear()


@pytest.fixture
def shelf(stock) -> dict[str, Product]:
    return copy.deepcopy(stock)


def stored_state() -> list[Any]:
    """Return everything that a query could have changed: the tables, the index, the stored files."""
    tables = [Product, Photo, ItemState, ItemImage, Embedding, LocalEntry, LocalGeneration]
    rows = [list(table.objects.order_by("pk").values()) for table in tables]
    return [rows, list(get_index().scan()), default_storage.listdir("products")]


def similar(item: Product) -> str:
    return reverse("imagesim:similar", args=["shop.product", item.pk])


def detail_of(response: Any) -> str:
    body = response.json()
    assert set(body) <= {"code", "detail", "field"}
    assert body["detail"].endswith(".")
    assert len(body["detail"]) < ONE_SENTENCE
    assert "Traceback" not in body["detail"]
    return body["detail"]


def polyglot() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.html", "<script>alert(1)</script>")
    return encoded(picture("red"), "JPEG") + archive.getvalue()


UPLOADS: dict[str, tuple[Callable[[], bytes], int, str, type[Exception]]] = {
    "not an image": (lambda: b"hello, this is no picture", 415, "unsupported_format", UnsupportedFormat),
    "random bytes": (lambda: random.Random(1).randbytes(5000), 415, "unsupported_format", UnsupportedFormat),
    "zero bytes": (lambda: b"", 400, "bad_image", BadImage),
    "truncated": (lambda: encoded(picture("red", size=(400, 400)), "JPEG")[:900], 400, "bad_image", BadImage),
    "one pixel": (lambda: encoded(Image.new("RGB", (1, 1))), 400, "bad_image", BadImage),
    "100 megapixels": (lambda: encoded(Image.new("1", (10_000, 10_000))), 413, "image_too_large", ImageTooLarge),
    "a bomb": (
        lambda: encoded(Image.new("1", (14_000, 14_000)), compress_level=1),  # Pillow refuses 179 megapixels or more
        413,
        "image_too_large",
        ImageTooLarge,
    ),
    "50 MB": (lambda: os.urandom(50 * 1024 * 1024), 413, "request_too_large", ImageTooLarge),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "unsupported_format", UnsupportedFormat),
    "HTML named .jpg": (lambda: b"<!DOCTYPE html><html></html>", 415, "unsupported_format", UnsupportedFormat),
    "HTML before a JPEG": (
        lambda: b"<html>" + encoded(picture("red"), "JPEG"),
        415,
        "unsupported_format",
        UnsupportedFormat,
    ),
    "a BMP": (lambda: encoded(picture("red"), "BMP"), 415, "unsupported_format", UnsupportedFormat),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", UPLOADS)
def test_bad_picture(shelf, client, name):
    make, status, code, error = UPLOADS[name]
    data = make()
    before = stored_state()
    response = client.post(SEARCH, {"image": SimpleUploadedFile("photo.jpg", data, "image/jpeg")})
    assert (response.status_code, response.json()["code"]) == (status, code)
    detail_of(response)
    with pytest.raises(error):
        imagesim.search(image=data)
    page = client.post(reverse("shop:search"), {"image": SimpleUploadedFile("photo.jpg", data, "image/jpeg")})
    assert page.status_code < 500
    assert stored_state() == before


def test_a_polyglot_file_is_only_read_as_a_picture(shelf, client):
    before = stored_state()
    response = client.post(SEARCH, {"image": SimpleUploadedFile("x.html", polyglot(), "text/html"), "limit": 1})
    assert [hit["item"]["name"] for hit in response.json()["results"]] == ["red"]
    assert stored_state() == before


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"q": "x" * 10_000}, 400),
        ({"q": ""}, 400),
        ({"q": " \t\n"}, 400),
        ({"q": "red\0shoes"}, 400),
        ({"q": "👟❤️🧥"}, 200),
        ({"q": "‮txet desrever"}, 200),
        ({"q": "' OR 1=1 --"}, 200),
        ({"q": "{{ 7*7 }} ${jndi:ldap://x}"}, 200),
        ({"q": "red", "size": "L"}, 400),
        ({"q": "red", "price__lte": "cheap"}, 400),
        ({"q": "red", "price__between": "1,2"}, 400),
        ({"q": "red", "brand__lte": "a"}, 400),
        ({"q": "red", "in_stock": "perhaps"}, 400),
        ({"q": "red", "limit": "-1"}, 400),
        ({"q": "red", "limit": "1000000"}, 400),
        ({"q": "red", "offset": "1e9"}, 400),
        ({"q": "red", "min_score": "high"}, 400),
        ({"q": "red", "category": "no-such-category"}, 200),
        ({"q": "red", "category": "a\0"}, 400),
        ({"q": "red", "offset": "1000"}, 200),
    ],
)
def test_bad_query(shelf, client, asked, status):
    before = stored_state()
    response = client.get(SEARCH, asked)
    assert response.status_code == status, response.content
    if status != 200:
        detail_of(response)
    elif {"category", "offset"} & set(asked):
        assert response.json()["results"] == []
    if "category" in asked and status == 200:
        assert "no-such-category" in response.json()["degraded"]
    asked.pop("q")
    assert client.get(similar(shelf["red"]), asked).status_code == (status if asked else 200)
    assert stored_state() == before


HALF = "\\ud800"  # of a surrogate pair, as JSON writes it
HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("address", "body"),
    [
        (SEARCH, f'{{"{HALF}": 1}}'),
        (SEARCH, f'{{"text": "red", "{HALF}__lte": 1}}'),
        (SEARCH, f'{{"text": "red", "filters": {{"{HALF}": 1}}}}'),
        (SEARCH, f'{{"text": "red", "components": {{"{HALF}": 1}}}}'),
        (SEARCH, f'{{"text": "red", "fallback": ["{HALF}"]}}'),
        (SEARCH, f'{{"text": "red", "model": "{HALF}"}}'),
        (SEARCH, f'{{"text": "red", "model": ["shop.product:{HALF}"]}}'),
        (SEARCH, f'{{"text": "red", "like": "shop.product:{HALF}"}}'),
        (SEARCH, f'{{"text": "red", "category": "{"x" * 33_000}"}}'),
        (SEARCH, f'{{"text": "red", "category": ["{"x" * 501}"]}}'),
        (SEARCH, f'{{"text": "red", "price__lte": {HUGE}}}'),
        (SEARCH, f'{{"text": "red", "min_score": {HUGE}}}'),
        (SEARCH, f'{{"text": "red", "limit": {HUGE}}}'),
        ("/api/visual/look/TOKEN/region/", f'{{"region": [{HUGE}, 0, 1, 1]}}'),
        ("/api/visual/look/TOKEN/region/", f'{{"region": [0, 0, 0.5, {HUGE}]}}'),
        ("/api/visual/look/TOKEN/region/", f'{{"region": [0, 0, 1, 1], "label": "{HALF}"}}'),
        ("/api/visual/look/TOKEN/region/", f'{{"region": [0, 0, 1, 1], "{HALF}": 1}}'),
        ("/api/visual/look/TOKEN/region/", f'{{"{HALF}": 1, "region": "{HALF}"}}'),
        ("/api/visual/events/", f'{{"events": [{{"{HALF}": 1}}]}}'),
        ("/api/visual/events/", f'{{"events": [{{"token": "x", "kind": "{HALF}", "item": "", "position": 0}}]}}'),
        ("/api/visual/events/", f'{{"events": [{{"token": "{HALF}", "kind": "view", "item": "", "position": 0}}]}}'),
        ("/api/visual/events/", f'{{"events": [{{"token": "x", "kind": "view", "item": "", "position": {HUGE}}}]}}'),
    ],
)
def test_values_that_only_json_can_express(shelf, client, settings, address, body):
    settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}
    photo = SimpleUploadedFile("photo.png", encoded(picture("red")))
    token = client.post("/api/visual/look/", {"image": photo}).json()["photo"]
    response = client.post(address.replace("TOKEN", token), body, content_type="application/json")
    assert response.status_code == 400, response.content
    detail_of(response)


@pytest.mark.parametrize("boxes", [f"[[{HUGE}, 0, 1, 1]]", f"[[0, 0, 1, {HUGE}]]", f"[[0, 0, 1, 1{HUGE * 20}]]"])
def test_boxes_of_huge_numbers(shelf, client, boxes):
    photo = SimpleUploadedFile("photo.png", encoded(picture("red")))
    detail_of(client.post("/api/visual/look/", {"image": photo, "regions": boxes}))
    photo.seek(0)
    detail_of(client.post("/api/visual/look/", {"image": photo, "point": boxes[1:-1]}))


class TestCatalogue:
    """An error in one product affects no other product."""

    def test_a_product_without_a_picture(self, shelf, client):
        bare = product("bare")
        report = sync()
        assert (report.skipped, report.failed) == (1, 0)
        with pytest.raises(NotIndexed):
            imagesim.similar_to(bare)
        response = client.get(similar(bare))
        assert (response.status_code, response.json()["code"]) == (404, "not_indexed")
        detail_of(response)
        assert client.get(bare.get_absolute_url()).status_code == 200
        assert len(imagesim.similar_to(shelf["red"])) == 2

    def test_a_product_whose_file_is_missing(self, shelf, client):
        lost = product("lost", picture("green"))
        default_storage.delete(lost.photos.get().file.name)
        good = product("good", picture("green"))
        report = sync()
        assert report.indexed == 1
        with pytest.raises(NotIndexed):
            imagesim.similar_to(lost)
        assert client.get(similar(lost)).status_code == 404
        assert client.get(lost.get_absolute_url()).status_code == 200
        assert client.get(similar(good)).status_code == 200

    @pytest.mark.parametrize("name", ["not an image", "zero bytes", "truncated", "SVG", "one pixel"])
    def test_a_product_whose_picture_is_invalid(self, shelf, client, name):
        broken = product("broken", UPLOADS[name][0]())
        good = product("good", picture("green"))
        assert sync().indexed == 1
        assert client.get(similar(broken)).status_code == 404
        assert client.get(broken.get_absolute_url()).status_code == 200
        assert "good" in [hit.item.name for hit in imagesim.similar_to(shelf["red"])]
        assert len(imagesim.similar_to(good)) == 3

    def test_one_bad_picture_of_several(self, shelf):
        mixed = product("mixed", b"no picture", picture("red"))
        assert sync().indexed == 1
        hit = next(hit for hit in imagesim.similar_to(shelf["red"]) if hit.item == mixed)
        assert hit.image.name == mixed.photos.get(position=1).file.name

    def test_a_file_deleted_after_indexing(self, shelf, client):
        deleted = product("deleted", picture("tomato"))
        assert sync().indexed == 1
        default_storage.delete(deleted.photos.get().file.name)
        response = client.get(similar(shelf["red"]))
        assert response.status_code == 200
        assert len(response.json()["results"]) == 3


class TestIndex:
    def test_empty(self, client):
        made = product("new", picture("red"))
        shop.index([])
        shop.entries([made])
        for response in (client.get(SEARCH, {"q": "red"}), client.get(similar(made))):
            assert (response.status_code, response.json()["results"]) == (200, [])
        assert client.get(made.get_absolute_url()).status_code == 200

    def test_before_the_first_index(self, client):
        shop.drop_index()
        made = product("new", picture("red"))
        with pytest.raises(IndexMissing):
            imagesim.similar_to(made)
        for response in (client.get(SEARCH, {"q": "red"}), client.get(similar(made))):
            assert (response.status_code, response.json()["code"]) == (503, "index_missing")
            detail_of(response)
        assert client.get(made.get_absolute_url()).status_code == 200

    def test_down(self, shelf, client, settings):
        pytest.importorskip("elasticsearch")
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": shop.index_setting("elasticsearch", "http://127.0.0.1:9")}
        with pytest.raises(IndexUnavailable):
            imagesim.similar_to(shelf["red"])
        with pytest.raises(IndexUnavailable):
            imagesim.search(image=picture("red"))
        photo = SimpleUploadedFile("photo.png", encoded(picture("red")))
        for response in (
            client.get(SEARCH, {"q": "red"}),
            client.post(SEARCH, {"image": photo}),
            client.get(similar(shelf["red"])),
        ):
            assert response.status_code == 503
            assert response.json()["code"] in ("index_unavailable", "circuit_open")  # not asked again immediately
            assert "127.0.0.1" not in detail_of(response)
            assert int(response["Retry-After"]) > 0
        page = client.get(shelf["red"].get_absolute_url())
        assert page.status_code == 200
        assert "red" in page.content.decode()
        shelf["red"].name = "still to be saved"
        shelf["red"].save()
        assert ItemState.objects.get(object_pk=str(shelf["red"].pk)).pending

    def test_a_bad_picture_is_reported_although_the_index_is_down(self, client, settings):
        pytest.importorskip("elasticsearch")
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": shop.index_setting("elasticsearch", "http://127.0.0.1:9")}
        assert client.post(SEARCH, {"image": SimpleUploadedFile("a.png", b"x")}).status_code == 415
        assert client.get(SEARCH, {"q": ""}).status_code == 400


SAMPLES = [
    encoded(picture("red", mark=2), kind, **options)
    for kind, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "quality": 60}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    )
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "cut", "insert", "end", "repeat"])):
            case "flip" if place < len(data):
                data[place] = draw(st.integers(0, 255))
            case "cut":
                del data[place : place + draw(st.integers(1, 200))]
            case "insert":
                data[place:place] = draw(st.binary(max_size=64))
            case "end":
                del data[max(place, 1) :]
            case _:
                data[place:place] = data[place : place + draw(st.integers(1, 200))]
    return bytes(data)


@hypothesis_settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=mutated())
def test_mutated_uploads(shelf, data):
    client = Client(raise_request_exception=True)
    before = stored_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        response = client.post(SEARCH, {"image": SimpleUploadedFile("photo.jpg", data, "image/jpeg"), "limit": 1})
    assert response.status_code in (200, 400, 413, 415)
    if response.status_code != 200:
        detail_of(response)
    assert stored_state() == before


@hypothesis_settings(
    max_examples=examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    asked=st.dictionaries(
        st.sampled_from(
            ["q", "limit", "offset", "category", "in_stock", "min_score", "collapse", "exact", "model", "price",
             "price__lte", "price__in", "brand", "brand__in", "colour__gt", "__", "filters", "like", "unlike",
             "components", "diversity", "fallback", "facets"]
        )
        | st.text(max_size=12),
        st.text(max_size=40) | st.integers() | st.floats() | st.lists(st.text(max_size=5), max_size=3),
        max_size=6,
    )
)  # fmt: skip
def test_any_query(shelf, asked):
    client = Client(raise_request_exception=True)
    encodable = {
        name: value
        for name, value in asked.items()
        if all(_encodable(part) for part in (name, *(value if isinstance(value, list) else [value])))
    }
    for response in (
        client.get(SEARCH, encodable),
        client.get(similar(shelf["red"]), encodable),
        client.post(SEARCH, encodable, content_type="application/json"),
    ):
        assert response.status_code in (200, 400)
        if response.status_code != 200:
            detail_of(response)


def _encodable(value: object) -> bool:
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True
