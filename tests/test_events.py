"""Events: stored once, in whole batches or not at all, and summarised as rates and judged pairs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.core import signing
from django.db.models import Model
from django.utils import timezone

from demo_shop.shop.models import Product
from imagesim import events
from imagesim.exceptions import BadQuery
from imagesim.items.registry import key_of
from imagesim.models import Event
from imagesim.types import Hit, HitImage
from tests.shop import product

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _on(settings: Any) -> None:
    settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}


def token(source: str = "similar", items: Iterable[Product] = (), **options: str) -> str:
    return events.make_token(source, [Hit(item, 0.5, HitImage("", "")) for item in items], **options)


@pytest.fixture
def shoe() -> Product:
    return product("shoe")


def event(token: str, item: Product, kind: str = "view", position: Any = 0) -> dict[str, Any]:
    return {"token": token, "kind": kind, "item": key_of(item), "position": position}


def test_no_token_while_events_are_disabled(settings: Any) -> None:
    settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": False}
    assert token() == ""


def test_an_observer_that_fails_is_logged(shoe: Product, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    class Failing:
        def answered(self, answer: events.Answer) -> None:
            raise ValueError("full")

        def purge(self, before: datetime) -> int:
            return 0

    class Keeping(Failing):
        def answered(self, answer: events.Answer) -> None:
            kept.append(answer.keys)

    kept: list[tuple[str, ...]] = []
    monkeypatch.setattr(events, "observers", [Failing(), Keeping()])
    assert events.store([event(token(items=[shoe]), shoe)]) == 1
    assert kept == [(key_of(shoe),)]
    assert "An answer was not recorded by Failing" in caplog.text


def test_an_event_sent_twice_is_stored_once(shoe: Product) -> None:
    given = token(items=[shoe], query_key="shop.product:1", categories=["shoes"])
    assert events.store([event(given, shoe), event(given, shoe, "click")]) == 2
    assert events.store([event(given, shoe), event(given, shoe, "cart")]) == 1
    kept = Event.objects.get(kind="cart")
    assert (kept.query_key, kept.category, kept.source) == ("shop.product:1", "shoes", "similar")


def test_events_are_inserted_in_one_order(shoe: Product) -> None:
    """Two requests that insert the same events in different orders would wait for each other, which is a deadlock."""
    hat = product("hat")
    tokens = [token(items=[shoe, hat]) for _number in range(3)]
    batch = [event(each, item, kind) for each in tokens for item in (shoe, hat) for kind in ("view", "click")]
    inserted: list[list[str]] = []

    def insert(rows: list[Event]) -> None:
        inserted.append([f"{row.request} {row.kind} {row.item_key}" for row in rows])

    with patch.object(events, "insert_new", insert):
        events.store(batch)
        events.store(batch[::-1])
    assert inserted[0] == inserted[1]
    assert len(inserted[0]) == len(batch)


class LaggingReplica:
    """A database router for a shop whose replica does not have the last rows yet."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return "no such database" if model is Event else None

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return "default"


def test_new_events_are_not_counted_on_a_replica(shoe: Product, settings: Any) -> None:
    given = event(token(items=[shoe]), shoe)
    settings.DATABASE_ROUTERS = [LaggingReplica()]
    assert (events.store([given]), events.store([given])) == (1, 0)


def test_a_token_is_only_valid_for_the_items_of_its_answer() -> None:
    """One row per item shown and kind, whatever is sent: nothing can be invented."""
    shown, others = [product(f"shown-{n}") for n in range(3)], [product("other")]
    given = token(items=shown)
    for other in (*others, Product(pk=987654), Product(pk=0)):
        with pytest.raises(BadQuery, match="result of this answer") as caught:
            events.store([event(given, shown[0]), event(given, other)])
        assert caught.value.field == "item"
    for position in range(40):
        batch = [event(given, item, kind, position) for item in shown for kind in ("view", "click", "cart")]
        events.store(batch)
    assert Event.objects.count() == 9


