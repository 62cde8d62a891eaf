"""The reports in the admin; :mod:`imagesim.insight.worklist_admin` has the work list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim import events
from imagesim.admin.base import ReadOnlyAdmin
from imagesim.insight import charts
from imagesim.insight.intervals import Rate
from imagesim.insight.models import Search, SearchReport
from imagesim.insight.reports import REPORTS, Column, Report, Selection, csv_response
from imagesim.insight.rollup import local_date, roll_up
from imagesim.insight.worklist_admin import FindingAdmin, linked_items

__all__ = ["FindingAdmin", "SearchReportAdmin"]

ROWS = 100
CSV_ROWS = 10_000
DAYS = 30
MAX_DAYS = 3700
UPDATE_SECONDS = 1.0
"""How long a page may compute figures that are due; the task or the command computes the rest."""


class SelectionForm(forms.Form):
    since = forms.DateField(
        label=gettext_lazy("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        label=gettext_lazy("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    where = forms.ChoiceField(
        label=gettext_lazy("Where"),
        choices=[("", gettext_lazy("Everywhere")), *Search.Where.choices],
        required=False,
    )
    text = forms.CharField(label=gettext_lazy("Contains"), required=False, max_length=100)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        since, until = _period(cleaned)
        if not self.errors and not 0 <= (until - since).days <= MAX_DAYS:
            raise forms.ValidationError(_("The first day must be before the last."))
        return cleaned | {"since": since, "until": until}

    def selection(self) -> Selection:
        """The selection; the default one if the form is not valid."""
        given = self.cleaned_data if self.is_valid() else {}
        return Selection(*_period(given), given.get("where", ""), given.get("text", "").strip())


@dataclass(frozen=True)
class Cell:
    """A value as the page shows it; a rate has whole percents for its picture."""

    text: str
    kind: str
    url: str = ""
    interval: str = ""
    low: int = 0
    share: int = 0
    width: int = 0


@admin.register(SearchReport)
class SearchReportAdmin(ReadOnlyAdmin):
    class Media:
        css: ClassVar = {"all": ["imagesim_insight/report.css"]}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="imagesim_insight_searchreport_changelist"),
            path("<slug:name>/", view(self.report_view), name="imagesim_insight_report"),
            path("<slug:name>/csv/", view(self.csv_view), name="imagesim_insight_csv"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return self.report_view(request, "days")

    def report_view(self, request: HttpRequest, name: str) -> HttpResponse:
        report = self._report(request, name)
        since, until = map(str, _period({}))
        form = SelectionForm({"since": since, "until": until, **request.GET.dict()})
        chosen = form.selection()
        days_left = roll_up(UPDATE_SECONDS)
        rows = report.rows(chosen, ROWS if name != "days" else MAX_DAYS + 1)
        chart = charts.by_day(rows, chosen) if name == "days" else None
        current = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": report.title,
            "opts": self.opts,
            "media": self.media,
            "report": report,
            "reports": [
                (each, reverse(f"{current}:imagesim_insight_report", args=[each.name])) for each in self._all()
            ],
            "query": request.GET.urlencode(),
            "form": form,
            "days_left": days_left,
            "recording": events.enabled(),
            "chart": chart,
            "columns": report.columns,
            "rows": self._cells(request, report.columns, rows[:ROWS]),
            "is_cut": len(rows) >= ROWS,
            "csv_url": reverse(f"{current}:imagesim_insight_csv", args=[name]),
        }
        request.current_app = current
        return TemplateResponse(request, "admin/imagesim_insight/report.html", context)

    def csv_view(self, request: HttpRequest, name: str) -> HttpResponseBase:
        report = self._report(request, name)
        form = SelectionForm(request.GET)
        if not form.is_valid():
            return HttpResponse(form.errors.as_text(), content_type="text/plain; charset=utf-8", status=400)
        chosen = form.selection()
        file = f"{name}-{chosen.since}-{chosen.until}.csv"
        return csv_response(file, report.columns, report.rows(chosen, CSV_ROWS))

    def _all(self) -> Sequence[Report]:
        return list(REPORTS.values())

    def _report(self, request: HttpRequest, name: str) -> Report:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if name not in REPORTS:
            raise Http404
        return REPORTS[name]

    def _cells(self, request: HttpRequest, columns: Sequence[Column], rows: list[list[Any]]) -> list[list[Cell]]:
        place = next((n for n, column in enumerate(columns) if column.kind == "item"), None)
        items = {} if place is None else linked_items(self.admin_site, request, (row[place] for row in rows))
        return [[_cell(column, value, items) for column, value in zip(columns, row, strict=True)] for row in rows]


def _period(given: Mapping[str, date | None]) -> tuple[date, date]:
    """Return the first and the last day; by default the last days."""
    until = given.get("until") or local_date(timezone.now())
    first = date.fromordinal(max(1, until.toordinal() - DAYS + 1))  # there is no day before the year 1
    return given.get("since") or first, until


def _cell(column: Column, value: Any, items: dict[str, tuple[str, str]]) -> Cell:
    if isinstance(value, Rate):
        return _rate(value)
    if column.kind == "item":
        name, url = items.get(value, (value, ""))
        return Cell(name, "item", url)
    if column.kind == "where":
        return Cell(str(dict(Search.Where.choices).get(value, value or "–")), "text")
    if column.kind == "day":
        return Cell(date_format(value, "SHORT_DATE_FORMAT"), "text")
    if column.kind in ("number", "money"):
        places = 2 if column.kind == "money" else 0
        return Cell(number_format(value, places, force_grouping=True), "number")
    return Cell(str(value) or "–", "text")


def _rate(rate: Rate) -> Cell:
    if not rate.whole:
        return Cell("–", "rate")
    low, share, high = (round(100 * each) for each in (rate.low, rate.share, rate.high))
    interval = _("%(low)s to %(high)s %%") % {"low": _percent(rate.low), "high": _percent(rate.high)}
    return Cell(f"{_percent(rate.share)} %", "rate", "", interval, low, min(share, 98), max(high - low, 1))


def _percent(share: float) -> str:
    return number_format(round(100 * share, 1), 1)
