"""The code that docs/howto-pictures.md tells a shop to write, in projects with those packages (``python -m
tools.recipes``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_howto_project import SETTINGS, block
from tests.test_readme import append, manage

pytestmark = pytest.mark.timeout(300)
PAGE = "howto-pictures.md"
ASK = """
import imagesim
from django.core.management import call_command
from imagesim.indexing.sync import sync
from imagesim.items.registry import registry
from imagesim.testing import picture_file
from imagesim.pages.thumbnails import Pictures
from shop.models import *

call_command("migrate", verbosity=0)
call_command("check", "--tag", "imagesim", fail_level="WARNING")

def ask(make):
    red, tomato, blue = [make(picture_file(c, name=f"{c}-{n}.png")) for n, c in enumerate(["red", "red", "blue"])]
    report = sync()
    assert report.indexed == 3, report
    assert [hit.item for hit in imagesim.similar_to(red, min_relevance=0)] == [tomato, blue]
    return red
"""
WAGTAIL_APPS = [f"wagtail.{name}" for name in ("admin", "documents", "images", "search", "sites", "users")]
RECIPES = {
    "wagtail": (
        ["wagtail", *WAGTAIL_APPS, "modelcluster", "taggit"],
        """
class WagtailProduct(models.Model):
    photo = models.ForeignKey("wagtailimages.Image", models.PROTECT)
""",
        """
from wagtail.images.models import Image
from wagtail.models import Collection
if not Collection.objects.exists():
    Collection.add_root(name="Root")
red = ask(lambda file: WagtailProduct.objects.create(photo=Image.objects.create(title="t", file=file)))
items = registry.for_item(red)
assert "width-320" in items.get_thumbnail_url(red, "", 320)
red.photo.file = picture_file("blue", name="other.png")
red.photo.save()
assert sync().indexed == 1, "a picture replaced in the library is noticed"
""",
    ),
    "wagtail-pages": (
        ["wagtail", *WAGTAIL_APPS, "modelcluster", "taggit"],
        """
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from modelcluster.fields import ParentalKey
from wagtail.models import Orderable, Page, PageViewRestriction

class ProductPage(Page):
    pass

class GalleryImage(Orderable):
    page = ParentalKey(ProductPage, on_delete=models.CASCADE, related_name="gallery")
    image = models.ForeignKey("wagtailimages.Image", models.PROTECT)
""",
        """
from wagtail.images.models import Image
from wagtail.models import Collection, Locale
if not Collection.objects.exists():
    Collection.add_root(name="Root")
root = Page.objects.get(depth=1)
def make(file):
    image = Image.objects.create(title="t", file=file)
    return root.add_child(instance=ProductPage(title=file.name, gallery=[GalleryImage(image=image)]))
red = ask(make)
found = lambda: [hit.item for hit in imagesim.similar_to(red, min_relevance=0)]
tomato, blue = found()
assert "width-320" in registry.for_item(red).get_thumbnail_url(red, "", 320)
red.create_alias(update_slug="alias")
blue.title = "draft"
blue.save_revision()
sync()
assert found() == [tomato, blue] and found()[1].title != "draft", "an alias and a draft are no hits"
german = Locale.objects.create(language_code="de")
translation = tomato.copy_for_translation(german, copy_parents=True)
translation.title = "Tomaten"
translation.save_revision().publish()
sync()
assert found() == [tomato, blue], "a translation is the same product"
ask_in = lambda code, text: [h.item for h in imagesim.search(text=text, filters={"language": code}, min_relevance=0.4)]
assert ask_in("de", "Tomate") == [translation] and ask_in("en", "Tomate") == [], "by the stem of its own language"
restriction = PageViewRestriction.objects.create(page=tomato, restriction_type="login")
assert found() == [blue]
assert sync().removed == 1
restriction.delete()
assert sync().indexed, "public again"
assert found() == [tomato, blue]
blue.unpublish()
assert found() == [tomato]
""",
    ),
    "filer": (
        ["easy_thumbnails", "filer"],
        """
from filer.fields.image import FilerImageField

class FilerProduct(models.Model):
    photo = FilerImageField(on_delete=models.PROTECT)
""",
        """
from filer.models import Image
red = ask(lambda file: FilerProduct.objects.create(photo=Image.objects.create(original_filename=file.name, file=file)))
red.photo.file = picture_file("blue", name="other.png")
red.photo.save()
assert sync().indexed == 1, "a picture replaced in the library is noticed"
""",
    ),
    "easy-thumbnails": (
        ["easy_thumbnails"],
        """
from easy_thumbnails.fields import ThumbnailerImageField

class ThumbnailProduct(models.Model):
    photo = ThumbnailerImageField(upload_to="products/")
""",
        """
from django.template import Context, Template
red = ask(lambda file: ThumbnailProduct.objects.create(photo=file))
url = Template("{% load imagesim %}{% thumbnail product '' 320 %}").render(Context({"product": red}))
assert "320x0" in url, url
""",
    ),
    "imagekit": (
        ["imagekit"],
        """
from imagekit.models import ImageSpecField
from imagekit.processors import ResizeToFit

class SpecProduct(models.Model):
    photo = models.ImageField(upload_to="products/")
    small = ImageSpecField(source="photo", processors=[ResizeToFit(320)])
""",
        """
red = ask(lambda file: SpecProduct.objects.create(photo=file))
assert "/CACHE/" in Pictures(registry.for_item(red), red, red.photo.name).url(320)
assert red.small.storage.exists(red.small.name)
""",
    ),
    "versatileimagefield": (
        ["versatileimagefield"],
        """
