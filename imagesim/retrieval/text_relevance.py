"""The relevance of an entry by words and looks: independent evidence, of which a match by name needs no other."""

from __future__ import annotations

import math

from imagesim.retrieval.feedback import NAMED

TEXT_SLOPE = 12.0
"""The relevance of a match of words is 1 / (1 + exp(-slope * (match - NAMED))): half of the query's words, weighted by
rarity, give a probability of about one half."""

BY_NAME = 0.75
"""The minimum match for an entry to rank by its texts, before all entries that only look similar."""

UNKNOWN = 0.2
"""The relevance by vectors that is neutral. Vectors decide about entries that match less than :data:`BY_NAME`: for "red
shoes", they keep shoes and drop red apples."""

LEAST_LOOKS = 0.1
"""The minimum relevance by vectors that counts beside a match of words: the model is unreliable for many words, so
vectors can halve the odds of a match, but not reject it."""


def text_relevance(match: float) -> float:
    """Return the relevance of an entry with this match (0..1)."""
    return 1 / (1 + math.exp(-TEXT_SLOPE * (match - NAMED)))


def fused_relevance(match: float, by_words: float, looks: float) -> float:
    """Return the relevance of an entry by its match of words, of the relevance ``by_words``, and by its looks."""
    return either(by_words, looks) if match >= BY_NAME else _both(by_words, looks)


def either(by_words: float, looks: float) -> float:
    """Return the probability that an entry is relevant by either."""
    return 1 - (1 - by_words) * (1 - looks)


def _both(text: float, looks: float) -> float:
    """Combine the probabilities of words and vectors, with :data:`UNKNOWN` as neutral."""
    together = _odds(text) * _odds(max(looks, LEAST_LOOKS)) / _odds(UNKNOWN)
    return together / (1 + together)


def _odds(probability: float) -> float:
    return max(probability, 1e-6) / max(1 - probability, 1e-6)
