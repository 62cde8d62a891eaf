"""Measure ``similar_to`` end to end in the demo shop (database, search, loading the items), compared with ``took``."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings

from benchmarks.searching import load, pages
from benchmarks.searching.common import Row, bare_connection
from imagesim.indexes.elasticsearch import ElasticsearchIndex
from imagesim.indexes.elasticsearch.transport import encode


def measure(
    index: ElasticsearchIndex, url: str, folder: Path, vectors: np.ndarray, questions: int, parts: Sequence[str]
) -> Iterator[Row]:
    """Measure; ``index`` is active and holds an entry ``shop.product:n`` for every row n - 1 of ``vectors``."""
    backend = {
        "BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex",
        "OPTIONS": {"hosts": url, "name": index.name},
    }
    with override_settings(IMAGESIM={"INDEX": backend, "SYNC": "manual"}):
        items = fill(vectors, questions)
        bodies = [body_of(item) for item in items]
        if "shop" in parts:
            yield from similar(items, bodies, url, index.name)
            yield from pages.measure(items)
        if "load" in parts:
            yield from load.measure(url, folder, backend, items, bodies)


def fill(vectors: np.ndarray, questions: int) -> list[Any]:
    """Create a product with a photo for every vector, and the embeddings of the first ones, which are queried."""
    from demo_shop.shop.models import Category, Photo, Product
    from imagesim.models import Embedding, ItemImage, ItemState

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
    items = list(Product.objects.select_related("category").order_by("id")[:questions])
    for item, vector in zip(items, vectors, strict=False):
        state = ItemState.objects.update_or_create(model="shop.product", object_pk=str(item.pk))[0]
        digest = hashlib.sha256(str(item.pk).encode()).hexdigest()
        ItemImage.objects.create(state=state, position=0, name=f"products/{item.pk}.jpg", digest=digest)
        Embedding.objects.create(digest=digest, fingerprint="benchmark", vector=vector.astype("<f4").tobytes())
    return items


def body_of(item: Any) -> bytes:
    """Return the request that ``similar_to`` of the item sends to the server."""
    import imagesim

    sent: list[bytes] = []

    def note(body: Any) -> bytes:
        sent.append(encode(body))
        return sent[-1]

    with mock.patch("imagesim.indexes.elasticsearch.transport.encode", note):
        imagesim.similar_to(item)
    [body] = sent
    return body


def similar(items: Sequence[Any], bodies: Sequence[bytes], url: str, name: str) -> Iterator[Row]:
    """Measure ``similar_to``, alternating with the same request sent with the standard library."""
    import imagesim

    bare = bare_connection(url)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        imagesim.similar_to(items[0])
    yield Row("shop: SQL queries of similar_to", len(captured), "", target="2")
    wall, over, floor, own = [], [], [], []
    for item, body in zip(items, bodies, strict=True):
        started, cpu = time.perf_counter(), time.thread_time()
        hits = imagesim.similar_to(item)
        wall.append((time.perf_counter() - started) * 1000)
        own.append((time.thread_time() - cpu) * 1000)
        over.append(wall[-1] - hits.took_ms)
        assert len(hits) == 12
        started = time.perf_counter()
        bare.request("POST", f"/{name}/_search", body, {"Content-Type": "application/json"})
        took = json.loads(bare.getresponse().read())["took"]
        floor.append((time.perf_counter() - started) * 1000 - took)
    median = statistics.median
    took_ms = median(w - o for w, o in zip(wall, over, strict=True))
    yield Row("shop: similar_to, median", median(wall), "ms", "took", took_ms)
    spread = {"p25": float(np.percentile(over, 25)), "least": min(over)}
    yield Row("shop: similar_to less took", median(over), "ms", "bare HTTP", median(floor), "<= 3", detail=spread)
    yield Row("shop: processor time of similar_to", median(own), "ms", detail={"least": min(own)})
