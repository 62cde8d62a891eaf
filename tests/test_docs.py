"""The docs agree with the code."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from imagesim.conf import Backend, Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"


def rows(page: str) -> dict[str, list[str]]:
    """The rows of every table on a page, by the code in their first cell."""
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in (DOCS / page).read_text().splitlines()
        if line.startswith("| `")
    ]
    return {first.split("`")[1]: rest for first, *rest in cells}


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_documented_with_its_default(field) -> None:
    documented = rows("settings.md")
    assert field.name in documented, f"docs/settings.md does not explain {field.name}"
    default = getattr(Settings(), field.name)
    said = documented[field.name][0]
    if isinstance(default, Backend):
        assert default.path in said
    else:
        assert eval(said.strip("`"), {}) == default


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {field.name for field in fields(Settings)}
    assert {name for name in rows("settings.md") if name.isupper()} <= known


def test_the_examples_of_rest_answers_have_every_field() -> None:
    from imagesim.rest import serializers

    examples = re.findall(r"```json\n(.+?)```", (DOCS / "rest-api.md").read_text(), re.DOTALL)
    hits, look = json.loads(examples[0]), json.loads(examples[1])
    (hit,) = hits["results"]
    (region,) = look["regions"]
    for shown, serializer in (
        (hits, serializers.HitsSerializer),
        (hit, serializers.HitSerializer),
        (hit["item"], serializers.ItemSerializer),
        (hit["image"], serializers.HitImageSerializer),
        (look, serializers.LookSerializer),
        (region, serializers.LookRegionSerializer),
    ):
        assert set(shown) == set(serializer().fields) - {"rules"}  # which staff alone see


def test_pictures_of_pages_are_shown_and_light() -> None:
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md"]
    shown = {name for page in pages for name in re.findall(r"images/([\w-]+\.(?:webp|svg))\)", page.read_text())}
    kept = {picture.name: picture.stat().st_size for picture in (DOCS / "images").iterdir()}
    assert kept.keys() == shown, "make pictures"
    assert max(kept.values()) < 80_000


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    for page in DOCS.glob("*.md"):
        name = str(page.relative_to(DOCS))
        assert name == "README.md" or f"({name})" in index, f"docs/README.md does not name {name}"
