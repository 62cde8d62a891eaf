"""Parallel work: the same result with helper threads, without them, and with busy or failing ones."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imagesim.indexes.local import knn
from imagesim.indexes.local.knn import SHARED_FROM, share

PARTS = range(40)


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """Three, however many processors there are."""
    with ThreadPoolExecutor(3) as pool:
        monkeypatch.setattr(knn, "HELPERS", 3)
        monkeypatch.setattr(knn, "_helpers", pool)
        yield pool


def test_helpers_take_a_share(helpers: ThreadPoolExecutor) -> None:
    together = threading.Barrier(4, timeout=20)
    workers: set[int] = set()
    done: set[int] = set()

    def work(part: int) -> None:
        if threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            together.wait()  # the caller and all three helpers are working
        done.add(part)

    share(work, PARTS)
    assert done == set(PARTS)
    assert len(workers) == 4


def test_the_caller_does_not_wait_for_busy_helpers(helpers: ThreadPoolExecutor) -> None:
    busy = threading.Event()
    for _ in range(3):
        helpers.submit(busy.wait, 20)
    done: list[int] = []
    share(done.append, PARTS)
    assert done == list(PARTS)
    busy.set()


def test_the_caller_does_the_work_of_a_delayed_helper(helpers: ThreadPoolExecutor) -> None:
    caller, held, go_on = threading.get_ident(), threading.Event(), threading.Event()
    done: set[int] = set()

    def work(part: int) -> None:
        if threading.get_ident() != caller:
            held.set()
            go_on.wait(20)
        else:
            held.wait(20)
            done.add(part)

    share(work, PARTS)
    assert done == set(PARTS)
    go_on.set()


def test_errors_are_raised_in_the_caller(helpers: ThreadPoolExecutor) -> None:
    def work(part: int) -> None:
        if part == 7:
            raise MemoryError

    for _ in range(20):
        with pytest.raises(MemoryError):
            share(work, PARTS)
    share(lambda part: None, PARTS)


def test_little_work_starts_no_helpers(helpers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "submit", pytest.fail)
    done: list[int] = []
    share(done.append, range(SHARED_FROM - 1))
    assert done == list(range(SHARED_FROM - 1))


@pytest.mark.slow
def test_after_a_fork_and_at_interpreter_exit() -> None:
    code = """
import atexit, os, threading
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "imagesim"])
django.setup()
from imagesim.indexes.local import knn

knn.HELPERS = 1

def with_a_helper():
    together, workers = threading.Barrier(2, timeout=20), set()

    def work(part):
        if threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            together.wait()

    knn.share(work, range(40))

def alone():
    done = []
    knn.share(done.append, range(40))
    assert done == list(range(40))
    print("ended")

with_a_helper()
atexit.register(alone)
child = os.fork()
with_a_helper()
if child:
    os.waitpid(child, 0)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "ended\nended\n", "")


@pytest.mark.parametrize("share_of_rows", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("similarity", ["cosine", "l1"])
def test_scores_are_the_same_to_the_bit_with_and_without_helpers(
    helpers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, share_of_rows: float, similarity: str
) -> None:
    rng = np.random.default_rng(5)
    matrix = rng.standard_normal((40_000, 24)).astype(np.float32)
    rows = None if share_of_rows == 1 else np.sort(rng.choice(40_000, int(40_000 * share_of_rows), replace=False))
    queries = matrix[:3]

    def scores() -> bytes:
        return knn.score_rows(matrix, queries, rows, similarity).tobytes()  # type: ignore[arg-type]

    with ThreadPoolExecutor(6) as requests:
        shared = [requests.submit(scores) for _ in range(24)]
        found = {each.result() for each in shared}
    monkeypatch.setattr(knn, "HELPERS", 0)
    assert found == {scores()}
