"""Measure how the head of the region finder improves with more photos, and how many the aims would take.

    python training/regions/curve.py --data DATA

``DATA`` holds ``outfits/`` and, for ``--tagged``, ``outfits-tags/`` (see README.md). Heads are trained on growing,
nested parts of the training photos, without a teacher and without product pictures, on photos of half the shipped
head's width and height: the slope of the curve is what is measured, its level is lower than that of the shipped head.
The tower is frozen, so that its features are computed once for all of them. They are measured on the validation
photos (number % 5 == 0); the limits of each half of these are chosen on the other half.

``--tagged`` adds one photo of which only the labels are known to each photo with a mask, in every batch: weak
supervision of presence.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(Path(__file__).resolve().parent)]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import data  # noqa: E402
import networks  # noqa: E402
import regions as benchmark  # noqa: E402
import torch  # noqa: E402
from export import limits  # noqa: E402
from losses import loss_of  # noqa: E402
from PIL import Image  # noqa: E402
from recolour import recoloured  # noqa: E402
from torch import Tensor  # noqa: E402
from train import HEAD_RATE, class_weights, follow, rate_at  # noqa: E402

from imagesim.regions.boxes import candidates  # noqa: E402
from imagesim.regions.labels import GARMENTS, label_for  # noqa: E402
from imagesim.regions.segmenter import RegionHead, features  # noqa: E402
from imagesim.types import Region  # noqa: E402

SHAPE = (256, 176)
LAST: dict[str, Any] = {"memory_format": torch.channels_last}
FIGURES = ("recall", "recall_considered", "map", "label_f1", "said_wrong")
AIMS = {"recall": 0.76, "map": 0.60, "label_f1": 0.86}
SHIPPED = {"recall": 0.704, "map": 0.563, "label_f1": 0.818}
"""What the shipped head reaches on the validation photos (``docs/regions.md``)."""


@dataclass
class Seen:
    """The tower's features of some views, and what is known of each."""

    stages: list[Tensor]  # float16 (views, channels, height, width) each
    target: Tensor  # uint8 (views, height / STRIDE, width / STRIDE)
    presence: Tensor  # float32 (views, labels), -1 where unknown
    photo: np.ndarray  # the position of each view's photo in its list


def views_of(photos: Sequence[data.Photo], count: int, seed: int) -> list[tuple[int, data.Sample]]:
    maker = data.Maker(list(photos), [], seed)
    return [(place, maker.of_photo(photo, SHAPE)) for place, photo in enumerate(photos) for _ in range(count)]


def tagged_photos(folder: Path) -> list[tuple[data.Photo, np.ndarray]]:
    """Return the photos of the training part with the presence of each label."""
    tags = json.loads((folder / "tags.json").read_text())
    found = []
    for number, names in sorted(tags.items()):
        path = folder / "photos" / f"{number}.jpg"
        if int(number) % 5 == 0 or not path.exists():
            continue
        labels = {label_for(name) for name in names}
        with Image.open(path) as image:
            photo = data.Photo(int(number), image.convert("RGB"), Image.new("L", image.size, data.IGNORE))
        found.append((photo, np.array([label in labels for label in GARMENTS], dtype=np.float32)))
    return found


@torch.no_grad()
def seen_by(trunk: torch.nn.Module, samples: Sequence[tuple[int, data.Sample]], seed: int) -> Seen:
    generator = torch.Generator().manual_seed(seed)
    stages: list[list[Tensor]] = [[] for _ in range(4)]
    for start in range(0, len(samples), 16):
        pixels = np.stack([np.asarray(sample.image) for _, sample in samples[start : start + 16]])
        photos = recoloured(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, generator)
        for stage, each in zip(stages, features(trunk, (photos - 0.5) / 0.5), strict=True):
            stage.append(each.half())
    return Seen(
        [torch.cat(each) for each in stages],
        torch.from_numpy(np.stack([sample.target for _, sample in samples])),
        torch.from_numpy(np.stack([sample.presence for _, sample in samples])),
        np.array([place for place, _ in samples]),
    )


def trained(seen: Seen, photos: int, tagged: Seen | None, steps: int, batch: int, seed: int) -> RegionHead:
    """Return a head trained on the views of the first ``photos`` photos of an order drawn from ``seed``."""
    torch.manual_seed(seed)
    drawn = random.Random(seed)
    order = drawn.sample(range(int(seen.photo.max()) + 1), int(seen.photo.max()) + 1)[:photos]
    own = np.flatnonzero(np.isin(seen.photo, order)).tolist()
    counts = np.bincount(seen.target[own].numpy().ravel(), minlength=256)[: len(data.CLASSES)]
    weights = class_weights(counts)
    head = RegionHead(len(data.CLASSES), len(GARMENTS)).to(**LAST).train()
    average = copy.deepcopy(head).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(head.parameters(), lr=HEAD_RATE, weight_decay=0.03)
    for step in range(steps):
        parts = [(seen, drawn.sample(own, min(batch, len(own))))]
        if tagged is not None:
            parts.append((tagged, drawn.sample(range(len(tagged.photo)), batch)))
        stages = [
            torch.cat([part.stages[n][rows] for part, rows in parts]).float().contiguous(**LAST) for n in range(4)
        ]
        target = torch.cat([part.target[rows] for part, rows in parts]).long()
        known = torch.cat([part.presence[rows] for part, rows in parts])
        for group in optimizer.param_groups:
            group["lr"] = HEAD_RATE * rate_at(step, steps)
        with torch.autocast("cpu", torch.bfloat16):
            logits, presence = (each.float() for each in head(*stages))
        loss = loss_of(logits, presence, target, known, [-1] * len(known), weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 2.0)
        optimizer.step()
        follow(average, head, step)
    return average


