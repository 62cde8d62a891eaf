"""Augment pictures so that they look as if other shops or phones had taken them.

Every function takes and returns an RGB ``PIL.Image`` and uses the given random generator, so a seed always gives the
same pictures. Colours of the item change little, because they are what is learned; only :func:`recolour` replaces them,
and returns the name of the new colour.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

SIZE = 224

# CIE Lab values (D65) of colour words; several for words that cover a range.
COLOURS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "Black": ((12, 0, 0), (20, 0, -2)),
    "White": ((93, 0, 1), (88, 0, 2)),
    "Grey": ((55, 0, -1), (65, 0, 0), (45, 0, -2)),
    "Navy Blue": ((20, 5, -24), (24, 4, -20)),
    "Blue": ((40, 12, -45), (50, -2, -36), (60, -8, -32)),
    "Red": ((42, 60, 38), (36, 54, 30)),
    "Maroon": ((24, 32, 12), (28, 34, 16)),
    "Green": ((42, -38, 26), (52, -40, 36), (34, -24, 14)),
    "Olive": ((42, -6, 26), (38, -4, 20)),
    "Yellow": ((82, 4, 70), (86, -4, 58)),
    "Orange": ((62, 42, 58), (58, 46, 54)),
    "Brown": ((34, 14, 20), (28, 10, 14), (42, 16, 24)),
    "Beige": ((78, 3, 16), (72, 4, 18)),
    "Pink": ((68, 38, 2), (78, 22, 4), (56, 58, -2)),
    "Purple": ((36, 36, -36), (30, 28, -24), (46, 30, -34)),
    "Turquoise Blue": ((62, -30, -14), (66, -34, -6)),
}


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Convert uint8 sRGB (..., 3) to CIE Lab, D65."""
    c = rgb.astype(np.float32) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = c @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]], np.float32)
    xyz = xyz / np.array([0.9505, 1.0, 1.089], np.float32)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def to_rgb(lab: np.ndarray) -> np.ndarray:
    """Convert CIE Lab, D65, to uint8 sRGB, clipped."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = np.where(f > 0.2069, f**3, (f - 16 / 116) / 7.787) * np.array([0.9505, 1.0, 1.089], np.float32)
    m = np.array([[3.2406, -0.9689, 0.0557], [-1.5372, 1.8758, -0.2040], [-0.4986, 0.0415, 1.0570]], np.float32)
    c = np.clip(xyz @ m, 0, 1)
    c = np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)
    return (c * 255 + 0.5).astype(np.uint8)


def foreground(image: Image.Image) -> Image.Image:
    """Return a soft mask (mode L) of the item on a white ground: everything that white does not reach from the
    border."""
    side = 56
    small = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)).min(-1)
    white = small > 236
    reached = np.zeros_like(white)
    reached[[0, -1]], reached[:, [0, -1]] = white[[0, -1]], white[:, [0, -1]]
    for _ in range(2 * side):
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= white
        if (grown == reached).all():
            break
        reached = grown
    mask = Image.fromarray(((~reached) * 255).astype(np.uint8))
    fine = np.asarray(image).min(-1)
    mask = mask.resize(image.size, Image.Resampling.BILINEAR)
    # Near the edge the picture itself is more accurate than the coarse mask.
    edge = Image.fromarray(np.where(fine > 244, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    inner = mask.filter(ImageFilter.MinFilter(9))
    return ImageChops.lighter(inner, ImageChops.darker(mask, edge))


def recolour(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str]:
    """Return the item in another colour, and the name of that colour. Light and shade stay the same."""
    name = str(rng.choice(sorted(COLOURS)))
    target = np.array(COLOURS[name][rng.integers(len(COLOURS[name]))], np.float32)
    target = target + rng.normal(0, (4, 3, 3)).astype(np.float32)
    pixels = np.asarray(image)
    lab = to_lab(pixels)
    weight = np.asarray(mask, np.float32)[..., None] / 255
    mean = (lab * weight).sum((0, 1)) / max(float(weight.sum()), 1.0)
    spread = lab - mean
    spread[..., 0] *= rng.uniform(0.6, 1.0)
    spread[..., 1:] *= rng.uniform(0.05, 0.3)
    new = spread + target
    new[..., 0] = np.clip(new[..., 0], 3, 98)
    mixed = to_rgb(new) * weight + pixels * (1 - weight)
    return Image.fromarray(mixed.astype(np.uint8)), name


def _noise(rng: np.random.Generator, cells: int) -> Image.Image:
    base = rng.integers(0, 256, 3)
    small = np.clip(base + rng.normal(0, rng.uniform(5, 45), (cells, cells, 3)), 0, 255)
    return Image.fromarray(small.astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def _stripes(rng: np.random.Generator) -> Image.Image:
    """Draw stripes, like boards, tiles and blinds."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    angle = rng.uniform(0, math.pi)
    wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * rng.uniform(0.05, 0.5))
    base = rng.integers(20, 240, 3)
    pixels = base + wave[..., None] * rng.uniform(4, 40) + rng.normal(0, 5, (SIZE, SIZE, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def background(rng: np.random.Generator, streets: Sequence[Image.Image]) -> Image.Image:
    """Return a ground for an item: plain, mottled, striped, or part of a street photo."""
    kind = rng.random()
    if kind < 0.2:
        grey = int(rng.integers(150, 256))
        tint = np.clip(grey + rng.normal(0, 8, 3), 0, 255).astype(int)
        return Image.new("RGB", (SIZE, SIZE), (int(tint[0]), int(tint[1]), int(tint[2])))
    if kind < 0.4:
        return _noise(rng, int(rng.integers(2, 6)))
    if kind < 0.5:
        return _noise(rng, int(rng.integers(12, 60)))
    if kind < 0.65 or not streets:
        return _stripes(rng)
    street = streets[rng.integers(len(streets))]
    side = int(min(street.size) * rng.uniform(0.3, 0.7))
    left = int(rng.integers(0, street.width - side + 1))
    top = int(rng.integers(0, street.height - side + 1))
    piece = street.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return piece.filter(ImageFilter.GaussianBlur(rng.uniform(0, 5)))


def light(image: Image.Image, rng: np.random.Generator, strength: float = 1.0) -> Image.Image:
    """Change exposure, contrast, saturation and colour temperature."""
    for enhance, low, high in (
        (ImageEnhance.Brightness, 0.75, 1.2),
        (ImageEnhance.Contrast, 0.75, 1.2),
        (ImageEnhance.Color, 0.7, 1.25),
    ):
        factor = 1 + (rng.uniform(low, high) - 1) * strength
        image = enhance(image).enhance(factor)
    warmth = rng.normal(0, 0.05) * strength
    gains = np.array([1 + warmth, 1, 1 - warmth], np.float32)
    return Image.fromarray(np.clip(np.asarray(image) * gains, 0, 255).astype(np.uint8))


def shadow(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Darken one side."""
    angle, depth = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.5)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE - 0.5
    ramp = 1 - depth * (0.5 + x * math.cos(angle) + y * math.sin(angle))
    return Image.fromarray(np.clip(np.asarray(image) * ramp[..., None], 0, 255).astype(np.uint8))


def crop(image: Image.Image, rng: np.random.Generator, least: float) -> Image.Image:
    """Crop a random part of at least ``least`` of the area, sometimes mirrored, with a slightly changed aspect
    ratio."""
    area, ratio = rng.uniform(least, 1), math.exp(rng.uniform(-0.2, 0.2))
    width = min(SIZE, int(SIZE * math.sqrt(area * ratio)))
    height = min(SIZE, int(SIZE * math.sqrt(area / ratio)))
    left, top = int(rng.integers(0, SIZE - width + 1)), int(rng.integers(0, SIZE - height + 1))
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def camera(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add blur, noise and compression."""
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2.0)))
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(2, 12), (SIZE, SIZE, 1))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(25, 90)))
        image = Image.open(buffer).convert("RGB")
    return image


