"""A command that is told to terminate: a real process, so that nothing else receives the signal."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

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


EXPORT = """
import os, sys, time
from pathlib import Path
import django; django.setup()
from django.core.management import execute_from_command_line
from imagesim.insight.management.commands import imagesim_ubi

def records(*arguments):
    yield {"number": 1}
    Path(os.environ["FOLDER"], "exporting").touch()
    time.sleep(60)

imagesim_ubi.KINDS["queries"] = records
execute_from_command_line(["manage.py", "imagesim_ubi", "queries"])
"""
SIGNALS = pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        pytest.param(signal.SIGTERM, 143, "Terminated.", id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, "Interrupted.", id="SIGINT", marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, 129, "Terminated.", id="SIGHUP", marks=pytest.mark.long),
    ],
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return prepare(tmp_path)


def prepare(folder: Path) -> dict[str, str]:
    (folder / "ending_settings.py").write_text(SETTINGS)
    (folder / "ending.py").write_text(EMBEDDER)
    settings = {"DJANGO_SETTINGS_MODULE": "ending_settings", "PYTHONPATH": f"{folder}:{ROOT}"}
    return {**os.environ, **settings, "FOLDER": str(folder)}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the database and the picture of a shop."""
    folder = tmp_path_factory.mktemp("filled")
    subprocess.run([sys.executable, "-c", FILL], env=prepare(folder), cwd=ROOT, check=True, timeout=100)
    return folder


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Wait until a process has made a file."""
    deadline = time.monotonic() + 50
    while not path.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)


def ignore_no_signal() -> None:
    """A shell without job control starts background processes, and everything that they start, with SIGINT ignored;
    ``nohup`` does the same with SIGHUP."""
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


@contextmanager
def running(*command: str, environment: dict[str, str], until: Path) -> Iterator[subprocess.Popen[str]]:
    """Run Python with arguments; the block begins when the file ``until`` exists."""
    with subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=ignore_no_signal,
    ) as process:
        try:
            wait_for(until, process)
            yield process
        finally:
            process.kill()


@SIGNALS
def test_a_sync_that_is_told_to_end_releases_its_leases(
    tmp_path: Path, environment: dict[str, str], filled: Path, sent: int, status: int, message: str
) -> None:
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    command = ("-m", "django", "imagesim_sync")
    held = "SELECT count(*) FROM imagesim_itemstate WHERE lease <> ''"
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database:
        with running(*command, environment=environment, until=tmp_path / "embedding") as process:
            assert database.execute(held).fetchone() == (1,)
            process.send_signal(sent)
            _output, errors = process.communicate(timeout=30)
        assert process.returncode == status
        assert errors.splitlines()[-1] == message
        assert "Traceback" not in errors
        assert database.execute(held).fetchone() == (0,)


@SIGNALS
def test_an_export_that_is_told_to_end(
    tmp_path: Path, environment: dict[str, str], sent: int, status: int, message: str
) -> None:
    with running("-c", EXPORT, environment=environment, until=tmp_path / "exporting") as process:
        process.send_signal(sent)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors, output) == (status, f"{message}\n", '{"number": 1}\n')


def test_a_second_interrupt_shows_no_traceback(tmp_path: Path, environment: dict[str, str]) -> None:
    at_the_end = """
import atexit, os, time
from pathlib import Path
def end():
    Path(os.environ["FOLDER"], "ending").touch()
    time.sleep(60)
atexit.register(end)
"""
    with running("-c", at_the_end + EXPORT, environment=environment, until=tmp_path / "exporting") as process:
        process.send_signal(signal.SIGINT)
        wait_for(tmp_path / "ending", process)
        process.send_signal(signal.SIGINT)
        _output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (-signal.SIGINT, "Interrupted.\n")


@pytest.mark.long
def test_a_command_whose_terminal_is_closed(tmp_path: Path, environment: dict[str, str]) -> None:
    """What it then writes fails, and says nothing about its end."""
    terminal, its_end = os.openpty()
    command = (sys.executable, "-c", EXPORT)
    with subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
        preexec_fn=ignore_no_signal,
    ) as process:
        try:
            os.close(its_end)
            wait_for(tmp_path / "exporting", process)
            os.close(terminal)
            process.send_signal(signal.SIGHUP)  # by the shell
            assert process.wait(30) == 129
        finally:
            process.kill()


@pytest.mark.long
def test_a_command_under_nohup_is_not_ended(tmp_path: Path, environment: dict[str, str]) -> None:
    program = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{EXPORT}"
    with running("-c", program, environment=environment, until=tmp_path / "exporting") as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)


@pytest.mark.long
def test_an_export_whose_reader_ends_first(tmp_path: Path, environment: dict[str, str]) -> None:
    """``imagesim_ubi queries | head -1``"""
    program = EXPORT.replace('yield {"number": 1}', 'yield from ({"number": n} for n in range(100_000))')
    program = f"import signal; del signal.SIGPIPE\n{program}"  # Windows does not have it
    command = f"{sys.executable} -c '{program.replace(chr(39), chr(34))}' | head -1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert (ended.stdout, ended.stderr) == ('{"number": 0}\n', "")
    assert ended.returncode == 128 + signal.SIGPIPE
