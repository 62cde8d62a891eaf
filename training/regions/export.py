"""Choose the limits of the scores on the held-out photos, and write the head as the app ships it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(Path(__file__).resolve().parent)]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import data  # noqa: E402
import networks  # noqa: E402
import regions as benchmark  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from imagesim.embedders.lite import file_digest  # noqa: E402
from imagesim.regions.boxes import candidates  # noqa: E402
from imagesim.regions.labels import GARMENTS  # noqa: E402
from imagesim.regions.segmentation import CONFIG, WEIGHTS, resize  # noqa: E402
from imagesim.regions.segmenter import to_tensor  # noqa: E402
from imagesim.types import Region  # noqa: E402

# A label's own limit is mixed with the common one, weighted by this many garments: alone it would overfit 100 photos.
STEADY = 120


def limits(truths: list[benchmark.Truth], found: list[list[Region]]) -> dict[str, float]:
    """Return for each label the score limit with the best F1; the limits of rare labels are pulled to the common
    one."""
    grid = np.arange(0.1, 0.8, 0.02)

    def counts(label: int) -> np.ndarray:  # (grid, right / wrong / missed)
        name, table = GARMENTS[label], np.zeros((len(grid), 3))
        for truth, regions in zip(truths, found, strict=True):
            best = max((r.score for r in regions if r.label == name), default=-1.0)
            shown, there = best >= grid, name in truth.boxes
            table += np.stack([shown & there, shown & (not there), ~shown & there], axis=1)
        return table

    every = [counts(label) for label in range(len(GARMENTS))]
    together = sum(every)

    def f1(table: np.ndarray) -> np.ndarray:
        return 2 * table[:, 0] / np.maximum(1, 2 * table[:, 0] + table[:, 1] + table[:, 2])

    common = f1(together)
    chosen = {}
    for label, table in enumerate(every):
        owners = table[0, 0] + table[0, 2]
        weight = owners / (owners + STEADY)
        chosen[GARMENTS[label]] = round(float(grid[(weight * f1(table) + (1 - weight) * common).argmax()]), 2)
    return chosen


def loaded(weights: Path) -> networks.Finder:
    finder = networks.student()
    finder.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return finder.eval()


def found_in(truth: benchmark.Truth, finder: networks.Finder) -> list[Region]:
    """Return every candidate in one photo."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits, presence = finder(to_tensor(resize(truth.image())))
    return candidates(logits[0].float().softmax(dim=0).numpy(), presence[0].float().sigmoid().numpy(), data.CLASSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="weights of train.py with all photos, which ship")
    parser.add_argument("--without-aside", type=Path, required=True, help="weights of train.py --without-aside")
    args = parser.parse_args()
    outfits = args.data / "outfits"
    truths = benchmark.load(
        outfits / "photos", outfits / "masks", outfits / "labels.json", lambda path: data.is_aside(int(path.stem))
    )
    judged = loaded(args.without_aside)
    every = [found_in(truth, judged) for truth in truths]
    chosen = limits(truths, every)
    shown = [[r for r in regions if r.score >= chosen[r.label]] for regions in every]
    kept_aside = benchmark.score(truths, shown, every=every)
    names = ("recall", "recall_considered", "map", "label_f1")
    print(f"{len(truths)} held-out photos:", ", ".join(f"{name} {kept_aside[name]:.3f}" for name in names))

    WEIGHTS.parent.mkdir(exist_ok=True)
    head = loaded(args.weights).head.state_dict()
    save_file({k: v.half().contiguous() for k, v in head.items() if v.dtype.is_floating_point}, WEIGHTS)
    config = {
        "classes": data.CLASSES,
        "labels": GARMENTS,
        "limits": chosen,
        "checksum": file_digest(WEIGHTS),
        "trained_on": "Clothing Co-Parsing (Apache-2.0 stated), Fashion Product Images (MIT reported)",
    }
    CONFIG.write_text(json.dumps(config, indent=1) + "\n")
    print(json.dumps(chosen), WEIGHTS.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
