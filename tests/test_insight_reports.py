"""The reports of insight: figures, intervals, who may see them, CSV, and the export in UBI 1.3."""

from __future__ import annotations

import csv
import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import InternalError
from django.db.models import F
from django.urls import reverse
from django.utils import timezone, translation

from demo_shop.shop.models import Product
from imagesim.insight import admin, reports, rollup
from imagesim.insight.models import DailyCount, Purchase, Search
from imagesim.insight.reports import REPORTS, Rate, Selection
from imagesim.items.registry import key_of
from imagesim.models import Event, ItemState
from tests.shop import product

pytestmark = pytest.mark.django_db
PAGE = reverse("admin:imagesim_insight_searchreport_changelist")


def address(name: str, **query: str) -> str:
    return reverse("admin:imagesim_insight_report", args=[name], query=query)


@pytest.fixture
def staff(client):
    user = get_user_model().objects.create_user("staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_searchreport"))
    client.force_login(user)
    return client


def mark_indexed(*products: Product) -> None:
    for each in products:
        ItemState.objects.update_or_create(
            model="shop.product", object_pk=str(each.pk), defaults={"outcome": "indexed", "pending": False}
        )


@pytest.fixture
def shop() -> dict[str, Product]:
    """Searches, clicks and a purchase of today."""
    made = {name: product(name) for name in ("shoe", "boot", "hat")}
    keys = [key_of(made["shoe"]), key_of(made["boot"])]
    mark_indexed(*made.values())
    for number in range(10):
        given: dict[str, Any] = {"where": "words", "text": "Red shoe", "found": 2, "best": 0.9, "keys": keys}
        Search.objects.create(request=f"a{number}", **given)
        for position, key in enumerate(keys):
            Event.objects.create(request=f"a{number}", kind="view", source="search", item_key=key, position=position)
    for number in range(3):
        Event.objects.create(request=f"a{number}", kind="click", source="search", item_key=keys[0], position=0)
    for number in range(4):
        Search.objects.create(request=f"b{number}", where="words", text="=cmd|'/C calc'!A0", found=0)
    Search.objects.create(request="c", where="words", text="blue", found=1, best=0.2, keys=keys[1:])
    for page in (1, 2):
        given = {"where": "similar", "query_key": keys[0], "category": "shoes", "found": 1, "best": 0.9, "page": page}
        Search.objects.create(request=f"d{page}", **given)
    Search.objects.create(request="e", where="region", found=0)
    Purchase.objects.create(order="o" * 64, item_key=keys[0], quantity=2, value="19.98", request="a0")
    rollup.roll_up()
    return made


def chosen(**given: Any) -> Selection:
    today = rollup.local_date(timezone.now())
    return Selection(today - timedelta(days=7), today, **given)


def rows(name: str, **given: Any) -> list[list[Any]]:
    return REPORTS[name].rows(chosen(**given), 100)


def test_every_report_counts(shop) -> None:
    shoe, boot, hat = (key_of(each) for each in shop.values())
    [day] = rows("days")
    assert day[1:4] == [16, Rate(5, 16), Rate(3, 16)]
    assert day[5:] == [2, Decimal("19.98")]
    assert [row[:3] for row in rows("words")] == [
        ["red shoe", 10, Rate(3, 10)],
        ["=cmd|'/c calc'!a0", 4, Rate(0, 4)],
        ["blue", 1, Rate(0, 1)],
    ]
    assert rows("nothing") == [["=cmd|'/c calc'!a0", 4, 4, 0, Rate(4, 4)], ["blue", 1, 0, 1, Rate(1, 1)]]
    assert rows("unclicked") == [["blue", 1, 0, Rate(0, 1)]]
    assert [row[:2] for row in rows("found")] == [[boot, 11], [shoe, 10]]
    assert [row[:4] for row in rows("clicked")] == [[shoe, 10, 10, Rate(3, 10)]]
    assert rows("never") == [[hat]]
    assert rows("positions") == [[1, 10, Rate(3, 10), 0], [2, 10, Rate(0, 10), 0]]
    assert [row[:3] for row in rows("pages")] == [["similar", 1, 1], ["similar", 2, 1], ["words", 1, 15]]
    assert [row[:2] for row in rows("categories")] == [["shoes", 1]]


