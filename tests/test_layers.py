"""``lint-imports`` checks which modules import which; the tests here check that no module escapes it."""

from __future__ import annotations

from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).resolve().parent.parent


def test_every_module_has_a_layer():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [each["layers"] for each in config["contracts"] if each["type"] == "layers"]
    named = {name.strip() for layer in layers for name in layer.split(":")}
    package = ROOT / "imagesim"
    modules = {f"imagesim.{path.stem}" for path in package.glob("*.py") if path.stem != "__init__"}
    packages = {f"imagesim.{path.parent.name}" for path in package.glob("*/__init__.py")}
    expected = (modules | packages) - {"imagesim.migrations"}
    assert expected == named, sorted(expected ^ named)
