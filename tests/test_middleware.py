"""The header of pages without their similar products."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpResponse
from django.urls import reverse

from demo_shop.shop.models import Product
from imagesim.exceptions import IndexUnavailable
from imagesim.indexes.local import LocalIndex
from imagesim.indexing.sync import sync
from imagesim.middleware import HEADER, DegradedHeader, degraded
from imagesim.pages import widgets
from tests.shop import EMBEDDER, picture, product

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


@pytest.fixture
def shoe(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}
    made = product("shoe", picture("red"))
    product("boot", picture("red"))
    Product.objects.update(active=True)
    sync()
    return made


def test_a_page_of_the_shop(client, shoe, monkeypatch, caplog):
    address = shoe.get_absolute_url()
    good = client.get(address)
    assert good.status_code == 200
    assert HEADER not in good

    def down(self, queries, **given):
        raise IndexUnavailable("Elasticsearch at es1 cannot be reached.")

    monkeypatch.setattr(LocalIndex, "search", down)
    poor = client.get(address)
    assert poor.status_code == 200
    assert poor[HEADER] == "index_unavailable"
    assert "es1 cannot be reached" in caplog.text  # the reason is only logged
    assert b"es1" not in poor.content
    monkeypatch.undo()
    assert HEADER not in client.get(address)


def test_a_rest_response(client, shoe, monkeypatch):
    def down(self, queries, **given):
        raise IndexUnavailable("down")

    monkeypatch.setattr(LocalIndex, "search", down)
    answer = client.get(reverse("imagesim:similar", args=["shop.product", shoe.pk]))
    assert (answer.status_code, answer[HEADER]) == (503, "index_unavailable")


def test_repeated_failures_are_reported_once(rf):
    def page(request):
        for code in ("index_unavailable", "embedder", "index_unavailable"):
            degraded(code)
        return HttpResponse()

    assert DegradedHeader(page)(rf.get("/"))[HEADER] == "index_unavailable, embedder"
    assert HEADER not in DegradedHeader(lambda request: HttpResponse())(rf.get("/"))


def test_an_async_view(rf):
    async def page(request):
        await sync_to_async(degraded)("index_unavailable")
        return HttpResponse()

    async def plain(request):
        return HttpResponse()

    async def ask():
        both = await asyncio.gather(DegradedHeader(page)(rf.get("/")), DegradedHeader(plain)(rf.get("/")))
        return [HEADER in each for each in both]

    assert asyncio.run(ask()) == [True, False]


def test_no_header_without_the_middleware(shoe, monkeypatch):
    def down(self, queries, **given):
        raise IndexUnavailable("down")

    monkeypatch.setattr(LocalIndex, "search", down)
    assert widgets.similar_hits(shoe).degraded == "down"
