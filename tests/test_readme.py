"""The README's snippets are written into a new Django project, and run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.core.management import call_command

from imagesim.indexes.elasticsearch import ElasticsearchIndex
from tests.processes import running
from tools.system import locked

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CELERY = "docs/howto-celery.md"
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())

# The shop as it was before: what its developer had already written.
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
from django.core.management import call_command
call_command("makemigrations", "shop", verbosity=0)
call_command("migrate", verbosity=0)

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
import json, re
from django.contrib.staticfiles import finders
from django.test import Client
from shop.models import Product

client, first = Client(headers={"host": "localhost"}), Product.objects.get(slug="yellow-shoes")
page = client.get("/products/yellow-shoes/").content.decode()
assert "Gold shoes" in page and "€ 20.00" in page and "/api/visual/thumbnail/" in page, page
search = client.get("/search/").content.decode()
assert "<form" in search
for html in (page, search):
    (stylesheet,) = re.findall(r'<link rel="stylesheet" href="/static/([^"]+)">', html)
    assert finders.find(stylesheet), stylesheet
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


def snippets(language: str, file: str, page: str = "README.md") -> list[str]:
    """The blocks of a page in this language whose first line names this file."""
    blocks = BLOCK.findall((ROOT / page).read_text())
    return [text for name, text in blocks if name == language and file in text.partition("\n")[0]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of a shop with products, whose developer did what the README says; it is made once for all processes of a
    run."""
    made = Path(os.environ["IMAGESIM_TEST_SCRATCH"], "readme")
    with locked(made.with_suffix(".lock")):
        if not made.exists():
            make(made.with_suffix(".half")).rename(made)
    return Path(shutil.copytree(made, tmp_path / "shop"))


def make(folder: Path) -> Path:
    start_project(folder)
    (folder / "shop" / "templates" / "shop").mkdir(parents=True)
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "models.py").write_text(MODELS)
    (folder / "project" / "urls.py").write_text(URLS)
    append(folder / "project" / "settings.py", SETTINGS)
    manage(folder, "shell", "--command", SEED)

    append(folder / "project" / "settings.py", snippets("python", "settings.py")[0])
    append(folder / "shop" / "similarity.py", *snippets("python", "shop/similarity.py"))
    append(folder / "project" / "urls.py", *snippets("python", "urls.py"))
    for name in ("product", "search"):
        append(folder / "shop" / "templates" / "shop" / f"{name}.html", *snippets("django", f"{name}.html"))
    manage(folder, "shell", "--command", commands("python manage.py migrate"))
    return folder


def start_project(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    call_command("startproject", "project", folder)


def append(file: Path, *texts: str) -> None:
    file.write_text("\n".join([file.read_text() if file.exists() else "", *texts]))


def manage(folder: Path, *arguments: str, settings: str = "project.settings") -> str:
    command = [sys.executable, "manage.py", *arguments]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run(folder: Path, program: str, *arguments: str) -> str:
    command = [str(Path(sys.executable).parent / program), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = f"{folder}:{ROOT}"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commands(first: str) -> str:
    """Return a function that calls the commands of the shell block that begins with ``first``, one after the other: in
    a single process, because each loads the model."""
    (block,) = [text for language, text in BLOCKS if language == "shell" and text.startswith(first)]
    calls = [f"call_command(*{shlex.split(line)[2:]})\n" for line in block.splitlines()]
    return "from django.core.management import call_command\n" + "".join(calls)


@pytest.mark.timeout(400)
def test_pages_and_python_snippets(project: Path) -> None:
    (python,) = snippets("python", "anywhere")
    printed = manage(project, "shell", "--verbosity", "0", "--command", python + ASK).splitlines()
    assert len(printed) == 3
    assert "Gold shoes" in printed[0], "the nearest colour comes first"


@pytest.mark.timeout(400)
def test_elasticsearch_and_another_model(project: Path, elasticsearch_url: str) -> None:
    _, elasticsearch = snippets("python", "settings.py")
    (celery,) = snippets("python", "settings.py", CELERY)
    name = f"readme-{uuid.uuid4().hex[:8]}"
    elasticsearch = elasticsearch.replace("http://127.0.0.1:9200", elasticsearch_url).replace('"products"', repr(name))
    assert name in elasticsearch
    assert elasticsearch_url in elasticsearch
    for file in ("celery.py", "__init__.py"):
        append(project / "project" / file, *snippets("python", f"project/{file}", CELERY))
    append(project / "project" / "grown.py", "from project.settings import *", celery, elasticsearch)
    rebuild = "from django.core.management import call_command\ncall_command('imagesim_rebuild')\n"
    try:
        manage(project, "shell", "--command", rebuild + TASKS + ASK, settings="project.grown")
    finally:
        index = ElasticsearchIndex(hosts=[elasticsearch_url], name=name)
        for backing_index in index.backing_indexes():
            index.drop(backing_index)

    # Web servers and workers are started without DJANGO_SETTINGS_MODULE.
    gunicorn = re.search(r"`gunicorn ([^`]+)`", (ROOT / "README.md").read_text())
    assert gunicorn
    run(project, "gunicorn", "--check-config", *shlex.split(gunicorn[1]))

    # A different model, whose weights no test may download.
    howto = BLOCK.findall((ROOT / "docs" / "howto-embedder.md").read_text())
    (model,) = [text for _, text in howto if "marqo-fashionSigLIP" in text and "PREVIOUS_EMBEDDERS" in text]
    append(project / "project" / "other.py", "from project.grown import *", model)
    manage(project, "check", settings="project.other")


SAVE = """
import time
from imagesim.models import ItemState
from shop.models import Product

product = Product.objects.get(slug="yellow-shoes")
product.name = "Yellow shoes, new"
product.save()
state = ItemState.objects.filter(object_pk=product.pk, pending=False, synced_version__gt=0)
until = time.monotonic() + 60
while not state.exists():
    assert time.monotonic() < until, ItemState.objects.values()
    time.sleep(0.2)
"""


@pytest.mark.long
@pytest.mark.timeout(400)
def test_workers_of_the_celery_how_to(project: Path, redis_url: str, tmp_path: Path) -> None:
    howto = BLOCK.findall((ROOT / CELERY).read_text())
    for language, text in howto:
        file = text.partition("\n")[0].removeprefix("# ")
        if language == "python":
            text = text.replace("redis://127.0.0.1:6379/0", redis_url)
            append(project / "project" / file.removeprefix("project/"), text)
    with ExitStack() as stack:
        (commands,) = [text for language, text in howto if language == "shell" and "celery --app" in text]
        for number, line in enumerate(commands.splitlines()):
            program, *arguments = shlex.split(line)
            command = ["env", "-u", "DJANGO_SETTINGS_MODULE", Path(sys.executable).parent / program, *arguments]
            stack.enter_context(running(command, log=tmp_path / f"log-{number}", cwd=project))
        manage(project, "shell", "--command", SAVE)


def test_the_commands_it_names_exist() -> None:
    shell = "".join(text for language, text in BLOCKS if language == "shell")
    targets = re.findall(r"make (\w+)", (ROOT / "README.md").read_text())
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr
    project = (ROOT / "pyproject.toml").read_text()
    extras_named = re.findall(r"path/to/clone\[([\w,]+)\]", shell)
    assert extras_named
    for extras in extras_named:
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_links_have_targets() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
