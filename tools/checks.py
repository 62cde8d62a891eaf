"""``python -m tools.checks``: run every check and every test; fail if one fails.

--lint   the checks that run no code of the project
--quick  in addition, the fast ones of the tests that need no service, on SQLite
--all    more than the daily run: also the tests marked long, with coverage and three times as many examples; all tests
         on SQLite; longer runs under attack and under faults, one with each protection off, and one that kills a node
         of a cluster; installing the distribution on each Python; the recipes with other packages; all tests, and a run
         under faults, on MariaDB

The tests run on PostgreSQL, in as many processes as there are processors. Tests of what differs between databases
(locks and transactions, the order of text, the app's own tables and SQL) run again on SQLite, and those of the write
side on MariaDB; with --all, the other tests do too. The other steps run in lanes, so that two processors are busy; the
output of all lanes but the first is shown at the end of each step.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple

from tools.demo import HEADLESS
from tools.system import Failure, find_program, say

PROCESSES = str(max(2, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)))
APART = [f"--ignore=tests/{folder}" for folder in ("browser", "chaos", "hostile")]
# Tests run in parallel, so several torch threads per process only get in each other's way: with two in each of two
# processes, tests of models take two to four times the processor time. Under faults and attacks, the shop runs with its
# defaults.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SQLITE = {"IMAGESIM_TEST_DATABASE_URL": "sqlite://", **ONE_THREAD}
MANY = {"IMAGESIM_TEST_EXAMPLES": "3"}
MARIADB = {"IMAGESIM_TEST_DATABASE_URL": os.environ.get("IMAGESIM_TEST_MYSQL_URL", ""), **ONE_THREAD}
WRITE_SIDE = ["collation", "database", "leases", "outbox", "reconcile", "sync"]
# Tests of code that locks rows, or has its own tables and SQL.
OF_DATABASES = [*WRITE_SIDE, "autocommit", "events", "index_local", "migrations", "tasks"]
# Tests that load models, or run projects of their own.
OF_MODELS = [
    *("embedders", "hub", "lite_base", "model_files", "onnx", "precision", "reduced_precision", "regions"),
    "special_tokens",
]
OF_PROJECTS = ["howto_project", "howto_testing", "quickstart", "readme"]


def files(names: list[str]) -> list[str]:
    return [f"tests/test_{name}.py" for name in names]


class Step(NamedTuple):
    name: str
    command: list[str]
    environment: dict[str, str] = {}


LINT = [
    Step("ruff check", ["ruff", "check", "."]),
    Step("ruff format", ["ruff", "format", "--check", "."]),
    Step("mypy", ["mypy"]),
    Step("layers", ["lint-imports", "--no-logo"]),
    Step("migrations", ["manage.py", "makemigrations", "--check", "--dry-run"]),
]
DOCS = Step("documentation", ["sphinx-build", "--fail-on-warning", "--keep-going", "-q", "docs", "build/docs"])
FAULTS = Step("tests under faults", ["pytest", "tests/chaos"])
FAULTS_LONGER = Step("tests under faults, longer", ["pytest", "tests/chaos"], {"IMAGESIM_CHAOS_SECONDS": "600"})
ATTACKS = Step("tests under attack", ["pytest", "tests/hostile"])
ATTACKS_LONGER = Step("tests under attack, longer", ["pytest", "tests/hostile"], {"IMAGESIM_HOSTILE_FILES": "5000"})
INSTALLS = Step("installing into empty environments", ["tools.installs"])
RECIPES = Step("recipes with other packages", ["tools.recipes"])
CLUSTER = Step("tests under faults, of a cluster", ["pytest", "tests/chaos/check_cluster.py"])
PROTECTIONS = Step("tests with each protection off", ["pytest", "tests/chaos/check_protections.py"])
# "worksteal" leaves most of a module, and what its fixtures start, in one process.
POSTGRESQL = Step("tests on PostgreSQL", ["pytest", "-n", PROCESSES, "--dist", "worksteal", *APART], ONE_THREAD)
# Daily, one process runs these while the tests under faults wait, so that both processors are busy.
MEANWHILE = files([*OF_MODELS, *OF_PROJECTS])
MODELS_AND_PROJECTS = Step("tests of models and projects", ["pytest", "-q", *MEANWHILE], ONE_THREAD)
POSTGRESQL_OTHERS = POSTGRESQL._replace(command=[*POSTGRESQL.command, *(f"--ignore={file}" for file in MEANWHILE)])
# Measuring coverage takes half as much time again, so it is not done daily.
COVERAGE = Step(
    "tests on PostgreSQL, with coverage",
    [*POSTGRESQL.command, "--long", "--cov", "--cov-report", "term:skip-covered", "--no-cov-on-fail"],
    MANY | ONE_THREAD,
)
SQLITE_DATABASE = Step(
    "tests of the database on SQLite", ["pytest", "--database-only", "-q", *files(OF_DATABASES)], SQLITE
)
SQLITE_ALL = Step("tests on SQLite", ["pytest", "--long", "-n", PROCESSES, "-q", *APART], SQLITE | MANY)
MARIADB_WRITES = Step("tests of the write side on MariaDB", ["pytest", "-q", *files(WRITE_SIDE)], MARIADB)
MARIADB_ALL = Step("tests on MariaDB", ["pytest", "--long", "-n", PROCESSES, "-q", *APART], MARIADB)
MARIADB_FAULTS = Step("tests under faults, on MariaDB", ["pytest", "tests/chaos/check_mariadb.py"])
BROWSER = Step("tests in a browser", ["pytest", "tests/browser"], ONE_THREAD)
BROWSER_ALL = Step("tests in a browser", ["pytest", "--long", "tests/browser"], ONE_THREAD)
QUICK = Step("quick tests on SQLite", ["pytest", "-n", PROCESSES, "--quick", "-q", *APART], SQLITE)

Phase = tuple[list[Step], ...]
"""Lanes that run in parallel; the steps of a lane run one after the other."""

# The browser takes one processor all the time. Tests under faults mostly wait; the tests under attack measure times, so
# they come before those that take both processors.
TEST: list[Phase] = [
    (
        [FAULTS, ATTACKS, POSTGRESQL_OTHERS],
        [BROWSER],
        [SQLITE_DATABASE, MARIADB_WRITES, *LINT, DOCS, MODELS_AND_PROJECTS],
    ),
]
TEST_ALL: list[Phase] = [
    ([*LINT, DOCS, BROWSER_ALL],),
    ([COVERAGE],),
    ([SQLITE_ALL],),
    ([MARIADB_ALL],),
    ([ATTACKS_LONGER],),
    ([FAULTS_LONGER, MARIADB_FAULTS, PROTECTIONS, CLUSTER],),
    ([INSTALLS, RECIPES],),
]
PHASES: dict[str, list[Phase]] = {
    "": TEST,
    "--lint": [(LINT,)],
    "--quick": [([QUICK], LINT)],
    "--all": TEST_ALL,
}

Result = tuple[str, bool, float]
"""The name of a step, whether it passed, and how many seconds it took."""


def command_of(arguments: list[str]) -> list[str]:
    """Return the command: a script or module for this environment's Python, or a program installed next to it."""
    name = arguments[0]
    if name.endswith(".py"):
        return [sys.executable, *arguments]
    if find_spec(name):
        return [sys.executable, "-m", *arguments]
    return [str(Path(sys.executable).with_name(name)), *arguments[1:]]


