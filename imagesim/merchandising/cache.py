"""Cache the rules per process, and reload them when their version in the cache changes.

The version is asked for at most every :data:`CHECK_SECONDS`, from the cache, so that a search costs no query more; the
rules are read again after :data:`RELOAD_SECONDS` anyway, for changes that send no signal and caches that forget.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from django.core.cache import cache
from django.db import router, transaction

from imagesim.database import current_schema
from imagesim.indexes import get_index
from imagesim.merchandising.engine import RuleSet
from imagesim.merchandising.models import LabelCategories, Rule
from imagesim.retrieval.rerank import Plan, Question
from imagesim.runtime import runtime

logger = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
RELOAD_SECONDS = 60.0


@dataclass
class _Kept:
    rules: RuleSet = field(default_factory=RuleSet)
    checked: float = -CHECK_SECONDS
    loaded: float = -RELOAD_SECONDS


class CachedRules:
    """The reranker that the app registers."""

    @property
    def version(self) -> str:
        return current().version

    @property
    def label_categories(self) -> Mapping[str, tuple[str, ...]]:
        return current().label_categories

    def plan(self, question: Question) -> Plan | None:
        return current().plan(question)


def current() -> RuleSet:
    """Return the rules of this shop (and tenant), at most a few seconds old."""
    shop = _shop()
    kept = runtime.get(shop, _Kept)
    now = monotonic()
    if now - kept.checked < CHECK_SECONDS:
        return kept.rules
    kept.checked = now
    version = _version(_name(shop))
    if version != kept.rules.version or now - kept.loaded >= RELOAD_SECONDS:
        kept.rules = RuleSet.of(Rule.objects.filter(enabled=True), version, LabelCategories.objects.all())
        kept.loaded = now
    return kept.rules


def changed(using: str | None = None, **kwargs: Any) -> None:
    """Change the version after a rule or the categories of a label were saved or deleted, so that every process reloads
    them after the commit."""
    transaction.on_commit(partial(_renew, _shop()), using=using, robust=True)


def _renew(shop: tuple[str, ...]) -> None:
    runtime.get(shop, _Kept).checked = -CHECK_SECONDS
    cache.set(_name(shop), secrets.token_hex(8), None)


def _version(name: str) -> str:
    """Return the version in the cache, created if there is none; empty if the cache cannot be reached."""
    try:
        version = cache.get(name)
        if version is None:
            cache.add(name, secrets.token_hex(8), None)
            version = cache.get(name)
    except Exception:  # the errors of a cache are those of its client
        logger.warning("The cache cannot be asked for the version of the rules", exc_info=True)
        return ""
    return str(version or "")


def _shop() -> tuple[str, ...]:
    """Return what tells the rules of one shop, and of one tenant's schema, from those of another."""
    return ("merchandising", current_schema(router.db_for_read(Rule)), get_index().name)


def _name(shop: tuple[str, ...]) -> str:
    return re.sub(r"[^\w.]", "_", f"imagesim.{'.'.join(filter(None, shop[1:]))}.rules")
