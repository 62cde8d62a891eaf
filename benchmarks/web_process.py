"""Measure a web process that answers photos and words: ``python -m benchmarks.web_process``.

A small shop on SQLite with a local index is searched in processes that do nothing else, with torch and with ONNX
Runtime, alternating. Reports the seconds from the start of Python to the first answers to words, a photo and a look;
the memory after them, and after 32 photos at once; and the rate of these 32 queries compared with that of one batch of
the same 32 photos, decoded by as many threads. ``own`` excludes file-backed pages. The models are assembled and
exported beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.model_memory import held

RUNTIMES = ("torch", "onnx")
PRODUCTS = 40
AT_ONCE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", choices=RUNTIMES, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.began)))
        return
    with tempfile.TemporaryDirectory() as shop:
        figures: dict[str, dict[str, float]] = {}
        for turn in range(options.rounds + 1):
            for runtime in RUNTIMES:
                each = in_process(runtime, shop)
                if turn:  # the first creates the shop, assembles and exports
                    known = figures.setdefault(runtime, each)
                    figures[runtime] = {of: (max if "rate" in of else min)(known[of], each[of]) for of in known}
    names = list(figures["torch"])
    print(f"{'':44s}" + "".join(f"{runtime:>10s}" for runtime in RUNTIMES))
    for name in names:
        print(f"{name:44s}" + "".join(f"{figures[runtime][name]:10.2f}" for runtime in RUNTIMES))


def in_process(runtime: str, shop: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.web_process", "--child", runtime, "--began", str(time.time())]
    environment = {**os.environ, "WEB_PROCESS_SHOP": shop}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(runtime: str, began: float) -> dict[str, float]:
    """Return the figures of one runtime, measured in this process."""
    shop = Path(os.environ["WEB_PROCESS_SHOP"])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from django.conf import settings

    options = {"OPTIONS": {"runtime": runtime}}
    settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(shop / "db.sqlite3")}}
    settings.MEDIA_ROOT = str(shop / "media")
    settings.ALLOWED_HOSTS = ["*"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.IMAGESIM = {
        "SYNC": "manual",
        "EMBEDDER": {"BACKEND": "imagesim.embedders.openclip.OpenClipEmbedder", **options},
        "REGIONS": {"BACKEND": "imagesim.regions.lite.LiteRegionFinder", **options},
    }
    import django

    django.setup()
    if not (shop / "filled").exists():
        _fill(shop)
    import imagesim

    figures: dict[str, float] = {}
    photos = [_photo(number) for number in range(AT_ONCE)]
    imagesim.search(text="a red dress", limit=4)
    imagesim.search(image=BytesIO(photos[0]), limit=4)
    figures["seconds to the first words and photo"] = time.time() - began
    memory = held()
    figures["MB after them"], figures["MB after them, own"] = memory["resident"], memory["own"]
    imagesim.shop_the_look(BytesIO(photos[0]), limit=4)
    figures["seconds to the first look, too"] = time.time() - began
    memory = held()
    figures["MB after the look"], figures["MB after the look, own"] = memory["resident"], memory["own"]

    from imagesim import images
    from imagesim.embedders import get_embedder

    embedder = get_embedder()
    figures["ms per photo query"] = 1000 * _best(lambda: imagesim.search(image=BytesIO(photos[1]), limit=4))
    figures["ms per words query (new words each time)"] = 1000 * _best(
        lambda: imagesim.search(text=f"dress {time.perf_counter_ns()}", limit=4)
    )
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def prepare(photo: bytes) -> Any:
            return embedder.prepare(images.decode(photo, min_decode_side=embedder.min_decode_side))

        def query(photo: bytes) -> Any:
            return embedder.embed_prepared([prepare(photo)])

        at_once = _best(lambda: list(pool.map(query, photos)), 6)
        batch = _best(lambda: embedder.embed_prepared(list(pool.map(prepare, photos))), 6)
    figures["ms per photo, 32 queries at once"] = 1000 * at_once / AT_ONCE
    figures["rate of 32 at once / rate of the batch"] = batch / at_once
    memory = held()
    figures["MB at the end"], figures["MB at the end, own"] = memory["resident"], memory["own"]
    figures["torch was imported (1: yes)"] = float("torch" in sys.modules)
    return figures


def _best(run: Any, rounds: int = 8) -> float:
    """Return the minimum seconds of several calls."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return min(took)


def _photo(number: int) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (600, 800), ((number * 37) % 256, 180, 160))
    draw = ImageDraw.Draw(image)
    draw.polygon([(200, 150), (400, 150), (480, 650), (120, 650)], fill=(200, (number * 53) % 256, 40))
    draw.ellipse((250, 40, 350, 150), fill=(220, 180, 150))
    file = BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def _fill(shop: Path) -> None:
    from django.core.files.base import ContentFile
    from django.core.management import call_command

    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.indexing.sync import sync

    call_command("migrate", verbosity=0)
    dresses = Category.objects.create(slug="dresses", name="Dresses")
    for number in range(PRODUCTS):
        product = Product.objects.create(
            name=f"Dress {number}", slug=f"dress-{number}", category=dresses, price="10.00", stock=5
        )
        Photo.objects.create(product=product, position=0, file=ContentFile(_photo(number), f"{number}.jpg"))
    sync()
    (shop / "filled").touch()


if __name__ == "__main__":
    main()
