"""Measure a region finder on two people, on two who touch, and on a street without people.

    python benchmarks/people.py --photos DIR --masks DIR --labels FILE --validation 5

Uses the photos of ``benchmarks/regions.py``, which show one person each. The person of the next photo is cut out,
scaled to the same height and placed beside the first, once apart and once overlapping by an eighth. Reports recall (a
region of the right label overlaps a garment's box by half or more) and, of the labels that both people wear, the share
with a region for each. Finally, reports the regions per picture on the street beside each person, without people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import django
import numpy as np
import regions as benchmark
from PIL import Image

from imagesim.conf import Backend
from imagesim.regions import get_region_finder
from imagesim.types import Region

GAP, OVERLAP = 0.3, -0.125  # in widths of the person placed beside the first
NARROWEST = 0.2  # minimum width of a strip of street, as a share of the photo

Find = Callable[[Image.Image], Sequence[Region]]
Scene = tuple[Image.Image, list[dict[str, benchmark.Box]]]


@dataclass
class Person:
    """A photo, a mask of the person, and the box of each garment."""

    image: Image.Image
    body: np.ndarray
    boxes: dict[str, benchmark.Box]

    @property
    def extent(self) -> tuple[int, int, int, int]:
        ys, xs = np.flatnonzero(self.body.any(axis=1)), np.flatnonzero(self.body.any(axis=0))
        return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def beside(first: Person, second: Person, gap: float) -> Scene:
    """Extend the first photo to the right and paste the second person there."""
    left, top, right, bottom = first.extent
    x0, y0, x1, y1 = second.extent
    scale = (bottom - top) / (y1 - y0)
    size = (max(1, round((x1 - x0) * scale)), bottom - top)
    cut = second.image.crop((x0, y0, x1, y1)).resize(size)
    body = Image.fromarray(second.body[y0:y1, x0:x1]).resize(size)
    at = round(right + gap * size[0])
    width = max(first.image.width, at + size[0] + left // 2)
    scene = first.image.resize((width, first.image.height))  # a matching street: the photo, stretched
    scene.paste(first.image.crop((0, 0, right, first.image.height)))
    scene.paste(cut, (at, top), body)

    def moved(box: benchmark.Box) -> benchmark.Box:
        x, y, w, h = (v * side for v, side in zip(box, (*second.image.size, *second.image.size), strict=True))
        x, y, w, h = (x - x0) * scale + at, (y - y0) * scale + top, w * scale, h * scale
        return x / width, y / scene.height, w / width, h / scene.height

    own = first.image.width / width
    return scene, [
        {label: (x * own, y, w * own, h) for label, (x, y, w, h) in first.boxes.items()},
        {label: moved(box) for label, box in second.boxes.items()},
    ]


def told(find: Find, scenes: Iterable[Scene]) -> dict[str, float]:
    garments = right = shared = apart = regions = count = 0
    for image, people in scenes:
        left = list(find(image))
        regions, count = regions + len(left), count + 1
        seen: dict[str, int] = {}
        for boxes in people:
            for label, box in boxes.items():
                match = next(
                    (
                        r
                        for r in left
                        if benchmark.meant(r) == label and benchmark.iou((r.x, r.y, r.width, r.height), box) >= 0.5
                    ),
                    None,
                )
                garments += 1
                if match is not None:
                    left.remove(match)
                    right += 1
                    seen[label] = seen.get(label, 0) + 1
        both = set.intersection(*(set(boxes) for boxes in people)) if len(people) > 1 else set()
        shared += len(both)
        apart += sum(seen.get(label, 0) > 1 for label in both)
    return {
        "pictures": count,
        "recall": right / max(1, garments),
        "both_found": apart / max(1, shared),
        "regions_a_picture": regions / max(1, count),
    }


def streets(people: Iterable[Person]) -> Iterator[Scene]:
    """Yield the street on the wider side of each person."""
    for person in people:
        left, _, right, _ = person.extent
        width, height = person.image.size
        x0, x1 = (0, left) if left > width - right else (right, width)
        if x1 - x0 >= NARROWEST * width:
            yield person.image.crop((x0, 0, x1, height)), [{}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--validation", type=int, help="only photos whose number is a multiple of this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--finder", default="imagesim.regions.lite.LiteRegionFinder")
    args = parser.parse_args()
    django.setup()
    ground = json.loads(args.labels.read_text()).index("null")
    truths = benchmark.load(args.photos, args.masks, args.labels, benchmark.part_of(args.validation))
    people = []
    for truth in truths:
        with Image.open(args.masks / f"{truth.path.stem}.png") as mask:
            people.append(Person(truth.image(), np.asarray(mask) != ground, truth.boxes))
    find = get_region_finder(Backend(args.finder, {})).find
    pairs = list(pairwise([*people, people[0]]))
    report = {
        "one person": told(find, ((person.image, [person.boxes]) for person in people)),
        "two, apart": told(find, (beside(a, b, GAP) for a, b in pairs)),
        "two who touch": told(find, (beside(a, b, OVERLAP) for a, b in pairs)),
        "nobody": told(find, streets(people)),
    }
    print(f"{'':16} {'pictures':>8} {'recall@0.5':>10} {'both found':>10} {'regions/picture':>18}")
    for name, r in report.items():
        print(f"{name:16} {r['pictures']:8} {r['recall']:10.3f} {r['both_found']:10.3f} {r['regions_a_picture']:18.2f}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
