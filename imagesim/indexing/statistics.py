"""Update the statistics of the index's entries, outside of requests."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic

from imagesim.exceptions import ImagesimError
from imagesim.indexes import get_index
from imagesim.runtime import runtime

logger = logging.getLogger("imagesim.indexing")

COUNT_SECONDS = 3600.0
"""The interval at which a process that syncs counts again."""


@dataclass
class _Counted:
    until: float = 0.0


def update_statistics_if_due() -> None:
    """Count the entries again after a sync: the first of a process, then one per hour."""
    counted = runtime.get(("statistics counted", get_index().name), _Counted)
    if monotonic() < counted.until:
        return
    counted.until = monotonic() + COUNT_SECONDS
    update_statistics_quietly()


def update_statistics_quietly(backing_index: str | None = None) -> None:
    """Count the entries again; a failure is logged, and the previous counts stay in use."""
    try:
        get_index().update_statistics(backing_index)
    except ImagesimError as error:
        logger.warning("The entries could not be counted: %s", error, extra={"event": "statistics.failed"})
