"""Stream rows in the order of their text, without blocking writers."""

from __future__ import annotations

import threading
from operator import attrgetter

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from imagesim.database import in_code_point_order, stream
from imagesim.models import ItemState

pytestmark = pytest.mark.django_db(transaction=True)
PKS = ["a", "B", "ä", "Z", "10", "9", "é", "_", "a-", "ab"]


@pytest.fixture
def states():
    ItemState.objects.bulk_create(ItemState(model="shop.product", object_pk=pk) for pk in PKS)
    return ItemState.objects.using("default")


@pytest.mark.parametrize("chunk_size", [1, 3, 10, 100])
def test_the_order_matches_python(states, chunk_size):
    found = [
        state.object_pk
        for state in in_code_point_order(states, "object_pk", attrgetter("object_pk"), chunk_size=chunk_size)
    ]
    assert found == sorted(PKS)


def test_where_a_result_is_read_at_once_no_page_is_larger(states, monkeypatch):
    """For instance by the drivers of MySQL; the primary keys of all rows are small."""
    monkeypatch.setattr(type(connections["default"]), "vendor", "mysql")
    with CaptureQueriesContext(connections["default"]) as asked:
        found = list(stream(states.order_by("-pk").values_list("object_pk", flat=True), chunk_size=4))
    assert found == PKS[::-1]
    first, *others = [query["sql"] for query in asked]
    assert "object_pk" not in first
    assert [sql.partition(" IN (")[2].partition(")")[0].count(",") + 1 for sql in others] == [4, 4, 2]


def test_others_can_write_during_the_scan(states):
    rows = in_code_point_order(states, "object_pk", attrgetter("object_pk"), chunk_size=2)
    assert next(rows).object_pk == "10"
    written = []

    def write():
        try:
            written.append(ItemState.objects.create(model="shop.product", object_pk="new"))
        finally:
            connections.close_all()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(10)
    assert written, "it waits for the reader"
    assert {state.object_pk for state in rows} >= set(PKS) - {"10"}
