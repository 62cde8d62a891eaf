"""The configured embedder as a WSGI application that speaks the OpenAI embeddings API.

One process holds the model for many web processes, which use :class:`~imagesim.embedders.http.HttpEmbedder`::

    gunicorn imagesim.embedders.service:application --worker-class gthread --threads 16 --timeout 120

Requests that arrive at the same time share one forward pass. The key and the length of a request are checked before its
body is read. See docs/howto-embedder.md.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import os
import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from imagesim import images
from imagesim.circuit_breaker import log_repeated
from imagesim.conf import get_settings
from imagesim.embedders import BaseEmbedder, get_embedder
from imagesim.exceptions import BadImage, ConfigurationError, ImagesimError
from imagesim.runtime import runtime

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from imagesim.types import Vector

logger = logging.getLogger("imagesim.embedder")

API_KEY_ENV = "IMAGESIM_EMBEDDER_API_KEY"
MAX_INPUTS = 64
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 64_000_000
"""The maximum pixels of the pictures in one request, after each has been reduced to what the model needs; and of all
running requests together whose pictures the embedder takes unchanged."""
REQUESTS = 8
"""The maximum number of requests whose bodies are in memory at the same time."""
PATIENCE_SECONDS = 5.0
"""How long a request waits for a slot before it is refused."""


class Refused(Exception):
    """The request is refused, with ``status`` and the text as the reason."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_app(embedder: BaseEmbedder, *, api_key: str = "", requests: int = REQUESTS) -> WSGIApplication:
    """Return a WSGI application that answers with ``embedder``. An ``api_key`` makes a bearer token mandatory.

    It handles at most ``requests`` at a time, and decodes one picture at a time.
    """
    turns = threading.BoundedSemaphore(requests)
    decoding = _Decoding()

    def answer(environ: WSGIEnvironment) -> dict[str, Any]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "").rstrip("/")
        if (method, path) == ("GET", "/health"):
            return {"status": "ok", "model": embedder.fingerprint, "dims": embedder.dims}
        token = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if api_key and not hmac.compare_digest(token.encode(), api_key.encode()):
            raise Refused(HTTPStatus.UNAUTHORIZED, "The API key is missing or wrong.")
        if (method, path) != ("POST", "/v1/embeddings"):
            raise Refused(HTTPStatus.NOT_FOUND, "There is only POST /v1/embeddings and GET /health.")
        length = _length(environ)
        if not turns.acquire(timeout=PATIENCE_SECONDS):
            raise _busy()
        try:
            inputs, modality = _parse(environ["wsgi.input"].read(length), length)
            rows = decoding.embed(embedder, inputs) if modality == "image" else _embed_texts(embedder, inputs)
        finally:
            turns.release()
        data = [{"object": "embedding", "index": i, "embedding": row.tolist()} for i, row in enumerate(rows)]
        return {"object": "list", "model": embedder.fingerprint, "data": data}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, body = HTTPStatus.OK, answer(environ)
        except Refused as refused:
            status, body = refused.status, _error(str(refused))
        except ImagesimError as error:
            log_repeated(logger, logging.ERROR, error.code, "The embedder failed", exc_info=True)
            status, body = HTTPStatus.INTERNAL_SERVER_ERROR, _error(str(error))
        content = json.dumps(body).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        if status == HTTPStatus.UNAUTHORIZED:
            headers.append(("WWW-Authenticate", "Bearer"))
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append(("Retry-After", "1"))
        start_response(f"{status.value} {status.phrase}", headers)
        return [content]

    return app


def __getattr__(name: str) -> Any:
    """Create ``application`` when a server asks for it: importing this module must not load a model."""
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return runtime.get("embedders.service", _configured_app)


def _configured_app() -> WSGIApplication:
    """Return the application of the setting ``EMBEDDER``, with its model loaded."""
    import django

    from imagesim.embedders.http import HttpEmbedder

    django.setup()
    embedder = get_embedder()
    if isinstance(embedder, HttpEmbedder):
        raise ConfigurationError(
            "The embedder service cannot serve an HttpEmbedder: in the service's settings EMBEDDER must be the model."
        )
    api_key = os.environ.get(API_KEY_ENV, "")
    if not api_key:
        logger.warning("%s is not set: anyone who can reach the embedder service can use it.", API_KEY_ENV)
    embedder.warm_up()
    logger.info("The embedder service is ready (%s).", embedder.fingerprint)
    return make_app(embedder, api_key=api_key)


def _length(environ: WSGIEnvironment) -> int:
    length = environ.get("CONTENT_LENGTH", "")
    if not (length.isascii() and length.isdigit()):
        raise Refused(HTTPStatus.LENGTH_REQUIRED, "The request must have a Content-Length.")
    if len(length) > 12 or int(length) > MAX_BODY_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have at most {MAX_BODY_BYTES} bytes.")
    return int(length)


def _parse(body: bytes, length: int) -> tuple[list[str], str]:
    """Return the inputs and the modality of the body of ``POST /v1/embeddings``.

    :raises Refused: if the body does not follow the API.
    """
    try:
        request = json.loads(body) if len(body) == length else None
    except (ValueError, RecursionError) as error:
        raise _bad(f"The body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise _bad("The body must be a JSON object.")
    inputs, modality = request.get("input"), request.get("modality", "text")
    inputs = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(inputs, list) or not inputs or not all(isinstance(value, str) for value in inputs):
        raise _bad("'input' must be a string or a list of strings.")
    if len(inputs) > MAX_INPUTS:
        raise _bad(f"'input' has {len(inputs)} values; at most {MAX_INPUTS} are accepted.")
    if modality not in ("image", "text"):
        raise _bad(f"'modality' must be 'image' or 'text', not {str(modality)[:40]!r}.")
    return inputs, modality


def _embed_texts(embedder: BaseEmbedder, texts: list[str]) -> Vector:
    limit = get_settings().MAX_TEXT_LENGTH
    if any(len(text) > limit for text in texts):
        raise _bad(f"A text of 'input' is longer than {limit} characters.")
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        raise _bad("A text of 'input' holds half a surrogate pair, which is no character.")
    return embedder.embed_texts(texts)


class _Decoding:
    """Decodes one picture at a time and limits the pixels of all decoded pictures that running requests hold."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.kept = 0

    def embed(self, embedder: BaseEmbedder, inputs: list[str]) -> Vector:
        prepared: list[Any] = []
        pixels = kept = 0
        try:
            while inputs:
                data = _from_data_url(inputs.pop(0))  # frees its text
                with self.turn:
                    image = images.decode(data, min_decode_side=embedder.min_decode_side)
                size = image.width * image.height
                pixels += size
                if pixels > MAX_PIXELS:
                    raise Refused(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"The pictures of 'input' have more than {MAX_PIXELS // 1_000_000} megapixels together.",
                    )
                prepared.append(embedder.prepare(image))
                if prepared[-1] is image:
                    with self.turn:
                        if self.kept + size > MAX_PIXELS:
                            raise _busy()
                        self.kept, kept = self.kept + size, kept + size
            return embedder.embed_prepared(prepared)
        except BadImage as error:
            raise _bad(str(error)) from error
        finally:
            with self.turn:
                self.kept -= kept


def _from_data_url(value: str) -> bytes:
    head, comma, data = value.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise _bad("An image must be a data URL (data:image/png;base64,...); addresses are not fetched.")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(f"An image is not valid base64: {error}.") from error


def _busy() -> Refused:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "The embedder is busy; try again in a moment.")


def _bad(message: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, message)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error"}}
