"""What every index promises in ``indexes/base.py``; each is a subclass that gives the fixture ``make_index``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.db import connections
from django.utils.timezone import get_default_timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesim.exceptions import BadQuery, ConfigurationError, IndexMissing, ModelMismatch
from imagesim.indexes.base import BaseIndex
from imagesim.types import (
    SIMILARITIES,
    Condition,
    Entry,
    EntryImage,
    Facet,
    Filters,
    FilterValue,
    IndexMeta,
    Query,
    Removal,
)
from tests.oracle import assert_answers, expected

DIMS = 16
META = IndexMeta(
    fingerprint="test-model",
    dims=DIMS,
    filters={"brand": "keyword", "colour": "keyword", "price": "number", "sale": "boolean", "added": "date"},
)


def axis(number: int, *, towards: int | None = None, share: float = 0.0) -> Any:
    """The unit vector along an axis, or turned a little towards another."""
    vector = np.zeros(DIMS, dtype=np.float32)
    vector[number] = 1
    if towards is not None:
        vector[towards] += share
    return vector / np.linalg.norm(vector)


def entry(
    pk: object, *vectors: Any, version: int = 1, model: str = "shop.product", group: str = "", **kwargs: Any
) -> Entry:
    images = tuple(EntryImage(f"digest-{pk}-{n}", f"photos/{pk}-{n}.jpg", v) for n, v in enumerate(vectors))
    return Entry(f"{model}:{pk}", model, str(pk), version, images, group=group, **kwargs)


def keys(index: BaseIndex, query: Query) -> list[str]:
    [answer] = index.search([query])
    return [match.key.partition(":")[2] for match in answer.candidates]


# Where the index lies in the database, its threads and processes need transactions that are really committed.
concurrent = pytest.mark.django_db(transaction=True)


class IndexContract:
    """Subclass it, name the subclass ``Test…``, and override ``make_index``."""

    approximate: bool

    @pytest.fixture
    def make_index(self) -> Callable[[], BaseIndex]:
        """Makes an index object of one and the same name each time, as different processes would have."""
        raise NotImplementedError

    @pytest.fixture
    def index(self, make_index: Callable[[], BaseIndex]) -> Iterator[BaseIndex]:
        index = make_index()
        yield index
        for backing_index in index.backing_indexes():
            index.drop(backing_index)

    @pytest.fixture
    def filled(self, index: BaseIndex) -> Callable[..., BaseIndex]:
        """Puts entries into an index in service."""

        def fill(*entries: Entry) -> BaseIndex:
            if index.active() is None:
                index.promote(index.create(META))
            results = index.write(entries)
            assert [result.status for result in results] == ["done"] * len(entries), results
            index.refresh()
            return index

        return fill

    # A physical index, from creation to service to the end.

    def test_nothing_is_there_at_first(self, index: BaseIndex) -> None:
        assert index.active() is None
        assert index.backing_indexes() == []

    def test_what_is_not_there_is_said_to_be_missing(self, index: BaseIndex) -> None:
        for ask in NEEDS_AN_INDEX:
            with pytest.raises(IndexMissing, match="imagesim_rebuild"):
                ask(index)
        assert index.backing_indexes() == []

    def test_an_index_is_made_beside_and_serves_after_promotion(self, index: BaseIndex) -> None:
        backing_index = index.create(META)
        assert index.backing_indexes() == [backing_index]
        assert index.active() is None
        assert index.meta(backing_index) == META
        index.promote(backing_index)
        assert index.active() == backing_index
        assert index.meta() == META
        index.promote(backing_index)
        assert index.active() == backing_index

    def test_an_empty_index_answers_with_nothing(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled()
        [answer] = index.search([Query(axis(0))])
        assert answer.candidates == ()
        assert not answer.more
        assert index.count() == 0
        assert list(index.scan()) == []
        assert index.search([]) == []

    def test_several_stand_beside_oldest_first(self, index: BaseIndex) -> None:
        made = [index.create(META) for _ in range(3)]
        assert index.backing_indexes() == made
        index.promote(made[1])
        index.promote(made[2])
        assert index.active() == made[2]
        assert index.backing_indexes() == made
        index.drop(made[0])
        index.drop(made[0])
        assert index.backing_indexes() == made[1:]

    def test_what_is_built_beside_is_not_seen(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry("old", axis(0)))
        beside = index.create(META)
        index.write([entry("new", axis(0)), entry("newer", axis(1))], backing_index=beside)
        index.refresh(beside)
        assert keys(index, Query(axis(0))) == ["old"]
        assert (index.count(), index.count(backing_index=beside)) == (1, 2)
        assert index.count(Filters(models=("shop.product",)), backing_index=beside) == 2
        assert list(index.scan(backing_index=beside)) == [("shop.product:new", 1), ("shop.product:newer", 1)]
        index.promote(beside)
        assert keys(index, Query(axis(0))) == ["new", "newer"]

    def test_dropping_what_serves_leaves_nothing_in_service(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0)))
        index.drop(index.active() or "")
        assert index.active() is None
        with pytest.raises(IndexMissing):
            index.search([Query(axis(0))])

    def test_a_write_to_a_dropped_index_makes_nothing_anew(self, index: BaseIndex) -> None:
        backing_index = index.create(META)
        index.write([entry(1, axis(0))], backing_index=backing_index)
        index.drop(backing_index)
        with pytest.raises(IndexMissing):
            index.write([entry(2, axis(0))], backing_index=backing_index)
        assert index.backing_indexes() == []

    def test_names_that_begin_alike_are_kept_apart(self, index: BaseIndex) -> None:
        other = type(index)(**{**self.options(index), "name": f"{index.name}-2"})
        theirs = other.create(META)
        try:
            ours = index.create(META)
            index.promote(ours)
            other.promote(theirs)
            assert (index.backing_indexes(), other.backing_indexes()) == ([ours], [theirs])
            index.promote(ours)
            assert other.active() == theirs
        finally:
            other.drop(theirs)

    def options(self, index: BaseIndex) -> dict[str, Any]:
        return {}

    # Writing.

    def test_an_entry_comes_back_with_what_it_was_given(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(7, axis(0), group="shop.product:parent"))
        [answer] = index.search([Query(axis(0))])
        [match] = answer.candidates
        assert match.key == "shop.product:7"
        assert match.group == "shop.product:parent"
        assert (match.image_digest, match.image_name) == ("digest-7-0", "photos/7-0.jpg")
        assert match.score == pytest.approx(1, abs=1e-5)
        assert answer.took_ms >= 0

    def test_an_entry_is_replaced_whole(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0), axis(1), categories=("a", "b"), filters={"price": 5}, in_stock=False))
        index.write([entry(1, axis(2), version=2, categories=("c",))])
        index.refresh()
        [answer] = index.search([Query(axis(0))])
        assert [match.score for match in answer.candidates] == [pytest.approx(0, abs=1e-3)]
        assert index.count(Filters(categories=("a",))) == 0
        assert index.count(Filters(categories=("c",), in_stock=True)) == 1
        assert index.count(Filters(conditions=(Condition("price", "gte", 0),))) == 0

    @pytest.mark.parametrize("version", [4, 5])
    @pytest.mark.parametrize("remove", [False, True])
    def test_an_older_or_equal_version_changes_nothing(
        self, filled: Callable[..., BaseIndex], version: int, remove: bool
    ) -> None:
        index = filled(entry(1, axis(0), version=5))
        operation = Removal("shop.product:1", version) if remove else entry(1, axis(1), version=version)
        assert [result.status for result in index.write([operation])] == ["newer"]
        index.refresh()
        assert list(index.scan()) == [("shop.product:1", 5)]

    def test_a_removed_entry_is_gone_and_an_older_write_does_not_bring_it_back(
        self, filled: Callable[..., BaseIndex]
    ) -> None:
        index = filled(entry(1, axis(0)), entry(2, axis(1)))
        results = index.write(
            [Removal("shop.product:1", 3), entry(1, axis(0), version=2), entry(1, axis(0), version=3)]
        )
        assert [result.status for result in results] == ["done", "newer", "newer"]
        index.refresh()
        assert keys(index, Query(axis(0))) == ["2"]
        assert index.count() == 1
        assert list(index.scan()) == [("shop.product:2", 1)]
        assert [result.status for result in index.write([entry(1, axis(0), version=4)])] == ["done"]
        index.refresh()
        assert keys(index, Query(axis(0))) == ["1", "2"]

    def test_removing_what_never_was_leaves_a_tombstone(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled()
        assert index.write([Removal("shop.product:9", 5)])[0].status == "done"
        assert index.write([Removal("shop.product:9", 5)])[0].status == "newer"
        assert index.write([entry(9, axis(0), version=4)])[0].status == "newer"
        index.refresh()
        assert index.count() == 0

    def test_one_key_many_times_in_one_call(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled()
        results = index.write(
            [
                entry(1, axis(0), version=1),
                entry(1, axis(1), version=3),
                entry(1, axis(2), version=2),
                Removal("shop.product:1", 4),
                entry(1, axis(3), version=5),
            ]
        )
        assert [result.status for result in results] == ["done", "done", "newer", "done", "done"]
        assert [result.key for result in results] == ["shop.product:1"] * 5
        index.refresh()
        assert list(index.scan()) == [("shop.product:1", 5)]
        assert index.search([Query(axis(3))])[0].candidates[0].score == pytest.approx(1, abs=1e-3)

    def test_a_bad_operation_fails_alone(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled()
        for number, (bad, word) in enumerate(BAD_OPERATIONS):
            results = index.write([entry(2 * number, axis(0)), bad, entry(2 * number + 1, axis(1))])
            assert [result.status for result in results] == ["done", "failed", "done"], (bad, results)
            assert results[1].key == bad.key
            assert word in results[1].error
            assert not results[1].retryable
        index.refresh()
        assert index.count() == 2 * len(BAD_OPERATIONS)

    def test_a_filter_the_index_was_not_made_with_is_left_out(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0), filters={"brand": "b", "fabric": "wool"}))
        assert index.count(Filters(conditions=(Condition("brand", "eq", "b"),))) == 1
        with pytest.raises(BadQuery, match=r"fabric.*'added', 'brand', 'colour', 'price' or 'sale'"):
            index.count(Filters(conditions=(Condition("fabric", "eq", "wool"),)))

    def test_vectors_need_not_be_of_unit_length(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0) * 3), entry(2, axis(1) * 0.2))
        [answer] = index.search([Query(axis(0) * 7)])
        assert [match.score for match in answer.candidates] == [pytest.approx(1, abs=1e-5), pytest.approx(0, abs=1e-5)]

    def test_many_are_written_in_one_call_in_order(self, index: BaseIndex) -> None:
        backing_index = index.create(META)
        rng = np.random.default_rng(1)
        many = [entry(f"{n:05}", rng.standard_normal(DIMS).astype(np.float32)) for n in range(2_500)]
        results = index.write(many, backing_index=backing_index)
        assert [result.key for result in results] == [each.key for each in many]
        assert {result.status for result in results} == {"done"}
        index.refresh(backing_index)
        assert index.count(backing_index=backing_index) == 2_500
        assert [key for key, _ in index.scan(backing_index=backing_index, batch_size=300)] == [
            each.key for each in many
        ]

    # Reading.

    def test_best_first_and_scores_are_cosines(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            entry("same", axis(0)),
            entry("near", axis(0, towards=1, share=0.5)),
            entry("across", axis(1)),
            entry("opposite", -axis(0)),
        )
        [answer] = index.search([Query(axis(0))])
        assert [match.key.partition(":")[2] for match in answer.candidates] == ["same", "near", "across", "opposite"]
        assert [match.score for match in answer.candidates] == pytest.approx([1, 0.8944, 0, -1], abs=1e-3)
        assert all(-1 <= match.score <= 1 and type(match.score) is float for match in answer.candidates)

    def test_an_item_scores_by_its_best_image(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(1), axis(0), axis(2)), entry(2, axis(0, towards=3, share=0.3)))
        [answer] = index.search([Query(axis(0))])
        assert [match.image_name for match in answer.candidates] == ["photos/1-1.jpg", "photos/2-0.jpg"]
        assert keys(index, Query(axis(2))) == ["1", "2"]

    def test_one_match_a_group(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            entry("red", axis(0, towards=1, share=0.1), group="shirt"),
            entry("blue", axis(0), group="shirt", in_stock=False),
            entry("hat", axis(0, towards=2, share=0.5)),
            entry("cap", axis(0, towards=2, share=0.6), group="hat"),
        )
        assert keys(index, Query(axis(0))) == ["blue", "hat", "cap"]
        assert keys(index, Query(axis(0), collapse=False)) == ["blue", "red", "hat", "cap"]
        assert keys(index, Query(axis(0), Filters(in_stock=True))) == ["red", "hat", "cap"]

    def test_an_item_without_a_group_is_its_own(self, filled: Callable[..., BaseIndex]) -> None:
        """A parent product and its variants, which name it as their group, fall together."""
        index = filled(
            entry("parent", axis(0)), entry("small", axis(0, towards=1, share=0.1), group="shop.product:parent")
        )
        assert keys(index, Query(axis(0))) == ["parent"]
        assert keys(index, Query(axis(0), Filters(exclude_groups=("shop.product:parent",)))) == []

    def test_ties_are_ordered_by_key_and_pages_are_stable(self, filled: Callable[..., BaseIndex]) -> None:
        names = [f"{n:03}" for n in range(60)]
        shuffled = np.random.default_rng(3).permutation(names)
        index = filled(*(entry(name, axis(0), axis(1)) for name in shuffled))
        paged = [key for offset in range(0, 70, 7) for key in keys(index, Query(axis(0), limit=7, offset=offset))]
        assert paged == names
        index.write([entry("007", axis(0), version=2), Removal("shop.product:030", 2)])
        index.refresh()
        assert keys(index, Query(axis(0), limit=60)) == [name for name in names if name != "030"]

    def test_pages_say_whether_more_follows(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(*(entry(n, axis(0, towards=1, share=n / 10)) for n in range(5)))
        pages = index.search([Query(axis(0), limit=2, offset=offset) for offset in (0, 2, 4, 6)])
        assert [len(page) for page in pages] == [2, 2, 1, 0]
        assert [page.more for page in pages] == [True, True, False, False]
        assert [page.more for page in index.search([Query(axis(0), limit=n) for n in (0, 4, 5)])] == [True, True, False]

    def test_min_score(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            entry(1, axis(0)), entry(2, axis(0, towards=1, share=0.5)), entry(3, axis(1)), entry(4, -axis(0))
        )
        assert keys(index, Query(axis(0), min_score=0.5)) == ["1", "2"]
        assert keys(index, Query(axis(0), min_score=-0.5)) == ["1", "2", "3"]
        assert keys(index, Query(axis(0), min_score=-1.0)) == ["1", "2", "3", "4"]
        [page] = index.search([Query(axis(0), min_score=0.5, limit=1)])
        assert (len(page), page.more) == (1, True)
        [page] = index.search([Query(axis(0), min_score=0.5, limit=2)])
        assert (len(page), page.more) == (2, False)

    def test_several_queries_are_answered_in_order(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(*(entry(n, axis(n), in_stock=n % 2 == 0) for n in range(8)))
        queries = [Query(axis(n), Filters(in_stock=None if n < 4 else True), limit=1 + n % 2) for n in range(8)]
        answers = index.search(queries)
        assert [answer.candidates[0].key for answer in answers[:4]] == [f"shop.product:{n}" for n in range(4)]
        for query, answer in zip(queries, answers, strict=True):
            assert answer.candidates == index.search([query])[0].candidates

    def test_words_of_any_language(self, filled: Callable[..., BaseIndex]) -> None:
        names = ["Žluťoučký kůň", "商品/七", "👗", "a b+c?d=e&f#g%h", "'; DROP TABLE x; --", '"\\\n', "İstanbul", "ß"]
        index = filled(
            *(
                entry(name, axis(n), group=f"group {name}", categories=(name,), filters={"brand": name})
                for n, name in enumerate(names)
            )
        )
        for n, name in enumerate(names):
            key = f"shop.product:{name}"
            filters = Filters(categories=(name,), conditions=(Condition("brand", "in", (name,)),))
            [answer] = index.search([Query(axis(n), filters)])
            assert [(match.key, match.group) for match in answer.candidates] == [(key, f"group {name}")]
            assert (
                index.count(Filters(exclude_keys=(key,), exclude_groups=(f"group {names[n - 1]}",))) == len(names) - 2
            )
        assert [key for key, _ in index.scan()] == sorted(f"shop.product:{name}" for name in names)
        assert {r.status for r in index.write([Removal(f"shop.product:{name}", 2) for name in names])} == {"done"}
        index.refresh()
        assert index.count() == 0

    def test_filters_on_what_every_entry_has(self, filled: Callable[..., BaseIndex]) -> None:
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

    def test_every_condition_has_to_hold(self, filled: Callable[..., BaseIndex]) -> None:
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

    def test_facets_count_what_passes_the_filters(self, filled: Callable[..., BaseIndex]) -> None:
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

    def test_a_facet_is_counted_under_what_is_asked_of_the_others(self, filled: Callable[..., BaseIndex]) -> None:
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

    def test_facets_give_the_commonest_of_many_values(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            *(entry(n, axis(0), filters={"brand": f"b{n:03}", "colour": f"c{n % 100}"}) for n in range(103)),
        )
        found = index.facets(Filters(), ("brand", "colour"))
        assert (found["brand"].count, found["brand"].more) == (103, True)
        assert found["brand"].values == tuple((f"b{n:03}", 1) for n in range(100))
        assert (len(found["colour"].values), found["colour"].more) == (100, False)
        assert found["colour"].values[:4] == (("c0", 2), ("c1", 2), ("c2", 2), ("c10", 1))

    def test_a_wrong_condition_is_named(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled()
        for condition, word in WRONG_CONDITIONS:
            filters = Filters(conditions=(Condition(*condition),))
            with pytest.raises(BadQuery, match=word):
                index.search([Query(axis(0)), Query(axis(0), filters)])
            with pytest.raises(BadQuery, match=word):
                index.count(filters)

    def test_a_question_without_an_answer_is_refused(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0)))
        for query in (
            Query(axis(0), limit=-1),
            Query(axis(0), offset=-1),
            Query(axis(0), limit=10**6),
            Query(axis(0), min_score=1.5),
            Query(np.zeros(DIMS, dtype=np.float32)),
            Query(np.full(DIMS, np.nan, dtype=np.float32)),
        ):
            with pytest.raises(BadQuery):
                index.search([query])

    @pytest.mark.parametrize(
        "query",
        [Query(np.ones(DIMS + 1, dtype=np.float32)), Query(axis(0), fingerprint="another-model")],
    )
    def test_a_query_of_another_model_is_refused(self, filled: Callable[..., BaseIndex], query: Query) -> None:
        with pytest.raises(ModelMismatch, match="embed it by the model"):
            filled(entry(1, axis(0))).search([query])

    def test_the_fingerprint_of_the_right_model_passes(self, filled: Callable[..., BaseIndex]) -> None:
        assert keys(filled(entry(1, axis(0))), Query(axis(0), fingerprint=META.fingerprint)) == ["1"]

    # Exact and approximate.

    def test_exact_and_approximate_agree_where_the_index_has_both(self, filled: Callable[..., BaseIndex]) -> None:
        rng = np.random.default_rng(5)
        index = filled(
            *(
                entry(n, *rng.standard_normal((1 + n % 3, DIMS)).astype(np.float32), group=f"g{n // 2}")
                for n in range(600)
            )
        )
        assert index.supports_approximate == self.approximate
        hits = total = 0
        for _ in range(20):
            vector = rng.standard_normal(DIMS).astype(np.float32)
            exact, approximate = index.search([Query(vector, limit=10, exact=exact) for exact in (True, False)])
            assert exact.exact
            assert approximate.exact == (not self.approximate)
            hits += len({m.key for m in exact.candidates} & {m.key for m in approximate.candidates})
            total += 10
            truth = {match.key: match.score for match in exact.candidates}
            assert all(truth.get(m.key, m.score) == pytest.approx(m.score, abs=1e-5) for m in approximate.candidates)
        assert hits / total >= 0.99

    def test_a_page_is_filled_though_the_nearest_are_variants_of_few(self, filled: Callable[..., BaseIndex]) -> None:
        rng = np.random.default_rng(6)
        variants = [
            entry(f"v{n:03}", axis(0) + 0.05 * rng.standard_normal(DIMS).astype(np.float32), group="one")
            for n in range(500)
        ]
        others = [entry(f"other{n}", axis(1) + 0.01 * n * axis(2)) for n in range(5)]
        index = filled(*variants, *others)
        [answer] = index.search([Query(axis(0), limit=4, exact=False)])
        assert answer.candidates[0].group == "one"
        assert len({match.group for match in answer.candidates}) == 4
        assert answer.more

    def test_answers_are_those_worked_out_by_hand(self, index: BaseIndex) -> None:
        entries = catalogue()
        index.promote(index.create(META))
        assert {result.status for result in index.write(entries)} == {"done"}
        index.refresh()

        @settings(
            max_examples=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
        )
        @given(st.lists(questions(), min_size=1, max_size=4))
        def check(asked: list[Query]) -> None:
            for query, answer in zip(asked, index.search(asked), strict=True):
                assert_answers(answer, entries, query)
                assert index.count(query.filters) == len(
                    expected(entries, Query(query.vector, query.filters, collapse=False))
                )

        check()

    def test_similarities_order_and_the_score_stays_the_cosine(self, filled: Callable[..., BaseIndex]) -> None:
        """The nearest by the sum of differences is another than the nearest by angle."""
        spread = np.ones(DIMS, dtype=np.float32)
        spread[0] = 12
        index = filled(entry("far", axis(5)), entry("even", spread), entry("turned", axis(0, towards=1, share=0.75)))
        by = {s: keys(index, Query(axis(0), similarity=s)) for s in SIMILARITIES}
        assert by["cosine"] == by["dot_product"] == by["l2"] == ["even", "turned", "far"]
        assert by["l1"] == ["turned", "even", "far"]
        [answer] = index.search([Query(axis(0), similarity="l1", min_score=0.5)])
        assert [match.score for match in answer.candidates] == pytest.approx([0.8, 0.9515], abs=1e-3)
        with pytest.raises(BadQuery, match=r"'cosine', 'dot_product', 'l1' or 'l2'"):
            index.search([Query(axis(0), similarity="hamming")])  # type: ignore[arg-type]

    def test_l1_on_many_agrees_with_itself_in_float64(self, filled: Callable[..., BaseIndex]) -> None:
        rng = np.random.default_rng(8)
        entries = [entry(n, *rng.standard_normal((1 + n % 3, DIMS)).astype(np.float32)) for n in range(300)]
        index = filled(*entries)
        for exact in (None, True):
            query = rng.standard_normal(DIMS)
            query /= np.linalg.norm(query)
            true = sorted(
                entries,
                key=lambda e: min(np.abs(i.vector / np.linalg.norm(i.vector) - query).sum() for i in e.images),
            )
            asked = Query(query.astype(np.float32), similarity="l1", exact=exact, limit=20, offset=5)
            [answer] = index.search([asked])
            assert [match.key for match in answer.candidates] == [each.key for each in true[5:25]]
            for match, each in zip(answer.candidates, true[5:25], strict=True):
                image = next(i for i in each.images if i.digest == match.image_digest)
                assert match.score == pytest.approx(
                    float(image.vector @ query / np.linalg.norm(image.vector)), abs=1e-4
                )

    # More than one process, and more than one thread.

    @concurrent
    def test_what_one_process_writes_another_finds(self, make_index: Callable[[], BaseIndex], index: BaseIndex) -> None:
        other = make_index()
        index.promote(index.create(META))
        for version in range(1, 6):
            index.write([entry("x", axis(version), version=version), entry(f"n{version}", axis(0))])
            index.refresh()
            assert keys(other, Query(axis(version), limit=1)) == ["x"]
            assert other.count() == version + 1
        index.write([Removal("shop.product:x", 9)])
        index.refresh()
        assert "x" not in keys(other, Query(axis(5)))

    @concurrent
    def test_other_processes_follow_a_swap(self, make_index: Callable[[], BaseIndex], index: BaseIndex) -> None:
        other = make_index()
        first = index.create(META)
        index.promote(first)
        index.write([entry("old", axis(0))])
        index.refresh()
        assert keys(other, Query(axis(0))) == ["old"]
        second = index.create(META)
        index.write([entry("new", axis(0))], backing_index=second)
        index.refresh(second)
        index.promote(second)
        index.drop(first)
        assert keys(other, Query(axis(0))) == ["new"]
        other.write([entry("newer", axis(1))])
        other.refresh()
        assert keys(index, Query(axis(1), limit=1)) == ["newer"]

    @concurrent
    def test_a_swap_to_another_model_is_never_answered_wrongly(
        self, make_index: Callable[[], BaseIndex], index: BaseIndex
    ) -> None:
        other = make_index()
        index.promote(index.create(META))
        index.write([entry("old", axis(0))])
        index.refresh()
        assert keys(other, Query(axis(0), fingerprint=other.meta().fingerprint)) == ["old"]
        newer = IndexMeta("newer-model", DIMS, META.filters)
        second = index.create(newer)
        index.write([entry("new", axis(1))], backing_index=second)
        index.refresh(second)
        index.promote(second)
        with pytest.raises(ModelMismatch):
            other.search([Query(axis(0), fingerprint=META.fingerprint)])
        assert keys(other, Query(axis(1), fingerprint=other.meta().fingerprint)) == ["new"]

    @concurrent
    def test_searches_go_on_through_swaps(self, make_index: Callable[[], BaseIndex], index: BaseIndex) -> None:
        """No search fails, and none sees less than a whole index."""
        index.promote(self._generation(index, 0))
        failures: list[Any] = []
        done = threading.Event()

        def look() -> None:
            reader = make_index()
            while not done.is_set():
                try:
                    [answer] = reader.search([Query(axis(0), limit=30)])
                    names = {match.key.partition(":")[2].partition("-")[0] for match in answer.candidates}
                    if len(answer) != 20 or len(names) != 1:
                        failures.append((len(answer), names))
                except Exception as error:
                    failures.append(error)
            self.close()

        readers = [threading.Thread(target=look) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(1, 5):
            former = index.active()
            index.promote(self._generation(index, number))
            time.sleep(0.1)
            assert former is not None
            index.drop(former)
        done.set()
        for reader in readers:
            reader.join()
        assert failures == []

    @staticmethod
    def _generation(index: BaseIndex, number: int) -> str:
        backing_index = index.create(META)
        index.write(
            [entry(f"{number}-{n}", axis(0, towards=1, share=n / 9)) for n in range(20)], backing_index=backing_index
        )
        index.refresh(backing_index)
        return backing_index

    @concurrent
    def test_writers_and_readers_at_once_lose_nothing(
        self, make_index: Callable[[], BaseIndex], index: BaseIndex
    ) -> None:
        index.promote(index.create(META))
        failures: list[Any] = []

        def run(work: Callable[[BaseIndex], None]) -> None:
            try:
                work(make_index())
            except Exception as error:
                failures.append(error)
            finally:
                self.close()

        def write(writer: int) -> Callable[[BaseIndex], None]:
            def work(mine: BaseIndex) -> None:
                for version in range(1, 9):
                    operations: Sequence[Entry | Removal] = [
                        *(entry(f"{writer}-{n}", axis(n), version=version) for n in range(5)),
                        entry("shared", axis(writer), version=version * 10 + writer),
                    ]
                    results = mine.write(operations)
                    assert {result.status for result in results[:-1]} == {"done"}
                    assert results[-1].status in ("done", "newer")

            return work

        def read(mine: BaseIndex) -> None:
            for _ in range(15):
                mine.search([Query(axis(0), limit=50)])

        threads = [threading.Thread(target=run, args=(work,)) for work in (write(1), write(2), read, read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        index.refresh()
        assert dict(index.scan()) == {
            "shop.product:shared": 82,
            **{f"shop.product:{writer}-{n}": 8 for writer in (1, 2) for n in range(5)},
        }
        assert keys(index, Query(axis(2), limit=3)) == ["1-2", "2-2", "shared"]

    @staticmethod
    def close() -> None:
        """At the end of every thread: an index may have used the database, and the connection is the thread's own."""
        connections.close_all()

    def test_an_unknown_similarity_is_a_wrong_set_up(self, index: BaseIndex) -> None:
        with pytest.raises(ConfigurationError, match=r"hamming.*'cosine', 'dot_product', 'l1' or 'l2'"):
            type(index)(similarity="hamming")  # type: ignore[arg-type]

    def test_ping_and_check(self, index: BaseIndex) -> None:
        index.ping()
        assert index.check() == []


