"""Run a function on batches of the values that several threads submit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Request: TypeAlias = "list[tuple[T, Future[R]]]"


class Batcher(Generic[T, R]):
    """Run ``run`` on the values that several threads submit, at most ``max_size`` per call.

    A single value runs at once; values submitted while the model is busy form the next batch. The thread that finds
    the model free runs the batch for itself and the others, so there is no extra thread to start, fork or stop.
    """

    def __init__(self, run: Callable[[list[T]], Iterable[R]], *, max_size: int = 16) -> None:
        self._run = run
        self._max_size = max_size
        self._waiting: deque[tuple[T, Future[R], list[Future[R]]]] = deque()
        """Values, each with the futures of its result and of all results of its request."""
        self._busy = threading.Lock()

    def submit(self, values: Sequence[T], *, timeout: float | None = None) -> list[R]:
        """Return the results of ``run`` for ``values``, in order.

        :raises TimeoutError: if the model stays busy for ``timeout`` seconds. A batch that has started still finishes.
        """
        mine: list[Future[R]] = []
        for value in values:
            future: Future[R] = Future()
            mine.append(future)
            self._waiting.append((value, future, mine))
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
        # The thread that holds the lock either runs these values or leaves the model free for this thread.
        if not self._busy.acquire(timeout=-1 if timeout is None else timeout):
            for future in mine:
                future.cancel()
            raise TimeoutError(f"The model was busy for more than {timeout} s.")
        self._busy.release()

    def _run_next(self) -> None:
        requests: dict[int, Request[T, R]] = {}
        free = self._max_size
        while self._waiting and free:
            value, future, request = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                requests.setdefault(id(request), []).append((value, future))
                free -= 1
        if requests:
            self._run_together(list(requests.values()))

    def _run_together(self, requests: list[Request[T, R]]) -> None:
        batch = [each for request in requests for each in request]
        try:
            results = list(zip(batch, self._run([value for value, _ in batch]), strict=True))
        except BaseException as error:  # every waiting thread must receive it
            if len(requests) > 1 and isinstance(error, Exception):  # one of them may be to blame
                for request in requests:
                    self._run_together([request])
                return
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), result in results:
            future.set_result(result)
