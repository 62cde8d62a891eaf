"""The description of each view in OpenAPI: its texts, its examples, and the serializers that it reads and answers
with."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.hooks import postprocess_schema_enums
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import (
    alpha_operation_sorter,
    append_meta,
    build_object_type,
    normalize_result_object,
    sanitize_result_object,
)
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.serializers import Serializer

from imagesim.rest import inputs
from imagesim.rest.serializers import (
    ErrorSerializer,
    EventsSerializer,
    HitsSerializer,
    ItemRegionsSerializer,
    LookRegionSerializer,
    LookSerializer,
    StoredSerializer,
    SuggestionsSerializer,
)
from imagesim.retrieval.arguments import JSONSchema

_PHOTO_TOKEN: JSONSchema = {"type": "string", "pattern": r"^\d{1,9}\.[\w-]{32}$"}
_LABEL: JSONSchema = {"type": "string", "pattern": r"^\w+\.\w+$", "example": "shop.product"}

_EXAMPLES: JSONSchema = json.loads(Path(__file__).with_name("examples.json").read_text("utf-8"))
_PAGE, _LOOK = _EXAMPLES["page"], _EXAMPLES["look"]
_ERRORS = {
    400: ("bad_query", "'limit' is 0; it must be a whole number from 1 to 100.", "limit"),
    401: ("not_authenticated", "Authentication credentials were not provided.", ""),
    403: ("permission_denied", "You do not have permission to perform this action.", ""),
    404: ("not_indexed", "shop.product:7 has no embedding yet; it needs a usable picture.", ""),
    410: (
        "photo_gone",
        "This photo has expired; send it again, or send the region as a picture.",
        "",
    ),
    411: ("length_required", "The request has no Content-Length; a body in chunks is not accepted.", ""),
    413: ("image_too_large", "The picture has more than 50 megapixels; send a smaller one.", ""),
    415: (
        "unsupported_format",
        "This is not a picture that can be read (it looks like GIF); send one of JPEG, PNG.",
        "",
    ),
    429: ("throttled", "Request was throttled. Expected available in 12 seconds.", ""),
    503: ("index_unavailable", "The search is not available; try again in a moment.", ""),
}

FORBIDDEN = (401, 403)
"""Errors of all operations: the shop says who may ask, and for what (``REST_PERMISSIONS``, ``REST_ARGUMENTS``)."""


@dataclass(frozen=True)
class Description:
    """The description of one method of a view."""

    operation_id: str
    summary: str
    text: str
    errors: Collection[int]
    examples: Collection[OpenApiExample] = ()
    reads: type[inputs.Form | Serializer[Any]] | None = None
    answer: type[Serializer[Any]] | None = HitsSerializer
    """None: a JPEG."""


SIMILAR = Description(
    "similar",
    "Items that look like an item",
    "The items that look most like this one, best first, without itself and its variants.",
    errors=(400, 404, 429, 503),
    reads=inputs.SimilarQuery,
)
ITEM_REGIONS = Description(
    "item_regions",
    "The things in an item's own images",
    "What the region finder saw in the images of an item, as the sync stored it. The `id` of a region is the "
    "`region_id` of `similar/`. Empty if the shop does not store regions, and for an image that one thing fills.",
    errors=(404, 429, 503),
    answer=ItemRegionsSerializer,
)
SEARCH_BY_TEXT = Description(
    "search_by_text",
    "Search by words",
    "The items that match the words, best first.",
    errors=(400, 404, 429, 503),
    reads=inputs.WordsQuery,
)
SUGGEST = Description(
    "suggest",
    "Suggest while words are typed",
    "Categories, brands and items whose names contain the words of `q`, the last of which may be incomplete.",
    errors=(400, 404, 429, 503),
    reads=inputs.SuggestQuery,
    answer=SuggestionsSerializer,
)
SEARCH = Description(
    "search",
    "Search by picture, or by picture and words",
    "The items that look like the picture, best first; with words, like the picture but as described by the words. "
    "Filters have the same names in the form and in the JSON object as in a query string.",
    errors=(400, 404, 411, 413, 415, 429, 503),
    reads=inputs.SearchForm,
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
    "Finds the regions of a photo, and for each the most similar items, from the categories of its label. "
    "Hits with the stage `wider` are from other categories, used where those had too few.",
    errors=(400, 411, 413, 415, 429, 503),
    reads=inputs.LookForm,
    examples=(OpenApiExample("A photo", value=_LOOK, response_only=True, status_codes=["200"]),),
    answer=LookSerializer,
)
HELD_LOOK = Description(
    "held_look",
    "Shop the look of a photo sent before",
    "The answer of `look/` for a photo that was sent to it a few minutes ago: `token` is the `photo` of its answer.",
    errors=(400, 410, 411, 413, 415, 429, 503),
    reads=inputs.HeldLookForm,
    examples=(OpenApiExample("A photo", value=_LOOK, response_only=True, status_codes=["200"]),),
    answer=LookSerializer,
)
HELD_PHOTO = Description(
    "held_photo",
    "A photo sent before",
    "The photo, reduced and without metadata, as long as it is held.",
    errors=(410, 429),
    answer=None,
)
LOOK_REGION = Description(
    "look_region",
    "A region of a photo sent before",
    "Items similar to one region, such as a box that was moved or drawn, of a photo that was sent to `look/` a few "
    "minutes ago. `token` is the `photo` of its answer. With a `label`, its categories are searched first.",
    errors=(400, 410, 411, 413, 415, 429, 503),
    reads=inputs.LookRegionForm,
    examples=(OpenApiExample("A region", value=_LOOK["regions"][0], response_only=True, status_codes=["200"]),),
    answer=LookRegionSerializer,
)


EVENTS = Description(
    "events",
    "Record what a visitor did",
    "Stores what a visitor saw, clicked or put into the cart, in batches of at most 100, without identifying the "
    "visitor. Answers 404 unless the shop records events.",
    errors=(400, 404, 411, 413, 415, 429),
    reads=EventsSerializer,
    answer=StoredSerializer,
)


class VisualSearchSchema(AutoSchema):
    """Reads parameters and bodies from the settings and the registry when the schema is requested.

    It is set on the views, so that a project need not name drf-spectacular in its DRF settings.
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
        return {**first, **dict.fromkeys(sorted({*FORBIDDEN, *self.described.errors}), ErrorSerializer)}

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
            if status in (*FORBIDDEN, *self.described.errors)
        ]
        pages = [page] if self.described.answer is HitsSerializer else []
        return [*pages, *failures, *self.described.examples]

    def get_override_parameters(self) -> list[Any]:
        found = []
        if "{token}" in self.path:
            text = "The `photo` of the answer to `look/`."
            found.append(OpenApiParameter("token", _PHOTO_TOKEN, OpenApiParameter.PATH, description=text))
        if "{model}" in self.path:
            text = "The label of a registered model."
            found.append(OpenApiParameter("model", _LABEL, OpenApiParameter.PATH, description=text))
            pk = "pk" if "{pk}" in self.path else "id"  # a project's own schema may call every primary key "id"
            found.append(OpenApiParameter(pk, str, OpenApiParameter.PATH, description="The item's primary key."))
        reads = self.described.reads
        if self.method == "GET" and reads is not None and issubclass(reads, inputs.Form):
            for name, schema in reads.describe().items():
                given = {key: value for key, value in schema.items() if key != "description"}
                required, text = name in reads.requires, schema.get("description", "")
                found.append(OpenApiParameter(name, given, required=required, description=text))
        return found

    def get_request_serializer(self) -> Any:
        reads = self.described.reads
        if reads is None or not issubclass(reads, inputs.Form):
            return reads
        forms = {"multipart/form-data": build_object_type(reads.describe(), required=[*reads.requires])}
        if (required := reads.requires_in_json) is not None:
            fields = {  # where null means "not given"
                name: schema if name in required else append_meta({**schema}, {"nullable": True})
                for name, schema in reads.describe(as_json=True).items()
            }
            forms["application/json"] = build_object_type(fields, required=[*required])
        return forms


class OwnEndpoints(EndpointEnumerator):
    """The endpoints without the project's hooks, which may know only its own URLs."""

    def get_api_endpoints(self, patterns: Any = None, prefix: str = "") -> Any:
        found = self._get_api_endpoints(patterns, prefix)  # type: ignore[no-untyped-call]
        return sorted(found, key=alpha_operation_sorter)


class OwnSchemaGenerator(SchemaGenerator):
    """Describes these views as they answer.

    drf-spectacular's own generator applies what the project sets for its schema: hooks, such as one that renames fields
    to camelCase as the project's renderer does, additional paths and components, and its authentication schemes.
    """

    endpoint_inspector_cls = OwnEndpoints

    def get_schema(self, request: Any = None, public: bool = True) -> Any:
        described = {
            "openapi": spectacular_settings.OAS_VERSION,
            "info": {},
            "paths": self.parse(request, public),  # type: ignore[no-untyped-call]
            "components": self.registry.build({}),
        }
        named = postprocess_schema_enums(described, self)  # type: ignore[no-untyped-call]
        return sanitize_result_object(normalize_result_object(named))  # type: ignore[no-untyped-call]