@torch.no_grad()
def measured(head: RegionHead, seen: list[list[Tensor]], truths: list[benchmark.Truth]) -> dict[str, float]:
    """Score the head; the limits for each half of the photos are those that are best on the other half."""
    every: list[list[Region]] = []
    for stages in seen:
        logits, presence = head(*stages)
        every.append(candidates(logits[0].softmax(dim=0).numpy(), presence[0].sigmoid().numpy(), data.CLASSES))
    shown: list[list[Region]] = [[] for _ in truths]
    for half in (0, 1):
        chosen = limits(truths[1 - half :: 2], every[1 - half :: 2])
        for place in range(half, len(truths), 2):
            shown[place] = [region for region in every[place] if region.score >= chosen[region.label]]
    scored = benchmark.score(truths, shown, every=every)
    return {name: scored[name] for name in FIGURES}


@torch.no_grad()
def photos_seen(trunk: torch.nn.Module, truths: Sequence[benchmark.Truth]) -> list[list[Tensor]]:
    """Return the features of whole photos, each in its own shape with as many pixels as a view."""
    seen = []
    for truth in truths:
        image = truth.image()
        scale = (SHAPE[0] * SHAPE[1] / (image.width * image.height)) ** 0.5
        size = tuple(max(32, round(side * scale / 32) * 32) for side in image.size)
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.25))
        photo = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        seen.append(features(trunk, (photo - 0.5) / 0.5))
    return seen


def extrapolated(curve: dict[int, dict[str, float]]) -> None:
    """Print for each aim how many photos it would take, if the error goes on falling as a power of their number."""
    sizes = np.log(list(curve))
    for name, aim in AIMS.items():
        errors = np.log([1 - figures[name] for figures in curve.values()])
        slope = -float(np.polyfit(sizes, errors, 1)[0])
        ratio = (1 - aim) / (1 - SHIPPED[name])
        most = max(curve)
        photos = most * ratio ** (-1 / slope) if slope > 0 else float("inf")
        print(
            f"{name}: each doubling removes {1 - 2**-slope:.1%} of the error; from {SHIPPED[name]} of the shipped head "
            f"({most} photos) to {aim}: {photos:,.0f} photos",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=int, nargs="+", default=[50, 100, 200, 402])
    parser.add_argument("--views", type=int, default=8, help="views per photo")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tagged", action="store_true", help="also with the photos of which only the labels are known")
    args = parser.parse_args()

    trunk = networks.student().trunk.eval()
    photos = data.load_photos(args.data / "outfits")
    seen = seen_by(trunk, views_of(photos, args.views, 0), 0)
    outfits = args.data / "outfits"
    keep = benchmark.part_of(5)
    truths = benchmark.load(outfits / "photos", outfits / "masks", outfits / "labels.json", keep)
    whole = photos_seen(trunk, truths)
    print(f"{len(photos)} photos, {len(seen.photo):,} views; {len(truths)} photos to measure", flush=True)
    tagged = None
    if args.tagged:
        weak = tagged_photos(args.data / "outfits-tags")
        samples = views_of([photo for photo, _ in weak], 2, 1)
        for place, sample in samples:
            sample.presence, sample.target = weak[place][1], np.full_like(sample.target, data.IGNORE)
        tagged = seen_by(trunk, samples, 1)
        print(f"and {len(weak)} photos of which only the labels are known", flush=True)
    curve: dict[int, dict[str, float]] = {}
    for count in sorted(args.photos):
        runs = [
            measured(trained(seen, count, tagged, args.steps, args.batch, seed), whole, truths)
            for seed in range(args.seeds)
        ]
        curve[count] = {name: mean(run[name] for run in runs) for name in FIGURES}
        spread = {name: stdev(run[name] for run in runs) if len(runs) > 1 else 0.0 for name in FIGURES}
        shown = ", ".join(f"{name} {curve[count][name]:.3f} ± {spread[name]:.3f}" for name in FIGURES)
        print(f"{count} photos: {shown}", flush=True)
    if len(curve) > 1:
        extrapolated(curve)


if __name__ == "__main__":
    main()
