"""The message catalogues are complete: every message is translated, and the compiled files are up to date. Styles suit
both writing directions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from gettext import GNUTranslations
from pathlib import Path

import django
import pytest
from django.apps import apps
from django.utils.translation import override, pgettext

from tests.missing import missing

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = {"imagesim": ["de", "es", "fr", "it", "nl", "pl", "pt"], "demo_shop/shop": ["de"]}
CATALOGUES = [(package, language) for package, languages in LANGUAGES.items() for language in languages]


def catalogue(language: str) -> Path:
    return Path("locale") / language / "LC_MESSAGES" / "django.po"


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A copy of each package, with its catalogues brought up to date with its messages."""
    if not shutil.which("xgettext"):
        missing("gettext is not installed (on Debian: apt-get install gettext)")
    return {package: _extract(package, tmp_path_factory.mktemp("locale")) for package in LANGUAGES}


def _extract(package: str, folder: Path) -> Path:
    copy = folder / Path(package).name
    shutil.copytree(ROOT / package, copy, ignore=shutil.ignore_patterns("__pycache__", "assets", "*.mo"))
    make = [sys.executable, "-m", "django", "makemessages", "--all", "--no-location"]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONSAFEPATH"] = "1"  # otherwise runpy imports the package's types in place of its own, from 3.12 on
    done = subprocess.run(make, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return copy


def test_every_language_is_checked() -> None:
    for package, languages in LANGUAGES.items():
        assert sorted(path.name for path in (ROOT / package / "locale").iterdir()) == languages


@pytest.mark.parametrize("kind", ["untranslated", "only-fuzzy", "only-obsolete"])
@pytest.mark.parametrize(("package", "language"), CATALOGUES)
def test_no_message_is_left(extracted: dict[str, Path], package: str, language: str, kind: str) -> None:
    merged = extracted[package] / catalogue(language)
    found = subprocess.run(["msgattrib", f"--{kind}", str(merged)], capture_output=True, text=True, check=True)
    messages = [line for line in found.stdout.splitlines() if line.lstrip("#~ ").startswith('msgid "')]
    assert messages in ([], ['msgid ""']), found.stdout


@pytest.mark.parametrize("language", LANGUAGES["imagesim"])
def test_choices_of_a_field_read_differently(language: str) -> None:
    """An index on standby must not be "waiting", like a job that has not begun, in any language."""
    labels = [app.label for app in apps.get_app_configs() if app.name.partition(".")[0] == "imagesim"]
    fields = [
        field for label in labels for model in apps.get_app_config(label).get_models() for field in model._meta.fields
    ]
    with override(language):
        for field in fields:
            words = [str(word) for _value, word in field.choices or ()]
            assert len(words) == len(set(words)), (field, words)


QUOTES = {"de": "„“", "es": "«»", "fr": "«»", "it": "«»", "nl": "‘’", "pl": "„”", "pt": "«»"}


def messages(root: Path, language: str) -> dict[str, str]:
    with (root / catalogue(language)).with_suffix(".mo").open("rb") as compiled:
        found: dict[str, str] = GNUTranslations(compiled)._catalog  # type: ignore[attr-defined]
    return {source: text for source, text in found.items() if source}


def translations(package: str, language: str) -> list[str]:
    return list(messages(ROOT / package, language).values())


@pytest.mark.parametrize(("package", "language"), CATALOGUES)
def test_quotes_are_those_of_the_language(package: str, language: str) -> None:
    """Messages in Spanish must not have the quotes of English. A closing ’ may be an apostrophe."""
    used = set(re.findall("[„“”«»‘]", "".join(translations(package, language))))
    assert used <= set(QUOTES[language])


@pytest.mark.parametrize("language", LANGUAGES["imagesim"])
def test_a_message_of_django_is_translated_as_there(language: str) -> None:
    """All apps share one catalogue: Django's own pages would say what ours say. A message that means something else has
    a context."""
    django_root = Path(django.__file__).parent
    own = messages(ROOT / "imagesim", language)
    for root in (django_root / "conf", *(path.parent for path in django_root.glob("contrib/*/locale"))):
        theirs = messages(root, language)
        assert {source: text for source, text in own.items() if theirs.get(source, text) != text} == {}, root.name


def test_no_line_begins_with_a_french_punctuation_mark() -> None:
    """Punctuation with a space before it in French needs one that does not break."""
    assert [text for text in translations("imagesim", "fr") if re.search(" (?:[:;?!»]|%%)|« ", text)] == []


@pytest.mark.parametrize("language", ["es", "it", "pl"])
def test_what_is_over_has_its_gender(language: str) -> None:
    """An experiment must not be over in the gender of a rule: "finalizada"."""
    with override(language):
        assert pgettext("experiment", "over") != pgettext("rule", "over")


@pytest.mark.parametrize(("package", "language"), CATALOGUES)
def test_the_compiled_catalogue_is_that_of_the_source(package: str, language: str, tmp_path: Path) -> None:
    if not shutil.which("msgfmt"):
        missing("gettext is not installed (on Debian: apt-get install gettext)")
    source = ROOT / package / catalogue(language)
    compiled = tmp_path / "django.mo"
    subprocess.run(["msgfmt", "--check", "--output-file", str(compiled), str(source)], check=True)
    with compiled.open("rb") as fresh, source.with_suffix(".mo").open("rb") as shipped:
        left, right = GNUTranslations(fresh)._catalog, GNUTranslations(shipped)._catalog  # type: ignore[attr-defined]
    assert {key: value for key, value in left.items() if key} == {key: value for key, value in right.items() if key}


@pytest.mark.parametrize("package", LANGUAGES)
def test_styles_name_no_side_of_the_page(package: str) -> None:
    """Figures of the admin must not be beside their headings in Arabic. What is placed over a photo has sides of its
    own."""
    sided = re.compile(r"(?:text-align: |(?:margin|padding|border)-)(?:left|right)\b")
    found = {path.name: sided.findall(path.read_text()) for path in (ROOT / package).rglob("*.css")}
    assert found
    assert not any(found.values()), found
