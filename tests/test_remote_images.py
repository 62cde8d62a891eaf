"""Pictures that items have by address: from listed hosts only, within bounds, and shown by their own address."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import imagesim
from imagesim.checks.items import check_items
from imagesim.exceptions import BadImage, ImageTooLarge
from imagesim.images import read, remote
from imagesim.images.remote import RemoteImage
from imagesim.indexing.sync import sync
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.models import ItemImage
from imagesim.pages.thumbnails import Pictures
from imagesim.testing import override_imagesim, picture_file
from tests.shop import registered
from tests.zoo.models import Lamp

PICTURE = picture_file("red").read()

TRICKLES = {
    "headers": b"HTTP/1.1 200 OK\r\nX-Name: ",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "body": b"HTTP/1.0 200 OK\r\n\r\n",
}


class Answers(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.partition("?")[0].strip("/")
        if name in TRICKLES:
            self.trickle(TRICKLES[name])
            return
        status, headers, body = self.answer(name)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # the client has gone
            self.wfile.write(body)

    def answer(self, name: str) -> tuple[int, dict[str, str], bytes]:
        port = self.server.server_address[1]
        if name == "slow":
            time.sleep(1)
        return {
            "red.png": (200, {}, PICTURE),
            "slow": (200, {}, PICTURE),
            "cut": (200, {"Content-Length": "100000"}, PICTURE),
            "gone": (410, {}, b""),
            "broken": (503, {}, b""),
            "moved": (302, {"Location": "/red.png"}, b""),
            "circle": (302, {"Location": "/circle"}, b""),
            "inside": (302, {"Location": f"http://127.0.0.2:{port}/red.png"}, b""),
            "file": (302, {"Location": "file:///etc/passwd"}, b""),
        }.get(name, (404, {}, b""))

    def trickle(self, start: bytes) -> None:
        with contextlib.suppress(OSError):  # the client has gone
            self.wfile.write(start)
            for _ in range(50):
                time.sleep(0.1)
                self.wfile.write(b"0")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The host and port of a server of pictures, which is allowed."""
    Answers.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        host = f"127.0.0.1:{made.server_address[1]}"
        with override_imagesim(REMOTE_IMAGE_HOSTS=[host]):
            yield host
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["red.png", "red.png?width=80", "moved"])
def test_a_picture_is_fetched(server, path):
    assert read(RemoteImage(f"http://{server}/{path}")) == PICTURE


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("nothing", FileNotFoundError, None),
        ("gone", FileNotFoundError, None),
        ("broken", OSError, "status 503"),
        ("cut", OSError, "too early"),
        ("circle", OSError, "more than 3 redirects"),
        ("inside", BadImage, "not in IMAGESIM.*127.0.0.2"),
        ("file", BadImage, "form https"),
    ],
)
def test_what_is_no_picture_of_an_allowed_host(server, path, error, message):
    with pytest.raises(error, match=message):
        read(RemoteImage(f"http://{server}/{path}"))


def test_no_more_than_the_largest_picture_is_read(server):
    with override_imagesim(REMOTE_IMAGE_HOSTS=[server], MAX_IMAGE_BYTES=100), pytest.raises(ImageTooLarge):
        read(RemoteImage(f"http://{server}/red.png"))


