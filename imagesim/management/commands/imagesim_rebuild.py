"""``manage.py imagesim_rebuild``: build a new index beside the active one, then swap them."""

from __future__ import annotations

from typing import Any

from imagesim.indexing.rebuild import rebuild
from imagesim.management import ImagesimCommand, require_done


class Command(ImagesimCommand):
    help = (
        "Build a new index with the model in the settings beside the active one, and swap them when it is complete. "
        "Images that this model has embedded are not embedded again. The next run continues an interrupted one."
    )

    def handle(self, *args: Any, format: str, **options: Any) -> None:
        with self.bar("rebuilding") as bar:
            job = rebuild(progress=bar)
        require_done(job)
        seconds = (job.finished_at - job.started_at).total_seconds() if job.finished_at else 0.0
        values = {
            "status": job.status,
            "index": job.target,
            "total": job.total,
            "done": job.done,
            "failed": job.failed,
            "seconds": round(seconds, 3),
        }
        text = f"Rebuilt {job.target}: {job.done} items in {seconds:.1f} s."
        if job.failed:
            text += f" {job.failed} could not be indexed; the next sync retries them and stores their errors."
        self.emit(values, format, text)
