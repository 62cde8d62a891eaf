"""``python -m imagesim.quickstart`` in projects created with ``startproject``: the generated code passes ``check`` and
finds items."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import BLOCK, MODELS, ROOT, SEED, SETTINGS, URLS, append, manage, start_project

CHECK = """
from django.core.management import call_command
call_command("check", fail_level="INFO", tags=["imagesim"])
"""
ASK = (
    CHECK
    + """
from imagesim.checks.deployment import check_sqlite
assert check_sqlite() == []
call_command("imagesim_sync")
import imagesim
from shop.models import Product
hits = imagesim.similar_to(Product.objects.get(slug="yellow-shoes"), limit=2, filters={"price__lte": 50})
assert hits[0].item.slug == "gold-shoes", hits
from django.test import Client
product, search = (Client(headers={"host": "localhost"}).get(url) for url in ("/products/yellow-shoes/", "/search/"))
assert '<p class="imagesim-hit__price" data-imagesim-slot="price">20.00</p>' in product.content.decode()
assert b"<form" in search.content
"""
)
MIGRATE = """
from django.core.management import call_command
call_command("makemigrations", "shop", verbosity=0)
"""

ALONE = """
from django.db import models

class Collection(models.Model):
    title = models.CharField(max_length=100)

class Lamp(models.Model):
    title = models.CharField(max_length=100)
    image = models.ImageField(upload_to="lamps/")
    manual = models.FileField(upload_to="manuals/")
    collections = models.ManyToManyField(Collection)
    quantity = models.PositiveIntegerField(default=1)
    sale_price = models.DecimalField(max_digits=8, decimal_places=2)
    colour = models.CharField(max_length=20)
    is_published = models.BooleanField(default=True)

class Banner(models.Model):
    image = models.ImageField()
"""

AUCTIONS = """
from django.db import models

class Category(models.Model):
    slug = models.SlugField()
    name = models.CharField(max_length=80)
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE)

