"""Compare two versions of the app, alternating: ``python -m benchmarks.versions OLD NEW``, two checkouts with
``.venv``.

Each version runs in a separate process, on a PostgreSQL database (``IMAGESIM_TEST_DATABASE_URL`` with ``_old`` and
``_new`` appended; both are emptied) and on the local index or, with ``--index elasticsearch``, on the server of
``IMAGESIM_TEST_ELASTICSEARCH_URL``. There are 2,000 products with one picture each, and an embedder that costs almost
nothing; without a relevance floor and text search, both versions find the same. ``endpoint`` and ``tag`` are the REST
view and the template tag for 12 similar products, called in the process, and ``kept`` is the tag with a cached answer.
Prints for each measure the wall time (the first quartile of the calls of a round, the median of the rounds), the
processor time of the process, and the ratios per round.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRODUCTS = 2000
CHANGED = 500
CALLS = 40
MEASURES = ("similar", "filtered", "endpoint", "tag", "kept", "search", "sync_new", "sync_changed")
TAGS = {"tag": "", "kept": "timeout=600 "}
KEPT = 10
"""The number of products whose answers are cached."""
THROTTLES = ("similar", "search", "look", "region", "events")
WORDS = ("red", "blue", "green", "shoe", "hat", "coat", "bag", "scarf", "linen", "wool", "silk", "cotton", "city")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--index", choices=("local", "elasticsearch"), default="local")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES)
    options = parser.parse_args()
    versions = {name: start(name, getattr(options, name), options.index) for name in ("old", "new")}
    measured: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number in range(options.rounds + 1):  # the first round warms up
        for what in options.only:
            for name in sorted(versions, reverse=bool(number % 2)):
                wall, processor = map(float, ask(versions[name], what).split())
                if number:
                    measured.setdefault((what, name), []).append((wall, processor))
    for version in versions.values():
        version.communicate("quit\n", timeout=60)
    for what in dict.fromkeys(what for what, _name in measured):
        for column, unit in enumerate(("wall", "processor")):
            old, new = ([each[column] * 1000 for each in measured[what, name]] for name in ("old", "new"))
            ratios = sorted(after / before for before, after in zip(old, new, strict=True))
            print(
                f"{options.index:13} {what:12} {unit:9} old {statistics.median(old):8.1f} ms  "
                f"new {statistics.median(new):8.1f} ms  ratio {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
    return 0


def start(name: str, folder: str, index: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": folder,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "IMAGESIM_TEST_DATABASE_URL": f"{os.environ['IMAGESIM_TEST_DATABASE_URL']}_{name}",
        "IMAGESIM_TEST_SCRATCH": tempfile.mkdtemp(prefix="imagesim-versions-"),
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [f"{folder}/.venv/bin/python", __file__, "--worker", name, index]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ask(process: subprocess.Popen[str], what: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    return process.stdout.readline()


def first_of(*modules: str) -> Any:
    """Import the first of these modules whose file this version has; an editable install would find another's."""
    has = (module for module in modules if Path(*module.split(".")).with_suffix(".py").exists())
    return importlib.import_module(next(has, modules[-1]))


