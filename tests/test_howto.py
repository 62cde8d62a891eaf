"""The how-to pages: every block is valid Python, and the examples run."""

from __future__ import annotations

import ast
import re
import sys
import types
import uuid
from pathlib import Path

import pytest

from imagesim.conf import Backend, get_instance, load_class
from imagesim.embedders import BaseEmbedder
from imagesim.exceptions import ConfigurationError, EmbedderError
from imagesim.indexes import BaseIndex
from imagesim.testing.embedder_contract import EmbedderContract
from imagesim.testing.index_reading import ReadingContract

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(DOCS.glob("howto-*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    return BLOCK.findall((DOCS / page).read_text())


def module(name: str, page: str, start: str) -> types.ModuleType:
    """Return a module made from the block of the page that starts with this text."""
    (code,) = [block for block in blocks(page) if block.startswith(start)]
    made = types.ModuleType(name)
    sys.modules[name] = made
    exec(compile(code, page, "exec"), made.__dict__)
    return made


embedders = module("howto_embedders", "howto-embedder.md", "import numpy")
indexes = module("howto_indexes", "howto-index.md", "import logging")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_python(page):
    for code in blocks(page.name):
        ast.parse(code)


class TestEmbedderOfThePage(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> BaseEmbedder:
        return get_instance(Backend("howto_embedders.ColourEmbedder", {"steps": 6}), BaseEmbedder)

    def test_it_rejects_unknown_options(self, embedder):
        with pytest.raises(EmbedderError):
            embedder.embed_texts(["red"])
        with pytest.raises(ConfigurationError, match="ColourEmbedder does not know the option 'step'"):
            get_instance(Backend("howto_embedders.ColourEmbedder", {"step": 6}), BaseEmbedder)


@pytest.mark.django_db
class TestIndexOfThePage(ReadingContract):
    """The parts of the contract that it overrides; the rest is that of the local index, see ``test_index_local.py``."""

    approximate = False

    @pytest.fixture
    def make_index(self):
        name = f"howto-{uuid.uuid4().hex[:8]}"
        return lambda: load_class(Backend("howto_indexes.LoggingIndex"), BaseIndex)(name=name, slow_ms=0.0)
