"""Who works after a commit: a real Celery worker over a real Redis, a thread of the server, or nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from urllib.parse import quote

import pytest
from celery import current_app
from django.core.signals import request_started
from django.db import connection, connections
from redis import Redis

from imagesim import tasks
from imagesim.exceptions import ConfigurationError
from imagesim.indexes import get_index
from imagesim.indexing import background, broker
from imagesim.models import ItemState, Job
from tests.shop import EMBEDDER, picture, product
from tools.system import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def _small_embedder(settings):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}


@pytest.fixture(autouse=True)
def _closed_breaker():
    broker.breaker.succeeded()
    broker._wakeups.clear()
    yield
    broker.breaker.succeeded()


@pytest.fixture
def celery(settings):
    """Let this process send to a broker and a queue of the test's own."""
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "celery"}
    conf = current_app.conf
    former = {name: conf[name] for name in ("broker_url", "task_default_queue")}

    def use(url):
        configure(broker_url=url, task_default_queue=f"imagesim-test-{uuid.uuid4().hex}")
        return conf.task_default_queue

    def configure(**values):
        conf.update(values)
        for cached in ("queues", "router"):
            current_app.amqp.__dict__.pop(cached, None)

    yield use
    configure(**former)


@pytest.fixture
def start_worker(tmp_path, media_root, settings):
    started = []

    def start(url, queue, **imagesim):
        test = connection.settings_dict
        database = f"postgres://{quote(test['USER'])}@{test['HOST']}:{test['PORT'] or 5432}/{test['NAME']}"
        if test["PASSWORD"]:
            database = database.replace("@", f":{quote(test['PASSWORD'])}@", 1)
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
            "IMAGESIM_TEST_DATABASE_URL": database,
            "IMAGESIM_TEST_SETTINGS": json.dumps({**settings.IMAGESIM, **imagesim}),
            "IMAGESIM_TEST_MEDIA": str(media_root),
            "IMAGESIM_TEST_BROKER": url,
            "IMAGESIM_TEST_QUEUE": queue,
        }
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
        with (tmp_path / f"worker-{len(started)}.log").open("w") as log:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT))
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
def own_redis():
    """A Redis of the test's own, which it may kill: (start, stop, url)."""
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
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.1)


def synced():
    states = ItemState.objects.all()
    return states.exists() and not states.filter(pending=True).exists()


@pytest.mark.usefixtures("postgres", "media_root")
def test_a_worker_syncs_after_the_commit(celery, start_worker, redis_url):
    queue = celery(redis_url)
    start_worker(redis_url, queue)
    shoe = product("shoe", picture("red"))
    wait_for(synced)
    assert [key for key, _ in get_index().scan()] == [f"shop.product:{shoe.pk}"]
    shoe.delete()
    wait_for(synced)
    assert list(get_index().scan()) == []
    assert tasks.start("rebuild")
    wait_for(lambda: Job.objects.filter(status="done", report={}).exists())


@pytest.mark.usefixtures("postgres", "media_root")
def test_a_save_without_broker_is_quick_and_is_caught_up(celery, start_worker, own_redis):
    start, _, url = own_redis
    queue = celery(url)
    started = time.monotonic()
    product("shoe", picture("red"))
    product("boot", picture("blue"))
    assert time.monotonic() - started < broker.CONNECT_SECONDS + broker.ANSWER_SECONDS + 2
    assert ItemState.objects.filter(pending=True).count() == 2
    start()
    start_worker(url, queue)  # no message was ever sent: the worker looks by itself
    wait_for(synced)


@pytest.mark.usefixtures("postgres", "media_root")
def test_a_broker_that_lost_everything_is_caught_up(celery, start_worker, own_redis):
    start, stop, url = own_redis
    start()
    queue = celery(url)
    product("shoe", picture("red"))
    stop()
    start()
    product("boot", picture("blue"))
    start_worker(url, queue)
    wait_for(synced)
    assert get_index().count() == 2


