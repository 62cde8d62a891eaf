"""Run tasks outside the request that starts them: with Celery, Django's tasks, a thread, or not at all.

The ``SYNC`` setting chooses the dispatcher. Tasks can be lost, repeated, late or out of order without harm, because the
work to do is recorded in the database.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextvars import Context
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.db import close_old_connections, connections
from django.utils import timezone
from django.utils.connection import ConnectionDoesNotExist

from imagesim.circuit_breaker import Breaker, log_repeated
from imagesim.conf import get_settings
from imagesim.database import current_schema, lacks_tables, state_alias
from imagesim.exceptions import ConfigurationError, format_choices
from imagesim.runtime import runtime

logger = logging.getLogger("imagesim.indexing.sync")

TASKS = ("sync", "rebuild", "reconcile", "reindex")
"""The functions of :mod:`imagesim.tasks` that can be started."""

SENT_AT = "imagesim_sent_at"
"""The header of a Celery message with the time until which it announces changes, in seconds since 1970."""

_tasks_module = ""
"""That module, as named by :func:`connect`: it imports what it runs, so nothing below may import it."""


class Dispatcher(ABC):
    """One way to run tasks."""

    @abstractmethod
    def start(self, task: str, arguments: dict[str, Any]) -> bool:
        """Start a task soon; return False if it cannot be started. Never raises and never waits long."""

    @abstractmethod
    def wake(self) -> None:
        """Start a sync of the waiting changes. Called after every commit of changes."""


class ManualDispatcher(Dispatcher):
    """Starts nothing: ``manage.py imagesim_sync`` does the work."""

    def start(self, task: str, arguments: dict[str, Any]) -> bool:
        return False

    def wake(self) -> None:
        pass


class _Wakeup(NamedTuple):
    """The last message that announced changes of a tenant."""

    sent_at: float = float("-inf")
    delayed: bool = False
    """Whether workers are to act on it ``WAKE_INTERVAL`` after ``sent_at`` instead of immediately."""


class MessageDispatcher(Dispatcher):
    """Sends a message per task to workers in other processes."""

    WAKE_INTERVAL = 0.2
    """Seconds in which a process sends at most two messages (one in a steady stream), for any number of commits."""

    def __init__(self) -> None:
        self.last_wakeups: dict[str, _Wakeup] = {}  # by the schema of the tenant

    @property
    def supports_delay(self) -> bool:
        return True

    @abstractmethod
    def send(self, task: str, arguments: dict[str, Any], *, delay: float = 0.0, expires: float | None = None) -> bool:
        """Send one message; workers act on it after ``delay`` seconds and ignore it ``expires`` seconds from now."""

    def start(self, task: str, arguments: dict[str, Any]) -> bool:
        return self.send(task, arguments)

    def wake(self) -> None:
        """Send a sync, unless a message already sent covers the commits of this tenant until now.

        The first change is announced immediately. Those that follow within ``WAKE_INTERVAL`` share one message, which
        workers act on at its end: a thousand saves per second cost five messages. A poll makes up for a lost one.
        """
        now = time.monotonic()
        last = self.last_wakeups.get(schema := current_schema(state_alias()), _Wakeup())
        elapsed = now - last.sent_at
        if not self.supports_delay:
            wakeup, delay = _Wakeup(now), 0.0
        elif elapsed < self.WAKE_INTERVAL:
            if last.delayed:
                return
            wakeup, delay = _Wakeup(last.sent_at, delayed=True), self.WAKE_INTERVAL - elapsed
        elif elapsed < 2 * self.WAKE_INTERVAL and last.delayed:
            wakeup, delay = _Wakeup(now, delayed=True), self.WAKE_INTERVAL  # a steady stream: one per interval
        else:
            wakeup, delay = _Wakeup(now), 0.0
        if self.send("sync", {}, delay=delay):
            self.last_wakeups[schema] = wakeup


class CeleryDispatcher(MessageDispatcher):
    """Sends Celery tasks without delaying a save: short timeouts, no retries, and a circuit breaker."""

    CONNECT_SECONDS = 1.0
    ANSWER_SECONDS = 1.0
    POLL_INTERVAL = 10.0
    """Seconds between two syncs that a Celery worker starts itself."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker("The message broker", threshold=1, reset_seconds=10.0)
        self._producers: dict[str, Any] = {}

    @staticmethod
    def is_configured() -> bool:
        """Return whether Celery is installed and the project's application has a broker for other processes."""
        try:
            from celery import current_app
        except ImportError:
            return False
        url = current_app.conf.broker_write_url or current_app.conf.broker_url
        return bool(url) and not str(url).startswith("memory:")

    @staticmethod
    def is_eager() -> bool:
        """Return whether tasks run immediately, in this process."""
        from celery import current_app

        return bool(current_app.conf.task_always_eager)

    @property
    def supports_delay(self) -> bool:
        """Not with quorum queues, in which Celery delays by whole seconds, or not at all."""
        from celery import current_app

        queues = current_app.amqp.queues.values()
        return not (self.is_eager() or any("quorum" in (each.queue_arguments or {}).values() for each in queues))

    def send(self, task: str, arguments: dict[str, Any], *, delay: float = 0.0, expires: float | None = None) -> bool:
        """Send one task; False if the broker cannot be reached, or refuses it."""
        from celery import current_app

        function = _function(task)
        if self.is_eager():
            function.apply_async(kwargs=arguments)
            return True
        options = {"expires": expires, "retry": False, "headers": {SENT_AT: time.time() + delay}}
        try:
            with self.breaker.guard(Exception), self._pool(current_app).acquire(block=True, timeout=1) as producer:
                function.apply_async(kwargs=arguments, producer=producer, countdown=delay or None, **options)
        except Exception as error:  # of the client of any broker, or of a setting that Celery does not accept
            logger.debug("not sent: %s", error)
            return False
        return True

    def poll(self, sender: Any, **kwargs: Any) -> None:
        """Make a ready worker start a sync every ``POLL_INTERVAL``, also without beat and if a message was lost."""

        def poll() -> None:
            # Expires before the next one, so that they do not pile up while all workers are busy.
            self.send("sync", {}, expires=self.POLL_INTERVAL)

        sender.timer.call_repeatedly(self.POLL_INTERVAL, poll)
        poll()

    def _pool(self, app: Any) -> Any:
        """Return producers with short timeouts: those of the application's own pool may retry for ever."""
        from kombu import pools

        key = str(app.conf.broker_write_url or app.conf.broker_url)
        if key not in self._producers:
            connection = app.connection_for_write(
                connect_timeout=self.CONNECT_SECONDS,
                transport_options={
                    "max_retries": 0,
                    "interval_start": 0,
                    "socket_connect_timeout": self.CONNECT_SECONDS,
                    "socket_timeout": self.ANSWER_SECONDS,
                    "retry_on_timeout": False,
                },
            )
            self._producers[key] = pools.ProducerPool(pools.connections[connection], limit=10)  # type: ignore[no-untyped-call]
        return self._producers[key]


