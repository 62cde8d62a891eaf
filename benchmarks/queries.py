"""Measure a photo query, alone and with concurrent queries: ``python -m benchmarks.queries --json FILE``.

Photos of phone size (1,512 x 2,016 JPEGs; from the pictures in DIR, or synthetic) are decoded, prepared and embedded as
in a search by photo. They are searched one at a time, compared with direct calls of decoding, preprocessing and the
forward pass; and by 32 threads at the same time, compared with the model's rate in batches of 16, where a pool of
threads decodes and prepares all photos. The two sides alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

SIZE = (1512, 2016)
TOGETHER = 32
ROUNDS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="pictures to create the photos from")
    parser.add_argument("--model", default="imagesim-lite")
    parser.add_argument("--weights", type=Path, help="a file of weights for MODEL, one of open_clip's names")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from django.conf import settings

    settings.configure(IMAGESIM={})
    from imagesim import images
    from imagesim.embedders.openclip import OpenClipEmbedder
    from imagesim.runtime import threads

    weights = str(options.weights) if options.weights else None
    embedder = OpenClipEmbedder(model=options.model, pretrained=weights, precision=options.precision)
    embedder.warm_up()
    loaded = embedder._loaded()
    photos = make_photos(TOGETHER, options.photos)

    def query(photo: bytes) -> None:
        embedder.embed_images([images.decode(photo, min_decode_side=embedder.min_decode_side)])

    def prepared(photo: bytes) -> object:
        return loaded.prepare(images.decode(photo, min_decode_side=embedder.min_decode_side))

    def directly(photo: bytes) -> None:
        loaded.images([prepared(photo)])

    def in_company() -> None:
        with ThreadPoolExecutor(TOGETHER) as visitors:
            list(visitors.map(query, photos))

    def in_batches() -> None:
        with ThreadPoolExecutor(threads()) as pool:
            ready = list(pool.map(prepared, photos))
        for start in range(0, len(ready), 16):
            loaded.images(ready[start : start + 16])

    one = beside(lambda: each(query, photos[:8]), lambda: each(directly, photos[:8]))
    many = beside(in_company, in_batches)
    report = {
        "model": options.model,
        "precision": loaded.precision,
        "one_ms": one[0] / 8,
        "directly_ms": one[1] / 8,
        "one_ratio": one[2],
        "together_ms": many[0] / TOGETHER,
        "batches_ms": many[1] / TOGETHER,
        "together_rate": 1 / many[2],
    }
    print(
        f"one at a time: {report['one_ms']:.1f} ms, {report['one_ratio']:.2f} x preprocessing and forward pass "
        f"({report['directly_ms']:.1f} ms; limit 1.15)\n"
        f"{TOGETHER} at once: {report['together_ms']:.1f} ms each, {report['together_rate']:.2f} of the rate in "
        f"batches of 16 ({report['batches_ms']:.1f} ms; to reach .9)"
    )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return 0


def make_photos(count: int, folder: Path | None) -> list[bytes]:
    from PIL import Image

    sources = sorted(folder.glob("*.jp*g")) if folder else []
    random.Random(0).shuffle(sources)
    photos = []
    for number in range(count):
        if sources:
            with Image.open(sources[number % len(sources)]) as source:
                picture = source.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        else:
            picture = Image.effect_noise((27, 36), 90).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        file = BytesIO()
        picture.save(file, "JPEG", quality=88)
        photos.append(file.getvalue())
    return photos


def each(work: Callable[[bytes], object], photos: Sequence[bytes]) -> None:
    for photo in photos:
        work(photo)


def beside(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """Return the median milliseconds of both, alternating, and the median ratio of the rounds."""
    times: list[tuple[float, float]] = []
    for work in (ours, theirs):
        work()
    for _ in range(ROUNDS):
        took = []
        for work in (ours, theirs):
            start = time.perf_counter()
            work()
            took.append((time.perf_counter() - start) * 1000)
        times.append((took[0], took[1]))
    mine, other = zip(*times, strict=True)
    return statistics.median(mine), statistics.median(other), statistics.median(a / b for a, b in times)


if __name__ == "__main__":
    sys.exit(main())
