"""How fast and how good search is, beside its peers, in one run.

    python benchmarks/picture_vectors.py PICTURES 101000 vectors.npy
    python -m benchmarks.search vectors.npy --elasticsearch http://127.0.0.1:9200 --json figures.json

The last thousand vectors are the questions, the others the catalogue. ``docs/performance.md`` quotes what it prints.
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

PARTS = ("local", "elasticsearch", "sweep", "shop", "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, help="a .npy of shape (n, dims), float32, rows of unit length")
    parser.add_argument(
        "--elasticsearch", metavar="URL", help="a server to fill; the index imagesim-benchmark is its own"
    )
    parser.add_argument("--quantisation", nargs="*", default=["int8"], choices=("none", "int8", "bbq"))
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--count", type=int, help="a smaller or larger catalogue; a larger one is made by jitter")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--segments", type=int, default=1, help="merge down to so many; 0 leaves them as they are")
    parser.add_argument("--reuse", action="store_true", help="take the index that is in service, whatever filled it")
    parser.add_argument("--keep", action="store_true", help="leave the index in service, for --reuse")
    parser.add_argument("--curves", type=Path, metavar="FILE", help="draw recall against time there, as SVG or PNG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
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
        if given.elasticsearch:
            for quantisation in given.quantisation:
                first = quantisation == given.quantisation[0]  # what concerns the shop is measured with the first alone
                parts = given.only if first else [part for part in given.only if part in ("elasticsearch", "sweep")]
                yield from elasticsearch.measure(given, catalogue, queries, quantisation, parts, Path(folder))


def sized(vectors: np.ndarray, count: int) -> np.ndarray:
    """``count`` rows; past those given, the same again with a little noise."""
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
    """The demo shop on an empty database of its own."""
    configure(folder)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def configure(folder: Path, imagesim: dict[str, Any] | None = None) -> None:
    """The demo shop on the database in ``folder``."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo_shop.settings"
    import django
    from django.conf import settings

    # Connections stay open, as in a shop whose requests are many.
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db.sqlite3", "CONN_MAX_AGE": None}
    settings.DATABASES = {"default": database}
    if imagesim is not None:
        settings.IMAGESIM = imagesim
    django.setup()


if __name__ == "__main__":
    main()
