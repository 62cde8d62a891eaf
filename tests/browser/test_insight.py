"""What a merchandiser reads: visitors search, click and find nothing; the reports say so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import until
from tests.browser.pages import fits, is_accessible, log_in, picture

pytestmark = pytest.mark.timeout(600)
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
REPORTS = "/admin/imagesim_insight/searchreport/"


def shown(page: Any, name: str, word: str) -> None:
    """Open a report until it contains the word: answers are written every two seconds, figures computed every
    minute."""
    for _time in range(50):
        page.goto(f"{REPORTS}{name}/")
        if page.locator(".insight-table th[scope=row]", has_text=word).count():
            return
        page.wait_for_timeout(2000)
    pytest.fail(f"{word} is not in the report {name}")


def test_what_visitors_do_is_in_the_reports(open_page) -> None:
    visitor = open_page(user_agent=AGENT)
    visitor.goto("/search/?q=polo+shirt")
    visitor.locator("[data-imagesim-item] a, .card a, .imagesim-hit a").first.wait_for()
    answer = visitor.request.get("/api/visual/search/?q=carrot+juice").json()
    first = answer["results"][0]["item"]
    event = {"token": answer["token"], "item": f"{first['model']}:{first['pk']}", "position": 0}
    events = [{**event, "kind": kind} for kind in ("view", "click")]
    assert visitor.request.post("/api/visual/events/", data={"events": events}).json() == {"stored": 2}
    visitor.request.get("/api/visual/search/?q=zzzzqqq&category=caps&min_relevance=1")
    staff = open_page()
    log_in(staff)
    staff.wait_for_timeout(3000)  # until the answers are written: figures computed earlier would stand for a minute
    shown(staff, "words", "carrot juice")
    shown(staff, "nothing", "zzzzqqq")
    shown(staff, "unclicked", "polo shirt")
    for width in (768, 1280):
        staff.set_viewport_size({"width": width, "height": 900})
        for name in ("days", "words", "found", "positions"):
            staff.goto(f"{REPORTS}{name}/")
            staff.locator(".insight-table tbody tr").first.wait_for()
            assert fits(staff)
            is_accessible(staff, ".insight")
            picture(staff, f"insight-{name}-{width}")
    staff.set_viewport_size({"width": 320, "height": 256})  # 400 %
    staff.goto(REPORTS)
    assert fits(staff)
    staff.set_viewport_size({"width": 718, "height": 1000})  # a sheet of A4
    staff.emulate_media(media="print")
    assert fits(staff), "the last columns are not printed"
    assert staff.locator(".insight-filter").is_hidden()
    staff.emulate_media(media="screen")
    staff.evaluate("document.documentElement.dir = 'rtl'")
    captions = staff.locator(".insight-chart figcaption > span")
    assert captions.first.bounding_box()["x"] > captions.last.bounding_box()["x"]
    bars = staff.locator(".insight-chart .insight-bar")
    assert bars.first.bounding_box()["x"] > bars.last.bounding_box()["x"], "the days are in the other order"
    staff.set_viewport_size({"width": 1280, "height": 900})
    staff.goto("/admin/imagesim_insight/finding/")
    staff.locator(".insight-scan button").first.click()
    staff.locator(".messagelist .success").wait_for()
    is_accessible(staff, ".insight")
    assert staff.locator(".insight-scan", has_text="products were looked at").count() == 1
    picture(staff, "insight-work-list")
    staff.goto(REPORTS)
    until(staff, "document.querySelector('.insight-chart svg').getBoundingClientRect().height > 100")
    with staff.expect_download() as download:
        staff.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.startswith("days-")
    staff.locator("#id_where").select_option("words")
    staff.locator("#id_text").fill("carrot")
    staff.locator(".insight-filter [type=submit]").click()
    staff.get_by_role("link", name="Top words").click()
    assert staff.locator(".insight-table tbody tr").count() == 1
