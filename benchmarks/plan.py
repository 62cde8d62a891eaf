"""Compare what ``imagesim_plan`` says with what an index of stored vectors really takes.

    python benchmarks/picture_vectors.py PICTURES 101000 vectors.npy
    python -m benchmarks.plan vectors.npy --elasticsearch http://127.0.0.1:9200 --count 5000 20000 100000
    python -m benchmarks.plan vectors.npy --pgvector postgres://imagesim@127.0.0.1:5432/imagesim --count 50000 --texts

Bytes are counted after a merge to one segment, when the files of deleted segments are gone. Times are the server's
processor times, which other work on the machine affects least. The planner extrapolates them from the first count.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.search import set_up, sized

QUERIES = 400
VOCABULARY = 20_000
CHARACTERS = 164
"""The mean length of the random texts of an entry."""


@dataclass
class Measured:
    """What an index of ``count`` entries took: the bytes per entry by part, and processor times of the server."""

    backend: str
    count: int
    parts: dict[str, float]
    seconds: float
    """To fill the index, and to merge it or build the graph."""
    query: float
    overhead: float
    """The time of a query whose filter nothing passes."""
    version: tuple[int, int] = (0, 0)
    filled: float = 0.0
    """Bytes per entry before the merge."""
    heap: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, help="a .npy of shape (n, dims), float32, rows of unit length")
    parser.add_argument("--elasticsearch", metavar="URL", help="a server that nobody else uses")
    parser.add_argument("--pgvector", metavar="URL", help="a PostgreSQL that nobody else uses")
    parser.add_argument("--count", type=int, nargs="+", default=[5_000, 100_000])
    parser.add_argument("--texts", action="store_true", help="give entries a name and a description")
    parser.add_argument("--quantisation", default="auto")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesim-plan-") as folder:
        set_up(Path(folder))
        vectors = np.load(given.vectors)
        queries = vectors[-1000:][:QUERIES]
        for measure in (in_elasticsearch, in_postgresql):
            first: Measured | None = None
            # The first is not reported, because a server compiles its code during it.
            for number, count in enumerate([given.count[0], *given.count]):
                measured = measure(given, sized(vectors[:-1000], count), queries)
                if measured is not None and number:
                    first = first or measured
                    report(measured, first, vectors.shape[1], CHARACTERS if given.texts else 0)


def report(measured: Measured, first: Measured, dims: int, characters: int) -> None:
    """Print what was measured, what is planned, and their ratio."""
    from imagesim.evaluation.planning import Sample, plan

    planned = plan(
        items=measured.count,
        images=measured.count,
        dims=dims,
        backend=measured.backend,
        server=measured.version,
        characters=characters,
        sample=Sample(first.count, first.seconds, first.query, first.overhead),
    )
    count = measured.count
    rows = [("bytes of an entry", sum(measured.parts.values()), planned.disk_bytes / count)]
    if measured.filled:
        rows.append(("… before the merge", measured.filled, (planned.rebuild_disk_bytes - planned.disk_bytes) / count))
    rows.append(("processor seconds to fill", measured.seconds, 3600 * (planned.fill_hours or 0)))
    rows.append(("processor ms of a query", measured.query, planned.query_ms or 0))
    print(f"{measured.backend}, {count:,} entries{', with texts' if characters else ''}")
    for what, found, expected in rows:
        print(
            f"  {what:<28} measured {found:>9.1f}  planned {expected:>9.1f}  planned / measured {expected / found:.2f}"
        )
    print(f"  of these: {', '.join(f'{name} {size:.0f}' for name, size in measured.parts.items())}")
    print(f"  of a query for which nothing passes: {measured.overhead:.1f} ms")
    if measured.heap:
        print(f"  least heap in use: {measured.heap / 2**20:.0f} MB")
    sys.stdout.flush()


def entries(vectors: np.ndarray, texts: bool) -> Iterator[Any]:
    from benchmarks.searching import common

    chance = np.random.default_rng(3)
    words = [f"{'bcdfghklmnprst'[n % 14]}{'aeiou'[n % 5]}{n:x}" for n in range(VOCABULARY)]
    for entry in common.entries(vectors, "shop.product"):
        filters = {**entry.filters, "brand": f"brand-{entry.filters['part'] % 300}"}
        images = tuple(replace(image, digest=digest_of(image.name)) for image in entry.images)
        entry = replace(entry, images=images)
        if not texts:
            yield replace(entry, filters=filters)
            continue
        drawn = [words[min(n, VOCABULARY) - 1] for n in chance.zipf(1.3, 36)]
        described = {"name": (" ".join(drawn[:6]),), "description": (" ".join(drawn[6:]),)}
        yield replace(entry, filters=filters, texts=described)


def digest_of(name: str) -> str:
    """Return a digest like those of pictures, which does not compress."""
    return hashlib.sha256(name.encode()).hexdigest()


def meta(dims: int, texts: bool) -> Any:
    from imagesim.types import IndexMeta, TextSpec

    specs = {"name": TextSpec(weight=3.0), "description": TextSpec()} if texts else {}
    return IndexMeta("benchmark", dims, {"part": "number", "brand": "keyword"}, texts=specs)


def fill(index: Any, vectors: np.ndarray, texts: bool, halfway: Callable[[], Any] = lambda: None) -> str:
    from benchmarks.searching.common import batches

    backing_index: str = index.create(meta(vectors.shape[1], texts))
    written = 0
    for batch in batches(entries(vectors, texts)):
        assert {result.status for result in index.write(batch, backing_index=backing_index)} == {"done"}
        if written < len(vectors) // 2 <= written + len(batch):
            halfway()
        written += len(batch)
    index.refresh(backing_index)
    return backing_index


def spent(clock: Callable[[], float], work: Callable[[], Any]) -> tuple[float, Any]:
    before = clock()
    done = work()
    return clock() - before, done


def query_times(index: Any, queries: np.ndarray, clock: Callable[[], float]) -> tuple[float, float]:
    """Return the server's processor milliseconds for a search of the graph, and for one whose filter nothing passes."""
    from imagesim.management.commands.imagesim_plan import NOTHING, settled
    from imagesim.types import Filters, Query

    def milliseconds(filters: Filters) -> float:
        def search() -> None:
            for query in queries:
                index.search([Query(query, limit=10, exact=False, filters=filters)])

        seconds, _ = spent(clock, search)
        return 1000 * seconds / len(queries)

    return settled(lambda: milliseconds(Filters())), settled(lambda: milliseconds(NOTHING))


