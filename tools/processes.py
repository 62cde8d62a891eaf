"""A server process that can be started, probed, paused, killed and restarted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.system import Failure, die_with_parent, service_account

PATIENCE = 300.0
"""Seconds that a server may take to respond."""


class Process:
    """A process in its own process group, so that its children are killed and paused with it.

    It receives a stop signal when the *thread* that started it ends: start it in a thread that lives long enough.
    """

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
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def answers(self) -> bool:
        return self.is_running and self._answers is not None and _quietly(self._answers)

    def start(self) -> Process:
        """Start the process; append its output to its log."""
        account = self._account
        if account:
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid)
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
        """Wait until the process responds.

        :raises Failure: with the end of its log, if it ends or does not respond in time.
        """
        until = time.monotonic() + PATIENCE
        while self._answers is not None and not _quietly(self._answers):
            if not self.is_running or time.monotonic() > until:
                raise Failure(f"{self.name} does not respond; its log ends with:\n{self.tail()}")
            time.sleep(0.1)
        return self

    def signal(self, number: int) -> None:
        """Signal the whole group: a killed master must not leave a child that continues to write."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def wait(self, seconds: float) -> int:
        """Wait for its exit status; kill it if it takes longer."""
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
