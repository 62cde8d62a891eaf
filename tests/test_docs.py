"""The docs agree with the code."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.utils.module_loading import import_string

import imagesim
from imagesim import exceptions
from imagesim.conf import Backend, Settings
from imagesim.items import Items
from imagesim.templatetags import imagesim as tags

DOCS = Path(__file__).resolve().parent.parent / "docs"
COMMANDS = sorted(name for name in get_commands() if name.startswith("imagesim_"))


def read(page: str, heading: str = "") -> str:
    """Return a page, or the text below one of its headings."""
    text = (DOCS / page).read_text()
    if not heading:
        return text
    level = len(heading.partition(" ")[0])
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no section {heading!r}"
    return found[1]


def rows(page: str, heading: str = "") -> dict[str, list[str]]:
    """Return the rows of every table on a page or in a section, by each code in their first cell."""
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in map(str.lstrip, read(page, heading).splitlines())
        if line.startswith("| `")
    ]
    return {name: rest for first, *rest in cells for name in re.findall(r"`([^`]+)`", first)}


def unexplained(names: Iterable[str], page: str, heading: str = "") -> set[str]:
    """Return the names that do not occur in the code on a page or in a section."""
    blocks, text = [], read(page, heading)
    text = re.sub(r"^```.*?^```$", lambda block: blocks.append(block[0]) or "", text, flags=re.MULTILINE | re.DOTALL)
    code = " ".join([*blocks, *re.findall(r"`[^`]+`", text)])
    return set(names) - set(re.findall(r"\w+", code))


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


def test_every_scope_of_the_throttles_is_documented_with_its_default() -> None:
    said = {scope: cells[0].replace(" per minute", "/min") for scope, cells in rows("rest-api.md").items()}
    assert said.items() >= Settings().REST_THROTTLES.items()


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
        assert set(shown) == set(serializer().fields) - {"rules"}  # which only staff see


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


@pytest.mark.parametrize(
    "backend",
    [
        "imagesim.embedders.openclip.OpenClipEmbedder",
        "imagesim.embedders.http.HttpEmbedder",
        "imagesim.embedders.http.InferenceEmbedder",
        "imagesim.indexes.elasticsearch.ElasticsearchIndex",
        "imagesim.indexes.pgvector.PgvectorIndex",
    ],
)
def test_every_option_of_a_backend_is_documented_with_its_default(backend: str) -> None:
    documented = rows("settings.md", f"### Options of `{backend.rpartition('.')[2]}`")
    for option in inspect.signature(import_string(backend)).parameters.values():
        if option.kind is option.VAR_KEYWORD:
            continue
        assert option.name in documented, f"docs/settings.md does not explain {option}"
        if isinstance(option.default, int | float | str) and option.default:
            said = documented[option.name][0].replace(",", "").replace('"', "").strip("`").split()
            assert str(option.default).removesuffix(".0") in said, option


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_documented(name: str) -> None:
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    own = parser._actions[[action.dest for action in parser._actions].index("skip_checks") + 1 :]
    options = {action.option_strings[0] for action in own if action.option_strings} - {"--format"}
    named = set(re.findall(r"(?<=[ `(])--?[a-z][a-z-]*", read("commands.md", f"### `{name}`")))
    assert named == options
    choices = {choice for action in own if action.dest != "format" for choice in action.choices or ()}
    assert not unexplained(choices, "commands.md")


def test_every_template_tag_is_documented_with_its_arguments() -> None:
    for name in tags.register.tags:
        page, heading = (
            ("shop-the-look.md", "## The page") if name == "shop_the_look" else ("template-tags.md", f"## `{name}`")
        )
        arguments = set(inspect.signature(getattr(tags, name)).parameters) - {"context", "item", "arguments"}
        assert not unexplained(arguments, page, heading), name


def test_everything_to_declare_is_documented() -> None:
    names = [name for name in Items.__annotations__ if not name.startswith("_")]
    methods = [name for name in vars(Items) if name.startswith(("get_", "should_"))]
    assert not unexplained([*names, *methods], "howto-products.md", "## Attributes and methods")


def test_every_argument_of_a_search_is_documented() -> None:
    searches = (imagesim.similar_to, imagesim.search, imagesim.shop_the_look, imagesim.suggest)
    arguments = {name for search in searches for name in inspect.signature(search).parameters}
    assert arguments - {"item", "photo"} == set(rows("searching.md", "## Arguments")) & arguments


def test_every_extra_is_documented() -> None:
    project = (DOCS.parent / "pyproject.toml").read_text()
    (block,) = re.findall(r"^\[project.optional-dependencies\]\n(.*?)^\[", project, re.MULTILINE | re.DOTALL)
    extras = set(re.findall(r"^(\w+) = ", block, re.MULTILINE)) - {"demo"}
    assert extras == set(rows("installation.md", "## What to install"))


def test_every_metric_is_documented() -> None:
    package = DOCS.parent / "imagesim"
    code = "".join((package / name).read_text() for name in ("metrics.py", "monitoring/health.py"))
    assert set(re.findall(r'"(imagesim_\w+)"', code)) == {
        name.partition("{")[0] for name in rows("operations.md", "## Metrics") if name.startswith("imagesim_")
    }


def test_every_endpoint_and_parameter_is_documented(client, settings) -> None:
    settings.IMAGESIM = {"EVENTS": True}
    schema = client.get("/api/visual/schema/?format=json").json()
    endpoints = re.findall(r"^\| `(GET|POST) ([^`?]+)", read("rest-api.md", "## Endpoints"), re.MULTILINE)
    documented = {(method, re.sub(r"\{.*?\}", "{}", path)) for method, path in endpoints}
    found, named = {("GET", "schema/")}, set()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            short = re.sub(r"\{.*?\}", "{}", path.removeprefix("/api/visual/"))
            found.add((method.upper(), short))
            named |= {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
            for body in operation.get("requestBody", {}).get("content", {}).values():
                form = schema["components"]["schemas"].get(
                    body["schema"].get("$ref", "").rpartition("/")[2], body["schema"]
                )
                named |= set(form["properties"])
    assert documented == found
    filters = {name for name in named if name.partition("__")[0] in {"brand", "colour", "price"}}
    assert filters
    assert named - filters - {"events"} == set(rows("rest-api.md", "## Parameters")) - {"__in", "__not_in"}


def test_every_code_of_an_error_is_documented() -> None:
    from imagesim.rest import base

    kinds = list(base._STATUS)
    codes = {
        each.code for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, tuple(kinds))
    }
    assert not unexplained(codes - {"index"}, "rest-api.md", "## Errors")


def test_every_task_is_documented() -> None:
    modules = (DOCS.parent / "imagesim").rglob("tasks.py")
    tasks = {name for module in modules for name in re.findall(r'@shared_task\(name="([^"]+)"', module.read_text())}
    assert tasks == set(rows("howto-celery.md", "## The tasks"))


def test_the_reference_has_what_examples_import() -> None:
    examples = "".join(page.read_text() for page in DOCS.glob("*.md"))
    imported = {
        name
        for line in re.findall(r"^from imagesim[\w.]* import (.+)$", examples, re.MULTILINE)
        for name in line.split(", ")
    }
    reference = read("site/reference.md")
    known = set(re.findall(r"\w+", reference)) | {
        name for name in vars(exceptions) if "imagesim.exceptions" in reference
    }
    assert {*imported, *imagesim.__all__} <= known


def test_every_package_is_in_the_architecture() -> None:
    modules = {path.stem for path in (DOCS.parent / "imagesim").iterdir() if path.suffix == ".py" or path.is_dir()}
    data = {"assets", "locale", "migrations", "static", "templates"}
    known = {name for name in modules if not name.startswith("__")} - data
    assert not unexplained(known, "architecture.md", "## Packages")
