"""The base of the views: who may ask for what, by the classes and functions that ``IMAGESIM`` names; and errors.

Errors have one form: ``{"code": …, "detail": …}``, with ``"field"`` if one parameter is at fault.
"""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest
from django.utils.cache import patch_cache_control
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from imagesim import exceptions
from imagesim.circuit_breaker import log_repeated, logged, outage_of
from imagesim.conf import get_settings
from imagesim.database import CONNECTION_ERRORS, is_read_only
from imagesim.middleware import HEADER

logger = logging.getLogger(__name__)

RETRY_AFTER = 30
"""How many seconds a client is asked to wait while search is not available."""

RETRY_AFTER_BUSY = 2
"""The same while other photos are being processed, each of which takes less than a second."""

_UNAVAILABLE = (exceptions.CircuitOpen, exceptions.SearchIndexError, exceptions.EmbedderError)
_STATUS: dict[type[exceptions.ImagesimError], int] = {
    exceptions.BadQuery: status.HTTP_400_BAD_REQUEST,
    exceptions.ImageTooLarge: status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    exceptions.UnsupportedFormat: status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
    exceptions.BadImage: status.HTTP_400_BAD_REQUEST,
    exceptions.PhotoGone: status.HTTP_410_GONE,
    exceptions.NotRegistered: status.HTTP_404_NOT_FOUND,
    exceptions.NotIndexed: status.HTTP_404_NOT_FOUND,
    **dict.fromkeys((exceptions.Busy, exceptions.DeadlineExceeded, *_UNAVAILABLE), status.HTTP_503_SERVICE_UNAVAILABLE),
}
"""The status of each error; the first class that matches counts."""


class RequestTooLarge(APIException):
    """The body is larger than anything that is accepted, known from its length alone."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "request_too_large"
    default_detail = _("The request is too large; send a smaller picture.")


class LengthRequired(APIException):
    """The body is sent in chunks. Django and DRF take it for an empty one, because its length is not given."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_required"
    default_detail = _("The request has no Content-Length; a body in chunks is not accepted.")


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Handle errors for the views here, in place of DRF's handler; return None, and so a reported 500, for unexpected
    ones."""
    if isinstance(error, CONNECTION_ERRORS) or is_read_only(error):  # such as while the items' database is restarted
        cause, error = error, exceptions.IndexUnavailable(f"The database cannot be used: {error}")
        error.__cause__ = cause
    if isinstance(error, exceptions.ImagesimError):
        return _answer_own(error)
    if isinstance(error, RequestDataTooBig):
        error = RequestTooLarge()
    elif isinstance(error, SuspiciousOperation):  # too many fields or files
        return _answer("bad_request", str(error), status.HTTP_400_BAD_REQUEST)
    response = exception_handler(error, context)
    if response is not None:
        detail = response.data.get("detail") if isinstance(response.data, dict) else None
        code = detail.code if isinstance(detail, ErrorDetail) else "invalid"
        response.data = {"code": code, "detail": f"{str(detail or response.data).rstrip('.')}."}
    return response


def _answer_own(error: exceptions.ImagesimError) -> Response | None:
    code = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
    if code is None:
        return None
    if code != status.HTTP_503_SERVICE_UNAVAILABLE:
        return _answer(error.code, str(error), code, getattr(error, "field", ""))
    detail = str(error)
    if isinstance(error, _UNAVAILABLE):
        # The internal cause is only logged; a visitor only needs to know what to do.
        message = "Search is not available (%s): %s"
        log_repeated(logger, logging.ERROR, outage_of(error), message, error.code, error, exc_info=error)
        detail = str(_("The search is not available; try again in a moment."))
    else:
        log_repeated(logger, logging.WARNING, error.code, "A request was refused (%s): %s", error.code, error)
    response = logged(_answer(error.code, detail, code))
    response["Retry-After"] = str(retry_after(error))
    response[HEADER] = error.code
    return response


def retry_after(error: exceptions.ImagesimError) -> int:
    """Return the seconds after which to try again."""
    return RETRY_AFTER_BUSY if isinstance(error, exceptions.Busy) else RETRY_AFTER


def _answer(code: str, detail: str, http_status: int, field: str = "") -> Response:
    data = {"code": code, "detail": detail} | ({"field": field} if field else {})
    # A name in JSON can contain half of a surrogate pair, which cannot be encoded.
    return Response({name: _encodable(text) for name, text in data.items()}, status=http_status)


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


class RestrictedView(APIView):
    """A view with the authentication and the permissions from ``IMAGESIM``, one form of errors, and answers that no
    shared cache keeps and no search engine lists."""

    may_be_stored = True
    """Whether a browser may store the answer, and ask later whether it has changed."""
    # The versions and the negotiation of the shop's own API do not apply to these URLs.
    versioning_class = None
    content_negotiation_class = DefaultContentNegotiation

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [made() for made in _named("REST_AUTHENTICATION")] or super().get_authenticators()

    def get_permissions(self) -> list[BasePermission]:
        return [made() for made in _named("REST_PERMISSIONS")] or list(super().get_permissions())

    def get_exception_handler(self) -> Any:
        return handle

    def finalize_response(self, request: HttpRequest, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[arg-type]
        fresh = self.may_be_stored and request.method in ("GET", "HEAD") and response.status_code == 200
        # Stock and prices change at any time. The cache middleware of Django 5.2 keeps whatever is not private.
        patch_cache_control(response, private=True, **{"no_cache" if fresh else "no_store": True})
        response.headers.setdefault("X-Robots-Tag", "noindex")  # the shop's own pages show the results
        return response


def permitted(request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call as the shop's functions in ``REST_ARGUMENTS`` allow them to this visitor.

    :raises ConfigurationError: if one of them returns no arguments.
    """
    for path, change in zip(get_settings().REST_ARGUMENTS, _named("REST_ARGUMENTS"), strict=True):
        arguments = change(request, arguments)
        if not isinstance(arguments, dict):
            raise exceptions.ConfigurationError(f"{path!r} returns {arguments!r:.100}; it must return the arguments.")
    return arguments


def _named(setting: str) -> list[Any]:
    """Return what the dotted paths in ``IMAGESIM[setting]`` name."""
    try:
        return [import_string(path) for path in getattr(get_settings(), setting)]
    except ImportError as error:
        raise exceptions.ConfigurationError(f"IMAGESIM[{setting!r}] cannot be imported: {error}.") from error
