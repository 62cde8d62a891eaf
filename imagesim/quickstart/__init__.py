"""``python -m imagesim.quickstart [app.Model] [--write]``: generate the declarations for a project from its models.

Run it in the folder of ``manage.py``. It prints the lines; with ``--write`` it creates ``similarity.py`` and adds to
the settings.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tokenize
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imagesim.quickstart.recognition import (
    CATEGORY,
    OTHER,
    SOLD,
    STOCK,
    category_of,
    category_parent_of,
    fields_of,
    filters_of,
    images_of,
    prices_of,
    product_of,
    shown_of,
    texts_of,
)

SQLITE = {
    "timeout": 20,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
"""docs/installation.md explains these options."""
PAGE = """# the template of its page
{% load imagesim static %}
<link rel="stylesheet" href="{% static 'imagesim/imagesim.css' %}">
{% similar_products ITEM %}

# the template of a page for searches
{% load imagesim static %}
<link rel="stylesheet" href="{% static 'imagesim/imagesim.css' %}">
{% image_search %}

# urls.py: small pictures and the answers to searches, with the extra "rest" (from django.urls import include, path);
# in i18n_patterns, if the URLs of your pages begin with their language
path("api/visual/", include("imagesim.rest.urls")),

Then:
  python manage.py migrate
  python manage.py check
  python manage.py imagesim_sync"""


def price_method(field: Any, name: str, item: str) -> list[str]:
    """Return the lines of a method for an item called ``name`` that makes cards show its price, a field of ``item``."""
    value = f"{item}.{field.name}"
    if type(field).__name__ == "MoneyField":  # of django-money, whose values have a currency
        shown, hint = f"str({value})", ""
    else:
        shown, hint = f"number_format({value}, {getattr(field, 'decimal_places', 2)})", "  # add your currency"
    if field.null:
        shown = f'"" if {value} is None else {shown}'
    return ["", f"def get_details(self, {name}):", f'    return {{"price": {shown}}}{hint}']


def declaration(model: Any, product: Any = None) -> list[str]:
    """Return the lines of an ``Items`` class for the model, with what ``product``, its relation to another one, leads
    to."""
    from django.db import models

    fields = fields_of(model)
    category, above = category_of(model), category_parent_of(model)
    filters, texts, shown = filters_of(model), texts_of(model), shown_of(model)
    item = priced = str(model._meta.model_name)
    prices = prices_of(model)
    own = (field for field in fields if field.many_to_one and field.related_model is model)
    parent = next((field for field in own if not OTHER.search(field.name)), None)
    if product is not None:
        parent, behind, prefix = product, product.related_model, f"{product.name}__"
        if not category and (its := category_of(behind)):
            category = prefix + its
            above = prefix + upper if (upper := category_parent_of(behind)) else ""
        filters |= {name: prefix + path for name, path in filters_of(behind).items() if name not in filters}
        texts |= {prefix + path: weight for path, weight in texts_of(behind).items()}
        shown |= {prefix + path: condition for path, condition in shown_of(behind).items()}
        if not prices:
            prices, priced = prices_of(behind), f"{item}.{product.name}"
    pictures = [path for path in images_of(model) if path.count("__") < 2]
    lines = [f'images = "{next(images_of(model))}"']
    if len(pictures) > 1:
        lines.append(f"# To index the pictures of several fields, list them: images = {json.dumps(pictures)}")
    if category:
        lines.append(f'category = "{category}"')
    if above:
        lines.append(f'category_parent = "{above}"  # fallback=True then also finds what is in subcategories')
    simple: Any = (models.BooleanField, models.IntegerField, models.DecimalField, models.FloatField)
    if stock := next((f.name for f in fields if isinstance(f, simple) and STOCK.search(f.name)), ""):
        lines.append(f'in_stock = "{stock}"')
    if parent:
        lines.append(f'group = "{parent.attname}"  # variants of one product share it: one hit per group')
    if filters:
        lines.append(f"filters = {json.dumps(filters)}")
    if currency := next((f.name for f in fields if f.name in {f"{price.name}_currency" for price in prices}), ""):
        lines.append(f'# If there are prices in several currencies, add a filter "currency": "{currency}".')
    if texts:
        lines.append(f"text = {json.dumps(texts)}")
    if len(prices) > 1:
        named = ", ".join(field.name for field in prices)
        lines.append(f"# Return the price that cards show from get_details(): it can be any of {named}.")
    missing = [name for name, found in (("category", category), ("filters", filters), ("text", texts)) if not found]
    if missing:
        named = ", ".join(field.name for field in fields)
        lines.append(f"# Not recognised: {', '.join(missing)}. Declare them if there are any; the fields are {named}.")
    for path in [path for path, condition in shown.items() if not condition]:
        advice = "override should_index(), or get_hit_queryset() for a time, if drafts must not be"
        lines.append(f"# Everything can be found, whatever {path!r} is: {advice}.")
        del shown[path]
    if shown:
        if product is not None:
            lines.append(f"depends_on = {json.dumps(list(shown))}  # what should_index() reads")
        condition = " and ".join(
            condition.format(f"{item}.{path.replace('__', '.')}") for path, condition in shown.items()
        )
        lines += ["", f"def should_index(self, {item}):", f"    return {condition}"]
    return lines + (price_method(prices[0], item, priced) if len(prices) == 1 else [])


def choose(label: str) -> Any:
    """Return the named model, or the one that is most likely the shop's product."""
    from django.apps import apps

    if label:
        if label.count(".") != 1:
            raise SystemExit(
                f"There is no model {label!r}: write the label of its app and its name, as in shop.Product."
            )
        try:
            model = apps.get_model(label)
        except LookupError as error:
            raise SystemExit(f"There is no model {label!r}: {error}") from error
        if next(images_of(model), None) is None:
            raise SystemExit(
                f"{label} has no pictures that can be recognised by its fields: write its similarity.py yourself."
            )
        return model
    found: dict[Any, int] = {}
    for model in apps.get_models():
        if next(images_of(model), None) and not model.__module__.startswith(("django.", "imagesim.")):
            lines = [line for line in declaration(model) if not line.startswith("#")]
            # The pictures of a category can be those of its products.
            likely = bool(SOLD.search(model.__name__)) - bool(CATEGORY.search(model.__name__))
            found[model] = 2 * likely + len(lines)
    if not found:
        raise SystemExit(
            "No model with pictures was found: name yours, as in python -m imagesim.quickstart shop.Product"
        )
    chosen = max(found, key=lambda model: found[model])
    # With multi-table inheritance, the parent has the items of all its children.
    parents = [each for each in chosen._meta.get_parent_list() if each in found and SOLD.search(each.__name__)]
    return parents[-1] if parents else chosen


