"""Recognise what the fields of a model are by their names and types, for ``imagesim.quickstart``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

SOLD = re.compile(
    r"product|item|article|artwork|garment|good|listing|variant|auction|advert|(?-i:(^|[a-z])(Lot|Ad|Offer)($|[A-Z]))",
    re.I,
)
VARIANT = re.compile(r"variant|variation|sku", re.I)
IMAGE = re.compile(r"image|photo|picture|file|media|original", re.I)
PICTURE = re.compile(r"image|img|photo|picture", re.I)
"""For a URL, which is more often that of a page or of a film than a file is."""
CATEGORY = re.compile(r"categor|collection|dep(artmen)?ts?$|taxon", re.I)
STOCK = re.compile(r"(^|_)(in_?stock|stock|quantity|qty|on_hand|inventory|available|availability)($|_)", re.I)
OTHER = re.compile(r"successor|predecessor|replac|supersed|previous|next|related|alternative|instead", re.I)
"""For a relation to another item that is not a variant of the same product."""
SHOWN = re.compile(
    r"^(is_)?(active|public|published|visible|live|enabled|listed|approved|online|(for|on)[ _]sale)$", re.I
)
"""For a field, and for the values of a field of states."""
STATE = re.compile(r"(^|_)(status|state|visibility)$", re.I)
HIDDEN = re.compile(r"^(is_)?(deleted|removed|archived|hidden|banned|draft)(_(at|on))?$", re.I)
TIME = re.compile(
    r"^(date_)?(publi(sh|c)(ed|ation)?|available|visible|shown|valid|active|live|online|listed|starts?|ends?|expires?|expiry)"
    r"(_?(at|on|from|to|until|till|since|after|before|date))?$",
    re.I,
)
"""For a date before or after which an item may not be shown."""
BRAND = re.compile(r"(^|_)(brand|maker|manufacturer|vendor|designer)($|_)", re.I)
FILTERS = re.compile(rf"{BRAND.pattern}|(^|_)(price|colou?r|size|material|gender|season)($|_)", re.I)
PRICE = re.compile(r"(^|_)price$", re.I)
INTERNAL = re.compile(r"(^|_)(cost|purchase|wholesale|supplier|buying)($|_)", re.I)
"""For a price that visitors must neither see nor filter by."""
NUMBERS = re.compile(
    r"^((article|item|part|product|model|manufacturer|maker|order|oem?)_?(number|no|code)|number|sku|mpn|ean|gtin|upc|isbn|barcode)s?$",
    re.I,
)
"""For a text that is an article number, which visitors search for."""
TEXTS = {"name": 3, "title": 3, "description": 1}


def images_of(model: Any) -> Iterator[str]:
    """Yield the paths from the model to its pictures: files before addresses, those of its own fields first."""
    from django.db import models

    def files(of: Any) -> list[str]:
        fields = [field for field in of._meta.concrete_fields if isinstance(field, models.FileField)]
        fields.sort(key=lambda field: not isinstance(field, models.ImageField))
        return [f.name for f in fields if isinstance(f, models.ImageField) or IMAGE.search(f.name)]

    def addresses(of: Any) -> list[str]:
        return [f.name for f in of._meta.concrete_fields if isinstance(f, models.URLField) and PICTURE.search(f.name)]

    yield from _paths(model, files)
    yield from _paths(model, addresses)


def _paths(model: Any, own: Callable[[Any], list[str]]) -> Iterator[str]:
    """Yield the paths from the model to the fields that ``own`` returns for it and for the models around it."""
    related = [each for each in model._meta.related_objects if each.one_to_many and not each.hidden]
    rows = [(each.get_accessor_name(), each.related_model) for each in related]
    rows += [(each.name, each.related_model) for each in model._meta.private_fields if each.one_to_many]  # generic
    rows.sort(key=lambda row: not IMAGE.search(row[0]))  # its photos before an attribute that may be an image

    yield from own(model)
    for accessor, row in rows:
        yield from (f"{accessor}__{name}" for name in own(row))
    for accessor, row in rows:  # a table of links to a library of pictures
        for link in row._meta.concrete_fields:
            if link.is_relation and link.related_model is not model and IMAGE.search(link.name):
                yield from (f"{accessor}__{link.name}__{name}" for name in own(link.related_model))
    for field in (*model._meta.many_to_many, *model._meta.concrete_fields):
        if field.is_relation and field.related_model is not model and IMAGE.search(field.name):
            yield from (f"{field.name}__{name}" for name in own(field.related_model))


def described_by(field: Any) -> str:
    """Return the path from a relation to the name of its target; the field itself if it is not a relation. Of a name in
    several languages it is that in one of them."""
    from imagesim.items.declarations import in_one_language

    path = str(field.name)
    if field.is_relation:
        names = {each.name for each in field.related_model._meta.concrete_fields}
        path = next((f"{path}__{name}" for name in ("slug", "name", "title", "code") if name in names), path)
    return in_one_language(field.model, path)


def texts_of(model: Any) -> dict[str, int]:
    """Return the paths from the model to its texts, in every language, each with its weight."""
    from django.db import models

    from imagesim.items.paths import in_languages

    category = category_field(model)
    fields = fields_of(model)
    numbers = [each.name for each in fields if isinstance(each, models.CharField) and NUMBERS.match(each.name)]
    brands = [field for field in fields if BRAND.search(field.name) and not NUMBERS.match(field.name)]
    called = [field.name for field in brands if not field.is_relation]
    for field in (*brands, category):
        if field is not None and field.is_relation:
            called += [f"{field.name}__{name}" for name in ("name", "title")]
    texts = {**TEXTS, **dict.fromkeys(numbers, 3), **dict.fromkeys(called, 2)}
    weights = sorted(texts.items(), key=lambda each: -each[1])
    return {path: weight for each, weight in weights for path in in_languages(model, each)}


def category_field(model: Any) -> Any:
    """Return the field of the model that leads to its category, or holds its name; None if there is none."""
    for field in fields_of(model):
        if CATEGORY.search(field.name) or (field.is_relation and CATEGORY.search(field.related_model.__name__)):
            return field
    return None


def category_of(model: Any) -> str:
    """Return the path from the model to its category; empty if it has none."""
    field = category_field(model)
    return "" if field is None else described_by(field)


def category_parent_of(model: Any) -> str:
    """Return the path from the model to the parent of its category; empty if its categories are not a tree."""
    field, path = category_field(model), category_of(model)
    if field is None or not field.is_relation:
        return ""
    own = (each for each in fields_of(field.related_model) if each.many_to_one and not OTHER.search(each.name))
    parent = next((each.name for each in own if each.related_model is field.related_model), "")
    relation, _, name = path.rpartition("__")
    return f"{relation}__{parent}__{name}" if parent and relation else ""


def filters_of(model: Any) -> dict[str, str]:
    """Return the filters of the model, each with its path."""
    from imagesim.items.paths import in_languages

    fields = [each for each in fields_of(model) if FILTERS.search(each.name) and not each.name.endswith("_currency")]
    translations = {path for each in fields for path in in_languages(model, each.name) if path != each.name}
    fields = [each for each in fields if each.name not in translations]
    kept = [field for field in fields if not (INTERNAL.search(field.name) or NUMBERS.match(field.name))]
    return {field.name: described_by(field) for field in kept}


def prices_of(model: Any) -> list[Any]:
    """Return the fields that can be the price of an item. Whole numbers are left out: they may be cents."""
    from django.db import models

    decimals = (models.DecimalField, models.FloatField)
    fields = [field for field in fields_of(model) if isinstance(field, decimals) and PRICE.search(field.name)]
    return [field for field in fields if not INTERNAL.search(field.name)]


def shown_of(model: Any) -> dict[str, str]:
    """Return the conditions for the shop to show an item, by the name of the field, as a format of its value; empty for
    a time, and for a field of states if none of them is recognised."""
    from django.db import models

    found = {}
    for field in fields_of(model):
        if isinstance(field, models.BooleanField) and SHOWN.match(field.name):
            found[field.name] = "{}"
        elif isinstance(field, models.BooleanField) and HIDDEN.match(field.name):
            found[field.name] = "not {}"
        elif isinstance(field, models.DateField) and HIDDEN.match(field.name):
            found[field.name] = "{} is None"
        elif isinstance(field, models.DateField) and TIME.match(field.name):
            found[field.name] = ""
        elif STATE.search(field.name) and not field.is_relation:
            good = [value for value, label in field.flatchoices if SHOWN.match(str(value)) or SHOWN.match(str(label))]
            written = ", ".join(json.dumps(each) if isinstance(each, str) else repr(each) for each in good)
            found[field.name] = {0: "", 1: f"{{}} == {written}"}.get(len(good), f"{{}} in ({written})")
    return found


def fields_of(model: Any) -> list[Any]:
    return [field for field in (*model._meta.concrete_fields, *model._meta.many_to_many) if not field.primary_key]


def product_of(model: Any) -> Any:
    """Return the relation of a variant to its product; None if the model does not hold variants."""
    if not VARIANT.search(model.__name__):
        return None
    relations = [field for field in fields_of(model) if field.many_to_one and field.related_model is not model]
    return next((each for each in relations if SOLD.search(each.related_model.__name__)), None)
