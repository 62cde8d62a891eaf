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
from imagesim.exceptions import IndexUnavailable
from imagesim.indexes import get_index
from imagesim.items import Items
from imagesim.models import ItemState, Run, Scope
from imagesim.registry import registry
from imagesim.sync import Progress, sync
from imagesim.writing import changes, claims, runs
from imagesim.writing.pictures import Vectors
from imagesim.writing.preparing import prepare
from imagesim.writing.sources import queryset_of, state_aliases
from imagesim.writing.storing import write
from imagesim.writing.targets import Target, new_meta

logger = logging.getLogger("imagesim.sync")

PATIENCE = 600.0
"""Seconds that a rebuild waits for an index that cannot be reached before it leaves the rest to the next one."""


class RebuildRunning(IndexUnavailable):
    """Another process is rebuilding already."""

    code = "rebuild_running"


class _Pause(Exception):
    """The time given is over."""


def rebuild(*, progress: Progress | None = None, seconds: float | None = None) -> Run:
    """Make a new index of all items with the model in the settings, and put it in service when it is complete.

    Searches and saves go on all along. Killed, or stopped after ``seconds``, the next call goes on where it was.

    :raises RebuildRunning: if another process is rebuilding.
    """
    run = runs.start(Run.Kind.REBUILD)
    if run is None:
        raise RebuildRunning("A rebuild is running already; imagesim_status shows how far it is.")
    started = time.monotonic()
    try:
        _rebuild(run, progress, started + seconds if seconds else None)
    except _Pause:
        runs.step_aside(run)
        return run
    except (IndexUnavailable, OperationalError, InterfaceError, KeyboardInterrupt, SystemExit):
        with suppress(DatabaseError):
            runs.step_aside(run)
        raise
    except runs.LostRun:
        raise
    except Exception as error:
        logger.exception("the rebuild failed; the index in service is untouched")
        _drop_quietly(run.target)
        runs.finish(run, error=f"{type(error).__name__}: {error}")
        raise
    logger.info(
        "rebuilt %s: %d items in %.1f s",
        run.target,
        run.done,
        time.monotonic() - started,
        extra={"event": "rebuild.done", "index": run.target, "items": run.done, "seconds": time.monotonic() - started},
    )
    return run


def _rebuild(run: Run, progress: Progress | None, until: float | None) -> None:
    index = get_index()
    if not run.target or run.target != _patiently(index.in_service, run):
        target = _target(run)
        for alias in state_aliases():
            for items in registry:
                _fill(run, target, items, alias, progress, until)
        if _patiently(index.in_service, run) is not None:
            sync()  # what waits now goes to both, so that nothing is missing after the swap
        _patiently(lambda: index.refresh(target.physical), run)
        _patiently(lambda: index.promote(target.physical), run)
    _clean_up(run)
    runs.finish(run)
    sync()


def _target(run: Run) -> Target:
    """The index to fill: the one an unfinished run was filling, if it is still there and still right."""
    index = get_index()
    meta = new_meta()
    if run.target and run.target in _patiently(index.physical_names, run) and index.meta(run.target) == meta:
        return Target(index, run.target, meta, in_service=False)
    _drop_quietly(run.target)
    physical = _patiently(lambda: index.create(meta), run)
    total = sum(queryset_of(items, alias).count() for alias in state_aliases() for items in registry)
    # From here on, every sync writes to this one too.
    runs.alive(run, target=physical, cursor="", done=0, failed=0, total=total)
    return Target(index, physical, meta, in_service=False)


def _fill(
    run: Run, target: Target, items: Items[Any], alias: str, progress: Progress | None, until: float | None
) -> None:
    place = f"{alias}|{items.label}|"
    order = [f"{a}|{i.label}|" for a in state_aliases() for i in registry]
    at = next((position for position, prefix in enumerate(order) if run.cursor.startswith(prefix)), -1)
    if order.index(place) < at:
        return  # done before the process died
    after = run.cursor.removeprefix(place) if run.cursor.startswith(place) else ""
    queryset = queryset_of(items, alias).order_by("pk")
    size = get_settings().SYNC_BATCH_SIZE
    while True:
        page = queryset.filter(pk__gt=items.model._meta.pk.to_python(after)) if after else queryset
        pks = [str(pk) for pk in page.values_list("pk", flat=True)[:size]]
        if not pks:
            return
        failed = _patiently(lambda pks=pks: _fill_page(target, items.label, pks, alias), run)
        after = pks[-1]
        runs.alive(run, cursor=place + after, done=run.done + len(pks), failed=run.failed + failed)
        if progress:
            progress(run.done, run.total)
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
    claims.repair_late(using, good)
    # Recorded as changed, these go through the sync, which tells what may pass from what cannot.
    changes.record(label, bad, using=using)
    return len(bad)


def _clean_up(run: Run) -> None:
    index = get_index()
    for physical in _patiently(index.physical_names, run):
        if physical != run.target:
            _patiently(lambda physical=physical: index.drop(physical), run)


def _drop_quietly(physical: str) -> None:
    index = get_index()
    try:
        if physical and physical != index.in_service():
            index.drop(physical)
    except Exception as error:
        logger.warning("the unfinished index %s could not be dropped: %s", physical, error)


def _patiently(call: Callable[..., Any], run: Run) -> Any:
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
            time.sleep(min(claims.delay(attempts), 15.0))
            runs.alive(run)
