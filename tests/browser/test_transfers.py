"""What visitors paste and drag that is no photo to search with."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.timeout(600)

PASTE = """([selector, picture, text]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(picture)], "image.png", { type: "image/png" }));
    for (const [type, value] of Object.entries(text)) transfer.setData(type, value);
    const event = new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
    return document.querySelector(selector).dispatchEvent(event);
}"""
"""Whether the browser may paste, which it does not do for an event of a script."""


@pytest.fixture(scope="module")
def picture() -> list[int]:
    data = BytesIO()
    Image.new("RGB", (200, 200), "white").save(data, "PNG")
    return list(data.getvalue())


@pytest.mark.parametrize(
    ("address", "field"), [("/shop/drinks/", "[data-imagesim-bar-words]"), ("/search/", ".imagesim-search__text")]
)
def test_a_text_that_brings_its_picture_along_is_pasted_as_text(
    page: Any, picture: list[int], address: str, field: str
) -> None:
    """Office programs copy a cell or a paragraph as text, and as a picture of it."""
    page.goto(address)
    copied = {"text/plain": "Orange Juice", "text/html": "<table><td>Orange Juice</td></table>"}
    assert page.evaluate(PASTE, [field, picture, copied])
    # A picture that is copied from a page comes with its HTML, too, and a file with its name.
    assert not page.evaluate(PASTE, [field, picture, {"text/html": '<img src="https://example.com/a.png">'}])
    page.wait_for_url("**/look/**")
    page.goto(address)
    assert not page.evaluate(PASTE, [field, picture, {"text/plain": "shoe.png"}])
    page.wait_for_url("**/look/**")
    page.goto(address)
    assert not page.evaluate(PASTE, ["body", picture, copied])  # there is no place for text
    page.wait_for_url("**/look/**")
