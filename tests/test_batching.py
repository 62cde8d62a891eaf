from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagesim.embedders.batching import Batcher


def test_a_single_request_runs_at_once_and_in_order() -> None:
    batcher = Batcher(lambda values: [value * 2 for value in values], max_size=3)
    assert batcher.submit([1, 2, 3, 4, 5, 6, 7]) == [2, 4, 6, 8, 10, 12, 14]
    assert batcher.submit([]) == []


def test_requests_during_a_forward_pass_share_the_next_batch() -> None:
    sizes: list[int] = []
    started, finish = threading.Event(), threading.Event()

    def slow(values: list[int]) -> list[int]:
        sizes.append(len(values))
        started.set()
        finish.wait(10)
        return values

    batcher = Batcher(slow, max_size=16)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(batcher.submit, [0])
        started.wait()
        rest = [pool.submit(batcher.submit, [n]) for n in range(1, 20)]
        while len(batcher._waiting) < 20:
            time.sleep(0.01)
        finish.set()
        assert first.result() == [0]
        assert [future.result() for future in rest] == [[n] for n in range(1, 20)]
    assert sizes == [1, 16, 3]


def test_an_error_affects_only_the_requests_of_its_batch() -> None:
    def run(values: list[int]) -> list[int]:
        if 0 in values:
            raise ValueError("no zero")
        return values

    batcher = Batcher(run)
    with pytest.raises(ValueError, match="no zero"):
        batcher.submit([1, 0])
    assert batcher.submit([5]) == [5]


@pytest.mark.parametrize("wrong", ["an error", "too few results"])
def test_a_request_that_fails_does_not_fail_those_that_share_its_batch(wrong: str) -> None:
    started, finish = threading.Event(), threading.Event()

    def run(values: list[int]) -> list[int]:
        started.set()
        finish.wait(10)
        if 0 in values and wrong == "an error":
            raise ValueError("no zero")
        return [value for value in values if value]

    batcher = Batcher(run)
    with ThreadPoolExecutor(4) as pool:
        requests = [pool.submit(batcher.submit, [1])]
        started.wait()
        requests += [pool.submit(batcher.submit, values) for values in ([2, 3], [4, 0], [5])]
        while len(batcher._waiting) < 4:
            time.sleep(0.01)
        finish.set()
        assert [requests[n].result(10) for n in (0, 1, 3)] == [[1], [2, 3], [5]]
        with pytest.raises(ValueError, match=r"no zero|shorter"):
            requests[2].result(10)


def test_results_are_returned_while_the_model_works_on_for_others() -> None:
    """The number of batches is tested, not the time, which depends on the machine: without it, there are fifty and
    more."""
    batches = 0

    def run(values: list[int]) -> list[int]:
        nonlocal batches
        batches += 1
        time.sleep(0.005)
        return values

    def batches_of_a_request() -> int:
        before = batches
        batcher.submit([1])
        return batches - before

    def visit() -> int:
        until, most = time.monotonic() + 2, 0
        while time.monotonic() < until:
            most = max(most, batches_of_a_request())
        return most

    batcher = Batcher(run)
    with ThreadPoolExecutor(16) as pool:
        waited = [visitor.result() for visitor in [pool.submit(visit) for _ in range(16)]]
    assert max(waited) <= 10


def test_a_request_does_not_wait_for_the_whole_of_a_large_one() -> None:
    started, finish = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def run(values: list[int]) -> list[int]:
        batches.append(values)
        started.set()
        finish.wait(10)
        return values

    batcher = Batcher(run, max_size=4)
    with ThreadPoolExecutor(2) as pool:
        large = pool.submit(batcher.submit, list(range(20)))
        started.wait()
        small = pool.submit(batcher.submit, [100])
        while len(batcher._waiting) < 2:
            time.sleep(0.01)
        finish.set()
        assert small.result(10) == [100]
        assert large.result(10) == list(range(20))
    assert batches[:2] == [[0, 1, 2, 3], [100, 4, 5, 6]]


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_a_thread_that_is_stopped_fails_no_other_request(stop: type[BaseException]) -> None:
    started, finish = threading.Event(), threading.Event()
    stopped = threading.get_ident()

    def run(values: list[int]) -> list[int]:
        if threading.get_ident() == stopped:
            started.set()
            finish.wait(10)
            raise stop
        return values

    batcher = Batcher(run)
    with ThreadPoolExecutor(2) as pool:

        def wait_and_finish() -> list[int]:
            started.wait()
            other = pool.submit(batcher.submit, [2])
            while len(batcher._waiting) < 2:
                time.sleep(0.01)
            finish.set()
            return other.result(10)

        other = pool.submit(wait_and_finish)
        with pytest.raises(stop):
            batcher.submit([1])
        assert other.result(10) == [2]
    stopped = 0
    assert batcher.submit([3]) == [3]
    assert not batcher._waiting
