"""The code that the how-to pages tell a shop to write is put into a Django project, checked, indexed and queried."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.test_readme import append, manage, start_project

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"^```(python|django)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# The shop that the pages describe.
MODELS = """
from django.contrib.sites.models import Site
from django.db import models

class Category(models.Model):
    slug = models.SlugField(unique=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True)

    def with_ancestors(self):
        return [self, *(self.parent.with_ancestors() if self.parent else [])]

class Brand(models.Model):
    name = models.CharField(max_length=100)

class Size(models.Model):
    label = models.CharField(max_length=10)

class Product(models.Model):
    name = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    description = models.TextField(blank=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)
    category = models.ForeignKey(Category, models.PROTECT)
    brand = models.ForeignKey(Brand, models.PROTECT)
    attributes = models.JSONField(default=dict)
    sizes = models.ManyToManyField(Size)
    sites = models.ManyToManyField(Site)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.PositiveIntegerField(default=1)
    active = models.BooleanField(default=True)
    archived = models.BooleanField(default=False)

    def __str__(self):
        return self.name

class Booking(models.Model):
    product = models.ForeignKey(Product, models.CASCADE, related_name="bookings")
    first = models.DateField()
    last = models.DateField()

class Photo(models.Model):
    product = models.ForeignKey(Product, models.CASCADE, related_name="photos")
    file = models.ImageField(upload_to="products/")
    kind = models.CharField(max_length=20, default="product")

class Gallery(models.Model):
    product = models.OneToOneField(Product, models.CASCADE, related_name="gallery")

class Picture(models.Model):
    gallery = models.ForeignKey(Gallery, models.CASCADE, related_name="pictures")
    file = models.ImageField(upload_to="gallery/")
    approved = models.BooleanField(default=True)
"""
SETTINGS = """
from imagesim.testing import SETTINGS

INSTALLED_APPS += ["django.contrib.sites", "imagesim", "shop"]
IMAGESIM = SETTINGS
MEDIA_ROOT = BASE_DIR / "media"
MEDIA_URL = "media/"
"""
TABLES = """
from django.core.management import call_command
call_command("makemigrations", "shop", verbosity=0)
call_command("migrate", verbosity=0)
"""
SEED = """
from django.core.management import call_command
call_command("check", fail_level="WARNING")

from django.contrib.sites.models import Site
from imagesim.testing import picture_file
from shop.models import Brand, Category, Gallery, Photo, Picture, Product, Size

coats = Category.objects.create(slug="coats", parent=Category.objects.create(slug="clothes"))
brand, small = Brand.objects.create(name="Acme"), Size.objects.create(label="S")
sites = [Site.objects.create(domain=f"{name}.example", name=name) for name in ("one", "two")]
colours = {"red": "red", "tomato": "red", "darkred": "red", "blue": "blue"}
for number, (colour, attribute) in enumerate(colours.items()):
    product = Product.objects.create(
        name=colour, slug=colour, category=coats, brand=brand, attributes={"colour": attribute}, price=20 + number,
        active=colour != "darkred",
    )
    product.sizes.add(small)
    product.sites.add(sites[number % 2])
    Photo.objects.create(product=product, file=picture_file(colour, name=f"{colour}.png"))
    Photo.objects.create(product=product, file=picture_file("white", name="size-chart.png"), kind="chart")
    gallery = Gallery.objects.create(product=product)
    Picture.objects.create(gallery=gallery, file=picture_file(colour, name=f"{colour}-2.png"))
    Picture.objects.create(gallery=gallery, file=picture_file("green", name="draft.png"), approved=False)
"""
ASK = """
import imagesim
from imagesim.indexing.sync import sync
from imagesim.models import ItemImage
from shop.models import Product

report = sync()
assert report.failed == 0, report
red = Product.objects.get(slug="red")
def names(**arguments):
    return [hit.item.name for hit in imagesim.similar_to(red, min_relevance=0, **arguments)]
"""
PRODUCTS = (
    ASK
    + """
assert names() == ["tomato", "blue"], "what is not active is not found"
assert names(filters={"colour": "blue"}) == ["blue"]
assert names(filters={"price__lt": 22}) == ["tomato"]
red.category.slug = "jackets"
red.category.save()
assert sync().indexed == 3, "a category renamed is noticed"
"""
)
PATHS_DO_NOT_REACH = (
    ASK
    + """
assert names(category="clothes") == ["tomato", "blue"], "an ancestor of the category"
assert names(filters={"sizes": "S"}) == ["tomato", "blue"]
assert {image.name.partition("/")[0] for image in ItemImage.objects.all()} == {"gallery"}
assert not ItemImage.objects.filter(name__contains="draft").exists()
"""
)
VARIANTS = (
    ASK
    + """
assert not ItemImage.objects.filter(name__contains="size-chart").exists()
"""
)
MARKED_BY_HAND = (
    ASK
    + """
