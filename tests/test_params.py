from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.http import QueryDict
from django.utils import translation

from demo_shop.shop.models import Category, Product
from imagesim.exceptions import BadQuery
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.rest.inputs import describe
from imagesim.retrieval import params
from imagesim.retrieval.arguments import check_text
from imagesim.retrieval.params import LookArguments, SearchArguments, SearchRequest, SimilarArguments, SuggestArguments
from imagesim.types import Condition, Filters


class Money(NamedTuple):
    """Like the class in django-money and in prices."""

    amount: Decimal
    currency: str


class EveryKind(Items[Product]):
    images = "photos__file"
    filters = {"brand": "brand", "price": "price", "active": "active", "created": "created_at", "shelf": "category"}


@pytest.fixture(autouse=True)
def _every_kind(monkeypatch):
    monkeypatch.setitem(registry._items, Product, EveryKind(Product))


def build(**given: Any) -> SearchRequest:
    return SearchRequest.create("search", given)


def condition(**asked: Any) -> Condition:
    (only,) = build(filters=asked).filters
    return only


class TestBuild:
    def test_no_arguments(self):
        request = build()
        assert request.index_filters() == Filters()
        assert (request.limit, request.offset, request.min_score, request.exact) == (12, 0, None, None)
        assert (request.collapse, request.diversity, request.fallback, request.facets) == (True, 0.0, (), ())
        assert (request.like, request.unlike, request.components, request.text) == (None, None, {}, None)

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            ({"brand": "acme"}, Condition("brand", "eq", "acme")),
            ({"brand__eq": "acme"}, Condition("brand", "eq", "acme")),
            ({"brand__in": ["a", "b", "a"]}, Condition("brand", "in", ("a", "b"))),
            ({"brand__in": {"a"}}, Condition("brand", "in", ("a",))),
            ({"brand__in": (b for b in "ab")}, Condition("brand", "in", ("a", "b"))),
            ({"brand__in": []}, Condition("brand", "in", ())),
            ({"brand__not_in": ["a", "b", "a"]}, Condition("brand", "not_in", ("a", "b"))),
            ({"price__not_in": [5]}, Condition("price", "not_in", (5,))),
            ({"brand": ""}, Condition("brand", "eq", "")),
            ({"brand": 7}, Condition("brand", "eq", "7")),
            ({"shelf": Category(pk=7)}, Condition("shelf", "eq", "7")),
            ({"brand": uuid.UUID(int=1)}, Condition("brand", "eq", str(uuid.UUID(int=1)))),
            ({"price": 5}, Condition("price", "eq", 5)),
            ({"price__lte": Decimal("9.99")}, Condition("price", "lte", Decimal("9.99"))),
            ({"price__gt": -1.5}, Condition("price", "gt", -1.5)),
            ({"price__lte": Money(Decimal("9.99"), "EUR")}, Condition("price", "lte", Decimal("9.99"))),
            ({"active": True}, Condition("active", "eq", True)),
            ({"created__gte": date(2026, 1, 31)}, Condition("created", "gte", date(2026, 1, 31))),
            (
                {"created__lt": datetime(2026, 1, 31)},
                Condition("created", "lt", datetime(2026, 1, 31, tzinfo=timezone.utc)),
            ),
        ],
    )
    def test_conditions(self, asked, wanted, settings):
        settings.TIME_ZONE = "UTC"
        assert condition(**asked) == wanted

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ({"size": "L"}, ["no filter 'size'", "'active', 'brand', 'created', 'price' or 'shelf'"]),
            ({"size__lte": 1}, ["no filter 'size'"]),
            ({"price__near": 1}, ["'near' in 'price__near'", "'eq', 'gt', 'gte', 'in', 'lt', 'lte' or 'not_in'"]),
            ({"price__": 1}, ["'' in 'price__'"]),
            ({"__lte": 1}, ["no filter"]),
            ({"": 1}, ["no filter ''"]),
            ({7: 1}, ["filter's name"]),
            ({"brand__lte": "a"}, ["kind keyword", "'brand', 'brand__in' or 'brand__not_in'"]),
            ({"active__gt": True}, ["kind boolean"]),
            ({"active__not_in": [True]}, ["kind boolean"]),
            ({"price": "cheap"}, ["'price' is 'cheap'", "a number"]),
            ({"price": True}, ["'price' is True", "a number"]),
            ({"price": None}, ["'price' is None"]),
            ({"price": float("nan")}, ["a number"]),
            ({"price": float("inf")}, ["a number"]),
            ({"price": Decimal("sNaN")}, ["a number"]),
            ({"price": 10**400}, ["a number"]),
            ({"price": 10**5000}, ["a number too large"]),
            ({"price": [1]}, ["'price' takes one value; for several use 'price__in'"]),
            ({"brand": [1, 2]}, ["'brand' takes one value; for several use 'brand__in'"]),
            ({"brand__eq": ("a", "b")}, ["'brand__eq' takes one value; for several use 'brand__in'"]),
            ({"active": {True, False}}, ["'active' takes one value; for several use 'active__in'"]),
            ({"price__lte": [1, 2]}, ["'price__lte' is of type list", "a number"]),
            ({"brand": Category(pk=7)}, ["'brand' is of type Category", "text"]),
            ({"brand__in": [Category(pk=7)]}, ["'brand__in' is of type Category", "text"]),
            ({"shelf": Product(pk=7)}, ["'shelf' is of type Product", "text"]),
            ({"price__in": 5}, ["'price__in' is 5", "a list of values"]),
            ({"price__not_in": 5}, ["'price__not_in' is 5", "a list of values"]),
            ({"price__not_in": range(10_001)}, ["10001 values", "at most 10000"]),
            ({"price__in": "12"}, ["a list of values"]),
            ({"price__in": {"a": 1}}, ["a list of values"]),
            ({"price__in": [1, "x"]}, ["'price__in' is 'x'", "a number"]),
            ({"price__in": range(10_001)}, ["10001 values", "at most 10000"]),
            ({"active": 1}, ["True or False"]),
            ({"active": "yes"}, ["True or False"]),
            ({"created": "2026-01-31"}, ["a date or a datetime"]),
            ({"brand": True}, ["text"]),
            ({"brand": b"acme"}, ["of type bytes", "text"]),
            ({"brand": "a\0b"}, ["NUL"]),
            ({"brand": "\ud800"}, ["half of a surrogate pair"]),
            ({"brand": "x" * 501}, ["…", "text"]),
            ([("brand", "a")], ["of type list", "a dict"]),
            ("brand", ["'brand'", "a dict"]),
        ],
    )
    def test_invalid_arguments(self, asked, words):
        with pytest.raises(BadQuery) as caught:
            build(filters=asked)
        message = str(caught.value)
        assert message.endswith(".")
        assert len(message) < 400
        assert caught.value.field
        for word in words:
            assert word in message

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            (None, ()),
            ("shoes", ("shoes",)),
            (["shoes", "hats", "shoes"], ("shoes", "hats")),
            (("shoes",), ("shoes",)),
            (7, ("7",)),
            ([], ()),
            ("", ()),
            (" ", ()),
            (["", "shoes"], ("shoes",)),
            ([""], ()),
        ],
    )
    def test_categories(self, asked, wanted):
        assert build(category=asked).category == wanted

    @pytest.mark.parametrize(
        "asked", [True, 1.5, b"shoes", [None], [["shoes"]], {"a": 1}, "a\0", ["x"] * 10_001, object()]
    )
    def test_invalid_categories(self, asked):
        with pytest.raises(BadQuery) as caught:
            build(category=asked)
        assert caught.value.field == "category"

    def test_an_instance_of_a_category(self):
        expected = (
            "'category' is of type Category; it must be the text of a category, such as its slug, or a list of them."
        )
        for asked in (Category(slug="shoes"), [Category(slug="shoes")]):
            with pytest.raises(BadQuery, match=f"^{expected}$"):
                build(category=asked)

    @pytest.mark.parametrize("asked", [1, 0, "true", "", [], object()])
    def test_invalid_in_stock(self, asked):
        with pytest.raises(BadQuery, match="True, False or None"):
            build(in_stock=asked)

    def test_a_filter_of_another_model_is_unknown(self):
        with pytest.raises(BadQuery, match="no filter 'brand'; the known ones are nothing"):
            SearchRequest.create("similar", {"filters": {"brand": "x"}}, searched=())

    def test_a_filter_name_with_two_underscores(self, monkeypatch):
        class Odd(EveryKind):
            filters = {"price__lte": "price", "price": "price"}

        monkeypatch.setitem(registry._items, Product, Odd(Product))
        assert condition(price__lte=5) == Condition("price__lte", "eq", 5)
        assert condition(price__lte__gt=5) == Condition("price__lte", "gt", 5)


