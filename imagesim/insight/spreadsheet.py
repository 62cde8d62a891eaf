"""Reports as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from imagesim.insight.intervals import Rate
from imagesim.insight.reports import Column

BEGIN_FORMULAS = tuple("=+-@\t\r\n|%＝＋－＠")
"""A spreadsheet takes a cell that begins so for a formula (OWASP, "CSV Injection"); words are typed by anyone."""


class _Line:
    def write(self, line: str) -> str:
        return line


def lines(columns: Iterable[Column], rows: Iterable[list[Any]]) -> Iterator[str]:
    """Yield the lines of a CSV file with a header; a rate takes four columns: the count, its share and its bounds."""
    columns = list(columns)
    writer = csv.writer(_Line(), quoting=csv.QUOTE_NONNUMERIC)
    titles: list[str] = []
    for column in columns:
        title = str(column.title)
        titles += [title] if column.kind != "rate" else [title, f"{title} %", f"{title} % 2.5", f"{title} % 97.5"]
    yield "\ufeff" + str(writer.writerow([safe(title) for title in titles]))
    for row in rows:
        yield str(writer.writerow([cell for value in row for cell in _cells(value)]))


def _cells(value: Any) -> list[Any]:
    if isinstance(value, Rate):
        return [value.part, *(round(100 * share, 2) for share in (value.share, value.low, value.high))]
    return [value if isinstance(value, int | float) else safe(str(value))]


def safe(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" \u00a0\ufeff\u200b").startswith(BEGIN_FORMULAS) else text
