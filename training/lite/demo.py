"""The demo shop's products other than clothes and shoes: 67 pictures of 41 kinds, on which no heads are trained."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from demo_shop.shop import catalogue
from demo_shop.shop.packages import PACKAGES, read_pictures
from imagesim.embedders.lite import Size
from training.lite import features
from training.lite.parts import Part

KINDS = {
    "chair": ("Balloon Chair", "Café Shell Chair"),
    "armchair": ("Eaves Armchair, black", "Padded Easy Chair"),
    "stool": ("Whitewashed Stool",),
    "sofa": ("Buttoned Grey Sofa", "Saddle Leather Sofa"),
    "desk": ("Oak Writing Desk",),
    "bedside table": ("Three-legged Bedside Table",),
    "cushion": ("Parrot Cushion, midnight", "Parrot Cushion, line art"),
    "lamp": ("Enamel Pendant Lamp",),
    "statue": ("Guardian Lion",),
    "paint bucket": (
        "Nebula Night Sky Wall Paint",
        "Space Dust Navy Wall Paint",
        "Red Dwarf Red Wall Paint",
        "Light Speed Yellow Wall Paint",
        "Hyperspace Turquoise Wall Paint",
    ),
    "cactus": ("Column Cactus",),
    "tulips": ("Red Tulips in a Pot",),
    "hanging plant": ("Hanging Fern Basket",),
    "succulent": ("Haworthia in White", "Assorted Succulents"),
    "pine": ("Norfolk Pine",),
    "orchid": ("Pink Moth Orchid",),
    "bonsai": ("Juniper Bonsai",),
    "garden scoop": ("Potting Scoop",),
    "camera": (
        "Instant Camera",
        "Vintage Press Camera",
        "Instamatic Camera",
        "Pocket Zoom Camera",
        "Film SLR with 50 mm Lens",
        "Retro Mirrorless Camera",
        "Twin Lens Reflex",
    ),
    "camera lens": ("Telephoto Zoom Lens",),
    "tripod": ("Travel Tripod",),
    "laptop": ("Laptop 13″",),
    "tablet computer": ("Tablet with Pencil",),
    "computer mouse": ("Wireless Optical Mouse",),
    "computer monitor": ("32-inch 4K Monitor", "Ultrawide Curved Monitor"),
    "desktop computer": ("Gaming PC",),
    "keyboard": ("Clacky Keyboard",),
    "memory module": ("Memory Module",),
    "hard drive": ("Hard Drive",),
    "cable": ("Ethernet Cable", "USB Cable"),
    "football": ("Match Football",),
    "tennis ball": ("Tennis Ball",),
    "basketball": ("Basketball",),
    "bicycle": ("Carbon Road Bike",),
    "skateboard": ("Cruiser Skateboard",),
    "tent": ("Two-person Tent",),
    "skipping rope": ("Sausage Skipping Rope",),
    "boxing gloves": ("Boxing Gloves",),
    "juice": ("Banana Juice", "Bean Juice", "Power Juice", "Green Juice", "Carrot Juice", "Orange Juice"),
    "beer": ("Sea Monster Strong", "Sea Monster Last"),
    "wine": ("Matured Red", "Vineyard White"),
}


def load(out: Path, size: Size) -> Part:
    """Return these products, with labels "type", "category" and "colour"; features that ``out`` lacks are computed.

    :raises PackageUnavailable: if the pictures of the demo cannot be downloaded.
    """
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    shown = [(each, photo) for each in catalogue.load().products for photo in each.photos if each.name in kind_of]
    labels = {
        "type": np.array([kind_of[each.name] for each, _ in shown]),
        "category": np.array([each.category for each, _ in shown]),
        "colour": np.array([each.colour for each, _ in shown]),
    }

    def pictures() -> Iterator[bytes]:
        files = {source: read_pictures(package) for source, package in PACKAGES.items()}
        return (files[each.source][photo.file] for each, photo in shown)

    return Part(described(out / f"demo-{len(shown)}.pt", pictures, size), labels)


def described(file: Path, pictures: Callable[[], Iterable[bytes]], size: Size) -> dict[str, torch.Tensor]:
    """Return the input of the heads for a few pictures, computed once and stored in ``file``."""
    if not file.exists():
        images = [features.square(_on_white(data), size.image_size) for data in pictures()]
        torch.save(features.describe(features.frozen_trunk(size), images), file)
    stored: dict[str, torch.Tensor] = torch.load(file)
    return stored


def _on_white(data: bytes) -> Image.Image:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    return ground.convert("RGB")
