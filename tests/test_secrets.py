"""No log and no error message contains a credential, at any level, even during failures."""

from __future__ import annotations

import logging

import pytest
from celery import current_app

from imagesim.embedders.http import HttpEmbedder
from imagesim.exceptions import ImagesimError
from imagesim.indexes.elasticsearch import ElasticsearchIndex
from imagesim.indexing import dispatch
from imagesim.indexing.sync import sync
from tests.shop import EMBEDDER, picture, product
from tests.test_index_elasticsearch import Answering
from tools.system import free_port

SECRET = "s3cret-of-the-shop"


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    for name in (
        "elastic_transport",
        "elastic_transport.transport",
        "elasticsearch",
        "httpx2",
        "urllib3",
        "celery",
        "kombu",
    ):
        caplog.set_level(logging.DEBUG, logger=name)


def told(caplog, error=None):
    return f"{caplog.text} {error!r} {error} {getattr(error, '__cause__', '')}"


@pytest.mark.parametrize("status", [None, 200, 401, 403, 429, 500, 503])
@pytest.mark.parametrize("credentials", [{"api_key": SECRET}, {"basic_auth": ("elastic", SECRET)}, {}])
def test_elasticsearch(status, credentials, caplog):
    def ask(url):
        if not credentials:
            url = url.replace("//", f"//elastic:{SECRET}@")
        return ElasticsearchIndex(hosts=url, name="nowhere", request_timeout=1, **credentials).refresh()

    failure = None
    try:
        if status is None:
            ask(f"http://127.0.0.1:{free_port()}")
        else:
            with Answering(status) as url:
                ask(url)
    except ImagesimError as error:
        failure = error
    assert (failure is None) == (status == 200)
    assert SECRET not in told(caplog, failure)


@pytest.mark.django_db
@pytest.mark.usefixtures("media_root")
def test_a_sync_that_cannot_reach_the_index(settings, caplog):
    options = {"hosts": [f"http://elastic:{SECRET}@127.0.0.1:{free_port()}"]}
    index = {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": options}
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "INDEX": index}
    product("shoe", picture("red"))
    report = sync()
    assert report.interrupted
    assert "sync interrupted" in caplog.text
    assert SECRET not in told(caplog) + report.interrupted


def test_a_broker_that_cannot_be_reached(settings, caplog):
    settings.IMAGESIM = {"SYNC": "celery"}
    former = current_app.conf.broker_url
    current_app.conf.broker_url = f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"
    breaker = dispatch.get_dispatcher().breaker
    breaker.succeeded()
    try:
        assert not dispatch.start("sync")
        assert "not sent" in caplog.text
        assert SECRET not in told(caplog) + breaker.reason
    finally:
        current_app.conf.broker_url = former
        breaker.succeeded()


def test_an_embedder_that_cannot_be_reached(caplog, monkeypatch):
    monkeypatch.setenv("EMBEDDER_KEY", SECRET)
    embedder = HttpEmbedder(url=f"http://127.0.0.1:{free_port()}", model="m", dims=8, api_key_env="EMBEDDER_KEY")
    with pytest.raises(ImagesimError) as caught:
        embedder.embed_texts(["red"])
    assert SECRET not in told(caplog, caught.value) + repr(embedder)
