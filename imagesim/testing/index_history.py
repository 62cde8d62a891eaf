"""The part of the contract of an index that concerns its whole life: random writes, swaps and queries, whose results
are compared with a reference in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest

from imagesim.filter_types import FILTER_TYPES, Canonical
from imagesim.indexes import BaseIndex
from imagesim.indexes.text import TextIndex
from imagesim.testing.index_samples import DIMS, META, IndexFixtures, passes
from imagesim.types import Candidates, Condition, Entry, EntryImage, Facet, Filters, Query, Removal, TextSpec

# Only one language: which words have the same stem is known only per field.
HISTORY_META = replace(META, texts={"name": TextSpec(3.0), "description": TextSpec(1.0)})
KINDS = HISTORY_META.filters
KEYS = [f"shop.product:{number}" for number in range(32)]
CATEGORIES = ("shoes", "Shoes", "hats", "ünï", "")
WORDS = ("acme", "Acme", "", "ß", "SS", "İ", "é", "e\u0301", "👗", "a b", "x" * 500, "0", "\uffff", "\U00010000")
NUMBERS = (0, -0.0, 1.5, Decimal("1.50"), 2**53, 2**53 + 1, 1e308, -1e308, 5e-324, Decimal("0.1"), 0.1, "7", 100)
MOMENTS = (
    *(date(2026, 1, 1), date(1, 1, 2), date(9999, 12, 30), "2026-03-01", datetime(2026, 10, 25, 2, 30)),
    datetime(2026, 1, 1, tzinfo=timezone.utc),
    datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=timezone.utc),
)
VALUES: dict[str, Sequence[Any]] = {
    "brand": WORDS,
    "colour": WORDS[:4],
    "price": NUMBERS,
    "sale": (True, False),
    "added": MOMENTS,
}
NAMES = ("Running Shoe", "running shoes for kids", "Banana Juice", "T-shirt, washed red", "Café Noir", "chair", "Jucie")
TEXTS = ("running shoe", "shoes", "bananna juice", "juic", "t-shirt", "tshirt", "cafe", "chair red", "j", "the")


class HistoryContract(IndexFixtures):
    @pytest.mark.parametrize("seed", [3, 4])
    def test_a_history_equals_the_reference(self, make_index: Callable[[], BaseIndex], seed: int) -> None:
        history = History(make_index(), make_index(), Random(seed))
        try:
            for _ in range(8):
                if history.random.random() < 0.3:
                    history.rebuild()
                history.write()
                history.check()
        finally:
            for backing_index in history.indexes[0].backing_indexes():
                history.indexes[0].drop(backing_index)


class History:
    """An index, as two processes see it, and what it should hold: the version and the entry of each key."""

    def __init__(self, index: BaseIndex, other: BaseIndex, random: Random) -> None:
        self.indexes, self.random = (index, other), random
        self.stored: dict[str, tuple[int, Entry | None]] = {}
        # Only a few, so that many images are equal.
        self.vectors = np.random.default_rng(random.randrange(2**32)).standard_normal((14, DIMS)).astype(np.float32)
        index.promote(index.create(HISTORY_META))

    @property
    def entries(self) -> list[Entry]:
        return sorted((entry for _, entry in self.stored.values() if entry), key=lambda entry: entry.key)

    def rebuild(self) -> None:
        index, former = self.indexes[0], self.indexes[0].active()
        beside = index.create(HISTORY_META)
        index.write(self.entries, backing_index=beside)
        index.promote(beside)
        index.drop(former or "")
        self.stored = {key: (version, entry) for key, (version, entry) in self.stored.items() if entry}

    def write(self) -> None:
        operations: list[Entry | Removal] = []
        for _ in range(self.random.choice((1, 5, 20))):
            key = self.random.choice(KEYS)
            version = max(1, self.stored.get(key, (0, None))[0] + self.random.choice((-1, 0, 1, 1, 2, 5)))
            removes = self.random.random() < 0.25
            operations.append(Removal(key, version) if removes else self.entry(key, version))
        results = self.random.choice(self.indexes).write(operations)
        for operation, result in zip(operations, results, strict=True):
            newer = operation.version > self.stored.get(operation.key, (0, None))[0]
            assert result.status == ("done" if newer else "newer"), (operation, result)
            if newer:
                self.stored[operation.key] = (operation.version, operation if isinstance(operation, Entry) else None)
        self.indexes[0].refresh()

    def entry(self, key: str, version: int) -> Entry:
        random, pk = self.random, key.partition(":")[2]
        images = tuple(
            EntryImage(f"digest-{pk}-{n}-{version}", f"{pk}-{n}.jpg", random.choice(self.vectors))
            for n in range(random.choice((1, 1, 1, 2, 4)))
        )
        return Entry(
            key,
            random.choice(("shop.product", "shop.product", "shop.look")),
            pk,
            version,
            images,
            tuple(random.sample(CATEGORIES, random.randrange(3))),
            random.random() < 0.7,
            random.choice(("", "", "g1", "g2", random.choice(KEYS))),
            {name: tuple(random.choices(values, k=random.choice((0, 1, 1, 3)))) for name, values in VALUES.items()},
            {name: (random.choice(NAMES),) for name in HISTORY_META.texts if random.random() < 0.5},
        )

    def filters(self, negated: bool = False) -> Filters:
        random = self.random
        return Filters(
            models=random.choice(((), (), ("shop.product",), ("shop.look", "none"))),
            categories=tuple(random.sample(CATEGORIES, random.choice((0, 0, 0, 1, 2)))),
            in_stock=random.choice((None, None, True, False)),
            conditions=tuple(self.condition() for _ in range(random.choice((0, 0, 1, 2)))),
            exclude_keys=tuple(random.sample(KEYS, random.choice((0, 0, 2)))),
            exclude_groups=tuple(random.sample(("g1", "g2", *KEYS), random.choice((0, 0, 3)))),
            keys=tuple(random.sample(KEYS, random.choice((0, 0, 0, 8)))),
            none_of=() if negated else tuple(self.filters(True) for _ in range(random.choice((0, 0, 0, 1, 2)))),
        )

    def condition(self) -> Condition:
        name = self.random.choice(list(VALUES))
        compare = self.random.choice(FILTER_TYPES[KINDS[name]].operators)
        several = tuple(self.random.choices(VALUES[name], k=self.random.choice((0, 1, 3))))
        return Condition(name, compare, several if compare == "in" else self.random.choice(VALUES[name]))

    def query(self) -> Query:
        random = self.random
        other = np.random.default_rng(random.randrange(2**32)).standard_normal(DIMS).astype(np.float32)
        return Query(
            random.choice((other, random.choice(self.vectors))),
            self.filters(),
            limit=random.choice((0, 1, 3, 12, 100)),
            offset=random.choice((0, 0, 1, 5, 40)),
            min_score=random.choice((None, None, 0.2, -0.5)),
            collapse=random.random() < 0.6,
            exact=random.choice((None, True, False)),
            similarity=random.choice((None, "l2", "l1")),
            fields=tuple(random.sample([*KINDS, "in_stock"], random.choice((0, 2)))),
            text=random.choice(TEXTS) if random.random() < 0.3 else "",
            typing=random.random() < 0.3,
        )

    def check(self) -> None:
        entries, index = self.entries, self.random.choice(self.indexes)
        assert list(index.scan(batch_size=7)) == [(entry.key, entry.version) for entry in entries]
        queries = [self.query() for _ in range(10)]
        for query, answer in zip(queries, index.search(queries), strict=True):
            _compare(answer, entries, query)
            assert index.count(query.filters) == sum(passes(entry, query.filters) for entry in entries), query
        filters, fields = self.filters(), self.random.sample([*KINDS, "category", "in_stock"], 3)
        assert index.facets(filters, fields) == {name: _facet(entries, filters, name) for name in fields}, filters


def _values(entry: Entry, name: str) -> list[Canonical]:
    if name == "in_stock":
        return [entry.in_stock]
    return (
        list(entry.categories)
        if name == "category"
        else FILTER_TYPES[KINDS[name]].canonical_values(entry.filters[name])
    )


def _facet(entries: Sequence[Entry], filters: Filters, name: str) -> Facet:
    filters = replace(
        filters,
        categories=() if name == "category" else filters.categories,
        in_stock=None if name == "in_stock" else filters.in_stock,
        conditions=tuple(each for each in filters.conditions if each.field != name),
    )
    each = [[value for value in _values(entry, name) if value != ""] for entry in entries if passes(entry, filters)]
    found = [values for values in each if values]
    kind = {**KINDS, "category": "keyword", "in_stock": "boolean"}[name]
    every: list[Any] = [value for values in found for value in values]
    if FILTER_TYPES[kind].is_range and every:
        restore = FILTER_TYPES[kind].restore
        return Facet(kind, len(found), minimum=restore(min(every)), maximum=restore(max(every)))
    counts = sorted(((value, every.count(value)) for value in set(every)), key=lambda each: (-each[1], each[0]))
    return Facet(kind, len(found), tuple(counts))


def _ranked(entries: Sequence[Entry], query: Query) -> list[tuple[float, Entry, float, str]]:
    """Return (distance, entry, score or match, digest of the image) of all entries that match, best first."""
    passing = [entry for entry in entries if passes(entry, query.filters)]
    found = _by_words(entries, passing, query) if query.text else [_nearest(entry, query) for entry in passing]
    best: dict[str, tuple[float, Entry, float, str]] = {}
    for each in sorted((each for each in found if each), key=lambda each: (each[0], each[1].key)):
        best.setdefault((each[1].group or each[1].key) if query.collapse else each[1].key, each)
    return list(best.values())


def _nearest(entry: Entry, query: Query) -> tuple[float, Entry, float, str] | None:
    asked = query.vector / np.linalg.norm(query.vector)
    found = []
    for number, image in enumerate(entry.images):
        vector = image.vector / np.linalg.norm(image.vector)
        cosine = float(vector @ asked)
        far = float(np.abs(vector - asked).sum()) if query.similarity == "l1" else -cosine
        if query.min_score is None or cosine >= query.min_score:
            found.append((round(far, 5), number, cosine, image.digest))
    if not found:
        return None
    far, _, cosine, digest = min(found)
    return far, entry, cosine, digest


def _by_words(
    entries: Sequence[Entry], passing: Sequence[Entry], query: Query
) -> list[tuple[float, Entry, float, str] | None]:
    index = TextIndex(HISTORY_META.texts)
    for slot, entry in enumerate(entries):
        index.set(slot, entry.texts)
    matches = index.match(query)
    found = zip(matches.slots.tolist(), matches.scores.tolist(), strict=True)
    return [
        (-round(score, 6), entries[slot], score, entries[slot].images[0].digest)
        for slot, score in found
        if entries[slot] in passing
    ]


def _compare(answer: Candidates, entries: Sequence[Entry], query: Query) -> None:
    ranked = _ranked(entries, query)
    page = ranked[query.offset : query.offset + query.limit]
    assert answer.more == (len(ranked) > query.offset + query.limit), query
    assert [each.key for each in answer.candidates] == [entry.key for _, entry, _, _ in page], (query, page)
    for candidate, (_, entry, score, digest) in zip(answer.candidates, page, strict=True):
        assert (candidate.text if query.text else candidate.score) == pytest.approx(score, abs=1e-5)
        assert candidate.image_digest == digest
        assert (candidate.group, candidate.categories) == (entry.group or entry.key, entry.categories)
        values = {name: tuple(_values(entry, name)) for name in query.fields}
        assert dict(candidate.values) == {name: each for name, each in values.items() if each}
