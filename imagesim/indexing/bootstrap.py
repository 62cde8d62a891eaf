"""The first index of a shop, or the next one where the last was lost."""

from __future__ import annotations

import logging

from imagesim.exceptions import IndexMissing
from imagesim.indexes import get_index
from imagesim.indexing import jobs, outbox
from imagesim.indexing.querysets import queryset_of, state_aliases
from imagesim.indexing.write_targets import new_meta
from imagesim.models import Job
from imagesim.registry import registry

logger = logging.getLogger("imagesim.indexing.sync")


def bootstrap_index() -> None:
    """Where nothing is in service: make an index, have every item wait to be synced, put it in service.

    :raises IndexMissing: while another process is doing so.
    """
    index = get_index()
    if index.active() is not None:
        return
    job = jobs.start(Job.Kind.REBUILD)
    if job is None:
        raise IndexMissing(f"The first index {index.name!r} is just being made; try again in a moment.")
    try:
        if index.active() is None:
            backing_index = index.create(new_meta())
            for alias in state_aliases():
                for items in registry:
                    outbox.record_queryset(items.label, queryset_of(items, alias), using=alias)
            index.promote(backing_index)
            logger.info(
                "made the first index %s", backing_index, extra={"event": "index.created", "index": backing_index}
            )
    except BaseException as error:
        jobs.finish(job, error=str(error) or type(error).__name__)
        raise
    jobs.finish(job, report={"first": True})
