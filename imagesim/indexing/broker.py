"""Sending tasks without ever holding up a save: few messages, short timeouts, no retries, a breaker."""

from __future__ import annotations

import logging
import os
import time
from importlib import import_module
from typing import Any, NamedTuple

from imagesim.circuit_breaker import Breaker
from imagesim.exceptions import IndexUnavailable

logger = logging.getLogger("imagesim.indexing.sync")

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 1.0
WAKE_EVERY = 0.2
"""Seconds in which a process sends two messages at most, one in a steady stream, however many changes it commits."""

breaker = Breaker("The message broker", threshold=1, reset_seconds=10.0)
_producers: dict[tuple[int, str], Any] = {}


class _Wakeup(NamedTuple):
    """The last message with which this process woke the workers up."""

    at: float = float("-inf")
    delayed: bool = False
    """Whether it is worked on when ``WAKE_EVERY`` is over, and not at once."""


_wakeups: dict[str, _Wakeup] = {}


def is_configured() -> bool:
    """Whether Celery is installed and the project's application has a broker."""
    try:
        from celery import current_app
    except ImportError:
        return False
    return bool(current_app.conf.broker_url or current_app.conf.broker_write_url)


def send(task: Any, arguments: dict[str, Any], **options: Any) -> bool:
    """Send a task; False if the broker cannot be reached, which costs nothing but time: the changes wait."""
    from celery import current_app
    from kombu.exceptions import KombuError

    if current_app.conf.task_always_eager:
        task.apply_async(kwargs=arguments)
        return True
    try:
        with breaker.guard(KombuError, OSError), _pool(current_app).acquire(block=True, timeout=1) as producer:
            task.apply_async(kwargs=arguments, producer=producer, retry=False, **options)
    except (KombuError, OSError, IndexUnavailable) as error:
        logger.debug("not sent: %s", error)
        return False
    return True


def wake(task: Any, using: str) -> bool:
    """Send a task that works on whatever waits, unless one that was sent will see to what was committed until now.

    The first change is announced at once. Those that follow within ``WAKE_EVERY`` share one message, which is worked on
    when that time is over, and so after each of them: a thousand saves a second cost five messages. What a
    process remembers of a message stays true whatever becomes of the process; if the message is lost, what it
    announced waits for a worker's own look, as after any message lost.
    """
    now = time.monotonic()
    last = _wakeups.get(using, _Wakeup())
    since = now - last.at
    if since < WAKE_EVERY and last.delayed:
        return True
    from celery import current_app

    if current_app.conf.task_always_eager:
        return send(task, {"using": using})  # in this process, at once
    if since < WAKE_EVERY:
        wakeup, delay = _Wakeup(last.at, delayed=True), WAKE_EVERY - since
    elif since < 2 * WAKE_EVERY and last.delayed:
        wakeup, delay = _Wakeup(now, delayed=True), WAKE_EVERY  # they come one after the other
    else:
        wakeup, delay = _Wakeup(now), 0.0
    sent = send(task, {"using": using}, **({"countdown": delay} if delay else {}))
    if sent:
        _wakeups[using] = wakeup
    return sent


def _pool(app: Any) -> Any:
    """Producers whose connections give up soon, apart from the application's own, which may try for ever."""
    key = (os.getpid(), str(app.conf.broker_write_url or app.conf.broker_url))
    if key not in _producers:
        pools: Any = import_module("kombu.pools")
        connection = app.connection_for_write(
            connect_timeout=CONNECT_SECONDS,
            transport_options={
                "max_retries": 0,
                "interval_start": 0,
                "socket_connect_timeout": CONNECT_SECONDS,
                "socket_timeout": ANSWER_SECONDS,
                "retry_on_timeout": False,
            },
        )
        _producers[key] = pools.ProducerPool(pools.connections[connection], limit=10)
    return _producers[key]
