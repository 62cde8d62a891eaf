"""A small HTTP service around the configured embedder, speaking the OpenAI embeddings API.

One process holds the model for many web processes, which then stay slim; questions that arrive together
share one forward pass (the embedder batches them).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from imagesim import images
from imagesim.conf import get_settings
from imagesim.embedders.base import BaseEmbedder
from imagesim.exceptions import BadImage, ImagesimError

logger = logging.getLogger("imagesim.embedder")

MAX_INPUTS = 64


class BadRequest(Exception):
    """What the client asked makes no sense; the text says why."""


def answer(embedder: BaseEmbedder, request: Any) -> dict[str, Any]:
    """The body of ``POST /v1/embeddings`` -> the body of its answer.

    :raises BadRequest: if the body is not as the API has it.
    """
    if not isinstance(request, dict):
        raise BadRequest("The body must be a JSON object.")
    inputs = request.get("input")
    inputs = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(inputs, list) or not inputs or not all(isinstance(value, str) for value in inputs):
        raise BadRequest("'input' must be a string or a list of strings.")
    if len(inputs) > MAX_INPUTS:
        raise BadRequest(f"'input' has {len(inputs)} values; at most {MAX_INPUTS} are taken at once.")
    modality = request.get("modality", "text")
    if modality == "image":
        try:
            vectors = embedder.embed_images([images.decode(_from_data_url(value)) for value in inputs])
        except BadImage as error:
            raise BadRequest(str(error)) from error
    elif modality == "text":
        limit = get_settings().MAX_TEXT_LENGTH
        if any(len(value) > limit for value in inputs):
            raise BadRequest(f"A text of 'input' is longer than {limit} characters.")
        vectors = embedder.embed_texts(inputs)
    else:
        raise BadRequest(f"'modality' is {modality!r}; it can be 'image' or 'text'.")
    data = [{"object": "embedding", "index": i, "embedding": row.tolist()} for i, row in enumerate(vectors)]
    return {"object": "list", "model": embedder.fingerprint, "data": data}


def _from_data_url(value: str) -> bytes:
    head, comma, data = value.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise BadRequest("An image must be a data URL (data:image/png;base64,...); no address is fetched.")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadRequest(f"An image is not valid base64: {error}.") from error


def make_server(embedder: BaseEmbedder, host: str, port: int, *, api_key: str = "") -> ThreadingHTTPServer:
    """A server ready for ``serve_forever()``. With ``api_key`` a bearer token is asked for.

    :raises OSError: if the port is taken.
    """
    # Base64 adds a third; some room for JSON around it.
    max_bytes = get_settings().MAX_IMAGE_BYTES * 4 // 3 * 2 + 65536

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            if self.path == "/health":
                self._send(200, {"status": "ok", "model": embedder.fingerprint, "dims": embedder.dims})
            else:
                self._error(404, "There is only POST /v1/embeddings and GET /health.")

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > max_bytes:
                self.close_connection = True
                self._error(
                    413 if length.isdigit() else 411, f"The body must have a length of at most {max_bytes} bytes."
                )
                return
            body = self.rfile.read(int(length))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if api_key and not hmac.compare_digest(token.encode(), api_key.encode()):
                self._error(401, "The API key is missing or wrong.")
                return
            if self.path.rstrip("/") != "/v1/embeddings":
                self._error(404, "There is only POST /v1/embeddings and GET /health.")
                return
            try:
                self._send(200, answer(embedder, json.loads(body)))
            except (BadRequest, ValueError) as error:
                self._error(400, str(error))
            except ImagesimError as error:
                logger.exception("The embedder failed")
                self._error(500, str(error))

        def _error(self, status: int, message: str) -> None:
            self._send(status, {"error": {"message": message, "type": "invalid_request_error"}})

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            logger.debug(format, *args)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # connections that wait while many arrive at once

    return Server((host, port), Handler)
