"""``manage.py imagesim_status``: show the state of the index and of the waiting changes."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from imagesim.management import ImagesimCommand
from imagesim.models import Job
from imagesim.monitoring.status import Status, get_status


class Command(ImagesimCommand):
    help = "Show how many items are in the shop, indexed, waiting and failed. With --check, compare them item by item."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--check", action="store_true", help="compare database and index; exit with 1 if they differ"
        )

    def handle(self, *args: Any, format: str, check: bool, **options: Any) -> None:
        status, differs = get_status(), False
        configured, precision = _configured_model()
        values = asdict(status)
        values["index"]["configured_model"], values["precision"] = configured, precision
        other_model = configured if status.index.model not in ("", configured) else ""
        text = "\n".join([*_lines(status), *_notes(status, precision, other_model)])
        if check:
            found = self._differences()
            differs = bool(status.pending or status.index.error or status.index.outdated or other_model)
            differs = differs or any(found.values())
            values["check"] = {**found, "differs": differs}
            waiting = {"pending": status.pending} if status.pending else {}
            listed = ", ".join(f"{count} {name}" for name, count in {**waiting, **found}.items())
            text += f"\n\ncheck      {'differs' if differs else 'equal'} ({listed})"
        self.emit(values, format, text)
        if differs:
            sys.exit(1)

    def _differences(self) -> dict[str, int]:
        from imagesim.exceptions import ImagesimError
        from imagesim.indexing.differences import DIFFERENCES
        from imagesim.indexing.reconcile import reconcile

        try:
            job = reconcile(dry_run=True)
        except ImagesimError as error:
            self.stderr.write(str(error))
            return {"unknown": 1}
        return {name: job.report[name] for name in DIFFERENCES}


def _configured_model() -> tuple[str, str]:
    """Return the fingerprint of the configured model and its precision; empty if it cannot be loaded here."""
    from imagesim.embedders import get_embedder
    from imagesim.exceptions import ImagesimError

    try:
        embedder = get_embedder()
        return embedder.fingerprint, embedder.precision_report()
    except ImagesimError:
        return "", ""


def _notes(status: Status, precision: str, other_model: str) -> Iterator[str]:
    """Yield lines on what needs to be done; ``other_model``: the model of the settings, if the index has another
    one."""
    if precision:
        yield f"precision  {precision}"
    if other_model:
        swaps = status.standby is not None and status.standby.model == other_model
        command = f"imagesim_rebuild{' --swap' if swaps else ''}"
        yield f"model      the settings name {other_model}; run `manage.py {command}` to change to it"
    if status.mismatch:
        more = "more" if status.mismatch > 0 else "fewer"
        yield (
            f"mismatch   the index has {abs(status.mismatch)} {more} entries than were written to it: "
            "run `manage.py imagesim_sync --reconcile`"
        )
    if status.unrecorded:
        yield f"recorded   {status.unrecorded} items never were: run `manage.py imagesim_sync --reconcile`"
    if since := status.unreconciled_since:
        yield (
            f"reconciled not since {since:%Y-%m-%d}: run `manage.py imagesim_sync --reconcile` regularly; "
            "it also deletes what is no longer used"
        )
    if status.index.outdated:
        yield f"outdated   the index was made with other {status.index.outdated}; run `manage.py imagesim_rebuild`"


def _lines(status: Status) -> list[str]:
    index = status.index
    lines = [
        f"items      {status.items}",
        f"indexed    {status.indexed}",
        f"pending    {status.pending}"
        + (f" (the oldest one for {status.queue_age:.0f} s)" if status.queue_age else "")
        + (f": {status.queue_error}" if status.queue_error else ""),
        f"failed     {status.failed}",
        f"skipped    {status.skipped}",
        f"embeddings {status.embeddings}",
        f"index      {index.backend} {index.name!r}: "
        + (index.error or f"{index.entries} entries, model {index.model}, {index.dims} dimensions"),
    ]
    if recall := index.recall:
        lines.append(f"recall     {recall.recall:.3f} (asked for: {recall.target:g}), measured {recall.measured_at}")
        for scope in recall.scopes:
            effort = f"{scope.candidates} candidates" if scope.candidates else "exact"
            drift = f", {scope.before:.3f} before" if scope.before < recall.target else ""
            lines.append(
                f"           {scope.name or 'all entries'} ({scope.share:.1%}): {scope.recall:.3f}, {effort}{drift}"
            )
    if standby := status.standby:
        lines.append(
            f"standby    {standby.backing_index or '?'}: "
            + (standby.error or f"{standby.entries} entries, model {standby.model}, {standby.dims} dimensions")
        )
    for job in (status.rebuild, status.reconcile):
        if job and (job.total or job.status != "done"):  # the first sync creates an index without filling it
            left = f", about {job.seconds_left:.0f} s left" if job.seconds_left else ""
            error = f": {job.error}" if job.error else ""
            state = Job.Status.WAITING if job.abandoned else job.status
            lines.append(f"{job.kind:<10} {state}, {job.done} of {job.total}{left}{error}")
    return lines
