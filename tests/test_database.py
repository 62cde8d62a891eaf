"""Another try after a deadlock, and rows in pages."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from operator import itemgetter
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from imagesim import database
from imagesim.database import after_commit, delete_in_batches, retry_conflicts
from imagesim.indexing import leases
from imagesim.models import Embedding, ItemState, Scope
from tests.shop import picture, product

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media_root")]


def failing(times: int, error: OperationalError):
    """Return a function that raises ``error`` the first ``times`` times, and its calls."""
    calls: list[int] = []

    @retry_conflicts
    def function() -> int:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return len(calls)

    return function, calls


def of_postgresql(code: str, attribute: str = "sqlstate") -> OperationalError:
    error = OperationalError("deadlock detected")
    error.__cause__ = type("Cause", (Exception,), {attribute: code})()
    return error


DEADLOCKS = [
    OperationalError(1213, "Deadlock"),
    OperationalError(1205, "Lock wait timeout"),
    of_postgresql("40P01"),
    of_postgresql("40001"),
    of_postgresql("40001", "pgcode"),  # from psycopg2
]


@pytest.mark.parametrize("error", DEADLOCKS, ids=["1213", "1205", "40P01", "40001", "psycopg2"])
def test_a_deadlock_is_retried(error, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(database, "time", SimpleNamespace(sleep=pauses.append))
    function, _calls = failing(database.CONFLICT_RETRIES, error)
    assert function() == database.CONFLICT_RETRIES + 1
    function, calls = failing(database.CONFLICT_RETRIES + 1, error)
    with pytest.raises(OperationalError):
        function()
    assert len(calls) == database.CONFLICT_RETRIES + 1
    for number, pause in enumerate(pauses):
        assert 0 <= pause <= 0.05 * 2 ** (number % database.CONFLICT_RETRIES)
    assert len(pauses) == 2 * database.CONFLICT_RETRIES


@pytest.mark.parametrize("error", [OperationalError(2006, "gone away"), OperationalError(), of_postgresql("57014")])
def test_no_other_error_is_retried(error):
    function, calls = failing(1, error)
    with pytest.raises(OperationalError):
        function()
    assert len(calls) == 1


def test_within_a_transaction_nothing_is_retried():
    function, calls = failing(1, DEADLOCKS[0])
    with pytest.raises(OperationalError), transaction.atomic():
        function()
    assert len(calls) == 1


def test_results_are_stored_once_after_a_deadlock(monkeypatch):
    """A transaction that is rolled back must not leave its attempt counted in the objects."""
    product("boot", picture("red"))
    lease = leases.lease(Scope.ALL, 10)
    [state] = lease.states
    values_after, calls = leases._values_after, []

    def deadlock_once(result, now):
        calls.append(values_after(result, now))
        if len(calls) == 1:
            raise DEADLOCKS[0]
        return calls[-1]

    monkeypatch.setattr(leases, "_values_after", deadlock_once)
    result = leases.SyncResult(state, "failed", "no such file", written=False, retry=True)
    assert leases.mark(lease, [result]) == 1
    assert len(calls) == 2
    assert ItemState.objects.get().attempts == 1


def test_a_late_entry_of_a_rebuild_is_repaired_after_a_deadlock(monkeypatch):
    product("boot", picture("red"))
    filled = ItemState.objects.get()
    ItemState.objects.update(version=filled.version + 1, pending=False)  # changed and synced meanwhile
    update, calls = leases._update, []

    def deadlock_once(rows, **values):
        calls.append(values)
        if len(calls) == 3:
            raise DEADLOCKS[0]
        return update(rows, **values)

    monkeypatch.setattr(leases, "_update", deadlock_once)
    leases.account_for([(filled, "")])
    assert ItemState.objects.get().pending


def test_two_transactions_in_a_deadlock_are_both_stored():
    """A real one: each holds a row and waits for the other's."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    rows = [Embedding.objects.create(digest=name, fingerprint="f", vector=b"") for name in "ab"]
    met, tries = threading.Barrier(2), []

    @retry_conflicts
    def write(first: Embedding, second: Embedding, name: str) -> None:
        tries.append(name)
        first_time = tries.count(name) == 1
        with transaction.atomic():
            Embedding.objects.filter(pk=first.pk).update(vector=name.encode())
            if first_time:
                met.wait(10)
            Embedding.objects.filter(pk=second.pk).update(fingerprint=name)

    def other() -> None:
        try:
            write(rows[1], rows[0], "2")
        finally:
            connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    write(rows[0], rows[1], "1")
    thread.join(30)
    assert len(tries) == 3
    stored = Embedding.objects.order_by("pk").values_list("vector", "fingerprint")
    assert [(bytes(vector), name) for vector, name in stored] == [(b"1", "2"), (b"2", "1")]


