"""``python -m tests.chaos --seconds 120 --seed 7``: run a shop with writes, kills and outages, then count differences.

Prints one JSON object as its last line; exits with 1 if anything was lost, stale, orphaned or wrongly failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos import delays, protections
from tools import servers
from tools.processes import Process
from tools.system import Failure

NAME = "chaos"
PASSWORD = "for-tests-only"
CLAIM_SECONDS = 4
DATABASES = {"postgres": servers.postgres, "mariadb": servers.mariadb}


class Harness:
    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given = given
        self.folder = folder
        self.dice = random.Random(given.seed)
        self.kills = 0
        self.events: Counter[str] = Counter()
        self.silent = folder / "silent"
        self.silent.touch()
        self.later: list[tuple[float, Callable[[], Any]]] = []
        self.helpers: list[Process] = []
        self.workers: list[Process] = []
        self.ask: Callable[[str, Any], Any] | None = None
        """The request function for Elasticsearch, if it needs more than the address."""
        self.down: set[Process] = set()
        """Processes that were killed or ended, and will be started again."""

    # Starting.

    def start(self) -> None:
        self.say(f"starting {self.given.database}, Redis and Elasticsearch")
        self.redis, self.redis_url = servers.redis(self.folder)
        if self.given.secure:
            self.elastic, self.elastic_url, authority = servers.secure_elasticsearch(
                self.folder, PASSWORD, short_lived=True
            )
        else:
            self.elastic, self.elastic_url = servers.elasticsearch(self.folder, short_lived=True)
        self.elastic.start()
        self.redis.start().wait_until_it_answers()
        self.database, database_url = DATABASES[self.given.database](self.folder)
        if not self.database.is_running:
            self.database.start()
        self.database.wait_until_it_answers()
        self.elastic.wait_until_it_answers()
        index = {"hosts": [self.elastic_url], "name": NAME, "replicas": 0, "request_timeout": 3.0}
        if self.given.secure:
            ask = partial(servers.as_superuser, self.elastic_url, authority, PASSWORD)
            rights = {"names": [NAME, f"{NAME}-*"], "privileges": ["read", "write", "manage"]}
            role = {"cluster": ["monitor"], "indices": [rights]}
            key = ask("/_security/api_key", {"name": NAME, "role_descriptors": {NAME: role}})["encoded"]
            index |= {"api_key": key, "ca_certs": str(authority)}
            self.ask = lambda url, body: ask(url.removeprefix(self.elastic_url), body, method="POST")
        imagesim = {
            "SYNC": "celery",
            "SYNC_BATCH_SIZE": 16,
            "SYNC_LEASE_SECONDS": CLAIM_SECONDS,
            "SYNC_MAX_ATTEMPTS": 4,
            "EMBEDDER": {"BACKEND": "tests.embedders.PixelEmbedder", "OPTIONS": {}},
            "INDEX": {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": index},
        }
        media = self.folder / "media"
        media.mkdir()
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "IMAGESIM_TEST_DATABASE_URL": database_url,
            "IMAGESIM_TEST_SETTINGS": json.dumps(imagesim),
            "IMAGESIM_TEST_MEDIA": str(media),
            "IMAGESIM_TEST_BROKER": self.redis_url,
            "IMAGESIM_TEST_QUEUE": "chaos",
            "IMAGESIM_TEST_SCRATCH": str(self.folder),
            "IMAGESIM_CHAOS": json.dumps({"without": self.given.without, "folder": str(self.folder)}),
        }
        os.environ.update(self.environment)
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0, interactive=False)
        self.stock_the_shop()
        celery = [sys.executable, "-m", "celery", "--app", "demo_shop", "worker", "--loglevel", "WARNING"]
        self.workers = [
            self.process(f"worker-{n}", [*celery, "--concurrency", "1", "--hostname", f"w{n}@chaos"]).start()
            for n in range(self.given.workers)
        ]
        # In a run without change rows, the messages of the first products had no receiver.
        self.have_all_synced()

    def have_all_synced(self) -> None:
        from imagesim.indexing.sync import sync
        from imagesim.models import ItemState, Scope

        self.say(f"filling the index with {self.given.products} products")
        if not ItemState.objects.exists():
            from demo_shop.shop.models import Product

            ItemState.objects.bulk_create(
                ItemState(model="shop.product", object_pk=str(pk), scope=Scope.ALL)
                for pk in Product.objects.values_list("pk", flat=True)
            )
        until = time.monotonic() + 30
        while (report := sync()).interrupted:  # a worker may be creating the first index at the same time
            if time.monotonic() > until:
                raise Failure(f"The index cannot be filled: {report.interrupted}")
            time.sleep(1)

    def process(self, name: str, command: list[str]) -> Process:
        return Process(name, command, self.folder / "logs", environment=self.environment)

    def stock_the_shop(self) -> None:
        from django.core.files.base import ContentFile
        from django.db import transaction

        from demo_shop.shop.models import Category, Photo, Product
        from tests.chaos.pictures import draw

        shelves = [Category.objects.create(name=f"c{n}", slug=f"c{n}") for n in range(12)]
        with transaction.atomic():
            for n in range(self.given.products):
                made = Product.objects.create(
                    name=f"p{n}", slug=f"p{n}", category=shelves[n % 12], price=n % 90 + 1, stock=1, brand="acme"
                )
                Photo.objects.create(product=made, file=ContentFile(draw(n), f"start-{n}.png"))

    # Faults.

    def kill_worker(self) -> None:
        self.hit(self.dice.choice(self.workers))

    def pause_worker(self) -> None:
        """Pause it for longer than its lease: when it resumes, others have done its work, and its writes are late."""
        worker = self.dice.choice(self.workers)
        self.wait_for_a_lease()
        worker.signal(signal.SIGSTOP)
        self.soon(CLAIM_SECONDS + self.dice.uniform(1, 4), lambda: worker.signal(signal.SIGCONT))

    def pause_worker_for_long(self) -> None:
        if self.is_asked_for("pause_worker"):
            for worker in self.workers[1:]:
                self.wait_for_a_lease()
                worker.signal(signal.SIGSTOP)
                self.soon(4 * CLAIM_SECONDS, lambda worker=worker: worker.signal(signal.SIGCONT))  # type: ignore[misc]

    def delay_a_write(self) -> None:
        """Stop a worker between reading and writing, until others have done its work."""
        seconds = CLAIM_SECONDS + self.dice.uniform(1, 4)
        if not delays.left(self.folder):
            delays.order(self.folder, seconds)

    def delay_a_write_for_long(self) -> None:
        if self.is_asked_for("delay_a_write"):
            delays.order(self.folder, 4 * CLAIM_SECONDS)

    def wait_for_a_lease(self) -> None:
        """Wait until a worker holds a lease."""
        from imagesim.models import ItemState

        until = time.monotonic() + 1
        while time.monotonic() < until and not ItemState.objects.exclude(lease="").exists():
            time.sleep(0.01)

    def kill_redis(self) -> None:
        self.hit(self.redis)

    def pause_redis(self) -> None:
        self.redis.signal(signal.SIGSTOP)
        self.soon(self.dice.uniform(1, 4), lambda: self.redis.signal(signal.SIGCONT))

    def pause_elasticsearch(self) -> None:
        seconds = self.dice.uniform(1, 8)
        if self.elastic.answers:
            self.elastic.signal(signal.SIGSTOP)
            self.soon(seconds, lambda: self.elastic.signal(signal.SIGCONT))

    def kill_elasticsearch(self) -> None:
        """Only while it responds: it takes a while to start, and would otherwise be unavailable all the time."""
        seconds = self.dice.uniform(0.5, 3)
        if self.elastic.answers:
            self.hit(self.elastic, seconds)

    def double_messages(self) -> None:
        from imagesim.indexing import dispatch

        for _ in range(30):
            dispatch.start("sync")

    def late_messages(self) -> None:
        """Send messages about items that were changed or deleted long ago."""
        from imagesim.indexing.dispatch import MessageDispatcher, get_dispatcher
        from imagesim.models import ItemState

        states = list(ItemState.objects.order_by("?").values_list("object_pk", flat=True)[:10])
        dispatcher = get_dispatcher()
        assert isinstance(dispatcher, MessageDispatcher)
        dispatcher.send("reindex", {"label": "shop.product", "pks": states}, delay=self.dice.uniform(0, 5))

    def rebuild(self) -> None:
        self.helper("rebuild", ["imagesim_rebuild"])

    def rebuild_and_kill(self) -> None:
        helper = self.helper("rebuild", ["imagesim_rebuild"])
        self.soon(self.dice.uniform(1.0, 6), lambda: self.kill_helper(helper))

    def compare(self) -> None:
        if "reconcile" not in self.given.without:
            helper = self.helper("reconcile", ["imagesim_sync", "--reconcile"])
            if self.dice.random() < 0.3:
                self.soon(self.dice.uniform(1.0, 5), lambda: self.kill_helper(helper))

    def hit(self, process: Process, seconds: float = 0.0) -> None:
        """Kill a process with -9, and start a new one after a moment."""
        if process.is_running:
            process.kill()
            self.kills += 1
            self.raise_again(process, seconds or self.dice.uniform(0.1, 2))

    def raise_again(self, process: Process, seconds: float) -> None:
        self.down.add(process)

        def start() -> None:
            self.down.discard(process)
            if not process.is_running:
                process.start()

        self.soon(seconds, start)

    def supervise(self) -> None:
        """Restart workers that ended, like systemd or Docker. Celery's workers end if Redis becomes unavailable while
        they acknowledge a task."""
        for worker in self.workers:
            if worker not in self.down and not worker.is_running:
                self.events["worker_ended_by_itself"] += 1
                self.raise_again(worker, 1.0)

    def helper(self, name: str, command: list[str]) -> Process:
        number = len(self.helpers)
        made = self.process(f"{name}-{number}", [sys.executable, "-m", "django", *command]).start()
        self.helpers.append(made)
        return made

    def kill_helper(self, helper: Process) -> None:
        if helper.is_running:
            helper.kill()
            self.kills += 1

    def soon(self, seconds: float, action: Callable[[], Any]) -> None:
        self.later.append((time.monotonic() + seconds, action))

    # The run.

    def run(self) -> None:
        writers = [
            self.process(
                f"writer-{n}",
                [
                    *(sys.executable, "-m", "tests.chaos.writer", "--number", str(n), "--seed", str(self.given.seed)),
                    *("--seconds", str(self.given.seconds), "--pause", str(self.given.pause)),
                    *("--silent", str(self.silent), "--counts", str(self.counts(n))),
                ],
            ).start()
            for n in range(self.given.writers)
        ]
        faults = [
            (10, self.kill_worker),
            (6, self.pause_worker),
            (6, self.delay_a_write),
            (3, self.kill_redis),
            (2, self.pause_redis),
            (3, self.pause_elasticsearch),
            (1, self.kill_elasticsearch),
            (4, self.double_messages),
            (4, self.late_messages),
            (2, self.rebuild),
            (3, self.rebuild_and_kill),
            (2, self.compare),
        ]
        faults = [(weight, fault) for weight, fault in faults if self.is_asked_for(fault.__name__)]
        until = time.monotonic() + self.given.seconds
        # Some workers are paused at the end, and resume with old data when all others are done.
        self.soon(self.given.seconds - 6, self.delay_a_write_for_long)
        self.soon(self.given.seconds - 2, self.pause_worker_for_long)
        while time.monotonic() < until:
            self.wait(self.dice.uniform(0.2, 2 * self.given.every))
            [(_, fault)] = self.dice.choices(faults, [weight for weight, _ in faults])
            self.events[fault.__name__] += 1
            fault()
        # A writer can wait for a row that a paused worker has locked, until it resumes.
        until = time.monotonic() + 60
        while any(writer.is_running for writer in writers) and time.monotonic() < until:
            self.wait(0.2)
        for writer in writers:
            status = writer.wait(0)
            assert status == 0, f"{writer.name} ended with {status}:\n{writer.tail()}"
        # The messages of the last writes are lost.
        for fault in (self.kill_redis, self.kill_worker):
            if self.is_asked_for(fault.__name__):
                fault()
        self.done = Counter()
        for n in range(self.given.writers):
            self.done.update(json.loads(self.counts(n).read_text()))
        self.calm()

    def counts(self, writer: int) -> Path:
        return self.folder / f"counts-{writer}"

    def is_asked_for(self, fault: str) -> bool:
        return not self.given.faults or fault in self.given.faults

    def wait(self, seconds: float) -> None:
        """Wait, and run the delayed actions that are due."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            due = [entry for entry in self.later if entry[0] <= now]
            self.later = [entry for entry in self.later if entry[0] > now]
            for _, action in due:
                action()
            self.supervise()
            if now >= until:
                return
            time.sleep(0.05)

    def calm(self) -> None:
        """Stop the faults and start every process again, as a supervisor would."""
        self.wait(max([0.0, *(at - time.monotonic() for at, _ in self.later)]) + 0.1)
        self.wait(CLAIM_SECONDS)
        delays.cancel(self.folder)
        self.wait(delays.left(self.folder))
        for process in (self.redis, self.elastic, *self.workers):
            process.signal(signal.SIGCONT)
            if not process.is_running:
                process.start()
        self.elastic.wait_until_it_answers()
        for helper in self.helpers:
            helper.wait(120)

    def settle(self, seconds: float) -> float:
        """Wait until no change waits; return how long that took."""
        from imagesim.indexing import jobs
        from imagesim.models import ItemState

        started = time.monotonic()
        while time.monotonic() - started < seconds:
            if not ItemState.objects.filter(pending=True).exists() and not jobs.unfinished_rebuild():
                break
            self.wait(0.5)
        else:
            waiting = ItemState.objects.filter(pending=True)
            self.say(f"{waiting.count()} still wait, such as {list(waiting.values()[:3])}")
        return time.monotonic() - started

    def judge(self) -> dict[str, Any]:
        from tests.chaos.verify import verify

        settled = self.settle(self.given.patience)
        silent = {f"shop.product:{pk}" for line in self.silent.read_text().splitlines() for pk in json.loads(line)}
        before = verify(self.elastic_url, NAME, self.ask).without(silent)
        if "reconcile" not in self.given.without:
            from imagesim.indexing.reconcile import reconcile

            reconcile()
            self.settle(self.given.patience)
        after = verify(self.elastic_url, NAME, self.ask)
        for note in (*before.notes[:5], *after.notes[:5]):
            self.say(note)
        names = ("lost", "stale", "orphaned")
        return {
            "operations": sum(count for name, count in self.done.items() if not name.startswith("failed")),
            "kills": self.kills,
            **{name: len(set(getattr(before, name)) | set(getattr(after, name))) for name in names},
            "failed": after.failed,
            "wrongly_failed": len(after.wrongly_failed) + len(after.not_failed),
            "seed": self.given.seed,
            "seconds": self.given.seconds,
            "items": after.expected,
            "silent_writes": len(silent),
            "settled_after_seconds": round(settled, 1),
            "before_comparing": {name: len(getattr(before, name)) for name in names},
            "faults": dict(sorted(self.events.items())),
            "writes": dict(sorted(self.done.items())),
            "without": self.given.without,
            "database": self.given.database,
            "clean": before.is_clean and after.is_clean,
        }

    def stop(self) -> None:
        for process in (*self.helpers, *getattr(self, "workers", ())):
            process.kill()
        for name in ("elastic", "redis", "database"):
            if process := getattr(self, name, None):
                process.kill()

    def say(self, text: str) -> None:
        print(f"chaos: {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="duration of writes and faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--products", type=int, default=300, help="in the shop at the start")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two writes of a writer, on average")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two faults, on average")
    parser.add_argument("--patience", type=float, default=180.0, help="seconds until all changes must be synced")
    parser.add_argument("--without", action="append", choices=protections.NAMES, default=[], help="switch off")
    parser.add_argument("--faults", nargs="+", metavar="NAME", help="only these, such as kill_worker")
    parser.add_argument("--database", choices=DATABASES, default="postgres", help="that of the shop")
    parser.add_argument("--secure", action="store_true", help="Elasticsearch with TLS, and an API key of few rights")
    parser.add_argument("--keep", type=Path, help="a folder to keep the logs in")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="imagesim-chaos-") as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        harness = Harness(given, folder)
        try:
            harness.start()
            harness.run()
            result = harness.judge()
        finally:
            harness.stop()
    print(json.dumps(result), flush=True)
    return 0 if result["clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
