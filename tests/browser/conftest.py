"""A demo shop, started by its own command, and a Chromium that fails the test on any error of a page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.missing import missing
from tools.demo import ARGUMENTS, find_chromium, running_demo
from tools.system import Failure

# A folder for a screenshot of every page: IMAGESIM_TEST_SCREENSHOTS=FOLDER
SCREENSHOTS = os.environ.get("IMAGESIM_TEST_SCREENSHOTS", "")
WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo shop has its database."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def demo(demo_folder: Path) -> Iterator[str]:
    """The address of a demo shop with its real catalogue and its real model."""
    try:
        with running_demo(demo_folder, DJANGO_SETTINGS_MODULE="tests.browser.settings") as address:
            log = (demo_folder / "log.txt").read_text()
            if "left out" in log:
                missing(log)
            yield address
    except Failure as failure:
        pytest.fail(str(failure), pytrace=False)


@pytest.fixture(autouse=True)
def whole_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A click or a key that opens a page returns when the whole page is there: Playwright itself waits for its first
    bytes, so what a test counts or looks for immediately would sometimes not be in it yet."""
    locator = pytest.importorskip("playwright.sync_api").Locator

    def then_wait(act: Callable[..., None]) -> Callable[..., None]:
        def acted(self: Any, *arguments: Any, **options: Any) -> None:
            act(self, *arguments, **options)
            self.page.wait_for_load_state()

        return acted

    for name in ("click", "press"):
        monkeypatch.setattr(locator, name, then_wait(getattr(locator, name)))


@pytest.fixture(scope="package")
def playwright() -> Iterator[Any]:
    """One for all tests in a browser: while it runs, this thread has an event loop, and Django's database tests refuse
    that."""
    with pytest.importorskip("playwright.sync_api").sync_playwright() as manager:
        yield manager


@contextmanager
def launched(playwright: Any, *, whole: bool = False, **options: Any) -> Iterator[Any]:
    """A Chromium, see :func:`~tools.demo.find_chromium`; the options are those of Playwright's ``launch()``."""
    program = find_chromium(whole=whole)
    if program is None:
        missing("chromium is not installed")
    browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, **options)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def chromium(playwright: Any) -> Iterator[Any]:
    with launched(playwright) as browser:
        yield browser


@pytest.fixture
def open_page(chromium: Any, demo: str) -> Iterator[Callable[..., Any]]:
    """Open new pages on the demo; at the end, no page may have logged an error, blocked a resource or failed a
    request."""
    contexts: list[Any] = []
    errors: list[str] = []

    def opened(**options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, "base_url": demo, **options})
        context.set_default_timeout(60_000)
        contexts.append(context)
        if options.get("java_script_enabled", True):
            context.add_init_script(WATCH)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and errors.append(f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
        page.on("response", lambda answer: answer.status >= 500 and errors.append(f"{answer.status} {answer.url}"))
        page.errors = errors
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def until(page: Any, expression: str, argument: Any = None) -> None:
    """Wait until the expression is true in the page. (Playwright's own ``wait_for_function`` needs eval, which the
    policy forbids.)"""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"not within a minute: {expression} ({argument})"
        page.wait_for_timeout(50)


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    return open_page()
