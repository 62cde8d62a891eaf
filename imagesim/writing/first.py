"""The first index of a shop, or the next one where the last was lost."""

from __future__ import annotations

import logging

from imagesim.exceptions import IndexMissing
from imagesim.indexes import get_index
from imagesim.models import Run
from imagesim.registry import registry
from imagesim.writing import changes, runs
from imagesim.writing.sources import queryset_of, state_aliases
from imagesim.writing.targets import new_meta

logger = logging.getLogger("imagesim.sync")


def make_first_index() -> None:
    """Where nothing is in service: make an index, have every item wait to be synced, put it in service.

    :raises IndexMissing: while another process is doing so.
    """
    index = get_index()
    if index.in_service() is not None:
        return
    run = runs.start(Run.Kind.REBUILD)
    if run is None:
        raise IndexMissing(f"The first index {index.name!r} is just being made; try again in a moment.")
    try:
        if index.in_service() is None:
            physical = index.create(new_meta())
            for alias in state_aliases():
                for items in registry:
                    changes.record_queryset(items.label, queryset_of(items, alias), using=alias)
            index.promote(physical)
            logger.info("made the first index %s", physical, extra={"event": "index.created", "index": physical})
    except BaseException as error:
        runs.finish(run, error=str(error) or type(error).__name__)
        raise
    runs.finish(run, report={"first": True})
