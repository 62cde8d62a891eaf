"""``manage.py imagesim_sync``: bring the index up to date."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from imagesim.database import CONNECTION_ERRORS
from imagesim.embedders import get_embedder
from imagesim.exceptions import ImagesimError, migrate_hint
from imagesim.indexes import get_index
from imagesim.indexing.interruptions import log_outage
from imagesim.indexing.sync import SyncReport, sync
from imagesim.indexing.write_targets import outdated
from imagesim.management import ImagesimCommand, ProgressBar, at_least, require_done


class Command(ImagesimCommand):
    help = (
        "Bring the index up to date with the waiting changes; create the first index if there is none. "
        "With --reconcile, compare the whole database with the index and repair the differences."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--limit", type=at_least(1), help="stop after this many items")
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            "--reconcile", action="store_true", help="find and repair differences that no signal reported"
        )
        parser.add_argument("--dry-run", action="store_true", help="with --reconcile: only show what would be repaired")
        group.add_argument("--watch", action="store_true", help="go on until stopped, syncing every --interval seconds")
        parser.add_argument(
            "--interval", type=at_least(0.0), default=1.0, help="with --watch: seconds between two syncs"
        )

    def handle(self, *args: Any, format: str, **options: Any) -> None:
        if options["dry_run"] and not options["reconcile"]:
            raise CommandError("--dry-run needs --reconcile.")
        if options["limit"] and options["reconcile"]:
            raise CommandError("--limit is not possible with --reconcile, which compares the whole database.")
        if options["reconcile"]:
            self._reconcile(format, dry_run=options["dry_run"])
            return
        interrupted = ""
        while True:
            report = self._sync(options["limit"], options["watch"])
            if report.done or report.interrupted != interrupted or not options["watch"]:
                text = _text(report)
                if not options["watch"]:
                    text += _outdated() + (_unrecorded() if self.stdout.isatty() else "")
                self.emit({**vars(report), "done": report.done}, format, text)
            interrupted = report.interrupted
            if not options["watch"]:
                break
            time.sleep(options["interval"])
        if report.interrupted:
            raise CommandError(f"The sync was interrupted; the remaining changes wait: {report.interrupted}")

    def _sync(self, limit: int | None, watch: bool) -> SyncReport:
        """Sync once. With ``watch``, wait for a database that does not answer, as for an index."""
        try:
            with ProgressBar("syncing") as bar:
                return sync(limit=limit, progress=bar)
        except CONNECTION_ERRORS as error:
            if not watch or migrate_hint(error):
                raise
            log_outage(error)
            return SyncReport(interrupted=str(error))

    def _reconcile(self, format: str, *, dry_run: bool) -> None:
        from imagesim.indexing.reconcile import reconcile

        with ProgressBar("comparing") as bar:
            job = reconcile(dry_run=dry_run, progress=bar)
        if not dry_run:
            require_done(job)
        found = ", ".join(f"{count} {name}" for name, count in job.report.items())
        self.emit(job.report, format, f"Compared: {found}.")


def _text(report: SyncReport) -> str:
    parts = [f"{report.indexed} indexed", f"{report.removed} removed", f"{report.skipped} skipped"]
    if report.failed:
        parts.append(f"{report.failed} failed (the admin shows the errors)")
    if report.retried:
        parts.append(f"{report.retried} to be retried (`manage.py imagesim_status` says why)")
    text = f"Synced {report.done} in {report.seconds:.1f} s: {', '.join(parts)}; {report.embedded} images embedded."
    if report.again:
        text += f" {report.again} times an item was synced again, because it was changed meanwhile."
    return text


def _outdated() -> str:
    """Return sentences on what only a rebuild can change; empty if nothing."""
    try:
        meta = get_index().meta()
        changed, other_model = outdated(meta), get_embedder().fingerprint != meta.fingerprint
    except ImagesimError:
        return ""  # the report says so
    text = f"\nThe index was made with other {changed}: run `manage.py imagesim_rebuild`." if changed else ""
    if other_model:
        text += "\nThe settings name another model: `manage.py imagesim_status` says how to change to it."
    return text


def _unrecorded() -> str:
    """Return a sentence on what a sync alone cannot index; empty if nothing. It counts all items, so it is for people
    only."""
    from imagesim.monitoring.status import get_status

    count = get_status().unrecorded
    return f"\n{count} items were never recorded: run `manage.py imagesim_sync --reconcile`." if count else ""
