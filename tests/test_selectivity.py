"""The choice between exact and approximate search: by an estimate that may be wrong, for an answer that may not."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest

from imagesim.indexes.elasticsearch import ElasticsearchIndex, selectivity
from imagesim.indexes.elasticsearch import recall as elasticsearch_recall
from imagesim.indexes.elasticsearch.selectivity import Selectivity, Statistics, exact_up_to
from imagesim.indexes.validation import CompiledFilters, compile_filters
from imagesim.testing.index_samples import DIMS, META, entry
from imagesim.types import Condition, Filters, Query
from tests.test_index_elasticsearch import Requests

COUNT = 2_000
EXACT = 150
"""In place of EXACT_UP_TO, so that a small index has two ways."""


def where(*conditions: tuple[str, Any, Any], **fields: Any) -> Filters:
    return Filters(conditions=tuple(Condition(*each) for each in conditions), **fields)


@pytest.fixture(scope="module")
def filled(elasticsearch_url: str) -> Iterator[ElasticsearchIndex]:
    """Entries whose category determines their brand: category c0 and brand b0 are the same tenth of them."""
    index = ElasticsearchIndex(hosts=elasticsearch_url, name=f"imagesim-test-{secrets.token_hex(4)}", replicas=0)
    vectors = np.random.default_rng(3).standard_normal((COUNT, DIMS)).astype(np.float32)
    backing_index = index.create(META)
    entries = [
        entry(
            n,
            vector,
            categories=(f"c{n % 10}",),
            in_stock=n % 4 != 0,
            filters={
                "brand": f"b{n % 10}",
                "price": n % 100,
                "sale": n % 50 == 0,
                "added": datetime(2026, 1, 1 + n % 20, tzinfo=timezone.utc),
            },
        )
        for n, vector in enumerate(vectors)
    ]
    assert {result.status for result in index.write(entries, backing_index=backing_index)} == {"done"}
    index.refresh(backing_index)
    index.promote(backing_index)
    yield index
    for left in index.backing_indexes():
        index.drop(left)


@pytest.fixture
def index(filled: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> ElasticsearchIndex:
    """The index as a process that has just started finds it, with its entries counted."""
    monkeypatch.setattr(selectivity, "EXACT_UP_TO", EXACT)
    monkeypatch.setattr("imagesim.indexes.statistics.VISITED", 0)
    monkeypatch.setattr(elasticsearch_recall, "EXACT_UP_TO", EXACT)
    filled.update_statistics()
    filled._states.clear()
    return filled


def ask(index: ElasticsearchIndex, filters: Filters, **how: Any) -> Any:
    [answer] = index.search([Query(np.ones(DIMS, dtype=np.float32), filters, **how)])
    return answer


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(categories=("c1",)),
        Filters(categories=("c1", "c2", "unknown")),
        Filters(in_stock=True),
        Filters(in_stock=False),
        where(("brand", "eq", "b3")),
        where(("brand", "in", ("b3", "b4"))),
        where(("sale", "eq", True)),
        where(("price", "lt", 10)),
        where(("price", "gte", 20), ("price", "lt", 40)),
        where(("price", "gt", 1000)),
        where(("added", "lt", datetime(2026, 1, 11, tzinfo=timezone.utc))),
        where(("price", "lt", 50), in_stock=True),
        Filters(none_of=(Filters(categories=("c1", "c2")),)),
        Filters(none_of=(Filters(keys=("shop.product:1",)), where(("price", "gte", 50)))),
        Filters(keys=("shop.product:1", "shop.product:2")),
    ],
)
def test_the_estimate_is_near_where_conditions_are_independent(index: ElasticsearchIndex, filters: Filters) -> None:
    estimate = index._read().selectivity.passing(compile_filters(filters, META.filters), COUNT)
    assert estimate == pytest.approx(index.count(filters), rel=0.25, abs=0.01 * COUNT)


def test_few_are_scored_exactly_and_many_are_not(index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.meta()
    requests = Requests(index, monkeypatch)
    assert ask(index, where(("price", "lt", 5))).exact
    assert ask(index, where(("brand", "eq", "nobody's"))).exact
    assert not ask(index, Filters()).exact
    assert not ask(index, Filters(categories=("c1",))).exact
    assert not ask(index, where(("price", "lt", 5)), exact=False).exact
    assert requests.paths == [f"/{index.name}/_search"] * 5


def test_what_was_counted_replaces_a_wrong_estimate(index: ElasticsearchIndex) -> None:
    """The product of the rates says 20 of 2,000, because it takes brand and category as independent; 200 have both."""
    both = where(("brand", "eq", "b0"), categories=("c0",))
    assert ask(index, both).exact
    assert not ask(index, both).exact
    assert not ask(index, replace(both, exclude_keys=("shop.product:1",))).exact


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "nonsense",
        {"shares": {"filters.price": {"share": "many", "quantiles": [1]}, "categories": {"values": 3, "more": 1}}},
        {"shares": {"filters.price": {}, "categories": {}}},
        {"shares": {"filters.price": {"share": 1.0, "quantiles": [5, 1]}, "categories": {"values": {}, "more": True}}},
        {"shares": {"filters.price": {"share": 1e9, "quantiles": []}, "categories": {"values": {"c1": -4}, "more": 0}}},
    ],
)
def test_wrong_counts_give_no_wrong_and_no_short_answer(index: ElasticsearchIndex, stored: object) -> None:
    active = index._read()
    active.selectivity.statistics = Statistics.from_stored(stored)
    filters = where(("price", "lt", 2), categories=("c1",))
    answer = ask(index, filters, limit=30)
    assert [c.key for c in answer.candidates] == [c.key for c in ask(index, filters, limit=30, exact=True).candidates]
    assert len(answer.candidates) == index.count(filters) == 20


def test_an_entry_of_a_value_that_was_not_counted_is_found(index: ElasticsearchIndex) -> None:
    new = entry(COUNT + 1, np.ones(DIMS, dtype=np.float32), filters={"brand": "new"})
    index.write([new])
    index.refresh()
    try:
        assert [c.key for c in ask(index, where(("brand", "eq", "new"))).candidates] == [new.key]
    finally:
        index._client.delete(index=index.name, id=new.key, refresh=True)


def test_which_image_is_not_asked_where_each_entry_has_one(
    index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until an entry with two is written: then its second image is named, at the cost of one more request."""
    assert index._read().selectivity.statistics.one_image_each
    requests = Requests(index, monkeypatch)
    [before] = ask(index, Filters(), limit=1).candidates
    assert "inner_hits" not in requests.bodies[-1]
    two = entry(COUNT + 2, -np.ones(DIMS, dtype=np.float32), np.ones(DIMS, dtype=np.float32))
    index.write([two])
    index.refresh()
    try:
        requests.paths.clear()
        for asked in (2, 3):
            [found] = ask(index, Filters(), limit=1).candidates
            assert (found.key, found.image_digest) == (two.key, two.images[1].digest)
            assert found.score > before.score
            assert len(requests.paths) == asked
        assert "inner_hits" in requests.bodies[-1]
        index.update_statistics()
        assert not index._read().selectivity.statistics.one_image_each
    finally:
        index._client.delete(index=index.name, id=two.key, refresh=True)


