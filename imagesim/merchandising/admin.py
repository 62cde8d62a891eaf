"""The rules in the admin: a list, a form with validation, and a preview before saving."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from imagesim.merchandising.conditions import IN_STOCK, lines_of
from imagesim.merchandising.models import FIELDS_OF_ACTION, Rule
from imagesim.merchandising.preview import compare
from imagesim.registry import registry
from imagesim.retrieval.filters import filter_names

SELECTING = ("boost", "bury", "exclude")
OWN_FIELDS = {
    **{action: list(fields) for action, fields in FIELDS_OF_ACTION.items()},
    **{action: ["filters", "same_field", *FIELDS_OF_ACTION[action]] for action in SELECTING},
    "replace": ["replacement", "both_ways"],
    "message": ["message", "link"],
}
"""The fields that the form shows for each action."""


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    where = forms.MultipleChoiceField(
        label=gettext_lazy("Where"),
        choices=Rule.Where.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Everywhere, if none is chosen."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = [(name, name) for name in (*filter_names(tuple(registry)), IN_STOCK)]
        for name in ("same_field", "limit_field"):
            if name in self.fields:
                model_field = self.fields[name]
                self.fields[name] = forms.ChoiceField(
                    label=model_field.label,
                    choices=[("", "—"), *known],
                    required=False,
                    help_text=model_field.help_text,
                )

    class Meta:
        model = Rule
        fields: ClassVar = [
            *("name", "enabled", "priority", "starts", "ends", "where", "when", "triggers", "action", "pins"),
            *("filters", "same_field", "factor", "limit_count", "limit_field", "limit_first"),
            *("replacement", "both_ways", "message", "link"),
        ]
        widgets: ClassVar = {
            name: forms.Textarea(attrs={"rows": 3, "cols": 50}) for name in ("triggers", "pins", "filters")
        }


@admin.register(Rule)
class RuleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = RuleForm
    change_form_template = "admin/imagesim_merchandising/rule/change_form.html"
    list_display = ("name", "state", "where_shown", "when_shown", "action", "priority")
    list_filter = ("enabled", "action", "when")
    search_fields = ("name", "triggers", "filters", "pins")
    actions = ("switch_on", "switch_off")
    fieldsets = (
        (None, {"fields": ("name", "enabled", "priority", "starts", "ends")}),
        (gettext_lazy("Where and when"), {"fields": ("where", "when", "triggers")}),
        (
            gettext_lazy("What"),
            {
                "fields": (
                    *("action", "pins", "filters", "same_field", "factor"),
                    *("limit_count", "limit_field", "limit_first", "replacement", "both_ways", "message", "link"),
                )
            },
        ),
    )

    class Media:
        css: ClassVar = {"all": ["imagesim_merchandising/rule.css"]}
        js = ("imagesim_merchandising/rule.js",)

    @admin.display(description=gettext_lazy("State"))
    def state(self, rule: Rule) -> SafeString:
        now = timezone.now()
        if not rule.enabled:
            tone, word = "off", _("off")
        elif rule.is_active(now):
            tone, word = "on", _("on")
        elif rule.starts and now < rule.starts:
            tone, word = "waiting", _("not yet")
        else:
            tone, word = "off", _("over")
        return format_html('<span class="rule-state" data-tone="{}">{}</span>', tone, word)

    @admin.display(description=gettext_lazy("Where"))
    def where_shown(self, rule: Rule) -> str:
        return ", ".join(str(Rule.Where(each).label) for each in rule.where) or _("everywhere")

    @admin.display(description=gettext_lazy("When"), ordering="when")
    def when_shown(self, rule: Rule) -> str:
        if rule.when == Rule.When.ALWAYS:
            return str(rule.get_when_display())
        return f"{rule.get_when_display()}: {', '.join(lines_of(rule.triggers)[:5])}"

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def switch_on(self, request: HttpRequest, rules: QuerySet[Rule]) -> None:
        self._switch(request, rules, True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, rules: QuerySet[Rule]) -> None:
        self._switch(request, rules, False)

    def _switch(self, request: HttpRequest, rules: QuerySet[Rule], on: bool) -> None:
        for rule in rules.exclude(enabled=on):
            rule.enabled = on
            rule.save()  # one by one, so that each is announced to the processes and recorded in the history
            self.log_change(request, rule, _("Switched on.") if on else _("Switched off."))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        rule = context.get("original")
        address = reverse(f"{self.admin_site.name}:imagesim_merchandising_rule_preview")
        context |= {
            "has_file_field": True,  # the photo of the preview
            "preview_url": f"{address}?rule={rule.pk}" if rule else address,
            "own_fields": OWN_FIELDS,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(require_POST(self.preview))
        return [path("preview/", view, name="imagesim_merchandising_rule_preview"), *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """Show the answers without and with the rule in the form; nothing is saved."""
        pk = request.GET.get("rule", "")
        rule = self.get_object(request, pk) if pk else None
        allowed = self.has_change_permission(request, rule) if rule else self.has_add_permission(request)
        if not allowed or (pk and rule is None):
            raise PermissionDenied
        form = self.get_form(request, rule, change=rule is not None)(request.POST, instance=rule)
        context = {**self.admin_site.each_context(request), "title": _("Preview"), "opts": self.opts, "form": form}
        if form.is_valid():
            shown = form.save(commit=False)
            context["preview"] = compare(
                shown,
                words=request.POST.get("preview_words", ""),
                product=request.POST.get("preview_product", ""),
                photo=request.FILES.get("preview_photo"),
            )
        template = "admin/imagesim_merchandising/rule/preview.html"
        return TemplateResponse(request, template, context)
