"""Three nodes of Elasticsearch, one of them killed under load: no search fails, no entry is lost.

Part of ``make test-all``.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from django.db import connection

from demo_shop.shop.models import Product
from imagesim.exceptions import SearchIndexError
from imagesim.indexes import get_index
from imagesim.indexing.sync import sync
from imagesim.types import Query
from tests.chaos.pictures import draw
from tests.chaos.verify import verify
from tests.shop import EMBEDDER, product
from tools import servers

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("elasticsearch_url", "media_root"),
]
SECONDS = 30.0


@pytest.fixture
def folder():
    """A folder that the account of the servers can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="imagesim-cluster-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def cluster(folder):
    """Three nodes with 512 MB of heap each, each master-eligible: [(process, address)]."""
    nodes = servers.elasticsearch_cluster(folder, short_lived=True)
    try:
        for process, _ in nodes:
            process.start()
        for process, _ in nodes:
            process.wait_until_it_answers()
        _ask(nodes[0][1], "/_cluster/health?wait_for_nodes=3&timeout=120s")
        yield nodes
    finally:
        for process, _ in nodes:
            process.kill()


def _ask(url, path):
    with urllib.request.urlopen(url + path, timeout=150) as response:
        return json.load(response)


def test_killing_a_node_under_load_loses_nothing(cluster, settings):
    index = {"hosts": [url for _, url in cluster], "name": "cluster", "replicas": 1}
    settings.IMAGESIM = {
        "SYNC": "manual",
        "EMBEDDER": EMBEDDER,
        "INDEX": {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": index},
    }
    dice = random.Random(7)
    products = [product(f"p{number}", draw(number)) for number in range(60)]
    assert sync().indexed == 60
    _ask(cluster[0][1], "/_cluster/health/cluster-*?wait_for_status=green&timeout=120s")
    get_index().refresh()
    vector = _vector()
    stop = threading.Event()
    answers, failures = [], []

    def search():
        while not stop.is_set():
            started = time.monotonic()
            try:
                [candidates] = get_index().search([Query(vector, limit=5)])
                answers.append((time.monotonic() - started, len(candidates)))
            except SearchIndexError as error:
                failures.append(str(error))

    searchers = [threading.Thread(target=search) for _ in range(2)]
    for searcher in searchers:
        searcher.start()
    try:
        saved = 0
        started = time.monotonic()
        killed = False
        while time.monotonic() - started < SECONDS:
            if not killed and time.monotonic() - started > SECONDS / 4:
                cluster[_holding_the_primary(cluster)][0].kill()
                killed = True
            shown = dice.choice(products)
            shown.price, shown.stock = dice.randrange(1, 100), dice.randrange(2)
            shown.save()
            if saved % 7 == 0:
                products.append(product(f"new-{saved}", draw(1000 + saved)))
            saved += 1
            sync(limit=20)  # an interruption is not a failure: the changes stay queued
    finally:
        stop.set()
        for searcher in searchers:
            searcher.join()
    until = time.monotonic() + 60
    while (report := sync()).interrupted or report.done:
        assert time.monotonic() < until, report
        time.sleep(0.5)
    alive = next(url for process, url in cluster if process.is_running)
    verdict = verify(alive, "cluster")
    print(json.dumps({"searches": len(answers), "failed": len(failures), "saves": saved, "entries": verdict.expected}))
    slowest = max(seconds for seconds, _ in answers)
    print(f"slowest search {slowest:.2f} s")
    assert failures == []
    assert min(found for _, found in answers) == 5
    assert verdict.is_clean, verdict
    assert verdict.expected == Product.objects.count()
    connection.close()


def _vector():
    from imagesim.embedders import get_embedder

    return get_embedder().embed_texts(["red"])[0]


def _holding_the_primary(cluster):
    shards = _ask(cluster[0][1], "/_cat/shards/cluster-*?format=json")
    primary = next(shard for shard in shards if shard["prirep"] == "p")
    return int(primary["node"].removeprefix("node-"))
