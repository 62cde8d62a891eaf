"""Compare a photo through the one camera (``region="auto"``) with the true box of what it chose, and the whole photo.

A hit is right if its category is of the kind of the garment that the chosen region shows: the garment whose true box
the region overlaps most. If the whole photo was searched, or the region shows no garment, the largest garment counts.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import regions
from imagesim.regions.labels import likely_categories

FIRST = 5
HELD = 5
"""Photos whose number is a multiple of it are for validation."""


class Entry(NamedTuple):
    """The precision among the first five for each way of searching, and what was searched."""

    auto: float
    true: float
    whole: float
    chosen: str
    """The label of the region, or "whole" if there was none."""
    overlap: float


def outfits(folder: Path, categories: Sequence[str], search: Callable[..., Any], count: int) -> list[Entry]:
    """Search ``count`` outfits in a shop with these ``categories`` (slugs)."""
    truths = regions.load(folder / "photos", folder / "masks", folder / "labels.json", regions.part_of(HELD))
    truths = random.Random(0).sample(truths, min(count, len(truths)))
    found = []
    for truth in truths:
        garments = {label: box for label, box in truth.boxes.items() if likely_categories(label, categories)}
        if not garments:
            continue
        image = truth.image()
        hits = search(image=encoded(image), region="auto", limit=FIRST)
        box = hits.region and (hits.region.x, hits.region.y, hits.region.width, hits.region.height)
        overlaps = {label: regions.iou(box, own) if box else 0.0 for label, own in garments.items()}
        label = max(garments, key=lambda label: (overlaps[label], garments[label][2] * garments[label][3]))
        allowed = frozenset(likely_categories(label, categories))
        crop = image.crop(regions.Region(*garments[label]).pixels(image.size))
        true = search(image=encoded(crop), limit=FIRST)
        whole = search(image=encoded(image), limit=FIRST)
        rows = (precision(each, allowed) for each in (hits, true, whole))
        found.append(Entry(*rows, hits.region.label if hits.region else "whole", overlaps[label]))
    return found


def worn(folder: Path, categories: Sequence[str], count: int) -> list[tuple[bytes, frozenset[str]]]:
    """Return ``count`` outfits, each with those categories of a shop (slugs) that any of its garments belongs to."""
    truths = regions.load(folder / "photos", folder / "masks", folder / "labels.json", regions.part_of(HELD))
    found = []
    for truth in random.Random(0).sample(truths, min(count, len(truths))):
        allowed = frozenset(slug for label in truth.boxes for slug in likely_categories(label, categories))
        if allowed:
            found.append((encoded(truth.image()), allowed))
    return found


def groceries(photos: Sequence[tuple[Path, str]], search: Callable[..., Any]) -> list[Entry]:
    """Search photos (file, category slug) of a single product in a shop. They have no annotated boxes: the whole photo
    takes the place of the true box."""
    found = []
    for file, category in photos:
        data = file.read_bytes()
        auto, whole = search(image=data, region="auto", limit=FIRST), search(image=data, limit=FIRST)
        allowed = frozenset({category})
        chosen = auto.region.label if auto.region else "whole"
        found.append(Entry(precision(auto, allowed), precision(whole, allowed), precision(whole, allowed), chosen, 0.0))
    return found


def precision(hits: Sequence[Any], allowed: frozenset[str]) -> float:
    return sum(hit.item.category.slug in allowed for hit in hits) / FIRST


def mean(entries: Sequence[Entry], way: str) -> float:
    return statistics.mean(getattr(entry, way) for entry in entries)


def encoded(image: Any) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=92)
    return file.getvalue()
