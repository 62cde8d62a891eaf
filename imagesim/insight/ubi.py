"""Records in the schema User Behavior Insights 1.3 (https://github.com/o19s/ubi)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any

from imagesim.database import pages
from imagesim.insight.models import Purchase, Search
from imagesim.insight.rollup import place_of
from imagesim.models import Event

CHUNK = 500
ACTIONS = {"view": "impression", "click": "click", "cart": "add_to_cart"}
OBJECT_LENGTH = 256

Record = dict[str, Any]


def queries(application: str, since: datetime, until: datetime) -> Iterator[Record]:
    """Yield a query of each answer. Where no words were typed, ``user_query`` is empty."""
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
    """Yield the events of the answers given in that time: what was seen, clicked, put into the cart and bought.

    A purchase whose answer is not known is not one, and an event of UBI has a position in its answer.
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