def test_a_variant_of_a_product_that_was_found_is_not_one_that_was_never_found(shop) -> None:
    """An answer shows one of them."""
    red = product("red shoe", parent=shop["shoe"])
    sock = product("sock")
    striped = product("striped sock", parent=sock)
    mark_indexed(red, sock, striped)
    assert rows("never") == [[key_of(each)] for each in (shop["hat"], sock, striped)]
    Search.objects.create(request="f", where="words", text="sock", found=1, best=0.9, keys=[key_of(striped)])
    rollup.roll_up_day(rollup.local_date(timezone.now()))
    assert rows("never") == [[key_of(shop["hat"])]]
    assert rows("never", where="photo") == [[key_of(each)] for each in (*shop.values(), red, sock, striped)]


def test_what_is_clicked_and_bought_in_a_part_of_a_look_counts_for_the_look(shop) -> None:
    shoe = key_of(shop["shoe"])
    for number in range(4):
        Search.objects.create(request=f"l{number}", where="look", found=2, best=0.9)
        Search.objects.create(request=f"r{number}", where="region", found=2, best=0.9, category="shoes", keys=[shoe])
    for kind in ("click", "cart"):
        Event.objects.create(request="r0", kind=kind, source="look", item_key=shoe, position=0)
    Purchase.objects.create(order="p" * 64, item_key=shoe, quantity=1, value="5.00", request="r0")
    rollup.roll_up_day(rollup.local_date(timezone.now()))
    [day] = rows("days", where="look")
    assert day[1:] == [4, Rate(0, 4), Rate(1, 4), 1, 1, Decimal("5.00")]
    [day] = rows("days")
    assert day[1:] == [20, Rate(5, 20), Rate(4, 20), 1, 3, Decimal("24.98")]
    [page] = rows("pages", where="look")
    assert page == ["look", 1, 4, Rate(1, 4), 1, 1]


def test_what_is_clicked_and_bought_on_a_further_page_counts_for_the_words(shop) -> None:
    """They must not be listed as words without a click, and what is bought must not be missing from them."""
    hat = key_of(shop["hat"])
    given: dict[str, Any] = {"where": "words", "text": "blue", "category": "shoes", "best": 0.9, "found": 1}
    Search.objects.create(request="p2", page=2, offset=12, keys=[hat], **given)
    for kind in ("view", "click", "cart"):
        Event.objects.create(request="p2", kind=kind, source="search", item_key=hat, position=12)
    Purchase.objects.create(order="p" * 64, item_key=hat, quantity=1, value="5.00", request="p2")
    rollup.roll_up_day(rollup.local_date(timezone.now()))
    assert rows("unclicked") == []
    assert rows("words")[-1] == ["blue", 1, Rate(0, 1), 1, 1, Decimal("5.00")]
    [day] = rows("days", where="words")
    assert day[1:] == [15, Rate(5, 15), Rate(3, 15), 1, 3, Decimal("24.98")]
    assert rows("categories") == [["shoes", 1, Rate(0, 1), Rate(0, 1), 1, 1, Decimal("5.00")]]


@pytest.mark.parametrize("text", ["Ärmel", "STRASSE", "Straße", "für  die"])
def test_words_are_filtered_in_any_language(text: str) -> None:
    Search.objects.create(request="a", where="words", text="Ärmel für die Straße", found=0)
    rollup.roll_up()
    assert [row[0] for row in rows("words", text=text)] == ["ärmel für die strasse"]


def test_reports_are_filtered(shop) -> None:
    assert [row[0] for row in rows("words", text="RED")] == ["red shoe"]
    assert rows("words", where="similar") == []
    assert len(rows("never", where="similar")) == 3
    past = Selection(date(2020, 1, 1), date(2020, 1, 2))
    assert all(not report.rows(past, 10) for name, report in REPORTS.items() if name != "never")


@pytest.mark.parametrize("name", REPORTS)
def test_every_page_and_its_csv_are_shown(staff, shop, name: str) -> None:
    page = staff.get(address(name))
    assert page.status_code == 200
    assert "style=" not in page.content.decode().partition('id="content-main"')[2]
    lines = b"".join(staff.get(reverse("admin:imagesim_insight_csv", args=[name])).streaming_content).decode()
    read = list(csv.reader(StringIO(lines.removeprefix("\ufeff"))))
    assert len(read) > 1
    assert len({len(line) for line in read}) == 1


