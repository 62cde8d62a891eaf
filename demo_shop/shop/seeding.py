"""Create rows and files from the catalogue and the packages. A second run changes nothing and takes no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from PIL import Image

from demo_shop.shop import catalogue, packages
from demo_shop.shop.catalogue import CatalogueCategory, CatalogueProduct, CatalogueSample
from demo_shop.shop.models import Category, Photo, Product

Progress = Callable[[int, int], None]


@dataclass
class SeedReport:
    """The result of :func:`seed`. ``messages`` names the skipped parts of the catalogue, with the reasons."""

    products: int = 0
    created: int = 0
    restored: int = 0
    messages: list[str] = field(default_factory=list)


class _Pictures:
    """The packages' pictures, opened on demand."""

    def __init__(self) -> None:
        self._read: dict[str, dict[str, bytes]] = {}
        self.missing: dict[str, str] = {}

    def get(self, source: str, name: str) -> bytes | None:
        if source not in self._read:
            try:
                self._read[source] = packages.read_pictures(packages.PACKAGES[source])
            except packages.PackageUnavailable as error:
                self._read[source] = {}
                self.missing[source] = str(error)
        return self._read[source].get(name)


@transaction.atomic
def seed(progress: Progress | None = None) -> SeedReport:
    """Add missing categories, products and photo files. Existing ones are not changed."""
    shop = catalogue.load()
    pictures = _Pictures()
    report = SeedReport()
    categories = _seed_categories(shop.departments, pictures)
    _seed_samples(shop.samples, pictures)
    known = {product.slug: product for product in Product.objects.prefetch_related("photos")}
    _translate(categories, known)
    for number, entry in enumerate(shop.products, 1):
        parent = _seed_product(entry, None, categories, known, pictures, report)
        if parent is not None:
            for variant in entry.variants:
                _seed_product(variant, parent, categories, known, pictures, report)
        if progress:
            progress(number, len(shop.products))
    report.products = len(known)
    report.messages = list(pictures.missing.values())
    return report


def _seed_categories(departments: tuple[CatalogueCategory, ...], pictures: _Pictures) -> dict[str, Category]:
    known = {category.slug: category for category in Category.objects.all()}
    for position, entry in enumerate(departments):
        department = known.get(entry.slug)
        if department is None:
            department = Category.objects.create(name=entry.name, slug=entry.slug, position=position)
            known[entry.slug] = department
        if entry.banner and not (department.banner and default_storage.exists(department.banner.name)):
            data = pictures.get(entry.banner.source, entry.banner.file)
            if data is not None:
                department.banner.save(entry.banner.file, ContentFile(data))
        for child_position, child in enumerate(entry.children):
            if child.slug not in known:
                known[child.slug] = Category.objects.create(
                    name=child.name, slug=child.slug, parent=department, position=child_position
                )
    return known


def _translate(categories: dict[str, Category], known: dict[str, Product]) -> None:
    """Add missing German texts to existing rows."""
    texts = catalogue.german()
    for slug, category in categories.items():
        if not category.name_de and slug in texts["categories"]:
            category.name_de = texts["categories"][slug]
            category.save(update_fields=["name_de"])
    for product in known.values():
        if not product.name_de and product.name in texts["products"]:
            product.name_de = texts["products"][product.name]["name"]
            product.description_de = texts["products"][product.name]["description"]
            product.save(update_fields=["name_de", "description_de"])


def _seed_samples(samples: tuple[CatalogueSample, ...], pictures: _Pictures) -> None:
    for sample in samples:
        if not default_storage.exists(sample.path) and (data := pictures.get(sample.source, sample.file)):
            part = BytesIO()
            Image.open(BytesIO(data)).convert("RGB").crop(sample.crop).save(part, "JPEG", quality=90)
            default_storage.save(sample.path, ContentFile(part.getvalue()))


def _seed_product(
    entry: CatalogueProduct,
    parent: Product | None,
    categories: dict[str, Category],
    known: dict[str, Product],
    pictures: _Pictures,
    report: SeedReport,
) -> Product | None:
    product = known.get(entry.slug)
    if product is not None:
        report.restored += _restore_files(product, entry, pictures)
        return product
    files = [(photo, pictures.get(entry.source, photo.file)) for photo in entry.photos]
    if any(data is None for _, data in files):
        return None
    german = catalogue.german()["products"].get(entry.name, {})
    product = Product.objects.create(
        name=entry.name,
        name_de=german.get("name", ""),
        description_de=german.get("description", ""),
        slug=entry.slug,
        category=categories[entry.category],
        parent=parent,
        price=entry.price,
        stock=entry.stock,
        colour=entry.colour,
        brand=entry.brand,
        description=entry.description,
    )
    for position, (photo, data) in enumerate(files):
        row = Photo(product=product, alt=photo.alt, focus=photo.focus, position=position)
        row.file.save(photo.file, ContentFile(data))
    known[entry.slug] = product
    report.created += 1
    return product


def _restore_files(product: Product, entry: CatalogueProduct, pictures: _Pictures) -> int:
    """Restore files that were deleted from the media folder while their rows still exist."""
    restored = 0
    for photo, wanted in zip(product.photos.all(), entry.photos, strict=False):
        if photo.alt == wanted.alt and not default_storage.exists(photo.file.name):
            data = pictures.get(entry.source, wanted.file)
            if data is not None:
                default_storage.save(photo.file.name, ContentFile(data))
                restored += 1
    return restored
