"""Events: views, clicks and cart additions of results, by request and position.

Every answer carries a signed token that names the query and the items in the answer. The page sends it back with what
was seen and clicked. Only items of the answer are accepted, in one row per token, item and kind. Off unless
``IMAGESIM["EVENTS"]`` is set.

Other apps, such as ``imagesim.insight``, add to :data:`observers` to be told of each answer.
"""

from __future__ import annotations

import logging
import secrets
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol

from django.core import signing
from django.db.models import Count, Max, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from imagesim.circuit_breaker import log_repeated
from imagesim.conf import get_settings
from imagesim.database import insert_new, primary, stream
from imagesim.exceptions import BadQuery, format_choices, local_choices
from imagesim.items import split_key
from imagesim.items.hydrate import load_items
from imagesim.items.registry import key_of
from imagesim.models import Event
from imagesim.types import Hit

logger = logging.getLogger(__name__)

SALT = "imagesim.events"
SOURCES = ("similar", "search", "look")
MAX_AGE = timedelta(days=1)
MAX_BATCH = 100
MAX_CATEGORY = 200  # characters
HASH_BYTES = 6  # per item of an answer; a third more as text
HASH_LENGTH = HASH_BYTES * 4 // 3
CART_WEIGHT = 3.0  # a purchase is a stronger signal than a click
SMOOTHING = 5.0  # prior weight in views
MIN_RATE = 1e-3  # of clicks at a position


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was given a token. ``request`` is its id, which the events of its hits carry.

    ``where`` is the kind of query: "similar", "words", "photo", "look", or "region" for a region of a look. ``keys``
    are the items of the answer, in order. ``found`` counts the hits, for a look those of all its regions, and ``best``
    is the highest of their relevances, None without hits.
    """

    request: str
    where: str
    text: str
    query_key: str
    category: str
    offset: int
    limit: int
    keys: tuple[str, ...]
    found: int
    best: float | None


class Observer(Protocol):
    """Is told of every answer while events are on. ``answered`` is called during the request and must not wait. Its
    errors are logged: no search fails because it cannot be recorded. ``purge`` deletes the rows from before a time and
    returns how many."""

    def answered(self, answer: Answer, /) -> None: ...

    def purge(self, before: datetime, /) -> int: ...


observers: list[Observer] = []
"""Apps add theirs in ``ready()``."""


@dataclass(frozen=True)
class EventCounts:
    """How often results at a position, or of a category, were seen, clicked and put into the cart."""

    name: str
    views: int
    clicks: int
    carts: int

    @property
    def click_through(self) -> float:
        return self.clicks / self.views if self.views else 0.0


_uncounted: ContextVar[bool] = ContextVar("imagesim_uncounted", default=False)


def enabled() -> bool:
    return get_settings().EVENTS


@contextmanager
def uncounted() -> Iterator[None]:
    """Give answers within this context no token and do not announce them, so nothing is recorded."""
    token = _uncounted.set(True)
    try:
        yield
    finally:
        _uncounted.reset(token)


def make_token(
    source: str,
    hits: Iterable[Hit],
    *,
    query_key: str = "",
    categories: Iterable[str] = (),
    where: str = "",
    text: str = "",
    offset: int = 0,
    limit: int = 0,
    others: Iterable[Hit] = (),
) -> str:
    """Announce one answer with these hits and return its token; empty while events are disabled, or within
    :func:`uncounted`.

    ``categories`` are those that were searched, of which events name the first; ``others`` are the hits of a look's
    regions.
    """
    if not enabled() or _uncounted.get():
        return ""
    hits = list(hits)
    keys = tuple(key_of(hit.item) for hit in hits)
    request, category = secrets.token_hex(8), next(iter(categories), "")[:MAX_CATEGORY]
    if observers:
        relevances = [hit.relevance for hit in (*hits, *others)]
        best = max(relevances, default=None)
        answer = Answer(request, where or source, text, query_key, category, offset, limit, keys, len(relevances), best)
        for observer in observers:
            try:
                observer.answered(answer)
            except Exception:
                who = type(observer).__name__
                log_repeated(logger, logging.ERROR, who, "An answer was not recorded by %s", who, exc_info=True)
    content = {"r": request, "s": source, "q": query_key, "c": category, "k": "".join(map(_hash, keys))}
    return signing.dumps(content, salt=SALT, compress=True)


def request_of(token: str, item_key: str, *, max_age: timedelta = MAX_AGE) -> str:
    """Return the id of the answer that a token was made for; empty if the token is not valid, or the item was not in
    the answer."""
    try:
        content = signing.loads(token, salt=SALT, max_age=max_age)
    except signing.BadSignature:
        return ""
    return str(content["r"]) if _is_shown(item_key, content["k"]) else ""


def store(batch: Iterable[Mapping[str, Any]]) -> int:
    """Store a batch of ``{"token", "kind", "item", "position"}``; return how many were new.

    ``item`` is the key of a result of the token's answer, such as ``"shop.product:7"``. All are checked first: with one
    bad event, none is stored. An event sent twice is stored once; events of items that are no longer in the shop are
    ignored.

    :raises BadQuery: naming the bad value.
    """
    batch = list(batch)
    if not 1 <= len(batch) <= MAX_BATCH:
        raise BadQuery(_("A batch holds 1 to %(max)d events, not %(count)d.") % {"max": MAX_BATCH, "count": len(batch)})
    rows = [_event(given) for given in batch]
    existing = load_items({row.item_key for row in rows})
    rows = [row for row in rows if row.item_key in existing]
    # In one order: two requests that insert the same rows would otherwise wait for each other, a deadlock.
    rows.sort(key=lambda row: (row.request, row.kind, row.item_key))
    before = _count(rows)
    insert_new(rows)
    return _count(rows) - before


def _count(rows: list[Event]) -> int:
    return primary(Event).filter(request__in={row.request for row in rows}).count()


def _hash(key: str) -> str:
    return urlsafe_b64encode(sha256(key.encode(errors="surrogatepass")).digest()[:HASH_BYTES]).decode()


def _event(given: Mapping[str, Any]) -> Event:
    if not isinstance(given, Mapping) or set(given) != {"token", "kind", "item", "position"}:
        raise BadQuery(_("An event has exactly the fields 'token', 'kind', 'item' and 'position'."))
    token, kind, item, position = given["token"], given["kind"], given["item"], given["position"]
    if kind not in Event.Kind.values:
        raise BadQuery(
            _("%(kind)s is not a kind of event; it can be %(good)s.")
            % {"kind": repr(kind)[:100], "good": local_choices(Event.Kind.values)},
            field="kind",
        )
    if isinstance(position, bool) or not isinstance(position, int) or not 0 <= position <= get_settings().MAX_OFFSET:
        raise BadQuery(
            _("The position must be a whole number from 0 to %(most)d.") % {"most": get_settings().MAX_OFFSET},
            field="position",
        )
    try:
        content = signing.loads(str(token), salt=SALT, max_age=MAX_AGE)
    except signing.BadSignature:
        raise BadQuery(_("The token is not one that this shop gave in the last day."), field="token") from None
    if not isinstance(item, str) or not _is_shown(item, content["k"]):
        raise BadQuery(
            _("The item must be the key of a result of this answer, such as 'shop.product:7'."), field="item"
        )
    return Event(
        request=content["r"],
        kind=kind,
        source=content["s"],
        query_key=content["q"],
        item_key=item,
        category=content["c"],
        position=position,
    )


def _is_shown(key: str, hashes: str) -> bool:
    shown = {hashes[start : start + HASH_LENGTH] for start in range(0, len(hashes), HASH_LENGTH)}
    return _hash(key) in shown


def rates(field: str, *, since: datetime | None = None, latest: int | None = None) -> list[EventCounts]:
    """Return the views, clicks and carts by ``position``, ``category`` or ``source``, of the last 30 days or ``since``;
    ``latest`` limits the count to that many of the newest events."""
    if field not in ("position", "category", "source"):
        raise BadQuery(f"Rates are known by {format_choices(('position', 'category', 'source'))}, not by {field!r}.")
    counted = Event.objects.filter(created_at__gte=since or timezone.now() - timedelta(days=30))
    if latest is not None:
        newest = Event.objects.aggregate(newest=Max("pk"))["newest"] or 0
        counted = counted.filter(pk__gt=newest - latest)
    rows = (
        counted.values(field)
        .annotate(
            views=Count("id", filter=Q(kind=Event.Kind.VIEW)),
            clicks=Count("id", filter=Q(kind=Event.Kind.CLICK)),
            carts=Count("id", filter=Q(kind=Event.Kind.CART)),
        )
        .order_by(field)
    )
    return [EventCounts(str(row[field]), row["views"], row["clicks"], row["carts"]) for row in rows]


def judged_pairs(label: str) -> dict[tuple[str, str], float]:
    """Return (query pk, item pk) -> grade, from the events of similar products.

    A grade is the share of views that led to a click (a cart counts three times), pulled towards zero while there are
    few views, and divided by the usual share at its position, because the first hits are clicked more often.
    """
    ever = timezone.now() - timedelta(days=36_500)  # not datetime.min, which some time zones cannot express
    usual: dict[str, float] = defaultdict(lambda: MIN_RATE)  # for positions whose first events arrive in the meantime
    usual |= {rate.name: max(rate.click_through, MIN_RATE) for rate in rates("position", since=ever)}
    views: dict[tuple[str, str], float] = defaultdict(float)
    gains: dict[tuple[str, str], float] = defaultdict(float)
    events = Event.objects.filter(source="similar", query_key__startswith=f"{label}:", item_key__startswith=f"{label}:")
    rows = events.values_list("query_key", "item_key", "kind", "position")
    for query_key, item_key, kind, position in stream(rows, chunk_size=2_000):
        pair = (split_key(query_key)[1], split_key(item_key)[1])
        if kind == Event.Kind.VIEW:
            views[pair] += usual[str(position)]
        else:
            gains[pair] += CART_WEIGHT if kind == Event.Kind.CART else 1.0
    floor = SMOOTHING * (sum(usual.values()) / max(1, len(usual)))
    return {pair: gain / (views[pair] + floor) for pair, gain in gains.items()}