def similarity(model: Any) -> str:
    """Return the text of ``similarity.py``."""
    body = "\n".join(f"    {line}" if line else "" for line in declaration(model, product_of(model)))
    name = model.__name__
    formats = "from django.utils.formats import number_format\n" if "number_format(" in body else ""
    return (
        f"import imagesim\n{formats}\nfrom {model.__module__} import {name}\n\n\n"
        f"@imagesim.register({name})\nclass {name}Items(imagesim.Items[{name}]):\n{body}\n"
    )


def settings_of(model: Any) -> dict[str, str]:
    """Return the lines for the settings of the project, by the setting that they change."""
    from django.apps import apps
    from django.db import connections, router

    found = {}
    # Without Django REST framework there is no API, but everything else works.
    needed = [name for name in ("imagesim", "rest_framework") if not apps.is_installed(name) and find_spec(name)]
    if needed:
        found["INSTALLED_APPS"] = f"INSTALLED_APPS = [*INSTALLED_APPS, {', '.join(map(json.dumps, needed))}]\n"
    alias = router.db_for_write(model)  # changes are recorded where the items are
    options = connections[alias].settings_dict["OPTIONS"]
    if connections[alias].vendor == "sqlite" and "transaction_mode" not in options:
        place = f'DATABASES[{json.dumps(alias)}]["OPTIONS"]'
        lines = [f"**{place},"] if options else []
        lines += [f"{json.dumps(name)}: {json.dumps(value)}," for name, value in SQLITE.items() if name not in options]
        found["DATABASES"] = "\n    ".join([f"{place} = {{", *lines]) + "\n}\n"
    return found


def source_of(module: Path) -> str:
    """Return the text of a Python module, read in the encoding in which Python reads it."""
    with tokenize.open(module) as opened:
        return opened.read()


def can_add(settings: Path, names: Iterable[str]) -> bool:
    """Return whether lines added at the end of the settings module can change the settings called ``names``."""
    if settings.suffix != ".py" or not os.access(settings, os.W_OK):
        return False
    text = source_of(settings)
    return all(re.search(rf"^({name}\b|from \S+ import .*(\*|\b{name}\b))", text, re.M) for name in names)


def set_up() -> None:
    """Set up Django, with the settings that ``manage.py`` of this folder names unless the environment does."""
    sys.path.insert(0, os.getcwd())
    manage = Path("manage.py")
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        named = re.search(r"DJANGO_SETTINGS_MODULE\W+([\w.]+)", source_of(manage)) if manage.is_file() else None
        if named is None:
            raise SystemExit("Run it in the folder of your project's manage.py, or set DJANGO_SETTINGS_MODULE.")
        os.environ["DJANGO_SETTINGS_MODULE"] = named[1]
    import django

    django.setup()


def put(file: Path, text: str, *, write: bool, unable: str) -> None:
    """Add the text to the file; or print it, if nothing is to be written, or if it is ``unable`` to be, for that
    reason."""
    if not write or unable:
        print(f"# {os.path.relpath(file)}{f' ({unable})' if write else ''}\n{text.lstrip()}")
        return
    with file.open("a", encoding="utf-8") as opened:
        opened.write(text)
    print(f"wrote {os.path.relpath(file)}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m imagesim.quickstart", description=__doc__)
    parser.add_argument("model", nargs="?", default="", help="app.Model (default: the likeliest one)")
    parser.add_argument("--write", action="store_true", help="create similarity.py, and add to the settings")
    given = parser.parse_args(arguments)
    set_up()
    from django.apps import apps
    from django.conf import settings

    model = choose(given.model)
    module = import_module(settings.SETTINGS_MODULE)
    app = Path(apps.get_app_config(model._meta.app_label).path)
    installed = bool({"site-packages", "dist-packages"} & set(app.parts))  # somebody else's, such as Oscar's
    similar = app / "similarity.py"
    added, file = settings_of(model), Path(str(module.__file__))
    unable = "" if can_add(file, added) else "add them yourself: it is not clear where they are set"
    if added:
        put(file, "\n" + "\n".join(added.values()), write=given.write, unable=unable)
    if installed:
        print(f"# similarity.py for your own app: {model._meta.label} is in an installed one\n{similarity(model)}")
    else:
        unable = "it exists: left as it is" if similar.exists() else ""
        put(similar, similarity(model), write=given.write, unable=unable)
    print(PAGE.replace("ITEM", model._meta.model_name))
