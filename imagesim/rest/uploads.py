"""Bodies: bounded before they are read, held in memory while they are used, never kept."""

from __future__ import annotations

from typing import IO, Any

from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from imagesim.conf import get_settings
from imagesim.rest.errors import RequestTooLarge

FORM_BYTES = 64 * 1024
"""What everything but the picture may take together."""


class InMemoryUploadHandler(MemoryFileUploadHandler):
    """A visitor's photo never touches the disk. Its size was bounded by the length of the request."""

    def handle_raw_input(self, *args: Any, **kwargs: Any) -> None:
        self.activated = True


class BoundedJSONParser(JSONParser):
    """JSON whose nesting cannot exhaust the stack."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError(_("The JSON is nested too deeply.")) from error


def check_length(request: Request) -> None:
    """Refuse a body by its length alone, and have what passes kept in memory. Call it before anything reads the body.

    :raises RequestTooLarge: if it cannot hold an acceptable picture.
    """
    plain = request._request
    try:
        length = int(plain.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    multipart = (plain.content_type or "").lower() == "multipart/form-data"
    if length > (get_settings().MAX_IMAGE_BYTES if multipart else 0) + FORM_BYTES:
        raise RequestTooLarge
    if multipart and not hasattr(plain, "_files"):  # some middleware may have read it already
        plain.upload_handlers = [InMemoryUploadHandler(plain)]
