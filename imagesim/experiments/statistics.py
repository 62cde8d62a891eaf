"""Compare two arms of an experiment, with bounds that allow looking every day. The unit is the visitor, as in the
assignment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from imagesim.insight.reports import Rate, Z

NORMAL = NormalDist()
POWER = 0.8
ALPHA = 0.05

MIN_EXPECTED = 5.0
"""The minimum expected count if both variants are alike; below it, the distribution is not normal (W. G. Cochran,
1954)."""

EXACT_CONVERSIONS = 1_000_000
"""Up to this many, the probability of being better is summed exactly; above, the normal distribution differs by less
than what a page shows."""

POINTS = 241
"""The number of points of the grid of a statistic between its bounds; odd, for Simpson's rule."""

NEVER = 8.0
"""A bound that no statistic reaches by chance (1e-15)."""

NEWTON_STEPS = 30
PRECISION = 1e-9

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arm:
    """The visitors of one variant so far: how many there were, how many of them reached the goal, and the sum and the
    sum of squares of what each of them spent."""

    visitors: int = 0
    converted: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def rate(self) -> Rate:
        return Rate(self.converted, self.visitors)


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of a figure over ``count`` visitors and the variance of the figure (not of the mean); ``rate`` if it is
    a rate."""

    count: int
    value: float
    variance: float
    rate: Rate | None = None

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return math.sqrt(self.variance / self.count) if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval; that of a rate is also valid for small numbers."""
        if self.rate is not None:
            return self.rate.interval()
        return max(0.0, self.value - Z * self.error), self.value + Z * self.error


def mean_of(arm: Arm, *, by_value: bool) -> Mean:
    """Return the mean per visitor: of what was spent, or of reaching the goal (0 or 1)."""
    if not by_value:
        return Mean(arm.visitors, arm.rate.share, arm.rate.share * (1 - arm.rate.share), arm.rate)
    if not arm.visitors:
        return Mean(0, 0.0, 0.0)
    value = arm.total / arm.visitors
    spread = max(0.0, arm.squares / arm.visitors - value**2) * arm.visitors / max(arm.visitors - 1, 1)
    return Mean(arm.visitors, value, spread)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two means: the second minus the first."""

    control: Mean
    other: Mean

    @property
    def value(self) -> float:
        return self.other.value - self.control.value

    @property
    def error(self) -> float:
        """The standard error, at least the one from the pooled variance: a few visitors who all happened to spend
        little would otherwise make the difference look certain."""
        control, other = self.control, self.other
        if not control.count or not other.count:
            return math.hypot(control.error, other.error)
        pooled = (control.variance * control.count + other.variance * other.count) / (control.count + other.count)
        return max(math.hypot(control.error, other.error), math.sqrt(pooled * (1 / control.count + 1 / other.count)))

    @property
    def is_known(self) -> bool:
        """Whether it has an interval."""
        return bool(self.error) if self.control.rate is None else bool(self.control.count and self.other.count)

    @property
    def z(self) -> float:
        return self.value / self.error if self.error else 0.0

    def interval(self, bound: float = Z) -> tuple[float, float]:
        """Return the interval of ``bound`` standard errors; for rates, from the score intervals of both (R. G.
        Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17,
        1998), which is valid even if one of them has few visitors."""
        first, second = self.control.rate, self.other.rate
        if first is None or second is None:
            return self.value - bound * self.error, self.value + bound * self.error
        low, high = first.interval(bound)
        other_low, other_high = second.interval(bound)
        return (
            self.value - math.hypot(second.share - other_low, high - first.share),
            self.value + math.hypot(other_high - second.share, first.share - low),
        )

    def excludes_zero(self, bound: float) -> bool:
        if not self.is_known or math.isinf(bound):
            return False
        low, high = self.interval(bound)
        return low > 0 or high < 0


def probability_better(control: Arm, other: Arm, *, by_value: bool) -> float:
    """Return the probability that the other variant is better than the control.

    For rates: from the posterior distributions with a uniform prior, Beta(1 + converted, 1 + not converted), by the sum
    in E. Miller, "Formulas for Bayesian A/B Testing" (2014). For values: from the normal distribution of their
    difference.
    """
    if by_value or max(control.converted, other.converted) > EXACT_CONVERSIONS:
        apart = Difference(mean_of(control, by_value=by_value), mean_of(other, by_value=by_value))
        return NORMAL.cdf(apart.z)
    a, b = 1 + control.converted, 1 + control.visitors - control.converted
    c, d = 1 + other.converted, 1 + other.visitors - other.converted
    return _beta_exceeds(a, b, c, d)


def _beta_exceeds(a: int, b: int, c: int, d: int) -> float:
    """Return P(Y > X) for X ~ Beta(a, b) and Y ~ Beta(c, d): the sum over i < c of B(a + i, b + d) / ((d + i) B(1 + i,
    d) B(a, b)), from the ratios of successive terms."""
    first = _log_beta(a, b + d) - math.log(d) - _log_beta(1, d) - _log_beta(a, b)
    i = np.arange(c - 1, dtype=float)
    steps = np.log(a + i) - np.log(a + b + d + i) + np.log(d + i) - np.log(1 + i)
    logs = first + np.concatenate(([0.0], np.cumsum(steps)))
    return float(min(1.0, np.exp(logs).sum()))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def skew(visitors: Sequence[int], shares: Sequence[float]) -> float:
    """Return the p-value of the numbers of visitors in the variants, if their shares were as planned: Pearson's
    chi-square test (sample ratio mismatch). Below 0.001 the assignment, the recording or the page is at fault, and no
    comparison holds. If fewer than :data:`MIN_EXPECTED` are expected in one of them, the result is 1.
    """
    total, whole = sum(visitors), sum(shares)
    if not total or len(visitors) < 2:
        return 1.0
    expected = [total * share / whole for share in shares]
    if min(expected) < MIN_EXPECTED:
        return 1.0
    statistic = sum((count - each) ** 2 / each for count, each in zip(visitors, expected, strict=True))
    return chi_square_tail(statistic, len(visitors) - 1)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Return the probability that a chi-square value exceeds ``statistic``, by the recurrence of the incomplete gamma
    function: Q(s + 1, x) = Q(s, x) + x^s e^-x / Gamma(s + 1)."""
    x = statistic / 2
    if x <= 0:
        return 1.0
    s, tail = (0.5, math.erfc(math.sqrt(x))) if degrees % 2 else (1.0, math.exp(-x))
    while s < degrees / 2:
        tail += math.exp(s * math.log(x) - x - math.lgamma(s + 1))
        s += 1
    return tail


