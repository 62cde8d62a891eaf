"""What to say of boxes: which are sure enough, and where the label had better stay neutral."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from imagesim.regions.labels import LABELS, NEUTRAL
from imagesim.types import Region

SAME_PLACE = 0.65  # boxes that overlap so much (intersection over union) are one garment
CLOSE = 0.7  # the second label is this close to the first, both measured by their limits


def named(candidates: Iterable[Region], limits: Mapping[str, float], *, neutral: bool = True) -> list[Region]:
    """The candidates that reach their label's limit, the surest first, and of two names for one garment one.

    Two labels of one part of the body in one place (a dress or a top?) are one garment. Where both are close it gets
    the neutral label with the two as alternatives: on photos kept aside either was right as often as the other.
    """
    waiting = sorted(candidates, key=lambda region: -region.score)
    shown: list[Region] = []
    while waiting:
        region = waiting.pop(0)
        if region.score < limits[region.label]:
            continue
        rivals = [other for other in waiting if _neutral(region, other) and overlap(region, other) >= SAME_PLACE]
        waiting = [other for other in waiting if other not in rivals]
        rival = max(rivals, key=lambda other: _margin(other, limits), default=None)
        if rival is not None and neutral and _margin(rival, limits) >= CLOSE * _margin(region, limits):
            first, second = sorted((region, rival), key=lambda r: -_margin(r, limits))
            pair = (first.label, second.label)
            region = replace(first, label=_neutral(region, rival), score=region.score, alternatives=pair)
        shown.append(region)
    return shown


def overlap(a: Region, b: Region) -> float:
    """Intersection over union."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.width * a.height + b.width * b.height - width * height)


def _margin(region: Region, limits: Mapping[str, float]) -> float:
    return region.score / max(limits[region.label], 1e-6)


def _neutral(a: Region, b: Region) -> str:
    """The neutral label that stands for the labels of both; empty if there is none."""
    return next((name for name in NEUTRAL if {a.label, b.label} <= set(LABELS[name].parts)), "") * (a.label != b.label)
