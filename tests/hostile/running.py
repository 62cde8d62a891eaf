"""One run: the shop is stocked and served, then attacked; a report of what that cost."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from imagesim import runtime
from imagesim.retrieval import concurrency
from tests.hostile import files
from tests.hostile.attacks import (
    API,
    BUSY,
    Attack,
    attacks,
    get,
    held_attacks,
    invented_events,
    odd_requests,
    picture_inputs,
    post_form,
    with_picture,
)
from tests.hostile.server import MEMORY_LIMIT, ROOT, Reply, Request, Server, busy_seconds
from tools import servers

MEGABYTE = 1024**2
MEMORY_BUDGET = 400 * MEGABYTE
"""Of one request."""
FIXED_WORK_SECONDS = 0.25
"""What :func:`_seconds_of_fixed_work` returns where the costliest requests take about two thirds of their budgets."""
CLIENTS = 12
ATTEMPTS = 3
"""How often a budget has to be exceeded: other work on the machine slows one attempt, a fault slows all."""
HONEST_SECONDS = 1.0
"""The most that the first page takes in a storm, at the median of at least :data:`VISITS`, if the server has the
processors to itself. With other work on them, as in :mod:`tools.checks`, it waits for that, too."""
MOST_SHARED = 4.0
"""The most that the budget grows for other work: a server that waits in vain is a fault on a busy machine, too."""
VISITS = 5
SETTLE_SECONDS = 20.0
MAX_IMAGE_PIXELS = 50_000_000
SERVICE = ("imagesim.embedders.service:application", "--worker-class", "gthread", "--threads", "16")
SERVICE_KEY = "hostile-service-key"
ANONYMOUS = 40
"""Connections to the embedder service without its key, each with as large a body as is taken with it."""
SERVICE_MEGABYTES = {"anonymous": 50, "pictures": 400}
DAMAGED = ("truncated", "flipped", "emptied")
"""What happens to one row each of the local index."""


@dataclass
class Report:
    """Seconds, bytes and counts; ``problems`` is empty if every budget was kept."""

    worst_processor_seconds: dict[str, float] = field(default_factory=dict)
    """Of the costliest request of each attack."""
    endpoints: dict[str, dict[str, float]] = field(default_factory=dict)
    """For each address the most of one request: processor seconds, megabytes of memory, bytes sent and received."""
    statuses: dict[int, int] = field(default_factory=dict)
    server_errors: list[str] = field(default_factory=list)
    honest: dict[str, tuple[float, int, int]] = field(default_factory=dict)
    """For each storm: (median seconds of ``GET /``, how many were answered, how many were lost)."""
    peak_over_rest: int = 0
    settled_over_rest: int = 0
    slots: int = 0
    files_sent: int = 0
    processor_seconds_of_files: float = 0.0
    """Of all mutated files together."""
    odd_sent: int = 0
    event_rows: int = 0
    event_rows_allowed: int = 0
    throttled: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each address: (requests from forged addresses, how many of them were refused with 429)."""
    service: dict[str, float] = field(default_factory=dict)
    """Megabytes over rest of the embedder service, by attack, and the seconds of an honest request meanwhile."""
    damaged: dict[str, int] = field(default_factory=dict)
    """Over a damaged index: answers by status, damaged entries among them, connections to an address in its meta."""
    seconds: dict[str, float] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(attack, what was wrong)."""


class Shop:
    """A shop with the server in front of it, once it is started."""

    def __init__(self, folder: Path, redis: str, settings: Mapping[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.hostile.settings",
            "IMAGESIM_HOSTILE_FOLDER": str(folder),
            "IMAGESIM_HOSTILE_REDIS": redis,
            "PYTHONPATH": str(ROOT),
            **settings,
        }

    def start(self) -> None:
        """Fill the shop, start its server, and have each worker load its model."""
        self._stock()
        self.server = Server(self.folder, self.environment).start()
        self._warm_up()

    def _stock(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.hostile.stock"],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def _warm_up(self) -> None:
        ordinary = (*with_picture(files.photo()), get(f"{API}/search/", {"q": "red"}), get("/look/"), get("/"))
        for _ in range(3):
            with ThreadPoolExecutor(8) as pool:
                for reply in pool.map(self.server.send, ordinary * 2):
                    assert reply.status in (200, BUSY), (reply, self.server.tail()[-3000:])
        time.sleep(1)
        self.rest = self.server.memory()
        self.server.reset_peak()


class Run:
    """``shop`` has the real model; ``light`` receives thousands of files and odd requests while the other one
    settles."""

    def __init__(self, folder: Path, *, seed: int = 1, storm_seconds: float = 2.5, say: Callable[[str], None]) -> None:
        self.folder, self.seed, self.storm_seconds, self.say = folder, seed, storm_seconds, say
        self.report = Report()
        self._lock = threading.Lock()

    def __enter__(self) -> Run:
        self.redis, address = servers.redis(self.folder)
        self.redis.start().wait_until_it_answers()
        address = address.rpartition("/")[0]
        self.shop = Shop(self.folder / "shop", f"{address}/0", {})
        self.light = Shop(self.folder / "light", f"{address}/1", {"IMAGESIM_HOSTILE_LIGHT": "1"})
        # The server lives as long as the thread that started it: Process asks the kernel for a signal when it ends.
        self._beside = ThreadPoolExecutor(1)
        with self.timed("starting"):
            starting = self._beside.submit(
                self.shop.start
            )  # loads models and embeds: the light one is attacked in the meantime
            self.light.start()
            self.attack_light()
            attacks()  # makes their pictures
            starting.result()
        self.peak = self.shop.rest
        return self

    def __exit__(self, *error: object) -> None:
        for shop in (self.shop, self.light):
            if hasattr(shop, "server"):
                shop.server.stop()
        self._beside.shutdown()
        self.redis.kill()

    def timed(self, name: str) -> _Timer:
        self.say(name)
        return _Timer(self.report.seconds, name)

    # What is done.

    def attack_light(self) -> None:
        """What needs no model: events, throttles, the embedder service, a damaged index."""
        self.invent_events()
        self.forge_addresses()
        self.ask_service()
        self.damage_index()

    def measure(self) -> None:
        """The cost of each request of each attack, one after the other."""
        answer = self.shop.server.send(post_form(f"{API}/look/", {}, [("image", files.photo())])).json()
        page = self.shop.server.send(get("/"))
        found = re.search(rf"{API}/thumbnail/[^/\s]+/", page.body.decode())
        assert found, (page.status, page.body, self.shop.server.tail()[-3000:])
        with self.timed("cost of single requests"):
            for attack in (
                *held_attacks(answer["photo"], found[0]),
                *attacks(),
            ):  # a later look replaces the photo
                for request in dict.fromkeys(map(_Hashable, attack.requests)):
                    self._measure(attack, request.request)

    def _measure(self, attack: Attack, request: Request) -> None:
        # Requests with a picture are computed each time; the answers to others may be cached after the first time.
        picture = request.headers.get("Content-Type", "").startswith("multipart/form-data")
        for _ in range(ATTEMPTS if picture else 1):
            seconds, memory = self._cost(attack, request)
            over = _over_budget(attack, request, seconds, memory)
            if not over:
                break
        worst = self.report.worst_processor_seconds
        worst[attack.name] = max(worst.get(attack.name, 0.0), round(seconds, 2))
        for what in over:
            self.problem(attack.name, f"{request.path}: {what}")

    def _cost(self, attack: Attack, request: Request) -> tuple[float, int]:
        """Return processor seconds, and how many bytes of memory the worker used at its peak in addition to those
        before."""
        server = self.shop.server
        self._keep_peak()
        memory, before = server.memory(), server.processor_seconds()
        reply = self.send(self.shop, attack.name, request)
        used = server.processor_seconds() - before
        more = max(peak - memory.get(pid, peak) for pid, peak in server.peak().items())
        self._note_cost(request, reply, used, more)
        if reply.status not in (*attack.statuses, BUSY):
            self.problem(attack.name, f"{request.path}: status {reply.status}, not one of {attack.statuses}")
        return used, more

    def _note_cost(self, request: Request, reply: Reply, seconds: float, memory: int) -> None:
        kind = request.headers.get("Content-Type", "").partition(";")[0]
        name = " ".join(filter(None, (request.method, _endpoint(request.path), kind)))
        cost = {"seconds": round(seconds, 2), "megabytes": round(memory / MEGABYTE)}
        cost |= {"sent": request.size, "received": len(reply.body)}
        known = self.report.endpoints.get(name, cost)
        self.report.endpoints[name] = {each: max(value, known[each]) for each, value in cost.items()}

    def _keep_peak(self) -> None:
        """Remember the peak of the memory so far, and start counting again."""
        self.peak = {pid: max(peak, self.peak.get(pid, 0)) for pid, peak in self.shop.server.peak().items()}
        self.shop.server.reset_peak()

    def storm(self) -> None:
        """Each attack from many clients at once, while an honest visitor asks for the first page."""
        with self.timed("storms"):
            for attack in attacks():
                if attack.storm:
                    self._storm(attack)

    def _storm(self, attack: Attack) -> None:
        for _ in range(ATTEMPTS):
            used, busy = self.shop.server.processor_seconds(), busy_seconds()
            honest = self._visits_during(attack)
            used, busy = self.shop.server.processor_seconds() - used, busy_seconds() - busy
            budget = HONEST_SECONDS * min(max(1.0, busy / used), MOST_SHARED)
            lost = sum(reply.status != 200 for reply in honest)
            median = statistics.median(reply.seconds for reply in honest)
            if lost or median <= budget:
                break
        self.report.honest[attack.name] = (round(median, 3), len(honest), lost)
        if lost or median > budget:
            what = f"median {median:.2f} s, not {budget:.2f}, {lost} of {len(honest)} lost"
            self.problem(attack.name, f"honest visitor: {what}")

    def _visit(self) -> Reply:
        return self.shop.server.send(get("/"), timeout=30)

    def _visits_during(self, attack: Attack) -> list[Reply]:
        """Return the answers to an honest visitor while all clients send the requests of the attack."""
        over = threading.Event()

        def attacker(number: int) -> None:
            for request in itertools.cycle(attack.requests[number % len(attack.requests) :] + attack.requests):
                if over.is_set():
                    return
                self.send(self.shop, attack.name, request)

        honest: list[Reply] = []
        with ThreadPoolExecutor(CLIENTS) as pool:
            attackers = [pool.submit(attacker, number) for number in range(CLIENTS)]
            until = time.monotonic() + self.storm_seconds
            try:
                while time.monotonic() < until or len(honest) < VISITS:
                    honest.append(self._visit())
                    time.sleep(0.05)
            finally:
                over.set()
            for each in attackers:
                each.result()
        return honest

    def fuzz(self, count: int, odd: int, *, until: float = float("inf")) -> None:
        """Send ``count`` mutated files, and ``odd`` requests with odd parameters."""
        addresses = (f"{API}/search/", f"{API}/look/", "/search/", "/look/")
        pictures = files.mutated(self.seed)
        mutated = (with_picture(next(pictures))[number % len(addresses)] for number in range(count))
        with self.timed("mutated files"):
            before = self.light.server.processor_seconds()
            self.report.files_sent += self._send_all("mutated files", mutated, until)
            used = self.light.server.processor_seconds() - before
            self.report.processor_seconds_of_files += round(used, 1)
        with self.timed("odd requests"):
            requests = itertools.islice(odd_requests(self.seed), odd)
            self.report.odd_sent += self._send_all("odd requests", requests, until)

    def _send_all(self, name: str, requests: Iterator[Request], until: float) -> int:
        lock, sent = threading.Lock(), Counter[str]()

        def client(number: int) -> None:
            while time.monotonic() < until:
                with lock:
                    request = next(requests, None)
                    if request is None:
                        return
                    sent[name] += 1
                self.send(self.light, name, request)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(client, range(4)))
        return sent[name]

    def settle(self, during: Callable[[], None]) -> None:
        """The memory of the workers at their peak since the start, and some time after the last request.

        ``during`` is what goes on elsewhere until then.
        """
        memory = min(runtime.memory_bytes(), MEMORY_LIMIT)
        self.report.slots = concurrency.slots_for(memory, runtime.threads(), MAX_IMAGE_PIXELS)
        self._keep_peak()
        peak, rest = self.peak, self.shop.rest
        until = time.monotonic() + SETTLE_SECONDS
        during()
        time.sleep(max(0.0, until - time.monotonic()))
        after = self.shop.server.memory()
        for shop in (self.shop, self.light):
            if set(shop.server.workers) != set(shop.rest):
                self.problem("memory", f"a worker was replaced:\n{shop.server.tail()[-2000:]}")
        self.report.peak_over_rest = max(peak[pid] - rest[pid] for pid in peak)
        self.report.settled_over_rest = max(after[pid] - rest[pid] for pid in after)
        if self.report.peak_over_rest > MEMORY_BUDGET * self.report.slots:
            self.problem("memory", f"peak {self.report.peak_over_rest / MEGABYTE:.0f} MB over rest")
        if self.report.settled_over_rest > 150 * MEGABYTE:
            self.problem("memory", f"{self.report.settled_over_rest / MEGABYTE:.0f} MB over rest after settling")

    def invent_events(self) -> None:
        """Invented events with the token of one answer."""
        answer = self.light.server.send(get(f"{API}/items/shop.product/1/similar/", {"limit": 4})).json()
        with self.timed("events"):
            shown = [f"{hit['item']['model']}:{hit['item']['pk']}" for hit in answer["results"]]
            with ThreadPoolExecutor(4) as pool:
                requests = invented_events(answer["token"], shown)
                list(pool.map(lambda request: self.send(self.light, "invented events", request), requests))
        with closing(sqlite3.connect(self.light.folder / "shop.sqlite3")) as connection:
            [(self.report.event_rows,)] = connection.execute("SELECT COUNT(*) FROM imagesim_event")
        self.report.event_rows_allowed = 3 * len(answer["results"])
        if self.report.event_rows > self.report.event_rows_allowed:
            kept, allowed = self.report.event_rows, self.report.event_rows_allowed
            self.problem("invented events", f"{kept} rows of one answer, not at most {allowed}")

    def forge_addresses(self, rate: int = 4) -> None:
        """Each request under another forged address: the throttles must count the visitor behind them."""
        environment = {**self.light.environment, "IMAGESIM_HOSTILE_RATE": f"{rate}/min"}
        server = Server(self.light.folder, environment, "throttled").start()
        count = 3 * rate
        requests = {
            "similar": get(f"{API}/items/shop.product/1/similar/"),
            "search form": with_picture(b"no picture")[1],
            "sample": get("/look/", {"sample": "apparel"}),
        }
        with self.timed("forged addresses"):
            for name, request in requests.items():
                replies = [
                    server.send(
                        Request(request.method, request.path, request.body, {**request.headers, **_forged(number)})
                    )
                    for number in range(count)
                ]
                refused = sum(reply.status == 429 for reply in replies)
                self.report.throttled[name] = (count, refused)
                if refused != count - rate:
                    self.problem(f"throttle of {name}", f"{refused} of {count} requests refused at {rate} per minute")
        server.stop()

    def ask_service(self) -> None:
        """Ask the embedder service: bodies without its key, then many large pictures with it."""
        environment = {**self.light.environment, "IMAGESIM_EMBEDDER_API_KEY": SERVICE_KEY}
        server = Server(self.light.folder, environment, "service", arguments=SERVICE, alive="/health").start()
        path, key = "/v1/embeddings", {"Authorization": f"Bearer {SERVICE_KEY}"}
        body, pictures = bytes(32 * MEGABYTE), picture_inputs()
        text = Request("POST", path, json.dumps({"input": "red"}).encode(), key)
        attacks = {
            "anonymous": ([Request("POST", path, body)] * ANONYMOUS, (401, 0)),  # 0: refused before all was sent
            "pictures": ([Request("POST", path, pictures, key)] * 4, (200, 413, BUSY)),
        }
        with self.timed("embedder service"):
            assert server.send(text).status == 200, server.tail()[-3000:]
            rest = server.memory()
            for name, (requests, statuses) in attacks.items():
                server.reset_peak()
                with ThreadPoolExecutor(len(requests)) as pool:
                    sending = [pool.submit(server.send, request) for request in requests]
                    honest = server.send(text)
                    replies = [each.result() for each in sending]
                more = max(peak - rest.get(pid, 0) for pid, peak in server.peak().items()) / MEGABYTE
                self.report.service |= {name: round(more), f"honest during {name}": round(honest.seconds, 2)}
                if wrong := {reply.status for reply in replies} - {*statuses}:
                    self.problem(f"service, {name}", f"statuses {sorted(wrong)}\n{server.tail()[-2000:]}")
                if more > SERVICE_MEGABYTES[name]:
                    self.problem(f"service, {name}", f"{more:.0f} MB over rest, not {SERVICE_MEGABYTES[name]}")
                if honest.status != 200:
                    self.problem(f"service, {name}", f"an honest request got {honest.status}")
        server.stop()

    def damage_index(self) -> None:
        """Ask for the pages of a shop that lost its pictures, whose index has damaged rows and a meta that names a
        backend elsewhere."""
        folder = self.light.folder.with_name("damaged")
        folder.mkdir()
        with closing(sqlite3.connect(self.light.folder / "shop.sqlite3")) as connection:
            connection.execute("VACUUM INTO ?", [str(folder / "shop.sqlite3")])
        with socket.create_server(("127.0.0.1", 0)) as elsewhere, self.timed("damaged index"):
            damaged = _damage(folder / "shop.sqlite3", f"http://127.0.0.1:{elsewhere.getsockname()[1]}/v1")
            environment = {**self.light.environment, "IMAGESIM_HOSTILE_FOLDER": str(folder)}
            server = Server(folder, environment, "damaged").start()
            similar = [get(f"{API}/items/shop.product/{pk}/similar/", {"limit": 100}) for pk in range(1, 25)]
            pages = [get(f"/product/product-{n}/") for n in range(24)]
            words = [get("/search/", {"q": "product"}), get(f"{API}/search/", {"q": "product", "limit": 100})]
            shown = 0
            requests = [*similar, *pages, *words]
            with ThreadPoolExecutor(4) as pool:
                replies = list(pool.map(server.send, requests))
            for request, reply in zip(requests, replies, strict=True):
                name = f"status {reply.status}"
                self.report.damaged[name] = self.report.damaged.get(name, 0) + 1
                if reply.status != 200:
                    self.problem("damaged index", f"{request.path}: status {reply.status}\n{server.tail()[-2000:]}")
                elif request.path.startswith(API):
                    shown += len(damaged & {each["item"]["pk"] for each in reply.json()["results"]})
            elsewhere.setblocking(False)
            self.report.damaged |= {"damaged entries shown": shown, "connections elsewhere": _waiting(elsewhere)}
            for name in ("damaged entries shown", "connections elsewhere"):
                if self.report.damaged[name]:
                    self.problem("damaged index", f"{self.report.damaged[name]} {name}")
        server.stop()

    # The results.

    def send(self, shop: Shop, name: str, request: Request) -> Reply:
        reply = shop.server.send(request)
        with self._lock:
            self.report.statuses[reply.status] = self.report.statuses.get(reply.status, 0) + 1
        if reply.status >= 500 and reply.status != BUSY:
            self.report.server_errors.append(f"{name}: {request.method} {request.path[:200]} {request.body[:300]!r}")
            self.problem(name, f"status {reply.status} of {request.method} {request.path[:120]}")
        elif reply.status == 0:
            self.problem(name, f"no answer to {request.method} {request.path[:120]}")
        return reply

    def problem(self, name: str, text: str) -> None:
        self.say(f"{name}: {text}")
        self.report.problems.append((name, text))


@dataclass
class _Timer:
    seconds: dict[str, float]
    name: str

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, *error: Any) -> None:
        self.seconds[self.name] = round(time.monotonic() - self.started, 1)


def _over_budget(attack: Attack, request: Request, seconds: float, memory: int) -> list[str]:
    over = []
    if memory > MEMORY_BUDGET:
        over.append(f"{memory / MEGABYTE:.0f} MB of memory")
    if seconds > attack.budget(request):
        budget = attack.budget(request) * max(1.0, _seconds_of_fixed_work() / FIXED_WORK_SECONDS)
        if seconds > budget:
            over.append(f"{seconds:.2f} s of processor, not {budget:.2f}")
    return over


def _seconds_of_fixed_work() -> float:
    """Return the processor seconds that work on pictures takes now, which differ between processors, and with what
    else they have to do."""
    started = time.thread_time()
    picture = Image.linear_gradient("L").convert("RGB").resize((3000, 3000), Image.Resampling.BICUBIC)
    picture.rotate(10).resize((224, 224), Image.Resampling.LANCZOS)
    return time.thread_time() - started


def _endpoint(path: str) -> str:
    """Return the address without what stands for an item, a token or a query."""
    path = path.partition("?")[0]
    return re.sub(r"/(items|look|thumbnail)/.+?/(similar/|photo/|region/)?$", r"/\1/…/\2", path.removeprefix(API))


def _damage(database: Path, url: str) -> set[str]:
    """Damage one row in each way, and have the meta name an embedder at ``url``; return the keys of the damaged
    items."""
    with closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute("SELECT id, key, document, vectors FROM imagesim_localentry ORDER BY id").fetchall()
        chosen = rows[3 : 3 + len(DAMAGED)]
        for how, (pk, _key, document, vectors) in zip(DAMAGED, chosen, strict=True):
            flipped = bytes([vectors[0] ^ 1]) + vectors[1:]
            changed = {"truncated": (document, vectors[:-3]), "flipped": (document, flipped), "emptied": (b"", b"")}
            connection.execute(
                "UPDATE imagesim_localentry SET document = ?, vectors = ? WHERE id = ?", [*changed[how], pk]
            )
        [(pk, meta)] = connection.execute("SELECT id, meta FROM imagesim_localgeneration WHERE active").fetchall()
        options = {"url": url, "model": "elsewhere", "dims": json.loads(meta)["dims"]}
        poison = {"BACKEND": "imagesim.embedders.http.HttpEmbedder", "OPTIONS": options}
        poisoned = json.dumps({**json.loads(meta), "embedder": poison, "backend": poison})
        connection.execute("UPDATE imagesim_localgeneration SET meta = ? WHERE id = ?", [poisoned, pk])
    return {key.rpartition(":")[2] for _pk, key, _document, _vectors in chosen}


def _waiting(server: socket.socket) -> int:
    try:
        server.accept()
    except BlockingIOError:
        return 0
    return 1


class _Hashable:
    """A request that is compared by its content, so that repeated ones are measured once."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def __hash__(self) -> int:
        return hash((self.request.path, self.request.body))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashable) and self.request == other.request


def _forged(number: int) -> dict[str, str]:
    return {"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.{number}"}
