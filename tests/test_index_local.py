"""The local index: the contract, its rows in the database and its copy in memory."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, connections, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from imagesim.exceptions import IndexMissing, IndexUnavailable, ModelMismatch, SearchIndexError
from imagesim.indexes import BaseIndex, local
from imagesim.indexes.local import LocalIndex, knn, store
from imagesim.indexes.local.column import Column
from imagesim.indexes.local.columnar import Matrix, Record, Table
from imagesim.indexes.tables import LocalEntry, LocalGeneration
from imagesim.indexes.text import TextIndex
from imagesim.testing.index_contract import IndexContract
from imagesim.testing.index_samples import DIMS, META, assert_answers, axis, concurrent, entry, keys
from imagesim.types import Condition, Entry, Filters, Query, Removal, TextSpec
from tests.examples import examples


@pytest.mark.django_db
class TestLocalIndex(IndexContract):
    approximate = False

    @pytest.fixture
    def make_index(self) -> Callable[[], BaseIndex]:
        return lambda: LocalIndex(name="contract")


@pytest.fixture
def index(db: None) -> LocalIndex:
    index = LocalIndex(name="test")
    index.promote(index.create(META))
    return index


def test_an_unchanged_index_costs_one_small_query(index: LocalIndex) -> None:
    index.write([entry(1, axis(0)), entry(2, axis(1))])
    keys(index, Query(axis(0)))
    with CaptureQueriesContext(connection) as captured:
        assert keys(index, Query(axis(0))) == ["1", "2"]
    assert len(captured) == 1
    assert "vectors" not in captured[0]["sql"]


@contextmanager
def rows_read() -> Iterator[list[str]]:
    """The keys of the entries that are read from the database within the block."""
    read: list[str] = []
    original = store.changes

    def counting(*args: object) -> object:
        for record in original(*args):  # type: ignore[arg-type]
            read.append(record.key)
            yield record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "changes", counting)
        yield read


@concurrent
def test_only_changed_rows_are_read_again() -> None:
    index = LocalIndex(name="test")
    index.promote(index.create(META))
    index.write([entry(n, axis(n)) for n in range(10)])
    keys(index, Query(axis(0)))
    index.write([entry(3, axis(0), version=2)])
    with rows_read() as read:
        assert set(keys(index, Query(axis(0), limit=2))) == {"0", "3"}
    assert read == ["shop.product:3"]


def test_a_rollback_is_noticed(index: LocalIndex) -> None:
    index.write([entry("kept", axis(0))])

    class Cancel(Exception):
        pass

    def write_and_cancel() -> None:
        with transaction.atomic():
            index.write([entry("undone", axis(0)), entry("kept", axis(1), version=9)])
            assert keys(index, Query(axis(0))) == ["undone", "kept"]
            raise Cancel

    with pytest.raises(Cancel):
        write_and_cancel()
    assert keys(index, Query(axis(0))) == ["kept"]
    with pytest.raises(Cancel):
        write_and_cancel()
    index.write([entry("other", axis(0))])  # takes the seq_no that the rollback released
    assert keys(index, Query(axis(0))) == ["kept", "other"]


@pytest.mark.django_db
def test_words_that_were_rolled_back_are_forgotten() -> None:
    """Typing errors are compared with the words of a process: none must be taken for one that was rolled back."""
    index = LocalIndex(name="test")
    index.promote(index.create(replace(META, texts={"name": TextSpec()})))
    index.write([replace(entry("kept", axis(0)), texts={"name": ["sofa"]})])
    queries = [Query(axis(0), text=text) for text in ("sofa", "sofia", "zebra")]

    def answers() -> list[Any]:
        return [(each.key, each.text) for answer in index.search(queries) for each in answer.candidates]

    before = answers()
    with transaction.atomic():
        index.write([replace(entry("undone", axis(0)), texts={"name": ["sofia zebra"]})])
        assert answers() != before
        transaction.set_rollback(True)
    assert answers() == before


@concurrent
def test_after_a_committed_transaction_only_changed_rows_are_read() -> None:
    index = LocalIndex(name="test")
    index.promote(index.create(META))
    with transaction.atomic():
        index.write([entry("one", axis(0)), entry("two", axis(0))])
        assert keys(index, Query(axis(0))) == ["one", "two"]
    LocalIndex(name="test").write([entry("three", axis(0))])
    with rows_read() as read:
        assert set(keys(index, Query(axis(0)))) == {"one", "two", "three"}
    assert read == ["shop.product:three"]


def test_a_rollback_to_a_savepoint_is_noticed(index: LocalIndex) -> None:
    index.write([entry("kept", axis(0))])
    with transaction.atomic():
        index.write([entry("outer", axis(0))])
        with transaction.atomic():
            index.write([entry("inner", axis(0))])
            assert keys(index, Query(axis(0))) == ["inner", "kept", "outer"]
            transaction.set_rollback(True)
        assert keys(index, Query(axis(0))) == ["kept", "outer"]
        index.write([entry("later", axis(0))])
        assert keys(index, Query(axis(0))) == ["kept", "later", "outer"]


@concurrent
def test_a_write_that_fails_leaves_nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """For instance in a worker whose database is locked for hours."""
    index = LocalIndex(name="test")
    index.promote(index.create(META))
    monkeypatch.setattr(store, "_purge", Mock(side_effect=OperationalError("database is locked")))
    for _time in range(3):
        with pytest.raises(IndexUnavailable):
            index.write([entry("one", axis(0)), Removal("shop.product:two", 1)])
    assert dict(index._uncommitted) == {}


@concurrent
def test_writes_that_are_rolled_back_leave_nothing_in_memory() -> None:
    """For instance in a process of years."""
    index = LocalIndex(name="test")
    index.promote(index.create(META))
    for number in range(3):
        with transaction.atomic():
            index.write([entry(number, axis(0))])
            assert keys(index, Query(axis(0))) == [str(number)]
            transaction.set_rollback(True)
    assert len(index._uncommitted) == 1  # this is still in the copy
    assert keys(index, Query(axis(0))) == []
    assert dict(index._uncommitted) == {}


@concurrent
def test_no_thread_finds_what_another_has_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other thread searches in its transaction just after this one has brought the shared copy up to date."""
    index, refresh = LocalIndex(name="test"), store.Snapshot._refresh
    index.promote(index.create(META))
    index.write([entry("kept", axis(0))])
    found, done = list[str](), threading.Event()

    def write() -> None:
        with transaction.atomic():
            index.write([entry("undone", axis(0))])
            found.extend(keys(index, Query(axis(0))))
            searched.set()
            done.wait(10)
            transaction.set_rollback(True)
        connections.close_all()

    other, searched = threading.Thread(target=write), threading.Event()

    def interrupted(*args: Any) -> None:
        refresh(*args)
        if not other.ident:
            other.start()
            searched.wait(10)

    monkeypatch.setattr(store.Snapshot, "_refresh", interrupted)
    try:
        assert keys(index, Query(axis(0))) == ["kept"]
    finally:
        done.set()
        other.join()
    assert found == ["kept", "undone"]
    assert keys(index, Query(axis(0))) == ["kept"]


