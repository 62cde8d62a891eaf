"""What recording answers and reporting on them costs: ``python -m benchmarks.insight [--days N --searches N]``.

Records answers to a visitor's request and prints the time that the request waits and the time that the writer takes.
Then fills the database with searches and events (four for each search), computes the daily figures and times every
report. Runs on SQLite, or on the PostgreSQL database that ``IMAGESIM_BENCHMARK_DATABASE_URL`` names, which is emptied.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.search import configure

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
COLOURS, THINGS = ("red", "blue", "green", "black", "white"), ("shoe", "hat", "bag", "coat")
WORDS = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
BATCH = 5_000
INDEXED = 50_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=20_000, help="answers to record")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--searches", type=int, default=100_000, help="searches to fill the database with")
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--record-only", action="store_true")
    parser.add_argument("--reuse", action="store_true", help="only time the reports, with the database as it is")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesim-benchmark-") as folder:
        configure(Path(folder), {"SYNC": "manual", "EVENTS": True})
        if url := os.environ.get("IMAGESIM_BENCHMARK_DATABASE_URL"):
            use_postgres(url, empty=not options.reuse)
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        figures: dict[str, Any] = {"load": round(os.getloadavg()[0], 1)}
        if not options.reuse:
            figures |= record(options.answers)
        if not options.reuse and not options.record_only:
            figures |= fill(options.searches, options.days, options.items)
        if not options.record_only:
            figures |= report(options.days)
    for name, value in figures.items():
        print(f"{name:<32} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


def use_postgres(url: str, *, empty: bool) -> None:
    from django.db import connection, connections

    from demo_shop import environment

    settings = {**connections.settings["default"], "OPTIONS": {}, **environment.postgres(url), "CONN_MAX_AGE": None}
    connections.settings["default"] = settings
    del connections["default"]
    if not empty:
        return
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def record(count: int) -> dict[str, Any]:
    """Return the microseconds that a request waits for an answer to be recorded, and those that the writer takes."""
    from django.http import HttpResponse
    from django.test import RequestFactory

    from imagesim.events import Answer
    from imagesim.insight import recorder as recording
    from imagesim.insight.middleware import RememberRequest
    from imagesim.insight.models import Search

    keys = tuple(f"shop.product:{n}" for n in range(12))
    waited: list[float] = []
    recording.Recorder._start = lambda self: None  # type: ignore[method-assign]  # written below, where it is timed
    observer, made = recording.InsightObserver(), recording.recorder()
    written = 0.0

    def view(request: Any) -> HttpResponse:
        nonlocal number
        answer = Answer(f"record{number}", "words", "red shoes for the summer", "", "shoes", 0, 12, keys, 12, 0.8)
        started = time.perf_counter()
        observer.answered(answer)
        waited.append((time.perf_counter() - started) * 1e6)
        return HttpResponse()

    handler, request = RememberRequest(view), RequestFactory().get("/", headers={"user-agent": AGENT})
    for number in range(count):
        handler(request)
        if number % recording.BATCH == recording.BATCH - 1:
            started = time.perf_counter()
            made.flush()
            written += time.perf_counter() - started
    Search.objects.all().delete()
    return {
        "request_median_us": round(statistics.median(waited), 1),
        "request_p99_us": round(statistics.quantiles(waited, n=100)[98], 1),
        "writer_us": round(written / count * 1e6, 1),
    }


def fill(searches: int, days: int, items: int) -> dict[str, Any]:
    """Insert searches with their events, spread over the days, and compute the daily figures."""
    from django.utils import timezone

    from imagesim.insight.models import DailyCount, Search
    from imagesim.insight.rollup import roll_up
    from imagesim.models import Event

    chance = random.Random(7)
    now, rows, events, total = timezone.now(), [], [], 0
    for number in range(searches):
        moment = now - timedelta(days=chance.random() * days)
        where = ("similar", "words", "photo")[number % 3]
        text = f"{chance.choice(WORDS)} {int(chance.expovariate(0.01))}" if where == "words" else ""
        keys = (
            [f"shop.product:{int(items * chance.random() ** 2)}" for _ in range(12)] if chance.random() > 0.05 else []
        )
        keys = list(dict.fromkeys(keys))
        request = f"r{number}"
        best = chance.random() if keys else None
        given = {"request": request, "where": where, "text": text, "found": len(keys), "best": best, "keys": keys}
        rows.append(Search(created_at=moment, category=f"category{number % 40}", **given))
        for position, key in enumerate(keys[:3]):
            events.append(Event(request=request, kind="view", source="search", item_key=key, position=position))
        if keys and chance.random() < 0.9:
            events.append(Event(request=request, kind="click", source="search", item_key=keys[0], position=0))
        if len(rows) == BATCH or number == searches - 1:
            Search.objects.bulk_create(rows)
            Event.objects.bulk_create(events)
            total += len(rows) + len(events)
            rows, events = [], []
    started = time.perf_counter()
    roll_up()
    seconds = time.perf_counter() - started
    return {
        "events": total,
        "daily_rows": DailyCount.objects.count(),
        "roll_up_s": round(seconds, 1),
        "roll_up_s_per_day": round(seconds / days, 3),
    }


def report(days: int) -> dict[str, Any]:
    """Return the best of three times of each report, in milliseconds, over the last 30 days and over all."""
    from django.utils import timezone

    from imagesim.insight.reports import REPORTS, Selection
    from imagesim.insight.rollup import local_date
    from imagesim.models import ItemState

    if not ItemState.objects.exists():  # for the products that were never found
        states = (ItemState(model="shop.product", object_pk=str(n), outcome="indexed") for n in range(INDEXED))
        ItemState.objects.bulk_create(states, batch_size=BATCH)

    today = local_date(timezone.now())
    figures = {}
    for span in (30, days + 1):
        chosen = Selection(today - timedelta(days=span), today)
        for name, each in REPORTS.items():
            times = []
            for _round in range(3):
                started = time.perf_counter()
                each.rows(chosen, 100)
                times.append((time.perf_counter() - started) * 1000)
            figures[f"{name}_{span}_days_ms"] = round(min(times))
    return figures


if __name__ == "__main__":
    sys.exit(main())
