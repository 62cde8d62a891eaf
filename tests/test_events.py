"""What visitors do with results: kept once, whole batches or nothing, and turned into rates and judged pairs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.utils import timezone

from imagesim import events
from imagesim.exceptions import BadQuery
from imagesim.models import Event

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _on(settings: Any) -> None:
    settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}


def event(token: str, kind: str = "view", item: str = "shop.product:2", position: Any = 0) -> dict[str, Any]:
    return {"token": token, "kind": kind, "item": item, "position": position}


def test_no_token_is_given_while_events_are_off(settings: Any) -> None:
    settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": False}
    assert events.make_token("similar") == ""


def test_an_event_sent_twice_is_kept_once() -> None:
    token = events.make_token("similar", query_key="shop.product:1", category="shoes")
    assert events.store([event(token), event(token, "click")]) == 2
    assert events.store([event(token), event(token, "cart")]) == 1
    kept = Event.objects.get(kind="cart")
    assert (kept.query_key, kept.category, kept.source) == ("shop.product:1", "shoes", "similar")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"kind": "stare"}, "'cart', 'click' or 'view'"),
        ({"position": -1}, "position"),
        ({"position": "3"}, "position"),
        ({"position": True}, "position"),
        ({"token": "forged"}, "token"),
        ({"item": "shop.nothing:1"}, "shop.nothing"),
        ({"item": 7}, "key of a result"),
        ({"extra": 1}, "exactly the fields"),
    ],
)
def test_one_bad_event_and_none_is_kept(bad: dict[str, Any], says: str) -> None:
    good = event(events.make_token("search"))
    with pytest.raises(BadQuery, match=says):
        events.store([good, {**good, **bad}])
    assert not Event.objects.exists()


def test_a_batch_has_its_limits() -> None:
    with pytest.raises(BadQuery, match="1 to 100"):
        events.store([])
    with pytest.raises(BadQuery, match="1 to 100"):
        events.store([event(events.make_token("search"))] * 101)


def test_an_old_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    token = events.make_token("search")
    monkeypatch.setattr(events, "MAX_AGE", timedelta(seconds=-1))
    with pytest.raises(BadQuery, match="last day"):
        events.store([event(token)])
    with pytest.raises(BadQuery, match="last day"):
        events.store([event(signing.dumps({"r": "x"}, salt="other"))])


def test_rates_and_judged_pairs() -> None:
    for visit in range(20):
        token = events.make_token("similar", query_key="shop.product:1", category="shoes")
        batch = [event(token, "view", f"shop.product:{2 + i}", i) for i in range(3)]
        if visit % 2 == 0:
            batch.append(event(token, "click", "shop.product:2", 0))
        if visit % 4 == 0:
            batch.append(event(token, "click", "shop.product:4", 2))
        events.store(batch)
    by_position = {rate.name: rate for rate in events.rates("position")}
    assert by_position["0"].click_through == 0.5
    assert by_position["1"].click_through == 0
    assert [(rate.name, rate.views, rate.clicks) for rate in events.rates("category")] == [("shoes", 60, 15)]
    pairs = events.judged_pairs("shop.product")
    assert set(pairs) == {("1", "2"), ("1", "4")}
    # Clicked half as often, but from a place where half as many click: worth about the same.
    assert pairs["1", "4"] == pytest.approx(pairs["1", "2"], rel=0.25)
    with pytest.raises(BadQuery, match="'category', 'position' or 'source'"):
        events.rates("colour")


def test_old_events_are_forgotten() -> None:
    events.store([event(events.make_token("look"))])
    assert events.forget(timezone.now() - timedelta(days=1)) == 0
    assert events.forget(timezone.now()) == 1


@pytest.mark.django_db
def test_the_task_purges_old_events():
    from imagesim import tasks

    for age in (401, 399, 0):
        Event.objects.create(
            request=f"r{age}",
            kind=Event.Kind.VIEW,
            source="search",
            item_key="shop.product:1",
            position=0,
            created_at=timezone.now() - timedelta(days=age),
        )
    assert tasks.purge() == 1
    assert tasks.purge(days=30) == 1
    assert list(Event.objects.values_list("request", flat=True)) == ["r0"]