def test_a_scan_reports_errors_as_other_methods_do(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.write([entry("one", axis(0))])

    def gone(*args: object) -> object:
        raise OperationalError("the connection is gone")
        yield

    monkeypatch.setattr(store, "keys", gone)
    with pytest.raises(IndexUnavailable):
        list(index.scan())


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_lost_is_opened_again(index: LocalIndex) -> None:
    """In a process that runs on without requests, between which Django would reopen it."""
    if connection.vendor != "postgresql":
        pytest.skip("the server has to end the connection")
    index.write([entry("one", axis(0))])
    other = connections.create_connection("default")
    try:
        for call in (lambda: keys(index, Query(axis(0))), lambda: list(index.scan()), index.ping):
            connection.ensure_connection()
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
            with pytest.raises(IndexUnavailable):
                call()
            call()
    finally:
        other.close()
    assert keys(index, Query(axis(0))) == ["one"]


def test_a_scan_of_an_index_that_is_dropped_meanwhile_does_not_end_early_in_silence(index: LocalIndex) -> None:
    index.write([entry(str(number), axis(0)) for number in range(9)])
    name = index.active()
    assert name is not None
    scanned = index.scan(backing_index=name, batch_size=2)
    next(scanned)
    index.drop(name)
    with pytest.raises(IndexMissing):
        list(scanned)


def test_an_index_whose_drop_was_interrupted_is_not_promoted(
    index: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.write([entry("kept", axis(0))])
    beside = index.create(META)
    index.write([entry("dropped", axis(0))], backing_index=beside)
    with monkeypatch.context() as patch:
        patch.setattr(LocalEntry.objects, "using", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            index.drop(beside)
    with pytest.raises(IndexMissing):
        index.promote(beside)
    assert keys(index, Query(axis(0))) == ["kept"]
    index.drop(beside)
    assert index.backing_indexes() == [index.active()]


@concurrent
def test_a_restored_backup_is_noticed() -> None:
    """The seq_nos start again from the state of the backup, with different contents."""
    index = LocalIndex(name="test")
    index.promote(index.create(META))
    index.write([entry("kept", axis(0))])
    [backup], entries = LocalGeneration.objects.values(), list(LocalEntry.objects.values())
    index.write([entry("lost", axis(0))])
    assert keys(index, Query(axis(0))) == ["kept", "lost"]
    LocalEntry.objects.all().delete()
    LocalEntry.objects.bulk_create(LocalEntry(**row) for row in entries)
    LocalGeneration.objects.filter(pk=backup["id"]).update(**backup)
    assert keys(index, Query(axis(0))) == ["kept"]
    LocalIndex(name="test").write([entry("new", axis(0))])
    assert keys(index, Query(axis(0))) == ["kept", "new"]


@concurrent
def test_old_tombstones_are_purged_and_removals_still_seen() -> None:
    index, late = LocalIndex(name="test"), LocalIndex(name="test")
    index.promote(index.create(META))
    index.write([entry(n, axis(n)) for n in range(4)])
    assert len(keys(late, Query(axis(0)))) == 4
    index.write([Removal("shop.product:0", 2)])
    LocalEntry.objects.filter(removed_at__isnull=False).update(removed_at=timezone.now() - timedelta(days=1))
    index.write([Removal("shop.product:1", 2)])
    assert list(LocalEntry.objects.filter(removed_at__isnull=False).values_list("key", flat=True)) == ["shop.product:1"]
    assert keys(late, Query(axis(0))) == ["2", "3"]


@concurrent
def test_a_removal_purged_by_a_clock_ahead_is_still_seen() -> None:
    """The clocks of writers differ, so a later removal can have the earlier time."""
    index, late = LocalIndex(name="test"), LocalIndex(name="test")
    index.promote(index.create(META))
    index.write([entry(n, axis(n)) for n in range(4)])
    index.write([Removal("shop.product:0", 2)])
    assert len(keys(late, Query(axis(1)))) == 3
    index.write([Removal("shop.product:1", 2)])
    for key in ("shop.product:1", "shop.product:0"):
        LocalEntry.objects.filter(key=key).update(removed_at=timezone.now() - timedelta(days=1))
        index.write([Removal(f"shop.product:no{key[-1]}", 2)])
    assert keys(late, Query(axis(1))) == ["2", "3"]


@pytest.mark.slow
def test_tombstones_hold_nothing_but_the_key(index: LocalIndex) -> None:
    index.write([entry(1, axis(0), categories=("a",), filters={"brand": "b"})])
    index.write([Removal("shop.product:1", 2)])
    row = LocalEntry.objects.get()
    assert (bytes(row.vectors), bytes(row.document)) == (b"", b"")


@pytest.mark.django_db(transaction=True)  # MySQL commits before it renames
def test_a_failing_database_is_an_unavailable_index(index: LocalIndex) -> None:
    table, elsewhere = map(connection.ops.quote_name, ("imagesim_localgeneration", "elsewhere"))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {elsewhere}")
    failures: tuple[type[Exception], ...] = (IndexUnavailable, DatabaseError)
    with pytest.raises(failures), transaction.atomic():
        index.search([Query(axis(0))])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {elsewhere} RENAME TO {table}")


class LaggingReplica:
    """A database router for a shop whose replica does not have the last rows yet."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return "no such database" if model in (LocalGeneration, LocalEntry) else None

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return "default"


def test_an_index_that_is_filled_is_not_read_from_a_replica(index: LocalIndex, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [LaggingReplica()]
    beside = index.create(META)
    index.write([entry(1, axis(0), categories=("shoes",))], backing_index=beside)
    index.refresh(beside)
    assert (index.meta(beside), index.count(backing_index=beside)) == (META, 1)
    assert list(index.scan(backing_index=beside)) == [("shop.product:1", 1)]
    assert index.facets(Filters(), ("category",), backing_index=beside)["category"].count == 1
    assert keys(index, Query(axis(0)), beside) == ["1"]


def test_after_a_swap_the_former_copy_is_freed(index: LocalIndex) -> None:
    index.write([entry(1, axis(0))])
    keys(index, Query(axis(0)))
    for _ in range(3):
        index.promote(index.create(META))
        keys(index, Query(axis(0)))
    assert len(index._snapshots) == 1


@pytest.mark.parametrize("named", [False, True], ids=["active", "named"])
def test_a_process_that_only_counts_frees_former_copies(
    index: LocalIndex, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """A worker that only counts the entries of categories must not keep the vectors of every rebuild since its
    start."""
    monkeypatch.setattr("imagesim.indexes.local.KEPT_SECONDS", -1.0)
    for _ in range(3):
        made = index.create(META)
        index.promote(made)
        assert index.count(Filters(in_stock=True), backing_index=made if named else None) == 0
        assert index.facets(Filters(), ("category",), backing_index=made if named else None)["category"].count == 0
    assert len(index._snapshots) <= 1


def test_the_copy_of_the_active_index_is_kept_where_reads_go_to_a_replica(
    index: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of another backing index, for an experiment, reads the primary: it must not free what the replica has
    given."""
    monkeypatch.setattr(store, "read_alias", lambda backing_index: "default" if backing_index else "replica")
    monkeypatch.setattr(connections._connections, "replica", connections["default"], raising=False)
    index.write([entry(1, axis(0))])
    keys(index, Query(axis(0)))
    copy = index._snapshots[index.active() or ""]
    keys(index, Query(axis(0)), index.create(META))
    assert index._snapshots[index.active() or ""] is copy


@concurrent
def test_threads_can_search_backing_indexes_that_none_has_searched_before() -> None:
    index = LocalIndex(name="test")
    index.promote(index.create(META))
    names = [index.create(META) for _ in range(60)]
    index._kept_until = {f"searched-{number}": math.inf for number in range(20_000)}

    def search(name: str) -> int:
        try:
            [answer] = index.search([Query(axis(0))], backing_index=name)
            return len(answer)
        finally:
            connections.close_all()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(search, names))
    finally:
        sys.setswitchinterval(interval)
    assert answers == [0] * len(names)


@concurrent
@pytest.mark.parametrize("function", ["count_images", "changes", "state"])
@pytest.mark.parametrize("method", ["search", "count", "facets"])
def test_a_swap_and_drop_while_the_former_index_is_read(
    monkeypatch: pytest.MonkeyPatch, function: str, method: str
) -> None:
    index, other = LocalIndex(name="test"), LocalIndex(name="test")
    index.promote(index.create(META))
    index.write([entry(n, axis(n)) for n in range(3)])
    if function == "state":
        keys(index, Query(axis(0)))
        other.write([entry(4, axis(4))])
    former, original = index.active() or "", getattr(store, function)

    def swap(*args: object) -> object:
        monkeypatch.undo()
        found = original(*args) if function == "state" else None
        second = other.create(META)
        other.write([entry(n, axis(n)) for n in range(5)], backing_index=second)
        other.promote(second)
        other.drop(former)
        return found or original(*args)

    monkeypatch.setattr(store, function, swap)
    if method == "search":
        assert keys(index, Query(axis(0))) == ["0", "1", "2", "3", "4"]
    elif method == "count":
        assert index.count(Filters(in_stock=True)) == 5
    else:
        assert index.facets(Filters(), ("in_stock",))["in_stock"].count == 5


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows has no such signal")
def test_a_writer_that_is_interrupted_while_it_waits_leaves_the_lock_to_readers() -> None:
    """For instance by a signal, with which a worker ends a task that takes too long."""

    class Interrupted(Exception):
        pass

    lock, ended = store.SharedLock(), [threading.Event(), threading.Event()]
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise Interrupted

    def read(number: int) -> None:
        with lock.shared():
            ended[number].set()

    def read_while_the_writer_waits() -> None:
        while not lock._writers_waiting:
            time.sleep(0.001)
        read(0)

    def interrupt_when_both_wait() -> None:
        while len(lock._condition._waiters) < 2:
            time.sleep(0.001)
        while not interrupted.wait(0.1):  # a signal just before the main thread sleeps does not wake it
            os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with lock.shared():
            threading.Thread(target=read_while_the_writer_waits, daemon=True).start()
            threading.Thread(target=interrupt_when_both_wait, daemon=True).start()
            with pytest.raises(Interrupted), lock.exclusive():
                pass
            assert ended[0].wait(20)
        threading.Thread(target=read, args=(1,), daemon=True).start()
        assert ended[1].wait(20)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
@concurrent
def test_another_process_sees_every_write(tmp_path: Path) -> None:
    """A real process: it writes, this one searches."""
    index = LocalIndex(name="processes")
    index.promote(index.create(META))
    keys(index, Query(axis(0)))
    name = str(connection.settings_dict["NAME"])
    code = f"""
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {name!r}
import django
django.setup()
from imagesim.indexes.local import LocalIndex
from imagesim.testing.index_samples import axis, entry
index = LocalIndex(name="processes")
for version in range(1, 21):
    index.write([entry("x", axis(version % 16), version=version), entry(f"n{{version}}", axis(0))])
"""
    writer = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "IMAGESIM_TEST_DATABASE_URL": django_settings.DATABASE_URL},
    )
    seen = [0]
    while writer.poll() is None:
        [answer] = index.search([Query(axis(0), limit=100)])
        seen.append(len(answer))
        if not seen[-1]:
            time.sleep(0.02)  # the writer imports
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(keys(index, Query(axis(0), limit=100))) == 21
    assert keys(index, Query(axis(20 % 16), limit=1)) == ["x"]


