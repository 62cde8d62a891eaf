"""``manage.py imagesim_rebuild``: build a new index beside the active one, then swap them, immediately or when told
to."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from imagesim.indexing import jobs
from imagesim.indexing.rebuild import rebuild, swap
from imagesim.management import ImagesimCommand, ProgressBar, require_done
from imagesim.models import Job


class Command(ImagesimCommand):
    help = (
        "Build a new index with the model in the settings beside the active one, and swap them when it is complete. "
        "Images that this model has embedded are not embedded again. The next run continues an interrupted one. With "
        "--hold the new index stands by, and is kept up to date, until --swap or --discard."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--hold", action="store_true", help="do not swap: keep the new index on standby")
        group.add_argument("--swap", action="store_true", help="make the index on standby the active one")
        group.add_argument("--discard", action="store_true", help="delete the index on standby, after asking")
        parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="do not ask")

    def handle(self, *args: Any, format: str, **options: Any) -> None:
        if options["discard"]:
            self._discard(format, options["interactive"])
            return
        if options["swap"]:
            job = swap()
            require_done(job)
            text = f"{job.target} is the active index now."
        else:
            with ProgressBar("rebuilding") as bar:
                job = rebuild(progress=bar, hold=options["hold"])
            require_done(job)
            text = _text(job)
        self.emit(_values(job), format, text)

    def _discard(self, format: str, interactive: bool) -> None:
        job = jobs.standby()
        if job is None:
            raise CommandError("No index is on standby.")
        if interactive:
            self.require_yes(f"Delete the index {job.target!r}?")
        if not jobs.cancel(job) or job.status != Job.Status.CANCELLED:
            raise CommandError(job.error or f"It was changed meanwhile: {jobs.why_none(Job.Kind.REBUILD)}")
        self.emit(_values(job), format, f"Deleted {job.target}.")


def _seconds(job: Job) -> float:
    return ((job.finished_at or timezone.now()) - job.started_at).total_seconds()


def _text(job: Job) -> str:
    text = f"Rebuilt {job.target}: {job.done} items in {_seconds(job):.1f} s."
    if job.status == Job.Status.STANDBY:
        text += " It is on standby: --swap makes it the active index, --discard deletes it."
    if job.failed:
        text += f" {job.failed} could not be indexed; the next sync retries them and stores their errors."
    return text


def _values(job: Job) -> dict[str, Any]:
    return {
        "status": job.status,
        "index": job.target,
        "total": job.total,
        "done": job.done,
        "failed": job.failed,
        "seconds": round(_seconds(job), 3),
    }
