"""Estimate how many entries match the filters of a query, without a request, to choose between exact and approximate
search.

Counts of the values of each field are stored with the index, in ``_meta``, which a process reads with the mapping. The
shares of several conditions are multiplied, as in a database's planner; the count of an exact answer replaces the
estimate for later queries. Both searches are correct for any estimate: it only affects their time.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.statistics import break_even
from imagesim.indexes.validation import CompiledFilter, CompiledFilters
from imagesim.types import FilterKind

MAX_VALUES = 100
"""The number of values per field whose entries are counted, the most common first. A value that was not counted matches
at most as many entries as the last."""
MAX_FIELDS = 50
"""The number of filters whose values are counted."""
PERCENTS = (0, 0.1, 1, *range(5, 100, 5), 99, 99.9, 100)
"""The quantiles stored for a number or date."""
EXACT_UP_TO = 5_000
"""The number of entries up to which search is always exact: the graph would save nothing."""
COUNTED_SECONDS = 600.0
"""How many seconds the count of an exact answer is used."""
MAX_COUNTED = 1_000
"""The number of filters whose counts a process caches."""
MAX_COUNTED_VALUES = 100
"""The maximum number of values of a cached filter."""


def exact_up_to(entries: int, candidates: int) -> float:
    """Return the number of matching entries up to which scoring all of them takes no longer than searching the graph.

    Below it, a search of the graph compares as many vectors as match, then Lucene stops and scores all matches.
    """
    return max(EXACT_UP_TO, break_even(entries, candidates))


def statistics_body(kinds: Mapping[str, FilterKind]) -> dict[str, Any]:
    """Return the body of ``_search`` that counts the values of all fields."""
    aggregations: dict[str, Any] = {
        # Counted with a query, because the field has no doc values.
        "in_stock": {"filter": {"term": {"in_stock": True}}},
        "categories": _terms("categories"),
        "images": {"nested": {"path": "images"}},
    }
    for name, kind in list(kinds.items())[:MAX_FIELDS]:
        path = f"filters.{name}"
        if FILTER_TYPES[kind].is_range:
            of = {"of": {"percentiles": {"field": path, "percents": PERCENTS, "keyed": False}}}
            aggregations[path] = {"filter": {"exists": {"field": path}}, "aggs": of}
        else:
            aggregations[path] = _terms(path)
    return {"size": 0, "track_total_hits": True, "query": {"exists": {"field": "group"}}, "aggs": aggregations}


def _terms(path: str) -> dict[str, Any]:
    return {"terms": {"field": path, "size": MAX_VALUES}}


def parse_statistics(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shares of all entries from the answer, small enough for the index's meta."""
    entries = int(answer["hits"]["total"]["value"])
    shares: dict[str, Any] = {}
    for path, found in answer["aggregations"].items():
        if path == "images":
            continue
        if "buckets" in found:
            values = {_word(bucket["key"]): _share(bucket["doc_count"], entries) for bucket in found["buckets"]}
            shares[path] = {"values": values, "more": bool(found.get("sum_other_doc_count"))}
        elif "of" in found:
            quantiles = [each["value"] for each in found["of"]["values"]]
            if found["doc_count"] and all(isinstance(each, int | float) for each in quantiles):
                shares[path] = {"share": _share(found["doc_count"], entries), "quantiles": quantiles}
        else:
            shares[path] = {"share": _share(found["doc_count"], entries)}
    return {"entries": entries, "images": int(answer["aggregations"]["images"]["doc_count"]), "shares": shares}


def _share(count: int, entries: int) -> float:
    return round(count / max(entries, 1), 6)


