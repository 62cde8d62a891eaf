"""The base of the commands: JSON output for programs, and a progress bar on a terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, InterfaceError

from imagesim.database import CONNECTION_ERRORS
from imagesim.exceptions import ImagesimError, migrate_hint, with_migrate_hint

if TYPE_CHECKING:
    from imagesim.models import Job


Number = TypeVar("Number", int, float)

LARGEST = 1e9
"""The largest float that an option takes: more overflows where it is counted in nanoseconds or in bytes."""


class Terminated(KeyboardInterrupt):
    """The process received a signal that ends it: SIGTERM, or SIGHUP when its terminal was closed."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.status = 128 + signum


def _terminate(signum: int, frame: object) -> None:
    if signum != signal.SIGTERM:  # the shell and the terminal can both send it: the second must not stop the release
        signal.signal(signum, signal.SIG_IGN)
    raise Terminated(signum)


@contextmanager
def _terminating() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise :class:`Terminated`, which Python allows only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {signal.SIGTERM: signal.signal(signal.SIGTERM, _terminate)}
    # Windows does not have it; nohup lets it be ignored.
    if (hangup := getattr(signal, "SIGHUP", None)) and signal.getsignal(hangup) is signal.SIG_DFL:
        former[hangup] = signal.signal(hangup, _terminate)
    try:
        yield
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)


class InterruptibleCommand(BaseCommand):
    """A command that ends with one word and its exit status when it is told to end."""

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program: SIGTERM and SIGHUP end it as Ctrl-C does, so that leases are released.

        Characters that the output's encoding does not have are escaped: that of a file or a pipe can be cp1252.
        """
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with _terminating():
                super().run_from_argv(argv)
        except KeyboardInterrupt as error:  # what is done is stored, and the next run continues
            # A second one shows no traceback of what Python does at its end.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            ended, status = "Interrupted.", 128 + signal.SIGINT
            if isinstance(error, Terminated):
                ended, status = "Terminated.", error.status
            with suppress(OSError):  # the terminal may be gone
                self.stderr.write(ended)
            sys.exit(status)


class ImagesimCommand(InterruptibleCommand):
    """A command whose ``--format json`` prints one JSON object and nothing else on stdout. Errors are one sentence."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except ImagesimError as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, InterfaceError) as error:
            if migrate_hint(error):
                raise CommandError(with_migrate_hint(error)) from error
            if not isinstance(error, CONNECTION_ERRORS):
                raise
            raise CommandError(f"The database cannot be used: {with_migrate_hint(error)}.") from error

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--format", choices=("text", "json"), default="text", help="text for people, json for programs"
        )

    def emit(self, values: dict[str, Any], format: str, text: str) -> None:
        with self.writing():
            self.stdout.write(json.dumps(values, cls=DjangoJSONEncoder) if format == "json" else text)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write to stdout within this block: a reader gets it at its end, and a failure is seen here, not when Python
        ends.

        :raises CommandError: if it cannot be written, for instance to a full disk.
        :raises SystemExit: if its reader, such as ``head``, has ended.
        """
        try:
            yield
            self.stdout.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())  # Python flushes it once more at the end
            if isinstance(error, BrokenPipeError):
                sys.exit(128 + 13)  # the number of SIGPIPE, which Windows does not have
            raise CommandError(f"The output cannot be written: {error.strerror}.") from error

    def require_yes(self, question: str) -> None:
        """Ask on stderr, because stdout may go to a file.

        :raises CommandError: unless the answer is yes.
        """
        self.stderr.write(f"{question} Type 'yes': ", str, ending="")
        self.stderr.flush()
        try:
            answer = input()
        except EOFError:  # nobody can answer
            self.stderr.write("")
            answer = ""
        if answer != "yes":
            raise CommandError("Nothing was deleted.")


def at_least(least: Number) -> Callable[[str], Number]:
    """Return the type of an argument that is a number of at least ``least``; a float is at most ``LARGEST``."""

    def parse(text: str) -> Number:
        value = type(least)(text)
        if not value >= least:  # nor may it be NaN
            raise ArgumentTypeError(f"{text} is too small; it must be {least} or more.")
        if isinstance(value, float) and value > LARGEST:
            raise ArgumentTypeError(f"{text} is too large; it must be {LARGEST:.0f} or less.")
        return value

    parse.__name__ = type(least).__name__  # argparse names it if the text is not a number
    return parse


def require_done(job: Job) -> None:
    """:raises CommandError: if someone paused or cancelled the job."""
    if job.status == job.Status.CANCELLED:
        raise CommandError(f"The {job.kind} was cancelled after {job.done} of {job.total} items.")
    if job.status == job.Status.PAUSED:
        raise CommandError(
            f"The {job.kind} was paused after {job.done} of {job.total} items; "
            f"`manage.py imagesim_jobs resume {job.kind}` continues it."
        )


class ProgressBar:
    """A progress bar that redraws itself on a terminal and prints nothing elsewhere.

    It is plain ASCII: not every console has other characters, or understands the sequence that clears a line. What is
    wider than the terminal would be a new line each time. A terminal that is closed meanwhile stops no job.
    """

    WIDTH = 30
    EVERY = 0.1

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self.label = label
        self.stream = stream or sys.stderr
        self.started = self._drawn = time.monotonic()
        self._width = 0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self.stream.isatty() or (now - self._drawn < self.EVERY and done < total):
            return
        self._drawn = now
        share = min(done / total, 1.0) if total else 0.0
        rate = done / max(now - self.started, 1e-6)
        left = f", {_time((total - done) / rate)} left" if rate and total > done else ""
        numbers = f"{done}/{total} {rate:.0f}/s{left}"
        columns = self._columns() - 1  # the cursor takes the last one
        width = min(self.WIDTH, columns - len(f"{self.label} [] {numbers}"))
        bar = ("#" * int(share * width)).ljust(width, ".")
        line = (f"{self.label} [{bar}] {numbers}" if width > 0 else numbers)[:columns]
        self._write(f"\r{line.ljust(min(self._width, columns))}")
        self._width = len(line)

    def close(self) -> None:
        if self._width:
            self._write("\n")
            self._width = 0

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80  # 0: not known, as on a serial line
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self.stream.write(text)
            self.stream.flush()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _time(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
