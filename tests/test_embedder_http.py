"""The HTTP embedder and its service: equal vectors, cheap rejection of requests without a key, and no leak of the
key."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.simple_server import make_server as make_wsgi_server

import numpy as np
import pytest
from PIL import Image

from imagesim import images
from imagesim.embedders import http, service
from imagesim.embedders.http import HttpEmbedder
from imagesim.embedders.service import MAX_BODY_BYTES, MAX_INPUTS, make_app
from imagesim.exceptions import ConfigurationError, EmbedderError
from tests.embedders import PixelEmbedder
from tests.processes import running, wait_until
from tools.system import free_port

KEY = "a-secret-of-the-shop"
ENV = "TEST_EMBEDDER_KEY"


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def serving(server: ThreadingMixIn) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def wsgi(embedder: object, **options: object) -> object:
    return serving(make_wsgi_server("127.0.0.1", 0, make_app(embedder, **options), Server, Quiet))


@pytest.fixture
def served() -> Iterator[str]:
    with wsgi(PixelEmbedder(), api_key=KEY) as url:
        yield url


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, KEY)


def client(url: str, **options: object) -> HttpEmbedder:
    return HttpEmbedder(**{"url": url, "model": "pixels", "dims": 64, "api_key_env": ENV, **options})


def post(url: str, body: bytes, key: str = KEY) -> tuple[int, str]:
    request = Request(url, body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]["message"]


def png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_the_vectors_equal_those_of_the_served_embedder(served: str) -> None:
    ours, theirs = PixelEmbedder(), client(served, batch_size=2)
    pictures = [Image.new("RGB", (300, 200), colour) for colour in ("red", "green", "blue")]
    assert np.allclose(theirs.embed_images(pictures), ours.embed_images(pictures), atol=1e-5)
    assert np.allclose(theirs.embed_texts(["red", "green"]), ours.embed_texts(["red", "green"]), atol=1e-6)
    assert theirs.embed_images([]).shape == (0, ours.dims)
    assert (theirs.fingerprint, theirs.dims) == ("pixels", ours.dims)


def test_a_service_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade of the service alone, a product's own picture would be found with half a point less of cosine,
    and new vectors would silently be stored as if they came from the former weights."""
    named = [f"pixels-{digit * 16}" for digit in "ab"]
    monkeypatch.setattr(PixelEmbedder, "fingerprint", named[1])
    with wsgi(PixelEmbedder(), api_key=KEY) as url:
        for fingerprint in (named[0], "pixels-1"):
            with pytest.raises(
                EmbedderError, match=f"'{named[1]}'; the settings name '{fingerprint}'.*imagesim_rebuild"
            ):
                client(url, fingerprint=fingerprint).embed_texts(["red"])
        assert client(url, fingerprint=named[1]).embed_texts(["red"]).shape == (1, 64)


def test_concurrent_requests(served: str) -> None:
    embedder = client(served)
    with ThreadPoolExecutor(16) as pool:
        rows = list(pool.map(lambda n: embedder.embed_texts([f"word{n}"])[0], range(64)))
    assert np.allclose(rows, PixelEmbedder().embed_texts([f"word{n}" for n in range(64)]), atol=1e-6)


def test_a_large_image_is_reduced_before_it_is_sent(served: str) -> None:
    blobs = Image.effect_noise((6, 8), 80).convert("RGB").resize((3000, 4000))
    assert client(served).embed_images([blobs])[0] @ PixelEmbedder().embed_images([blobs])[0] > 0.999


def test_requests_stay_below_the_limit_on_bytes(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesim.embedders.http.MAX_REQUEST_BYTES", 300_000)
    monkeypatch.setattr(service, "MAX_BODY_BYTES", 400_000)
    noise = [Image.effect_noise((200, 200), 80).convert("RGB") for _ in range(6)]
    assert sum(len(png(image)) for image in noise) > 400_000
    assert np.allclose(client(served).embed_images(noise), PixelEmbedder().embed_images(noise), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"not json", 400, "Expecting value"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 200_000, 400, "not JSON"),
        (b"[]", 400, "JSON object"),
        (b'{"input": []}', 400, "'input' must be"),
        (b'{"input": [1]}', 400, "'input' must be"),
        (b'{"input": "\\ud800"}', 400, "surrogate"),
        (b'{"input": "x", "modality": "sound"}', 400, "'image' or 'text'"),
        (b'{"input": "x", "modality": []}', 400, "'image' or 'text'"),
        (b'{"input": "http://example.org/a.png", "modality": "image"}', 400, "addresses are not fetched"),
        (b'{"input": "data:image/png;base64,%%%", "modality": "image"}', 400, "base64"),
        (b'{"input": "data:image/png;base64,AAAA", "modality": "image"}', 400, ""),
        (json.dumps({"input": ["x"] * (MAX_INPUTS + 1)}).encode(), 400, "at most"),
        (json.dumps({"input": "x" * 10_000}).encode(), 400, "longer than"),
    ],
)
def test_bad_requests_get_a_clear_error(served: str, body: bytes, status: int, says: str) -> None:
    got, message = post(f"{served}/embeddings", body)
    assert got == status
    assert says in message


