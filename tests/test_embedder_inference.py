"""The inference API of a real Elasticsearch server, whose "openai" service calls the embedder service."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

import imagesim
from imagesim.embedders import BaseEmbedder
from imagesim.embedders.http import InferenceEmbedder
from imagesim.exceptions import ConfigurationError, EmbedderError
from imagesim.testing.embedder_contract import EmbedderContract
from tests import shop
from tests.embedders import PixelEmbedder
from tests.test_embedder_http import ENV, KEY, serving, wsgi

IMAGES = {"BACKEND": "imagesim.testing.embedders.PixelEmbedder"}


def call(method: str, url: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def endpoint(elasticsearch_url: str) -> Iterator[str]:
    """The id of an inference endpoint on the server; its model is the embedder service of this process."""
    name = f"test-{secrets.token_hex(4)}"
    with wsgi(PixelEmbedder(), api_key=KEY) as url:
        settings = {"api_key": KEY, "url": f"{url}/embeddings"}
        path = f"{elasticsearch_url}/_inference/text_embedding/{name}"
        bodies = [
            {"service": "openai", "service_settings": {**settings, "model_id": "pixels"}},
            {"service": "openai", "service_settings": settings, "task_settings": {"model": "pixels"}},  # 8.12
        ]
        for body in bodies:
            status, answer = call("PUT", path, body)
            if status == 200:
                break
        assert status == 200, answer
        yield name
        call("DELETE", f"{elasticsearch_url}/_inference/text_embedding/{name}")


@pytest.fixture
def embedder(elasticsearch_url: str, endpoint: str) -> InferenceEmbedder:
    return InferenceEmbedder(url=elasticsearch_url, inference_id=endpoint, images=IMAGES)


class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self, settings, elasticsearch_url: str, endpoint: str) -> BaseEmbedder:
        settings.IMAGESIM = {"MAX_TEXT_LENGTH": 5000}  # the limit of the service
        return InferenceEmbedder(url=elasticsearch_url, inference_id=endpoint, images=IMAGES)


def test_texts_come_from_the_server_and_pictures_from_the_tower(embedder: InferenceEmbedder) -> None:
    tower = PixelEmbedder()
    np.testing.assert_allclose(
        embedder.embed_texts(["red", "a blue hat"]), tower.embed_texts(["red", "a blue hat"]), atol=1e-5
    )
    picture = Image.new("RGB", (30, 40), "red")
    np.testing.assert_array_equal(embedder.embed_images([picture]), tower.embed_images([picture]))
    assert (embedder.dims, embedder.fingerprint) == (tower.dims, tower.fingerprint)


@pytest.mark.django_db
def test_a_shop_is_searched_by_words(settings, media_root, elasticsearch_url: str, endpoint: str) -> None:
    options = {"url": elasticsearch_url, "inference_id": endpoint, "images": IMAGES}
    settings.IMAGESIM = {
        "SYNC": "manual",
        "MIN_RELEVANCE": 0.0,
        "EMBEDDER": {"BACKEND": "imagesim.embedders.http.InferenceEmbedder", "OPTIONS": options},
    }
    shop.shelf()
    assert imagesim.search(text="blue")[0].item.name == "blue"


def test_errors_say_what_the_server_said(elasticsearch_url: str) -> None:
    missing = InferenceEmbedder(url=elasticsearch_url, inference_id="no-such", images=IMAGES)
    with pytest.raises(EmbedderError, match="no-such"):
        missing.embed_texts(["red"])
    with pytest.raises(EmbedderError, match="cannot be reached"):
        InferenceEmbedder(url="http://127.0.0.1:9", inference_id="x", images=IMAGES).embed_texts(["red"])


class Multimodal(BaseHTTPRequestHandler):
    """The task ``embedding``, as newer servers document it. None of them is available here."""

    seen: list[Any]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, self.headers["Authorization"], body))
        content = json.dumps({"embeddings": [{"embedding": [3.0, 4.0]} for _ in body["input"]]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


def test_the_shape_of_requests_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, KEY)
    Multimodal.seen = []
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Multimodal)) as url:
        root = url.removesuffix("/v1")
        embedder = InferenceEmbedder(url=root, inference_id="both", dims=2, fingerprint="m1", api_key_env=ENV)
        np.testing.assert_allclose(embedder.embed_texts(["red"]), [[0.6, 0.8]])
        np.testing.assert_allclose(embedder.embed_images([Image.new("RGB", (4, 4))]), [[0.6, 0.8]])
    (words, picture) = Multimodal.seen
    assert words == (
        "/_inference/embedding/both",
        f"ApiKey {KEY}",
        {"input": [{"content": {"type": "text", "format": "text", "value": "red"}}]},
    )
    content = picture[2]["input"][0]["content"]
    assert (content["type"], content["format"]) == ("image", "base64")
    assert content["value"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "'images'"),
        ({"dims": 64}, "'fingerprint'"),
        ({"images": IMAGES, "dims": 64}, "those of the embedder"),
        ({"images": {"OPTIONS": {}}}, "BACKEND"),
        ({"images": {**IMAGES, "more": 1}}, "BACKEND"),
        ({"images": IMAGES, "inference_id": "../_cat"}, "no id"),
        ({"images": IMAGES, "texts": False}, "'texts'"),
        ({"images": IMAGES, "api_key": "k"}, "no 'api_key'"),
        ({"images": IMAGES, "url": "es1:9200"}, "http://"),
    ],
)
def test_bad_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        InferenceEmbedder(**{"url": "http://es1:9200", "inference_id": "words", **options})
