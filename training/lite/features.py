"""Frozen features of every picture in every view, computed once and stored on disk.

Each view has an ``.npz`` with the rows of :class:`Rows`. The heads are trained on these alone, which takes seconds
instead of the minutes that the trunk takes.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from imagesim.embedders import lite_model
from imagesim.embedders.lite import LITE, Size, load_trunk
from imagesim.embedders.precision import lower_precisions
from imagesim.embedders.reduced_precision import convert, fold_batch_norms
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
        """Whether it belongs to the evaluation part, which is never trained on."""
        if self.source == "grocery":
            return self.labels["split"] != "train"
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


def grocery(data: Path) -> list[Picture]:
    """Return the photos taken in shops, and the products' own pictures."""
    folder = data / "grocery"
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    places = [folder / "images" / f"{row['id']}.jpg" for row in rows]
    labels = [
        {"articleType": row["coarse"].replace("-", " "), "product": row["product"].replace("-", " ")} for row in rows
    ]
    return [
        Picture("grocery", i, path, {**row, **named})
        for i, (path, row, named) in enumerate(zip(places, rows, labels, strict=True))
    ]


def load(picture: Picture, rng: np.random.Generator | None = None, side: int = augment.SIZE) -> Image.Image:
    """Load the picture as a square; a crop keeps a random part of its surroundings."""
    image = ImageOps.exif_transpose(Image.open(picture.path)).convert("RGB")
    if picture.box is not None:
        left, top, right, bottom = picture.box
        loose = 0.08 if rng is None else rng.uniform(0, 0.25)
        longest = max(right - left, bottom - top)
        x, y = (
            ((right - left) * 0.5 + longest * 0.5) / 2 * (1 + loose),
            ((bottom - top) * 0.5 + longest * 0.5) / 2 * (1 + loose),
        )
        shift = (0.0, 0.0) if rng is None else rng.normal(0, 0.04, 2) * longest
        cx, cy = (left + right) / 2 + shift[0], (top + bottom) / 2 + shift[1]
        image = image.crop(
            (max(0, int(cx - x)), max(0, int(cy - y)), min(image.width, int(cx + x)), min(image.height, int(cy + y)))
        )
    return square(image, side)


def square(image: Image.Image, side: int) -> Image.Image:
    """Return the whole picture, scaled to fit a white square."""
    if image.size == (side, side):
        return image
    return ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color=(255, 255, 255))


View = Callable[[Picture, np.random.Generator, list[Image.Image], int], tuple[Image.Image, str]]
"""Makes a square picture of the given side, and the name of its new colour if it has one."""


def clean(picture: Picture, rng: np.random.Generator, streets: list[Image.Image], side: int) -> tuple[Image.Image, str]:
    return load(picture, side=side), ""


def shop(picture: Picture, rng: np.random.Generator, streets: list[Image.Image], side: int) -> tuple[Image.Image, str]:
    return _scaled(augment.shop_view(load(picture, rng), rng), side), ""


def phone(picture: Picture, rng: np.random.Generator, streets: list[Image.Image], side: int) -> tuple[Image.Image, str]:
    image = load(picture)
    return _scaled(augment.phone_view(image, augment.foreground(image), rng, streets), side), ""


def colour(
    picture: Picture, rng: np.random.Generator, streets: list[Image.Image], side: int
) -> tuple[Image.Image, str]:
    image = load(picture)
    mask = augment.foreground(image)
    image, name = augment.recolour(image, mask, rng)
    if rng.random() < 0.5:
        return _scaled(augment.phone_view(image, mask, rng, streets), side), name
    return _scaled(augment.shop_view(image, rng), side), name


def _scaled(image: Image.Image, side: int) -> Image.Image:
    """Scale an augmented picture to the side of the trunk's input, so that all trunks see the same views."""
    return image if image.width == side else image.resize((side, side), Image.Resampling.BICUBIC)


# White cannot be distinguished from the ground, and pictures with many colours have no single colour to change.
NOT_RECOLOURED = {"White", "Off White", "Cream", "Silver", "Steel", "Multi", "Metallic", "NA", "Gold"}