# What the tests above go through, on one index each: making one takes a server a while.

NEEDS_AN_INDEX: list[Callable[[BaseIndex], Any]] = [
    lambda index: index.search([Query(axis(0))]),
    lambda index: index.write([entry(1, axis(0))]),
    lambda index: index.write([]),
    lambda index: index.count(),
    lambda index: index.count(Filters(in_stock=True)),
    lambda index: index.facets(Filters(), ("category",)),
    lambda index: list(index.scan()),
    lambda index: index.meta(),
    lambda index: index.refresh(),
    lambda index: index.promote(f"{index.name}-20260101000000000000-abcdef"),
    lambda index: index.meta(f"{index.name}-20260101000000000000-abcdef"),
    lambda index: index.count(backing_index=f"{index.name}-20260101000000000000-abcdef"),
    lambda index: index.write([entry(1, axis(0))], backing_index=f"{index.name}-20260101000000000000-abcdef"),
    lambda index: index.refresh(f"{index.name}-20260101000000000000-abcdef"),
    lambda index: list(index.scan(backing_index=f"{index.name}-20260101000000000000-abcdef")),
]

BAD_OPERATIONS: list[tuple[Entry | Removal, str]] = [
    (entry("x"), "images"),
    (entry("x", np.zeros(DIMS, dtype=np.float32)), "zero"),
    (entry("x", np.full(DIMS, np.nan, dtype=np.float32)), "finite"),
    (entry("x", np.full(DIMS, np.inf, dtype=np.float32)), "finite"),
    (entry("x", axis(0)[:-1]), "shape"),
    (entry("x", axis(0), version=0), "version"),
    (entry("x", axis(0), version=2**63), "version"),
    (entry("x" * 500, axis(0)), "longer"),
    (entry("ж" * 300, axis(0)), "longer"),
    (entry("x\x00", axis(0)), "NUL"),
    (entry("\ud800", axis(0)), "Unicode"),
    (entry("x", axis(0), group="g" * 500), "longer"),
    (entry("x", axis(0), categories=("a", "b\x00")), "NUL"),
    (entry("x", axis(0), filters={"price": "dear"}), "price"),
    (entry("x", axis(0), filters={"price": float("nan")}), "price"),
    (entry("x", axis(0), filters={"price": Decimal("Infinity")}), "price"),
    (entry("x", axis(0), filters={"price": 10**400}), "price"),
    (entry("x", axis(0), filters={"sale": "perhaps"}), "sale"),
    (entry("x", axis(0), filters={"added": "soon"}), "added"),
    (entry("x", axis(0), filters={"brand": "b" * 40_000}), "brand"),
    (Entry("", "shop.product", "", 1, (EntryImage("d", "n", axis(0)),)), "key"),
    (Removal("", 1), "key"),
    (Removal("x", 0), "version"),
]

