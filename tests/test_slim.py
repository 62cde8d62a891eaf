"""The cost of a page of similar products in modules and memory of a web process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesim.indexes.elasticsearch import ElasticsearchIndex

ROOT = Path(__file__).parent.parent
OWN_LIMIT = 11.0
"""Megabytes that no other process shares and that the page takes more with the app than without (NumPy alone: 5.8)."""
BEYOND_NUMPY_LIMIT = 7.5
"""Resident megabytes that the page takes more than one without the app that imports NumPy: 5.9 to 6.9 in two
environments with the same code and the same packages.

Beside NumPy, since how much of a library's file is resident depends on the kernel: the whole page took 15.8 MB from
libraries read from the disk and 21.2 from those just installed, which the kernel maps in larger pieces.
"""

MODELS = """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=40)
    picture = models.ImageField()
"""

SIMILARITY = """
import imagesim
from shop.models import Product

@imagesim.register(Product)
class ProductItems(imagesim.Items):
    images = "picture"
"""

URLS = """
from django.shortcuts import render
from django.urls import path
from shop.models import Product

def page(request):
    products = list(Product.objects.all()[:9])
    return render(request, "page.html", {"product": products[0], "products": products[1:]})

urlpatterns = [path("", page)]
"""

WITHOUT = "{% for each in products %}<a><img src='{{ each.picture.url }}'>{{ each.name }}</a>{% endfor %}"
WITH = "{% load imagesim %}{% similar_products product limit=8 min_relevance=0 %}"

# What a shop with workers and monitoring has in its web processes, with or without this app; and the client of its
# search engine, which alone takes 14 MB.
CHOSEN = """
import elasticsearch
import prometheus_client
from celery import Celery
app = Celery("shop")
app.autodiscover_tasks()
"""

SETTINGS = """
import json, os
SECRET_KEY = "x"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "shop", *json.loads(os.environ["MORE_APPS"])]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP"] + "/db.sqlite3"}}
MEDIA_ROOT = os.environ["SHOP"] + "/media"
MEDIA_URL = "media/"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
              "DIRS": [os.environ["SHOP"] + "/templates"]}]
IMAGESIM = {"SYNC": "manual", "INDEX": json.loads(os.environ["INDEX"])}
"""

FILL = """
import django; django.setup()
from io import BytesIO
from django.core.files.base import ContentFile
from django.core.management import call_command
from PIL import Image
call_command("migrate", run_syncdb=True, verbosity=0)
from shop.models import Product
for number in range(12):
    file = BytesIO()
    Image.new("RGB", (64, 64), (number * 20, 100, 255 - number * 20)).save(file, "PNG")
    Product.objects.create(name=f"p{number}", picture=ContentFile(file.getvalue(), f"{number}.png"))
from imagesim.indexing.sync import sync
report = sync()
assert report.indexed == 12, report
print("{}")
"""

SHOW = """
import django; django.setup()
import sys
from django.test import Client
for _ in range(3):
    answer = Client().get("/")
assert answer.status_code == 200 and answer.content.decode().count("<img") == 8, answer.content
import json, resource
resident, shared = map(int, open("/proc/self/statm").read().split()[1:3])
megabyte = 1e6 / resource.getpagesize()
own = (resident - shared) / megabyte
print(json.dumps({"resident": resident / megabyte, "own": own, "modules": sorted(sys.modules)}))
"""

HEAVY = {"torch", "torchvision", "open_clip", "transformers", "timm", "openvino"}


class Shop:
    """A small shop in a folder, whose page is requested in a separate process, with the app and without."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self._folder, self._index = folder, index
        (folder / "shop").mkdir()
        (folder / "templates").mkdir()
        files = {"__init__": CHOSEN, "models": MODELS, "similarity": SIMILARITY, "urls": URLS, "settings": SETTINGS}
        for name, text in files.items():
            (folder / "shop" / f"{name}.py").write_text(text)

    def run(self, code: str, *, app: bool = True) -> dict[str, Any]:
        """Run ``code`` in a separate process, with the app installed or without; return the JSON that it prints."""
        (self._folder / "templates" / "page.html").write_text(WITH if app else WITHOUT)
        environment = {
            # Without the variables that have child processes measured for coverage, which takes memory itself.
            **{name: value for name, value in os.environ.items() if not name.startswith("COV")},
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": f"{self._folder}:{ROOT}",
            "SHOP": str(self._folder),
            "MORE_APPS": json.dumps(["imagesim"] if app else []),
            "INDEX": json.dumps(self._index),
        }
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(params=["local", "elasticsearch"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "local":
        yield Shop(tmp_path, {"BACKEND": "imagesim.indexes.local.LocalIndex"})
        return
    hosts, name = [request.getfixturevalue("elasticsearch_url")], f"slim-{uuid.uuid4().hex[:8]}"
    options = {"hosts": hosts, "name": name}
    try:
        yield Shop(tmp_path, {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": options})
    finally:
        index = ElasticsearchIndex(hosts=hosts, name=name)
        for backing_index in index.backing_indexes():
            index.drop(backing_index)


@pytest.mark.long  # what is imported is tested daily: test_a_web_process_imports_no_unused_model_or_engine
def test_a_page_of_similar_products_costs_little(shop: Shop) -> None:
    shop.run(FILL)
    shop.run(SHOW)  # compiles what a fresh clone has not compiled yet, which takes memory too
    without, with_app = shop.run(SHOW, app=False), shop.run(SHOW)
    with_numpy = shop.run(f"import numpy\n{SHOW}", app=False)
    more = sorted(set(with_app["modules"]) - set(without["modules"]))
    assert not HEAVY.intersection(more)
    own = with_app["own"] - without["own"]
    beyond_numpy = with_app["resident"] - with_numpy["resident"]
    assert own <= OWN_LIMIT, sorted({name.partition(".")[0] for name in more})
    assert beyond_numpy <= BEYOND_NUMPY_LIMIT, sorted({name.partition(".")[0] for name in more})