def visitors_needed(control: Mean, effect: float, bound: float, shares: tuple[float, float]) -> float:
    """Return how many visitors the control and the other variant need together, so that a relative change of
    ``effect`` is seen with the probability :data:`POWER`; infinite while nothing is known about the control.

    ``bound``: that of |Z| at the planned end. ``shares``: those of the two variants.
    """
    change = control.value * effect
    if not change or not control.variance:
        return math.inf
    whole = sum(shares)
    per_visitor = control.variance * (whole / shares[0] + whole / shares[1])
    return (bound + NORMAL.inv_cdf(POWER)) ** 2 * per_visitor / change**2


def spent(time: float, alpha: float) -> float:
    """Return how much of a two-sided error may be spent by a share ``time`` (0 to 1) of the planned time."""
    if time <= 0:
        return 0.0
    edge = NORMAL.inv_cdf(1 - alpha / 4) / math.sqrt(min(time, 1.0))
    return 4 * upper_tail(edge)


def upper_tail(z: float) -> float:
    """Return the probability that a standard normal value exceeds ``z``, accurate for small ones."""
    return 0.5 * math.erfc(z / math.sqrt(2))


@lru_cache(256)
def bounds(times: tuple[float, ...], information: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """Return the bound of |Z| at each look of a group sequential test, so that a result may be looked at every day.

    The error of a test that looks several times is spent over its planned time by Lan and DeMets's function that
    resembles O'Brien and Fleming's bounds (K. K. G. Lan and D. L. DeMets, "Discrete sequential boundaries for clinical
    trials", Biometrika 70, 1983; by time instead of information, as in their "Group sequential procedures: calendar
    versus information time", Statistics in Medicine 8, 1989). The bounds are computed by recursive numerical
    integration (P. Armitage, C. K. McPherson and B. C. Rowe, "Repeated significance tests on accumulating data", 1969;
    C. Jennison and B. W. Turnbull, "Group Sequential Methods", 2000, chapter 19).

    ``times``: the shares of the planned time, rising up to 1; ``information``: proportional to the inverse variance of
    the estimate, rising. The probability that |Z| reaches any of the bounds by chance is ``alpha`` at most.
    """
    found: list[float] = []
    density: Array | None = None
    grid: Array | None = None
    for look, (time, now) in enumerate(zip(times, information, strict=True)):
        target = (spent(time, alpha) - (spent(times[look - 1], alpha) if look else 0.0)) / 2
        if grid is None or density is None:
            bound = -NORMAL.inv_cdf(target) if target > upper_tail(NEVER) else NEVER
            grid = _grid(bound)
            density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
        else:
            step = _Step(grid, density * _weights(grid), information[look - 1] / now)
            bound = step.bound(target)
            grid = _grid(bound)
            density = step.density(grid)
        found.append(bound)
    return tuple(found)


class _Step:
    """The step from one look to the next: ``ratio`` is the information of the former relative to the latter."""

    def __init__(self, grid: Array, weighted: Array, ratio: float) -> None:
        self._centres = grid * math.sqrt(ratio)
        self._weighted = weighted
        self._deviation = math.sqrt(max(1 - ratio, 1e-6))

    def density(self, z: Array) -> Array:
        """Return the density of Z among the cases that no former look has ended."""
        distance = (z[:, None] - self._centres[None, :]) / self._deviation
        kernel = np.exp(-(distance**2) / 2) / (self._deviation * math.sqrt(2 * math.pi))
        result: Array = kernel @ self._weighted
        return result

    def tail(self, z: float) -> float:
        """Return the probability that Z exceeds ``z`` at this look and no former look has ended the test."""
        distances = (z - self._centres) / (self._deviation * math.sqrt(2))
        tails = np.array([math.erfc(distance) for distance in distances])
        return float(0.5 * tails @ self._weighted)

    def bound(self, target: float) -> float:
        """Return the ``z`` whose tail is ``target``, by Newton's steps within an interval that is halved if they leave
        it."""
        if self.tail(NEVER) >= target:
            return NEVER
        low, high = 0.0, NEVER
        z = 3.0
        for _step in range(NEWTON_STEPS):
            excess = self.tail(z) - target
            low, high = (z, high) if excess > 0 else (low, z)
            slope = float(self.density(np.array([z]))[0])
            following = z + excess / slope if slope > 0 else (low + high) / 2
            if not low < following < high:
                following = (low + high) / 2
            if abs(following - z) < PRECISION:
                return following
            z = following
        return z


def _grid(bound: float) -> Array:
    return np.linspace(-bound, bound, POINTS)


def _weights(grid: Array) -> Array:
    """Return the weights of Simpson's rule."""
    weights = np.full(len(grid), 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    result: Array = weights * (grid[1] - grid[0]) / 3
    return result