def test_events_of_hidden_items_are_ignored(shoe: Product) -> None:
    gone = product("gone")
    given = token(items=[shoe, gone])
    batch = [event(given, shoe), event(given, gone)]
    gone.delete()
    assert events.store(batch) == 1
    assert Event.objects.get().item_key == key_of(shoe)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"kind": "stare"}, "'cart', 'click' or 'view'"),
        ({"position": -1}, "position"),
        ({"position": "3"}, "position"),
        ({"position": True}, "position"),
        ({"token": "forged"}, "token"),
        ({"item": "shop.nothing:1"}, "key of a result"),
        ({"item": 7}, "key of a result"),
        ({"item": "shop.product:\ud800"}, "key of a result"),
        ({"extra": 1}, "exactly the fields"),
    ],
)
def test_one_bad_event_rejects_the_batch(bad: dict[str, Any], says: str, shoe: Product) -> None:
    good = event(token("search", [shoe]), shoe)
    with pytest.raises(BadQuery, match=says):
        events.store([good, {**good, **bad}])
    assert not Event.objects.exists()


def test_a_batch_is_limited(shoe: Product) -> None:
    with pytest.raises(BadQuery, match="1 to 100"):
        events.store([])
    with pytest.raises(BadQuery, match="1 to 100"):
        events.store([event(token("search", [shoe]), shoe)] * 101)


def test_an_old_token_is_rejected(monkeypatch: pytest.MonkeyPatch, shoe: Product) -> None:
    given = token("search", [shoe])
    monkeypatch.setattr(events, "MAX_AGE", timedelta(seconds=-1))
    with pytest.raises(BadQuery, match="last day"):
        events.store([event(given, shoe)])
    with pytest.raises(BadQuery, match="last day"):
        events.store([event(signing.dumps({"r": "x"}, salt="other"), shoe)])


def test_rates_and_judged_pairs() -> None:
    first, _second, third = shown = [product(f"shoe-{n}") for n in range(3)]
    for visit in range(20):
        given = token(items=shown, query_key="shop.product:1", categories=["shoes"])
        batch = [event(given, item, "view", position) for position, item in enumerate(shown)]
        if visit % 2 == 0:
            batch.append(event(given, first, "click", 0))
        if visit % 4 == 0:
            batch.append(event(given, third, "click", 2))
        events.store(batch)
    by_position = {rate.name: rate for rate in events.rates("position")}
    assert by_position["0"].click_through == 0.5
    assert by_position["1"].click_through == 0
    assert [(rate.name, rate.views, rate.clicks) for rate in events.rates("category")] == [("shoes", 60, 15)]
    (latest,) = events.rates("category", latest=12)
    assert latest.views + latest.clicks == 12
    pairs = events.judged_pairs("shop.product")
    assert set(pairs) == {("1", str(first.pk)), ("1", str(third.pk))}
    # Clicked half as often, but in a position where half as many click: worth about the same.
    assert pairs["1", str(third.pk)] == pytest.approx(pairs["1", str(first.pk)], rel=0.25)
    with pytest.raises(BadQuery, match="'category', 'position' or 'source'"):
        events.rates("colour")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def test_judged_pairs_in_every_time_zone(shoe: Product, settings: Any, zone: str) -> None:
    """East of Greenwich, the first day of the calendar begins before its first moment, which SQLite and MySQL
    refuse."""
    settings.TIME_ZONE = zone
    given = token(items=[shoe], query_key="shop.product:1")
    events.store([event(given, shoe), event(given, shoe, "click")])
    assert set(events.judged_pairs("shop.product")) == {("1", str(shoe.pk))}


def test_events_that_arrive_while_pairs_are_judged(shoe: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    known = events.rates("position")
    given = token(items=[shoe], query_key="shop.product:1")
    events.store([event(given, shoe, "view", 7), event(given, shoe, "click", 7)])
    monkeypatch.setattr(events, "rates", lambda field, since: known)  # read before the last clicks arrived
    assert set(events.judged_pairs("shop.product")) == {("1", str(shoe.pk))}


def test_the_task_purges_old_events(monkeypatch: pytest.MonkeyPatch) -> None:
    from imagesim import database, tasks

    for age in (401, 399, 0):
        Event.objects.create(
            request=f"r{age}",
            kind=Event.Kind.VIEW,
            source="search",
            item_key="shop.product:1",
            position=0,
            created_at=timezone.now() - timedelta(days=age),
        )
    monkeypatch.setattr(database, "DELETE_BATCH", 1)
    assert tasks.purge() == 1
    assert tasks.purge(days=30) == 1
    assert list(Event.objects.values_list("request", flat=True)) == ["r0"]
