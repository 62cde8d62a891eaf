"""What drf-spectacular cannot read off the views: parameters (the shop's own filters among them), bodies, examples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.serializers import Serializer

from imagesim.conf import get_settings
from imagesim.rest.serializers import (
    ErrorSerializer,
    EventsSerializer,
    HitsSerializer,
    LookRegionSerializer,
    LookSerializer,
    StoredSerializer,
    SuggestionsSerializer,
)
from imagesim.retrieval.params import Call, describe

JSONSchema = dict[str, Any]

MAX_LABEL = 100
"""Characters of a region's label."""

_PHOTO_TOKEN: JSONSchema = {"type": "string", "pattern": r"^\d{1,9}\.[\w-]{32}$"}
_LABEL: JSONSchema = {"type": "string", "example": "shop.product"}

_PAGE: JSONSchema = {
    "results": [
        {
            "item": {
                "model": "shop.product",
                "pk": "7",
                "name": "Canvas sneaker",
                "url": "https://shop.example/p/canvas-sneaker/",
                "category": "sneakers",
                "details": {"price": "€ 49.00"},
            },
            "score": 0.873,
            "image": {"name": "products/7-side.jpg", "url": "https://shop.example/media/products/7-side.jpg"},
            "stage": "",
        }
    ],
    "more": True,
    "next": "https://shop.example/api/visual/items/shop.product/3/similar/?limit=1&offset=1",
    "next_offset": 1,
    "exact": True,
    "took_ms": 3.1,
    "degraded": "",
    "facets": {
        "brand": {
            "kind": "keyword",
            "count": 3,
            "values": [{"value": "acme", "count": 2}, {"value": "zeta", "count": 1}],
            "more": False,
            "minimum": None,
            "maximum": None,
        }
    },
    "token": "",
}
_LOOK: JSONSchema = {
    "token": "",
    "photo": "17.hWq0n2vJ5c9lQe7uXb1yTz3rKd8sFa4o",
    "size": {"width": 1200, "height": 1600},
    "regions": [
        {
            "box": {"x": 0.31, "y": 0.82, "width": 0.38, "height": 0.15},
            "label": "shoes",
            "name": "Shoes",
            "score": 0.94,
            "categories": ["sneakers", "boots"],
            "results": _PAGE["results"],
            "more": True,
            "token": "",
        }
    ],
    "results": [],
    "more": False,
}
_IMAGE: JSONSchema = {
    "type": "string",
    "format": "binary",
    "description": "The picture; used and dropped, never kept.",
}
_ERRORS = {
    400: ("bad_query", "'limit' is 0; it must be a whole number from 1 to 100.", "limit"),
    404: ("not_indexed", "shop.product:7 has no embedding yet; it needs a usable picture.", ""),
    410: (
        "photo_gone",
        "This photo is no longer held; send it again, or send the region as a picture of its own.",
        "",
    ),
    413: ("image_too_large", "The picture has more than 50 megapixels; send a smaller one.", ""),
    415: (
        "unsupported_format",
        "This is not a picture that can be read (it looks like GIF); send one of JPEG, PNG.",
        "",
    ),
    429: ("throttled", "Request was throttled. Expected available in 12 seconds.", ""),
    503: ("index_unavailable", "Search is not available now; try again in a little while.", ""),
}


@dataclass(frozen=True)
class Description:
    """What one method of a view does, in words."""

    operation_id: str
    summary: str
    text: str
    errors: Collection[int]
    examples: Collection[OpenApiExample] = ()
    answer: type[Serializer[Any]] | None = HitsSerializer
    """None: a JPEG."""