def in_elasticsearch(given: argparse.Namespace, vectors: np.ndarray, queries: np.ndarray) -> Measured | None:
    if not given.elasticsearch:
        return None
    from benchmarks.searching import elasticsearch
    from imagesim.indexes.elasticsearch import ElasticsearchIndex

    index = ElasticsearchIndex(
        hosts=given.elasticsearch,
        name="imagesim-plan",
        replicas=0,
        quantisation=given.quantisation,
        request_timeout=600,
    )
    for left in index.backing_indexes():
        index.drop(left)
    client = index._client.options(request_timeout=7200)

    def clock() -> float:
        [node] = client.nodes.stats(metric="process")["nodes"].values()
        return float(node["process"]["cpu"]["total_in_millis"]) / 1000

    def wait_until_idle() -> None:
        """Wait for merges and garbage collection, which continue after the index is filled."""
        for _ in range(60):
            seconds, _ = spent(clock, lambda: time.sleep(3))
            if seconds < 0.15:
                break

    # Process statistics are a second old.
    def settled_clock() -> float:
        time.sleep(1.5)
        return clock()

    def heap() -> float:
        """Return the minimum in use within some seconds: about what a garbage collection leaves."""
        used = []
        for _ in range(10):
            [node] = client.nodes.stats(metric="jvm")["nodes"].values()
            used.append(node["jvm"]["mem"]["heap_used_in_bytes"])
            time.sleep(0.5)
        return min(used)

    def flush() -> None:
        """Commit, so that there are at least two segments to merge."""
        client.indices.flush(index="imagesim-plan-*", force=True)

    filled, backing_index = spent(settled_clock, lambda: fill(index, vectors, given.texts, flush))
    flush()
    unmerged = elasticsearch.store_bytes(index, backing_index) / len(vectors)
    merged, _ = spent(settled_clock, lambda: elasticsearch.merge(index, backing_index))
    size = elasticsearch.store_bytes(index, backing_index)
    index.promote(backing_index)
    wait_until_idle()
    took = query_times(index, queries, settled_clock)
    try:
        parts = {"store": size / len(vectors)}
        version = index._server.version
        return Measured("elasticsearch", len(vectors), parts, filled + merged, *took, version, unmerged, heap())
    finally:
        index.drop(backing_index)


def in_postgresql(given: argparse.Namespace, vectors: np.ndarray, queries: np.ndarray) -> Measured | None:
    if not given.pgvector:
        return None
    from django.db import connections

    from demo_shop import environment
    from imagesim.indexes.pgvector import PgvectorIndex

    alias = "plan"
    connections.databases[alias] = {**connections["default"].settings_dict, **environment.postgres(given.pgvector)}
    index = PgvectorIndex(database=alias, name="imagesim-plan", request_timeout=600)
    for left in index.backing_indexes():
        index.drop(left)
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = Path(f"/proc/{cursor.fetchone()[0]}/stat")
        postmaster = int(_stat(backend)[1])
        filled, backing_index = spent(lambda: _processor(postmaster), lambda: fill(index, vectors, given.texts))
        built, _ = spent(lambda: _processor(postmaster), lambda: index.promote(backing_index))
        cursor.execute("SELECT id FROM imagesim_pgvector WHERE name = %s", [backing_index])
        prefix = f"imagesim_pgvector_{cursor.fetchone()[0]}"
        cursor.execute(f"VACUUM ANALYZE {prefix}_entry")
        parts = {}
        for name, what in {
            "entry": "pg_table_size('{}_entry')",
            "entry indexes": "pg_indexes_size('{}_entry')",
            "words": "pg_total_relation_size('{}_word')",
            "image": "pg_table_size('{}_image')",
            "image key": "pg_relation_size('{}_image_pkey')",
            "graph": "pg_relation_size('{}_graph')",
        }.items():
            cursor.execute(f"SELECT {what.format(prefix)}")
            parts[name] = cursor.fetchone()[0] / len(vectors)
        took = query_times(index, queries, lambda: _processor(postmaster))
    index.drop(backing_index)
    connections[alias].close()
    return Measured("pgvector", len(vectors), parts, filled + built, *took)


def _stat(path: Path) -> list[str]:
    return path.read_text().rpartition(") ")[2].split()


def _processor(postmaster: int) -> float:
    """Return the processor seconds of a PostgreSQL server so far, including those of its terminated processes."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found = _stat(path)
        except OSError:
            continue
        if path.parent.name == str(postmaster):
            ticks += sum(int(found[n]) for n in (11, 12, 13, 14))
        elif found[1] == str(postmaster):
            ticks += int(found[11]) + int(found[12])
    return ticks / 100


if __name__ == "__main__":
    main()
