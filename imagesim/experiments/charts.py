"""A chart of a variant's difference to the control by day, as numbers for an SVG. The table says the same of today."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imagesim.experiments.analysis import Comparison, Look

WIDTH, HEIGHT = 1000, 200
ROOM = 1.5
"""The height of the chart, relative to the last interval: the wide ones of the first days are cut."""


@dataclass(frozen=True)
class Chart:
    """Points in whole pixels, as SVG reads them; ``zero`` is the height of no difference."""

    bounded: str
    plain: str
    line: str
    zero: int
    width: int = WIDTH
    height: int = HEIGHT


def of_difference(compared: Comparison, looks: Sequence[Look]) -> Chart | None:
    """Return the chart; None before there are two days with figures."""
    shown = [
        (look.time, point)
        for look, point in zip(looks, compared.points, strict=True)
        if point.apart.error and not math.isinf(point.bound)
    ]
    if len(shown) < 2:
        return None
    last = shown[-1][1]
    most = ROOM * max(abs(edge) for edge in last.apart.interval(last.bound))

    def place(time: float, value: float) -> str:
        height = HEIGHT / 2 * (1 - max(-1.0, min(1.0, value / most)))
        return f"{round(WIDTH * min(time, 1.0))},{round(height)}"

    def band(edges: list[tuple[float, tuple[float, float]]]) -> str:
        upper = [place(time, high) for time, (_low, high) in edges]
        lower = [place(time, low) for time, (low, _high) in reversed(edges)]
        return " ".join(upper + lower)

    return Chart(
        bounded=band([(time, point.apart.interval(point.bound)) for time, point in shown]),
        plain=band([(time, point.apart.interval(point.plain)) for time, point in shown]),
        line=" ".join(place(time, point.apart.value) for time, point in shown),
        zero=HEIGHT // 2,
    )
