"""What a visitor with a photo sees and hears while a slow phone or a slow network works on it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

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
