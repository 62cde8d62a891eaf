"""Insight in the admin: the reports and the work list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim import events
from imagesim.admin.base import ReadOnlyAdmin, admin_url, change_url, page, posted
from imagesim.admin.items import attach_items, picture_of
from imagesim.insight import catalogue
from imagesim.insight.models import Finding, Search, SearchReport
from imagesim.insight.reports import REPORTS, Column, Rate, Report, Selection, chart_by_day, csv_response
from imagesim.insight.rollup import due_days, figures_may_wait, local_date, roll_up
from imagesim.items import split_key
from imagesim.items.hydrate import with_pks
from imagesim.items.registry import make_key, registry
from imagesim.models import ItemState

ROWS = 100
CSV_ROWS = 10_000
DAYS = 30
MAX_DAYS = 3700
"""The longest period of a report: ten years and a few days."""
UPDATE_SECONDS = 1.0
"""How long a page may compute figures that are due; the task or the command computes the rest."""

SCAN_SECONDS = 5.0
"""How long one press of the button looks at items."""


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
        if not self.errors and until < since:
            raise forms.ValidationError(_("The first day must be before the last."))
        if not self.errors and (until - since).days > MAX_DAYS:
            raise forms.ValidationError(_("A report covers at most ten years: choose days that are closer together."))
        return cleaned | {"since": since, "until": until}

    def selection(self) -> Selection:
        """Return the selection; the default one if the form is not valid."""
        given = self.cleaned_data if self.is_valid() else {}
        return Selection(*_period(given), given.get("where", ""), given.get("text", "").strip())


@dataclass(frozen=True)
class Cell:
    """A value as the page shows it; a rate also has whole percentages for its bar."""

    text: str
    kind: str
    url: str = ""
    interval: str = ""
    low: int = 0
    share: int = 0
    width: int = 0


@admin.register(SearchReport)
class SearchReportAdmin(ReadOnlyAdmin):
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
        days_left = _roll_up()
        rows = report.rows(chosen, ROWS + 1 if name != "days" else MAX_DAYS + 1)
        chart = chart_by_day(rows, chosen) if name == "days" else None
        context = {
            "title": report.title,
            "report": report,
            "reports": [
                (each, admin_url(self.admin_site, "imagesim_insight_report", each.name)) for each in REPORTS.values()
            ],
            "query": request.GET.urlencode(),
            "form": form,
            "days_left": days_left,
            "recording": events.enabled(),
            "chart": chart,
            "columns": report.columns,
            "rows": self._cells(request, report.columns, rows[:ROWS]),
            "is_cut": len(rows) > ROWS,
            "csv_url": admin_url(self.admin_site, "imagesim_insight_csv", name),
        }
        return page(self, request, "admin/imagesim_insight/report.html", context)

    def csv_view(self, request: HttpRequest, name: str) -> HttpResponseBase:
        report = self._report(request, name)
        form = SelectionForm(request.GET)
        if not form.is_valid():
            return HttpResponse(form.errors.as_text(), content_type="text/plain; charset=utf-8", status=400)
        chosen = form.selection()
        file = f"{name}-{chosen.since}-{chosen.until}.csv"
        return csv_response(file, report.csv_titles, report.rows(chosen, CSV_ROWS))

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


def _roll_up() -> int:
    """Compute the figures that are due, as far as there is time; return how many days are left: all of them while the
    database can only be read."""
    with figures_may_wait():
        return roll_up(UPDATE_SECONDS)
    return len(due_days())


def _period(given: Mapping[str, date | None]) -> tuple[date, date]:
    """Return the first and the last day; by default the most recent days."""
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
        return Cell(number_format(round(value, places), places, force_grouping=True), "number")
    return Cell(str(value) or "–", "text")


def _rate(rate: Rate) -> Cell:
    if not rate.whole:
        return Cell("–", "rate")
    low, share, high = (round(100 * each) for each in (rate.low, rate.share, rate.high))
    interval = _("%(low)s to %(high)s %%") % {"low": _percent(rate.low), "high": _percent(rate.high)}
    text = f"{_percent(rate.share)} %"
    return Cell(text, "rate", interval=interval, low=low, share=min(share, 98), width=max(high - low, 1))


def _percent(share: float) -> str:
    return number_format(round(100 * share, 1), 1)


def linked_items(site: AdminSite, request: HttpRequest, keys: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the name of each existing item, and the URL of its page in the admin, empty if the user may not see it.
    One query per model."""
    found: dict[str, tuple[str, str]] = {}
    for items, pks in registry.grouped(map(split_key, keys)):
        for item in with_pks(items.model._base_manager.all(), pks):
            found[items.key_of(item)] = (str(item), change_url(site, item, request))
    return found


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    change_list_template = "admin/imagesim_insight/finding/change_list.html"
    list_display = ("product", "kind", "thumbnail", "explanation", "other", "found_at")
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("detail", "picture", "state__object_pk", "other_key")
    list_select_related = ("state",)
    list_per_page = 50
    show_full_result_count = False

    class Media:
        css: ClassVar = {"all": ["imagesim_insight/report.css"]}

    def has_scan_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("imagesim_insight.scan_finding")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(posted(self.scan_view, self._address))
        return [path("scan/", view, name="imagesim_insight_finding_scan"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Finding]:
        """Leave out the findings of products that the shop has deleted since."""
        return super().get_queryset(request).exclude(state__outcome=ItemState.Outcome.REMOVED)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        total = ItemState.objects.exclude(outcome=ItemState.Outcome.REMOVED).count()
        context = {
            "title": capfirst(_("work list")),
            "progress": catalogue.progress(),
            "total": total,
            "may_scan": self.has_scan_permission(request),
            "scan_url": admin_url(self.admin_site, "imagesim_insight_finding_scan"),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        findings = list(changelist.result_list)
        attach_items([finding.state for finding in findings])
        keys = [key for finding in findings for key in (_key(finding), finding.other_key) if key]
        links = linked_items(self.admin_site, request, keys)
        for finding in findings:
            finding.links = links
        changelist.result_list = findings
        return changelist

    def _address(self, request: HttpRequest) -> str:
        return admin_url(self.admin_site, "imagesim_insight_finding_changelist")

    def scan_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_scan_permission(request):
            raise PermissionDenied
        found = catalogue.scan(SCAN_SECONDS, restart="restart" in request.POST)
        self.message_user(
            request, _("%(done)d products were looked at so far.") % {"done": found.done}, messages.SUCCESS
        )
        return HttpResponseRedirect(self._address(request))

    @admin.display(description=gettext_lazy("product"), ordering="state")
    def product(self, finding: Finding) -> SafeString:
        return _link(finding, _key(finding))

    @admin.display(description=gettext_lazy("detail"), ordering="detail")
    def explanation(self, finding: Finding) -> str:
        return finding.explanation

    @admin.display(description=gettext_lazy("other product"))
    def other(self, finding: Finding) -> SafeString | str:
        return _link(finding, finding.other_key) if finding.other_key else ""

    @admin.display(description=gettext_lazy("picture"))
    def thumbnail(self, finding: Finding) -> SafeString | str:
        return "" if finding.kind == Finding.Kind.NO_PICTURE else picture_of(finding.state, finding.picture)


def _key(finding: Finding) -> str:
    return make_key(finding.state.model, finding.state.object_pk)


def _link(finding: Finding, key: str) -> SafeString:
    name, url = getattr(finding, "links", {}).get(key, (key, ""))
    return format_html('<a href="{}">{}</a>', url, name) if url else format_html("{}", name)
