"""An embedder that uses the inference API of Elasticsearch, for models deployed in the cluster or at a service behind
it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage

from imagesim.conf import parse_backend
from imagesim.embedders import BaseEmbedder, get_embedder
from imagesim.embedders.http import HttpEmbedder
from imagesim.exceptions import ConfigurationError

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.types import Vector


class InferenceEmbedder(HttpEmbedder):
    """Ask ``POST {url}/_inference/…/{inference_id}`` for vectors.

    Elasticsearch 8.12 and newer embed texts (task ``text_embedding``). Give the embedder of the same model's image
    tower in ``images``; only texts are then sent to the server, and length, parts and fingerprint of the vectors are
    those of that embedder. Without ``images`` the endpoint must be one of the task ``embedding``, which newer servers
    offer for models that embed pictures, too; ``dims`` and ``fingerprint`` are then required.

    :param url: the server, such as ``https://es1:9200``; redirects are not followed.
    :param inference_id: the id under which the inference endpoint was created.
    :param images: ``{"BACKEND": …, "OPTIONS": …}`` of the embedder of pictures, as in the setting ``EMBEDDER``.
    :param api_key_env: the name of the environment variable, or else of the Django setting, that holds an encoded API
        key of Elasticsearch.

    ``dims``, ``fingerprint``, ``image_size``, ``timeout`` and ``batch_size`` are those of :class:`HttpEmbedder`.
    """

    scheme = "ApiKey"
    protocol = "inference API of Elasticsearch"

    def __init__(
        self,
        *,
        url: str,
        inference_id: str,
        images: Mapping[str, Any] | None = None,
        dims: int = 0,
        fingerprint: str = "",
        **options: Any,
    ) -> None:
        if images is None and not (dims and fingerprint):
            raise ConfigurationError(
                "InferenceEmbedder needs the embedder of pictures in 'images', or 'dims' and 'fingerprint' if the "
                "endpoint embeds pictures itself."
            )
        if images is not None and (dims or fingerprint):
            raise ConfigurationError(
                "InferenceEmbedder: 'dims' and 'fingerprint' are those of the embedder in 'images'."
            )
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", str(inference_id)):
            raise ConfigurationError(
                f"InferenceEmbedder: {inference_id!r} is no id of an inference endpoint: lowercase letters, digits, "
                "hyphens and underscores."
            )
        unknown = set(options) & {"model", "texts"}
        if unknown:
            raise ConfigurationError(f"InferenceEmbedder does not know the option {min(unknown)!r}.")
        super().__init__(url=url, model=inference_id, dims=dims, fingerprint=fingerprint, **options)
        self._images = None if images is None else parse_backend("InferenceEmbedder's 'images'", images)
        task = "embedding" if images is None else "text_embedding"
        self._url = f"{url.rstrip('/')}/_inference/{task}/{inference_id}"

    @property
    def _tower(self) -> BaseEmbedder | None:
        """The embedder of pictures; None if the endpoint embeds them."""
        return get_embedder(self._images) if self._images else None

    @property
    def dims(self) -> int:
        return self._tower.dims if self._tower else self._dims

    @property
    def fingerprint(self) -> str:
        return self._tower.fingerprint if self._tower else self._fingerprint

    @property
    def input_side(self) -> int:
        return self._tower.input_side if self._tower else super().input_side

    @property
    def min_decode_side(self) -> int:
        return self._tower.min_decode_side if self._tower else super().min_decode_side

    @property
    def components(self) -> Mapping[str, slice]:
        return self._tower.components if self._tower else {}

    @property
    def weights(self) -> Mapping[str, float]:
        return self._tower.weights if self._tower else {}

    def best_batch(self) -> int:
        return self._tower.best_batch() if self._tower else super().best_batch()

    def prepare(self, image: Image) -> Any:
        return self._tower.prepare(image) if self._tower else image

    def embed_prepared(self, prepared: Sequence[Any]) -> Vector:
        return self._tower.embed_prepared(prepared) if self._tower else self.embed_images(prepared)

    def embed_images(self, images: Sequence[Image]) -> Vector:
        return self._tower.embed_images(images) if self._tower else super().embed_images(images)

    def warm_up(self) -> None:
        if self._tower:
            self._tower.warm_up()

    def precision_report(self) -> str:
        return self._tower.precision_report() if self._tower else ""

    def check(self) -> list[CheckMessage]:
        return [*super().check(), *(self._tower.check() if self._tower else ())]

    def _body(self, inputs: list[str], modality: str) -> dict[str, Any]:
        if self._images:
            return {"input": inputs}
        form = "base64" if modality == "image" else "text"
        return {"input": [{"content": {"type": modality, "format": form, "value": value}} for value in inputs]}

    def _rows(self, answer: Any) -> list[Any]:
        return [row["embedding"] for row in answer["text_embedding" if self._images else "embeddings"]]
