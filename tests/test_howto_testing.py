"""docs/howto-testing.md in a separate project: its settings, its test case and its tests with pytest pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import ROOT, append, start_project

MODELS = """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)

class Photo(models.Model):
    product = models.ForeignKey(Product, models.CASCADE, related_name="photos")
    file = models.ImageField()
"""
SIMILARITY = """
import imagesim
from shop.models import Product

@imagesim.register(Product)
class ProductItems(imagesim.Items[Product]):
    images = "photos__file"
"""
SETTINGS = """
INSTALLED_APPS += ["imagesim", "shop"]
MEDIA_ROOT = BASE_DIR / "media"
"""


def run(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"DJANGO_SETTINGS_MODULE": "settings_test", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(200)
def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "howto-testing.md").read_text()
    settings, case, conftest, test = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    start_project(tmp_path)
    append(tmp_path / "project" / "settings.py", SETTINGS)
    (tmp_path / "shop").mkdir()
    written = {"__init__.py": "", "models.py": MODELS, "similarity.py": SIMILARITY, "tests.py": case}
    for name, text in written.items():
        (tmp_path / "shop" / name).write_text(text)
    (tmp_path / "settings_test.py").write_text(settings)
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_shop.py").write_text(f"import imagesim\n\n\n{test}")
    assert "Ran 2 tests" in run(tmp_path, "-W", "error", "manage.py", "test", "--settings", "settings_test", "shop")
    assert "1 passed" in run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")
