"""The input of the built-in finder's network, and regions from the output of a network: one box with a reliable label
per garment of each person, without duplicates. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from imagesim.regions.labels import LABELS, NEUTRAL
from imagesim.types import Region

if TYPE_CHECKING:
    from PIL.Image import Image


Map: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Numbers: TypeAlias = npt.NDArray[np.int32]

ASSETS = Path(__file__).parent / "assets"
WEIGHTS = ASSETS / "segmenter.safetensors"
CONFIG = ASSETS / "segmenter.json"

PIXELS = 512 * 352  # approximate number of pixels of the network's input
STEP = 32
WORN_SHARE = 0.02  # an item on a plain ground with a larger share of skin or hair is worn by someone
LONGEST = 3.0  # a photo with a larger aspect ratio is squeezed


class Segmentation(Protocol):
    """The interface of the network in memory. It is thread-safe."""

    classes: list[str]
    limits: dict[str, float]
    """The minimum score of each label."""

    def predict(self, image: Image) -> tuple[Map, Map]:
        """Return the probabilities of a photo of :func:`resize` (classes, height, width) at a quarter of its size, and
        the presence (labels,)."""


@cache
def config() -> dict[str, Any]:
    """Return the description of the weights: classes, limits of the scores, checksum."""
    loaded: dict[str, Any] = json.loads(CONFIG.read_text("utf-8"))
    return loaded


def input_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of the network's input for a photo of ``size``: multiples of STEP, of nearly the same
    shape."""
    width, height = size
    aspect = min(LONGEST, max(1 / LONGEST, width / height))
    wide = max(STEP, round((PIXELS * aspect) ** 0.5 / STEP) * STEP)
    return wide, max(STEP, round(PIXELS / wide / STEP) * STEP)


def resize(image: Image) -> Image:
    """Resize a photo to the network's input."""
    return image.resize(input_size(image.size), Pillow.Resampling.BILINEAR, reducing_gap=1.25)


def is_worn(classes: Sequence[str], probabilities: Map, box: tuple[float, float, float, float]) -> bool:
    """Return whether the box (x, y, width, height in 0..1) holds so much skin or hair that someone wears the item."""
    _, height, width = probabilities.shape
    rows = slice(int(box[1] * height), int((box[1] + box[3]) * height) + 1)
    columns = slice(int(box[0] * width), int((box[0] + box[2]) * width) + 1)
    body = probabilities[[classes.index("skin"), classes.index("hair")]].sum(axis=0)[rows, columns]
    return float((body > 0.5).mean()) > WORN_SHARE


GROUND = 0.5  # a cell with a lower probability of ground is foreground
MIN_CELLS = 5
PERSON = 0.04  # a piece of foreground smaller than this share of the largest one is not a person
HEAD_CELLS = 10
HEAD = 0.06  # hair smaller than this share of the largest head's cells is not a head
APART = 1.25  # minimum distance between two heads, in widths of the wider one
CROWN = 0.5  # a head lies in this upper share of its piece of foreground


