"""What the entries that pass have of each field, from the columns."""

from __future__ import annotations

import numpy as np

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.local.columns import Column, Mask
from imagesim.indexes.validation import MAX_FACET_VALUES
from imagesim.types import Facet, FilterKind


def facet(kind: FilterKind, column: Column, passing: Mask) -> Facet:
    """``passing`` says of each slot whether it holds an entry that counts."""
    count, numbers = column.values(passing)
    if not count:
        return Facet(kind)
    restore = FILTER_TYPES[kind].restore
    if FILTER_TYPES[kind].is_range:
        return Facet(kind, count, minimum=restore(numbers.min()), maximum=restore(numbers.max()))
    found, times = np.unique(numbers, return_counts=True)
    counted = zip(found.tolist(), times.tolist(), strict=True)
    named = [(column.word(value) if column.words else restore(value), number) for value, number in counted]
    values = sorted(named, key=lambda each: (-each[1], each[0]))
    return Facet(kind, count, tuple(values[:MAX_FACET_VALUES]), more=len(values) > MAX_FACET_VALUES)
