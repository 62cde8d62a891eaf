"""What other browsers do, shown in Chromium: zooming phones, hover after a tap, unknown styles, canvases of noise."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.browser.pages import fits, log_in

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def test_no_field_makes_a_phone_zoom(open_page: Callable[..., Any]) -> None:
    """Safari on a phone enlarges the page when a field with text smaller than 16 pixels is focused."""
    page = open_page(**PHONE)
    for address in ("/", "/search/?q=white", "/look/", "/shop/drinks/"):
        page.goto(address)
        sizes = page.evaluate("""() => {
          document.body.style.setProperty("font-size", "14px"); // as in other shops
          const fields = document.querySelectorAll("input:not([type=hidden], [type=file], [type=checkbox]), select");
          return [...fields].map((field) => [field.name, parseFloat(getComputedStyle(field).fontSize)]);
        }""")
        assert sizes
        assert [name for name, size in sizes if size < 16] == [], address


def test_a_tap_leaves_no_hover_behind(open_page: Callable[..., Any]) -> None:
    """Where a finger last touched, the styles of a pointer above it stay."""
    page = open_page(**PHONE)
    page.goto("/search/?q=white")
    link = page.locator(".imagesim-find-similar").first
    colours = "(link) => [getComputedStyle(link).color, getComputedStyle(link, '::before').backgroundColor]"
    before = link.evaluate(colours)
    link.hover()
    assert link.evaluate(colours) == before


def test_the_department_is_in_sight_without_scroll_initial_target(open_page: Callable[..., Any]) -> None:
    """This property does not exist in Firefox and Safari."""
    page = open_page(**PHONE)

    def without(route: Any) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace("scroll-initial-target", "unknown"))

    page.route(re.compile(r"shop\.css"), without)
    page.goto("/shop/drinks/")
    current = page.locator(".departments [aria-current]").bounding_box()
    assert current["x"] + current["width"] <= 360


def test_what_is_focused_keeps_its_shape(page: Any) -> None:
    """Chips must not become rectangles; Firefox shows the focus after a photo was chosen by mouse, too."""
    page.goto("/search/?q=white")
    radius = "getComputedStyle(document.activeElement).borderRadius"
    page.locator(".imagesim-refine__step").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.matches('.imagesim-refine__step:focus-visible')")
    assert page.evaluate(radius) == "99px"


NOISE = """
const noise = (data) => data.forEach((_, place) => (data[place] = 256 * Math.random()));
const read = CanvasRenderingContext2D.prototype.getImageData;
CanvasRenderingContext2D.prototype.getImageData = function (...area) {
  const image = read.apply(this, area);
  noise(image.data);
  return image;
};
const write = HTMLCanvasElement.prototype.toBlob;
HTMLCanvasElement.prototype.toBlob = function (...given) {
  const context = this.getContext("2d");
  context.putImageData(context.getImageData(0, 0, this.width, this.height), 0, 0);
  write.apply(this, given);
};
const ask = window.fetch;
window.fetch = (url, options) => {
  window.sent = options?.body?.get?.("image")?.size;
  return ask(url, options);
};
"""


def test_a_photo_is_sent_as_it_is_where_a_canvas_returns_noise(open_page: Callable[..., Any]) -> None:
    """As in Firefox with resistFingerprinting and in Tor Browser: a reduced photo would be noise, and nothing would be
    found."""
    page = open_page()
    page.add_init_script(NOISE)
    data = BytesIO()
    Image.effect_noise((1500, 1500), 40).convert("RGB").save(data, "JPEG")
    page.goto("/look/")
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_text("The camera cannot be used.").wait_for()
    photo = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}
    page.locator("[name=image]").set_input_files(photo)
    page.locator("[data-imagesim-chips] button").first.wait_for()
    assert page.evaluate("window.sent") == len(data.getvalue())


def test_the_scrollbar_of_colours_is_of_the_page(open_page: Callable[..., Any]) -> None:
    """Firefox would draw a white bar across a dark page."""
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.goto("/search/?q=white")
    track = page.locator(".imagesim-refine__palette").evaluate("(list) => getComputedStyle(list).scrollbarColor")
    assert track.endswith("rgba(0, 0, 0, 0)")


def test_wide_fields_of_a_rule_fit_a_tablet(open_page: Callable[..., Any]) -> None:
    """Those of Firefox are wider: the page of a rule must not be scrolled sideways, nor its fields be cut off."""
    page = open_page(viewport={"width": 768, "height": 900})
    log_in(page)
    page.goto("/admin/imagesim_merchandising/rule/add/")
    page.locator("#id_action").select_option("pin")
    form = page.locator("#rule_form").bounding_box()
    for name in ("id_pins", "id_name", "preview-words"):
        field = page.locator(f"#{name}")
        field.evaluate("(field) => { field.cols = field.size = 60 }")
        place = field.bounding_box()
        assert place["x"] + place["width"] <= form["x"] + form["width"], name
    assert fits(page)
