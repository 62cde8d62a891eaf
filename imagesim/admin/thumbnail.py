"""Small pictures of items in the admin's lists, by :mod:`imagesim.thumbnails`."""

from __future__ import annotations

import logging
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from imagesim.circuit_breaker import log_repeated
from imagesim.registry import registry
from imagesim.thumbnails import Pictures

logger = logging.getLogger(__name__)

WIDTH = 160
"""In pixels; the style sheet shows it smaller."""


def thumbnail(item: Any, name: str = "", *, alt: str = "", links: bool = False) -> SafeString | str:
    """Return an ``<img>`` of the item's picture stored under ``name``, or of its first one; empty if it has none.

    With ``links`` it leads to the picture as it was stored. A storage that fails leaves the place empty.
    """
    try:
        pictures = Pictures(registry.for_item(item), item, name)
        url, original = pictures.url(WIDTH), pictures.original if links else ""
    except Exception:  # of the shop's code, or of its storage's client
        log_repeated(logger, logging.WARNING, "thumbnail", "A picture could not be shown", exc_info=True)
        return ""
    if not url:
        return ""
    image = format_html('<img class="imagesim-thumbnail" src="{}" alt="{}" loading="lazy">', url, alt)
    return format_html('<a href="{}">{}</a>', original, image) if original else image
