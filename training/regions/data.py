"""The photos, their masks, and the augmentations that make the training data look like other people's photos.

There are four sources. Street photos with a label per pixel (Clothing Co-Parsing) teach where garments are. Further
street photos from the same collection, of which only the labels are known, have pixels that a teacher labelled
(``pseudo.py``). Product pictures (Fashion Product Images) teach what single things look like: if nobody wears the
thing, its pixels are those that are not white ground; if somebody may wear it, only the label of the picture is used.
Photos of groceries (Grocery Store Dataset) show no garment at all.

Importing this module makes everything that these scripts need importable: the app, its settings and the benchmarks.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from imagesim.regions.labels import GARMENTS, label_for  # noqa: E402

CLASSES = ("ground", *GARMENTS, "skin", "hair", "other")
IGNORE = 255
STRIDE = 4

# (height, width) of a batch, and how often. Most photos of outfits are upright. Most batches are smaller than the
# finder's input, which halves the cost; the last epochs have its size (Touvron et al., Fixing the train-test resolution
# discrepancy, NeurIPS 2019).
SHAPES = (
    ((384, 256), 24),
    ((352, 288), 8),
    ((320, 320), 3),
    ((256, 384), 6),
    ((512, 352), 5),
    ((352, 512), 1),
)
LATE_SHAPES = (((512, 352), 16), ((480, 384), 4), ((416, 416), 2), ((352, 512), 4))
PRODUCT_SHARE = 0.14
NOTHING_SHARE = 0.06
OF_PEOPLE = 2  # how often a pass shows a photo whose pixels people labelled; it shows other photos once
NOT_WORN = {"shoes", "bag", "hat", "scarf", "glasses", "belt"}


@dataclass
class Photo:
    number: int
    image: Image.Image
    mask: Image.Image  # one class of CLASSES per pixel
    labels: frozenset[str] | None = None  # what is worn, if a teacher labelled the pixels


@dataclass
class Product:
    label: str
    image: Image.Image
    worn: bool


@dataclass
class Sample:
    image: Image.Image
    target: np.ndarray  # uint8 (height / STRIDE, width / STRIDE)
    presence: np.ndarray  # float32 (labels,), -1 where unknown
    weak: int = -1  # the class that some of the ignored pixels have, or -1
    aside: bool = False  # from a held-out photo


def is_aside(number: int) -> bool:
    """Whether a photo of the training part is held out to choose the limits of the scores."""
    return number % 20 in (1, 3)


def class_table(names: list[str]) -> np.ndarray:
    table = np.full(256, CLASSES.index("other"), dtype=np.uint8)
    for index, name in enumerate(names):
        if name == "null":
            table[index] = 0
        elif name in ("skin", "hair"):
            table[index] = CLASSES.index(name)
        elif label := label_for(name):
            table[index] = CLASSES.index(label)
    return table


def load_photos(folder: Path) -> list[Photo]:
    """Return the training part: photos whose number is not a multiple of 5."""
    table = class_table(json.loads((folder / "labels.json").read_text()))
    photos = []
    for path in sorted((folder / "photos").iterdir()):
        if int(path.stem) % 5 == 0:
            continue
        mask = Image.open(folder / "masks" / f"{path.stem}.png")
        with Image.open(path) as image:
            photos.append(Photo(int(path.stem), image.convert("RGB"), Image.fromarray(table[np.asarray(mask)])))
    return photos


def tagged_photos(folder: Path) -> Iterator[tuple[str, Image.Image, frozenset[str]]]:
    """Yield the training part of the photos of which the labels are known: their stems, the photos, and the labels."""
    for stem, names in sorted(json.loads((folder / "tags.json").read_text()).items()):
        if int(stem) % 5:
            with Image.open(folder / "photos" / f"{stem}.jpg") as image:
                yield stem, image.convert("RGB"), frozenset(label for name in names if (label := label_for(name)))


def load_tagged(folder: Path, masks: Path) -> list[Photo]:
    """Return the photos of :func:`tagged_photos` with the pixels that ``pseudo.py`` wrote into ``masks``."""
    photos = []
    for stem, image, labels in tagged_photos(folder):
        with Image.open(masks / f"{stem}.png") as mask:
            photos.append(Photo(int(stem), image, mask.copy(), labels))
    return photos


def load_groceries(folder: Path, *, most: int, seed: int) -> list[Image.Image]:
    """Return photos of the training part that show no garment."""
    rows = [row for row in csv.DictReader((folder / "labels.csv").open()) if row["split"] == "train"]
    photos = []
    for row in random.Random(seed).sample(rows, most):
        with Image.open(folder / "images" / f"{row['id']}.jpg") as image:
            photos.append(image.convert("RGB"))
    return photos


def load_products(folder: Path, *, most: int, seed: int) -> list[Product]:
    rows = [row for row in csv.DictReader((folder / "labels.csv").open()) if int(row["id"]) % 5]
    random.Random(seed).shuffle(rows)
    found: dict[str, int] = {}
    products = []
    for row in rows:
        label = label_for(row["articleType"])
        if not label or found.get(label, 0) >= most:
            continue
        found[label] = found.get(label, 0) + 1
        with Image.open(folder / "images" / f"{row['id']}.jpg") as image:
            products.append(Product(label, image.convert("RGB"), label not in NOT_WORN))
    return products


class Maker:
    """Yields samples endlessly, from a seed."""

    def __init__(self, photos: list[Photo], products: list[Product], nothing: list[Image.Image], seed: int) -> None:
        self.photos, self.products, self.nothing = photos, products, nothing
        self.rng = random.Random(seed)
        self.noise = np.random.default_rng(seed)

    def views(self, *, late: bool = False) -> Iterator[Sample]:
        """Yield samples that together show every photo once; if ``late``, in the size of the finder's input."""
        shapes = LATE_SHAPES if late else SHAPES
        further = any(photo.labels is not None for photo in self.photos)
        order = [p for p in self.photos for _ in range(OF_PEOPLE if further and p.labels is None else 1)]
        self.rng.shuffle(order)
        by_label: dict[str, list[Product]] = {}
        for product in self.products:
            by_label.setdefault(product.label, []).append(product)
        while order:
            shape = self.rng.choices([s for s, _ in shapes], [w for _, w in shapes])[0]
            if self.rng.random() < PRODUCT_SHARE:
                yield self.of_product(self.rng.choice(by_label[self.rng.choice(sorted(by_label))]), shape)
                continue
            if self.nothing and self.rng.random() < NOTHING_SHARE:
                yield self.of_nothing(self.rng.choice(self.nothing), shape)
                continue
            photo = order.pop()
            if self.rng.random() < (0.5 if shape[1] > shape[0] else 0.03):
                yield self.of_two(photo, self.rng.choice(self.photos), shape)
            else:
                yield self.of_photo(photo, shape)

    def of_photo(self, photo: Photo, shape: tuple[int, int]) -> Sample:
        image, mask = self._window(photo, shape)
        return self._finish(image, mask, photo)

    def of_two(self, left: Photo, right: Photo, shape: tuple[int, int]) -> Sample:
        """Return two people side by side."""
        height, width = shape
        half = width // 2
        image, mask = Image.new("RGB", (width, height)), Image.new("L", (width // STRIDE, height // STRIDE))
        for photo, x, w in ((left, 0, half), (right, half, width - half)):
            part, part_mask = self._window(photo, (height, w), close=True)
            image.paste(part, (x, 0))
            mask.paste(part_mask, (x // STRIDE, 0))
        return self._finish(image, mask, left, right)

    def of_nothing(self, image: Image.Image, shape: tuple[int, int]) -> Sample:
        """Return part of a photo without garments."""
        rng = self.rng
        height, width = shape
        share = rng.uniform(0.55, 1)
        w, h = image.width * share, image.width * share * height / width
        if h > image.height:
            w, h = image.height * width / height, image.height
        x, y = rng.uniform(0, image.width - w), rng.uniform(0, image.height - h)
        part = image.resize((width, height), Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
        part, mask = self._finished(part, Image.new("L", (width // STRIDE, height // STRIDE), 0))
        return Sample(part, np.asarray(mask), np.zeros(len(GARMENTS), dtype=np.float32))

    def of_product(self, product: Product, shape: tuple[int, int]) -> Sample:
        rng = self.rng
        height, width = shape
        pixels = np.asarray(product.image)
        thing = (255 - pixels.min(axis=2)) > 14
        rows, columns = np.flatnonzero(thing.any(axis=1)), np.flatnonzero(thing.any(axis=0))
        target = np.zeros((height // STRIDE, width // STRIDE), dtype=np.uint8)
        presence = np.full(len(GARMENTS), -1.0 if product.worn else 0.0, dtype=np.float32)
        index = GARMENTS.index(product.label)
        presence[index] = 1
        if len(rows) < 20 or len(columns) < 20:
            rows, columns = np.arange(pixels.shape[0]), np.arange(pixels.shape[1])
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        cut = product.image.crop(box)
        inside = np.where(thing, index + 1, IGNORE).astype(np.uint8)[box[1] : box[3], box[0] : box[2]]
        if product.worn:
            inside = np.full_like(inside, IGNORE)
        scale = rng.uniform(0.35, 0.95) * min(width / cut.width, height / cut.height)
        w, h = max(STRIDE, round(cut.width * scale)), max(STRIDE, round(cut.height * scale))
        x, y = rng.randint(0, width - w), rng.randint(0, height - h)
        ground = self._ground(shape)
        pasted = np.asarray(cut.resize((w, h), Image.Resampling.BILINEAR), dtype=np.float32)
        canvas = np.asarray(ground, dtype=np.float32).copy()
        if not product.worn and rng.random() < 0.5:  # put it on another ground where the picture was white
            share = np.clip((255 - pasted.min(axis=2, keepdims=True)) / 24, 0, 1)
            canvas[y : y + h, x : x + w] = pasted * share + canvas[y : y + h, x : x + w] * (1 - share)
        else:
            canvas[y : y + h, x : x + w] = pasted
        tw, th = max(1, round(w / STRIDE)), max(1, round(h / STRIDE))
        tx, ty = min(x // STRIDE, target.shape[1] - tw), min(y // STRIDE, target.shape[0] - th)
        target[ty : ty + th, tx : tx + tw] = np.asarray(
            Image.fromarray(inside).resize((tw, th), Image.Resampling.NEAREST)
        )
        image, mask = self._finished(Image.fromarray(canvas.astype(np.uint8)), Image.fromarray(target))
        return Sample(image, np.asarray(mask), presence, index + 1 if product.worn else -1)

    def _ground(self, shape: tuple[int, int]) -> Image.Image:
        rng = self.rng
        height, width = shape
        kind = rng.random()
        if kind < 0.45:
            return Image.new("RGB", (width, height), (255, 255, 255))
        if kind < 0.75:
            colour = [rng.randint(60, 255) for _ in range(3)]
            if rng.random() < 0.5:
                colour = [rng.randint(120, 250)] * 3
            slope = np.linspace(rng.uniform(0.8, 1), 1, height)[:, None, None]
            noise = self.noise.normal(0, rng.uniform(0, 6), (height, width, 1))
            pixels = np.clip(np.array(colour)[None, None] * slope + noise, 0, 255)
            return Image.fromarray(np.broadcast_to(pixels, (height, width, 3)).astype(np.uint8))
        # a strip beside the person that shows only ground
        photo = rng.choice(self.photos)
        columns = np.asarray(photo.mask).any(axis=0)
        left, right = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
        a, b = (0, left) if left > len(columns) - right else (right, len(columns))
        if b - a < 40:
            return Image.new("RGB", (width, height), (235, 235, 235))
        return photo.image.resize((width, height), Image.Resampling.BILINEAR, box=(a, 0, b, photo.image.height))

    def _window(self, photo: Photo, shape: tuple[int, int], *, close: bool = False) -> tuple[Image.Image, Image.Image]:
        """Return a part of the photo, or the photo in larger surroundings, in this shape; the mask at its stride."""
        rng = self.rng
        height, width = shape
        image, mask = photo.image, photo.mask
        if rng.random() < 0.25:
            angle = rng.gauss(0, 5)
            fill = tuple(int(v) for v in np.asarray(image.resize((1, 1), Image.Resampling.BOX))[0, 0])
            image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=fill)
            mask = mask.rotate(angle, Image.Resampling.NEAREST, fillcolor=0)
        left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
        tall, centre = bottom - top, (left + right) / 2
        aspect = width / height * rng.uniform(0.9, 1.1)
        kind = rng.random()
        if close or kind < 0.45:  # approximately all of it
            y0 = top - tall * rng.uniform(0.0, 0.1)
            y1 = bottom + tall * rng.uniform(0.0, 0.1)
            if not close and rng.random() < 0.6:
                y0, y1 = image.height * rng.uniform(-0.04, 0.04), image.height * rng.uniform(0.96, 1.04)
        elif kind < 0.68:  # the upper body
            y0 = top - tall * rng.uniform(-0.12, 0.1)
            y1 = top + tall * rng.uniform(0.35, 0.8)
        elif kind < 0.76:  # from the waist down
            y0 = top + tall * rng.uniform(0.2, 0.5)
            y1 = bottom + tall * rng.uniform(-0.1, 0.06)
        elif kind < 0.87:  # a random part
            size = tall * rng.uniform(0.3, 0.7)
            y0 = top + rng.uniform(-0.05, 0.95) * (tall - size)
            y1 = y0 + size
        else:  # from a distance
            size = image.height * rng.uniform(1.1, 1.9)
            y0 = top - rng.uniform(0.1, 0.9) * (size - tall)
            y1 = y0 + size
        wide = (y1 - y0) * aspect
        spread = max(0.0, wide - (right - left)) / 2 + 0.12 * (right - left)
        x0 = centre - wide / 2 + rng.uniform(-0.6, 0.6) * spread
        x1 = x0 + wide
        return self._cut(image, mask, (x0, y0, x1, y1), shape)

    def _cut(self, image, mask, box, shape):
        height, width = shape
        x0, y0, x1, y1 = box
        if self.rng.random() < 0.75:  # stay inside the photo if there is room
            if x1 - x0 <= image.width:
                shift = max(0, -x0) - max(0, x1 - image.width)
                x0, x1 = x0 + shift, x1 + shift
            if y1 - y0 <= image.height:
                shift = max(0, -y0) - max(0, y1 - image.height)
                y0, y1 = y0 + shift, y1 + shift
        before = (max(0, int(np.ceil(-x0))), max(0, int(np.ceil(-y0))))
        after = (max(0, int(np.ceil(x1 - image.width))), max(0, int(np.ceil(y1 - image.height))))
        if any(before) or any(after):
            size = (image.width + before[0] + after[0], image.height + before[1] + after[1])
            larger = self._surroundings(image, size)
            larger.paste(image, before)
            image = larger
            larger = Image.new("L", size, 0)
            larger.paste(mask, before)
            mask = larger
            x0, x1, y0, y1 = x0 + before[0], x1 + before[0], y0 + before[1], y1 + before[1]
        box = (max(0, x0), max(0, y0), min(image.width, x1), min(image.height, y1))
        return (
            image.resize((width, height), Image.Resampling.BILINEAR, box=box),
            mask.resize((width // STRIDE, height // STRIDE), Image.Resampling.NEAREST, box=box),
        )

    def _surroundings(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        kind = self.rng.random()
        if kind < 0.35:  # the photo's own margins, stretched beyond recognition
            strip = image.crop((0, 0, max(2, image.width // 12), image.height)).resize((8, 12), Image.Resampling.BOX)
            return strip.resize(size, Image.Resampling.BICUBIC)
        if kind < 0.6:
            ground = self._ground((256, 256))
            return ground.resize(size, Image.Resampling.BILINEAR)
        grey = self.rng.choice((0, 255, 128, self.rng.randint(0, 255)))
        return Image.new("RGB", size, (grey,) * 3)

    def _finish(self, image: Image.Image, mask: Image.Image, *photos: Photo) -> Sample:
        image, mask = self._finished(image, mask)
        target = np.asarray(mask)
        count = np.bincount(target.ravel(), minlength=256)[1 : 1 + len(GARMENTS)]
        presence = (count >= 6).astype(np.float32)
        presence[(count > 0) & (count < 6)] = -1
        # What is worn may be in the view although the teacher did not find its pixels.
        worn = frozenset[str]().union(*(photo.labels or () for photo in photos))
        presence[[label in worn for label in GARMENTS] & (count < 6)] = -1
        return Sample(image, target, presence, aside=any(is_aside(photo.number) for photo in photos))

    def _finished(self, image: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
        rng = self.rng
        if rng.random() < 0.5:
            image, mask = (
                image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
                mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            )
        if rng.random() < 0.15:
            image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.6)))
        if rng.random() < 0.2:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=rng.randint(25, 80))
            image = Image.open(buffer).convert("RGB")
        return image, mask
