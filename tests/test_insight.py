"""Insight: which answers are recorded and how, what an order adds, and the figures of a day."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from datetime import date, datetime, timedelta
from datetime import timezone as tz
from decimal import Decimal
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.apps import apps
from django.db import DatabaseError, OperationalError, connection, connections
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import imagesim
from demo_shop.shop.models import Product
from imagesim import events, tasks
from imagesim.exceptions import BadQuery
from imagesim.insight import recorder as recording
from imagesim.insight import rollup
from imagesim.insight.apps import check_middleware
from imagesim.insight.middleware import RememberRequest, current_request, is_visitor
from imagesim.insight.models import DailyCount, Purchase, RolledDay, Search
from imagesim.insight.purchases import Line, purchased
from imagesim.insight.recorder import recorder
from imagesim.insight.reports import REPORTS, Selection
from imagesim.items.registry import key_of
from imagesim.models import Event
from imagesim.types import Hit, HitImage
from tests import shop
from tests.shop import encoded, picture, product
from tests.test_howto import module

pytestmark = pytest.mark.django_db
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(autouse=True)
def _on(settings: Any, media_root: Any) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": shop.EMBEDDER, "EVENTS": True}
    apps.get_app_config("imagesim_insight").ready()


@pytest.fixture
def shelf() -> dict[str, Product]:
    return shop.shelf(with_texts=True)


def asked(client: Any, path: str, agent: str = PERSON, **options: Any) -> list[Search]:
    """Return the rows that a request adds."""
    before = set(Search.objects.values_list("pk", flat=True))
    answer = client.get(path, headers={"user-agent": agent, **options})
    assert answer.status_code == 200
    recorder().flush()
    return list(Search.objects.exclude(pk__in=before))


def test_what_a_visitor_asks_is_recorded(client, shelf) -> None:
    (words,) = asked(client, "/api/visual/search/?q=%20Red++shoe&limit=2&category=shoes")
    assert (words.where, words.text, words.category, words.page) == ("words", "Red shoe", "shoes", 1)
    assert words.found == len(words.keys) == 2
    assert 0 <= words.best <= 1
    (second,) = asked(client, "/api/visual/search/?q=red&limit=2&offset=2")
    assert second.page == 2
    key = key_of(shelf["red"])
    (similar,) = asked(client, reverse("imagesim:similar", args=["shop.product", shelf["red"].pk]))
    assert (similar.where, similar.query_key, similar.text) == ("similar", key, "")
    (nothing,) = asked(client, "/api/visual/search/?q=red&min_relevance=1&category=hats&price__lte=1")
    assert (nothing.found, nothing.best, nothing.keys) == (0, None, [])


def test_a_photo_is_one_search_and_a_look_is_one_with_its_parts(client, shelf) -> None:
    seen = {"image": shop.ContentFile(encoded(picture("red")), "photo.png"), "region": "auto"}
    client.post("/api/visual/search/", seen, headers={"user-agent": PERSON})
    recorder().flush()
    assert [each.where for each in Search.objects.all()] == ["photo"]
    Search.objects.all().delete()
    boxes = "[[0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]"
    sent = {"image": shop.ContentFile(encoded(picture("red")), "photo.png"), "regions": boxes}
    answer = client.post("/api/visual/look/", sent, headers={"user-agent": PERSON})
    assert answer.status_code == 200, answer.content
    recorder().flush()
    rows = {each.where: each for each in Search.objects.all()}
    assert Search.objects.count() == 3
    assert rows["look"].found == len(rows["look"].keys) + sum(
        each.found for each in Search.objects.filter(where="region")
    )


def test_the_token_of_an_answer_is_that_of_its_row(client, shelf) -> None:
    answer = client.get("/api/visual/search/?q=red", headers={"user-agent": PERSON}).json()
    item = answer["results"][0]["item"]
    recorder().flush()
    assert events.request_of(answer["token"], f"{item['model']}:{item['pk']}") == Search.objects.get().request
    assert events.request_of(answer["token"], "shop.product:0") == ""
    assert events.request_of("forged", "shop.product:1") == ""


@pytest.mark.parametrize(
    ("agent", "person"),
    [
        (PERSON, True),
        ("Mozilla/5.0 (Linux; Android 13; CUBOT X30) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36", True),
        ("MyShop/3.1 CFNetwork/1494 Darwin/23.4.0", True),
        ("", False),
        ("  ", False),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", False),
        ("Mozilla/5.0 (compatible; bingbot/2.0)", False),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", False),
        ("facebookexternalhit/1.1", False),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0", False),
        ("python-requests/2.32", False),
        ("curl/8.5", False),
    ],
)
def test_bots_are_left_out(client, shelf, agent: str, person: bool) -> None:
    assert bool(asked(client, "/api/visual/search/?q=red", agent)) is person


PUBLIC = {"x-forwarded-for": "203.0.113.9"}


@pytest.mark.parametrize(
    ("other", "recorded"),
    [
        (PUBLIC, 0),
        ({"x-forwarded-for": "203.0.113.10"}, 1),
        ({**PUBLIC, "user-agent": f"{PERSON} Another"}, 1),
        ({}, 1),  # from 127.0.0.1, which may be a proxy, and so everybody
    ],
)
def test_the_answers_to_one_visitor_are_bounded(client, shelf, monkeypatch, caplog, other, recorded) -> None:
    """A program that calls itself a browser must not fill the table, nor the reports, with what it asks."""
    monkeypatch.setattr(recording, "MAX_ANSWERS", 3)
    path = "/api/visual/search/?q=red"
    assert sum(len(asked(client, path, **PUBLIC)) for _number in range(6)) == 3
    assert "Further answers to a visitor are not recorded" in caplog.text
    agent = other.get("user-agent", PERSON)
    address = {name: value for name, value in other.items() if name != "user-agent"}
    assert len(asked(client, path, agent, **address)) == recorded
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + recording.DAY)
    assert len(asked(client, path, **PUBLIC)) == 1


@pytest.mark.parametrize(
    ("proxies", "address", "forwarded"),
    [
        (None, "8.8.4.4", ""),
        (0, "8.8.4.4", "198.51.100.{n}"),
        (1, "10.0.0.7", "198.51.100.{n}, 8.8.4.4"),
        (None, "2001:4860::{n:x}", ""),
    ],
)
def test_the_answers_to_one_address_are_bounded(monkeypatch, settings, proxies, address, forwarded) -> None:
    """Otherwise, a client that names another browser, another address in a header or another address of its own network
    would be another visitor each time, with another thousand answers."""
    settings.REST_FRAMEWORK = {} if proxies is None else {"NUM_PROXIES": proxies}
    monkeypatch.setattr(recording, "MAX_ANSWERS_OF_ADDRESS", 5)
    counts = recording.VisitorCounts()
    admitted = []
    for number in range(20):
        headers = {"user-agent": f"{PERSON} {number}", "x-forwarded-for": forwarded.format(n=number)}
        request = RequestFactory().get("/", REMOTE_ADDR=address.format(n=number), headers=headers)
        assert counts.is_within(request) == (number < 5)
        admitted.append(counts.admit(request))
    assert admitted == [True] * 5 + [False] * 15
    another = RequestFactory().get("/", REMOTE_ADDR="8.8.8.8", headers={"user-agent": PERSON})
    assert counts.admit(another)


def test_the_visitors_that_are_counted_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(recording, "MAX_COUNTED", 10)
    counts = recording.VisitorCounts()
    for number in range(50):
        address = f"2001:4860:{number:x}::1"
        assert counts.admit(RequestFactory().get("/", REMOTE_ADDR=address, headers={"user-agent": PERSON}))
    assert len(counts._counts) == 10


@pytest.mark.parametrize("address", ["", "10.0.0.7", "unix:", "::1"])
def test_what_may_be_the_address_of_a_proxy_is_not_taken_for_one_visitor(monkeypatch, address: str) -> None:
    monkeypatch.setattr(recording, "MAX_ANSWERS", 1)
    counts = recording.VisitorCounts()
    request = RequestFactory().get("/", REMOTE_ADDR=address, headers={"user-agent": PERSON})
    assert all(counts.admit(request) for _number in range(3))


def test_requests_in_advance_and_the_admin_are_left_out(client, admin_client, shelf) -> None:
    assert not asked(client, "/api/visual/search/?q=red", **{"sec-purpose": "prefetch;prerender"})
    request = RequestFactory().head("/", headers={"user-agent": PERSON})
    assert not is_visitor(request)
    data = {"name": "a", "action": "bury", "filters": "in_stock = no", "when": "always", "factor": "2"}
    preview = {**data, "preview_words": "red", "priority": "0"}
    admin_client.post(reverse("admin:imagesim_merchandising_rule_preview"), preview, headers={"user-agent": PERSON})
    assert recorder().flush() == 0


def test_nothing_is_recorded_outside_of_requests_or_while_events_are_off(client, shelf, settings) -> None:
    assert imagesim.search(text="red").token
    assert recorder().flush() == 0
    settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": False}
    assert not asked(client, "/api/visual/search/?q=red")
    assert purchased(1, [Line(shelf["red"], 1, "9.99")]) == 0


def test_nothing_of_a_person_is_stored(client, shelf) -> None:
    (row,) = asked(client, "/api/visual/search/?q=red+jane.doe@example.org", **{"x-forwarded-for": "203.0.113.9"})
    stored = str(vars(row))
    assert "jane" not in stored
    assert "203.0.113.9" not in stored
    assert "127.0.0.1" not in stored
    assert row.text == "red …@…"


@pytest.mark.parametrize(
    ("cookie", "signal", "counts"), [("yes", "", True), ("yes", "1", False), ("", "", False), ("no", "0", False)]
)
def test_consent_as_on_the_page_about_security(client, settings, shelf, cookie, signal, counts) -> None:
    module("docs_consent", "security.md", "# shop/middleware.py")
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "docs_consent.respect_refusal"]
    client.cookies["consent"] = cookie
    assert bool(asked(client, "/api/visual/search/?q=red", **{"sec-gpc": signal})) is counts
    page = client.get(shelf["red"].get_absolute_url(), headers={"user-agent": PERSON, "sec-gpc": signal})
    assert b"imagesim-similar" in page.content
    assert (b"data-token" in page.content) is counts


def test_a_request_waits_for_no_database(client, shelf) -> None:
    path = "/api/visual/search/?q=red"
    with CaptureQueriesContext(connection) as queries:
        client.get(path, headers={"user-agent": PERSON})
    assert not [each for each in queries.captured_queries if "insight" in each["sql"]]


def test_the_buffer_is_bounded_and_a_refused_batch_is_dropped(monkeypatch, caplog) -> None:
    monkeypatch.setattr(recording, "CAPACITY", 10)
    answer = events.Answer("r", "words", "x" * 500, "", "", 0, 12, (), 0, None)
    for _number in range(15):
        recorder().add(recording.to_row(answer))
    assert recorder().dropped == 5
    with patch.object(recording, "insert_new", side_effect=DatabaseError("gone")):
        assert recorder().flush() == 0
    assert recorder().dropped == 15
    assert "could not be recorded" in caplog.text
    assert len(recording.to_row(answer).text) == 200


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "＝x" * 300, "ΐ" * 200])
def test_what_visitors_send_can_be_stored(text: str) -> None:
    answer = events.Answer("r", "words", text, "", text[:200], 0, 12, (), 0, None)
    recorder().add(recording.to_row(answer))
    assert recorder().flush() == 1
    assert rollup.roll_up() == 0
    assert DailyCount.objects.filter(kind="words").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_row_that_cannot_be_written_does_not_end_the_writer(caplog) -> None:
    row = recording.to_row(events.Answer("r", "words", "red", "", "", 0, 12, (), 0, None))
    row.created_at = "never"  # type: ignore[assignment]
    recorder().add(row)
    assert recorder().flush() == 0
    recorder().add(recording.to_row(events.Answer("s", "words", "red", "", "", 0, 12, (), 0, None)))
    assert recorder().flush() == 1


def test_a_position_is_that_of_the_answer_whatever_is_sent() -> None:
    search("a", offset=12, page=2)
    event("a", "click", "shop.product:2", position=999)
    rollup.roll_up()
    assert DailyCount.objects.get(kind="position").name == "14"


def test_an_error_of_recording_does_not_reach_the_visitor(client, shelf, monkeypatch, caplog) -> None:
    monkeypatch.setattr(recording, "is_visitor", lambda request: 1 / 0)
    assert not asked(client, "/api/visual/search/?q=red")
    assert "not recorded" in caplog.text


def test_a_thread_that_cannot_be_started_is_tried_again(monkeypatch) -> None:
    monkeypatch.delattr(recording.mail, "outbox")
    made = recording.Recorder()
    with monkeypatch.context() as limited:
        limited.setattr("threading.Thread.start", Mock(side_effect=RuntimeError("can't start new thread")))
        with pytest.raises(RuntimeError):
            made._start()
    ran = []
    monkeypatch.setattr(made, "_run", lambda: ran.append(True))
    made._start()
    made.close()
    assert ran


def test_the_thread_does_not_belong_to_the_request_that_starts_it(monkeypatch) -> None:
    """Tracers pass on the context in which a thread is started: all that it does would be the first visitor's."""
    monkeypatch.delattr(recording.mail, "outbox")
    request, seen = ContextVar("request", default=""), []
    monkeypatch.setattr("threading.Thread.start", lambda self: seen.append(request.get()))
    monkeypatch.setattr("atexit.register", Mock())  # it would wait for a thread that never ran
    request.set("the first visitor's")
    recording.Recorder()._start()
    assert seen == [""]


@pytest.mark.django_db(transaction=True)
def test_the_thread_writes(monkeypatch) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("the test database is locked by this thread")
    monkeypatch.delattr(recording.mail, "outbox")
    monkeypatch.setattr(recording, "INTERVAL", 0.01)
    made = recording.Recorder()
    made.add(recording.to_row(events.Answer("r1", "words", "red", "", "", 0, 12, (), 0, None)))
    made.close()
    assert Search.objects.get().text == "red"


def test_the_middleware_works_in_both_worlds() -> None:
    seen = []

    def view(request):
        seen.append(current_request())
        return HttpResponse()

    async def asynchronous(request):
        return view(request)

    request = RequestFactory().get("/")
    RememberRequest(view)(request)
    asyncio.run(RememberRequest(asynchronous)(request))
    assert seen == [request, request]
    assert current_request() is None


def test_the_check_names_the_middleware(settings) -> None:
    assert check_middleware() == []
    settings.MIDDLEWARE = []
    assert [each.id for each in check_middleware()] == ["imagesim.W021"]


def token(item: Product) -> str:
    return events.make_token("search", [Hit(item, 0.5, HitImage("", ""))], where="words", text="red")


def test_an_order_counts_once() -> None:
    shoe, boot = product("shoe"), product("boot")
    lines = [Line(shoe, 2, "19.98", token(shoe)), Line(boot, 1, 5), Line(boot, 1, Decimal("5.005"))]
    assert purchased("A-1", lines) == 2
    assert purchased("A-1", lines) == 0
    assert purchased("A-2", lines[:1]) == 1
    first = Purchase.objects.get(item_key=key_of(boot))
    assert (first.quantity, first.value, first.request) == (2, Decimal("10.00"), "")
    assert "A-1" not in first.order
    assert Purchase.objects.filter(item_key=key_of(shoe)).exclude(request="").count() == 2


@pytest.mark.parametrize(
    ("quantity", "value"),
    [(0, 1), (-1, 1), (True, 1), (1.5, 1), (1, -1), (1, "NaN"), (1, "inf"), (1, 10**12), (1, "12,50")],
)
def test_an_impossible_order_is_refused(quantity: Any, value: Any) -> None:
    with pytest.raises(BadQuery):
        purchased(1, [Line(product("shoe"), quantity, value)])
    assert not Purchase.objects.exists()


def test_a_token_of_another_product_is_not_believed() -> None:
    shoe, boot = product("shoe"), product("boot")
    purchased(1, [Line(boot, 1, 5, token(shoe))])
    assert Purchase.objects.get().request == ""


def test_new_purchases_are_not_counted_on_a_replica(settings: Any) -> None:
    lines = [Line(product("shoe"), 1, 10)]
    settings.DATABASE_ROUTERS = [shop.LaggingReplica(Purchase)]
    assert (purchased("A-1", lines), purchased("A-1", lines)) == (1, 0)


@pytest.mark.django_db(transaction=True)
def test_figures_wait_while_only_a_replica_can_be_reached() -> None:
    ours, refused = connections["default"], OperationalError("connection refused")
    with (
        patch.object(ours, "connection", None),
        patch.object(ours, "connect", side_effect=refused),
        rollup.figures_may_wait(),
    ):
        RolledDay.objects.create(day=date(2026, 1, 1))


