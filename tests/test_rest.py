from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from threading import BoundedSemaphore
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.base import BaseHandler
from django.db import InternalError, OperationalError, connection
from django.http import Http404, HttpRequest, HttpResponse
from django.template import engines
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path, resolve, reverse
from django.utils.translation import gettext_lazy
from django.views import View
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import patched_settings
from drf_spectacular.validation import validate_schema
from PIL import Image
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.settings import api_settings
from rest_framework.utils.serializer_helpers import ReturnDict
from rest_framework.versioning import AcceptHeaderVersioning, NamespaceVersioning
from rest_framework.views import APIView

import imagesim
from demo_shop.shop.models import Product
from imagesim import images
from imagesim.exceptions import ConfigurationError, EmbedderError, IndexUnavailable
from imagesim.indexes import get_index
from imagesim.items.registry import key_of, registry
from imagesim.models import Event
from imagesim.pages.thumbnails import Pictures, _sign
from imagesim.rest import uploads
from imagesim.rest.serializers import AnswerRenderer
from imagesim.rest.uploads import VisitorThrottle, limit_uploads
from imagesim.retrieval import concurrency, search
from tests import shop
from tests.shop import picture, product

pytestmark = pytest.mark.django_db
SEARCH = "/api/visual/search/"
EVENTS = "/api/visual/events/"


SETTINGS = {
    "MIN_RELEVANCE": 0.0,
    "SYNC": "manual",
    "EMBEDDER": shop.EMBEDDER,
    "REST_THROTTLES": {"similar": None, "search": None, "suggest": None, "look": None, "refused": None},
}


@pytest.fixture(scope="module")
def stock(kept) -> dict[str, Product]:
    """Indexed once for all tests."""
    with override_settings(IMAGESIM=SETTINGS):
        made = {
            name: product(name, picture(name), category="hats" if name == "navy" else "shoes", price=price, stock=stock)
            for name, price, stock in (("red", 10, 1), ("tomato", 20, 0), ("blue", 30, 2), ("navy", 40, 3))
        }
        shop.index()
    return made


@pytest.fixture(autouse=True)
def _index(settings, stock) -> Iterator[None]:
    settings.IMAGESIM = SETTINGS
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def shelf(stock) -> dict[str, Product]:
    return copy.deepcopy(stock)


@pytest.fixture
def proxy_unknown() -> Iterator[None]:
    """No proxy has been logged in this process yet."""
    uploads._warn_of_proxy.cache_clear()
    yield
    uploads._warn_of_proxy.cache_clear()


@pytest.fixture
def api() -> Client:
    return Client(raise_request_exception=True)


def similar(item: Product) -> str:
    return reverse("imagesim:similar", args=["shop.product", item.pk])


