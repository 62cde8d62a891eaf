from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.signals import request_started
from django.db import connection

from imagesim import warm_up
from imagesim.exceptions import EmbedderError


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    for module, name in (("embedders", "embedder"), ("regions", "region_finder"), ("indexes", "index")):
        backend = SimpleNamespace(warm_up=lambda name=name: names.append(name))
        monkeypatch.setattr(f"imagesim.{module}.get_{name}", lambda backend=backend: backend)
    return names


def wait() -> None:
    for thread in threading.enumerate():
        if thread.name == "imagesim-warm-up":
            thread.join(10)


def test_loads_both_models_and_the_index(loaded):
    warm_up.warm_up()
    assert loaded == ["embedder", "region_finder", "index"]


def test_reads_the_dictionaries_of_the_texts(loaded, monkeypatch):
    languages: list[str] = []
    monkeypatch.setattr("imagesim.language.dictionaries.load", languages.append)
    warm_up.warm_up()
    assert sorted(languages) == ["de", "en"]


def test_errors_are_logged_and_the_rest_is_loaded(loaded, monkeypatch, caplog):
    def fail() -> Any:
        raise EmbedderError("no such model")

    monkeypatch.setattr("imagesim.embedders.get_embedder", fail)
    warm_up.warm_up()
    assert loaded == ["region_finder", "index"]
    assert "no such model" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("opened", [False, True])
def test_processes_that_are_forked_later_inherit_no_connection_of_it(opened, loaded, monkeypatch):
    """For instance where gunicorn preloads the application, or uWSGI loads it: two processes on one connection would
    read each other's rows. A connection that was open before belongs to the shop."""
    backend = SimpleNamespace(warm_up=lambda: connection.ensure_connection())  # the connection of the thread
    monkeypatch.setattr("imagesim.indexes.get_index", lambda: backend)
    left: list[bool] = []

    def load() -> None:
        if opened:
            connection.ensure_connection()
        warm_up.warm_up()
        left.append(connection.connection is not None)
        connection.close()

    thread = threading.Thread(target=load)  # which has its own connections
    thread.start()
    thread.join()
    assert left == [opened]


@pytest.mark.django_db  # the signal also has Django look at its connections
@pytest.mark.parametrize("on", [True, False])
def test_the_first_request_starts_it_once_if_enabled(on, loaded, settings):
    settings.IMAGESIM = {"SYNC": "manual", "WARM_UP": on}
    warm_up.connect()
    for _ in range(3):
        request_started.send(sender=None)
    wait()
    assert loaded == (["embedder", "region_finder", "index"] if on else [])


def test_gunicorn_calls_it_in_each_worker(loaded):
    warm_up.post_worker_init(worker=None)
    wait()
    assert loaded == ["embedder", "region_finder", "index"]


def test_gunicorn_reads_the_module_without_django():
    """It does so before its gevent workers replace threads: otherwise, greenlets would share a connection, and requests
    fail."""
    script = "import sys, imagesim.warm_up; print([name for name in sys.modules if name.partition('.')[0] == 'django'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_process_that_ends_meanwhile_waits_for_the_models():
    """The interpreter ends its daemon threads, which aborts the process if one of them is within the code of a model: a
    test run that is already done would fail with the status 134."""
    script = """if True:
        import time
        from imagesim import warm_up

        def load():
            time.sleep(0.3)
            print("loaded")

        warm_up._load_apart = load
        warm_up.post_worker_init(None)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "loaded\n"
