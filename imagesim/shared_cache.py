"""Django's default cache, used so that its failure costs time but no page; and rows that every search needs, kept by
each process and reloaded when their version in that cache changes.

The version is read at most every :data:`CHECK_SECONDS`, so that a search costs no extra query. The rows are read again
after :data:`RELOAD_SECONDS` in any case, for changes that send no signal and caches that forget.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Event
from time import monotonic
from typing import Any, Generic, TypeVar

from django.core.cache import cache, caches
from django.core.checks import CheckMessage, Warning
from django.db import Error as DatabaseError
from django.db import router
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from imagesim.circuit_breaker import log_repeated
from imagesim.database import after_commit, current_schema
from imagesim.exceptions import with_migrate_hint
from imagesim.indexes import get_index
from imagesim.runtime import runtime

logger = logging.getLogger(__name__)


def is_of_one_process(name: str = "default") -> bool:
    """Return whether each process has its own cache under this name."""
    return str(caches.settings.get(name, {}).get("BACKEND", "")).endswith(("LocMemCache", "DummyCache"))


def read(key: str) -> Any:
    """Return the value kept under ``key``; None if there is none, or if the cache cannot be reached."""
    return read_many([key]).get(key)


def read_many(keys: Collection[str]) -> dict[str, Any]:
    """Return the values kept under ``keys``, without those of which there is none; nothing if the cache cannot be
    reached."""
    try:
        return cache.get_many(keys)
    except Exception:  # the errors of a cache are those of its client
        log_repeated(logger, logging.WARNING, "cache", "The cache cannot be read", exc_info=True)
        return {}


def keep(key: str, value: Any, seconds: int | None) -> None:
    """Keep ``value`` for ``seconds``, or for ever if None. A failure of the cache is logged."""
    keep_many({key: value}, seconds)


def keep_many(values: dict[str, Any], seconds: int | None) -> None:
    """Keep each of the values under its key for ``seconds``, or for ever if None. A failure of the cache is logged."""
    try:
        cache.set_many(values, seconds)
    except Exception:
        log_repeated(logger, logging.WARNING, "cache", "The cache cannot be written", exc_info=True)


CHECK_SECONDS = 2.0
RELOAD_SECONDS = 60.0

T = TypeVar("T")


def check_cache(what: str, id: str) -> list[CheckMessage]:
    """Check that the cache with the version is shared between processes; the message names ``what`` is changed."""
    if not is_of_one_process():
        return []
    return [
        Warning(
            f"The default cache is not shared between processes: {what} takes up to a minute to take effect.",
            hint="Use Redis, Memcached or the database as the default cache.",
            id=id,
        )
    ]


@dataclass
class _Kept(Generic[T]):
    value: T
    version: str = ""
    checked: float = -CHECK_SECONDS
    loaded: float = -RELOAD_SECONDS
    tried: Event = field(default_factory=Event)
    """Set after the first attempt to load the value."""


class Versioned(Generic[T]):
    """The value that ``load`` returns for a version, of this shop (and tenant) and at most a few seconds old. If it
    cannot be loaded, the value loaded before, or ``empty``. ``model`` is the model of its rows."""

    def __init__(self, name: str, model: type[Model], load: Callable[[str], T], empty: Callable[[], T]) -> None:
        self.name = name
        self._model = model
        self._load = load
        self._empty = empty

    def current(self) -> T:
        shop = self._shop()
        kept = self._kept(shop)
        now = monotonic()
        if now - kept.checked < CHECK_SECONDS:
            kept.tried.wait(CHECK_SECONDS)  # for the thread that loads it for the first time
            return kept.value
        kept.checked = now
        try:
            version = self._version(self._key(shop))
            if version != kept.version or now - kept.loaded >= RELOAD_SECONDS:
                kept.value, kept.version = self._load(version), version
                kept.loaded = now
        except DatabaseError as error:  # such as before a new table or column is migrated: a page can do without
            reason = with_migrate_hint(error)
            log_repeated(logger, logging.ERROR, self.name, "The %s cannot be loaded: %s", self.name, reason)
        finally:
            kept.tried.set()
        return kept.value

    def connect(self, *models: type[Model]) -> None:
        """Make every process reload the value after a row of these models is saved or deleted."""
        for model in models:
            for signal in (post_save, post_delete):
                signal.connect(self._changed, sender=model, dispatch_uid=f"imagesim.{self.name}.{model.__name__}")

    def _changed(self, using: str | None = None, **kwargs: Any) -> None:
        after_commit(using, self._renew, self._shop())

    @property
    def cache_key(self) -> str:
        """The key of the version in the cache."""
        return self._key(self._shop())

    def _shop(self) -> tuple[str, ...]:
        """Return what distinguishes the rows of one shop, and of one tenant's schema, from those of another."""
        return (self.name, current_schema(router.db_for_write(self._model)), get_index().name)

    def _key(self, shop: tuple[str, ...]) -> str:
        return re.sub(r"[^\w.]", "_", f"imagesim.{'.'.join(filter(None, shop[1:]))}.{self.name}")

    def _kept(self, shop: tuple[str, ...]) -> _Kept[T]:
        return runtime.get(shop, lambda: _Kept(self._empty()))

    def _renew(self, shop: tuple[str, ...]) -> None:
        self._kept(shop).checked = -CHECK_SECONDS
        keep(self._key(shop), secrets.token_hex(8), None)

    def _version(self, key: str) -> str:
        """Return the version in the cache, created if there is none; empty if the cache cannot be reached."""
        try:
            version = cache.get(key)
            if version is None:
                cache.add(key, secrets.token_hex(8), None)
                version = cache.get(key)
        except Exception:  # the errors of a cache are those of its client
            what = "The cache cannot be asked for the version of the %s"
            log_repeated(logger, logging.WARNING, f"cache of {self.name}", what, self.name, exc_info=True)
            return ""
        return str(version or "")