def photo(colour: str = "navy", name: str = "photo.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, shop.encoded(picture(colour)), "image/png")


def found(response: HttpResponse) -> list[str]:
    assert response.status_code == 200, response.content
    return [hit["item"]["name"] for hit in response.json()["results"]]


def refused(response: HttpResponse, status: int, code: str, field: str | None = None) -> str:
    """Check the form of the error; return its sentence."""
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert set(body) == ({"code", "detail", "field"} if field else {"code", "detail"})
    assert body.get("field") == field
    assert body["detail"].endswith(".")
    assert "no-store" in response["Cache-Control"]
    return body["detail"]


class TestSimilar:
    def test_answer(self, shelf, api):
        response = api.get(similar(shelf["red"]), {"limit": 1})
        first = shelf["tomato"]
        items = registry.for_item(first)
        body = response.json()
        score, took = body["results"][0].pop("score"), body.pop("took_ms")
        assert -1 <= score <= 1
        assert took >= 0
        assert body == {
            "results": [
                {
                    "item": {
                        "model": "shop.product",
                        "pk": str(first.pk),
                        "name": "tomato",
                        "url": f"http://testserver{first.get_absolute_url()}",
                        "similar": f"http://testserver{items.get_similar_url(first)}",
                        "category": "shoes",
                        "details": {"price": "€ 20.00", "badge": "Sold out"},
                    },
                    "image": {
                        "name": first.photos.get().file.name,
                        "url": f"http://testserver{first.photos.get().file.url}",
                        "thumbnail": f"http://testserver{Pictures(items, first, '').url(320)}",
                        "srcset": Pictures(items, first, "").srcset.replace("/api/", "http://testserver/api/"),
                    },
                    "stage": "",
                    "relevance": pytest.approx(0.9061, abs=0.01),
                }
            ],
            "more": True,
            "next": f"http://testserver{similar(shelf['red'])}?limit=1&offset=1",
            "next_offset": 1,
            "exact": True,
            "degraded": "",
            "facets": {},
            "token": "",
            "cut": 0,
            "closest": [],
            "region": None,
            "messages": [],
        }

    def test_pages_follow_each_other(self, shelf, api):
        url, seen = f"{similar(shelf['red'])}?limit=1&in_stock=true", []
        while url:
            response = api.get(url)
            seen += found(response)
            url = response.json()["next"] or ""
        assert sorted(seen) == ["blue", "navy"]

    def test_same_as_in_python(self, shelf, api):
        asked = {"price__gte": "15", "in_stock": "true", "limit": 5, "min_score": "-1"}
        hits = search.similar_to(shelf["red"], filters={"price__gte": 15}, in_stock=True, limit=5, min_score=-1)
        assert found(api.get(similar(shelf["red"]), asked)) == [hit.item.name for hit in hits] != []
        assert found(api.get(similar(shelf["red"]), {"same_category": "1"})) == ["tomato", "blue"]
        assert found(api.get(similar(shelf["red"]), {"category": ["hats", "none"]})) == ["navy"]

    def test_page_past_the_end(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_MAX_OFFSET": 1000}
        response = api.get(similar(shelf["red"]), {"offset": 900})
        assert found(response) == []
        assert response.json()["next"] is None

    def test_no_next_page_beyond_the_maximum_offset(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "MAX_OFFSET": 1}
        body = api.get(similar(shelf["red"]), {"limit": 1, "offset": 1}).json()
        assert (body["more"], body["next"], body["next_offset"]) == (False, None, None)

    def test_queries_do_not_grow_with_the_page(self, shelf, api):
        counts = []
        for limit in (1, 3):
            api.get(similar(shelf["red"]), {"limit": limit})
            with CaptureQueriesContext(connection) as queries:
                api.get(similar(shelf["red"]), {"limit": limit})
            counts.append(len(queries))
        assert counts[0] == counts[1]

    def test_the_parameter_of_the_rest_framework_for_the_format_is_no_filter(self, shelf, api):
        for response in (
            api.get(similar(shelf["red"]), {"format": "json", "limit": 1}),
            api.get(SEARCH, {"q": "red", "format": "json", "limit": 1}),
            api.post(SEARCH + "?format=json", {"image": photo(), "limit": 1}),
        ):
            assert (response.status_code, len(response.json()["results"])) == (200, 1)
        refused(api.get(similar(shelf["red"]), {"format": "xml"}), 404, "not_found")

    @pytest.mark.parametrize("pk", ["999999", "abc", "%00", "9" * 40, "-1", "1.5", "%F0%9F%91%9F"])
    def test_unknown_item(self, shelf, api, pk):
        refused(api.get(f"/api/visual/items/shop.product/{pk}/similar/"), 404, "not_found")

    def test_hidden_item_is_not_found(self, shelf, api):
        Product.objects.filter(name="red").update(active=False)
        refused(api.get(similar(shelf["red"])), 404, "not_found")

    def test_unregistered_model(self, api):
        assert "shop.product" in refused(api.get("/api/visual/items/auth.user/1/similar/"), 404, "not_registered")

    def test_item_without_embedding(self, shelf, api):
        assert "imagesim_sync" in refused(api.get(similar(product("bare"))), 404, "not_indexed")

    def test_item_without_url_or_category(self, shelf, api, monkeypatch):
        from django.urls import NoReverseMatch

        def nowhere(self):
            if self.name == "blue":
                raise NoReverseMatch
            return ""

        monkeypatch.setattr(Product, "get_absolute_url", nowhere)
        response = api.get(similar(shelf["red"]))
        assert len(found(response)) == 3
        assert {hit["item"]["url"] for hit in response.json()["results"]} == {None}

    def test_private_cache_headers(self, shelf, api):
        assert {"private", "no-cache"} <= set(api.get(similar(shelf["red"]))["Cache-Control"].split(", "))

    def test_no_search_engine_lists_an_answer(self, shelf, api):
        assert api.get(similar(shelf["red"]))["X-Robots-Tag"] == "noindex"

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    def test_only_get_is_allowed(self, shelf, api, method):
        sentence = refused(getattr(api, method)(similar(shelf["red"])), 405, "method_not_allowed")
        assert sentence == f'Method "{method.upper()}" not allowed.'


class TestSearch:
    def test_by_words(self, shelf, api):
        assert found(api.get(SEARCH, {"q": "navy", "limit": 2})) == ["navy", "blue"]

    def test_by_picture(self, shelf, api):
        response = api.post(SEARCH, {"image": photo(), "limit": 2})
        assert found(response) == ["navy", "blue"]
        body = response.json()
        assert (body["more"], body["next"], body["next_offset"]) == (True, None, 2)
        assert response["Cache-Control"] == "private, no-store"

    def test_by_picture_and_words_with_filters(self, shelf, api):
        asked = {
            "image": photo("red"),
            "text": "blue",
            "category": ["hats", "shoes"],
            "price__lt": "40",
            "in_stock": "1",
        }
        assert set(found(api.post(SEARCH, asked))) == {"red", "blue"}

    def test_by_words_in_a_form_or_in_json(self, shelf, api):
        assert found(api.post(SEARCH, {"text": "navy", "limit": "1"})) == ["navy"]
        for filters in ({"price__gte": 35}, {"filters": {"price__gte": 35.0}}, {"price__gte": "35"}):
            asked = {"text": "navy", "limit": 5, "in_stock": True, "category": ["hats"], "min_score": None, **filters}
            assert found(api.post(SEARCH, asked, content_type="application/json")) == ["navy"]

    def test_parameters_of_a_post_in_the_query_string(self, shelf, api):
        assert found(api.post(f"{SEARCH}?limit=1&category=shoes", {"image": photo()})) == ["blue"]

    def test_the_claimed_name_and_type_are_ignored(self, shelf, api):
        claimed = SimpleUploadedFile("../../x.php", shop.encoded(picture("navy")), "text/html")
        assert found(api.post(SEARCH, {"image": claimed, "limit": 1})) == ["navy"]

    def test_an_empty_file_field_is_ignored(self, shelf, api):
        body = (
            b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\n'
            b"Content-Type: application/octet-stream\r\n\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nnavy\r\n--b--\r\n'
        )
        response = api.post(SEARCH, body, content_type="multipart/form-data; boundary=b")
        assert found(response)[0] == "navy"

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({}, "q"),
            ({"q": " "}, "q"),
            ({"q": "x" * 501}, "q"),
            ({"q": "a\0b"}, "q"),
            ({"q": "red", "limit": "0"}, "limit"),
            ({"q": "red", "offset": "-1"}, "offset"),
            ({"q": "red", "page": "2"}, "page"),
            ({"q": "red", "model": "shop.nope"}, "model"),
            ({"q": "red", "price": "cheap"}, "price"),
            ({"text": "red"}, "text"),
        ],
    )
    def test_bad_get(self, shelf, api, asked, field):
        refused(api.get(SEARCH, asked), 400, "bad_query", field)

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({}, "image"),
            ({"text": ""}, "image"),
            ({"image": "http://example.org/x.png"}, "image"),
            ({"photo": SimpleUploadedFile("a.png", b"x")}, "photo"),
            ({"text": "red", "like": ["a^11"]}, "like"),
            ({"text": "red", "unlike": "shop.product:999999"}, "unlike"),
            ({"text": "red", "like": "shop.product:" + "9" * 40}, "like"),
            ({"text": "red", "components": "colour"}, "components"),
            ({"text": "red", "diversity": "much"}, "diversity"),
            ({"text": "red", "fallback": "up"}, "fallback"),
            ({"text": "red", "facets": "size"}, "facets"),
            ({"image": photo(), "like": [photo() for _ in range(10)]}, "like"),
            ({"text": "red", "colour__in": "x" * 501}, "colour__in"),
            ({"text": "red", "colour__in": ",".join(map(str, range(1001)))}, "colour__in"),
            ({"text": "red", "limit": ["1", "2"]}, "limit"),
        ],
    )
    def test_bad_form(self, shelf, api, asked, field):
        refused(api.post(SEARCH, asked), 400, "bad_query", field)

    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ("", "bad_query", "image"),
            ("{}", "bad_query", "image"),
            ("{", "parse_error", None),
            ("[]", "bad_query", None),
            ("7", "bad_query", None),
            ("null", "bad_query", None),
            ('"red"', "bad_query", None),
            ("[" * 20_000, "parse_error", None),
            ('{"text": NaN}', "parse_error", None),
            ('{"text": 7}', "bad_query", "text"),
            ('{"text": ["red"], "limit": 1.5}', "bad_query", "limit"),
            ('{"text": {"a": 1}}', "bad_query", "text"),
            ('{"text": "red", "limit": "1e3"}', "bad_query", "limit"),
            ('{"text": "red", "limit": 99999999999999999999999}', "bad_query", "limit"),
            ('{"text": "red", "min_score": 1e999}', "bad_query", "min_score"),
            ('{"text": "red", "filters": [1]}', "bad_query", "filters"),
            ('{"text": "red", "filters": {"price": [1]}}', "bad_query", "price"),
            ('{"text": "red", "price__in": {"a": 1}}', "bad_query", "price__in"),
            ('{"text": "red", "price__in": %s}' % [*range(1001)], "bad_query", "price__in"),
            ('{"text": "red", "filters": {"price__in": %s}}' % [*range(1001)], "bad_query", "price__in"),
            ('{"text": "\\ud800"}', "bad_query", "text"),
            ('{"text": "a\\u0000"}', "bad_query", "text"),
            ('{"text": "red", "category": [[1]]}', "bad_query", "category"),
            ('{"text": "red", "category": %s}' % [*range(1001)], "bad_query", "category"),
            ('{"image": "aGVsbG8="}', "bad_query", "image"),
        ],
    )
    def test_bad_json(self, shelf, api, body, code, field):
        refused(api.post(SEARCH, body, content_type="application/json"), 400, code, field)

    @pytest.mark.parametrize("kind", ["text/plain", "image/png", "application/xml", "nonsense"])
    def test_an_unsupported_media_type(self, shelf, api, kind):
        refused(api.post(SEARCH, b"x", content_type=kind), 415, "unsupported_media_type")

    @pytest.mark.parametrize("body", [b"", b"--b", b"nonsense", b"--b\r\n\r\nx\r\n--b--", b"\xff" * 100])
    def test_a_malformed_form(self, shelf, api, body):
        response = api.post(SEARCH, body, content_type="multipart/form-data; boundary=b")
        assert response.status_code == 400
        assert set(response.json()) <= {"code", "detail", "field"}

    def test_a_form_without_boundary(self, shelf, api):
        refused(api.post(SEARCH, b"x", content_type="multipart/form-data"), 400, "parse_error")

    def test_too_many_fields(self, shelf, api):
        refused(api.post(SEARCH, {f"f{n}": "x" for n in range(1001)}), 400, "bad_request")


