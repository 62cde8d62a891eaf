"""The part of the contract of an index that concerns its life cycle and writes to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from imagesim.exceptions import BadQuery, IndexMissing
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import BaseIndex
from imagesim.testing.index_samples import BAD_OPERATIONS, DIMS, META, NEEDS_AN_INDEX, IndexFixtures, axis, entry, keys
from imagesim.types import Condition, Filters, Query, Removal


class WritingContract(IndexFixtures):
    # The life cycle of a backing index.

    def test_a_new_name_has_no_index(self, index: BaseIndex) -> None:
        assert index.active() is None
        assert index.backing_indexes() == []

    def test_a_missing_index_is_reported_as_missing(self, index: BaseIndex) -> None:
        for ask in NEEDS_AN_INDEX:
            with pytest.raises(IndexMissing, match="imagesim_rebuild"):
                ask(index)
        assert index.backing_indexes() == []

    def test_a_backing_index_is_active_after_promotion(self, index: BaseIndex) -> None:
        backing_index = index.create(META)
        assert index.backing_indexes() == [backing_index]
        assert index.active() is None
        assert index.meta(backing_index) == META
        index.promote(backing_index)
        assert index.active() == backing_index
        assert index.meta() == META
        index.promote(backing_index)
        assert index.active() == backing_index

    def test_an_empty_index_finds_nothing(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled()
        [answer] = index.search([Query(axis(0))])
        assert answer.candidates == ()
        assert not answer.more
        assert index.count() == 0
        assert list(index.scan()) == []
        assert index.search([]) == []

    def test_backing_indexes_are_listed_oldest_first(self, index: BaseIndex) -> None:
        made = [index.create(META) for _ in range(3)]
        assert index.backing_indexes() == made
        index.promote(made[1])
        index.promote(made[2])
        assert index.active() == made[2]
        assert index.backing_indexes() == made
        index.drop(made[0])
        index.drop(made[0])
        assert index.backing_indexes() == made[1:]

    def test_an_inactive_backing_index_is_not_searched(self, filled: Callable[..., BaseIndex]) -> None:
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

    def test_dropping_the_active_index(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0)))
        index.drop(index.active() or "")
        assert index.active() is None
        with pytest.raises(IndexMissing):
            index.search([Query(axis(0))])

    def test_a_write_to_a_dropped_index_does_not_recreate_it(self, index: BaseIndex) -> None:
        backing_index = index.create(META)
        index.write([entry(1, axis(0))], backing_index=backing_index)
        index.drop(backing_index)
        with pytest.raises(IndexMissing):
            index.write([entry(2, axis(0))], backing_index=backing_index)
        assert index.backing_indexes() == []

    def test_names_with_a_common_prefix_are_separate(self, index: BaseIndex) -> None:
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

    # Writing.

    def test_an_entry_keeps_all_values(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(7, axis(0), group="shop.product:parent"))
        [answer] = index.search([Query(axis(0))])
        [match] = answer.candidates
        assert match.key == "shop.product:7"
        assert match.group == "shop.product:parent"
        assert (match.image_digest, match.image_name) == ("digest-7-0", "photos/7-0.jpg")
        assert match.score == pytest.approx(1, abs=1e-5)
        assert answer.took_ms >= 0

    def test_an_entry_is_replaced_completely(self, filled: Callable[..., BaseIndex]) -> None:
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

    def test_an_older_write_does_not_restore_a_removed_entry(self, filled: Callable[..., BaseIndex]) -> None:
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

    def test_removing_an_unknown_key_leaves_a_tombstone(self, filled: Callable[..., BaseIndex]) -> None:
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

    def test_an_invalid_operation_affects_no_other(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled()
        for number, (bad, word) in enumerate(BAD_OPERATIONS):
            results = index.write([entry(2 * number, axis(0)), bad, entry(2 * number + 1, axis(1))])
            assert [result.status for result in results] == ["done", "failed", "done"], (bad, results)
            assert results[1].key == bad.key
            assert word in results[1].error
            assert not results[1].retryable
        index.refresh()
        assert index.count() == 2 * len(BAD_OPERATIONS)

    def test_an_undeclared_filter_is_not_stored(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0), filters={"brand": "b", "fabric": "wool"}))
        assert index.count(Filters(conditions=(Condition("brand", "eq", "b"),))) == 1
        with pytest.raises(BadQuery, match=r"fabric.*'added', 'brand', 'colour', 'price' or 'sale'"):
            index.count(Filters(conditions=(Condition("fabric", "eq", "wool"),)))

    def test_many_filters(self, index: BaseIndex) -> None:
        kinds = {f"f{n}": tuple(FILTER_TYPES)[n % 4] if n > 40 else "keyword" for n in range(60)}
        index.promote(index.create(replace(META, filters=kinds)))
        results = index.write([entry(1, axis(0), filters={"f0": "a", "f40": "b", "f48": "c"}), entry(2, axis(1))])
        assert [result.status for result in results] == ["done", "done"]
        index.refresh()
        asked = Filters(conditions=(Condition("f40", "eq", "b"), Condition("f48", "gte", "c")))
        assert keys(index, Query(axis(0), asked)) == ["1"]
        assert index.facets(asked, ("f0",))["f0"].values == (("a", 1),)

    def test_vectors_need_not_be_of_unit_length(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0) * 3), entry(2, axis(1) * 0.2))
        [answer] = index.search([Query(axis(0) * 7)])
        assert [match.score for match in answer.candidates] == [pytest.approx(1, abs=1e-5), pytest.approx(0, abs=1e-5)]

    def test_many_operations_in_one_call_keep_their_order(self, index: BaseIndex) -> None:
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

    @pytest.mark.parametrize("named", [False, True], ids=["active", "named"])
    def test_a_scan_of_an_index_that_is_dropped_meanwhile_says_so(self, index: BaseIndex, named: bool) -> None:
        first = index.create(META)
        index.promote(first)
        index.write([entry(str(number), axis(0)) for number in range(4)])
        index.refresh()
        found = index.scan(batch_size=2, backing_index=first if named else None)
        assert next(found) == ("shop.product:0", 1)
        if not named:
            index.promote(index.create(META))
        index.drop(first)
        with pytest.raises(IndexMissing, match=f"{index.name}.*imagesim_rebuild"):
            list(found)
