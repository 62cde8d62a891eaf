"""Measure how many candidates of the graph the configured recall requires, on the index's own vectors.

The same queries are answered exactly and by the graph, without a filter and under some conditions that entries of the
catalogue satisfy. The least number of candidates on a fixed ladder that reaches the recall is chosen. A match counts as
correct if it scores at least as high as the last match of the exact answer, so that equal images are interchangeable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, stdev

from django.utils import timezone

from imagesim.exceptions import ConfigurationError
from imagesim.indexes.statistics import Probe, RecallReport, ScopeRecall
from imagesim.types import Candidates, Condition, Filters, Query

logger = logging.getLogger("imagesim.indexes")

DEFAULT_CANDIDATES = 100
"""The number of candidates before the recall has been measured."""
LADDER = (60, 80, 100, 140, 200, 280, 400, 560, 800, 1_120, 1_600)
"""The numbers of candidates that are tried."""
K = 10
"""The number of matches for which recall is measured."""
SECONDS = 120.0
"""How long one measurement may take; the request in progress at the end is still completed."""
BATCH = 5
"""The number of queries in one request."""
MIN_QUERIES = 20
"""The minimum number of queries for a measurement."""
MAX_FILTERED = 100
"""The maximum number of queries under each filter."""
SAME = 1e-5
"""Scores that differ by less than this count as equal."""
SLOWER = 1.2
"""If the graph takes more than this many times as long as exact search, exact search is chosen."""

Ask = Callable[[Sequence[Query], int], list[Candidates]]
"""A function that answers queries with a number of candidates of the graph; 0 for exact answers."""


class _TimeOver(Exception):
    pass  # the time for the measurement is over


@dataclass(frozen=True)
class Scope:
    """Filters under which recall is measured; ``share`` of the entries satisfy them."""

    name: str
    share: float = 1.0
    filters: Filters = Filters()

    @classmethod
    def of(cls, condition: Condition, share: float) -> Scope:
        """Return the scope of a condition ``eq`` or ``lte`` on a filter, or on ``category``."""
        name = f"{condition.field}{'<=' if condition.operator == 'lte' else '='}{condition.value}"
        if condition.field == "category":
            return cls(name, share, Filters(categories=(str(condition.value),)))
        return cls(name, share, Filters(conditions=(condition,)))


def check_recall(recall: object) -> float | None:
    """Return the option ``recall``.

    :raises ConfigurationError: if it is neither None nor between 0.5 and 1.
    """
    if recall is None or (isinstance(recall, int | float) and 0.5 <= recall <= 1 and not isinstance(recall, bool)):
        return recall
    raise ConfigurationError(f"INDEX's recall must be a number between 0.5 and 1, or None, not {recall!r}.")


def candidates_in_use(fixed: int | None, measured: RecallReport | None, share: float) -> int:
    """Return the number of candidates of the first page of searches whose filters match ``share`` of the entries: the
    one that the settings fix, the one that was measured, or the default; 0 for exact search."""
    return fixed or (measured.effort(share) if measured else DEFAULT_CANDIDATES)


def candidates_for(query: Query, first_page: int) -> int:
    """Return the number of candidates for the page of a query, from that for the first page of an answer.

    It grows in steps, so that neighbouring pages come from the same candidates.
    """
    candidates, ratio = first_page, max(4, first_page / 25)
    while candidates < ratio * (query.offset + query.limit + 1):
        candidates *= 2
    return candidates


def chosen_scopes(every: Iterable[Scope], fewest: float) -> list[Scope]:
    """Return the narrowest, the widest and the middle one of the scopes that the graph answers.

    These are the scopes with a larger share than ``fewest``, except those that nearly all entries satisfy.
    """
    some = sorted((each for each in every if fewest < each.share < 0.98), key=lambda scope: -scope.share)
    chosen = {each.name: each for each in (*some[-1:], *some[:1], *some[len(some) // 2 :][:1])}
    return list(chosen.values())


@dataclass
class _Trial:
    """The queries of one scope with their exact answers, and the recalls and time in ms by the number of candidates."""

    scope: Scope
    queries: list[Query] = field(default_factory=list)
    exact: list[Candidates] = field(default_factory=list)
    recalls: dict[int, list[float]] = field(default_factory=dict)
    took: dict[int, float] = field(default_factory=dict)

    def recall(self, candidates: int) -> float:
        """Return the mean recall with this number of candidates."""
        return fmean(self.recalls[candidates]) if candidates else 1.0

    def reached(self, candidates: int, target: float) -> bool:
        """Return whether this number of candidates reaches ``target`` in acceptable time.

        The mean has to exceed it by a standard error, since visitors will ask other queries.
        """
        found = self.recalls[candidates]
        error = stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0
        return fmean(found) - error >= target and self.took[candidates] <= SLOWER * self.took[0]


class Measurement:
    """One measurement of a backing index.

    :param ask: answers queries in one request.
    :param progress: is called between requests.
    :param most: the largest number of candidates that is tried.
    """

    def __init__(self, ask: Ask, progress: Callable[[], None], most: int = LADDER[-1]) -> None:
        self._ask, self._progress = ask, progress
        self._ladder = [rung for rung in LADDER if rung <= most]
        self._until = time.monotonic() + SECONDS

    def run(
        self,
        probes: Sequence[Probe],
        scopes: Sequence[Scope],
        target: float,
        *,
        backing_index: str,
        entries: int,
        known: RecallReport | None,
        fixed: int | None,
    ) -> RecallReport | None:
        """Return and log the least number of candidates that reaches ``target`` in each scope, with the recall.

        The result is None if there were too few queries or too little time for the scope without a filter.

        :param known: the last measurement, which searches have followed so far.
        :param fixed: the number of candidates of all searches, if the settings give one; then no others are tried.
        """
        images = [probe for probe in probes if not probe.words]
        words = [probe for probe in probes if probe.words]
        asked = [(Scope(""), images), *((scope, images[:MAX_FILTERED]) for scope in scopes), (Scope("words"), words)]
        rows: list[ScopeRecall] = []
        queries = 0
        for scope, some in asked:
            try:
                trial = self._exactly(scope, some)
                if trial is not None:
                    in_use = candidates_in_use(fixed, known, scope.share)
                    rows.append(self._row(trial, target, in_use, fixed is not None))
                    queries += len(trial.queries)
            except _TimeOver:
                pass  # the remaining time may suffice for a quicker scope
            if not rows:
                break
        at = timezone.now().isoformat(timespec="seconds")
        report = RecallReport(target, entries, queries, at, tuple(rows)) if rows else None
        _log(report, backing_index)
        return report

    def _row(self, trial: _Trial, target: float, in_use: int, fixed: bool) -> ScopeRecall:
        """Choose the candidates of one scope, and return its row of the report.

        :raises _TimeOver: if the measurement takes too long.
        """
        self._approximately(trial, in_use)
        chosen = in_use if fixed else self._least(trial, target)
        recall, before = round(trial.recall(chosen), 4), round(trial.recall(in_use), 4)
        return ScopeRecall(trial.scope.name, round(trial.scope.share, 4), chosen, recall, before)

    def _exactly(self, scope: Scope, probes: Sequence[Probe]) -> _Trial | None:
        """Answer queries exactly, for at most half of the remaining time; return None if there were too few answers."""
        trial = _Trial(scope)
        until = (time.monotonic() + self._until) / 2
        queries = [
            Query(probe.vector, replace(scope.filters, exclude_keys=(probe.key,) if probe.key else ()), limit=K)
            for probe in probes
        ]
        for start in range(0, len(queries), BATCH):
            if time.monotonic() > until:
                break
            for query, answer in zip(queries[start:], self._ask(queries[start : start + BATCH], 0), strict=False):
                if answer.candidates:
                    trial.queries.append(query)
                    trial.exact.append(answer)
            self._progress()
        trial.took[0] = sum(answer.took_ms for answer in trial.exact)
        return trial if len(trial.queries) >= MIN_QUERIES else None

    def _approximately(self, trial: _Trial, candidates: int) -> None:
        """Measure recall and time of one number of candidates, unless this was done before.

        :raises _TimeOver: if the measurement takes too long.
        """
        if not candidates or candidates in trial.recalls:
            return
        recalls, took = [], 0.0
        for start in range(0, len(trial.queries), BATCH):
            if time.monotonic() > self._until:
                raise _TimeOver
            answers = self._ask(trial.queries[start : start + BATCH], candidates)
            for answer, exact in zip(answers, trial.exact[start:], strict=False):
                least = exact.candidates[-1].score - SAME
                recalls.append(sum(each.score >= least for each in answer.candidates) / len(exact.candidates))
                took += answer.took_ms
            self._progress()
        trial.recalls[candidates], trial.took[candidates] = recalls, took

    def _least(self, trial: _Trial, target: float) -> int:
        """Return the least number of the ladder that reaches ``target``, or 0 for exact search if none does.

        :raises _TimeOver: if the measurement takes too long.
        """
        low, high = 0, len(self._ladder)
        while low < high:
            middle = (low + high) // 2
            self._approximately(trial, self._ladder[middle])
            if trial.reached(self._ladder[middle], target):
                high = middle
            else:
                low = middle + 1
        return self._ladder[low] if low < len(self._ladder) else 0


def _log(report: RecallReport | None, backing_index: str) -> None:
    """Log the measured recall; as a warning if searches did not reach the target, or nothing could be measured."""
    if report is None:
        logger.warning(
            "the recall of %s was not measured: too few stored vectors, or exact answers take too long",
            backing_index,
            extra={"event_name": "recall.unknown", "index": backing_index},
        )
        return
    extra = {"event_name": "recall.measured", "index": backing_index, **asdict(report)}
    for scope in report.scopes:
        level = logging.WARNING if scope.before < report.target else logging.INFO
        effort = f"with {scope.candidates} candidates" if scope.candidates else "by exact search"
        logger.log(
            level,
            "recall@10 of %s%s was %.3f, where %.2f is asked for; it is %.3f %s",
            backing_index,
            f" under {scope.name}" if scope.name else "",
            *(scope.before, report.target, scope.recall, effort),
            extra=extra,
        )