@pytest.fixture
def without_time_zones(settings) -> None:
    settings.USE_TZ = False


@pytest.mark.parametrize("name", REPORTS)
def test_every_page_without_time_zones(without_time_zones, staff, shop, name: str) -> None:
    assert staff.get(address(name)).status_code == 200


def test_the_chart_has_no_thousand_separators(staff, shop, settings) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    assert '<svg viewBox="0 0 1000 160"' in staff.get(PAGE).content.decode()


def test_the_first_days_of_the_calendar(staff) -> None:
    for name in ("report", "csv"):
        page = reverse(f"admin:imagesim_insight_{name}", args=["words"])
        assert staff.get(page, {"since": "", "until": "0001-01-05"}).status_code == 200, name


def test_pages_are_in_the_user_s_language(staff, shop) -> None:
    with translation.override("de"):
        page = staff.get(PAGE, {"where": "words"}, headers={"accept-language": "de"}).content.decode()
    assert "Suchen nach Tag" in page
    assert "33,3 %" in page


def test_products_link_to_their_admin_pages_for_those_who_may_see_them(staff, admin_client, shop) -> None:
    link = reverse("admin:shop_product_change", args=[shop["hat"].pk])
    assert link not in staff.get(address("never")).content.decode()
    assert link in admin_client.get(address("never")).content.decode()


@pytest.mark.parametrize(("most", "is_cut"), [(1, True), (2, False)])
def test_a_page_says_that_there_are_more_rows_only_if_so(staff, shop, monkeypatch, most: int, is_cut: bool) -> None:
    monkeypatch.setattr(admin, "ROWS", most)
    context = staff.get(address("found")).context  # for two products
    assert (len(context["rows"]), context["is_cut"]) == (most, is_cut)


def test_what_visitors_typed_is_escaped(staff) -> None:
    Search.objects.create(request="x", where="words", text="<script>alert(1)</script>", found=0)
    page = staff.get(address("nothing")).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_permission_is_needed(client, shop) -> None:
    client.force_login(get_user_model().objects.create_user("other", is_staff=True))
    for path in (PAGE, address("words"), reverse("admin:imagesim_insight_csv", args=["words"])):
        assert client.get(path).status_code == 403


@pytest.mark.parametrize(
    "query",
    [{"since": "x"}, {"since": "2026-02-01", "until": "2026-01-01"}, {"since": "0001-01-01"}, {"where": "?"}],
)
def test_a_bad_filter_is_named(staff, query: dict[str, str]) -> None:
    page = staff.get(address("words", **query))
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert (
        staff.get(f"{reverse('admin:imagesim_insight_csv', args=['words'])}?{next(iter(query))}=x").status_code == 400
    )
    assert staff.get(PAGE + "nothing-of-that-name/").status_code == 404


def test_more_than_ten_years_are_refused_with_the_limit(staff) -> None:
    ten = {"since": "2016-01-01", "until": "2026-01-01"}
    assert "errorlist" not in staff.get(address("words", **ten)).content.decode()
    page = staff.get(address("words", **ten | {"since": "2015-01-01"})).content.decode()
    assert "at most ten years" in page
    assert "must be before the last" not in page


def test_pages_compute_what_is_due_and_say_what_is_left(staff, monkeypatch) -> None:
    Search.objects.create(request="x", where="words", text="old", created_at=timezone.now() - timedelta(days=4))
    monkeypatch.setattr("imagesim.insight.admin.UPDATE_SECONDS", 1e-9)
    assert "4 days are not computed" in staff.get(PAGE).content.decode()
    for _time in range(4):
        page = staff.get(PAGE).content.decode()
    assert "not computed" not in page


def test_figures_are_shown_while_the_database_can_only_be_read(staff, shop, monkeypatch) -> None:
    """For instance during a fail-over."""
    DailyCount.objects.update(day=F("day") - timedelta(days=1))
    rollup.RolledDay.objects.all().delete()

    def refuse(*_: Any, **__: Any) -> None:
        raise InternalError("cannot execute INSERT in a read-only transaction")

    monkeypatch.setattr(rollup, "roll_up_day", refuse)
    page = staff.get(address("words")).content.decode()
    assert "red shoe" in page
    assert "The figures of 1 day are not computed yet" in page