def people(ground: Map, skin: Map, hair: Map) -> tuple[Numbers, int]:
    """Return the number (0..n-1) of the person that each cell belongs to, (height, width), and n.

    People are connected pieces of foreground; small pieces join the nearest large one. A piece with several
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
    """Number the 8-connected pieces of a mask: return an array of -1 (outside) or 0..n-1, and n.

    Runs of each row are joined with those that they touch in the row above (union-find).
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
    """Return the columns of the heads in one piece of foreground; empty if it is one person.

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
    """Return the connected piece of foreground of each cell, and their number; small pieces join the nearest large
    one."""
    labels, count = components(ground < GROUND)
    if count <= 1:
        return np.zeros(labels.shape, dtype=np.int32), 1
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    large = np.flatnonzero(sizes >= max(MIN_CELLS, PERSON * sizes.max()))
    if len(large) == 1:
        return np.zeros(labels.shape, dtype=np.int32), 1
    # A detached shoe belongs to the person above it: horizontal distance counts twice.
    boxes = []
    for piece in large:
        ys, xs = np.nonzero(labels == piece)
        boxes.append((xs.min(), ys.min(), xs.max(), ys.max(), len(xs)))
    joined = _group_boxes(boxes)
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


def _group_boxes(boxes: list[tuple[int, int, int, int, int]]) -> list[int]:
    """Return the group of each box: boxes above one another (a person divided by a belt or a bare leg) are one
    person."""
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


LOWEST_PEAK = 0.05  # a label with a lower peak is not considered
TRIM = 0.004  # share of a garment's mass that may lie outside its box on each side, for stray cells
SAME_PLACE = 0.65  # boxes with this intersection over union are one garment
EXCLUSIVE = ({"dress", "top"}, {"dress", "skirt"}, {"dress", "trousers"}, {"dress", "shorts"})
WITHIN = 0.6  # nobody wears both of these where their boxes share this much of the smaller one
CLOSE = 0.7  # minimum ratio of the second label's score to the first's, both relative to their limits, for a tie
PAIRED = ("shoes", "hosiery")
DUPLICATE = 0.6  # boxes of one label that share this much of the smaller one are duplicates


@dataclass(frozen=True, slots=True)
class Form:
    """How the cells of a label are turned into a box.

    The peak of a label is the mean probability of its ``peak`` likeliest cells. Cells with at least ``share`` of the
    peak belong to it, so that an uncertain garment keeps its full extent. Connected pieces with less than ``piece`` of
    the mass of the heaviest are noise: a pair of shoes or an open coat has several pieces, most things have one.
    """

    peak: int = 40
    share: float = 0.3
    piece: float = 0.2


FORMS = {
    "bag": Form(piece=1),
    "glasses": Form(peak=12, share=0.5, piece=1),  # small things have few cells, and those are blurred
    "hat": Form(peak=12, share=0.5),
    "belt": Form(peak=12, share=0.5),
}


def candidates(probabilities: Map, presence: Map, classes: Sequence[str]) -> list[Region]:
    """Return one box for each garment of each person, by descending score.

    ``probabilities`` has shape (classes, height, width): the ground first, then one class for each entry of
    ``presence``, then skin, hair and other context. Parts of a garment that belong to one person become one box.
    """
    skin, hair = (probabilities[classes.index(name)] for name in ("skin", "hair"))
    person_of, persons = people(probabilities[0], skin, hair)
    found: list[Region] = []
    for number, label in enumerate(classes[1 : 1 + len(presence)]):
        form = FORMS.get(label, Form())
        for person in range(persons):
            weight = np.where(person_of == person, probabilities[number + 1], 0).astype(np.float32)
            peak = _peak(weight, form.peak)
            mask = weight >= max(LOWEST_PEAK, form.share * peak)
            if peak < LOWEST_PEAK or int(mask.sum()) < MIN_CELLS:
                continue
            box = _box(np.where(_without_fragments(mask, weight, form.piece), weight, 0.0).astype(np.float32))
            score = min(1.0, float(presence[number] ** 0.35 * peak**0.65))
            found.append(Region(*box, label=label, score=score))
    return sorted(found, key=lambda region: -region.score)


def _peak(weight: Map, cells: int) -> float:
    if weight.size <= cells:
        return float(weight.mean())
    return float(np.partition(weight.ravel(), -cells)[-cells:].mean())


def _without_fragments(mask: Mask, weight: Map, share: float) -> Mask:
    labels, count = components(mask)
    if count <= 1:
        return mask
    mass = np.bincount(labels[mask], weights=weight[mask], minlength=count)
    kept = mass >= share * mass.max()
    return np.asarray(mask & kept[np.maximum(labels, 0)], dtype=np.bool_)


def _box(weight: Map) -> tuple[float, float, float, float]:
    """Return the box around ``weight`` without the trimmed tails, in 0..1."""
    height, width = weight.shape
    x0, x1 = _extent(weight.sum(axis=0))
    y0, y1 = _extent(weight.sum(axis=1))
    return x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height


def _extent(profile: Map) -> tuple[int, int]:
    share = np.cumsum(profile) / profile.sum()
    first = int(np.searchsorted(share, TRIM, side="right"))
    last = int(np.searchsorted(share, 1 - TRIM, side="left"))
    return first, max(first, min(last, len(profile) - 1)) + 1


def select(candidates: Iterable[Region], limits: Mapping[str, float], *, neutral: bool = True) -> list[Region]:
    """Select the candidates that reach the limit of their label, by descending score, with one label per garment.

    Two labels of one part of the body in one place (a dress or a top?) are one garment. If their scores are close, it
    gets the neutral label with the two as alternatives: on held-out photos, each was right equally often. Of a dress
    and a top, a skirt or trousers that are mostly in the same place, the one with the higher score is selected.
    """
    waiting = sorted(candidates, key=lambda region: -region.score)
    found: list[Region] = []
    while waiting:
        region = waiting.pop(0)
        if region.score < limits[region.label]:
            continue
        rivals = [other for other in waiting if _neutral(region, other) and _union_share(region, other) >= SAME_PLACE]
        waiting = [other for other in waiting if other not in rivals and not _exclude(region, other)]
        rival = max(rivals, key=lambda other: _margin(other, limits), default=None)
        if rival is not None and neutral and _margin(rival, limits) >= CLOSE * _margin(region, limits):
            first, second = sorted((region, rival), key=lambda r: -_margin(r, limits))
            pair = (first.label, second.label)
            region = replace(first, label=_neutral(region, rival), score=region.score, alternatives=pair)
        found.append(region)
    return found


def _exclude(a: Region, b: Region) -> bool:
    """Return whether the two cannot be worn together, because they are mostly in the same place."""
    return {a.label, b.label} in EXCLUSIVE and _smaller_share(a, b) >= WITHIN


def _margin(region: Region, limits: Mapping[str, float]) -> float:
    """Return the score of a region relative to the limit of its label."""
    return region.score / max(limits[region.label], 1e-6)


def _neutral(a: Region, b: Region) -> str:
    """Return the neutral label that covers the labels of both; empty if there is none."""
    return next((name for name in NEUTRAL if {a.label, b.label} <= set(LABELS[name].parts)), "") * (a.label != b.label)


def merge(regions: Iterable[Region]) -> list[Region]:
    """Return the regions by descending score without duplicates; a pair (of shoes) side by side becomes one region."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda r: -r.score):
        if not any(other.label == region.label and _smaller_share(region, other) >= DUPLICATE for other in kept):
            kept.append(region)
    result: list[Region] = []
    while kept:
        region = kept.pop(0)
        if region.label in PAIRED:
            mate = next((other for other in kept if other.label == region.label and _is_pair(region, other)), None)
            if mate is not None:
                kept.remove(mate)
                region = _union(region, mate)
        result.append(region)
    return result


def _is_pair(a: Region, b: Region) -> bool:
    """Return whether both have a similar size and height in the photo, at most the wider one's width apart."""
    alike = 0.4 <= (a.width * a.height) / (b.width * b.height) <= 2.5
    gap = max(a.x, b.x) - min(a.x + a.width, b.x + b.width)
    apart = abs((a.y + a.height / 2) - (b.y + b.height / 2))
    return alike and gap <= max(a.width, b.width) and apart <= max(a.height, b.height)


def _union(a: Region, b: Region) -> Region:
    x, y = min(a.x, b.x), min(a.y, b.y)
    right, bottom = max(a.x + a.width, b.x + b.width), max(a.y + a.height, b.y + b.height)
    return replace(a, x=x, y=y, width=right - x, height=bottom - y)


def _intersection(a: Region, b: Region) -> float:
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(0.0, width) * max(0.0, height)


def _union_share(a: Region, b: Region) -> float:
    """Return the intersection over the union of both boxes."""
    both = _intersection(a, b)
    return both / (a.width * a.height + b.width * b.height - both)


def _smaller_share(a: Region, b: Region) -> float:
    """Return the intersection over the area of the smaller box."""
    return _intersection(a, b) / min(a.width * a.height, b.width * b.height)
