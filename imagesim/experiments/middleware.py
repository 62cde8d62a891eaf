"""Remember whose request is being answered, so that a visitor stays in a variant, and caches keep variants apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.module_loading import import_string

from imagesim import events
from imagesim.conf import get_settings
from imagesim.experiments.preview import COOKIE, Preview
from imagesim.insight.middleware import is_visitor
from imagesim.middleware import RequestMiddleware
from imagesim.retrieval.variants import Variant


def visitor_key(request: HttpRequest) -> str:
    """Return the key that identifies the visitor: that of the session, or what ``VISITOR_KEY`` returns; empty
    if there is none."""
    path = get_settings().VISITOR_KEY
    if path:
        return import_string(path)(request) or ""
    return getattr(getattr(request, "session", None), "session_key", None) or ""


class Chosen(NamedTuple):
    """The variant of a visitor, with the experiment that it belongs to and its salt."""

    variant: Variant
    experiment: int
    salt: str


class Visit:
    """The visitor of a request. ``asked``: whether the answer depends on the visitor; ``variants``: those chosen so
    far, by the kind of query, so that one request gets one answer to each; ``preview``: the variant that staff preview
    instead."""

    def __init__(self, request: HttpRequest, preview: Preview | None) -> None:
        self.asked = False
        self.preview = preview
        self.variants: dict[str, Chosen | None] = {}
        self.request = request
        self._key: str | None = None

    def key(self) -> str:
        """Return the key of the visitor; empty for programs, pages of the admin and visitors without one."""
        self.asked = True
        if self._key is None:
            self._key = visitor_key(self.request) if is_visitor(self.request) else ""
        return self._key


_visit: ContextVar[Visit | None] = ContextVar("imagesim_experiments_visit", default=None)


def current_visit() -> Visit | None:
    """Return the visit being answered; None in commands, tasks and shells."""
    return _visit.get()


def end_preview(**kwargs: object) -> None:
    """End the preview in the request being answered, because it logs its user out."""
    visit = current_visit()
    if visit and visit.preview:
        visit.preview.end()


class ChooseVariants(RequestMiddleware):
    """Middleware for :mod:`imagesim.experiments`.

    A response that depends on the visitor's variant is not kept by shared caches (``Cache-Control: private``, ``Vary:
    Cookie``); put it after those that cache whole pages. Staff who preview a variant (:mod:`.preview`) need the
    middleware of sessions and of authentication before it.
    """

    @contextmanager
    def during(self, request: HttpRequest) -> Iterator[Callable[[HttpResponseBase], HttpResponseBase]]:
        preview = Preview.of(request)
        visit = Visit(request, preview)
        token = _visit.set(visit)
        try:
            if preview is None:
                yield lambda response: _keep_private(response) if visit.asked else response
            else:
                with events.uncounted():
                    yield preview.mark
        finally:
            _visit.reset(token)

    def reads_database(self, request: HttpRequest) -> bool:
        return COOKIE in request.COOKIES


def _keep_private(response: HttpResponseBase) -> HttpResponseBase:
    patch_vary_headers(response, ["Cookie"])
    patch_cache_control(response, private=True)
    return response