class Copy(RuleBasedStateMachine):
    """A copy that is brought up to date step by step answers like one read from scratch, and like a plain
    implementation."""

    @initialize()
    def begin(self) -> None:
        LocalGeneration.objects.filter(index="stateful").delete()
        self.index = LocalIndex(name="stateful")
        self.index.promote(self.index.create(META))
        self.entries: dict[str, Entry] = {}
        self.version = 0

    @rule(
        pks=st.lists(st.integers(0, 12), min_size=1, max_size=6),
        seed=st.integers(0, 999),
        colours=st.sampled_from([None, "red", ("red", "blue"), ("blue", "green", "red")]),
        price=st.one_of(st.none(), st.integers(0, 5)),
        group=st.sampled_from(["", "g1", "g2"]),
    )
    def put(self, pks: list[int], seed: int, colours: object, price: int | None, group: str) -> None:
        rng = np.random.default_rng(seed)
        operations = []
        for pk in pks:
            self.version += 1
            vectors = rng.standard_normal((1 + seed % 3, DIMS)).astype(np.float32)
            made = entry(
                pk,
                *vectors,
                version=self.version,
                group=group,
                categories=("c",) * (seed % 2),
                in_stock=seed % 3 > 0,
                filters={"colour": colours, "price": price},  # type: ignore[dict-item]
            )
            operations.append(made)
            self.entries[made.key] = made
        self.index.write(operations)

    @rule(pks=st.lists(st.integers(0, 12), min_size=1, max_size=6))
    def remove(self, pks: list[int]) -> None:
        self.version += 1
        self.index.write([Removal(f"shop.product:{pk}", self.version) for pk in pks])
        for pk in pks:
            self.entries.pop(f"shop.product:{pk}", None)

    @invariant()
    def answers(self) -> None:
        for filters in (
            Filters(),
            Filters(categories=("c",), in_stock=True),
            Filters(conditions=(Condition("colour", "eq", "blue"), Condition("price", "lte", 3))),
            Filters(exclude_groups=("g1",)),
        ):
            query = Query(axis(1), filters, limit=5)
            [answer] = self.index.search([query])
            assert_answers(answer, self.entries.values(), query)
            assert LocalIndex(name="stateful").search([query])[0].candidates == answer.candidates


