"""Recognise an item that looks like those of another category: "a chair among the shoes"."""

from __future__ import annotations

from collections.abc import Collection, Sequence

MARGIN = 0.15
"""By how much nearer, in cosine, an item has to be to another category than to its own. Calibrated by
``python -m benchmarks.outliers``: docs/howto-insight.md has the figures."""

NEIGHBOURS = 10
WITNESSES = 3
"""Of the nearest neighbours of an item, how many have to be of the other category; the mean of the nearest of them
counts."""

ENOUGH = 5
"""A category needs more items for one to be unlike it."""


def foreign_category(
    near: Sequence[tuple[float, Collection[str]]], own: Collection[str], own_best: float, margin: float = MARGIN
) -> str:
    """Return the category that an item looks like, if that is not one of its ``own``; empty otherwise.

    ``near``: the cosine and the categories of its nearest neighbours, best first; ``own_best``: the cosine of the
    nearest item in its own categories.
    """
    scores: dict[str, list[float]] = {}
    for score, categories in near:
        if not set(own) & set(categories):
            for category in categories:
                scores.setdefault(category, []).append(score)
    means = {
        category: sum(found[:WITNESSES]) / WITNESSES for category, found in scores.items() if len(found) >= WITNESSES
    }
    best = max(means, key=means.__getitem__, default="")
    return best if best and means[best] - own_best >= margin else ""
