"""The list of long pieces of work: rebuilds, reconciles and reindexes, with what came of them."""

from __future__ import annotations

import json
from typing import ClassVar

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from imagesim.admin.badges import shorten
from imagesim.admin.readonly import ReadOnlyAdmin
from imagesim.models import Run

TONES = {Run.Status.DONE: "good", Run.Status.FAILED: "bad"}


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
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
    def state(self, run: Run) -> SafeString:
        tone = TONES.get(Run.Status(run.status), "waiting")
        return format_html('<span class="imagesim-badge" data-tone="{}">{}</span>', tone, run.get_status_display())

    @admin.display(description=_("progress"))
    def progress(self, run: Run) -> SafeString | str:
        if not run.total:
            return ""
        return format_html(
            '<progress class="imagesim-progress" value="{}" max="{}">{}</progress> {}',
            run.done,
            run.total,
            run.done,
            _("%(done)d of %(total)d") % {"done": run.done, "total": run.total},
        )

    @admin.display(description=_("error"))
    def error_line(self, run: Run) -> str:
        return shorten(run.error)

    @admin.display(description=_("report"))
    def details(self, run: Run) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(run.report, indent=2, ensure_ascii=False))
