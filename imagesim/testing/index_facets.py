"""The part of the contract of an index that concerns facets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timezone
from typing import Any

import pytest
from django.utils.timezone import get_default_timezone

from imagesim.exceptions import BadQuery
from imagesim.indexes import BaseIndex
from imagesim.testing.index_samples import (
    IndexFixtures,
    axis,
    entry,
)
from imagesim.types import (
    Condition,
    Facet,
    Filters,
    Query,
    Removal,
)


class FacetContract(IndexFixtures):
    def test_facets_count_matching_entries(self, filled: Callable[..., BaseIndex]) -> None:
        everything = ("brand", "colour", "price", "sale", "added", "category", "in_stock")
        index = filled(
            entry(1, axis(0), axis(1), categories=("shoes",), filters={"brand": "b", "price": 5, "sale": True}),
            entry(2, axis(0), categories=("shoes", "hats"), in_stock=False, filters={"brand": "b", "price": (1, 9)}),
            entry(3, axis(0), categories=("hats",), filters={"brand": "a", "colour": ("red", "blue")}),
            entry(4, axis(0), group="g", filters={"added": date(2026, 1, 31), "brand": "c", "sale": False}),
            entry(5, axis(0), group="g", filters={"added": datetime(1950, 5, 5, tzinfo=timezone.utc), "brand": "c"}),
            entry("gone", axis(0), categories=("gone",), filters={"brand": "gone", "price": 99}),
        )
        index.write([Removal("shop.product:gone", 2)])
        index.refresh()
        found = index.facets(Filters(), everything)
        assert list(found) == list(everything)
        assert found["brand"] == Facet("keyword", 5, (("b", 2), ("c", 2), ("a", 1)))
        assert found["colour"] == Facet("keyword", 1, (("blue", 1), ("red", 1)))
        assert found["price"] == Facet("number", 2, minimum=1.0, maximum=9.0)
        assert found["sale"] == Facet("boolean", 2, ((False, 1), (True, 1)))
        assert found["category"] == Facet("keyword", 3, (("hats", 2), ("shoes", 2)))
        assert found["in_stock"] == Facet("boolean", 5, ((True, 4), (False, 1)))
        assert found["added"].minimum == datetime(1950, 5, 5, tzinfo=timezone.utc)
        assert found["added"].maximum == datetime.combine(
            date(2026, 1, 31), datetime.min.time(), get_default_timezone()
        )
        narrow = index.facets(Filters(categories=("shoes",), exclude_keys=("shop.product:1",)), everything)
        assert narrow["category"] == Facet("keyword", 2, (("hats", 2), ("shoes", 1)))  # without its own condition
        assert narrow["colour"] == Facet("keyword")
        assert narrow["added"] == Facet("date")
        assert narrow["in_stock"] == Facet("boolean", 1, ((False, 1),))
        assert index.facets(Filters(models=("shop.look",)), everything)["in_stock"] == Facet("boolean")
        assert index.facets(Filters(), ()) == {}
        with pytest.raises(BadQuery, match="'size'"):
            index.facets(Filters(), ("size",))
        with pytest.raises(BadQuery, match="'size'"):
            index.facets(Filters(conditions=(Condition("size", "eq", "m"),)), ("brand",))

    def test_a_facet_is_counted_with_the_conditions_on_other_fields(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            *(
                entry(
                    number,
                    axis(0),
                    categories=("shoes" if number % 2 else "hats",),
                    in_stock=number % 3 != 0,
                    filters={"brand": "ab"[number % 4 > 1], "price": number},
                )
                for number in range(12)
            )
        )
        asked = Filters(
            categories=("shoes",),
            in_stock=True,
            conditions=(Condition("brand", "eq", "b"), Condition("price", "gte", 2), Condition("price", "lt", 10)),
        )
        for fields in (("category", "in_stock", "brand", "price"), ("brand", "price"), ("brand",), ("colour",)):
            for name, facet in index.facets(asked, fields).items():
                free = Filters(
                    categories=() if name == "category" else asked.categories,
                    in_stock=None if name == "in_stock" else True,
                    conditions=tuple(each for each in asked.conditions if each.field != name),
                )
                assert facet == index.facets(free, (name,))[name]
                assert facet.count == (0 if name == "colour" else index.count(free))

    def test_values_can_be_lists(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(*(entry(n, axis(n), filters={"brand": brand}) for n, brand in enumerate(("a", "b", "1"))))
        listed: Any = ["a", "b"]
        without = Filters(none_of=(Filters(conditions=(Condition("brand", "in", listed),)),))
        assert index.facets(without, ("brand", "category"))["brand"].values == (("1", 1),)
        # Equal to Python, but not as text.
        equal = [Filters(conditions=(Condition("brand", "eq", value),)) for value in (1, 1.0, True)]
        assert [len(found) for found in index.search([Query(axis(0), each) for each in equal])] == [1, 0, 0]

    def test_facets_give_the_most_common_of_many_values(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            *(entry(n, axis(0), filters={"brand": f"b{n:03}", "colour": f"c{n % 100}"}) for n in range(103)),
        )
        found = index.facets(Filters(), ("brand", "colour"))
        assert (found["brand"].count, found["brand"].more) == (103, True)
        assert found["brand"].values == tuple((f"b{n:03}", 1) for n in range(100))
        assert (len(found["colour"].values), found["colour"].more) == (100, False)
        assert found["colour"].values[:4] == (("c0", 2), ("c1", 2), ("c2", 2), ("c10", 1))