class TestLook:
    LOOK = "/api/visual/look/"

    @pytest.fixture(autouse=True)
    def _finder(self, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REGIONS": {"BACKEND": "tests.regions.ColourFinder"}}

    @pytest.fixture
    def street(self) -> SimpleUploadedFile:
        image = Image.new("RGB", (300, 600), "white")
        image.paste("blue", (100, 60, 200, 120))
        image.paste("red", (60, 480, 240, 570))
        return SimpleUploadedFile("street.png", shop.encoded(image))

    def test_answer(self, shelf, api, street):
        response = api.post(self.LOOK, {"image": street, "limit": 2, "in_stock": "true"})
        assert response.status_code == 200, response.content
        body = response.json()
        assert body["size"] == {"width": 300, "height": 600}
        shoes, hat = body["regions"]
        assert {key: shoes[key] for key in ("box", "label", "name", "score", "categories", "more")} == {
            "box": {"x": 0.2, "y": 0.8, "width": 0.6, "height": 0.15},
            "label": "shoes",
            "name": "Shoes",
            "score": 0.9,
            "categories": ["shoes"],
            "more": False,
        }
        assert [hit["item"]["name"] for hit in shoes["results"]] == ["red", "blue"]
        assert next((hit["item"]["name"], hit["stage"]) for hit in hat["results"]) == ("navy", "")
        assert {hit["stage"] for hit in hat["results"][1:]} == {"wider"}
        assert len(body["results"]) == 2
        assert response["Cache-Control"] == "private, no-store"

    def test_how_many_hits_were_not_relevant_enough(self, shelf, api, street):
        body = api.post(self.LOOK, {"image": street, "min_relevance": "1"}).json()
        asked = {"region": "[0.2, 0.8, 0.6, 0.15]", "min_relevance": "1"}
        region = api.post(f"{self.LOOK}{body['photo']}/region/", asked).json()
        assert (body["results"], region["results"]) == ([], [])
        assert (body["cut"] > 0, region["cut"] > 0) == (True, True)

    def test_regions_and_point(self, shelf, api, street):
        def boxes(**asked: str) -> list[dict[str, float]]:
            street.seek(0)
            response = api.post(self.LOOK, {"image": street, **asked})
            assert response.status_code == 200, response.content
            return [region["box"] for region in response.json()["regions"]]

        assert boxes(regions="[[0, 0, 0.5, 0.5]]") == [{"x": 0, "y": 0, "width": 0.5, "height": 0.5}]
        assert boxes(regions="[]") == []
        assert len(boxes(regions="")) == 2
        assert boxes(point="[0.5, 0.9]")[0]["y"] == 0.8
        assert boxes(point="[0.5, 0.9]", price__lte="20", in_stock="true")[0]["y"] == 0.8

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"regions": "[[0,0,1"}, "regions"),
            ({"regions": "7"}, "regions"),
            ({"regions": "[[0,0,2,1]]"}, "regions"),
            ({"regions": '{"x": 0, "y": 0, "width": 1, "height": 1}'}, "regions"),
            ({"regions": "[" * 5000}, "regions"),
            ({"regions": "[[NaN,0,1,1]]"}, "regions"),
            ({"point": "0.5;0.5"}, "point"),
            ({"point": "[2,0]"}, "point"),
            ({"point": "[0,0]", "regions": "[]"}, "point"),
            ({"offset": "3"}, "offset"),
            ({"limit": "0"}, "limit"),
            ({"model": "shop.nope"}, "model"),
        ],
    )
    def test_bad_query(self, shelf, api, street, asked, field):
        refused(api.post(self.LOOK, {"image": street, **asked}), 400, "bad_query", field)

    @pytest.mark.parametrize(
        ("name", "wanted"), [("regions", "a list of four numbers"), ("point", "a list of two numbers")]
    )
    def test_an_object_in_place_of_a_list(self, shelf, api, street, name, wanted):
        response = api.post(self.LOOK, {"image": street, name: '{"x": 0, "y": 0, "width": 1, "height": 1}'})
        message = refused(response, 400, "bad_query", name)
        assert wanted in message
        assert message.startswith("{'x': 0,")

    def test_several_photos(self, shelf, api):
        message = refused(api.post(self.LOOK, {"image": [photo(), photo()]}), 400, "bad_query", "image")
        assert message == "'image' is given more than once; send it once."

    def test_no_photo(self, shelf, api):
        refused(api.post(self.LOOK), 400, "bad_query", "image")
        refused(api.post(self.LOOK, {"text": "red"}, content_type="application/json"), 400, "bad_query", "image")
        refused(api.post(self.LOOK, {"image": SimpleUploadedFile("a.png", b"x")}), 415, "unsupported_format")
        refused(api.get(self.LOOK), 405, "method_not_allowed")

    def test_queries_do_not_grow_with_the_regions(self, shelf, api, street):
        counts = []
        for regions in ("[]", "[]", json.dumps([[0, 0, 1, 1]] * 6)):
            street.seek(0)
            with CaptureQueriesContext(connection) as queries:
                assert api.post(self.LOOK, {"image": street, "regions": regions, "limit": 1}).status_code == 200
            counts.append(len(queries))
        assert counts[2] <= counts[1] + 3  # one more request, for what the neighbours agree on


