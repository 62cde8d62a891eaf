"""The facets of a look: menus with counts, by pointer and by keyboard, that stay in the URL of the page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.browser.conftest import until
from tests.browser.test_shop_the_look import REGION, open_sample, results, take_screenshot, wait_for_results
from tests.browser.test_shopper import assert_accessible

pytestmark = pytest.mark.timeout(600)

WIDTHS = [(360, 740), pytest.param(768, 1024, marks=pytest.mark.long), (1280, 900)]
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value);
}).observe({ type: "layout-shift" });
"""
MENU = "[data-imagesim-facet=colour]"


def choices(page: Any, facet: str = "colour") -> dict[str, int | None]:
    """Return the count of each value in a menu; None if it has no count."""
    found = page.locator(f"[data-imagesim-facet={facet}] label").all_text_contents()
    named = (re.fullmatch(r"\s*(.*?) ?(\d*)", text) for text in found)
    return {each[1]: int(each[2]) if each[2] else None for each in named if each}


def choose(page: Any, value: str) -> None:
    """Click the name of a value, in the open menu, and wait for the results."""
    with page.expect_request(REGION):
        page.locator(f"{MENU} ul").get_by_text(value, exact=True).click()
    wait_for_results(page)


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_narrowing_the_results_by_colour(open_page, width, height):
    page = open_page(viewport={"width": width, "height": height})
    page.add_init_script(SHIFTS)
    open_sample(page, "white T-shirt")
    heading = page.locator(f"{MENU} > summary")
    assert heading.inner_text() == "Colour"
    assert not page.locator("[data-imagesim-facet=brand]").is_visible()  # all of them are of one brand
    every, offered = results(page), choices(page)
    assert len(offered) > 1
    assert sum(offered.values()) <= len(every)
    page.evaluate("window.shifts.length = 0")
    heading.click()
    for value in list(offered)[:2]:  # the second in place of the first
        choose(page, value)
        assert len(results(page)) >= offered[value]  # variants in this colour, of what was shown in another
        assert choices(page) == offered
        assert heading.inner_text() == value
        assert heading.get_attribute("aria-label") == f"Colour: {value}"
        assert page.url.endswith(f"&colour={value}")
        assert page.locator(f"{MENU} :checked").evaluate_all("(all) => all.map(({ value }) => value)") == [value]
        assert page.locator(f"{MENU} ul").is_visible(), "a click on a name must not close the menu"
    assert_accessible(page)
    take_screenshot(page, "facets")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert page.evaluate("window.shifts") == []
    choose(page, value)
    assert results(page) == every
    assert (heading.inner_text(), "colour" in page.url) == ("Colour", False)


def test_what_is_chosen_stays_in_another_region_and_after_a_reload(page):
    open_sample(page, "white T-shirt")
    page.locator(f"{MENU} > summary").click()
    value, count = list(choices(page).items())[-1]
    choose(page, value)
    shown = results(page)
    assert len(shown) >= count
    page.reload()
    wait_for_results(page)
    assert (results(page), choices(page)[value]) == (shown, count)
    with page.expect_request(REGION) as asked:
        page.get_by_role("button", name="Whole photo").click()
        page.get_by_label("In stock only").uncheck()
    assert f'name="colour"\r\n\r\n{value}\r\n' in asked.value.post_data
    wait_for_results(page)
    assert value in choices(page)
    assert page.locator(f"{MENU} > summary").inner_text() == value
    page.get_by_role("button", name="Another photo").click()
    assert page.url.endswith("/look/")
    assert not page.locator(MENU).is_visible()


def test_using_only_the_keyboard(page):
    open_sample(page, "white T-shirt")
    value = next(iter(choices(page)))
    page.get_by_label("In stock only").focus()
    for key in ("Tab", "Enter", "Tab"):
        page.keyboard.press(key)
    with page.expect_request(REGION):
        page.keyboard.press("Space")
    wait_for_results(page)
    focused = "({ name: document.activeElement.name, value: document.activeElement.value })"
    assert page.evaluate(focused) == {"name": "colour", "value": value}
    assert re.fullmatch("Top: [0-9]+ results?", page.locator("[data-imagesim-status]").inner_text())
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent.trim()") == value
    assert not page.locator(f"{MENU} ul").is_visible()


def test_values_are_shown_as_they_are(page):
    """A value may look like HTML, have a comma, or be called as what every object of JavaScript has."""
    values = ["<img src=x>", "Red, and blue", "constructor", "__proto__"]

    def answer(route: Any) -> None:
        facet = {"values": [{"value": value, "count": 3} for value in values]}
        found = route.fetch()
        route.fulfill(response=found, body=json.dumps(found.json() | {"facets": {"colour": facet}}))

    open_sample(page, "white T-shirt")
    page.route(REGION, answer)
    with page.expect_request(REGION):
        page.get_by_label("In stock only").uncheck()
    wait_for_results(page)
    page.locator(f"{MENU} > summary").click()
    assert choices(page) == dict.fromkeys(values, 3)
    with page.expect_request(REGION) as asked:
        page.get_by_text(values[1]).click()
    assert f'name="colour"\r\n\r\n{values[1]}\r\n' in asked.value.post_data
    wait_for_results(page)


def test_an_expired_photo_has_no_counts(page):
    """The region is searched as a picture of its own, whose facets would count other products too."""
    open_sample(page, "white T-shirt")
    page.locator(f"{MENU} > summary").click()
    value = next(iter(choices(page)))
    choose(page, value)
    gone = {"code": "photo_gone", "detail": "This photo has expired; send it again."}
    page.route(REGION, lambda route: route.fulfill(status=410, content_type="application/json", body=json.dumps(gone)))
    with page.expect_request("**/api/visual/search/") as asked:
        page.get_by_label("In stock only").uncheck()
    assert 'name="facets"' not in (asked.value.post_data or "")
    wait_for_results(page)
    assert choices(page) == {value: None}
    page.locator(f"{MENU} > summary").click()  # it was closed by the click elsewhere
    with page.expect_request("**/api/visual/search/"):
        page.locator(f"{MENU} ul").get_by_text(value, exact=True).click()
    wait_for_results(page)
    until(page, f"!document.querySelector('{MENU}').checkVisibility()")
    page.errors[:] = [error for error in page.errors if "status of 410" not in error]
