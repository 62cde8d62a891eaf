"""The facets of a look: what the relevant items of each region have, counted in the request that finds them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.template import Context, Template
from PIL import Image

import imagesim
from demo_shop.shop.models import Product
from imagesim.exceptions import BadQuery, ConfigurationError
from imagesim.indexes import get_index
from imagesim.items.registry import registry
from imagesim.retrieval import look
from imagesim.retrieval.facets import count_values
from imagesim.types import Candidate, Facet, Hits, Query
from tests import shop
from tests.regions import FINDER, hat_and_shoes
from tests.shop import encoded, product

pytestmark = pytest.mark.django_db

SHOES = (0.2, 0.8, 0.6, 0.15)
HAT = (1 / 3, 0.1, 1 / 3, 0.1)


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
        name: product(
            name,
            Image.new("RGB", (64, 64), shade),
            category=category,
            brand=brand,
            colour=colour,
            price=price,
            stock=stock,
        )
        for name, shade, category, brand, colour, price, stock in (
            ("red shoe", "red", "shoes", "Acme", "red", 10, 3),
            ("dark shoe", "darkred", "shoes", "Acme", "brown", 30, 3),
            ("old shoe", "firebrick", "shoes", "Zeta", "brown", 20, 0),
            ("plain shoe", "crimson", "shoes", "", "", 40, 3),
            ("red dress", "red", "dresses", "Lola", "red", 90, 3),
            ("blue hat", "blue", "hats", "Acme", "blue", 15, 3),
            ("green sofa", "green", "sofas", "Sit", "green", 400, 3),
        )
    }
    shop.index()
    return made


@pytest.fixture
def photo() -> Image.Image:
    return hat_and_shoes()


@pytest.fixture
def requests(monkeypatch) -> list[list[Query]]:
    """The queries of each request to the index."""
    index, found = get_index(), []
    search = index.search
    monkeypatch.setattr(index, "search", lambda asked, **given: (found.append(list(asked)), search(asked, **given))[1])
    return found


def counts(hits: Hits) -> dict[str, dict[Any, int]]:
    return {name: dict(facet.values) for name, facet in hits.facets.items()}


class TestCounts:
    def test_they_are_of_each_region(self, shelf, photo):
        seen = imagesim.shop_the_look(photo, facets=["brand", "colour", "price", "category", "in_stock"])
        shoes, hat = (each.hits.facets for each in seen.regions)
        assert shoes["brand"] == Facet("keyword", 3, (("Acme", 2), ("Zeta", 1)))
        assert shoes["colour"] == Facet("keyword", 3, (("brown", 2), ("red", 1)))
        assert shoes["price"] == Facet("number", 4, minimum=10.0, maximum=40.0)
        assert shoes["category"] == Facet("keyword", 4, (("shoes", 4),))
        assert shoes["in_stock"] == Facet("boolean", 4, ((True, 3), (False, 1)))
        assert hat["brand"].values == (("Acme", 1),)
        assert dict(seen.hits.facets["brand"].values) == {"Acme": 3, "Zeta": 1, "Lola": 1, "Sit": 1}

    def test_they_are_of_the_relevant_items_beyond_the_page_too(self, shelf, photo):
        (few,) = imagesim.shop_the_look(photo, regions=[SHOES], limit=1, category="shoes", facets=["brand"]).regions
        assert len(few.hits) == 1
        assert counts(few.hits) == {"brand": {"Acme": 2, "Zeta": 1}}
        (none,) = imagesim.shop_the_look(photo, regions=[SHOES], min_relevance=1.0, facets=["brand"]).regions
        assert none.hits.facets == {"brand": Facet("keyword")}

    def test_a_field_is_counted_without_its_own_condition(self, shelf, photo):
        def counted(**filters: Any) -> dict[str, dict[Any, int]]:
            seen = imagesim.shop_the_look(photo, filters=filters, facets=["brand", "colour", "price"])
            return {name: seen.regions[0].hits.facets[name] for name in ("brand", "colour", "price")}

        one = counted(brand="Zeta")
        assert dict(one["brand"].values) == {"Acme": 2, "Zeta": 1}
        assert dict(one["colour"].values) == {"brown": 1}
        assert (one["price"].minimum, one["price"].maximum) == (20, 20)
        two = counted(brand__in=["Acme"], colour="brown")
        assert dict(two["brand"].values) == {"Acme": 1, "Zeta": 1}
        assert dict(two["colour"].values) == {"brown": 1, "red": 1}
        priced = counted(price__lte=20)
        assert dict(priced["brand"].values) == {"Acme": 1, "Zeta": 1}
        assert (priced["price"].minimum, priced["price"].maximum) == (10, 40)

    def test_so_are_the_category_and_the_stock(self, shelf, photo):
        seen = imagesim.shop_the_look(
            photo, category="shoes", in_stock=True, whole=False, facets=["category", "in_stock", "brand"]
        )
        found = counts(seen.regions[0].hits)
        assert found["category"] == {"shoes": 3, "dresses": 1, "hats": 1, "sofas": 1}
        assert found["in_stock"] == {True: 3, False: 1}
        assert found["brand"] == {"Acme": 2}

    def test_what_the_categories_of_a_label_lack_is_counted_in_all(self, shelf, monkeypatch):
        monkeypatch.setattr(look, "label_categories", lambda searched, region: ("beds",))
        (region,) = imagesim.shop_the_look(
            Image.new("RGB", (90, 90), "red"), regions=[SHOES], whole=False, facets=["category"]
        ).regions
        assert counts(region.hits)["category"] == {"shoes": 4, "dresses": 1, "hats": 1, "sofas": 1}

    def test_all_fields_or_an_unknown_one(self, shelf, photo):
        seen = imagesim.shop_the_look(photo, facets=True)
        assert set(seen.hits.facets) == {"category", "in_stock", "brand", "price", "colour"}
        with pytest.raises(BadQuery, match="size") as caught:
            imagesim.shop_the_look(photo, facets=["size"])
        assert caught.value.field == "facets"

    @pytest.mark.parametrize("asked", [True, ["new", "brand"]])
    def test_a_filter_that_the_index_does_not_know_yet(self, shelf, photo, monkeypatch, asked):
        """A page with a menu for it finds things in photos all along, and not only after the rebuild."""
        items = registry.for_model(Product)
        monkeypatch.setattr(type(items), "filters", {**items.filters, "new": "brand"})
        monkeypatch.setattr(items, "kinds", {**items.kinds, "new": "keyword"})
        facets = imagesim.shop_the_look(photo, facets=asked).hits.facets
        assert facets["brand"].count
        assert "new" not in facets


class TestChoosing:
    """A value that is offered has results."""

    def test_a_region_keeps_its_kind_where_no_item_of_it_has_the_value(self, shelf, photo):
        """A hat that is chosen in blue must not show blue shoes as hats, nor disappear from the photo."""
        seen = imagesim.shop_the_look(photo, filters={"colour": "red"}, facets=["colour"], min_relevance=0.01)
        shoes, hat = seen.regions
        assert [hit.item.name for hit in shoes.hits if not hit.stage] == ["red shoe"]
        assert hat.region.label == "hat"
        assert {hit.stage for hit in hat.hits} <= {"wider"}
        assert counts(hat.hits) == {"colour": {"blue": 1}}
        plain = imagesim.shop_the_look(photo, filters={"colour": "red"}, min_relevance=0.01).regions
        assert "hat" not in [each.region.label for each in plain]  # without facets it is not known

    def test_so_it_does_where_the_values_of_two_facets_leave_out_all_of_it(self, shelf, photo):
        """Neither facet counts a hat then: none is red, and none is by Lola."""
        given = {"filters": {"colour": "red", "brand": "Lola"}, "facets": ["colour", "brand"], "min_relevance": 0.01}
        shoes, hat = imagesim.shop_the_look(photo, **given).regions
        assert (shoes.region.label, hat.region.label) == ("shoes", "hat")
        assert {hit.stage for hit in hat.hits} <= {"wider"}
        assert counts(hat.hits) == {"colour": {}, "brand": {}}

    def test_every_value_that_is_counted_has_results(self, photo):
        """The only grey shoe is relevant among shoes; among grey things, it would be one of many kinds."""
        for number in range(12):
            product(f"red {number}", Image.new("RGB", (64, 64), "red"), category="shoes", colour="red")
        for category in ("shoes", "hats", "sofas", "dresses"):
            product(f"grey {category}", Image.new("RGB", (64, 64), "purple"), category=category, colour="grey")
        shop.index()
        asked = {"regions": [SHOES], "whole": False, "min_relevance": 0.4}
        (region,) = imagesim.shop_the_look(photo, **asked, facets=["colour"]).regions
        offered = counts(region.hits)["colour"]
        assert offered == {"red": 12, "grey": 1}
        grey = {"filters": {"colour": "grey"}}
        (chosen,) = imagesim.shop_the_look(photo, **asked, **grey, facets=["colour"]).regions
        assert [hit.item.name for hit in chosen.hits] == ["grey shoes"]
        assert counts(chosen.hits)["colour"] == offered
        (plain,) = imagesim.shop_the_look(photo, **asked, **grey).regions
        assert not plain.hits

    def test_so_has_that_of_a_variant(self, photo):
        """Without any condition, the red variant, which is sold out, stands for both."""
        red, grey = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "purple")
        for number in range(12):
            product(f"red {number}", red, category="shoes", colour="red")
        sold = product("sold", red, category="shoes", colour="red", stock=0)
        for category in ("shoes", "hats", "sofas", "dresses"):
            parent = sold if category == "shoes" else None
            product(f"grey {category}", grey, category=category, colour="grey", parent=parent)
        shop.index()
        asked = {"regions": [SHOES], "whole": False, "min_relevance": 0.4, "in_stock": True}
        fields = ["colour", "in_stock"]
        (region,) = imagesim.shop_the_look(photo, **asked, facets=fields).regions
        assert counts(region.hits)["colour"] == {"red": 12, "grey": 1}
        (chosen,) = imagesim.shop_the_look(photo, **asked, filters={"colour": "grey"}, facets=fields).regions
        assert [hit.item.name for hit in chosen.hits] == ["grey shoes"]


class TestCost:
    def test_one_request_for_everything(self, shelf, photo, requests):
        imagesim.shop_the_look(photo, limit=4)
        [plain] = requests
        requests.clear()
        imagesim.shop_the_look(photo, limit=4, facets=["brand", "colour"])
        [counted] = requests
        assert {query.limit for query in counted} == {100}
        assert len(counted) == len(plain) == 5  # the photo, and each region in the categories of its label and in all
        requests.clear()
        imagesim.shop_the_look(photo, limit=4, facets=["brand", "colour"], filters={"brand": "Acme", "colour": "red"})
        assert [len(each) for each in requests] == [4 * 5]

    def test_a_look_without_facets_asks_for_no_values(self, shelf, photo, requests):
        seen = imagesim.shop_the_look(photo, limit=4, filters={"brand": "Acme"})
        assert [(query.fields, query.limit) for query in requests[0]] == [((), 20)] * 5
        assert seen.hits.facets == {}


def test_values_are_counted_as_an_index_counts_them():
    def entry(number: int, *values: Any, categories: tuple[str, ...] = ()) -> Candidate:
        return Candidate(f"shop.product:{number}", 1.0, "", "", "", categories=categories, values={"f": values})

    found = [entry(1, "b", "a"), entry(2, "b", ""), entry(3, ""), entry(4, categories=("x",))]
    assert count_values("f", "keyword", found) == Facet("keyword", 2, (("b", 2), ("a", 1)))
    assert count_values("category", "keyword", found) == Facet("keyword", 1, (("x", 1),))
    many = [entry(number, f"{number:03}") for number in range(101)]
    assert count_values("f", "keyword", many) == Facet(
        "keyword", 101, tuple((f"{number:03}", 1) for number in range(100)), more=True
    )


class TestOverRest:
    def test_the_answers_of_all_three_addresses(self, shelf, photo, client):
        image = io.BytesIO(encoded(photo))
        answer = client.post("/api/visual/look/", {"image": image, "facets": "brand,colour"}).json()
        shoes = next(each for each in answer["regions"] if each["label"] == "shoes")
        brand = {
            "kind": "keyword",
            "count": 3,
            "values": [{"value": "Acme", "count": 2}, {"value": "Zeta", "count": 1}],
            "more": False,
            "minimum": None,
            "maximum": None,
        }
        assert shoes["facets"]["brand"] == brand
        assert set(answer["facets"]) == {"brand", "colour"}
        address = f"/api/visual/look/{answer['photo']}/"
        held = client.post(address, {"facets": "brand,colour"}).json()
        assert [each["facets"] for each in held["regions"]] == [each["facets"] for each in answer["regions"]]
        box = {"region": json.dumps(SHOES), "label": "shoes", "facets": "brand", "brand": "Zeta"}
        region = client.post(f"{address}region/", box).json()
        assert region["facets"] == {"brand": brand}
        assert [hit["item"]["name"] for hit in region["results"] if not hit["stage"]] == ["old shoe"]
        assert client.post(f"{address}region/", {"region": box["region"]}).json()["facets"] == {}

    def test_a_field_that_nobody_declared(self, shelf, photo, client):
        answer = client.post("/api/visual/look/", {"image": io.BytesIO(encoded(photo)), "facets": "size"})
        assert (answer.status_code, answer.json()["field"]) == (400, "facets")


class TestTag:
    @pytest.fixture
    def rendered(self) -> Callable[..., str]:
        def render(**arguments: Any) -> str:
            given = " ".join(f"{name}={name}" for name in arguments)
            return Template(f"{{% load imagesim %}}{{% shop_the_look {given} %}}").render(Context(arguments))

        return render

    def test_a_menu_for_each(self, rendered):
        html = rendered(facets={"brand": 'By "Brand"', "colour": "Farbe"}, names={"colour": {"red": "<rot>"}})
        assert 'data-facets="brand,colour"' in html
        assert 'data-label="By &quot;Brand&quot;" data-names="{}" data-empty>' in html
        assert "&quot;red&quot;: &quot;&lt;rot&gt;&quot;" in html
        assert "&quot;blue&quot;: &quot;blue&quot;" in html  # the name of a measured colour
        assert html.count("data-palette") == 1
        assert html.count("imagesim/refine.js") == 1

    def test_none_by_default(self, rendered):
        html = rendered()
        for part in ("data-facets", "imagesim-refine", "refine.js", "data-imagesim-choice"):
            assert part not in html

    def test_names_by_the_keys_of_other_rows(self, rendered):
        """The values of a filter that ends in a relation are primary keys as texts."""
        html = rendered(facets={"brand": "Brand"}, names={"brand": {UUID(int=7): "Acme"}})
        assert f"&quot;{UUID(int=7)}&quot;: &quot;Acme&quot;" in html

    def test_a_page_without_these_variables(self, rendered):
        """Such as the page that refuses a photo: Django replaces variables that it does not have by the empty text."""
        assert "data-facets" not in rendered(facets="", names="")
        assert 'data-facets="brand"' in rendered(facets={"brand": "Brand"}, names="")

    @pytest.mark.parametrize("name", ["price", "size", "category"])
    def test_a_filter_that_has_no_texts(self, rendered, name):
        with pytest.raises(ConfigurationError, match=f"names '{name}'; it can name 'brand' or 'colour'"):
            rendered(facets={name: "Title"})