from django.db.models import F
brand = red.brand
{snippet}
assert sync().indexed == 3
assert names(filters={{"price__gte": 46}}) == ["blue"]
"""
)
SITES = (
    ASK
    + """
from django.template import Context, Template
from types import SimpleNamespace
request = SimpleNamespace(site=SimpleNamespace(domain="one.example"), META={{}}, GET={{}})
html = Template("{{% load imagesim %}}" + {tag!r}).render(Context({{"product": red, "request": request}}))
assert "darkred" in html and "tomato" not in html, html
"""
)
FREE = (
    ASK
    + """
from types import SimpleNamespace
from django.conf import settings
from django.template import Context, Template
from shop.days import free, days_arguments
{setting}
assert IMAGESIM["REST_ARGUMENTS"] == ["shop.days.days_arguments"]
tomato = Product.objects.get(slug="tomato")
tomato.bookings.create(first="2027-03-07", last="2027-03-09")
blue = Product.objects.get(slug="blue")
blue.stock = 2
blue.save()
blue.bookings.create(first="2027-03-01", last="2027-03-31")
def asks(*days):
    return SimpleNamespace(session={{"days": days}} if days else {{}}, META={{}}, GET={{}})
request = asks("2027-03-05", "2027-03-07")
assert names(filters=free(request)) == ["darkred", "blue"], "one of two blue ones is free"
assert names(filters=free(asks("2027-03-04", "2027-03-06"))) == names(filters=free(asks())) == names()
assert names(**days_arguments(request, {{"filters": {{"price__gt": 22}}, "facets": ["price"]}})) == ["blue"]
html = Template("{{% load imagesim %}}" + {tag!r}).render(
    Context({{"product": red, "request": request, "free": free(request)}})
)
assert "blue" in html and "tomato" not in html, html
"""
)


def block(page: str, start: str) -> str:
    """Return the block of a page that contains ``start``."""
    found = [text for _language, text in BLOCK.findall((DOCS / page).read_text()) if start in text]
    assert len(found) == 1, f"{page}: {len(found)} blocks with {start!r}"
    return found[0]


def start_shop(folder: Path, models: str, *settings: str) -> None:
    """Start a project with an app ``shop``, with these models and further settings."""
    start_project(folder)
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "models.py").write_text(models)
    append(folder / "project" / "settings.py", SETTINGS, *settings)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("howto")
    start_shop(folder, MODELS)
    manage(folder, "shell", "--command", TABLES)
    (folder / "db.sqlite3").rename(folder / "empty.sqlite3")
    return folder


def ask(project: Path, similarity: str, question: str, admin: str = "") -> None:
    """Have the shop with that ``similarity.py`` answer, starting from an empty database."""
    head = "import imagesim\nfrom shop.models import Product\n"
    if "register" not in similarity:
        (name,) = re.findall(r"class (\w+)", similarity)
        similarity += f"\nimagesim.register(Product)({name})\n"
    (project / "shop" / "similarity.py").write_text(head + similarity)
    (project / "shop" / "admin.py").write_text(admin)
    shutil.copyfile(project / "empty.sqlite3", project / "db.sqlite3")
    manage(project, "shell", "--command", SEED + question)


@pytest.mark.timeout(200)
def test_fields_of_the_model(project: Path) -> None:
    ask(project, block("howto-products.md", "@imagesim.register(Product)"), PRODUCTS)


@pytest.mark.timeout(200)
def test_methods_for_what_a_path_cannot_express(project: Path) -> None:
    ask(project, block("howto-products.md", "class CoatItems"), PATHS_DO_NOT_REACH)


@pytest.mark.timeout(200)
def test_changes_without_a_signal(project: Path) -> None:
    registered = block("howto-products.md", "@imagesim.register(Product)")
    ask(
        project,
        registered,
        MARKED_BY_HAND.format(snippet=block("howto-products.md", "Product.objects.filter(brand=brand).update")),
    )


@pytest.mark.timeout(200)
def test_pictures_that_mislead_and_the_shops_own_list(project: Path) -> None:
    ask(project, block("howto-variants.md", "photo.kind"), VARIANTS, admin=block("howto-admin.md", "ItemStateMixin"))


@pytest.mark.timeout(200)
def test_sites_that_share_a_catalogue(project: Path) -> None:
    similarity = block("howto-tenants.md", '"sites__domain"')
    ask(project, similarity, SITES.format(tag=block("howto-tenants.md", "{% similar_products product site")))


@pytest.mark.timeout(200)
def test_what_is_free_on_some_days(project: Path) -> None:
    (project / "shop" / "days.py").write_text(block("howto-products.md", "def free(request)"))
    tag = "{% similar_products product filters=free %}"
    assert tag in (DOCS / "howto-products.md").read_text()
    setting = "IMAGESIM = settings.IMAGESIM\n" + block("howto-products.md", "REST_ARGUMENTS")
    ask(project, block("howto-products.md", "class RentedItems"), FREE.format(setting=setting, tag=tag))
