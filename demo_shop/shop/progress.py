"""A progress bar of one line, redrawn on a terminal and printed once elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TextIO

WIDTH = 30


class ProgressBar:
    """Call it with (done, total); use it as a context manager so that the line is closed."""

    def __init__(self, label: str, stream: TextIO) -> None:
        self.label = label
        self.stream = stream
        self._last = ""

    def __call__(self, done: int, total: int | None) -> None:
        total = max(total or done, done)
        filled = WIDTH * done // total if total else WIDTH
        self._last = f"{self.label} [{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{total}"
        if self.stream.isatty():
            self.stream.write(f"\r{self._last}")
            self.stream.flush()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._last:
            self.stream.write("\n" if self.stream.isatty() else f"{self._last}\n")
