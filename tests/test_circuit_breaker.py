"""The circuit breaker refuses calls after failures."""

from __future__ import annotations

import logging
import time

import pytest

import imagesim
from imagesim import circuit_breaker
from imagesim.circuit_breaker import Breaker, log_repeated
from imagesim.exceptions import BadQuery, CircuitOpen, IndexUnavailable
from imagesim.indexes import get_index
from imagesim.indexes.elasticsearch import ElasticsearchIndex
from imagesim.indexes.local import LocalIndex
from imagesim.indexing.sync import sync
from imagesim.pages import widgets
from imagesim.retrieval.retriever import FAILURES, reading_index
from imagesim.runtime import runtime
from tests.shop import EMBEDDER, index, picture, product
from tools.system import free_port


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker("It", threshold=2, reset_seconds=10, clock=clock)


def fail(breaker, error=IndexUnavailable):
    with pytest.raises(error), breaker.guard():
        raise error("no answer")


def test_opens_after_failures_in_a_row(breaker, caplog):
    fail(breaker)
    assert not breaker.is_open
    fail(breaker)
    assert breaker.is_open
    with pytest.raises(CircuitOpen, match=r"not called for 10 s: no answer"), breaker.guard():
        pytest.fail("asked")
    assert "no answer" in caplog.text


def test_a_success_resets_the_count(breaker):
    fail(breaker)
    with breaker.guard():
        pass
    fail(breaker)
    assert not breaker.is_open


def test_other_errors_count_as_answers(breaker):
    fail(breaker)
    fail(breaker, BadQuery)
    fail(breaker)
    assert not breaker.is_open


def test_one_caller_probes_after_the_reset_time(breaker, clock):
    fail(breaker)
    fail(breaker)
    clock.now += 11
    assert breaker.allow()
    assert not breaker.allow()  # the others wait for the answer
    breaker.failed("still no answer")
    assert not breaker.allow()
    clock.now += 11
    with breaker.guard():
        pass
    assert not breaker.is_open
    assert breaker.allow()


def test_counts_the_given_errors(breaker):
    with pytest.raises(OSError, match="gone"), breaker.guard(OSError, ValueError):
        raise OSError("gone")
    with pytest.raises(ValueError, match="gone"), breaker.guard(OSError, ValueError):
        raise ValueError("gone")
    assert breaker.is_open


@pytest.mark.django_db
@pytest.mark.usefixtures("media_root")
def test_few_pages_wait_for_an_index_that_hangs(settings, monkeypatch):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER}
    shoe = product("shoe", picture("red"))
    index()
    assert imagesim.similar_to(shoe) == []
    asked = []

    def hang(self, queries, **given):
        asked.append(queries)
        time.sleep(0.05)
        raise IndexUnavailable("no answer")

    monkeypatch.setattr(LocalIndex, "search", hang)
    for _ in range(FAILURES):
        with pytest.raises(IndexUnavailable):
            imagesim.similar_to(shoe)
    for _ in range(20):
        with pytest.raises(CircuitOpen):
            imagesim.similar_to(shoe)
    assert len(asked) == FAILURES
    monkeypatch.setattr(LocalIndex, "meta", lambda self: pytest.fail("asked"))
    with pytest.raises(CircuitOpen):
        reading_index().meta()
    assert "not called" in widgets.similar_hits(shoe).degraded
    monkeypatch.undo()
    reading_index().breaker.succeeded()
    assert imagesim.similar_to(shoe) == []
    assert reading_index().index is get_index()


def test_a_persistent_failure_is_logged_at_intervals(caplog, monkeypatch):
    runtime.reset()
    logger = logging.getLogger("imagesim.test")

    def fail_five_times():
        caplog.clear()
        for _ in range(5):
            log_repeated(logger, logging.WARNING, "down", "no answer from %s", "es1")
        return caplog.messages

    assert fail_five_times() == ["no answer from es1"]
    assert fail_five_times() == []
    log_repeated(logger, logging.WARNING, "refused", "another reason")
    assert caplog.messages == ["another reason"]
    with caplog.at_level(logging.DEBUG, "imagesim.test"):
        assert len(fail_five_times()) == 5
    monkeypatch.setattr(circuit_breaker, "REPEAT_SECONDS", 0.0)
    log_repeated(logger, logging.WARNING, "down", "no answer from %s", "es1")
    assert caplog.messages[-1] == "no answer from es1 (and 14 more since the last)"


def test_a_persistent_failure_has_one_traceback(caplog, monkeypatch):
    runtime.reset()
    monkeypatch.setattr(circuit_breaker, "REPEAT_SECONDS", 0.0)
    logger = logging.getLogger("imagesim.test")
    templates = set()

    def fail(error, message, *args):
        try:
            raise error
        except OSError:
            log_repeated(logger, logging.WARNING, "down", message, *args, exc_info=True)
        record = caplog.records[-1]
        templates.add(record.msg)
        return record.getMessage(), bool(record.exc_info)

    assert fail(first := OSError("gone"), "No answer: %s", first) == ("No answer: gone", True)
    assert fail(first, "No answer: %s", first) == ("No answer: gone", False)
    assert fail(OSError("disk full"), "No answer") == ("No answer: OSError('disk full')", False)
    assert fail(first, "No answer: %s", first) == ("No answer: gone", False)
    monkeypatch.setattr(circuit_breaker, "TRACEBACK_SECONDS", 0.0)
    assert fail(first, "No answer: %s", first) == ("No answer: gone", True)
    assert templates == {"No answer: %s%s", "No answer%s"}  # by which error trackers group


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.usefixtures("media_root")
def test_an_outage_does_not_flood_the_log(settings, caplog):
    """The client of Elasticsearch logs a warning with a traceback for every attempt: only this app's calls are kept
    quiet."""
    hosts = f"http://127.0.0.1:{free_port()}"
    backend = {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": {"hosts": hosts}}
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "INDEX": backend}
    shoe = product("shoe", picture("red"))
    for _ in range(20):
        assert sync().interrupted
        assert widgets.similar_hits(shoe).degraded
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {"imagesim.indexing.sync", "imagesim.pages.widgets"} <= {record.name for record in warnings}
    assert len(warnings) <= 8, caplog.messages
    assert not any(record.exc_info for record in warnings)

    caplog.clear()
    for _ in range(3):
        with pytest.raises(Exception, match="Connection"):
            ElasticsearchIndex(hosts=hosts)._client.info()
    retries = [record for record in caplog.records if record.name == "elastic_transport.transport" and record.exc_info]
    assert len(retries) == 6, "calls that are not this app's are logged as before"
