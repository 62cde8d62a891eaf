"""What an index knows of its own entries and of its own answers, for operators and for the write side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesim.types import Vector

MAX_CANDIDATES = 10_000
"""The most that a search takes from the graph."""


VISITED = 5
"""The minimum number of vectors that a search of the graph compares per candidate."""


def break_even(entries: int, candidates: int) -> float:
    """Return the number of entries that a filter lets pass, of all, for which scoring them takes as long as the graph.

    If the share s passes, a search of the graph compares 1/s times as many vectors as without a filter. Both are equal
    if the number that passes is the root of the vectors compared without a filter, times all entries.
    """
    return math.sqrt(VISITED * candidates * entries)


@dataclass(frozen=True, slots=True)
class Probe:
    """A query to measure with: the vector (dims,) of a stored image, without its own entry ``key``, or of words."""

    vector: Vector
    key: str = ""
    words: bool = False


@dataclass(frozen=True, slots=True)
class ScopeRecall:
    """recall@10 of the queries under one filter, which lets ``share`` of the entries pass; unnamed without any."""

    name: str
    share: float
    candidates: int
    """What such a search takes from the graph for a page since; 0: all that pass are scored."""
    recall: float
    before: float
    """With the candidates that were in use until then."""


@dataclass(frozen=True, slots=True)
class RecallReport:
    """The last measurement of an index: what was found, and how it searches since."""

    target: float
    entries: int
    queries: int
    measured_at: str
    """ISO 8601."""
    scopes: tuple[ScopeRecall, ...]
    """At least one; the first is that of all entries."""

    @property
    def recall(self) -> float:
        """The least of all scopes."""
        return min(scope.recall for scope in self.scopes)

    @property
    def before(self) -> float:
        return min(scope.before for scope in self.scopes)

    @property
    def candidates(self) -> int:
        """Of a search without filters; 0 if it is exact."""
        return self.scopes[0].candidates

    @property
    def kept(self) -> bool:
        """Whether searches reach the recall that the settings ask for."""
        return self.recall >= self.target

    @property
    def drifted(self) -> bool:
        """Whether they no longer did when it was measured."""
        return self.before < self.target

    def effort(self, share: float) -> int:
        """The candidates of a search whose filters let ``share`` of the entries pass, 0 if it has to be exact.

        What the scopes on both sides of it need, the wider and the narrower.
        """
        wider = min((scope.share for scope in self.scopes if scope.share >= share), default=1.0)
        narrower = max((scope.share for scope in self.scopes if scope.share <= share), default=wider)
        needed = [scope.candidates for scope in self.scopes if scope.share in (wider, narrower)]
        return max(needed) if all(needed) else 0

    @classmethod
    def from_stored(cls, stored: object) -> RecallReport | None:
        """Read what was stored with an index; None if it is not a report, or says what no measurement could."""
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
    """``entries`` is their number when they were last counted; ``recall`` is None where nothing was measured."""

    entries: int = 0
    recall: RecallReport | None = None
