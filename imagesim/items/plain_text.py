"""The values of items as plain text."""

from __future__ import annotations

import html
import re
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.utils.html import strip_tags

MAX_TEXT = 10_000
"""The maximum number of characters of a text that are read."""

_BLOCK = re.compile(r"<(?!/?(?:b|em|i|mark|s|small|span|strong|sub|sup|u|wbr)\b)", re.IGNORECASE)


def plain_text(value: Any) -> str:
    """Return a value as text without mark-up, at most :data:`MAX_TEXT` characters of it."""
    text = str(value)[:MAX_TEXT]
    if "<" in text:
        # Spaces where a browser begins a line: "<li>red</li><li>blue</li>" are two words.
        text = _BLOCK.sub(" <", text)
        try:
            text = html.unescape(strip_tags(text))
        except SuspiciousOperation:  # too many of them, as in a table of values such as "a<b", are not closed
            text = html.unescape(text.replace("<", " "))
    return text.replace("\0", "").strip()
