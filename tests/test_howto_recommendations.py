"""The page about recommendations: its blocks are run in the shop of the tests."""

from __future__ import annotations

import re
import sys
from typing import Any
from unittest.mock import Mock

import pytest
from django.core import mail

from demo_shop.shop import models
from imagesim.exceptions import IndexUnavailable
from tests.shop import index, picture, product, shelf
from tests.test_howto import module
from tests.test_howto_project import block

PAGE = "howto-recommendations.md"

pytestmark = pytest.mark.django_db


@pytest.fixture
def similar_to_each():
    return module("shop.recommendations", PAGE, "# shop/recommendations.py").similar_to_each


@pytest.fixture
def products():
    made = shelf()
    made["mediumblue"] = product("mediumblue", picture("mediumblue"))
    index()
    return made


def names(hits: Any) -> list[str]:
    return [hit.item.name for hit in hits]


class TestProductsViewedLast:
    def test_hits_of_each_product_in_turn(self, similar_to_each, products):
        seen = [products["red"], products["blue"]]
        found = names(similar_to_each(seen))
        assert found[:2] == ["dark", "mediumblue"]
        assert len(found) == len(set(found))
        assert not {"red", "blue", "orange"} & {*found}  # orange is sold out
        assert names(similar_to_each(seen, limit=1)) == ["dark"]

    def test_a_product_without_embedding_is_skipped(self, similar_to_each, products):
        new = product("new")
        assert names(similar_to_each([new, products["red"]])) == names(similar_to_each([products["red"]])) != []
        assert similar_to_each([new]) == similar_to_each([]) == []

    def test_an_index_that_is_down_gives_nothing(self, similar_to_each, products, monkeypatch):
        monkeypatch.setattr("imagesim.similar_to", Mock(side_effect=IndexUnavailable("down")))
        assert similar_to_each([products["red"]]) == []


def test_an_email_has_complete_urls(similar_to_each, products, monkeypatch, tmp_path, settings):
    monkeypatch.setitem(sys.modules, "shop.models", models)
    (folder := tmp_path / "shop").mkdir()
    (folder / "reminder.html").write_text(block(PAGE, "{% for hit in hits %}"))
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [tmp_path]}]
    send_reminder = module("shop.tasks", PAGE, "# shop/tasks.py").send_reminder
    send_reminder("anna@shop.example", "de", [products["red"].pk])
    [sent] = mail.outbox
    [(html, _type)] = sent.alternatives
    urls = re.findall('(?:href|src)="(.*?)"', html)
    assert len(urls) == 2 * len(similar_to_each([products["red"]])) > 0
    assert all(url.startswith("https://shop.example/") for url in urls)
    send_reminder("ben@shop.example", "de", [])
    assert len(mail.outbox) == 1  # nothing to recommend
