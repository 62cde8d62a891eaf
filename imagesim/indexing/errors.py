"""Errors that say nothing about the item that is being worked on."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

try:
    from billiard.exceptions import SoftTimeLimitExceeded
except ImportError:

    class SoftTimeLimitExceeded(Exception):  # type: ignore[no-redef]
        """Celery is not installed, so it never ends a task."""


INFRASTRUCTURE_ERRORS = (OperationalError, InterfaceError, SoftTimeLimitExceeded)
"""Errors during the reading of an item that the item did not cause: a lost database, a time limit."""
