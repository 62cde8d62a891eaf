"""Compare a cluster of three nodes with a single node that has the same entries, and kill a node.

    python benchmarks/picture_vectors.py PICTURES 101000 vectors.npy
    python -m benchmarks.cluster vectors.npy --count 300000

Measures throughput, and recall by shard. All four nodes run on this machine and share its processors, so three cannot
be faster than one here. The ratio shows the additional cost of a distributed search; on separate machines the shards
are searched in parallel.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.search import set_up, sized
from tools import servers
from tools.processes import Process

NODES, THREADS, TURNS = 3, 2, 20
QUERIES = 100
NAME = "imagesim-cluster"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, help="a .npy of shape (n, dims), float32, rows of unit length")
    parser.add_argument(
        "--count", type=int, default=300_000, help="entries; beyond the given vectors they repeat, jittered"
    )
    parser.add_argument("--heap", default="512m", help="heap of each node")
    parser.add_argument("--seconds", type=float, default=10.0, help="before a node is killed; twice as many after it")
    given = parser.parse_args()
    vectors = np.load(given.vectors)
    rows, queries = sized(vectors[:-1000], given.count), vectors[-1000:][:QUERIES]
    with tempfile.TemporaryDirectory(prefix="imagesim-cluster-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # for the account of the servers
        set_up(folder)
        with running(folder / "one", 1, given.heap) as one, running(folder / "three", NODES, given.heap) as three:
            single = filled([url for _, url in one], rows, shards=1, replicas=0)
            spread = filled([url for _, url in three], rows, shards=NODES, replicas=1)
            print(f"{len(rows):,} x {rows.shape[1]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
            throughput(single, spread, queries, given.seconds)
            for label, index in (("one node", single), ("three nodes", spread)):
                print(f"recall@10 on {label}, by shard:", ", ".join(f"{each:.3f}" for each in recalls(index, queries)))
            one[0][0].kill()  # frees its memory for what follows
            kill_one(spread, three, queries, given.seconds)


@contextmanager
def running(folder: Path, count: int, heap: str) -> Iterator[list[tuple[Process, str]]]:
    folder.mkdir()
    folder.chmod(0o755)
    nodes = servers.elasticsearch_cluster(folder, count, heap=heap)
    try:
        for process, _ in nodes:
            process.start()
        for process, _ in nodes:
            process.wait_until_it_answers()
        ask(nodes[0][1], f"/_cluster/health?wait_for_nodes={count}&timeout=120s")
        yield nodes
    finally:
        for process, _ in nodes:
            process.kill()


def ask(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path, timeout=600) as response:
        return json.load(response)


def filled(hosts: list[str], rows: np.ndarray, *, shards: int, replicas: int) -> Any:
    from benchmarks.searching.elasticsearch import fill
    from imagesim.indexes.elasticsearch import ElasticsearchIndex

    index = ElasticsearchIndex(hosts=hosts, name=NAME, shards=shards, replicas=replicas, request_timeout=60)
    backing_index, _waiting, wall = fill(index, rows)
    index.promote(backing_index)
    ask(hosts[0], f"/_cluster/health/{backing_index}?wait_for_status=green&timeout=600s")
    print(f"{shards} shards, {replicas} replicas: filled in {wall:.0f} s", flush=True)
    return index


def throughput(single: Any, spread: Any, queries: np.ndarray, seconds: float) -> None:
    """Print searches per second on both, in many short turns, so that other work affects both alike."""
    asked = {"one node": single, "three nodes": spread}
    answered: dict[str, list[int]] = {label: [] for label in asked}
    for turn in range(TURNS + 1):
        for label, index in asked.items():
            answers, failures = load(index, queries, lambda: time.sleep(seconds / 10))
            assert not failures, failures[0]
            if turn:  # the first one warms up
                answered[label].append(len(answers))
    for label, counts in answered.items():
        print(f"searches per second on {label}: {sum(counts) / TURNS / seconds * 10:.1f}")
    ratios = [three / max(one, 1) for one, three in zip(*answered.values(), strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    whole = sum(answered["three nodes"]) / sum(answered["one node"])
    print(f"three nodes / one node: {whole:.2f} (half of the turns: {low:.2f} to {high:.2f})", flush=True)


def load(index: Any, queries: np.ndarray, meanwhile: Callable[[], Any]) -> tuple[list[tuple[float, int]], list[str]]:
    """Return (seconds, candidates) of each search, and the errors of those that failed, while ``meanwhile`` runs."""
    from imagesim.exceptions import SearchIndexError
    from imagesim.types import Query

    stop = threading.Event()
    answers: list[tuple[float, int]] = []
    failures: list[str] = []

    def search() -> None:
        for query in itertools.cycle(queries):
            if stop.is_set():
                return
            started = time.monotonic()
            try:
                [found] = index.search([Query(query, limit=10, exact=False)])
                answers.append((time.monotonic() - started, len(found)))
            except SearchIndexError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=search) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        meanwhile()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return answers, failures


def recalls(index: Any, queries: np.ndarray) -> list[float]:
    """Return the recall@10 of each shard: the same request to this shard alone, exact and by the graph."""
    from imagesim.indexes.elasticsearch.transport import encode
    from imagesim.types import Query

    active = index._read(refresh=True)

    def found(query: np.ndarray, shard: int, exact: bool) -> set[str]:
        body = index._compile(Query(query, limit=10, exact=exact), active).body(index._server, active.quantisation)
        params = {"preference": f"_shards:{shard}"}
        answer = index._connection.post(f"/{index.name}/_search", encode(body), params)
        return {hit["sort"][1] for hit in answer["hits"]["hits"][:10]}  # one more says whether anything follows

    return [
        statistics.fmean(len(found(query, shard, True) & found(query, shard, False)) / 10 for query in queries)
        for shard in range(index._shards)
    ]


def kill_one(index: Any, nodes: list[tuple[Process, str]], queries: np.ndarray, seconds: float) -> None:
    """Print how searches fare while a node is killed."""

    def meanwhile() -> None:
        time.sleep(seconds)
        nodes[1][0].kill()
        time.sleep(2 * seconds)

    answers, failures = load(index, queries, meanwhile)
    slowest, fewest = max(taken for taken, _ in answers), min(found for _, found in answers)
    print(
        f"a node killed under load: {len(answers)} searches, {len(failures)} failed, slowest {slowest:.2f} s, "
        f"fewest hits {fewest} of 10"
    )
    for failure in failures[:3]:
        print(failure)
    alive = nodes[0][1]
    health = ask(alive, f"/_cluster/health/{NAME}?wait_for_no_initializing_shards=true&timeout=300s")
    print(f"then the index is {health['status']}: {health['active_shards']} of {2 * NODES} copies are active")


if __name__ == "__main__":
    main()
