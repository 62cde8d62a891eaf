"""Measure the memory and disk of a sync, a rebuild and a comparison: ``python -m benchmarks.memory --items 1000
100000``.

Uses SQLite and the local index, with vectors already stored. Reports the maximum resident size of a process that does
nothing else, for a catalogue of each size: it must not grow with the catalogue. Also reports the size of the database
afterwards, including the index: it must not grow from one rebuild to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import stocked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--step", choices=("fill", "sync", "rebuild", "reconcile"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step(given.step, given.items[0])))
    else:
        print(json.dumps({str(items): each_step(items) for items in given.items}))


def each_step(items: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "IMAGESIM_TEST_SCRATCH": folder, "IMAGESIM_TEST_DATABASE_URL": "sqlite://"}
        found = {}
        for name in ("fill", "sync", "rebuild", "second rebuild", "third rebuild", "reconcile"):
            command = [sys.executable, "-m", "benchmarks.memory", "--step", name.split()[-1], "--items", str(items)]
            done = subprocess.run(command, check=True, env=environment, capture_output=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
        return {name: each for name, each in found.items() if name != "fill"}


def step(name: str, items: int) -> dict[str, Any]:
    """Run one step in this process."""
    set_up()
    from django.conf import settings

    from imagesim.indexing import rebuild, reconcile, sync

    started = time.monotonic()
    if name == "fill":
        stocked.fill(items)
        stocked.first_index()
    else:
        {"sync": sync.sync, "rebuild": rebuild.rebuild, "reconcile": reconcile.reconcile}[name]()
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    disk = os.stat(settings.DATABASES["default"]["NAME"]).st_size / 2**20
    return {"seconds": round(seconds, 1), "peak_mb": round(peak), "disk_mb": round(disk, 1)}


def set_up() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings

    django.setup()
    index = {"BACKEND": "imagesim.indexes.local.LocalIndex", "OPTIONS": {"name": "benchmark-memory"}}
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": stocked.EMBEDDER, "INDEX": index}
    from imagesim import conf

    conf.get_settings.cache_clear()


if __name__ == "__main__":
    main()
