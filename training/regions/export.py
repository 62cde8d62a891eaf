"""Choose the score limits on the held-out photos, and write the network as the app ships it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import data
import networks
import numpy as np
import regions as benchmark
import torch
from PIL import Image
from safetensors.torch import save_file

from imagesim.embedders.lite import SCALES, file_digest, load_trunk
from imagesim.regions.boxes import CONFIG, WEIGHTS, candidates, resize, select
from imagesim.regions.labels import GARMENTS
from imagesim.regions.segmenter import HEAD, TRUNK, to_tensor
from imagesim.types import Region
from training.lite.pack import in_8_bits

# A label's own limit is mixed with the common one, weighted by this many garments: alone, it would overfit 210 photos.
STEADY = 120
BETA = 0.6
"""The weight of found garments relative to right names. With it, one in ten names for the held-out photos is wrong;
with 1, one in seven."""


def limits(worn: Sequence[Collection[str]], found: Sequence[list[Region]]) -> dict[str, float]:
    """Return, for each label, the score limit with the best F-beta of the names; the limits of rare labels are pulled
    towards the common one.

    :param worn: the labels of each photo.
    """
    grid = np.arange(0.1, 0.8, 0.02)

    def counts(label: int) -> np.ndarray:  # (grid, right / wrong / missed)
        name, table = GARMENTS[label], np.zeros((len(grid), 3))
        for labels, regions in zip(worn, found, strict=True):
            best = max((r.score for r in regions if r.label == name), default=-1.0)
            shown, there = best >= grid, name in labels
            table += np.stack([shown & there, shown & (not there), ~shown & there], axis=1)
        return table

    every = [counts(label) for label in range(len(GARMENTS))]
    together = sum(every)

    def f_beta(table: np.ndarray) -> np.ndarray:
        right, wrong, missed = table.T
        return (1 + BETA**2) * right / np.maximum(1, (1 + BETA**2) * right + wrong + BETA**2 * missed)

    common = f_beta(together)
    chosen = {}
    for label, table in enumerate(every):
        owners = table[0, 0] + table[0, 2]
        weight = owners / (owners + STEADY)
        chosen[GARMENTS[label]] = round(float(grid[(weight * f_beta(table) + (1 - weight) * common).argmax()]), 2)
    return chosen


def found_in(image: Image.Image, finder: networks.Finder) -> list[Region]:
    """Return every candidate in one photo."""
    with torch.inference_mode():
        logits, presence = finder(to_tensor(resize(image)))
    return candidates(logits[0].softmax(dim=0).numpy(), presence[0].sigmoid().numpy(), data.CLASSES)


def tensors(finder: networks.Finder) -> dict[str, torch.Tensor]:
    """Return the head in 16 bits, and the tower's difference from that of its package, with filters in 8 bits."""
    state = {HEAD + name: value for name, value in finder.head.state_dict().items() if value.dtype.is_floating_point}
    original = dict(load_trunk().named_parameters())
    for name, value in finder.trunk.named_parameters():
        change = value.detach() - original[name]
        if change.ndim > 1:
            state[TRUNK + name], state[TRUNK + name + SCALES] = in_8_bits(change)
        else:
            state[TRUNK + name] = change
    return {n: (v.half() if v.dtype.is_floating_point else v).contiguous() for n, v in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="weights of train.py with all photos, to ship")
    parser.add_argument("--without-aside", type=Path, required=True, help="weights of train.py --without-aside")
    args = parser.parse_args()
    outfits = args.data / "outfits"
    truths = benchmark.load(
        outfits / "photos", outfits / "masks", outfits / "labels.json", lambda path: data.is_aside(int(path.stem))
    )
    judged = networks.trained(networks.student(), args.without_aside)
    every = [found_in(truth.image(), judged) for truth in truths]
    further = [each for each in data.tagged_photos(args.data / "outfits-tags") if data.is_aside(int(each[0]))]
    worn = [*(truth.boxes for truth in truths), *(labels for _, _, labels in further)]
    chosen = limits(worn, [*every, *(found_in(image, judged) for _, image, _ in further)])
    kept_aside = benchmark.score(truths, [select(regions, chosen) for regions in every], every=every)
    names = ("recall", "recall_considered", "map", "label_f1", "said_wrong")
    print(f"{len(truths)} held-out photos:", ", ".join(f"{name} {kept_aside[name]:.3f}" for name in names))

    WEIGHTS.parent.mkdir(exist_ok=True)
    save_file(tensors(networks.trained(networks.student(), args.weights)), WEIGHTS)
    config = {
        "classes": data.CLASSES,
        "labels": GARMENTS,
        "limits": chosen,
        "checksum": file_digest(WEIGHTS),
        "trained_on": "Clothing Co-Parsing (Apache-2.0 stated), Fashion Product Images (MIT reported), "
        "Grocery Store Dataset (MIT)",
    }
    CONFIG.write_text(json.dumps(config, indent=1) + "\n")
    print(json.dumps(chosen), WEIGHTS.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
