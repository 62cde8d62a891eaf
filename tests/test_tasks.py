"""Tasks after a commit: with a real Celery worker and a real Redis, in a thread of the server, or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from billiard.pool import soft_timeout_sighandler
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.core import mail
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.db import OperationalError, connection, connections
from django.test.client import ClientHandler
from django.utils import timezone
from kombu import Queue
from redis import Redis

from imagesim import checks, tasks, warm_up
from imagesim.exceptions import ConfigurationError
from imagesim.indexes import get_index
from imagesim.indexing import dispatch
from imagesim.indexing.dispatch import CeleryDispatcher, ThreadDispatcher
from imagesim.indexing.sync import sync
from imagesim.models import Embedding, EmbeddingLease, ItemState, Job
from imagesim.runtime import runtime
from tests.embedders import WrappingEmbedder
from tests.shop import EMBEDDER, picture, product
from tools.system import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]
START_SECONDS = 200.0
"""A worker imports for five seconds of processor time, which is minutes on a busy machine; no test is about that."""


@pytest.fixture(autouse=True)
def _small_embedder(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}


@pytest.fixture
def celery(settings):
    """Let this process send to a broker and a queue of the test's own."""
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "celery"}
    conf = current_app.conf
    former = {name: conf[name] for name in ("broker_url", "task_default_queue")}

    def use(url, **more):
        former.update((name, conf[name]) for name in more)
        configure(broker_url=url, task_default_queue=f"imagesim-test-{uuid.uuid4().hex}", **more)
        return conf.task_default_queue

    def configure(**values):
        conf.update(values)
        for cached in ("queues", "router", "_producer_pool"):
            current_app.amqp.__dict__.pop(cached, None)
        current_app._pool = None  # its connections are to the broker of another test

    yield use
    configure(**former)


@pytest.fixture
def start_worker(tmp_path, media_root, settings):
    started = []

    def start(url, queue, *, poll_interval=None):
        """Start a worker and wait until it takes messages; ``poll_interval`` replaces that of the dispatcher."""
        test = connection.settings_dict
        scheme, port = ("mysql", 3306) if connection.vendor == "mysql" else ("postgres", 5432)
        database = f"{scheme}://{quote(test['USER'])}@{test['HOST']}:{test['PORT'] or port}/{test['NAME']}"
        if test["PASSWORD"]:
            database = database.replace("@", f":{quote(test['PASSWORD'])}@", 1)
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
            "IMAGESIM_TEST_DATABASE_URL": database,
            "IMAGESIM_TEST_SETTINGS": json.dumps(settings.IMAGESIM),
            "IMAGESIM_TEST_MEDIA": str(media_root),
            "IMAGESIM_TEST_BROKER": url,
            "IMAGESIM_TEST_QUEUE": queue,
        }
        if poll_interval is not None:
            environment["IMAGESIM_TEST_POLL_INTERVAL"] = str(poll_interval)
        command = [
            sys.executable,
            "-m",
            "celery",
            "--app",
            "demo_shop",
            "worker",
            "--concurrency",
            "1",
            "--loglevel",
            "INFO",
        ]
        path = tmp_path / f"worker-{len(started)}.log"
        with path.open("w") as log:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT))
        wait_for(lambda: " ready." in path.read_text(), START_SECONDS)
        return started[-1]

    yield start
    for worker in started:
        worker.send_signal(signal.SIGTERM)
    for worker in started:
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
    for log in sorted(tmp_path.glob("worker-*.log")):
        print(log.read_text()[-4000:])  # pytest shows it when the test failed


@pytest.fixture
def separate_redis():
    """A separate Redis for the test, which may kill it: (start, stop, url)."""
    port = free_port()
    running = []

    def start():
        command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        wait_for(lambda: _answers(port), 10)

    def stop():
        for server in running:
            server.kill()
            server.wait()
        running.clear()

    yield start, stop, f"redis://127.0.0.1:{port}/0"
    stop()


def _answers(port):
    try:
        return Redis(port=port).ping()
    except OSError:
        return False
    except Exception:
        return False


def wait_for(true, seconds=60.0):
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            waiting = list(ItemState.objects.values("object_pk", "pending", "attempts", "lease", "not_before", "error"))
            pytest.fail(f"not within {seconds} s: {waiting}; in a transaction: {connection.in_atomic_block}")
        time.sleep(0.1)


