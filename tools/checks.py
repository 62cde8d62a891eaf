"""``python -m tools.checks``: every check and every test; fails if one of them does.

The tests run on PostgreSQL, and those that a database could break once more on SQLite. Two lanes share the machine:
what is shown as it goes, and beside it what starts servers of its own or mostly waits, shown when it is done.
``--lint`` leaves the tests out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tools.system import Failure, find_program, say

LINT = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "layers": ["lint-imports", "--no-logo"],
    "migrations": ["manage.py", "makemigrations", "--check", "--dry-run"],
}
BESIDE = {
    "tests under faults": ["pytest", "tests/chaos"],
    "tests under attack": ["pytest", "tests/hostile"],
    "tests on SQLite": ["pytest", "--database-only", "-q"],
    "tests in a browser": ["pytest", "tests/browser"],
}
ON_POSTGRESQL = {
    "tests on PostgreSQL": ["pytest", *(f"--ignore=tests/{name}" for name in ("chaos", "hostile", "browser"))]
}


def environment_of(name: str) -> dict[str, str]:
    """The variables of a step: lanes that run at once have a database each."""
    given = os.environ.get("IMAGESIM_TEST_DATABASE_URL", "")
    if name == "tests on SQLite":
        return {**os.environ, "IMAGESIM_TEST_DATABASE_URL": "sqlite://"}
    if name in BESIDE and given.startswith("postgres"):
        address = urlsplit(given)
        return {**os.environ, "IMAGESIM_TEST_DATABASE_URL": address._replace(path=f"{address.path}_beside").geturl()}
    return dict(os.environ)


def command_of(arguments: list[str]) -> list[str]:
    """A script or a module runs by this environment's Python; what is no module is a program installed beside it."""
    name = arguments[0]
    if name.endswith(".py"):
        return [sys.executable, *arguments]
    if find_spec(name):
        return [sys.executable, "-m", *arguments]
    return [str(Path(sys.executable).with_name(name)), *arguments[1:]]


class Step:
    """One program, started at once; what it prints goes to ``output``, else straight to the terminal."""

    def __init__(self, name: str, arguments: list[str], output: IO[bytes] | None = None) -> None:
        self.name, self.output = name, output
        self._begun = time.monotonic()
        self._process = subprocess.Popen(
            command_of(arguments),
            env=environment_of(name),
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        )

    def finish(self) -> tuple[str, bool, float]:
        """Wait; (name, whether it passed, seconds)."""
        passed = self._process.wait() == 0
        if self.output:
            say(f"\n== {self.name}")
            self.output.seek(0)
            say(self.output.read().decode(errors="replace"))
        return self.name, passed, time.monotonic() - self._begun


def run(steps: dict[str, list[str]], *, quietly: bool = False) -> list[tuple[str, bool, float]]:
    """One after the other, each shown as it goes, or when it is done."""
    results = []
    for name, arguments in steps.items():
        if quietly:
            with tempfile.TemporaryFile() as output:
                results.append(Step(name, arguments, output).finish())
        else:
            say(f"\n== {name}")
            results.append(Step(name, arguments).finish())
    return results


def run_all() -> list[tuple[str, bool, float]]:
    # The browser tests drive a real one.
    find_program("chromium", package="chromium")
    with ThreadPoolExecutor(1) as other_lane:
        beside = other_lane.submit(run, BESIDE, quietly=True)
        return run({**LINT, **ON_POSTGRESQL}) + beside.result()


def main(arguments: list[str]) -> int:
    results = run(LINT) if "--lint" in arguments else run_all()
    say("")
    for name, passed, seconds in results:
        say(f"{'passed' if passed else 'FAILED'}  {seconds:6.1f} s  {name}")
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        say(f"error: {failure}")
        sys.exit(1)
