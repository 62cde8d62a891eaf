"""The values of a process are created once per process, and can be dropped in one call."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagesim.exceptions import Busy
from imagesim.retrieval import concurrency
from imagesim.retrieval.concurrency import photo_slot
from imagesim.runtime import Runtime


class Connection:
    closed = False

    def close(self):
        self.closed = True


def test_a_value_is_created_once_for_all_threads():
    runtime, made, barrier = Runtime(), [], threading.Barrier(4)

    def ask(_):
        barrier.wait()
        return runtime.get("key", lambda: made.append(1) or object())

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert made == [1]


def test_a_failure_is_not_cached():
    runtime = Runtime()

    def fail():
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        runtime.get("key", fail)
    assert runtime.get("key", lambda: 3) == 3


def test_reset_closes_values():
    runtime = Runtime()
    dropped, kept = runtime.get("a", Connection), runtime.get("b", Connection)
    runtime.reset(keep=lambda value: value is kept)
    assert (dropped.closed, kept.closed) == (True, False)
    assert runtime.get("b", Connection) is kept
    assert runtime.get("a", Connection) is not dropped


def test_a_child_process_creates_its_own_values():
    runtime = Runtime()
    ours = runtime.get("key", Connection)
    with runtime._lock:  # as another thread of the parent may do at the moment of the fork
        pid = os.fork()
        if pid == 0:
            runtime.after_fork()
            theirs = runtime.get("key", Connection)
            runtime.reset()
            os._exit(0 if theirs is not ours and theirs.closed and not ours.closed else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_forked_process_has_all_its_photo_slots(monkeypatch):
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0)
    with contextlib.ExitStack() as held:
        with contextlib.suppress(Busy):
            while True:
                held.enter_context(photo_slot())
        pid = os.fork()
        if not pid:
            with contextlib.suppress(Busy), photo_slot():
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.long
def test_the_app_is_imported_where_processes_cannot_fork():
    program = """
import os, sys
sys.modules["resource"] = None
for name in ("fork", "register_at_fork", "sched_getaffinity"):
    delattr(os, name)
import django
django.setup()
import imagesim.embedders.onnx, imagesim.indexes.local.knn, imagesim.images.sandbox
"""
    subprocess.run([sys.executable, "-c", program], check=True)
