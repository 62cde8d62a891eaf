from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagesim.indexing.embedding import ahead
from imagesim.runtime import threads


def test_results_and_errors_are_in_order() -> None:
    def work(n: int) -> int:
        time.sleep(0.01 * (5 - n % 5))
        if n == 7:
            raise ValueError("seven")
        return n * n

    with ThreadPoolExecutor(4) as pool:
        results = list(ahead(pool, work, range(20), window=6))
    assert [n for n, _ in results] == list(range(20))
    assert isinstance(results[7][1], ValueError)
    assert all(result == n * n for n, result in results if n != 7)


def test_at_most_a_window_of_values_is_ahead_of_the_reader() -> None:
    started = []
    lock = threading.Lock()

    def work(n: int) -> int:
        with lock:
            started.append(n)
        return n

    with ThreadPoolExecutor(4) as pool:
        results = ahead(pool, work, range(1000), window=5)
        for _ in range(3):
            next(results)
        time.sleep(0.05)
        assert len(started) <= 8
        results.close()
    assert len(started) <= 8


def test_an_empty_stream_and_a_base_exception() -> None:
    def stop(n: int) -> int:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        assert list(ahead(pool, threading.get_ident, (), window=3)) == []  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            list(ahead(pool, stop, [1], window=3))


def test_threads_belong_to_this_process() -> None:
    assert threads() >= 1
