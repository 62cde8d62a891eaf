"""Changes to products in the admin appear in the results."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.pages import edit

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def admin(page: Any) -> Any:
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("admin")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Products", exact=True).wait_for()
    return page


def save(page: Any) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator(".messagelist .success").wait_for()


def similar_products(page: Any, slug: str) -> list[str]:
    assert page.goto(f"/product/{slug}/").ok
    return list(page.locator(".imagesim-similar .card__name").all_inner_texts())


def eventually(page: Any, slug: str, name: str, *, among: bool) -> None:
    """Wait until the background thread of the server has synced the change."""
    for _ in range(120):
        if (name in similar_products(page, slug)) is among:
            return
        page.wait_for_timeout(500)
    pytest.fail(f"{name} is {'not' if among else 'still'} among what looks like {slug}")


def test_replacing_a_photo_changes_similar_products(admin, demo):
    page = admin
    page.goto("/product/ethernet-cable/")
    source = page.locator(".photos__slide img").first.get_attribute("src")
    picture = page.request.get(demo + source).body()
    before = similar_products(page, "ethernet-cable")
    assert before[0] != "Hard Drive", before
    edit(page, "Hard Drive")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "cable.webp", "mimeType": "image/webp", "buffer": picture}
    )
    save(page)
    for _ in range(120):
        after = similar_products(page, "ethernet-cable")
        if after[0] == "Hard Drive":
            break
        page.wait_for_timeout(500)
    assert after[0] == "Hard Drive", after


def test_changes_of_name_and_stock_appear(admin):
    page = admin
    assert "Sea Monster Last" in similar_products(page, "sea-monster-strong")
    edit(page, "Sea Monster Last")
    page.get_by_label("Name:", exact=True).fill("Sea Monster First")
    save(page)
    assert "Sea Monster First" in similar_products(page, "sea-monster-strong")
    edit(page, "Sea Monster First")
    page.get_by_label(re.compile("^In stock")).fill("0")
    save(page)
    eventually(page, "sea-monster-strong", "Sea Monster First", among=False)


def test_a_deleted_product_disappears_at_once(admin):
    page = admin
    assert "Matured Red" in similar_products(page, "vineyard-white")
    edit(page, "Matured Red")
    page.locator(".submit-row .deletelink").click()
    page.get_by_role("button", name=re.compile("Yes")).click()
    page.locator(".messagelist .success").wait_for()
    assert "Matured Red" not in similar_products(page, "vineyard-white")
