"""The page "Visual index": the state of the index, the running job, buttons for maintenance, and click-through rates.

A script keeps it up to date with the JSON view. :mod:`imagesim.admin.jobs` has the list of jobs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from imagesim import events
from imagesim.admin.base import ReadOnlyAdmin, admin_url, page, posted, shorten
from imagesim.admin.buttons import BUTTONS, how_tasks_run, start
from imagesim.admin.items import attach_items, item_of, picture_of
from imagesim.admin.jobs import PERMISSION, applicable, controls
from imagesim.database import primary
from imagesim.embedders import get_embedder_of
from imagesim.exceptions import ImagesimError, ModelMismatch
from imagesim.indexes.statistics import RecallReport
from imagesim.indexing import dispatch
from imagesim.models import ItemState, Job, VisualIndex
from imagesim.monitoring.status import IndexStatus, JobStatus, Status, get_status

DAYS = 30
LATEST_EVENTS = 500_000
"""The maximum number of events that one view of the page counts: each table takes about half a second per million
events on PostgreSQL."""
ROWS = 20
"""The maximum number of rows per table."""
LAST_FAILURES = 5

_NAMES = {
    "similar": gettext_lazy("Similar products"),
    "search": gettext_lazy("Search"),
    "look": gettext_lazy("Shop the look"),
}

_FOUND = {
    "checked": gettext_lazy("compared"),
    "missing": gettext_lazy("missing"),
    "stale": gettext_lazy("outdated"),
    "orphaned": gettext_lazy("no longer in the shop"),
    "duplicate": gettext_lazy("duplicate"),
    "repaired": gettext_lazy("repaired"),
}
"""The labels of what a reconcile's report counts of the items; what else it deletes is on the job's own page."""


@admin.register(VisualIndex)
class VisualIndexAdmin(ReadOnlyAdmin):
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="imagesim_visualindex_changelist"),
            path("status/", view(self.status_view), name="imagesim_visualindex_status"),
            path("start/<slug:job>/", view(posted(self.start_view, self._address)), name="imagesim_visualindex_start"),
        ]

    def has_rebuild_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSION)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._require_view(request)
        may_see_items = request.user.has_perm("imagesim.view_itemstate")
        may_rebuild = self.has_rebuild_permission(request)
        shown = snapshot()
        context = {
            "title": capfirst(self.opts.verbose_name_plural),
            "snapshot": shown,
            "controls": controls(self.admin_site, shown["shown"]) if may_rebuild else {},
            "event_tables": event_tables(),
            "latest_events": _number(LATEST_EVENTS),
            "may_rebuild": may_rebuild,
            "buttons": BUTTONS.values(),
            "how_tasks_run": how_tasks_run(),
            "may_see_items": may_see_items,
            "failures": last_failures(self.admin_site) if may_see_items else [],
            "may_see_jobs": request.user.has_perm("imagesim.view_job"),
            **(extra_context or {}),
        }
        return page(self, request, "admin/imagesim/visual_index.html", context)

    def status_view(self, request: HttpRequest) -> JsonResponse:
        self._require_view(request)
        return JsonResponse(snapshot())  # admin_view adds the headers against caching

    def _address(self, request: HttpRequest, job: str = "") -> str:
        return admin_url(self.admin_site, "imagesim_visualindex_changelist")

    def start_view(self, request: HttpRequest, job: str) -> HttpResponse:
        self._require_view(request)
        if not self.has_rebuild_permission(request):
            raise PermissionDenied
        if job not in BUTTONS:
            return HttpResponseNotFound()
        button = BUTTONS[job]
        if button.question and "confirmed" not in request.POST:
            context = {
                "title": button.title,
                "question": button.question,
                "button": button.title,
                "action": request.path,
                "hidden": {"confirmed": "yes"},
                "option": button.option,
            }
            return page(self, request, "admin/imagesim/confirm.html", context)
        level, message = start(job, hold=bool(button.option) and "option" in request.POST)
        if level == messages.SUCCESS:
            self.log_change(request, VisualIndex(kind=job), str(button.title))
        self.message_user(request, message, level)
        return HttpResponseRedirect(self._address(request))

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


def snapshot() -> dict[str, Any]:
    """Return the state of the index as texts in the user's language, for the page and its script.

    ``fields``: each text by name; ``bars``: value and maximum of each bar, None for one without them; ``shown``: which
    parts of the page are visible; ``running``: whether to poll frequently.
    """
    status = get_status()
    advice = _advice(status)
    waiting = status.pending if dispatch.mode() != "manual" else 0
    unfinished = (Job.Status.RUNNING, Job.Status.PAUSED)
    running = next((job for job in (status.rebuild, status.reconcile) if job and job.status in unfinished), None)
    is_running = running is not None or waiting > 0
    fields = {
        **{name: _number(getattr(status, name)) for name in ("items", "indexed", "pending", "failed", "skipped")},
        "embeddings": _number(status.embeddings),
        "coverage": _percent(status.indexed, status.items),
        "oldest": _duration(status.queue_age) if status.pending else "",
        "advice": advice,
        **_index_fields(status.index),
        **_standby_fields(status.standby),
        **(_job_fields(running) if running else _waiting_fields(waiting, status.queue_error)),
        "rebuild": _latest(status.rebuild),
        "reconcile": _latest(status.reconcile),
        "updated": _local(timezone.now(), "TIME_FORMAT"),
    }
    return {
        "fields": fields,
        "bars": {
            "coverage": [min(status.indexed, status.items), max(status.items, 1)],
            "job": _bar(running, waiting, status.items),
        },
        "shown": {
            "job": is_running,
            "index_error": bool(status.index.error),
            "advice": bool(advice),
            "standby": status.standby is not None,
            "failed": status.failed > 0,
            "oldest": status.pending > 0,
            **applicable(),
        },
        "running": is_running,
    }


def _advice(status: Status) -> str:
    """Return what to do about the index, if it works but is not as it should be; otherwise empty."""
    try:
        if status.index.model:
            get_embedder_of(status.index.model)
    except ModelMismatch:
        return _(
            "The index was made with another model than that of the settings: rebuild it. Until then, photos are "
            "refused, and words are answered by texts alone."
        )
    except ImagesimError:
        pass  # the model cannot be used in this process: the health check says why
    if status.index.outdated:
        return _("Filters, texts or their analysis have changed since the index was made: rebuild it.")
    if not status.mismatch:
        return ""
    text = _("The index has %(entries)s entries, but %(indexed)s items were written to it: compare and repair.")
    counts = {"entries": status.index.entries or 0, "indexed": status.indexed}
    return text % {name: _number(count) for name, count in counts.items()}


def _index_fields(index: IndexStatus) -> dict[str, str]:
    return {
        "index_backend": index.backend.rpartition(".")[2],
        "index_name": index.backing_index or index.name,
        "index_model": index.model,
        "index_dims": number_format(index.dims) if index.dims else "",
        "index_entries": "" if index.entries is None else _number(index.entries),
        "index_recall": _recall(index.recall),
        "index_error": index.error,
    }


def _standby_fields(standby: IndexStatus | None) -> dict[str, str]:
    standby = standby or IndexStatus()
    entries = "" if standby.entries is None else _number(standby.entries)
    return {
        "standby_name": standby.backing_index or standby.name,
        "standby_model": standby.model,
        "standby_entries": standby.error or entries,
        "standby_recall": _recall(standby.recall),
    }


def _recall(report: RecallReport | None) -> str:
    """``99.4 % (asked for: 99 %), 140 candidates; measured 12 May 2026, 10:00``"""
    if report is None:
        return _("not measured: searches are exact, or the index was not filled yet")
    text = _("%(recall)s (asked for: %(target)s), %(effort)s; measured %(when)s") % {
        "recall": _percent(report.recall),
        "target": _percent(report.target),
        "effort": ngettext("%(count)d candidate", "%(count)d candidates", report.candidates)
        % {"count": report.candidates}
        if report.candidates
        else _("exact"),
        "when": _local(datetime.fromisoformat(report.measured_at)),
    }
    if report.drifted:
        text += "; " + _("it had fallen to %(recall)s") % {"recall": _percent(report.before)}
    return text


def _number(count: int) -> str:
    return number_format(count, force_grouping=True)


def _percent(part: float, whole: float = 1.0) -> str:
    """Format a percentage, rounded down, so that 100 % means all; a dash if the whole is unknown or zero."""
    if not whole:
        return "–"
    share = min(part, whole) / whole
    return f"{number_format(int(1000 * share + 1e-9) / 10, 0 if share == 1 else 1)} %"


def _bar(job: JobStatus | None, waiting: int, items: int) -> list[int] | None:
    """Return the value and maximum of the progress bar; None without a known total."""
    if job is not None:
        return [job.done, job.total] if job.total else None
    return [max(items - waiting, 0), max(items, 1)]


def _waiting_fields(waiting: int, error: str) -> dict[str, str]:
    if not waiting:
        return {"job_state": "", "job_kind": "", "job_progress": "", "job_left": ""}
    text = ngettext("%(count)s change waits", "%(count)s changes wait", waiting)
    return {
        "job_state": _("Waiting") if error else _("Running now"),
        "job_kind": _("sync"),
        "job_progress": text % {"count": _number(waiting)},
        "job_left": error,
    }


def _job_fields(job: JobStatus) -> dict[str, str]:
    progress = _("%(done)s of %(total)s (%(percent)s)") % {
        "done": _number(job.done),
        "total": _number(job.total),
        "percent": _percent(job.done, job.total),
    }
    state = _("Waiting") if job.abandoned or job.error else _("Running now")
    if job.status == Job.Status.PAUSED:
        state, left = capfirst(_("paused")), _("paused")
    elif job.requested == Job.Request.SWAP:
        left = _("becomes the active index")
    elif job.requested and not job.abandoned:
        left = _("stops after its current batch")
    elif job.error:
        left = _("%(name)s: %(choice)s") % {"name": Job.Status.WAITING.label, "choice": job.error}
    elif job.abandoned:
        left = _("stopped; the next sync continues it")
    else:
        left = "" if job.seconds_left is None else _("%(time)s left") % {"time": _duration(job.seconds_left)}
    return {
        "job_state": state,
        "job_kind": str(Job.Kind(job.kind).label),
        "job_progress": progress,
        "job_left": left,
    }


def _latest(job: JobStatus | None) -> str:
    """Describe a job: ``done 12 May 2026, 10:00: 3 repaired``."""
    if job is None:
        return _("never")
    when = _local(job.finished_at or job.started_at)
    if job.status == Job.Status.RUNNING:
        return _("running since %(when)s") % {"when": when}
    parts = [f"{Job.Status(job.status).label}, {when}"]
    if job.error:
        parts.append(job.error)
    parts += [f"{word} {number_format(job.report[name])}" for name, word in _FOUND.items() if name in job.report]
    return "; ".join(parts)


def _local(moment: datetime, form: str = "DATETIME_FORMAT") -> str:
    """Format a moment in the current time zone; without ``USE_TZ`` it is already in that of the server."""
    return date_format(timezone.localtime(moment) if timezone.is_aware(moment) else moment, form)


def _duration(seconds: float) -> str:
    if seconds < 60:
        whole = max(round(seconds), 1)
        return ngettext("%(count)d second", "%(count)d seconds", whole) % {"count": whole}
    if seconds < 90 * 60:
        whole = round(seconds / 60)
        return ngettext("%(count)d minute", "%(count)d minutes", whole) % {"count": whole}
    whole = round(seconds / 3600)
    return ngettext("%(count)d hour", "%(count)d hours", whole) % {"count": whole}


def event_tables() -> list[dict[str, Any]] | None:
    """Return views, clicks and carts by page, category and position; None if the shop does not store events."""
    if not events.enabled():
        return None
    since = timezone.now() - timedelta(days=DAYS)
    rates = partial(events.rates, since=since, latest=LATEST_EVENTS)
    # Positions are stored from 0 and shown from 1.
    positions = sorted(rates("position"), key=lambda rate: int(rate.name))[:ROWS]
    categories = sorted(rates("category"), key=lambda rate: -rate.views)[:ROWS]
    tables = [
        (_("By page"), _("Page"), [_row(str(_NAMES.get(rate.name, rate.name)), rate) for rate in rates("source")]),
        (_("By category"), _("Category"), [_row(rate.name or _("none"), rate) for rate in categories]),
        (_("By position"), _("Position"), [_row(str(int(rate.name) + 1), rate) for rate in positions]),
    ]
    return [{"title": title, "first": first, "rows": rows} for title, first, rows in tables]


def _row(name: str, counts: events.EventCounts) -> dict[str, str]:
    share = f"{number_format(round(100 * counts.click_through, 1), decimal_pos=1)} %" if counts.views else "–"
    numbers = {each: _number(getattr(counts, each)) for each in ("views", "clicks", "carts")}
    return {"name": name, **numbers, "click_through": share}


def last_failures(site: admin.AdminSite) -> list[dict[str, str]]:
    """Return the items that failed last, latest first: the picture of each, its name, the URL of the page with its
    errors, and the first of them."""
    failed = primary(ItemState).filter(outcome=ItemState.Outcome.FAILED, pending=False)
    states = list(failed.order_by("-changed_at", "-pk")[:LAST_FAILURES])
    attach_items(states)
    return [
        {
            "picture": picture_of(state),
            "name": str(item_of(state) or state),
            "url": admin_url(site, "imagesim_itemstate_change", state.pk),
            "error": shorten(state.error),
        }
        for state in states
    ]
