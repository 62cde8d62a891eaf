"""Pseudo-relevance feedback (Rocchio 1971): the vector of the words is moved towards the images of the entries whose
texts match them best.

A process remembers the moved vectors for a while, so that the next page, or the same words again, need one request
instead of two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from imagesim.runtime import RecentlyUsed
from imagesim.types import Candidate, Query

if TYPE_CHECKING:
    from collections.abc import Hashable

    from imagesim.types import Vector

NAMED = 0.45
"""The match above which an entry is more likely than not what the words name."""

MAX_ENTRIES = 10
"""The maximum number of entries towards whose images the vector is moved."""

SHARE = 0.8
"""Entries with a match below this share of the best one are not used."""

QUERY_WEIGHT = 1.0
"""The weight of the words' own vector relative to the mean of the images."""

SECONDS = 60.0
"""How long a moved vector is remembered: as long as the calibration, which decides whether a vector is moved."""

MAX_REMEMBERED = 1_000
"""The maximum number of moved vectors that a process remembers."""

Sources = tuple[tuple[str, float], ...]


def entries_for(matching: Sequence[Candidate], vectors: Mapping[str, Vector]) -> list[Candidate]:
    """Return the entries whose texts match best, without those whose image has no known vector."""
    best = max((each.text for each in matching), default=0.0)
    if best < NAMED:
        return []
    least = max(SHARE * best, NAMED)
    chosen = sorted((each for each in matching if each.text >= least), key=lambda each: -each.text)
    return [each for each in chosen[:MAX_ENTRIES] if each.image_digest in vectors]


def weights(entries: Sequence[Candidate]) -> list[float]:
    """Return the weight of each entry in the mean of the images; they add up to 1."""
    total = sum(each.text for each in entries)
    return [each.text / total for each in entries]


def moved(vector: Vector, entries: Sequence[Candidate], vectors: Mapping[str, Vector]) -> Vector:
    """Return the vector of the words, moved towards the images of ``entries``: shape (dims,), unit length."""
    import numpy as np

    middle = np.sum([each.text * vectors[each.image_digest] for each in entries], axis=0)
    total = QUERY_WEIGHT * vector + middle / max(float(np.linalg.norm(middle)), 1e-6)
    length = float(np.linalg.norm(total))
    best = vectors[entries[0].image_digest]
    result: Vector = np.asarray(total / length if length > 1e-6 else best, dtype=np.float32)
    return result


def scores_by_the_others(vector: Vector, entries: Sequence[Candidate], vectors: Mapping[str, Vector]) -> list[float]:
    """Return the cosine of each entry's image and the words' vector moved towards the images of the other entries."""
    import numpy as np

    images = np.stack([vectors[each.image_digest] for each in entries])
    weighted = np.array([[each.text] for each in entries], dtype=np.float32) * images
    others = weighted.sum(axis=0) - weighted
    total = QUERY_WEIGHT * vector + others / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-6)
    cosines = (images * total).sum(axis=1) / np.maximum(np.linalg.norm(total, axis=1), 1e-6)
    scores: list[float] = np.clip(cosines, -1.0, 1.0).tolist()
    return scores


def sources_of(entries: Sequence[Candidate]) -> Sources:
    """Return what a moved vector depends on besides the vector of the words: the images, and the match of each
    entry."""
    return tuple((each.image_digest, each.text) for each in entries)


@dataclass(frozen=True, slots=True)
class Moved:
    """A moved vector, and the ``sources`` of the entries towards which it was moved."""

    vector: Vector
    sources: Sources
    until: float


class MovedVectors:
    """The vectors moved in the last :data:`SECONDS`, by query; thread-safe.

    The caller compares their sources with the entries that match now, so that no answer depends on earlier queries.
    """

    def __init__(self) -> None:
        self._recent: RecentlyUsed[Hashable, Moved] = RecentlyUsed(MAX_REMEMBERED)

    def get(self, query: Query) -> Moved | None:
        key = _key(query)
        found = self._recent.get([key]).get(key)
        return found if found is not None and found.until > monotonic() else None

    def set(self, query: Query, vector: Vector, sources: Sources) -> None:
        self._recent.set({_key(query): Moved(vector, sources, monotonic() + SECONDS)})

    def forget(self, query: Query) -> None:
        self._recent.forget(_key(query))


def _key(query: Query) -> Hashable:
    """Return the vector of the words, which differs between models and projections, with all else that decides which
    entries are the nearest."""
    digest = hashlib.blake2b(query.vector.tobytes(), digest_size=16).digest()
    return digest, query.fingerprint, query.filters, query.collapse, query.similarity