PLAIN_FILTERS: list[tuple[Filters, str]] = [
    (Filters(), "abcde"),
    (Filters(models=("shop.product",)), "abcd"),
    (Filters(models=("shop.look", "shop.product")), "abcde"),
    (Filters(models=("no.such",)), ""),
    (Filters(categories=("shoes",)), "ab"),
    (Filters(categories=("hats", "bags")), "bc"),
    (Filters(categories=("Shoes",)), ""),
    (Filters(in_stock=True), "acde"),
    (Filters(in_stock=False), "b"),
    (Filters(exclude_keys=("shop.product:a", "shop.product:zzz")), "bcde"),
    (Filters(exclude_groups=("g", "shop.look:e")), "ab"),
    (Filters(categories=("shoes",), in_stock=True, exclude_keys=("shop.product:b",)), "a"),
]

CONDITIONS: list[tuple[tuple[Any, ...], str]] = [
    (("brand", "eq", "acme"), "a"),
    (("brand", "eq", "Acme"), ""),
    (("brand", "eq", "none"), ""),
    (("brand", "in", ("acme", "zeta", "zeta", "?")), "ab"),
    (("brand", "in", ()), ""),
    (("brand", "gte", "b"), "bc"),
    (("brand", "lt", "zeta"), "ac"),
    (("colour", "eq", "red"), "ab"),
    (("colour", "eq", "blue"), "b"),
    (("colour", "in", ("blue", "green")), "bc"),
    (("price", "eq", 9.99), "a"),
    (("price", "eq", Decimal("9.99")), "a"),
    (("price", "eq", 10), "b"),
    (("price", "in", (10, 9.99)), "ab"),
    (("price", "lt", 10), "ac"),
    (("price", "lte", Decimal("10.00")), "abc"),
    (("price", "gt", 9.99), "b"),
    (("price", "gte", -5), "abc"),
    (("price", "gte", "10"), "b"),
    (("sale", "eq", True), "a"),
    (("sale", "eq", False), "bc"),
    (("sale", "eq", "false"), "bc"),
    (("sale", "in", (True, False)), "abc"),
    (("added", "eq", date(2026, 1, 31)), "a"),
    (("added", "lt", date(2026, 1, 31)), "c"),
    (("added", "gt", datetime(2026, 1, 31, 12, tzinfo=timezone.utc)), "b"),
    (("added", "lte", datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=1)))), "abc"),
    (("added", "gte", "2026-01-31"), "ab"),
    (("added", "in", (date(1950, 5, 5), date(2026, 1, 31))), "ac"),
]