def synced():
    states = ItemState.objects.all()
    return states.exists() and not states.filter(pending=True).exists()


@pytest.mark.usefixtures("database_server", "media_root")
def test_a_worker_syncs_after_the_commit(celery, start_worker, redis_url):
    queue = celery(redis_url)
    start_worker(redis_url, queue)
    shoe = product("shoe", picture("red"))
    wait_for(synced)
    assert [key for key, _ in get_index().scan()] == [f"shop.product:{shoe.pk}"]
    shoe.delete()
    wait_for(synced)
    assert list(get_index().scan()) == []
    assert dispatch.start("rebuild")
    wait_for(lambda: Job.objects.filter(status="done", report={}).exists())
    assert Job.objects.get(status="done", report={}).message  # so it starts no other when it is delivered again


@pytest.mark.usefixtures("database_server", "media_root")
def test_a_save_without_broker_is_fast_and_synced_later(celery, start_worker, separate_redis):
    start, _, url = separate_redis
    queue = celery(url)
    started = time.monotonic()
    product("shoe", picture("red"))
    product("boot", picture("blue"))
    assert time.monotonic() - started < CeleryDispatcher.CONNECT_SECONDS + CeleryDispatcher.ANSWER_SECONDS + 2
    assert ItemState.objects.filter(pending=True).count() == 2
    start()
    start_worker(url, queue)  # no message was ever sent: the worker looks for changes itself
    wait_for(synced)


@pytest.mark.long  # tested daily: a worker that was sent no message, and the runs under faults, which kill the broker
@pytest.mark.usefixtures("database_server", "media_root")
def test_changes_are_synced_after_the_broker_lost_its_messages(celery, start_worker, separate_redis):
    start, stop, url = separate_redis
    start()
    queue = celery(url)
    product("shoe", picture("red"))
    stop()
    start()
    product("boot", picture("blue"))
    start_worker(url, queue)
    wait_for(synced)
    assert get_index().count() == 2


@pytest.mark.usefixtures("database_server", "media_root")
@pytest.mark.long
def test_a_stream_of_saves_sends_few_messages(celery, start_worker, redis_url):
    queue = celery(redis_url)
    shoe = product("shoe", picture("red"))
    redis = Redis.from_url(redis_url)
    before, started = redis.llen(queue), time.monotonic()
    for stock in range(200):
        shoe.stock = stock
        shoe.save()
    waiting = redis.llen(queue)
    assert waiting  # perhaps the message of the product's first save: quick saves share it
    assert waiting - before <= 2 + 2 * (time.monotonic() - started) / CeleryDispatcher.WAKE_INTERVAL
    start_worker(redis_url, queue, poll_interval=3600)  # it looks only once itself, when it starts
    wait_for(synced)
    for _ in range(3):  # the worker takes up the last of a burst too
        for stock in range(20):
            shoe.stock = stock
            shoe.save()
        wait_for(synced)


def test_when_messages_are_sent(celery, monkeypatch):
    """Immediately; then once for all that follow; then immediately again, after a quiet period."""
    celery("redis://nowhere")
    sent, now = [], [100.0]
    monkeypatch.setattr(CeleryDispatcher, "send", lambda self, task, arguments, delay: sent.append(delay) or True)
    monkeypatch.setattr(dispatch.time, "monotonic", lambda: now[0])

    def change(after):
        now[0] += after * CeleryDispatcher.WAKE_INTERVAL
        dispatch.wake()
        sent_now, sent[:] = [round(delay / CeleryDispatcher.WAKE_INTERVAL, 3) for delay in sent], []
        return sent_now

    assert change(0) == [0]
    assert change(0.25) == [0.75]  # handled when the interval is over
    assert change(0.5) == []
    assert change(0.5) == [1]  # a stream: one message per interval
    assert change(0.75) == []
    assert change(0.5) == [1]
    assert change(2.5) == [0]
    assert change(1.5) == [0]


def test_a_failed_message_is_sent_again(celery, monkeypatch):
    celery("redis://nowhere")
    tried = []
    monkeypatch.setattr(CeleryDispatcher, "send", lambda *args, **options: tried.append(options) and False)
    for _ in range(3):
        dispatch.wake()
    assert len(tried) == 3