SIMILAR = Description(
    "similar",
    "Items that look like an item",
    "The items that look most like this one, best first; never itself nor a variant of it.",
    errors=(400, 404, 429, 503),
)
SEARCH_BY_TEXT = Description(
    "search_by_text",
    "Search by words",
    "The items that look as the words say, best first.",
    errors=(400, 404, 429, 503),
)
SUGGEST = Description(
    "suggest",
    "Suggest while words are typed",
    "Categories, brands and items whose names have the words of `q`, the last of which may be incomplete.",
    errors=(400, 404, 429, 503),
    answer=SuggestionsSerializer,
)
SEARCH = Description(
    "search",
    "Search by picture, or by picture and words",
    "The items that look like the picture, best first; with words, like the picture but as the words say. "
    "Filters go into the form, or into the JSON object, under the names they have in a query string.",
    errors=(400, 404, 413, 415, 429, 503),
    examples=(
        OpenApiExample(
            "Words and a filter",
            value={"text": "red sneakers", "in_stock": True, "limit": 12},
            request_only=True,
            media_type="application/json",
        ),
    ),
)


LOOK = Description(
    "look",
    "Shop the look",
    "Finds what is in a photo, and for each thing the items most like it, from the categories that belong to it. "
    "Hits with the stage `wider` are from other categories, where its own had too few.",
    errors=(400, 413, 415, 429, 503),
    examples=(OpenApiExample("A photo", value=_LOOK, response_only=True, status_codes=["200"]),),
    answer=LookSerializer,
)
HELD_LOOK = Description(
    "held_look",
    "Shop the look of a photo sent before",
    "The answer of `look/` again, for a photo that it was sent a few minutes ago: `token` is the `photo` of its "
    "answer.",
    errors=(400, 410, 429, 503),
    examples=(OpenApiExample("A photo", value=_LOOK, response_only=True, status_codes=["200"]),),
    answer=LookSerializer,
)
HELD_PHOTO = Description(
    "held_photo",
    "A photo sent before",
    "The photo itself, reduced and without metadata, while it is held.",
    errors=(410, 429),
    answer=None,
)
LOOK_REGION = Description(
    "look_region",
    "A region of a photo sent before",
    "What the shop has like one region of a photo that `look/` was sent a few minutes ago: a box that was moved or "
    "drawn. `token` is the `photo` of its answer. With a `label` the categories that belong to it are searched first.",
    errors=(400, 410, 429, 503),
    examples=(OpenApiExample("A region", value=_LOOK["regions"][0], response_only=True, status_codes=["200"]),),
    answer=LookRegionSerializer,
)


EVENTS = Description(
    "events",
    "Tell what a visitor did",
    "Keeps what a visitor saw, clicked or put into the cart, in batches of at most 100. Nothing says who it was. "
    "Answers 404 unless the shop keeps events.",
    errors=(400, 404, 429),
    answer=StoredSerializer,
)


class VisualSearchSchema(AutoSchema):
    """Parameters and bodies are read from settings and registry when the schema is asked for.

    It stands on the views themselves, so that a project need not name drf-spectacular in its DRF settings.
    """

    def __init__(self, **descriptions: Description) -> None:
        super().__init__()
        self.descriptions = descriptions

    @property
    def described(self) -> Description:
        return self.descriptions[self.method.lower()]

    def get_operation_id(self) -> str:
        return self.described.operation_id

    def get_summary(self) -> str:
        return self.described.summary

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it, not DRF
        return self.described.text

    def get_tags(self) -> list[str]:
        return ["visual search"]

    def get_response_serializers(self) -> Any:
        answer = self.described.answer or {(200, "image/jpeg"): OpenApiTypes.BINARY}
        first = answer if isinstance(answer, dict) else {200: answer}
        return {**first, **dict.fromkeys(self.described.errors, ErrorSerializer)}

    def get_examples(self) -> list[OpenApiExample]:
        following = _PAGE["next"] if self.method == "GET" else None
        page = OpenApiExample(
            "One page of hits", value=_PAGE | {"next": following}, response_only=True, status_codes=["200"]
        )
        failures = [
            OpenApiExample(
                code,
                value={"code": code, "detail": detail} | ({"field": field} if field else {}),
                response_only=True,
                status_codes=[str(status)],
            )
            for status, (code, detail, field) in _ERRORS.items()
            if status in self.described.errors
        ]
        pages = [page] if self.described.answer is HitsSerializer else []
        return [*pages, *failures, *self.described.examples]

    def get_override_parameters(self) -> list[Any]:
        if self.described in (LOOK_REGION, HELD_LOOK, HELD_PHOTO):
            text = "The `photo` of the answer to `look/`."
            return [OpenApiParameter("token", _PHOTO_TOKEN, OpenApiParameter.PATH, description=text)]
        if self.method == "POST":
            return []
        if "{model}" in self.path:
            # A project's own schema may call every primary key "id".
            pk = "pk" if "{pk}" in self.path else "id"
            parameters = [
                OpenApiParameter(
                    "model", _LABEL, OpenApiParameter.PATH, description="The label of a registered model."
                ),
                OpenApiParameter(pk, str, OpenApiParameter.PATH, description="The item's primary key."),
            ]
            asked = _described("similar")
        else:
            parameters = []
            asked = _described("search")
            asked = {"q": asked.pop("text")} | asked
        return parameters + [_in_query(name, schema) for name, schema in asked.items()]

    def get_request_serializer(self) -> Any:
        if self.described is LOOK:
            return {"multipart/form-data": {"type": "object", "properties": _look_form(), "required": ["image"]}}
        if self.described is LOOK_REGION:
            form = _region_form()
            return {
                "application/json": {"type": "object", "properties": _nullable(form), "required": ["region"]},
                "multipart/form-data": {"type": "object", "properties": form, "required": ["region"]},
            }
        if self.described is HELD_LOOK:
            return {"multipart/form-data": {"type": "object", "properties": _about_looks()}}
        if self.described is EVENTS:
            return EventsSerializer
        words = _described("search")
        several = {"type": "array", "items": _IMAGE}
        pictures = {
            "image": several,
            "unlike": several | {"description": "Pictures of what it should not be like, or words."},
        }
        return {
            "multipart/form-data": {"type": "object", "properties": words | pictures},
            "application/json": {"type": "object", "properties": _nullable(words), "required": ["text"]},
        }


