"""From what each cell of a photo seems to hold to one box a garment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagesim.regions.people import FEWEST_CELLS, Map, Mask, components, people
from imagesim.types import Region

LOWEST_PEAK = 0.05  # below it a label is not even considered
TRIM = 0.004  # of a garment's mass on each side lies outside its box: stray cells


@dataclass(frozen=True, slots=True)
class Form:
    """How the cells of a label become a box.

    How surely it is there is the mean over its ``peak`` likeliest cells. A cell belongs to it from ``share`` of that
    on, so that an unsure garment has its full extent. Pieces lighter than ``piece`` of its heaviest one are noise: a
    pair of shoes or an open coat has several, of what has one only the heaviest is kept.
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
    """One box for each garment of each person, the surest first.

    ``probabilities`` has shape (classes, height, width): the ground first, then one class for each entry of
    ``presence``, then skin, hair and whatever else gives context. Parts of one garment become one box where they
    belong to one person.
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
