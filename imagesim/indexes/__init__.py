"""Backends that find nearest embeddings under filters. Only here is elasticsearch imported."""

from __future__ import annotations

from imagesim.backends import get_instance
from imagesim.conf import Backend, get_settings
from imagesim.indexes.base import BaseIndex

__all__ = ["BaseIndex", "get_index"]


def get_index(backend: Backend | None = None) -> BaseIndex:
    """The configured index (or the one of ``backend``), one instance per process."""
    return get_instance(backend or get_settings().INDEX, BaseIndex)  # type: ignore[type-abstract]