def test_a_browser_cannot_send_purchases(client) -> None:
    shoe = product("shoe")
    event = {"token": token(shoe), "kind": "purchase", "item": key_of(shoe), "position": 0}
    assert client.post("/api/visual/events/", {"events": [event]}, "application/json").status_code == 400
    assert not Purchase.objects.exists()


def search(request: str, text: str = "red", *, at: datetime | None = None, **fields: Any) -> Search:
    given = {"where": "words", "text": text, "found": 2, "best": 0.9, "keys": ["shop.product:1", "shop.product:2"]}
    return Search.objects.create(request=request, created_at=at or timezone.now(), **{**given, **fields})


def event(request: str, kind: str = "click", item: str = "shop.product:1", position: int = 0) -> None:
    Event.objects.create(request=request, kind=kind, source="search", item_key=item, position=position)


def figures(kind: str, name: str = "", where: str = "words") -> DailyCount:
    return DailyCount.objects.get(kind=kind, name=name, where=where)


def test_the_figures_of_a_day() -> None:
    search("a", "Red  Shoe")
    search("b", "red shoe", best=0.2)
    search("c", "red shoe", found=0, best=None, keys=[])
    search("d", "red shoe", page=2)
    search("e", where="similar", text="", category="shoes")
    for kind in ("view", "click", "cart"):
        event("a", kind)
    event("a", "view", "shop.product:2", 1)
    event("e")
    event("of a bot")
    Purchase.objects.create(order="o", item_key="shop.product:1", quantity=3, value=30, request="a")
    Purchase.objects.create(order="p", item_key="shop.product:9", quantity=1, value=7)
    assert rollup.roll_up() == 0
    words = figures("words", "red shoe")
    assert (words.answers, words.empty, words.weak, words.clicked_answers) == (3, 1, 1, 1)
    assert (words.seen, words.clicks, words.carts, words.bought, words.value) == (2, 1, 1, 3, 30)
    total = figures("total")
    assert (total.answers, total.clicks) == (3, 1)
    assert figures("item", "shop.product:1").answers == 3
    assert figures("item", "shop.product:9", "").bought == 1
    assert figures("position", "2").seen == 1
    assert figures("page", "2").answers == 1
    assert figures("category", "shoes", "similar").clicks == 1
    assert DailyCount.objects.filter(kind="total").count() == 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="its changes of a table are part of the transaction")
