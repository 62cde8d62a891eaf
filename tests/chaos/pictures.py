"""The pictures of the catalogue: small, in every colour, each in a separate file."""

from __future__ import annotations

import random
from io import BytesIO

from PIL import Image, ImageDraw


def draw(seed: int) -> bytes:
    """Return a picture that differs from that of any other seed."""
    dice = random.Random(seed)
    image = Image.new("RGB", (48, 48), tuple(dice.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = dice.randrange(40), dice.randrange(40)
        pen.rectangle(
            (x, y, x + dice.randrange(4, 24), y + dice.randrange(4, 24)), tuple(dice.randrange(256) for _ in range(3))
        )
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
