"""A reference implementation of search: exhaustive, in float64 and plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np

from imagesim.types import Candidates, Condition, Entry, Filters, Query

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def expected(entries: Iterable[Entry], query: Query) -> list[tuple[str, float, str]]:
    """(key, score, digest of the image that matched) of every match, best first, for all pages."""
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


def passes(entry: Entry, filters: Filters) -> bool:
    group = entry.group or entry.key
    return (
        (not filters.models or entry.model in filters.models)
        and (not filters.categories or bool(set(entry.categories) & set(filters.categories)))
        and (filters.in_stock is None or entry.in_stock == filters.in_stock)
        and entry.key not in filters.exclude_keys
        and group not in filters.exclude_groups
        and (not filters.keys or entry.key in filters.keys)
        and all(_holds(entry, condition) for condition in filters.conditions)
        and not any(passes(entry, each) for each in filters.none_of)
    )


def _holds(entry: Entry, condition: Condition) -> bool:
    value = entry.filters.get(condition.field)
    values = value if isinstance(value, tuple) else (value,)
    return any(_compare(_plain(v), condition) for v in values if v is not None)


def _compare(value: Any, condition: Condition) -> bool:
    if condition.operator == "in":
        return value in [_plain(v) for v in condition.value]  # type: ignore[union-attr]
    other = _plain(condition.value)
    holds: dict[str, bool] = {
        "eq": value == other,
        "gt": value > other,
        "gte": value >= other,
        "lt": value < other,
        "lte": value <= other,
    }
    return holds[condition.operator]


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        if not isinstance(value, datetime):
            value = datetime.combine(value, time(), tzinfo=timezone.utc)
        return (value - EPOCH) // timedelta(milliseconds=1)
    return float(value) if isinstance(value, Decimal | int) and not isinstance(value, bool) else value


def _unit(vector: Any) -> Any:
    wide = np.asarray(vector, dtype=np.float64)
    return wide / np.linalg.norm(wide)


def assert_answers(candidates: Candidates, entries: Iterable[Entry], query: Query) -> None:
    """Assert that the page is the expected one; scores that only differ by rounding can be in either order."""
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
