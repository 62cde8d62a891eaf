"""Pages whose parts are replaced, as by htmx and Turbo, also by copies of what was used."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import until

pytestmark = pytest.mark.timeout(600)

COUNTED = """(() => {
    window.listeners = 0;
    for (const target of [document, window]) {
        const add = target.addEventListener;
        target.addEventListener = (...given) => {
            window.listeners += 1;
            add.apply(target, given);
        };
    }
})()"""
COPIED = """async (selector) => {
    const used = document.querySelector(selector);
    const copy = used.cloneNode(true);
    for (const field of copy.querySelectorAll("[type=file]")) field.value = ""; // htmx keeps the text of the page only
    used.replaceWith(copy);
    await new Promise((done) => setTimeout(done, 100));
}"""


@pytest.fixture
def photo(page: Any, demo: str) -> dict[str, Any]:
    page.goto("/product/orange-juice/")
    source = page.locator(".photos__slide img").get_attribute("src")
    data = BytesIO()
    Image.open(BytesIO(page.request.get(demo + source).body())).convert("RGB").resize((300, 300)).save(data, "JPEG")
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}


def test_the_window_forgets_what_was_replaced(page):
    """Each page that Turbo showed stayed in memory."""
    page.add_init_script(COUNTED)
    page.goto("/search/")
    until(page, "document.querySelector('[data-imagesim-bar] [role=combobox]')")
    counts = []
    for _round in range(2):
        for selector in ("[data-imagesim-search]", "[data-imagesim-bar]"):
            page.evaluate(COPIED, selector)
        counts.append(page.evaluate("window.listeners"))
    assert counts[0] == counts[1]


def test_a_copy_of_a_used_search_has_its_results_only(page, photo):
    """Its button for more asked for nothing at all."""
    page.goto("/search/")
    page.evaluate("delete document.querySelector('[data-imagesim-search]').dataset.look")
    page.locator("[data-imagesim-search] input[name=image]").set_input_files(photo)
    cells = page.locator("[data-imagesim-list] > li")
    cells.first.wait_for()
    shown = cells.count()
    page.evaluate(COPIED, "[data-imagesim-search]")
    assert cells.count() == shown
    for name in ("preview", "clear", "more"):
        assert page.locator(f"[data-imagesim-{name}]").is_hidden()


def test_a_copy_of_a_used_look_begins_anew(page, photo):
    """It showed regions that nobody could choose."""
    page.goto("/look/")
    page.locator("[data-imagesim-look] input[name=image]").set_input_files(photo)
    page.locator("[data-imagesim-chips] button").first.wait_for()
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()
    page.evaluate("history.replaceState(null, '', '/look/')")  # else it shows the photo again
    page.evaluate(COPIED, "[data-imagesim-look]")
    assert page.locator("[data-imagesim-start]").is_visible()
    assert page.locator("[data-imagesim-view]").is_hidden()


def test_a_copy_of_more_results_has_them_once(page):
    """Each "back" of Turbo added a page to those that its copy has."""
    page.goto("/search/?q=a")
    cells = page.locator("[data-imagesim-list] > li")
    first = cells.count()
    page.get_by_role("link", name="Show more").click()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length > count", first)
    both = cells.count()
    page.evaluate(COPIED, "[data-imagesim-search]")
    page.wait_for_timeout(500)
    assert cells.count() == both
