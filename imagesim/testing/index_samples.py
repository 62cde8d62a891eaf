"""Entries, filters and queries for testing an index, the fixtures of its contract, and a reference implementation of
search: exhaustive, in float64 and plain Python."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from imagesim import filter_types
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import BaseIndex
from imagesim.types import Candidates, Condition, Entry, EntryImage, Filters, FilterValue, IndexMeta, Query, Removal

DIMS = 16
META = IndexMeta(
    fingerprint="test-model",
    dims=DIMS,
    filters={"brand": "keyword", "colour": "keyword", "price": "number", "sale": "boolean", "added": "date"},
)


def axis(number: int, *, towards: int | None = None, share: float = 0.0) -> Any:
    """Return the unit vector along an axis, or rotated slightly towards another."""
    vector = np.zeros(DIMS, dtype=np.float32)
    vector[number] = 1
    if towards is not None:
        vector[towards] += share
    return vector / np.linalg.norm(vector)


def entry(
    pk: object, *vectors: Any, version: int = 1, model: str = "shop.product", group: str = "", **kwargs: Any
) -> Entry:
    """Return an entry with one image per vector."""
    images = tuple(EntryImage(f"digest-{pk}-{n}", f"photos/{pk}-{n}.jpg", v) for n, v in enumerate(vectors))
    return Entry(f"{model}:{pk}", model, str(pk), version, images, group=group, **kwargs)


def keys(index: BaseIndex, query: Query, backing_index: str | None = None) -> list[str]:
    """Return the primary keys of the answer, best first; the active index is searched by default."""
    [answer] = index.search([query], backing_index=backing_index)
    return [match.key.partition(":")[2] for match in answer.candidates]


# For other threads and processes, an index in the database needs transactions that are really committed.
concurrent = pytest.mark.django_db(transaction=True)


class IndexFixtures:
    """The base of the parts of the contract. A subclass overrides ``make_index``."""

    approximate: bool

    @pytest.fixture
    def make_index(self) -> Callable[[], BaseIndex]:
        """Return a factory of index objects with the same name, as different processes have them."""
        raise NotImplementedError

    @pytest.fixture
    def index(self, make_index: Callable[[], BaseIndex]) -> Iterator[BaseIndex]:
        index = make_index()
        yield index
        for backing_index in index.backing_indexes():
            index.drop(backing_index)

    @pytest.fixture
    def filled(self, index: BaseIndex) -> Callable[..., BaseIndex]:
        """Return a function that fills an index and activates it."""

        def fill(*entries: Entry) -> BaseIndex:
            if index.active() is None:
                index.promote(index.create(META))
            results = index.write(entries)
            assert [result.status for result in results] == ["done"] * len(entries), results
            index.refresh()
            return index

        return fill

    def options(self, index: BaseIndex) -> dict[str, Any]:
        return {}


# Each test uses one index for its whole table of cases, because creating an index takes a server a while.

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
    lambda index: index.search([Query(axis(0))], backing_index=f"{index.name}-20260101000000000000-abcdef"),
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
    (Filters(keys=("shop.product:a", "shop.product:b", "shop.product:zzz")), "ab"),
    (Filters(keys=("shop.product:zzz",)), ""),
    (Filters(none_of=(Filters(categories=("shoes",)), Filters(exclude_groups=("g",)))), "cd"),
    (Filters(none_of=(Filters(),)), ""),
    (Filters(in_stock=True, none_of=(Filters(categories=("shoes", "bags"), in_stock=True),)), "de"),
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


# A varied catalogue and queries.

BRANDS = ("acme", "Acme", "zeta", "Čapek")
COLOURS = ("red", "green", "blue", "schwarz/weiß")
DAYS = tuple(date(2026, 1, 1) + timedelta(days=n * 7) for n in range(12))


def catalogue() -> list[Entry]:
    """Return entries with clusters, duplicates, groups, several images, and missing or multiple values."""
    rng = np.random.default_rng(11)
    centres = rng.standard_normal((12, DIMS))
    entries: list[Entry] = []
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


def queries() -> st.SearchStrategy[Query]:
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
        keys=st.one_of(st.just(()), st.just(()), st.lists(item_keys, max_size=30).map(tuple)),
        none_of=st.lists(
            st.builds(
                Filters,
                categories=st.sampled_from([(), ("c0",), ("d0", "c1")]),
                in_stock=st.sampled_from([None, None, False]),
                conditions=st.lists(conditions, min_size=1, max_size=2).map(tuple),
            ),
            max_size=3,
        ).map(tuple),
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


COMPARE = {"eq": operator.eq, **filter_types.COMPARE}


def expected(entries: Iterable[Entry], query: Query) -> list[tuple[str, float, str]]:
    """Return (key, score, digest of the image that matched) of every match, best first, for all pages."""
    found = []
    for entry in entries:
        if passes(entry, query.filters):
            scores = [float(np.dot(_unit(image.vector), _unit(query.vector))) for image in entry.images]
            place = int(np.argmax(scores))
            if query.min_score is None or scores[place] >= query.min_score:
                found.append((entry.key, scores[place], entry.images[place].digest, entry.group or entry.key))
    found.sort(key=lambda each: (-np.float32(each[1]), each[0]))
    seen: set[str] = set()
    kept = []
    for key, score, digest, group in found:
        if not query.collapse or group not in seen:
            seen.add(group)
            kept.append((key, score, digest))
    return kept


def _holds(value: Any, condition: Condition) -> bool:
    canonical = FILTER_TYPES[META.filters[condition.field]].canonical
    if isinstance(condition.value, tuple):
        return canonical(value) in map(canonical, condition.value)
    return bool(COMPARE[condition.operator](canonical(value), canonical(condition.value)))


def _values(entry: Entry, field: str) -> Iterable[Any]:
    value = entry.filters.get(field)
    return [each for each in (value if isinstance(value, tuple) else (value,)) if each is not None]


def satisfies(entry: Entry, conditions: Sequence[Condition]) -> bool:
    """Return whether one value of the entry satisfies all bounds of a filter, and some value each other condition."""
    groups: dict[object, list[Condition]] = {}
    for number, condition in enumerate(conditions):
        groups.setdefault(number if condition.operator in ("eq", "in") else condition.field, []).append(condition)
    return all(
        any(all(_holds(value, condition) for condition in group) for value in _values(entry, group[0].field))
        for group in groups.values()
    )


def passes(entry: Entry, filters: Filters) -> bool:
    return (
        (not filters.models or entry.model in filters.models)
        and (not filters.categories or bool(set(entry.categories) & set(filters.categories)))
        and (filters.in_stock is None or entry.in_stock == filters.in_stock)
        and entry.key not in filters.exclude_keys
        and (entry.group or entry.key) not in filters.exclude_groups
        and (not filters.keys or entry.key in filters.keys)
        and satisfies(entry, filters.conditions)
        and not any(passes(entry, each) for each in filters.none_of)
    )


def _unit(vector: Any) -> Any:
    wide = np.asarray(vector, dtype=np.float64)
    return wide / np.linalg.norm(wide)


def assert_answers(candidates: Candidates, entries: Iterable[Entry], query: Query) -> None:
    """Assert that the page is the expected one; scores that differ only by rounding can be in either order."""
    everything = expected(entries, query)
    page = everything[query.offset : query.offset + query.limit]
    assert len(candidates) == len(page), (query, candidates, page)
    assert candidates.more == (len(everything) > query.offset + query.limit)
    true_score = {key: score for key, score, _ in everything}
    for match, (key, score, digest) in zip(candidates.candidates, page, strict=True):
        assert abs(match.score - score) < 1e-3
        if match.key != key:
            assert abs(true_score[match.key] - score) < 1e-6, (match, key, score)
        elif _alone(everything, score):
            assert match.image_digest == digest


def _alone(everything: Sequence[tuple[str, float, str]], score: float) -> bool:
    return sum(abs(other - score) < 1e-6 for _, other, _ in everything) == 1