def worker(name: str, index: str) -> None:
    import django
    from django.conf import settings

    given: dict[str, Any] = {"BACKEND": "imagesim.indexes.local.LocalIndex"}
    if index == "elasticsearch":
        options = {"hosts": [os.environ["IMAGESIM_TEST_ELASTICSEARCH_URL"]], "name": f"versions-{name}", "replicas": 0}
        given = {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": options}
    settings.IMAGESIM = {"SYNC": "manual", "INDEX": given, "REST_THROTTLES": dict.fromkeys(THROTTLES)}
    settings.ALLOWED_HOSTS = ["testserver"]
    django.setup()
    from django.core.management import call_command

    import imagesim

    conf = first_of("imagesim.conf")
    embedders = first_of("imagesim.testing.embedders", "tests.embedders")
    settings.IMAGESIM["EMBEDDER"] = {"BACKEND": f"{embedders.__name__}.PixelEmbedder", "OPTIONS": {"dims": 512}}
    if hasattr(conf.Settings, "MIN_RELEVANCE"):
        settings.IMAGESIM["MIN_RELEVANCE"] = 0.0
    conf.get_settings.cache_clear()
    call_command("migrate", verbosity=0)
    call_command("flush", interactive=False, verbosity=0)
    drop_all()
    shop = Shop(imagesim)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        print(*shop.measure(line.strip()), flush=True)
    drop_all()


def drop_all() -> None:
    from imagesim.indexes import get_index

    index: Any = get_index()
    for name in (index.backing_indexes if hasattr(index, "backing_indexes") else index.physical_names)():
        index.drop(name)


class Shop:
    """The products, and the calls that are measured."""

    def __init__(self, imagesim: Any) -> None:
        from demo_shop.shop.models import Category, Product

        class BenchmarkItems(imagesim.Items):  # type: ignore[misc]
            images, category, in_stock = "photos__file", "category__slug", "stock"
            filters = {"brand": "brand", "price": "price", "colour": "colour"}
            text: dict[str, float] = {}

        registry = first_of("imagesim.items.registry", "imagesim.registry").registry
        registry.unregister(Product)
        registry.register(Product, BenchmarkItems)
        first_of("imagesim.indexing.signals", "imagesim.receivers").connect()
        self.imagesim, self.random, self.asked, self.made = imagesim, random.Random(5), 0, 0
        self.sync: Callable[[], Any] = first_of("imagesim.indexing.sync", "imagesim.sync").sync
        self.categories = [Category.objects.create(slug=f"c{n}", name=f"Category {n}") for n in range(20)]
        self.make(PRODUCTS)
        first_of("imagesim.indexing.rebuild", "imagesim.rebuild").rebuild()
        self.sync()
        self.products = list(Product.objects.select_related("category").order_by("pk"))

        from django.template import engines
        from django.test import Client

        self.client = Client()
        tag = "{%% load imagesim %%}{%% similar_products product limit=12 %s%%}"
        self.templates = {name: engines["django"].from_string(tag % more) for name, more in TAGS.items()}

    def make(self, count: int) -> None:
        from django.core.files.base import ContentFile
        from PIL import Image

        from demo_shop.shop.models import Photo, Product

        for _ in range(count):
            self.made += 1
            product = Product.objects.create(
                name=f"{self.random.choice(WORDS)} {self.made}",
                slug=f"p{self.made}",
                category=self.random.choice(self.categories),
                price=self.random.randrange(5, 200),
                stock=self.random.randrange(3),
                brand=f"b{self.made % 30}",
                colour=self.random.choice(WORDS[:3]),
            )
            image = Image.frombytes("RGB", (8, 8), self.random.randbytes(192)).resize((200, 200))
            image.save(file := io.BytesIO(), "JPEG")
            Photo.objects.create(product=product, file=ContentFile(file.getvalue(), f"{self.made}.jpg"))

    def measure(self, what: str) -> tuple[float, float]:
        """Return the (wall, processor) seconds per call."""
        from demo_shop.shop.models import Product

        if what == "sync_new":
            self.make(CHANGED)
        elif what == "sync_changed":
            for product in Product.objects.order_by("pk")[:CHANGED]:
                product.stock, product.price = product.stock + 1, product.price + 1
                product.save()
        gc.collect()
        walls, processor = [], time.process_time()
        for _ in range(1 if what.startswith("sync") else CALLS):
            self.asked += 1
            began = time.perf_counter()
            found = self.call(what)
            walls.append(time.perf_counter() - began)
            assert found, what
        return sorted(walls)[len(walls) // 4], (time.process_time() - processor) / len(walls)

    def call(self, what: str) -> int:
        item = self.products[self.asked * 37 % PRODUCTS]
        words = f"{WORDS[self.asked % len(WORDS)]} {WORDS[self.asked * 7 % len(WORDS)]} {self.asked}"
        if what == "similar":
            return len(self.imagesim.similar_to(item, limit=12))
        if what == "filtered":
            filters = {"price__lte": 150}
            return len(self.imagesim.similar_to(item, same_category=True, in_stock=True, filters=filters))
        if what == "endpoint":
            return len(self.client.get(f"/api/visual/items/shop.product/{item.pk}/similar/").json()["results"])
        if what in TAGS:
            shown = self.products[self.asked % KEPT] if what == "kept" else item
            return self.templates[what].render({"product": shown}).count("</article>")
        if what == "search":
            return len(self.imagesim.search(text=words, limit=12))
        return int(self.sync().indexed >= CHANGED)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        raise SystemExit(main())
