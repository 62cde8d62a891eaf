"""Convert images and texts to vectors: the interface of embedders, and the configured ones.

Only this package and ``regions`` import torch, and only when a model is loaded.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage
from django.utils.translation import gettext as _

from imagesim.conf import Backend, get_instance, get_settings
from imagesim.exceptions import BadQuery, EmbedderError, ModelMismatch, format_choices, local_choices
from imagesim.images import MIN_DECODE_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.types import Vector


class BaseEmbedder(ABC):
    """An embedder converts images and texts to unit-length vectors of one space.

    Constructing one is cheap: the model is loaded on first use, once per process (and again after a
    fork), never in ``__init__``, which receives the ``OPTIONS`` of the setting.
    """

    supports_texts = True
    """Whether ``embed_texts`` works, which search by text needs."""

    def __init__(self, **options: Any) -> None:
        if options:
            from imagesim.exceptions import ConfigurationError

            raise ConfigurationError(f"{type(self).__name__} does not know the option {sorted(options)[0]!r}.")

    @property
    @abstractmethod
    def dims(self) -> int:
        """Return the length of a vector."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Return at most 64 characters that change if and only if the vectors do.

        The fingerprint identifies the model, its weights and its preprocessing, but not the device, the precision or
        the batch size.
        """

    @property
    def input_side(self) -> int:
        """Return the pixels of the shorter side of the model's input; 0 if unknown. Must not load the model."""
        return 0

    @property
    def min_decode_side(self) -> int:
        """Return the minimum side, in pixels, to which a picture is decoded; the same for indexing and queries."""
        return 2 * self.input_side or MIN_DECODE_SIDE

    def best_batch(self) -> int:
        """Return the best number of images per forward pass on this device. May load the model."""
        return 16

    def prepare(self, image: Image) -> Any:
        """Resize, crop and normalise one upright RGB image for :meth:`embed_prepared`.

        It is separate from the forward pass, so that several threads can prepare a batch while the model runs the
        previous one.
        """
        return image

    def embed_prepared(self, prepared: Sequence[Any]) -> Vector:
        """Embed results of :meth:`prepare`: float32 of shape (len(prepared), dims), rows of unit length.

        :raises EmbedderError: if the model cannot be loaded or fails.
        """
        return self.embed_images(prepared)

    @abstractmethod
    def embed_images(self, images: Sequence[Image]) -> Vector:
        """Embed upright RGB images: float32 of shape (len(images), dims), rows of unit length.

        :raises EmbedderError: if the model cannot be loaded or fails.
        """

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> Vector:
        """Embed texts: float32 of shape (len(texts), dims), rows of unit length.

        :raises EmbedderError: if the model cannot be loaded, fails, or does not embed texts.
        """

    def has_word(self, word: str) -> bool:
        """Return whether the model's vocabulary has this English word in lower case, so that it is not taken for a
        typing error.

        Must be cheap and not load the model; False if unknown. It is called only if some texts are in English.
        """
        return False

    @property
    def components(self) -> Mapping[str, slice]:
        """Return the slices of a vector's components by name; empty if the vectors of the model have none.

        The similarity of two vectors is the sum of the similarities of their components.
        """
        return {}

    @property
    def weights(self) -> Mapping[str, float]:
        """Return the configured factors of components in a query; the factor of all others is 1."""
        return {}

    def check_components(self, names: Iterable[str]) -> None:
        """Raise BadQuery if the vectors of the model lack a component of one of these names."""
        if unknown := set(names) - set(self.components):
            raise BadQuery(
                _("The model has no component %(name)r; it has %(known)s.")
                % {"name": min(unknown), "known": local_choices(self.components)}
            )

    def reweight(self, vectors: Vector, weights: Mapping[str, float] | None = None) -> Vector:
        """Multiply the components of query vectors, (dims,) or (n, dims), by weights.

        A component's weight is taken from ``weights``, or else from :attr:`weights`. The result has unit length again,
        so that scores stay within -1..1. ``{"colour": 0}`` ignores the colour, ``{"colour": -0.5}`` prefers other
        colours. Only queries are reweighted, never indexed vectors. A vector that would become zero, such as that of a
        text whose words have weight 0, is returned unchanged.

        :raises BadQuery: for a component that the model does not have, or a weight that is not a finite number.
        """
        import numpy as np

        weights = {**self.weights, **(weights or {})}
        if not weights:
            return vectors
        self.check_components(weights)
        factors = np.ones(self.dims, np.float32)
        for name, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not np.isfinite(weight):
                raise BadQuery(f"The weight of {name!r} must be a finite number, not {weight!r}.")
            factors[self.components[name]] = weight
        weighted = np.asarray(vectors, np.float32) * factors
        length = np.linalg.norm(weighted, axis=-1, keepdims=True)
        unit: Vector = np.where(length > 1e-6, weighted / np.maximum(length, 1e-6), vectors).astype(np.float32)
        return unit

    def warm_up(self) -> None:  # noqa: B027  # optional
        """Load the model now, so that the first query does not wait for it."""

    def precision_report(self) -> str:
        """Return the precision in use and how it was chosen; empty if unknown. Must not load the model."""
        return ""

    def last_failure(self) -> str:
        """Return why the model could not be used when this process last tried to; empty otherwise. Must not load it."""
        return ""

    def check(self) -> list[CheckMessage]:
        """Run the system checks of this embedder's options. Must not load the model."""
        return []


__all__ = ["BaseEmbedder", "get_embedder", "get_embedder_of"]


def get_embedder(backend: Backend | None = None) -> BaseEmbedder:
    """Return the configured embedder (or the one of ``backend``), one instance per process."""
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
        f"The index holds vectors of the model {fingerprint!r}; the settings name {format_choices(known)}. "
        f"{rebuild_hint(fingerprint, known)}"
    )


def rebuild_hint(fingerprint: str, known: Iterable[str]) -> str:
    """Return what to do if the model ``fingerprint`` made the index, and the settings name those of ``known``."""
    name = _name_of(fingerprint)
    if name and name in map(_name_of, known):
        return (
            f"The weights of {name!r} have changed, as they do with some upgrades: run `manage.py imagesim_rebuild` "
            "with the newer version, which embeds all pictures again. Until it is done, photos are refused, and words "
            "are answered by texts alone."
        )
    return (
        "Run `manage.py imagesim_rebuild`, and name the former embedder in IMAGESIM['PREVIOUS_EMBEDDERS'] to let it "
        "answer until then."
    )


def check_weights(served: str, fingerprint: str, url: str) -> None:
    """Check that a service embeds with the weights that ``fingerprint`` names, if it names its own by their digest.

    :raises EmbedderError: if they are others, as after an upgrade of the service.
    """
    if _name_of(served) and served != fingerprint:
        raise EmbedderError(
            f"{url} embeds with the model {served!r}; the settings name {fingerprint!r}. Set 'fingerprint' to the "
            "model of the service, and run `manage.py imagesim_rebuild`."
        )


def _name_of(fingerprint: str) -> str:
    """Return the name in a fingerprint that ends in a digest of the model's files; else an empty text."""
    found = re.fullmatch("(.+)-[0-9a-f]{16}", fingerprint)
    return found[1] if found else ""
