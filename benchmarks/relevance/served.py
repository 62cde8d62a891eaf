"""A data set as a shop: the demo's models with its products, in a separate database, indexed with cached vectors."""

from __future__ import annotations

import hashlib
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.relevance.data import Shop


def setup(name: str, cache: Path, media: Path | None = None, **options: Any) -> None:
    """Configure Django with the demo's settings for the shop ``name``; once per process."""
    import django
    from django.conf import settings

    from demo_shop import settings as demo

    cache.mkdir(parents=True, exist_ok=True)
    values = {key: getattr(demo, key) for key in dir(demo) if key.isupper()}
    database = dict(values["DATABASES"]["default"], NAME=cache / f"{name}.sqlite3")
    values |= {
        "DATABASES": {"default": database},
        "MEDIA_ROOT": media or cache / f"{name}-media",
        "CELERY_BROKER_URL": "",
        "ALLOWED_HOSTS": ["*"],
    }
    # No row needs the regions of the items' own pictures, which would take most of the time.
    values["IMAGESIM"] = dict(values["IMAGESIM"], SYNC="manual", ITEM_REGIONS=False, **options)
    settings.configure(**values)
    django.setup()
    import torch
    from django.core.management import call_command

    torch.set_num_threads(1)
    call_command("migrate", verbosity=0)


def fill(shop: Shop, media: Path) -> None:
    """Create the products of a data set, whose files are in ``media``, with the known vectors."""
    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.embedders import get_embedder
    from imagesim.indexing.calibrate import calibrate
    from imagesim.models import Embedding

    if Product.objects.exists():
        calibrate()
        return
    parents = {name: Category.objects.create(name=name, slug=f"_{name}"[:50]) for name in set(shop.parents.values())}
    categories = {
        name: Category.objects.create(
            name=re.sub("-(?=[A-Z])", " ", name), slug=name.replace(" ", "-")[:50], parent=parents[parent]
        )
        for name, parent in shop.parents.items()
    }  # fmt: skip
    products = [
        Product(
            name=name,
            slug=key,
            category=categories[category],
            description=texts.get("description", ""),
            brand=texts.get("brand", ""),
            colour=texts.get("colour", "-"),  # not measured in the pictures, which would take as long as the rest
            price=Decimal(10),
            stock=1,
        )
        for key, name, category, texts in zip(shop.keys, shop.names, shop.categories, shop.texts, strict=True)
    ]
    Product.objects.bulk_create(products, batch_size=500)
    made = dict(Product.objects.values_list("slug", "pk"))
    Photo.objects.bulk_create(
        [
            Photo(product_id=made[shop.keys[owner]], file=os.path.relpath(file, media))
            for owner, file in zip(shop.owner.tolist(), shop.files, strict=True)
        ],
        batch_size=500,
    )
    fingerprint = get_embedder().fingerprint
    digests = {hashlib.sha256(file.read_bytes()).hexdigest(): row for row, file in enumerate(shop.files)}
    Embedding.objects.bulk_create(
        [
            Embedding(digest=digest, fingerprint=fingerprint, vector=shop.vectors[row].astype("<f4").tobytes())
            for digest, row in digests.items()
        ],
        batch_size=500,
    )
    index()


def without_tree(*, categories: bool) -> None:
    """Keep the parents of categories out of the index, or everything but the products' names; call it before
    :func:`fill`."""
    from imagesim.items.registry import registry

    items = registry.for_label("shop.product")
    kind: Any = type(items)
    kind.category_parent = ""
    kind.text = {"name": 3, "category__name": 2, "description": 1}
    if not categories:
        kind.category = kind.measured_colours = ""
        kind.text = {"name": 1}
    vars(items).pop("text_specs", None)


def index() -> None:
    """Bring the index and its calibration up to date."""
    from demo_shop.shop.models import Product
    from imagesim.indexing import outbox
    from imagesim.indexing.calibrate import calibrate
    from imagesim.indexing.sync import sync

    outbox.record("shop.product", Product.objects.values_list("pk", flat=True), using="default")
    sync()
    calibrate()