def test_health_needs_no_key(served: str) -> None:
    with urlopen(served.removesuffix("/v1") + "/health", timeout=10) as response:
        assert json.load(response) == {"status": "ok", "model": "test-pixels-64", "dims": 64}


# What a request may cost.


def answer_to(url: str, head: str) -> bytes:
    """Return the first bytes of the answer to a request whose body is never sent."""
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        return connection.recv(1000)


def test_the_key_and_the_length_are_checked_before_the_body_is_read(served: str) -> None:
    right = f"Authorization: Bearer {KEY}\r\n"
    assert b" 401 " in answer_to(served, "Content-Length: 30000000\r\n")
    assert b" 401 " in answer_to(served, f"Authorization: Bearer {KEY}x\r\nContent-Length: 30000000\r\n")
    assert b" 413 " in answer_to(served, f"{right}Content-Length: {MAX_BODY_BYTES + 1}\r\n")
    assert b" 413 " in answer_to(served, f"{right}Content-Length: {'9' * 5000}\r\n")
    assert b" 411 " in answer_to(served, right)
    assert b" 411 " in answer_to(served, f"{right}Content-Length: -1\r\n")


def test_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most, decode = [], [], images.decode

    def watched(data: bytes, **options: object) -> Image.Image:
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.01)
        image = decode(data, **options)
        at_once.pop()
        return image

    monkeypatch.setattr(images, "decode", watched)
    body = json.dumps({"input": [png(Image.new("RGB", (20, 20)))] * 4, "modality": "image"}).encode()
    with wsgi(PixelEmbedder()) as url, ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: post(f"{url}/embeddings", body)[0], range(4)))
    assert statuses == [200] * 4
    assert (len(most), max(most)) == (16, 1)


def test_the_pixels_of_a_request_are_limited(served: str) -> None:
    large = png(Image.new("RGB", (1900, 1900)))
    body = json.dumps({"input": [large] * 20, "modality": "image"}).encode()
    assert len(body) < 1_000_000
    status, message = post(f"{served}/embeddings", body)
    assert status == 413
    assert "megapixels" in message


def test_the_pixels_of_all_requests_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_PIXELS", 10_000)
    decoding, embedder = service._Decoding(), PixelEmbedder()
    picture = png(Image.new("RGB", (60, 60)))
    seen: list[int] = []

    def embed(prepared: object) -> object:
        seen.append(decoding.kept)
        if len(seen) == 1:  # while the first request is embedded
            with pytest.raises(service.Refused) as caught:
                decoding.embed(PixelEmbedder(), [picture] * 2)
            assert caught.value.status == 503
        return PixelEmbedder().embed_prepared(prepared)

    monkeypatch.setattr(embedder, "embed_prepared", embed)
    decoding.embed(embedder, [picture] * 2)
    decoding.embed(embedder, [picture] * 2)
    assert (seen, decoding.kept) == ([7_200, 7_200], 0)


def test_too_many_concurrent_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PATIENCE_SECONDS", 0.1)
    entered, release = threading.Event(), threading.Event()

    class Slow(PixelEmbedder):
        def embed_texts(self, texts: list[str]) -> np.ndarray:
            entered.set()
            release.wait(20)
            return super().embed_texts(texts)

    with wsgi(Slow(), requests=1) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, f"{url}/embeddings", b'{"input": "x"}')
        entered.wait(20)
        assert post(f"{url}/embeddings", b'{"input": "x"}')[0] == 503
        release.set()
        assert first.result()[0] == 200
        assert post(f"{url}/embeddings", b'{"input": "x"}')[0] == 200


