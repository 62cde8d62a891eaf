"""Measure the search endpoint under load, compared with raw Elasticsearch with the same queries.

32 clients on persistent connections send one request at a time each; they use little time themselves (one thread,
``asyncio`` streams), and the same code queries both servers. The endpoint runs in one gunicorn worker process with
threads and reads the embedding from the database, so no model is involved; another process caches its answers
(``SIMILAR_SECONDS``) and still reads their items. A similar worker process serves two hand-written views (``plain``):
one that returns less, and one that returns the same. The latter shows how much of the endpoint's time could be saved
within Django.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.searching.common import Row
from benchmarks.stocked import processor_seconds

CLIENTS = 32
SECONDS = 8.0
THREADS = 4
ROUNDS = 3
LIMIT = 12


class Server(NamedTuple):
    """A web server, with the process whose processor time is counted: on a busy machine, it says more than the rate."""

    port: int
    pid: int


def measure(
    url: str, folder: Path, backend: dict[str, Any], items: Sequence[Any], bodies: Sequence[bytes]
) -> Iterator[Row]:
    """Measure; ``bodies`` are the requests that ``similar_to`` of each of ``items`` sends."""
    elastic = urlsplit(url)
    path = f"/{backend['OPTIONS']['name']}/_search"
    raw = [_post(path, body) for body in bodies]
    ours = [_get(f"/api/visual/items/shop.product/{item.pk}/similar/?limit={LIMIT}") for item in items]
    (folder / "bodies.json").write_text(json.dumps([body.decode() for body in bodies]))
    by_hand = {name: [_get(f"/{name}/{number}/") for number in range(len(bodies))] for name in ("plain", "same")}
    environment = {**os.environ, "BENCHMARK_FOLDER": str(folder), "BENCHMARK_INDEX": json.dumps(backend)}
    cached = environment | {"BENCHMARK_SIMILAR_SECONDS": "600"}
    with (
        _served("served", environment) as ours_server,
        _served("served", cached) as keeping,
        _served("plain", environment) as plain,
    ):
        servers = {"ours": ours_server, "cached": keeping, "plain": plain, "same": plain}
        asked = {"ours": ours, "cached": ours, **by_hand}
        for name, server in servers.items():
            assert len(asyncio.run(_results(server.port, asked[name]))) == LIMIT, f"{name} answers with fewer items"
        rates: dict[str, list[float]] = {name: [] for name in (*servers, "raw")}
        costs: dict[str, list[float]] = {name: [] for name in rates}
        for round_, name in itertools.product(range(ROUNDS + 1), rates):
            seconds = SECONDS if round_ else 2.0  # the first round warms up
            if name == "raw":
                rate, cost = asyncio.run(_drive(str(elastic.hostname), int(elastic.port or 9200), raw, seconds)), 0.0
            else:
                server = servers[name]
                before = processor_seconds(server.pid)
                rate = asyncio.run(_drive("127.0.0.1", server.port, asked[name], seconds))
                cost = (processor_seconds(server.pid) - before) * 1000 / (rate * seconds)
            if round_:
                rates[name].append(rate)
                costs[name].append(cost)
    best = {name: max(each) for name, each in rates.items()}
    yield Row("load: similar/ answers, 32 clients", best["ours"], "/s", "raw Elasticsearch", best["raw"])
    share = _share(rates["ours"], rates["raw"])
    yield Row("load: share of raw Elasticsearch, one process", share, "x", target=">= 0.7", detail={"rates": rates})
    yield Row("load: a hand-written view: its share", _share(rates["plain"], rates["raw"]), "x", "ours", share)
    yield Row("load: share of the hand-written view", _share(rates["ours"], rates["plain"]), "x", target=">= 0.8")
    yield Row("load: … with cached answers", _share(rates["cached"], rates["plain"]), "x", target=">= 0.8")
    yield Row("load: share of one with the same answer", _share(rates["ours"], rates["same"]), "x", target=">= 0.8")
    for name in servers:
        what = f"load: processor time of an answer, {name}"
        share = _share(costs["plain"], costs[name])
        yield Row(what, statistics.median(costs[name]), "ms", "of the hand-written view, times", share)


def _share(some: Sequence[float], whole: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(some, whole, strict=True))


@contextmanager
def _served(module: str, environment: dict[str, str]) -> Iterator[Server]:
    """Start one gunicorn worker process with threads."""
    port = _free_port()
    command = [sys.executable, "-m", "gunicorn", f"benchmarks.searching.{module}:application", "--log-level", "warning"]
    command += ["--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", str(THREADS), "--keep-alive", "60"]
    server = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2])
    try:
        _wait_for(port)
        yield Server(port, server.pid)
    finally:
        server.terminate()
        server.wait()


async def _drive(host: str, port: int, requests: Sequence[bytes], seconds: float) -> float:
    """Return the answers per second."""
    answered, started = 0, time.perf_counter()

    async def client(first: int) -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        for number in itertools.count(first, CLIENTS):
            if time.perf_counter() - started > seconds:
                break
            writer.write(requests[number % len(requests)])
            await _answer(reader)
            answered += 1
        writer.close()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return answered / (time.perf_counter() - started)


async def _results(port: int, requests: Sequence[bytes]) -> list[Any]:
    """Return the results of the first request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(requests[0])
    answer: list[Any] = json.loads(await _answer(reader))["results"]
    writer.close()
    return answer


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Return the body of one answer with status 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200"), head
    if b"transfer-encoding: chunked" not in head:
        return await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def _post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int) -> None:
    for _attempt in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("gunicorn does not respond")
