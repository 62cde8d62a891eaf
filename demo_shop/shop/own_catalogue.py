"""A catalogue of your own: a folder of pictures, or a CSV file that names them. Pictures are linked, or copied on
Windows without its developer mode.

In a folder each picture is a product, and the folders that contain it are its department and category. A CSV file has a
column ``image``, with paths relative to the file, and any of ``name``, ``department``, ``category``, ``price``,
``stock``, ``brand``, ``colour`` and ``description``; without a colour, results can be narrowed by the colour of the
pictures. Nothing is fetched from the network.
"""

from __future__ import annotations

import csv
import hashlib
import os
import random
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

import imagesim
from demo_shop.shop.models import Category, Photo, Product
from imagesim.models import ItemState

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif"}
BATCH = 500


class NoCatalogue(Exception):
    """The folder or file is not a valid catalogue; the message gives the reason."""


def read(source: Path) -> list[tuple[Path, dict[str, str]]]:
    """Read the pictures with their data.

    :raises NoCatalogue: if there is none.
    """
    if source.is_dir():
        found = [
            (path, _of_folder(path.relative_to(source))) for path in sorted(source.rglob("*")) if _is_picture(path)
        ]
    elif source.is_file():
        found = list(_of_csv(source))
    else:
        raise NoCatalogue(f"{source} is neither a folder nor a CSV file.")
    if not found:
        raise NoCatalogue(f"{source} names no picture that exists ({', '.join(sorted(SUFFIXES))}).")
    return found


def load(source: Path, progress: Callable[[int, int], None]) -> int:
    """Create a product for each new picture; return the total number of products."""
    rows = read(source)
    random.Random(0).shuffle(rows)  # so that the first items to be indexed are of all kinds
    known = set(Photo.objects.values_list("file", flat=True))
    categories = {category.slug: category for category in Category.objects.all()}
    every: dict[str, tuple[dict[str, str], str]] = {}
    for path, row in rows:
        row["name"] = row.get("name") or _words(path.stem)
        name = _link(path)
        every[f"{slugify(row['name'])[:150] or 'product'}-{Path(name).stem[:12]}"] = row, name  # a repeated row is one
    new = [(slug, row, name) for slug, (row, name) in every.items() if name not in known]
    for start in range(0, len(new), BATCH):
        with transaction.atomic():
            batch = new[start : start + BATCH]
            products = Product.objects.bulk_create(_product(slug, row, categories) for slug, row, _ in batch)
            photos = (Photo(product=made, file=name) for made, (_, _, name) in zip(products, batch, strict=True))
            Photo.objects.bulk_create(photos)
            if ItemState.objects.exists():  # otherwise the first sync queues every item
                imagesim.touch(Product.objects.filter(pk__in=[made.pk for made in products]))
        progress(start + len(batch), len(new))
    return len(every)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _of_folder(path: Path) -> dict[str, str]:
    folders = [_words(name) for name in path.parts[:-1]]
    return {"name": _words(path.stem), "department": (folders or [""])[0], "category": " · ".join(folders[1:])}


def _of_csv(source: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if "image" not in (table.fieldnames or ()):
                raise NoCatalogue(f"{source} has no column 'image'.")
            for row in table:
                name = row["image"] or ""
                # In a zip made on macOS, a letter and its accent are two characters; in a CSV file they are often one.
                names = (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
                if path := next(filter(_is_picture, (source.parent / each for each in names)), None):
                    yield path, {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
    except (OSError, UnicodeError, csv.Error) as error:  # another encoding, or a quotation mark that is never closed
        raise NoCatalogue(f"{source} cannot be read as a CSV file in UTF-8: {str(error)[:200]}.") from error


def _words(name: str) -> str:
    name = unicodedata.normalize("NFC", name)  # macOS stores a letter and its accent as two characters
    return re.sub(r"[\W_]+", " ", name).strip().capitalize() or name


def _link(path: Path) -> str:
    """Link the picture into the media folder, or copy it where links are not allowed; return its name there."""
    path = path.resolve()
    name = f"own/{hashlib.sha256(str(path).encode()).hexdigest()[:20]}{path.suffix.lower()}"
    link = Path(settings.MEDIA_ROOT) / name
    if not os.path.lexists(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(path)
        except OSError:  # Windows without its developer mode
            shutil.copyfile(path, link)
    return name


def _product(slug: str, row: dict[str, str], categories: dict[str, Category]) -> Product:
    return Product(
        name=row["name"][:200],
        slug=slug,
        category=_category(row, categories),
        price=_number(row.get("price", ""), Decimal(0)),
        stock=int(_number(row.get("stock", ""), Decimal(1))),
        brand=row.get("brand", "")[:100],
        colour=row.get("colour", "")[:50],
        description=row.get("description", ""),
    )


def _category(row: dict[str, str], categories: dict[str, Category]) -> Category:
    names = [row.get("department") or row.get("category") or "Everything"]
    if row.get("department") and row.get("category"):
        names.append(row["category"])
    parent = None
    for depth in range(len(names)):
        slug = _slug(" ".join(names[: depth + 1])) or "everything"
        if slug not in categories:
            categories[slug] = Category.objects.create(name=names[depth][:100], slug=slug, parent=parent)
        parent = categories[slug]
    assert parent is not None
    return parent


def _slug(text: str) -> str:
    """Return a slug of at most 50 characters. It has part of a hash if ``slugify`` leaves out letters: in Arabic or
    Japanese, all categories would otherwise share an empty slug."""
    slug = slugify(text)
    if len(slug) == len(slugify(text, allow_unicode=True)):
        return slug[:50]
    return f"{slug[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".strip("-")


def _number(text: str, default: Decimal) -> Decimal:
    try:
        number = Decimal(text.replace(",", "."))
    except InvalidOperation:
        return default
    return number if number.is_finite() and 0 <= number < 10**8 else default
