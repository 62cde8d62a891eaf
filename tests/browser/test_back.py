"""Pages that "back" restores from memory, with their scripts in the state in which they were left."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import launched, until

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]


@pytest.fixture(scope="module")
def chromium(playwright: Any) -> Iterator[Any]:
    """With the back/forward cache, which Playwright switches off."""
    with launched(playwright, whole=True, ignore_default_args=["--disable-back-forward-cache"]) as browser:
        yield browser


@pytest.fixture
def photo() -> dict[str, Any]:
    data = BytesIO()
    Image.effect_noise((300, 300), 40).convert("RGB").save(data, "JPEG")
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}


def go_back(page: Any) -> None:
    """Playwright's own method waits for a load, which a restored page does not have."""
    address = page.url
    page.evaluate("setTimeout(() => history.back())")
    page.wait_for_url(lambda url: url != address, wait_until="commit")
    until(page, "window.restored")


def opened(page: Any, address: str) -> None:
    page.add_init_script("addEventListener('pageshow', (event) => (window.restored = event.persisted))")
    page.goto(address)


def test_the_search_bar_no_longer_looks_at_a_photo(page: Any, photo: dict[str, Any]) -> None:
    opened(page, "/shop/drinks/")
    page.locator("[data-imagesim-bar-file]").set_input_files(photo)
    page.wait_for_url("**/look/?photo=*")
    go_back(page)
    assert page.locator("[data-imagesim-bar-status]").is_hidden()


def test_the_same_photo_can_be_chosen_again(page: Any, photo: dict[str, Any]) -> None:
    opened(page, "/")
    field = page.get_by_label("Search with a photo")
    field.set_input_files(photo)
    page.wait_for_url("**/look/?photo=*")
    go_back(page)
    assert field.input_value() == ""  # otherwise, there is no change that a script is told of
    assert page.locator("[data-imagesim-status]").inner_text() == ""
    field.set_input_files(photo)
    page.wait_for_url("**/look/?photo=*")


def test_suggestions_are_closed(page: Any) -> None:
    opened(page, "/gallery/")
    box = page.get_by_role("combobox", name="Search by words")
    box.press_sequentially("juice")
    page.get_by_role("option").first.wait_for()
    box.press("Enter")
    page.wait_for_url("**/search/?q=juice")
    go_back(page)
    assert (page.get_by_role("option").count(), box.get_attribute("aria-expanded")) == (0, "false")


def test_menus_are_closed(page: Any) -> None:
    opened(page, "/search/?q=white")
    page.locator("summary", has_text="Order").click()
    page.get_by_role("link", name="Price, lowest first").click()
    page.wait_for_url("**sort=price**")
    go_back(page)
    assert page.locator("details[data-imagesim-menu][open]").count() == 0