@pytest.mark.slow
@concurrent
def test_an_updated_copy_equals_a_fresh_one() -> None:
    run = settings(
        max_examples=examples(8),
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Copy, settings=run)


def test_values_of_former_entries_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new product brings some, and a process that runs for months would otherwise keep all of them."""
    monkeypatch.setattr("imagesim.indexes.local.column.UNUSED", 10)
    column = Column(text=True)
    values: dict[int, list[str]] = {}
    for number in range(300):
        slot = number % 20
        values[slot] = [f"value {number + each}" for each in range(number % 4)]
        column.set(slot, values[slot])
    assert len(column._codes) <= 2 * 30 + 10 + 4
    assert {slot: column.at(slot) for slot in values} == values
    for value in ("value 299", "value 290", "value 0"):
        assert column.any_of([value], 20).tolist() == [value in values[slot] for slot in range(20)]
    shown = {value for each in values.values() for value in each}
    assert {value for value, _count in column.facet("keyword", np.ones(20, bool)).values} == shown


def test_the_matrix_reuses_rows() -> None:
    matrix = Matrix(4)
    first = matrix.put(np.full((10, 4), 1, dtype=np.float32))
    matrix.free(first[:4])
    second = matrix.put(np.full((3, 4), 2, dtype=np.float32))
    assert set(second) < set(first[:4])
    assert matrix.used == 10
    matrix.put(np.full((1000, 4), 3, dtype=np.float32))
    assert matrix.used == 1009
    assert np.array_equal(matrix.data[second], np.full((3, 4), 2))
    assert np.array_equal(matrix.data[first[4:]], np.full((6, 4), 1))
    matrix.put(np.full((5000, 4), 4, dtype=np.float32))
    assert np.array_equal(matrix.data[second], np.full((3, 4), 2))
    assert matrix.used == 6009


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("similarity", ["cosine", "l1"])
def test_the_best_rows_do_not_depend_on_the_share_scored(share: float, similarity: str) -> None:
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((6_000, 8)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix[100:160] = matrix[99]
    rows = None if share == 1 else np.sort(rng.choice(6_000, int(6_000 * share), replace=False))
    queries = matrix[[99, 5]]
    scores = knn.score_rows(matrix, queries, rows, similarity)  # type: ignore[arg-type]
    chosen = np.arange(6_000) if rows is None else rows
    for query, found in zip(queries, scores, strict=True):
        positions, floor = knn.top(found, 30, -np.inf, knn.SLACK[similarity])  # type: ignore[index]
        true = matrix[chosen] @ query if similarity == "cosine" else -np.abs(matrix[chosen] - query).sum(axis=1)
        best = np.sort(true)[::-1][:30]
        assert set(np.flatnonzero(true >= best[-1] - 1e-7)) <= set(positions)
        assert (true[positions] >= floor - 1e-5).all()


class TestDamage:
    """Rows that lost bytes or had bits flipped are skipped, reported, and written again by the next comparison."""

    @staticmethod
    def flip(row: LocalEntry, field: str) -> None:
        value = bytearray(bytes(getattr(row, field)))
        value[len(value) // 2] ^= 4
        LocalEntry.objects.filter(pk=row.pk).update(**{field: bytes(value)})

    @staticmethod
    def truncate(row: LocalEntry, field: str) -> None:
        LocalEntry.objects.filter(pk=row.pk).update(**{field: bytes(getattr(row, field))[:-3]})

    @pytest.mark.parametrize("field", ["vectors", "document"])
    @pytest.mark.parametrize("damage", ["flip", "truncate"])
    def test_a_damaged_row(self, index: LocalIndex, field: str, damage: str, caplog: pytest.LogCaptureFixture) -> None:
        index.write([entry(n, axis(n), filters={"brand": "b"}) for n in range(3)])
        getattr(self, damage)(LocalEntry.objects.get(key="shop.product:1"), field)
        reader = LocalIndex(name="test")
        assert keys(reader, Query(axis(1))) == ["0", "2"]
        assert "shop.product:1 of the local index is damaged" in caplog.text
        assert "imagesim_sync --reconcile" in caplog.text
        assert dict(reader.scan()) == {"shop.product:0": 1, "shop.product:2": 1}
        [result] = index.write([entry(1, axis(1))])  # with the same version
        assert result.status == "done"
        assert keys(reader, Query(axis(1), limit=1)) == ["1"]
        assert len(dict(reader.scan())) == 3

    def test_a_changed_version_or_key(self, index: LocalIndex) -> None:
        index.write([entry(n, axis(n)) for n in range(3)])
        LocalEntry.objects.filter(key="shop.product:1").update(version=2**62)
        LocalEntry.objects.filter(key="shop.product:2").update(key="shop.product:9")
        assert keys(LocalIndex(name="test"), Query(axis(1))) == ["0"]
        [result] = index.write([entry(1, axis(1), version=2)])
        assert result.status == "done"

    def test_damage_noticed_by_a_refresh_removes_the_former_entry(self, index: LocalIndex) -> None:
        reader = LocalIndex(name="test")
        index.write([entry(n, axis(n)) for n in range(3)])
        assert keys(reader, Query(axis(1), limit=1)) == ["1"]
        index.write([entry(1, axis(2), version=2), entry(2, axis(1), version=2)])
        self.flip(LocalEntry.objects.get(key="shop.product:1"), "vectors")
        assert keys(reader, Query(axis(1))) == ["2", "0"]

    def test_a_row_with_a_right_checksum_and_a_wrong_shape(self, index: LocalIndex) -> None:
        index.write([entry(n, axis(n)) for n in range(2)])
        row = LocalEntry.objects.get(key="shop.product:1")
        row.vectors = bytes(row.vectors)[:-4]
        row.checksum = store.checksum(row.key, row.version, bytes(row.document), row.vectors)
        row.save()
        assert keys(LocalIndex(name="test"), Query(axis(1))) == ["0"]


def test_stored_meta_names_no_code_to_load(index: LocalIndex) -> None:
    """Whoever can write to the index must not choose the class or the host that queries are sent to."""
    poison = {"embedder": {"BACKEND": "os.system", "OPTIONS": {"url": "http://elsewhere"}}}
    row = LocalGeneration.objects.get(index="test")
    assert set(row.meta) == {"fingerprint", "dims", "filters", "projection", "texts", "analysis"}
    row.meta |= poison
    row.save()
    assert LocalIndex(name="test").meta() == META


def test_an_invalid_stored_meta(index: LocalIndex) -> None:
    LocalGeneration.objects.filter(index="test").update(meta={"dims": "many"})
    with pytest.raises(SearchIndexError, match="has no valid meta"):
        LocalIndex(name="test").search([Query(axis(0))])


class TestWords:
    @pytest.fixture
    def worded(self, db: None) -> LocalIndex:
        index = LocalIndex(name="worded")
        index.promote(index.create(replace(META, texts={"name": TextSpec()})))
        index.write([replace(entry(n, axis(n % DIMS)), texts={"name": [f"shoe {n}"]}) for n in range(20)])
        return index

    def test_texts_are_read_in_slices(self, worded: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        slices: list[int] = []
        original = Table.read_texts

        def counting(table: Table, seconds: float = math.inf) -> bool:
            done = original(table, seconds)
            slices.append(len(table._new_texts))
            return done

        monkeypatch.setattr(Table, "read_texts", counting)
        monkeypatch.setattr(local, "SLICE_SECONDS", 0.0)
        assert len(keys(worded, Query(axis(0), text="shoe", limit=30))) == 20
        assert slices[:20] == list(range(19, -1, -1))

    def test_texts_are_read_at_warm_up(self, worded: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        worded.warm_up()
        monkeypatch.setattr(TextIndex, "add", None)
        assert len(keys(worded, Query(axis(0), text="shoe", limit=30))) == 20


def test_texts_of_a_process_that_is_asked_for_no_words_take_little_memory() -> None:
    """As dicts, they took four times as much."""
    names = [f"text {number}" for number in range(6)]
    read = json.dumps({name: [f"A short sentence of {name}, in cotton"] for name in names})
    table = Table(replace(META, texts=dict.fromkeys(names, TextSpec())))
    tracemalloc.start()
    for number in range(300):
        table.apply([Record(f"shop.product:{number}", vectors=axis(0)[None], texts=json.loads(read))])
    with_texts, _peak = tracemalloc.get_traced_memory()
    table._new_texts.clear()
    without, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert with_texts - without < 2 * 300 * len(read)


@pytest.mark.django_db(transaction=True)
def test_words_asked_again_see_what_changed() -> None:
    """The entries that words found are kept until the next change."""
    index = LocalIndex(name="worded")
    index.promote(index.create(replace(META, texts={"name": TextSpec()})))
    index.write([replace(entry(n, axis(n)), texts={"name": ["shoe"]}) for n in range(3)])
    asked = Query(axis(0), text="shoe", limit=30)
    assert len(keys(index, asked)) == len(keys(index, asked)) == 3
    index.write([replace(entry(0, axis(0), version=2), texts={"name": ["boot"]})])
    assert len(keys(index, asked)) == 2
    index.write([Removal(entry(1, axis(1)).key, 2)])
    assert len(keys(index, asked)) == 1
    assert not keys(index, replace(asked, offset=1))


@pytest.mark.django_db(transaction=True)
def test_texts_are_not_read_again_where_another_value_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of 50,000 prices, the next query by words would take half a minute."""
    index = LocalIndex(name="worded")
    index.promote(index.create(replace(META, texts={"name": TextSpec()})))
    shoes = [replace(entry(n, axis(n)), texts={"name": [f"shoe {n}"]}) for n in range(4)]
    index.write(shoes)
    asked = Query(axis(0), text="shoe", limit=30)
    assert len(keys(index, asked)) == 4
    add, added = TextIndex.add, list[int]()

    def counting(words: TextIndex, slot: int, texts: Any) -> None:
        added.append(slot)
        add(words, slot, texts)

    monkeypatch.setattr(TextIndex, "add", counting)
    index.write([replace(shoes[0], in_stock=False, version=2), replace(shoes[1], texts={"name": ["boot"]}, version=2)])
    assert keys(index, asked) == ["0", "2", "3"]
    assert keys(index, replace(asked, filters=Filters(in_stock=False))) == ["0"]
    assert len(added) == 1
    index.write([Removal(shoes[0].key, 3)])
    assert len(keys(index, asked)) == 2
    index.write([replace(shoes[0], version=4)])
    assert len(keys(index, asked)) == 3


