"""A few products with pictures, indexed, for the tests of the read side."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db import models
from PIL import Image

from demo_shop.shop.models import Category, Photo, Product
from imagesim import images
from imagesim.embedders import BaseEmbedder, get_embedder
from imagesim.indexes import get_index
from imagesim.indexing import signals
from imagesim.indexing.calibrate import calibrate
from imagesim.indexing.sync import sync
from imagesim.items import Items, make_key
from imagesim.items.registry import registry
from imagesim.models import Embedding, ItemImage, ItemState, LocalEntry
from imagesim.runtime import runtime
from imagesim.testing import make_picture as picture
from imagesim.types import Entry, EntryImage, IndexMeta

EMBEDDER = {"BACKEND": "imagesim.testing.embedders.PixelEmbedder", "OPTIONS": {}}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def product(name: str, *pictures: Image.Image | bytes, category: str = "shoes", **fields: Any) -> Product:
    """Create a product with these pictures; by default 5 in stock at a price of 10.00."""
    shelf, _ = Category.objects.get_or_create(slug=category, defaults={"name": category.title()})
    made = Product.objects.create(
        name=name, slug=name, category=shelf, **{"price": "10.00", "stock": 5, "colour": "", "brand": "acme"} | fields
    )
    for position, shown in enumerate(pictures):
        data = shown if isinstance(shown, bytes) else encoded(shown)
        Photo.objects.create(product=made, position=position, file=ContentFile(data, f"{name}-{position}.png"))
    return made


def synced_products(count: int) -> list[Product]:
    """Create red products ``p0``, ``p1`` and so on, each with a picture of its own, and sync them."""
    products = [product(f"p{number}", picture("red", mark=number)) for number in range(count)]
    sync()
    return products


def sync_and_calibrate() -> None:
    """Sync the products, and calibrate the index; the next query reads the calibration."""
    sync()
    calibrate()
    forget()


def forget() -> None:
    """Reset the runtime, except for embedders, whose models take half a second to load."""
    runtime.reset(keep=lambda value: isinstance(value, BaseEmbedder))


def shelf(*, with_texts: bool = False) -> dict[str, Product]:
    """Create and index red products with decreasing similarity to the first, and two blue ones."""
    made = {
        "red": product("red", picture("red"), price="10", colour="red"),
        "dark": product("dark", picture("darkred"), price="20", colour="red", brand="zeta"),
        "orange": product("orange", picture("orange"), price="30", colour="orange", stock=0),
        "hat": product("hat", picture("tomato"), category="hats", price="40", colour="red"),
        "blue": product("blue", picture("blue"), price="50", colour="blue"),
        "navy": product("navy", picture("navy"), price="60", colour="blue", stock=0, category="hats"),
    }
    index(with_texts=with_texts)
    return made


def index(products: Iterable[Product] | None = None, *, with_texts: bool = False) -> None:
    """Index these products (by default all) in a new index, and activate it."""
    items = registry.for_model(Product)
    embedder = get_embedder()
    meta = IndexMeta(fingerprint=embedder.fingerprint, dims=embedder.dims, filters=dict(items.kinds))
    if with_texts:
        meta = replace(meta, texts=items.text_specs)
    target = get_index()
    backing_index = target.create(meta)
    made = entries(list(items.for_reading(Product.objects.all()) if products is None else products))
    assert all(result.status == "done" for result in target.write(made, backing_index=backing_index))
    target.refresh(backing_index)
    target.promote(backing_index)


def entries(shown: list[Product]) -> list[Entry]:
    """Return the entries of the products that have pictures; store their states, images and embeddings as well."""
    items = registry.for_model(Product)
    states = _states(items, shown)
    ItemImage.objects.filter(state__in=states.values()).delete()
    made, found, vectors = [], [], {}
    for each in shown:
        state, pictures = states[str(each.pk)], _pictures(items, each)
        vectors |= {picture.digest: picture.vector for picture in pictures}
        found += [
            ItemImage(state=state, position=position, name=picture.name, digest=picture.digest)
            for position, picture in enumerate(pictures)
        ]
        if pictures:
            made.append(_entry(items, each, state.version, pictures))
    ItemImage.objects.bulk_create(found)
    _store(vectors)
    return made


def _states(items: Items[Any], shown: list[Product]) -> dict[str, ItemState]:
    """Return the state of each product, by its primary key as text."""
    pks = [str(each.pk) for each in shown]
    known = ItemState.objects.filter(model=items.label, object_pk__in=pks)
    states = {state.object_pk: state for state in known}
    for pk in pks:
        if pk not in states:
            states[pk] = ItemState.objects.create(model=items.label, object_pk=pk)
    return states


def _pictures(items: Items[Any], shown: Product) -> list[EntryImage]:
    pictures = []
    for file in items.get_images(shown):
        data = images.read(file)
        (vector,) = get_embedder().embed_images([images.decode(data)])
        pictures.append(EntryImage(images.digest(data), file.name, vector))
    return pictures


def _store(vectors: dict[str, np.ndarray]) -> None:
    fingerprint = get_embedder().fingerprint
    Embedding.objects.filter(fingerprint=fingerprint, digest__in=vectors).delete()
    Embedding.objects.bulk_create(
        Embedding(digest=digest, fingerprint=fingerprint, vector=np.asarray(vector, dtype="<f4").tobytes())
        for digest, vector in vectors.items()
    )


def _entry(items: Items[Any], shown: Product, version: int, pictures: list[EntryImage]) -> Entry:
    return Entry(
        key=make_key(items.label, shown.pk),
        model=items.label,
        pk=str(shown.pk),
        version=version,
        images=tuple(pictures),
        categories=tuple(items.get_categories(shown)),
        in_stock=items.get_in_stock(shown),
        group=items.group_key_of(shown),
        filters=items.get_filters(shown),
        texts=items.get_texts(shown),
    )


@contextmanager
def registered(model: type[models.Model], items: type[Items[Any]]) -> Iterator[None]:
    """Register the model with ``items``, with its signal receivers, for the duration of the block."""
    former = next((type(each) for each in registry if each.model is model), None)
    registry.unregister(model)
    registry.register(model, items)
    signals.connect()
    try:
        yield
    finally:
        registry.unregister(model)
        if former:
            registry.register(model, former)
        signals.connect()


INDEXES = {"local": "", "elasticsearch": "elasticsearch_url", "pgvector": "pgvector_alias"}
"""The kinds of index, and the fixture with the server of each."""


LOCAL_DAILY = ["local", *(pytest.param(kind, marks=pytest.mark.long) for kind in INDEXES if kind != "local")]
"""For tests of what is done around an index: daily on the local one, with ``--long`` on each."""

TWO_DAILY = ["local", "elasticsearch", pytest.param("pgvector", marks=pytest.mark.long)]
"""For tests of answers, which each index computes by itself."""


def index_for(request: pytest.FixtureRequest, kind: str) -> dict[str, Any]:
    """Return ``IMAGESIM["INDEX"]`` for one of :data:`INDEXES`, on the server of its fixture."""
    return index_setting(kind, request.getfixturevalue(INDEXES[kind]) if INDEXES[kind] else "")


def index_setting(kind: str, server: str = "") -> dict[str, Any]:
    """Return ``IMAGESIM["INDEX"]`` for one of :data:`INDEXES`, with a unique name; ``server``: the address or the
    alias."""
    if kind == "local":
        return {"BACKEND": "imagesim.indexes.local.LocalIndex"}
    if kind == "pgvector":
        return {
            "BACKEND": "imagesim.indexes.pgvector.PgvectorIndex",
            "OPTIONS": {"database": server, "name": f"test-read-{secrets.token_hex(6)}"},
        }
    return {
        "BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex",
        "OPTIONS": {"hosts": [server], "name": f"test-read-{secrets.token_hex(6)}", "replicas": 0},
    }


def price_in_the_index(item: Product) -> float:
    """Return what the active local index holds as the price of an item."""
    entry = LocalEntry.objects.get(generation__active=True, key=make_key("shop.product", item.pk))
    _model, _group, _in_stock, _categories, filters, *_rest = json.loads(bytes(entry.document))
    (price,) = dict(filters)["price"]
    return float(price)


@contextmanager
def with_index(request: pytest.FixtureRequest, settings: Any, kind: str, **others: Any) -> Iterator[None]:
    """Use an index of one of :data:`INDEXES` with the embedder of the tests, and drop it at the end.

    ``others``: further settings of imagesim.
    """
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "INDEX": index_for(request, kind), **others}
    cache.clear()
    yield
    cache.clear()
    drop_index()


def drop_index() -> None:
    for backing_index in get_index().backing_indexes():
        get_index().drop(backing_index)


class LaggingReplica:
    """A database router for a shop whose replica does not have the last rows of these models yet."""

    def __init__(self, *late: type[models.Model]) -> None:
        self.late = late

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        return "no such database" if model in self.late else None

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return "default"
