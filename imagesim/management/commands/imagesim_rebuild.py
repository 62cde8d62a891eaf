"""``manage.py imagesim_rebuild``: make a new index beside the one in service, then swap."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from imagesim.exceptions import ImagesimError
from imagesim.indexing.rebuild import rebuild
from imagesim.management.base import ImagesimCommand


class Command(ImagesimCommand):
    help = (
        "Make a new index with the model in the settings, beside the one in service, and swap when it is complete. "
        "Pictures that this model has embedded before are not embedded again. Killed, it goes on where it was."
    )

    def handle(self, *args: Any, format: str, **options: Any) -> None:
        try:
            with self.bar("rebuilding") as bar:
                run = rebuild(progress=bar)
        except ImagesimError as error:
            raise CommandError(str(error)) from error
        seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else 0.0
        facts = {
            "status": run.status,
            "index": run.target,
            "total": run.total,
            "done": run.done,
            "failed": run.failed,
            "seconds": round(seconds, 3),
        }
        text = f"Rebuilt {run.target}: {run.done} items in {seconds:.1f} s."
        if run.failed:
            text += f" {run.failed} went through the sync, which keeps their errors."
        self.emit(facts, format, text)
