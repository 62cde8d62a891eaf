"""The 8-bit copy of the local index: whatever the vectors, it changes no answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from threading import Event, Thread
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesim.indexes.local import columnar, knn, quantised
from imagesim.indexes.local.columnar import Matrix, Record, Table
from imagesim.indexes.validation import compile_filters
from imagesim.types import Filters, IndexMeta, Query, Similarity
from tests.examples import examples

if quantised.kernels() is None:
    pytest.skip("numkong is not installed", allow_module_level=True)

DIMS = 24
Draw = Callable[[np.random.Generator, int], np.ndarray]


def spread(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal((count, DIMS))


def near_duplicates(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal((3, DIMS))[rng.integers(0, 3, count)] + 1e-3 * rng.standard_normal((count, DIMS))


def equal(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal((5, DIMS))[rng.integers(0, 5, count)]


def spiky(rng: np.random.Generator, count: int) -> np.ndarray:
    """One component outweighs the others, so rounding loses most of these."""
    return np.eye(DIMS)[rng.integers(0, DIMS, count)] + 3e-3 * rng.standard_normal((count, DIMS))


def mixed(rng: np.random.Generator, count: int) -> np.ndarray:
    every = [draw(rng, count) for draw in (spread, near_duplicates, equal, spiky)]
    return np.stack(every)[rng.integers(0, 4, count), np.arange(count)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def filled(vectors: np.ndarray, rng: np.random.Generator) -> Table:
    """A table of entries with one to three images each, some of which were written again or removed."""
    table = Table(IndexMeta("fingerprint", DIMS), 4)
    ends = np.cumsum(rng.integers(1, 4, len(vectors)))
    records = []
    for n, part in enumerate(np.split(vectors, ends[ends < len(vectors)])):
        images = [("", "")] * len(part)
        records.append(Record(f"shop.product:{n}", "", f"g{n % 40}", bool(n % 3), images=images, vectors=part))
    table.apply(records)
    table.apply(Record(record.key) for record in records[::7])
    table.apply(records[: len(records) // 2 : 7])
    return table


@pytest.mark.slow
@settings(max_examples=examples(20), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    draw=st.sampled_from([spread, near_duplicates, equal, spiky, mixed]),
    count=st.sampled_from([40, 700, 3000]),
    in_stock=st.sampled_from([None, True]),
    similarity=st.sampled_from(["cosine", "dot_product", "l2"]),
    questions=st.integers(1, 3),
    collapse=st.booleans(),
    min_score=st.sampled_from([None, 0.3, 0.999]),
    offset=st.sampled_from([0, 5]),
)
def test_answers_are_those_of_the_full_vectors(
    seed: int,
    draw: Draw,
    count: int,
    in_stock: bool | None,
    similarity: Similarity,
    questions: int,
    collapse: bool,
    min_score: float | None,
    offset: int,
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(draw(rng, count))
    asked = np.concatenate([vectors[:1], unit(draw(rng, 2))])[:questions]
    queries = [Query(each, limit=10, offset=offset, collapse=collapse, min_score=min_score) for each in asked]
    compiled = compile_filters(Filters(in_stock=in_stock), {})
    table = filled(vectors, rng)
    with mock.patch.object(quantised, "QUANTISED_FROM", 1):
        assert isinstance(knn.scan(table.matrix, asked, None, similarity)[0], knn.QuantisedScan)
        answers = knn.answer(table, compiled, similarity, queries, asked)
    with mock.patch.object(quantised, "QUANTISED_FROM", sys.maxsize):
        assert answers == knn.answer(table, compiled, similarity, queries, asked)


def test_two_threads_that_make_the_copy_at_once_have_it_complete() -> None:
    matrix = Matrix(DIMS)
    matrix.put(unit(spread(np.random.default_rng(1), 100)))
    updated, replaced = Event(), Event()
    made: list[quantised.Codes] = []

    class Slow(quantised.Codes):
        def __init__(self, dims: int, capacity: int) -> None:
            super().__init__(dims, capacity)
            made.append(self)
            if len(made) == 1:
                other.start()
                updated.wait(5)  # replaces the other thread's copy once that is up to date

        def update(self, vectors: np.ndarray) -> None:
            if self is made[0]:
                replaced.set()
                other.join(5)
            super().update(vectors)
            if self is not made[0]:
                updated.set()
                replaced.wait(5)

    got: list[quantised.Codes | None] = []
    other = Thread(target=lambda: got.append(matrix.codes()))
    with mock.patch.object(columnar, "Codes", Slow), mock.patch.object(quantised, "QUANTISED_FROM", 1):
        matrix.codes()
    assert got == [made[1]]


@pytest.mark.parametrize("draw", [spread, near_duplicates, spiky])
def test_the_bounds_hold(draw: Draw) -> None:
    rng = np.random.default_rng(3)
    vectors, queries = unit(draw(rng, 2000)), unit(draw(rng, 20))
    codes = quantised.Codes(DIMS, 2000)
    codes.update(vectors)
    for query in queries:
        lower, upper = codes.bounds(quantised.quantise(query[None]), slice(0, 2000))
        true = vectors.astype(np.float64) @ query
        assert (lower - 1e-5 <= true).all()
        assert (true <= upper + 1e-5).all()
        assert (upper - lower).mean() < 0.1


def test_a_vector_of_zeros_and_the_largest_components() -> None:
    given = np.array([[0, 0, 0], [1, -1, 0.5], [1e-30, 0, 0]], dtype=np.float32)
    found = quantised.quantise(given)
    assert found.codes.tolist() == [[0, 0, 0], [127, -127, 64], [127, 0, 0]]
    assert np.allclose(found.codes * found.scale[:, None], given, atol=0.5 / 127)


def test_the_copy_follows_the_matrix() -> None:
    rng = np.random.default_rng(0)
    matrix = Matrix(DIMS)
    first = matrix.put(unit(spread(rng, 900)))
    assert matrix.codes() is None, "few rows need none"
    matrix.put(unit(spread(rng, 4000)))
    assert matrix.codes() is not None
    matrix.free(first[10:40])
    matrix.put(unit(spread(rng, 5000)))  # reuses rows, and grows
    codes = matrix.codes()
    assert codes is not None
    for mine, right in zip(codes._rows, quantised.quantise(matrix.data), strict=True):
        assert np.array_equal(mine[: matrix.used], right)


def test_threads_that_do_the_same_part() -> None:
    """``share`` lets a late thread repeat a part while its result is being read."""
    rng = np.random.default_rng(7)
    matrix = Matrix(DIMS)
    matrix.put(unit(spread(rng, 100_000)))
    query = matrix.data[:1]

    def every_part_twice(work: Callable[[int], None], parts: Sequence[int]) -> None:
        threads = [Thread(target=lambda: [work(part) for part in parts]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    [alone] = knn.scan(matrix, query, None, "cosine")
    with mock.patch.object(knn, "share", every_part_twice):
        for _ in range(20):
            [together] = knn.scan(matrix, query, None, "cosine")
            assert np.array_equal(alone._lower, together._lower)
            assert np.array_equal(alone._upper, together._upper)


def test_without_the_package_there_is_no_copy() -> None:
    matrix = Matrix(DIMS)
    matrix.put(unit(spread(np.random.default_rng(0), 5000)))
    with mock.patch.object(quantised, "kernels", return_value=None):
        assert matrix.codes() is None
        assert isinstance(knn.scan(matrix, matrix.data[:1], None, "cosine")[0], knn.FullScan)


@pytest.mark.parametrize("draw", [spread, near_duplicates, equal, spiky, mixed])
@pytest.mark.parametrize(("k", "at_least"), [(3, -2.0), (3, 0.9), (60, -2.0), (60, 0.2)])
def test_no_other_row_scores_above_the_floor(draw: Draw, k: int, at_least: float) -> None:
    rng = np.random.default_rng(5)
    matrix = Matrix(DIMS)
    matrix.put(unit(draw(rng, 6000)))
    for query in unit(draw(rng, 20)):
        [scanned] = knn.scan(matrix, query[None], None, "cosine")
        rows, floor = scanned.best(k, at_least)
        true = matrix.data.astype(np.float64) @ query
        others = np.delete(true, rows)
        assert len(others) == 0 or others.max() <= floor + knn.SLACK["cosine"] / 2
        assert len(rows) >= min(k, np.count_nonzero(true >= at_least))
