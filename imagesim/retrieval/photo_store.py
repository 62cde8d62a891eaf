"""Stores visitors' photos for a few minutes, so that a moved box needs no upload.

A photo is stored in Django's cache as a small JPEG without metadata, in one of ``LOOK_PHOTOS`` slots, so that the
number and the bytes of photos are limited in any cache. A visitor has ``SLOTS_PER_VISITOR`` of them, chosen by a keyed
hash and used in rotation, so that a visitor who sends many photos replaces their own. A cache that writes to disk is
not used. If a photo cannot be stored, or has expired, a page crops the region itself.
"""

from __future__ import annotations

import logging
import secrets
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _

from imagesim.circuit_breaker import log_repeated
from imagesim.conf import get_settings
from imagesim.exceptions import PhotoGone
from imagesim.images import MIN_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

LONGEST_SIDE = 1280
"""The approximate longest side in pixels: that of the pages' uploads, and more than the models use."""

QUALITIES = (90, 80, 65)
"""The JPEG qualities to try; the first that fits is used."""

SLOTS_PER_VISITOR = 4
"""The number of slots that the photos of one visitor use in rotation."""

_COUNTER = "imagesim.look.counter"


def store(photo: Image, size: tuple[int, int], visitor: str = "") -> str:
    """Store an upright RGB photo, and return its token; empty if it cannot be stored.

    ``size``: (width, height) of the photo as it was sent; ``visitor``: who sent it, for the number of slots.
    """
    conf = get_settings()
    if not conf.LOOK_SECONDS or writes_to_disk(conf.LOOK_CACHE):
        return ""
    data = _encoded(photo, conf.LOOK_BYTES // conf.LOOK_PHOTOS)
    if not data:
        return ""
    secret = secrets.token_urlsafe(24)
    try:
        cache = caches[conf.LOOK_CACHE]
        slot = _next_slot(cache, conf.LOOK_PHOTOS, visitor)
        cache.set(_key(slot), (secret, data, size), conf.LOOK_SECONDS)
        held = cache.touch(_key(slot), conf.LOOK_SECONDS)  # not in a DummyCache, nor what is too large for Memcached
    except Exception:  # an unavailable cache must not fail a finished answer
        message = "A photo could not be stored in the cache %r"
        log_repeated(logger, logging.WARNING, "store", message, conf.LOOK_CACHE, exc_info=True)
        return ""
    return f"{slot}.{secret}" if held else ""


def load(token: str) -> tuple[Image, tuple[int, int]]:
    """Return the photo of a token, and its original (width, height).

    :raises PhotoGone: if there is none, or it has expired.
    """
    from PIL import Image

    data, size = load_jpeg(token)
    return Image.open(BytesIO(data), formats=["JPEG"]).convert("RGB"), size


def load_jpeg(token: str) -> tuple[bytes, tuple[int, int]]:
    """Return the stored JPEG of a token, and its original (width, height).

    :raises PhotoGone: if there is none, or it has expired.
    """
    slot, _dot, secret = token.partition(".")
    stored = None
    if slot.isascii() and slot.isdigit() and len(slot) < 10:
        try:
            stored = caches[get_settings().LOOK_CACHE].get(_key(int(slot)))
        except Exception:
            log_repeated(logger, logging.WARNING, "read", "A photo could not be read from the cache", exc_info=True)
    # A lone surrogate, which JSON may hold, cannot be encoded and raises an error in the comparison.
    if stored is None or not secret.isascii() or not constant_time_compare(stored[0], secret):
        raise PhotoGone(_("This photo has expired; send it again, or send the region as a picture."))
    return stored[1], stored[2]


def writes_to_disk(alias: str) -> bool:
    """Return whether a cache writes to a disk, where visitors' photos must not be stored."""
    try:
        return isinstance(caches[alias], FileBasedCache | DatabaseCache)
    except InvalidCacheBackendError:
        return False  # the system check reports it; here it fails like an unavailable cache


def _key(slot: int) -> str:
    """Return the key of a slot in the cache."""
    return f"imagesim.look.photo.{slot}"


def _next_slot(cache: Any, slots: int, visitor: str) -> int:
    """Return the next of the visitor's slots, in rotation; without a visitor, of all slots."""
    first, own, counter = 0, slots, _COUNTER
    if visitor and slots > SLOTS_PER_VISITOR:
        number = int.from_bytes(salted_hmac(_COUNTER, visitor, algorithm="sha256").digest()[:8], "big")
        first = number % (slots // SLOTS_PER_VISITOR) * SLOTS_PER_VISITOR
        own, counter = SLOTS_PER_VISITOR, f"{_COUNTER}.{first}"
    cache.add(counter, 0, timeout=None)
    try:
        turn = int(cache.incr(counter))
    except ValueError:  # the counter was evicted between the two lines
        turn = secrets.randbelow(own)
    return first + turn % own


def _encoded(photo: Image, limit: int) -> bytes:
    """Encode a JPEG of at most ``limit`` bytes; return empty bytes if that is impossible."""
    factor = round(max(photo.size) / LONGEST_SIDE)  # an integer factor takes a twelfth of the time
    small = photo.reduce(factor) if factor >= 2 else photo
    if min(small.size) < MIN_SIDE:
        return b""
    for quality in QUALITIES:
        buffer = BytesIO()
        small.save(buffer, "JPEG", quality=quality, exif=b"")
        if buffer.tell() <= limit:
            return buffer.getvalue()
    return b""