def test_counting_leaves_the_meta_of_the_index_as_it_is(index: ElasticsearchIndex) -> None:
    backing_index = index.active()
    assert backing_index is not None
    assert index.meta(backing_index) == index.meta() == META
    assert ElasticsearchIndex(hosts=index._connection.hosts, name=index.name).meta() == META


def test_nothing_counted_is_estimated_as_many() -> None:
    assert Selectivity().passing(CompiledFilters(Filters()), 10**6) == math.inf
    assert Selectivity().passing(CompiledFilters(Filters()), 10) == 10


def test_more_entries_are_scored_exactly_in_a_larger_index() -> None:
    limits = [exact_up_to(entries, 100) for entries in (10**4, 10**5, 10**6, 10**7)]
    assert limits == sorted(limits)
    assert limits[0] == selectivity.EXACT_UP_TO
    assert limits[-1] < 0.01 * 10**7


def test_filters_of_many_values_are_not_kept() -> None:
    kept = Selectivity()
    filters = Filters(categories=tuple(f"c{n}" for n in range(10_000)))
    kept.count(compile_filters(filters, {}), 3)
    for n in range(3 * selectivity.MAX_COUNTED):
        kept.count(compile_filters(Filters(categories=(f"c{n}",)), {}), n)
    assert 0 < len(kept._counted) <= selectivity.MAX_COUNTED
