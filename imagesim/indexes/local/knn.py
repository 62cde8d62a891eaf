"""From a query to its matches, over a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imagesim.indexes.local import scoring
from imagesim.indexes.local.columnar import Slot, Table
from imagesim.indexes.local.matrix import Rows
from imagesim.indexes.validation import CompiledFilter
from imagesim.types import Candidate, Filters, Query, Similarity

if TYPE_CHECKING:
    from imagesim.types import Vector

QUERIES_AT_ONCE = 16


def answer(
    table: Table,
    filters: Filters,
    tests: Sequence[CompiledFilter],
    similarity: Similarity,
    queries: Sequence[Query],
    vectors: Vector,
) -> list[tuple[tuple[Candidate, ...], bool]]:
    """(matches, whether more follow) of queries that share their filters; ``vectors`` has shape (queries, dims)."""
    rows = table.rows(table.passing(filters, tests))
    answers = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = queries[start : start + QUERIES_AT_ONCE]
        scores, rows_of = scoring.score(table.matrix.data, vectors[start : start + len(part)], rows, similarity)
        for query, vector, row_scores in zip(part, vectors[start:], scores, strict=False):
            answers.append(_page(table, query, vector, similarity, row_scores, rows_of))
    return answers


def _page(
    table: Table, query: Query, vector: Vector, similarity: Similarity, scores: scoring.Scores, rows: Rows | None
) -> tuple[tuple[Candidate, ...], bool]:
    wanted = query.offset + query.limit + 1  # one more tells whether anything follows
    lowest = float(np.float32(-2.0 if query.min_score is None else query.min_score))  # as precise as the scores
    at_least = -np.inf if similarity == "l1" else lowest
    slack = scoring.SLACK[similarity]
    k = wanted + 8
    while True:
        near, floor = scoring.best(scores, k, at_least, slack)
        nearness, cosine = scoring.exactly(table.matrix.data, vector, near if rows is None else rows[near], similarity)
        ranked = _ranked(table, query.collapse, nearness, cosine, near if rows is None else rows[near], lowest)
        if floor < at_least or k >= len(scores):
            break  # nothing that may be asked for lies below the floor
        if len(ranked) >= wanted and -ranked[wanted - 1].farness > floor + slack / 2:
            break  # nothing below the floor can come before what was found above it
        k *= 4  # many rows of few groups
    page = ranked[query.offset : query.offset + query.limit]
    candidates = tuple(
        Candidate(found.key, found.cosine, found.slot.group, *found.slot.images[found.position]) for found in page
    )
    return candidates, len(ranked) > query.offset + query.limit


class Found(NamedTuple):
    """One image that may be asked for; in the order of an answer, best first, then by key."""

    farness: float
    key: str
    position: int
    cosine: float
    slot: Slot


def _ranked(
    table: Table, collapse: bool, nearness: scoring.Scores, cosine: scoring.Scores, rows: Rows, lowest: float
) -> list[Found]:
    """The best image of every entry or group, in order."""
    found = []
    each = zip((-nearness).tolist(), cosine.tolist(), rows.tolist(), table.slot_of(rows).tolist(), strict=True)
    for far, cos, row, number in each:
        slot = table.slots[number]
        if slot is not None and cos >= lowest:
            position = int(np.flatnonzero(slot.rows == row)[0]) if len(slot.rows) > 1 else 0
            found.append(Found(far, slot.key, position, cos, slot))
    found.sort()
    best: dict[str, Found] = {}
    for one in found:
        best.setdefault(one.slot.group if collapse else one.key, one)
    return list(best.values())
