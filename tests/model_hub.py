"""A model hub on this machine: the part of the hub's protocol that is needed to fetch a model, over real HTTP.

A repository is a folder. Weights are served as large files are: the answer to HEAD names their SHA-256 and points to
another address, which supports ranges.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

LARGE = {".safetensors", ".bin"}


@dataclass
class Repository:
    """The commits of a repository, oldest first; ``main`` is the last."""

    commits: dict[str, Path] = field(default_factory=dict)

    def add(self, folder: Path) -> str:
        """Add a commit with the files of ``folder``; return its name."""
        names = "".join(f"{path.name}{path.stat().st_mtime_ns}" for path in sorted(folder.iterdir()))
        commit = hashlib.sha1(f"{len(self.commits)}{names}".encode()).hexdigest()
        self.commits[commit] = folder
        return commit


class ModelHub(ThreadingHTTPServer):
    """The server; ``url`` is the value of ``HF_ENDPOINT``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, Path] = {}
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and range of each request so far."""
        self.cut_after: int | None = None
        """Close the connection after so many bytes of the next large file."""
        self.refused_after_cut = False
        """Then refuse to send more of it."""
        self.damaged = False
        """Send large files with another last byte."""
        self.gated: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def storage(self) -> str:
        """The address of large files, on another host, as with the real hub: clients read the headers of the first."""
        return f"http://localhost:{self.server_address[1]}/blobs"

    def add(self, name: str, folder: Path) -> str:
        """Add a commit to the repository ``name``; return the commit."""
        return self.repositories.setdefault(name, Repository()).add(folder)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is not an error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelHub

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, path, self.headers.get("Range", "")))
        if match := re.fullmatch(r"/blobs/([0-9a-f]{64})", path):
            self._send_large(self.server.blobs[match[1]])
        elif match := re.fullmatch(r"/api/models/((?:[^/]+/)?[^/]+)(/revision/[^/]+)?", path):
            self._describe(match[1])
        elif match := re.fullmatch(r"/((?:[^/]+/)?[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(*match.groups(), body=body)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "EntryNotFound")

    def _describe(self, name: str) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            self._refuse(HTTPStatus.NOT_FOUND, "RepoNotFound")
            return
        commit, folder = list(repository.commits.items())[-1]
        files = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
        self._send(json.dumps({"id": name, "modelId": name, "sha": commit, "siblings": files, "tags": []}).encode())

    def _resolve(self, name: str, revision: str, file: str, *, body: bool) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            self._refuse(HTTPStatus.UNAUTHORIZED, "RepoNotFound")
        elif name in self.server.gated:
            self._refuse(HTTPStatus.FORBIDDEN, "GatedRepo")
        elif revision != "main" and revision not in repository.commits:
            self._refuse(HTTPStatus.NOT_FOUND, "RevisionNotFound")
        else:
            commit = list(repository.commits)[-1] if revision == "main" else revision
            path = repository.commits[commit] / file
            headers = {"X-Repo-Commit": commit}
            if not path.is_file():
                self._refuse(HTTPStatus.NOT_FOUND, "EntryNotFound", headers)
            elif path.suffix in LARGE:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                self.server.blobs[digest] = path
                headers |= {"X-Linked-Size": str(path.stat().st_size), "X-Linked-Etag": f'"{digest}"'}
                self._send(b"", HTTPStatus.FOUND, {**headers, "Location": f"{self.server.storage}/{digest}"})
            else:
                content = path.read_bytes()
                etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                self._send(content, headers={**headers, "ETag": f'"{etag}"'}, body=body)

    def _send_large(self, path: Path) -> None:
        content = path.read_bytes()
        if self.server.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
        if start and self.server.refused_after_cut:
            self._refuse(HTTPStatus.NOT_FOUND, "")
            return
        status = HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK
        ranges = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        cut, self.server.cut_after = self.server.cut_after, None
        self._send(content[start:], status, ranges, cut=cut)

    def _refuse(self, status: HTTPStatus, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(b"", status, {**(headers or {}), "X-Error-Code": code})

    def _send(
        self,
        content: bytes,
        status: HTTPStatus = HTTPStatus.OK,
        headers: dict[str, str] | None = None,
        *,
        body: bool = True,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True


@contextmanager
def serve() -> Iterator[ModelHub]:
    """Run a hub for the duration of the block."""
    with ModelHub() as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
