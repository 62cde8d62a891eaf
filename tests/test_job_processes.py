"""A rebuild in a separate process is cancelled, and paused and resumed, from other processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagesim.indexing import processes
from tests.processes import running, wait_until

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = """
import os
from tests.settings import *

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP"] + "/shop.sqlite3",
                         "OPTIONS": {"timeout": 60}}}
MEDIA_ROOT = os.environ["SHOP"]
IMAGESIM = {"SYNC": "manual", "SYNC_BATCH_SIZE": 1, "EMBEDDER": {"BACKEND": "imagesim.testing.embedders.PixelEmbedder"}}
"""
FILL = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.db import transaction
from imagesim.indexing.sync import sync
from tests.shop import picture, product
with transaction.atomic():
    for number in range(200):
        product(f"p{number}", picture("red", mark=number % 20))
assert sync().indexed == 200
"""
ASK = """
import django; django.setup()
import sys, time
from django.core.management import call_command
from imagesim.indexes import get_index
from imagesim.models import Job
print("ready", flush=True)
while not Job.objects.filter(status="running", done__gt=0).exists():
    time.sleep(0.05)
call_command("imagesim_jobs", sys.argv[1], "rebuild")
asked = time.monotonic()
while Job.objects.filter(status="running").exists():
    time.sleep(0.05)
job = Job.objects.order_by("-pk")[0]
print(job.status, job.done < 200, time.monotonic() - asked < 10, len(get_index().backing_indexes()), flush=True)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "job_settings.py").write_text(SETTINGS)
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "job_settings", "PYTHONPATH": path, "SHOP": str(tmp_path)}


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.skipif(sys.platform != "linux", reason="processes have no start time there")
def test_the_name_of_another_process_can_be_in_any_encoding(tmp_path: Path) -> None:
    """The system cuts it after 15 bytes, in the middle of a character."""
    program = tmp_path / ("ä" * 8)
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"]) as other:
        name = processes.current().replace(f"/{os.getpid()}/", f"/{other.pid}/")
        assert processes.has_ended(name)
        other.kill()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_running_process_notices_within_seconds(environment: dict[str, str], tmp_path: Path) -> None:
    filled = run(environment, "-c", FILL)
    assert filled.returncode == 0, filled.stderr
    logs = tmp_path / "logs"
    logs.mkdir()
    for action, outcome in {"pause": "paused True True 2", "cancel": "cancelled True True 1"}.items():
        log = logs / f"{action}.txt"
        ask = [sys.executable, "-c", ASK, action]
        with running(ask, log=log, cwd=ROOT, environment=environment) as asking:
            wait_until(lambda log=log: "ready" in log.read_text(), seconds=60, what="the process asks", logs=logs)
            rebuilt = run(environment, "-m", "django", "imagesim_rebuild")
            assert rebuilt.returncode == 1, rebuilt.stdout + rebuilt.stderr + log.read_text()
            asking.wait(60)
        assert outcome in log.read_text(), log.read_text()
        assert f"The rebuild was {outcome.split()[0]} after " in rebuilt.stderr
        if action == "pause":
            refused = run(environment, "-m", "django", "imagesim_rebuild")
            assert "is paused" in refused.stderr
            resumed = run(environment, "-m", "django", "imagesim_jobs", "resume", "rebuild")
            assert resumed.returncode == 0, resumed.stderr
            done = run(environment, "-m", "django", "imagesim_rebuild")
            assert "200 items" in done.stdout, done.stderr
    assert (
        '"differs": false' in run(environment, "-m", "django", "imagesim_status", "--check", "--format", "json").stdout
    )


CHANGE = """
import django; django.setup()
from demo_shop.shop.models import Product
from tests.shop import picture, product
for number in range(5):
    product(f"late{number}", picture("blue", mark=number))
Product.objects.filter(name="p0").first().delete()
"""
COUNT = """
import django; django.setup()
from imagesim.indexes import get_index
from imagesim.models import Job
index = get_index()
print(*sorted({index.count(backing_index=name) for name in index.backing_indexes()}), len(index.backing_indexes()))
"""
FILLED = """
import django; django.setup()
import time
from imagesim.models import Job
while not Job.objects.filter(status="running", done__gt=20).exists():
    time.sleep(0.05)
print("filling", flush=True)
"""


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_killed_process_leaves_an_index_that_still_stands_by(environment: dict[str, str], tmp_path: Path) -> None:
    filled = run(environment, "-c", FILL)
    assert filled.returncode == 0, filled.stderr
    logs = tmp_path / "logs"
    logs.mkdir()
    hold = [sys.executable, "-m", "django", "imagesim_rebuild", "--hold"]
    with running(hold, log=logs / "hold.txt", cwd=ROOT, environment=environment) as rebuilding:
        assert run(environment, "-c", FILLED).stdout == "filling\n"
        rebuilding.kill()
        rebuilding.wait(60)
    assert run(environment, "-c", CHANGE).returncode == 0
    run(environment, "-m", "django", "imagesim_sync")
    held = run(environment, "-m", "django", "imagesim_rebuild")
    assert "It is on standby" in held.stdout, held.stderr
    assert run(environment, "-c", COUNT).stdout == "204 2\n"
    assert run(environment, "-c", CHANGE.replace("late", "later").replace("p0", "p1")).returncode == 0
    run(environment, "-m", "django", "imagesim_sync")
    assert run(environment, "-c", COUNT).stdout == "208 2\n"
    assert "is on standby" in run(environment, "-m", "django", "imagesim_rebuild").stderr
    swapped = run(environment, "-m", "django", "imagesim_rebuild", "--swap")
    assert "is the active index now" in swapped.stdout, swapped.stderr
    assert run(environment, "-c", COUNT).stdout == "208 1\n"
    status = run(environment, "-m", "django", "imagesim_status", "--check", "--format", "json")
    assert '"differs": false' in status.stdout
