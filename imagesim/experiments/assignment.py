"""Who gets which variant: a salted hash of the visitor's key decides, so that nothing has to be stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from imagesim.conf import get_settings

if TYPE_CHECKING:
    from django.http import HttpRequest

PSEUDONYM_LENGTH = 24


def visitor_key(request: HttpRequest) -> str:
    """Return the key that identifies the visitor: that of the session, or what ``VISITOR_KEY`` returns; empty
    if there is none."""
    path = get_settings().VISITOR_KEY
    if path:
        return import_string(path)(request) or ""
    return getattr(getattr(request, "session", None), "session_key", None) or ""


def assign(salt: str, key: str, share: int, weights: Sequence[tuple[str, int]]) -> str:
    """Return the variant of a visitor; empty if the visitor does not take part.

    ``share``: percent of the visitors who do; ``weights``: the percent of them for each variant. Whether a visitor
    takes part and which variant the visitor gets are independent of each other and of any other experiment.
    """
    if _position(salt, "part", key) >= share / 100:
        return ""
    place, edge = _position(salt, "variant", key), 0.0
    for name, weight in weights:
        edge += weight / 100
        if place < edge:
            return name
    return weights[-1][0]  # the shares add up to 1 but for rounding


def _position(salt: str, what: str, key: str) -> float:
    """Return a number from 0 to 1 that is the same for the same visitor."""
    digest = hashlib.sha256(f"{salt}:{what}:{key}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def pseudonym(salt: str, key: str) -> str:
    """Return a keyed hash of a visitor that differs from experiment to experiment."""
    return salted_hmac(f"imagesim.experiments.{salt}", key, algorithm="sha256").hexdigest()[:PSEUDONYM_LENGTH]
