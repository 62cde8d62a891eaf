"""Calibrate when the work list of ``imagesim.insight`` calls pictures the same, or a picture blurred.

    python -m benchmarks.duplicates --data FOLDER [--pictures 1200] [--changed 400]

Takes pictures of different products (``FOLDER/*/images/*.jpg``, with ``labels.csv``), and adds changed copies of some:
cropped, rotated slightly, brightened, compressed, with a border. Prints precision and recall of the pairs above each
threshold of the built-in model's cosine, where a pair is right if one is a copy of the other, and the shares of
pictures that are called blurred at each threshold, before and after blurring.
"""

from __future__ import annotations

import argparse
import csv
import random
from io import BytesIO
from pathlib import Path

import django
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.relevance.data import embedder

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=1200)
    parser.add_argument("--changed", type=int, default=400)
    options = parser.parse_args()
    django.setup()
    from imagesim.images.quality import blur

    chance = random.Random(3)
    for folder in sorted(path.parent for path in options.data.glob("*/labels.csv")):
        files = different(folder)
        chance.shuffle(files)
        pictures = [Image.open(file).convert("RGB") for file in files[: options.pictures]]
        owners = list(range(len(pictures)))
        copied = chance.sample(owners, min(options.changed, len(owners)))
        vectors = embed([*pictures, *(changed(pictures[n], chance) for n in copied)])
        print(f"{folder.name}: {len(pictures)} pictures, {len(copied)} changed copies; {pictures[0].size}")
        pairs(vectors, np.array([*owners, *copied]), len(copied))
        blurs = np.array([[blur(each), blur(blurred(each))] for each in pictures[:300]])
        for threshold in (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7):
            print(f"  blur {threshold}: {(blurs > threshold).mean(axis=0).round(3)} (as they are, blurred)")


def different(folder: Path) -> list[Path]:
    """Return one picture of each product: the first of those with the same name."""
    found: dict[str, Path] = {}
    with (folder / "labels.csv").open() as lines:
        for line in csv.DictReader(lines):
            file = folder / "images" / f"{line['id']}.jpg"
            if file.exists():
                found.setdefault(line.get("product") or line["id"], file)
    return list(found.values())


def changed(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Return the picture as a shop might have it a second time: with two of five changes, and compressed again."""
    width, height = picture.size

    def cropped(image: Image.Image) -> Image.Image:
        left, top = (int(side * chance.uniform(0, 0.12)) for side in image.size)
        right, bottom = (int(side * chance.uniform(0.88, 1)) for side in image.size)
        return image.crop((left, top, right, bottom))

    changes = [
        cropped,
        lambda image: image.rotate(chance.uniform(-4, 4), Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0))),
        lambda image: ImageEnhance.Brightness(image).enhance(chance.uniform(0.8, 1.2)),
        lambda image: ImageOps.expand(image, border=max(1, width // 12), fill="white"),
        lambda image: image.resize((max(32, width * 3 // 4), max(32, height * 3 // 4))),
    ]
    for change in chance.sample(changes, 2):
        picture = change(picture)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=chance.randint(60, 90))
    return Image.open(buffer).convert("RGB")


def blurred(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 100))


def embed(pictures: list[Image.Image]) -> np.ndarray:
    model = embedder()
    return np.concatenate(
        [np.asarray(model.embed_images(pictures[n : n + BATCH])) for n in range(0, len(pictures), BATCH)]
    )


def pairs(vectors: np.ndarray, owners: np.ndarray, copies: int) -> None:
    scores = np.triu(vectors @ vectors.T, 1)
    same = owners[:, None] == owners[None, :]
    for threshold in (0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99):
        above = scores >= threshold
        right, all_of_them = int((above & same).sum()), int(above.sum())
        precision = right / all_of_them if all_of_them else 1.0
        print(f"  cosine {threshold}: precision {precision:.3f}, recall {right / copies:.3f} ({all_of_them} pairs)")


if __name__ == "__main__":
    main()
