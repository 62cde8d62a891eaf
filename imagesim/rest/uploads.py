"""Bodies: bounded before they are read, held in memory while they are used, never kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import IO, Any

from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from imagesim.conf import get_settings
from imagesim.rest.errors import Busy, RequestTooLarge

FORM_BYTES = 64 * 1024
"""What everything but the picture may take together."""


DECODED_AT_ONCE = max(2, os.cpu_count() or 1)
"""Photos of visitors in work at one time in one process: each may take some hundred megabytes while it is decoded."""

WAITING_AT_ONCE = 2 * DECODED_AT_ONCE
"""Requests that wait for a place. Further ones are sent away at once, so that a flood does not take every thread."""

WAIT_SECONDS = 10

_slots = BoundedSemaphore(DECODED_AT_ONCE)
_queue = BoundedSemaphore(WAITING_AT_ONCE)


@contextmanager
def slot() -> Iterator[None]:
    """Wait a little for one of the places in which photos are worked on, so that a flood cannot stop the shop.

    :raises Busy: if none became free, or too many wait already.
    """
    if not _slots.acquire(blocking=False):
        if not _queue.acquire(blocking=False):
            raise Busy
        try:
            if not _slots.acquire(timeout=WAIT_SECONDS):
                raise Busy
        finally:
            _queue.release()
    try:
        yield
    finally:
        _slots.release()


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
