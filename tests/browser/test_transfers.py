"""What visitors paste and drag that is not a photo to search with."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

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
    """Office programs copy a cell or a paragraph as text, and also as a picture of it."""
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
    assert not page.evaluate(PASTE, ["body", picture, copied])  # there is no field for text
    page.wait_for_url("**/look/**")


def test_words_of_the_page_can_be_dragged_into_the_search_field(page: Any) -> None:
    """The whole page must not say "Drop the photo", and then that pictures from other sites cannot be read."""
    page.goto("/search/?q=white")
    field, heading = page.locator("[data-imagesim-bar-words]"), page.locator("h1")
    field.fill("")
    heading.click(click_count=3)
    start, end = heading.bounding_box(), field.bounding_box()
    page.mouse.move(start["x"] + 30, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + 60, end["y"] + 20, steps=5)
    assert page.locator("[data-imagesim-bar-overlay]").is_hidden()
    page.mouse.up()
    assert "white" in field.input_value()
    assert page.locator("[data-imagesim-bar-status]").is_hidden()


def test_a_card_that_is_dragged_is_no_picture_of_another_site(page: Any) -> None:
    page.goto("/search/?q=white")
    area = page.locator("[data-imagesim-list] a").first.bounding_box()
    page.mouse.move(area["x"] + 50, area["y"] + 50)
    page.mouse.down()
    page.mouse.move(area["x"] + 90, area["y"] + 90, steps=5)
    assert page.locator("[data-imagesim-bar-overlay]").is_hidden()
    page.mouse.up()
    assert page.locator("[data-imagesim-bar-status]").is_hidden()
    assert "q=white" in page.url
