"""Real servers that the harness may kill, pause and start again: PostgreSQL, Redis and Elasticsearch."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools import elastic
from tools.system import Failure, die_with_parent, find_program, free_port, service_account

PATIENCE = 180.0


class Process:
    """A process with a group of its own, so that what it forked is killed and paused with it."""

    def __init__(
        self,
        name: str,
        command: Sequence[object],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        as_service: bool = False,
        answers: Callable[[], bool] | None = None,
    ) -> None:
        self.name = name
        self._command = [str(part) for part in command]
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._account = service_account() if as_service else None
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        return self._folder / f"{self.name}.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def answers(self) -> bool:
        return self.is_running and self._answers is not None and _quietly(self._answers)

    def start(self) -> Process:
        account = self._account
        if account:
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid)
        # A child is told to stop when the thread that made it ends, so only the main one makes any.
        assert threading.current_thread() is threading.main_thread()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder if account else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                preexec_fn=die_with_parent,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        return self

    def wait_until_it_answers(self) -> Process:
        until = time.monotonic() + PATIENCE
        while self._answers is not None and not _quietly(self._answers):
            if not self.is_running or time.monotonic() > until:
                raise Failure(f"{self.name} does not answer; its log ends with:\n{self.tail()}")
            time.sleep(0.1)
        return self

    def signal(self, number: int) -> None:
        """To the whole group: a killed master must not leave a child that goes on writing."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def wait(self, seconds: float) -> int:
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9

    def tail(self, size: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""


def _quietly(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:
        return False


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True


def redis(folder: Path) -> tuple[Process, str]:
    """A Redis that keeps nothing: killed, it comes back empty."""
    port = free_port()
    program = find_program("redis-server", package="redis-server")
    command = [program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]
    return Process("redis", command, folder / "redis", answers=lambda: _accepts(port)), f"redis://127.0.0.1:{port}/0"


def postgres(folder: Path) -> tuple[Process, str]:
    initdb = find_program("initdb", package="postgresql", folders="/usr/lib/postgresql/*/bin").resolve()
    port = free_port()
    home = folder / "postgres"
    data = home / "data"
    made = Process(
        "initdb", [initdb, "-D", data, "-U", "imagesim", "-A", "trust", "-E", "UTF8", "-N"], home, as_service=True
    )
    if made.start().wait(PATIENCE):
        raise Failure(f"initdb failed:\n{made.tail()}")
    options = ["-c", f"unix_socket_directories={home}", "-c", "fsync=off", "-c", "max_connections=200"]
    command = [initdb.with_name("postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, *options]
    ready = [str(part) for part in (initdb.with_name("pg_isready"), "-q", "-h", "127.0.0.1", "-p", port)]
    server = Process(
        "postgres", command, home, as_service=True, answers=lambda: subprocess.run(ready, check=False).returncode == 0
    )
    server.start().wait_until_it_answers()
    make = [initdb.with_name("createdb"), "-h", "127.0.0.1", "-p", port, "-U", "imagesim", "imagesim"]
    subprocess.run([str(part) for part in make], check=True)
    return server, f"postgres://imagesim@127.0.0.1:{port}/imagesim"


def elasticsearch(
    folder: Path, name: str = "elasticsearch", *, heap: str = "512m", changes: Mapping[str, object] | None = None
) -> tuple[Process, str]:
    home = elastic.home()
    port, transport = free_port(), free_port()
    if changes and "transport.port" in changes:
        transport = int(str(changes["transport.port"]))
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    environment = elastic.configure(own, home, port, transport, changes)
    environment["ES_JAVA_OPTS"] = f"-Xms{heap} -Xmx{heap}"
    url = f"http://127.0.0.1:{port}"
    server = Process(
        name,
        [home / "bin" / "elasticsearch"],
        own,
        environment=environment,
        as_service=True,
        answers=lambda: _responds(url),
    )
    return server, url


def _responds(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/_cluster/health", timeout=5) as response:
        return bool(response.status == 200)
