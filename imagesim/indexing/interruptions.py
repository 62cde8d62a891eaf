"""What interrupts the work on items without saying anything about them: a lost or read-only database, or the soft time
limit of a Celery task, including the shop's own tasks. Leases are then released as after a signal to stop."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.apps import apps
from django.db import InternalError, OperationalError, connections, router

from imagesim.circuit_breaker import log_repeated
from imagesim.database import CONNECTION_ERRORS, close_lost_connections, is_read_only
from imagesim.exceptions import IndexUnavailable, with_migrate_hint

try:
    from billiard.exceptions import SoftTimeLimitExceeded as SoftTimeLimitExceeded
except ImportError:

    class SoftTimeLimitExceeded(Exception):  # type: ignore[no-redef]
        """Celery is not installed, so it never ends a task."""


logger = logging.getLogger("imagesim.indexing.sync")

INFRASTRUCTURE_ERRORS = (*CONNECTION_ERRORS, SoftTimeLimitExceeded)
"""Errors that say nothing about the item that is being worked on, such as a lost database or a time limit: its lease is
released, and no result is stored."""


@contextmanager
def read_only_as_outage() -> Iterator[None]:
    """Make a database that has become read-only raise OperationalError, as one that is lost does and as other databases
    do: PostgreSQL's InternalError also stands for errors that concern one item, such as a damaged row.
    """

    def execute(run: Any, *statement: Any) -> Any:
        try:
            return run(*statement)
        except InternalError as error:
            if not is_read_only(error):
                raise
            raise OperationalError(*error.args) from error.__cause__

    with ExitStack() as stack:
        # The databases that a sync writes to; the driver of another one need not be installed here.
        for alias in {router.db_for_write(model) for model in apps.get_app_config("imagesim").get_models()}:
            stack.enter_context(connections[alias].execute_wrapper(execute))
        yield


def log_outage(error: Exception) -> None:
    """Log one of ``CONNECTION_ERRORS`` that ended a sync, which is tried again at the next poll, and close the lost
    connections."""
    close_lost_connections()
    # The kind is that of an index in the same database, whose outage the sync has then logged already.
    reason, kind = with_migrate_hint(error), IndexUnavailable.code
    log_repeated(logger, logging.WARNING, kind, "sync interrupted by the database: %s", reason)


class _TimeLimitReached(KeyboardInterrupt):
    """The soft time limit of the task is reached."""


def _raise_time_limit(signum: int, frame: object) -> None:
    raise _TimeLimitReached


@contextmanager
def stopped_at_time_limit() -> Iterator[None]:
    """Make the soft time limit of a task stop it in the same way as a signal stops a command.

    A Celery worker raises :exc:`SoftTimeLimitExceeded` from a signal, at any point. It is an ordinary ``Exception``,
    which embedders, clients and the shop's own code take for a failure of their own work.

    :raises SoftTimeLimitExceeded: when the block has been stopped.
    """
    pool = sys.modules.get("billiard.pool")  # a worker has imported it
    number = getattr(pool, "SIG_SOFT_TIMEOUT", None)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if pool is None or number is None or not in_main_thread:
        yield  # no time limit reaches it
        return
    handler = pool.soft_timeout_sighandler
    if signal.getsignal(number) is not handler:
        yield  # not in a worker, in one without time limits, or within another such block
        return
    try:
        signal.signal(number, _raise_time_limit)
        try:
            yield
        finally:
            signal.signal(number, handler)
    except _TimeLimitReached as error:
        raise SoftTimeLimitExceeded from error
