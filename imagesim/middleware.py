"""Add a header to pages whose similar products are missing, for monitoring and for caches in front of a shop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

__all__ = ["HEADER", "DegradedHeader", "RequestMiddleware", "degraded"]

HEADER = "Imagesim-Degraded"

_codes: ContextVar[list[str] | None] = ContextVar("imagesim_degraded", default=None)


def degraded(code: str) -> None:
    """Record, by the code of the error, that a query of the current request could not be answered."""
    codes = _codes.get()
    if codes is not None and code not in codes:
        codes.append(code)


class RequestMiddleware(ABC):
    """Middleware that holds a context open while a request is answered, on synchronous and asynchronous servers."""

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
        with self.during(request) as finish:
            return finish(self.get_response(request))

    async def _asynchronous(self, request: HttpRequest) -> HttpResponseBase:
        with self.during(request) as finish:
            response = await self.get_response(request)  # type: ignore[misc]
            return await sync_to_async(finish)(response) if self.reads_database(request) else finish(response)

    def reads_database(self, request: HttpRequest) -> bool:
        """Return whether finishing the response may read the database; an asynchronous server then uses a thread."""
        return False

    @abstractmethod
    def during(self, request: HttpRequest) -> AbstractContextManager[Callable[[HttpResponseBase], HttpResponseBase]]:
        """Return the context; it yields the function that finishes the response."""


class DegradedHeader(RequestMiddleware):
    """Middleware that adds ``Imagesim-Degraded: index_unavailable`` to a page whose similar products are missing
    because the index or the model is unavailable, so that caches and monitoring can distinguish it from a complete
    page."""

    @contextmanager
    def during(self, request: HttpRequest) -> Iterator[Callable[[HttpResponseBase], HttpResponseBase]]:
        codes: list[str] = []
        token = _codes.set(codes)
        try:
            yield lambda response: _add_header(response, codes)
        finally:
            _codes.reset(token)


def _add_header(response: HttpResponseBase, codes: list[str]) -> HttpResponseBase:
    if codes:
        response[HEADER] = ", ".join(codes)
    return response
