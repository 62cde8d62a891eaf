"""A command that is told to end: a real process, so that nothing else receives the signal."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = """
import os
from pathlib import Path
from demo_shop.settings import *

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{os.environ['FOLDER']}/db.sqlite3"}}
MEDIA_ROOT = os.environ["FOLDER"]
IMAGESIM = {"SYNC": "manual", "EMBEDDER": {"BACKEND": "ending.SlowEmbedder"}}
"""
EMBEDDER = """
import os, time
from pathlib import Path
from imagesim.testing.embedders import PixelEmbedder

class SlowEmbedder(PixelEmbedder):
    def embed_images(self, images):
        Path(os.environ["FOLDER"], "embedding").touch()
        time.sleep(60)
"""
FILL = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.shop import picture, product
product("shoe", picture("red"))
"""


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [(signal.SIGTERM, 143, "Terminated."), (signal.SIGINT, 130, "Interrupted.")],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_sync_that_is_told_to_end_releases_its_leases(tmp_path: Path, sent: int, status: int, message: str) -> None:
    (tmp_path / "ending_settings.py").write_text(SETTINGS)
    (tmp_path / "ending.py").write_text(EMBEDDER)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "ending_settings",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "FOLDER": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", FILL], env=environment, cwd=ROOT, check=True, timeout=100)
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "imagesim_sync"], env=environment, cwd=ROOT, text=True, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 50
        while not (tmp_path / "embedding").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        with sqlite3.connect(tmp_path / "db.sqlite3") as database:
            held = "SELECT count(*) FROM imagesim_itemstate WHERE lease <> ''"
            assert database.execute(held).fetchone() == (1,)
        process.send_signal(sent)
        _output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == status
    assert errors.splitlines()[-1] == message
    assert "Traceback" not in errors
    assert database.execute(held).fetchone() == (0,)
