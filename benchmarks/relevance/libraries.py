"""Compare libraries for text search: ``python -m benchmarks.relevance.libraries --entries 100000``.

imagesim's own inverted index, tantivy, and bm25s with PyStemmer (the last two are not dependencies: install them for
this) hold the same synthetic catalogue, answer the same queries and take the same changes. Each runs in a separate
process, so that its memory can be measured.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WORDS = 30_000
QUERIES = 100


def catalogue(entries: int) -> list[tuple[str, str]]:
    """Return (name, description) with realistic word frequencies: the n-th most common word has 1/n of the first's."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinsrhldcumfpgwybvkxjqz"))
    words = ["".join(rng.choice(letters[:20], size=rng.integers(4, 11))) for _ in range(WORDS)]
    odds = 1 / np.arange(1, WORDS + 1)
    numbers = rng.choice(WORDS, size=(entries, 15), p=odds / odds.sum())
    return [(" ".join(words[n] for n in row[:4]), " ".join(words[n] for n in row[4:])) for row in numbers]


def own(docs: list[tuple[str, str]], asked: list[str]) -> dict[str, float]:
    from imagesim.indexes.text import TextIndex
    from imagesim.types import Query, TextSpec

    started = time.perf_counter()
    index = TextIndex({"name": TextSpec(3), "description": TextSpec(1)})
    for slot, (name, description) in enumerate(docs):
        index.add(slot, {"name": (name,), "description": (description,)})
    index.settle()
    built = time.perf_counter() - started
    half = np.zeros(len(docs), dtype=bool)
    half[::2] = True

    def match(text: str, mask: Any = None) -> Any:
        return index.match(Query(np.empty(0, np.float32), text=text), mask=mask)

    return {
        "build_s": built,
        "query_ms": timed(match, asked),
        "filtered_ms": timed(lambda text: match(text, half), asked),
        "change_ms": timed(lambda text: (index.set(7, {"name": (text,)}), match(text)), asked),
    }


def tantivy(docs: list[tuple[str, str]], asked: list[str]) -> dict[str, float]:
    import tantivy as library

    builder = library.SchemaBuilder()
    builder.add_integer_field("slot", stored=True, indexed=True)
    builder.add_text_field("name", tokenizer_name="en_stem")
    builder.add_text_field("description", tokenizer_name="en_stem")
    started = time.perf_counter()
    index = library.Index(builder.build())
    writer = index.writer(heap_size=64_000_000, num_threads=1)
    for slot, (name, description) in enumerate(docs):
        writer.add_document(library.Document(slot=slot, name=name, description=description))
    writer.commit()
    index.reload()
    built = time.perf_counter() - started

    def query(text: str) -> Any:
        fields = {"name": (False, 2, True), "description": (False, 2, True)}
        parsed = index.parse_query(text, ["name", "description"], field_boosts={"name": 3.0}, fuzzy_fields=fields)
        return index.searcher().search(parsed, limit=100).hits

    def change(text: str) -> None:
        writer.delete_documents("slot", 7)
        writer.add_document(library.Document(slot=7, name=text, description=""))
        writer.commit()
        index.reload()
        query(text)

    return {"build_s": built, "query_ms": timed(query, asked), "change_ms": timed(change, asked[:20])}


def bm25s(docs: list[tuple[str, str]], asked: list[str]) -> dict[str, float]:
    import bm25s as library
    import Stemmer

    stemmer = Stemmer.Stemmer("english")

    def build(texts: list[tuple[str, str]]) -> Any:
        tokens = library.tokenize([f"{name} {text}" for name, text in texts], stemmer=stemmer, show_progress=False)
        retriever = library.BM25()
        retriever.index(tokens, show_progress=False)
        return retriever

    started = time.perf_counter()
    index = build(docs)
    built = time.perf_counter() - started

    def query(text: str) -> None:
        index.retrieve(library.tokenize(text, stemmer=stemmer, show_progress=False), k=100, show_progress=False)

    return {"build_s": built, "query_ms": timed(query, asked), "change_ms": built * 1000}


def timed(work: Callable[[str], object], asked: list[str]) -> float:
    """Return the median milliseconds."""
    times = []
    for query in asked:
        started = time.perf_counter()
        work(query)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _measured(name: str, entries: int, queue: Any) -> None:
    docs = catalogue(entries)
    rng = random.Random(1)
    asked = []
    for _ in range(QUERIES):
        words = rng.choice(docs)[0].split()[:3]
        word = words[0]
        words[0] = word[:2] + word[3:] if rng.random() < 0.5 else word
        asked.append(" ".join(words))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = globals()[name](docs, asked)
    report["memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    queue.put(report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for name in ("own", "tantivy", "bm25s"):
        queue = context.Queue()
        process = context.Process(target=_measured, args=(name, options.entries, queue))
        process.start()
        report = queue.get(timeout=600)
        process.join()
        print(f"{name:8}", "  ".join(f"{key} {value:.2f}" for key, value in report.items()), flush=True)


if __name__ == "__main__":
    main()
