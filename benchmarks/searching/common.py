"""Shared parts of the search benchmarks: entries of a given selectivity, true answers, and fair timing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from itertools import islice
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from imagesim.types import Condition, Entry, EntryImage, Filters, IndexMeta

if TYPE_CHECKING:
    from imagesim.indexes import BaseIndex

SELECTIVITIES = (1.0, 0.1, 0.01, 0.001, 0.0001)
K = 10
STEPS = 10_000
"""The filter value ``part`` of entries is uniform in 0..9,999, so ``part < n`` matches n per ten thousand."""


def bare_connection(url: str) -> HTTPConnection:
    """Open a connection to a server with the standard library, without Nagle's algorithm."""
    address = urlsplit(url)
    connection = HTTPConnection(str(address.hostname), address.port or 9200)
    connection.connect()
    connection.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    return connection


@dataclass
class Row:
    """A line of the report: a figure and what it is compared with."""

    what: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    target: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        text = f"{self.what:<58} {self.value:>10.3f} {self.unit:<4}"
        if self.peer_value is not None:
            text += f"  {self.peer}: {self.peer_value:.3f}"
        return text + (f"  (to reach: {self.target})" if self.target else "")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def parts(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, STEPS, count)


def selecting(selectivity: float) -> Filters:
    if selectivity >= 1:
        return Filters()
    return Filters(conditions=(Condition("part", "lt", selectivity * STEPS),))


def meta(dims: int) -> IndexMeta:
    return IndexMeta("benchmark", dims, {"part": "number"})


def entries(vectors: np.ndarray, label: str = "bench.item", first: int = 1) -> Iterator[Entry]:
    for number, (vector, part) in enumerate(zip(vectors, parts(len(vectors)), strict=True), first):
        image = EntryImage(f"{number:064x}", f"products/{number}.jpg", vector)
        yield Entry(
            f"{label}:{number}",
            label,
            str(number),
            1,
            (image,),
            (f"category-{number % 40}",),
            filters={"part": int(part)},
        )


def batches(every: Iterable[Any], size: int = 1000) -> Iterator[list[Any]]:
    rest = iter(every)
    while batch := list(islice(rest, size)):
        yield batch


def write_all(index: BaseIndex, backing_index: str, written: Iterable[Entry]) -> None:
    for batch in batches(written):
        assert {result.status for result in index.write(batch, backing_index=backing_index)} == {"done"}


def nearest(vectors: np.ndarray, query: np.ndarray, selectivity: float, k: int = K) -> list[int]:
    """Return the row numbers of the true answer."""
    rows = np.flatnonzero(parts(len(vectors)) < selectivity * STEPS)
    scores = vectors[rows] @ query
    return rows[np.argsort(-scores, kind="stable")[:k]].tolist()


def recall(found: Sequence[int], true: Sequence[int]) -> float:
    return len(set(found) & set(true)) / len(true) if true else 1.0


def in_turn(
    contenders: Mapping[str, Callable[[np.ndarray], Any]], queries: np.ndarray
) -> Iterator[tuple[str, int, Any, float]]:
    """Yield the name, the number of the query, the answer and its milliseconds. All answer each query, so that other
    load affects them alike. The order is random, because each finds the caches as the one before it left them."""
    chance = np.random.default_rng(3)
    for number, query in enumerate(queries):
        for name in chance.permutation(list(contenders)).tolist():
            started = time.perf_counter()
            answer = contenders[name](query)
            yield name, number, answer, (time.perf_counter() - started) * 1000


def take_turns(contenders: dict[str, Callable[[np.ndarray], Any]], queries: np.ndarray) -> dict[str, float]:
    """Return the median milliseconds of each; see :func:`in_turn`."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for name, _number, _answer, milliseconds in in_turn(contenders, queries):
        times[name].append(milliseconds)
    return {name: statistics.median(taken) for name, taken in times.items()}
