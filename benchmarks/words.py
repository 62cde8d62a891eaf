"""Time queries of words, which grow with the catalogue, beside the plain query of a search engine.

    python -m benchmarks.words --elasticsearch http://127.0.0.1:9200 --count 100000

The entries have a name and a description of drawn words, of which a few are in a large part of them, and small random
vectors. The plain query is a ``multi_match`` over both fields for a page: no typing errors, beginnings, compounds,
counts of words, nor texts that are sent back. Milliseconds that the caller sees, asked in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan import entries, fill
from benchmarks.search import set_up
from benchmarks.searching.common import bare_connection

DIMS = 32
QUERIES = 40
ROUNDS = 4
LONG = 16
"""Words of the longest query: all that a query may have."""

FIELDS = ["texts.name^3", "texts.description"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elasticsearch", metavar="URL", required=True, help="a server that nobody else uses")
    parser.add_argument("--count", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesim-words-") as folder:
        set_up(Path(folder))
        from imagesim.indexes.elasticsearch import ElasticsearchIndex

        vectors = np.random.default_rng(0).standard_normal((given.count, DIMS)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        index = ElasticsearchIndex(hosts=given.elasticsearch, name="words-benchmark", recall=None, request_timeout=60)
        backing_index = fill(index, vectors, texts=True)
        try:
            index.promote(backing_index)
            for name, texts in asked(vectors).items():
                report(index, given.elasticsearch, name, texts)
        finally:
            index.drop(backing_index)


def asked(vectors: np.ndarray) -> dict[str, list[str]]:
    """Two words of a name, with a typing error in one of them, and the words that most entries have."""
    names = [entry.texts["name"][0].split() for entry in entries(vectors[:5000], texts=True)]
    rng = np.random.default_rng(1)
    pairs = [list(rng.choice(names[n], 2)) for n in rng.choice(len(names), QUERIES, replace=False)]
    common = [word for word, _count in Counter(word for name in names for word in name).most_common(LONG)]
    return {
        "two words of a name": [" ".join(pair) for pair in pairs],
        "… with a typing error": [f"{first}q {second}" for first, second in pairs],
        f"the {LONG} commonest words": [" ".join(common)],
    }


def report(index: Any, url: str, name: str, texts: list[str]) -> None:
    from imagesim.types import Query

    connection = bare_connection(url)
    ours: list[float] = []
    plain: list[float] = []
    for round_ in range(ROUNDS):
        for text in texts:
            begun = time.perf_counter()
            index.search([Query(np.zeros(DIMS, np.float32), text=text, limit=48)])
            between = time.perf_counter()
            body = {"size": 12, "_source": ["key"], "query": {"multi_match": {"query": text, "fields": FIELDS}}}
            connection.request(
                "POST", "/words-benchmark/_search", json.dumps(body), {"Content-Type": "application/json"}
            )
            connection.getresponse().read()
            if round_:  # the first one warms up
                ours.append(1000 * (between - begun))
                plain.append(1000 * (time.perf_counter() - between))
    mine, its = statistics.median(ours), statistics.median(plain)
    print(f"{name:28s} {mine:8.1f} ms, plain multi_match {its:8.1f} ms ({mine / its:.1f} times)", flush=True)


if __name__ == "__main__":
    main()
