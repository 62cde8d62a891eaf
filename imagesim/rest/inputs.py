"""What the views read: the arguments of a call, as :class:`SearchRequest` declares them, and a few other fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.request import Request

from imagesim.conf import get_settings
from imagesim.exceptions import BadQuery, NotRegistered
from imagesim.retrieval import params
from imagesim.retrieval.arguments import (
    ArgumentType,
    JSONSchema,
    Searched,
    check_characters,
    check_count,
    check_text,
    model_labels,
)
from imagesim.retrieval.filters import describe_filters
from imagesim.retrieval.regions import as_region
from imagesim.retrieval.variants import page_floor

MAX_LABEL = 100
"""The maximum length of a region's label in characters."""

MAX_VALUES = 1000
"""The maximum number of values of one ``in``, or of categories, that a visitor can name."""

_IMAGE: JSONSchema = {"type": "string", "format": "binary", "description": "The picture; used and dropped, never kept."}
_IMAGES: JSONSchema = {"type": "array", "items": _IMAGE}
_JSON_LISTS: JSONSchema = {"type": "string", "pattern": r"^\s*(\[.*\]\s*)?$"}
_REGIONS = _JSON_LISTS | {
    "description": "Boxes instead of those that are found, as JSON: x, y, width, height from 0 to 1 of the upright "
    "photo.",
    "example": "[[0.1, 0.2, 0.3, 0.4]]",
}
_POINT = _JSON_LISTS | {
    "description": "Only what is at this point, as JSON: x, y from 0 to 1.",
    "example": "[0.5, 0.5]",
}
_REGION: JSONSchema = {
    "type": "array",
    "items": {"type": "number", "minimum": 0, "maximum": 1},
    "minItems": 4,
    "maxItems": 4,
    "description": "x, y, width, height from 0 to 1 of the upright photo.",
    "example": [0.1, 0.2, 0.3, 0.4],
}
_REGION_TEXT: JSONSchema = {
    "type": "string",
    "pattern": r"^\s*\[.*\]\s*$",
    "description": "The box, as JSON: x, y, width, height from 0 to 1 of the upright photo.",
    "example": "[0.1, 0.2, 0.3, 0.4]",
}
_LABEL = {"type": "string", "maxLength": MAX_LABEL, "description": "What the box seems to hold.", "example": "shoes"}


class Form:
    """The arguments of a call and the shop's filters, as given in a query string, a form or a JSON object.

    Not a serializer: the errors are those of the call, one sentence about one field, and creating a serializer's fields
    for each request would take longer than reading the values.
    """

    call: params.Call = "look"
    renamed: Mapping[str, str] = {}
    """The arguments with another name in requests."""
    others: Mapping[str, JSONSchema] = {}
    """Fields besides the arguments of the call."""
    others_in_forms: Mapping[str, JSONSchema] = {}
    """Those that a form sends as text, because clients send an array as several fields of the same name."""
    requires: tuple[str, ...] = ()
    requires_in_json: tuple[str, ...] | None = None
    """None if JSON cannot express the request."""

    @classmethod
    def describe(cls, *, as_json: bool = False) -> dict[str, JSONSchema]:
        """Return the JSON schema of every field, within the limits for visitors."""
        conf = get_settings()
        described = describe(cls.call)
        if "offset" in described:
            described["offset"]["maximum"] = min(conf.MAX_OFFSET, conf.REST_MAX_OFFSET)
        if conf.REST_EXACT == "staff" and "exact" in described:
            described["exact"]["description"] += " Exact search is for staff."
        if cls.call == "look":
            described["category"]["description"] = (
                "Only these categories, instead of those that belong to a region's label."
            )
        described = {cls.renamed.get(name, name): schema for name, schema in described.items()}
        described |= {n: schema for n, schema in cls.others.items() if not as_json or schema.get("items") != _IMAGE}
        return described if as_json else {**described, **cls.others_in_forms}

    @classmethod
    def read(cls, request: Request, given: dict[str, Any], searched: Searched | None = None) -> dict[str, Any]:
        """Return the keyword arguments for the call; ``searched``: the models, if they are not an argument.

        :raises BadQuery: naming the bad value and the good ones.
        """
        arguments = params.parse(cls.call, given, searched, renamed=cls.renamed)
        try:
            model_labels(arguments.get("model"))
        except NotRegistered as error:
            raise BadQuery(str(error), field="model") from error
        filters = arguments.get("filters")
        named = {"category": arguments.get("category"), **(filters if isinstance(filters, Mapping) else {})}
        for name, value in named.items():
            if isinstance(value, list):
                check_count(name, value, MAX_VALUES)
        offset, most = arguments.get("offset"), max_offset(request)
        # An offset above MAX_OFFSET is rejected for everyone.
        if isinstance(offset, int) and most < offset <= get_settings().MAX_OFFSET:
            raise BadQuery(
                _("'offset' is %(offset)d; it must be a whole number from 0 to %(most)d.")
                % {"offset": offset, "most": most},
                field="offset",
            )
        if arguments.get("exact") is True and get_settings().REST_EXACT == "staff" and not is_staff(request):
            raise BadQuery(_("'exact' search is for staff; leave the parameter out."), field="exact")
        if "min_relevance" in params.argument_names(cls.call):
            arguments.setdefault("min_relevance", page_floor())
        return arguments


