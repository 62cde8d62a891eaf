"""Compute the figures in the table from vectors and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

TOP = 10


def common(types: Sequence[str], least: int = 30) -> list[str]:
    """Return the article types with at least ``least`` pictures in the whole set: 34 of them."""
    return sorted(name for name, number in Counter(types).items() if number >= least)


def precision(scores: np.ndarray, relevant: np.ndarray, *, least: int = 1) -> float:
    """Return the mean precision among the first ten, capped by the number of relevant pictures.

    :param scores: (queries, gallery), higher is nearer; -inf excludes a picture.
    :param relevant: bool, the same shape.
    :param least: queries with fewer relevant pictures are ignored.
    """
    number = (relevant & np.isfinite(scores)).sum(1)
    asked = number >= least
    scores, relevant, number = scores[asked], relevant[asked], number[asked]
    top = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
    found = np.take_along_axis(relevant, top, 1).sum(1)
    return float((found / np.minimum(number, TOP)).mean())


def image_to_image(
    vectors: np.ndarray, labels: np.ndarray, queries: np.ndarray | None = None, *, same_order: bool = True
) -> float:
    """Return the precision of the neighbours of each picture, without itself.

    :param queries: other views of the same pictures in the same order; the pictures themselves by default.
    """
    scores = (vectors if queries is None else queries) @ vectors.T
    if same_order:
        np.fill_diagonal(scores, -np.inf)
    return precision(scores, labels[:, None] == labels[None])


def text_to_image(texts: np.ndarray, wanted: np.ndarray, vectors: np.ndarray, labels: np.ndarray, least: int) -> float:
    """Return the precision of the pictures found for each text."""
    return precision(texts @ vectors.T, wanted[:, None] == labels[None], least=least)


def zero_shot(texts: np.ndarray, vectors: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return (accuracy over pictures, mean accuracy over types); row i of ``texts`` stands for label i."""
    right = (vectors @ texts.T).argmax(1) == labels
    return float(right.mean()), float(np.mean([right[labels == i].mean() for i in np.unique(labels)]))


def r_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Return the mean R-precision, for few relevant pictures: their share among as many first pictures as there are.

    :param scores: (queries, gallery), higher is nearer; -inf excludes a picture.
    :param relevant: bool, the same shape; queries without any are ignored.
    """
    relevant = relevant & np.isfinite(scores)
    order = np.take_along_axis(relevant, np.argsort(-scores, axis=1, kind="stable"), 1)
    return float(np.mean([row[: row.sum()].mean() for row in order if row.any()]))