WRONG_CONDITIONS: list[tuple[tuple[Any, ...], str]] = [
    (("brnd", "eq", "x"), "brnd"),
    (("price", "near", 3), "near"),
    (("price", "eq", "cheap"), "cheap"),
    (("price", "eq", None), "None"),
    (("price", "eq", float("nan")), "nan"),
    (("price", "in", 3), "list"),
    (("price", "eq", (3, 4)), "one value"),
    (("sale", "gt", False), "gt"),
    (("sale", "eq", "perhaps"), "perhaps"),
    (("added", "lt", "tomorrow"), "tomorrow"),
    (("brand", "eq", "x\x00"), "NUL"),
]


# A catalogue and questions for it, as unlike each other as a shop's and its visitors' are.

BRANDS = ("acme", "Acme", "zeta", "Čapek")
COLOURS = ("red", "green", "blue", "schwarz/weiß")
DAYS = tuple(date(2026, 1, 1) + timedelta(days=n * 7) for n in range(12))


def catalogue() -> list[Entry]:
    """Clusters, duplicates, groups, several images, values that are missing or many."""
    rng = np.random.default_rng(11)
    centres = rng.standard_normal((12, DIMS))
    entries = []
    for n in range(400):
        vectors = (centres[n % 12] + rng.standard_normal((1 + n % 3, DIMS)) * (0.05 if n % 2 else 1)).astype(np.float32)
        if n % 10 == 9:
            vectors[0] = entries[-1].images[0].vector
        filters: dict[str, FilterValue] = {"price": Decimal(int(rng.integers(0, 50_000))) / 100, "sale": n % 5 == 0}
        if n % 7:
            filters |= {"brand": BRANDS[n % len(BRANDS)], "added": DAYS[n % len(DAYS)]}
        if n % 3:
            filters["colour"] = tuple(COLOURS[: n % (len(COLOURS) + 1)])
        entries.append(
            entry(
                n,
                *vectors,
                model="shop.product" if n % 20 else "shop.look",
                group=f"shop.product:{n - n % 4}" if n % 4 and n < 200 else "",
                categories=(f"c{n % 6}", f"d{n % 4}")[: n % 3],
                in_stock=bool(n % 3),
                filters=filters,
            )
        )
    return entries


