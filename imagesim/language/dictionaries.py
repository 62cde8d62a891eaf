"""Look words up in dictionaries, to know which words of a query are spelled correctly.

The dictionaries are those of ``pyspellchecker``, in some ten languages. Without this package (the extra ``spelling``),
no word is found.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from imagesim.language.letters import fold

if TYPE_CHECKING:
    import numpy.typing as npt

LENGTHS = range(3, 25)
"""The numbers of letters of the words that are stored. Typing errors in shorter ones are not searched for."""


def in_dictionary(word: str, language: str) -> bool:
    """Return whether the dictionary of a language contains a word, which is given without case and accents.

    The first call for a language reads its dictionary, which takes up to a second.
    """
    known = _hashes(language)
    sought = hash(word)
    at = int(np.searchsorted(known, sought))
    return at < len(known) and int(known[at]) == sought


def has_dictionary(language: str) -> bool:
    """Return whether there is a dictionary of a language."""
    return len(_hashes(language)) > 0


def load(language: str) -> None:
    """Read the dictionary of a language before it is needed."""
    _hashes(language)


@lru_cache(maxsize=32)
def _hashes(language: str) -> npt.NDArray[np.int64]:
    """Return the hashes of the words of a language in ascending order.

    The 340,000 words of the largest dictionary take 3 MB as hashes, and forty times as much as texts.
    """
    try:
        from spellchecker import SpellChecker
    except ImportError:
        return np.empty(0, dtype=np.int64)
    if language not in SpellChecker.languages():
        return np.empty(0, dtype=np.int64)
    words = (word for word in SpellChecker(language=language).word_frequency.dictionary if len(word) in LENGTHS)
    folded = (word if word.isascii() else fold(word) for word in words)  # they are in lower case
    return np.sort(np.fromiter(map(hash, folded), dtype=np.int64))