class TestPage:
    @pytest.mark.parametrize("limit", [1, 12, 100])
    @pytest.mark.parametrize("offset", [0, 1000])
    def test_valid(self, limit, offset):
        request = build(limit=limit, offset=offset)
        assert (request.limit, request.offset) == (limit, offset)

    @pytest.mark.parametrize("limit", [0, -1, 101, 10**9, "12", 1.0, True, None])
    def test_bad_limit(self, limit):
        with pytest.raises(BadQuery, match=r"'limit' is .* from 1 to 100"):
            build(limit=limit)

    @pytest.mark.parametrize("offset", [-1, 1001, "0", None, False])
    def test_bad_offset(self, offset):
        with pytest.raises(BadQuery, match=r"'offset' is .* from 0 to 1000"):
            build(offset=offset)

    @pytest.mark.parametrize("score", [-1, 0, 0.5, 1, Decimal("0.3"), None])
    def test_min_score(self, score):
        assert build(min_score=score).min_score == (None if score is None else float(score))

    @pytest.mark.parametrize("score", [1.01, -2, float("nan"), float("inf"), Decimal("NaN"), "0.5", True, [0.5]])
    def test_bad_min_score(self, score):
        with pytest.raises(BadQuery, match="from -1 to 1"):
            build(min_score=score)

    def test_switch(self):
        assert build(collapse=False).collapse is False
        assert build(exact=None).exact is None
        with pytest.raises(BadQuery, match="'collapse' is None; it must be True or False"):
            build(collapse=None)
        with pytest.raises(BadQuery, match="'exact' is 1; it must be True, False or None"):
            build(exact=1)

    @pytest.mark.parametrize("weight", [10, -10.0, 0])
    def test_weights_of_components(self, weight):
        assert build(components={"colour": weight}).components == {"colour": weight}
        assert build(components=f"colour^{weight}").components == {"colour": weight}

    @pytest.mark.parametrize("weight", [10.1, -11])
    def test_too_large_a_weight_of_a_component(self, weight):
        for given in ({"colour": weight}, f"colour^{weight}"):
            with pytest.raises(BadQuery, match="weights such as"):
                build(components=given)

    def test_a_call_rejects_arguments_of_other_calls(self):
        assert SearchRequest.create("look", {}).limit == 8
        with pytest.raises(TypeError, match=r"no argument 'same_category'; the arguments are .*'category'"):
            build(same_category=True)
        with pytest.raises(TypeError, match="no argument 'offset'"):
            SearchRequest.create("look", {"offset": 3})

    @pytest.mark.parametrize(
        ("call", "typed", "own"),
        [
            ("similar", SimilarArguments, set()),
            ("search", SearchArguments, set()),
            ("look", LookArguments, set()),
            ("suggest", SuggestArguments, {"text"}),
        ],
    )
    def test_type_checkers_know_the_same_arguments(self, call, typed, own):
        assert {*params.argument_names(call), "filters"} == {*typed.__annotations__, *own}

    def test_a_request_cannot_be_changed(self):
        with pytest.raises(FrozenInstanceError):
            build().limit = 3

    def test_the_cache_key_contains_all_arguments(self):
        product = Product(pk=3)
        given = [
            *({}, {"limit": 3}, {"offset": 3}, {"category": "hats"}, {"in_stock": True}, {"in_stock": False}),
            *({"filters": {"price__lte": 3}}, {"filters": {"price__gte": 3}}, {"min_score": 0.5}, {"collapse": False}),
            *(
                {"exact": True},
                {"like": product},
                {"like": Product(pk=4)},
                {"unlike": product},
                {"like": [(product, 2)]},
            ),
            *({"components": {"colour": 0}}, {"diversity": 0.5}, {"fallback": "wider"}, {"facets": True}),
            *({"text": "red"}, {"model": "shop.product"}),
        ]
        assert len({build(**each).cache_key for each in given}) == len(given)
        same = build(filters={"price__lte": 3, "brand": "a"}, like=Product(pk=3), fallback=("wider", "parent"))
        also = build(
            filters={"price__lte": 3, "brand": "a"}, like=Product(pk=3), fallback=("parent", "wider"), limit=12
        )
        assert same.cache_key == also.cache_key


