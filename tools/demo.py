"""A separate demo shop, and the browser that visits it: for the browser tests and the pictures of pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.system import Failure, free_port

ROOT = Path(__file__).parent.parent
START_SECONDS = 400
HEADLESS = "chromium-headless-shell"
"""A Chromium without windows, with which the tests take three quarters of the time. It has no back/forward cache."""
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
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
"""The arguments of Chromium."""
NAMED_SERVICES = ("DATABASE_URL", "CELERY_BROKER_URL", "ELASTICSEARCH_URL", "PGVECTOR_URL", "MEDIA_ROOT")


def find_chromium(*, whole: bool = False) -> str | None:
    """Return the path of an installed Chromium, if there is one; :data:`HEADLESS` comes first, unless it must be a
    ``whole`` browser."""
    return next(filter(None, map(shutil.which, PROGRAMS if whole else (HEADLESS, *PROGRAMS))), None)


@contextmanager
def running_demo(folder: Path, **environment: str) -> Iterator[str]:
    """Yield the URL of a demo shop with its real catalogue and model; its data and ``log.txt`` are in ``folder``.

    :raises Failure: if it does not start.
    """
    address, log = f"http://127.0.0.1:{(port := free_port())}", folder / "log.txt"
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("IMAGESIM_", "DJANGO_")) and name not in NAMED_SERVICES
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--port", str(port)],
            cwd=ROOT,
            env={**inherited, "DEMO_FOLDER": str(folder), "PYTHONUNBUFFERED": "1", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while f"imagesim demo ready: {address}/" not in log.read_text():
            if server.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"the demo did not start:\n{log.read_text()}")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)
