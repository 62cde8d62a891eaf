"""What a request may cost.

The number of searches per visitor is limited, the size of a body is known before it is read, pictures are counted
before they are decoded, and time is bounded.

The REST views keep to these limits; :func:`limit_uploads` gives the same limits to an HTML view.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, wraps
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle

from imagesim import shared_cache
from imagesim.addresses import address_of, forwarded_for, is_global, number_of_proxies
from imagesim.conf import Settings, get_settings
from imagesim.exceptions import BadImage, Busy, ConfigurationError, DeadlineExceeded, format_choices
from imagesim.pages.widgets import api_url
from imagesim.rest.base import RETRY_AFTER, LengthRequired, RequestTooLarge, retry_after
from imagesim.retrieval import photo_store
from imagesim.retrieval.concurrency import deadline, photo_slot
from imagesim.retrieval.query_image import QueryImage, read_picture, take

if TYPE_CHECKING:
    from imagesim.retrieval.query_image import Picture

logger = logging.getLogger(__name__)


class Counts:
    """Django's default cache. While it cannot be reached, nothing is counted, and only the slots for photos and the
    time limit of a request remain."""

    @staticmethod
    def get(key: str, default: list[float]) -> list[float]:
        known: list[float] | None = shared_cache.read(key)
        return default if known is None else known

    set = staticmethod(shared_cache.keep)


class VisitorThrottle(ScopedRateThrottle):
    """One count per scope and visitor, in the default cache."""

    cache: Any = Counts()
    cache_format = "imagesim.throttle.%(scope)s.%(ident)s"

    def get_rate(self) -> str | None:
        return get_settings().REST_THROTTLES.get(self.scope or "")

    def get_cache_key(self, request: Request, view: Any) -> str:
        return self.cache_format % {"scope": self.scope, "ident": visitor(request)}

    def throttle_failure(self) -> bool:
        """Allow the request after all if the count is from a clock that was ahead: a visitor would wait until that
        time."""
        limits: Any = self  # untyped there
        self.history = [time for time in self.history if time <= self.now + limits.duration]
        return len(self.history) < limits.num_requests and self.throttle_success()

    def refuse(self) -> None:
        """Take this request out of the count of searches, because its file was not a picture."""
        if self.rate is not None:
            history = self.cache.get(self.key, [])
            if self.now in history:
                history.remove(self.now)
                self.cache.set(self.key, history, self.duration)  # type: ignore[attr-defined]


class RefusalThrottle(VisitorThrottle):
    """Counts only requests whose files are not pictures. Above the rate, no more pictures are read."""

    def allow_request(self, request: Any, view: Any) -> bool:
        scope: Any = SimpleNamespace(throttle_scope="refused")
        return request.method != "POST" or super().allow_request(request, scope)

    def throttle_success(self) -> bool:
        return True

    def refuse(self) -> None:
        if self.rate is not None:
            self.cache.set(self.key, [self.now, *self.cache.get(self.key, [])], self.duration)  # type: ignore[attr-defined]


def visitor(request: HttpRequest | Request) -> str:
    """Return the sender of the request: ``user-7`` if signed in, else ``address-203.0.113.5``."""
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return f"user-{quote(str(user.pk), safe='')}"
    address = address_of(request)
    if forwarded_for(request) and number_of_proxies() is None and not is_global(address):
        _warn_of_proxy()
    return f"address-{quote(address[:100], safe=':')}"


@cache  # once per process
def _warn_of_proxy() -> None:
    logger.warning(
        "A request has X-Forwarded-For and comes from a private address, as those of a proxy do, but "
        "REST_FRAMEWORK['NUM_PROXIES'] is not set: all visitors who are not signed in share one count of searches. "
        "Set it to the number of proxies that add to X-Forwarded-For, usually 1, or to 0 if there is none.",
        extra={"event_name": "proxies.unknown"},
    )


FORM_BYTES = 64 * 1024
"""The size, in bytes, that everything but the picture may take together."""


def first_picture(files: Collection[Any], throttles: Iterable[VisitorThrottle]) -> QueryImage | None:
    """Return the first file with an acceptable header. If there is none, the request counts as refused and not as a
    search.
    """
    for file in files:
        with suppress(BadImage):
            return take(file)
    for throttle in throttles if files else ():
        throttle.refuse()
    return None


def photo_url(request: HttpRequest, photo: Picture) -> str:
    """Store a visitor's photo for a few minutes, for a page to show it; return its URL, empty if it cannot be stored.

    :raises BadImage: if the photo cannot be accepted.
    """
    picture = read_picture(photo)
    token = photo_store.store(picture.decode(), picture.size, visitor(request))
    return api_url("held_photo", request, token=token) if token else ""


View = Callable[..., HttpResponseBase]
AsyncView = Callable[..., Coroutine[Any, Any, HttpResponseBase]]
Refusal = Callable[[HttpRequest, str, int], HttpResponse]


class InMemoryUploadHandler(MemoryFileUploadHandler):
    """Keeps uploads in memory: a visitor's photo is never written to disk. The length of the request limits its
    size."""

    def handle_raw_input(self, *args: Any, **kwargs: Any) -> None:
        self.activated = True


class BoundedJSONParser(JSONParser):
    """A JSON parser that limits nesting, so that it cannot exhaust the stack."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError(_("The JSON is nested too deeply.")) from error