@pytest.mark.usefixtures("media_root")
@pytest.mark.parametrize(
    ("url", "routes"), [("nothing://", None), ("memory://host", {"imagesim.*": {"queue": "one that is not declared"}})]
)
def test_a_message_that_is_refused_fails_neither_saves_nor_the_admin(celery, caplog, url, routes):
    """For lack of a package, a right or a queue: each client of a broker raises its own errors."""
    celery(url, task_routes=routes, task_create_missing_queues=False)
    assert not dispatch.start("rebuild")
    product("shoe", picture("red"))
    assert [record.name for record in caplog.records] == ["imagesim.circuit_breaker"], caplog.text


def test_messages_are_not_delayed_in_quorum_queues(celery, monkeypatch):
    """Celery refuses to delay them by less than a second, or warns of each that it blocks the worker."""
    celery("amqp://nowhere", task_queues=[Queue("visual", queue_arguments={"x-queue-type": "quorum"})])
    sent = []
    monkeypatch.setattr(CeleryDispatcher, "send", lambda self, task, arguments, delay: sent.append(delay) or True)
    for _ in range(3):
        dispatch.wake()
    assert sent == [0, 0, 0]


@pytest.mark.usefixtures("media_root")
def test_a_paused_broker_delays_one_save_briefly(celery, separate_redis):
    start, _, url = separate_redis
    start()
    celery(url)
    assert dispatch.start("sync")
    pid = Redis.from_url(url).info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert not dispatch.start("sync")
        assert time.monotonic() - started < CeleryDispatcher.CONNECT_SECONDS + CeleryDispatcher.ANSWER_SECONDS + 1
        started = time.monotonic()
        assert not dispatch.start("sync")
        assert time.monotonic() - started < CeleryDispatcher.CONNECT_SECONDS
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def thread(settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "thread"}
    dispatcher = dispatch.get_dispatcher()
    yield dispatcher
    dispatcher.close()


@pytest.mark.parametrize("start", [ThreadDispatcher.start_thread, lambda thread: warm_up._in_thread()])
def test_threads_do_not_belong_to_the_request_that_starts_them(thread, monkeypatch, start):
    """Tracers pass on the context in which a thread is started: all that it does would be the first visitor's."""
    request, seen = ContextVar("request", default=""), []
    monkeypatch.setattr("threading.Thread.start", lambda self: seen.append(request.get()))
    monkeypatch.setattr("atexit.register", Mock())  # it would wait for a thread that never ran
    request.set("the first visitor's")
    start(thread)
    assert seen == [""]


@pytest.mark.usefixtures("media_root")
def test_a_thread_of_the_server(thread, caplog):
    assert not dispatch.start("sync")  # this process is not a server
    product("shoe", picture("red"))
    thread.start_thread()
    assert "background thread" in caplog.text
    wait_for(synced)
    product("boot", picture("blue"))
    assert dispatch.start("sync")
    wait_for(synced)
    assert get_index().count() == 2
    thread.close()
    assert not thread.is_running


def test_a_thread_that_is_stopped_with_tasks_in_its_queue_closes_its_connections(thread, monkeypatch):
    used, stopping = [], threading.Event()

    def task():
        ItemState.objects.count()
        used.append(connections["default"])
        stopping.wait(5)

    monkeypatch.setattr(dispatch, "_function", lambda name: task)
    thread.start_thread()
    wait_for(lambda: used)
    assert dispatch.start("sync")
    threading.Timer(0.1, stopping.set).start()
    thread.close()
    assert not thread.is_running
    assert len(used) == 1
    assert used[0].connection is None


def test_a_database_that_is_away_is_logged_once(monkeypatch, caplog):
    """In one line, although the local index is in it."""
    gone = OperationalError("connection refused\n\tIs the server running?")
    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(connection, "cursor", Mock(side_effect=gone))
        tasks.sync()
        tasks.sync()
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]
    assert "sync interrupted: The local index cannot reach its database: connection refused" in caplog.text
    monkeypatch.setattr("imagesim.indexing.sync.get_index", Mock(side_effect=gone))
    runtime.reset()
    tasks.sync()
    assert caplog.messages[-1] == "sync interrupted by the database: connection refused"


