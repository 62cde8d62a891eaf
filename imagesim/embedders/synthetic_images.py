"""Pictures drawn the same everywhere, on which a model's arithmetic is tried where no real ones are at hand."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 256


def drawn(count: int) -> list[Image]:
    """So many different pictures of ``SIDE`` x ``SIDE``: things of one or two colours on grounds, as in a shop."""
    dice = random.Random(20)
    return [_draw(dice) for _ in range(count)]


def _draw(dice: random.Random) -> Image:
    from PIL import Image, ImageDraw, ImageFilter

    def colour(least: int = 0) -> tuple[int, int, int]:
        return (dice.randint(least, 255), dice.randint(least, 255), dice.randint(least, 255))

    def somewhere() -> tuple[int, int]:
        return (dice.randint(0, SIDE), dice.randint(0, SIDE))

    image = Image.new("RGB", (SIDE, SIDE), colour(150))
    draw = ImageDraw.Draw(image)
    draw.polygon([somewhere() for _ in range(dice.randint(3, 9))], fill=colour())
    for _ in range(dice.randint(0, 12)):
        (left, top), (right, bottom) = somewhere(), somewhere()
        box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        (draw.ellipse if dice.random() < 0.5 else draw.rectangle)(box, fill=colour(), outline=colour())
    for _ in range(dice.randint(0, 20)):
        draw.line([somewhere(), somewhere()], fill=colour(), width=dice.randint(1, 6))
    return image.filter(ImageFilter.GaussianBlur(dice.random() * 3))
