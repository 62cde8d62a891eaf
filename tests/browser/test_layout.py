"""How pages are laid out: nothing moves while they load, and a finger hits what it aims at."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.timeout(600)

SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const places = entry.sources.map(({ node }) => node?.className ?? "");
    if (!entry.hadRecentInput) window.shifts.push([entry.value, places]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""
SMALL = """() => [...document.querySelectorAll("[data-imagesim-view] button")]
  .filter((button) => button.checkVisibility() && button.getBoundingClientRect().height < 44)
  .map((button) => button.textContent)"""
CUT = """() => {
  const list = document.querySelector("[data-imagesim-chips]").getBoundingClientRect();
  const chip = document.querySelector("[data-imagesim-chips] [aria-pressed=true]").getBoundingClientRect();
  return Math.min(chip.top - list.top, list.bottom - chip.bottom, chip.left - list.left);
}"""
"""Pixels between a button and the edge of its list, which cuts what is outside: the outline needs five."""


@pytest.fixture(scope="module")
def white() -> dict[str, Any]:
    data = BytesIO()
    Image.new("RGB", (300, 300), "white").save(data, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": data.getvalue()}


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 900)])
def test_nothing_moves_while_a_page_loads(open_page: Callable[..., Any], width: int, height: int) -> None:
    """What only scripts show pushed down what is below it; the pictures of a product were a column at first."""
    page = open_page(viewport={"width": width, "height": height})
    page.add_init_script(SHIFTS)
    for address in ("/", "/search/?q=white", "/look/", "/product/confetti-plimsolls-mustard/"):
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(200)
        shifts = page.evaluate("window.shifts")
        assert sum(value for value, _sources in shifts) < 0.005, (address, shifts)


def test_buttons_of_a_look_are_large_enough_and_their_outline_whole(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.goto("/look/")
    assert page.get_by_text("You can also drop a photo here").is_hidden()  # not by finger
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    page.wait_for_url("**/look/?photo=*")
    page.locator("[data-imagesim-results]:not([aria-busy]) .card").first.wait_for()
    assert page.evaluate(SMALL) == []
    assert page.evaluate(CUT) >= 5


@pytest.mark.parametrize(("language", "text"), [("en", "Draw a box around"), ("de", "Ziehen Sie einen Rahmen")])
def test_of_a_whole_photo_no_box_is_to_be_moved(
    open_page: Callable[..., Any], white: dict[str, Any], language: str, text: str
) -> None:
    page = open_page(locale=language)
    page.goto("/look/")
    page.locator("input[name=image]").set_input_files(white)
    page.locator("[data-imagesim-message]").get_by_text(text).wait_for()


def test_a_long_query_leaves_room_for_its_results(page: Any) -> None:
    page.goto(f"/search/?q={'+'.join(['yellow', 'shoes'] * 30)}")
    assert page.locator("h1").bounding_box()["height"] < 200
    assert page.title().startswith("yellow shoes yellow")
