"""Run a function on batches of the values that several threads submit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Run ``run`` on the values that several threads submit, at most ``max_size`` per call.

    A single value runs at once; values submitted while the model is busy form the next batch. The thread that finds
    the model free runs the batch for itself and the others, so there is no extra thread to start, fork or stop. Each of
    the others goes on as soon as its own results are there, whether or not the model is busy again.
    """

    def __init__(self, run: Callable[[list[T]], Iterable[R]], *, max_size: int = 16) -> None:
        self._run = run
        self._max_size = max_size
        self._waiting: list[_Request[T, R]] = []
        self._running: _Request[T, R] | None = None
        """The request whose thread runs a batch."""
        self._changed = threading.Condition()
        """Its lock guards all of this; it is notified when a batch has ended."""

    def submit(self, values: Sequence[T]) -> list[R]:
        """Return the results of ``run`` for ``values``, in order. An exception that ``run`` raises for them is raised
        here."""
        request: _Request[T, R] = _Request(list(values))
        try:
            with self._changed:
                self._waiting.append(request)
            while self._has_to_run(request):
                self._run_batch()
        finally:  # also if an exception from a signal ends the thread's wait, or its batch
            with self._changed:
                self._leave(request)
        if request.error is not None:
            raise request.error
        return request.results

    def _has_to_run(self, request: _Request[T, R]) -> bool:
        """Wait until the request is done, and return False, or until its thread has to run a batch."""
        with self._changed:
            while self._running is not None and not request.is_done:
                self._changed.wait()
            if request.is_done:
                return False
            self._running = request
            return True

    def _leave(self, request: _Request[T, R]) -> None:
        if request in self._waiting:
            self._waiting.remove(request)
        if self._running is request:
            self._running = None
            self._changed.notify_all()

    def _run_batch(self) -> None:
        with self._changed:
            batch: list[tuple[_Request[T, R], list[T]]] = []
            free = self._max_size
            for request in self._waiting:
                if free and not request.is_done:
                    batch.append((request, request.next(free)))
                    free -= len(batch[-1][1])
        self._run_together(batch)
        with self._changed:
            self._running = None
            self._changed.notify_all()

    def _run_together(self, batch: Sequence[tuple[_Request[T, R], list[T]]]) -> None:
        """Run a batch and store the results. Anything but an ``Exception`` ends this thread only, not the other
        requests."""
        values = [value for _, some in batch for value in some]
        try:
            results = [result for _, result in zip(values, self._run(values), strict=True)]
        except Exception as error:
            if len(batch) > 1:  # one of them may be to blame
                for each in batch:
                    self._run_together([each])
                return
            with self._changed:
                batch[0][0].error = error
            return
        with self._changed:
            for request, some in batch:
                request.results += results[: len(some)]
                del results[: len(some)]
                if request in self._waiting and not request.is_done:  # the rest of a large one waits behind all others
                    self._waiting.remove(request)
                    self._waiting.append(request)


class _Request(Generic[T, R]):
    """The values that a thread has submitted, and their results as far as they are known."""

    def __init__(self, values: list[T]) -> None:
        self._values = values
        self.results: list[R] = []
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.error is not None or len(self.results) == len(self._values)

    def next(self, count: int) -> list[T]:
        """Return at most ``count`` of the values that have no result yet."""
        return self._values[len(self.results) : len(self.results) + count]
