"""The list of jobs in the admin: rebuilds and reconciles with their results."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim.admin import job_control
from imagesim.admin.base import ReadOnlyAdmin, shorten
from imagesim.indexing.job_control import actions
from imagesim.models import Job

JOB_TONES = {Job.Status.DONE: "good", Job.Status.FAILED: "bad", Job.Status.CANCELLED: "none"}


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "kind", "state", "progress", "failed", "finished_at", "error_line")
    list_filter = ("kind", "status")
    search_fields = ("target", "error")
    fields = (
        *("kind", "state", "progress", "failed", "target", "started_at", "heartbeat_at", "finished_at"),
        *("error", "details"),
    )
    readonly_fields = ("state", "progress", "failures", "details", "control")

    class Media:
        css: ClassVar = {"all": ["imagesim/admin/admin.css"]}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.control_view)
        return [path("control/<slug:kind>/<slug:action>/", view, name="imagesim_job_control"), *super().get_urls()]

    def control_view(self, request: HttpRequest, kind: str, action: str) -> HttpResponse:
        return job_control.view(self.admin_site, request, kind, action)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return self._for(request, super().get_list_display(request))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self._for(request, super().get_fields(request, obj))

    def _for(self, request: HttpRequest, names: Any) -> list[Any]:
        """Link failures for those who may see items, and add what can be done for those who may do it."""
        may_see = request.user.has_perm("imagesim.view_itemstate")
        shown = ["failures" if may_see and name == "failed" else name for name in names]
        return [*shown, "control"] if request.user.has_perm(job_control.PERMISSION) else shown

    @admin.display(description=gettext_lazy("failed"), ordering="failed")
    def failures(self, job: Job) -> SafeString | str:
        if not job.failed:
            return "0"
        url = reverse("admin:imagesim_itemstate_changelist", current_app=self.admin_site.name)
        return format_html('<a href="{}?outcome__exact=failed">{}</a>', url, job.failed)

    @admin.display(description=gettext_lazy("control"))
    def control(self, job: Job) -> SafeString | str:
        links = [
            (job_control.address(self.admin_site, job.kind, name), job_control.ACTIONS[name].title)
            for name in actions(job)
        ]
        return format_html_join(" · ", '<a href="{}">{}</a>', links)

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def state(self, job: Job) -> SafeString:
        tone = JOB_TONES.get(Job.Status(job.status), "waiting")
        return format_html('<span class="imagesim-badge" data-tone="{}">{}</span>', tone, job.get_status_display())

    @admin.display(description=gettext_lazy("progress"))
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

    @admin.display(description=gettext_lazy("error"))
    def error_line(self, job: Job) -> str:
        return shorten(job.error)

    @admin.display(description=gettext_lazy("report"))
    def details(self, job: Job) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(job.report, indent=2, ensure_ascii=False))
