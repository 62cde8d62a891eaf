"""``manage.py imagesim_jobs``: show the unfinished jobs; pause, resume or cancel one."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from imagesim.indexing import jobs
from imagesim.management import ImagesimCommand
from imagesim.models import Job

ACTIONS = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}


class Command(ImagesimCommand):
    help = (
        "Show the rebuild and the reconcile that are running or paused. With an action and a kind, pause, resume or "
        "cancel one: its process notices at its next batch. A cancelled rebuild leaves the active index as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("action", nargs="?", choices=tuple(ACTIONS), help="what to do (default: only show them)")
        parser.add_argument("kind", nargs="?", choices=tuple(Job.Kind.values), help="to which job")

    def handle(self, *args: Any, format: str, action: str | None, kind: str | None, **options: Any) -> None:
        if action is None:
            found = [job for each in Job.Kind.values if (job := jobs.unfinished(each))]
            text = "\n".join(map(_line, found)) or "No job is running or paused."
            self.emit({"jobs": [_values(job) for job in found]}, format, text)
            return
        if kind is None:
            raise CommandError(f"Name the kind of job to {action}: rebuild or reconcile.")
        unfinished = jobs.unfinished(kind)
        if unfinished is None or action not in jobs.actions(unfinished) or not ACTIONS[action](unfinished):
            if unfinished is not None and unfinished.status == Job.Status.STANDBY:
                raise CommandError(jobs.why_none(Job.Kind.REBUILD))
            raise CommandError(f"There is no {kind} to {action}.")
        text = _line(unfinished)
        if action == "resume" and (command := jobs.start_process(unfinished)):
            text += f"; run `manage.py {command}` to continue it here"
        self.emit(_values(unfinished), format, text)


def _values(job: Job) -> dict[str, Any]:
    names = ("kind", "status", "requested", "done", "total", "started_at", "error")
    return {name: getattr(job, name) for name in names}


def _line(job: Job) -> str:
    asked = f", {job.requested} requested" if job.requested else ""
    reason = f": {job.error}" if job.error else ""
    return f"{job.kind}: {jobs.status_of(job)}{asked}, {job.done} of {job.total}{reason}"
