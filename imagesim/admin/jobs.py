"""Jobs in the admin: the list of rebuilds and reconciles with their results, and what can be done with one.

A confirmation page comes before pausing, resuming or cancelling one, or swapping in or discarding the index on standby.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim.admin.base import ReadOnlyAdmin, admin_url, page, shorten
from imagesim.indexing import jobs
from imagesim.models import Job

PERMISSION = "imagesim.rebuild_visualindex"
"""Users who may start jobs may also end them."""


@dataclass(frozen=True)
class Action:
    """Something that can be done with a job: its title, what to ask before, by the kind of job, and the function that
    does it."""

    title: str | Promise
    questions: dict[str, str | Promise]
    do: Callable[[Job], bool]


ACTIONS = {
    "pause": Action(
        gettext_lazy("Pause"),
        {
            "rebuild": gettext_lazy(
                "It stops after the current batch. The unfinished index stays, and changes are written to it as well; "
                "no other rebuild can start until this one is resumed or cancelled."
            ),
            "reconcile": gettext_lazy(
                "It stops after the current batch. When it is resumed, it continues with the items that it has not "
                "compared yet."
            ),
        },
        jobs.pause,
    ),
    "resume": Action(
        gettext_lazy("Resume"),
        dict.fromkeys(Job.Kind.values, gettext_lazy("It continues where it was paused.")),
        jobs.resume,
    ),
    "cancel": Action(
        gettext_lazy("Cancel"),
        {
            "rebuild": gettext_lazy(
                "The unfinished index is deleted; the active one stays as it is. What was embedded is kept, so that "
                "another rebuild takes less time."
            ),
            "reconcile": gettext_lazy("It ends after the current batch. The differences found so far stay queued."),
        },
        jobs.cancel,
    ),
    "swap": Action(
        gettext_lazy("Switch to the index on standby"),
        {
            "rebuild": gettext_lazy(
                "It becomes the active index, and the former one is deleted. Searches continue meanwhile. An "
                "experiment that tries it ends."
            )
        },
        jobs.swap,
    ),
    "discard": Action(
        gettext_lazy("Discard the index on standby"),
        {
            "rebuild": gettext_lazy(
                "It is deleted; the active one stays as it is. What was embedded is kept, so that another rebuild "
                "takes less time. An experiment that tries it ends."
            )
        },
        jobs.cancel,
    ),
}


def controls(site: admin.AdminSite, shown: dict[str, bool]) -> dict[str, list[dict[str, Any]]]:
    """Return the links of the page "Visual index", one for each kind and action: those for ``running`` jobs, and those
    for the index on ``standby``.

    Those that apply now are not hidden.
    """
    found: dict[str, list[dict[str, Any]]] = {"running": [], "standby": []}
    for kind in Job.Kind:
        for name, action in ACTIONS.items():
            if kind.value in action.questions:
                shown_as = f"{name}_{kind.value}"
                link = {
                    "name": shown_as,
                    "title": _title(name, kind.label),
                    "url": admin_url(site, "imagesim_job_control", kind.value, name),
                    "is_hidden": not shown[shown_as],
                }
                found["standby" if name in ("swap", "discard") else "running"].append(link)
    return found


def applicable() -> dict[str, bool]:
    """Return whether each action applies to the job of each kind now."""
    found = {kind: jobs.unfinished(kind) for kind in Job.Kind.values}
    return {
        f"{name}_{kind}": job is not None and name in jobs.actions(job)
        for kind, job in found.items()
        for name, action in ACTIONS.items()
        if kind in action.questions
    }


def _title(name: str, kind: str | Promise) -> str:
    """Return the title of an action, with the kind of job if the action applies to either kind."""
    action = ACTIONS[name]
    both = {"name": action.title, "choice": kind}
    return _("%(name)s: %(choice)s") % both if len(action.questions) > 1 else str(action.title)


def _done(job: Job, action: str) -> str:
    if action in ("resume", "swap"):
        if command := jobs.start_process(job):
            return _("It continues as soon as manage.py %(command)s is run.") % {"command": command}
        return _("It continues.") if action == "resume" else _("It becomes the active index.")
    if job.requested:
        return _("It stops after its current batch.")
    return _("It is paused.") if action == "pause" else _("It was cancelled.")


JOB_TONES = {Job.Status.DONE: "good", Job.Status.FAILED: "bad", Job.Status.CANCELLED: "none"}


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "kind", "state", "progress", "failed", "finished_at", "error_line")
    list_filter = ("kind", "status")
    search_fields = ("target", "error")
    fields = (
        *("kind", "state", "progress", "failed", "target", "started_at", "heartbeat_at", "finished_at"),
        *("error", "details"),
    )
    readonly_fields = ("state", "progress", "failures", "details", "control")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.control_view)
        return [path("control/<slug:kind>/<slug:action>/", view, name="imagesim_job_control"), *super().get_urls()]

    def control_view(self, request: HttpRequest, kind: str, action: str) -> HttpResponse:
        """Ask for confirmation, then do it if the job is still the same."""
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        if action not in ACTIONS or kind not in ACTIONS[action].questions:
            raise Http404
        job, chosen = jobs.unfinished(kind), ACTIONS[action]
        if job is not None and action not in jobs.actions(job):
            job = None
        if job is not None and request.method != "POST":
            context = {
                "title": _title(action, job.get_kind_display()),
                "question": chosen.questions[kind],
                "button": chosen.title,
                "action": request.path,
                "hidden": {"job": job.pk},
            }
            return page(self, request, "admin/imagesim/confirm.html", context)
        if job is not None and request.POST.get("job") == str(job.pk) and chosen.do(job):
            self.log_change(request, job, str(chosen.title))
            messages.success(request, _done(job, action))
        else:
            messages.warning(request, _("There is no such job any more, or it has been done already."))
        shown = "visualindex" if request.user.has_perm("imagesim.view_visualindex") else "job"
        return HttpResponseRedirect(admin_url(self.admin_site, f"imagesim_{shown}_changelist"))

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return self._for(request, super().get_list_display(request))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self._for(request, super().get_fields(request, obj))

    def _for(self, request: HttpRequest, names: Any) -> list[Any]:
        """Link failures for users who may see items, and add the actions for users who may take them."""
        may_see = request.user.has_perm("imagesim.view_itemstate")
        shown = ["failures" if may_see and name == "failed" else name for name in names]
        return [*shown, "control"] if request.user.has_perm(PERMISSION) else shown

    @admin.display(description=gettext_lazy("failed"), ordering="failed")
    def failures(self, job: Job) -> SafeString | str:
        if not job.failed:
            return "0"
        url = admin_url(self.admin_site, "imagesim_itemstate_changelist")
        return format_html('<a href="{}?outcome__exact=failed">{}</a>', url, job.failed)

    @admin.display(description=gettext_lazy("control"))
    def control(self, job: Job) -> SafeString | str:
        links = [
            (admin_url(self.admin_site, "imagesim_job_control", job.kind, name), ACTIONS[name].title)
            for name in jobs.actions(job)
        ]
        return format_html_join(" · ", '<a href="{}">{}</a>', links)

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def state(self, job: Job) -> SafeString:
        status = jobs.status_of(job)
        tone = JOB_TONES.get(status, "waiting")
        return format_html('<span class="imagesim-badge" data-tone="{}">{}</span>', tone, status.label)

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, job: Job) -> SafeString | str:
        if not job.total:
            return ""
        return format_html(
            '<progress class="imagesim-progress" value="{}" max="{}">{}</progress> {}',
            job.done,
            job.total,
            job.done,
            _("%(done)d of %(total)d") % {"done": job.done, "total": job.total},
        )

    @admin.display(description=gettext_lazy("error"))
    def error_line(self, job: Job) -> str:
        return shorten(job.error)

    @admin.display(description=gettext_lazy("report"))
    def details(self, job: Job) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(job.report, indent=2, ensure_ascii=False))