SOURCES: dict[str, Callable[[Path], list[Picture]]] = {"fashion": fashion, "outfits": outfits, "grocery": grocery}
VIEWS: dict[str, tuple[str, View]] = {
    "fashion-clean": ("fashion", clean),
    "fashion-phone-1": ("fashion", phone),
    "fashion-colour-1": ("fashion", colour),
    "fashion-shop-1": ("fashion", shop),
    "outfits-clean": ("outfits", clean),
    "outfits-shop-1": ("outfits", shop),
    "grocery-clean": ("grocery", clean),
    "grocery-shop-1": ("grocery", shop),
}
ALL: Mapping[str, int | None] = {name: None for name, (source, _) in VIEWS.items() if source != "grocery"}


def used(pictures: Sequence[Picture], view: str, most: int | None = None) -> list[int]:
    """Return the positions of the pictures that have this view: all, or ``most`` random ones of the training part."""
    places = np.arange(len(pictures))
    if most is not None:
        places = np.random.default_rng(zlib.crc32(view.encode())).permutation(places)
        places = np.array([i for i in places if not pictures[i].validation])
    if VIEWS[view][1] is colour:
        given = [p.labels.get("baseColour") not in NOT_RECOLOURED and not p.validation for p in pictures]
        places = places[np.array(given)[places]]
    return sorted(places[:most].tolist())


def _batches(
    pictures: list[Picture], places: list[int], view: str, streets: list[Image.Image], seed: int, side: int
) -> Iterator[list[tuple[Image.Image, str]]]:
    make = VIEWS[view][1]

    def one(index: int) -> tuple[Image.Image, str]:
        rng = np.random.default_rng((seed, zlib.crc32(view.encode()), index))
        return make(pictures[index], rng, streets, side)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for start in range(0, len(places), BATCH):
            yield list(pool.map(one, places[start : start + BATCH]))


def grounds(garments: list[Picture]) -> list[Image.Image]:
    """Return every fifth street photo of the training part, for :func:`phone`."""
    photos = sorted({picture.path for picture in garments if not picture.validation})[::5]
    return [Image.open(path).convert("RGB") for path in photos]


def frozen_trunk(size: Size) -> Any:
    """Return the trunk for computing features: in bf16 where the processor computes it natively."""
    trunk = fold_batch_norms(load_trunk(size))
    return convert(trunk, torch.bfloat16) if "bf16" in lower_precisions(torch.device("cpu")) else trunk


def describe(trunk: Any, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
    """Return what the heads need from these pictures, as float32."""
    x = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        described = lite_model.describe(trunk, x.contiguous(memory_format=torch.channels_last))
        return {name: value.float() for name, value in described.items() if name != "map"}


def extract(
    data: Path, out: Path, *, size: Size = LITE, most: Mapping[str, int | None] = ALL, seed: int = 0, log: Any = print
) -> None:
    """Compute the features of the pictures in every view that is not on disk yet.

    :param most: for each view, the number of pictures of the training part; None: all pictures, of both parts.
    """
    out.mkdir(parents=True, exist_ok=True)
    sources = {name: find(data) for name, find in SOURCES.items()}
    streets = grounds(sources["outfits"])
    trunk = frozen_trunk(size)
    for view, number in most.items():
        pictures, file = sources[VIEWS[view][0]], out / f"{view}.npz"
        if file.exists():
            continue
        rows: dict[str, list[np.ndarray]] = {}
        names: list[str] = []
        places = used(pictures, view, number)
        for batch in _batches(pictures, places, view, streets, seed, size.image_size):
            names += [name for _, name in batch]
            for name, value in describe(trunk, [image for image, _ in batch]).items():
                rows.setdefault(name, []).append(value.numpy().astype(np.float16))
        arrays: dict[str, Any] = {name: np.concatenate(values) for name, values in rows.items()}
        np.savez(file.with_suffix(".tmp.npz"), place=places, colour=np.array(names), **arrays)
        file.with_suffix(".tmp.npz").rename(file)
        log(f"{view}: {len(names)} pictures")
