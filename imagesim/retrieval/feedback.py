"""Pseudo-relevance feedback (Rocchio 1971): the images of the entries that words name move the words' vector.

A process remembers for a while which words' vector was moved how, so that the next page, or the same words again, need
one request instead of two.
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
"""The match from which an entry is more likely than not what the words name."""

MAX_ENTRIES = 10
"""The maximum number of entries whose images move the vector."""

SHARE = 0.8
"""The share of the best match below which an entry is not used."""

QUERY_WEIGHT = 1.0
"""The weight of the words' own vector relative to the mean of the images."""

SECONDS = 60.0
"""How long a moved vector is remembered, as long as a calibration, which decides whether to move it."""

MAX_REMEMBERED = 1_000
"""Moved vectors that a process remembers."""

Sources = tuple[tuple[str, float], ...]


def entries_for(matching: Sequence[Candidate], vectors: Mapping[str, Vector]) -> list[Candidate]:
    """Return the entries that the words name best, as far as their images' vectors are known."""
    best = max((each.text for each in matching), default=0.0)
    if best < NAMED:
        return []
    least = max(SHARE * best, NAMED)
    chosen = sorted((each for each in matching if each.text >= least), key=lambda each: -each.text)
    return [each for each in chosen[:MAX_ENTRIES] if each.image_digest in vectors]


def weights(entries: Sequence[Candidate]) -> list[float]:
    """Return the share of each entry in the mean of the images."""
    total = sum(each.text for each in entries)
    return [each.text / total for each in entries]


def moved(vector: Vector, entries: Sequence[Candidate], vectors: Mapping[str, Vector]) -> Vector:
    """Return the vector of the words (dims,), moved towards the images of ``entries``, of unit length."""
    import numpy as np

    middle = np.sum([each.text * vectors[each.image_digest] for each in entries], axis=0)
    total = QUERY_WEIGHT * vector + middle / max(float(np.linalg.norm(middle)), 1e-6)
    length = float(np.linalg.norm(total))
    best = vectors[entries[0].image_digest]
    result: Vector = np.asarray(total / length if length > 1e-6 else best, dtype=np.float32)
    return result


def scores_by_the_others(vector: Vector, entries: Sequence[Candidate], vectors: Mapping[str, Vector]) -> list[float]:
    """Return the cosine of each entry's image to the words' vector, moved by the other entries alone."""
    import numpy as np

    images = np.stack([vectors[each.image_digest] for each in entries])
    weighted = np.array([[each.text] for each in entries], dtype=np.float32) * images
    others = weighted.sum(axis=0) - weighted
    total = QUERY_WEIGHT * vector + others / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-6)
    cosines = (images * total).sum(axis=1) / np.maximum(np.linalg.norm(total, axis=1), 1e-6)
    scores: list[float] = np.clip(cosines, -1.0, 1.0).tolist()
    return scores


def sources_of(entries: Sequence[Candidate]) -> Sources:
    """Return what a moved vector depends on besides the words' own: the images, and how well the words name each."""
    return tuple((each.image_digest, each.text) for each in entries)


@dataclass(frozen=True, slots=True)
class Moved:
    """A vector that was moved, and the sources that it was moved by."""

    vector: Vector
    sources: Sources
    until: float


class MovedVectors:
    """The vectors that were moved in the last :data:`SECONDS`, by query; thread-safe.

    One that was moved by other sources than the words name now is not used, so that answers do not depend on what was
    asked before.
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
    """The words' vector, which also stands for the model and its projection, and what the nearest entries depend on."""
    digest = hashlib.blake2b(query.vector.tobytes(), digest_size=16).digest()
    return digest, query.fingerprint, query.filters, query.collapse, query.similarity
