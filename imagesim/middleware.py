"""Mark pages without their similar products with a header, for monitoring and for caches in front of a shop."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

__all__ = ["HEADER", "DegradedHeader", "degraded"]

HEADER = "Imagesim-Degraded"

_codes: ContextVar[list[str] | None] = ContextVar("imagesim_degraded", default=None)


def degraded(code: str) -> None:
    """Record that a query of the current request could not be answered, by the code of the error."""
    codes = _codes.get()
    if codes is not None and code not in codes:
        codes.append(code)


class DegradedHeader:
    """Middleware that adds ``Imagesim-Degraded: index_unavailable`` to a page whose similar products are missing
    because the index or the model is unavailable, so that caches and monitoring can distinguish it from a complete
    page."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> object:
        if self.is_async:
            return self._asynchronous(request)
        codes: list[str] = []
        token = _codes.set(codes)
        try:
            return _add_header(self.get_response(request), codes)
        finally:
            _codes.reset(token)

    async def _asynchronous(self, request: HttpRequest) -> HttpResponseBase:
        codes: list[str] = []
        _codes.set(codes)  # the task's own, which ends with the request
        return _add_header(await self.get_response(request), codes)  # type: ignore[misc]


def _add_header(response: HttpResponseBase, codes: list[str]) -> HttpResponseBase:
    if codes:
        response[HEADER] = ", ".join(codes)
    return response
