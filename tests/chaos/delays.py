"""Delay workers between reading an item and writing it, so that their writes are late.

SIGSTOP pauses a worker at a random moment; this module pauses it exactly there. The harness writes an order to a file,
and the next process that is about to write several entries takes it. Only one process is delayed at a time, because
another one has to do its work.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SEVERAL = 5


def order(folder: Path, seconds: float) -> None:
    written = folder / "order"
    written.write_text(str(seconds))
    written.rename(_file(folder))


def cancel(folder: Path) -> None:
    _file(folder).unlink(missing_ok=True)


def left(folder: Path) -> float:
    """Return the seconds until the last late write is written."""
    ends = [float(path.name.partition("-")[2]) / 1e9 + float(path.read_text()) for path in folder.glob("delay-*")]
    return max([0.0, *(end + 0.5 - time.time() for end in ends)])


def obey(folder: Path) -> None:
    """Delay the index's writes in this process when there is an order."""
    from imagesim.indexes.elasticsearch import ElasticsearchIndex

    write = ElasticsearchIndex.write

    def late(self: ElasticsearchIndex, operations: Sequence[Any], **options: Any) -> Any:
        if len(operations) >= SEVERAL:
            time.sleep(_take(folder))
        return write(self, operations, **options)

    ElasticsearchIndex.write = late  # type: ignore[method-assign]


def _take(folder: Path) -> float:
    mine = folder / f"delay-{time.time_ns()}"
    try:
        _file(folder).rename(mine)  # only one process can do this
    except FileNotFoundError:
        return 0.0
    return float(mine.read_text())


def _file(folder: Path) -> Path:
    return folder / "delay"
