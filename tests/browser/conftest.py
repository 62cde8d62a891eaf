"""A demo shop, started by its own command, and a Chromium that fails the test on any error of a page."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.missing import missing

START_SECONDS = 400
# A folder for a screenshot of every page: IMAGESIM_TEST_SCREENSHOTS=FOLDER
SCREENSHOTS = os.environ.get("IMAGESIM_TEST_SCREENSHOTS", "")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a demo shop with its real catalogue and its real model."""
    folder = tmp_path_factory.mktemp("demo")
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("IMAGESIM_", "DJANGO_"))},
        "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
        "DEMO_FOLDER": str(folder),
        "PYTHONUNBUFFERED": "1",
    }
    for name in ("DATABASE_URL", "CELERY_BROKER_URL", "ELASTICSEARCH_URL", "MEDIA_ROOT"):
        environment.pop(name, None)
    log = folder / "log.txt"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--port", str(port)],
            cwd=Path(__file__).parent.parent.parent,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        address = f"http://127.0.0.1:{port}/"
        deadline = time.monotonic() + START_SECONDS
        while f"imagesim demo ready: {address}" not in log.read_text():
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the demo did not start:\n{log.read_text()}", pytrace=False)
            time.sleep(0.2)
        if "left out" in log.read_text():
            missing(log.read_text())
        yield address.rstrip("/")
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One per module: while Playwright runs, this thread has an event loop, and Django's database tests refuse that."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        missing("chromium is not installed")
    with playwright.sync_playwright() as manager:
        browser = manager.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, demo: str) -> Iterator[Callable[..., Any]]:
    """Open new pages on the demo; at the end no page may have logged an error, blocked a resource or failed a
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
