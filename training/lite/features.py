"""Frozen features of every picture in every view, computed once and stored on disk.

One ``.npz`` per view, with the rows of :class:`Rows`. The heads are trained on these alone, which takes seconds
instead of the minutes of the trunk.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from imagesim.embedders import lite_model
from imagesim.embedders.lite import load_trunk
from training.lite import augment

BATCH = 32


@dataclass(frozen=True)
class Picture:
    """A picture: its file, the part of it to use, and its labels."""

    source: str
    number: int
    path: Path
    labels: dict[str, str]
    box: tuple[int, int, int, int] | None = None

    @property
    def validation(self) -> bool:
        """Whether it belongs to the part for evaluation, which is never trained on."""
        return self.number % 5 == 0


def fashion(data: Path) -> list[Picture]:
    folder = data / "fashion"
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows.sort(key=lambda row: int(row["id"]))
    return [Picture("fashion", int(row["id"]), folder / "images" / f"{row['id']}.jpg", row) for row in rows]


def outfits(data: Path) -> list[Picture]:
    """Return every garment in the street photos, cropped to the box of its mask."""
    folder = data / "outfits"
    names = json.loads((folder / "labels.json").read_text())
    pictures = []
    for path in sorted((folder / "photos").glob("*.jpg")):
        mask = np.asarray(Image.open(folder / "masks" / f"{path.stem}.png"))
        for label in np.unique(mask):
            ys, xs = np.nonzero(mask == label)
            if names[label] in ("null", "hair", "skin") or len(ys) < 400:
                continue
            box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            pictures.append(Picture("outfits", int(path.stem), path, {"articleType": names[label]}, box))
    return pictures


def load(picture: Picture, rng: np.random.Generator | None = None) -> Image.Image:
    """Load the picture as a 224 x 224 square; a crop keeps a random part of its surroundings."""
    image = ImageOps.exif_transpose(Image.open(picture.path)).convert("RGB")
    if picture.box is not None:
        left, top, right, bottom = picture.box
        loose = 0.08 if rng is None else rng.uniform(0, 0.25)
        side = max(right - left, bottom - top)
        x, y = (
            ((right - left) * 0.5 + side * 0.5) / 2 * (1 + loose),
            ((bottom - top) * 0.5 + side * 0.5) / 2 * (1 + loose),
        )
        shift = (0.0, 0.0) if rng is None else rng.normal(0, 0.04, 2) * side
        cx, cy = (left + right) / 2 + shift[0], (top + bottom) / 2 + shift[1]
        image = image.crop(
            (max(0, int(cx - x)), max(0, int(cy - y)), min(image.width, int(cx + x)), min(image.height, int(cy + y)))
        )
    if image.size != (augment.SIZE, augment.SIZE):
        image = ImageOps.pad(image, (augment.SIZE, augment.SIZE), Image.Resampling.BICUBIC, color=(255, 255, 255))
    return image


View = Callable[[Picture, np.random.Generator, list[Image.Image]], tuple[Image.Image, str]]


def clean(picture: Picture, rng: np.random.Generator, streets: list[Image.Image]) -> tuple[Image.Image, str]:
    return load(picture), ""


def shop(picture: Picture, rng: np.random.Generator, streets: list[Image.Image]) -> tuple[Image.Image, str]:
    return augment.shop_view(load(picture, rng), rng), ""


def phone(picture: Picture, rng: np.random.Generator, streets: list[Image.Image]) -> tuple[Image.Image, str]:
    image = load(picture)
    return augment.phone_view(image, augment.foreground(image), rng, streets), ""


def colour(picture: Picture, rng: np.random.Generator, streets: list[Image.Image]) -> tuple[Image.Image, str]:
    image = load(picture)
    mask = augment.foreground(image)
    image, name = augment.recolour(image, mask, rng)
    if rng.random() < 0.5:
        return augment.phone_view(image, mask, rng, streets), name
    return augment.shop_view(image, rng), name


VIEWS: dict[str, tuple[str, View]] = {
    "fashion-clean": ("fashion", clean),
    "fashion-phone-1": ("fashion", phone),
    "fashion-colour-1": ("fashion", colour),
    "fashion-shop-1": ("fashion", shop),
    "outfits-clean": ("outfits", clean),
    "outfits-shop-1": ("outfits", shop),
}


def _batches(
    pictures: list[Picture], view: str, make: View, streets: list[Image.Image], seed: int
) -> Iterator[list[tuple[Image.Image, str]]]:
    def one(index: int) -> tuple[Image.Image, str]:
        rng = np.random.default_rng((seed, zlib.crc32(view.encode()), index))
        return make(pictures[index], rng, streets)

    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(pictures), BATCH):
            yield list(pool.map(one, range(start, min(start + BATCH, len(pictures)))))


def grounds(garments: list[Picture]) -> list[Image.Image]:
    """Return every fifth street photo of the training part, for :func:`phone`."""
    photos = sorted({picture.path for picture in garments if not picture.validation})[::5]
    return [Image.open(path).convert("RGB") for path in photos]


def extract(data: Path, out: Path, *, views: Sequence[str] = tuple(VIEWS), seed: int = 0, log: Any = print) -> None:
    """Compute the features of every picture in every view that is not on disk yet."""
    out.mkdir(parents=True, exist_ok=True)
    sources = {"fashion": fashion(data), "outfits": outfits(data)}
    streets = grounds(sources["outfits"])
    dtype = torch.bfloat16 if torch.backends.mkldnn.is_available() else torch.float32
    trunk: Any = load_trunk().to(dtype)
    for view in views:
        source, make = VIEWS[view]
        file = out / f"{view}.npz"
        if file.exists():
            continue
        rows: dict[str, list[np.ndarray]] = {}
        names: list[str] = []
        for batch in _batches(sources[source], view, make, streets, seed):
            pixels = np.stack([np.asarray(image) for image, _ in batch])
            names += [name for _, name in batch]
            x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                described = lite_model.describe(trunk, x)
                described["map"] = described["map"].half()
            for name, value in described.items():
                rows.setdefault(name, []).append(value.float().numpy().astype(np.float16))
        numbers = np.array([p.number for p in sources[source]])
        arrays: dict[str, Any] = {name: np.concatenate(values) for name, values in rows.items()}
        np.savez(file.with_suffix(".tmp.npz"), number=numbers, colour=np.array(names), **arrays)
        file.with_suffix(".tmp.npz").rename(file)
        log(f"{view}: {len(numbers)} pictures")
