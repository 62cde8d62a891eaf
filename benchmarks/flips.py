"""How fast stock changes reach the search results, and what memory a sync needs: ``python -m benchmarks.flips``.

    python -m benchmarks.flips flips  --items 20000 --seconds 60    on Elasticsearch
    python -m benchmarks.flips memory --items 1000 100000           on the local index

Uses the services that the environment names (``make services`` prints the variables), an index of its own, and the
small embedder of the tests: what is measured is the sync, not a model. Give it an empty database: it fills the
demo shop's tables.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

NAME = "benchmark-flips"


def set_up(index: dict[str, Any], database: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    if database:
        os.environ["IMAGESIM_TEST_DATABASE_URL"] = database
    import django
    from django.conf import settings

    imagesim = {
        "SYNC": "manual",
        "EMBEDDER": {"BACKEND": "tests.embedders.PixelEmbedder", "OPTIONS": {"dims": 256}},
        "INDEX": index,
    }
    if not settings.configured:
        django.setup()
    settings.IMAGESIM = imagesim
    from imagesim import conf

    conf.get_settings.cache_clear()


def fill(items: int) -> None:
    """A catalogue with a vector for each picture, as if embedded long ago, so that nothing has to be embedded."""
    import numpy as np
    from django.core.management import call_command

    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.embedders import get_embedder
    from imagesim.models import Embedding, ItemImage, ItemState

    call_command("migrate", verbosity=0, interactive=False)
    shelf, _ = Category.objects.get_or_create(slug="all", defaults={"name": "All"})
    fingerprint = get_embedder().fingerprint
    dice = np.random.default_rng(1)
    for start in range(0, items, 1000):
        numbers = range(start, min(start + 1000, items))
        products = Product.objects.bulk_create(
            Product(name=f"p{n}", slug=f"p{n}", category=shelf, price=n % 90 + 1, stock=1) for n in numbers
        )
        Photo.objects.bulk_create(
            Photo(product=product, file=f"p/{n}.png") for n, product in zip(numbers, products, strict=True)
        )
        states = ItemState.objects.bulk_create(
            ItemState(model="shop.product", object_pk=str(product.pk), scope=1) for product in products
        )
        ItemImage.objects.bulk_create(
            ItemImage(state=state, position=0, name=f"p/{n}.png", digest=f"{n:064x}")
            for n, state in zip(numbers, states, strict=True)
        )
        rows = dice.standard_normal((len(numbers), 256)).astype("<f4")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        Embedding.objects.bulk_create(
            Embedding(digest=f"{n:064x}", fingerprint=fingerprint, vector=row.tobytes())
            for n, row in zip(numbers, rows, strict=True)
        )


def first_index() -> None:
    from imagesim.indexes import get_index
    from imagesim.writing.targets import new_meta

    index = get_index()
    for name in index.physical_names():
        index.drop(name)
    index.promote(index.create(new_meta()))


def flips(given: argparse.Namespace) -> dict[str, Any]:
    """Writers flip the stock of random items, one by one, each save a commit of its own; syncs work side by side."""
    from django.db import connections

    from demo_shop.shop.models import Product
    from imagesim.indexes import get_index
    from imagesim.models import ItemState
    from imagesim.sync import sync
    from imagesim.types import Filters

    fill(given.items)
    first_index()
    started = time.monotonic()
    report = sync()
    assert report.indexed == given.items, report
    filled = given.items / (time.monotonic() - started)
    workers = [
        subprocess.Popen([sys.executable, "-m", "benchmarks.flips", "work", "--seconds", str(given.seconds)])
        for _ in range(given.workers)
    ]
    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.flips", "write", "--seconds", str(given.seconds), "--seed", str(n)],
            stdout=subprocess.PIPE,
        )
        for n in range(given.writers)
    ]
    # Meanwhile, how long until a flip can be found?
    seen: list[float] = []
    until = time.monotonic() + given.seconds - 3
    index = get_index()
    product = Product.objects.order_by("pk").first()
    assert product is not None
    model = ("shop.product",)
    lonely = Product.objects.order_by("-pk").first()
    while time.monotonic() < until and lonely is not None:
        lonely.brand = f"b{len(seen)}"
        lonely.save(update_fields=["brand"])
        begun = time.monotonic()
        from imagesim.types import Condition

        wanted = Filters(models=model, conditions=(Condition("brand", "eq", lonely.brand),))
        while not index.count(wanted) and time.monotonic() - begun < 30:
            time.sleep(0.02)
        seen.append(time.monotonic() - begun)
        time.sleep(0.3)
    done = sum(json.loads(writer.communicate()[0])["flips"] for writer in writers)
    for worker in workers:
        worker.wait()
    left = ItemState.objects.filter(pending=True).count()
    begun = time.monotonic()
    sync()
    connections.close_all()
    for name in index.physical_names():
        index.drop(name)
    seen.sort()
    return {
        "items": given.items,
        "writers": given.writers,
        "workers": given.workers,
        "flips": done,
        "flips_per_second": round(done / given.seconds),
        "waiting_at_the_end": left,
        "seconds_to_catch_up": round(time.monotonic() - begun, 1),
        "first_fill_per_second": round(filled),
        "found_after_seconds": {
            "median": round(seen[len(seen) // 2], 2),
            "95 %": round(seen[int(len(seen) * 0.95)], 2),
            "worst": round(seen[-1], 2),
        },
    }


def work(given: argparse.Namespace) -> None:
    from imagesim.sync import sync

    until = time.monotonic() + given.seconds
    while time.monotonic() < until:
        if not sync(seconds=2).done:
            time.sleep(0.05)


def write(given: argparse.Namespace) -> dict[str, Any]:
    from django.db import transaction

    from demo_shop.shop.models import Product

    dice = random.Random(given.seed)
    pks = list(Product.objects.order_by("pk").values_list("pk", flat=True))[:-1]
    until = time.monotonic() + given.seconds
    count = 0
    product = Product.objects.get(pk=pks[0])
    while time.monotonic() < until:
        product.pk = product.id = dice.choice(pks)
        product.stock = dice.randrange(2)
        with transaction.atomic():
            product.save(update_fields=["stock"])
        count += 1
    return {"flips": count}


def memory(given: argparse.Namespace) -> dict[str, Any]:
    """The highest resident size of a process that syncs, rebuilds and compares a catalogue of each size."""
    found = {}
    for items in given.items:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "IMAGESIM_TEST_SCRATCH": folder, "IMAGESIM_TEST_DATABASE_URL": "sqlite://"}
            run = [sys.executable, "-m", "benchmarks.flips"]
            subprocess.run([*run, "fill", "--items", str(items)], check=True, env=environment)
            each = {}
            for step in ("sync", "rebuild", "reconcile"):
                done = subprocess.run([*run, "step", step], check=True, env=environment, capture_output=True)
                each[step] = json.loads(done.stdout.splitlines()[-1])
            found[str(items)] = each
    return found


def step(given: argparse.Namespace) -> dict[str, Any]:
    from imagesim import rebuild, reconcile, sync

    started = time.monotonic()
    {"sync": sync.sync, "rebuild": rebuild.rebuild, "reconcile": reconcile.reconcile}[given.step]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(time.monotonic() - started, 1), "peak_mb": round(peak)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("flips", "memory", "work", "write", "fill", "step"))
    parser.add_argument("step", nargs="?", default="sync")
    parser.add_argument("--items", type=int, nargs="+", default=[20_000])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "memory":
        print(json.dumps(memory(given)))
        return
    if given.what in ("fill", "step"):
        set_up({"BACKEND": "imagesim.indexes.local.LocalIndex", "OPTIONS": {"name": NAME}}, "sqlite://")
        given.items = given.items[0]
        result = fill(given.items) if given.what == "fill" else step(given)
        if given.what == "fill":
            first_index()
        print(json.dumps(result))
        return
    given.items = given.items[0]
    url = os.environ.get("IMAGESIM_TEST_ELASTICSEARCH_URL")
    database = os.environ.get("IMAGESIM_TEST_DATABASE_URL")
    if not url or not database:
        sys.exit("Say where Elasticsearch and PostgreSQL are: `make services` prints the variables.")
    options = {"hosts": [url], "name": NAME, "replicas": 0}
    set_up({"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": options}, database)
    result = {"flips": flips, "work": work, "write": write}[given.what](given)
    if result is not None:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
