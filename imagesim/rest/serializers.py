"""The form of an answer, and its JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, get_args

from django.utils.encoding import escape_uri_path
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from imagesim.events import MAX_BATCH
from imagesim.items.hydrate import fact_of
from imagesim.items.registry import registry
from imagesim.models import Event
from imagesim.pages.thumbnails import Pictures
from imagesim.pages.widgets import Card, page_url
from imagesim.rest.inputs import is_staff, max_offset
from imagesim.retrieval import rerank
from imagesim.retrieval.regions import ItemRegion
from imagesim.types import Facet, FilterKind, Hit, Hits

try:
    import orjson  # comes with django-imagesim[elasticsearch]
except ImportError:  # pragma: no cover
    orjson = None  # type: ignore[assignment]

_OF_THIS_SITE = re.compile(r"/(?![/.])(?!.*/\.)[\w\-.~/#%\[\]=:;$&()+,!?*@']*", re.ASCII)
"""The path of a URL of this site, without a dot at the beginning of a segment, or a character that has to be quoted."""


class AnswerSerializer(serializers.Serializer[Any]):
    """The base of the serializers for requests and answers.

    Its components have a prefix, because a shop's own schema is likely to have an ``Item``, ``Event`` or ``Error``, and
    of two components of one name drf-spectacular keeps the last.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        extend_schema_serializer(component_name=f"VisualSearch{cls.__name__.removesuffix('Serializer')}")(cls)


class ErrorSerializer(AnswerSerializer):
    """Any failure."""

    code = serializers.CharField(help_text="Stable, for machines.")
    detail = serializers.CharField(help_text="One sentence, for people.")
    field = serializers.CharField(required=False, help_text="The parameter at fault, if there is one.")


class ItemSerializer(AnswerSerializer):
    """The item of a hit."""

    model = serializers.CharField(read_only=True, help_text="The label of its model, such as `shop.product`.")
    pk = serializers.CharField(read_only=True, help_text="Its primary key, as text.")
    name = serializers.CharField(read_only=True)
    url = serializers.CharField(read_only=True, allow_null=True, help_text="The URL of its page; null if it has none.")
    similar = serializers.CharField(
        read_only=True, allow_null=True, help_text="The URL of items that look like it; null if there is none."
    )
    category = serializers.CharField(read_only=True, allow_null=True, help_text="Its (first) category, or null.")
    details = serializers.DictField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Further details to show, by name, as the shop declares them.",
    )


class RegionImageSerializer(AnswerSerializer):
    """An image of an item."""

    name = serializers.CharField(help_text="Its name in the shop's storage.")
    url = serializers.CharField(allow_null=True, help_text="Its URL; null if it has none.")


class HitImageSerializer(RegionImageSerializer):
    """The image of the item that matched."""

    thumbnail = serializers.CharField(
        allow_null=True, help_text="The URL of a thumbnail, about 320 pixels wide; null if there is none."
    )
    srcset = serializers.CharField(
        help_text="For the `srcset` of an `img`: thumbnails in several widths; may be empty."
    )


def _page_of(address: Callable[[], str | None], absolute: Callable[[str], str]) -> str | None:
    """Return the absolute URL of a page; None if there is none."""
    url = page_url(address)
    return absolute(url) if url else None


class HitSerializer(AnswerSerializer):
    """One result."""

    item = ItemSerializer()
    score = serializers.FloatField(help_text="Cosine similarity, from -1 to 1.")
    image = HitImageSerializer(read_only=True)
    stage = serializers.CharField(help_text="Empty, or which fallback found the hit.")
    relevance = serializers.FloatField(help_text="The probability that it belongs to the answer, from 0 to 1.")
    rules = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="The names of the shop's rules that moved it; for staff only.",
    )

    def to_representation(self, hit: Hit) -> dict[str, Any]:
        """Serialize all fields at once: one by one they would take as long as the search."""
        items, card = registry.for_item(hit.item), Card(hit, self._absolute)
        shown = {
            "item": {
                "model": items.label,
                "pk": items.pk_of(hit.item),
                "name": card.title,
                "url": card.url or None,
                "similar": card.similar_url or None,
                "category": next(iter(fact_of(hit.item, "get_categories", ())), None),
                "details": card.details,
            },
            "score": hit.score,
            "image": {
                "name": hit.image.name,
                "url": card.image_url or None,
                "thumbnail": card.thumbnail_url or None,
                "srcset": card.srcset,
            },
            "stage": hit.stage,
            "relevance": round(hit.relevance, 4),
        }
        return shown | {"rules": list(hit.rules)} if self._for_staff else shown

    @cached_property
    def _for_staff(self) -> bool:
        """Whether the answer is for staff; without a reranker no session is read to find out."""
        return rerank.active() is not rerank.NO_RERANKER and bool(self._request) and is_staff(self._request)

    def _absolute(self, url: str) -> str:
        if not url or not self._request:
            return url
        if _OF_THIS_SITE.fullmatch(url):  # most are: build_absolute_uri takes several times as long
            return self._site + url
        return str(self._request.build_absolute_uri(url))

    @cached_property
    def _site(self) -> str:
        """The scheme and host of the request."""
        return str(self._request.build_absolute_uri("/")).removesuffix("/")

    @cached_property
    def _request(self) -> Any:
        return self.context.get("request")


