"""Remember the request that is being answered, so that only what visitors ask is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from imagesim.middleware import RequestMiddleware

_request: ContextVar[HttpRequest | None] = ContextVar("imagesim_insight_request", default=None)


def current_request() -> HttpRequest | None:
    """Return the request being answered; None in commands, tasks and shells."""
    return _request.get()


class RememberRequest(RequestMiddleware):
    """Middleware for :mod:`imagesim.insight`. Its place does not matter."""

    @contextmanager
    def during(self, request: HttpRequest) -> Iterator[Callable[[HttpResponseBase], HttpResponseBase]]:
        token = _request.set(request)
        try:
            yield lambda response: response
        finally:
            _request.reset(token)
