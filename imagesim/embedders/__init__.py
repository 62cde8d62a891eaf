"""Image or text -> vectors. The only room that imports torch, and only when it must embed."""

from __future__ import annotations

import os

from imagesim.backends import get_instance
from imagesim.conf import Backend, get_settings
from imagesim.embedders.base import BaseEmbedder
from imagesim.exceptions import ModelMismatch, format_choices

__all__ = ["BaseEmbedder", "get_embedder", "get_embedder_of"]

# Before torch is imported, which reads it once. Its OpenMP threads would else spin while they wait for each other:
# where anything else wants a processor, a forward pass then takes five times as long (docs/performance.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def get_embedder(backend: Backend | None = None) -> BaseEmbedder:
    """The configured embedder (or the one of ``backend``), one instance a process."""
    return get_instance(backend or get_settings().EMBEDDER, BaseEmbedder)  # type: ignore[type-abstract]


def get_embedder_of(fingerprint: str) -> BaseEmbedder:
    """Return the embedder with this fingerprint among ``EMBEDDER`` and ``PREVIOUS_EMBEDDERS`` of the settings.

    :raises ModelMismatch: if the settings name no such embedder.
    """
    settings = get_settings()
    known = []
    for backend in (settings.EMBEDDER, *settings.PREVIOUS_EMBEDDERS):
        embedder = get_embedder(backend)
        if embedder.fingerprint == fingerprint:
            return embedder
        known.append(embedder.fingerprint)
    raise ModelMismatch(
        f"The index holds vectors of the model {fingerprint!r}; the settings name {format_choices(known)}. Run "
        "`manage.py imagesim_rebuild`, and name the former embedder in IMAGESIM['PREVIOUS_EMBEDDERS'] to let it "
        "answer until then."
    )
