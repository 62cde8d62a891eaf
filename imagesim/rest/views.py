"""The views of the REST API, ``similar``, ``search``, ``look`` and others, and its schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext as _
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from rest_framework.parsers import BaseParser, FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from imagesim import __version__, events
from imagesim.conf import get_settings
from imagesim.database import without_transaction
from imagesim.exceptions import BadQuery
from imagesim.items import Items, make_key
from imagesim.items.hydrate import load_items
from imagesim.items.registry import registry
from imagesim.rest import inputs
from imagesim.rest import schema as described
from imagesim.rest.base import RestrictedView, permitted
from imagesim.rest.serializers import (
    AnswerRenderer,
    HitsSerializer,
    ItemRegionsSerializer,
    LookRegionSerializer,
    LookSerializer,
    StoredSerializer,
    SuggestionsSerializer,
)
from imagesim.rest.uploads import (
    BoundedJSONParser,
    RefusalThrottle,
    VisitorThrottle,
    budget,
    check_length,
    first_picture,
    visitor,
)
from imagesim.retrieval import look, photo_store, query_image, search, suggestions
from imagesim.retrieval.arguments import Searched, only
from imagesim.retrieval.query_vector import check_term_count
from imagesim.retrieval.regions import item_regions
from imagesim.types import Hits


class VisualSearchView(RestrictedView):
    """The base of the views: JSON answers, and throttles from ``IMAGESIM``."""

    throttle_scope = ""
    parser_classes: Sequence[type[BaseParser]] = (MultiPartParser, FormParser, BoundedJSONParser)
    renderer_classes = (AnswerRenderer,)
    throttle_classes = (RefusalThrottle, VisitorThrottle)

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view without the transaction of ``ATOMIC_REQUESTS``, which would stay open during an embedding,
        and which on SQLite can hold the write lock."""
        return without_transaction(super().as_view(**initkwargs))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        check_length(request._request)  # must be first: authentication may read the body
        super().initial(request, *args, **kwargs)

    def read(self, form: type[inputs.Form], given: dict[str, Any], searched: Searched | None = None) -> dict[str, Any]:
        """Return the keyword arguments for the call, as the shop allows them to this visitor."""
        return permitted(self.request, form.read(self.request, given, searched))

    def get_throttles(self) -> list[Any]:
        made = super().get_throttles()
        self.counted = [*getattr(self, "counted", []), *made]
        return made

    def count_pictures(self, request: Request, count: int) -> None:
        """Count each picture of a request as a separate request; the first was counted with the request.

        :raises BadQuery: if there are too many for one query. Nothing has been decoded so far.
        """
        check_term_count(count)
        for _number in range(1, count):
            self.check_throttles(request)

    def get_item(self, items: Items[Any], pk: str) -> Any:
        """Return the item if the shop shows it now, and this visitor may see it."""
        found = {} if "\0" in pk else load_items([make_key(items.label, pk)], to_many=False)
        if not found:
            raise Http404
        [item] = found.values()
        self.check_object_permissions(self.request, item)
        return item

    def answer(self, hits: Hits) -> Response:
        return Response(HitsSerializer(hits, context={"request": self.request}).data)


class SimilarView(VisualSearchView):
    """Return items that look similar to an item of the shop."""

    throttle_scope = "similar"
    schema = described.VisualSearchSchema(get=described.SIMILAR)

    def get(self, request: Request, model: str, pk: str) -> Response:
        items = registry.for_label(model)
        arguments = self.read(inputs.SimilarQuery, _query(request), (items,))
        with budget(pictures=False):
            timeout = get_settings().SIMILAR_SECONDS
            return self.answer(search.similar_to(self.get_item(items, pk), timeout=timeout, **arguments))


class ItemRegionsView(VisualSearchView):
    """The things in an item's own images."""

    throttle_scope = "similar"
    schema = described.VisualSearchSchema(get=described.ITEM_REGIONS)

    def get(self, request: Request, model: str, pk: str) -> Response:
        items = registry.for_label(model)
        with budget(pictures=False):
            item = self.get_item(items, pk)
            found = [(item, region) for region in item_regions(item)]
        return Response(ItemRegionsSerializer({"regions": found}, context={"request": request}).data)