class DjangoTasksDispatcher(MessageDispatcher):
    """Enqueues Django's own tasks (Django 6.0 or later), on the backend ``TASKS["default"]``.

    If that backend does not support delays, every commit with changes enqueues a task.
    """

    @staticmethod
    def backend() -> Any:
        """Return the backend; None before Django 6.0, or if the project has none of that name with a queue
        ``default``."""
        if find_spec("django.tasks") is None:
            return None
        try:
            backend = import_module("django.tasks").task_backends["default"]
        except (ConnectionDoesNotExist, ImproperlyConfigured):
            return None
        return backend if not backend.queues or "default" in backend.queues else None

    @classmethod
    def is_configured(cls) -> bool:
        """Return whether the project runs tasks in separate processes; by default, Django runs them in the request."""
        if (backend := cls.backend()) is None:
            return False
        immediate: Any = import_module("django.tasks.backends.immediate")
        dummy: Any = import_module("django.tasks.backends.dummy")
        return not isinstance(backend, (immediate.ImmediateBackend, dummy.DummyBackend))

    @property
    def supports_delay(self) -> bool:
        return getattr(self.backend(), "supports_defer", False)

    def send(self, task: str, arguments: dict[str, Any], *, delay: float = 0.0, expires: float | None = None) -> bool:
        try:
            message = _function("run_task")
            if delay:
                message = message.using(run_after=timezone.now() + timedelta(seconds=delay))
            message.enqueue(task, arguments)
        except Exception as error:  # each backend raises its own
            logger.warning("Django's task backend did not accept %r: %s", task, error)
            return False
        return True


