"""What a visitor with a photo sees and hears while a slow phone or a slow network processes it."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import until

pytestmark = pytest.mark.timeout(600)

SLOW = """
const read = window.createImageBitmap;
window.createImageBitmap = (...given) => new Promise((done) => (window.go = done)).then(() => read(...given));
"""
"""A phone that takes long to read a photo."""


@pytest.fixture(scope="module")
def photo() -> dict[str, Any]:
    data = BytesIO()
    Image.effect_noise((300, 300), 40).convert("RGB").save(data, "JPEG")
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}


@pytest.mark.parametrize(
    ("address", "label", "text"),
    [
        ("/look/", "A photo with something you like", "Looking at your photo"),
        ("/search/", "Search with a photo", "Searching"),
    ],
)
def test_a_chosen_photo_is_acknowledged_before_it_is_read(
    page: Any, photo: dict[str, Any], address: str, label: str, text: str
) -> None:
    page.add_init_script(SLOW)
    page.goto(address)
    page.get_by_label(label).set_input_files(photo)
    page.locator("[data-imagesim-status]").get_by_text(text).wait_for()
    page.evaluate("window.go()")
    page.wait_for_url("**/look/**")


def test_the_camera_stays_open_until_it_has_a_picture(open_page: Callable[..., Any]) -> None:
    page = open_page(permissions=["camera"])
    page.goto("/look/")
    page.evaluate("""() => {
        const video = document.querySelector("video");
        for (const side of ["videoWidth", "videoHeight"]) {
            Object.defineProperty(video, side, { configurable: true, get: () => 0 });  // as until its first frame
        }
    }""")
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_role("button", name="Take this picture").click()
    assert page.locator("dialog[open]").count() == 1
    page.evaluate("""() => {
        const video = document.querySelector("video");
        delete video.videoWidth;
        delete video.videoHeight;
    }""")
    until(page, "document.querySelector('video').videoWidth > 0")
    page.get_by_role("button", name="Take this picture").click()
    page.wait_for_url("**/look/?photo=*")
    assert page.locator("dialog[open]").count() == 0


def test_a_server_that_never_answers_is_one_that_is_not_available(page: Any, photo: dict[str, Any]) -> None:
    address = "**/api/visual/look/"
    page.clock.install()
    page.route(address, lambda route: None)
    page.goto("/look/")
    page.get_by_label("A photo with something you like").set_input_files(photo)
    page.locator("[data-imagesim-results][aria-busy]").wait_for()
    page.clock.fast_forward(70_000)
    page.locator("[data-imagesim-message]").get_by_text("The search is not available").wait_for()
    page.unroute(address)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/look/?photo=*")
