"""Elasticsearch, Redis and PostgreSQL for the tests: real ones, on free ports, gone afterwards.

``python -m tools.services``              starts them, prints the variables that point to them, waits for Ctrl-C
``python -m tools.services -- COMMAND …`` runs the command with those variables, and ends as it ends

A service whose variable is already set is taken as given. Everything they write lies in one temporary folder.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from tools import elastic
from tools.system import (
    Failure,
    adopt_orphans,
    die_with_parent,
    end_children,
    find_program,
    free_port,
    say,
    service_account,
)

Command = Sequence[str | int | Path]

PREFIX = "imagesim-services-"
PATIENCE = 180  # seconds that a service may take to answer

_installing = threading.Lock()  # apt-get runs once at a time


class Services:
    """The services of one run; ``start`` gives the variables, ``stop`` leaves nothing behind."""

    def __init__(self) -> None:
        self._account = service_account()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._folder.chmod(0o755)
        # Its threads live as long as the services do: a child is told to stop when the *thread* that made it ends.
        self._pool = ThreadPoolExecutor(3)
        self._stopping = threading.Event()

    def start(self) -> dict[str, str]:
        """Start, in parallel, those that the environment does not name.

        :raises Failure: naming the service that did not start, with the end of its log.
        """
        starters: dict[str, Callable[[], str]] = {
            "IMAGESIM_TEST_ELASTICSEARCH_URL": self._elasticsearch,
            "IMAGESIM_TEST_REDIS_URL": self._redis,
            "IMAGESIM_TEST_DATABASE_URL": self._postgres,
        }
        futures = {name: self._pool.submit(start) for name, start in starters.items() if not os.environ.get(name)}
        return {name: future.result() for name, future in futures.items()}

    def stop(self) -> None:
        self._stopping.set()
        end_children()
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _elasticsearch(self) -> str:
        home = elastic.home()
        port = free_port()
        folder = self._make_folder("elasticsearch")
        environment = elastic.configure(folder, home, port, free_port())
        url = f"http://127.0.0.1:{port}"
        self._serve(folder, [home / "bin" / "elasticsearch"], lambda: _answers(url), environment)
        return url

    def _redis(self) -> str:
        with _installing:
            redis = find_program("redis-server", package="redis-server")
        port = free_port()
        folder = self._make_folder("redis")
        options: Command = ["--dir", folder, "--save", "", "--appendonly", "no"]
        command: Command = [redis, "--bind", "127.0.0.1", "--port", port, *options]
        self._serve(folder, command, lambda: _accepts(port))
        return f"redis://127.0.0.1:{port}/0"

    def _postgres(self) -> str:
        with _installing:
            initdb = find_program("initdb", package="postgresql", folders="/usr/lib/postgresql/*/bin").resolve()
        port = free_port()
        folder = self._make_folder("postgresql")
        data = folder / "data"
        self._do(folder, [initdb, "-D", data, "-U", "imagesim", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"])
        # No data here has to survive a power cut.
        options: dict[str, object] = {"unix_socket_directories": folder, "fsync": "off", "full_page_writes": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        address: Command = ["-h", "127.0.0.1", "-p", port]
        server: Command = [initdb.with_name("postgres"), "-D", data, *address, *settings]
        is_ready = [str(part) for part in (initdb.with_name("pg_isready"), "-q", *address)]
        self._serve(folder, server, lambda: subprocess.run(is_ready).returncode == 0)
        self._do(folder, [initdb.with_name("createdb"), *address, "-U", "imagesim", "imagesim"])
        return f"postgres://imagesim@127.0.0.1:{port}/imagesim"

    def _make_folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def _serve(
        self, folder: Path, command: Command, answers: Callable[[], bool], environment: dict[str, str] | None = None
    ) -> None:
        """Start a server and wait until it answers."""
        begun = time.monotonic()
        process = self._spawn(folder, command, environment)
        while not _quietly(answers):
            if process.poll() is not None:
                raise Failure(f"{folder.name} ended with status {process.returncode}; its log says:\n{_tail(folder)}")
            if time.monotonic() - begun > PATIENCE:
                raise Failure(f"{folder.name} did not answer within {PATIENCE} s; its log says:\n{_tail(folder)}")
            if self._stopping.wait(0.1):
                raise Failure(f"{folder.name} was stopped while it started.")
        say(f"{folder.name} answers after {time.monotonic() - begun:.1f} s")

    def _do(self, folder: Path, command: Command) -> None:
        """Run a command to its end."""
        if status := self._spawn(folder, command).wait():
            raise Failure(f"{command[0]} ended with status {status}; it said:\n{_tail(folder)}")

    def _spawn(
        self, folder: Path, command: Command, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        account = self._account
        if account:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid)
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for the tests; the services stop after them
                preexec_fn=die_with_parent,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )


def _quietly(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:
        return False


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=5) as response:
        return bool(response.status == 200)


def _tail(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-2000:].strip()


def _sweep() -> None:
    """Remove the folders of runs that were killed before they could do it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: the second one must not interrupt the stopping
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    adopt_orphans()
    _sweep()
    services = Services()
    try:
        variables = services.start()
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