@pytest.mark.usefixtures("postgres", "media_root")
def test_a_stream_of_saves_sends_few_messages_and_all_are_synced_soon(celery, start_worker, redis_url):
    queue = celery(redis_url)
    shoe = product("shoe", picture("red"))
    redis = Redis.from_url(redis_url)
    before, started = redis.llen(queue), time.monotonic()
    for stock in range(200):
        shoe.stock = stock
        shoe.save()
    waiting = redis.llen(queue)
    assert waiting  # perhaps the message of the product's first save: quick saves share it
    assert waiting - before <= 2 + 2 * (time.monotonic() - started) / broker.WAKE_EVERY
    start_worker(redis_url, queue)
    wait_for(synced)
    for _ in range(3):  # the worker takes up the last of a burst too, long before it looks by itself
        for stock in range(20):
            shoe.stock = stock
            shoe.save()
        wait_for(synced, tasks.LOOK_EVERY / 2)


def test_what_a_message_announces(celery, monkeypatch):
    """At once; then shared by those that follow; then again at once, when all has been quiet."""
    celery("redis://nowhere")
    sent, now = [], [100.0]
    monkeypatch.setattr(broker, "send", lambda task, arguments, countdown=0.0: sent.append(countdown) or True)
    monkeypatch.setattr(broker.time, "monotonic", lambda: now[0])

    def change(after):
        now[0] += after * broker.WAKE_EVERY
        tasks.wake("default")
        sent_now, sent[:] = [round(delay / broker.WAKE_EVERY, 3) for delay in sent], []
        return sent_now

    assert change(0) == [0]
    assert change(0.25) == [0.75]  # worked on when the time is over
    assert change(0.5) == []
    assert change(0.5) == [1]  # a stream: one message for each stretch of it
    assert change(0.75) == []
    assert change(0.5) == [1]
    assert change(2.5) == [0]
    assert change(1.5) == [0]


def test_a_message_that_was_not_sent_announces_nothing(celery, monkeypatch):
    celery("redis://nowhere")
    tried = []
    monkeypatch.setattr(broker, "send", lambda *args, **options: tried.append(options) and False)
    for _ in range(3):
        tasks.wake("default")
    assert len(tried) == 3


@pytest.mark.usefixtures("media_root")
def test_a_paused_broker_holds_up_one_save_briefly_and_the_next_not_at_all(celery, own_redis):
    start, _, url = own_redis
    start()
    celery(url)
    assert tasks.start("sync")
    pid = Redis.from_url(url).info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert not tasks.start("sync")
        assert time.monotonic() - started < broker.CONNECT_SECONDS + broker.ANSWER_SECONDS + 1
        started = time.monotonic()
        assert not tasks.start("sync")
        assert time.monotonic() - started < 0.1
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.usefixtures("media_root")
def test_a_thread_of_the_server(settings, caplog):
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": "thread"}
    assert not tasks.start("sync")  # no server: left to one
    thread = background.Background()
    try:
        product("shoe", picture("red"))
        thread.start(idle=tasks.sync)
        assert "background thread" in caplog.text
        wait_for(synced)
        product("boot", picture("blue"))
        assert thread.put(tasks.sync, {"using": "default"})
        wait_for(synced)
        assert get_index().count() == 2
    finally:
        thread.stop()
    assert not thread.is_running


@pytest.mark.parametrize(("mode", "starts"), [("thread", True), ("manual", False), ("celery", False)])
def test_the_thread_starts_with_the_first_request(settings, monkeypatch, mode, starts):
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC": mode}
    thread = background.Background()
    started = []
    monkeypatch.setattr(thread, "start", lambda idle: started.append(True))
    monkeypatch.setattr(tasks, "background", thread)
    request_started.send(sender=None)
    connections.close_all()
    assert bool(started) is starts


def test_auto_is_celery_where_it_has_a_broker(settings, celery):
    settings.IMAGESIM = {"SYNC": "auto"}
    assert tasks.mode() == "thread"
    celery("redis://nowhere")
    assert tasks.mode() == "celery"


def test_nobody_works_in_manual_mode():
    assert not tasks.start("sync")


def test_unknown_task():
    with pytest.raises(ConfigurationError, match="'syncc'; there are 'rebuild', 'reconcile', 'reindex' or 'sync'"):
        tasks.start("syncc")


def test_the_app_works_without_celery():
    script = (
        "import sys; sys.modules['celery'] = None; sys.modules['kombu'] = None; sys.modules['billiard'] = None\n"
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['django.contrib.contenttypes', 'imagesim'], DATABASES={})\n"
        "import django; django.setup()\n"
        "from imagesim import tasks; assert tasks.mode() == 'thread'; tasks.sync; print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr
