"""What the README tells a shop to write is written into a new Django project, and run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())

# The shop as it was before: what its developer had written already.
MODELS = """
from django.db import models

class Category(models.Model):
    slug = models.SlugField(unique=True)

class Brand(models.Model):
    name = models.CharField(max_length=100)

class Product(models.Model):
    name = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)
    category = models.ForeignKey(Category, models.PROTECT)
    brand = models.ForeignKey(Brand, models.PROTECT)
    colour = models.CharField(max_length=50)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.PositiveIntegerField(default=1)

    def __str__(self):
        return self.name

class Photo(models.Model):
    product = models.ForeignKey(Product, models.CASCADE, related_name="photos")
    file = models.ImageField(upload_to="products/")
"""
URLS = """
from django.shortcuts import get_object_or_404, render
from django.urls import path
from shop.models import Product

def product(request, slug):
    return render(request, "shop/product.html", {"product": get_object_or_404(Product, slug=slug)})

def search(request):
    return render(request, "shop/search.html")

urlpatterns = [path("products/<slug:slug>/", product), path("search/", search)]
"""
SETTINGS = """
INSTALLED_APPS.append("shop")
MEDIA_ROOT = BASE_DIR / "media"
MEDIA_URL = "media/"
"""
SEED = """
import io
from PIL import Image, ImageDraw
from django.core.files.base import ContentFile
from shop.models import Brand, Category, Photo, Product

category, brand = Category.objects.create(slug="shoes"), Brand.objects.create(name="Acme")
for number, colour in enumerate(["yellow", "gold", "red", "blue"]):
    product = Product.objects.create(
        name=f"{colour.title()} shoes", slug=f"{colour}-shoes", category=category, brand=brand, colour=colour, price=20
    )
    image, file = Image.new("RGB", (200, 200), "white"), io.BytesIO()
    ImageDraw.Draw(image).ellipse((20 + number, 60, 180, 140), fill=colour)
    image.save(file, "PNG")
    Photo(product=product).file.save(f"{colour}.png", ContentFile(file.getvalue()))
"""
ASK = """
import json
from django.test import Client
from shop.models import Product

client, first = Client(headers={"host": "localhost"}), Product.objects.get(slug="yellow-shoes")
page = client.get("/products/yellow-shoes/").content.decode()
assert "Gold shoes" in page and "/api/visual/thumbnail/" in page, page
assert "<form" in client.get("/search/").content.decode()
for url in (f"/api/visual/items/shop.product/{first.pk}/similar/", "/api/visual/search/?q=yellow shoes"):
    answer = client.get(url)
    assert answer.status_code == 200, answer.content
    assert "shoes" in json.dumps(answer.json()), answer.content
with first.photos.get().file.open() as photo:
    answer = client.post("/api/visual/search/", {"image": photo})
assert answer.status_code == 200, answer.content
"""


# Every task that the beat schedule names exists.
TASKS = """
from celery import current_app
from django.conf import settings

from imagesim.indexing.dispatch import mode
assert mode() == "celery", mode()
current_app.loader.import_default_modules()  # as a worker does
for entry in settings.CELERY_BEAT_SCHEDULE.values():
    assert entry["task"] in current_app.tasks, entry
"""
DROP = """
from imagesim.indexes import get_index

index = get_index()
for physical in index.backing_indexes():
    index.drop(physical)
"""


def snippets(language: str, file: str) -> list[str]:
    """The README's blocks in this language whose first line names this file."""
    return [text for name, text in BLOCKS if name == language and file in text.partition("\n")[0]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with products, whose developer then did what the README says."""
    folder = tmp_path_factory.mktemp("readme")
    subprocess.run([sys.executable, "-m", "django", "startproject", "site_", folder], check=True)
    (folder / "shop" / "templates" / "shop").mkdir(parents=True)
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "models.py").write_text(MODELS)
    (folder / "site_" / "urls.py").write_text(URLS)
    append(folder / "site_" / "settings.py", SETTINGS)
    manage(folder, "makemigrations", "shop")
    manage(folder, "migrate")
    manage(folder, "shell", "--command", SEED)

    append(folder / "site_" / "settings.py", snippets("python", "settings.py")[0])
    append(folder / "shop" / "similarity.py", *snippets("python", "shop/similarity.py"))
    append(folder / "site_" / "urls.py", *snippets("python", "urls.py"))
    for name in ("product", "search"):
        append(folder / "shop" / "templates" / "shop" / f"{name}.html", *snippets("django", f"{name}.html"))
    for arguments in commands("python manage.py migrate"):
        manage(folder, *arguments)
    return folder


def append(file: Path, *texts: str) -> None:
    file.write_text("\n".join([file.read_text() if file.exists() else "", *texts]))


def manage(folder: Path, *arguments: str, settings: str = "site_.settings") -> str:
    command = [sys.executable, "manage.py", *arguments]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commands(first: str) -> list[list[str]]:
    """The arguments of each ``manage.py`` line of the shell block that begins with ``first``."""
    (block,) = [text for language, text in BLOCKS if language == "shell" and text.startswith(first)]
    return [shlex.split(line)[2:] for line in block.splitlines()]


@pytest.mark.timeout(400)
def test_its_pages_and_its_python(project: Path) -> None:
    manage(project, "shell", "--command", ASK)
    (python,) = snippets("python", "anywhere")
    printed = manage(project, "shell", "--verbosity", "0", "--command", python).splitlines()
    assert len(printed) == 3
    assert "Gold shoes" in printed[0], "the nearest colour comes first"


@pytest.mark.timeout(400)
def test_when_the_shop_grows(project: Path, elasticsearch_url: str) -> None:
    _, celery, elasticsearch, model = snippets("python", "settings.py")
    name = f"readme-{uuid.uuid4().hex[:8]}"
    elasticsearch = elasticsearch.replace("http://127.0.0.1:9200", elasticsearch_url).replace('"products"', repr(name))
    assert name in elasticsearch
    assert elasticsearch_url in elasticsearch
    append(project / "site_" / "celery.py", *snippets("python", "site/celery.py"))
    append(project / "site_" / "grown.py", "import site_.celery", "from site_.settings import *", celery, elasticsearch)
    try:
        for arguments in commands("python manage.py imagesim_rebuild"):
            manage(project, *arguments, settings="site_.grown")
        manage(project, "shell", "--command", TASKS + ASK, settings="site_.grown")
    finally:
        manage(project, "shell", "--command", DROP, settings="site_.grown")

    # Another model, whose weights no test may download.
    append(project / "site_" / "other.py", "from site_.grown import *", model)
    manage(project, "check", settings="site_.other")


def test_the_commands_it_names_exist() -> None:
    shell = "".join(text for language, text in BLOCKS if language == "shell")
    targets = re.findall(r"make (\w+)", (ROOT / "README.md").read_text())
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr
    project = (ROOT / "pyproject.toml").read_text()
    for extras in re.findall(r"\.\[([\w,]+)\]", shell):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_its_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
