"""The parts of the contract of an index that concern filters and facets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.utils.timezone import get_default_timezone

from imagesim.exceptions import BadQuery
from imagesim.indexes import BaseIndex
from imagesim.testing.index_samples import CONDITIONS, PLAIN_FILTERS, WRONG_CONDITIONS, IndexFixtures, axis, entry, keys
from imagesim.types import Condition, Facet, Filters, FilterValue, Operator, Query, Removal


class FilterContract(IndexFixtures):
    def test_filters_on_built_in_fields(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            entry("a", axis(0), categories=("shoes",)),
            entry("b", axis(0, towards=1, share=0.1), categories=("shoes", "hats"), in_stock=False),
            entry("c", axis(0, towards=1, share=0.2), categories=("bags",), group="g"),
            entry("d", axis(0, towards=1, share=0.3), group="g"),
            entry("e", axis(0, towards=1, share=0.4), model="shop.look"),
        )
        for filters, found in PLAIN_FILTERS:
            for exact in (True, False):
                query = Query(axis(0), filters, collapse=False, exact=exact)
                assert "".join(keys(index, query)) == found, query
            assert index.count(filters) == len(found), filters

    def test_filters_of_every_kind(self, filled: Callable[..., BaseIndex]) -> None:
        utc = timezone.utc
        filters: list[dict[str, FilterValue]] = [
            {"brand": "acme", "colour": "red", "price": 9.99, "sale": True, "added": date(2026, 1, 31)},
            {
                "brand": "zeta",
                "colour": ("blue", "red"),
                "price": Decimal("10"),
                "sale": False,
                "added": datetime(2026, 3, 1, tzinfo=utc),
            },
            {"brand": "midi", "colour": ("green",), "price": -5, "sale": False, "added": date(1950, 5, 5)},
            {"brand": None, "price": None, "colour": ()},
            {},
        ]
        index = filled(*(entry(pk, axis(n), filters=f) for n, (pk, f) in enumerate(zip("abcde", filters, strict=True))))
        for condition, found in CONDITIONS:
            asked = Filters(conditions=(Condition(*condition),))
            assert "".join(sorted(keys(index, Query(axis(0), asked)))) == found, condition
            assert index.count(asked) == len(found), condition

    def test_the_space_around_a_text_does_not_count(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            *(entry(n, axis(0), filters={"brand": brand}) for n, brand in enumerate(("Acme\n", " Acme", " ")))
        )
        for brand in ("Acme", " Acme "):
            asked = Filters(conditions=(Condition("brand", "eq", brand),))
            assert keys(index, Query(axis(0), asked)) == ["0", "1"]
        assert dict(index.facets(Filters(), ["brand"])["brand"].values) == {"Acme": 2}

    def test_moments_at_the_ends_of_the_calendar(self, filled: Callable[..., BaseIndex]) -> None:
        """In UTC they fall in the year 0 or 10000, which neither an index nor a date can hold."""
        first = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
        last = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12)))
        index = filled(entry("a", axis(0), filters={"added": date(2026, 1, 31)}))
        cases: list[tuple[Operator, datetime, list[str]]] = [
            ("gte", first, ["a"]),
            ("lt", first, []),
            ("lte", last, ["a"]),
            ("gt", last, []),
        ]
        for operator, moment, found in cases:
            asked = Filters(conditions=(Condition("added", operator, moment),))
            assert keys(index, Query(axis(0), asked)) == found, (operator, moment)

    def test_all_conditions_must_match(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            *(entry(n, axis(0), filters={"price": n, "colour": ("red", "blue") if n % 2 else "red"}) for n in range(9))
        )
        conditions = (
            Condition("price", "gte", 2),
            Condition("price", "lt", 7),
            Condition("colour", "eq", "red"),
            Condition("colour", "eq", "blue"),
        )
        assert keys(index, Query(axis(0), Filters(conditions=conditions))) == ["3", "5"]

    def test_one_value_satisfies_all_bounds_of_a_filter(self, filled: Callable[..., BaseIndex]) -> None:
        """An entry with the prices 10 and 100 does not cost between 20 and 30."""
        days = {n: date(2026, 1, n) for n in (1, 10, 20)}
        index = filled(
            entry("a", axis(0), filters={"price": (10, 100), "brand": ("b", "y"), "added": (days[1], days[20])}),
            entry(
                "b", axis(0), filters={"price": (10, 25, 100), "brand": ("b", "m", "y"), "added": tuple(days.values())}
            ),
            entry("c", axis(0), filters={"price": 25, "brand": "m", "added": days[10]}),
            entry("d", axis(0), filters={"price": 30, "brand": "n", "added": date(2026, 1, 15)}),
            entry("e", axis(0)),
        )

        def bounds(field: str, low: Any, high: Any, *more: Condition) -> Filters:
            return Filters(conditions=(Condition(field, "gte", low), Condition(field, "lt", high), *more))

        cases = [
            (bounds("price", 20, 30), "bc"),
            (bounds("brand", "m", "n"), "bc"),
            (bounds("added", date(2026, 1, 5), date(2026, 1, 15)), "bc"),
            (bounds("price", 20, 31), "bcd"),
            (bounds("price", 20, 200, Condition("price", "lte", 30), Condition("price", "gt", 25)), "d"),
            (bounds("price", 25, 200, Condition("price", "gt", 25), Condition("price", "lte", 200)), "abd"),
            (bounds("price", 30, 20), ""),
            (bounds("price", 20, 30, Condition("price", "eq", 100)), "b"),  # a different value may satisfy it
            (Filters(none_of=(bounds("price", 20, 30),)), "ade"),
        ]
        for filters, found in cases:
            for exact in (True, False):
                assert "".join(sorted(keys(index, Query(axis(0), filters, exact=exact)))) == found, filters
            assert index.count(filters) == len(found), filters

    def test_an_invalid_condition_is_named(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled()
        for condition, word in WRONG_CONDITIONS:
            filters = Filters(conditions=(Condition(*condition),))
            with pytest.raises(BadQuery, match=word):
                index.search([Query(axis(0)), Query(axis(0), filters)])
            with pytest.raises(BadQuery, match=word):
                index.count(filters)

    @pytest.mark.parametrize(
        "filters",
        [
            Filters(categories=("c" * 33_000,)),
            Filters(categories=("shoes\x00",)),
            Filters(models=("\ud800",)),
            Filters(exclude_keys=("k" * 33_000,)),
            Filters(exclude_groups=tuple(f"g{n}" for n in range(10_001))),
            Filters(conditions=(Condition("brand", "eq", "b" * 33_000),)),
            Filters(none_of=(Filters(conditions=(Condition("brand", "eq", "b" * 33_000),)),)),
            Filters(none_of=(Filters(categories=("shoes",)),) * 101),
            Filters(none_of=(Filters(none_of=(Filters(in_stock=True),)),)),
        ],
        ids=[
            *("long category", "NUL", "half a surrogate", "long key", "many groups", "long value"),
            *("negated long value", "many negated", "negated twice"),
        ],
    )
    def test_an_impossible_filter_is_rejected(self, filled: Callable[..., BaseIndex], filters: Filters) -> None:
        index = filled(entry(1, axis(0)))
        for ask in (
            lambda: index.search([Query(axis(0), filters)]),
            lambda: index.count(filters),
            lambda: index.facets(filters, ("brand",)),
        ):
            with pytest.raises(BadQuery):
                ask()


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

    def test_the_empty_text_is_no_value(self, filled: Callable[..., BaseIndex]) -> None:
        brands: tuple[FilterValue, ...] = ("", ("", "a"), ("b", ""), None, ("a", "b"), ("",))
        index = filled(*(entry(n, axis(0), filters={"brand": brand}) for n, brand in enumerate(brands)))
        assert index.facets(Filters(), ("brand",)) == {"brand": Facet("keyword", 3, (("a", 2), ("b", 2)))}
        only_blank = Filters(keys=tuple(f"shop.product:{n}" for n in (0, 5)))
        assert index.facets(only_blank, ("brand",)) == {"brand": Facet("keyword")}
        blank = Filters(conditions=(Condition("brand", "eq", ""),))
        assert index.count(blank) == 4

    def test_facets_give_the_most_common_of_many_values(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            *(entry(n, axis(0), filters={"brand": f"b{n:03}", "colour": f"c{n % 100}"}) for n in range(103)),
        )
        found = index.facets(Filters(), ("brand", "colour"))
        assert (found["brand"].count, found["brand"].more) == (103, True)
        assert found["brand"].values == tuple((f"b{n:03}", 1) for n in range(100))
        assert (len(found["colour"].values), found["colour"].more) == (100, False)
        assert found["colour"].values[:4] == (("c0", 2), ("c1", 2), ("c2", 2), ("c10", 1))