@pytest.mark.parametrize("path", TRICKLES)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(server, monkeypatch, path):
    monkeypatch.setattr(remote, "DEADLINE_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="longer than"):
        read(RemoteImage(f"http://{server}/{path}"))
    assert time.monotonic() - started < 3


@pytest.fixture
def stalling() -> Iterator[Callable[[bytes], int]]:
    """Start a server that accepts connections and then sends a few bytes now and then; return its port."""
    ended = threading.Event()
    servers: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(data: bytes) -> int:
        servers.append(server := socket.create_server(("127.0.0.1", 0)))

        def trickle() -> None:
            with contextlib.suppress(OSError):  # the client has gone
                connection, _ = server.accept()
                with connection:
                    for byte in data:
                        ended.wait(0.1)
                        connection.send(bytes([byte]))
                    ended.wait(20)

        threads.append(thread := threading.Thread(target=trickle, daemon=True))
        thread.start()
        return server.getsockname()[1]

    yield start
    ended.set()
    for server in servers:
        server.close()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x03\x40\x00" + bytes(195)], ids=["nothing", "a byte now and then"])
@pytest.mark.parametrize("redirected", [False, True], ids=["directly", "after a redirect"])
def test_a_tls_handshake_ends_with_the_time_of_the_picture(server, stalling, monkeypatch, sent, redirected):
    secure = f"127.0.0.1:{stalling(sent)}"
    monkeypatch.setattr(remote, "DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr(Answers, "answer", lambda *args: (302, {"Location": f"https://{secure}/red.png"}, b""))
    started = time.monotonic()
    with override_imagesim(REMOTE_IMAGE_HOSTS=[server, secure]), pytest.raises(TimeoutError, match="longer than"):
        read(RemoteImage(f"http://{server}/moved" if redirected else f"https://{secure}/red.png"))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("addresses", [1, 30])
def test_connecting_ends_with_the_time_of_the_picture(monkeypatch, addresses):
    """However many addresses the server has, and however long the timeout of each is."""
    monkeypatch.setattr(remote, "DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr(remote, "TIMEOUT_SECONDS", 6.0 / addresses)
    resolve = socket.getaddrinfo

    def many(*args: object, **options: object) -> list[tuple[object, ...]]:
        return resolve(*args, **options) * (addresses if options else 1)  # not of each address in turn

    monkeypatch.setattr(remote.socket, "getaddrinfo", many)
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        host, port = full.getsockname()
        for _ in range(4):  # the queue of connections to be accepted is full: the next one gets no answer
            waiting.enter_context(other := socket.socket())
            other.setblocking(False)
            other.connect_ex((host, port))
        started = time.monotonic()
        with override_imagesim(REMOTE_IMAGE_HOSTS=[f"{host}:{port}"]), pytest.raises(TimeoutError, match="longer than"):
            read(RemoteImage(f"http://{host}:{port}/red.png"))
        assert time.monotonic() - started < 3


def test_a_connection_that_is_reset_as_it_is_ended_is_given_up(server, monkeypatch):
    def reset(*args: object) -> bytes:
        time.sleep(0.3)
        raise ConnectionResetError

    monkeypatch.setattr(remote, "DEADLINE_SECONDS", 0.2)
    monkeypatch.setattr(remote.http.client.HTTPResponse, "read1", reset)
    with pytest.raises(TimeoutError, match="longer than"):
        read(RemoteImage(f"http://{server}/red.png"))


def test_a_slow_server_is_given_up(server, monkeypatch):
    monkeypatch.setattr(remote, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(TimeoutError):
        read(RemoteImage(f"http://{server}/slow"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/red.png",  # a port other than the listed one
        "http://localhost:1/red.png",
        "http://user:secret@cdn.example/red.png",
        "http://cdn.example:8080/red.png",
        "ftp://cdn.example/red.png",
        "file:///etc/passwd",
        "http://cdn.example.evil.example/red.png",
        "http://evil.example/?cdn.example",
        "http://[::1/red.png",
        "http://cdn.example/a b",
        "http://cdn.example/a\r\nX-Evil: 1",
        f"http://cdn.example/{'a' * 500}",
        "",
        "red.png",
    ],
)
def test_an_address_that_is_not_allowed_is_never_asked(url, monkeypatch):
    monkeypatch.setattr(remote.socket, "getaddrinfo", lambda *args, **given: pytest.fail("it was looked up"))
    with override_imagesim(REMOTE_IMAGE_HOSTS=["cdn.example", "127.0.0.1:1"]), pytest.raises(BadImage):
        RemoteImage(url).read()


@pytest.mark.parametrize(("hosts", "asked"), [([".example"], False), (["*"], False), (["cdn.example"], True)])
def test_a_pattern_does_not_reach_servers_inside(server, hosts, asked, monkeypatch):
    """Whoever owns a name that a pattern allows may point it to any address."""
    port = int(server.partition(":")[2])
    inside = [(2, 1, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(remote.socket, "getaddrinfo", lambda *args, **given: inside)
    monkeypatch.setattr(remote, "PORTS", {"http": port, "https": 443})
    with override_imagesim(REMOTE_IMAGE_HOSTS=hosts):
        if asked:
            assert RemoteImage("http://cdn.example/red.png").read() == PICTURE
        else:
            with pytest.raises(BadImage, match="not public"):
                RemoteImage("http://cdn.example/red.png").read()
    assert bool(Answers.asked) == asked


class LampItems(Items[Lamp]):
    images = "link"


class FeedItems(Items[Lamp]):
    depends_on = ("link", "lumen")

    def get_images(self, item: Lamp) -> list[RemoteImage]:
        return [RemoteImage(item.link)]


@pytest.mark.django_db
class TestIndexing:
    @pytest.fixture(autouse=True)
    def lamps(self, server):
        with registered(Lamp, LampItems):
            yield

    def test_an_address_in_a_field(self, server):
        red, other = (Lamp.objects.create(name=name, link=f"http://{server}/red.png?{name}") for name in "ab")
        assert sync().indexed == 2

        (hit,) = imagesim.similar_to(red, min_relevance=0)

        assert hit.item == other
        assert registry.for_model(Lamp).get_image_url(other, hit.image.name) == other.link
        assert Pictures(registry.for_model(Lamp), other, hit.image.name).url(320) == other.link

    def test_addresses_in_a_field_of_json(self, server):
        pictures = [{"src": f"http://{server}/red.png?{name}", "alt": name} for name in "ab"]
        with registered(Lamp, type("JsonItems", (Items,), {"images": "facts__media__src"})):
            lamp = Lamp.objects.create(name="a", facts={"media": pictures})
            assert sync().indexed == 1
            assert [image.name for image in ItemImage.objects.all()] == [each["src"] for each in pictures]

            lamp.facts = {"media": pictures[1:]}
            lamp.save(update_fields=["facts"])
            assert sync().indexed == 1
            assert [image.name for image in ItemImage.objects.all()] == [pictures[1]["src"]]

    def test_it_is_fetched_again_where_its_row_is_saved_or_the_item_is_touched(self, server):
        lamp = Lamp.objects.create(link=f"http://{server}/red.png")
        sync()
        lamp.lumen = 7
        lamp.save(update_fields=["lumen"])
        sync()
        assert len(Answers.asked) == 1

        lamp.link += "?2"
        lamp.save()
        sync()
        assert len(Answers.asked) == 2

        imagesim.touch(lamp)
        sync()
        assert len(Answers.asked) == 3

    def test_so_it_is_where_a_method_gives_it_from_a_field_in_depends_on(self, server):
        """For instance in an import that saves its rows again: the supplier may have replaced the picture at its
        address."""
        with registered(Lamp, FeedItems):
            lamp = Lamp.objects.create(link=f"http://{server}/red.png")
            sync()
            lamp.save(update_fields=["lumen"])
            sync()
            assert len(Answers.asked) == 1

            lamp.save(update_fields=["link"])
            sync()
            assert len(Answers.asked) == 2

            lamp.save()
            sync()
            assert len(Answers.asked) == 3

    def test_what_is_wrong_is_kept_with_the_item(self, server):
        Lamp.objects.create(link="https://elsewhere.example/red.png")
        assert sync().failed == 1

        (image,) = ItemImage.objects.all()

        assert "elsewhere.example" in image.error
        assert image.permanent

    def test_a_server_that_is_down_leaves_the_embedding(self, server, monkeypatch):
        lamp = Lamp.objects.create(link=f"http://{server}/red.png")
        sync()
        (before,) = ItemImage.objects.values_list("digest", flat=True)
        monkeypatch.setattr(Answers, "answer", lambda self, name: (503, {}, b""))
        imagesim.touch(lamp)
        sync()

        (image,) = ItemImage.objects.all()

        assert image.digest == before
        assert "503" in image.error


def test_the_check_asks_for_the_hosts():
    with registered(Lamp, LampItems):
        assert [message.id for message in check_items() if message.obj is Lamp] == ["imagesim.E012"]
        with override_imagesim(REMOTE_IMAGE_HOST=["cdn.example"]):  # a typo, which imagesim.E001 reports
            assert not [message for message in check_items() if message.obj is Lamp]
        with override_imagesim(REMOTE_IMAGE_HOSTS=["cdn.example"]):
            assert not [message for message in check_items() if message.obj is Lamp]
