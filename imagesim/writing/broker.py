"""Sending tasks without ever holding up a save: short timeouts, no retries, a breaker; and workers that look by
themselves, for messages that were never sent or got lost."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any

from imagesim.breaker import Breaker
from imagesim.exceptions import IndexUnavailable

logger = logging.getLogger("imagesim.sync")

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 1.0
LOOK_EVERY = 10.0
"""Seconds between two looks of a worker of its own accord."""

breaker = Breaker("The message broker", threshold=1, reset_seconds=10.0)
_producers: dict[tuple[int, str], Any] = {}


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


def look_regularly(sender: Any, **kwargs: Any) -> None:
    """When a worker is ready: have it send itself a sync now and then. So nothing waits for ever, even without beat."""
    from imagesim.tasks import sync

    def look() -> None:
        # Expires before the next one, so that they do not pile up while all workers are busy.
        send(sync, {}, expires=LOOK_EVERY)

    sender.timer.call_repeatedly(LOOK_EVERY, look)
    look()


def connect() -> None:
    try:
        from celery.signals import worker_ready
    except ImportError:
        return
    worker_ready.connect(look_regularly, weak=False, dispatch_uid="imagesim.look")
