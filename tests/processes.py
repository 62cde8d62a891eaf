"""Run programs during a test, each with its own log, and always end them with the test."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.system import die_with_parent, service_account


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    unprivileged: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` while the block runs. ``unprivileged`` is for programs that refuse to be started by root."""
    account = service_account() if unprivileged else None
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=die_with_parent,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], patience: float = 20) -> None:
    """Terminate it, and kill its process group if it does not stop."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(
    question: Callable[[], object], *, seconds: float, what: str, logs: Path | None = None, every: float = 0.2
) -> None:
    """Poll until the answer is true; network errors count as false.

    :raises AssertionError: naming the condition, with the end of every log in the folder ``logs``.
    """
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            if question():
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}\n{_tails(logs)}")
        time.sleep(every)


def _tails(logs: Path | None) -> str:
    files = sorted(logs.iterdir()) if logs else []
    return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)
