"""Django's default cache. A failure of it costs time, and no page."""

from __future__ import annotations

import logging
from typing import Any

from django.core.cache import cache, caches

from imagesim.circuit_breaker import log_repeated

logger = logging.getLogger(__name__)


def is_of_one_process(name: str = "default") -> bool:
    """Return whether each process has a cache of its own under this name."""
    return str(caches.settings.get(name, {}).get("BACKEND", "")).endswith(("LocMemCache", "DummyCache"))


def read(key: str) -> Any:
    """Return what was kept under ``key``; None if there is nothing, or if the cache cannot be reached."""
    try:
        return cache.get(key)
    except Exception:  # the errors of a cache are those of its client
        log_repeated(logger, logging.WARNING, "cache", "The cache cannot be read", exc_info=True)
        return None


def keep(key: str, value: Any, seconds: int) -> None:
    """Keep ``value`` for so many seconds, if the cache can be reached."""
    try:
        cache.set(key, value, seconds)
    except Exception:
        log_repeated(logger, logging.WARNING, "cache", "The cache cannot be written", exc_info=True)
