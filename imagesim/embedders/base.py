"""What every embedder offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage

from imagesim.exceptions import BadQuery, format_choices
from imagesim.images import MIN_DECODE_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.types import Vector


class BaseEmbedder(ABC):
    """Turns images and texts into unit-length vectors of one space.

    Constructing one is cheap: the model loads on first use, once a process (and again after a
    fork), never in ``__init__``. Every keyword of ``OPTIONS`` in the setting arrives here.
    """

    supports_texts = True
    """Whether ``embed_texts`` works, so that search by words can be offered."""

    def __init__(self, **options: Any) -> None:
        if options:
            from imagesim.exceptions import ConfigurationError

            raise ConfigurationError(f"{type(self).__name__} does not know the option {sorted(options)[0]!r}.")

    @property
    @abstractmethod
    def dims(self) -> int:
        """The length of a vector."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """At most 64 characters that change when, and only when, the vectors would.

        It names model, weights and preprocessing; not the device, the precision or the batch size.
        """

    @property
    def input_side(self) -> int:
        """Pixels of the shorter side the model looks at; 0 where that is not known. Must not load the model."""
        return 0

    @property
    def min_decode_side(self) -> int:
        """Pixels of the shorter side that a picture needs to keep when it is decoded; the same for index and query."""
        return 2 * self.input_side or MIN_DECODE_SIDE

    def best_batch(self) -> int:
        """How many images one forward pass takes best on the device at hand. May load the model."""
        return 16

    def prepare(self, image: Image) -> Any:
        """One upright RGB image, made ready for :meth:`embed_prepared`: resized, cropped, normalised.

        Apart from the forward pass so that several threads can do it while the model is at the batch before.
        """
        return image

    def embed_prepared(self, prepared: Sequence[Any]) -> Vector:
        """What :meth:`prepare` made -> the same as :meth:`embed_images`.

        :raises EmbedderError: as there.
        """
        return self.embed_images(prepared)

    @abstractmethod
    def embed_images(self, images: Sequence[Image]) -> Vector:
        """Upright RGB images -> float32 of shape (len(images), dims), rows of unit length.

        :raises EmbedderError: if the model cannot be loaded or fails.
        """

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> Vector:
        """Texts -> float32 of shape (len(texts), dims), rows of unit length.

        :raises EmbedderError: if the model cannot be loaded, fails, or knows no words.
        """

    @property
    def components(self) -> Mapping[str, slice]:
        """The parts a vector is made of, by name, where the model keeps them apart; else empty.

        The similarity of two vectors is then the sum of the similarities of their parts.
        """
        return {}

    @property
    def weights(self) -> Mapping[str, float]:
        """How much more or less each part counts in a query than the model would have it; 1 unless set."""
        return {}

    def reweight(self, vectors: Vector, weights: Mapping[str, float] | None = None) -> Vector:
        """Query vectors (one or many rows) in which some parts count more, less, or against.

        Each part is multiplied by its weight, from ``weights`` or else from the shop's own, and the whole made
        unit length again, so that scores stay within -1..1. ``{"colour": 0}`` asks for the same but for the
        colour, ``{"colour": -0.5}`` for another colour. Only queries are reweighted, never what is
        indexed; a vector of which nothing would be left, such as a text without its words, stays as it is.

        :raises BadQuery: naming a part the model does not have, or a weight that is not a finite number.
        """
        import numpy as np

        weights = {**self.weights, **(weights or {})}
        if not weights:
            return vectors
        unknown = set(weights) - set(self.components)
        if unknown:
            has = (
                f"its parts are {format_choices(self.components)}"
                if self.components
                else "this model keeps no parts apart"
            )
            raise BadQuery(f"There is no part {min(unknown)!r} to weigh: {has}.")
        factors = np.ones(self.dims, np.float32)
        for name, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not np.isfinite(weight):
                raise BadQuery(f"The weight of {name!r} must be a finite number, not {weight!r}.")
            factors[self.components[name]] = weight
        weighed = np.asarray(vectors, np.float32) * factors
        length = np.linalg.norm(weighed, axis=-1, keepdims=True)
        unit: Vector = np.where(length > 1e-6, weighed / np.maximum(length, 1e-6), vectors).astype(np.float32)
        return unit

    def warm_up(self) -> None:  # noqa: B027  # optional
        """Load the model now, so that the first query does not wait for it."""

    def precision_report(self) -> str:
        """The precision in use and how it was found, for people; empty where it is not known. Never loads the model."""
        return ""

    def check(self) -> list[CheckMessage]:
        """System checks of this embedder's set-up; must not load the model."""
        return []
