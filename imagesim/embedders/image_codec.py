"""How an image travels to an embedder in another process."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def to_base64_png(image: Image, shorter_side: int) -> str:
    """The image as base64 of a PNG, reduced to at most ``shorter_side`` pixels on its shorter side.

    Lossless, because a second compression would move the embedding; reduced, because no model looks at more.
    """
    factor = shorter_side / min(image.size)
    if factor < 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, reducing_gap=3.0)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()
