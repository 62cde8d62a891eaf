"""From what each cell of a photo seems to hold to one box a garment."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

GROUND = 0.5  # a cell with less ground than this belongs to somebody
# How surely a label is there is the mean over so many of its likeliest cells; a cell belongs to a garment from this
# share of that peak on, so that an unsure garment has its full extent. Small things have few cells, and blurred ones.
PEAK_CELLS, SHARE_OF_PEAK = 40, 0.3
PEAK_CELLS_SMALL, SHARE_OF_PEAK_SMALL = 12, 0.5
LOWEST_PEAK = 0.05  # below it a label is not even considered
FRAGMENT = 0.12  # parts of a garment lighter than this share of its heaviest part are noise
PERSON = 0.04  # foreground smaller than this share of the largest is no person of its own
FEWEST_CELLS = 5
TRIM = 0.004  # of a garment's mass on each side lies outside its box: stray cells


@dataclass(frozen=True, slots=True)
class Candidate:
    """A box (x, y, width, height in 0..1) of one label and how sure it is, 0..1."""

    label: int
    box: tuple[float, float, float, float]
    score: float


def candidates(probabilities: Map, presence: Map, small: Collection[int] = ()) -> list[Candidate]:
    """One box for each garment of each person.

    ``probabilities`` has shape (classes, height, width): the ground first, then one class for each entry of
    ``presence``, then what gives context. Parts of one garment (a pair of shoes, a coat worn open) become one box
    where they belong to one person, that is to one connected piece of what is not ground. ``small`` are the labels of
    things of few cells (glasses, a belt).
    """
    count = len(presence)
    person_of, persons = _people(probabilities)
    found: list[Candidate] = []
    for label in range(count):
        cells, share = (PEAK_CELLS_SMALL, SHARE_OF_PEAK_SMALL) if label in small else (PEAK_CELLS, SHARE_OF_PEAK)
        for person in range(persons):
            weight = np.where(person_of == person, probabilities[label + 1], 0).astype(np.float32)
            peak = _peak(weight, cells)
            if peak < LOWEST_PEAK:
                continue
            mask = weight >= max(LOWEST_PEAK, share * peak)
            if int(mask.sum()) < FEWEST_CELLS:
                continue
            kept = _without_fragments(mask, weight)
            box = _box(np.where(kept, weight, 0.0).astype(np.float32))
            score = min(1.0, float(presence[label] ** 0.35 * peak**0.65))
            found.append(Candidate(label, box, score))
    return sorted(found, key=lambda c: -c.score)


def _peak(weight: Map, cells: int) -> float:
    if weight.size <= cells:
        return float(weight.mean())
    return float(np.partition(weight.ravel(), -cells)[-cells:].mean())


def components(mask: Mask) -> tuple[npt.NDArray[np.int32], int]:
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


def _people(probabilities: Map) -> tuple[npt.NDArray[np.int32], int]:
    """To which connected piece of the foreground each cell belongs; small pieces go to the nearest large one."""
    labels, count = components(probabilities[0] < GROUND)
    if count <= 1:
        return np.zeros(labels.shape, dtype=np.int32), 1
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    large = np.flatnonzero(sizes >= max(FEWEST_CELLS, PERSON * sizes.max()))
    if len(large) == 1:
        return np.zeros(labels.shape, dtype=np.int32), 1
    # A shoe that hangs on by nothing belongs to the person above it: sideways distance counts twice.
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
    """The group of each box: those above one another (a person cut in two by a belt or a bare leg) are one person."""
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


def _without_fragments(mask: Mask, weight: Map) -> Mask:
    labels, count = components(mask)
    if count <= 1:
        return mask
    mass = np.bincount(labels[mask], weights=weight[mask], minlength=count)
    kept = mass >= FRAGMENT * mass.max()
    return np.asarray(mask & kept[np.maximum(labels, 0)], dtype=np.bool_)


def _box(weight: Map) -> tuple[float, float, float, float]:
    """The box that holds all of ``weight`` but the trimmed tails, in 0..1."""
    height, width = weight.shape
    x0, x1 = _extent(weight.sum(axis=0))
    y0, y1 = _extent(weight.sum(axis=1))
    return x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height


def _extent(profile: Map) -> tuple[int, int]:
    share = np.cumsum(profile) / profile.sum()
    first = int(np.searchsorted(share, TRIM, side="right"))
    last = int(np.searchsorted(share, 1 - TRIM, side="left"))
    return first, max(first, min(last, len(profile) - 1)) + 1
