"""The report of an experiment: its rows, in words and numbers, for the page and for CSV, and charts by day."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from imagesim import events
from imagesim.experiments.analysis import CONTROL, Comparison, Look, Result, Verdict, analyse
from imagesim.experiments.models import Experiment, Variant
from imagesim.experiments.results import looks_of
from imagesim.experiments.statistics import Arm, Mean, mean_of
from imagesim.insight.rollup import local
from imagesim.retrieval import rerank

MANY_DAYS = 3650


@dataclass(frozen=True)
class Row:
    """A variant in the table; for the control, the texts of the comparison are empty."""

    variant: Variant
    arm: Arm
    figure: str
    interval: str
    change: str = ""
    plain: str = ""
    bounded: str = ""
    probability: str = ""
    verdict: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Report:
    """``notes`` is what a reader must know before the numbers; ``outlook`` says how long it will take."""

    looks: Sequence[Look]
    result: Result | None
    rows: Sequence[Row]
    outlook: Sequence[str]
    notes: Sequence[str]


def report_of(experiment: Experiment) -> Report:
    """Return the report of the figures computed so far."""
    looks, variants = looks_of(experiment), list(experiment.variants.all())
    result = None
    if looks and variants:
        shares = {each.letter: float(each.share) for each in variants}
        result = analyse(looks, shares, by_value=experiment.by_value, effect=experiment.effect / 100)
    last = looks[-1] if looks else Look(0.0, {})
    rows = [_row(experiment, each, last, result) for each in variants]
    outlook = [] if result is None else list(_outlook(experiment, variants, last, result))
    return Report(looks, result, rows, outlook, list(_notes(experiment, variants, result)))


def _row(experiment: Experiment, variant: Variant, look: Look, result: Result | None) -> Row:
    arm = look.arm(variant.letter)
    figure, interval = "–", ""
    if arm.visitors:
        mean = mean_of(arm, by_value=experiment.by_value)
        figure = _figure(mean.value, experiment)
        interval = _between(*(_figure(edge, experiment) for edge in mean.interval))
    if result is None or variant.letter == CONTROL:
        return Row(variant, arm, figure, interval)
    compared = result.comparisons[variant.letter]
    control = mean_of(look.arm(CONTROL), by_value=experiment.by_value)
    return Row(
        variant,
        arm,
        figure,
        interval,
        change=_change(compared, control, experiment),
        plain=_interval(compared, compared.last.plain, experiment),
        bounded=_interval(compared, compared.last.bound, experiment),
        probability=f"{number_format(round(100 * compared.probability, 1), 1)} %"
        if compared.last.apart.is_known
        else "–",
        verdict=_("No verdict: the visitors are not shared as planned.")
        if result.is_skewed
        else _verdict(experiment, compared),
        tone=Verdict.NONE.value if result.is_skewed else compared.verdict.value,
    )


def _figure(value: float, experiment: Experiment, *, signed: bool = False) -> str:
    """Format a value per visitor, or a rate in percent; a difference of rates is in percentage points."""
    shown = round(value if experiment.by_value else 100 * value, 2)  # number_format() truncates
    sign = _sign(shown) if signed else ""
    if experiment.by_value:
        return sign + number_format(abs(shown), 2, force_grouping=True)
    return sign + number_format(abs(shown), 2) + ("" if signed else " %")


def _sign(value: float) -> str:
    return "+" if value > 0 else "−" if value < 0 else ""


def _between(low: str, high: str) -> str:
    return _("%(low)s to %(high)s") % {"low": low, "high": high}


def _change(compared: Comparison, control: Mean, experiment: Experiment) -> str:
    value = _figure(compared.last.apart.value, experiment, signed=True)
    if not control.value:
        return value
    relative = round(100 * compared.last.apart.value / control.value, 1)
    return f"{value} ({_sign(relative)}{number_format(abs(relative), 1)} %)"


def _interval(compared: Comparison, bound: float, experiment: Experiment) -> str:
    if not compared.last.apart.is_known or math.isinf(bound):
        return "–"
    return _between(*(_figure(edge, experiment, signed=True) for edge in compared.last.apart.interval(bound)))


def _verdict(experiment: Experiment, compared: Comparison) -> str:
    if compared.called is not None:
        day = min(compared.called + 1, experiment.days)  # there is one look per day
        text = _("Better than A, shown on day %(day)d.")
        if compared.verdict == Verdict.WORSE:
            text = _("Worse than A, shown on day %(day)d.")
        return text % {"day": day}
    if compared.verdict == Verdict.NONE:
        return _("Too few visitors for a verdict.")
    if experiment.state == Experiment.State.OVER:
        return _("No difference was shown.")
    if compared.verdict == Verdict.EARLY:
        return _("Too early: a plain interval calls a winner, but whoever looks every day would be wrong too often.")
    return _("No difference is shown yet.")


def _outlook(experiment: Experiment, variants: Sequence[Variant], look: Look, result: Result) -> Iterator[str]:
    """Yield, for each variant, how many days it takes to see the effect asked for."""
    elapsed = max(look.time * experiment.days, 0.01)
    for variant in variants[1:]:
        needed = result.comparisons[variant.letter].needed
        daily = (look.arm(CONTROL).visitors + look.arm(variant.letter).visitors) / elapsed
        if math.isinf(needed) or not daily or needed / daily > MANY_DAYS:
            if experiment.state != Experiment.State.OVER:
                yield _("%(variant)s: how long it takes cannot be said yet.") % {"variant": variant.letter}
            continue
        days = math.ceil(needed / daily)
        text = ngettext(
            "%(variant)s: a change of %(effect)d %% is shown within about %(days)d day, four times out of five.",
            "%(variant)s: a change of %(effect)d %% is shown within about %(days)d days, four times out of five.",
            days,
        ) % {"variant": variant.letter, "effect": experiment.effect, "days": days}
        if days > experiment.days:
            text += " " + _("That is longer than the experiment lasts: smaller changes will mostly stay unseen.")
        yield text


def _notes(experiment: Experiment, variants: Sequence[Variant], result: Result | None) -> Iterator[str]:
    """Yield what a reader must know before the numbers."""
    if experiment.state == Experiment.State.RUNNING:
        if not events.enabled():
            yield _("Nothing is recorded: EVENTS is off.")
        for variant in variants:
            try:
                variant.arguments()
            except ValidationError as error:
                yield _(
                    "Nothing is recorded, and all visitors see the shop as it is, because of variant %(variant)s: "
                    "%(error)s"
                ) % {"variant": variant.letter, "error": " ".join(error.messages)}
    if experiment.state != Experiment.State.OVER:
        for variant in variants[1:]:
            if not variant.has_changes and variant.key not in rerank.active().variants:
                yield _(
                    "Variant %(variant)s changes no setting, and no rule is for it: unless your own code tells it from "
                    "A, both are the same."
                ) % {"variant": variant.letter}
    if experiment.standby_gone and experiment.stopped:
        yield _(
            "The experiment ended on %(when)s, because the index on standby, which it tried, was switched to or "
            "discarded. The figures are those until then."
        ) % {"when": date_format(local(experiment.stopped), "DATETIME_FORMAT")}
    if result is not None and result.is_skewed:
        yield _(
            "The visitors are not shared as planned (p = %(p)s), so no comparison holds. Look for pages that are "
            "cached for all visitors, bots, or a variant that fails."
        ) % {"p": f"{result.skewed:.1g}"}


def csv_rows(experiment: Experiment) -> list[dict[str, Any]]:
    """Return a row for each day and variant."""
    models.prefetch_related_objects([experiment], "results")  # once: another process may add a day meanwhile
    found = report_of(experiment)
    names = {each.letter: str(each) for each in experiment.variants.all()}
    untils = sorted({row.until for row in experiment.results.all()})
    rows = []
    for number, (until, look) in enumerate(zip(untils, found.looks, strict=True)):
        for letter, name in names.items():
            arm = look.arm(letter)
            mean = mean_of(arm, by_value=experiment.by_value)
            low, high = mean.interval
            row = {
                "until": local(until).isoformat(timespec="minutes"),
                "variant": name,
                "visitors": arm.visitors,
                "converted": arm.converted,
                "total": round(arm.total, 2),
                "figure": mean.value,
                "low": low,
                "high": high,
            }
            if found.result is not None and letter in found.result.comparisons:
                point = found.result.comparisons[letter].points[number]
                is_known = point.apart.is_known and not math.isinf(point.bound)
                bounded = point.apart.interval(point.bound) if is_known else ("", "")
                row |= {"change": point.apart.value, "bounded_low": bounded[0], "bounded_high": bounded[1]}
            rows.append(row)
    return rows


WIDTH, HEIGHT = 1000, 200
ROOM = 1.5
"""The height of the chart, relative to the last interval: the wide ones of the first days are clipped."""


@dataclass(frozen=True)
class Chart:
    """Points in whole pixels, in the form that SVG reads; ``zero`` is the height of no difference."""

    bounded: str
    plain: str
    line: str
    zero: int
    width: int = WIDTH
    height: int = HEIGHT


def chart_of(compared: Comparison, looks: Sequence[Look]) -> Chart | None:
    """Return the chart of a variant's difference from the control by day; None until there are two days with
    figures."""
    shown = [
        (look.time, point)
        for look, point in zip(looks, compared.points, strict=True)
        if point.apart.is_known and not math.isinf(point.bound)
    ]
    if len(shown) < 2:
        return None
    last = shown[-1][1]
    most = ROOM * max(abs(edge) for edge in last.apart.interval(last.bound))

    def place(time: float, value: float) -> str:
        height = HEIGHT / 2 * (1 - max(-1.0, min(1.0, value / most)))
        return f"{round(WIDTH * min(time, 1.0))},{round(height)}"

    def band(edges: list[tuple[float, tuple[float, float]]]) -> str:
        upper = [place(time, high) for time, (_low, high) in edges]
        lower = [place(time, low) for time, (low, _high) in reversed(edges)]
        return " ".join(upper + lower)

    return Chart(
        bounded=band([(time, point.apart.interval(point.bound)) for time, point in shown]),
        plain=band([(time, point.apart.interval(point.plain)) for time, point in shown]),
        line=" ".join(place(time, point.apart.value) for time, point in shown),
        zero=HEIGHT // 2,
    )
