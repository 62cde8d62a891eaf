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

from imagesim.embedders import lite, lite_model
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
    """Return at most ``most`` pictures of each part, chosen at random; those named ``learned`` are for fitting only."""
    with (data / "grocery" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts: dict[str, Labelled] = {}
    for row in rows:
        kind = "products" if row["kind"] == "product" else "learned" if row["split"] == "train" else ""
        path = data / "grocery" / "images" / f"{row['id']}.jpg"
        labels = {"type": row["coarse"].replace("-", " "), "product": row["product"]}
        name = f"groceries {kind}".strip()
        parts.setdefault(name, []).append((features.Picture("grocery", 0, path, row), labels))
    for name, source in (("clothes", features.fashion(data)), ("street", features.outfits(data))):
        for picture in source:
            known = {"type": "articleType", "colour": "baseColour", "gender": "gender", "category": "subCategory"}
            labels = {label: picture.labels.get(column, "") for label, column in known.items()}
            parts.setdefault(name if picture.validation else f"{name} learned", []).append((picture, labels))
    order = {name: np.random.default_rng(0).permutation(len(part)) for name, part in parts.items()}
    chosen = {name: [part[i] for i in order[name][:most]] for name, part in parts.items()}
    return {**chosen, "phone": chosen["clothes"], "phone learned": chosen["clothes learned"]}


def describe(name: str, part: Labelled, file: Path, trunk: Any, streets: list[Image.Image]) -> Part:
    """Return the input of the heads for these pictures, computed once and stored in ``file``."""
    if not file.exists():
        view = features.phone if name.startswith("phone") else features.clean
        batches: list[dict[str, torch.Tensor]] = []
        for start in range(0, len(part), features.BATCH):
            numbered = enumerate(part[start : start + features.BATCH], start)
            images = [view(picture, np.random.default_rng((0, i)), streets)[0] for i, (picture, _) in numbered]
            pixels = np.stack([np.asarray(image, np.float32) for image in images])
            x = torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                seen = lite_model.describe(trunk, x)
                batches.append({k: v.float() for k, v in seen.items() if k != "map"})
        torch.save({name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}, file)
    labels = {label: np.array([each[label] for _, each in part]) for label in part[0][1]}
    return Part(torch.load(file), labels)


def load(data: Path, out: Path, most: int, names: Sequence[str] = ()) -> dict[str, Part]:
    """Return the parts of these names, or all; features are computed if ``out`` does not have them."""
    out.mkdir(parents=True, exist_ok=True)
    trunk: Any = lite.load_trunk()
    if torch.backends.mkldnn.is_available():
        trunk = trunk.to(torch.bfloat16)
    asked, streets = pictures(data, most), features.grounds(features.outfits(data))
    parts = {}
    for name in names or asked:
        file = out / f"{name.replace(' ', '-')}-{len(asked[name])}.pt"
        parts[name] = describe(name, asked[name], file, trunk, streets)
        print(f"{name}: {len(asked[name])} pictures", flush=True)
    return parts
