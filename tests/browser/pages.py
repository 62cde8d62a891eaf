"""What tests of several pages do: log in, open a product, and check the state of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import SCREENSHOTS

ONLY_VIOLATIONS = {"resultTypes": ["violations"]}
"""Of axe, which otherwise describes every element that passed: a third of its time."""


def log_in(page: Any) -> None:
    page.goto("/admin/")
    page.locator("#id_username").fill("admin")
    page.locator("#id_password").fill("admin")
    page.locator("[type=submit]").click()
    page.locator("#user-tools").wait_for()


def edit(page: Any, name: str) -> None:
    """Open the page of a product in the admin."""
    page.goto(f"/admin/shop/product/?q={name.replace(' ', '+')}")
    page.locator("#result_list").get_by_role("link", name=name, exact=True).click()


def is_accessible(page: Any, part: str) -> None:
    """Check our own part: Django's pages are Django's."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
    options = {"runOnly": tags, "preload": False}  # preloading would add a style to the page
    found = axe.run(page, context={"include": [[part]]}, options=options | ONLY_VIOLATIONS)
    assert found.violations_count == 0, found.generate_report()


def fits(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"), full_page=True)