def questions() -> st.SearchStrategy[Query]:
    conditions = st.one_of(
        st.builds(Condition, st.just("brand"), st.sampled_from(["eq", "gt", "lte"]), st.sampled_from(BRANDS)),
        st.builds(Condition, st.just("colour"), st.just("eq"), st.sampled_from(COLOURS)),
        st.builds(Condition, st.just("colour"), st.just("in"), st.tuples(*[st.sampled_from(COLOURS)] * 2)),
        st.builds(Condition, st.just("price"), st.sampled_from(["gt", "gte", "lt", "lte"]), st.integers(0, 500)),
        st.builds(Condition, st.just("sale"), st.just("eq"), st.booleans()),
        st.builds(
            Condition, st.just("added"), st.sampled_from(["eq", "gt", "gte", "lt", "lte"]), st.sampled_from(DAYS)
        ),
    )
    item_keys = st.integers(0, 399).map(lambda n: f"shop.product:{n}")
    filters = st.builds(
        Filters,
        models=st.sampled_from([(), ("shop.product",), ("shop.look", "shop.product")]),
        categories=st.lists(st.sampled_from(["c0", "c1", "c5", "d0", "d3", "none"]), max_size=2).map(tuple),
        in_stock=st.sampled_from([None, True, False]),
        conditions=st.lists(conditions, max_size=3).map(tuple),
        exclude_keys=st.lists(item_keys, max_size=3).map(tuple),
        exclude_groups=st.lists(item_keys, max_size=3).map(tuple),
    )
    vectors = st.integers(0, 2**32).map(
        lambda seed: np.random.default_rng(seed).standard_normal(DIMS).astype(np.float32)
    )
    return st.builds(
        Query,
        vector=vectors,
        filters=filters,
        limit=st.integers(0, 40),
        offset=st.sampled_from([0, 0, 0, 1, 12, 100, 1000]),
        min_score=st.sampled_from([None, None, -0.2, 0.1, 0.5]),
        collapse=st.booleans(),
        exact=st.sampled_from([None, True]),
    )
