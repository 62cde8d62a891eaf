"""Elasticsearch, Redis, PostgreSQL, pgvector and MariaDB for the tests: real servers, on free ports, removed
afterwards.

``python -m tools.services``              starts them, prints the variables that point to them, waits for Ctrl-C
``python -m tools.services -- COMMAND …`` runs the command with those variables, and returns its exit status
``--tests`` before these: servers that live for one run of the tests. Elasticsearch compiles less, and their data is in
memory if there is room. Not for benchmarks.
``--meanwhile COMMAND`` after it: a command that runs while the servers start, and must end before the other one

A service whose variable is already set is not started. All their data is in one temporary folder.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType

from tools import servers
from tools.processes import Process
from tools.system import Failure, adopt_orphans, end_children, say, scratch_folders

PREFIX = "imagesim-services-"
PGVECTOR = {"newest": "IMAGESIM_TEST_PGVECTOR_URL", "oldest": "IMAGESIM_TEST_PGVECTOR_OLDEST_URL"}


class Services:
    """The services of one run; ``start`` returns the variables, ``stop`` removes everything."""

    def __init__(self, *, for_tests: bool = False) -> None:
        folders = scratch_folders() if for_tests else [None]
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=folders[0]))
        self._for_tests = for_tests
        self._folder.chmod(0o755)
        # The threads live as long as the services: a child is signalled to stop when the *thread* that started it ends.
        self._pool = ThreadPoolExecutor(6)

    def start(self) -> dict[str, str]:
        """Start, in parallel, the services that the environment does not name.

        :raises Failure: naming the service that did not start, with the end of its log.
        """
        starters: dict[str, Callable[[Path], tuple[Process, str]]] = {
            "IMAGESIM_TEST_ELASTICSEARCH_URL": partial(servers.elasticsearch, heap="1g", short_lived=self._for_tests),
            "IMAGESIM_TEST_REDIS_URL": servers.redis,
            "IMAGESIM_TEST_DATABASE_URL": servers.postgres,
            "IMAGESIM_TEST_MYSQL_URL": servers.mariadb,
        }
        for which, variable in PGVECTOR.items():
            if servers.has_pgvector(which):  # no wheel for every Python
                starters[variable] = partial(servers.pgvector, which=which)
        futures = {n: self._pool.submit(self._start, s) for n, s in starters.items() if not os.environ.get(n)}
        return {name: future.result() for name, future in futures.items()}

    def stop(self) -> None:
        end_children()
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, make: Callable[[Path], tuple[Process, str]]) -> str:
        begun = time.monotonic()
        server, url = make(self._folder)
        if not server.is_running:
            server.start()
        server.wait_until_it_answers()
        say(f"{server.name} responds after {time.monotonic() - begun:.1f} s")
        return url


def _sweep() -> None:
    """Remove the folders of runs that were killed before they could clean up."""
    for folder in (path for parent in scratch_folders() for path in parent.glob(f"{PREFIX}*")):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the shutdown
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    for_tests = arguments[:1] == ["--tests"]
    arguments = arguments[for_tests:]
    meanwhile = shlex.split(arguments[1]) if arguments[:1] == ["--meanwhile"] else []
    arguments = arguments[2:] if meanwhile else arguments
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    adopt_orphans()
    _sweep()
    services = Services(for_tests=for_tests)
    try:
        beside = subprocess.Popen(meanwhile) if meanwhile else None
        variables = services.start()
        if beside and beside.wait():
            return beside.returncode
        if command:
            return subprocess.run(command, env={**os.environ, **variables}).returncode
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        say("running; Ctrl-C stops them")
        signal.pause()
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    finally:
        services.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
