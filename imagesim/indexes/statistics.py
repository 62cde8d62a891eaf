"""Statistics of an approximate index: the number of its entries and the measured recall of its answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesim.types import Vector

MAX_CANDIDATES = 10_000
"""The maximum number of candidates that a search takes from the graph."""
STATISTICS = "statistics"
"""The key of the statistics in the stored meta. They change with the entries, but do not affect which entries match."""
VISITED = 5
"""The minimum number of vectors that a search of the graph compares per candidate."""


def break_even(entries: int, candidates: int) -> float:
    """Return the number of matching entries at which exact scoring takes as long as a search of the graph.

    A search of the graph with a filter that matches the share s of n entries compares about 1/s times as many vectors
    as the ``VISITED * candidates`` without a filter; exact scoring compares s * n. Both are equal for
    s * n = sqrt(VISITED * candidates * n).
    """
    return math.sqrt(VISITED * candidates * entries)


@dataclass(frozen=True, slots=True)
class Probe:
    """A query for measuring recall: the vector (dims,) of a stored image, whose own entry ``key`` is excluded from the
    answers, or that of a text if ``words`` is true."""

    vector: Vector
    key: str = ""
    words: bool = False


@dataclass(frozen=True, slots=True)
class ScopeRecall:
    """The recall@10 of queries under one filter, which ``share`` of the entries satisfy. ``name`` is empty without a
    filter."""

    name: str
    share: float
    candidates: int
    """The number of candidates that such a search has taken from the graph since the measurement; 0 for exact
    search."""
    recall: float
    before: float
    """The recall with the number of candidates that was in use until the measurement."""


@dataclass(frozen=True, slots=True)
class RecallReport:
    """The last measurement of an index: the recall that was found, and the candidates that were chosen."""

    target: float
    entries: int
    queries: int
    measured_at: str
    """The time of the measurement, in the format of ISO 8601."""
    scopes: tuple[ScopeRecall, ...]
    """At least one scope; the first is that of all entries."""

    @property
    def recall(self) -> float:
        """The lowest recall of all scopes."""
        return min(scope.recall for scope in self.scopes)

    @property
    def before(self) -> float:
        """The lowest recall of all scopes with the candidates that were in use until the measurement."""
        return min(scope.before for scope in self.scopes)

    @property
    def candidates(self) -> int:
        """The number of candidates of a search without filters; 0 if it is exact."""
        return self.scopes[0].candidates

    @property
    def kept(self) -> bool:
        """Whether searches reach the recall that the settings ask for."""
        return self.recall >= self.target

    @property
    def drifted(self) -> bool:
        """Whether searches no longer reached that recall when it was measured."""
        return self.before < self.target

    def effort(self, share: float) -> int:
        """Return the number of candidates of a search whose filters match ``share`` of the entries; 0 for exact search.

        It is the larger number of the measured scopes with the next larger and the next smaller share; 0 if either of
        them needs exact search.
        """
        wider = min((scope.share for scope in self.scopes if scope.share >= share), default=1.0)
        narrower = max((scope.share for scope in self.scopes if scope.share <= share), default=wider)
        needed = [scope.candidates for scope in self.scopes if scope.share in (wider, narrower)]
        return max(needed) if all(needed) else 0

    @classmethod
    def from_stored(cls, stored: object) -> RecallReport | None:
        """Return the report that was stored with an index, or None if ``stored`` is not a valid report."""
        try:
            return _report(stored)
        except (KeyError, OverflowError, TypeError, ValueError):
            return None


def _report(stored: Any) -> RecallReport:
    scopes = tuple(
        ScopeRecall(
            str(each["name"]),
            _share(each["share"]),
            min(max(int(each["candidates"]), 0), MAX_CANDIDATES),
            _share(each["recall"]),
            _share(each["before"]),
        )
        for each in stored["scopes"]
    )
    if not scopes or scopes[0].share < 1:
        raise ValueError(stored)
    measured_at = datetime.fromisoformat(stored["measured_at"]).isoformat(timespec="seconds")
    return RecallReport(_share(stored["target"]), int(stored["entries"]), int(stored["queries"]), measured_at, scopes)


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(value)
    return share


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """Statistics of one index: the number of ``entries`` when they were last counted, and ``recall``, the last
    measurement, or None if nothing was measured."""

    entries: int = 0
    recall: RecallReport | None = None

    @classmethod
    def from_stored(cls, stored: object) -> IndexStatistics:
        """Return the statistics that were stored with an index; invalid ones count as absent."""
        stored = stored if isinstance(stored, Mapping) else {}
        entries = stored.get("entries")
        return cls(entries if isinstance(entries, int) else 0, RecallReport.from_stored(stored.get("recall")))

    def for_target(self, target: float | None) -> IndexStatistics:
        """Return the statistics without a recall that was measured for another target, which counts as not measured."""
        return self if self.recall is not None and self.recall.target == target else replace(self, recall=None)


def with_statistics(meta: Mapping[str, Any], statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored meta of an index with the given keys of its statistics replaced; the others remain."""
    before = meta.get(STATISTICS)
    return {**meta, STATISTICS: {**(before if isinstance(before, Mapping) else {}), **statistics}}
