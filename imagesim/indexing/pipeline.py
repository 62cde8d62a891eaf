"""Work on many things side by side, in order, with no more in memory than is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], values: Iterable[T], *, window: int
) -> Iterator[tuple[T, R | Exception]]:
    """Each value with what ``work`` makes of it, or the exception it raised, in order.

    At most ``window`` results are ahead of the reader, so memory stays bounded however slowly they are used; while
    the reader is busy with one, the pool goes on with the next.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    iterator = iter(values)
    try:
        for value in islice(iterator, window):
            waiting.append((value, pool.submit(work, value)))
        while waiting:
            value, future = waiting.popleft()
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            result: R | Exception = future.result() if error is None else error
            for following in islice(iterator, 1):
                waiting.append((following, pool.submit(work, following)))
            yield value, result
    finally:
        for _, future in waiting:
            future.cancel()
