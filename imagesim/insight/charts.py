"""A chart of searches by day, as numbers for an SVG. The table below it says the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.utils.formats import date_format

from imagesim.insight.intervals import Rate
from imagesim.insight.reports import Selection

WIDTH, HEIGHT = 1000, 160
MAX_BARS = 100


@dataclass(frozen=True)
class Bar:
    """Whole pixels, because decimals would be localised."""

    x: int
    width: int
    y: int
    height: int
    bad_y: int
    bad_height: int
    label: str


@dataclass(frozen=True)
class Chart:
    bars: list[Bar]
    top: int
    first: str
    last: str
    width: int = WIDTH
    height: int = HEIGHT


def by_day(rows: Sequence[list[Any]], chosen: Selection) -> Chart | None:
    """Return a bar for each day, or for several days if there are many; None if nothing was searched."""
    counts: dict[date, tuple[int, int]] = {row[0]: (row[1], row[2].part) for row in rows if isinstance(row[2], Rate)}
    days = [chosen.since + timedelta(days=n) for n in range((chosen.until - chosen.since).days + 1)]
    step = -(-len(days) // MAX_BARS)
    groups = [days[start : start + step] for start in range(0, len(days), step)]
    sums = [[sum(counts.get(day, (0, 0))[part] for day in group) for part in (0, 1)] for group in groups]
    top = max((total for total, _bad in sums), default=0)
    if not top:
        return None
    bars = []
    for number, ((total, bad), group) in enumerate(zip(sums, groups, strict=True)):
        left, right = number * WIDTH // len(groups), (number + 1) * WIDTH // len(groups)
        high, low = round(HEIGHT * total / top), round(HEIGHT * min(bad, total) / top)
        label = f"{_short(group[0])}: {total}"
        bars.append(Bar(left, max(right - left - 2, 1), HEIGHT - high, high, HEIGHT - low, low, label))
    return Chart(bars, top, _short(days[0]), _short(days[-1]))


def _short(day: date) -> str:
    return date_format(day, "SHORT_DATE_FORMAT")
