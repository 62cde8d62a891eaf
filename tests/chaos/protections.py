"""The protections that a run can disable, to check that the harness notices: ``python -m tests.chaos --without``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

from django.db import models, transaction


def switch_off(name: str) -> None:
    _SWITCHES[name]()


def _without_changes() -> None:
    """No row in the item's transaction; only a message after its commit, which may be lost."""
    from imagesim.database import state_alias
    from imagesim.indexing import dispatch, signals, sync

    def record(label: str, which: models.QuerySet[Any] | Iterable[object], *, using: str = "", **options: Any) -> int:
        using = using or state_alias()
        is_queryset = isinstance(which, models.QuerySet)
        keys = [str(pk) for pk in (which.using(using).values_list("pk", flat=True) if is_queryset else which)]
        send = partial(dispatch.start, "reindex", label=label, pks=keys, using=using)
        transaction.on_commit(send, using=using, robust=True)
        return len(keys)

    # The task still writes rows, because workers need them.
    only_messages = SimpleNamespace(record=record)
    _replace(signals, "outbox", only_messages)
    _replace(sync, "outbox", only_messages)


def _without_versions() -> None:
    """The last write wins, and nothing is read again."""
    from imagesim.indexes.elasticsearch import bulk
    from imagesim.indexing import leases

    action = bulk._action
    _replace(bulk, "_action", lambda name, key, version: action(name, key, time.time_ns()))
    _replace(leases, "repair_late", lambda written: 0)


def _without_reconcile() -> None:
    """No comparison. Only the harness starts any, and it checks this option."""


def _replace(module: ModuleType, name: str, value: object) -> None:
    """:raises AttributeError: if the module has no such name (any more): nothing would be disabled."""
    getattr(module, name)
    setattr(module, name, value)


_SWITCHES: dict[str, Callable[[], None]] = {
    "changes": _without_changes,
    "versions": _without_versions,
    "reconcile": _without_reconcile,
}
NAMES = tuple(_SWITCHES)
