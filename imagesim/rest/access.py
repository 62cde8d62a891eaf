"""Who may ask the REST API, and for what: the classes and functions that ``IMAGESIM`` names."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.cache import patch_cache_control
from django.utils.module_loading import import_string
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from imagesim.conf import get_settings
from imagesim.exceptions import ConfigurationError
from imagesim.rest import errors


class RestrictedView(APIView):
    """A view with the authentication and the permissions from ``IMAGESIM``, one form of errors, and answers that no
    shared cache keeps."""

    may_be_stored = True
    """Whether a browser may store what it gets, to ask whether it has changed."""
    versioning_class = None  # the shop's own versions are not of these addresses

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [made() for made in _named("REST_AUTHENTICATION")] or super().get_authenticators()

    def get_permissions(self) -> list[BasePermission]:
        return [made() for made in _named("REST_PERMISSIONS")] or list(super().get_permissions())

    def get_exception_handler(self) -> Any:
        return errors.handle

    def finalize_response(self, request: HttpRequest, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[arg-type]
        fresh = self.may_be_stored and request.method in ("GET", "HEAD") and response.status_code == 200
        # Stock and prices change at any time. The cache middleware of Django 5.2 keeps whatever is not private.
        patch_cache_control(response, private=True, **{"no_cache" if fresh else "no_store": True})
        return response


def permitted(request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call as the shop's functions in ``REST_ARGUMENTS`` let this visitor give them."""
    for change in _named("REST_ARGUMENTS"):
        arguments = change(request, arguments)
    return arguments


def _named(setting: str) -> list[Any]:
    """What the dotted paths in ``IMAGESIM[setting]`` name."""
    try:
        return [import_string(path) for path in getattr(get_settings(), setting)]
    except ImportError as error:
        raise ConfigurationError(f"IMAGESIM[{setting!r}] cannot be imported: {error}.") from error