def test_words_that_the_database_takes_for_the_same_are_counted() -> None:
    """As most collations of MySQL do. A second name would be refused, and with it all figures."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
        table = DailyCount._meta.db_table
        cursor.execute(f"ALTER TABLE {table} ALTER COLUMN name TYPE varchar(400) COLLATE loose")
    for number, text in enumerate(("cafe", "café", "cafe")):
        search(str(number), text)
    assert rollup.roll_up() == 0
    today = rollup.local_date(timezone.now())
    [row] = REPORTS["words"].rows(Selection(today, today), 10)
    assert row[1] == 3
    rollup.roll_up_day(today)
    assert DailyCount.objects.filter(kind="words").count() == 2


def test_a_day_is_computed_until_it_cannot_change() -> None:
    now = timezone.now()
    search("old", at=now - timedelta(days=3))
    search("new")
    assert len(rollup.due_days()) == 4
    rollup.roll_up()
    assert rollup.due_days() == []  # just computed
    RolledDay.objects.update(rolled_at=now - timedelta(minutes=2))
    due = rollup.due_days()
    assert rollup.local_date(now) in due
    assert rollup.local_date(now - timedelta(days=3)) not in due
    event("new")
    rollup.roll_up()
    rollup.roll_up_day(rollup.local_date(now))
    assert DailyCount.objects.filter(kind="item", name="shop.product:1", clicks=1).count() == 1
    RolledDay.objects.filter(day=rollup.local_date(now)).update(seconds=60, rolled_at=now - timedelta(minutes=2))
    assert rollup.local_date(now) not in rollup.due_days()  # it would take a large share of the time


def test_a_day_that_another_process_has_just_computed_is_not_computed_again(monkeypatch: Any) -> None:
    """Otherwise, of several people who open a report at the same time, each waits until it was computed for all
    others."""
    search("a")
    due = rollup.due_days()
    rollup.roll_up()
    [computed] = RolledDay.objects.values_list("rolled_at", flat=True)
    monkeypatch.setattr(rollup, "due_days", lambda: due)  # found before the other process had finished
    assert rollup.roll_up() == 0
    assert RolledDay.objects.get().rolled_at == computed


def test_the_figures_of_a_day_are_written_in_batches(monkeypatch: Any) -> None:
    """So that a day with hundreds of thousands of words, such as those of a program, is not in memory twice."""
    monkeypatch.setattr(rollup, "CHUNK", 2)
    for number in range(4):
        search(str(number), f"word {number}")
    with CaptureQueriesContext(connection) as queries:
        rollup.roll_up()
    table = connection.ops.quote_name(DailyCount._meta.db_table)
    inserts = sum(query["sql"].startswith(f"INSERT INTO {table}") for query in queries)
    assert inserts == -(-DailyCount.objects.count() // 2)


def test_computing_stops_when_its_time_is_up() -> None:
    search("old", at=timezone.now() - timedelta(days=5))
    assert rollup.roll_up(1e-9) == 5
    assert RolledDay.objects.count() == 1


@pytest.mark.slow
def test_a_page_leaves_a_day_that_takes_long_to_the_task() -> None:
    """Otherwise, the server would end the request, and the next one would begin again."""
    search("a")
    rollup.roll_up()
    search("b")
    yesterday = timezone.now() - timedelta(days=1)
    search("c", at=yesterday)
    RolledDay.objects.update(rolled_at=yesterday, seconds=60)
    assert rollup.roll_up(1.0) == 2  # one took so long, and the other is assumed to
    assert figures("total").answers == 1
    assert rollup.roll_up(500.0) == 0
    assert sum(DailyCount.objects.filter(kind="total").values_list("answers", flat=True)) == 3


def test_the_task_purges_everything() -> None:
    old = timezone.now() - timedelta(days=401)
    search("old", at=old)
    search("new")
    Purchase.objects.create(order="o", item_key="k", quantity=1, value=1, created_at=old)
    rollup.roll_up()
    assert tasks.purge() >= 4
    assert [each.request for each in Search.objects.all()] == ["new"]
    assert not Purchase.objects.exists()
    assert DailyCount.objects.filter(day__lt=old.date() + timedelta(days=1)).count() == 0


def test_a_purge_keeps_the_figures_of_a_day_of_which_answers_are_left(settings: Any) -> None:
    """West of Greenwich, the figures of the day must not be computed again in the evening, without its deleted
    answers."""
    settings.TIME_ZONE = "America/Los_Angeles"
    before = datetime(2026, 3, 2, 3, tzinfo=tz.utc)  # in that time zone, the evening of the first
    for hour in (-1, 1):
        Search.objects.create(request=f"{hour}", where="words", created_at=before + timedelta(hours=hour))
    RolledDay.objects.create(day=date(2026, 3, 1), rolled_at=before + timedelta(days=9))
    RolledDay.objects.create(day=date(2026, 2, 28), rolled_at=before)
    assert recording.observer.purge(before) == 2
    assert [(rolled.day.day, rolled.day.month) for rolled in RolledDay.objects.all()] == [(1, 3)]


@pytest.mark.django_db(transaction=True)
def test_a_day_is_computed_again_after_a_deadlock(monkeypatch: Any) -> None:
    Search.objects.create(request="a", where="words", text="red", found=1)
    counted, errors = rollup._count, [OperationalError(1213, "Deadlock")]

    def count(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return counted(*arguments)

    monkeypatch.setattr(rollup, "_count", count)
    assert rollup.roll_up() == 0
    assert DailyCount.objects.get(kind="words").answers == 1
