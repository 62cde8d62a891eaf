"""The admin's page "Visual index" updates itself during a rebuild, without a reload."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser import conftest
from tests.browser.pages import is_accessible

pytestmark = pytest.mark.timeout(600)

PAGE = "/admin/imagesim/visualindex/"


@pytest.fixture
def admin(page: Any) -> Any:
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("admin")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Visual index", exact=True).wait_for()
    return page


def field(page: Any, name: str) -> Any:
    return page.locator(f"[data-field={name}]")


def until(page: Any, name: str, pattern: str) -> None:
    """Wait for a text of the page, without a reload."""
    field(page, name).filter(has_text=re.compile(pattern)).wait_for(timeout=120_000)


def test_a_rebuild_is_started_and_its_progress_shown(admin: Any) -> None:
    page = admin
    page.get_by_role("link", name="Visual index", exact=True).click()
    until(page, "coverage", r"^100 %$")
    before = field(page, "index_name").inner_text()
    page.get_by_role("button", name="Rebuild the index").click()
    page.get_by_text("twice the space").wait_for()
    page.get_by_role("button", name="Rebuild the index").click()
    page.locator(".messagelist .success").wait_for()
    page.evaluate("window.sameDocument = true")

    until(page, "rebuild", "^done")
    conftest.until(page, "(old) => document.querySelector('[data-field=index_name]').textContent !== old", before)

    assert page.evaluate("window.sameDocument") is True
    assert field(page, "index_entries").inner_text() == field(page, "indexed").inner_text()
    until(page, "coverage", r"^100 %$")


def test_its_breadcrumbs_look_like_those_of_the_other_pages(admin: Any) -> None:
    """Django 6.1 styles other elements than Django 5.2."""

    def look(page: str) -> Any:
        admin.goto(page)
        return admin.locator(".breadcrumbs").evaluate("""(breadcrumbs) => {
          const link = breadcrumbs.querySelector("a");
          const box = link.getBoundingClientRect();
          const { color, backgroundColor } = getComputedStyle(breadcrumbs);
          const linked = getComputedStyle(link);
          return [color, backgroundColor, box.x, box.width, linked.color, linked.fontSize];
        }""")

    assert look(PAGE) == look("/admin/imagesim/job/")


def test_the_page_is_accessible(admin: Any) -> None:
    admin.goto(PAGE)
    is_accessible(admin, "#content-main")  # its links differ from the text next to them by more than a colour


def test_the_page_fits_a_phone_in_german(admin: Any) -> None:
    admin.set_viewport_size({"width": 360, "height": 740})
    admin.set_extra_http_headers({"Accept-Language": "de"})
    admin.goto(PAGE)
    admin.get_by_role("region", name="Nach Seite").wait_for()
    assert admin.evaluate("document.documentElement.scrollWidth") <= 360
    show = (
        """(element, address) => { element.closest("[data-shown]").hidden = false; element.textContent = address; }"""
    )
    for name in ("index_error", "job_left"):
        admin.locator(f"[data-field={name}]").evaluate(show, f"https://storage.test/{'a' * 200}.jpg")
        assert admin.evaluate("document.documentElement.scrollWidth") <= 360, name


def test_reindexing_a_product_from_the_admin_list_of_the_shop(admin: Any) -> None:
    page = admin
    page.goto("/admin/shop/product/")
    assert page.locator("td.field-visual_search").first.inner_text() == "indexed"
    page.locator("#result_list input.action-select").first.check()
    page.locator("select[name=action]").select_option(label="Reindex selected products for visual search")
    page.locator("#changelist .actions [type=submit]").click()
    page.locator(".messagelist .success").filter(has_text="1 item is queued for reindexing").wait_for()

    page.goto(PAGE)

    until(page, "pending", "^0$")
    until(page, "coverage", r"^100 %$")


def test_the_list_of_items_is_searched_by_name(admin: Any) -> None:
    page = admin
    page.goto("/admin/imagesim/itemstate/?q=Great+Wave+Tee")
    page.locator("#result_list .field-state a").first.click()

    image = page.locator("img.imagesim-thumbnail").first
    image.scroll_into_view_if_needed()
    conftest.until(page, "(img) => img.naturalWidth > 0", image.element_handle())


@pytest.mark.long
def test_a_session_that_has_ended_is_not_taken_for_a_server_that_is_down(admin: Any) -> None:
    page = admin
    page.clock.install()
    page.goto(PAGE)
    until(page, "coverage", "%")
    cookies = page.context.cookies()
    page.context.clear_cookies()
    page.clock.fast_forward(10_000)
    page.get_by_role("alert").filter(has_text="no longer logged in").wait_for(timeout=30_000)
    assert page.locator("[data-offline]").is_hidden()
    page.context.add_cookies(cookies)  # the user has logged in again in another tab
    page.clock.fast_forward(60_000)
    page.locator("[data-logged-out]").wait_for(state="hidden", timeout=30_000)


@pytest.mark.long
def test_an_unreachable_server_is_reported(admin: Any) -> None:
    page = admin
    page.clock.install()
    page.goto(PAGE)
    until(page, "coverage", "%")
    assert not page.locator("[data-offline]").is_visible()
    # Answered by the test: an aborted request would count as an error of the page.
    page.route(
        "**/visualindex/status/", lambda route: route.fulfill(status=200, body="<html>", content_type="text/html")
    )
    page.clock.fast_forward(10_000)
    page.get_by_role("alert").filter(has_text="does not respond").wait_for(timeout=30_000)
    page.unroute("**/visualindex/status/")
    page.clock.fast_forward(60_000)
    page.locator("[data-offline]").wait_for(state="hidden", timeout=30_000)