def _word(value: object) -> str:
    """Return the value of a keyword or boolean as a JSON key; the keys of booleans are "0" and "1"."""
    return str(int(value)) if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics in the index's meta; empty if nothing was counted yet."""

    shares: Mapping[str, Any] = field(default_factory=dict)
    one_image_each: bool = False
    """Whether every entry had one image when they were counted."""

    @classmethod
    def from_stored(cls, stored: object) -> Statistics:
        """Return stored statistics. Invalid ones count as absent: without them, a search is only slower."""
        stored = stored if isinstance(stored, Mapping) else {}
        shares, entries, images = (stored.get(name) for name in ("shares", "entries", "images"))
        return cls(shares if isinstance(shares, Mapping) else {}, isinstance(images, int) and 0 < images == entries)

    def share(self, compiled: CompiledFilters) -> float:
        """Return the estimated share of all entries that match, 0 to 1; a field that was not counted matches all.

        :raises AttributeError, LookupError, TypeError, ValueError: if the stored statistics are invalid.
        """
        filters, conditions = compiled.filters, compiled.conditions
        share = 1.0
        if filters.categories:
            share *= self._of_values("categories", filters.categories)
        if filters.in_stock is not None and "in_stock" in self.shares:
            in_stock = float(self.shares["in_stock"]["share"])
            share *= in_stock if filters.in_stock else 1 - in_stock
        for name in dict.fromkeys(each.field for each in conditions):
            share *= self._of_field(f"filters.{name}", [each for each in conditions if each.field == name])
        for excluded in _excluded(compiled):
            share *= 1 - self.share(excluded)
        return share

    def _of_field(self, path: str, tests: Sequence[CompiledFilter]) -> float:
        counted = self.shares.get(path)
        if counted is None:
            return 1.0
        if "quantiles" not in counted:
            return min(
                (self._of_values(path, test.values) for test in tests if test.operator in ("eq", "in")), default=1.0
            )
        low, high, points = 0.0, 1.0, 1.0
        for test in tests:
            if test.operator in ("eq", "in"):
                spans = [_below(counted["quantiles"], value) for value in test.values]
                points = min(points, sum(upto - below for below, upto in spans))
                continue
            below, upto = _below(counted["quantiles"], test.values[0])
            if test.operator in ("gt", "gte"):
                low = max(low, upto if test.operator == "gt" else below)
            else:
                high = min(high, upto if test.operator == "lte" else below)
        return float(counted["share"]) * max(min(high - low, points), 0.0)

    def _of_values(self, path: str, values: Sequence[Any]) -> float:
        counted = self.shares.get(path)
        if counted is None:
            return 1.0
        known: Mapping[str, float] = counted["values"]
        rare = min(known.values(), default=0.0) if counted["more"] else 0.0
        return min(sum(float(known.get(_word(value), rare)) for value in values), 1.0)


def _below(quantiles: Sequence[float], value: Any) -> tuple[float, float]:
    """Return the shares of the values below ``value``, and of those up to it; interpolated between two quantiles."""
    at = float(value)
    first, last = bisect_left(quantiles, at), bisect_right(quantiles, at)
    if first < last:  # it is one of the quantiles, or several
        return PERCENTS[first] / 100, PERCENTS[last - 1] / 100
    if first in (0, len(quantiles)):
        return (0.0, 0.0) if first == 0 else (1.0, 1.0)
    before, after = quantiles[first - 1], quantiles[first]
    part = (at - before) / (after - before)
    share = (PERCENTS[first - 1] + part * (PERCENTS[first] - PERCENTS[first - 1])) / 100
    return share, share


class Selectivity:
    """The estimates for one backing index in one process. It is thread-safe."""

    def __init__(self) -> None:
        self.statistics = Statistics()
        self._counted: dict[Hashable, tuple[int, float]] = {}

    def passing(self, compiled: CompiledFilters, entries: int) -> float:
        """Return the estimated number of matching entries; infinite if nothing is known."""
        if entries <= EXACT_UP_TO:
            return entries
        named = len(compiled.filters.keys) or math.inf
        counted, until = self._counted.get(_key(compiled), (0, -math.inf))
        if time.monotonic() < until:
            return min(counted, named)
        if not self.statistics.shares:
            return named
        try:
            return min(self.statistics.share(compiled) * entries, named)
        except (AttributeError, LookupError, TypeError, ValueError):
            return named

    def forget_images(self) -> None:
        """Note that entries with several images have been written since the statistics were made."""
        self.statistics = replace(self.statistics, one_image_each=False)

    def count(self, compiled: CompiledFilters, passing: int) -> None:
        """Store the count of an exact answer."""
        if compiled.filters.keys or _values(compiled) > MAX_COUNTED_VALUES:
            return
        if len(self._counted) >= MAX_COUNTED:
            self._counted.clear()
        self._counted[_key(compiled)] = (passing, time.monotonic() + COUNTED_SECONDS)


def _key(compiled: CompiledFilters) -> Hashable:
    """Return the filters as a key of a cache, without named keys and groups, which are few and differ by page."""
    filters, others = compiled.filters, tuple(_key(each) for each in _excluded(compiled))
    return filters.models, filters.categories, filters.in_stock, compiled.conditions, others


def _excluded(compiled: CompiledFilters) -> list[CompiledFilters]:
    """Return the negated filters without those that name keys of entries."""
    return [each for each in compiled.none_of if not each.filters.keys]


def _values(compiled: CompiledFilters) -> int:
    own = len(compiled.filters.categories) + sum(len(each.values) for each in compiled.conditions)
    return own + sum(1 + _values(each) for each in compiled.none_of)
