"""Measure what a process does until it has answered its first query by words in the local index.

    python -m benchmarks.first_words --products 20000

The products are on SQLite, with random vectors, and with names, brands and categories of the catalogues of one language
in ``benchmarks/catalogues``; each sentence of a description joins several of theirs, so that hardly any occurs twice.
Two processes, one after the other, do nothing but search. Prints the processor seconds of each step in both, how many
of them were the garbage collector's, and the resident memory after it.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.model_memory import held
from benchmarks.search import set_up

CATALOGUES = Path(__file__).parent / "catalogues"
DIMS = 64
CHANGED = 100
FIRST, SECOND = "leather bag with a zip", "garden chair"

Figures = dict[str, tuple[float, float, int]]
"""The processor seconds of each step, those of the garbage collector among them, and the resident megabytes after
it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--language", default="en", help="of the catalogues whose texts are combined")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="store a profile of the first query by words")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory(prefix="imagesim-first-words-") as folder:
        _filled, *processes = (in_process(folder) for _ in range(3))
    print(f"{'':36}" + 2 * f"{'seconds':>10}{'collector':>10}{'MB':>8}")
    for step in processes[0]:
        rows = (figures[step] for figures in processes)
        print(
            f"{step:36}" + "".join(f"{seconds:10.2f}{of_collector:10.2f}{mb:8}" for seconds, of_collector, mb in rows)
        )


def in_process(folder: str) -> Figures:
    command = [sys.executable, "-m", "benchmarks.first_words", *sys.argv[1:], "--folder", folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(options: argparse.Namespace) -> Figures:
    """Return the figures of this process; the first one fills the index instead."""
    set_up(options.folder)
    from imagesim.indexes.local import LocalIndex
    from imagesim.types import Filters, Query

    index = LocalIndex(name="benchmark")
    if not index.active():
        fill(index, options)
        return {}
    figures: Figures = {}
    collected = [0.0]

    def collecting(phase: str, _info: dict[str, int]) -> None:
        collected[0] += time.process_time() * (1 if phase == "stop" else -1)

    def timed(step: str, call: Callable[[], Any]) -> None:
        began, collected[0] = time.process_time(), 0.0
        call()
        figures[step] = time.process_time() - began, collected[0], held()["resident"]

    def by_words(text: str) -> None:
        [found] = index.search([Query((), text=text, limit=12)])
        assert found.candidates

    gc.callbacks.append(collecting)
    vector = np.random.default_rng(5).standard_normal(DIMS)
    changed = list(islice(entries(options, time.time_ns()), CHANGED))
    timed("start", lambda: None)
    timed("reading the index", lambda: index.count(Filters(in_stock=True)))
    timed("first query by a vector", lambda: index.search([Query(vector, limit=12)]))
    profile = cProfile.Profile() if options.profile else None
    timed("first query by words", lambda: profile.runcall(by_words, FIRST) if profile else by_words(FIRST))
    if profile:
        profile.dump_stats(options.profile)
    timed("second query by words", lambda: by_words(SECOND))
    index.write(changed)
    timed(f"the first after {CHANGED} changes", lambda: by_words(FIRST))
    return figures


def fill(index: Any, options: argparse.Namespace) -> None:
    from benchmarks.searching.common import write_all
    from imagesim.types import IndexMeta, TextSpec

    language = options.language
    texts = {
        "name": TextSpec(3.0, language),
        "brand": TextSpec(2.0, language),
        "category": TextSpec(2.0, language, category=True),
        "department": TextSpec(1.0, language, category=True),
        "description": TextSpec(1.0, language),
    }
    backing_index = index.create(IndexMeta("benchmark", DIMS, {"brand": "keyword", "price": "number"}, texts=texts))
    write_all(index, backing_index, entries(options))
    index.promote(backing_index)


def entries(options: argparse.Namespace, version: int = 1) -> Iterator[Any]:
    """Yield the products; those of another version have other descriptions."""
    from imagesim.types import Entry, EntryImage

    chance, rng = np.random.default_rng(3), random.Random(version)
    products, sentences = catalogue(options.language)
    brands = sorted({brand for *_rest, brand in products if brand})
    for number in range(options.products):
        name, category, department, brand = products[number % len(products)]
        model = f"{chr(65 + number % 23)}{chr(65 + number % 19)}-{1000 + number // 5}"
        texts = {
            "name": f"{name} {model}",
            "brand": brand or brands[number % len(brands)],
            "category": category,
            "department": department,
            "description": " ".join(sentence(sentences, rng) for _ in range(rng.randint(3, 5))),
        }
        vector = chance.standard_normal(DIMS).astype(np.float32)
        yield Entry(
            f"shop.product:{number}",
            "shop.product",
            str(number),
            version,
            (EntryImage(f"{number:064x}", f"products/{number}.jpg", vector / np.linalg.norm(vector)),),
            (category,),
            filters={"brand": texts["brand"], "price": number % 90 + 1},
            texts={field: (text,) for field, text in texts.items()},
        )


def catalogue(language: str) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    """Return the products of the catalogues of a language, as (name, category, department, brand), and the sentences
    of their descriptions."""
    products, descriptions = [], list[str]()
    for file in sorted(CATALOGUES.glob("*.json")):
        shop = json.loads(file.read_text("utf-8"))
        if shop["language"] != language:
            continue
        descriptions += shop["descriptions"]
        for department, categories in shop["departments"].items():
            for category, of_category in categories.items():
                for each in of_category:
                    name, brand, description = each if isinstance(each, list) else (each, "", "")
                    products.append((name, category, department, brand))
                    descriptions.append(description)
    sentences = {each for text in descriptions for each in re.split(r"(?<=[.!?]) ", text) if each and "{" not in each}
    return products, sorted(sentences)


def sentence(sentences: list[str], rng: random.Random) -> str:
    """Return a sentence of some fifteen words, joined from those of the catalogues."""
    joined = rng.choice(sentences)
    while len(joined.split()) < 12:
        other = rng.choice(sentences)
        joined = f"{joined[:-1]}, {other[0].lower()}{other[1:]}"
    return joined


if __name__ == "__main__":
    main()
