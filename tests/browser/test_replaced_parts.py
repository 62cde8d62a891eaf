"""Pages whose parts are replaced, as by htmx and Turbo, also with copies of what was used."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import until

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

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

MORPHED = """(asks) => new Promise((done) => {
    const morph = (node, fresh) => {
        if (node.nodeType !== 1) {
            node.data = fresh.data;
            return;
        }
        const question = new CustomEvent("turbo:before-morph-element", { bubbles: true, cancelable: true });
        if (asks && !node.dispatchEvent(question)) return;
        for (const { name } of [...node.attributes]) if (!fresh.hasAttribute(name)) node.removeAttribute(name);
        for (const { name, value } of fresh.attributes) {
            if (node.getAttribute(name) !== value) node.setAttribute(name, value);
        }
        const [now, then] = [[...node.childNodes], [...fresh.childNodes]];
        now.slice(then.length).forEach((each) => each.remove());
        then.forEach((each, number) => {
            const old = now[number];
            if (!old) node.append(each);
            else if (old.nodeName === each.nodeName) morph(old, each);
            else old.replaceWith(each);
        });
    };
    const request = new XMLHttpRequest();
    request.open("GET", location.href);
    request.responseType = "document";
    request.onload = () => {
        morph(document.querySelector("main"), request.responseXML.querySelector("main"));
        setTimeout(done, 100);
    };
    request.send();
})"""
"""Gives the elements of the page the attributes and children that the server renders, as Turbo (which asks first) and
idiomorph do."""


@pytest.fixture
def photo(page: Any, demo: str) -> dict[str, Any]:
    page.goto("/product/orange-juice/")
    source = page.locator(".photos__slide img").get_attribute("src")
    data = BytesIO()
    Image.open(BytesIO(page.request.get(demo + source).body())).convert("RGB").resize((300, 300)).save(data, "JPEG")
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}


def test_the_window_forgets_what_was_replaced(page):
    """Otherwise, each page that Turbo shows would stay in memory."""
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
    """Otherwise, its button for more would request nothing."""
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
    """It must not show regions that nobody can choose."""
    page.goto("/look/")
    page.locator("[data-imagesim-look] input[name=image]").set_input_files(photo)
    page.locator("[data-imagesim-chips] button").first.wait_for()
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()
    page.evaluate("history.replaceState(null, '', '/look/')")  # otherwise, it shows the photo again
    page.evaluate(COPIED, "[data-imagesim-look]")
    assert page.locator("[data-imagesim-start]").is_visible()
    assert page.locator("[data-imagesim-view]").is_hidden()


def test_a_copy_of_more_results_has_them_once(page):
    """Otherwise, each "back" of Turbo would add a page to those that its copy already has."""
    page.goto("/search/?q=a")
    cells = page.locator("[data-imagesim-list] > li")
    first = cells.count()
    page.get_by_role("link", name="Show more").click()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length > count", first)
    both = cells.count()
    page.evaluate(COPIED, "[data-imagesim-search]")
    page.wait_for_timeout(500)
    assert cells.count() == both


@pytest.mark.parametrize("asks", [True, False], ids=["Turbo", "idiomorph"])
def test_a_morphed_look_has_its_photo(page, photo, asks):
    """Otherwise, the page of results would be the one without a photo, and its buttons would do nothing."""
    page.goto("/look/")
    page.locator("[data-imagesim-look] input[name=image]").set_input_files(photo)
    chips = page.locator("[data-imagesim-chips] button")
    chips.first.wait_for()
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()
    names = chips.all_inner_texts()
    searches: list[str] = []
    page.on("request", lambda request: request.method == "POST" and "/look/" in request.url and searches.append(""))
    page.evaluate(MORPHED, asks)
    chips.last.wait_for()
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()
    assert chips.all_inner_texts() == names
    assert len(searches) == (0 if asks else 1)
    page.get_by_role("button", name="Another photo").click()
    assert page.locator("[data-imagesim-start]").is_visible()
    assert page.locator("[data-imagesim-script]").first.is_visible()


def without_look(route: Any) -> None:
    """Answer with a page that shows the results itself."""
    answer = route.fetch()
    route.fulfill(response=answer, body=re.sub(r' data-look="[^"]*"', "", answer.text()))


@pytest.mark.parametrize("asks", [True, pytest.param(False, marks=pytest.mark.long)], ids=["Turbo", "idiomorph"])
def test_a_morphed_search_has_its_photo(page, photo, asks):
    page.route(lambda url: url.endswith("/search/") and "/api/" not in url, without_look)
    page.goto("/search/")
    with page.expect_request("**/api/visual/search/") as asked:
        page.locator("[data-imagesim-search] input[name=image]").set_input_files(photo)
    assert b'name="region"\r\n\r\nauto\r\n' in asked.value.post_data_buffer
    page.locator("[data-imagesim-list] > li").first.wait_for()
    page.evaluate(MORPHED, asks)
    page.locator("[data-imagesim-list] > li").first.wait_for()
    assert page.locator("[data-imagesim-preview]").is_visible()
    page.get_by_role("button", name="Remove the photo").click()
    assert page.locator("[data-imagesim-preview]").is_hidden()
