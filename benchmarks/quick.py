"""Measure some ratios to limits in a few minutes, and compare them with the previous run: ``make bench-quick``.

    python -m benchmarks.quick --elasticsearch http://127.0.0.1:9200 [--json FILE] [--worse 0.25]

Times on a shared machine say little; the ratio of two that were measured in turns says more. Nothing fails: ratios that
got worse by more than ``--worse`` are printed, and the file holds the latest run. Compare only runs on one machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.search import set_up

COUNT, DIMS, QUERIES = 20_000, 512, 100
DEFAULT_FILE = Path(".bench-quick.json")
HIGHER = ("recall", "share")
"""Parts of the names of those figures for which higher is better."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elasticsearch", metavar="URL", default=os.environ.get("IMAGESIM_TEST_ELASTICSEARCH_URL"))
    parser.add_argument("--json", type=Path, default=DEFAULT_FILE, help="compare with this file, and replace it")
    parser.add_argument("--worse", type=float, default=0.25, help="the share by which a ratio has to be worse")
    given = parser.parse_args()
    if not given.elasticsearch:
        parser.error("no --elasticsearch, and IMAGESIM_TEST_ELASTICSEARCH_URL is not set")
    before = json.loads(given.json.read_text()) if given.json.exists() else {}
    started = time.monotonic()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {COUNT:,} x {DIMS} drawn vectors", flush=True)
    ratios: dict[str, float] = {}
    for name, value in measure(given.elasticsearch):
        ratios[name] = round(value, 4)
        known = before.get("ratios", {}).get(name)
        print(f"{name:<60} {value:>8.3f}" + (f"  (before: {known:.3f})" if known else ""), flush=True)
    for line in worse(before.get("ratios", {}), ratios, given.worse):
        print(line)
    given.json.write_text(json.dumps({"load": os.getloadavg()[0], "ratios": ratios}, indent=1) + "\n")
    print(f"{time.monotonic() - started:.0f} s; written to {given.json}")


def worse(before: Mapping[str, float], now: Mapping[str, float], share: float) -> Iterator[str]:
    """Yield a line for each ratio that got worse by more than this share of its previous value."""
    for name, value in now.items():
        known = before.get(name)
        if not known:
            continue
        change = known / value - 1 if any(part in name for part in HIGHER) and value else value / known - 1
        if change > share:
            yield f"WORSE by {change:.0%}: {name}: {known:.3f} before, {value:.3f} now"


def measure(url: str) -> Iterator[tuple[str, float]]:
    """Yield the name and the value of each ratio."""
    with tempfile.TemporaryDirectory(prefix="imagesim-quick-") as folder:
        set_up(Path(folder))
        from benchmarks.searching import elasticsearch, load, local

        load.SECONDS, load.ROUNDS = 4.0, 2
        vectors = drawn()
        rows, queries = vectors[:-QUERIES], vectors[-QUERIES:]
        for row in local.measure(rows, queries, False):
            if row.what.endswith("search"):
                yield f"{row.what} / matrix @ vector", ratio(row)
        given = argparse.Namespace(elasticsearch=url, reuse=False, keep=False, segments=1)
        parts = ("elasticsearch", "shop", "load")
        for row in elasticsearch.measure(given, rows, queries, "int8", parts, Path(folder)):
            if ": ours: recall" in row.what:
                yield row.what, row.value
            elif ": ours: time" in row.what:
                yield row.what.replace(": time", " / script_score"), ratio(row)
            elif row.what == "shop: similar_to, median":
                yield "similar_to / took", ratio(row)
            elif row.what == "shop: similar_to less took":
                yield "similar_to less took / bare HTTP", ratio(row)
            elif row.what.startswith("load: a hand-written view"):
                yield "endpoint, share of the view written by hand", 1 / ratio(row)


def ratio(row: Any) -> float:
    """Return the ratio of a figure to the one that was measured in turns with it."""
    return float(row.value / max(row.peer_value, 1e-9))


def drawn() -> np.ndarray:
    """Return unit rows around 300 centres, the same in every run."""
    chance = np.random.default_rng(11)
    centres = chance.standard_normal((300, DIMS), dtype=np.float32)
    noise = chance.standard_normal((COUNT + QUERIES, DIMS), dtype=np.float32)
    rows = centres[chance.integers(0, len(centres), len(noise))] + noise
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
