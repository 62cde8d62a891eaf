"""What a merchandiser does: write an experiment, start it, read its report, stop and copy it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.browser.pages import fits, is_accessible, log_in, picture
from tests.browser.test_insight import AGENT

pytestmark = pytest.mark.timeout(600)
LIST = "/admin/imagesim_experiments/experiment/"


def give_figures(folder: Any, days: int) -> None:
    """As if the experiment had started days ago: with figures for each day since then."""
    with closing(sqlite3.connect(folder / "demo.sqlite3", timeout=30)) as database, database:
        pk = database.execute("SELECT max(id) FROM imagesim_experiments_experiment").fetchone()[0]
        database.execute(
            "UPDATE imagesim_experiments_experiment SET started = datetime(started, ?) WHERE id = ?",
            (f"-{days} days", pk),
        )
        for day in range(1, days + 1):
            for letter, reached in (("A", 40), ("B", 54)):
                database.execute(
                    "INSERT INTO imagesim_experiments_dailyresult (experiment_id, until, variant, visitors, converted, "
                    "total, squares) VALUES (?, datetime('now', 'start of day', ?), ?, ?, ?, 0, 0)",
                    (pk, f"-{days - day} days", letter, 400 * day, reached * day),
                )


def is_previewed(page: Any) -> None:
    """Look at the shop in variant B, at two widths, and return by the link on the shop's page."""
    report = page.url
    page.locator("[name=variant][value=B]").click()
    page.locator(".messagelist .success").wait_for()
    page.goto("/shop/shoes/")
    product = page.locator("main a[href^='/product/']").first.get_attribute("href")
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(product)
        page.locator(".imagesim-preview", has_text="varied").wait_for()
        assert fits(page)
        is_accessible(page, ".imagesim-preview")
        picture(page, f"experiment-preview-{width}")
    page.get_by_role("link", name="End the preview").click()
    assert page.url == report
    page.get_by_role("button", name="End the preview").click()
    page.locator(".messagelist .success").wait_for()
    page.goto(product)
    assert not page.locator(".imagesim-preview").count()
    page.goto(report)


def has_room_for_long_words(page: Any) -> None:
    """The words of Polish must not push the state off the page of a phone."""
    page.set_viewport_size({"width": 360, "height": 740})
    words = ["Odwiedzający, którzy biorą udział", "nierozpoczęty"]
    page.evaluate(
        """(words) => ["dt", "dd"].forEach(
        (name, n) => document.querySelector(`.experiment-facts ${name}`).textContent = words[n])""",
        words,
    )
    assert fits(page)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.reload()


def test_an_experiment_is_written_started_read_and_stopped(open_page, demo_folder):
    page = open_page()
    log_in(page)
    page.goto(f"{LIST}add/")
    page.locator("#id_name").fill("More variety")
    page.get_by_label("Similar products").check()
    assert page.locator("#id_variants-0-name").input_value() == "the shop as it is"
    page.locator("#id_variants-1-name").fill("varied")
    page.locator("#id_variants-1-diversity").fill("0.4")
    page.locator("[name=_save]").click()
    page.locator(".messagelist .success").wait_for()
    page.get_by_role("link", name="More variety").first.click()
    page.get_by_role("link", name="Start …").click()  # not just "Report", with nothing that says how to start it
    page.get_by_text("It has not started").wait_for()
    is_accessible(page, ".insight")
    has_room_for_long_words(page)
    is_previewed(page)
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    page.get_by_text("after midnight").wait_for()
    report = page.url
    visitor = open_page(user_agent=AGENT)
    visitor.goto("/search/?q=polo+shirt")
    assert not any(cookie["name"] == "sessionid" for cookie in visitor.context.cookies())
    found = visitor.request.get("/api/visual/search/?q=polo+shirt").json()["results"][0]["item"]
    visitor.goto(found["url"])
    assert any(cookie["name"] == "sessionid" for cookie in visitor.context.cookies())
    give_figures(demo_folder, 5)
    for width in (768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(report)
        page.locator(".insight-table tbody tr").nth(1).wait_for()
        assert "Too early" in page.locator(".experiment-verdict").nth(1).inner_text()
        assert page.locator(".experiment-chart svg").count() == 1
        assert fits(page)
        is_accessible(page, ".insight")
        picture(page, f"experiment-{width}")
        page.goto(LIST)
        assert fits(page)
    page.goto(report)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    page.get_by_role("link", name="Settings and variants").click()
    page.get_by_text("cannot be changed").wait_for()
    assert page.locator("#id_share").count() == 0
    page.goto(report)
    stop = page.get_by_role("button", name="Stop for good")
    assert stop.is_hidden()  # one click must not end it
    page.locator("summary", has_text="Stop").click()
    assert fits(page)
    is_accessible(page, ".insight")
    stop.click()
    page.locator(".messagelist .success").wait_for()
    page.get_by_role("button", name="Copy").click()
    assert page.locator("#id_variants-1-diversity").input_value() == "0.4"
    assert page.locator("#id_name").input_value() == "Copy of More variety"
