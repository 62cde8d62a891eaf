"""Measure the processor time of loading twelve hits: ``python -m benchmarks.loading``, on the tests' database.

Loads products of the demo shop, each with a category, a photo and a description of 2,000 characters, by querysets that
:meth:`Items.get_hit_queryset` could return.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

PRODUCTS, HITS, CALLS, ROUNDS = 600, 12, 200, 5


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        measure()
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def measure() -> None:
    from django.db.models import Prefetch

    from demo_shop.shop.models import Category, Photo, Product

    category = Category.objects.create(slug="c", name="Category")
    long = "word " * 400
    products = Product.objects.bulk_create(
        Product(name=f"P{n}", slug=f"p{n}", category=category, price=1, description=long, description_de=long)
        for n in range(PRODUCTS)
    )
    Photo.objects.bulk_create(Photo(product=each, file=f"{each.slug}.jpg") for each in products)
    pks = [each.pk for each in products]
    whole, narrow = Product.objects.order_by(), Product.objects.order_by().only("name", "slug", "price", "active")
    photos = Prefetch("photos", Photo.objects.only("file", "product"))
    report(
        pks,
        {
            "everything": lambda: whole.select_related("category").prefetch_related("photos"),
            "without the category": lambda: whole.prefetch_related("photos"),
            "without the photos": lambda: whole.select_related("category"),
            "without both": lambda: whole,
            "few columns": lambda: narrow.prefetch_related(photos),
            "few columns, without the photos": lambda: narrow,
        },
    )


def report(pks: list[Any], querysets: dict[str, Callable[[], Any]]) -> None:
    best: dict[str, float] = {}
    for _round in range(ROUNDS):
        for name, make in querysets.items():
            started = time.process_time()
            for number in range(CALLS):
                start = number * 37 % (PRODUCTS - HITS)
                assert len(list(make().filter(pk__in=pks[start : start + HITS]))) == HITS
            taken = (time.process_time() - started) / CALLS * 1000
            best[name] = min(taken, best.get(name, taken))
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, least of {ROUNDS} rounds")
    for name, value in best.items():
        print(f"{name:<40} {value:6.2f} ms")


if __name__ == "__main__":
    main()
