"""Images of items on other servers, such as a CDN or a supplier's, by their URL.

Addresses often come from feeds of others, so only hosts that a setting lists are asked (server-side request forgery,
OWASP A10:2021). This is checked again on each redirect, and bytes and time are bounded.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from time import monotonic
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from django.http.request import validate_host
from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.exceptions import BadImage, mask_credentials
from imagesim.runtime import called_after

TIMEOUT_SECONDS = 10.0
"""The timeout in seconds of a connection, of its TLS handshake, and of each read."""

DEADLINE_SECONDS = 30.0
"""The time limit in seconds for a picture, including redirects."""

MAX_REDIRECTS = 3
MAX_LENGTH = 500
"""The maximum number of characters of a URL, which identifies the picture."""

CHUNK = 64 * 1024
PORTS = {"http": 80, "https": 443}


class RemoteImage:
    """An image at an ``http`` or ``https`` URL, for ``Items.get_images``; it is fetched when it is first read.

    The host must be in ``REMOTE_IMAGE_HOSTS``.
    """

    def __init__(self, url: str) -> None:
        self.name = self.url = url
        self._content: BytesIO | None = None

    def __repr__(self) -> str:
        return f"RemoteImage({mask_credentials(self.url)!r})"

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes of the picture, at most ``MAX_IMAGE_BYTES`` + 1 in total.

        :raises BadImage: if the address, or one that it redirects to, is not allowed.
        :raises FileNotFoundError: if there is no such picture (404 or 410).
        :raises OSError: if the server cannot be reached, is too slow, or answers otherwise.
        """
        if self._content is None:
            self._content = BytesIO(_fetch(self.url, get_settings().MAX_IMAGE_BYTES + 1))
        data = self._content.read(size)
        if not data:
            self._content = BytesIO()  # freed early: the item lives longer than its picture is needed
        return data

    def seek(self, position: Literal[0]) -> None:
        """Fetch the picture again with the next :meth:`read`."""
        self._content = None


def _fetch(url: str, size: int) -> bytes:
    until = monotonic() + DEADLINE_SECONDS
    for _redirect in range(MAX_REDIRECTS + 1):
        _require_time(until)
        connection, target = _connection(url, until)
        with closing(connection), connection.ended_in_time():
            try:
                connection.request("GET", target, headers={"Accept": "image/*", "Accept-Encoding": "identity"})
                _require_time(until)
                answer = connection.getresponse()
                _require_time(until)  # an ended connection looks like the end of the headers
                if answer.status not in (301, 302, 303, 307, 308):
                    return _body(answer, size, until)
            except http.client.HTTPException as error:
                raise OSError(f"{type(error).__name__}: {error}") from error
            except OSError:
                _require_time(until)  # an ended connection may also look reset
                raise
            url = urljoin(url, answer.headers.get("Location", ""))
    raise OSError(f"more than {MAX_REDIRECTS} redirects")


def _body(answer: http.client.HTTPResponse, size: int, until: float) -> bytes:
    if answer.status in (404, 410):
        raise FileNotFoundError
    if answer.status != 200:
        raise OSError(f"status {answer.status}")
    data = bytearray()
    while chunk := answer.read1(min(CHUNK, size - len(data))):
        data += chunk
        _require_time(until)
    _require_time(until)
    if answer.length and len(data) < size:
        raise OSError(f"the answer ends {answer.length} bytes too early")
    return bytes(data)


def _require_time(until: float) -> None:
    if monotonic() >= until:
        raise TimeoutError(f"the picture took longer than {DEADLINE_SECONDS:.0f} seconds")


def _connection(url: str, until: float) -> tuple[_Http, str]:
    """Return a connection to the server of an allowed URL, which ends at ``until``, and the request target."""
    parts = _checked(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not _is_listed(host) and not all(ipaddress.ip_address(address).is_global for address in addresses):
        # A pattern allows names that others can point to internal servers.
        raise BadImage(_("The host of the picture's address is not public: %(host)s.") % {"host": host})
    made = _Https if parts.scheme == "https" else _Http
    return made(host, port, addresses, until), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = SplitResult("", "", "", "", ""), "", None
    allowed = get_settings().REMOTE_IMAGE_HOSTS
    if len(url) > MAX_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        raise BadImage(_("The picture's address is longer than 500 characters, or has characters that must be quoted."))
    if parts.scheme not in PORTS or not host or "@" in parts.netloc:
        raise BadImage(_("The picture's address must be of the form https://host/path."))
    if not validate_host(host, allowed) and f"{host}:{port}" not in allowed:
        raise BadImage(
            _("The host of the picture's address is not in IMAGESIM['REMOTE_IMAGE_HOSTS']: %(host)s.") % {"host": host}
        )
    if port not in (None, PORTS[parts.scheme]) and f"{host}:{port}" not in allowed:
        raise BadImage(_("The port of the picture's address is not allowed: %(port)s.") % {"port": port})
    return parts


def _is_listed(host: str) -> bool:
    """Return whether the setting names exactly this host, not a pattern."""
    return host in {name.partition(":")[0].lower() for name in get_settings().REMOTE_IMAGE_HOSTS}


class _Http(http.client.HTTPConnection):
    """A connection to one of the checked IP addresses: the name is not resolved a second time."""

    def __init__(self, host: str, port: int, addresses: Sequence[str], until: float) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)
        self._addresses = addresses
        self._until = until
        self._transport: socket.socket | None = None  # http.client forgets it once it has the headers

    @contextmanager
    def ended_in_time(self) -> Iterator[None]:
        """End the connection when its time is up: a server that sends a byte now and then meets the timeout of each
        read."""

        def end() -> None:
            if self._transport is not None:
                with suppress(OSError):
                    socket.socket.shutdown(self._transport, socket.SHUT_RDWR)

        with called_after(max(self._until - monotonic(), 0.0), end):
            yield

    def connect(self) -> None:
        for number, address in enumerate(self._addresses, start=1):
            _require_time(self._until)
            left = max(self._until - monotonic(), 0.001)
            try:
                transport = socket.create_connection((address, self.port), min(TIMEOUT_SECONDS, left))
            except OSError:
                if number == len(self._addresses):
                    raise
            else:
                self._use(transport)
                return

    def _use(self, transport: socket.socket) -> None:
        transport.settimeout(TIMEOUT_SECONDS)
        self.sock = self._transport = transport
        _require_time(self._until)  # it may have passed before there was a connection to end


class _Https(_Http):
    default_port = PORTS["https"]  # omitted from the Host header

    def connect(self) -> None:
        super().connect()
        # The handshake comes after the socket is known here: wrapped, the former one can no longer be ended.
        wrapped = ssl.create_default_context().wrap_socket(
            self.sock, server_hostname=self.host, do_handshake_on_connect=False
        )
        self._use(wrapped)
        wrapped.do_handshake()
