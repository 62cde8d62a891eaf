"""``python -m tools.pictures [FOLDER]``: take the pictures of pages that docs/images holds by default.

The pages are those of a demo shop of its own. Needs Chromium.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tools.demo import ARGUMENTS, ROOT, find_chromium, running_demo
from tools.system import Failure, find_program, say

WIDTH, HEIGHT, SHOWN = 1280, 860, 960
"""Of the window, and the width of the pictures, in pixels."""


def search(page: Any) -> None:
    page.goto("/search/?q=yellow+shoes")


def product(page: Any) -> None:
    page.goto("/search/?q=running+shoe")
    page.locator("main a[href^='/product/']").first.click()
    page.locator("#similar, .imagesim-similar").first.scroll_into_view_if_needed()


def look(page: Any) -> None:
    page.goto("/look/")
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    page.locator("[data-imagesim-results]:not([aria-busy=true]) img").first.wait_for()
    page.get_by_role("button", name="Top").click()
    page.wait_for_timeout(500)
    page.evaluate("scrollTo(0, 0)")


def admin(page: Any) -> None:
    log_in(page)
    page.goto("/admin/imagesim/visualindex/")


def rule(page: Any) -> None:
    log_in(page)
    page.goto("/admin/imagesim_merchandising/rule/add/")
    page.locator("#id_name").fill("Launch week")
    page.locator("#id_when").select_option("contain")
    page.locator("#id_triggers").fill("juice")
    page.locator("#id_action").select_option("pin")
    finder = page.locator(".field-pins .rule-picker").get_by_role("combobox")
    finder.fill("carrot")
    page.locator(".field-pins").get_by_role("option").first.click()
    page.locator("#preview-words").fill("juice")
    page.locator("#rule-preview-button").click()
    page.locator("#rule-preview .rule-sides").wait_for()
    page.locator(".field-pins").evaluate("(row) => row.scrollIntoView()")


def log_in(page: Any) -> None:
    page.goto("/admin/")
    if page.locator("#id_username").count():
        page.locator("#id_username").fill("admin")
        page.locator("#id_password").fill("admin")
        page.locator("[type=submit]").click()


PAGES: dict[str, Callable[[Any], None]] = {
    "search-by-words": search,
    "similar-products": product,
    "shop-the-look": look,
    "admin-index": admin,
    "merchandising-rule": rule,
}


def take(address: str, folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    program = find_chromium() or find_program("chromium", package="chromium")
    with sync_playwright() as manager:
        browser = manager.chromium.launch(executable_path=program, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, base_url=address, locale="en-GB")
        context.set_default_timeout(60_000)
        page = context.new_page()
        for name, show in PAGES.items():
            show(page)
            page.wait_for_load_state("networkidle")
            shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shown.resize((SHOWN, SHOWN * HEIGHT // WIDTH), Image.Resampling.LANCZOS).save(
                folder / f"{name}.webp", quality=75, method=6
            )
            say(f"{folder / name}.webp")
        browser.close()


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, running_demo(Path(data), DEBUG="1") as address:
        take(address, folder)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        say(f"error: {failure}")
        sys.exit(1)
