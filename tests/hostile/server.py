"""The demo shop behind gunicorn as the Dockerfile starts it, on loopback, under a memory limit; and what it uses."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tools.processes import Process
from tools.system import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
MEMORY_LIMIT = 3 * 1024**3
"""Bytes of private writable memory that a process of the server may have."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.path) + len(self.body)


@dataclass(frozen=True)
class Reply:
    """``status`` is 0 if the connection was lost or no answer came in time."""

    status: int
    seconds: float
    body: bytes = b""

    def json(self) -> dict:
        return json.loads(self.body)


class Server:
    """gunicorn with the command and the allocator settings of the Dockerfile, or with its own ``arguments``."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        name: str = "gunicorn",
        *,
        arguments: tuple[str, ...] = (),
        alive: str = "/",
    ) -> None:
        dockerfile = (ROOT / "Dockerfile").read_text()
        (line,) = re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)
        self.port = free_port()
        address = f"127.0.0.1:{self.port}"
        command = [address if part == "0.0.0.0:8000" else part for part in json.loads(line)]
        if arguments:
            command = [command[0], *arguments, "--bind", address]
        allocator = dict(re.findall(r"(MALLOC_\w+)=(\d+)", dockerfile))
        uploads = folder / "uploads"
        uploads.mkdir(exist_ok=True)
        self.uploads = uploads
        self._process = Process(
            name,
            ["prlimit", f"--data={MEMORY_LIMIT}", sys.executable, "-m", *command],
            folder,
            environment={**environment, **allocator, "TMPDIR": str(uploads)},
            answers=lambda: self.send(Request("GET", alive)).status == 200,
        )

    def start(self) -> Server:
        self._process.start().wait_until_it_answers()
        return self

    def stop(self) -> None:
        self._process.kill()

    def tail(self) -> str:
        return self._process.tail(20_000)

    def send(self, request: Request, timeout: float = 60.0) -> Reply:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        started = time.monotonic()
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer may have come before the end
                connection.request(request.method, request.path, request.body or None, request.headers)
            answer = connection.getresponse()
            return Reply(answer.status, time.monotonic() - started, answer.read())
        except (OSError, HTTPException):
            return Reply(0, time.monotonic() - started)
        finally:
            connection.close()

    @property
    def workers(self) -> list[int]:
        assert self._process.pid is not None
        return _children(self._process.pid)

    def processor_seconds(self) -> float:
        """Return those of the master, its workers and all processes that these started, including ended ones."""
        assert self._process.pid is not None
        return sum(_processor_seconds(pid) for pid in _tree(self._process.pid))

    def memory(self) -> dict[int, int]:
        """Return the resident bytes of each worker, including the processes that it started."""
        return {worker: sum(_status(pid, "VmRSS") for pid in _tree(worker)) for worker in self.workers}

    def peak(self) -> dict[int, int]:
        """Return the most resident bytes of each worker since :meth:`reset_peak`, including the processes that it
        started."""
        return {worker: sum(_status(pid, "VmHWM") for pid in _tree(worker)) for worker in self.workers}

    def reset_peak(self) -> None:
        for worker in self.workers:
            for pid in _tree(worker):
                with contextlib.suppress(OSError):
                    Path(f"/proc/{pid}/clear_refs").write_text("5")

    def uploaded(self) -> int:
        """Return the bytes of request bodies that are on the disk now."""
        total = 0
        for pid in self.workers:
            for handle in Path(f"/proc/{pid}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    if str(handle.readlink()).startswith(str(self.uploads)):
                        total += handle.stat().st_size
        return total


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in listing.read_text().split()]
    return sorted(found)


def _tree(pid: int) -> list[int]:
    return [pid, *(each for child in _children(pid) for each in _tree(child))]


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS  # user and system time, for itself and for children it waited for


def busy_seconds() -> float:
    """Return the processor seconds of all processes of this machine, and of other machines on the same processors."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def _status(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
