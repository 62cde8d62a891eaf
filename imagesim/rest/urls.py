"""``path("api/visual/", include("imagesim.rest.urls"))``."""

import re
from collections.abc import Callable
from functools import wraps

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, register_converter
from django.urls.converters import PathConverter

from imagesim.conf import install_hint
from imagesim.pages.thumbnails import thumbnail

app_name = "imagesim"


class PrimaryKey(PathConverter):
    """Any text, including slashes and line breaks."""

    regex = "(?s:.+)"


register_converter(PrimaryKey, "imagesim_pk")


def endpoint(route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    """Return a path whose view gets only the arguments of ``route``: the project's prefix can have others."""
    names = re.findall(r"<\w+:(\w+)>", route)

    @wraps(view)
    def call(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return view(request, **{each: kwargs[each] for each in names})

    return path(route, call, name=name)


try:
    from imagesim.rest import views
except ModuleNotFoundError as error:
    if not (hint := install_hint(error)):
        raise
    missing = f"imagesim.rest.urls needs the package {(error.name or '').partition('.')[0]!r}. {hint}"

    def refuse(request: HttpRequest, path: str) -> HttpResponse:
        """Replaces the API, so that the project's URLs can be imported and `check` can report what is missing."""
        raise ImproperlyConfigured(missing)

    urlpatterns = [path("<path:path>", refuse)]
else:
    endpoints = [
        endpoint("items/<str:model>/<imagesim_pk:pk>/similar/", views.SimilarView.as_view(), "similar"),
        endpoint("items/<str:model>/<imagesim_pk:pk>/regions/", views.ItemRegionsView.as_view(), "item_regions"),
        endpoint("search/", views.SearchView.as_view(), "search"),
        endpoint("suggest/", views.SuggestView.as_view(), "suggest"),
        endpoint("look/", views.LookView.as_view(), "look"),
        endpoint("look/<str:token>/", views.HeldLookView.as_view(), "held_look"),
        endpoint("look/<str:token>/photo/", views.HeldPhotoView.as_view(), "held_photo"),
        endpoint("look/<str:token>/region/", views.LookRegionView.as_view(), "look_region"),
        endpoint("events/", views.EventsView.as_view(), "events"),
    ]
    urlpatterns = [
        *endpoints,
        endpoint("thumbnail/<str:signed>/", thumbnail, "thumbnail"),
        endpoint("schema/", views.SchemaView.as_view(patterns=endpoints), "schema"),
    ]