class FacetValueSerializer(AnswerSerializer):
    """A value, and how many items have it."""

    value = serializers.JSONField(help_text="A string, or true or false.")
    count = serializers.IntegerField()


class FacetSerializer(AnswerSerializer):
    """The counts of one field among the items that match the other filters: values, or minimum and maximum."""

    kind = serializers.ChoiceField(choices=get_args(FilterKind))
    count = serializers.IntegerField(help_text="How many items have a value.")
    values = serializers.SerializerMethodField(help_text="For a keyword or boolean, the most frequent first.")
    more = serializers.BooleanField(help_text="Whether there are further values.")
    minimum = serializers.JSONField(help_text="For a number or date; else null.")
    maximum = serializers.JSONField(help_text="For a number or date; else null.")

    @extend_schema_field(FacetValueSerializer(many=True))
    def get_values(self, facet: Facet) -> list[dict[str, Any]]:
        return [{"value": value, "count": count} for value, count in facet.values]


class BoxSerializer(AnswerSerializer):
    """The upper left corner and the size, from 0 to 1 of the upright photo."""

    x = serializers.FloatField()
    y = serializers.FloatField()
    width = serializers.FloatField()
    height = serializers.FloatField()


class MessageSerializer(AnswerSerializer):
    """A message of the shop about an answer."""

    text = serializers.CharField()
    url = serializers.CharField(help_text="A link, or empty.")


CUT = "How many of the nearest items were below the relevance asked for."
CLOSEST = "If there are no results: the few nearest items."
FACETS = "By field, those that were asked for."


class HitsSerializer(AnswerSerializer):
    """One page of results, best first."""

    results = HitSerializer(many=True)
    more = serializers.BooleanField(help_text="Whether further results follow.")
    next = serializers.CharField(allow_null=True, help_text="The URL of the next page, for GET.")
    next_offset = serializers.IntegerField(allow_null=True, help_text="The `offset` of the next page.")
    exact = serializers.BooleanField(help_text="Whether every item that passed the filters was compared.")
    took_ms = serializers.FloatField(help_text="The search engine's own time, in milliseconds.")
    degraded = serializers.CharField(help_text="Empty, or why a valid query has few or no results.")
    facets = serializers.DictField(child=FacetSerializer(), help_text=FACETS)
    token = serializers.CharField(help_text="For `events/`; empty while events are off.")
    cut = serializers.IntegerField(help_text=CUT)
    closest = HitSerializer(many=True, help_text=CLOSEST)
    region = BoxSerializer(allow_null=True, help_text="What was searched with, if not all of the picture.")
    messages = MessageSerializer(many=True, help_text="The shop's messages about the answer.")

    def to_representation(self, hits: Hits) -> dict[str, Any]:
        """Serialize all fields at once, as for a hit."""
        shown = HitSerializer(context=self.context).to_representation
        request: Request = self.context["request"]
        more = hits.more and hits.next_offset <= max_offset(request)
        return {
            "results": [shown(hit) for hit in hits],
            "more": more,
            "next": _with_offset(request, hits.next_offset) if more and request.method != "POST" else None,
            "next_offset": hits.next_offset if more else None,
            "exact": hits.exact,
            "took_ms": round(hits.took_ms, 2),
            "degraded": hits.degraded,
            "facets": {field: FacetSerializer(facet).data for field, facet in hits.facets.items()},
            "token": hits.token,
            "cut": hits.cut,
            "closest": [shown(hit) for hit in hits.closest],
            "region": hits.region and BoxSerializer(hits.region).data,
            "messages": [MessageSerializer(message).data for message in hits.messages],
        }


def _with_offset(request: Request, offset: int) -> str:
    query = request.query_params.copy()
    query["offset"] = str(offset)
    return request.build_absolute_uri(f"{escape_uri_path(request.path)}?{query.urlencode()}")


SUGGESTION_WIDTH = 96
"""The width of the picture of a suggestion, in pixels."""


class SuggestedImageSerializer(AnswerSerializer):
    """A small picture of a suggestion."""

    url = serializers.CharField()


class SuggestionSerializer(AnswerSerializer):
    """A suggestion for the words being typed."""

    text = serializers.CharField(help_text="What to search for.")
    kind = serializers.ChoiceField(choices=("item", "category", "brand"))
    url = serializers.CharField(allow_null=True, help_text="The page of an item; else null.")
    image = SuggestedImageSerializer(allow_null=True)

    def to_representation(self, suggestion: Any) -> dict[str, Any]:
        absolute, hit = self.context["request"].build_absolute_uri, suggestion.hit
        is_item = suggestion.kind == "item"
        image = Pictures(registry.for_item(hit.item), hit.item, hit.image.name).url(SUGGESTION_WIDTH)
        return {
            "text": suggestion.text,
            "kind": suggestion.kind,
            "url": _page_of(lambda: hit.item.get_absolute_url(), absolute) if is_item else None,
            "image": {"url": absolute(image)} if image else None,
        }


