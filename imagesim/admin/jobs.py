"""The list of jobs: rebuilds and reconciles, with their results."""

from __future__ import annotations

import json
from typing import ClassVar

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from imagesim.admin.base import ReadOnlyAdmin, shorten
from imagesim.models import Job

TONES = {Job.Status.DONE: "good", Job.Status.FAILED: "bad"}


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "kind", "state", "progress", "failed", "finished_at", "error_line")
    list_filter = ("kind", "status")
    search_fields = ("target", "error")
    fields = (
        *("kind", "state", "progress", "failed", "target", "started_at", "heartbeat_at", "finished_at"),
        *("error", "details"),
    )
    readonly_fields = ("state", "progress", "details")

    class Media:
        css: ClassVar = {"all": ["imagesim/admin/admin.css"]}

    @admin.display(description=_("status"), ordering="status")
    def state(self, job: Job) -> SafeString:
        tone = TONES.get(Job.Status(job.status), "waiting")
        return format_html('<span class="imagesim-badge" data-tone="{}">{}</span>', tone, job.get_status_display())

    @admin.display(description=_("progress"))
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

    @admin.display(description=_("error"))
    def error_line(self, job: Job) -> str:
        return shorten(job.error)

    @admin.display(description=_("report"))
    def details(self, job: Job) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(job.report, indent=2, ensure_ascii=False))
