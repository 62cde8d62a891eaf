"""Versions of items' pictures in Django's default cache. An answer that a page keeps is out of date when the sync has
indexed other pictures of the item that was asked about."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

from imagesim import shared_cache
from imagesim.indexes import get_index

SECONDS = 24 * 60 * 60
"""No answer is kept for longer. A version that is forgotten only means that an answer is searched again."""


def version_name(key: str) -> str:
    """Return the cache key of the version of an item, given the item's key in the index."""
    digest = hashlib.sha256(f"{get_index().name} {key}".encode()).hexdigest()
    return f"imagesim.pictures.{digest}"


def renew(keys: Iterable[str]) -> None:
    """Give new versions to the items with these keys."""
    versions = {version_name(key): secrets.token_hex(8) for key in keys}
    if versions:
        shared_cache.keep_many(versions, SECONDS)
