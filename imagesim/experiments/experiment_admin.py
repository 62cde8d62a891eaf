"""Experiments in the admin: the form of a draft, starting, stopping and copying, the report and its CSV."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.forms.models import BaseInlineFormSet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim.admin.base import ShowsWhere, WhereField, admin_url, page, posted, state_dot
from imagesim.experiments import preview
from imagesim.experiments.analysis import CONTROL
from imagesim.experiments.models import LETTERS, MAX_VARIANTS, UNCHANGEABLE, Experiment, Variant, check_variants
from imagesim.experiments.report import chart_of, csv_rows, report_of
from imagesim.experiments.results import is_due, update
from imagesim.insight.reports import csv_response
from imagesim.insight.rollup import figures_may_wait

UPDATE_SECONDS = 3.0
"""How long a page may compute figures that are due; the task or the command computes the rest."""

State = Experiment.State
TONES = {State.DRAFT: "waiting", State.RUNNING: "on", State.OVER: "off"}
CSV_COLUMNS = (
    *("until", "variant", "visitors", "converted", "total", "figure", "low", "high"),
    *("change", "bounded_low", "bounded_high"),
)


class ExperimentForm(forms.ModelForm):  # type: ignore[type-arg]
    where = WhereField(gettext_lazy("Everywhere, if none is chosen. In each place one experiment can run at a time."))

    class Meta:
        model = Experiment
        fields: ClassVar = ["name", "where", "goal", "effect", "days", "share"]


class VariantForm(forms.ModelForm):  # type: ignore[type-arg]
    def has_changed(self) -> bool:
        """Return True: a row with its initial values is a variant too, and a row of a former variant gets another
        letter."""
        return True


class VariantFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """Gives the variants their letters in order, and checks them together."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not kwargs.get("data") and not getattr(kwargs.get("instance"), "pk", None):
            kwargs["initial"] = [{"name": _("the shop as it is"), "share": 50}, {"share": 50}]
        super().__init__(*args, **kwargs)

    def clean(self) -> None:
        super().clean()
        if not _is_draft(self.instance):
            return  # its rows are displayed, not submitted
        kept = [form for form in self.forms if form.cleaned_data and form not in self.deleted_forms]
        _assign_letters([form.instance for form in kept], {form.instance.letter for form in self.initial_forms})
        if not any(self.errors):
            check_variants([form.instance for form in kept])


def _assign_letters(variants: list[Variant], former: Collection[str]) -> None:
    """Name the first variant A, and new ones by letters that no ``former`` one has, as far as there are any. The others
    keep theirs, because rules refer to variants by letter."""
    kept = [each.letter for number, each in enumerate(variants) if number and each.pk and each.letter != CONTROL]
    free = [each for each in LETTERS if each not in (CONTROL, *kept)]
    free.sort(key=lambda letter: letter in former)
    for number, each in enumerate(variants):
        if not number:
            each.letter = CONTROL
        elif not each.pk or each.letter == CONTROL:
            each.letter = free.pop(0) if free else ""


class VariantInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Variant
    form = VariantForm
    formset = VariantFormSet
    fields = ("name", "share", "components", "diversity", "min_relevance", "standby")
    extra = 0
    min_num = 2
    max_num = MAX_VARIANTS
    verbose_name_plural = gettext_lazy("Variants: the first is A, the control")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may("add" if obj is None else "change", request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may("change", request, obj)

    has_delete_permission = has_change_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return preview.may_see(request.user)

    def _may(self, what: str, request: HttpRequest, experiment: Experiment | None) -> bool:
        return _is_draft(experiment) and bool(request.user.has_perm(f"imagesim_experiments.{what}_experiment"))


def _is_draft(experiment: Experiment | None) -> bool:
    return experiment is None or experiment.started is None


@admin.register(Experiment)
class ExperimentAdmin(ShowsWhere, admin.ModelAdmin):  # type: ignore[type-arg]
    form = ExperimentForm
    inlines = (VariantInline,)
    change_form_template = "admin/imagesim_experiments/experiment/change_form.html"
    list_display = ("name", "state_shown", "where_shown", "goal", "started", "until", "report_link")
    list_filter = ("goal",)
    search_fields = ("name",)

    class Media:
        css: ClassVar = {
            "all": ["imagesim/admin/admin.css", "imagesim_insight/report.css", "imagesim_experiments/report.css"]
        }

    def get_readonly_fields(self, request: HttpRequest, obj: Experiment | None = None) -> tuple[str, ...]:
        return () if _is_draft(obj) else ("where_shown", "goal", "days", "share")

    def get_fields(self, request: HttpRequest, obj: Experiment | None = None) -> list[Any]:
        fields = ["name", "where", "goal", "effect", "days", "share"]
        if obj is None or (_is_draft(obj) and self.has_change_permission(request, obj)):
            return fields
        return [name.replace("where", "where_shown") for name in fields]

    def has_delete_permission(self, request: HttpRequest, obj: Experiment | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.state != State.RUNNING)

    def save_model(self, request: HttpRequest, obj: Experiment, form: Any, change: bool) -> None:
        """Save only what was changed: it may have been started, stopped or settled since the form was read."""
        obj.save(update_fields=form.changed_data if change else None)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """List the experiment and its variants only: there may be millions of answers to its visitors."""
        listed: list[Any] = []
        for experiment in objs:
            listed += [f"{capfirst(self.opts.verbose_name)}: {experiment}", list(map(str, experiment.variants.all()))]
        return listed, {str(self.opts.verbose_name_plural): len(listed) // 2}, set(), []

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("imagesim_experiments.run_experiment")

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Remove the action that deletes several at once: a running experiment has to be stopped first."""
        where = {"action_location": action_location} if action_location else {}  # Django 6.1 and later
        found = super().get_actions(request, **where)
        return {name: each for name, each in found.items() if name != "delete_selected"}

    @admin.display(description=gettext_lazy("State"))
    def state_shown(self, experiment: Experiment) -> SafeString:
        return state_dot(TONES[experiment.state], experiment.state.label)

    @admin.display(description=gettext_lazy("Until"))
    def until(self, experiment: Experiment) -> Any:
        return experiment.ends

    @admin.display(description=gettext_lazy("Report"))
    def report_link(self, experiment: Experiment) -> SafeString:
        return format_html('<a href="{}">{}</a>', self._address("report", experiment.pk), _("Report"))

    def get_urls(self) -> list[URLPattern]:
        def at(name: str, view: Callable[..., HttpResponse]) -> URLPattern:
            return path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"imagesim_experiments_{name}")

        names = ("start", "stop", "copy", "preview")
        buttons = [at(name, posted(getattr(self, f"{name}_view"), self._report_address)) for name in names]
        return [at("report", self.report_view), at("csv", self.csv_view), *buttons, *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        experiment = context.get("original")
        if experiment is not None:
            context["report_url"] = self._address("report", experiment.pk)
            context["may_start"] = _is_draft(experiment) and self.has_run_permission(request)
            context["frozen"] = "" if _is_draft(experiment) else UNCHANGEABLE
        return super().render_change_form(request, context, *args, **kwargs)

    def report_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        experiment = self._found(request, pk)
        with figures_may_wait():
            update(experiment, UPDATE_SECONDS)
        report = report_of(experiment)
        comparisons = report.result.comparisons if report.result else {}
        drawn = [
            (row.variant, chart)
            for row in report.rows
            if row.variant.letter in comparisons and (chart := chart_of(comparisons[row.variant.letter], report.looks))
        ]
        state = experiment.state
        may_run = self.has_run_permission(request)
        context = {
            "title": experiment.name,
            "object": experiment,
            "report": report,
            "state": self.state_shown(experiment),
            "where": self.where_shown(experiment),
            "day": (timezone.now() - experiment.started).days + 1 if experiment.started else 0,
            "charts": drawn,
            "is_due": is_due(experiment),
            "may_start": may_run and state == State.DRAFT,
            "may_stop": may_run and state == State.RUNNING,
            "may_copy": self.has_add_permission(request),
            "change_url": admin_url(self.admin_site, "imagesim_experiments_experiment_change", pk),
            **{f"{name}_url": self._address(name, pk) for name in ("start", "stop", "copy", "preview", "csv")},
            "previewed": preview.Preview.of(request) is not None,
            "variants": list(experiment.variants.all()) if state != State.OVER else [],
        }
        return page(self, request, "admin/imagesim_experiments/report.html", context)

    def csv_view(self, request: HttpRequest, pk: int) -> Any:
        experiment = self._found(request, pk)
        with figures_may_wait():
            update(experiment, UPDATE_SECONDS)
        rows = [[row.get(name, "") for name in CSV_COLUMNS] for row in csv_rows(experiment)]
        return csv_response(f"experiment-{pk}.csv", CSV_COLUMNS, rows)

    def start_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._run(request, pk, Experiment.start, _("Started."))

    def stop_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._run(request, pk, Experiment.stop, _("Stopped."))

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show this browser the shop as visitors in a variant see it; without a variant, show the shop as it is
        again."""
        experiment = self._found(request, pk)
        letter = request.POST.get("variant", "")
        variant = experiment.variants.filter(letter=letter).first() if letter else None
        answer = HttpResponseRedirect(self._address("report", pk))
        if variant is None:
            preview.end(answer)
            self.message_user(request, _("The preview has ended."), messages.SUCCESS)
        elif preview.search_of(variant) is None:
            self.message_user(request, _("This variant cannot be previewed now."), messages.ERROR)
        else:
            preview.begin(answer, request, variant)
            text = _("You see the shop as visitors in variant %(variant)s do, and are not counted.")
            self.message_user(request, text % {"variant": variant}, messages.SUCCESS)
        return answer

    def copy_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        experiment = self._found(request, pk)
        if not self.has_add_permission(request):
            raise PermissionDenied
        copy = experiment.copied()
        self.log_addition(request, copy, _("Copied from “%(name)s”.") % {"name": experiment.name})
        return HttpResponseRedirect(admin_url(self.admin_site, "imagesim_experiments_experiment_change", copy.pk))

    def _run(self, request: HttpRequest, pk: int, what: Callable[[Experiment], None], done: str) -> HttpResponse:
        experiment = self._found(request, pk)
        if not self.has_run_permission(request):
            raise PermissionDenied
        try:
            what(experiment)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
        else:
            self.log_change(request, experiment, done)
            self.message_user(request, done, messages.SUCCESS)
        return HttpResponseRedirect(self._address("report", pk))

    def _found(self, request: HttpRequest, pk: int) -> Experiment:
        experiment = self.get_object(request, str(pk))
        if not self.has_view_permission(request, experiment):
            raise PermissionDenied
        if not isinstance(experiment, Experiment):
            raise Http404
        return experiment

    def _report_address(self, request: HttpRequest, pk: int) -> str:
        return self._address("report", pk)

    def _address(self, name: str, pk: int) -> str:
        return admin_url(self.admin_site, f"imagesim_experiments_{name}", pk)
