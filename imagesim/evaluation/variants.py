"""What a study compares: similarity functions, dimensions and quantisations, each as the engine would do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imagesim.exceptions import BadQuery, format_choices

if TYPE_CHECKING:
    from imagesim.types import Vector

OVERSAMPLE = 3


@dataclass(frozen=True)
class Variant:
    """One way to store and to compare the vectors of a model.

    ``similarity`` is cosine, dot_product, l2 or l1; ``dims`` the number kept by PCA (None: all);
    ``quantisation`` none, int8, int4 or bbq, the last three rescored on the full vectors unless ``rescore`` is off.
    """

    similarity: str = "cosine"
    dims: int | None = None
    quantisation: str = "none"
    rescore: bool = True

    def __str__(self) -> str:
        rescored = "" if self.quantisation == "none" else (" rescored" if self.rescore else " unrescored")
        return f"{self.similarity}, {self.dims or 'all'} dims, {self.quantisation}{rescored}"


def _cosine(queries: Vector, vectors: Vector) -> Vector:
    scores: Vector = queries @ vectors.T
    return scores


def _l2(queries: Vector, vectors: Vector) -> Vector:
    squares = np.einsum("ij,ij->i", vectors, vectors)[None] + np.einsum("ij,ij->i", queries, queries)[:, None]
    distances: Vector = np.sqrt(np.maximum(squares - 2 * (queries @ vectors.T), 0))
    return -distances


def _l1(queries: Vector, vectors: Vector) -> Vector:
    return -np.stack([np.abs(vectors - query).sum(axis=1) for query in queries])


SIMILARITIES: dict[str, Callable[[Vector, Vector], Vector]] = {
    "cosine": _cosine,
    "dot_product": _cosine,  # the same for unit vectors; kept because a shop may ask for either
    "l2": _l2,
    "l1": _l1,
}


def _none(vectors: Vector) -> Vector:
    return vectors


def _scalar(bits: int) -> Callable[[Vector], Vector]:
    def quantise(vectors: Vector) -> Vector:
        # Lucene's scalar quantisation: one interval for all values, cut at quantiles; of int8 the index asks for all.
        low, high = (vectors.min(), vectors.max()) if bits == 8 else np.quantile(vectors, (0.01, 0.99))
        levels = 2 ** (bits - 1 if bits == 8 else bits) - 1
        steps = np.round((np.clip(vectors, low, high) - low) / (high - low) * levels)
        stored: Vector = (steps / levels * (high - low) + low).astype(np.float32)
        return stored

    return quantise


def _binary(vectors: Vector) -> Vector:
    # The idea of RaBitQ (Gao & Long, 2024): signs around the centroid, scaled to keep each vector's projection.
    centroid = vectors.mean(axis=0)
    centred = vectors - centroid
    scale = np.abs(centred).mean(axis=1, keepdims=True)
    stored: Vector = (np.sign(centred) * scale + centroid).astype(np.float32)
    return stored


QUANTISATIONS: dict[str, Callable[[Vector], Vector]] = {
    "none": _none,
    "int8": _scalar(8),
    "int4": _scalar(4),
    "bbq": _binary,
}


def check(variant: Variant, dims: int) -> None:
    """:raises BadQuery: naming what the study does not know, and what it does."""
    if variant.similarity not in SIMILARITIES:
        raise BadQuery(
            f"{variant.similarity!r} is not a similarity function; it can be {format_choices(SIMILARITIES)}."
        )
    if variant.quantisation not in QUANTISATIONS:
        raise BadQuery(f"{variant.quantisation!r} is not a quantisation; it can be {format_choices(QUANTISATIONS)}.")
    if variant.dims is not None and not 0 < variant.dims <= dims:
        raise BadQuery(f"{variant.dims} dimensions cannot be kept; the model has {dims}.")
