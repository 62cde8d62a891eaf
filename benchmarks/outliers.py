"""Calibrate when the work list of ``imagesim.insight`` calls an item unlike its category.

    DJANGO_SETTINGS_MODULE=demo_shop.settings python -m benchmarks.outliers --data FOLDER [--cache FOLDER]

Moves randomly chosen items of a catalogue into random other categories, and prints the precision and recall of the
items that are called outliers, for each margin, as means over many such choices. Items that were in a wrong category
before count as errors. The margin to use is the smallest with a precision of at least 0.9 on the training photos of
the grocery data set with either share of items; the demo catalogue and the groceries' test photos are only reported.
Recall refers to all moved items, including those in categories with too few items to tell.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import django
import numpy as np

from benchmarks.relevance.data import cached, demo, embed_files, rows

MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
SHARES = (0.02, 0.05)
PHOTOS = 6
"""The number of photos of each product of the groceries."""
WANTED = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/imagesim-outliers"))
    parser.add_argument("--trials", type=int, default=10, help="with the groceries; four times as many with the demo")
    options = parser.parse_args()
    django.setup()
    found = report("groceries (training photos)", *grocery(options, "train"), options.trials)
    good = [margin for margin in MARGINS if all(found[share, margin] >= WANTED for share in SHARES)]
    print(f"calibrated on them: {min(good, default='none')}")
    report("groceries (test photos)", *grocery(options, "val", "test"), options.trials)
    shop = demo(options.cache)
    first = [int(np.flatnonzero(shop.owner == number)[0]) for number in range(len(shop.keys))]
    report("demo catalogue", shop.vectors[first], shop.categories, shop.groups, 4 * options.trials)


def grocery(options: argparse.Namespace, *splits: str) -> tuple[Any, list[str], list[str]]:
    """Return the vectors of some photos of each product, their categories and their keys."""
    folder, taken, chosen = options.data / "grocery", Counter[str](), []
    for line in rows(folder / "labels.csv"):
        if line["kind"] == "photo" and line["split"] in splits and taken[line["product"]] < PHOTOS:
            taken[line["product"]] += 1
            chosen.append(line)
    files = [folder / "images" / f"{line['id']}.jpg" for line in chosen]
    vectors = cached(options.cache, f"grocery-{splits[-1]}", lambda: embed_files(files))
    return vectors, [line["coarse"] for line in chosen], [line["id"] for line in chosen]


def report(
    name: str, vectors: Any, categories: list[str], groups: list[str], trials: int
) -> dict[tuple[float, float], float]:
    """Print precision and recall by share of moved items and margin; return the precision."""
    print(f"{name}: {len(categories)} items, {len(set(categories))} categories, {trials} trials")
    other = np.array(groups)
    scores = np.where(other[:, None] == other[None, :], -2.0, vectors @ vectors.T)
    found = {}
    for share in SHARES:
        counts = {margin: np.zeros(3) for margin in MARGINS}  # right, called, moved
        for seed in range(trials):
            moved, now = misplaced(categories, share, random.Random(seed))
            for margin in MARGINS:
                called = set(outliers(scores, now, margin))
                counts[margin] += (len(called & moved), len(called), len(moved))
        for margin, (right, called, moved_all) in counts.items():
            found[share, margin] = right / called if called else 0.0
            print(
                f"  {share:.0%} moved, margin {margin:.2f}: precision {found[share, margin]:.3f}, "
                f"recall {right / moved_all:.3f} ({int(called)} called)"
            )
    return found


def misplaced(categories: Sequence[str], share: float, chance: random.Random) -> tuple[set[int], list[str]]:
    """Return which items were moved, and the categories of all items afterwards."""
    now, names = list(categories), sorted(set(categories))
    moved = set(chance.sample(range(len(now)), max(1, round(share * len(now)))))
    for number in moved:
        now[number] = chance.choice([name for name in names if name != categories[number]])
    return moved, now


def outliers(scores: Any, categories: Sequence[str], margin: float) -> Iterator[int]:
    """Yield the items that the work list would name; ``scores`` are (n, n) cosines, below -1 within a group."""
    from imagesim.insight import catalogue as rule

    sizes, of = Counter(categories), np.array(categories)
    for number, own in enumerate(categories):
        if sizes[own] <= rule.ENOUGH:
            continue
        nearest = np.argsort(-scores[number])[: rule.NEIGHBOURS]
        near = [(float(scores[number, each]), (categories[each],)) for each in nearest]
        own_best = float(scores[number, of == own].max())
        if rule.foreign_category(near, (own,), own_best, margin):
            yield number


if __name__ == "__main__":
    main()
