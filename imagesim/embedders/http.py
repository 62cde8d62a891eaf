"""Embedders that call a service: one with the OpenAI embeddings API, such as :mod:`imagesim.embedders.service`, or the
inference API of Elasticsearch."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error

from imagesim.circuit_breaker import Breaker
from imagesim.conf import parse_backend
from imagesim.embedders import BaseEmbedder, check_weights, get_embedder
from imagesim.exceptions import CircuitOpen, ConfigurationError, EmbedderError, mask_credentials
from imagesim.runtime import runtime

if TYPE_CHECKING:
    import httpx2
    from PIL.Image import Image

    from imagesim.types import Vector

MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""The maximum size of one request, unless a single input is larger."""

ANSWER_BYTES = 1024 * 1024
NUMBER_BYTES = 64
"""The maximum size of an answer: ``ANSWER_BYTES``, and ``NUMBER_BYTES`` for each number of the vectors."""

RESET_SECONDS = 5.0
"""How many seconds a service is not called after it could not be reached three times in a row."""


class HttpEmbedder(BaseEmbedder):
    """Send images (as PNG data URLs with ``"modality": "image"``) and texts to ``POST {url}/embeddings``.

    :param url: the root of the service, such as ``http://embedder:8100/v1``; redirects are not followed.
    :param model: the name of the model in the service.
    :param dims: the length of its vectors.
    :param fingerprint: identifies the weights of the service; change it when they change (default: the model's name).
        If it is longer than 64 characters, a hash replaces its end. For imagesim's own service it is the ``model`` that
        its ``/health`` names, and vectors of another model are refused.
    :param api_key_env: the name of the environment variable, or else of the Django setting, that holds the key to
        send as a bearer token. The key itself is not an option, so that it appears in no log and no settings dump.
    :param texts: whether the service embeds texts.
    :param image_size: images are reduced to this many pixels on the shorter side before they are sent.
    :param timeout: seconds to wait for a connection, for each read, and for the end of an answer that has begun.
    :param batch_size: maximum number of inputs per request.
    """

    scheme = "Bearer"
    """The authentication scheme of the key."""
    protocol = "OpenAI embeddings API"
    """The name of the protocol in error messages."""

    def __init__(
        self,
        *,
        url: str,
        model: str,
        dims: int,
        fingerprint: str = "",
        api_key_env: str = "",
        texts: bool = True,
        image_size: int = 384,
        timeout: float = 10.0,
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        if "api_key" in options:
            raise ConfigurationError(
                f"{type(self).__name__} takes no 'api_key': put the key into an environment variable and name that in "
                "'api_key_env'."
            )
        super().__init__(**options)
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ConfigurationError(f"The embedder's url cannot be parsed: {error}.") from error
        if parts.scheme not in ("http", "https"):
            raise ConfigurationError(
                f"The embedder's url must begin with http:// or https://, not {mask_credentials(url)!r}."
            )
        if "@" in parts.netloc:
            raise ConfigurationError(
                f"The embedder's url {mask_credentials(url)!r} holds a user name or password: use 'api_key_env'."
            )
        self._url = url.rstrip("/") + "/embeddings"
        self._model = model
        self._dims = dims
        self._fingerprint = _shortened(fingerprint or model)
        self._api_key_env = api_key_env
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
        return self._embed((_data_url(image, self._image_size) for image in images), len(images), "image")

    def embed_texts(self, texts: Sequence[str]) -> Vector:
        return self._embed(iter(texts), len(texts), "text")

    def check(self) -> list[CheckMessage]:
        if importlib.util.find_spec("httpx2") is None:
            hint = "Run pip install 'django-imagesim[http]'."
            return [
                Error(f"{type(self).__name__} needs httpx2, which is not installed.", hint=hint, id="imagesim.E205")
            ]
        try:
            self._api_key()
        except ConfigurationError as error:
            return [Error(str(error), id="imagesim.E206")]
        return []

    def _api_key(self) -> str:
        """Return the key to send; empty if none is configured.

        :raises ConfigurationError: if the named variable holds none.
        """
        name = self._api_key_env
        if not name:
            return ""
        key = os.environ.get(name) or getattr(settings, name, "")
        if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable():
            raise ConfigurationError(
                f"{type(self).__name__}: neither the environment variable nor the setting {name!r} holds a key "
                "of printable ASCII characters."
            )
        return key

    def _embed(self, inputs: Iterator[str], count: int, modality: str) -> Vector:
        import numpy as np

        rows = [row for batch in self._batches(inputs) for row in self._post(batch, modality)]
        if not rows:
            return np.empty((0, self.dims), dtype=np.float32)
        try:
            # In float64, the squares of a float32 neither overflow nor vanish.
            vectors = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise EmbedderError(f"{self._url} did not answer with vectors: {error!s:.300}") from error
        if vectors.shape != (count, self.dims):
            raise EmbedderError(
                f"{self._url} answered with vectors of shape {vectors.shape}, not {(count, self.dims)}; "
                "set 'dims' to the length of the model's vectors."
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise EmbedderError(f"{self._url} answered with a vector that is zero, or holds NaN or infinite values.")
        unit: Vector = (vectors / lengths).astype(np.float32)
        return unit

    def _batches(self, inputs: Iterator[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for value in inputs:
            if batch and (len(batch) == self._batch_size or size + len(value) > MAX_REQUEST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(value)
            size += len(value)
        if batch:
            yield batch

    def _post(self, inputs: list[str], modality: str) -> list[Any]:
        try:
            import httpx2
        except ImportError as error:
            raise EmbedderError(
                f"{type(self).__name__} needs httpx2: run pip install 'django-imagesim[http]'."
            ) from error
        key = self._api_key()
        try:
            with (
                self._breaker().guard(httpx2.HTTPError, OSError),
                self._client().stream(
                    "POST",
                    self._url,
                    json=self._body(inputs, modality),
                    headers={"Authorization": f"{self.scheme} {key}"} if key else None,
                    timeout=self._timeout,
                ) as response,
            ):
                content = self._content(response, ANSWER_BYTES + NUMBER_BYTES * self.dims * len(inputs))
        except CircuitOpen as error:
            raise EmbedderError(str(error)) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise EmbedderError(f"{self._url} cannot be reached: {error!r}. Is the embedder running?") from error
        if response.is_redirect:
            raise EmbedderError(
                f"{self._url} answered {response.status_code}, a redirect, which is not followed: "
                "set 'url' to the address of the service itself."
            )
        if not response.is_success:
            text = content.decode(errors="replace")
            detail = (text.replace(key, "***") if key else text)[:300]
            raise EmbedderError(f"{self._url} answered {response.status_code}: {detail}")
        try:
            answer = json.loads(content)
            check_weights(_shortened(str(answer.get("model"))), self._fingerprint, self._url)
            rows = self._rows(answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EmbedderError(f"{self._url} did not answer as the {self.protocol} does: {error!r}") from error
        if len(rows) != len(inputs):
            raise EmbedderError(f"{self._url} answered with {len(rows)} vectors for {len(inputs)} inputs.")
        return rows

    def _content(self, response: httpx2.Response, most: int) -> bytes:
        """Read the answer.

        :raises EmbedderError: if it has more than ``most`` bytes.
        :raises TimeoutError: if it has begun, and is not complete within the timeout.
        """
        until = monotonic() + self._timeout
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > most:
                raise EmbedderError(f"{self._url} answered with more than {most} bytes.")
            if monotonic() > until:
                raise TimeoutError(f"its answer was not complete after {self._timeout:g} s")
        return bytes(content)

    def _body(self, inputs: list[str], modality: str) -> dict[str, Any]:
        return {"model": self._model, "input": inputs, "modality": modality, "encoding_format": "float"}

    def _rows(self, answer: Any) -> list[Any]:
        """Return the vectors of an answer, in the order of the inputs."""
        return [row["embedding"] for row in sorted(answer["data"], key=lambda row: row["index"])]

    def last_failure(self) -> str:
        breaker = self._breaker()
        return f"{breaker.name} failed: {breaker.reason}" if breaker.is_open else ""

    def _breaker(self) -> Breaker:
        """Return the circuit breaker of the service: a search must not wait for each timeout of one that is down."""
        make = partial(Breaker, f"The embedder at {self._url}", reset_seconds=RESET_SECONDS)
        return runtime.get(("embedders.http", self._url), make)

    @staticmethod
    def _client() -> httpx2.Client:
        """Return the HTTP client of this process, which holds the connections to all services."""
        import httpx2

        # gunicorn closes an idle connection after 2 s; the client must not reuse one that is about to be closed.
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=1.0)
        return runtime.get("embedders.http", lambda: httpx2.Client(follow_redirects=False, limits=limits))


class InferenceEmbedder(HttpEmbedder):
    """Ask ``POST {url}/_inference/…/{inference_id}`` for vectors of a model deployed in a cluster, or behind it.

    Elasticsearch 8.12 and newer embed texts (task ``text_embedding``). Give the embedder of the same model's image
    tower in ``images``; only texts are then sent to the server, and length, parts and fingerprint of the vectors are
    those of that embedder. Without ``images``, the endpoint must be one of the task ``embedding``, which newer servers
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


def _shortened(name: str) -> str:
    """Return a name of at most 64 characters: a longer one's beginning, with a hash of the whole."""
    return name if len(name) <= 64 else f"{name[:47]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _data_url(image: Image, shorter_side: int) -> str:
    """Encode an image as a PNG data URL, reduced to at most ``shorter_side`` pixels on its shorter side.

    The format is lossless, because lossy compression would change the embedding.
    """
    factor = shorter_side / min(image.size)
    if factor < 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, reducing_gap=3.0)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
