"""Rates with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959964
"""For 95 %."""


@dataclass(frozen=True)
class Rate:
    """``part`` of ``whole``, with Wilson's score interval at 95 % (E. B. Wilson, 1927), which is sound for few
    observations and for rates near 0 and 1."""

    part: int
    whole: int

    @property
    def share(self) -> float:
        return min(self.part, self.whole) / self.whole if self.whole else 0.0

    @property
    def low(self) -> float:
        return self._bound(-1) if self.part else 0.0

    @property
    def high(self) -> float:
        return self._bound(1) if self.part < self.whole else 1.0

    def _bound(self, sign: int) -> float:
        if not self.whole:
            return 0.0 if sign < 0 else 1.0
        n, p = self.whole, self.share
        spread = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return min(1.0, max(0.0, (p + Z * Z / (2 * n) + sign * spread) / (1 + Z * Z / n)))
