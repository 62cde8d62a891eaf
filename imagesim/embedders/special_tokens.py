"""Texts that spell a special token of a tokenizer (``[PAD]``, ``</s>``, ``<end_of_text>``) are texts like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable


def separator(special_tokens: Iterable[str]) -> Callable[[str], str]:
    """Return a function that puts a space into each special token within a text, so that its characters are tokenized.

    Tokenizers take the name of such a token for the token itself: the end of the text, or its padding. Their own
    options against it do not hold for SentencePiece's unigrams, which find the name as a piece of their vocabulary.
    """
    names = sorted({name for name in special_tokens if len(name) > 1}, key=len, reverse=True)
    if not names:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, names)), re.IGNORECASE)
    return lambda text: pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
