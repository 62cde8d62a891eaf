"""Image or text -> vectors. Only this package and ``regions`` import torch, and only when a model is loaded."""

from __future__ import annotations

from imagesim.backends import get_instance
from imagesim.conf import Backend, get_settings
from imagesim.embedders.base import BaseEmbedder
from imagesim.exceptions import ModelMismatch, format_choices

__all__ = ["BaseEmbedder", "get_embedder", "get_embedder_of"]


def get_embedder(backend: Backend | None = None) -> BaseEmbedder:
    """The configured embedder (or the one of ``backend``), one instance per process."""
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