def test_two_transactions_that_cannot_be_serialized_are_both_stored():
    """A real one: each reads all rows and writes what depends on them."""
    if connection.vendor != "postgresql":
        pytest.skip("the isolation of PostgreSQL")
    met, tries = threading.Barrier(2), []

    @retry_conflicts
    def write(name: str) -> None:
        tries.append(name)
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            count = len(Embedding.objects.all())
            if tries.count(name) == 1:
                met.wait(10)
            Embedding.objects.create(digest=name, fingerprint=str(count), vector=b"")

    def other() -> None:
        try:
            write("2")
        finally:
            connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    write("1")
    thread.join(30)
    assert len(tries) == 3
    assert sorted(Embedding.objects.values_list("fingerprint", flat=True)) == ["0", "1"]


def test_workers_under_serializable_isolation_sync_each_change_once(monkeypatch):
    """The setting ``isolation_level`` of Django, which also applies to statements outside transactions."""
    if connection.vendor != "postgresql":
        pytest.skip("the isolation of PostgreSQL")
    from django.db.backends.postgresql.psycopg_any import IsolationLevel  # for psycopg 3 or psycopg2

    made = [product(f"boot {number}", picture("red", mark=number)) for number in range(24)]
    monkeypatch.setattr(connection, "isolation_level", IsolationLevel.SERIALIZABLE)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", IsolationLevel.SERIALIZABLE)
    connection.close()
    errors, taken = [], []
    met = threading.Barrier(2)

    def work() -> None:
        try:
            met.wait(10)
            while (lease := leases.lease(Scope.ALL, 2)).states:
                taken.extend(state.pk for state in lease.states)
                leases.mark(lease, [leases.SyncResult(state, "indexed", written=True) for state in lease.states])
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    connection.close()
    assert not errors
    assert len(set(taken)) == len(made)
    assert ItemState.objects.filter(pending=False, lease="").count() == len(made)


@pytest.mark.django_db
def test_rows_are_deleted_from_the_first_to_the_last():
    """From the start, PostgreSQL would read those that were deleted again for every batch."""
    Embedding.objects.bulk_create([Embedding(digest=str(n), fingerprint="a" if n % 3 else "b") for n in range(30)])
    with CaptureQueriesContext(connection) as queries:
        assert delete_in_batches(Embedding.objects.filter(fingerprint="a"), 8) == 20
    assert Embedding.objects.filter(fingerprint="b").count() == Embedding.objects.count() == 10
    first, *others = [each["sql"].replace("`", '"') for each in queries if each["sql"].startswith("SELECT")]
    assert '"id" > ' not in first
    assert len(others) == 3
    assert all('"id" > ' in each for each in others)


def test_rows_in_pages():
    Embedding.objects.bulk_create(Embedding(digest=f"{n}", fingerprint="f", vector=b"") for n in range(5))
    assert [len(page) for page in database.pages(Embedding.objects.all(), 2)] == [2, 2, 1]


@pytest.mark.parametrize("in_order", [False, True])
def test_without_server_side_cursors_no_whole_table_is_read_at_once(monkeypatch, in_order):
    """Otherwise, the driver would hold a whole table, such as every vector of the index in each process that loads
    it."""
    Embedding.objects.bulk_create(Embedding(digest=f"{n}", fingerprint="f", vector=b"v" * n) for n in range(5))
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    rows = Embedding.objects.values_list("digest", "vector")
    with CaptureQueriesContext(connection) as queries:
        if in_order:
            read = list(database.in_code_point_order(rows, "digest", itemgetter(0), chunk_size=2))
        else:
            read = list(database.stream(rows.order_by("digest"), chunk_size=2))
    assert [(digest, bytes(vector)) for digest, vector in read] == [(f"{n}", b"v" * n) for n in range(5)]
    whole = [each["sql"] for each in queries if '"vector"' in each["sql"] and " IN " not in each["sql"]]
    assert not [sql for sql in whole if "LIMIT" not in sql]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("nested", [True, False])
def test_what_fails_after_a_commit_is_logged(caplog, nested):
    def fail(*arguments, **options):
        raise ValueError(arguments, options)

    with transaction.atomic() if nested else nullcontext():
        after_commit("default", fail, 1, using="another")
    assert "test_what_fails_after_a_commit_is_logged.<locals>.fail" in caplog.text
    assert "((1,), {'using': 'another'})" in caplog.text
