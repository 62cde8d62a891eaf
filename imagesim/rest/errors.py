"""Errors of the REST API have one form: ``{"code": …, "detail": …}``, with ``"field"`` if one parameter is at fault."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.response import Response
from rest_framework.views import exception_handler

from imagesim import exceptions
from imagesim.circuit_breaker import log_repeated
from imagesim.middleware import HEADER

logger = logging.getLogger(__name__)

RETRY_AFTER = 30
"""Seconds a client is asked to wait while search is not available."""

RETRY_AFTER_BUSY = 2
"""The same while other photos are in work, of which each takes less than a second."""

_STATUS: tuple[tuple[type[exceptions.ImagesimError], int], ...] = (
    (exceptions.BadQuery, status.HTTP_400_BAD_REQUEST),
    (exceptions.ImageTooLarge, status.HTTP_413_REQUEST_ENTITY_TOO_LARGE),
    (exceptions.UnsupportedFormat, status.HTTP_415_UNSUPPORTED_MEDIA_TYPE),
    (exceptions.BadImage, status.HTTP_400_BAD_REQUEST),
    (exceptions.PhotoGone, status.HTTP_410_GONE),
    (exceptions.NotRegistered, status.HTTP_404_NOT_FOUND),
    (exceptions.NotIndexed, status.HTTP_404_NOT_FOUND),
    (exceptions.Busy, status.HTTP_503_SERVICE_UNAVAILABLE),
    (exceptions.DeadlineExceeded, status.HTTP_503_SERVICE_UNAVAILABLE),
    (exceptions.CircuitOpen, status.HTTP_503_SERVICE_UNAVAILABLE),
    (exceptions.SearchIndexError, status.HTTP_503_SERVICE_UNAVAILABLE),
    (exceptions.EmbedderError, status.HTTP_503_SERVICE_UNAVAILABLE),
)


class RequestTooLarge(APIException):
    """The body is larger than anything that is accepted, known from its length alone."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "request_too_large"
    default_detail = _("The request is too large; send a smaller picture.")


class LengthRequired(APIException):
    """The body comes in chunks. Django and DRF take it for an empty one, as its length is nowhere given."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_required"
    default_detail = _("The request has no Content-Length; a body in chunks is not accepted.")


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler for the views here; None, and so a reported 500, for unexpected errors."""
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
    code = next((code for kind, code in _STATUS if isinstance(error, kind)), None)
    if code is None:
        return None
    if code != status.HTTP_503_SERVICE_UNAVAILABLE:
        return _answer(error.code, str(error), code, getattr(error, "field", ""))
    detail = str(error)
    if not isinstance(error, exceptions.Busy | exceptions.DeadlineExceeded):
        # The internal cause is only logged; a visitor only needs to know what to do.
        message = "Search is not available (%s): %s"
        log_repeated(logger, logging.ERROR, error.code, message, error.code, error, exc_info=error)
        detail = str(_("The search is not available; try again in a moment."))
    response = _answer(error.code, detail, code)
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
