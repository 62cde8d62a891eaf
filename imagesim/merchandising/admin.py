"""The rules in the admin: a list, a form with validation, and a preview before saving; and the categories of labels."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time
from datetime import timezone as zones
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy
from django.views.decorators.http import require_GET

from imagesim.admin.base import ShowsWhere, WhereField, admin_url, page, posted, state_dot
from imagesim.exceptions import BadQuery, ConfigurationError, ImagesimError
from imagesim.items.registry import registry
from imagesim.merchandising import rule_form
from imagesim.merchandising.conditions import IN_STOCK, all_lines
from imagesim.merchandising.engine import Ready
from imagesim.merchandising.models import FIELDS_OF_ACTION, OTHERS, SELECTING, LabelCategories, Rule
from imagesim.pages.widgets import Card
from imagesim.regions import get_region_finder
from imagesim.regions.labels import GARMENTS, NEUTRAL, likely_categories, name_of
from imagesim.retrieval import variants
from imagesim.retrieval.filters import categories_of, filter_names

OWN_FIELDS = {
    **{action: list(fields) for action, fields in FIELDS_OF_ACTION.items()},
    **{action: ["filters", "same_field", *FIELDS_OF_ACTION[action]] for action in SELECTING},
    "replace": ["replacement", "both_ways"],
    "message": ["message", "link"],
}
"""The fields that the form shows for each action."""


def offer_choices(
    form: Any, name: str, choices: Iterable[tuple[str, Any]], kind: Any = forms.ChoiceField, **options: Any
) -> None:
    """Make a field of a form offer choices, if the form has it, under the label of the model's field."""
    if name in form.fields:
        field = form.fields[name]
        options = {"label": field.label, "help_text": field.help_text, "required": field.required, **options}
        form.fields[name] = kind(choices=list(choices), **options)


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    where = WhereField(gettext_lazy("Everywhere, if none is chosen."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = (*filter_names(tuple(registry)), IN_STOCK)
        for name in ("same_field", "limit_field"):
            offered = filter(None, dict.fromkeys((*known, getattr(self.instance, name))))
            offer_choices(self, name, [("", "—"), *((each, each) for each in offered)])
        self._offer_variants()

    def _offer_variants(self) -> None:
        """Offer the variants of experiments; the field is hidden if there are none."""
        offered = [("", "—")]
        known = variants.active().choices()
        self._places = {each.key: set(each.places) for each in known}
        for each in known:
            offered += [(each.key, each.name), (OTHERS + each.key, _("not in: %(variant)s") % {"variant": each.name})]
        if self.instance.variant and self.instance.variant not in dict(offered):
            offered.append((self.instance.variant, _("an experiment that is over")))
        offer_choices(self, "variant", offered, **({"widget": forms.HiddenInput} if len(offered) == 1 else {}))

    def clean(self) -> dict[str, Any] | None:
        given = super().clean() or {}
        where = set(given.get("where") or Rule.Where.values)
        if where.isdisjoint(self._places.get(given.get("variant", ""), where)):
            self.add_error("variant", _("The experiment is not where the rule is, so it would do nothing."))
        return given

    class Meta:
        model = Rule
        fields: ClassVar = [
            *("name", "enabled", "priority", "starts", "ends", "where", "when", "triggers", "variant"),
            *("action", "pins"),
            *("filters", "same_field", "factor", "limit_count", "limit_field", "limit_first"),
            *("replacement", "both_ways", "message", "link"),
        ]
        widgets: ClassVar = {
            name: forms.Textarea(attrs={"rows": 3, "cols": 50}) for name in ("triggers", "pins", "filters")
        }


class MomentField(forms.SplitDateTimeField):
    """A date and a time, which is ``time`` if only the date is given."""

    def __init__(self, time: time, **kwargs: Any) -> None:
        self.time = time
        super().__init__(**kwargs)

    def compress(self, data_list: Any) -> Any:
        if data_list and data_list[0] and data_list[1] is None:
            data_list = [data_list[0], self.time]
        moment = super().compress(data_list)
        try:
            if moment is not None and timezone.is_aware(moment):
                moment.astimezone(zones.utc)  # as it is stored
        except OverflowError:  # such as the end of the year 9999, west of Greenwich
            raise ValidationError(self.error_messages["invalid_date"], code="invalid_date") from None
        return moment


STATES = {
    "on": gettext_lazy("on"),
    "waiting": gettext_lazy("not yet"),
    "over": pgettext_lazy("rule", "over"),
    "off": gettext_lazy("off"),
    "invalid": gettext_lazy("invalid"),
}


def _set_states(rules: Iterable[Any]) -> None:
    """Set the ``state`` of each rule, and the ``reason`` of those that have become invalid because the shop's
    declarations changed.

    A rule for a variant of an experiment that is over or has not started applies to nobody.
    """
    now = timezone.now()
    limited = [rule for rule in rules if rule.variant and not rule.variant.startswith(OTHERS)]
    runs = {each.key: each.runs for each in variants.active().choices()} if limited else {}
    for rule in rules:
        rule.state, rule.reason = "on", ""
        try:
            Ready.of(0, rule)
        except ValidationError as error:
            rule.state, rule.reason = "invalid", " ".join(error.messages)
            continue
        if not rule.enabled:
            rule.state = "off"
        elif (rule.ends and rule.ends <= now) or (rule in limited and rule.variant not in runs):
            rule.state = "over"
        elif (rule.starts and now < rule.starts) or (rule in limited and not runs[rule.variant]):
            rule.state = "waiting"


class StateFilter(admin.SimpleListFilter):
    """Filters by the state that the column shows."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(STATES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Rule]) -> QuerySet[Rule]:
        if self.value() not in STATES:
            return queryset
        rules: list[Any] = list(queryset)
        _set_states(rules)
        return queryset.filter(pk__in=[rule.pk for rule in rules if rule.state == self.value()])


@admin.register(Rule)
class RuleAdmin(ShowsWhere, admin.ModelAdmin):  # type: ignore[type-arg]
    form = RuleForm
    change_form_template = "admin/imagesim_merchandising/rule/change_form.html"
    list_display = ("name", "state", "starts", "ends", "where_shown", "when_shown", "action", "priority")
    list_filter = (StateFilter, "action", "when")
    search_fields = ("name", "triggers", "filters", "pins")
    actions = ("switch_on", "switch_off")
    fieldsets = (
        (None, {"fields": ("name", "enabled", "priority", "starts", "ends")}),
        (gettext_lazy("Where and when"), {"fields": ("where", "when", "triggers", "variant")}),
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
        css: ClassVar = {"all": ["imagesim/admin/admin.css", "imagesim_merchandising/rule.css"]}
        # The form is displayed only once the scripts have adapted it: what they hide or add would move the rest.
        js = tuple(
            Script(f"imagesim_merchandising/{name}.js", type="module", blocking="render")
            for name in ("rule", "products")
        )

    def get_fieldsets(self, request: HttpRequest, obj: Rule | None = None) -> Any:
        """Show users who may only view a rule the names of the places instead of the stored values, and no fields of
        other actions."""
        found = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return found
        unused = {name for fields in OWN_FIELDS.values() for name in fields} - set(OWN_FIELDS[obj.action])
        unused |= {name for name in ("triggers", "variant") if not getattr(obj, name)}

        def shown(names: Iterable[Any]) -> list[Any]:
            return ["where_shown" if name == "where" else name for name in names if name not in unused]

        return [(title, {**options, "fields": shown(options["fields"])}) for title, options in found]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in ("starts", "ends"):
            text = _("In the time zone %(zone)s; without a time, from the start of the day.")
            if db_field.name == "ends":
                text = _("In the time zone %(zone)s; without a time, until the end of the day.")
            default = time.min if db_field.name == "starts" else time(23, 59, 59)
            kwargs["form_class"] = partial(MomentField, default)
            kwargs["help_text"] = text % {"zone": timezone.get_current_timezone_name()}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        _set_states(changelist.result_list)
        return changelist

    @admin.display(description=gettext_lazy("State"))
    def state(self, rule: Any) -> SafeString:
        tone = "off" if rule.state in ("over", "invalid") else rule.state
        return state_dot(tone, STATES[rule.state], rule.reason)

    @admin.display(description=gettext_lazy("When"), ordering="when")
    def when_shown(self, rule: Rule) -> str:
        if rule.when == Rule.When.ALWAYS:
            return str(rule.get_when_display())
        words = ", ".join(all_lines(rule.triggers)[:5])
        return _("%(name)s: %(choice)s") % {"name": rule.get_when_display(), "choice": words}

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def switch_on(self, request: HttpRequest, rules: QuerySet[Rule]) -> None:
        self._switch(request, rules, True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def switch_off(self, request: HttpRequest, rules: QuerySet[Rule]) -> None:
        self._switch(request, rules, False)

    def _switch(self, request: HttpRequest, rules: QuerySet[Rule], on: bool) -> None:
        changed = list(rules.exclude(enabled=on))
        for rule in changed:
            rule.enabled = on
            # One by one, so that each is announced to the processes and recorded in the history; only this field,
            # because someone else may have changed the others meanwhile.
            rule.save(update_fields=["enabled"])
            self.log_change(request, rule, _("Switched on.") if on else _("Switched off."))
        count = len(changed)
        if on:
            done = ngettext("%(count)d rule was switched on.", "%(count)d rules were switched on.", count)
        else:
            done = ngettext("%(count)d rule was switched off.", "%(count)d rules were switched off.", count)
        self.message_user(request, done % {"count": count}, messages.SUCCESS if changed else messages.INFO)

    def save_model(self, request: HttpRequest, obj: Rule, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for warning in rule_form.warnings(obj):
            messages.warning(request, warning)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        rule = context.get("original")
        address = admin_url(self.admin_site, "imagesim_merchandising_rule_preview")
        context |= {
            "has_file_field": True,  # the photo of the preview
            "preview_url": f"{address}?rule={rule.pk}" if rule else address,
            "products_url": admin_url(self.admin_site, "imagesim_merchandising_rule_products"),
            "own_fields": OWN_FIELDS,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        preview = self.admin_site.admin_view(posted(self.preview, self._form_address))
        found = self.admin_site.admin_view(require_GET(self.products))
        return [
            path("preview/", preview, name="imagesim_merchandising_rule_preview"),
            path("products/", found, name="imagesim_merchandising_rule_products"),
            *super().get_urls(),
        ]

    def _form_address(self, request: HttpRequest) -> str:
        pk = request.GET.get("rule", "")
        if pk:
            return admin_url(self.admin_site, "imagesim_merchandising_rule_change", quote(pk))
        return admin_url(self.admin_site, "imagesim_merchandising_rule_add")

    def products(self, request: HttpRequest) -> HttpResponse:
        """Return the products whose names contain the words of ``q``, or those with the keys in ``key``, as JSON."""
        if not (self.has_view_permission(request) or self.has_add_permission(request)):
            raise PermissionDenied
        keys = request.GET.getlist("key")
        try:
            found = rule_form.by_key(keys) if keys else rule_form.suggested(request.GET.get("q", ""))
        except ImagesimError as error:
            return JsonResponse({"detail": str(error)}, status=400 if isinstance(error, BadQuery) else 503)
        return JsonResponse({"suggestions": [_suggestion(card) for card in found]})

    def preview(self, request: HttpRequest) -> HttpResponse:
        """Show the answers without and with the rule in the form; nothing is saved."""
        pk = request.GET.get("rule", "")
        rule = self.get_object(request, pk) if pk else None
        allowed = self.has_change_permission(request, rule) if rule else self.has_add_permission(request)
        if not allowed or (pk and rule is None):
            raise PermissionDenied
        form = self.get_form(request, rule, change=rule is not None)(request.POST, instance=rule)
        context = {"title": _("Preview"), "form": form}
        if form.is_valid():
            context["preview"] = rule_form.compare(
                form.save(commit=False),
                words=request.POST.get("preview_words", ""),
                product=request.POST.get("preview_product", ""),
                photo=request.FILES.get("preview_photo"),
            )
        return page(self, request, "admin/imagesim_merchandising/rule/preview.html", context)


def _suggestion(card: Card) -> dict[str, Any]:
    return {
        "key": card.key,
        "text": card.title,
        "kind": "item",
        "image": {"url": card.thumbnail_url or card.image_url},
    }


class LabelCategoriesForm(forms.ModelForm):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        used = set(LabelCategories.objects.exclude(pk=self.instance.pk).values_list("label", flat=True))
        labels = [label for label in dict.fromkeys((*_labels(), self.instance.label)) if label and label not in used]
        offer_choices(self, "label", [(label, name_of(label)) for label in labels])
        known = dict.fromkeys((*rule_form.known_categories(), *(self.instance.categories or ())))
        offer_choices(
            self,
            "categories",
            [(each, each) for each in known],
            forms.MultipleChoiceField,
            widget=forms.CheckboxSelectMultiple(attrs={"class": "rule-categories"}),
            help_text=_("If none is chosen, the nearest products decide."),
        )

    class Meta:
        model = LabelCategories
        fields: ClassVar = ["label", "categories"]


@admin.register(LabelCategories)
class LabelCategoriesAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = LabelCategoriesForm
    list_display = ("__str__", "chosen", "by_name")

    class Media:
        css: ClassVar = {"all": ["imagesim_merchandising/rule.css"]}

    def get_fields(self, request: HttpRequest, obj: LabelCategories | None = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            return super().get_fields(request, obj)
        return ["__str__", "chosen"]  # names instead of the stored values

    @admin.display(description=gettext_lazy("Categories"))
    def chosen(self, row: LabelCategories) -> str:
        return ", ".join(row.categories) or _("those of the nearest products")

    @admin.display(description=gettext_lazy("Without this entry"))
    def by_name(self, row: LabelCategories) -> str:
        """Return the categories that ``Items`` declares for the label, or whose names suggest it."""
        found = [
            category
            for items in registry
            for category in items.look_categories.get(row.label, likely_categories(row.label, categories_of(items)))
        ]
        return ", ".join(dict.fromkeys(found)) or _("those of the nearest products")


def _labels() -> tuple[str, ...]:
    try:
        own = get_region_finder().labels
    except ConfigurationError:
        own = ()
    return (*GARMENTS, *NEUTRAL, *own)