@pytest.mark.django_db
def test_pages_of_a_word_that_many_entries_have() -> None:
    """By match, then by key; one entry of each group."""
    index = LocalIndex(name="worded")
    index.promote(index.create(replace(META, texts={"name": TextSpec()})))
    names = ["lamp", "floor lamp", "lamp"]
    index.write(
        [entry(pk, axis(pk % DIMS), group=f"group {pk // 2}", texts={"name": (names[pk % 3],)}) for pk in range(400)]
    )
    for collapse in (True, False):
        query = Query(np.zeros(DIMS, np.float32), text="lamp", limit=30, collapse=collapse)
        pages = [index.search([replace(query, offset=offset)])[0] for offset in range(0, 420, 30)]
        found = [each for page in pages for each in page.candidates]
        assert len({each.group if collapse else each.key for each in found}) == len(found) == (200 if collapse else 400)
        assert found == sorted(found, key=lambda each: (-each.text, each.key))
        assert [page.more for page in pages] == [len(found) > offset + 30 for offset in range(0, 420, 30)]


def test_a_swap_in_another_process_is_noticed(index: LocalIndex) -> None:
    """A process takes the backing index of its last search for the active one."""
    index.write([entry(1, axis(0))])
    keys(index, Query(axis(0)))
    other = LocalIndex(name="test")
    other.promote(other.create(replace(META, projection="fitted")))
    assert index.meta().projection == ""  # so a query is projected in the wrong way
    with pytest.raises(ModelMismatch, match="another projection"):
        index.search([Query(axis(0), fingerprint=META.fingerprint)])
    assert index.meta().projection == "fitted"
    assert keys(index, Query(axis(0))) == []


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("no such table: imagesim_localgeneration"),
        ProgrammingError('relation "imagesim_localgeneration" does not exist\nLINE 1: SELECT "id" FROM'),
        ProgrammingError(1146, "Table 'shop.imagesim_localgeneration' doesn't exist"),
    ],
    ids=["SQLite", "PostgreSQL", "MariaDB"],
)
def test_a_missing_table_says_what_to_do(error):
    with (
        pytest.raises(IndexUnavailable, match=r"run `manage.py migrate imagesim` first\.$"),
        local._translated_errors(),
    ):
        raise error
