"""The buttons of the page "Visual index". Each starts a task or queues items, so none takes long."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim.admin.base import queue, queued_message
from imagesim.indexing import dispatch, jobs
from imagesim.models import ItemState, Job


@dataclass(frozen=True)
class Button:
    """A button: its title, what it does, and the command that does the same."""

    name: str
    title: str | Promise
    explanation: str | Promise
    command: str
    question: str | Promise = ""
    """What to ask before it is started; empty for a task that is quickly done or repeated."""
    option: str | Promise = ""
    """The label of a checkbox next to the question."""


BUTTONS = {
    button.name: button
    for button in (
        Button(
            "sync",
            gettext_lazy("Sync now"),
            gettext_lazy("Index the changes that are waiting."),
            "imagesim_sync",
        ),
        Button(
            "retry",
            gettext_lazy("Retry failed items"),
            gettext_lazy("Use this after an image or the storage was repaired."),
            "imagesim_sync",
        ),
        Button(
            "reconcile",
            gettext_lazy("Compare and repair"),
            gettext_lazy("Compare the shop with the index, for instance after an import, and queue the differences."),
            jobs.COMMANDS["reconcile"],
        ),
        Button(
            "rebuild",
            gettext_lazy("Rebuild the index"),
            gettext_lazy("Build a new index beside the active one, then switch to it. Searches continue meanwhile."),
            jobs.COMMANDS["rebuild"],
            gettext_lazy(
                "All items are written to a new index, which takes up to twice the space meanwhile. Pictures are "
                "embedded again only if the model changed."
            ),
            gettext_lazy(
                "Keep the new index on standby: it is kept up to date, and becomes the active one only when you switch "
                "to it."
            ),
        ),
    )
}


def how_tasks_run() -> str:
    """Return a sentence that says how the tasks of the buttons are run."""
    return {
        "celery": _("A Celery worker runs these tasks."),
        "django_tasks": _("A worker of Django's tasks framework runs these tasks."),
        "thread": _("A background thread of this server runs these tasks."),
        "manual": _("No tasks run in the background (SYNC is 'manual'); run the commands yourself."),
    }[dispatch.mode()]


def start(name: str, *, hold: bool = False) -> tuple[int, str]:
    """Start the task of a button; return the level and the text of the message to show. ``hold``: whether the option of
    a rebuild was chosen."""
    button = BUTTONS[name]
    if name == "retry":
        count = queue(ItemState.objects.filter(outcome=ItemState.Outcome.FAILED, pending=False))
        return messages.SUCCESS, queued_message(count)
    if name in Job.Kind.values and (job := jobs.unfinished(name)):
        if job.status == Job.Status.PAUSED:
            return messages.WARNING, _("A job of this kind is paused: resume or cancel it.")
        if job.status == Job.Status.STANDBY:
            return messages.WARNING, _("An index is on standby: switch to it or discard it.")
        if not jobs.abandoned(job):
            return messages.WARNING, _("A job of this kind is running already.")
    if dispatch.start(name, **({"hold": True} if hold else {})):
        return messages.SUCCESS, _("Started: %(job)s. This page shows its progress.") % {"job": button.title}
    if dispatch.mode() == "manual":
        text = _("No tasks run in the background (SYNC is 'manual'): run manage.py %(command)s.")
    else:
        text = _("It could not be started; try again, or run manage.py %(command)s.")
    return messages.WARNING, text % {"command": f"{button.command}{' --hold' if hold else ''}"}