class SearchView(VisualSearchView):
    """Items that match a picture, words, or both."""

    throttle_scope = "search"
    schema = described.VisualSearchSchema(get=described.SEARCH_BY_TEXT, post=described.SEARCH)

    def get(self, request: Request) -> Response:
        arguments = self.read(inputs.WordsQuery, _query(request))
        with budget(pictures=False):
            return self.answer(search.search(**arguments))

    def post(self, request: Request) -> Response:
        given, image = _posted(request, pictures=("image", "like", "unlike"))
        arguments = self.read(inputs.SearchForm, given)
        files = {name: request.FILES.getlist(name) for name in request.FILES}
        self.count_pictures(request, sum(map(len, files.values())))
        for name, pictures in (
            ("like", [*files.get("image", [])[1:], *files.get("like", [])]),
            ("unlike", files.get("unlike")),
        ):
            if pictures:
                arguments[name] = [*arguments.get(name, []), *pictures]
        with budget(pictures=bool(files)):
            picture = image and (first_picture([image], self.counted) or image)
            return self.answer(search.search(image=picture, **arguments))


class SuggestView(VisualSearchView):
    """Names of items, categories and brands for words that are being typed."""

    throttle_scope = "suggest"
    schema = described.VisualSearchSchema(get=described.SUGGEST)

    def get(self, request: Request) -> Response:
        arguments = self.read(inputs.SuggestQuery, _query(request))
        with budget(pictures=False):
            found = suggestions.suggest(**arguments)
        return Response(SuggestionsSerializer({"suggestions": found}, context={"request": request}).data)


class LookView(VisualSearchView):
    """The regions of a photo, with similar items for each."""

    throttle_scope = "look"
    schema = described.VisualSearchSchema(post=described.LOOK)

    def post(self, request: Request) -> Response:
        given, image = _posted(request)
        if image is None:
            raise BadQuery(_("Send a photo as a file named 'image', in multipart/form-data."), field="image")
        arguments = self.read(inputs.LookForm, given)
        with budget(pictures=True):
            photo = query_image.read_picture(first_picture([image], self.counted) or image)
            seen = look.shop_the_look(photo, **arguments)
            token = photo_store.store(photo.decode(), photo.size, visitor(request))
        return _look_response(request, seen, token, photo.size)


class HeldLookView(VisualSearchView):
    """Return the look of a stored photo, for a page that is reloaded or shared while the photo is held."""

    throttle_scope = "region"
    schema = described.VisualSearchSchema(post=described.HELD_LOOK)
    form: type[inputs.Form] = inputs.HeldLookForm

    def post(self, request: Request, token: str) -> Response:
        given, image = _posted(request)
        if image is not None:
            raise BadQuery(_("The photo is stored already; do not send it again."), field="image")
        arguments = self.read(self.form, given)
        with budget(pictures=True):
            photo, size = photo_store.load(token)
            seen = look.shop_the_look(query_image.QueryImage(photo, size), **arguments)
        return self.respond(request, seen, token, size)

    def respond(self, request: Request, seen: look.Look, token: str, size: tuple[int, int]) -> Response:
        return _look_response(request, seen, token, size)


class LookRegionView(HeldLookView):
    """Search a box that the visitor moved or drew, in a stored photo."""

    schema = described.VisualSearchSchema(post=described.LOOK_REGION)
    form = inputs.LookRegionForm

    def post(self, request: Request, token: str) -> Response:
        try:
            return super().post(request, token)
        except BadQuery as error:
            if error.field == "regions":  # the argument of the call that the parameter becomes
                error.field = "region"
            raise

    def respond(self, request: Request, seen: look.Look, token: str, size: tuple[int, int]) -> Response:
        return Response(LookRegionSerializer(seen.regions[0], context={"request": request}).data)


