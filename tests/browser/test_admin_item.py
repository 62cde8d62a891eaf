"""The admin of a product: similar items next to it, and what is said after a save with a bad picture."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.browser.pages import edit, fits, is_accessible, log_in, picture

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("width", [768, pytest.param(1280, marks=pytest.mark.long)])
def test_similar_items_of_a_product(open_page, width) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    log_in(page)
    edit(page, "Great Wave Tee")
    page.get_by_role("link", name="Similar items").click()
    first = page.locator(".imagesim-cards li").first
    first.locator("img").scroll_into_view_if_needed()
    assert "% relevant" in first.inner_text()
    assert fits(page)
    is_accessible(page, "#content-main")
    picture(page, f"admin-similar-{width}")
    name = first.get_by_role("link").inner_text()
    first.get_by_role("link").click()
    assert page.locator("#id_name").input_value() == name
    page.goto("/admin/shop/product/")
    page.locator("td.field-visual_search a").first.click()
    page.locator(".field-why").wait_for()


def test_a_save_with_a_bad_picture_says_so(open_page) -> None:
    page = open_page()
    log_in(page)
    edit(page, "Less Is Mo’ Tee")
    assert fits(page)  # with the long names of its files
    edit(page, "USB Cable")
    small = io.BytesIO()
    Image.effect_noise((120, 90), 80).save(small, "PNG")
    page.locator(".dynamic-photos input[type=file]").last.set_input_files(
        {"name": "small.png", "mimeType": "image/png", "buffer": small.getvalue()}
    )
    page.get_by_role("button", name="Save and continue editing").click()
    said = page.locator(".messagelist .warning")
    said.wait_for()
    assert "120 × 90 pixels" in said.inner_text()
    page.locator(".has_original input[name$=DELETE]").last.check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator(".messagelist .success").wait_for()
    assert page.locator(".messagelist .warning").count() == 0
