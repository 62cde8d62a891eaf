"""``python -m tools.checks``: every check and every test, one after the other; fails if one of them does.

The tests run on PostgreSQL, and those that a database could break once more on SQLite. ``--lint`` leaves the tests out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tools.system import Failure, find_program, say

LINT = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "migrations": ["manage.py", "makemigrations", "--check", "--dry-run"],
}
TESTS = {
    "tests on SQLite": ["pytest", "--database-only", "-q"],
    "tests on PostgreSQL": ["pytest"],
}
ENVIRONMENT = {"tests on SQLite": {"IMAGESIM_TEST_DATABASE_URL": "sqlite://"}}


def run(name: str, arguments: list[str]) -> bool:
    say(f"\n== {name}")
    # A script by its path, a program as the module of this environment's Python.
    command = arguments if arguments[0].endswith(".py") else ["-m", *arguments]
    environment = {**os.environ, **ENVIRONMENT.get(name, {})}
    return subprocess.run([sys.executable, *command], env=environment).returncode == 0


def main(arguments: list[str]) -> int:
    steps = LINT if "--lint" in arguments else {**LINT, **TESTS}
    if steps is not LINT:
        # The browser tests drive a real one.
        find_program("chromium", package="chromium")
    results = []
    for name, command in steps.items():
        begun = time.monotonic()
        passed = run(name, command)
        results.append((name, passed, time.monotonic() - begun))
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
