"""The message catalogues are complete: every message is translated, and the compiled files are up to date."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from gettext import GNUTranslations
from pathlib import Path

import pytest

from tests.missing import missing

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = Path("locale/de/LC_MESSAGES")


@pytest.fixture(scope="module", params=["imagesim", "demo_shop/shop"])
def package(request: pytest.FixtureRequest) -> Path:
    return ROOT / request.param


@pytest.fixture(scope="module")
def extracted(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The German catalogue of a copy of the package, brought up to date with its messages."""
    if not shutil.which("xgettext"):
        missing("gettext is not installed (on Debian: apt-get install gettext)")
    copy = tmp_path_factory.mktemp("locale") / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "assets", "*.mo"))
    make = [sys.executable, "-m", "django", "makemessages", "--locale", "de", "--no-location"]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONSAFEPATH"] = "1"  # else runpy imports the package's types in place of its own, from 3.12 on
    done = subprocess.run(make, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return copy / CATALOGUE / "django.po"


@pytest.mark.parametrize("kind", ["untranslated", "only-fuzzy", "only-obsolete"])
def test_every_message_is_translated(extracted: Path, kind: str) -> None:
    found = subprocess.run(["msgattrib", f"--{kind}", str(extracted)], capture_output=True, text=True, check=True)
    messages = [line for line in found.stdout.splitlines() if line.lstrip("#~ ").startswith('msgid "')]
    assert messages in ([], ['msgid ""']), found.stdout


def test_the_compiled_catalogue_is_up_to_date(package: Path, extracted: Path, tmp_path: Path) -> None:
    source = package / CATALOGUE / "django.po"
    compiled = tmp_path / "django.mo"
    subprocess.run(["msgfmt", "--check", "--output-file", str(compiled), str(source)], check=True)
    with compiled.open("rb") as fresh, source.with_suffix(".mo").open("rb") as shipped:
        left, right = GNUTranslations(fresh)._catalog, GNUTranslations(shipped)._catalog  # type: ignore[attr-defined]
    assert {key: value for key, value in left.items() if key} == {key: value for key, value in right.items() if key}