def run_one(step: Step, output: IO[bytes] | None = None) -> Result:
    """Run a step; its output goes to ``output``, or straight to the terminal."""
    begun = time.monotonic()
    done = subprocess.run(
        command_of(step.command),
        env={**os.environ, **step.environment},
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
    )
    return step.name, done.returncode == 0, time.monotonic() - begun


def run(steps: list[Step], *, quietly: bool = False) -> list[Result]:
    """Run steps one after the other; ``quietly`` shows the output of a step when it has finished."""
    results = []
    for step in steps:
        if quietly:
            with tempfile.TemporaryFile() as output:
                results.append(run_one(step, output))
                output.seek(0)
                say(f"\n== {step.name}\n{output.read().decode(errors='replace')}")
        else:
            say(f"\n== {step.name}")
            results.append(run_one(step))
    return results


def run_phase(phase: Phase) -> list[Result]:
    first, *others = phase
    with ThreadPoolExecutor(max(1, len(others))) as lanes:
        beside = [lanes.submit(run, steps, quietly=True) for steps in others]
        return run(first) + [result for lane in beside for result in lane.result()]


def main(arguments: list[str]) -> int:
    chosen = " ".join(arguments)
    if chosen not in PHASES:
        say(f"error: unknown option {chosen!r}; use one of {', '.join(filter(None, PHASES))}, or none.")
        return 2
    if any("tests/browser" in step.command for lanes in PHASES[chosen] for lane in lanes for step in lane):
        find_program("chromium", package="chromium")
        with contextlib.suppress(Failure):  # faster, but not in every distribution
            find_program(HEADLESS, package=HEADLESS)
    begun = time.monotonic()
    results = [result for phase in PHASES[chosen] for result in run_phase(phase)]
    say("")
    for name, passed, seconds in results:
        say(f"{'passed' if passed else 'FAILED'}  {seconds:6.1f} s  {name}")
    say(f"{time.monotonic() - begun:14.1f} s  total")
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        say(f"error: {failure}")
        sys.exit(1)
