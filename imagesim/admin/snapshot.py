"""How the index stands, as texts in the reader's language: for the page and for the script that keeps it current."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from imagesim.indexing import dispatch
from imagesim.models import Job
from imagesim.monitoring.status import IndexStatus, JobStatus, get_status


def take() -> dict[str, Any]:
    """``fields``: every text by its name; ``bars``: value and max of every bar, None for one that is not shown;
    ``shown``: which parts of the page are; ``running``: whether to ask again soon.
    """
    status = get_status()
    waiting = status.pending if dispatch.mode() != "manual" else 0
    running = next(
        (job for job in (status.rebuild, status.reconcile) if job and job.status == Job.Status.RUNNING), None
    )
    fields = {
        "items": number_format(status.items, force_grouping=True),
        "indexed": number_format(status.indexed, force_grouping=True),
        "pending": number_format(status.pending, force_grouping=True),
        "failed": number_format(status.failed, force_grouping=True),
        "skipped": number_format(status.skipped, force_grouping=True),
        "embeddings": number_format(status.embeddings, force_grouping=True),
        "coverage": _percent(status.indexed, status.items),
        "oldest": _duration(status.queue_age) if status.pending else "",
        **_of_index(status.index),
        **(_of_run(running) if running else _of_waiting(waiting)),
        "rebuild": _last(status.rebuild),
        "reconcile": _last(status.reconcile),
        "updated": date_format(timezone.localtime(), "TIME_FORMAT"),
    }
    return {
        "fields": fields,
        "bars": {
            "coverage": [min(status.indexed, status.items), max(status.items, 1)],
            "job": _bar(running, waiting, status.items),
        },
        "shown": {
            "job": running is not None or waiting > 0,
            "index_error": bool(status.index.error),
            "failed": status.failed > 0,
            "oldest": status.pending > 0,
        },
        "running": running is not None or waiting > 0,
    }


def _of_index(index: IndexStatus) -> dict[str, str]:
    return {
        "index_backend": index.backend.rpartition(".")[2],
        "index_name": index.backing_index or index.name,
        "index_model": index.model,
        "index_dims": number_format(index.dims) if index.dims else "",
        "index_entries": "" if index.entries is None else number_format(index.entries, force_grouping=True),
        "index_error": index.error,
    }


def _bar(job: JobStatus | None, waiting: int, items: int) -> list[int] | None:
    """None for a bar that only says that something is at work."""
    if job is not None:
        return [job.done, job.total] if job.total else None
    return [max(items - waiting, 0), max(items, 1)]


def _of_waiting(waiting: int) -> dict[str, str]:
    if not waiting:
        return {"run_kind": "", "run_progress": "", "run_left": ""}
    text = ngettext("%(count)s change waits", "%(count)s changes wait", waiting)
    return {
        "run_kind": _("sync"),
        "run_progress": text % {"count": number_format(waiting, force_grouping=True)},
        "run_left": "",
    }


def _of_run(job: JobStatus) -> dict[str, str]:
    progress = _("%(done)s of %(total)s (%(percent)s)") % {
        "done": number_format(job.done, force_grouping=True),
        "total": number_format(job.total, force_grouping=True),
        "percent": _percent(job.done, job.total),
    }
    if job.abandoned:
        left = _("stopped; the next sync goes on with it")
    else:
        left = "" if job.seconds_left is None else _("%(time)s left") % {"time": _duration(job.seconds_left)}
    return {"run_kind": str(Job.Kind(job.kind).label), "run_progress": progress, "run_left": left}


def _last(job: JobStatus | None) -> str:
    """``done 12 May 2026, 10:00: 3 repaired``"""
    if job is None:
        return _("never")
    when = date_format(timezone.localtime(job.finished_at or job.started_at), "DATETIME_FORMAT")
    if job.status == Job.Status.RUNNING:
        return _("running since %(when)s") % {"when": when}
    parts = [f"{Job.Status(job.status).label}, {when}"]
    if job.error:
        parts.append(job.error)
    parts += [f"{name.replace('_', ' ')} {value}" for name, value in job.report.items() if type(value) is int]
    return "; ".join(parts)


def _percent(part: int, whole: int) -> str:
    """Rounded down, so that 100 % means all."""
    share = int(1000 * min(part, whole) / whole) / 10 if whole else 100.0
    return f"{number_format(share, 0 if share == 100 else 1)} %"


def _duration(seconds: float) -> str:
    if seconds < 60:
        whole = max(round(seconds), 1)
        return ngettext("%(count)d second", "%(count)d seconds", whole) % {"count": whole}
    if seconds < 90 * 60:
        whole = round(seconds / 60)
        return ngettext("%(count)d minute", "%(count)d minutes", whole) % {"count": whole}
    whole = round(seconds / 3600)
    return ngettext("%(count)d hour", "%(count)d hours", whole) % {"count": whole}
