"""``python -m tools.pictures [FOLDER [NAME …]]``: take the pictures of pages, by default into docs/images.

The pages are those of a separate demo shop. Needs Chromium.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tools.demo import ARGUMENTS, ROOT, find_chromium, running_demo
from tools.system import Failure, find_program, say

WIDTH, HEIGHT, SHOWN = 1280, 860, 960
"""The size of the window, and the width of the pictures, in pixels."""

VISITOR = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SEARCHES = {"running shoes": (8, 4), "white t-shirt": (6, 2), "sofa": (4, 2), "juice": (3, 3), "camera": (2, 0)}
"""What visitors search for, each with how often, and how often they follow the first hit."""


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


def preview(page: Any) -> None:
    rule(page)
    page.locator("#rule-preview").evaluate("(part) => part.scrollIntoView()")


def labels(page: Any) -> None:
    log_in(page)
    page.goto("/admin/imagesim_merchandising/labelcategories/add/")


def report(page: Any) -> None:
    visit(page.context.browser, page.url)
    log_in(page)
    for _time in range(40):  # answers are written every two seconds, and figures computed every minute
        page.goto("/admin/imagesim_insight/searchreport/words/")
        if page.locator(".insight-table tbody tr").count() == len(SEARCHES):
            return
        page.wait_for_timeout(3000)
    raise Failure("the searches are not in the report")


def visit(browser: Any, address: str) -> None:
    """Search as visitors do, some words more often than others, and follow some hits."""
    origin = "/".join(address.split("/")[:3])
    context = browser.new_context(base_url=origin, user_agent=VISITOR)
    for words, (times, clicks) in SEARCHES.items():
        for number in range(times):
            answer = context.request.get("/api/visual/search/", params={"q": words}).json()
            hits = [f"{hit['item']['model']}:{hit['item']['pk']}" for hit in answer["results"]]
            kinds = ["view", "click"] if number < clicks else ["view"]
            events = [
                {"token": answer["token"], "item": item, "position": position, "kind": kind}
                for position, item in enumerate(hits[:4])
                for kind in (kinds if position == 0 else ["view"])
            ]
            if events:
                context.request.post("/api/visual/events/", data={"events": events})
    context.close()


def work_list(page: Any) -> None:
    log_in(page)
    edit(page, "Norfolk Pine")
    cameras = page.locator("#id_category option", has_text="Camera").first.get_attribute("value")
    page.locator("#id_category").select_option(cameras)
    page.locator("[name=_save]").click()
    edit(page, "USB Cable")
    small = io.BytesIO()
    Image.effect_noise((120, 90), 80).save(small, "PNG")
    new = {"name": "cable.png", "mimeType": "image/png", "buffer": small.getvalue()}
    page.locator(".dynamic-photos input[type=file]").last.set_input_files(new)
    page.locator("[name=_save]").click()
    for _time in range(60):  # until the server has synced both
        page.goto("/admin/imagesim_insight/finding/")
        if page.locator("#result_list tbody tr").count() >= 2:
            return
        page.locator(".insight-scan button").first.click()
        page.locator(".messagelist .success").wait_for()
    raise Failure("the work list has no entries")


def edit(page: Any, name: str) -> None:
    page.goto(f"/admin/shop/product/?q={name.replace(' ', '+')}")
    page.locator("#result_list").get_by_role("link", name=name, exact=True).click()


def experiment(page: Any) -> None:
    log_in(page)
    page.goto("/admin/imagesim_experiments/experiment/")
    page.locator("#result_list").get_by_role("link", name="Report").click()
    page.locator(".experiment-chart").first.wait_for()
    page.locator("#toggle-nav-sidebar").click()  # the table needs the width
    page.evaluate("scrollTo(0, 0)")


def similar(page: Any) -> None:
    log_in(page)
    edit(page, "Great Wave Tee")
    page.get_by_role("link", name="Similar items").click()


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
    "merchandising-preview": preview,
    "merchandising-labels": labels,
    "insight-words": report,
    "admin-similar-items": similar,
    "experiment-report": experiment,
    "insight-work-list": work_list,  # last: it spoils two products
}


def take(address: str, folder: Path, names: Sequence[str]) -> None:
    from playwright.sync_api import sync_playwright

    program = find_chromium(whole=True) or find_program("chromium", package="chromium")
    with sync_playwright() as manager:
        browser = manager.chromium.launch(executable_path=program, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, base_url=address, locale="en-GB")
        context.set_default_timeout(60_000)
        page = context.new_page()
        for name in names:
            PAGES[name](page)
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
    with tempfile.TemporaryDirectory() as data:
        own = {"DJANGO_SETTINGS_MODULE": "tests.browser.settings", "DEMO_FOLDER": data, "DEBUG": "1"}
        with running_demo(Path(data), **own) as address:
            made = [sys.executable, "-m", "tools.demo_experiment"]
            subprocess.run(made, cwd=ROOT, env={**os.environ, **own}, check=True)
            take(address, folder, arguments[1:] or list(PAGES))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        say(f"error: {failure}")
        sys.exit(1)
