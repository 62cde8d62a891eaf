"""Boosts and limits: the new order of the candidates of a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imagesim.indexes.validation import CompiledFilters, compile_filters
from imagesim.merchandising.conditions import IN_STOCK
from imagesim.retrieval.rerank import Judged
from imagesim.types import Candidate, FilterKind, Filters

_COMPARE = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


@dataclass(frozen=True, slots=True)
class Boost:
    """Multiply the relevance of candidates that match the filters; a factor below 1 buries."""

    rule: str
    filters: Filters
    factor: float


@dataclass(frozen=True, slots=True)
class Limit:
    """Allow at most ``count`` candidates with one value of a field among the first."""

    rule: str
    field: str
    count: int
    first: int


@dataclass
class Arrangement:
    """Reorders the candidates of a window by the rules. ``kinds``: those of the index's filters.

    What no rule concerns keeps its order. The relevance that a boost multiplies is that of the candidate's place: the
    highest of its own and of all behind it. So a boosted candidate passes those before it that are less relevant than
    it has become, and a factor means the same for all.
    """

    boosts: Sequence[Boost]
    limits: Sequence[Limit]
    kinds: Mapping[str, FilterKind]

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Return the fields whose values are compared."""
        names = [condition.field for boost in self.boosts for condition in boost.filters.conditions]
        names += [limit.field for limit in self.limits]
        names += [IN_STOCK for boost in self.boosts if boost.filters.in_stock is not None]
        return tuple(dict.fromkeys(names))

    def __call__(self, judged: Sequence[Judged], placed: Mapping[int, Judged]) -> list[Judged]:
        found = self._boosted(judged) if self.boosts else list(judged)
        return self._limited(found, placed) if self.limits else found

    def _boosted(self, judged: Sequence[Judged]) -> list[Judged]:
        compiled = [(boost, compile_filters(boost.filters, self.kinds)) for boost in self.boosts]
        worth: list[tuple[float, Judged]] = []
        best = 0.0
        for each in reversed(judged):
            best = max(best, each.relevance)
            passed = [boost for boost, filters in compiled if passes(each.candidate, filters)]
            value = best
            for boost in passed:
                value *= boost.factor
            worth.append((value, each.moved_by(*(boost.rule for boost in passed)) if passed else each))
        worth.reverse()
        return [each for _value, each in sorted(worth, key=lambda pair: -pair[0])]  # stable

    def _limited(self, judged: Sequence[Judged], placed: Mapping[int, Judged]) -> list[Judged]:
        """Assign each position to the first candidate that no limit forbids there, or to the first one if all are
        forbidden."""
        counts = Counter[tuple[str, Any]]()
        for limit in self.limits:
            for position, each in placed.items():
                if position < limit.first:
                    counts.update((limit.rule, value) for value in each.candidate.values.get(limit.field, ()))
        left, found = list(judged), list[Judged]()
        position = 0
        while left and position < max(limit.first for limit in self.limits):
            if position not in placed:
                limits = [limit for limit in self.limits if position < limit.first]
                number = next((n for n, each in enumerate(left) if not _forbidding(each, limits, counts)), 0)
                for passed_over in range(number):
                    rules = {limit.rule for limit in _forbidding(left[passed_over], limits, counts)}
                    left[passed_over] = left[passed_over].moved_by(
                        *sorted(rules - set(left[passed_over].candidate.rules))
                    )
                each = left.pop(number)
                for limit in limits:
                    counts.update((limit.rule, value) for value in each.candidate.values.get(limit.field, ()))
                found.append(each)
            position += 1
        return found + left


def _forbidding(each: Judged, limits: Sequence[Limit], counts: Mapping[tuple[str, Any], int]) -> list[Limit]:
    values = each.candidate.values
    return [
        limit
        for limit in limits
        if any(counts.get((limit.rule, value), 0) >= limit.count for value in values.get(limit.field, ()))
    ]


def passes(candidate: Candidate, compiled: CompiledFilters) -> bool:
    """Whether a candidate matches filters, by its values."""
    filters = compiled.filters
    if filters.categories and set(filters.categories).isdisjoint(candidate.categories):
        return False
    if filters.in_stock is not None and (filters.in_stock,) != candidate.values.get(IN_STOCK):
        return False
    for test in compiled.tests:
        values = candidate.values.get(test.field, ())
        if test.operator in ("eq", "in"):
            if set(values).isdisjoint(test.values):
                return False
        elif not any(_COMPARE[test.operator](value, test.values[0]) for value in values):
            return False
    return True
