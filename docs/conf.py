"""The documentation site: `make docs` builds it in build/docs, and fails at any warning."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import django

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_shop.settings")
django.setup()

import imagesim  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "imagesim"
author = "imagesim contributors"
version = release = imagesim.__version__
root_doc = "README"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "imagesim"
html_copy_source = False
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

# Files of the repository that are pages of the site; links to others become their names.
PAGES = {
    "../README.md": "site/introduction.md",
    "../CHANGELOG.md": "site/changelog.md",
    "../SECURITY.md": "site/reporting.md",
}
SOURCE_FILE = re.compile(r"\[([^\]]+)\]\((?!https?:|docs/|#)[^)]+\)")


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    for path, page in PAGES.items():
        source[0] = source[0].replace(f"]({path}", f"]({page}")
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", source[0])
    if name == root_doc:
        source[0] += "".join(_contents(source[0]))


def _contents(text: str) -> list[str]:
    """A table of contents for each section of the first page: the pages that it links to."""
    parts = {"imagesim": ["site/introduction"]}
    for section in text.split("\n## ")[1:]:
        parts[section.partition("\n")[0]] = re.findall(r"\]\(([\w/-]+)\.md\)", section)
    parts["Project"] = ["site/changelog", "site/reporting"]
    return [
        "\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}", "", *dict.fromkeys(pages), "```\n"])
        for caption, pages in parts.items()
    ]


def read_included(app: Sphinx, path: Path, name: str, source: list[str]) -> None:
    source[0] = SOURCE_FILE.sub(r"\1", source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
