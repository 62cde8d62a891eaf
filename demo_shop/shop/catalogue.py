"""The catalogue: ``demo_shop/catalogue.json``, read into plain objects.

The pictures are named by their file names in two public packages (see ``packages.py``); the names, prices and
descriptions are the demo's own and say what the pictures show.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from django.utils.text import slugify
from django.utils.translation import get_language

FILE = Path(__file__).resolve().parent.parent / "catalogue.json"
GERMAN = FILE.with_suffix(".de.json")


@dataclass(frozen=True)
class CataloguePhoto:
    file: str
    alt: str
    focus: str = "center"


@dataclass(frozen=True)
class CatalogueProduct:
    """A product or, in ``variants``, another colour of it."""

    name: str
    slug: str
    category: str
    price: Decimal
    stock: int
    colour: str
    brand: str
    description: str
    source: str
    photos: tuple[CataloguePhoto, ...]
    variants: tuple[CatalogueProduct, ...] = ()


@dataclass(frozen=True)
class CatalogueBanner:
    source: str
    file: str


@dataclass(frozen=True)
class CatalogueSample:
    """A sample photo for "shop the look": a crop of a banner (left, top, right, bottom in pixels)."""

    source: str
    file: str
    name: str
    crop: tuple[int, int, int, int]

    @property
    def slug(self) -> str:
        return Path(self.file).stem

    @property
    def local_name(self) -> str:
        """What the photo shows, in the visitor's language."""
        is_german = (get_language() or "").partition("-")[0] == "de"
        return str(german()["samples"].get(self.slug, self.name)) if is_german else self.name

    @property
    def path(self) -> str:
        """Its path in the media folder."""
        return f"samples/{self.slug}.jpg"


@dataclass(frozen=True)
class CatalogueCategory:
    name: str
    slug: str
    children: tuple[CatalogueCategory, ...] = ()
    banner: CatalogueBanner | None = None


@dataclass(frozen=True)
class Catalogue:
    departments: tuple[CatalogueCategory, ...]
    products: tuple[CatalogueProduct, ...]
    samples: tuple[CatalogueSample, ...]


@cache
def german() -> dict[str, Any]:
    """Return the German texts: ``products`` by English name, ``categories`` and ``samples`` by slug."""
    texts: dict[str, Any] = json.loads(GERMAN.read_text(encoding="utf-8"))
    return texts


@cache
def load() -> Catalogue:
    data = json.loads(FILE.read_text(encoding="utf-8"))
    departments = tuple(
        CatalogueCategory(
            name=department["name"],
            slug=department["slug"],
            banner=CatalogueBanner(**data["banners"][department["slug"]]),
            children=tuple(CatalogueCategory(**category) for category in department["categories"]),
        )
        for department in data["departments"]
    )
    samples = tuple(CatalogueSample(**sample | {"crop": tuple(sample["crop"])}) for sample in data["samples"])
    return Catalogue(departments, tuple(_product(product) for product in data["products"]), samples)


def _product(data: dict[str, Any]) -> CatalogueProduct:
    shared = {key: data[key] for key in ("name", "category", "brand", "description", "source")}
    return CatalogueProduct(
        **shared,
        slug=slugify(data["name"]),
        price=Decimal(data["price"]),
        stock=data["stock"],
        colour=data["colour"],
        photos=_photos(data["photos"]),
        variants=tuple(
            CatalogueProduct(
                **shared,
                slug=slugify(f"{data['name']} {variant['colour']}"),
                price=Decimal(variant.get("price", data["price"])),
                stock=variant["stock"],
                colour=variant["colour"],
                photos=_photos(variant["photos"]),
            )
            for variant in data.get("variants", ())
        ),
    )


def _photos(photos: list[dict[str, str]]) -> tuple[CataloguePhoto, ...]:
    return tuple(CataloguePhoto(**photo) for photo in photos)
