"""``manage.py imagesim_ubi``: export records in the User Behavior Insights 1.3 schema."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from imagesim.database import pages
from imagesim.insight.models import Purchase, Search
from imagesim.insight.rollup import bounds, local_date, place_of
from imagesim.management import ImagesimCommand
from imagesim.models import Event

CHUNK = 500
ACTIONS = {"view": "impression", "click": "click", "cart": "add_to_cart"}
OBJECT_LENGTH = 256

Record = dict[str, Any]


def queries(application: str, since: datetime, until: datetime) -> Iterator[Record]:
    """Yield one query per answer. If no words were typed, ``user_query`` is empty."""
    for search in chain.from_iterable(_searches(since, until)):
        attributes = {
            "where": search.where,
            "page": search.page,
            "offset": search.offset,
            "found": search.found,
            "best_relevance": search.best,
            "category": search.category or None,
            "query_object_id": search.query_key or None,
        }
        yield {
            "application": application[:100],
            "query_id": search.request,
            "user_query": search.text,
            "timestamp": search.created_at.isoformat(),
            "query_attributes": {name: value for name, value in attributes.items() if value is not None},
            "query_response_id": search.request,
            "query_response_hit_ids": search.keys,
        }


def actions(application: str, since: datetime, until: datetime) -> Iterator[Record]:
    """Yield the events of the answers given in that period: what was seen, clicked, put into the cart and bought.

    Purchases without a known answer are left out: an event of UBI has a position in its answer.
    """
    for chunk in _searches(since, until):
        by_request = {search.request: search for search in chunk}
        for event in Event.objects.filter(request__in=list(by_request)).order_by("pk"):
            yield _record(
                application,
                by_request[event.request],
                ACTIONS[event.kind],
                event.created_at,
                event.item_key,
                place_of(by_request[event.request], event.item_key, event.position),
            )
        for bought in Purchase.objects.filter(request__in=list(by_request)).order_by("pk"):
            search = by_request[bought.request]
            place = place_of(search, bought.item_key)
            details = {"quantity": bought.quantity, "value": str(bought.value), "order": bought.order}
            yield _record(application, search, "purchase", bought.created_at, bought.item_key, place, **details)


def _record(
    application: str, search: Search, action: str, at: datetime, key: str, position: int, **details: Any
) -> Record:
    record = {
        "application": application[:100],
        "action_name": action,
        "query_id": search.request,
        "timestamp": at.isoformat(),
        "message_type": "CONVERSION" if action in ("add_to_cart", "purchase") else "QUERY",
        "event_attributes": {
            "object": {"object_id": key[:OBJECT_LENGTH], "object_id_type": key.partition(":")[0][:100]},
            "position": {"ordinal": position},
            **details,
        },
    }
    return record | ({"message": search.text} if search.text else {})


def _searches(since: datetime, until: datetime) -> Iterator[list[Search]]:
    return pages(Search.objects.filter(created_at__gte=since, created_at__lt=until), CHUNK)


KINDS = {"queries": queries, "events": actions}


def day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a day such as 2026-05-31") from error
    if not date.min < found < date.max:  # the bounds of those days do not exist in every time zone
        raise ArgumentTypeError(f"{text} is out of range")
    return found


class Command(ImagesimCommand):
    help = "Print the recorded data as JSON lines in the User Behavior Insights (UBI) 1.3 schema."

    def add_arguments(self, parser: ArgumentParser) -> None:  # no --format: it is always JSON
        parser.add_argument("kind", choices=tuple(KINDS), help="which of the two schemas")
        parser.add_argument("--since", type=day, help="the first day (YYYY-MM-DD; default: 30 days ago)")
        parser.add_argument("--until", type=day, help="the last day (default: today)")
        parser.add_argument("--application", default="imagesim", help="the name of the shop in the records")

    def handle(
        self, *args: Any, kind: str, since: date | None, until: date | None, application: str, **options: Any
    ) -> None:
        last = until or local_date(timezone.now())
        first = since or last - timedelta(days=30)
        if first > last:
            raise CommandError(f"There is no day from {first} to {last}: --since must not be after --until.")
        with self.writing():
            for record in KINDS[kind](application, bounds(first)[0], bounds(last)[1]):
                self.stdout.write(json.dumps(record))