from versatileimagefield.fields import VersatileImageField

class VersatileProduct(models.Model):
    photo = VersatileImageField(upload_to="products/")
""",
        """
red = ask(lambda file: VersatileProduct.objects.create(photo=file))
assert "thumbnail-320x320" in Pictures(registry.for_item(red), red, red.photo.name).url(320)
red.photo = picture_file("blue", name="other.png")
red.save()
assert sync().indexed == 1, "a replaced picture is noticed"
""",
    ),
}
TAGGED = """
from taggit.managers import TaggableManager

class Product(models.Model):
    photo = models.ImageField(upload_to="products/")
    tags = TaggableManager()

class Shoe(Product):
    pass
"""
TAGS = """
red = ask(lambda file: Product.objects.create(photo=file))
other = Product.objects.exclude(pk=red.pk).last()
red.tags.add("wool")
assert sync().indexed == 1
assert [hit.item for hit in imagesim.similar_to(other, filters={"tag": "wool"}, min_relevance=0)] == [red]
tag = red.tags.get()
tag.name = "silk"
tag.save()
assert sync().indexed == 1, "a tag renamed is noticed"

from django.db.models import prefetch_related_objects
from imagesim.items.paths import read
shoe = Shoe.objects.create(photo=red.photo)
shoe.tags.add("leather")
prefetch_related_objects([red, shoe], *registry.for_model(Product).relations_read[1])
assert [list(read(each, "tags__name")) for each in (red, shoe)] == [["silk"], ["leather"]], "of items of several types"
"""
S3 = """
import os
os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
from moto import mock_aws
with mock_aws():
    import boto3
    bucket = boto3.client("s3", region_name="eu-central-1")
    bucket.create_bucket(Bucket="shop", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    red = ask(lambda file: Product.objects.create(photo=file))
    keys = {each["Key"] for each in bucket.list_objects_v2(Bucket="shop")["Contents"]}
    assert red.photo.name in keys, keys
    from imagesim.pages.thumbnails import _stored
    assert _stored(red.photo, 320)
    assert any("thumbnails" in each["Key"] for each in bucket.list_objects_v2(Bucket="shop")["Contents"])
"""
GCS = """
import os
from gcp_storage_emulator.server import create_server
server = create_server("localhost", 0, in_memory=True, default_bucket="shop")
server.start()
try:
    port = server._api._httpd.socket.getsockname()[1]
    os.environ["STORAGE_EMULATOR_HOST"] = f"http://localhost:{port}"
    from google.cloud import storage
    keys = lambda: {each.name for each in storage.Client(project="shop").list_blobs("shop")}
    red = ask(lambda file: Product.objects.create(photo=file))
    assert red.photo.name in keys(), keys()
    assert red.photo.url.endswith("/shop/" + red.photo.name), red.photo.url
    from imagesim.pages.thumbnails import _stored
    assert _stored(red.photo, 320)
    assert any("thumbnails" in key for key in keys())
finally:
    server.stop()
"""


def project(folder: Path, apps: list[str], models: str, similarity: str) -> None:
    subprocess.run([sys.executable, "-m", "django", "startproject", "project", folder], check=True)
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "models.py").write_text(f"from django.db import models\n{models}")
    own = f"INSTALLED_APPS += {apps!r}\nWAGTAIL_SITE_NAME, WAGTAILADMIN_BASE_URL = 'shop', 'https://shop.example'\n"
    append(folder / "project" / "settings.py", SETTINGS + own)
    (folder / "shop" / "similarity.py").write_text(f"import imagesim\nfrom shop.models import *\n{similarity}")
    manage(folder, "makemigrations", "shop")


@pytest.mark.parametrize("name", RECIPES)
def test_pictures_of(tmp_path: Path, name: str) -> None:
    apps, models, question = RECIPES[name]
    items = {
        "wagtail": "WagtailItems",
        "wagtail-pages": "PageItems",
        "filer": "FilerItems",
        "easy-thumbnails": "ThumbnailItems",
        "imagekit": "SpecItems",
        "versatileimagefield": "VersatileItems",
    }[name]
    project(tmp_path, apps, models, block(PAGE, f"class {items}"))
    manage(tmp_path, "shell", "--command", ASK + question)


@pytest.mark.parametrize(("backend", "question"), [("S3Storage", S3), ("GoogleCloudStorage", GCS)])
def test_object_storage(tmp_path: Path, backend: str, question: str) -> None:
    models = "class Product(models.Model):\n    photo = models.ImageField(upload_to='products/')\n"
    items = "@imagesim.register(Product)\nclass Items(imagesim.Items[Product]):\n    images = 'photo'\n"
    project(tmp_path, [], models, items)
    default = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    append(tmp_path / "project" / "settings.py", f"STORAGES = {default!r}\n{block(PAGE, backend)}")
    manage(tmp_path, "shell", "--command", ASK + question)


def test_tags(tmp_path: Path) -> None:
    """With django-taggit, which Wagtail includes: a relation that is not made by a Django field."""
    declared = "images = 'photo'\n    filters = {'tag': 'tags__name'}\n    text = {}\n"
    items = f"@imagesim.register(Product)\nclass Items(imagesim.Items[Product]):\n    {declared}"
    project(tmp_path, ["taggit"], TAGGED, items)
    manage(tmp_path, "shell", "--command", ASK + TAGS)
