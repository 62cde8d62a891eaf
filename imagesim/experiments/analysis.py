"""Compare each variant with the control by the daily figures, with bounds that allow looking every day."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from imagesim.experiments.statistics import (
    ALPHA,
    MIN_EXPECTED,
    NORMAL,
    Arm,
    Difference,
    bounds,
    mean_of,
    probability_better,
    skew,
    visitors_needed,
)

CONTROL = "A"
SKEWED = 0.001
"""A p-value below it means that the assignment is skewed (Fabijan and others, "Diagnosing sample ratio mismatch", KDD
2019)."""

SPENT = 0.04
"""The part of the error of 5 % that the bounds spend. The rest is a margin for skewed values, which a normal
distribution describes badly, and for goals that are reached days later."""

MIN_STEP = 0.001
"""The smallest step of the information, relative to that of the last look, so that similar looks share one
computation."""

MAX_LOOKS = 100
"""More than any experiment has: after a first day of a few minutes, the estimated number of looks would be too
large."""

MIN_VISITORS = 100
"""The minimum number of visitors of each variant for a verdict."""


class Verdict(Enum):
    """``EARLY``: significant by a fixed-sample interval, but not by the bound for daily looks."""

    NONE = "none"
    OPEN = "open"
    EARLY = "early"
    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Look:
    """The figures of all variants at one time; ``time``: the share of the planned time that has passed."""

    time: float
    arms: Mapping[str, Arm]

    def arm(self, name: str) -> Arm:
        """Return the figures of a variant; one without visitors may have none."""
        return self.arms.get(name, Arm())


@dataclass(frozen=True, slots=True)
class Point:
    """A variant's difference from the control at one look, and the bound there, in standard errors."""

    apart: Difference
    bound: float
    plain: float
    is_enough: bool

    @property
    def is_beyond(self) -> bool:
        return self.is_enough and self.apart.excludes_zero(self.bound)

    @property
    def would_be_called(self) -> bool:
        """Whether a fixed-sample test, which does not allow daily looks, would find a difference."""
        return self.apart.excludes_zero(self.plain)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A variant compared with the control at every look. ``called``: the look at which the bound was first reached, or
    None; later looks do not change the verdict. ``needed``: how many visitors both need together to show the effect
    asked for."""

    points: Sequence[Point]
    called: int | None
    probability: float
    needed: float

    @property
    def last(self) -> Point:
        return self.points[-1]

    @property
    def verdict(self) -> Verdict:
        if self.called is not None:
            return Verdict.BETTER if self.points[self.called].apart.value > 0 else Verdict.WORSE
        if not self.last.is_enough:
            return Verdict.NONE
        return Verdict.EARLY if self.last.would_be_called else Verdict.OPEN


@dataclass(frozen=True, slots=True)
class Result:
    """``comparisons`` by variant; ``skewed``: the p-value of the shares of visitors."""

    comparisons: Mapping[str, Comparison]
    skewed: float

    @property
    def is_skewed(self) -> bool:
        return self.skewed < SKEWED


def analyse(looks: Sequence[Look], shares: Mapping[str, float], *, by_value: bool, effect: float) -> Result:
    """Compare every variant with the control, over all looks so far.

    ``shares``: the planned shares of all variants. ``effect``: the relative change to detect, for the number of
    visitors needed. With several variants, the error is divided among them (Bonferroni).
    """
    others = [name for name in shares if name != CONTROL]
    comparisons = {
        name: _compare(
            looks, name, max(len(others), 1), (shares[CONTROL], shares[name]), by_value=by_value, effect=effect
        )
        for name in others
    }
    skewed = skew([looks[-1].arm(name).visitors for name in shares], list(shares.values()))
    return Result(comparisons, skewed)


def _compare(
    looks: Sequence[Look], name: str, tests: int, shares: tuple[float, float], *, by_value: bool, effect: float
) -> Comparison:
    plain, alpha = NORMAL.inv_cdf(1 - ALPHA / tests / 2), SPENT / tests
    edges = _bounds(looks, name, alpha)
    points = []
    for look, edge in zip(looks, edges, strict=True):
        control, other = look.arm(CONTROL), look.arm(name)
        apart = Difference(mean_of(control, by_value=by_value), mean_of(other, by_value=by_value))
        points.append(Point(apart, edge, plain, _is_enough(control, other)))
    called = next((number for number, point in enumerate(points) if point.is_beyond), None)
    control, other = looks[-1].arm(CONTROL), looks[-1].arm(name)
    final = edges[-1] if looks[-1].time >= 1 else _final_bound(looks, alpha)
    needed = visitors_needed(mean_of(control, by_value=by_value), effect, final, shares)
    return Comparison(points, called, probability_better(control, other, by_value=by_value), needed)


def _is_enough(control: Arm, other: Arm) -> bool:
    """Return whether there can be a verdict. What counts is how many visitors would reach the goal in the smaller
    variant if both were alike: if one of 100 does, none at all is not surprising, however many there are in the
    other."""
    least, both = min(control.visitors, other.visitors), control.visitors + other.visitors
    return least >= MIN_VISITORS and (control.converted + other.converted) * least >= MIN_EXPECTED * both


def _bounds(looks: Sequence[Look], name: str, alpha: float) -> list[float]:
    """Return the bound at each look; infinite before there are visitors. A look without new visitors is treated as one
    with a few, for which the bound is a little higher."""
    information = [_information(look, name) for look in looks]
    blank = sum(not each for each in information)
    most = information[-1] or 1.0
    shares = list[float]()
    for each in information[blank:]:
        shares.append(round(max(each / most, (shares[-1] if shares else 0.0) + MIN_STEP), 3))
    times = tuple(round(look.time, 4) for look in looks[blank:])
    return [math.inf] * blank + list(bounds(times, tuple(shares), alpha))


def _final_bound(looks: Sequence[Look], alpha: float) -> float:
    """Return the bound at the planned end, assuming that looks and visitors continue at the same rate."""
    count = max(1, min(MAX_LOOKS, round(len(looks) / max(looks[-1].time, 1e-3))))
    times = tuple(round((number + 1) / count, 4) for number in range(count))
    return bounds(times, times, alpha)[-1]


def _information(look: Look, name: str) -> float:
    """Return a value proportional to the inverse variance of the difference."""
    control, other = look.arm(CONTROL).visitors, look.arm(name).visitors
    return control * other / (control + other) if control and other else 0.0
