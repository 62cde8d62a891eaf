"""A worker that stops for a while between reading an item and writing it, so that what it writes is late.

SIGSTOP does the same to whoever happens to be there; this hits the moment. The harness leaves an order in a file, and
the next process about to write several entries to the index takes it. One at a time: somebody has to do the work that
makes it late.
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
    """Seconds until the last late write is written."""
    ends = [float(path.name.partition("-")[2]) / 1e9 + float(path.read_text()) for path in folder.glob("delay-*")]
    return max([0.0, *(end + 0.5 - time.time() for end in ends)])


def obey(folder: Path) -> None:
    """Have the index's writes in this process wait where they are told to."""
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
        _file(folder).rename(mine)  # only one can
    except FileNotFoundError:
        return 0.0
    return float(mine.read_text())


def _file(folder: Path) -> Path:
    return folder / "delay"
