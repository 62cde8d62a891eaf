"""The page "Visual index": how the index stands, what is running, and the buttons that set it right.

It is kept current by a small script that asks the JSON view every few seconds.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.views.decorators.http import require_POST

from imagesim.admin import job_actions, rates, snapshot
from imagesim.admin.readonly import ReadOnlyAdmin
from imagesim.models import VisualIndex


@admin.register(VisualIndex)
class VisualIndexAdmin(ReadOnlyAdmin):
    class Media:
        css: ClassVar = {"all": ["imagesim/admin/admin.css"]}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="imagesim_visualindex_changelist"),
            path("status/", view(self.status_view), name="imagesim_visualindex_status"),
            path("start/<slug:job>/", view(self.start_view), name="imagesim_visualindex_start"),
        ]

    def has_rebuild_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("imagesim.rebuild_visualindex")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._require_view(request)
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "snapshot": snapshot.take(),
            "rates": rates.take(),
            "may_rebuild": self.has_rebuild_permission(request),
            "jobs": job_actions.JOBS.values(),
            "how": job_actions.how_it_runs(),
            "may_see_items": request.user.has_perm("imagesim.view_itemstate"),
            "may_see_runs": request.user.has_perm("imagesim.view_job"),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/imagesim/visual_index.html", context)

    def status_view(self, request: HttpRequest) -> JsonResponse:
        self._require_view(request)
        return JsonResponse(snapshot.take())  # the admin marks it as never to be cached

    @method_decorator(require_POST)
    def start_view(self, request: HttpRequest, job: str) -> HttpResponse:
        self._require_view(request)
        if not self.has_rebuild_permission(request):
            raise PermissionDenied
        if job not in job_actions.JOBS:
            return HttpResponseNotFound()
        level, message = job_actions.start(job)
        self.message_user(request, message, level)
        return HttpResponseRedirect(
            reverse("admin:imagesim_visualindex_changelist", current_app=self.admin_site.name),
        )

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
