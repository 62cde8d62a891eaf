"""How pages are laid out: nothing moves while they load, and a finger hits what it aims at."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import until
from tests.browser.pages import fits, log_in
from tools.demo import ARGUMENTS, find_chromium

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
SMALL = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")]
  .filter((each) => each.checkVisibility({ visibilityProperty: true }))
  .filter((each) => !each.closest(".skip, .bottom li")) // out of sight; in a sentence
  .map((each) => (each.matches("[type=checkbox]") && each.closest("label")) || each)
  .filter((each) => each.getBoundingClientRect().height < (each.matches(".tile__link") ? 25 : 44)) // all of its tile
  .map((each) => each.outerHTML)"""
CUT = """() => {
  const list = document.querySelector("[data-imagesim-chips]").getBoundingClientRect();
  const chip = document.querySelector("[data-imagesim-chips] [aria-pressed=true]").getBoundingClientRect();
  return Math.min(chip.top - list.top, list.bottom - chip.bottom, chip.left - list.left);
}"""
"""Pixels between a button and the edge of its list, which cuts what is outside: the outline needs five."""

PLACE = """() => {
  const { top, bottom } = document.querySelector("[data-imagesim-stage]").getBoundingClientRect();
  return [top, bottom, document.querySelector(".imagesim-look__stock").getBoundingClientRect().top];
}"""
COLOUR = """([selector, property]) =>
  getComputedStyle(document.querySelector(selector))[property].match(/[\\d.]+/g).map(Number)"""


