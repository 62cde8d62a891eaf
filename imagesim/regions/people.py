"""Assign the cells of a photo to the people in it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Map: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Numbers: TypeAlias = npt.NDArray[np.int32]

GROUND = 0.5  # a cell with a lower probability of ground is foreground
FEWEST_CELLS = 5
PERSON = 0.04  # a piece of foreground with a smaller share of the largest is not a person
HEAD_CELLS = 10
HEAD = 0.06  # hair with a smaller share of the cells of the largest head is not a head
APART = 1.25  # least distance between two heads, in widths of the wider
CROWN = 0.5  # a head is in this upper share of its piece of foreground


def people(ground: Map, skin: Map, hair: Map) -> tuple[Numbers, int]:
    """The number of the person that each cell belongs to, 0..n-1, and n.

    People are connected pieces of what is not ground; small pieces go to the nearest large one. A piece with several
    heads side by side is several people who touch, divided half-way between their heads.
    """
    owner, count = _pieces(ground)
    columns = np.arange(ground.shape[1])
    parted = np.zeros(ground.shape, dtype=np.int32)
    number = 0
    for each in range(count):
        own = owner == each
        heads = _heads(skin * own, hair * own, (ground < GROUND) & own) or [0.0]
        nearest = np.abs(columns[None] - np.array(heads)[:, None]).argmin(axis=0)
        parted[own] = number + np.broadcast_to(nearest, ground.shape)[own]
        number += len(heads)
    return parted, number


def components(mask: Mask) -> tuple[Numbers, int]:
    """Number the 8-connected pieces of a mask: an array of -1 (outside) or 0..n-1, and n.

    Runs of each row are joined with those they touch in the row above (union-find).
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    ends = np.nonzero(change == -1)[1]
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first = np.searchsorted(rows, np.arange(height + 1))
    for y in range(1, height):
        above, last_above = int(first[y - 1]), int(first[y])
        for run in range(int(first[y]), int(first[y + 1])):
            while above < last_above and ends[above] < starts[run]:
                above += 1
            other = above
            while other < last_above and starts[other] <= ends[run]:
                a, b = root(run), root(other)
                parent[max(a, b)] = min(a, b)
                other += 1
    numbers: dict[int, int] = {}
    labels = np.full((height, width), -1, dtype=np.int32)
    for run in range(len(rows)):
        number = numbers.setdefault(root(run), len(numbers))
        labels[rows[run], starts[run] : ends[run]] = number
    return labels, len(numbers)


def _heads(skin: Map, hair: Map, piece: Mask) -> list[float]:
    """The columns of the heads in one piece of foreground; empty if it is one person.

    A head is a connected piece of skin and hair with enough hair, its middle in the upper part of the piece. Hair on
    both sides of a face is one head, connected by the skin; heads closer than :data:`APART` are one as well.
    """
    labels, count = components(skin + hair > GROUND)
    if count < 2:
        return []
    is_hair = hair > GROUND
    rows = np.flatnonzero(piece.any(axis=1))
    crown = rows[0] + CROWN * (rows[-1] + 1 - rows[0])
    found: list[tuple[int, float, float]] = []  # cells of hair, column, width
    for number in range(count):
        ys, xs = np.nonzero((labels == number) & is_hair)
        if len(ys) >= HEAD_CELLS and ys.mean() < crown:
            found.append((len(ys), float(xs.mean()), float(np.ptp(xs) + 1)))
    found.sort(reverse=True)
    kept: list[tuple[int, float, float]] = []
    for head in found:
        enough = not kept or head[0] >= HEAD * kept[0][0]
        if enough and all(abs(head[1] - other[1]) >= APART * max(head[2], other[2]) for other in kept):
            kept.append(head)
    return [column for _, column, _ in kept]


def _pieces(ground: Map) -> tuple[Numbers, int]:
    """The connected piece of foreground of each cell, and their number; small pieces join the nearest large one."""
    labels, count = components(ground < GROUND)
    if count <= 1:
        return np.zeros(labels.shape, dtype=np.int32), 1
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    large = np.flatnonzero(sizes >= max(FEWEST_CELLS, PERSON * sizes.max()))
    if len(large) == 1:
        return np.zeros(labels.shape, dtype=np.int32), 1
    # A detached shoe belongs to the person above it: horizontal distance counts twice.
    boxes = []
    for piece in large:
        ys, xs = np.nonzero(labels == piece)
        boxes.append((xs.min(), ys.min(), xs.max(), ys.max(), len(xs)))
    joined = _joined(boxes)
    groups = sorted(set(joined))
    ys, xs = np.mgrid[: labels.shape[0], : labels.shape[1]]
    best = np.full(labels.shape, np.inf)
    owner = np.zeros(labels.shape, dtype=np.int32)
    for number, group in enumerate(groups):
        for (x0, y0, x1, y1, _), own in zip(boxes, joined, strict=True):
            if own != group:
                continue
            away = 2.0 * np.maximum(0, np.maximum(x0 - xs, xs - x1)) + np.maximum(0, np.maximum(y0 - ys, ys - y1))
            closer = away < best
            best[closer], owner[closer] = away[closer], number
    for piece, group in zip(large, joined, strict=True):
        owner[labels == piece] = groups.index(group)
    return owner, len(groups)


def _joined(boxes: list[tuple[int, int, int, int, int]]) -> list[int]:
    """The group of each box: boxes above one another (a person divided by a belt or a bare leg) are one person."""
    group = list(range(len(boxes)))
    for a in range(len(boxes)):
        for b in range(a):
            (ax0, _, ax1, _, an), (bx0, _, bx1, _, bn) = boxes[a], boxes[b]
            overlap = min(ax1, bx1) - max(ax0, bx0) + 1
            narrow = min(ax1 - ax0, bx1 - bx0) + 1
            alike = min(an, bn) > 0.3 * max(an, bn)
            beside = not alike and overlap > -0.25 * max(ax1 - ax0, bx1 - bx0)
            if overlap > 0.5 * narrow or beside:
                old, new = group[a], group[b]
                group = [new if g == old else g for g in group]
    return group
