"""Measure how well the main colours of products are named: ``python -m benchmarks.colours --data FOLDER [--demo]``.

Compares :mod:`imagesim.images.colours` with the labels of the fashion data set, on the pictures with an even id: those
with an odd one trained its network. ``--demo`` compares it with the colours in the demo shop's catalogue, on which only
the two thresholds were chosen. A label names one colour of a product, so a correctly measured second one counts as
wrong here.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.relevance.data import rows
from imagesim import images
from imagesim.images import colours

ACCEPTED = {
    "Beige": "brown white yellow", "Bronze": "brown", "Burgundy": "red purple", "Charcoal": "grey black",
    "Coffee Brown": "brown", "Copper": "brown orange", "Cream": "white yellow", "Fluorescent Green": "green yellow",
    "Gold": "yellow brown", "Grey Melange": "grey", "Khaki": "brown green", "Lavender": "purple",
    "Magenta": "pink purple red", "Maroon": "red purple brown", "Mauve": "purple pink", "Metallic": "grey",
    "Mustard": "yellow", "Navy Blue": "blue", "Nude": "pink brown orange", "Off White": "white",
    "Olive": "green brown", "Peach": "orange pink", "Rust": "orange brown red", "Sea Green": "green blue",
    "Silver": "grey", "Skin": "pink brown orange", "Steel": "grey", "Tan": "brown", "Taupe": "brown grey",
    "Teal": "blue green", "Turquoise": "blue green", "Turquoise Blue": "blue",
}  # fmt: skip
"""The basic names that are right for other labels; the first one counts for recall."""


def right_names(label: str) -> list[str]:
    """Return the basic names for a label of the data; empty if it names none."""
    if label.lower() in colours.COLOURS:
        return [label.lower()]
    return ACCEPTED.get(label.capitalize() if label.islower() else label, "").split()


def fashion(folder: Path) -> Iterator[tuple[Any, list[str]]]:
    """Yield the pictures of the half that was not used for training, with the names that are right."""
    for line in rows(folder / "fashion" / "labels.csv"):
        right = right_names(line["baseColour"])
        if int(line["id"]) % 2 == 0 and right:
            yield images.decode((folder / "fashion" / "images" / f"{line['id']}.jpg").read_bytes()), right


def demo() -> Iterator[tuple[Any, list[str]]]:
    """Yield the first picture of each product of the demo shop, with the names that are right."""
    from demo_shop.shop import catalogue, packages

    pictures = {source: packages.read_pictures(package) for source, package in packages.PACKAGES.items()}
    for product in catalogue.load().products:
        for one in (product, *product.variants):
            yield images.decode(pictures[one.source][one.photos[0].file]), right_names(one.colour)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with fashion/")
    parser.add_argument("--demo", action="store_true", help="the demo shop instead")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_shop.settings")  # for the limits of pictures
    shares, right, seconds = [], [], 0.0
    for image, names in demo() if options.demo else fashion(options.data):
        started = time.process_time()
        found = colours.share_of_names(image)
        seconds += time.process_time() - started
        shares.append([found[name] for name in colours.COLOURS])
        right.append([name in names for name in colours.COLOURS] + [colours.COLOURS.index(names[0])])
    report(np.array(shares), np.array(right)[:, :-1].astype(bool), np.array(right)[:, -1])
    print(f"{1000 * seconds / len(shares):.1f} ms of a processor for each picture")


def report(shares: Any, right: Any, label: Any) -> None:
    """Print precision and recall of each name, and the precision of the ten with the largest share.

    ``shares`` and ``right`` have shape (pictures, names), ``label`` (pictures,).
    """
    named = shares >= colours.MAIN_SHARE
    plain = shares.sum(1) > 0
    print(f"{len(shares)} pictures, {plain.mean():.2f} of them on a plain ground, {named.any(1).mean():.2f} named")
    print(f"precision of all names {right[named].mean():.3f}, recall {named[np.arange(len(label)), label].mean():.3f}")
    means = []
    for number, name in enumerate(colours.COLOURS):
        own, these = label == number, named[:, number]
        first = np.argsort(-shares[:, number], kind="stable")[:10]
        precision = right[these, number].mean() if these.any() else np.nan
        recall = these[own].mean() if own.any() else np.nan
        means.append((precision, recall, right[first, number].mean()))
        print(f"{name:8} {own.sum():5} labels  precision {precision:.2f}  recall {recall:.2f}  P@10 {means[-1][2]:.2f}")
    precision, recall, top = np.nanmean(means, axis=0)
    print(f"mean of the names: precision {precision:.3f}  recall {recall:.3f}  P@10 {top:.3f}")


if __name__ == "__main__":
    main()
