"""Measure a region finder on photos with a label per pixel.

    python benchmarks/regions.py --photos DIR --masks DIR --labels FILE --json FILE

``--photos`` holds the photos, ``--masks`` a PNG for each, with the same stem and size and one label index per pixel,
and ``--labels`` the names of the indices as a JSON list. Names are merged into the labels of
``imagesim.regions.labels`` by their words; anything that is not a garment there (skin, hair, jewellery) is ignored. A
garment is the box around all pixels of one label in one photo.

``--validation 5`` uses only the photos whose number is a multiple of 5; the others provide the mean boxes that the
finder is compared with (without this option the measured photos provide them, which overestimates the baseline).
``--upper 0.55`` measures again on the upper 55 % of every photo. ``--shop DIR`` (``labels.csv`` with ``id`` and
``articleType``, ``images/``) searches that catalogue (``--validation`` applies to it too) for the regions found, with
the embedder of the settings.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

from imagesim.conf import Backend
from imagesim.embedders import get_embedder
from imagesim.regions import BaseRegionFinder, get_region_finder
from imagesim.regions.labels import GARMENTS, LABELS, label_for, likely_categories
from imagesim.regions.lite import LiteRegionFinder
from imagesim.types import Region

Box = tuple[float, float, float, float]

SMALLEST = 0.001  # share of the photo; fewer pixels of a label are annotation errors
FEWEST = 8  # minimum number of garments of a label in the set for mAP


@dataclass
class Truth:
    """A photo: its file and the box of each garment in it."""

    path: Path
    boxes: dict[str, Box]
    upper: float = 1.0

    def image(self) -> Image.Image:
        with Image.open(self.path) as image:
            return image.convert("RGB").crop((0, 0, image.width, round(self.upper * image.height)))


def load(
    photos: Path, masks: Path, labels: Path, keep: Callable[[Path], bool] = lambda path: True, upper: float = 1.0
) -> list[Truth]:
    names = json.loads(labels.read_text())
    own = {label: [i for i, name in enumerate(names) if label_for(name) == label] for label in GARMENTS}
    truths = []
    for path in sorted(photos.iterdir()):
        if not keep(path):
            continue
        with Image.open(masks / f"{path.stem}.png") as image:
            mask = np.asarray(image)
        truths.append(Truth(path, boxes_of(mask[: round(upper * len(mask))], own), upper))
    return truths


def part_of(validation: int | None) -> Callable[[Path], bool]:
    """Return a function that tells whether a photo is measured: all, or numbers that are a multiple of
    ``validation``."""
    return lambda path: not validation or int("".join(c for c in path.stem if c.isdigit())) % validation == 0


def boxes_of(mask: np.ndarray, own: dict[str, list[int]]) -> dict[str, Box]:
    height, width = mask.shape
    boxes = {}
    for label, indices in own.items():
        here = np.isin(mask, indices)
        if here.sum() < SMALLEST * mask.size:
            continue
        ys, xs = np.flatnonzero(here.any(axis=1)), np.flatnonzero(here.any(axis=0))
        boxes[label] = (
            float(xs[0] / width),
            float(ys[0] / height),
            float((xs[-1] + 1 - xs[0]) / width),
            float((ys[-1] + 1 - ys[0]) / height),
        )
    return boxes


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes (x, y, width, height)."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def meant(region: Region) -> str:
    """Return the label of a region; for a neutral one, the likelier alternative."""
    return region.alternatives[0] if region.alternatives else region.label


def average_precision(hits: Sequence[bool], total: int) -> float:
    """Return the area under the precision-recall curve, precision made monotone (as in PASCAL VOC from 2010 on)."""
    if not total or not hits:
        return 0.0
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(sum(p for p, hit in zip(precision, hits, strict=True) if hit) / total)


def score(
    truths: Sequence[Truth], found: Sequence[Iterable[Region]], *, every: Sequence[Iterable[Region]] | None = None
) -> dict[str, Any]:
    """Score the regions ``found`` in each photo; ``every`` adds those below the limit, for mAP.

    recall: the best box of the right label overlaps a garment's by half or more. recall_considered: the same with the
    best box of every label, above the limit or not. map: the mean over labels with FEWEST or more garments. label_f1:
    the labels of a photo, over all photos together. box_recall: a box of any label overlaps. neutral: the share of
    regions with a neutral label; said_wrong: the share of the others with a label that the photo lacks.
    """
    best = [_surest(regions) for regions in found]
    all_ = [list(regions) for regions in (every if every is not None else found)]
    likeliest = [_surest(regions) for regions in all_]
    right = considered = total = anywhere = 0
    hits = false = missed = 0
    per_label: dict[str, dict[str, Any]] = {}
    for truth, sure, likely in zip(truths, best, likeliest, strict=True):
        for label, box in truth.boxes.items():
            total += 1
            right += label in sure and iou(sure[label], box) >= 0.5
            considered += label in likely and iou(likely[label], box) >= 0.5
            anywhere += any(iou(b, box) >= 0.5 for b in sure.values())
        hits += len(truth.boxes.keys() & sure.keys())
        false += len(sure.keys() - truth.boxes.keys())
        missed += len(truth.boxes.keys() - sure.keys())
    for label in GARMENTS:
        owners = sum(label in truth.boxes for truth in truths)
        if not owners:
            continue
        ranked: list[tuple[float, int, Box]] = []
        for photo, regions in enumerate(all_):
            ranked += [(r.score, photo, (r.x, r.y, r.width, r.height)) for r in regions if meant(r) == label]
        ranked.sort(key=lambda r: -r[0])
        taken: set[int] = set()
        correct = []
        for _, photo, box in ranked:
            ok = photo not in taken and label in truths[photo].boxes and iou(box, truths[photo].boxes[label]) >= 0.5
            if ok:
                taken.add(photo)
            correct.append(ok)
        per_label[label] = {
            "garments": owners,
            "ap": average_precision(correct, owners),
            "recall": sum(
                label in t.boxes and label in s and iou(s[label], t.boxes[label]) >= 0.5
                for t, s in zip(truths, best, strict=True)
            )
            / owners,
            "said_wrongly": sum(label in s and label not in t.boxes for t, s in zip(truths, best, strict=True)),
        }
    shown = [(t, r) for t, regions in zip(truths, found, strict=True) for r in regions]
    plain = [(t, r) for t, r in shown if not r.alternatives]
    counted = [v["ap"] for v in per_label.values() if v["garments"] >= FEWEST]
    return {
        "photos": len(truths),
        "garments": total,
        "recall": float(right / max(1, total)),
        "recall_considered": float(considered / max(1, total)),
        "map": float(np.mean(counted)) if counted else 0.0,
        "label_f1": 2 * hits / max(1, 2 * hits + false + missed),
        "box_recall": float(anywhere / max(1, total)),
        "regions_a_photo": len(shown) / max(1, len(truths)),
        "neutral": (len(shown) - len(plain)) / max(1, len(shown)),
        "said_wrong": sum(r.label not in t.boxes for t, r in plain) / max(1, len(plain)),
        "labels": per_label,
    }


def _surest(regions: Iterable[Region]) -> dict[str, Box]:
    sure: dict[str, tuple[float, Box]] = {}
    for r in regions:
        label = meant(r)
        if label in LABELS and (label not in sure or r.score > sure[label][0]):
            sure[label] = (r.score, (r.x, r.y, r.width, r.height))
    return {label: box for label, (_, box) in sure.items()}


def prior(truths: Sequence[Truth], whole: bool) -> list[Region]:
    """Return a baseline that does not look at the photo: the most common labels, with the whole photo or their mean
    box.

    Those above the limit have a score of 0.5 or more: the set of the most common labels with the best F1.
    """
    share = {label: sum(label in t.boxes for t in truths) / len(truths) for label in GARMENTS}
    order = sorted((label for label in GARMENTS if share[label]), key=lambda label: -share[label])
    together = sum(share.values())
    best = max(range(1, len(order) + 1), key=lambda n: 2 * sum(share[label] for label in order[:n]) / (n + together))
    regions = []
    for rank, label in enumerate(order):
        boxes = np.array([t.boxes[label] for t in truths if label in t.boxes])
        box = (0.0, 0.0, 1.0, 1.0) if whole else tuple(float(v) for v in boxes.mean(axis=0))
        regions.append(Region(*box, label=label, score=share[label] / 2 + (0.5 if rank < best else 0)))
    return regions


def timed(
    finder: BaseRegionFinder, truths: Sequence[Truth]
) -> tuple[list[list[Region]], list[list[Region]], list[float]]:
    """Return the regions of each photo, all candidates, and the milliseconds from decoded photo to regions.

    Candidates of the built-in finder below the limit count in mAP, at their low rank.
    """
    finder.warm_up()
    finder.find(truths[0].image())
    found, every, times = [], [], []
    for truth in truths:
        image = truth.image()
        began = time.perf_counter()
        if isinstance(finder, LiteRegionFinder):
            regions, considered = finder.consider(image)
        else:
            regions = considered = finder.find(image)
        times.append(1000 * (time.perf_counter() - began))
        found.append(regions)
        every.append(considered)
    return found, every, times


def shown(regions: Iterable[Region]) -> list[Region]:
    return [region for region in regions if region.score >= 0.5]


def search(
    truths: Sequence[Truth], found: Sequence[Sequence[Region]], shop: Path, validation: int | None
) -> dict[str, float]:
    """Measure category P@10 in a catalogue: the whole photo, the true box of each garment, and the box found for it.

    A picture is correct if its article type belongs to the garment's label. ``true_found`` and ``found`` cover the
    garments that were found (a region of any label overlaps by half or more), ``found_all`` covers all, with 0 for a
    missed one. ``filtered``: only the categories of the finder's label were searched.
    """
    embedder = get_embedder()
    rows = [
        row
        for row in csv.DictReader((shop / "labels.csv").open())
        if not validation or int(row["id"]) % validation == 0
    ]
    types = np.array([row["articleType"] for row in rows])
    vectors = np.concatenate([_embedded(embedder, shop, rows[i : i + 64]) for i in range(0, len(rows), 64)])
    kinds = sorted(set(types))

    def precision(vector: np.ndarray, label: str, allowed: Sequence[str] | None = None) -> float:
        scores = vectors @ vector
        if allowed is not None:
            scores = np.where(np.isin(types, allowed), scores, -2)
        best = np.argsort(-scores)[:10]
        return float(np.isin(types[best], likely_categories(label, kinds)).mean())

    sums: dict[str, list[float]] = {}
    for truth, regions in zip(truths, found, strict=True):
        image = truth.image()
        garments = [label for label in truth.boxes if likely_categories(label, kinds)]
        matched = {label: _matching(truth.boxes[label], regions) for label in garments}
        boxes = [Region(*truth.boxes[label]) for label in garments] + [r for r in matched.values() if r]
        crops = [image.crop(region.pixels(image.size)) for region in boxes]
        made = iter(embedder.embed_images([image, *crops]))
        whole = next(made)
        true = {label: next(made) for label in garments}
        own = {label: next(made) for label in garments if matched[label]}
        for label in garments:
            region, values = matched[label], {"whole": precision(whole, label), "true": precision(true[label], label)}
            values["true_filtered"] = precision(true[label], label, likely_categories(label, kinds))
            values["found_all"] = values["found_all_filtered"] = 0.0
            if region:
                allowed = likely_categories(region.label, kinds, region.alternatives) or kinds
                values["true_found"] = values["true"]
                values["found"] = values["found_all"] = precision(own[label], label)
                values["found_filtered"] = values["found_all_filtered"] = precision(own[label], label, allowed)
            for name, value in values.items():
                sums.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in sums.items()}


def _embedded(embedder: Any, shop: Path, rows: Sequence[dict[str, str]]) -> np.ndarray:
    images = []
    for row in rows:
        with Image.open(shop / "images" / f"{row['id']}.jpg") as image:
            images.append(image.convert("RGB"))
    vectors: np.ndarray = embedder.embed_images(images)
    return vectors


def _matching(box: Box, regions: Sequence[Region]) -> Region | None:
    """Return the region that overlaps a garment most, if by half or more."""
    best = max(regions, key=lambda r: iou(box, (r.x, r.y, r.width, r.height)), default=None)
    return best if best and iou(box, (best.x, best.y, best.width, best.height)) >= 0.5 else None


def line(name: str, r: dict[str, Any], ms: float | None = None) -> str:
    time_ = f"{ms:9.0f}" if ms is not None else "        –"
    return f"{name:28} {r['recall']:10.3f} {r['recall_considered']:10.3f} {r['map']:8.3f} {r['label_f1']:9.3f} {time_}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--validation", type=int, help="only photos whose number is a multiple of this")
    parser.add_argument("--upper", type=float, help="also on this share of each photo from the top")
    parser.add_argument("--shop", type=Path, help="also search this catalogue")
    parser.add_argument("--finder", default="imagesim.regions.lite.LiteRegionFinder")
    parser.add_argument("--options", type=json.loads, default={}, help="options of the finder, as JSON")
    args = parser.parse_args()
    django.setup()

    held = part_of(args.validation)
    files = (args.photos, args.masks, args.labels)
    truths = load(*files, held)
    rest = load(*files, lambda path: not held(path)) if args.validation else truths
    finder = get_region_finder(Backend(args.finder, args.options))
    report: dict[str, Any] = {"finder": args.finder, "options": args.options}
    print(f"{len(truths)} photos, {sum(len(t.boxes) for t in truths)} garments")
    print(f"{'':28} {'recall@0.5':>10} {'considered':>10} {'mAP@0.5':>8} {'label F1':>9} {'ms/photo':>9}")
    for name, whole in (("whole photo", True), ("mean box of each label", False)):
        guess = prior(rest, whole)
        report[name] = score(truths, [shown(guess)] * len(truths), every=[guess] * len(truths))
        print(line(name, report[name]))
    found, every, times = timed(finder, truths)
    report["found"] = {**score(truths, found, every=every), "ms": float(np.median(times))}
    print(line("found", report["found"], report["found"]["ms"]))
    report["found"]["map_shown"] = score(truths, found)["map"]
    if args.upper:
        cut = load(*files, held, args.upper)
        part, all_of_part, _ = timed(finder, cut)
        report["upper"] = score(cut, part, every=all_of_part)
        print(line(f"found, upper {args.upper:.0%}", report["upper"]))
    details = report["found"]
    print(
        f"{details['regions_a_photo']:.1f} regions per photo; {details['neutral']:.0%} with a neutral label, "
        f"{details['said_wrong']:.0%} of the others with a label that the photo lacks; "
        f"{details['box_recall']:.3f} recall of any label; "
        f"mAP of the regions above the limit {details['map_shown']:.3f}"
    )
    print(f"{'':12} garments recall   AP  false positives")
    for label, v in details["labels"].items():
        print(f"{label:12} {v['garments']:8} {v['recall']:6.2f} {v['ap']:5.2f} {v['said_wrongly']:8}")
    if args.shop:
        report["search"] = search(truths, found, args.shop, args.validation)
        print("category P@10: " + ", ".join(f"{name} {value:.3f}" for name, value in report["search"].items()))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
