"""The reports: tables of the daily figures, for a page and as CSV; rates with intervals; a chart by day."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from typing import Any, Literal

from django.db.models import F, QuerySet, Sum, Value
from django.db.models.functions import Lower
from django.http import StreamingHttpResponse
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from imagesim.database import batched, stream
from imagesim.insight.models import DailyCount, Search
from imagesim.insight.rollup import Figures, normal
from imagesim.items.hydrate import with_groups
from imagesim.items.registry import make_key
from imagesim.models import ItemState

Z = 1.959964
"""The standard deviations of a 95 % interval."""

CHART_WIDTH, CHART_HEIGHT = 1000, 160
MAX_BARS = 100


@dataclass(frozen=True)
class Rate:
    """``part`` of ``whole``, with Wilson's score interval at 95 % (E. B. Wilson, 1927), which is valid even for few
    observations and for rates near 0 and 1."""

    part: int
    whole: int

    @property
    def share(self) -> float:
        return min(self.part, self.whole) / self.whole if self.whole else 0.0

    @property
    def low(self) -> float:
        return self.interval()[0]

    @property
    def high(self) -> float:
        return self.interval()[1]

    def interval(self, z: float = Z) -> tuple[float, float]:
        """Return the lower and the upper bound, at ``z`` standard deviations."""
        low = self._bound(-z) if self.part else 0.0
        return low, self._bound(z) if self.part < self.whole else 1.0

    def _bound(self, z: float) -> float:
        if not self.whole:
            return 0.0 if z < 0 else 1.0
        n, p = self.whole, self.share
        spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return min(1.0, max(0.0, (p + z * z / (2 * n) + spread) / (1 + z * z / n)))


Kind = DailyCount.Kind
CellKind = Literal["text", "item", "where", "day", "number", "money", "rate"]
Row = Mapping[str, Any]
Rows = Iterable[Row]


@dataclass(frozen=True)
class Selection:
    """The days (both included), the kind of search (empty: all) and the text that a report is about."""

    since: date
    until: date
    where: str = ""
    text: str = ""


Query = Callable[[Selection, int], Rows]


@dataclass(frozen=True)
class Column:
    """A column; ``of`` returns its value for a row."""

    title: str | Promise
    of: Callable[[Row], Any]
    kind: CellKind = "number"


@dataclass(frozen=True)
class Report:
    """A table; ``query`` returns at most the given number of rows."""

    name: str
    title: str | Promise
    explanation: str | Promise
    columns: Sequence[Column]
    query: Query

    def rows(self, chosen: Selection, limit: int) -> list[list[Any]]:
        """Return the values of at most ``limit`` rows."""
        return [[column.of(row) for column in self.columns] for row in self.query(chosen, limit)]

    @property
    def csv_titles(self) -> list[str]:
        """The titles for CSV, where a rate takes four columns: the count, its share, and the bounds of its interval."""
        titles: list[str] = []
        for column in self.columns:
            title = str(column.title)
            titles += [title] if column.kind != "rate" else [title, f"{title} %", f"{title} % 2.5", f"{title} % 97.5"]
        return titles


def _figures(kind: Kind, chosen: Selection, *by: str) -> QuerySet[Any, Any]:
    """Return the sums of the figures, grouped."""
    rows = DailyCount.objects.filter(kind=kind, day__gte=chosen.since, day__lte=chosen.until)
    if chosen.where:
        rows = rows.filter(where=chosen.where)
    elif kind in (Kind.TOTAL, Kind.PAGE):
        rows = rows.exclude(where=Search.Where.REGION)  # a look counts once
    if chosen.text and kind == Kind.WORDS:
        rows = rows.filter(name__contains=normal(chosen.text))  # as they are stored: databases fold ß or Ä differently
    elif chosen.text and kind in (Kind.ITEM, Kind.CATEGORY):
        # Not icontains, which is case-sensitive in a column with a binary collation of MySQL.
        rows = rows.alias(lowered=Lower("name")).filter(lowered__contains=Lower(Value(chosen.text)))
    sums = {f"sum_{each.name}": Sum(each.name) for each in fields(Figures)}
    grouped: QuerySet[Any, Any] = rows.order_by().values(*by).annotate(**sums)
    return grouped


def _days(chosen: Selection, limit: int) -> Rows:
    return _figures(Kind.TOTAL, chosen, "day").order_by("-day")[:limit]


def _words(chosen: Selection, limit: int) -> Rows:
    return _figures(Kind.WORDS, chosen, "name").filter(sum_answers__gt=0).order_by("-sum_answers", "name")[:limit]


def _nothing(chosen: Selection, limit: int) -> Rows:
    rows: QuerySet[Any, Any] = (
        _figures(Kind.WORDS, chosen, "name").annotate(bad=F("sum_empty") + F("sum_weak")).filter(bad__gt=0)
    )
    return rows.order_by("-bad", "name")[:limit]


def _unclicked(chosen: Selection, limit: int) -> Rows:
    rows: QuerySet[Any, Any] = _figures(Kind.WORDS, chosen, "name").annotate(good=F("sum_answers") - F("sum_empty"))
    return rows.filter(good__gt=0, sum_clicks=0, sum_carts=0).order_by("-good", "name")[:limit]  # on any page


def _items(order: str) -> Query:
    def rows(chosen: Selection, limit: int) -> Rows:
        found = _figures(Kind.ITEM, chosen, "name").filter(**{f"{order}__gt": 0})
        return found.order_by(f"-{order}", "name")[:limit]

    return rows


def _never(chosen: Selection, limit: int) -> Rows:
    """Return the items that no answer contained. Compares two lists in Python, because a database would compare a
    composed key with each row of the other table.

    An answer shows only one of a product and its variants, so the others count as found with it.
    """
    rows = DailyCount.objects.filter(kind=Kind.ITEM, day__gte=chosen.since, day__lte=chosen.until, answers__gt=0)
    if chosen.where:
        rows = rows.filter(where=chosen.where)
    found = set(rows.order_by().values_list("name", flat=True).distinct())
    groups = {group for _key, group in with_groups(found)}
    states = ItemState.objects.filter(outcome=ItemState.Outcome.INDEXED).order_by("pk")
    keys = (make_key(*each) for each in stream(states.values_list("model", "object_pk"), chunk_size=2_000))
    unseen = (key for key in keys if key not in found and chosen.text.casefold() in key.casefold())
    never = (key for key, group in with_groups(unseen) if group not in groups)
    return [{"name": key} for key in islice(never, limit)]


def _positions(chosen: Selection, limit: int) -> Rows:
    return sorted(_figures(Kind.POSITION, chosen, "name"), key=lambda row: int(row["name"]))[:limit]


def _pages(chosen: Selection, limit: int) -> Rows:
    rows = _figures(Kind.PAGE, chosen, "where", "name")
    return sorted(rows, key=lambda row: (row["where"], int(row["name"])))[:limit]


def _categories(chosen: Selection, limit: int) -> Rows:
    return _figures(Kind.CATEGORY, chosen, "name").order_by("-sum_answers", "name")[:limit]


def _number(row: Row) -> int:
    return int(row["name"])


def _bad(row: Row) -> Rate:
    return Rate(row["sum_empty"] + row["sum_weak"], row["sum_answers"])


def _clicked(row: Row) -> Rate:
    return Rate(row["sum_clicked_answers"], row["sum_answers"])


def _clicks(row: Row) -> Rate:
    return Rate(row["sum_clicks"], row["sum_seen"])


_NAME, _ANSWERS, _SUM_SEEN = itemgetter("name"), itemgetter("sum_answers"), itemgetter("sum_seen")

_WORDS = Column(_("Words"), _NAME, "text")
_PRODUCT = Column(_("Product"), _NAME, "item")
_SEARCHES = Column(_("Searches"), _ANSWERS)
_SEEN = Column(_("Seen"), _SUM_SEEN)
_CARTS = Column(_("Added to the cart"), itemgetter("sum_carts"))
_BOUGHT = Column(_("Bought"), itemgetter("sum_bought"))
_VALUE = Column(_("Value"), itemgetter("sum_value"), "money")
_BAD = Column(_("Nothing, or nothing good"), _bad, "rate")
_CLICKED = Column(_("With a click"), _clicked, "rate")
_CLICKS = Column(_("Clicked"), _clicks, "rate")
_OF_ITEMS = (_PRODUCT, Column(_("Found"), _ANSWERS), _SEEN, _CLICKS, _CARTS, _BOUGHT, _VALUE)

REPORTS = {
    report.name: report
    for report in (
        Report(
            "days",
            _("Searches by day"),
            _("Searches are counted by their first page; carts and purchases count from any page."),
            (Column(_("Day"), itemgetter("day"), "day"), _SEARCHES, _BAD, _CLICKED, _CARTS, _BOUGHT, _VALUE),
            _days,
        ),
        Report(
            "words",
            _("Top words"),
            _("What visitors typed, without regard to capitals."),
            (_WORDS, _SEARCHES, _CLICKED, _CARTS, _BOUGHT, _VALUE),
            _words,
        ),
        Report(
            "nothing",
            _("Words that found nothing"),
            _("Or nothing good: the best hit was probably not relevant. A synonym may help, or a product."),
            (
                *(_WORDS, _SEARCHES, Column(_("Nothing"), itemgetter("sum_empty"))),
                *(Column(_("Nothing good"), itemgetter("sum_weak")), Column(_("Both"), _bad, "rate")),
            ),
            _nothing,
        ),
        Report(
            "unclicked",
            _("Words without a click"),
            _("They found something, and nobody clicked. The interval says how rare clicks must be."),
            (
                *(_WORDS, Column(_("Searches with hits"), itemgetter("good")), Column(_("Hits seen"), _SUM_SEEN)),
                Column(_CLICKED.title, lambda row: Rate(0, row["good"]), "rate"),
            ),
            _unclicked,
        ),
        Report(
            "found", _("Products most found"), _("In how many answers a product was."), _OF_ITEMS, _items("sum_answers")
        ),
        Report(
            "clicked",
            _("Products most clicked"),
            _("The rate is the share of those who saw it in an answer."),
            _OF_ITEMS,
            _items("sum_clicks"),
        ),
        Report(
            "never",
            _("Products never found"),
            _("They are indexed, and were in no answer."),
            (_PRODUCT,),
            _never,
        ),
        Report(
            "positions",
            _("By position"),
            _("First hits are clicked more often; compare a place with itself over time."),
            (Column(_("Position"), _number), _SEEN, _CLICKS, _CARTS),
            _positions,
        ),
        Report(
            "pages",
            _("By page"),
            _("Where visitors searched, and how far they paged."),
            (
                *(Column(_("Where"), itemgetter("where"), "where"), Column(_("Page"), _number)),
                *(_SEARCHES, _CLICKED, _CARTS, _BOUGHT),
            ),
            _pages,
        ),
        Report(
            "categories",
            _("By category"),
            _("Of the searches within a category."),
            (Column(_("Category"), _NAME, "text"), _SEARCHES, _BAD, _CLICKED, _CARTS, _BOUGHT, _VALUE),
            _categories,
        ),
    )
}


BEGIN_FORMULAS = tuple("=+-@\t\r\n|%＝＋－＠")
"""A spreadsheet takes a cell that begins with one of these for a formula (OWASP, "CSV Injection"); anyone can type
words."""


class _Line:
    def write(self, line: str) -> str:
        return line


def csv_response(file: str, titles: Iterable[str], rows: Iterable[list[Any]]) -> StreamingHttpResponse:
    """Return a download of a CSV file of this name."""
    answer = StreamingHttpResponse(csv_lines(titles, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{file}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


def csv_lines(titles: Iterable[str], rows: Iterable[list[Any]]) -> Iterator[str]:
    """Yield the lines of a CSV file, the header first; a rate takes four columns."""
    writer = csv.writer(_Line(), quoting=csv.QUOTE_NONNUMERIC)
    yield "\ufeff" + str(writer.writerow([_safe(title) for title in titles]))
    for row in rows:
        yield str(writer.writerow([cell for value in row for cell in _cells(value)]))


def _cells(value: Any) -> list[Any]:
    if isinstance(value, Rate):
        return [value.part, *(round(100 * share, 2) for share in (value.share, value.low, value.high))]
    if isinstance(value, Decimal):  # SQLite adds in binary, which yields extra decimal places
        value = round(value, 2)
    return [value if isinstance(value, int | float | Decimal) else _safe(str(value))]


def _safe(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" \u00a0\ufeff\u200b").startswith(BEGIN_FORMULAS) else text


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
    width: int = CHART_WIDTH
    height: int = CHART_HEIGHT


def chart_by_day(rows: Sequence[list[Any]], chosen: Selection) -> Chart | None:
    """Return a bar for each day, or for several days if there are many; None if nothing was searched."""
    counts: dict[date, tuple[int, int]] = {row[0]: (row[1], row[2].part) for row in rows if isinstance(row[2], Rate)}
    days = [chosen.since + timedelta(days=n) for n in range((chosen.until - chosen.since).days + 1)]
    step = -(-len(days) // MAX_BARS)
    groups = list(batched(days, step))
    sums = [[sum(counts.get(day, (0, 0))[part] for day in group) for part in (0, 1)] for group in groups]
    top = max((total for total, _bad in sums), default=0)
    if not top:
        return None
    bars = []
    for number, ((total, bad), group) in enumerate(zip(sums, groups, strict=True)):
        left, right = number * CHART_WIDTH // len(groups), (number + 1) * CHART_WIDTH // len(groups)
        high, low = round(CHART_HEIGHT * total / top), round(CHART_HEIGHT * min(bad, total) / top)
        bars.append(
            Bar(
                x=left,
                width=max(right - left - 2, 1),
                y=CHART_HEIGHT - high,
                height=high,
                bad_y=CHART_HEIGHT - low,
                bad_height=low,
                label=f"{_short(group[0])}: {total}",
            )
        )
    return Chart(bars, top, _short(days[0]), _short(days[-1]))


def _short(day: date) -> str:
    return date_format(day, "SHORT_DATE_FORMAT")