class HeldPhotoView(VisualSearchView):
    """Return the stored photo of a token, as a JPEG without metadata."""

    throttle_scope = "region"
    may_be_stored = False
    schema = described.VisualSearchSchema(get=described.HELD_PHOTO)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Accept every ``Accept`` header: the renderers are only for errors, and this is a JPEG."""
        return super().perform_content_negotiation(request, force=True)

    def get(self, request: Request, token: str) -> HttpResponse:
        data, _size = photo_store.load_jpeg(token)
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
        return HttpResponse(data, content_type="image/jpeg", headers=headers)


class EventsView(VisualSearchView):
    """What a visitor saw, clicked or put into the cart, in batches; 404 unless events are on."""

    throttle_scope = "events"
    parser_classes = (BoundedJSONParser,)
    schema = described.VisualSearchSchema(post=described.EVENTS)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if not events.enabled():
            raise Http404
        super().initial(request, *args, **kwargs)

    def post(self, request: Request) -> Response:
        batch = request.data.get("events") if isinstance(request.data, Mapping) else request.data
        if not isinstance(batch, list):
            raise BadQuery(_("Send a JSON object with a list named 'events'."), field="events")
        return Response(StoredSerializer({"stored": events.store(batch)}).data)


class SchemaView(RestrictedView):
    """The OpenAPI description of the views at ``patterns``, at the URL under which the shop includes them."""

    patterns: Sequence[URLPattern] = ()
    renderer_classes = (OpenApiYamlRenderer, OpenApiYamlRenderer2, OpenApiJsonRenderer, OpenApiJsonRenderer2)
    schema = None

    def get(self, request: Request) -> Response:
        generator: Any = described.OwnSchemaGenerator(patterns=self.patterns)  # type: ignore[no-untyped-call]
        generator.coerce_path_pk = False
        description = generator.get_schema()
        root = request.path.removesuffix("/").rpartition("/")[0]
        description["info"] = {
            "title": _("Visual search"),
            "version": __version__,
            "description": _("Similar products, and search by picture or by words."),
        }
        description["paths"] = {root + path: operations for path, operations in description["paths"].items()}
        return Response(description)


def _look_response(request: Request, seen: look.Look, token: str, size: tuple[int, int]) -> Response:
    answer = {
        "photo": token or None,
        "token": seen.token,
        "size": {"width": size[0], "height": size[1]},
        "regions": seen.regions,
        "results": list(seen.hits),
        "cut": seen.hits.cut,
        "closest": list(seen.hits.closest),
        "more": seen.hits.more,
        "facets": seen.hits.facets,
        "messages": seen.messages,
    }
    return Response(LookSerializer(answer, context={"request": request}).data)


def _query(request: Request) -> dict[str, Any]:
    """Return the query string without the parameter that chooses the renderer, such as ``format=json``."""
    return {name: texts for name, texts in request.query_params.lists() if name != api_settings.URL_FORMAT_OVERRIDE}


def _posted(request: Request, *, pictures: Collection[str] = ()) -> tuple[dict[str, Any], UploadedFile[bytes] | None]:
    """Return the values in the body and the query string of a POST, and its image (the first one, if there may be
    several under the names in ``pictures``)."""
    if not isinstance(request.data, Mapping):
        raise BadQuery(_("The body must be a form or a JSON object."))
    image = _image(request, pictures)
    given: dict[str, Any] = {**_query(request)}
    for name in request.data:
        if name not in request.FILES:
            values = request.data
            given[name] = values.getlist(name) if hasattr(values, "getlist") else values[name]
        elif name in pictures and name != "image":  # words along with pictures
            given[name] = request.POST.getlist(name)
    return given, image


def _image(request: Request, several: Collection[str]) -> UploadedFile[bytes] | None:
    for name, files in request.FILES.lists():
        if name not in several:
            if name != "image":
                message = _("Send one file, named 'image', not %(name)r.")
                raise BadQuery(message % {"name": name[:100]}, field=name[:100])
            only(name, files)
    image: UploadedFile[bytes] | None = next(iter(request.FILES.getlist("image")), None)
    if (
        image is None and isinstance(request.data, Mapping) and request.data.get("image")
    ):  # a form with no file chosen sends an empty string
        raise BadQuery(_("'image' is text; send the picture as a file, in multipart/form-data."), field="image")
    return image
