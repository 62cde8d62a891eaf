"""A job that is paused is seen, resumed and cancelled in the admin."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.browser.pages import fits, is_accessible, log_in, picture

pytestmark = pytest.mark.timeout(600)
PAGE = "/admin/imagesim/visualindex/"


@pytest.fixture
def failed(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An item that has failed permanently, in the demo's own database."""
    database = tmp_path_factory.getbasetemp() / "demo0" / "demo.sqlite3"
    change = (
        "UPDATE imagesim_itemstate SET outcome = ?, error = ?, not_before = NULL "
        "WHERE id = (SELECT MIN(id) FROM imagesim_itemstate WHERE outcome IN ('indexed', 'failed'))"
    )
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute(change, ["failed", "The picture is damaged."])
        connection.commit()
        yield
        connection.execute(change, ["indexed", ""])
        connection.commit()


@pytest.fixture
def paused(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A paused rebuild in the demo's own database."""
    with _unfinished(tmp_path_factory, "paused"):
        yield


@pytest.fixture
def standing_by(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A rebuild there whose index is on standby, although somebody has deleted it."""
    with _unfinished(tmp_path_factory, "standby", "imagesim-20260101000000000000-abcdef"):
        yield


@contextmanager
def _unfinished(tmp_path_factory: pytest.TempPathFactory, status: str, target: str = "") -> Iterator[None]:
    """A rebuild in that state; it is removed afterwards, even if the test has failed halfway."""
    database = tmp_path_factory.getbasetemp() / "demo0" / "demo.sqlite3"
    row = {"kind": "rebuild", "slot": "rebuild", "status": status, "total": 80, "done": 20, "failed": 0}
    row |= dict.fromkeys(("cursor", "error", "owner", "requested"), "") | {"report": "{}", "target": target}
    row |= dict.fromkeys(("started_at", "heartbeat_at"), f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S}")
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        marks = ", ".join("?" * len(row))
        insert = f"INSERT INTO imagesim_job ({', '.join(row)}) VALUES ({marks})"
        number = connection.execute(insert, list(row.values())).lastrowid
        connection.commit()
        yield
        connection.execute("DELETE FROM imagesim_job WHERE id = ?", [number])
        connection.commit()


@pytest.mark.usefixtures("paused")
@pytest.mark.parametrize("width", [768, pytest.param(1280, marks=pytest.mark.long)])
def test_a_paused_rebuild_is_cancelled_after_a_question(open_page: Any, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    log_in(page)
    page.goto(PAGE)
    assert page.locator("[data-field=job_left]").inner_text() == "paused"
    assert page.locator("#imagesim-running").inner_text() == "Paused: rebuild"
    assert page.get_by_role("link", name="Pause: rebuild").is_hidden()
    assert page.get_by_role("link", name="Resume: rebuild").is_visible()
    assert fits(page)
    is_accessible(page, ".imagesim-controls")
    picture(page, f"admin-paused-{width}")
    page.goto("/admin/imagesim/job/")
    page.locator(".field-control").get_by_role("link", name="Cancel").first.click()
    assert fits(page)
    is_accessible(page, "#content-main")
    picture(page, f"admin-cancel-{width}")
    answers = page.locator("#content-main .button").all()
    assert min(each.bounding_box()["height"] for each in answers) >= 28  # not only as high as their text
    page.get_by_role("button", name="Cancel").click()
    page.locator(".messagelist .success", has_text="cancelled").wait_for()
    assert page.get_by_role("link", name="Cancel: rebuild").is_hidden()
    assert page.locator("[data-field=rebuild]").inner_text().startswith("cancelled")


@pytest.mark.usefixtures("standing_by")
@pytest.mark.parametrize("width", [768, pytest.param(1280, marks=pytest.mark.long)])
def test_an_index_on_standby_is_discarded_after_a_question(open_page: Any, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    log_in(page)
    page.goto(PAGE)
    part = page.locator("[aria-labelledby=imagesim-standby]")
    assert "imagesim-20260101000000000000-abcdef" in part.locator("[data-field=standby_entries]").inner_text()
    assert part.get_by_role("link", name="Switch to the index on standby").is_visible()
    assert fits(page)
    is_accessible(page, "[aria-labelledby=imagesim-standby]")
    picture(page, f"admin-standby-{width}")
    part.get_by_role("link", name="Discard the index on standby").click()
    assert fits(page)
    is_accessible(page, "#content-main")
    page.get_by_role("button", name="Discard the index on standby").click()
    page.locator(".messagelist .success", has_text="cancelled").wait_for()
    assert part.is_hidden()
    page.get_by_role("button", name="Rebuild the index").click()
    assert page.get_by_role("checkbox", name="Keep the new index on standby").is_visible()
    is_accessible(page, "#content-main")


@pytest.mark.usefixtures("failed")
@pytest.mark.parametrize("width", [768, pytest.param(1280, marks=pytest.mark.long)])
def test_what_failed_last_is_shown_with_its_picture(open_page: Any, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    log_in(page)
    page.goto(PAGE)
    row = page.locator(".imagesim-failures tbody tr")
    row.locator("img").scroll_into_view_if_needed()
    assert "The picture is damaged." in row.inner_text()
    assert fits(page)
    is_accessible(page, "[aria-labelledby=imagesim-failures]")
    picture(page, f"admin-failed-{width}")
    row.get_by_role("link").click()
    page.locator(".field-why", has_text="It could not be indexed: The picture is damaged.").wait_for()
