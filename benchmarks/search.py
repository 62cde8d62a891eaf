"""Measure the speed and recall of search, compared with other libraries in one run.

    python benchmarks/picture_vectors.py PICTURES 101000 vectors.npy
    python -m benchmarks.search vectors.npy --elasticsearch http://127.0.0.1:9200 \\
        --pgvector postgres://imagesim@127.0.0.1:5432/imagesim --json figures.json

The last thousand vectors are the queries, the others the catalogue. ``docs/performance.md`` quotes the output.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

if TYPE_CHECKING:
    from benchmarks.searching.common import Row

PARTS = ("local", "elasticsearch", "pgvector", "sweep", "shop", "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, help="a .npy of shape (n, dims), float32, rows of unit length")
    parser.add_argument(
        "--elasticsearch", metavar="URL", help="a server to fill; the index imagesim-benchmark is its own"
    )
    parser.add_argument("--pgvector", metavar="URL", help="a PostgreSQL to fill: postgres://user@host:port/name")
    parser.add_argument("--quantisation", nargs="*", default=["int8"], choices=("none", "int8", "bbq"))
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--count", type=int, help="size of the catalogue; jitter extends it beyond the given vectors")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--segments", type=int, default=1, help="merge down to this many; 0 does not merge")
    parser.add_argument("--reuse", action="store_true", help="use the active index as it is")
    parser.add_argument("--keep", action="store_true", help="leave the index active, for --reuse")
    parser.add_argument("--curves", type=Path, metavar="FILE", help="plot recall against time in this file, SVG or PNG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    given = parser.parse_args()
    rows = []
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, NumPy {np.__version__}")
    for row in measure(given):
        print(row, flush=True)
        rows.append(row.as_dict())
    if given.json:
        given.json.write_text(json.dumps({"load": os.getloadavg(), "cpus": os.cpu_count(), "rows": rows}, indent=1))
    if given.curves:
        from benchmarks.searching import sweep

        sweep.draw(rows, given.curves)


def measure(given: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="imagesim-benchmark-") as folder:
        set_up(Path(folder))
        from benchmarks.searching import elasticsearch, local

        vectors = np.load(given.vectors)
        queries = vectors[-1000:][: given.queries]
        catalogue = sized(vectors[:-1000], given.count or len(vectors) - 1000)
        if "local" in given.only:
            yield from local.measure(catalogue, queries, not given.no_peers)
        if given.pgvector and "pgvector" in given.only:
            from benchmarks.searching import pgvector

            yield from pgvector.measure(given, catalogue, queries)
        if given.elasticsearch:
            for quantisation in given.quantisation:
                first = quantisation == given.quantisation[0]  # the shop is measured with the first only
                parts = given.only if first else [part for part in given.only if part in ("elasticsearch", "sweep")]
                yield from elasticsearch.measure(given, catalogue, queries, quantisation, parts, Path(folder))


def sized(vectors: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` rows; beyond the given ones, repeat them with a little noise."""
    if count <= len(vectors):
        return np.ascontiguousarray(vectors[:count])
    chance = np.random.default_rng(2)
    grown = np.empty((count, vectors.shape[1]), dtype=np.float32)
    for start in range(0, count, len(vectors)):
        part = grown[start : start + len(vectors)]
        part[:] = vectors[: len(part)]
        if start:
            part += 0.3 / np.sqrt(vectors.shape[1]) * chance.standard_normal(part.shape, dtype=np.float32)
            part /= np.linalg.norm(part, axis=1, keepdims=True)
    return grown


def set_up(folder: Path) -> None:
    """Set up the demo shop on a separate, empty database."""
    configure(folder)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def configure(folder: Path, imagesim: dict[str, Any] | None = None) -> None:
    """Configure the demo shop on the database in ``folder``."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo_shop.settings"
    import django
    from django.conf import settings

    # Persistent connections, as in a shop with many requests.
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db.sqlite3", "CONN_MAX_AGE": None}
    settings.DATABASES = {"default": database}
    # As many answers as are requested; by default it holds 300.
    cache = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}}
    settings.CACHES = {"default": cache}
    if imagesim is not None:
        settings.IMAGESIM = imagesim
    django.setup()


if __name__ == "__main__":
    main()
