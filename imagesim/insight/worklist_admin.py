"""The work list in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim.admin.base import ReadOnlyAdmin, posted
from imagesim.admin.base import thumbnail as small_picture
from imagesim.admin.items import attach_items
from imagesim.admin.similar import change_url
from imagesim.exceptions import NotRegistered
from imagesim.insight import catalogue
from imagesim.insight.models import Finding
from imagesim.items import split_key, valid_pks
from imagesim.models import ItemState
from imagesim.registry import make_key, registry

SCAN_SECONDS = 5.0
"""How long a press of the button looks at items."""


def linked_items(site: AdminSite, request: HttpRequest, keys: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the name of each item that exists and the address of its page in the admin, empty if the user may not see
    it. One query per model."""
    wanted: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        label, pk = split_key(key)
        wanted.setdefault(label, []).append(pk)
    found: dict[str, tuple[str, str]] = {}
    for label, pks in wanted.items():
        try:
            items = registry.for_label(label)
        except NotRegistered:
            continue
        for item in items.model._base_manager.filter(pk__in=valid_pks(items.model, pks)):
            found[items.key_of(item)] = (str(item), change_url(site, item, request))
    return found


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    change_list_template = "admin/imagesim_insight/finding/change_list.html"
    list_display = ("product", "kind", "thumbnail", "detail", "other", "found_at")
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("detail", "picture", "state__object_pk", "other_key")
    list_select_related = ("state",)
    list_per_page = 50
    show_full_result_count = False

    class Media:
        css: ClassVar = {"all": ["imagesim/admin/admin.css", "imagesim_insight/report.css"]}

    def has_scan_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("imagesim_insight.scan_finding")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(posted(self.scan_view, self._address))
        return [path("scan/", view, name="imagesim_insight_finding_scan"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Finding]:
        """Leave out those of products that the shop has deleted since."""
        return super().get_queryset(request).exclude(state__outcome=ItemState.Outcome.REMOVED)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        total = ItemState.objects.exclude(outcome=ItemState.Outcome.REMOVED).count()
        context = {
            "title": capfirst(self.opts.verbose_name_plural),
            "progress": catalogue.progress(),
            "total": total,
            "may_scan": self.has_scan_permission(request),
            "scan_url": reverse(f"{self.admin_site.name}:imagesim_insight_finding_scan"),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        findings = list(changelist.result_list)
        attach_items([finding.state for finding in findings])
        keys = [key for finding in findings for key in (_key(finding), finding.other_key) if key]
        links = linked_items(self.admin_site, request, keys)
        for finding in findings:
            finding.links = links
        changelist.result_list = findings
        return changelist

    def _address(self, request: HttpRequest) -> str:
        return reverse(f"{self.admin_site.name}:imagesim_insight_finding_changelist")

    def scan_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_scan_permission(request):
            raise PermissionDenied
        if "restart" in request.POST or catalogue.progress().finished_at:
            catalogue.restart()
        found = catalogue.scan(SCAN_SECONDS)
        self.message_user(
            request, _("%(done)d products were looked at so far.") % {"done": found.done}, messages.SUCCESS
        )
        return HttpResponseRedirect(self._address(request))

    @admin.display(description=gettext_lazy("product"), ordering="state")
    def product(self, finding: Finding) -> SafeString:
        return _link(finding, _key(finding))

    @admin.display(description=gettext_lazy("other product"))
    def other(self, finding: Finding) -> SafeString | str:
        return _link(finding, finding.other_key) if finding.other_key else ""

    @admin.display(description=gettext_lazy("picture"))
    def thumbnail(self, finding: Finding) -> SafeString | str:
        item = getattr(finding.state, "_imagesim_item", None)
        if item is None or finding.kind == Finding.Kind.NO_PICTURE:
            return ""
        return small_picture(item, finding.picture)


def _key(finding: Finding) -> str:
    return make_key(finding.state.model, finding.state.object_pk)


def _link(finding: Finding, key: str) -> SafeString:
    name, url = getattr(finding, "links", {}).get(key, (key, ""))
    return format_html('<a href="{}">{}</a>', url, name) if url else format_html("{}", name)
