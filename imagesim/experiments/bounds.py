"""Group sequential bounds, so that a result may be looked at every day.

The error of a test that looks several times is spent over its planned time by the function of Lan and DeMets that
resembles O'Brien and Fleming's bounds (K. K. G. Lan and D. L. DeMets, "Discrete sequential boundaries for clinical
trials", Biometrika 70, 1983; by time instead of information as in their "Group sequential procedures: calendar versus
information time", Statistics in Medicine 8, 1989). The bounds are computed by recursive numerical integration
(P. Armitage, C. K. McPherson and B. C. Rowe, "Repeated significance tests on accumulating data", 1969; C. Jennison and
B. W. Turnbull, "Group Sequential Methods", 2000, chapter 19).
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

NORMAL = NormalDist()
POINTS = 241
"""Of the grid of a statistic between its bounds; odd, for Simpson's rule."""

NEVER = 8.0
"""A bound that no statistic reaches by chance (1e-15)."""

NEWTON_STEPS = 30
PRECISION = 1e-9

Array = npt.NDArray[np.float64]


def spent(time: float, alpha: float) -> float:
    """Return how much of a two-sided error may be spent until a share ``time`` (0 to 1) of the planned time."""
    if time <= 0:
        return 0.0
    edge = NORMAL.inv_cdf(1 - alpha / 4) / math.sqrt(min(time, 1.0))
    return 4 * upper_tail(edge)


def upper_tail(z: float) -> float:
    """Return the probability that a standard normal value exceeds ``z``, accurate for small ones."""
    return 0.5 * math.erfc(z / math.sqrt(2))


@lru_cache(256)
def bounds(times: tuple[float, ...], information: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """Return the bound of |Z| at each look.

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
    """From one look to the next: ``ratio`` is the information of the former relative to the latter."""

    def __init__(self, grid: Array, weighted: Array, ratio: float) -> None:
        self._centres = grid * math.sqrt(ratio)
        self._weighted = weighted
        self._deviation = math.sqrt(max(1 - ratio, 1e-6))

    def density(self, z: Array) -> Array:
        """The density of Z among the cases that no former look has ended."""
        distance = (z[:, None] - self._centres[None, :]) / self._deviation
        kernel = np.exp(-(distance**2) / 2) / (self._deviation * math.sqrt(2 * math.pi))
        result: Array = kernel @ self._weighted
        return result

    def tail(self, z: float) -> float:
        """The probability that Z exceeds ``z`` at this look and no former look has ended the test."""
        distances = (z - self._centres) / (self._deviation * math.sqrt(2))
        tails = np.array([math.erfc(distance) for distance in distances])
        return float(0.5 * tails @ self._weighted)

    def bound(self, target: float) -> float:
        """The ``z`` whose tail is ``target``: Newton's steps within an interval that is halved where they leave it."""
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
