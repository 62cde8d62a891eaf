"""recall@10 in Elasticsearch with a fixed number of candidates and with those that the option ``recall`` chooses.

    python -m benchmarks.recall --elasticsearch http://127.0.0.1:9200 pictures.npy one-category.npy

Each file holds unit rows in random order; its last 200 are the queries. Two kinds of random vectors are measured as
well: clusters of near-duplicates and uniform ones. ``benchmarks/picture_vectors.py`` creates files from pictures. The
index ``imagesim-recall`` is the script's own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.search import set_up

QUERIES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, nargs="*", help=".npy files of shape (n, dims), float32, of unit rows")
    parser.add_argument("--elasticsearch", metavar="URL", required=True)
    parser.add_argument("--count", type=int, default=20_000, help="entries of each kind, at most")
    parser.add_argument("--dims", type=int, default=512, help="dimensions of the random vectors")
    parser.add_argument("--recall", type=float, default=0.99)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesim-recall-") as folder:
        set_up(Path(folder))
        print(f"{'vectors':<18} {'pass':>6}  {'fixed: recall':>13} {'ms':>6}  {'chosen: recall':>14} {'ms':>6}")
        for name, vectors in kinds(given):
            compare(name, vectors, given)


def kinds(given: argparse.Namespace) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the vectors of each kind."""
    chance = np.random.default_rng(5)
    size = (given.count + QUERIES, given.dims)
    for path in given.vectors:
        yield path.stem, np.load(path, mmap_mode="r")[-size[0] :]
    centres = unit(chance.standard_normal((size[0] // 20, given.dims), dtype=np.float32))
    noise = chance.standard_normal(size, dtype=np.float32) * np.float32(0.15 / given.dims**0.5)
    yield "near-duplicates", unit(centres[chance.integers(0, len(centres), size[0])] + noise)
    yield "uniform", unit(chance.standard_normal(size, dtype=np.float32))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def compare(name: str, vectors: np.ndarray, given: argparse.Namespace) -> None:
    """Print a line per selectivity, measured both ways in turn; milliseconds are medians of the server's ``took``."""
    from benchmarks.searching.common import SELECTIVITIES, K, nearest, recall, selecting
    from benchmarks.searching.elasticsearch import fill
    from imagesim.indexes.elasticsearch import ElasticsearchIndex
    from imagesim.indexes.statistics import Probe
    from imagesim.types import Query

    rows, queries = np.array(vectors[:-QUERIES]), np.array(vectors[-QUERIES:])
    options = {"hosts": given.elasticsearch, "name": "imagesim-recall", "replicas": 0, "request_timeout": 60}
    chosen = ElasticsearchIndex(**options, recall=given.recall)
    fixed = ElasticsearchIndex(**options, num_candidates=100)
    backing_index, _waiting, _wall = fill(chosen, rows)
    try:
        chosen._client.options(request_timeout=3600).indices.forcemerge(index=backing_index, max_num_segments=1)
        chosen.promote(backing_index)
        started = time.perf_counter()
        chosen.update_statistics()
        sample = np.random.default_rng(1).choice(len(rows), min(200, len(rows)), replace=False)
        report = chosen.measure_recall([Probe(rows[n], f"shop.product:{n + 1}") for n in sample])
        if report is None:
            print(f"{name}: not measured")
            return
        taken = time.perf_counter() - started
        efforts = ", ".join(f"{scope.share:.0%}: {scope.candidates or 'exact'}" for scope in report.scopes)
        print(
            f"{name}: {len(rows):,} entries, measured in {taken:.0f} s; candidates where this share passes: {efforts}"
        )
        for selectivity in (each for each in SELECTIVITIES if each * len(rows) >= K):
            found: dict[str, list[float]] = {"fixed": [], "chosen": []}
            took: dict[str, list[float]] = {"fixed": [], "chosen": []}
            for query in queries:
                true = nearest(rows, query, selectivity)
                for way, index, exact in (("fixed", fixed, False), ("chosen", chosen, None)):
                    [answer] = index.search([Query(query, selecting(selectivity), limit=K, exact=exact)])
                    keys = [int(each.key.rpartition(":")[2]) - 1 for each in answer.candidates]
                    found[way].append(recall(keys, true))
                    took[way].append(answer.took_ms)
            line = "  ".join(
                f"{statistics.fmean(found[way]):>13.3f} {statistics.median(took[way]):>6.1f}" for way in found
            )
            print(f"{name:<18} {selectivity:>6.1%}  {line}", flush=True)
    finally:
        chosen.drop(backing_index)


if __name__ == "__main__":
    main()
