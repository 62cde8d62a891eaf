"""Measure a photo query with and without the sandbox, alternating: ``python -m benchmarks.sandbox``.

Needs the demo shop's settings and a filled index (``DJANGO_SETTINGS_MODULE=demo_shop.settings``, ``manage.py demo``).
"""

from __future__ import annotations

import statistics
import time
from io import BytesIO
from unittest.mock import patch

import django
from PIL import Image

SIDES = (1024, 3000)
PAIRS = 100


def photo(side: int) -> bytes:
    """Return a JPEG like a phone's, without areas of a single colour."""
    noise = Image.effect_noise((side // 8, side // 8), 80).resize((side, side))
    buffer = BytesIO()
    Image.merge("RGB", [noise, noise.transpose(Image.Transpose.ROTATE_90), noise]).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def main() -> None:
    django.setup()
    import imagesim
    from imagesim import images
    from imagesim.images import sandbox

    pool = sandbox.Pool()

    def confined(data: bytes, *, min_decode_side: int = images.MIN_DECODE_SIDE) -> Image.Image:
        with pool.worker() as worker:
            return worker.decode(data, min_decode_side)

    for name, ask in (("search", lambda data: imagesim.search(image=data)), ("look", imagesim.shop_the_look)):
        for side in SIDES:
            data = photo(side)
            seconds: dict[bool, list[float]] = {False: [], True: []}
            for number in range(PAIRS + 2):
                for within, values in seconds.items():
                    with patch.object(sandbox, "decode", confined if within else images.decode):
                        started = time.perf_counter()
                        ask(data)
                        if number >= 2:
                            values.append(time.perf_counter() - started)
            before, after = (1000 * statistics.median(seconds[key]) for key in (False, True))
            ratio = statistics.median(b / a for a, b in zip(seconds[False], seconds[True], strict=True))
            print(f"{name} {side} x {side}: {before:.1f} ms without, {after:.1f} ms with it; ratio {ratio:.3f}")
    pool.close()


if __name__ == "__main__":
    main()
