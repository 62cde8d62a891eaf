"""What the parts of an Elasticsearch answer cost where few entries match: ``python -m benchmarks.answer_parts``.

The index holds 20,000 random vectors, of which ``--share`` match. The request body of ``ElasticsearchIndex`` takes
turns with bodies that leave out, add or replace one part each, with the index's whole search, and with a hand-written
``script_score``. Prints the 10th percentile of the time that the caller measures, and its ratio to ``script_score``.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.quick import QUERIES, drawn
from benchmarks.search import set_up

Body = dict[str, Any]
ROUNDS = 4
NAMED = {"size": 1, "_source": False, "stored_fields": "_none_"}
SOURCE = {"_source": ["group", "categories", "images.digest", "images.name"]}


def nested(body: Body) -> Body:
    part: Body = body["query"]["bool"]["must"][0]["nested"]
    return part


def from_source(body: Body) -> None:
    for part in ("stored_fields", "docvalue_fields"):
        del body[part]
    body.update(SOURCE)


def named_from_source(body: Body) -> None:
    from_source(body)
    nested(body).update(inner_hits={"size": 1, "_source": False})


WITHOUT: dict[str, Callable[[Body], Any]] = {
    "our body": lambda body: None,
    "… with the image named, as where entries have several": lambda body: nested(body).update(inner_hits=NAMED),
    "… fields from _source": from_source,
    "… fields from _source, with the image named": named_from_source,
    "… without fields": lambda body: body.update(docvalue_fields=["group"]),
    "… without one hit per group": lambda body: body.pop("collapse"),
    "… without sorting by key": lambda body: body.pop("sort"),
    "… without the count": lambda body: body.update(track_total_hits=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elasticsearch", metavar="URL", default=os.environ.get("IMAGESIM_TEST_ELASTICSEARCH_URL"))
    parser.add_argument("--share", type=float, default=0.01, help="the share of the entries that match")
    given = parser.parse_args()
    url = given.elasticsearch
    if not url:
        parser.error("no --elasticsearch, and IMAGESIM_TEST_ELASTICSEARCH_URL is not set")
    with tempfile.TemporaryDirectory(prefix="imagesim-parts-") as folder:
        set_up(Path(folder))
        from benchmarks.searching.elasticsearch import fill
        from imagesim.indexes.elasticsearch import ElasticsearchIndex

        vectors = drawn()
        index = ElasticsearchIndex(hosts=url, name="imagesim-parts", replicas=0, request_timeout=60)
        backing_index, *_ = fill(index, vectors[:-QUERIES])
        try:
            index._client.options(request_timeout=600).indices.forcemerge(index=backing_index, max_num_segments=1)
            index.update_statistics(backing_index)
            index.promote(backing_index)
            measure(index, vectors[-QUERIES:], given.share)
        finally:
            index.drop(backing_index)


def measure(index: Any, queries: np.ndarray, share: float) -> None:
    from benchmarks.searching.common import STEPS, K, selecting
    from imagesim.types import Query

    active, few = index._read(), selecting(share)
    clause = [{"range": {"filters.part": {"lt": share * STEPS}}}]
    times: dict[str, list[float]] = {}
    for number in range(ROUNDS * len(queries)):
        query = queries[number % len(queries)]
        body = index._compile(Query(query, few, limit=K), active).body(index._server, active.quantisation)
        bodies = {}
        for name, leave_out in WITHOUT.items():
            leave_out(changed := copy.deepcopy(body))
            bodies[name] = changed
        script = nested(body)["query"]
        scored = {"nested": {"path": "images", "score_mode": "max", "query": script}}
        by_hand = {"size": K, "_source": False, "query": {"bool": {"filter": clause, "must": [scored]}}}
        calls: dict[str, Callable[[], Any]] = {
            name: lambda body=each: index._connection.search(index.name, [body])  # type: ignore[misc]
            for name, each in (bodies | {"script_score": by_hand}).items()
        }
        calls["the search of the index"] = lambda query=query: index.search([Query(query, few, limit=K)])  # type: ignore[misc]
        names = list(calls)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            calls[name]()
            times.setdefault(name, []).append((time.perf_counter() - started) * 1000)
    least = {name: float(np.percentile(taken, 10)) for name, taken in times.items()}
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for name, value in least.items():
        print(f"{name:<54} {value:6.2f} ms  {value / least['script_score']:5.2f} x")


if __name__ == "__main__":
    main()