def check_length(request: HttpRequest) -> None:
    """Reject a body by its length alone, and keep accepted ones in memory. Call it before anything reads the body.

    :raises RequestTooLarge: if it is longer than a form with one picture of the largest size.
    :raises LengthRequired: if the length is not known.
    """
    in_chunks = request.headers.get("Transfer-Encoding") and not request.META.get("CONTENT_LENGTH")
    if request.method == "POST" and in_chunks:
        raise LengthRequired
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    multipart = (request.content_type or "").lower() == "multipart/form-data"
    if length > (get_settings().MAX_IMAGE_BYTES if multipart else 0) + FORM_BYTES:
        raise RequestTooLarge
    if multipart and not hasattr(request, "_files"):  # a middleware may have read it already
        request.upload_handlers = [InMemoryUploadHandler(request)]


def check_charset(request: HttpRequest) -> None:
    """Reject a codec that is not a character set, such as ``hex``: neither the body nor the query string could be read.

    :raises UnsupportedMediaType: if arbitrary bytes cannot be decoded with it.
    """
    try:
        b"\xff\xfe".decode(request.encoding or "utf-8", errors="replace")
    except (LookupError, ValueError) as error:
        request.encoding = settings.DEFAULT_CHARSET  # for the code that makes the answer
        raise UnsupportedMediaType(request.META.get("CONTENT_TYPE", "")) from error


@contextmanager
def budget(*, pictures: bool) -> Iterator[None]:
    """Set the deadline of a request, and hold a photo slot if it has pictures.

    :raises Busy: if no slot became free.
    :raises DeadlineExceeded: past ``REQUEST_SECONDS``, at the next step of the work.
    """
    with ExitStack() as stack:
        stack.enter_context(deadline(get_settings().REQUEST_SECONDS))
        if pictures:
            stack.enter_context(photo_slot())
        yield


def limit_uploads(
    scope: str, *, params: Collection[str] | None = None, refused: Refusal | None = None
) -> Callable[[View | AsyncView], View]:
    """Give an HTML view the limits of the REST views: ``@limit_uploads("look", params=["sample"])``.

    A body that is too long is refused before it is read, even by the CSRF check; what passes is kept in memory. POSTs,
    and GETs that search, are counted in the throttle ``scope`` and must end within ``REQUEST_SECONDS``; POSTs, and all
    that counts as ``look``, take one of the slots for photos. A GET searches if it has a value for one of ``params``,
    or, unless these are named, any query string. ``refused(request, message, status)`` returns the page if something is
    refused (411, 413, 415, 429, 503); by default it is plain text. The view must not take a slot itself. An async view
    becomes a synchronous one, since waiting for a slot would stop the event loop.

    :raises ConfigurationError: if there is no throttle of that name, which would count nothing.
    """
    if scope not in (scopes := Settings().REST_THROTTLES):
        raise ConfigurationError(f"limit_uploads() takes {format_choices(scopes)}, not {scope!r}.")
    refuse = refused or _plain

    def searches(request: HttpRequest) -> bool:
        if request.method == "POST":
            return True
        if params is None:
            return bool(request.META.get("QUERY_STRING"))
        return any(value for name in params for value in request.GET.getlist(name))

    def decorate(given: View | AsyncView) -> View:
        view = _synchronous(given)
        bounded = csrf_protect(_within_budget(view, scope, refuse))
        free = csrf_protect(view)

        @wraps(view)
        def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            throttles = (RefusalThrottle(), VisitorThrottle())
            try:
                check_length(request)
                check_charset(request)
                counted = searches(request)
                for throttle in throttles if counted else ():
                    if not throttle.allow_request(request, SimpleNamespace(throttle_scope=scope)):  # type: ignore[arg-type]
                        message = _("Too many searches; try again in a moment.")
                        return _retry(refuse(request, message, 429), throttle.wait())
                request.POST  # noqa: B018  # read before a slot is taken: a slow sender must not keep one
                request._imagesim_throttles = throttles  # type: ignore[attr-defined]
            except (RequestTooLarge, RequestDataTooBig):
                request._mark_post_parse_error()  # type: ignore[attr-defined]  # so that the page that refuses it does not read the rest
                return refuse(request, str(RequestTooLarge.default_detail), 413)
            except (UnsupportedMediaType, LengthRequired) as error:
                request._mark_post_parse_error()  # type: ignore[attr-defined]
                return refuse(request, str(error.detail), error.status_code)
            return (bounded if counted else free)(request, *args, **kwargs)

        return csrf_exempt(limited)

    return decorate


def _synchronous(view: Any) -> View:
    if not iscoroutinefunction(view):
        synchronous: View = view
        return synchronous

    @wraps(view, updated=())  # without the mark of a coroutine function
    def call(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = async_to_sync(view)(request, *args, **kwargs)
        return response

    return call


def _within_budget(view: View, scope: str, refuse: Refusal) -> View:
    def bounded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            with budget(pictures=request.method == "POST" or scope == "look"):
                first_picture(list(request.FILES.values()), request._imagesim_throttles)  # type: ignore[attr-defined]
                return view(request, *args, **kwargs)
        except (Busy, DeadlineExceeded) as error:
            return _retry(refuse(request, str(error), 503), retry_after(error))

    return bounded


def _plain(request: HttpRequest, message: str, status: int) -> HttpResponse:
    return HttpResponse(message, status=status, content_type="text/plain; charset=utf-8")


def _retry(response: HttpResponse, seconds: float | None) -> HttpResponse:
    response["Retry-After"] = str(math.ceil(seconds or RETRY_AFTER))
    return response
