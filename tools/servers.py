"""PostgreSQL, Redis and Elasticsearch on free ports, with their data in a folder: (process, address) of each."""

from __future__ import annotations

import socket
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tools import elastic
from tools.processes import PATIENCE, Process
from tools.system import Failure, find_program, free_port


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True


def redis(folder: Path) -> tuple[Process, str]:
    """Not started yet. It keeps nothing: killed, it comes back empty."""
    port = free_port()
    home = folder / "redis"
    program = find_program("redis-server", package="redis-server")
    options = ["--dir", home, "--save", "", "--appendonly", "no"]
    server = Process(
        "redis",
        [program, "--bind", "127.0.0.1", "--port", port, *options],
        home,
        as_service=True,
        answers=lambda: _accepts(port),
    )
    return server, f"redis://127.0.0.1:{port}/0"


def postgres(folder: Path) -> tuple[Process, str]:
    """Running, with an empty database.

    :raises Failure: if it cannot be made.
    """
    initdb = find_program("initdb", package="postgresql", folders="/usr/lib/postgresql/*/bin").resolve()
    port = free_port()
    home = folder / "postgres"
    data = home / "data"
    make = [initdb, "-D", data, "-U", "imagesim", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
    made = Process("initdb", make, home, as_service=True)
    if made.start().wait(PATIENCE):
        raise Failure(f"initdb failed:\n{made.tail()}")
    # No data here has to survive a power cut.
    settings = {"unix_socket_directories": home, "fsync": "off", "full_page_writes": "off", "max_connections": 200}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [initdb.with_name("postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, *options]
    ready = [str(part) for part in (initdb.with_name("pg_isready"), "-q", "-h", "127.0.0.1", "-p", port)]
    server = Process(
        "postgres", command, home, as_service=True, answers=lambda: subprocess.run(ready, check=False).returncode == 0
    )
    server.start().wait_until_it_answers()
    create = [initdb.with_name("createdb"), "-h", "127.0.0.1", "-p", port, "-U", "imagesim", "imagesim"]
    subprocess.run([str(part) for part in create], check=True)
    return server, f"postgres://imagesim@127.0.0.1:{port}/imagesim"


def elasticsearch(
    folder: Path, name: str = "elasticsearch", *, heap: str = "512m", changes: Mapping[str, object] | None = None
) -> tuple[Process, str]:
    """Not started yet, with ``heap`` of memory and ``changes`` to the settings for tests."""
    home = elastic.home()
    port, transport = free_port(), free_port()
    if changes and "transport.port" in changes:
        transport = int(str(changes["transport.port"]))
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    environment = elastic.configure(own, home, port, transport, changes)
    environment["ES_JAVA_OPTS"] = f"-Xms{heap} -Xmx{heap}"
    url = f"http://127.0.0.1:{port}"
    server = Process(
        name,
        [home / "bin" / "elasticsearch"],
        own,
        environment=environment,
        as_service=True,
        answers=lambda: _responds(url),
    )
    return server, url


def _responds(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/_cluster/health", timeout=5) as response:
        return bool(response.status == 200)