@pytest.mark.parametrize(
    ("mode", "sender", "starts"),
    [
        ("thread", WSGIHandler, True),
        ("thread", ASGIHandler, True),
        ("thread", ClientHandler, False),
        ("thread", None, False),
        ("manual", WSGIHandler, False),
        ("celery", WSGIHandler, False),
    ],
)
def test_the_thread_starts_with_the_first_request_of_a_server(settings, monkeypatch, mode, sender, starts):
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": mode}
    monkeypatch.delattr(mail, "outbox")  # as where no test runner has set up its environment
    started = []
    monkeypatch.setattr(ThreadDispatcher, "start_thread", lambda self: started.append(self))
    request_started.send(sender=sender)
    connections.close_all()
    assert bool(started) is starts


def test_pages_are_shown_where_no_thread_can_be_started(thread, settings, monkeypatch, caplog):
    settings.IMAGESIM = {**settings.IMAGESIM, "WARM_UP": True}
    monkeypatch.delattr(mail, "outbox")
    monkeypatch.setattr("threading.Thread.start", Mock(side_effect=RuntimeError("can't start new thread")))
    warm_up.connect()
    request_started.send(sender=WSGIHandler)
    connections.close_all()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert not thread.is_running


def test_no_thread_starts_in_a_test_run(settings, monkeypatch):
    """For instance with LiveServerTestCase: a real server, but on a database that the tests share."""
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "thread"}
    monkeypatch.setattr(ThreadDispatcher, "start_thread", lambda self: pytest.fail("started"))
    request_started.send(sender=WSGIHandler)
    connections.close_all()


SHOP_TESTS = """
import sys, threading
from django.test import LiveServerTestCase, TransactionTestCase
from urllib.request import urlopen
from demo_shop.shop.models import Category, Product

class Shop:
    def test_a_save_and_a_page(self):
        for number in range(5):
            shelf = Category.objects.create(name=f"Shelf {number}", slug=f"shelf-{number}")
            Product.objects.create(name=f"{number}", slug=f"{number}", category=shelf, price=1)
            self.get("/admin/login/")
        self.assertEqual([t.name for t in threading.enumerate() if t.name == "imagesim-sync"], [])
        self.assertNotIn("torch", sys.modules)

class ClientTests(Shop, TransactionTestCase):
    def get(self, path):
        self.client.get(path)

class ServerTests(Shop, LiveServerTestCase):
    def get(self, path):
        urlopen(self.live_server_url + path).read()
"""


