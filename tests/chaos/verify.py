"""Compare the index with the shop, entry by entry, without the app's own code except for the names of colours."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

Ask = Callable[[str, "dict[str, Any] | None"], Any]
"""Posts JSON to a URL; returns the JSON of the answer."""


@dataclass
class Verdict:
    """Keys of items, by kind of difference."""

    expected: int = 0
    failed: int = 0
    lost: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    wrongly_failed: list[str] = field(default_factory=list)
    not_failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.stale or self.orphaned or self.wrongly_failed or self.not_failed)

    def without(self, keys: set[str]) -> Verdict:
        """Return the verdict without these items, whose changes cannot be known yet."""
        lists = ("lost", "stale", "orphaned", "wrongly_failed", "not_failed")
        kept = {name: [key for key in getattr(self, name) if key not in keys] for name in lists}
        return Verdict(self.expected, self.failed, **kept, notes=self.notes)


def verify(url: str, alias: str, ask: Ask | None = None) -> Verdict:
    """Compare the shop's tables and files with what Elasticsearch holds behind ``alias``; ``ask`` sends it requests."""
    from demo_shop.shop.models import Product
    from imagesim.models import ItemState

    held = dict(_documents(url, alias, ask or _ask))
    colours: dict[str, tuple[str, ...]] = {}
    verdict = Verdict()
    aside = {
        state.object_pk: state.error
        for state in ItemState.objects.filter(outcome="failed", pending=False, model="shop.product")
    }
    verdict.failed = len(aside)
    for product in Product.objects.select_related("category").prefetch_related("photos").order_by("pk").iterator(500):
        key = f"shop.product:{product.pk}"
        document = held.pop(key, None)
        photos = list(product.photos.all()) if product.active else []
        usable = [(photo.file.name, digest) for photo in photos if (digest := _digest(Path(photo.file.path)))]
        errors = len(photos) - len(usable)
        if photos and not usable:
            if str(product.pk) not in aside:
                verdict.not_failed.append(key)
        elif str(product.pk) in aside and not errors:
            verdict.wrongly_failed.append(key)
            verdict.notes.append(f"{key}: {aside[str(product.pk)]}")
        if not usable:
            if document is not None:
                verdict.orphaned.append(key)
            continue
        verdict.expected += 1
        wanted = {
            "images": usable,
            "in_stock": product.stock > 0,
            "categories": [product.category.slug],
            "price": float(product.price),
            "brand": product.brand,
            "colour": [product.colour] if product.colour else _colours(photos, dict(usable), colours),
        }
        if document is None:
            verdict.lost.append(key)
        elif document != wanted:
            verdict.stale.append(key)
            verdict.notes.append(f"{key}: wanted {wanted}, is {document}")
    verdict.orphaned += list(held)
    return verdict


def _digest(path: Path) -> str:
    """Return the SHA-256 of a picture file; empty if it is missing or not a picture."""
    from PIL import Image

    try:
        data = path.read_bytes()
        Image.open(BytesIO(data)).load()
    except Exception:
        return ""
    return hashlib.sha256(data).hexdigest()


def _colours(photos: list[Any], digests: dict[str, str], known: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the main colours of a product's usable pictures; ``known`` keeps them by digest."""
    from imagesim import images
    from imagesim.images.colours import measure

    for photo in photos:
        digest = digests.get(photo.file.name)
        if digest and digest not in known:
            known[digest] = measure(images.decode(Path(photo.file.path).read_bytes()))
    usable = [digests[photo.file.name] for photo in photos if photo.file.name in digests]
    return list(dict.fromkeys(colour for digest in usable for colour in known[digest]))


def _documents(url: str, alias: str, ask: Ask) -> Iterator[tuple[str, dict[str, Any]]]:
    ask(f"{url}/{alias}/_refresh", None)
    after: dict[str, Any] = {}
    while True:
        body = {"size": 1000, "sort": [{"key": "asc"}], "query": {"match_all": {}}, **after}
        hits = ask(f"{url}/{alias}/_search", body)["hits"]["hits"]
        for hit in hits:
            source = hit["_source"]
            yield (
                hit["_id"],
                {
                    "images": [(image["name"], image["digest"]) for image in source["images"]],
                    "in_stock": source["in_stock"],
                    "categories": source["categories"],
                    "price": float(_one(source["filters"].get("price")) or 0),
                    "brand": _one(source["filters"].get("brand")) or "",
                    "colour": _several(source["filters"].get("colour")),
                },
            )
        if len(hits) < 1000:
            return
        after = {"search_after": hits[-1]["sort"]}


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def _one(value: Any) -> Any:
    return (value[0] if value else None) if isinstance(value, list) else value


def _ask(url: str, body: dict[str, Any] | None) -> Any:
    data = b"" if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
