"""Remember the request that is being answered, and recognise those of visitors, so that only theirs are recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

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


MAX_AGENT = 500
"""The number of characters of a User-Agent that are looked at."""

_PROGRAM = re.compile(
    r"(?<!cu)bots?(\b|_)|crawl|spider|slurp|scrap|headless|monitor|uptime|pingdom|lighthouse|preview|externalhit"
    r"|^(curl|wget|python|go-http|java/|libwww|httpx|aiohttp|apache-http|node|axios|ruby|perl|php)",
    re.IGNORECASE,
)


def is_visitor(request: HttpRequest) -> bool:
    """Return whether an answer to this request is recorded.

    Not recorded are answers to a request without a User-Agent, or with that of a program; to HEAD; to a request that a
    browser sends in advance (``Sec-Purpose: prefetch``); and to a page of the admin.
    """
    headers = request.META
    if request.method == "HEAD" or "prefetch" in headers.get("HTTP_SEC_PURPOSE", "") + headers.get("HTTP_PURPOSE", ""):
        return False
    return not is_of_admin(request) and not is_program(headers.get("HTTP_USER_AGENT", "")[:MAX_AGENT])


def is_of_admin(request: HttpRequest) -> bool:
    """Return whether a page of the admin is requested."""
    match = request.resolver_match
    return match is not None and "admin" in match.app_names


@lru_cache(1024)
def is_program(agent: str) -> bool:
    """Return whether a User-Agent is empty, or names a program instead of a browser or a shop's app."""
    return not agent.strip() or _PROGRAM.search(agent) is not None