class ThreadDispatcher(Dispatcher):
    """Runs tasks in a daemon thread per server process, one after the other.

    The thread starts with the first request that a server handles (see :func:`_start_thread`); the changes of commands
    wait for one. It has its own database connections, closed while it is idle, and ends with the process.
    """

    POLL_INTERVAL = 5.0
    """Seconds between two syncs that the thread starts itself, for changes of other processes."""
    STOP_SECONDS = 5.0

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._queue: deque[tuple[str, dict[str, Any]]] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        atexit.register(self.close)

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, task: str, arguments: dict[str, Any]) -> bool:
        """Queue a task; return False if this process has no thread."""
        if not self.is_running:
            return False
        if (task, arguments) not in self._queue:
            self._queue.append((task, arguments))
        self._wake.set()
        return True

    def wake(self) -> None:
        self.start("sync", {})

    def start_thread(self) -> None:
        """Start the thread of this process, unless it runs already."""
        with self._lock:
            if self.is_running or self._stop.is_set():
                return
            self._thread = threading.Thread(target=self._run, name="imagesim-sync", daemon=True)
            try:
                Context().run(self._thread.start)  # for tracers, it is no part of the request that starts it
            except RuntimeError as error:  # no more threads can be started; the next request tries again
                log_repeated(logger, logging.ERROR, "thread", "Changes wait: no thread can sync them: %s", error)
                return
        logger.warning(
            "No message broker is configured: changes are synced by a background thread of this process. "
            "Set up Celery for a shop of any size."
        )

    def close(self) -> None:
        """End the thread after its current batch, before the interpreter shuts down."""
        self._stop.set()
        self._wake.set()
        if self.is_running and self._thread is not None:
            self._thread.join(self.STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            task, arguments = self._queue.popleft() if self._queue else ("sync", {})
            close_old_connections()
            try:
                _function(task)(**arguments)
            except Exception:  # the database is locked or gone, or a model cannot be loaded: retried at the next poll
                message = "The background %s failed and will be retried"
                log_repeated(logger, logging.ERROR, task, message, task, exc_info=True)
            if not self._queue:
                connections.close_all()
                self._wake.wait(self.POLL_INTERVAL)
                self._wake.clear()
        connections.close_all()  # if stopped with tasks still queued, they were not closed above


_DISPATCHERS: dict[str, type[Dispatcher]] = {
    "celery": CeleryDispatcher,
    "django_tasks": DjangoTasksDispatcher,
    "thread": ThreadDispatcher,
    "manual": ManualDispatcher,
}


def mode() -> str:
    """Return the name of the dispatcher in use; ``auto`` is Celery or Django's tasks if configured, else the thread."""
    setting = get_settings().SYNC
    if setting != "auto":
        return setting
    if CeleryDispatcher.is_configured():
        return "celery"
    return "django_tasks" if DjangoTasksDispatcher.is_configured() else "thread"


def get_dispatcher() -> Dispatcher:
    """Return the dispatcher in use, one instance per process."""
    chosen = mode()
    dispatcher: Dispatcher = runtime.get((Dispatcher, chosen), _DISPATCHERS[chosen])
    return dispatcher


def start(task: str, **arguments: Any) -> bool:
    """Start one of ``TASKS`` soon, with its arguments; return False if nothing will run it, or it cannot be sent now.

    :raises ConfigurationError: if there is no such task.
    """
    if task not in TASKS:
        raise ConfigurationError(f"There is no task {task!r}; there are {format_choices(TASKS)}.")
    return get_dispatcher().start(task, arguments)


def wake() -> None:
    """Start a sync of the waiting changes soon. Called after a commit that recorded some."""
    get_dispatcher().wake()


def connect(tasks: str) -> None:
    """Use the functions of the module ``tasks``; connect to requests, and to Celery workers that become ready."""
    global _tasks_module
    _tasks_module = tasks
    request_started.connect(_start_thread, dispatch_uid="imagesim.thread")
    try:
        from celery.signals import worker_ready
    except ImportError:
        return
    import_module(tasks)  # registers the tasks, even if the project's application does not discover them
    worker_ready.connect(_poll, weak=False, dispatch_uid="imagesim.poll")


def _start_thread(sender: Any, **kwargs: Any) -> None:
    """Start the thread at a request to a real server, if changes are synced by the thread.

    Not in a test run, where it would lock a database that tests share, and load a model. There, ``mail.outbox`` exists;
    Django's test client has another handler, but ``LiveServerTestCase`` a real server.
    """
    if isinstance(sender, type) and issubclass(sender, WSGIHandler | ASGIHandler) and not hasattr(mail, "outbox"):
        start_thread()


def start_thread() -> None:
    """Start the thread of this process without waiting for a request, if changes are synced by the thread."""
    dispatcher = get_dispatcher()
    if isinstance(dispatcher, ThreadDispatcher) and not dispatcher.is_running:
        dispatcher.start_thread()


def _poll(sender: Any, **kwargs: Any) -> None:
    dispatcher = get_dispatcher()
    if isinstance(dispatcher, CeleryDispatcher) and not lacks_tables():  # those of tenants are synced by a schedule
        dispatcher.poll(sender)


def _function(task: str) -> Any:
    return getattr(import_module(_tasks_module), task)