class TestUploads:
    def test_a_too_large_body_is_rejected_before_it_is_read(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "MAX_IMAGE_BYTES": 1000}

        class Unread:
            def read(self, *args: Any) -> bytes:
                raise AssertionError("read")

            readline = read

        response = api.generic(
            "POST",
            SEARCH,
            content_type="multipart/form-data; boundary=b",
            CONTENT_LENGTH=str(70_000),
            **{"wsgi.input": Unread()},
        )
        assert "smaller" in refused(response, 413, "request_too_large")

    @pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "application/json"])
    def test_a_body_in_chunks_is_refused_as_such(self, shelf, api, content_type):
        """Django and DRF take such a body for an empty one; an app would be told that it sent no picture."""
        chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
        response = api.generic("POST", SEARCH, b'{"text": "red"}', content_type=content_type, **chunked)
        assert "Content-Length" in refused(response, 411, "length_required")
        assert api.get(SEARCH, {"q": "red"}, **chunked).status_code == 200  # nobody reads its body

    def test_a_page_refuses_a_body_in_chunks(self, rf):
        view = limit_uploads("look")(lambda request: pytest.fail("called"))
        response = view(rf.post("/", {"text": "red"}, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked"))
        assert response.status_code == 411
        assert b"Content-Length" in response.content

    def test_a_too_large_picture_in_an_acceptable_body(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "MAX_IMAGE_BYTES": 1000}
        response = api.post(SEARCH, {"image": SimpleUploadedFile("a.png", b"x" * 1001)})
        refused(response, 413, "image_too_large")

    def test_a_too_large_json_body(self, shelf, api):
        response = api.post(SEARCH, json.dumps({"text": "x" * 70_000}), content_type="application/json")
        refused(response, 413, "request_too_large")

    def test_a_text_field_as_large_as_a_photo(self, shelf, api):
        refused(api.post(SEARCH, {"text": "x" * 3_000_000}), 413, "request_too_large")

    def test_pictures_are_counted_before_any_is_read(self, shelf, api, monkeypatch):
        monkeypatch.setattr(images, "read", lambda file: pytest.fail("read"))
        for name in ("like", "unlike", "image"):
            refused(api.post(SEARCH, {name: [photo() for _ in range(11)]}), 400, "bad_query", "like")
        refused(
            api.post(SEARCH, {"like": [photo() for _ in range(8)], "text": "x^1"} | {"unlike": ["a"] * 3}),
            400,
            "bad_query",
            "like",
        )

    def test_each_picture_counts_as_a_request(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "5/min"}}
        found(api.post(SEARCH, {"image": [photo(), photo(), photo()]}))
        refused(api.post(SEARCH, {"image": [photo(), photo()], "unlike": photo("red")}), 429, "throttled")

    def test_a_request_past_its_deadline_is_aborted(self, shelf, api, monkeypatch):
        clock, decoded = [0.0], []
        real = images.decode

        def slow(data: bytes, **options: Any) -> Any:
            clock[0] += 6
            decoded.append(1)
            return real(data, **options)

        monkeypatch.setattr(concurrency, "time", SimpleNamespace(monotonic=lambda: clock[0]))
        monkeypatch.setattr(images, "decode", slow)
        response = api.post(SEARCH, {"image": [photo() for _ in range(5)]})
        assert "too long" in refused(response, 503, "deadline_exceeded")
        assert int(response["Retry-After"]) > 0
        assert len(decoded) == 2
        found(api.post(SEARCH, {"image": photo()}))  # each has its own, and the slot was given back

    @pytest.mark.parametrize("length", ["-1", "abc", ""])
    def test_an_invalid_content_length(self, shelf, api, length):
        response = api.generic(
            "POST", SEARCH, b"x", content_type="multipart/form-data; boundary=b", CONTENT_LENGTH=length
        )
        assert response.status_code == 400

    def test_a_photo_is_never_written_to_disk(self, shelf, api, settings, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10
        settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        during: list[list[Path]] = []
        real_search = search.search
        monkeypatch.setattr(
            search, "search", lambda **asked: (during.append(sorted(tmp_path.rglob("*"))), real_search(**asked))[1]
        )
        assert found(api.post(SEARCH, {"image": photo(), "limit": 1})) == ["navy"]
        assert during == [before]
        assert sorted(tmp_path.rglob("*")) == before

    def test_too_many_photos_wait_and_are_then_refused(self, shelf, api, monkeypatch, caplog):
        slots = (BoundedSemaphore(1), BoundedSemaphore(2))
        monkeypatch.setattr(concurrency, "_semaphores", lambda: slots)
        monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.01)
        with concurrency.photo_slot():
            response = api.post(SEARCH, {"image": photo()})
            refused(response, 503, "busy")
            (record,) = caplog.records
            assert (record.name, record.levelname) == ("imagesim.rest.base", "WARNING")  # nothing has failed
            assert 0 < int(response["Retry-After"]) <= 5  # a photo takes less than a second
            found(api.get(SEARCH, {"q": "red"}))
        found(api.post(SEARCH, {"image": photo()}))
        assert api.post(SEARCH, {"image": SimpleUploadedFile("a.png", b"x")}).status_code == 415
        found(api.post(SEARCH, {"image": photo()}))  # an error gives its slot back

    def test_a_body_already_read_by_a_middleware(self, shelf, settings):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.test_rest.reading_middleware"]
        assert found(Client().post(SEARCH, {"image": photo(), "limit": 1})) == ["navy"]


def reading_middleware(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        assert request.FILES
        return get_response(request)

    return middleware


class TestAccess:
    def test_throttles_are_counted_by_scope(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "2/min", "similar": "1/hour"}}
        for _ in range(2):
            found(api.get(SEARCH, {"q": "red"}))
        response = api.post(SEARCH, {"image": photo()})
        refused(response, 429, "throttled")
        assert int(response["Retry-After"]) > 0
        found(api.get(similar(shelf["red"])))
        refused(api.get(similar(shelf["red"])), 429, "throttled")

    @pytest.mark.parametrize("address", [SEARCH, "/api/visual/look/", "/search/", "/look/"])
    def test_without_the_cache_nothing_is_counted(self, shelf, api, settings, address, caplog):
        unreachable = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "1/min", "look": "1/min"}}
        with override_settings(CACHES={**settings.CACHES, "default": unreachable}):
            for _number in range(2):
                assert api.post(address, {"image": photo()}).status_code == 200
            assert api.post(address, {"image": SimpleUploadedFile("a.jpg", b"<html>")}).status_code in (400, 415)
        assert caplog.text.count("The cache cannot be read") == 1

    def test_words_being_typed_do_not_count_as_pages_of_products(self, shelf, api, settings):
        rates = {"similar": "1/hour", "suggest": "3/hour"}
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": rates}
        for words in ("r", "re", "red"):
            assert api.get("/api/visual/suggest/", {"q": words}).status_code == 200
        refused(api.get("/api/visual/suggest/", {"q": "red "}), 429, "throttled")
        found(api.get(similar(shelf["red"])))

    def test_a_clock_that_was_ahead_keeps_no_visitor_waiting(self, shelf, api, settings, monkeypatch):
        """Such as the clock of a machine that has just started, or of another one: REST framework waits for the time it
        wrote."""
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "2/min"}}
        now = time.time()

        def search(seconds):
            monkeypatch.setattr(VisitorThrottle, "timer", staticmethod(lambda: now + seconds))
            return api.get(SEARCH, {"q": "red"}).status_code

        assert [search(3600) for _time in range(3)] == [200, 200, 429]
        assert [search(0) for _time in range(3)] == [200, 200, 429]
        assert search(-30) == 429  # clocks differ slightly everywhere

    @pytest.mark.parametrize("address", [SEARCH, "/api/visual/look/"])
    def test_files_that_are_not_pictures_are_throttled_separately(self, shelf, api, settings, address):
        rates = {"search": "3/min", "look": "3/min", "refused": "3/min"}
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": rates}
        broken = [b"<html>", shop.encoded(picture("red"))[:20], b""]
        for data in broken:
            assert api.post(address, {"image": SimpleUploadedFile("a.jpg", data)}).status_code in (400, 415)
        answer = api.post(address, {"image": SimpleUploadedFile("a.jpg", broken[0])})
        refused(answer, 429, "throttled")
        assert int(answer["Retry-After"]) > 0
        refused(api.post(address, {"image": photo()}), 429, "throttled")  # nothing more is read from this visitor
        assert api.get(similar(shelf["red"])).status_code == 200
        cache.delete("imagesim.throttle.refused.address-127.0.0.1")
        cut_off = shop.encoded(picture("red", size=(400, 400)), "JPEG")[:900]
        assert api.post(address, {"image": SimpleUploadedFile("a.jpg", cut_off)}).status_code == 400  # it was decoded
        refused(api.post(address, {"image": photo()}), 429, "throttled")

    def test_throttles_are_counted_by_visitor(self, shelf, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "1/min"}}
        user = get_user_model().objects.create_user("shopper")
        for client, extra in ((Client(), {}), (Client(), {"REMOTE_ADDR": "10.0.0.9"}), (_signed_in(user), {})):
            found(client.get(SEARCH, {"q": "red"}, **extra))
            refused(client.get(SEARCH, {"q": "red"}, **extra), 429, "throttled")

    @pytest.mark.parametrize("header", ["1", "203.0.113.7", "203.0.113.7, 198.51.100.9"])
    def test_a_forged_header_is_ignored(self, shelf, settings, header):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "2/min"}}
        for number in range(2):
            found(Client().get(SEARCH, {"q": "red"}, headers={"X-Forwarded-For": f"10.0.0.{number}"}))
        refused(Client().get(SEARCH, {"q": "red"}, headers={"X-Forwarded-For": header}), 429, "throttled")

    def test_behind_a_proxy_its_peer_address_counts(self, shelf, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "1/min"}}
        settings.REST_FRAMEWORK = {"NUM_PROXIES": 1}

        def get(header: str) -> HttpResponse:
            return Client().get(SEARCH, {"q": "red"}, headers={"X-Forwarded-For": header} if header else {})

        found(get("203.0.113.7"))
        refused(get("198.51.100.1, 203.0.113.7"), 429, "throttled")  # what the visitor forged stands further left
        found(get("203.0.113.7, 198.51.100.1"))
        found(get("2001:db8::1"))
        refused(get("2001:db8::2"), 429, "throttled")  # of the same subscriber
        found(get("2001:db8:0:1::1"))
        found(get(""))
        settings.REST_FRAMEWORK = {"NUM_PROXIES": 2}
        refused(get("192.0.2.1"), 429, "throttled")  # fewer than proxies: the request came another way

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.4.0.2", "::ffff:172.17.0.1", "100.64.0.7", ""])
    def test_an_unknown_proxy_is_logged_once(self, shelf, settings, caplog, proxy_unknown, address):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {}}
        settings.REST_FRAMEWORK = {}
        client = Client(REMOTE_ADDR=address, headers={"X-Forwarded-For": "203.0.113.7"})
        for _ in range(2):
            found(client.get(SEARCH, {"q": "red"}))
        assert caplog.text.count("REST_FRAMEWORK['NUM_PROXIES'] is not set") == 1

    @pytest.mark.parametrize(
        ("address", "header", "proxies"),
        [
            ("8.8.4.4", "203.0.113.7", None),  # a visitor who forged the header
            ("::ffff:8.8.4.4", "203.0.113.7", None),
            ("127.0.0.1", "", None),
            ("127.0.0.1", "203.0.113.7", 1),
            ("127.0.0.1", "203.0.113.7", 0),
        ],
    )
    def test_no_proxy_is_logged(self, shelf, settings, caplog, proxy_unknown, address, header, proxies):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {}}
        settings.REST_FRAMEWORK = {"NUM_PROXIES": proxies}
        headers = {"X-Forwarded-For": header} if header else {}
        found(Client(REMOTE_ADDR=address, headers=headers).get(SEARCH, {"q": "red"}))
        assert "NUM_PROXIES" not in caplog.text

    def test_an_address_is_not_confused_with_a_user(self, shelf, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "1/min"}}
        settings.REST_FRAMEWORK = {"NUM_PROXIES": 1}
        user = get_user_model().objects.create_user("shopper")
        found(Client().get(SEARCH, {"q": "red"}, headers={"X-Forwarded-For": str(user.pk)}))
        found(_signed_in(user).get(SEARCH, {"q": "red"}))

    @pytest.mark.parametrize("versioning", [NamespaceVersioning, AcceptHeaderVersioning])
    def test_the_versions_of_the_shops_own_api_do_not_matter(self, shelf, api, monkeypatch, versioning):
        """``DEFAULT_VERSIONING_CLASS`` of REST framework is a default of its base view."""
        monkeypatch.setattr(APIView, "versioning_class", versioning)
        monkeypatch.setattr(versioning, "allowed_versions", ["v1", None])
        found(api.get(SEARCH, {"q": "red"}))
        assert SEARCH in api.get("/api/visual/schema/?format=json").json()["paths"]

    def test_the_negotiation_of_the_shops_own_api_does_not_matter(self, shelf, api, monkeypatch):
        """As in REST framework's documentation, for clients with wrong headers."""

        class IgnoreClient(BaseContentNegotiation):
            select_parser = staticmethod(lambda request, parsers: parsers[0])
            select_renderer = staticmethod(lambda request, renderers, suffix: (renderers[0], renderers[0].media_type))

        monkeypatch.setattr(APIView, "content_negotiation_class", IgnoreClient)
        found(api.post(SEARCH, {"text": "red"}, content_type="application/json"))
        assert SEARCH in api.get("/api/visual/schema/?format=json").json()["paths"]

    def test_basic_authentication_is_not_accepted(self, shelf, api, settings):
        get_user_model().objects.create_user("boss", password="right")
        basic = {"Authorization": f"Basic {base64.b64encode(b'boss:wrong').decode()}"}
        found(api.get(SEARCH, {"q": "red"}, headers=basic))
        settings.IMAGESIM = {
            **settings.IMAGESIM,
            "REST_AUTHENTICATION": ["rest_framework.authentication.BasicAuthentication"],
        }
        refused(api.get(SEARCH, {"q": "red"}, headers=basic), 401, "authentication_failed")
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_AUTHENTICATION": []}  # of DRF, Basic among them
        assert api.get(SEARCH, {"q": "red"}, headers=basic).json()["code"] == "authentication_failed"

    def test_exact_search_and_high_offsets_are_for_staff(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_MAX_OFFSET": 1}
        assert "0 to 1" in refused(api.get(SEARCH, {"q": "red", "offset": 2}), 400, "bad_query", "offset")
        refused(api.get(similar(shelf["red"]), {"exact": "true"}), 400, "bad_query", "exact")
        refused(api.post("/api/visual/look/", {"image": photo(), "exact": "1"}), 400, "bad_query", "exact")
        assert api.get(SEARCH, {"q": "red", "limit": 1, "offset": 1}).json()["next"] is None
        found(api.get(SEARCH, {"q": "red", "exact": "false"}))
        boss = _signed_in(get_user_model().objects.create_user("boss", is_staff=True))
        found(boss.get(SEARCH, {"q": "red", "exact": "true", "offset": 2}))
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_EXACT": "all"}
        found(api.get(SEARCH, {"q": "red", "exact": "true"}))

    def test_who_was_of_the_staff_is_a_visitor(self, shelf, api, settings, monkeypatch):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_MAX_OFFSET": 1}
        former = get_user_model().objects.create_user("former", is_staff=True, is_active=False)
        # The project's own class, or one that checks only a token, may let such a user in.
        monkeypatch.setattr(SessionAuthentication, "authenticate", lambda self, request: (former, None))
        refused(api.get(SEARCH, {"q": "red", "exact": "true"}), 400, "bad_query", "exact")
        refused(api.get(SEARCH, {"q": "red", "offset": 2}), 400, "bad_query", "offset")

    def test_an_invalid_rate(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": {"search": "often"}}
        with pytest.raises(ConfigurationError, match="must be a string such as '30/min', not 'often'"):
            api.get(SEARCH, {"q": "red"})

    def test_permissions(self, shelf, api, settings):
        settings.IMAGESIM = {
            **settings.IMAGESIM,
            "REST_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
        }
        assert api.get(SEARCH, {"q": "red"}).status_code in (401, 403)
        assert api.get(SEARCH, {"q": "red"}).json()["code"] == "not_authenticated"
        user = get_user_model().objects.create_user("shopper")
        found(_signed_in(user).get(SEARCH, {"q": "red"}))

    def test_permissions_for_the_item_that_is_asked_about(self, shelf, api, settings):
        """For shops where each customer has a separate assortment: nobody learns what is in those of others."""
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_PERMISSIONS": ["tests.test_rest.NoHats"]}
        found(api.get(similar(shelf["red"])))
        for name in ("similar", "item_regions"):
            address = reverse(f"imagesim:{name}", args=["shop.product", shelf["navy"].pk])
            refused(api.get(address), 404, "not_found")

    def test_what_a_visitor_may_ask(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_ARGUMENTS": ["tests.test_rest.only_cheap"]}
        assert set(found(api.get(SEARCH, {"q": "red"}))) == {"red", "tomato"}
        assert found(api.get(SEARCH, {"q": "red", "price__gt": 10})) == ["tomato"]
        assert found(api.get(similar(shelf["red"]))) == ["tomato"]
        assert set(found(api.post(SEARCH, {"image": photo()}))) == {"red", "tomato"}
        assert api.get(SEARCH, {"q": "red", "facets": "brand"}).json()["facets"]["brand"]["count"] == 2
        suggested = api.get(reverse("imagesim:suggest"), {"q": "navy"}).json()["suggestions"]
        assert suggested == []
        look = api.post(reverse("imagesim:look"), {"image": photo()}).json()
        assert {hit["item"]["name"] for hit in look["results"]} == {"red", "tomato"}
        again = api.post(reverse("imagesim:held_look", args=[look["photo"]])).json()
        assert {hit["item"]["name"] for hit in again["results"]} == {"red", "tomato"}
        for given in ({"price__lte": 90}, {"price__in": "30,40"}, {"filters": {"price__lte": 90}}):
            response = api.post(SEARCH, {"text": "red"} | given, content_type="application/json")
            assert set(found(response)) <= {"red", "tomato"}

    def test_what_a_visitor_does_not_want(self, shelf, api):
        excluded = {"price__not_in": "30,40"}
        assert set(found(api.get(SEARCH, {"q": "red", **excluded}))) == {"red", "tomato"}
        assert "navy" not in api.get(reverse("imagesim:suggest"), {"q": "navy", **excluded}).content.decode()
        posted = api.post(SEARCH, {"image": photo(), **excluded})
        assert set(found(posted)) == {"red", "tomato"}
        look = api.post(reverse("imagesim:look"), {"image": photo(), **excluded}).json()
        assert {hit["item"]["name"] for hit in look["results"]} == {"red", "tomato"}
        refused(api.get(SEARCH, {"q": "red", "price__not_in": "x"}), 400, "bad_query", "price__not_in")

    def test_what_a_visitor_may_not_ask(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_ARGUMENTS": ["tests.test_rest.only_cheap"]}
        refused(api.get(SEARCH, {"q": "red", "brand": "acme"}), 403, "permission_denied")

    def test_a_function_that_forgets_to_return_the_arguments(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_ARGUMENTS": ["tests.test_rest.changes_in_place"]}
        with pytest.raises(ConfigurationError, match=r"'tests.test_rest.changes_in_place' returns None; it must"):
            api.get(SEARCH, {"q": "red"})

    def test_permissions_of_the_project(self, shelf, api, settings, monkeypatch):
        from rest_framework.permissions import IsAdminUser

        from imagesim.rest.views import SearchView

        settings.IMAGESIM = {**settings.IMAGESIM, "REST_PERMISSIONS": []}
        monkeypatch.setattr(SearchView, "permission_classes", [IsAdminUser])
        assert api.get(SEARCH, {"q": "red"}).status_code in (401, 403)

    def test_unknown_permissions(self, shelf, api, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_PERMISSIONS": ["shop.Nope"]}
        with pytest.raises(ConfigurationError, match="REST_PERMISSIONS"):
            api.get(SEARCH, {"q": "red"})

    def test_permissions_of_the_schema(self, api, settings):
        """The schema names all filters."""
        settings.IMAGESIM = {
            **settings.IMAGESIM,
            "REST_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
        }
        schema = reverse("imagesim:schema")
        refused(api.get(schema, {"format": "json"}), 403, "not_authenticated")
        response = _signed_in(get_user_model().objects.create_user("shopper")).get(schema)
        assert (response.status_code, response["Cache-Control"]) == (200, "private, no-cache")

    def test_a_signed_in_visitor_needs_the_csrf_token(self, shelf):
        client = Client(enforce_csrf_checks=True)
        client.force_login(get_user_model().objects.create_user("shopper"))
        refused(client.post(SEARCH, {"image": photo()}), 403, "permission_denied")
        found(Client(enforce_csrf_checks=True).post(SEARCH, {"image": photo()}))


class TestForms:
    """HTML views under ``limit_uploads`` keep to the limits of the REST views; the views of the demo shop are among
    them."""

    @pytest.fixture(params=["/search/", "/look/"])
    def page(self, request) -> str:
        return request.param

    def throttle(self, settings: Any, **rates: str) -> None:
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": rates}

    def test_a_too_large_body_is_rejected_before_it_is_read(self, page):
        class Unread:
            def read(self, *args: Any) -> bytes:
                raise AssertionError("read")

            readline = read

        client = Client(enforce_csrf_checks=True)
        for kind in ("multipart/form-data; boundary=b", "application/x-www-form-urlencoded"):
            length = {"CONTENT_LENGTH": str(400_000_000), "wsgi.input": Unread()}
            response = client.generic("POST", page, content_type=kind, **length)
            assert response.status_code == 413
            assert "too large" in response.content.decode()

    def test_the_csrf_token_is_required(self, page):
        assert Client(enforce_csrf_checks=True).post(page, {"image": photo()}).status_code == 403
        client = Client(enforce_csrf_checks=True)
        client.get(page)
        token = client.cookies["csrftoken"].value
        assert client.post(page, {"image": photo(), "csrfmiddlewaretoken": token}).status_code != 403

    def test_throttled_together_with_the_rest_views(self, shelf, api, settings):
        self.throttle(settings, search="3/min")
        found(api.get(SEARCH, {"q": "red"}))
        assert api.get("/search/", {"q": "red"}).status_code == 200
        assert api.post("/search/", {"image": photo()}).status_code == 200
        response = api.get("/search/", {"q": "red"})
        assert response.status_code == 429
        assert int(response["Retry-After"]) > 0
        assert "Too many searches" in response.content.decode()
        assert api.get("/search/").status_code == 200  # the empty form is free

    def test_less_than_a_second_to_wait_is_a_second(self, shelf, api, settings, monkeypatch):
        self.throttle(settings, search="1/min")
        monkeypatch.setattr(VisitorThrottle, "wait", lambda self: 0.3)
        assert api.get("/search/", {"q": "red"}).status_code == 200
        assert api.get("/search/", {"q": "red"})["Retry-After"] == "1"

    def test_files_that_are_not_pictures_are_throttled_separately(self, shelf, api, settings, page):
        cache.clear()
        self.throttle(settings, search="1/min", look="1/min", refused="3/min")
        for _number in range(3):
            broken = SimpleUploadedFile("photo.jpg", b"<html>", "image/jpeg")
            assert api.post(page, {"image": broken}).status_code == 400
        cache.delete("imagesim.throttle.refused.address-127.0.0.1")
        assert api.post(page, {"image": photo()}).status_code == 200
        assert api.post(page, {"image": photo()}).status_code == 429

    def test_a_photo_counts_with_any_other_field(self, shelf, api, settings, page):
        cache.clear()
        self.throttle(settings, search="1/min", look="1/min", refused="9/min")
        for status in (200, 429):
            other = SimpleUploadedFile("other.jpg", b"<html>", "image/jpeg")
            assert api.post(page, {"image": photo(), "other": other}).status_code == status

    def test_samples_count_too(self, shelf, api, settings):
        self.throttle(settings, look="1/min")
        assert api.get("/look/?sample=clothing").status_code == 200
        assert api.get("/look/?sample=clothing").status_code == 429
        assert api.get("/look/").status_code == 200

    def test_parameters_that_search_nothing_are_free(self, api, settings, page, monkeypatch):
        """Links of a newsletter must not count as searches, nor a page whose script restores a photo as two."""
        self.throttle(settings, look="0/min", search="0/min")
        monkeypatch.setattr("imagesim.rest.uploads.photo_slot", lambda: pytest.fail("a slot was taken"))
        for query in ("utm_source=letter", "photo=token&region=0,0,1,1", "q=&sample=&like="):
            assert api.get(f"{page}?{query}").status_code == 200

    def test_a_photo_is_never_written_to_disk(self, shelf, api, page, settings, monkeypatch):
        settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10
        monkeypatch.setattr("tempfile.NamedTemporaryFile", lambda *args, **options: pytest.fail("written"))
        assert api.post(page, {"image": photo()}).status_code == 200

    def test_no_free_slot_and_no_time_left(self, shelf, api, page, monkeypatch):
        slots = (BoundedSemaphore(1), BoundedSemaphore(2))
        monkeypatch.setattr(concurrency, "_semaphores", lambda: slots)
        monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.01)
        with concurrency.photo_slot():
            response = api.post(page, {"image": photo()})
            assert response.status_code == 503
            assert int(response["Retry-After"]) > 0
        ticks = iter(range(0, 1000, 6))
        monkeypatch.setattr(concurrency, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
        response = api.post(page, {"image": photo()})
        assert response.status_code == 503
        assert "too long" in response.content.decode()

    def test_a_view_of_another_shop(self, rf):
        @limit_uploads("look")
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(type(request.FILES["image"]).__name__)

        request = rf.post("/", {"image": photo()})
        request._dont_enforce_csrf_checks = True
        assert view(request).content == b"InMemoryUploadedFile"
        response = view(rf.post("/", b"", CONTENT_LENGTH="30000000", content_type="multipart/form-data; boundary=b"))
        assert (response.status_code, response["Content-Type"]) == (413, "text/plain; charset=utf-8")

    @pytest.mark.parametrize("scope", ["serch", lambda request: None], ids=["misspelled", "without a scope"])
    def test_a_view_with_a_scope_that_does_not_exist(self, scope):
        """Its requests would not be counted anywhere."""
        with pytest.raises(ConfigurationError, match=r"takes 'events', 'look', 'refused', .*, not "):
            limit_uploads(scope)

    @pytest.mark.parametrize("server", ["wsgi", "asgi"])
    @pytest.mark.parametrize("kind", ["function", "class"])
    def test_an_async_view(self, shelf, settings, server, kind, monkeypatch):
        """Its response must not be a coroutine, which Django refuses."""
        slots = (BoundedSemaphore(1), BoundedSemaphore(1))  # one slot, which the call in the view must not wait for
        monkeypatch.setattr(concurrency, "_semaphores", lambda: slots)
        monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.01)

        class Searching(View):
            async def post(self, request: HttpRequest) -> HttpResponse:
                assert concurrency._deadline.get() is not None
                found = await imagesim.asearch(image=request.FILES["image"], limit=1)
                return HttpResponse(found[0].item.name)

        view = limit_uploads("look")(Searching().post if kind == "function" else Searching.as_view())
        settings.ROOT_URLCONF = (path("", view),)
        post = Client().post if server == "wsgi" else async_to_sync(AsyncClient().post)
        assert post("/", {"image": photo()}).content == b"navy"

    @pytest.mark.parametrize("charset", ["hex", "rot13", "idna", "undefined"])
    @pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/x-www-form-urlencoded"])
    def test_a_form_in_what_is_no_character_set(self, rf, kind, charset):
        body = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nnavy\r\n--b--\r\n'
        request = rf.generic("POST", "/", body, content_type=f"{kind}; charset={charset}")
        response = limit_uploads("look")(lambda request: HttpResponse(request.POST))(request)
        assert response.status_code == 415


class TestNotAvailable:
    def test_without_an_index(self, shelf, api, caplog):
        shop.drop_index()
        red = similar(shelf["red"])
        for response in (api.get(SEARCH, {"q": "red"}), api.post(SEARCH, {"image": photo()}), api.get(red)):
            refused(response, 503, "index_missing")
            assert int(response["Retry-After"]) > 0
        (record,) = caplog.records  # one for all three of a minute; Django would add one for each
        assert (record.name, record.levelname) == ("imagesim.rest.base", "ERROR")
        assert "Search is not available (index_missing)" in record.getMessage()

    def test_an_outage_is_logged_once(self, shelf, api, monkeypatch, caplog):
        """The refusals of the open circuit breaker, too, would otherwise be errors of their own."""
        monkeypatch.setattr("imagesim.indexes.local.LocalIndex.search", Mock(side_effect=IndexUnavailable("gone")))
        red = similar(shelf["red"])
        assert [api.get(red).json()["code"] for _ in range(5)] == 3 * ["index_unavailable"] + 2 * ["circuit_open"]
        assert [each.levelname for each in caplog.records if each.name == "imagesim.rest.base"] == ["ERROR"]

    def test_the_cause_is_only_logged(self, shelf, api, monkeypatch, caplog):
        def embed_texts(self, texts):
            raise EmbedderError("weights at /srv/secret/model.bin are unreadable.")

        monkeypatch.setattr("tests.embedders.PixelEmbedder.embed_texts", embed_texts)
        assert "secret" not in refused(api.get(SEARCH, {"q": "red"}), 503, "embedder")
        assert "secret" in caplog.text

    @pytest.mark.parametrize("method", ["get_queryset", "get_hit_queryset"])  # the item, and the hits
    def test_without_the_database_of_the_items(self, shelf, api, monkeypatch, caplog, method):
        error = OperationalError("connection to 10.0.0.7 refused")
        monkeypatch.setattr(registry.for_model(Product), method, Mock(side_effect=error))
        response = api.get(similar(shelf["red"]))
        assert "10.0.0.7" not in refused(response, 503, "index_unavailable")
        assert int(response["Retry-After"]) > 0
        assert "10.0.0.7" in caplog.text

    @pytest.mark.parametrize(
        ("method", "shown", "nothing"), [("get_details", "details", {}), ("get_categories", "category", None)]
    )
    def test_a_hit_on_which_the_shops_code_fails_is_shown_without(
        self, shelf, api, monkeypatch, caplog, method, shown, nothing
    ):
        items = registry.for_model(Product)
        asked = getattr(items, method)
        monkeypatch.setattr(items, method, lambda item: asked(item if item.name != "blue" else item.nothing))
        found = api.get(SEARCH, {"q": "red"}).json()["results"]
        values = {each["item"]["name"]: each["item"][shown] for each in found}
        assert values["blue"] == nothing != values["red"]
        assert f"ProductItems.{method}() fails for {key_of(shelf['blue'])}" in caplog.text

    def test_details_of_none_are_empty(self, shelf, api, monkeypatch):
        """Otherwise, the scripts of a page could not show any of the results."""
        monkeypatch.setattr(registry.for_model(Product), "get_details", lambda item: None)
        assert [each["item"]["details"] for each in api.get(SEARCH, {"q": "red"}).json()["results"]] == [{}] * 4

    def test_an_unknown_component_is_named_in_the_language_of_the_visitor(self, shelf, api):
        said = api.get(SEARCH, {"q": "red", "components": "foo^0"}, headers={"accept-language": "de"})
        assert refused(said, 400, "bad_query", "components") == "Das Modell hat keine Komponente 'foo'; es hat nichts."

    def test_a_programming_error_is_a_500(self, shelf, monkeypatch):
        monkeypatch.setattr(type(get_index()), "search", lambda self, queries, **given: 1 / 0)
        assert Client(raise_request_exception=False).get(SEARCH, {"q": "red"}).status_code == 500


class TestMixedQueries:
    def test_several_pictures_and_unlike(self, shelf, api):
        plain = api.post(SEARCH, {"image": photo("red")})
        mixed = api.post(SEARCH, {"image": [photo("blue"), photo("navy")], "unlike": [photo("red"), "tomato^0.1"]})
        assert found(plain)[0] == "red"
        assert found(mixed)[0] in ("blue", "navy")
        assert found(mixed)[-1] in ("red", "tomato")
        beside = api.post(SEARCH, {"image": photo("red"), "like": [f"shop.product:{shelf['navy'].pk}^9", "blue^0.5"]})
        assert found(beside)[0] == "navy"

    def test_query_string_and_json(self, shelf, api):
        by_address = api.get(SEARCH, {"q": "red", "like": "blue^8", "limit": 1})
        by_json = api.post(
            SEARCH, {"text": "red", "like": ["blue^8"], "limit": 1, "components": {}}, content_type="application/json"
        )
        assert found(by_address) == found(by_json) == ["blue"]
        assert found(api.get(similar(shelf["red"]), {"unlike": "tomato^3", "limit": 1})) != ["tomato"]

    def test_fallback_stages_are_named(self, shelf, api):
        answer = api.get(similar(shelf["red"]), {"category": "hats", "fallback": "true"})
        first, *rest = [(hit["item"]["name"], hit["stage"]) for hit in answer.json()["results"]]
        assert first == ("navy", "")
        assert {stage for _name, stage in rest} == {"wider"}
        assert found(api.get(similar(shelf["red"]), {"category": "hats", "fallback": "parent,wider"})) == found(answer)

    def test_facets_and_diversity(self, shelf, api):
        answer = api.get(SEARCH, {"q": "red", "facets": ["category", "price"], "diversity": "0.5", "in_stock": "true"})
        assert answer.json()["facets"] == {
            "category": {
                "kind": "keyword",
                "count": 3,
                "values": [{"value": "shoes", "count": 2}, {"value": "hats", "count": 1}],
                "more": False,
                "minimum": None,
                "maximum": None,
            },
            "price": {"kind": "number", "count": 3, "values": [], "more": False, "minimum": 10.0, "maximum": 40.0},
        }


class TestEvents:
    @pytest.fixture
    def on(self, settings) -> None:
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}

    def test_events_are_stored_with_the_token(self, shelf, api, on):
        answer = api.get(similar(shelf["red"])).json()
        events = [
            {"token": answer["token"], "kind": "view", "item": f"shop.product:{hit['item']['pk']}", "position": place}
            for place, hit in enumerate(answer["results"])
        ]
        for stored in (3, 0):  # sent twice, kept once
            response = api.post(EVENTS, {"events": events}, content_type="application/json")
            assert (response.status_code, response.json()) == (200, {"stored": stored})
        assert api.post(EVENTS, events[:1], content_type="application/json").json() == {"stored": 0}
        kept = Event.objects.order_by("position").values_list("source", "query_key", "position")
        assert list(kept) == [("similar", f"shop.product:{shelf['red'].pk}", place) for place in range(3)]

    def test_every_interface_gives_a_token(self, shelf, api, on):
        assert api.get(SEARCH, {"q": "red"}).json()["token"]
        assert api.post("/api/visual/look/", {"image": photo()}).json()["token"]

    @pytest.mark.parametrize(
        "body",
        [
            *("{", "[]", "{}", '"view"', '{"events": {}}', '{"events": [7]}', '{"events": [{}]}'),
            '{"events": [{"token": [], "kind": {}, "item": 1, "position": null}]}',
        ],
    )
    def test_a_bad_batch_stores_nothing(self, api, on, body):
        response = api.post(EVENTS, body, content_type="application/json")
        assert response.status_code == 400
        assert response.json()["code"] in ("bad_query", "parse_error")
        assert not Event.objects.exists()

    @pytest.mark.parametrize("item", ["shop.product:\0", "shop.product:\ud800"])
    def test_an_impossible_item_key(self, shelf, api, on, item):
        token = api.get(SEARCH, {"q": "red"}).json()["token"]
        event = {"token": token, "kind": "view", "item": item, "position": 0}
        refused(
            api.post(EVENTS, json.dumps({"events": [event]}), content_type="application/json"), 400, "bad_query", "item"
        )

    def test_a_database_that_may_only_be_read(self, api, on, monkeypatch):
        """PostgreSQL reports it by another error than other databases."""
        error = InternalError("cannot execute INSERT in a read-only transaction")
        error.__cause__ = Exception()
        error.__cause__.sqlstate = "25006"
        monkeypatch.setattr("imagesim.events.store", Mock(side_effect=error))
        body = {"events": [{}]}
        refused(api.post(EVENTS, body, content_type="application/json"), 503, "index_unavailable")

    def test_only_json_posts_are_accepted(self, api, on):
        refused(api.post(EVENTS, {"events": "x"}), 415, "unsupported_media_type")
        refused(api.get(EVENTS), 405, "method_not_allowed")

    def test_not_found_while_events_are_disabled(self, api):
        refused(api.post(EVENTS, {"events": []}, content_type="application/json"), 404, "not_found")

    def test_throttled_separately(self, api, settings):
        throttles = {**settings.IMAGESIM["REST_THROTTLES"], "events": "1/min"}
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True, "REST_THROTTLES": throttles}
        api.post(EVENTS, {"events": []}, content_type="application/json")
        refused(api.post(EVENTS, {"events": []}, content_type="application/json"), 429, "throttled")


def test_head_has_the_headers_of_get(api, shelf, monkeypatch):
    monkeypatch.setattr(time, "perf_counter", float)  # `took_ms` of both is 0.0: its digits count in Content-Length
    for address in (f"{similar(shelf['red'])}?limit=1", "/api/visual/suggest/?q=re", "/api/visual/schema/"):
        assert dict(api.head(address).headers) == dict(api.get(address).headers)


@pytest.mark.parametrize("name", ["similar", "item_regions"])
def test_a_primary_key_can_contain_a_slash(name):
    match = resolve(reverse(f"imagesim:{name}", args=["shop.part", "A/7"]))
    assert (match.url_name, match.kwargs) == (name, {"model": "shop.part", "pk": "A/7"})


class TestPrefixWithArguments:
    """``path("<slug:tenant>/api/", include("imagesim.rest.urls"))``."""

    @pytest.fixture
    def tenant(self, shelf, settings):
        def page(request: HttpRequest, tenant: str, pk: int) -> HttpResponse:
            text = "{% load imagesim %}{% search_bar action='/' %}{% shop_the_look %}"
            return HttpResponse(engines["django"].from_string(text).render({}, request))

        urlconf = ModuleType("tenant_urls")
        urlconf.urlpatterns = [
            path("<slug:tenant>/api/", include("imagesim.rest.urls")),
            path("<slug:tenant>/products/<int:pk>/", page),
        ]
        settings.ROOT_URLCONF = urlconf
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}

    @pytest.mark.usefixtures("tenant")
    def test_every_url_responds(self, shelf):
        client = Client(raise_request_exception=True)
        similar = f"/acme/api/items/shop.product/{shelf['red'].pk}/similar/"
        signed = _sign(key_of(shelf["red"]), shelf["red"].photos.get().file.name)
        for address in (
            similar,
            "/acme/api/suggest/?q=re",
            "/acme/api/schema/",
            f"/acme/api/thumbnail/{signed}/?width=320",
        ):
            assert client.get(address).status_code == 200, address
        assert client.post("/acme/api/events/", {"events": []}, content_type="application/json").status_code < 500

    def test_the_next_page_of_a_path_with_reserved_characters(self, shelf, settings):
        settings.ROOT_URLCONF = urlconf = ModuleType("quoted_urls")
        urlconf.urlpatterns = [path("<str:tenant>/api/", include("imagesim.rest.urls"))]
        client = Client(raise_request_exception=True)
        address = f"/50%25%3Foff/api/items/shop.product/{shelf['red'].pk}/similar/?limit=1"

        following = client.get(address).json()["next"]

        assert following == f"http://testserver{address}&offset=1"
        assert client.get(following).status_code == 200

    @pytest.mark.usefixtures("tenant")
    def test_a_page_reverses_the_urls_of_its_tenant(self, shelf):
        html = Client().get(f"/acme/products/{shelf['red'].pk}/").content.decode()
        for name in ("suggest/", "look/", "look/TOKEN/region/", "events/"):
            assert f'"/acme/api/{name}"' in html, name


def renamed(result: dict[str, Any], generator: SchemaGenerator, **kwargs: Any) -> dict[str, Any]:
    generator.registry._components["VisualSearchHits", "schemas"].schema["properties"] = {"nextOffset": {}}
    return result


def of_the_project(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [each for each in endpoints if each[0].startswith("/api/v1/")]


class TestSchema:
    @pytest.fixture
    def document(self, rf) -> dict[str, Any]:
        from imagesim.rest.urls import urlpatterns

        view = next(pattern for pattern in urlpatterns if pattern.name == "schema").callback
        response = view(rf.get("/some/where/schema/", {"format": "json"}))
        return json.loads(response.render().content)

    def test_valid_and_without_warnings(self, document):
        GENERATOR_STATS.reset()
        validate_schema(document)
        assert not GENERATOR_STATS

    def test_paths(self, document):
        assert set(document["paths"]) == {
            "/some/where/items/{model}/{pk}/similar/",
            "/some/where/items/{model}/{pk}/regions/",
            "/some/where/search/",
            "/some/where/suggest/",
            "/some/where/look/",
            "/some/where/look/{token}/",
            "/some/where/look/{token}/photo/",
            "/some/where/look/{token}/region/",
            "/some/where/events/",
        }

    def test_filters_of_the_shop(self, document):
        operation = document["paths"]["/some/where/items/{model}/{pk}/similar/"]["get"]
        names = {parameter["name"] for parameter in operation["parameters"]}
        assert {"model", "pk", "limit", "offset", "category", "same_category", "in_stock"} <= names
        assert {"brand", "brand__in", "brand__not_in", "price", "price__gte", "price__lte", "colour"} <= names
        assert "brand__lte" not in names
        form = document["paths"]["/some/where/search/"]["post"]["requestBody"]["content"]
        assert form["multipart/form-data"]["schema"]["properties"]["image"]["items"]["format"] == "binary"
        assert "price__lte" in form["application/json"]["schema"]["properties"]
        form = document["paths"]["/some/where/look/"]["post"]["requestBody"]["content"]
        assert {"image", "regions", "point", "brand"} <= set(form["multipart/form-data"]["schema"]["properties"])

    def test_responses_match_the_schema(self, document, shelf, api):
        import jsonschema

        components = document["components"]["schemas"]
        hits = {**components["VisualSearchHits"], "components": {"schemas": components}}
        for asked in ({"q": "red"}, {"q": "red", "facets": "true"}):
            jsonschema.Draft202012Validator(_nullable(hits)).validate(api.get(SEARCH, asked).json())
        error = api.get(SEARCH).json()
        jsonschema.Draft202012Validator(components["VisualSearchError"]).validate(error)

    def test_examples_for_success_and_failure(self, document):
        responses = document["paths"]["/some/where/search/"]["post"]["responses"]
        assert set(responses) == {"200", "400", "401", "403", "404", "411", "413", "415", "429", "503"}
        for response in responses.values():
            assert response["content"]["application/json"]["examples"]

    def test_included_in_the_schema_of_a_project(self):
        """A project that describes all its views can include ours, with its own way of naming primary keys."""
        GENERATOR_STATS.reset()
        document = SchemaGenerator(patterns=[path("shop/", include("imagesim.rest.urls"))]).get_schema(public=True)
        validate_schema(document)
        assert not GENERATOR_STATS
        assert "/shop/items/{model}/{id}/similar/" in document["paths"]

    @pytest.mark.parametrize("split", [False, True])
    def test_components_of_the_same_name_in_a_project_stay(self, split):
        """Otherwise, a client generated from the project's schema would read the project's answers in our form."""
        names = ("Item", "Hit", "Facet", "Box", "Message", "Size", "Event", "Events", "Stored", "Error", "Look")
        endpoints = [path("visual/", include("imagesim.rest.urls"))]
        for name in names:
            made = type(f"{name}Serializer", (serializers.Serializer,), {"own": serializers.CharField()})
            members = {"serializer_class": made, "schema": AutoSchema(), "post": lambda self, request: None}
            view = type(f"{name}View", (GenericAPIView,), members)
            endpoints.append(path(f"{name.lower()}/", view.as_view()))
        GENERATOR_STATS.reset()
        with patched_settings({"COMPONENT_SPLIT_REQUEST": split}):
            document = SchemaGenerator(patterns=endpoints).get_schema(public=True)
        assert not GENERATOR_STATS
        components = document["components"]["schemas"]
        assert [list(components[name]["properties"]) for name in names] == [["own"]] * len(names)

    def test_hooks_of_the_project_are_for_its_own_views(self, client):
        """A hook that renames fields as the project's renderer does would describe names that none of our answers
        has."""
        plain = client.get("/api/visual/schema/").content
        hooks = {"POSTPROCESSING_HOOKS": [f"{__name__}.renamed"], "PREPROCESSING_HOOKS": [f"{__name__}.of_the_project"]}
        with patched_settings({**hooks, "APPEND_PATHS": {"/more/": {}}}):
            assert client.get("/api/visual/schema/").content == plain

    def test_served(self, client):
        response = client.get("/api/visual/schema/", {"format": "json"})
        assert response.status_code == 200
        assert "/api/visual/search/" in response.json()["paths"]

    @pytest.mark.parametrize("kind", ["json", "yaml", "vnd.oai.openapi", "vnd.oai.openapi+json"])
    def test_served_as_asked_for(self, client, kind):
        response = client.get("/api/visual/schema/", headers={"accept": f"application/{kind}"})
        assert response.status_code == 200
        assert response["Content-Type"].startswith(f"application/{kind}")


def test_no_endpoint_is_in_a_transaction_of_the_request(monkeypatch):
    """The transaction would stay open during an embedding, or while a thumbnail is made from a file on another
    server."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    endpoints = {"search": (), "look": (), "events": (), "similar": ("shop.product", "1"), "thumbnail": ("x",)}
    for name, arguments in endpoints.items():
        view = resolve(reverse(f"imagesim:{name}", args=arguments)).func
        assert BaseHandler().make_view_atomic(view) is view


def test_drf_spectacular_need_not_be_installed_as_an_app():
    assert "imagesim" not in api_settings.DEFAULT_SCHEMA_CLASS.__module__


@pytest.mark.slow
def test_the_package_needs_neither_drf_nor_spectacular():
    script = (
        "import sys\n"
        "for name in ('rest_framework', 'drf_spectacular'): sys.modules[name] = None\n"
        "import django\n"
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['django.contrib.contenttypes', 'django.contrib.auth', 'imagesim'])\n"
        "django.setup()\n"
        "import imagesim, imagesim.retrieval\n"
        "imagesim.search, imagesim.similar_to\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_web_process_imports_no_unused_model_or_engine():
    script = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup()\n"
        "import imagesim.retrieval, imagesim.rest.urls\n"
        "sys.exit(', '.join({'torch', 'open_clip', 'elasticsearch'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class NoHats(BasePermission):
    def has_object_permission(self, request: Any, view: Any, obj: Product) -> bool:
        if obj.category.slug == "hats":
            raise Http404
        return True


def changes_in_place(request: Any, arguments: dict[str, Any]) -> None:
    arguments["limit"] = 1


def only_cheap(request: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Sell nothing that costs more than 20 to this visitor, and do not reveal any brands."""
    given = arguments.get("filters", {})
    if "brand" in given:
        raise PermissionDenied
    most = min(20, given.get("price__lte", 20))
    return arguments | {"filters": given | {"price__lte": most}}


def _signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _nullable(schema: Any) -> Any:
    """Return OpenAPI 3.0's ``nullable`` in the form of JSON Schema."""
    if isinstance(schema, list):
        return [_nullable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _nullable(value) for key, value in schema.items()}
    if schema.pop("nullable", False):
        if "type" not in schema:  # a reference
            return {"anyOf": [schema, {"type": "null"}]}
        schema["type"] = [schema["type"], "null"]
    return schema


VALUES = {
    "facets": [datetime(2024, 2, 29, 12, 30, 1, 250_000, tzinfo=timezone.utc), date(2024, 2, 29)],
    "details": {"price": Decimal("9.90"), "badge": gettext_lazy("Sold out"), "name": "Größe “M”"},
    "score": 0.5033046999999999,
    "more": [None, True, ReturnDict({"x": 1}, serializer=None)],
    "large": 2**70,
    "numbered": {7: "by number"},
}


@pytest.mark.parametrize("media_type", ["application/json", "application/json; indent=2"])
def test_answers_are_written_as_rest_framework_writes_them(media_type):
    for values in (VALUES, *({name: value} for name, value in VALUES.items()), None):
        assert AnswerRenderer().render(values, media_type) == JSONRenderer().render(values, media_type)


def test_settings_of_rest_framework_for_json_hold(monkeypatch):
    for name, value in (("compact", False), ("ensure_ascii", True)):
        monkeypatch.setattr(JSONRenderer, name, value)
        assert AnswerRenderer().render(VALUES) == JSONRenderer().render(VALUES)
