"""Time searches by words, which grow with the catalogue, compared with a search engine's plain query.

    python -m benchmarks.words --elasticsearch http://127.0.0.1:9200 --count 100000

The entries have small random vectors, and a name and a description of random words, a few of which are in many entries.
The plain query is a ``multi_match`` over both fields for a page: no typing errors, beginnings, compounds, counts of
words, nor texts that are sent back. Prints the milliseconds that the caller sees, asked in turns: first with an empty
request cache of the server, as for words that nobody has searched for since the index changed, and then once more.
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
"""The number of words of the longest query, which is the most that a query may have."""

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
    """Return two words of a name, the same with a typing error, and the commonest words."""
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

    def send(path: str, body: dict[str, Any] | None = None) -> None:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body) if body else None, headers if body else {})
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer

    def search(text: str) -> None:
        index.search([Query(np.zeros(DIMS, np.float32), text=text, limit=48)])

    def plain(text: str) -> None:
        query = {"multi_match": {"query": text, "fields": FIELDS}}
        send("/words-benchmark/_search", {"size": 12, "_source": ["key"], "query": query})

    times: dict[str, list[float]] = {"new": [], "again": [], "plain": []}
    for round_ in range(ROUNDS):
        send("/words-benchmark/_cache/clear?request=true")
        for text in texts:
            for which, ask in (("new", search), ("again", search), ("plain", plain)):
                begun = time.perf_counter()
                ask(text)
                if round_:  # the first one warms up
                    times[which].append(1000 * (time.perf_counter() - begun))
    new, again, its = (statistics.median(each) for each in times.values())
    print(f"{name:28s} {new:7.1f} ms, asked again {again:6.1f}, plain multi_match {its:6.1f} ({new / its:.1f} times)")


if __name__ == "__main__":
    main()
