"""Combine concurrent requests into one forward pass."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Runs ``run`` on the values that several threads submit, at most ``max_size`` per call.

    A single value is run at once; those submitted while the model is busy form the next batch. The thread that finds
    the model free runs the batch for itself and the others; there is no thread of its own to start, fork or stop.
    """

    def __init__(self, run: Callable[[list[T]], Iterable[R]], *, max_size: int = 16) -> None:
        self._run = run
        self._max_size = max_size
        self._waiting: deque[tuple[T, Future[R]]] = deque()
        self._busy = threading.Lock()

    def submit(self, values: Sequence[T], *, timeout: float | None = None) -> list[R]:
        """``run``'s results for ``values``, in order.

        :raises TimeoutError: if the model stays busy for ``timeout`` seconds. A batch that has begun is finished.
        """
        mine: list[Future[R]] = []
        for value in values:
            future: Future[R] = Future()
            self._waiting.append((value, future))
            mine.append(future)
        while not all(future.done() for future in mine):
            if self._busy.acquire(blocking=False):
                try:
                    self._run_next()
                finally:
                    self._busy.release()
            else:
                self._wait_for_turn(mine, timeout)
        return [future.result() for future in mine]

    def _wait_for_turn(self, mine: list[Future[R]], timeout: float | None) -> None:
        # The thread that holds the lock either runs our values or leaves the model free for us.
        if not self._busy.acquire(timeout=-1 if timeout is None else timeout):
            for future in mine:
                future.cancel()
            raise TimeoutError(f"The model was busy for more than {timeout} s.")
        self._busy.release()

    def _run_next(self) -> None:
        batch: list[tuple[T, Future[R]]] = []
        while self._waiting and len(batch) < self._max_size:
            value, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                batch.append((value, future))
        if not batch:
            return
        try:
            results = self._run([value for value, _ in batch])
        except BaseException as error:  # every waiting thread must get it
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
