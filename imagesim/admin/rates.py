"""What visitors did with the results, as the tables of the page "Visual index"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim import events

DAYS = 30
ROWS = 20
"""Of one table; positions further down are seldom seen."""

_NAMES = {
    "similar": gettext_lazy("Similar products"),
    "search": gettext_lazy("Search"),
    "look": gettext_lazy("Shop the look"),
}


@dataclass(frozen=True)
class Row:
    name: str
    views: str
    clicks: str
    carts: str
    click_through: str


@dataclass(frozen=True)
class Table:
    title: str
    first: str
    rows: list[Row]


def take() -> list[Table] | None:
    """By position, category and where the results stood; None while the shop keeps no events."""
    if not events.enabled():
        return None
    since = timezone.now() - timedelta(days=DAYS)
    # A position is counted from 0 and read from 1.
    positions = sorted(events.rates("position", since=since), key=lambda rate: int(rate.name))[:ROWS]
    categories = sorted(events.rates("category", since=since), key=lambda rate: -rate.views)[:ROWS]
    return [
        Table(
            _("By where the results stood"),
            _("Page"),
            [_row(str(_NAMES.get(rate.name, rate.name)), rate) for rate in events.rates("source", since=since)],
        ),
        Table(_("By category"), _("Category"), [_row(rate.name or _("none"), rate) for rate in categories]),
        Table(_("By position"), _("Position"), [_row(str(int(rate.name) + 1), rate) for rate in positions]),
    ]


def _row(name: str, rate: events.Rate) -> Row:
    views, clicks, carts = (
        number_format(count, force_grouping=True) for count in (rate.views, rate.clicks, rate.carts)
    )
    share = f"{number_format(round(100 * rate.click_through, 1), decimal_pos=1)} %" if rate.views else "–"
    return Row(name, views, clicks, carts, share)
