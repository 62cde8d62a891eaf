"""Measure how fast a catalogue is embedded and indexed, compared with its parts: ``python -m benchmarks.indexing``.

    python -m benchmarks.indexing --images 2000 --json FILE [--photos DIR]
        [--model ViT-B-32 --weights FILE --precision bf16] [--clip-retrieval PYTHON]

Creates that many JPEGs of catalogue size (1,000 x 1,300; from the pictures in DIR, or synthetic), and measures each
part of the work alone on all processors (read, decode, prepare, forward pass). Then it measures in the same run: the
way from a change in the database to an entry in Elasticsearch, in this process and by a Celery worker; one image at a
time, as a signal handler would do it; and clip-retrieval's inference with the same model, if PYTHON has it (see
``benchmarks/clip_retrieval.py``). The environment names the services (``make services`` prints the variables); without
Elasticsearch the local index is used, without Redis and PostgreSQL no worker. Use an empty database: the benchmark
fills the demo shop's tables.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIZE = (1000, 1300)
NAME = "benchmark-indexing"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--photos", type=Path, help="pictures to create the JPEGs from")
    parser.add_argument("--model", default="imagesim-lite")
    parser.add_argument("--weights", type=Path, help="a file of weights for MODEL, one of open_clip's names")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--clip-retrieval", metavar="PYTHON", help="a Python that has clip-retrieval")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesim-indexing-") as folder:
        set_up(options.model, options.weights, options.precision, folder)
        files = make_pictures(Path(folder) / "products", options.images, options.photos)
        report: dict[str, Any] = {"images": len(files), "model": options.model, **parts(files[:256])}
        report["one_at_a_time"] = one_at_a_time(files[: min(100, len(files))])
        report["sync"] = end_to_end(files, work_here)
        if worker_is_possible():
            with celery_worker(Path(folder)) as work_there:
                end_to_end(files[:32], work_there)  # loads the model
                report["celery"] = end_to_end(files, work_there)
        if options.clip_retrieval:
            report["clip_retrieval"] = clip_retrieval(options.clip_retrieval, files, options.model, options.weights)
    tell(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return 0


def set_up(model: str, weights: Path | None, precision: str, folder: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
    settings.MEDIA_ROOT = folder
    settings.IMAGESIM = {
        "SYNC": "manual",
        "EMBEDDER": {
            "BACKEND": "imagesim.embedders.openclip.OpenClipEmbedder",
            "OPTIONS": {"model": model, "pretrained": str(weights) if weights else None, "precision": precision},
        },
    }
    if settings.ELASTICSEARCH_URL:
        settings.IMAGESIM["INDEX"] = {
            "BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex",
            "OPTIONS": {"hosts": [settings.ELASTICSEARCH_URL], "name": NAME},
        }
    from imagesim import conf

    conf.get_settings.cache_clear()


def make_pictures(folder: Path, count: int, photos: Path | None) -> list[Path]:
    """Create that many different JPEGs of catalogue size."""
    from PIL import Image

    folder.mkdir(parents=True)
    dice = random.Random(0)
    sources = sorted(photos.glob("*.jp*g")) if photos else []
    dice.shuffle(sources)

    def make(number: int) -> Path:
        if sources:
            with Image.open(sources[number % len(sources)]) as source:
                picture = source.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        else:
            picture = Image.effect_noise((25, 33), 90).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        picture.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536))
        path = folder / f"{number}.jpg"
        picture.save(path, "JPEG", quality=88)
        return path

    with ThreadPoolExecutor() as pool:
        return list(pool.map(make, range(count)))


def parts(files: Sequence[Path]) -> dict[str, float]:
    """Return the milliseconds per picture of each part alone, on all processors; ``unavoidable`` is their sum."""
    from imagesim import images
    from imagesim.embedders import get_embedder
    from imagesim.runtime import threads

    embedder = get_embedder()
    embedder.warm_up()
    batch = embedder.best_batch()

    def each(work: Callable[[Any], Any], values: Sequence[Any]) -> tuple[float, list[Any]]:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(work, values[:8]))
            start = time.perf_counter()
            results = list(pool.map(work, values))
        return (time.perf_counter() - start) / len(values) * 1000, results

    read_ms, contents = each(Path.read_bytes, files)
    decode_ms, decoded = each(lambda data: images.decode(data, min_decode_side=embedder.min_decode_side), contents)
    prepare_ms, prepared = each(embedder.prepare, decoded)
    embedder.embed_prepared(prepared[:batch])
    start = time.perf_counter()
    for first in range(0, len(prepared), batch):
        embedder.embed_prepared(prepared[first : first + batch])
    forward_ms = (time.perf_counter() - start) / len(prepared) * 1000
    return {
        "read_ms": read_ms,
        "decode_ms": decode_ms,
        "prepare_ms": prepare_ms,
        "forward_ms": forward_ms,
        "unavoidable_ms": read_ms + decode_ms + prepare_ms + forward_ms,
    }


def one_at_a_time(files: Sequence[Path]) -> float:
    """Return the milliseconds per picture if each is opened in full, embedded alone and written to the index
    immediately."""
    from PIL import Image

    from imagesim.embedders import get_embedder
    from imagesim.indexes import get_index
    from imagesim.indexing.write_targets import new_meta
    from imagesim.types import Entry, EntryImage

    embedder, index = get_embedder(), get_index()
    backing_index = index.create(new_meta())
    start = time.perf_counter()
    for number, path in enumerate(files):
        with Image.open(path) as picture:
            (vector,) = embedder.embed_images([picture.convert("RGB")])
        key = f"shop.product:{number}"
        index.write(
            [Entry(key, "shop.product", str(number), 1, (EntryImage(key, path.name, vector),))],
            backing_index=backing_index,
        )
        index.refresh(backing_index)  # as django-elasticsearch-dsl does by default
    took = (time.perf_counter() - start) / len(files) * 1000
    index.drop(backing_index)
    return took


@contextmanager
def catalogue(files: Sequence[Path]) -> Iterator[int]:
    """Create a product for each picture, never embedded before, with an empty index."""
    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.indexes import get_index
    from imagesim.indexing.outbox import touch
    from imagesim.indexing.write_targets import new_meta
    from imagesim.models import Embedding, ItemState

    for model in (Photo, Product, ItemState, Embedding):
        model.objects.all().delete()
    shelf, _ = Category.objects.get_or_create(slug="all", defaults={"name": "All"})
    products = Product.objects.bulk_create(
        Product(name=f"p{n}", slug=f"p{n}", category=shelf, price=n % 90 + 1, stock=1) for n in range(len(files))
    )
    Photo.objects.bulk_create(
        Photo(product=product, file=f"products/{path.name}") for product, path in zip(products, files, strict=True)
    )
    index = get_index()
    for name in index.backing_indexes():
        index.drop(name)
    index.promote(index.create(new_meta()))
    touch(Product.objects.all())
    yield len(files)
    for name in index.backing_indexes():
        index.drop(name)


def end_to_end(files: Sequence[Path], work: Callable[[], None]) -> float:
    """Return the milliseconds per picture from a waiting change to an indexed entry."""
    from imagesim.models import ItemState

    with catalogue(files) as count:
        start = time.perf_counter()
        work()
        took = (time.perf_counter() - start) / count * 1000
        left = ItemState.objects.exclude(outcome=ItemState.Outcome.INDEXED).count()
        assert not left, f"{left} of {count} items were not indexed"
    return took


def work_here() -> None:
    from imagesim.indexing.sync import sync

    report = sync()
    assert not report.interrupted, report.interrupted


def worker_is_possible() -> bool:
    from django.conf import settings
    from django.db import connection

    return bool(settings.REDIS_URL) and connection.vendor == "postgresql"


@contextmanager
def celery_worker(folder: Path) -> Iterator[Callable[[], None]]:
    """Start a worker process; yield a function that sends it a message and waits until no change waits."""
    from django.conf import settings

    from demo_shop.celery import app
    from imagesim.models import ItemState
    from tests.processes import running, wait_until

    queue = f"{NAME}-{os.getpid()}"
    app.conf.update(broker_url=settings.REDIS_URL, task_default_queue=queue)
    logs = folder / "logs"
    logs.mkdir()

    def work() -> None:
        app.send_task("imagesim.tasks.sync")
        wait_until(
            lambda: not ItemState.objects.filter(pending=True).exists(),
            seconds=3600,
            what="the worker indexed all",
            logs=logs,
            every=0.05,
        )

    with running(
        [sys.executable, "-m", "celery", "--app", "demo_shop", "worker", "--concurrency", "1"],
        log=logs / "worker",
        cwd=Path.cwd(),
        environment={
            "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
            "IMAGESIM_TEST_SETTINGS": json.dumps({**settings.IMAGESIM, "SYNC": "celery"}),
            "IMAGESIM_TEST_MEDIA": str(folder),
            "IMAGESIM_TEST_BROKER": settings.REDIS_URL,
            "IMAGESIM_TEST_QUEUE": queue,
        },
    ):
        yield work


def clip_retrieval(python: str, files: Sequence[Path], model: str, weights: Path | None) -> float:
    """Return the milliseconds per picture of clip-retrieval's inference: with reading and writing, without loading."""
    assert weights, "clip-retrieval needs a name of open_clip and a file of weights: --model and --weights"
    script = Path(__file__).with_name("clip_retrieval.py")
    command = [python, str(script), str(files[0].parent), model, str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1]) / len(files) * 1000


def tell(report: dict[str, Any]) -> None:
    unavoidable = report["unavoidable_ms"]
    print(f"{report['images']} JPEGs of {SIZE[0]} x {SIZE[1]}, {report['model']}; ms per picture (share of the limit)")
    for name in ("read_ms", "decode_ms", "prepare_ms", "forward_ms", "unavoidable_ms"):
        print(f"  {name:<16} {report[name]:8.2f}")
    for name in ("sync", "celery", "one_at_a_time", "clip_retrieval"):
        if name in report:
            print(f"  {name:<16} {report[name]:8.2f}  {unavoidable / report[name]:.2f}")
    ours = report.get("celery", report["sync"])
    for name in ("one_at_a_time", "clip_retrieval"):
        if name in report:
            print(f"  {report[name] / ours:.1f} x as fast as {name.replace('_', ' ')}")


if __name__ == "__main__":
    sys.exit(main())
