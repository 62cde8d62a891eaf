"""Pause, resume and cancel the rebuild or the reconcile, and swap or discard the index on standby, from the admin,
after a question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim.indexing import dispatch, job_control, jobs
from imagesim.models import Job

PERMISSION = "imagesim.rebuild_visualindex"
"""Who may start jobs may end them."""


@dataclass(frozen=True)
class Action:
    """What can be done with a job: its title, what to ask before it, by the kind of job, and how it is done."""

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
        job_control.pause,
    ),
    "resume": Action(
        gettext_lazy("Resume"),
        dict.fromkeys(Job.Kind.values, gettext_lazy("It continues where it was paused.")),
        job_control.resume,
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
        job_control.cancel,
    ),
    "swap": Action(
        gettext_lazy("Switch to the index on standby"),
        {
            "rebuild": gettext_lazy(
                "It becomes the active index, and the former one is deleted. Searches continue meanwhile. An "
                "experiment that tries it ends."
            )
        },
        job_control.swap,
    ),
    "discard": Action(
        gettext_lazy("Discard the index on standby"),
        {
            "rebuild": gettext_lazy(
                "It is deleted; the active one stays as it is. What was embedded is kept, so that another rebuild "
                "takes less time. An experiment that tries it ends."
            )
        },
        job_control.cancel,
    ),
}


@dataclass(frozen=True)
class Control:
    """A link of the page "Visual index"."""

    name: str
    title: str
    url: str
    is_hidden: bool


def controls(site: admin.AdminSite, shown: dict[str, bool]) -> dict[str, list[Control]]:
    """Return a link for each kind and action: those of what is ``running``, and those of the index on ``standby``.

    Those that apply now are not hidden.
    """
    found: dict[str, list[Control]] = {"running": [], "standby": []}
    for kind in Job.Kind:
        for name, action in ACTIONS.items():
            if kind.value in action.questions:
                shown_as = f"{name}_{kind.value}"
                link = Control(shown_as, _title(name, kind.label), address(site, kind.value, name), not shown[shown_as])
                found["standby" if name in ("swap", "discard") else "running"].append(link)
    return found


def applicable() -> dict[str, bool]:
    """Return whether each action applies to the job of each kind now."""
    found = {kind: jobs.unfinished(kind) for kind in Job.Kind.values}
    return {
        f"{name}_{kind}": job is not None and name in job_control.actions(job)
        for kind, job in found.items()
        for name, action in ACTIONS.items()
        if kind in action.questions
    }


def _title(name: str, kind: str | Promise) -> str:
    """The title of an action; of those that apply to either kind of job, with the kind."""
    action = ACTIONS[name]
    return f"{action.title}: {kind}" if len(action.questions) > 1 else str(action.title)


def address(site: admin.AdminSite, kind: str, action: str) -> str:
    return reverse("admin:imagesim_job_control", args=[kind, action], current_app=site.name)


def view(site: admin.AdminSite, request: HttpRequest, kind: str, action: str) -> HttpResponse:
    """Ask, and do it when that was confirmed for the same job."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    if action not in ACTIONS or kind not in ACTIONS[action].questions:
        raise Http404
    job, chosen = jobs.unfinished(kind), ACTIONS[action]
    if job is None or action not in job_control.actions(job):
        messages.warning(request, _("There is no such job any more, or it has been done already."))
        return _back(site, request)
    if request.method == "POST":
        same = request.POST.get("job") == str(job.pk)
        if same and chosen.do(job):
            messages.success(request, _done(job, action))
        else:
            messages.warning(request, _("There is no such job any more, or it has been done already."))
        return _back(site, request)
    context = {
        **site.each_context(request),
        "title": _title(action, job.get_kind_display()),
        "opts": Job._meta,
        "question": chosen.questions[kind],
        "button": chosen.title,
        "action": address(site, kind, action),
        "hidden": {"job": job.pk},
    }
    request.current_app = site.name
    return TemplateResponse(request, "admin/imagesim/confirm.html", context)


def _done(job: Job, action: str) -> str:
    if action in ("resume", "swap"):
        if jobs.abandoned(job) and not dispatch.start(job.kind, job=job.pk):
            return _("It continues as soon as manage.py %(command)s is run.") % {
                "command": "imagesim_rebuild" if job.kind == Job.Kind.REBUILD else "imagesim_sync --reconcile"
            }
        return _("It continues.") if action == "resume" else _("It becomes the active index.")
    if job.requested:
        return _("It stops after its current batch.")
    return _("It is paused.") if action == "pause" else _("It was cancelled.")


def _back(site: admin.AdminSite, request: HttpRequest) -> HttpResponse:
    page = "visualindex" if request.user.has_perm("imagesim.view_visualindex") else "job"
    return HttpResponseRedirect(reverse(f"admin:imagesim_{page}_changelist", current_app=site.name))
