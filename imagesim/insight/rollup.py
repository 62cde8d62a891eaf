"""Compute the figures of each day from what was recorded, so that reports read few rows.

A day is computed as a whole, repeatedly, until no event of its answers can arrive any more (a token is valid for a
day); each result replaces the previous one. Views, clicks and carts count on the day of their answer, purchases on
their own. Only events of recorded answers count, so those of bots do not.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import timezone as zones
from decimal import Decimal

from django.conf import settings
from django.db import DatabaseError, connections, router
from django.db.models import Min
from django.utils import timezone

from imagesim import events
from imagesim.circuit_breaker import log_repeated
from imagesim.database import atomic, batched, insert_new, pages, retry_conflicts
from imagesim.insight.models import DailyCount, Purchase, RolledDay, Search
from imagesim.models import Event

logger = logging.getLogger(__name__)

CHUNK = 500
"""The number of answers that are read together with their events."""

FRESH = timedelta(minutes=1)
WORK_SHARE = 20
"""A day that is not over is computed again after a minute at the earliest, and not before this many times the time that
it took."""

LONG = 10.0
"""Seconds that a page may spend on a day: for longer, the server might abort the page, and a reload would start
again."""

WEAK = 0.5
"""If the best relevance is lower, probably no hit belongs to the answer."""

Kind = DailyCount.Kind
Key = tuple[str, str, str]
"""Kind, where, name."""


@dataclass
class Figures:
    """The columns of a :class:`DailyCount`."""

    answers: int = 0
    empty: int = 0
    weak: int = 0
    clicked_answers: int = 0
    seen: int = 0
    clicks: int = 0
    carts: int = 0
    bought: int = 0
    value: Decimal = Decimal(0)


COLUMNS = {Event.Kind.VIEW.value: "seen", Event.Kind.CLICK.value: "clicks", Event.Kind.CART.value: "carts"}


def normal(text: str) -> str:
    """Return words as reports compare them: ignoring case and extra spaces."""
    return " ".join(text.casefold().split())[:400]


@contextmanager
def figures_may_wait() -> Iterator[None]:
    """Let a report be shown although figures that are due cannot be stored, such as while the database can only be
    read. Within a transaction, such as that of ``ATOMIC_REQUESTS``, all that was stored in the block is rolled back."""
    connection = connections[router.db_for_write(RolledDay)]
    # One that is not open has no transaction, and opening it fails while only a replica can be reached.
    autocommit = connection.connection is None or connection.get_autocommit()
    try:
        with nullcontext() if autocommit else atomic(RolledDay):
            yield
    except DatabaseError:
        log_repeated(logger, logging.WARNING, "figures", "Figures that are due were not computed", exc_info=True)


def roll_up(seconds: float = 0.0) -> int:
    """Compute the days that are due, the latest first; return how many are left.

    ``seconds``: stop before another day once that much time has passed, and leave out days that take longer than both
    that and :data:`LONG`, for a caller with more time; 0 computes all.
    """
    started = time.monotonic()
    took = dict(RolledDay.objects.values_list("day", "seconds")) if seconds else {}
    most = max(took.values(), default=0.0)
    done = left = 0
    for day in due_days():
        is_late = done and time.monotonic() - started >= seconds
        if seconds and (is_late or took.get(day, most) > max(seconds, LONG)):
            left += 1
            continue
        roll_up_day(day, only_if_due=True)
        done += 1
    return left


def due_days() -> list[date]:
    """Return the days whose figures are missing or may have changed, the latest first."""
    now = timezone.now()
    firsts = [rows.aggregate(first=Min("created_at"))["first"] for rows in (Search.objects, Purchase.objects)]
    known = {rolled.day: rolled for rolled in RolledDay.objects.all()}
    if not any(firsts):
        return []
    first = local_date(min(each for each in firsts if each))
    days = (local_date(now) - timedelta(days=n) for n in range((local_date(now) - first).days + 1))
    return [day for day in days if _is_due(day, known.get(day), now)]


def _is_due(day: date, rolled: RolledDay | None, now: datetime) -> bool:
    if rolled is None:
        return True
    final = bounds(day)[1] + events.MAX_AGE
    age = now - rolled.rolled_at
    return rolled.rolled_at < final and age >= max(FRESH, timedelta(seconds=WORK_SHARE * rolled.seconds))


def local(moment: datetime) -> datetime:
    """Return the moment in the time zone of the shop (``TIME_ZONE``); without ``USE_TZ`` it already is."""
    return timezone.localtime(moment, timezone.get_default_timezone()) if timezone.is_aware(moment) else moment


def local_date(moment: datetime) -> date:
    """Return the date in the time zone of the shop."""
    return local(moment).date()


def bounds(day: date) -> tuple[datetime, datetime]:
    """Return when a day begins and ends in the time zone of the shop.

    They are in UTC: where clocks change at midnight, a local midnight equals no other ``datetime`` (PEP 495), so it
    could not be found among those that were read from the database.
    """
    zone = timezone.get_default_timezone() if settings.USE_TZ else None
    start, end = (datetime.combine(each, datetime.min.time(), zone) for each in (day, day + timedelta(days=1)))
    return (start.astimezone(zones.utc), end.astimezone(zones.utc)) if zone else (start, end)


@retry_conflicts
def roll_up_day(day: date, *, only_if_due: bool = False) -> None:
    """Replace the figures of a day; with ``only_if_due``, unless another process has just done so."""
    started = time.monotonic()
    now = timezone.now()
    start, end = bounds(day)
    with atomic(RolledDay):
        # The day's row is the lock: of two processes, the second computes the day after the first. Nothing is read
        # before, because SQLite does not let a transaction that has read wait for another one's writes.
        insert_new([RolledDay(day=day, rolled_at=start - FRESH)])
        rolled = RolledDay.objects.select_for_update().get(day=day)
        if only_if_due and not _is_due(day, rolled, timezone.now()):
            return
        counts = _count(start, end)
        DailyCount.objects.filter(day=day).delete()
        rows = (
            DailyCount(day=day, kind=kind, where=where, name=name, **vars(figures))
            for (kind, where, name), figures in sorted(counts.items())
        )
        for batch in batched(rows, CHUNK):  # not all at once, which bulk_create() would hold in memory
            DailyCount.objects.bulk_create(batch)
        rolled.rolled_at, rolled.seconds = now, time.monotonic() - started
        rolled.save()


def _count(start: datetime, end: datetime) -> dict[Key, Figures]:
    counts: dict[Key, Figures] = defaultdict(Figures)
    during = {"created_at__gte": start, "created_at__lt": end}
    for searches in pages(Search.objects.filter(**during), CHUNK):
        _count_answers(searches, counts)
    for purchases in pages(Purchase.objects.filter(**during), CHUNK):
        _count_purchases(purchases, counts)
    return counts


def _count_answers(searches: list[Search], counts: dict[Key, Figures]) -> None:
    by_request = {search.request: search for search in searches}
    clicked = set[str]()
    happened = Event.objects.filter(request__in=list(by_request)).values_list("request", "kind", "item_key", "position")
    for request, kind, item_key, position in happened:
        search, column = by_request[request], COLUMNS[kind]
        place = str(place_of(search, item_key, position))
        of_hit = ((Kind.ITEM.value, search.where, item_key), (Kind.POSITION.value, search.where, place))
        for key in (*_keys_of_events(search), *of_hit):
            figures = counts[key]
            setattr(figures, column, getattr(figures, column) + 1)
        if kind != Event.Kind.VIEW:
            clicked.add(request)
    for search in searches:
        for key in _keys(search):
            figures = counts[key]
            figures.answers += 1
            figures.empty += not search.found
            figures.weak += search.best is not None and search.best < WEAK
        if search.request in clicked:
            for key in _keys_of_click(search):
                counts[key].clicked_answers += 1
        for item_key in dict.fromkeys(search.keys):
            counts[Kind.ITEM, search.where, item_key].answers += 1


def place_of(search: Search, item_key: str, sent: int = 0) -> int:
    """Return the position of an item in its answer, from 1. The position that a page sent is used only for an item that
    is not in the recorded answer."""
    return search.offset + search.keys.index(item_key) + 1 if item_key in search.keys else sent + 1


def _count_purchases(purchases: list[Purchase], counts: dict[Key, Figures]) -> None:
    requests = [each.request for each in purchases if each.request]
    found: Mapping[str, Search] = {each.request: each for each in Search.objects.filter(request__in=requests)}
    for purchase in purchases:
        search = found.get(purchase.request)
        of_item = (Kind.ITEM.value, search.where if search else "", purchase.item_key)
        for key in (of_item, *(_keys_of_events(search) if search else ())):
            figures = counts[key]
            figures.bought += purchase.quantity
            figures.value += purchase.value


def _keys(search: Search) -> Iterator[Key]:
    """Yield the names under which an answer is counted. Further pages count only as such."""
    yield Kind.PAGE, search.where, str(search.page)
    if search.page == 1:
        yield from _keys_of_search(search)


def _keys_of_search(search: Search) -> Iterator[Key]:
    """Yield the names of what was searched, whichever page of it this is."""
    yield Kind.TOTAL, search.where, ""
    if search.category:
        yield Kind.CATEGORY, search.where, search.category
    if search.where == Search.Where.WORDS:
        yield Kind.WORDS, search.where, normal(search.text)


def _keys_of_click(search: Search) -> Iterator[Key]:
    """Yield the names under which an answer with a click is counted. A click in a part of a look, which is not a
    separate search, also counts for the look; a look with clicks in two parts has two."""
    yield from _keys(search)
    if search.where == Search.Where.REGION:
        yield Kind.PAGE, Search.Where.LOOK, "1"
        yield Kind.TOTAL, Search.Where.LOOK, ""


def _keys_of_events(search: Search) -> Iterator[Key]:
    """Yield the names that views, clicks and purchases of its hits count for: those on further pages also count for
    what was searched."""
    yield from _keys_of_click(search)
    if search.page > 1:
        yield from _keys_of_search(search)