class Lot(models.Model):
    title = models.CharField(max_length=120)
    category = models.ForeignKey(Category, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField(default=1)
    main_picture = models.ForeignKey("Picture", null=True, on_delete=models.SET_NULL, related_name="+")

class AuctionLot(Lot):
    price = models.DecimalField(max_digits=9, decimal_places=2)

class Picture(models.Model):
    lot = models.ForeignKey(Lot, on_delete=models.CASCADE, related_name="pictures")
    file = models.ImageField()
"""

GERMAN = """
from django.db import models

class Rubrik(models.Model):
    titel = models.CharField(max_length=100)

class Artikel(models.Model):
    bezeichnung = models.CharField(max_length=100)
    rubrik = models.ForeignKey(Rubrik, on_delete=models.CASCADE)
    bild = models.ImageField(upload_to="bilder/")
"""

FEED = """
from django.db import models

class Article(models.Model):
    title = models.CharField(max_length=100)
    media_url = models.URLField()

class Link(models.Model):
    article = models.ForeignKey(Article, models.CASCADE, related_name="links")
    page = models.URLField()
    img_url = models.URLField()

class Offer(models.Model):
    title = models.CharField(max_length=100)
    image_url = models.URLField()

class OfferPhoto(models.Model):
    offer = models.ForeignKey(Offer, models.CASCADE, related_name="photos")
    file = models.ImageField()
"""

GENERIC = """
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models

class Attachment(models.Model):
    content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
    object_id = models.PositiveIntegerField()
    owner = GenericForeignKey()
    picture = models.ImageField()

class Poster(models.Model):
    name = models.CharField(max_length=80)
    description = models.TextField(blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    attachments = GenericRelation(Attachment)
"""

LIBRARY = """
import uuid
from django.db import models

class Maker(models.Model):
    title = models.CharField(max_length=80)

class Dept(models.Model):
    title = models.CharField(max_length=80)

class Media(models.Model):
    image = models.ImageField(upload_to="library/")

class Article(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    title = models.CharField(max_length=100)
    maker = models.ForeignKey(Maker, models.CASCADE)
    depts = models.ManyToManyField(Dept)
    qty_on_hand = models.IntegerField(default=0)

class ArticleMedia(models.Model):
    article = models.ForeignKey(Article, models.CASCADE, related_name="links")
    media = models.ForeignKey(Media, models.PROTECT)
"""

TRANSLATED = """
from django.db import models

class Brand(models.Model):
    slug = models.SlugField()
    name = models.CharField(max_length=80)
    name_de = models.CharField(max_length=80, null=True)
    name_pt_br = models.CharField(max_length=80, null=True)

class Vase(models.Model):
    image = models.ImageField(upload_to="vases/")
    brand = models.ForeignKey(Brand, models.CASCADE)

class VaseTranslation(models.Model):
    master = models.ForeignKey(Vase, models.CASCADE, related_name="translations")
    language_code = models.CharField(max_length=15)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)

class Comment(models.Model):
    vase = models.ForeignKey(Vase, models.CASCADE)
    title = models.CharField(max_length=100)
"""

COLUMNS = """
from django.db import models

class Brand(models.Model):
    name = models.CharField(max_length=80)

class Category(models.Model):
    slug = models.SlugField()
    slug_de = models.SlugField(null=True)
    slug_en = models.SlugField(null=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True)

class Vase(models.Model):
    image = models.ImageField(upload_to="vases/")
    brand = models.ForeignKey(Brand, models.CASCADE)
    category = models.ForeignKey(Category, models.CASCADE)
    colour = models.CharField(max_length=80)
    colour_de = models.CharField(max_length=80, null=True)
    colour_en = models.CharField(max_length=80, null=True)
"""

VARIANTS = """
from django.db import models

class Brand(models.Model):
    name = models.CharField(max_length=80)

class Department(models.Model):
    slug = models.SlugField()

class Article(models.Model):
    title = models.CharField(max_length=100)
    brand = models.ForeignKey(Brand, models.PROTECT)
    departments = models.ManyToManyField(Department)
    is_active = models.BooleanField(default=True)

class Variant(models.Model):
    article = models.ForeignKey(Article, models.CASCADE, related_name="variants")
    colour = models.CharField(max_length=40)
    price_currency = models.CharField(max_length=3)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.PositiveIntegerField()
    is_active = models.BooleanField(default=True)

class AttributeValue(models.Model):
    variant = models.ForeignKey(Variant, models.CASCADE, related_name="attribute_values")
    value_image = models.ImageField(null=True)

class VariantPicture(models.Model):
    variant = models.ForeignKey(Variant, models.CASCADE, related_name="pictures")
    file = models.ImageField()
"""

PRICES = """
from django.db import models

class MoneyField(models.DecimalField):
    pass

class One(models.Model):
    image = models.ImageField()
    price = models.DecimalField(max_digits=8, decimal_places=0, null=True)
    cost_price = models.DecimalField(max_digits=8, decimal_places=2)

class Several(models.Model):
    image = models.ImageField()
    price = models.DecimalField(max_digits=8, decimal_places=2)
    sale_price = models.DecimalField(max_digits=8, decimal_places=2, null=True)

class Cents(models.Model):
    image = models.ImageField()
    price = models.IntegerField()

class Money(models.Model):
    image = models.ImageField()
    price = MoneyField(max_digits=8, decimal_places=2)
    price_currency = models.CharField(max_length=3)
"""

MARKET = """
from django.db import models

class Listing(models.Model):
    title = models.CharField(max_length=100)
    status = models.CharField(max_length=10, choices=[(each, each) for each in ("draft", "listed", "sold", "removed")])
    deleted_at = models.DateTimeField(null=True)
    is_hidden = models.BooleanField(default=False)

class Photo(models.Model):
    listing = models.ForeignKey(Listing, models.CASCADE, related_name="photos")
    file = models.ImageField()

class Piece(models.Model):
    class Status(models.IntegerChoices):
        DRAFT = 0
        PUBLISHED = 1
        ON_SALE = 2

    image = models.ImageField()
    status = models.IntegerField(choices=Status.choices)

class Work(models.Model):
    image = models.ImageField()
    state = models.CharField(max_length=10, choices=[("a", "Entwurf"), ("b", "Aktiv")])
    visibility = models.CharField(max_length=10)
"""


(OPTIONS,) = [text for _, text in BLOCK.findall((ROOT / "docs" / "installation.md").read_text()) if "PRAGMA" in text]


def make(folder: Path, models: str) -> None:
    start_project(folder)
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "models.py").write_text(models, "utf-8")
    without_pages = 'SILENCED_SYSTEM_CHECKS = ["imagesim.I002"]\n'
    append(folder / "project" / "settings.py", SETTINGS + without_pages)


def assert_written(folder: Path, models: str, *lines: str) -> None:
    """Make a shop with these models; what the quickstart writes for it must have each of the ``lines``."""
    make(folder, models)
    quickstart(folder, "--write")
    written = (folder / "shop" / "similarity.py").read_text()
    for line in lines:
        assert line in written


def quickstart(folder: Path, *arguments: str, good: bool = True) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", "imagesim.quickstart", *arguments]
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) is good, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_a_shop_with_photos_and_brands(tmp_path: Path) -> None:
    numbers = "    sku = models.CharField(max_length=20, blank=True)\n"
    numbers += "    manufacturer_number = models.CharField(max_length=20, blank=True)\n"
    numbers += "    number = models.IntegerField(null=True)\n"
    price = "    price = models.DecimalField"
    make(tmp_path, MODELS.replace(price, numbers + price, 1))
    printed = quickstart(tmp_path)
    assert not (tmp_path / "shop" / "similarity.py").exists(), "nothing is written unless asked for"
    assert 'images = "photos__file"' in printed
    quickstart(tmp_path, "--write")
    written = (tmp_path / "shop" / "similarity.py").read_text()
    for line in (
        "import imagesim\nfrom django.utils.formats import number_format\n\nfrom shop.models import Product\n",
        'images = "photos__file"',
        'category = "category__slug"',
        'in_stock = "stock"',
        'group = "parent_id"',
        'filters = {"brand": "brand__name", "colour": "colour", "price": "price"}',
        'text = {"name": 3, "sku": 3, "manufacturer_number": 3, "brand__name": 2}',
        "    def get_details(self, product):\n"
        '        return {"price": number_format(product.price, 2)}  # add your currency\n',
    ):
        assert line in written
    settings = (tmp_path / "project" / "settings.py").read_text()
    assert settings.endswith(f'\nINSTALLED_APPS = [*INSTALLED_APPS, "imagesim", "rest_framework"]\n\n{OPTIONS}')
    page, search, urls = re.findall(r"^# .*\n((?:.+\n)+)", printed[printed.index("# the template of its page") :], re.M)
    (tmp_path / "shop" / "templates" / "shop").mkdir(parents=True)
    (tmp_path / "shop" / "templates" / "shop" / "product.html").write_text(page)
    (tmp_path / "shop" / "templates" / "shop" / "search.html").write_text(search)
    (tmp_path / "project" / "urls.py").write_text(f"{URLS}from django.urls import include\nurlpatterns += [{urls}]\n")
    manage(tmp_path, "shell", "--command", SEED + ASK)
    assert (tmp_path / "project" / "settings.py").read_text() == settings, "what is set is not added again"
    assert "it exists: left as it is" in quickstart(tmp_path, "--write"), "what is there is not written again"
    assert (tmp_path / "shop" / "similarity.py").read_text() == written


@pytest.mark.long
def test_an_image_field_of_the_model_itself(tmp_path: Path) -> None:
    assert_written(
        tmp_path,
        ALONE,
        "@imagesim.register(Lamp)",
        'images = "image"',
        'category = "collections__title"',
        'in_stock = "quantity"',
        'filters = {"sale_price": "sale_price", "colour": "colour"}',
        "    def should_index(self, lamp):\n        return lamp.is_published\n",
    )
    manage(tmp_path, "shell", "--command", MIGRATE + CHECK)


@pytest.mark.long
def test_the_items_of_an_auction_are_its_lots_of_every_kind(tmp_path: Path) -> None:
    """Neither the categories, which lead to the pictures of the lots, nor only one kind of lots."""
    assert_written(
        tmp_path,
        AUCTIONS,
        "@imagesim.register(Lot)",
        'images = "pictures__file"',
        'category = "category__slug"',
        'in_stock = "quantity"',
        'text = {"title": 3, "category__name": 2}',
    )
    manage(tmp_path, "shell", "--command", MIGRATE + CHECK)


@pytest.mark.timeout(300)
@pytest.mark.long
def test_texts_in_several_languages(tmp_path: Path) -> None:
    """In a table of translations, as with django-parler, and in one column per language, as with
    django-modeltranslation."""
    brand = '"brand__name": 2, "brand__name_de": 2, "brand__name_pt_br": 2'
    make(tmp_path, TRANSLATED)
    texts = f'{{"translations__name": 3, {brand}, "translations__description": 1}}'
    assert f"text = {texts}" in quickstart(tmp_path), "Django's own list has a hundred languages"
    languages = 'LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("pt-br", "Português")]\n'
    append(tmp_path / "project" / "settings.py", languages)
    quickstart(tmp_path, "--write")
    names = ", ".join(f'"translations__name_{code}": 3' for code in ("en", "de", "pt_br"))
    assert f"text = {{{names}, {brand}, " in (tmp_path / "shop" / "similarity.py").read_text()
    manage(tmp_path, "shell", "--command", CHECK)


@pytest.mark.long
def test_categories_and_filters_in_several_languages(tmp_path: Path) -> None:
    """In a column for each, as with django-modeltranslation: the system checks accept what is proposed."""
    make(tmp_path, COLUMNS)
    languages = 'LANGUAGES = [("de", "Deutsch"), ("en", "English")]\nLANGUAGE_CODE = "en-gb"\n'
    append(tmp_path / "project" / "settings.py", languages)
    printed = quickstart(tmp_path, "--write")
    written = (tmp_path / "shop" / "similarity.py").read_text()
    assert 'category = "category__slug_en"\n' in written
    assert 'category_parent = "category__parent__slug_en"' in written
    assert 'filters = {"brand": "brand__name", "colour": "colour_en"}\n' in written
    assert "W033" not in printed + manage(tmp_path, "check")


def test_drafts_are_left_out(tmp_path: Path) -> None:
    """For instance in a marketplace, where a state field says what visitors may see."""
    shown = 'listing.status == "listed" and listing.deleted_at is None and not listing.is_hidden'
    assert_written(tmp_path, MARKET, f"    def should_index(self, listing):\n        return {shown}\n")
    manage(tmp_path, "shell", "--command", MIGRATE + CHECK)
    assert "        return piece.status in (1, 2)\n" in quickstart(tmp_path, "shop.Piece")
    unknown = quickstart(tmp_path, "shop.Work")
    for name in ("state", "visibility"):
        assert f"    # Everything can be found, whatever {name!r} is: override should_index(), or" in unknown
    assert "def should_index" not in unknown


def test_dates_that_may_hide_an_item_are_named(tmp_path: Path) -> None:
    names = ["created_at", "published_from", "release_year", "publish_date", "ends_at", "updated_on"]
    dates = "".join(f"    {name} = models.DateTimeField(null=True)\n" for name in names)
    make(tmp_path, ALONE.replace("    is_published", dates + "    is_published"))
    printed = quickstart(tmp_path, "shop.Lamp")
    named = [name for name in names if f"    # Everything can be found, whatever {name!r} is: " in printed]
    assert named == ["published_from", "publish_date", "ends_at"]
    assert "        return lamp.is_published\n" in printed


@pytest.mark.parametrize(
    ("field", "path"),
    [("parent", "collections__parent__title"), pytest.param("replaced_by", "", marks=pytest.mark.long)],
)
def test_a_tree_of_categories(field: str, path: str, tmp_path: Path) -> None:
    tree = f'    {field} = models.ForeignKey("self", models.CASCADE, null=True)\n\nclass Lamp'
    make(tmp_path, ALONE.replace("\nclass Lamp", tree))
    printed = quickstart(tmp_path, "shop.Lamp")
    assert 'category = "collections__title"' in printed
    assert f'category_parent = "{path}"' in printed if path else "category_parent" not in printed
    quickstart(tmp_path, "shop.Lamp", "--write")
    manage(tmp_path, "check")


@pytest.mark.long
def test_the_price_of_a_card(tmp_path: Path) -> None:
    """Neither what the shop pays, nor one of several prices, nor a whole number, which may be in cents."""
    make(tmp_path, PRICES)
    one = quickstart(tmp_path, "shop.One")
    assert 'filters = {"price": "price"}' in one
    assert 'return {"price": "" if one.price is None else number_format(one.price, 0)}  # add your currency\n' in one
    several = quickstart(tmp_path, "shop.Several")
    assert "# Return the price that cards show from get_details(): it can be any of price, sale_price.\n" in several
    for printed in (several, quickstart(tmp_path, "shop.Cents")):
        assert "def get_details" not in printed
        assert "number_format" not in printed
    money = quickstart(tmp_path, "shop.Money")
    assert 'return {"price": str(money.price)}\n' in money
    hint = '# If there are prices in several currencies, add a filter "currency": "price_currency".'
    assert f'filters = {{"price": "price"}}\n    {hint}\n' in money


@pytest.mark.parametrize(
    ("settings", "written"),
    [
        ('DATABASES["default"]["OPTIONS"] = {"timeout": 5}', '{\n    **DATABASES["default"]["OPTIONS"],\n    "tr'),
        ('DATABASES["default"]["OPTIONS"] = {"transaction_mode": "EXCLUSIVE"}', ""),
    ],
)
@pytest.mark.long
def test_options_of_the_database_stay(tmp_path: Path, settings: str, written: str) -> None:
    make(tmp_path, ALONE)
    append(tmp_path / "project" / "settings.py", settings + "\n")
    before = (tmp_path / "project" / "settings.py").read_text()
    quickstart(tmp_path, "--write")
    added = (tmp_path / "project" / "settings.py").read_text().removeprefix(before)
    assert written in added
    assert ("DATABASES" in added) is bool(written)
    manage(tmp_path, "check")


def test_settings_are_read_as_python_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system's own encoding is: on Windows, it is not UTF-8."""
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    make(tmp_path, ALONE.replace(" image =", " größe ="))
    for file in (tmp_path / "manage.py", tmp_path / "project" / "settings.py"):
        file.write_text(f"{file.read_text('utf-8')}# Größe: Ё\n", "utf-8")
    quickstart(tmp_path, "--write")
    assert 'images = "größe"' in (tmp_path / "shop" / "similarity.py").read_text("utf-8")
    assert '"imagesim"' in (tmp_path / "project" / "settings.py").read_text("utf-8")


@pytest.mark.long
def test_settings_that_are_not_in_their_module_are_printed(tmp_path: Path) -> None:
    """For instance with django-configurations and django-split-settings, where lines at the end of the module would
    fail."""
    make(tmp_path, ALONE)
    settings = tmp_path / "project" / "settings.py"
    settings.rename(tmp_path / "project" / "base.py")
    settings.write_text(
        "import project.base\nvars().update({k: v for k, v in vars(project.base).items() if k.isupper()})\n"
    )
    said = quickstart(tmp_path, "--write")
    place = os.path.join("project", "settings.py")
    assert f"# {place} (add them yourself: it is not clear where they are set)\nINSTALLED_APPS = [*INST" in said
    assert "INSTALLED_APPS" not in settings.read_text()
    settings.write_text("from project.base import *\n")
    assert f"wrote {place}\n" in quickstart(tmp_path, "--write")
    manage(tmp_path, "check")


def test_what_is_not_recognised_is_named(tmp_path: Path) -> None:
    """Such as names in other languages, without which words would be searched only in pictures."""
    make(tmp_path, GERMAN)
    printed = quickstart(tmp_path, "shop.Artikel")
    named = "# Not recognised: category, filters, text. Declare them if there are any; the fields are bezeichnung, "
    assert f"    {named}rubrik, bild.\n" in printed


@pytest.mark.long
def test_addresses_of_pictures(tmp_path: Path) -> None:
    make(tmp_path, FEED)
    assert 'images = "photos__file"' in quickstart(tmp_path, "shop.Offer"), "files come first"
    quickstart(tmp_path, "--write")
    assert 'images = "links__img_url"' in (tmp_path / "shop" / "similarity.py").read_text()
    append(tmp_path / "project" / "settings.py", 'IMAGESIM = {"REMOTE_IMAGE_HOSTS": ["cdn.example.com"]}\n')
    manage(tmp_path, "shell", "--command", MIGRATE + CHECK)


@pytest.mark.long
def test_pictures_in_a_library_of_media(tmp_path: Path) -> None:
    assert_written(
        tmp_path,
        LIBRARY,
        "@imagesim.register(Article)",
        'images = "links__media__image"',
        'category = "depts__title"',
        'in_stock = "qty_on_hand"',
        'filters = {"maker": "maker__title"}',
        'text = {"title": 3, "maker__title": 2, "depts__title": 2}',
    )
    manage(tmp_path, "shell", "--command", MIGRATE + CHECK)


def test_a_brand_in_a_column_is_searched_in(tmp_path: Path) -> None:
    designer = "    designer_label = models.CharField(max_length=80)\n"
    make(tmp_path, ALONE.replace("    is_published", designer + "    is_published"))
    assert 'text = {"title": 3, "designer_label": 2, "collections__title": 2}' in quickstart(tmp_path)


def test_further_pictures_are_named(tmp_path: Path) -> None:
    back = "    image_2 = models.ImageField(blank=True)\n"
    rows = "class Photo(models.Model):\n    lamp = models.ForeignKey(Lamp, models.CASCADE, related_name='photos')\n"
    make(
        tmp_path,
        ALONE.replace("    is_published", back + "    is_published") + rows + "    file = models.ImageField()\n",
    )
    printed = quickstart(tmp_path, "shop.Lamp")
    assert '    images = "image"\n    # To index the pictures of several fields, list them: ' in printed
    assert 'images = ["image", "image_2", "photos__file"]\n' in printed


def test_what_replaces_a_discontinued_product_is_no_variant_of_it(tmp_path: Path) -> None:
    successor = '    successor = models.ForeignKey("self", models.SET_NULL, null=True)\n'
    make(tmp_path, GERMAN.rstrip("\n") + "\n" + successor)
    assert "group" not in quickstart(tmp_path, "shop.Artikel")


@pytest.mark.long
def test_variants_with_pictures_of_their_own(tmp_path: Path) -> None:
    assert_written(
        tmp_path,
        VARIANTS,
        "@imagesim.register(Variant)",
        'images = "pictures__file"',
        'category = "article__departments__slug"',
        'in_stock = "stock"',
        'group = "article_id"',
        'filters = {"colour": "colour", "price": "price", "brand": "article__brand__name"}',
        'text = {"article__title": 3, "article__brand__name": 2}',
        'depends_on = ["is_active", "article__is_active"]',
        "        return variant.is_active and variant.article.is_active\n",
        "    def get_details(self, variant):\n"
        '        return {"price": number_format(variant.price, 2)}  # add your currency\n',
    )
    manage(tmp_path, "shell", "--command", MIGRATE + CHECK)


@pytest.mark.long
def test_pictures_that_belong_to_any_model(tmp_path: Path) -> None:
    assert_written(
        tmp_path,
        GENERIC,
        "@imagesim.register(Poster)",
        'images = "attachments__picture"',
        'filters = {"price": "price"}',
    )
    manage(tmp_path, "shell", "--command", MIGRATE + CHECK)


@pytest.mark.long
def test_no_suitable_model_is_reported(tmp_path: Path) -> None:
    assert "in the folder of your project's manage.py" in quickstart(tmp_path, good=False)
    make(tmp_path, "")
    assert "No model with pictures was found" in quickstart(tmp_path, good=False)
    (tmp_path / "shop" / "models.py").write_text(ALONE)
    assert "no model 'shop.Lmap'" in quickstart(tmp_path, "shop.Lmap", good=False)
    assert "no model 'Lamp': write the label of its app and its name, as in shop.Product" in quickstart(
        tmp_path, "Lamp", good=False
    )
    assert "shop.Collection has no pictures" in quickstart(tmp_path, "shop.Collection", good=False)


def test_nothing_is_written_into_an_installed_app(tmp_path: Path) -> None:
    make(tmp_path, ALONE)
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "shop").rename(tmp_path / "site-packages" / "shop")
    append(tmp_path / "project" / "settings.py", "import sys; sys.path.append(str(BASE_DIR / 'site-packages'))\n")
    said = quickstart(tmp_path, "--write")
    assert "# similarity.py for your own app: shop.Lamp is in an installed one\nimport imagesim" in said
    assert not (tmp_path / "site-packages" / "shop" / "similarity.py").exists()


@pytest.mark.long
def test_the_apps_of_a_project_may_be_a_tuple(tmp_path: Path) -> None:
    make(tmp_path, ALONE)
    append(tmp_path / "project" / "settings.py", "INSTALLED_APPS = tuple(INSTALLED_APPS)\n")
    quickstart(tmp_path, "--write")
    manage(tmp_path, "check")