def resident(pid: int) -> int:
    """Return the bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
def test_bodies_without_a_key_take_no_memory_under_gunicorn(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    settings = {"EMBEDDER": {"BACKEND": "tests.embedders.PixelEmbedder"}, "SYNC": "manual"}
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
        "IMAGESIM_TEST_SETTINGS": json.dumps(settings),
        "IMAGESIM_TEST_MEDIA": str(tmp_path),
        "IMAGESIM_TEST_BROKER": "memory://",
        "IMAGESIM_TEST_QUEUE": "none",
        "IMAGESIM_EMBEDDER_API_KEY": KEY,
    }
    command = [
        *(sys.executable, "-m", "gunicorn", "imagesim.embedders.service:application", "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "gthread", "--threads", "16", "--timeout", "120", "--no-control-socket"),
    ]
    root, url = Path(__file__).parent.parent, f"http://127.0.0.1:{port}/v1"
    with running(command, log=log, cwd=root, environment=environment) as process, ExitStack() as stack:

        def ready() -> bool:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
                return response.status == 200

        wait_until(ready, seconds=90, what="the embedder service to answer", logs=tmp_path)
        assert np.allclose(client(url).embed_texts(["red"]), PixelEmbedder().embed_texts(["red"]), atol=1e-6)
        (worker,) = (int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        rest, peak = resident(worker), 0
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(40)]
        for connection in connections:
            connection.setblocking(False)
            connection.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n")
        chunk, until = b"x" * 65536, time.monotonic() + 2
        while time.monotonic() < until:
            for connection in connections:
                with suppress(BlockingIOError, ConnectionError):
                    connection.send(chunk)
            peak = max(peak, resident(worker))
        assert peak - rest < 50_000_000
        assert np.allclose(client(url).embed_texts(["red"]), PixelEmbedder().embed_texts(["red"]), atol=1e-6)


# The key.


def test_the_key_is_required_and_never_shown(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert post(f"{served}/embeddings", b'{"input": "x"}', key="wrong")[0] == 401
    assert post(f"{served}/embeddings", b'{"input": "x"}', key="")[0] == 401
    assert post(f"{served}/other", b"{}")[0] == 404
    monkeypatch.setenv(ENV, "another-key")
    with pytest.raises(EmbedderError, match="401") as error:
        client(served).embed_texts(["x"])
    assert "wrong." in str(error.value)
    assert KEY not in str(error.value)
    assert "another-key" not in f"{error.value} {client(served)!r} {vars(client(served))}"


class Elsewhere(BaseHTTPRequestHandler):
    """Redirects every request to another host, or repeats its key in an error."""

    target = ""
    seen: list[str | None]

    def do_POST(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.target:
            self.send_response(307)
            self.send_header("Location", self.target)
            body = b""
        else:
            self.send_response(500)
            body = f"refused: {self.headers.get('Authorization')}".encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


def elsewhere(target: str = "") -> tuple[object, list[str | None]]:
    seen: list[str | None] = []
    handler = type("Handler", (Elsewhere,), {"target": target, "seen": seen})
    return serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)), seen


def test_the_key_is_not_sent_to_a_redirect_target() -> None:
    last, seen_last = elsewhere()
    with last as other:
        first, seen_first = elsewhere(target=f"{other.replace('127.0.0.1', 'localhost')}/embeddings")
        with first as url, pytest.raises(EmbedderError, match="307, a redirect, which is not followed"):
            client(url).embed_texts(["x"])
    assert seen_first == [f"Bearer {KEY}"]
    assert seen_last == []


def test_a_key_that_the_service_repeats_is_masked() -> None:
    server, seen = elsewhere()
    with server as url, pytest.raises(EmbedderError, match=r"500: refused: Bearer \*\*\*") as error:
        client(url).embed_texts(["x"])
    assert seen == [f"Bearer {KEY}"]
    assert KEY not in str(error.value)


def test_the_key_can_be_a_setting(served: str, settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV)
    (message,) = client(served).check()
    assert message.id == "imagesim.E206"
    with pytest.raises(ConfigurationError, match=ENV):
        client(served).embed_texts(["x"])
    setattr(settings, ENV, KEY)
    assert client(served).check() == []
    assert client(served).embed_texts(["x"]).shape == (1, 64)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "file:///etc/passwd"}, "http://"),
        ({"url": f"https://shop:{KEY}@embedder/v1"}, "'https://\\*\\*\\*@embedder/v1' holds a user name or password"),
        ({"url": "http://[::1/v1"}, "cannot be parsed"),
        ({"api_key": KEY}, "'api_key_env'"),
        ({"api_kei": KEY}, "'api_kei'"),
    ],
)
def test_options_that_would_reveal_a_secret_are_rejected(options: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as error:
        client(**{"url": "http://embedder:8100/v1", **options})
    assert KEY not in str(error.value)


def test_errors_are_explained(served: str) -> None:
    with pytest.raises(EmbedderError, match="set 'dims'"):
        client(served, dims=32).embed_texts(["x"])
    with pytest.raises(EmbedderError, match="Is the embedder running"):
        client("http://127.0.0.1:9/v1", timeout=1).embed_texts(["x"])


def test_a_service_cannot_serve_an_http_embedder(settings: object) -> None:
    options = {"url": "http://127.0.0.1:8100/v1", "model": "m", "dims": 4}
    settings.IMAGESIM = {"EMBEDDER": {"BACKEND": "imagesim.embedders.http.HttpEmbedder", "OPTIONS": options}}
    with pytest.raises(ConfigurationError, match="must be the model"):
        _ = service.application


def test_long_names_that_begin_alike_have_different_fingerprints() -> None:
    """An embedding is stored by its fingerprint, which is a column of 64 characters."""
    names = [
        "registry.example.com/models/image-text/clip-vit-large-patch14-336/" + end for end in ("a", "b", "a" * 500)
    ]
    found = {client("http://service/v1", model=name).fingerprint for name in names}
    found |= {client("http://service/v1", fingerprint=name + "/2").fingerprint for name in names}
    assert len(found) == 6
    assert {len(fingerprint) for fingerprint in found} == {64}
    assert client("http://service/v1", model="m" * 64).fingerprint == "m" * 64


class Vectors(BaseHTTPRequestHandler):
    """Answers with this text as the vector of each input."""

    vector = ""

    def do_POST(self) -> None:
        inputs = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        rows = [f'{{"index": {n}, "embedding": {self.vector}}}' for n in range(len(inputs))]
        body = f'{{"data": [{", ".join(rows)}]}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], HttpEmbedder]]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Vectors)) as url:

        def answer(vector: str) -> HttpEmbedder:
            monkeypatch.setattr(Vectors, "vector", vector)
            return client(url, dims=2)

        yield answer


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        ("[0, 0.0]", "zero"),
        ("[NaN, 1]", "NaN"),
        ("[1, Infinity]", "infinite"),
        ("[1e999, 1]", "infinite"),
        ("[null, 1]", "NaN"),
        ("[1" + "0" * 400 + ", 1]", "did not answer with vectors"),
        ('"AACAPwAAgD8="', "did not answer with vectors"),
        ("[1, 2, 3]", "set 'dims'"),
    ],
)
def test_a_vector_that_no_index_takes_is_an_error(answering: Callable, vector: str, says: str) -> None:
    embedder = answering(vector)
    with pytest.raises(EmbedderError, match=says):
        embedder.embed_texts(["shoe", "boot"])
    with pytest.raises(EmbedderError, match=says):
        embedder.embed_images([Image.new("RGB", (8, 8))])


@pytest.mark.parametrize("vector", ["[3e-30, 4e-30]", "[3e30, 4e30]", "[3e60, 4e60]"])
def test_a_vector_of_any_length_is_made_a_unit_vector(answering: Callable, vector: str) -> None:
    assert answering(vector).embed_texts(["shoe"]) == pytest.approx(np.array([[0.6, 0.8]]))


def test_a_service_that_does_not_answer_is_not_waited_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, every search by words or photo would take the full timeout, until all threads of the site wait."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        embedder = client(f"http://127.0.0.1:{port}/v1", timeout=0.2)
        assert embedder.last_failure() == ""
        for _ in range(3):
            with pytest.raises(EmbedderError, match="cannot be reached"):
                embedder.embed_texts(["red"])
        assert "failed: timed out" in embedder.last_failure()
        for _ in range(20):
            with pytest.raises(EmbedderError, match=f"not called for {http.RESET_SECONDS:g} s: timed out"):
                embedder.embed_texts(["red"])
        silent.setblocking(False)
        called = []
        with suppress(BlockingIOError):
            while True:
                called.append(silent.accept()[0].close())
        assert len(called) == 3
    app = make_app(PixelEmbedder(), api_key=KEY)
    with serving(make_wsgi_server("127.0.0.1", port, app, Server, Quiet)):
        monkeypatch.setattr(embedder._breaker(), "_clock", lambda: time.monotonic() + http.RESET_SECONDS)
        assert embedder.embed_texts(["red"]).shape == (1, 64)
    assert embedder.last_failure() == ""


def test_a_service_that_refuses_requests_is_called_all_the_same(served: str) -> None:
    """The service answers; another request may be accepted."""
    for _ in range(5):
        with pytest.raises(EmbedderError, match="400"):
            client(served).embed_texts(["x" * 100_000])
    assert client(served).embed_texts(["red"]).shape == (1, 64)


class Endless(BaseHTTPRequestHandler):
    """Answers with an endless stream of spaces: one now and then, or many at once."""

    many = False

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            for _ in range(50):
                self.wfile.write(b" " * (1024 * 1024 if self.many else 1))
                time.sleep(0.01 if self.many else 0.1)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.parametrize(("many", "says"), [(False, "not complete after 0.3 s"), (True, "more than 10[0-9]* bytes")])
def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, many: bool, says: str) -> None:
    monkeypatch.setattr(Endless, "many", many)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Endless)) as url:
        started = time.monotonic()
        with pytest.raises(EmbedderError, match=says):
            client(url, timeout=0.3).embed_texts(["red"])
        assert time.monotonic() - started < 2