class SuggestionsSerializer(AnswerSerializer):
    """Suggestions for the words being typed, best first."""

    suggestions = SuggestionSerializer(many=True)


class EventSerializer(AnswerSerializer):
    """What a visitor did with a result."""

    token = serializers.RegexField(r"^[\w.:-]+$", help_text="The token of the answer that the result was in.")
    kind = serializers.ChoiceField(choices=Event.Kind.values)
    item = serializers.RegexField(
        r"^[\w.]+:", max_length=400, help_text="The result: model and primary key, such as `shop.product:7`."
    )
    position = serializers.IntegerField(min_value=0, help_text="Its place in the answer, from 0.")


class EventsSerializer(AnswerSerializer):
    """A batch of at most 100."""

    events = serializers.ListField(child=EventSerializer(), min_length=1, max_length=MAX_BATCH)


class StoredSerializer(AnswerSerializer):
    """The result of storing a batch."""

    stored = serializers.IntegerField(help_text="How many events were new.")


class LookRegionSerializer(AnswerSerializer):
    """A region of the photo with its hits."""

    box = BoxSerializer(source="region")
    # A field of that name, not the serializer's own label.
    label = serializers.CharField(source="region.label", help_text="For machines; empty for a box that was sent.")  # type: ignore[assignment]
    name = serializers.CharField(help_text="The label in the visitor's language.")
    score = serializers.FloatField(source="region.score", help_text="The confidence of the region finder, from 0 to 1.")
    categories = serializers.ListField(
        child=serializers.CharField(), help_text="The categories that were searched; empty for all."
    )
    results = HitSerializer(source="hits", many=True)
    cut = serializers.IntegerField(source="hits.cut", help_text=CUT)
    closest = HitSerializer(source="hits.closest", many=True, help_text=CLOSEST)
    more = serializers.BooleanField(source="hits.more")
    facets = serializers.DictField(child=FacetSerializer(), source="hits.facets", help_text=FACETS)
    token = serializers.CharField(source="hits.token", help_text="For `events/`; empty while events are off.")


class ItemRegionSerializer(AnswerSerializer):
    """A thing in one of an item's own images."""

    id = serializers.CharField(help_text="For `region_id` of `similar/`.")
    image = RegionImageSerializer()
    box = BoxSerializer()
    label = serializers.CharField(help_text="For machines.")  # type: ignore[assignment]
    name = serializers.CharField(help_text="The label in the visitor's language.")
    score = serializers.FloatField(help_text="The confidence of the region finder, from 0 to 1.")
    categories = serializers.ListField(
        child=serializers.CharField(), help_text="The categories that are searched for it; empty for all."
    )
    similar = serializers.CharField(
        allow_null=True, help_text="The URL of a page of items that are similar to it; null if there is none."
    )

    def to_representation(self, found: tuple[Any, ItemRegion]) -> dict[str, Any]:
        item, each = found
        items, absolute = registry.for_item(item), self.context["request"].build_absolute_uri
        url = items.get_image_url(item, each.image)
        return {
            "id": each.id,
            "image": {"name": each.image, "url": absolute(url) if url else None},
            "box": BoxSerializer(each.region).data,
            "label": each.region.label,
            "name": each.name,
            "score": each.region.score,
            "categories": list(each.categories),
            "similar": _page_of(lambda: items.get_region_url(item, each.id), absolute),
        }


class ItemRegionsSerializer(AnswerSerializer):
    """The things in an item's own images, in the order of the images."""

    regions = ItemRegionSerializer(many=True)


class SizeSerializer(AnswerSerializer):
    """The size of the upright photo as it was sent, in pixels."""

    width = serializers.IntegerField()
    height = serializers.IntegerField()


class LookSerializer(AnswerSerializer):
    """A photo, its regions, and the hits for each and for the whole."""

    size = SizeSerializer()
    regions = LookRegionSerializer(many=True)
    results = HitSerializer(many=True, help_text="For the photo as a whole.")
    cut = serializers.IntegerField(help_text=CUT)
    closest = HitSerializer(many=True, help_text=CLOSEST)
    more = serializers.BooleanField()
    facets = serializers.DictField(child=FacetSerializer(), help_text=FACETS)
    token = serializers.CharField(help_text="For `events/`; empty while events are off.")
    photo = serializers.CharField(
        allow_null=True, help_text="The token of the photo in `look/{photo}/region/`; null if it is not held."
    )
    messages = MessageSerializer(many=True, help_text="The shop's messages about the answer.")


class AnswerRenderer(JSONRenderer):
    """Renders JSON as REST framework does, in a fraction of the time if orjson is installed."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> Any:
        indent = self.get_indent(accepted_media_type or "", dict(renderer_context or {}))
        if orjson is not None and data is not None and self.compact and not self.ensure_ascii and not indent:
            with suppress(TypeError):  # what orjson does not write, such as an integer of more than 64 bits
                # Dates as REST framework writes them, with "Z".
                return orjson.dumps(data, default=self.encoder_class().default, option=orjson.OPT_PASSTHROUGH_DATETIME)
        return super().render(data, accepted_media_type, renderer_context)
