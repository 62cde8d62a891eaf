"""The text of values that may be marked up as HTML."""

from __future__ import annotations

import html
import re
from typing import Any

from django.utils.html import strip_tags

MAX_TEXT = 10_000

_BLOCK = re.compile(r"<(?!/?(?:b|em|i|mark|s|small|span|strong|sub|sup|u|wbr)\b)", re.IGNORECASE)


def plain_text(value: Any) -> str:
    """Return a value as text without mark-up, at most :data:`MAX_TEXT` characters of it."""
    text = str(value)[:MAX_TEXT]
    if "<" in text:
        # Spaces where a browser begins a line: "<li>red</li><li>blue</li>" are two words.
        text = html.unescape(strip_tags(_BLOCK.sub(" <", text)))
    return text.replace("\0", "").strip()
