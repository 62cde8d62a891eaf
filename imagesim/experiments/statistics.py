"""Compare two arms of an experiment. The unit is the visitor, as in the assignment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from imagesim.insight.reports import Rate, Z

NORMAL = NormalDist()
POWER = 0.8
ALPHA = 0.05

EXACT_CONVERSIONS = 1_000_000
"""Up to this many the probability of being better is summed exactly; above, the normal distribution differs by less
than what a page shows."""


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
    """The mean of a figure of ``count`` visitors and the variance of the figure (not of the mean)."""

    count: int
    value: float
    variance: float

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return math.sqrt(self.variance / self.count) if self.count else 0.0

    @property
    def low(self) -> float:
        return max(0.0, self.value - Z * self.error)

    @property
    def high(self) -> float:
        return self.value + Z * self.error


def mean_of(arm: Arm, *, by_value: bool) -> Mean:
    """Return the mean per visitor: of what was spent, or of reaching the goal (0 or 1)."""
    if not arm.visitors:
        return Mean(0, 0.0, 0.0)
    if not by_value:
        return Mean(arm.visitors, arm.rate.share, arm.rate.share * (1 - arm.rate.share))
    value = arm.total / arm.visitors
    spread = max(0.0, arm.squares / arm.visitors - value**2) * arm.visitors / max(arm.visitors - 1, 1)
    return Mean(arm.visitors, value, spread)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two means, the second less the first, and its standard error."""

    value: float
    error: float

    @property
    def z(self) -> float:
        return self.value / self.error if self.error else 0.0

    def interval(self, bound: float = Z) -> tuple[float, float]:
        return self.value - bound * self.error, self.value + bound * self.error


def difference(control: Mean, other: Mean) -> Difference:
    return Difference(other.value - control.value, math.hypot(control.error, other.error))


def probability_better(control: Arm, other: Arm, *, by_value: bool) -> float:
    """Return the probability that the other variant is better than the control.

    Of rates: of the posterior distributions with a uniform prior, Beta(1 + converted, 1 + not converted), by the sum in
    E. Miller, "Formulas for Bayesian A/B Testing" (2014). Of values: of the normal distribution of their difference.
    """
    if by_value or max(control.converted, other.converted) > EXACT_CONVERSIONS:
        apart = difference(mean_of(control, by_value=by_value), mean_of(other, by_value=by_value))
        return NORMAL.cdf(apart.z)
    a, b = 1 + control.converted, 1 + control.visitors - control.converted
    c, d = 1 + other.converted, 1 + other.visitors - other.converted
    return _beta_exceeds(a, b, c, d)


def _beta_exceeds(a: int, b: int, c: int, d: int) -> float:
    """Return P(Y > X) of X ~ Beta(a, b) and Y ~ Beta(c, d): the sum over i < c of B(a + i, b + d) / ((d + i)
    B(1 + i, d) B(a, b)), from the ratios of successive terms."""
    first = _log_beta(a, b + d) - math.log(d) - _log_beta(1, d) - _log_beta(a, b)
    i = np.arange(c - 1, dtype=float)
    steps = np.log(a + i) - np.log(a + b + d + i) + np.log(d + i) - np.log(1 + i)
    logs = first + np.concatenate(([0.0], np.cumsum(steps)))
    return float(min(1.0, np.exp(logs).sum()))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def skew(visitors: Sequence[int], shares: Sequence[float]) -> float:
    """Return the p-value of the visitors of each variant if their shares were as planned: Pearson's chi-square test
    (sample ratio mismatch). Below 0.001 the assignment, the recording or the page is at fault, and no comparison holds.
    """
    total, whole = sum(visitors), sum(shares)
    if not total or len(visitors) < 2:
        return 1.0
    expected = [total * share / whole for share in shares]
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
    ``effect`` is seen with the probability :data:`POWER`; infinite while nothing is known of the control.

    ``bound``: that of |Z| at the planned end. ``shares``: those of the two variants.
    """
    change = control.value * effect
    if not change or not control.variance:
        return math.inf
    whole = sum(shares)
    per_visitor = control.variance * (whole / shares[0] + whole / shares[1])
    return (bound + NORMAL.inv_cdf(POWER)) ** 2 * per_visitor / change**2
