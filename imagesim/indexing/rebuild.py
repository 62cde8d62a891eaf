"""Making a new index beside the one in service, then swapping."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError

from imagesim.conf import get_settings
from imagesim.exceptions import AlreadyRunning, IndexUnavailable
from imagesim.indexes import get_index
from imagesim.indexing import jobs, leases, outbox
from imagesim.indexing.documents import prepare
from imagesim.indexing.embedding import Vectors
from imagesim.indexing.querysets import queryset_of, state_aliases
from imagesim.indexing.storing import write
from imagesim.indexing.sync import Progress, sync
from imagesim.indexing.write_targets import Target, new_meta
from imagesim.items import Items
from imagesim.models import ItemState, Job, Scope
from imagesim.registry import registry

logger = logging.getLogger("imagesim.indexing.sync")

PATIENCE = 600.0
"""Seconds that a rebuild waits for an index that cannot be reached before it leaves the rest to the next one."""


class _Pause(Exception):
    """The time given is over."""


def rebuild(*, progress: Progress | None = None, seconds: float | None = None) -> Job:
    """Make a new index of all items with the model in the settings, and put it in service when it is complete.

    Searches and saves go on all along. Killed, or stopped after ``seconds``, the next call goes on where it was.

    :raises AlreadyRunning: if another process is rebuilding.
    """
    job = jobs.start(Job.Kind.REBUILD)
    if job is None:
        raise AlreadyRunning("A rebuild is running already; imagesim_status shows how far it is.")
    started = time.monotonic()
    try:
        _rebuild(job, progress, started + seconds if seconds else None)
    except _Pause:
        jobs.step_aside(job)
        return job
    except (IndexUnavailable, OperationalError, InterfaceError, KeyboardInterrupt, SystemExit):
        with suppress(DatabaseError):
            jobs.step_aside(job)
        raise
    except jobs.JobLost:
        raise
    except Exception as error:
        logger.exception("the rebuild failed; the index in service is untouched")
        _drop_quietly(job.target)
        jobs.finish(job, error=f"{type(error).__name__}: {error}")
        raise
    logger.info(
        "rebuilt %s: %d items in %.1f s",
        job.target,
        job.done,
        time.monotonic() - started,
        extra={"event": "rebuild.done", "index": job.target, "items": job.done, "seconds": time.monotonic() - started},
    )
    return job


def _rebuild(job: Job, progress: Progress | None, until: float | None) -> None:
    index = get_index()
    if not job.target or job.target != _patiently(index.active, job):
        target = _target(job)
        for alias in state_aliases():
            for items in registry:
                _fill(job, target, items, alias, progress, until)
        if _patiently(index.active, job) is not None:
            sync()  # what waits now goes to both, so that nothing is missing after the swap
        _patiently(lambda: index.refresh(target.backing_index), job)
        _patiently(lambda: index.promote(target.backing_index), job)
    _clean_up(job)
    jobs.finish(job)
    sync()


def _target(job: Job) -> Target:
    """The index to fill: the one an unfinished run was filling, if it is still there and still right."""
    index = get_index()
    meta = new_meta()
    if job.target and job.target in _patiently(index.backing_indexes, job) and index.meta(job.target) == meta:
        return Target(index, job.target, meta, active=False)
    _drop_quietly(job.target)
    backing_index = _patiently(lambda: index.create(meta), job)
    total = sum(queryset_of(items, alias).count() for alias in state_aliases() for items in registry)
    # From here on, every sync writes to this one too.
    jobs.alive(job, target=backing_index, cursor="", done=0, failed=0, total=total)
    return Target(index, backing_index, meta, active=False)


def _fill(
    job: Job, target: Target, items: Items[Any], alias: str, progress: Progress | None, until: float | None
) -> None:
    place = f"{alias}|{items.label}|"
    order = [f"{a}|{i.label}|" for a in state_aliases() for i in registry]
    at = next((position for position, prefix in enumerate(order) if job.cursor.startswith(prefix)), -1)
    if order.index(place) < at:
        return  # done before the process died
    after = job.cursor.removeprefix(place) if job.cursor.startswith(place) else ""
    queryset = queryset_of(items, alias).order_by("pk")
    size = get_settings().SYNC_BATCH_SIZE
    while True:
        page = queryset.filter(pk__gt=items.model._meta.pk.to_python(after)) if after else queryset
        pks = [str(pk) for pk in page.values_list("pk", flat=True)[:size]]
        if not pks:
            return
        failed = _patiently(lambda pks=pks: _fill_page(target, items.label, pks, alias), job)
        after = pks[-1]
        jobs.alive(job, cursor=place + after, done=job.done + len(pks), failed=job.failed + failed)
        if progress:
            progress(job.done, job.total)
        if until and time.monotonic() > until:
            raise _Pause


def _fill_page(target: Target, label: str, pks: list[str], using: str) -> int:
    """Write one page of items to the new index; what cannot be written is left to the sync. Returns how many."""
    known = {state.object_pk: state for state in ItemState.objects.using(using).filter(model=label, object_pk__in=pks)}
    states = [known[pk] for pk in pks if pk in known]
    for state in states:
        if not state.pending:
            state.scope = Scope.METADATA  # what is known of its pictures holds, so they are not opened again
        state.attempts = 0
        state.checksum = ""
    prepared = prepare(states, [target], Vectors([target]), using)
    write(prepared, [target])
    good, bad = [], [pk for pk in pks if pk not in known]
    for each in prepared:
        written = bool(each.results) and all(result.status != "failed" for result in each.results)
        if written and not each.retry and each.outcome == each.state.outcome:
            good.append(each.state)
        else:
            bad.append(each.state.object_pk)
    leases.repair_late(using, good)
    # Recorded as changed, these go through the sync, which tells what may pass from what cannot.
    outbox.record(label, bad, using=using)
    return len(bad)


def _clean_up(job: Job) -> None:
    index = get_index()
    for backing_index in _patiently(index.backing_indexes, job):
        if backing_index != job.target:
            _patiently(lambda backing_index=backing_index: index.drop(backing_index), job)


def _drop_quietly(backing_index: str) -> None:
    index = get_index()
    try:
        if backing_index and backing_index != index.active():
            index.drop(backing_index)
    except Exception as error:
        logger.warning("the unfinished index %s could not be dropped: %s", backing_index, error)


def _patiently(call: Callable[..., Any], job: Job) -> Any:
    """Wait out an index that cannot be reached, with signs of life."""
    until = time.monotonic() + PATIENCE
    attempts = 0
    while True:
        try:
            return call()
        except IndexUnavailable as error:
            if time.monotonic() > until:
                raise
            attempts += 1
            logger.warning("the rebuild waits for the index: %s", error)
            time.sleep(min(leases.delay(attempts), 15.0))
            jobs.alive(job)
