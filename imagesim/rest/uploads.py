"""What a request may cost: bytes known before they are read, pictures counted before they are decoded, time bounded.

The REST views keep to it; :func:`limit_uploads` gives the same limits to an HTML view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import SimpleNamespace
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from imagesim.conf import get_settings
from imagesim.exceptions import Busy, DeadlineExceeded
from imagesim.rest.errors import RETRY_AFTER, RequestTooLarge
from imagesim.rest.throttles import VisitorThrottle
from imagesim.retrieval.concurrency import deadline, photo_slot

FORM_BYTES = 64 * 1024
"""What everything but the picture may take together."""

View = Callable[..., HttpResponse]
Refusal = Callable[[HttpRequest, str, int], HttpResponse]


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


def check_length(request: HttpRequest) -> None:
    """Refuse a body by its length alone, and keep what passes in memory. Call it before anything reads the body.

    :raises RequestTooLarge: if it is longer than a form with one picture of the largest size.
    """
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    multipart = (request.content_type or "").lower() == "multipart/form-data"
    if length > (get_settings().MAX_IMAGE_BYTES if multipart else 0) + FORM_BYTES:
        raise RequestTooLarge
    if multipart and not hasattr(request, "_files"):  # some middleware may have read it already
        request.upload_handlers = [InMemoryUploadHandler(request)]


@contextmanager
def budget(*, pictures: bool) -> Iterator[None]:
    """The time that a request may take, and one of the slots of the process where it brings pictures.

    :raises Busy: if no slot became free.
    :raises DeadlineExceeded: past ``REQUEST_SECONDS``, at the next step of the work.
    """
    with ExitStack() as stack:
        stack.enter_context(deadline(get_settings().REQUEST_SECONDS))
        if pictures:
            stack.enter_context(photo_slot())
        yield


def limit_uploads(scope: str, *, refused: Refusal | None = None) -> Callable[[View], View]:
    """Give an HTML view the limits of the REST views: ``@limit_uploads("look")``.

    A body that is too long is refused before it is read, even by the CSRF check; what passes is kept in memory. POSTs,
    and GETs with a query string, are counted in the throttle ``scope`` and must end within ``REQUEST_SECONDS``; POSTs,
    and all that counts as ``look``, take one of the slots for photos. ``refused(request, message, status)`` makes the
    page where something is refused (413, 429, 503); by default it is plain text. The view must not take a slot itself.
    """
    refuse = refused or _plain

    def decorate(view: View) -> View:
        protected = csrf_protect(_within_budget(view, scope, refuse))

        @wraps(view)
        def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            throttle = VisitorThrottle()
            counted = request.method == "POST" or bool(request.META.get("QUERY_STRING"))
            try:
                check_length(request)
                if counted and not throttle.allow_request(request, SimpleNamespace(throttle_scope=scope)):  # type: ignore[arg-type]
                    message = _("These were many searches in a short time; try again in a little while.")
                    return _retry(refuse(request, message, 429), throttle.wait())
                request.POST  # noqa: B018  # read before a slot is taken: a slow sender must not keep one
            except (RequestTooLarge, RequestDataTooBig):
                request._mark_post_parse_error()  # type: ignore[attr-defined]  # so that the page which refuses it does not read the rest
                return refuse(request, str(RequestTooLarge.default_detail), 413)
            response: HttpResponse = protected(request, *args, **kwargs)
            return response

        return csrf_exempt(limited)

    return decorate


def _within_budget(view: View, scope: str, refuse: Refusal) -> View:
    def bounded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        posted = request.method == "POST"
        if not posted and not request.META.get("QUERY_STRING"):
            return view(request, *args, **kwargs)
        try:
            with budget(pictures=posted or scope == "look"):
                return view(request, *args, **kwargs)
        except (Busy, DeadlineExceeded) as error:
            return _retry(refuse(request, str(error), 503), RETRY_AFTER)

    return bounded


def _plain(request: HttpRequest, message: str, status: int) -> HttpResponse:
    return HttpResponse(message, status=status, content_type="text/plain; charset=utf-8")


def _retry(response: HttpResponse, seconds: float | None) -> HttpResponse:
    response["Retry-After"] = str(round(seconds or RETRY_AFTER))
    return response