def test_the_tests_of_a_shop_with_default_settings(tmp_path):
    """``manage.py test`` on SQLite without any ``IMAGESIM``: nothing runs in the background."""
    (tmp_path / "test_the_shop.py").write_text(SHOP_TESTS)
    (tmp_path / "shop_settings.py").write_text(
        "from tests.settings import *\n"
        "IMAGESIM = {}\n"
        "CELERY_BROKER_URL = ''\n"
        f"DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': r'{tmp_path}/db.sqlite3',"
        f" 'TEST': {{'NAME': r'{tmp_path}/test.sqlite3'}}}}}}\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "manage.py", "test", "--settings", "shop_settings", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr
    assert "locked" not in done.stderr


@pytest.mark.skipif(find_spec("django.tasks") is None, reason="django.tasks comes with Django 6.0")
def test_django_s_own_tasks(settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "django_tasks"}
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    from django.tasks import default_task_backend

    assert not dispatch.DjangoTasksDispatcher.is_configured()
    assert dispatch.start("sync")
    dispatch.wake()
    assert next(result.args for result in default_task_backend.results) == ["sync", {}]
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    product("shoe", picture("red"))
    assert get_index().count() == 1  # the task ran where it was enqueued


def test_auto_is_celery_with_a_broker(settings, celery):
    settings.IMAGESIM = {"SYNC": "auto"}
    assert dispatch.mode() == "thread"
    celery("memory://")  # which only this process can reach
    assert dispatch.mode() == "thread"
    celery("redis://nowhere")
    assert dispatch.mode() == "celery"


def test_manual_mode_starts_nothing():
    assert not dispatch.start("sync")


def test_unknown_task():
    with pytest.raises(ConfigurationError, match="'syncc'; there are 'rebuild', 'reconcile', 'reindex' or 'sync'"):
        dispatch.start("syncc")


def mode_of(script: str, **settings: Any) -> str:
    """Return the dispatcher that a project without a broker has, after ``script`` and with these settings."""
    settings |= {"INSTALLED_APPS": ["django.contrib.contenttypes", "imagesim"], "DATABASES": {}}
    script += (
        f"from django.conf import settings; settings.configure(**{settings!r}); import django; django.setup()\n"
        "from imagesim import tasks; from imagesim.indexing import dispatch; print(dispatch.mode(), tasks.sync)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def test_the_app_works_without_celery():
    script = "import sys; sys.modules['celery'] = None; sys.modules['kombu'] = None; sys.modules['billiard'] = None\n"
    assert mode_of(script) == "thread"


@pytest.mark.parametrize("name", ["default", "other"])
def test_a_project_whose_tasks_have_no_default_queue(settings, name):
    given = {name: {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend", "QUEUES": ["mail"]}}
    assert mode_of("", TASKS=given) == "thread"
    settings.TASKS, settings.IMAGESIM = given, {"SYNC": "django_tasks"}
    assert [found.id for found in checks.check_settings()] == ["imagesim.E003"]


@pytest.fixture
def wrapping(settings, tmp_path):
    """The file whose presence makes the embedder quick; the embedder takes every exception for one of its own
    errors."""
    quick = tmp_path / "quick"
    embedder = {"BACKEND": "tests.embedders.WrappingEmbedder", "OPTIONS": {"quick": str(quick)}}
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": embedder}
    return quick


def assert_released():
    """The change waits, due immediately, as if nobody had started on it."""
    state = ItemState.objects.get()
    assert (state.pending, state.lease, state.leased_until, state.attempts) == (True, "", None, 0)
    assert (state.outcome, state.error) == ("new", "")
    assert state.not_before <= timezone.now()
    assert not EmbeddingLease.objects.exists()
    assert not Embedding.objects.exists()


@pytest.mark.usefixtures("media_root")
@pytest.mark.parametrize("run", [tasks.sync, sync], ids=["our task", "the shop's own"])
@pytest.mark.parametrize("nth", [1, 2, 3], ids=["in a batch", "in the check of the model", "in one picture"])
def test_a_soft_time_limit_releases_what_was_begun(wrapping, monkeypatch, nth, run):
    """By the signal and the handler of a worker, at each place where an error would be attributed to the model or a
    picture."""
    calls = []

    def wait(self):
        calls.append(1)
        if len(calls) == nth:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(10)
        if len(calls) == 1:
            raise ValueError("it fails on these two")

    product("shoe", picture("red"), picture("blue"))
    monkeypatch.setattr(WrappingEmbedder, "wait", wait)
    former = signal.signal(signal.SIGUSR1, soft_timeout_sighandler)
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            run()
        assert signal.getsignal(signal.SIGUSR1) is soft_timeout_sighandler
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert_released()
    wrapping.touch()
    tasks.sync()
    assert get_index().count() == 1


@pytest.mark.usefixtures("database_server", "media_root")
@pytest.mark.long
def test_a_worker_releases_what_it_has_begun_at_a_soft_time_limit(
    celery, start_worker, redis_url, settings, wrapping, tmp_path
):
    queue = celery(redis_url)
    start_worker(redis_url, queue, poll_interval=3600)
    wait_for(lambda: " succeeded in " in (tmp_path / "worker-0.log").read_text())  # the sync that it starts itself
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "manual"}  # only the messages below are sent
    product("shoe", picture("red"))
    current_app.send_task("imagesim.tasks.sync", soft_time_limit=3, time_limit=90)
    wait_for(wrapping.with_suffix(".waiting").exists)
    assert EmbeddingLease.objects.exists()
    wait_for(lambda: not EmbeddingLease.objects.exists() and not ItemState.objects.exclude(lease="").exists())
    assert_released()
    wrapping.touch()
    current_app.send_task("imagesim.tasks.sync", soft_time_limit=60, time_limit=90)  # by the same process
    wait_for(synced)
    assert get_index().count() == 1
