"""``similar_to`` from end to end in the demo shop: database, search, items loaded; beside the server's own ``took``."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator

import numpy as np
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings

from benchmarks.searching.common import Row
from imagesim.indexes.elasticsearch import ElasticsearchIndex


def measure(index: ElasticsearchIndex, url: str, vectors: np.ndarray, questions: int) -> Iterator[Row]:
    """``index`` is in service and holds an entry ``shop.product:n`` for every row n - 1 of ``vectors``."""
    import imagesim
    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.models import Embedding, ItemImage, ItemState

    options = {"hosts": url, "name": index.name}
    backend = {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": options}
    with override_settings(IMAGESIM={"INDEX": backend, "SYNC": "manual"}):
        category = Category.objects.create(name="Things", slug="things")
        numbers = range(1, len(vectors) + 1)
        Product.objects.bulk_create(
            (
                Product(id=n, name=f"Product {n}", slug=f"product-{n}", category=category, price=n % 90, stock=1)
                for n in numbers
            ),
            batch_size=1000,
        )
        Photo.objects.bulk_create((Photo(product_id=n, file=f"products/{n}.jpg") for n in numbers), batch_size=1000)
        items = list(Product.objects.order_by("id")[:questions])
        for item, vector in zip(items, vectors, strict=False):
            state = ItemState.objects.update_or_create(model="shop.product", object_pk=str(item.pk))[0]
            digest = hashlib.sha256(str(item.pk).encode()).hexdigest()
            ItemImage.objects.create(state=state, position=0, name=f"products/{item.pk}.jpg", digest=digest)
            Embedding.objects.create(digest=digest, fingerprint="benchmark", vector=vector.astype("<f4").tobytes())
        for item in items[:20]:
            imagesim.similar_to(item)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            imagesim.similar_to(items[0])
        yield Row("shop: SQL queries of similar_to", len(captured), "", target="2")
        wall, took = [], []
        for item in items:
            started = time.perf_counter()
            hits = imagesim.similar_to(item)
            wall.append((time.perf_counter() - started) * 1000)
            took.append(hits.took_ms)
            assert len(hits) == 12
        over = statistics.median(w - t for w, t in zip(wall, took, strict=True))
        yield Row("shop: similar_to, median", statistics.median(wall), "ms", "took", statistics.median(took))
        yield Row("shop: similar_to less took, median", over, "ms", target="<= 3")