class SimilarQuery(Form):
    call = "similar"


class WordsQuery(Form):
    call: params.Call = "search"
    renamed = {"text": "q"}
    requires = ("q",)

    @classmethod
    def read(cls, request: Request, given: dict[str, Any], searched: Searched | None = None) -> dict[str, Any]:
        arguments = super().read(request, given, searched)
        if "text" not in arguments:
            raise BadQuery(_("The query is empty; describe in 'q' what to find."), field="q")
        return arguments | {"text": check_text(arguments["text"], field="q")}  # an error names the parameter


class SuggestQuery(WordsQuery):
    call = "suggest"


class SearchForm(Form):
    call = "search"
    others = {
        "image": _IMAGES,
        "unlike": _IMAGES | {"description": "Pictures of what the results should not look like, or words."},
    }
    requires_in_json = ("text",)


class HeldLookForm(Form):
    requires_in_json = ()


class LookForm(Form):
    others = {"image": _IMAGE, "regions": _REGIONS, "point": _POINT}
    requires = ("image",)

    @classmethod
    def read(cls, request: Request, given: dict[str, Any], searched: Searched | None = None) -> dict[str, Any]:
        boxes = {name: _read_json(name, given.pop(name)) for name in ("regions", "point") if name in given}
        return super().read(request, given, searched) | boxes


class LookRegionForm(Form):
    others = {"region": _REGION, "label": _LABEL}
    others_in_forms = {"region": _REGION_TEXT}
    requires = requires_in_json = ("region",)

    @classmethod
    def read(cls, request: Request, given: dict[str, Any], searched: Searched | None = None) -> dict[str, Any]:
        label = given.pop("label", None) or ""
        label = label[-1] if isinstance(label, list) else label
        if not isinstance(label, str) or len(label) > MAX_LABEL:
            raise BadQuery(_("'label' must be a text such as 'shoes'."), field="label")
        check_characters("label", label)
        box = _read_json("region", given.pop("region", None))
        if box is None:
            raise BadQuery(
                _("'region' is missing; give a list of four numbers from 0 to 1 (x, y, width, height)."), field="region"
            )
        return super().read(request, given, searched) | {"regions": [as_region(box, label)], "whole": False}


def describe(call: params.Call) -> dict[str, JSONSchema]:
    """Return the JSON schema of every argument of a call as REST reads it, and of every filter of the shop."""
    described: dict[str, JSONSchema] = {}
    defaults = params.argument_defaults(call)
    for name, each in params.declared(call).items():
        kind: ArgumentType = each.metadata["type"]
        schema = kind.schema()
        if kind.description:
            schema["description"] = kind.description
        # Not the default of the diversity: clients send defaults, and a given value outweighs the variant of an
        # experiment.
        if defaults[name] not in (None, False, 0.0) or name in ("offset", "same_category"):
            schema["default"] = defaults[name]
        described[name] = schema
    return described | dict(describe_filters())


def max_offset(request: Request) -> int:
    """Return the maximum offset for this visitor."""
    conf = get_settings()
    return conf.MAX_OFFSET if is_staff(request) else min(conf.MAX_OFFSET, conf.REST_MAX_OFFSET)


def is_staff(request: Request) -> bool:
    """Return whether the visitor belongs to the shop's staff. A custom user model need not have this attribute."""
    user = request.user
    return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))


def _read_json(name: str, given: Any) -> Any:
    """Parse a form's text as JSON, such as ``[[0.1, 0.2, 0.3, 0.4]]``; return other values unchanged, and None for an
    empty string."""
    text = given[-1] if isinstance(given, list) and given else given
    if not isinstance(text, str):
        return given
    try:
        return json.loads(text) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise BadQuery(
            _("%(name)r is not JSON; send lists of numbers such as [0.1, 0.2, 0.3, 0.4].") % {"name": name}, field=name
        ) from error
