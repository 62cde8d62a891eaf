"""The page about marketplaces: its blocks are written into a project with listings, which is then queried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_howto_project import DOCS, TABLES, block, start_shop
from tests.test_readme import manage

PAGE = "howto-marketplace.md"

MODELS = """
from django.conf import settings
from django.db import models
from django.utils import timezone

class Category(models.Model):
    slug = models.SlugField(unique=True)

class Seller(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True)
    banned = models.BooleanField(default=False)

class Block(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="blocks")
    seller = models.ForeignKey(Seller, models.CASCADE)

class Listing(models.Model):
    title = models.CharField(max_length=100)
    seller = models.ForeignKey(Seller, models.CASCADE)
    category = models.ForeignKey(Category, models.PROTECT)
    brand = models.CharField(max_length=80, blank=True)
    price = models.DecimalField(max_digits=9, decimal_places=2, default=10)
    status = models.CharField(max_length=10, default="draft")
    listed_at = models.DateTimeField(default=timezone.now)

    @property
    def is_listed(self):
        return self.status == "listed"

    @property
    def title_de(self):
        return self.title

    title_fr = title_de

    def __str__(self):
        return self.title

class Photo(models.Model):
    listing = models.ForeignKey(Listing, models.CASCADE, related_name="photos")
    file = models.ImageField()

class SavedSearch(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    photo = models.FileField(blank=True)
    text = models.CharField(max_length=100, blank=True)
    checked_at = models.DateTimeField(default=timezone.now)
    told = models.ManyToManyField(Listing)
"""
SEED = """
from django.core.management import call_command
call_command("check", fail_level="WARNING")

from types import SimpleNamespace
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Template
import imagesim
from imagesim.indexing.sync import sync
from imagesim.models import ItemImage
from imagesim.testing import picture_file
from shop.models import Category, Listing, Photo, SavedSearch, Seller

users = [User.objects.create_user(name) for name in ("anna", "ben", "carl", "visitor")]
anna, ben, carl = [Seller.objects.create(user=user) for user in users[:3]]
visitor = users[3]
shirts = Category.objects.create(slug="shirts")

def offer(title, seller, colour, status="listed", brand=""):
    made = Listing.objects.create(title=title, seller=seller, category=shirts, status=status, brand=brand)
    Photo.objects.create(listing=made, file=picture_file(colour, name=f"{colour}.png"))
    return made

red = offer("Hemd", anna, "red", brand="Acme")
tomato = offer("Hemd von Ben", ben, "tomato", brand="Acme")
dark = offer("Hemd von Carl", carl, "darkred")
blue = offer("robe", ben, "blue")
draft = offer("draft", anna, "red", status="draft")
assert sync().failed == 0
assert not ItemImage.objects.filter(state__object_pk=draft.pk).exists()

def names(hits):
    return {hit.item.title for hit in hits}
"""
STATES = """
everything = {"Hemd von Ben", "Hemd von Carl", "robe"}
assert names(imagesim.similar_to(red)) == everything
assert names(imagesim.search(text="Hemden")) >= {"Hemd", "Hemd von Ben", "Hemd von Carl"}
for status in ("reserved", "sold", "removed", "draft"):
    Listing.objects.filter(pk=tomato.pk).update(status=status)
    assert names(imagesim.similar_to(red)) == everything - {"Hemd von Ben"}, status
    assert not names(imagesim.search(text="Ben")) & {"Hemd von Ben"}
Listing.objects.filter(pk=tomato.pk).update(status="sold")
tomato.refresh_from_db()
assert "Hemd" in names(imagesim.similar_to(tomato)), "the page of what was sold"
ben.banned = True
ben.save()
assert names(imagesim.similar_to(red)) == {"Hemd von Carl"}
assert sync().removed == 2
"""
SELLERS = """
from shop.visitors import blocked, visitor_arguments
def shown(tag):
    context = {"listing": red, "unwanted": [ben.pk], "request": SimpleNamespace(META={}, GET={})}
    return Template("{% load imagesim %}" + tag).render(Context(context))
more, similar = TAGS.strip().splitlines()
another = offer("another", anna, "orange")
sync()
html = shown(more)
assert "another" in html and "Carl" not in html, html
html = shown(similar)
assert "Carl" in html and "Ben" not in html, html
visitor.blocks.create(seller=carl)
asked = visitor_arguments(SimpleNamespace(user=visitor), {"filters": {"seller__not_in": [str(anna.pk)]}})
assert names(imagesim.similar_to(red, **asked)) == {"Hemd von Ben", "robe"}
asked = visitor_arguments(SimpleNamespace(user=AnonymousUser()), {})
assert "Hemd von Carl" in names(imagesim.similar_to(red, **asked))
"""
LISTING = """
from shop.listing import duplicates, suggestions
photo = picture_file("tomato", name="stolen.png")
assert names(duplicates(draft, photo)) >= {"Hemd von Ben"}
assert "Hemd" not in names(duplicates(draft, picture_file("red", name="own.png")))
found = suggestions(picture_file("red", name="own.png"), "category_id", "brand", "pk")
assert found["category_id"] == (shirts.pk, 1.0), found
assert found["brand"][0] == "Acme", found
"""
ALERTS = """
from shop.alerts import alerts
words = SavedSearch.objects.create(user=visitor, text="Hemd")
photo = SavedSearch.objects.create(user=visitor, photo=picture_file("blue", name="wanted.png"))
told = {saved.pk: {item.title for item in new} for saved, new in alerts()}
assert "Hemd" in told[words.pk] and "draft" not in told[words.pk], told
assert list(alerts()) == [], "nobody is told twice"
draft.status, draft.title = "listed", "Hemd, neu"
draft.save()
sync()
assert {saved.pk: [item.title for item in new] for saved, new in alerts()}[words.pk] == ["Hemd, neu"]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    start_shop(folder, MODELS, block(PAGE, "# settings.py"))
    for name in ("similarity", "visitors", "listing", "alerts"):
        (folder / "shop" / f"{name}.py").write_text(block(PAGE, f"# shop/{name}.py"))
    manage(folder, "shell", "--command", TABLES)
    return folder


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("question", [STATES, SELLERS, LISTING, ALERTS], ids=["states", "sellers", "listing", "alerts"])
def test_the_page(project: Path, question: str) -> None:
    kept = (project / "db.sqlite3").read_bytes()
    tags = f"TAGS = {block(PAGE, 'More from this seller')!r}\n"
    try:
        manage(project, "shell", "--command", SEED + tags + question)
    finally:
        (project / "db.sqlite3").write_bytes(kept)


def test_the_blocks_say_where_they_are() -> None:
    files = re.findall(r"^```python\n# (\S+)$", (DOCS / PAGE).read_text(), re.MULTILINE)
    assert files == [
        *("shop/similarity.py", "shop/visitors.py", "settings.py", "shop/listing.py", "shop/alerts.py"),
    ]
