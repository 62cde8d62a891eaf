"""Measure how fast stock changes reach the search results: ``python -m tools.services -- python -m benchmarks.flips``.

    --how save           each flip is a ``save()`` in a transaction of its own (``--how bulk``: a hundred in an
                         ``update()`` and a ``touch()``)
    --rate 1000          flips per second, by the clock, whether or not the index keeps up; 0 for as many as possible,
                         each after the commit of the previous one

Everything runs as in a shop, on this one machine: writers with ``SYNC: celery``, Redis, Celery workers, PostgreSQL
and Elasticsearch. Every flip changes the entry of its product. A flip counts when it is in the index: the rate is the
number of flips divided by the time from the first one until no change waits. Meanwhile another process saves a
product and queries the index until it finds the new state: ``found_after_seconds`` is that time from the commit on,
including the refresh interval.

Use an empty database: the benchmark fills the demo shop's tables. It measures the sync, not a model: all vectors are
stored already, and no picture's file exists, so none can have been opened.
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
from pathlib import Path
from typing import Any

from benchmarks import stocked

NAME = "benchmark-flips"
BULK = 100
PROBE_SECONDS = 0.4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--how", choices=("save", "bulk"), default="save")
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--refresh", default="1s", help="the refresh interval of the index")
    parser.add_argument("--writer", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.writer is not None:
        set_up()
        print(json.dumps(write(given)))
        return
    with tempfile.TemporaryDirectory(prefix="imagesim-flips-") as folder:
        configure(given, folder)
        set_up()
        print(json.dumps(flips(given, Path(folder))))


def configure(given: argparse.Namespace, folder: str) -> None:
    """Configure this process and those that it starts."""
    names = ("IMAGESIM_TEST_ELASTICSEARCH_URL", "IMAGESIM_TEST_DATABASE_URL", "IMAGESIM_TEST_REDIS_URL")
    if missing := [name for name in names if not os.environ.get(name)]:
        sys.exit(f"Set {', '.join(missing)}: `make services` prints them.")
    options = {"hosts": [os.environ[names[0]]], "name": NAME, "replicas": 0, "refresh_interval": given.refresh}
    index = {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": options}
    os.environ.update(
        DJANGO_SETTINGS_MODULE="tests.worker_settings",
        IMAGESIM_TEST_SETTINGS=json.dumps({"SYNC": "celery", "EMBEDDER": stocked.EMBEDDER, "INDEX": index}),
        IMAGESIM_TEST_MEDIA=folder,
        IMAGESIM_TEST_BROKER=os.environ[names[2]],
        IMAGESIM_TEST_QUEUE=NAME,
    )


def set_up() -> None:
    import django

    django.setup()


def flips(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from imagesim.indexing.sync import sync
    from imagesim.models import ItemState

    stocked.fill(given.items)
    stocked.first_index()
    report = sync()
    assert report.indexed == given.items, report
    celery = [sys.executable, "-m", "celery", "--app", "demo_shop", "worker", "--concurrency", "1", "-l", "WARNING"]
    parts = {"elasticsearch": _elasticsearch_pid(), "postgresql": _postgres_pid()}
    with (folder / "workers.log").open("wb") as log:
        workers = [
            subprocess.Popen([*celery, "--hostname", f"w{n}@flips"], stdout=log, stderr=log)
            for n in range(given.workers)
        ]
        try:
            _probe(3)  # wait until they have started
            before = {name: stocked.processor_seconds(pid) for name, pid in parts.items()}
            began, written = time.monotonic(), _written()
            busy = sum(stocked.processor_seconds(worker.pid) for worker in workers)
            command = [sys.executable, "-m", "benchmarks.flips", *sys.argv[1:]]
            writers = [
                subprocess.Popen([*command, "--writer", str(n)], stdout=subprocess.PIPE) for n in range(given.writers)
            ]
            seen = _probe(given.seconds)
            told = [json.loads(writer.communicate()[0]) for writer in writers]
            ended = time.monotonic()
            waiting = ItemState.objects.filter(pending=True).count()
            while ItemState.objects.filter(pending=True).exists():
                time.sleep(0.05)
            settled = time.monotonic()
            busy = sum(stocked.processor_seconds(worker.pid) for worker in workers) - busy
            spent = {name: stocked.processor_seconds(pid) - before[name] for name, pid in parts.items()}
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(60)
    entries = _written() - written
    wrong = _wrong()
    stocked.drop_indexes()
    done = sum(each["flips"] for each in told)
    seconds = settled - max(began, ended - max(each["seconds"] for each in told))
    spent |= {"writers": sum(each["processor"] for each in told), "workers": busy}
    return {
        **{name: getattr(given, name) for name in ("how", "rate", "items", "writers", "workers", "refresh")},
        "flips": done,
        "entries_written": entries,
        "seconds": round(seconds, 1),
        "flips_per_second": round(done / seconds),
        "waiting_at_the_end": waiting,
        "seconds_to_catch_up": round(settled - ended, 1),
        "found_after_seconds": {
            "times": len(seen),
            "median": round(seen[len(seen) // 2], 2),
            "95 %": round(seen[int(len(seen) * 0.95)], 2),
            "worst": round(seen[-1], 2),
        },
        "processor_ms_a_flip": {name: round(value / done * 1000, 2) for name, value in sorted(spent.items())},
        "entries_that_differ": wrong,
    }


def write(given: argparse.Namespace) -> dict[str, Any]:
    """Run one writer. It has its own products, so it knows what each flip changes."""
    from django.db import transaction
    from django.db.models import F

    import imagesim
    from demo_shop.shop.models import Product
    from imagesim.models import Scope

    dice = random.Random(given.writer)
    stock = dict(Product.objects.order_by("pk").values_list("pk", "stock")[: given.items - 1])
    pks = sorted(stock)[given.writer :: given.writers]
    product = Product.objects.get(pk=pks[0])
    at_once = 1 if given.how == "save" else BULK
    began, processor = time.monotonic(), time.process_time()
    count = 0
    while (now := time.monotonic() - began) < given.seconds:
        if given.rate and (early := count * given.writers / given.rate - now) > 0:
            time.sleep(early)
        if given.how == "save":
            product.pk = dice.choice(pks)
            product.stock = stock[product.pk] = 1 - stock[product.pk]
            with transaction.atomic():
                product.save(update_fields=["stock"])
        else:
            chosen = Product.objects.filter(pk__in=dice.sample(pks, BULK))
            with transaction.atomic():
                chosen.update(stock=1 - F("stock"))
                imagesim.touch(chosen, scope=Scope.METADATA)
        count += at_once
    return {"flips": count, "seconds": time.monotonic() - began, "processor": time.process_time() - processor}


def _probe(seconds: float) -> list[float]:
    """Return how long after its commit each change is found, sorted, in seconds."""
    from demo_shop.shop.models import Product
    from imagesim.indexes import get_index
    from imagesim.types import Condition, Filters

    index = get_index()
    product = Product.objects.order_by("-pk").first()
    assert product is not None
    seen: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        product.brand = f"{time.time_ns()}"
        product.save(update_fields=["brand"])
        saved = time.monotonic()
        wanted = Filters(models=("shop.product",), conditions=(Condition("brand", "eq", product.brand),))
        while not index.count(wanted):
            time.sleep(0.02)
        seen.append(time.monotonic() - saved)
        time.sleep(random.uniform(0, 2 * PROBE_SECONDS))  # independent of the refreshes
    return sorted(seen)


def _wrong() -> int:
    """Return how many entries differ from the shop's table in their stock."""
    from elasticsearch import Elasticsearch, helpers

    from demo_shop.shop.models import Product

    client = Elasticsearch(os.environ["IMAGESIM_TEST_ELASTICSEARCH_URL"])
    client.indices.refresh(index=NAME)
    query = {"query": {"match_all": {}}, "_source": ["in_stock"]}
    held = {hit["_id"]: hit["_source"]["in_stock"] for hit in helpers.scan(client, query, index=NAME)}
    wanted = {f"shop.product:{pk}": stock > 0 for pk, stock in Product.objects.values_list("pk", "stock")}
    return sum(held.get(key) != wanted.get(key) for key in held.keys() | wanted.keys())


def _written() -> int:
    """Return the number of entries that Elasticsearch has indexed so far."""
    from elasticsearch import Elasticsearch

    client = Elasticsearch(os.environ["IMAGESIM_TEST_ELASTICSEARCH_URL"])
    return int(client.indices.stats(index=NAME, metric="indexing")["_all"]["primaries"]["indexing"]["index_total"])


def _elasticsearch_pid() -> int:
    from elasticsearch import Elasticsearch

    nodes = Elasticsearch(os.environ["IMAGESIM_TEST_ELASTICSEARCH_URL"]).nodes.info(metric="process")["nodes"]
    return int(next(iter(nodes.values()))["process"]["id"])


def _postgres_pid() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = int(cursor.fetchone()[0])
    return int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])


if __name__ == "__main__":
    main()