def luminance(colour: list[float]) -> float:
    channels = [part / 255 for part in colour[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: list[float], other: list[float]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def white() -> dict[str, Any]:
    data = BytesIO()
    Image.new("RGB", (300, 300), "white").save(data, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": data.getvalue()}


@pytest.mark.parametrize(("width", "height"), [(360, 740), pytest.param(1280, 900, marks=pytest.mark.long)])
def test_nothing_moves_while_a_page_loads(open_page: Callable[..., Any], width: int, height: int) -> None:
    """What only scripts show must not push down what is below it, nor may the pictures of a product be a column at
    first."""
    page = open_page(viewport={"width": width, "height": height})
    page.add_init_script(SHIFTS)
    searches = ("/search/?q=white", "/search/?q=submarine")
    for address in ("/", *searches, "/look/", "/product/confetti-plimsolls-mustard/", "/gallery/"):
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(200)
        shifts = page.evaluate("window.shifts")
        assert sum(value for value, _sources in shifts) < 0.005, (address, shifts)


def test_the_gallery_is_light(open_page: Callable[..., Any]) -> None:
    """It shows every product of the demo."""
    page = open_page(viewport={"width": 1280, "height": 900}, device_scale_factor=2)
    page.goto("/gallery/")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_load_state("networkidle")
    assert page.locator("main img").count() > 60
    sizes = page.evaluate("performance.getEntries().map((entry) => [entry.name, entry.transferSize ?? 0])")
    assert 200_000 < sum(size for _name, size in sizes) < 1_500_000, sizes


@pytest.mark.long
def test_the_form_of_a_rule_is_shown_when_its_scripts_have_shaped_it(open_page: Callable[..., Any]) -> None:
    """Otherwise, all fields would be shown until a script hides those of other actions; then the pickers would come,
    and their products."""
    page = open_page()
    log_in(page)
    page.goto("/admin/imagesim_merchandising/rule/add/")
    page.locator("#id_name").fill("Two first")
    page.locator("#id_enabled").uncheck()
    page.locator("#id_action").select_option("pin")
    page.locator("#id_pins").fill("1: 1\n2: 2")
    page.locator("[name=_continue]").click(delay=100)
    page.locator(".messagelist .success").wait_for()
    page.add_init_script(SHIFTS)

    def late(route: Any) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    page.route(re.compile(r"/(rule|products|suggestions)\.js$|/rule/products/"), late)
    page.reload()
    page.locator(".field-pins .rule-chosen img[src]").nth(1).wait_for()
    page.wait_for_timeout(200)
    shifts = page.evaluate("window.shifts")
    assert sum(value for value, _sources in shifts) < 0.005, shifts


def test_buttons_of_a_look_are_large_enough_and_their_outline_whole(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.goto("/look/")
    assert page.get_by_text("You can also drop a photo here").is_hidden()  # not by finger
    assert page.evaluate(SMALL) == []
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    page.locator("[data-imagesim-results]:not([aria-busy]) .card").first.wait_for()
    assert page.evaluate(SMALL) == []
    assert page.evaluate(CUT) >= 5


@pytest.mark.parametrize(("width", "height"), [(360, 740), pytest.param(1280, 900, marks=pytest.mark.long)])
def test_a_look_stands_still_when_its_regions_come(open_page: Callable[..., Any], width: int, height: int) -> None:
    """Neither because of a status of two lines nor because of the buttons of the regions."""
    page = open_page(viewport={"width": width, "height": height})
    page.goto("/look/")
    asked: list[Any] = []
    page.route("**/api/visual/look/", lambda route: asked.append(route))
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    until(page, "document.querySelector('[data-imagesim-photo]').naturalWidth > 0")
    while not asked:
        page.wait_for_timeout(20)
    before = page.evaluate(PLACE)
    asked[0].continue_()
    page.wait_for_url("**/look/?photo=*")
    page.locator("[data-imagesim-results]:not([aria-busy]) .card").first.wait_for()
    assert page.evaluate(PLACE) == pytest.approx(before, abs=1)


def test_a_finger_hits_what_it_aims_at(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    for address in (
        "/product/box-logo-hoodie/",
        "/gallery/instant-camera/",
        "/search/?q=submarine",
        "/shop/drinks/?colour=red",
    ):
        page.goto(address)
        assert page.evaluate(SMALL) == [], address
    current = page.locator(".departments [aria-current]").bounding_box()
    assert current["x"] + current["width"] <= 360  # the last department must not be out of sight


def test_the_keys_of_a_box_are_explained_at_400_percent(open_page: Callable[..., Any]) -> None:
    """On a narrow screen they are shown only when the keyboard is used: otherwise, the first hits have that space."""
    page = open_page(viewport={"width": 320, "height": 256})
    page.goto("/look/")
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    page.locator("[data-imagesim-results]:not([aria-busy]) .card").first.wait_for()
    keys = page.get_by_text("Shift and arrow keys resize it")
    assert keys.is_hidden()
    page.locator("[data-imagesim-draw]").focus()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.matches('[data-imagesim-box]')")
    assert keys.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_focus_and_fields_stand_out(open_page: Callable[..., Any], scheme: str) -> None:
    """WCAG 1.4.11, which axe does not check: for instance, a gold outline on cream would fail it."""
    page = open_page(color_scheme=scheme)
    page.goto("/search/")
    page.locator(".brand").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    paper = page.evaluate(COLOUR, ["body", "backgroundColor"])
    assert contrast(page.evaluate(COLOUR, [".brand", "outlineColor"]), paper) >= 3
    for field in (".imagesim-bar__form", ".imagesim-search__text", "select"):
        colour = page.evaluate(COLOUR, [field, "borderTopColor"])
        assert contrast(colour, paper) >= 3, field
        assert contrast(colour, page.evaluate(COLOUR, [field, "backgroundColor"])) >= 3, field


@pytest.mark.long
def test_a_chosen_file_is_named_only_where_no_script_shows_the_photo(open_page: Callable[..., Any]) -> None:
    for scripts in (True, False):
        page = open_page(java_script_enabled=scripts)
        page.goto("/look/")
        colour = page.evaluate(COLOUR, ["input[name=image]", "color"])
        assert (colour[3:] == [0]) is scripts, colour


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "Draw a box around"), pytest.param("de", "Ziehen Sie einen Rahmen", marks=pytest.mark.long)],
)
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


def test_no_gap_below_a_look_without_scripts(open_page: Callable[..., Any]) -> None:
    """The photo spans more rows than there are sections; if each empty one had a gap, this would be a third of a screen
    in all."""
    page = open_page(java_script_enabled=False)
    page.goto("/look/?sample=clothing")
    last = page.locator(".imagesim-look__section").last.bounding_box()
    whole = page.locator(".imagesim-look__server").bounding_box()
    assert whole["y"] + whole["height"] == pytest.approx(last["y"] + last["height"], abs=1)


@pytest.mark.long
def test_pages_follow_the_text_size_of_the_browser(chromium: Any, demo: str) -> None:
    """If texts had a size in pixels, and pixels decided what fits side by side, pages would be wider than the
    window."""
    large = "--blink-settings=defaultFontSize=32"
    browser = chromium.browser_type.launch(executable_path=find_chromium(), args=[*ARGUMENTS, large])
    try:
        for width in (360, 768):
            page = browser.new_page(base_url=demo, viewport={"width": width, "height": 900}, locale="de")
            for address in ("/", "/search/?q=white", "/look/", "/product/box-logo-hoodie/", "/shop/drinks/"):
                page.goto(address)
                assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") == 32
                assert fits(page), (address, width)
    finally:
        browser.close()


def test_what_is_chosen_stands_out_in_forced_colours(open_page: Callable[..., Any]) -> None:
    """Not every department must be underlined, nor every picture framed; a choice that only has a background must be
    marked."""
    page = open_page(forced_colors="active")
    lines = """(list) => [...document.querySelectorAll(`${list} a, ${list} button`)].map((each) => {
      const { borderBottomColor, borderBottomWidth } = getComputedStyle(each);
      return [each.hasAttribute("aria-current"), borderBottomColor + borderBottomWidth];
    })"""
    for address, part in (
        ("/shop/shoes/", ".departments"),
        ("/shop/shoes/", ".pills"),
        ("/product/confetti-plimsolls-mustard/", ".photos__thumbs"),
        ("/product/box-logo-hoodie/", ".swatches"),
        ("/", ".bottom form"),
    ):
        page.goto(address)
        page.locator(part).first.wait_for()
        found = page.evaluate(lines, part)
        (chosen,) = {line for is_chosen, line in found if is_chosen}
        assert chosen not in {line for is_chosen, line in found if not is_chosen}, (part, found)


def test_a_printed_page_has_results_and_no_controls(page: Any) -> None:
    page.goto("/search/?q=white")
    page.emulate_media(media="print")
    for control in (".imagesim-bar", ".imagesim-refine", ".imagesim-find-similar", ".search__filters"):
        assert page.locator(control).first.is_hidden(), control
    cards = page.locator(".card__name")
    first, fourth = (cards.nth(place).bounding_box()["y"] for place in (0, 3))
    assert fourth == pytest.approx(first, abs=1)


def test_the_buttons_of_a_photo_are_in_one_line_on_a_phone(open_page: Callable[..., Any]) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, locale="de")
    page.goto("/look/")
    page.get_by_role("link", name=re.compile("T-Shirt")).first.click()
    page.locator("[data-imagesim-results]:not([aria-busy]) .card").first.wait_for()
    draw, another = (page.locator(f"[data-imagesim-{name}]").bounding_box() for name in ("draw", "another"))
    assert draw["y"] == another["y"]
