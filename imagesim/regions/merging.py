"""Boxes that a shopper would call one thing, made one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from imagesim.types import Region

PAIRED = ("shoes", "hosiery")
SAME = 0.6  # boxes of one label that overlap by this share of the smaller are one thing found twice


def merged(regions: Iterable[Region]) -> list[Region]:
    """The regions, surest first, without doubles; two of a pair (shoes) beside each other as one region round both."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda r: -r.score):
        if not any(other.label == region.label and _overlap(region, other) >= SAME for other in kept):
            kept.append(region)
    result: list[Region] = []
    while kept:
        region = kept.pop(0)
        if region.label in PAIRED:
            mate = next((other for other in kept if other.label == region.label and _mates(region, other)), None)
            if mate is not None:
                kept.remove(mate)
                region = _around(region, mate)
        result.append(region)
    return result


def _overlap(a: Region, b: Region) -> float:
    """Intersection over the smaller of the two."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(a.width * a.height, b.width * b.height)


def _mates(a: Region, b: Region) -> bool:
    """Of about one size, at about one height, no further apart than their own breadth."""
    alike = 0.4 <= (a.width * a.height) / (b.width * b.height) <= 2.5
    gap = max(a.x, b.x) - min(a.x + a.width, b.x + b.width)
    apart = abs((a.y + a.height / 2) - (b.y + b.height / 2))
    return alike and gap <= max(a.width, b.width) and apart <= max(a.height, b.height)


def _around(a: Region, b: Region) -> Region:
    x, y = min(a.x, b.x), min(a.y, b.y)
    right, bottom = max(a.x + a.width, b.x + b.width), max(a.y + a.height, b.y + b.height)
    return replace(a, x=x, y=y, width=right - x, height=bottom - y)