def _described(call: Call) -> dict[str, JSONSchema]:
    """The arguments of a call within what REST grants a visitor."""
    conf = get_settings()
    arguments = describe(call)
    if "offset" in arguments:
        arguments["offset"]["maximum"] = min(conf.MAX_OFFSET, conf.REST_MAX_OFFSET)
    if conf.REST_EXACT == "staff":
        arguments["exact"]["description"] += " Exact search is for staff."
    return arguments


def _nullable(properties: dict[str, JSONSchema]) -> dict[str, JSONSchema]:
    """JSON says null for what is not asked for; what is required cannot be null."""
    required = ("text", "region", "label")
    return {name: each if name in required else each | {"nullable": True} for name, each in properties.items()}


def _in_query(name: str, schema: JSONSchema) -> OpenApiParameter:
    return OpenApiParameter(
        name,
        {key: value for key, value in schema.items() if key != "description"},
        required=name == "q",
        description=schema.get("description", ""),
        explode=name == "category" if schema.get("type") == "array" else None,
    )


def _look_form() -> dict[str, JSONSchema]:
    """The boxes and the point are JSON in a form's text field."""
    return {
        "image": _IMAGE,
        "regions": {
            "type": "string",
            "description": "Boxes in place of those that are found, as JSON: x, y, width, height from 0 to 1 of the "
            "upright photo.",
            "pattern": r"^\s*(\[.*\]\s*)?$",
            "example": "[[0.1, 0.2, 0.3, 0.4]]",
        },
        "point": {
            "type": "string",
            "description": "Only what is at this point, as JSON: x, y from 0 to 1.",
            "pattern": r"^\s*(\[.*\]\s*)?$",
            "example": "[0.5, 0.5]",
        },
        **_about_looks(),
    }


def _region_form() -> dict[str, JSONSchema]:
    return {
        "region": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 4,
            "maxItems": 4,
            "description": "x, y, width, height from 0 to 1 of the upright photo; in a form, as JSON.",
            "example": [0.1, 0.2, 0.3, 0.4],
        },
        "label": {
            "type": "string",
            "maxLength": MAX_LABEL,
            "description": "What it seems to hold.",
            "example": "shoes",
        },
        **_about_looks(),
    }


def _about_looks() -> dict[str, JSONSchema]:
    asked = _described("look")
    asked["category"]["description"] = "Only these categories, in place of those that belong to a region's label."
    return asked