def test_money_has_two_places_in_csv() -> None:
    """SQLite adds with binary fractions."""
    [_header, line] = list(reports.csv_lines(["Value"], [[Decimal("76151.6699999999")]]))
    assert line == "76151.67\r\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", " =", "\u00a0@", "|", "%"])
def test_no_cell_is_a_formula(start: str) -> None:
    [_header, line] = list(reports.csv_lines(["Words"], [[f'{start}HYPERLINK("x","y")']]))
    [[cell]] = list(csv.reader(StringIO(line)))
    assert cell.startswith("'")


def test_a_rate_has_wilson_s_interval() -> None:
    rate = Rate(5, 10)
    assert (rate.low, rate.high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert (Rate(0, 10).low, Rate(0, 10).high) == (0, pytest.approx(0.2775, abs=1e-4))
    assert (Rate(10, 10).low, Rate(10, 10).high) == (pytest.approx(0.7225, abs=1e-4), 1)
    assert (Rate(0, 0).low, Rate(0, 0).high, Rate(0, 0).share) == (0, 1, 0)
    assert Rate(7, 5).share == 1


def test_a_chart_of_many_days_groups_them() -> None:
    today = date(2026, 6, 1)
    long = Selection(today - timedelta(days=364), today)
    chart = reports.chart_by_day([[today, 10, Rate(4, 10)]], long)
    assert chart is not None
    assert len(chart.bars) <= reports.MAX_BARS
    assert chart.bars[-1].height == reports.CHART_HEIGHT
    assert reports.chart_by_day([], long) is None


def exported(kind: str) -> list[dict[str, Any]]:
    out = StringIO()
    call_command("imagesim_ubi", kind, "--application", "shop", stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_file_of_any_encoding_can_hold_what_is_exported(shop) -> None:
    """On Windows, redirected output is in cp1252."""
    Search.objects.update(text="lämp 椅子")
    out = StringIO()
    call_command("imagesim_ubi", "queries", stdout=out)
    assert out.getvalue().isascii()
    assert exported("queries")[0]["user_query"] == "lämp 椅子"


def is_text(value: Any, length: int) -> bool:
    return isinstance(value, str) and len(value) <= length


def test_queries_are_exported_as_ubi(shop) -> None:
    """The properties of query.request.schema.json, version 1.3.0."""
    records = exported("queries")
    assert len(records) == Search.objects.count()
    for record in records:
        assert isinstance(record["user_query"], str)
        assert is_text(record["query_id"], 100)
        assert is_text(record["application"], 100)
        assert datetime.fromisoformat(record["timestamp"]).tzinfo
        assert all(isinstance(each, str) for each in record["query_response_hit_ids"])
        assert isinstance(record["query_attributes"], dict)
        assert not set(record) & {"client_id", "user_id", "session_id"}
    assert records[0]["user_query"] == "Red shoe"


def test_events_are_exported_as_ubi(shop) -> None:
    """The properties of event.schema.json, version 1.3.0."""
    records = exported("events")
    names = [record["action_name"] for record in records]
    assert {name: names.count(name) for name in set(names)} == {"impression": 20, "click": 3, "purchase": 1}
    known = {record["query_id"] for record in exported("queries")}
    for record in records:
        assert record["query_id"] in known
        assert datetime.fromisoformat(record["timestamp"]).tzinfo
        attributes = record["event_attributes"]
        assert attributes["position"]["ordinal"] >= 1
        assert is_text(attributes["object"]["object_id"], 256)
        assert is_text(attributes["object"]["object_id_type"], 100)
        assert is_text(record["message"], 1024)
    assert records[-1]["event_attributes"]["quantity"] == 2


def test_the_command_computes_the_figures(shop) -> None:
    DailyCount.objects.all().delete()
    rollup.RolledDay.objects.all().delete()
    out = StringIO()
    call_command("imagesim_roll_up", stdout=out)
    assert out.getvalue() == "1 days computed\n"
    assert DailyCount.objects.exists()
