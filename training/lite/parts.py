"""Samples of pictures of several trades, with their features computed once and stored on disk."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagesim.embedders.lite import LITE, Size
from training.lite import features


@dataclass
class Part:
    """Pictures of one trade: the input of the heads, and labels by name."""

    seen: dict[str, torch.Tensor]
    labels: dict[str, np.ndarray]

    def label(self, *names: str) -> np.ndarray:
        return np.array(["|".join(each) for each in zip(*(self.labels[name] for name in names), strict=True)])


Labelled = list[tuple[features.Picture, dict[str, str]]]


def pictures(data: Path, most: int) -> dict[str, Labelled]:
    """Return at most ``most`` randomly chosen pictures of each part, none of which is trained on."""
    with (data / "grocery" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts: dict[str, Labelled] = {}
    for row in rows:
        if row["kind"] != "product" and row["split"] == "train":
            continue
        kind = "products" if row["kind"] == "product" else ""
        path = data / "grocery" / "images" / f"{row['id']}.jpg"
        labels = {"type": row["coarse"].replace("-", " "), "product": row["product"]}
        name = f"groceries {kind}".strip()
        parts.setdefault(name, []).append((features.Picture("grocery", 0, path, row), labels))
    for name, source in (("clothes", features.fashion(data)), ("street", features.outfits(data))):
        for picture in source:
            known = {"type": "articleType", "colour": "baseColour", "gender": "gender", "category": "subCategory"}
            labels = {label: picture.labels.get(column, "") for label, column in known.items()}
            if picture.validation:
                parts.setdefault(name, []).append((picture, labels))
    order = {name: np.random.default_rng(0).permutation(len(part)) for name, part in parts.items()}
    chosen = {name: [part[i] for i in order[name][:most]] for name, part in parts.items()}
    return {**chosen, "phone": chosen["clothes"]}


def describe(name: str, part: Labelled, file: Path, trunk: Any, streets: list[Image.Image], side: int) -> Part:
    """Return the input of the heads for these pictures, computed once and stored in ``file``."""
    if not file.exists():
        view = features.phone if name.startswith("phone") else features.clean
        batches: list[dict[str, torch.Tensor]] = []
        for start in range(0, len(part), features.BATCH):
            numbered = enumerate(part[start : start + features.BATCH], start)
            images = [view(picture, np.random.default_rng((0, i)), streets, side)[0] for i, (picture, _) in numbered]
            batches.append(features.describe(trunk, images))
        torch.save({name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}, file)
    labels = {label: np.array([each[label] for _, each in part]) for label in part[0][1]}
    return Part(torch.load(file), labels)


def load(data: Path, out: Path, most: int, names: Sequence[str] = (), size: Size = LITE) -> dict[str, Part]:
    """Return the parts with these names, or all; features that ``out`` lacks are computed."""
    out.mkdir(parents=True, exist_ok=True)
    trunk = features.frozen_trunk(size)
    asked, streets = pictures(data, most), features.grounds(features.outfits(data))
    parts = {}
    for name in names or asked:
        file = out / f"{name.replace(' ', '-')}-{len(asked[name])}.pt"
        parts[name] = describe(name, asked[name], file, trunk, streets, size.image_size)
        print(f"{name}: {len(asked[name])} pictures", flush=True)
    return parts
