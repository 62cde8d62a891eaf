"""Bound what one visitor adds to the records of a day.

A program that calls itself a browser may load pages by the hundred thousand, each of which would be a row that is kept
for ``EVENTS_DAYS`` and outweighs what people ask.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from functools import lru_cache
from ipaddress import ip_address

from django.http import HttpRequest

from imagesim.circuit_breaker import log_repeated
from imagesim.insight.middleware import MAX_AGENT
from imagesim.runtime import runtime

logger = logging.getLogger(__name__)

MOST_ANSWERS = 1_000
"""Of one visitor, per day and process."""

MOST_VISITORS = 10_000
"""Whose answers are counted; those who asked last."""

DAY = 24 * 60 * 60


class VisitorCounts:
    """How many answers each visitor got today, in the memory of this process. A visitor is a hash of the addresses and
    the User-Agent, which is neither stored nor the same in another process."""

    def __init__(self) -> None:
        self._day = 0
        self._counts: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, request: HttpRequest) -> bool:
        """Count an answer; return whether it is within the bound."""
        visitor = _visitor(request)
        if visitor is None:
            return True
        with self._lock:
            if self._day != (today := int(time.time() // DAY)):
                self._day, self._counts = today, OrderedDict()
            count = self._counts.pop(visitor, 0) + 1
            self._counts[visitor] = count
            if len(self._counts) > MOST_VISITORS:
                self._counts.popitem(last=False)
        if count > MOST_ANSWERS:
            log_repeated(logger, logging.WARNING, "flood", "Further answers to a visitor are not recorded today")
        return count <= MOST_ANSWERS

    def is_within(self, request: HttpRequest) -> bool:
        """Return whether another answer is within the bound, without counting it."""
        visitor = _visitor(request)
        return visitor is None or self._counts.get(visitor, 0) < MOST_ANSWERS


def visitor_counts() -> VisitorCounts:
    """Return the counts of this process."""
    return runtime.get(VisitorCounts, VisitorCounts)


def _visitor(request: HttpRequest) -> int | None:
    """Return what tells a visitor from others; None if the address may be that of a proxy, and so of all visitors."""
    address, forwarded = request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    if not forwarded and not _is_public(address):
        return None
    return hash((address, forwarded, request.META.get("HTTP_USER_AGENT", "")[:MAX_AGENT]))


@lru_cache(1024)
def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:  # a UNIX socket
        return False
