"""An embedder behind an HTTP service that speaks the OpenAI embeddings API, as `imagesim_embedder` and others do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from imagesim.embedders.base import BaseEmbedder
from imagesim.embedders.image_codec import to_base64_png
from imagesim.exceptions import ConfigurationError, EmbedderError

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.types import Vector


class HttpEmbedder(BaseEmbedder):
    """Sends images (as PNG data URLs with ``"modality": "image"``) and texts to ``POST {url}/embeddings``.

    - ``url``: the root of the service, such as ``http://embedder:8100/v1``.
    - ``model``: its name there.
    - ``dims``: the length of its vectors.
    - ``fingerprint``: says which weights it serves; change it when they change (default: the model's name).
    - ``api_key``: sent as a bearer token; never logged.
    - ``image_size``: images are reduced to this many pixels on the shorter side before they travel.
    - ``timeout``: seconds for one request.
    """

    def __init__(
        self,
        *,
        url: str,
        model: str,
        dims: int,
        fingerprint: str = "",
        api_key: str = "",
        texts: bool = True,
        image_size: int = 384,
        timeout: float = 10.0,
        batch_size: int = 32,
    ) -> None:
        super().__init__()
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigurationError(f"The embedder's url must begin with http:// or https://, not {url!r}.")
        self._url = url.rstrip("/") + "/embeddings"
        self._model = model
        self._dims = dims
        self._fingerprint = (fingerprint or model)[:64]
        self._api_key = api_key
        self.supports_texts = texts
        self._image_size = image_size
        self._timeout = timeout
        self._batch_size = batch_size

    @property
    def dims(self) -> int:
        return self._dims

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def embed_images(self, images: Sequence[Image]) -> Vector:
        return self._embed(
            ["data:image/png;base64," + to_base64_png(image, self._image_size) for image in images], "image"
        )

    def embed_texts(self, texts: Sequence[str]) -> Vector:
        return self._embed(list(texts), "text")

    def _embed(self, inputs: list[str], modality: str) -> Vector:
        import numpy as np

        rows: list[Any] = []
        for first in range(0, len(inputs), self._batch_size):
            rows += self._ask(inputs[first : first + self._batch_size], modality)
        if not rows:
            return np.empty((0, self._dims), dtype=np.float32)
        try:
            vectors = np.asarray(rows, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise EmbedderError(f"{self._url} did not answer with vectors: {error}") from error
        if vectors.shape != (len(inputs), self._dims) or not np.isfinite(vectors).all():
            raise EmbedderError(
                f"{self._url} answered with vectors of shape {vectors.shape}, not {(len(inputs), self._dims)}; "
                "set 'dims' to what the model gives."
            )
        unit: Vector = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        return unit

    def _ask(self, inputs: list[str], modality: str) -> list[Any]:
        body = json.dumps({"model": self._model, "input": inputs, "modality": modality, "encoding_format": "float"})
        headers = {"Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        try:
            with urlopen(Request(self._url, body.encode(), headers), timeout=self._timeout) as response:
                answer = json.load(response)
            data = sorted(answer["data"], key=lambda row: row["index"])
        except HTTPError as error:
            detail = error.read(300).decode("utf-8", "replace")
            raise EmbedderError(f"{self._url} answered {error.code}: {detail}") from error
        except (URLError, HTTPException, TimeoutError, OSError) as error:
            raise EmbedderError(f"{self._url} cannot be reached: {error}. Is the embedder running?") from error
        except (ValueError, KeyError, TypeError) as error:
            raise EmbedderError(f"{self._url} did not answer as the OpenAI embeddings API does: {error!r}") from error
        if len(data) != len(inputs):
            raise EmbedderError(f"{self._url} answered with {len(data)} vectors for {len(inputs)} inputs.")
        return [row["embedding"] for row in data]
