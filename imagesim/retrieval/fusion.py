"""Relevance by words, from the match of texts, and its combination with relevance by looks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from imagesim.retrieval.feedback import NAMED

if TYPE_CHECKING:
    from imagesim.types import Candidate

TEXT_SLOPE = 12.0
"""The relevance of a match of words is 1 / (1 + exp(-slope * (match - NAMED))), so about half of the words, weighted by
rarity, give a probability of one half."""

BY_NAME = 0.75
"""The minimum match of an entry that is ranked by its texts, ahead of all that only look similar: it is named by the
words."""

KIND_MATCH = 0.5
"""The minimum match of an entry in a category that the words name: shoes of any colour answer "yellow shoes"."""

ALL_OF_NAME = 0.96
HALF_OF_NAME = 0.94
"""The minimum match of an entry whose name consists of the words, and of one with as many other words in its name."""

UNKNOWN = 0.2
"""The relevance by looks that neither raises nor lowers that of the words. It counts for entries that match less than
:data:`BY_NAME`: for "red shoes", the vectors keep other shoes and drop red apples."""

MIN_LOOKS = 0.1
"""The minimum relevance by looks that is combined with a match of words. Models are unreliable for many words, so looks
can halve the odds of a match but not reject it."""


def text_relevance(match: float) -> float:
    """Return the relevance of an entry with this match (0..1)."""
    return 1 / (1 + math.exp(-TEXT_SLOPE * (match - NAMED)))


def fused_relevance(match: float, by_words: float, looks: float) -> float:
    """Return the relevance of an entry from the match of its texts, which has the relevance ``by_words``, and from its
    looks."""
    return either(by_words, looks) if match >= BY_NAME else combined(by_words, looks)


def either(by_words: float, looks: float) -> float:
    """Return the probability that an entry is relevant by words or by looks."""
    return 1 - (1 - by_words) * (1 - looks)


def combined(by_words: float, looks: float) -> float:
    """Return the probability by words and looks together: the product of their odds, for which looks with the
    probability :data:`UNKNOWN` count as neutral."""
    odds = _odds(by_words) * _odds(max(looks, MIN_LOOKS)) / _odds(UNKNOWN)
    return odds / (1 + odds)


def _odds(probability: float) -> float:
    return max(probability, 1e-6) / max(1 - probability, 1e-6)


def fused(
    matches: Sequence[Candidate],
    looks: Sequence[Candidate],
    evidence: Mapping[str, float],
    *,
    window: int,
    by_group: bool,
) -> list[Candidate]:
    """Merge both lists: first the entries named by the words, sorted by match, then all others, sorted by relevance.

    An entry named by the words is relevant by words or by looks; the relevance of a lower match combines both. Only the
    first ``window`` entries by looks are sorted in. They are the same for every page, so pages neither overlap nor skip
    entries. ``evidence``: by key, the relevance by looks of those matches for which it differs from the candidate's
    relevance, by which they are sorted. ``by_group``: whether variants are collapsed.
    """
    # The values that sort each entry come first; the entries of one group share a key.
    found: dict[str, tuple[float, float, float, str, Candidate]] = {}
    for each in matches:
        key, match = each.key, each.text
        by_words = text_relevance(match)
        place = -round(match, 2) if match >= BY_NAME else 0.0
        relevance = fused_relevance(match, by_words, evidence.get(key, each.relevance))
        order = (place, -either(by_words, each.relevance), -each.score, key)
        found[each.identity(by_group)] = (*order, each._replace(relevance=relevance))
    for each in looks[:window]:
        name = each.identity(by_group)
        if name not in found:
            found[name] = (0.0, -each.relevance, -each.score, each.key, each)
    rest = (each for each in looks[window:] if each.identity(by_group) not in found)
    return [*(each for *_, each in sorted(found.values())), *rest]
