"""The page about shops for companies: its blocks are written into a project with articles, which is then queried."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_howto_project import TABLES, block, start_shop
from tests.test_readme import manage

PAGE = "howto-wholesale.md"

MODELS = """
from django.conf import settings
from django.db import models
from django.urls import reverse

class Category(models.Model):
    slug = models.SlugField(unique=True)

class Company(models.Model):
    price_group = models.CharField(max_length=1)

class Member(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    company = models.ForeignKey(Company, models.CASCADE)

class Series(models.Model):
    pass

class Article(models.Model):
    number = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    maker_number = models.CharField(max_length=40, blank=True)
    ean = models.CharField(max_length=14, blank=True)
    description = models.TextField(blank=True)
    brand = models.CharField(max_length=40)
    category = models.ForeignKey(Category, models.PROTECT)
    series = models.ForeignKey(Series, models.CASCADE)
    companies = models.ManyToManyField(Company, related_name="articles")
    thread = models.CharField(max_length=10, blank=True)
    length = models.DecimalField(max_digits=7, decimal_places=2, null=True)
    discontinued = models.BooleanField(default=False)
    successor = models.ForeignKey("self", models.SET_NULL, null=True)
    picture = models.ImageField()

    @property
    def is_available(self):
        return any(stock.quantity > 0 for stock in self.stocks.all())

    def __str__(self):
        return self.name

    def get_absolute_url(self):
        return f"/a/{self.number}/"

class Price(models.Model):
    article = models.ForeignKey(Article, models.CASCADE, related_name="prices")
    price_group = models.CharField(max_length=1)
    amount = models.DecimalField(max_digits=9, decimal_places=2)

class Stock(models.Model):
    article = models.ForeignKey(Article, models.CASCADE, related_name="stocks")
    warehouse = models.CharField(max_length=10)
    quantity = models.IntegerField()
"""
TEMPLATES = {
    "search": "{% load imagesim %}{% refine refinement %}{{ error }}"
    "{% for hit in hits %}<i>{{ hit.item.name }}</i>{% endfor %}",
    "article": "{% load imagesim %}{{ article.name }}{% similar_products article company=company in_stock=True %}",
}
URLS = """
from django.urls import include, path
from shop import views

urlpatterns = [
    path("search/", views.search),
    path("a/<number>/", views.article),
    path("accounts/", include("django.contrib.auth.urls")),
]
"""
ASK = """
from decimal import Decimal
from django.core.management import call_command
call_command("check", fail_level="WARNING")

import re
from django.conf import settings
settings.ALLOWED_HOSTS = ["testserver"]
from django.contrib.auth.models import User
from django.test import Client
from imagesim.indexing.sync import sync
from imagesim.models import ItemState
from imagesim.testing import picture_file
from shop.importing import import_articles, import_prices
from shop.models import Article, Category, Company, Member, Price, Series, Stock

screws = Category.objects.create(slug="screws")
own, other = Company.objects.create(price_group="a"), Company.objects.create(price_group="b")
clients = []
for name, company in (("anna", own), ("ben", other)):
    user = User.objects.create_user(name)
    Member.objects.create(user=user, company=company)
    clients.append(Client())
    clients[-1].force_login(user)
anna, ben = clients
picture = picture_file("gray", name="screw.png")
series = Series.objects.create()
new = []
for number, (thread, length) in enumerate([("M8", 20), ("M8", 40), ("M10", 40)]):
    sizes = {"thread": thread, "length": length, "picture": picture}
    names = {"name": f"Hex screw {thread}x{length}", "maker_number": f"0 986 714 72{number}"}
    new.append(Article(number=f"00100{number}", brand="Acme", category=screws, series=series, **sizes, **names))
new[0].picture.save("screw.png", picture, save=False)
for each in new[1:]:
    each.picture = new[0].picture.name
import_articles(new, [], ["name"])
for each in new:
    each.companies.set([own, other] if each.thread == "M8" else [other])
    Price.objects.create(article=each, price_group="a", amount=10)
    Price.objects.create(article=each, price_group="b", amount=20)
    Stock.objects.create(article=each, warehouse="north", quantity=5 if each.length == 40 else 0)
report = sync()
assert (report.indexed, report.failed) == (3, 0), report

def shown(client, **query):
    answer = client.get("/search/", query)
    assert answer.status_code == 200, (query, answer)
    return re.findall("<i>(.*?)</i>", answer.content.decode()), answer.content.decode()

assert Client().get("/search/?q=screw").status_code == 302, "signed out"
assert sorted(shown(anna, q="screw")[0]) == ["Hex screw M8x20", "Hex screw M8x40"]
assert len(shown(ben, q="screw")[0]) == 3
names, page = shown(anna, q="screw")
assert "M10" not in page and "price_b" not in page and 'data-value="40"' in page, page
assert "M10" in shown(ben, q="screw")[1]
assert shown(anna, q="0986 714 721")[0] == ["Hex screw M8x40"]
assert shown(anna, q="0 986 714 722")[0] == [], "another company's"
assert shown(anna, q="0 986 714 729")[0] == []
assert anna.get("/search/", {"q": " 001001 "}).url == "/a/001001/"
assert shown(anna, q="screw", length__gte="30")[0] == ["Hex screw M8x40"]
assert shown(anna, q="screw", warehouse="north")[0] == ["Hex screw M8x40"]
assert shown(anna, q="screw", price_b__lt="25")[0] == names, "the price of others is no filter"
assert shown(anna, q="screw", price_a__lte="5")[0] == []
assert anna.get("/a/001002/").status_code == 404 and ben.get("/a/001002/").status_code == 200

import_prices({"001001": Decimal(4)}, "a")
assert ItemState.objects.filter(pending=True).count() == 1, "only what has changed"
sync()
assert shown(anna, q="screw", price_a__lte="5")[0] == ["Hex screw M8x40"]
new[1].name = "Hex bolt M8x40"
import_articles([], [new[1]], ["name"])
sync()
assert shown(anna, q="bolt")[0][0] == "Hex bolt M8x40"
new[1].discontinued = True
new[1].save()
assert shown(anna, q="screw M8")[0] == ["Hex screw M8x20"]
"""


@pytest.mark.long
@pytest.mark.timeout(200)
def test_the_page(tmp_path: Path) -> None:
    start_shop(tmp_path, MODELS, 'ROOT_URLCONF = "shop.urls"\n')
    for name in ("similarity", "views", "importing"):
        (tmp_path / "shop" / f"{name}.py").write_text(block(PAGE, f"# shop/{name}.py"))
    (tmp_path / "shop" / "urls.py").write_text(URLS)
    folder = tmp_path / "shop" / "templates" / "shop"
    folder.mkdir(parents=True)
    for name, source in TEMPLATES.items():
        (folder / f"{name}.html").write_text(source)
    manage(tmp_path, "shell", "--command", TABLES)
    manage(tmp_path, "shell", "--command", ASK)
