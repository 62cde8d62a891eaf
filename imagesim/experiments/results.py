"""Compute the daily figures of experiments from what was recorded: whole days only."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef, QuerySet
from django.utils import timezone

from imagesim.database import atomic, delete_in_batches, pages, primary, retry_conflicts
from imagesim.experiments.analysis import Look
from imagesim.experiments.models import DailyResult, Experiment, Exposure
from imagesim.experiments.statistics import Arm
from imagesim.insight.models import Purchase
from imagesim.insight.rollup import bounds, local_date
from imagesim.models import Event

CHUNK = 500
"""The number of purchases that are read together with the visitors who made them."""

WAIT = timedelta(minutes=1)
"""How long after the end of a day the buffers of all processes have been written."""

Goal = Experiment.Goal


def update_all() -> int:
    """Compute the due figures of every experiment; return for how many days."""
    return sum(update(each) for each in Experiment.objects.filter(started__isnull=False, settled=False))


def update(experiment: Experiment, seconds: float = 0.0) -> int:
    """Compute the due figures, the earliest first; return for how many days.

    ``seconds``: stop before another day once that much time has passed; 0 computes all. When the last day is computed,
    what was recorded of the visitors is deleted.
    """
    experiment.end_if_index_is_gone()
    began, days = time.monotonic(), 0
    now = timezone.now()  # once: a day that ends while figures are computed is due the next time
    while not seconds or not days or time.monotonic() - began < seconds:
        if not _update_day(experiment, now):
            _settle(experiment, now)
            break
        days += 1
    return days


def is_due(experiment: Experiment) -> bool:
    """Return whether there are days without figures."""
    return not experiment.settled and next(_due(experiment, timezone.now()), None) is not None


@retry_conflicts
def _update_day(experiment: Experiment, now: datetime) -> bool:
    """Compute the figures of the first day that is due; return whether one was."""
    with atomic(Experiment):
        # The row is the lock: of two processes, the second finds the day computed.
        locked = Experiment.objects.select_for_update().filter(pk=experiment.pk, settled=False).first()
        until = next(_due(locked, now), None) if locked else None
        if locked is None or until is None:
            return False
        primary(DailyResult).bulk_create(
            DailyResult(experiment=locked, until=until, variant=name, **asdict(arm))
            for name, arm in figures(locked, until).items()
        )
    return True


def _settle(experiment: Experiment, now: datetime) -> None:
    """Make the figures of an experiment that is over final, and delete what was recorded of its visitors."""
    if experiment.ends is None or now < experiment.ends + WAIT:
        return
    if Experiment.objects.filter(pk=experiment.pk, settled=False).update(settled=True):
        delete_in_batches(Exposure.objects.filter(experiment=experiment))
        experiment.refresh_from_db()


def _due(experiment: Experiment, now: datetime) -> Iterator[datetime]:
    """Yield the ends of the days that are over and have no figures yet, and the end of the experiment."""
    if experiment.started is None or experiment.ends is None:
        return
    known = set(primary(DailyResult).filter(experiment=experiment).values_list("until", flat=True))
    day = local_date(experiment.started)
    while True:
        until = min(bounds(day)[1], experiment.ends)
        if until + WAIT > now:
            return
        if until not in known:
            yield until
        if until == experiment.ends:
            return
        day += timedelta(days=1)


def figures(experiment: Experiment, until: datetime) -> dict[str, Arm]:
    """Return the figures of each variant until a time, from what was recorded.

    A visitor counts from the first answer on; the goal is reached by an event of a hit in any of the visitor's answers.
    """
    exposed = Exposure.objects.filter(experiment=experiment, created_at__lt=until)
    visitors = _visitors(exposed)
    letters = [each.letter for each in experiment.variants.all()]
    if experiment.goal in (Goal.PURCHASE, Goal.VALUE):
        spent: dict[str, dict[str, float]] = defaultdict(dict)
        for variant, visitor, value in _spent(exposed, until):
            spent[variant][visitor] = spent[variant].get(visitor, 0.0) + value
        return {
            name: Arm(
                visitors.get(name, 0),
                len(spent[name]),
                sum(spent[name].values()),
                sum(value**2 for value in spent[name].values()),
            )
            for name in letters
        }
    reached = Event.objects.filter(request=OuterRef("request"), kind=experiment.goal, created_at__lt=until)
    converted = _visitors(exposed.filter(Exists(reached)))
    return {name: Arm(visitors.get(name, 0), converted.get(name, 0)) for name in letters}


def _visitors(exposed: QuerySet[Exposure]) -> dict[str, int]:
    counted = exposed.order_by().values("variant").annotate(count=Count("visitor", distinct=True))
    return dict(counted.values_list("variant", "count"))


def _spent(exposed: QuerySet[Exposure], until: datetime) -> Iterator[tuple[str, str, float]]:
    """Yield the variant, the visitor and the value of every purchase of a hit."""
    bought = Exists(exposed.filter(request=OuterRef("request")))
    purchases = Purchase.objects.filter(bought, created_at__lt=until).exclude(request="")
    for chunk in pages(purchases, CHUNK):
        requests = {each.request for each in chunk}
        rows = exposed.filter(request__in=requests).values_list("request", "variant", "visitor")
        known = {request: (variant, visitor) for request, variant, visitor in rows}
        for each in chunk:
            if each.request in known:  # its visitor may have been deleted meanwhile
                yield (*known[each.request], float(each.value))


def looks_of(experiment: Experiment) -> Sequence[Look]:
    """Return the figures computed so far, one look per day."""
    arms: dict[datetime, dict[str, Arm]] = defaultdict(dict)
    for row in experiment.results.all():
        arms[row.until][row.variant] = Arm(row.visitors, row.converted, row.total, row.squares)
    if experiment.started is None:
        return []
    planned = timedelta(days=experiment.days)
    return [Look((until - experiment.started) / planned, arms[until]) for until in sorted(arms)]
