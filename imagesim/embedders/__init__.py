"""Image or text -> vectors. The only room that imports torch, and only when it must embed."""

from __future__ import annotations

import os

from imagesim.backends import get_instance
from imagesim.conf import Backend, get_settings
from imagesim.embedders.base import BaseEmbedder

__all__ = ["BaseEmbedder", "get_embedder"]

# Before torch is imported, which reads it once. Its OpenMP threads would else spin while they wait for each other:
# where anything else wants a processor, a forward pass then takes five times as long (docs/performance.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def get_embedder(backend: Backend | None = None) -> BaseEmbedder:
    """The configured embedder (or the one of ``backend``), one instance a process."""
    return get_instance(backend or get_settings().EMBEDDER, BaseEmbedder)  # type: ignore[type-abstract]
