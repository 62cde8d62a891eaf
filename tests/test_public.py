"""What the package exports, and what its errors are."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

import imagesim
from imagesim.exceptions import ConfigurationError, ImagesimError

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", imagesim.__all__)
def test_every_name_can_be_used(name):
    assert getattr(imagesim, name) is not None


def test_names_in_the_docs_are_exported():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    used = {name for page in pages for name in re.findall(r"\bimagesim\.([A-Za-z_]+)\(", page.read_text())}
    assert {"similar_to", "search", "shop_the_look", "register", "touch"} <= used
    assert not {name for name in used if not hasattr(imagesim, name)}


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'similar'"):
        imagesim.similar  # noqa: B018


def test_configuration_errors_are_improperly_configured():
    assert issubclass(ConfigurationError, ImproperlyConfigured)
    assert issubclass(ConfigurationError, ImagesimError)


@pytest.mark.parametrize("name", ["similar_to", "search", "shop_the_look"])
def test_help_names_the_arguments_and_their_defaults(name):
    parameters = inspect.signature(getattr(imagesim, name)).parameters
    assert parameters["limit"].default == (8 if name == "shop_the_look" else 12)
    assert parameters["in_stock"].default is None
    assert "filters" in parameters
    assert "arguments" not in parameters


def test_completion_offers_the_names():
    """In a shell, not only the names that were used before must be offered."""
    assert set(imagesim.__all__) <= set(dir(imagesim))


def test_a_method_of_items_may_name_the_item_as_the_shop_does():
    """For some type checkers, ``def should_index(self, product)``, as in the documentation, would be an error."""
    of_the_item = [name for name in vars(imagesim.Items) if name.startswith("get_")] + ["should_index", "find_image"]
    for name in of_the_item:
        _self, *rest = inspect.signature(getattr(imagesim.Items, name)).parameters.values()
        assert not rest or rest[0].kind is inspect.Parameter.POSITIONAL_ONLY, name
