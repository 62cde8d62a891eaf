"""Regions from the output of a network: one box per garment, without duplicates, with a label that is sure enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from imagesim.regions.labels import LABELS, NEUTRAL
from imagesim.regions.people import FEWEST_CELLS, Map, Mask, components, people
from imagesim.types import Region

LOWEST_PEAK = 0.05  # below it a label is not considered
TRIM = 0.004  # share of a garment's mass that may lie outside its box on each side: stray cells
SAME_PLACE = 0.65  # boxes with this intersection over union are one garment
CLOSE = 0.7  # the second label's score is this share of the first's, both relative to their limits
PAIRED = ("shoes", "hosiery")
DUPLICATE = 0.6  # boxes of one label that share this much of the smaller are one thing found twice


@dataclass(frozen=True, slots=True)
class Form:
    """How the cells of a label become a box.

    The peak of a label is the mean probability of its ``peak`` likeliest cells. Cells with at least ``share`` of the
    peak belong to it, so that an unsure garment keeps its full extent. Connected pieces with less than ``piece`` of the
    mass of the heaviest are noise: a pair of shoes or an open coat has several pieces, most things have one.
    """

    peak: int = 40
    share: float = 0.3
    piece: float = 0.2


FORMS = {
    "bag": Form(piece=1),
    "glasses": Form(peak=12, share=0.5, piece=1),  # small things have few cells, and blurred ones
    "hat": Form(peak=12, share=0.5),
    "belt": Form(peak=12, share=0.5),
}


def candidates(probabilities: Map, presence: Map, classes: Sequence[str]) -> list[Region]:
    """One box for each garment of each person, by descending score.

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
            if peak < LOWEST_PEAK or int(mask.sum()) < FEWEST_CELLS:
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
    """The box around ``weight`` without the trimmed tails, in 0..1."""
    height, width = weight.shape
    x0, x1 = _extent(weight.sum(axis=0))
    y0, y1 = _extent(weight.sum(axis=1))
    return x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height


def _extent(profile: Map) -> tuple[int, int]:
    share = np.cumsum(profile) / profile.sum()
    first = int(np.searchsorted(share, TRIM, side="right"))
    last = int(np.searchsorted(share, 1 - TRIM, side="left"))
    return first, max(first, min(last, len(profile) - 1)) + 1


def named(candidates: Iterable[Region], limits: Mapping[str, float], *, neutral: bool = True) -> list[Region]:
    """The candidates that reach their label's limit, by descending score, with one name per garment.

    Two labels of one part of the body in one place (a dress or a top?) are one garment. Where both are close it gets
    the neutral label with the two as alternatives: on held-out photos either was right as often as the other.
    """
    waiting = sorted(candidates, key=lambda region: -region.score)
    found: list[Region] = []
    while waiting:
        region = waiting.pop(0)
        if region.score < limits[region.label]:
            continue
        rivals = [other for other in waiting if _neutral(region, other) and _union_share(region, other) >= SAME_PLACE]
        waiting = [other for other in waiting if other not in rivals]
        rival = max(rivals, key=lambda other: _margin(other, limits), default=None)
        if rival is not None and neutral and _margin(rival, limits) >= CLOSE * _margin(region, limits):
            first, second = sorted((region, rival), key=lambda r: -_margin(r, limits))
            pair = (first.label, second.label)
            region = replace(first, label=_neutral(region, rival), score=region.score, alternatives=pair)
        found.append(region)
    return found


def _margin(region: Region, limits: Mapping[str, float]) -> float:
    return region.score / max(limits[region.label], 1e-6)


def _neutral(a: Region, b: Region) -> str:
    """The neutral label that covers the labels of both; empty if there is none."""
    return next((name for name in NEUTRAL if {a.label, b.label} <= set(LABELS[name].parts)), "") * (a.label != b.label)


def merged(regions: Iterable[Region]) -> list[Region]:
    """The regions by descending score, without duplicates; a pair (of shoes) side by side becomes one region."""
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
                region = _around(region, mate)
        result.append(region)
    return result


def _is_pair(a: Region, b: Region) -> bool:
    """Whether they are of similar size and height in the photo, and no further apart than the wider one's width."""
    alike = 0.4 <= (a.width * a.height) / (b.width * b.height) <= 2.5
    gap = max(a.x, b.x) - min(a.x + a.width, b.x + b.width)
    apart = abs((a.y + a.height / 2) - (b.y + b.height / 2))
    return alike and gap <= max(a.width, b.width) and apart <= max(a.height, b.height)


def _around(a: Region, b: Region) -> Region:
    x, y = min(a.x, b.x), min(a.y, b.y)
    right, bottom = max(a.x + a.width, b.x + b.width), max(a.y + a.height, b.y + b.height)
    return replace(a, x=x, y=y, width=right - x, height=bottom - y)


def _intersection(a: Region, b: Region) -> float:
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(0.0, width) * max(0.0, height)


def _union_share(a: Region, b: Region) -> float:
    """Intersection over union."""
    both = _intersection(a, b)
    return both / (a.width * a.height + b.width * b.height - both)


def _smaller_share(a: Region, b: Region) -> float:
    """Intersection over the area of the smaller."""
    return _intersection(a, b) / min(a.width * a.height, b.width * b.height)
