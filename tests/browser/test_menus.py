"""The menus of brands and orders."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import until

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

OPEN = ".imagesim-refine__group[open]"


@pytest.fixture
def menu(page: Any) -> Any:
    """An open menu."""
    page.goto("/search/?q=white")
    summary = page.locator(".imagesim-refine__group summary").first
    summary.click()
    page.locator(OPEN).wait_for()
    return summary


def test_escape_closes_a_menu(page: Any, menu: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate(f"document.activeElement.matches('{OPEN} a')")
    page.keyboard.press("Escape")
    assert page.locator(OPEN).count() == 0
    assert menu.evaluate("summary => summary === document.activeElement")


def test_a_click_elsewhere_closes_a_menu(page: Any, menu: Any) -> None:
    page.locator("h1").click()
    assert page.locator(OPEN).count() == 0
    menu.click()
    assert page.locator(OPEN).count() == 1
    page.locator(f"{OPEN} a").first.click()  # one of its choices is followed
    page.wait_for_url("**brand=**")


def test_a_menu_that_the_keyboard_leaves_closes(page: Any, menu: Any) -> None:
    for _choice in page.locator(f"{OPEN} a").all():
        page.keyboard.press("Tab")
    assert page.locator(OPEN).count() == 1
    page.keyboard.press("Tab")
    assert page.locator(OPEN).count() == 0


def test_a_menu_at_the_edge_of_the_page_is_not_cut_off(page: Any) -> None:
    page.goto("/search/?q=white")
    page.locator(".imagesim-refine__group").first.evaluate(
        "group => (group.style.marginInlineStart = 'auto', group.parentElement.append(group))"
    )
    page.locator(".imagesim-refine__group summary").last.click()
    right = f"document.querySelector('{OPEN} ul').getBoundingClientRect().right"
    until(page, f"{right} <= document.documentElement.clientWidth")
