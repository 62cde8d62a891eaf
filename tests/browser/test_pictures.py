"""The formats of visitors' photos, and the dots in the shop's own."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, features

pytestmark = pytest.mark.timeout(600)

# Keeps the type of each photo that the page sends.
SENT = """
window.sent = [];
const ask = window.fetch;
window.fetch = (url, options) => {
  if (options?.body instanceof FormData && options.body.get("image")) window.sent.push(options.body.get("image").type);
  return ask(url, options);
};
"""
# A browser that shows a format in an <img>, but cannot read it with createImageBitmap(), like Safari with HEIC.
ONLY_IMG = """
const read = window.createImageBitmap;
window.createImageBitmap = (source, ...rest) =>
  source instanceof Blob && source.type !== "image/jpeg"
    ? Promise.reject(new DOMException("no", "InvalidStateError"))
    : read(source, ...rest);
"""
DRESSED = "/product/prowl-running-shoe/"


@pytest.fixture
def source(page: Any, demo: str) -> Image.Image:
    """A picture of the shop's orange juice, as large as a photo."""
    page.goto("/product/orange-juice/")
    address = page.locator(".photos__slide img").get_attribute("src")
    image = Image.open(BytesIO(page.request.get(demo + address).body())).convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB").resize((640, 640))


def encoded(image: Image.Image, kind: str) -> bytes:
    data = BytesIO()
    image.save(data, kind)
    return data.getvalue()


def sent_by(page: Any, name: str, media_type: str, data: bytes) -> str:
    """Choose a file for the camera; return the type of what the page sent, once it has shown the results."""
    page.goto("/look/")
    file = {"name": name, "mimeType": media_type, "buffer": data}
    page.get_by_label("A photo with something you like").set_input_files(file)
    page.locator("[data-imagesim-list] .card__name").first.wait_for()
    assert page.locator("[data-imagesim-list] .card__name").first.inner_text() == "Orange Juice"
    return str(page.evaluate("window.sent[0]"))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
@pytest.mark.parametrize("browser", ["reads it", "shows it only"])
def test_a_format_that_the_browser_decodes_is_sent_as_jpeg(page: Any, source: Image.Image, browser: str) -> None:
    """Like HEIC on Apple's devices."""
    page.add_init_script(SENT)
    if browser == "shows it only":
        page.add_init_script(ONLY_IMG)
    assert sent_by(page, "photo.avif", "image/avif", encoded(source, "AVIF")) == "image/jpeg"


@pytest.mark.parametrize("media_type", ["image/heic", ""])
def test_a_format_that_the_browser_does_not_decode_is_left_to_the_server(
    page: Any, source: Image.Image, media_type: str
) -> None:
    """A real HEIC, which Chromium cannot read, with the type that an operating system gives it, or none."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    page.add_init_script(SENT)
    assert sent_by(page, "photo.heic", media_type, encoded(source, "HEIF")) in (media_type, "image/heic")
    shown = page.locator("[data-imagesim-photo]")  # as the server holds it: without it, no box can be drawn
    assert shown.evaluate("image => image.naturalWidth") == 640
    assert page.locator("[data-imagesim-chips] canvas").count() > 0


def test_a_dot_leads_to_what_is_similar_to_the_thing(page: Any) -> None:
    page.goto(DRESSED)
    dot = page.get_by_role("link", name="Similar: Shoes")
    dot.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**region_id=**")
    assert page.locator("h1").inner_text() == "Similar: Shoes"
    names = page.locator("[data-imagesim-list] .card__name").all_inner_texts()
    assert names
    assert "Prowl Running Shoe" not in names
    address = page.url
    page.reload()
    assert page.locator("[data-imagesim-list] .card__name").all_inner_texts() == names
    assert page.get_by_role("link", name="Similar: Shoes").get_attribute("aria-current") == "true"
    page.go_back()
    page.wait_for_url("**/product/**")
    box = page.locator(".imagesim-dots__area").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url(address)


def test_dots_need_no_javascript(open_page: Callable[..., Any]) -> None:
    page = open_page(java_script_enabled=False, viewport={"width": 360, "height": 740})
    page.goto(DRESSED)
    page.get_by_role("link", name="Similar: Shoes").click()
    page.wait_for_url("**region_id=**")
    assert page.locator("[data-imagesim-list] .card__name").count() > 1


def test_a_product_that_fills_its_picture_has_no_dots(page: Any) -> None:
    page.goto("/product/confetti-plimsolls-mustard/")
    assert page.locator(".imagesim-dots").count() == 0