class TestText:
    def test_normalisation(self):
        assert check_text("  red \n shoes\t") == "red shoes"

    @pytest.mark.parametrize("text", ["👟", "красные туфли", "x" * 500, "'; DROP TABLE--", "<script>", "%00"])
    def test_valid(self, text):
        assert check_text(text) == text

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "empty"),
            (" \n ", "empty"),
            ("x" * 501, "501 characters; send at most 500"),
            ("x" * 10_000, "10000 characters"),
            ("red\0shoes", "NUL"),
            ("\udc00", "half of a surrogate pair"),
            (7, "'text' is 7; it must be words"),
            (b"red", "of type bytes"),
            (None, "'text' is None"),
        ],
    )
    def test_invalid(self, text, words):
        with pytest.raises(BadQuery, match=words) as caught:
            check_text(text)
        assert caught.value.field == "text"


class TestParse:
    def parse(self, given: str | Mapping[str, Any]) -> dict[str, Any]:
        return params.parse(
            "search", dict(QueryDict(given).lists()) if isinstance(given, str) else given, renamed={"text": "q"}
        )

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ("", {}),
            ("limit=3&offset=6", {"limit": 3, "offset": 6}),
            ("category=shoes&category=hats", {"category": ["shoes", "hats"]}),
            ("in_stock=true&collapse=0&exact=No", {"in_stock": True, "collapse": False, "exact": False}),
            ("min_score=0.25", {"min_score": 0.25}),
            ("q=red+shoes", {"text": "red shoes"}),
            ("q=&limit=&category=&category=&in_stock=&brand=+&price__lte=", {}),
            ("brand=acme", {"filters": {"brand": "acme"}}),
            ("brand__in=a,b&brand__in=c", {"filters": {"brand__in": ["a", "b", "c"]}}),
            ("price__gte=1&price__lte=9.99", {"filters": {"price__gte": Decimal(1), "price__lte": Decimal("9.99")}}),
            ("brand__not_in=a,b&brand__not_in=c", {"filters": {"brand__not_in": ["a", "b", "c"]}}),
            ("price__in=1,2", {"filters": {"price__in": [Decimal(1), Decimal(2)]}}),
            ("active=on", {"filters": {"active": True}}),
            ("created__gte=2026-01-31", {"filters": {"created__gte": date(2026, 1, 31)}}),
            (
                "created__gte=2026-01-31T12:00:00Z",
                {"filters": {"created__gte": datetime(2026, 1, 31, 12, tzinfo=timezone.utc)}},
            ),
            ({"limit": 3, "in_stock": None, "price__lte": 9.5}, {"limit": 3, "filters": {"price__lte": 9.5}}),
            ({"brand__in": ["a", "b"]}, {"filters": {"brand__in": ["a", "b"]}}),
            ({"filters": {"price__lte": "9", "brand": "a"}, "active": True}, None),
        ],
    )
    def test_valid(self, given, wanted):
        wanted = wanted if wanted is not None else {"filters": {"price__lte": Decimal(9), "brand": "a", "active": True}}
        parsed = self.parse(given)
        assert parsed == wanted
        build(filters=parsed.get("filters"))

    @pytest.mark.parametrize(
        ("given", "field", "words"),
        [
            ("limit=ten", "limit", "'limit' is 'ten'; it must be a whole number"),
            ("limit=1&limit=2", "limit", "more than once"),
            ("limit=1.5", "limit", "whole number"),
            ("limit=" + "9" * 5000, "limit", "whole number"),
            ("in_stock=maybe", "in_stock", "'true' or 'false'"),
            ("min_score=nan", "min_score", "a number"),
            ("min_score=0.5&min_score=0.6", "min_score", "more than once"),
            ("page=2", "page", "no parameter or filter 'page'; the parameters are 'category',"),
            ("price=cheap", "price", "a number"),
            ("price=1e999999999", "price", "a number"),
            ("price=NaN", "price", "a number"),
            ("price=1&price=2", "price", "'price' takes one value; for several use 'price__in'"),
            ({"brand": ["a", "b"]}, "brand", "'brand' takes one value; for several use 'brand__in'"),
            ("price__lte=1&price__lte=2", "price__lte", "more than once"),
            ("price__in=1,x", "price__in", "a number"),
            ("price__x=1", "price__x", "comparison"),
            ("active=2", "active", "'true' or 'false'"),
            ("created=yesterday", "created", "a date such as"),
            ("created=2026-02-31", "created", "a date such as"),
            ("created=2026-02-31T00:00:00Z", "created", "a date such as"),
            ({"nope": 3}, "nope", "no parameter or filter"),
            ({"filters": {"nope": 3}}, "nope", "no filter 'nope'"),
            ({"filters": 3}, "filters", "no parameter or filter 'filters'"),
            ("x" * 5000 + "=1", "x" * 100, "no parameter or filter"),
        ],
    )
    def test_invalid(self, given, field, words):
        with pytest.raises(BadQuery) as caught:
            self.parse(given)
        assert words in str(caught.value)
        assert caught.value.field == field
        assert len(str(caught.value)) < 400