def place(image: Image.Image, mask: Image.Image, ground: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Place the item alone on ``ground``: rotated, tilted, scaled, at a random position."""
    box = mask.point(lambda v: 255 if v > 128 else 0).getbbox() or (0, 0, SIZE, SIZE)
    side = max(box[2] - box[0], box[3] - box[1])
    extent = side / rng.uniform(0.5, 1.05)  # the share of the new picture that the item fills
    centre_x = (box[0] + box[2]) / 2 + rng.normal(0, 0.06) * extent
    centre_y = (box[1] + box[3]) / 2 + rng.normal(0, 0.06) * extent
    angle = rng.normal(0, 0.2)
    corners = []
    for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1)):
        x, y = x * extent / 2 * (1 + rng.normal(0, 0.06)), y * extent / 2 * (1 + rng.normal(0, 0.06))
        corners += [
            centre_x + x * math.cos(angle) - y * math.sin(angle),
            centre_y + x * math.sin(angle) + y * math.cos(angle),
        ]
    size, quad, how = (SIZE, SIZE), Image.Transform.QUAD, Image.Resampling.BILINEAR
    item = image.transform(size, quad, corners, how, fillcolor=(255, 255, 255))
    alpha = mask.transform(size, quad, corners, how, fillcolor=0)
    return Image.composite(item, ground, alpha)


def shop_view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return another shop's picture: cropped, lit and compressed differently."""
    return camera(light(crop(image, rng, 0.55), rng, 0.7), rng)


def phone_view(
    image: Image.Image, mask: Image.Image, rng: np.random.Generator, streets: Sequence[Image.Image]
) -> Image.Image:
    """Return a phone's picture: the item on some ground, seen at an angle, in any light."""
    picture = place(image, mask, background(rng, streets), rng)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return camera(light(shadow(picture, rng), rng), rng)
