"""Measure what the app adds to saving a product: ``python -m benchmarks.saving --json FILE``.

Makes the same saves with and without the app's receivers connected, alternating, so that a busy machine slows both.
Reports milliseconds and queries per save, and checks that no picture is opened. Uses the database of the test settings
(``IMAGESIM_TEST_DATABASE_URL``; SQLite by default). Every save is a separate transaction, as in a request.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

ROUNDS = 40
SAVES = 25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.db.models.fields.files import FieldFile

    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.indexing import signals

    call_command("migrate", verbosity=0, interactive=False)
    category, _ = Category.objects.get_or_create(slug="benchmark", defaults={"name": "Benchmark"})
    Product.objects.filter(slug="benchmark").delete()
    product = Product.objects.create(name="B", slug="benchmark", category=category, price="10.00", stock=1)
    Photo.objects.create(product=product, file="products/none.jpg")
    product = Product.objects.get(pk=product.pk)

    def save() -> None:
        product.stock += 1
        with transaction.atomic():
            product.save()

    plain: list[float] = []
    ours: list[float] = []
    with mock.patch.object(FieldFile, "open", side_effect=AssertionError("a picture was opened")):
        for _ in range(ROUNDS):
            signals.disconnect()
            plain.append(timed(save))
            signals.connect()
            ours.append(timed(save))
        signals.disconnect()
        queries_plain = count(connection, save)
        signals.connect()
        queries_ours = count(connection, save)
    product.delete()
    report = {
        "database": connection.vendor,
        "save_ms": statistics.median(plain),
        "save_with_app_ms": statistics.median(ours),
        "more_ms": statistics.median(b - a for a, b in zip(plain, ours, strict=True)),
        "more_queries": queries_ours - queries_plain,
        "pictures_opened": 0,
        "limit_ms": 0.5,
        "limit_queries": 1,
    }
    print(
        f"{report['database']}: save() {report['save_ms']:.3f} ms, with the app {report['save_with_app_ms']:.3f} ms: "
        f"{report['more_ms']:+.3f} ms (limit 0.5) and {report['more_queries']:+d} query (limit 1); no picture opened"
    )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return 0


def timed(work: Callable[[], None]) -> float:
    """Return the milliseconds of one call, averaged over several."""
    start = time.perf_counter()
    for _ in range(SAVES):
        work()
    return (time.perf_counter() - start) / SAVES * 1000


def count(connection: object, work: Callable[[], None]) -> int:
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


if __name__ == "__main__":
    sys.exit(main())
