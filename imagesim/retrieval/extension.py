"""A holder for an object that another app registers to take part in every search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Extension(Generic[T]):
    """Holds the object that an app registered, or the ``default``, which does nothing, if no app did."""

    def __init__(self, default: T) -> None:
        self._default = default
        self._registered = default
        self._replaced: ContextVar[T | None] = ContextVar("imagesim_extension", default=None)

    def register(self, given: T | None) -> None:
        """Use an object in every search; call it in the ``ready()`` of an app. None removes it."""
        self._registered = self._default if given is None else given

    def active(self) -> T:
        """Return the object to use: the replacement of this context, or the registered one."""
        replaced = self._replaced.get()
        return self._registered if replaced is None else replaced

    @contextmanager
    def replaced_by(self, other: T | None) -> Iterator[None]:
        """Use another object, or none, within this context only, for previews."""
        token = self._replaced.set(self._default if other is None else other)
        try:
            yield
        finally:
            self._replaced.reset(token)
