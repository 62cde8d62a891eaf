"""An embedder behind HTTP gives the vectors of the one it serves, and says clearly what is wrong when it can't."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from imagesim.embedders.http import HttpEmbedder
from imagesim.embedders.server import MAX_INPUTS, make_server
from imagesim.exceptions import ConfigurationError, EmbedderError
from tests.embedders import PixelEmbedder

KEY = "a secret"


@pytest.fixture
def served() -> Iterator[str]:
    server = make_server(PixelEmbedder(), "127.0.0.1", 0, api_key=KEY)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def post(url: str, body: bytes, key: str = KEY) -> tuple[int, str]:
    request = Request(url, body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]["message"]


def test_the_vectors_are_those_of_the_embedder_served(served: str) -> None:
    ours = PixelEmbedder()
    theirs = HttpEmbedder(url=served, model="pixels", dims=ours.dims, api_key=KEY, batch_size=2)
    pictures = [Image.new("RGB", (300, 200), colour) for colour in ("red", "green", "blue")]
    assert np.allclose(theirs.embed_images(pictures), ours.embed_images(pictures), atol=1e-5)
    assert np.allclose(theirs.embed_texts(["red", "green"]), ours.embed_texts(["red", "green"]), atol=1e-6)
    assert theirs.embed_images([]).shape == (0, ours.dims)
    assert (theirs.fingerprint, theirs.dims) == ("pixels", ours.dims)


def test_many_at_once(served: str) -> None:
    embedder = HttpEmbedder(url=served, model="pixels", dims=64, api_key=KEY)
    with ThreadPoolExecutor(16) as pool:
        rows = list(pool.map(lambda n: embedder.embed_texts([f"word{n}"])[0], range(64)))
    assert np.allclose(rows, PixelEmbedder().embed_texts([f"word{n}" for n in range(64)]), atol=1e-6)


def test_a_large_image_is_reduced_before_it_travels(served: str) -> None:
    embedder = HttpEmbedder(url=served, model="pixels", dims=64, api_key=KEY)
    blobs = Image.effect_noise((6, 8), 80).convert("RGB").resize((3000, 4000))
    assert embedder.embed_images([blobs])[0] @ PixelEmbedder().embed_images([blobs])[0] > 0.999


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"not json", 400, "Expecting value"),
        (b"[]", 400, "JSON object"),
        (b'{"input": []}', 400, "'input' must be"),
        (b'{"input": [1]}', 400, "'input' must be"),
        (b'{"input": "x", "modality": "sound"}', 400, "'image' or 'text'"),
        (b'{"input": "http://example.org/a.png", "modality": "image"}', 400, "no address is fetched"),
        (b'{"input": "data:image/png;base64,%%%", "modality": "image"}', 400, "base64"),
        (b'{"input": "data:image/png;base64,AAAA", "modality": "image"}', 400, ""),
        (json.dumps({"input": ["x"] * (MAX_INPUTS + 1)}).encode(), 400, "at most"),
        (json.dumps({"input": "x" * 10_000}).encode(), 400, "longer than"),
    ],
)
def test_bad_requests_get_one_clear_error(served: str, body: bytes, status: int, says: str) -> None:
    got, message = post(f"{served}/embeddings", body)
    assert got == status
    assert says in message


def test_the_key_is_asked_for_and_never_shown(served: str) -> None:
    assert post(f"{served}/embeddings", b'{"input": "x"}', key="wrong")[0] == 401
    assert post(f"{served}/other", b"{}")[0] == 404
    with pytest.raises(EmbedderError, match="401") as error:
        HttpEmbedder(url=served, model="pixels", dims=64, api_key="wrong").embed_texts(["x"])
    assert "wrong." in str(error.value)
    assert KEY not in str(error.value)


def test_what_is_wrong_is_said(served: str) -> None:
    with pytest.raises(EmbedderError, match="set 'dims'"):
        HttpEmbedder(url=served, model="pixels", dims=32, api_key=KEY).embed_texts(["x"])
    with pytest.raises(EmbedderError, match="Is the embedder running"):
        HttpEmbedder(url="http://127.0.0.1:9/v1", model="m", dims=4, timeout=1).embed_texts(["x"])
    with pytest.raises(ConfigurationError, match="http://"):
        HttpEmbedder(url="file:///etc/passwd", model="m", dims=4)