class TestSchema:
    @pytest.mark.parametrize("call", params.EVERY)
    def test_every_argument_and_every_filter_is_described(self, call):
        described = describe(call)
        lookups = {"brand", "brand__in", "price", "price__lte", "active", "active__in", "created__gt", "shelf"}
        assert {*params.argument_names(call), *lookups} <= set(described)
        assert "brand__lte" not in described
        assert "active__gt" not in described
        assert described["price__in"] == {"type": "array", "items": {"type": "number"}} == described["price__not_in"]
        assert "active__not_in" not in described
        assert described["created"] == {"type": "string", "format": "date-time"}
        assert described["limit"] == {
            "type": "integer",
            "minimum": 1,
            "maximum": 100,
            "default": described["limit"]["default"],
        }
        assert described["limit"]["default"] == (8 if call in ("look", "suggest") else 12)
        assert call == "suggest" or described["collapse"]["default"] is True
        assert "default" not in described["in_stock"]

    def test_facets_are_in_the_schema(self):
        assert describe("search")["facets"]["items"]["enum"] == [
            *("category", "in_stock"),
            *("active", "brand", "created", "price", "shelf"),
            "true",
        ]


def test_every_argument_is_a_reserved_name():
    reserved = params.reserved_names()
    assert {name for call in params.ALL for name in params.argument_names(call)} < reserved
    assert {"filters", "q", "label", "region", "timeout", "heading", "empty", "image", "text", "like"} < reserved


def test_what_is_possible_is_listed_in_the_visitors_language():
    with translation.override("de"), pytest.raises(BadQuery, match=r"möglich sind .*, 'lte' oder 'not_in'"):
        SearchRequest.create("search", {"filters": {"price__like": 5}})
    with translation.override("pl"), pytest.raises(BadQuery, match="'parent' lub 'wider'"):
        SearchRequest.create("search", {"fallback": "nowhere"})
