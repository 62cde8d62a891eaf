"""The index in PostgreSQL: the contract, on servers with the newest and the oldest pgvector, and what is specific to
it."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from django.db import OperationalError, connections, transaction

from imagesim.conf import Backend
from imagesim.exceptions import (
    ConfigurationError,
    IndexMissing,
    IndexUnavailable,
    ModelMismatch,
    QueryTimeout,
    SearchIndexError,
)
from imagesim.indexes import BaseIndex, get_index, validation
from imagesim.indexes.pgvector import PgvectorIndex, searching, tables, text, writing
from imagesim.indexes.pgvector.database import Database
from imagesim.testing.index_contract import IndexContract
from imagesim.testing.index_samples import DIMS, META, axis, entry, expected, keys
from imagesim.types import Condition, Entry, Filters, IndexMeta, Query, Removal, TextSpec
from tests.processes import wait_until


class PgvectorContract(IndexContract):
    approximate = True

    @pytest.fixture
    def make_index(self, pgvector_alias: str) -> Callable[[], BaseIndex]:
        name = f"contract-{secrets.token_hex(4)}"
        return lambda: PgvectorIndex(database=pgvector_alias, name=name)

    def options(self, index: BaseIndex) -> dict[str, Any]:
        return {"database": "pgvector"}


class TestPgvectorIndex(PgvectorContract):
    pass


@pytest.mark.long
@pytest.mark.parametrize("pgvector_alias", ["oldest"], indirect=True)
class TestPgvectorIndexOldest(PgvectorContract):
    pass


@pytest.fixture
def index(pgvector_alias: str) -> Iterator[PgvectorIndex]:
    made = PgvectorIndex(database=pgvector_alias, name=f"test-{secrets.token_hex(4)}")
    made.promote(made.create(META))
    yield made
    for backing_index in made.backing_indexes():
        made.drop(backing_index)


def sql(query: str, *values: Any) -> list[tuple[Any, ...]]:
    with connections["pgvector"].cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def table(index: PgvectorIndex, kind: str) -> str:
    [[number]] = sql("SELECT id FROM imagesim_pgvector WHERE name = %s", index.active())
    return f"imagesim_pgvector_{number}_{kind}"


def scattered(count: int, parts: int = 100) -> list[Entry]:
    """Entries with vectors in all directions; each price has a share of one in ``parts``."""
    vectors = np.random.default_rng(3).standard_normal((count, DIMS)).astype(np.float32)
    return [entry(n, vector, filters={"price": n % parts}) for n, vector in enumerate(vectors)]


# In the shop's own database.


def test_a_failed_search_leaves_the_transaction_of_its_caller_usable(index: PgvectorIndex) -> None:
    index.write([entry(1, axis(0))])
    settings = "SELECT current_setting('statement_timeout'), current_setting('enable_sort'), current_setting('jit')"
    sql("SET jit = on")
    before = sql(settings)
    missing = PgvectorIndex(database="pgvector", name="no-such-index")
    with transaction.atomic(using="pgvector"):
        assert keys(index, Query(axis(0), exact=False)) == ["1"]
        with pytest.raises(IndexMissing):
            missing.search([Query(axis(0))])
        index.write([entry(2, axis(1))])
        assert keys(index, Query(axis(1), limit=1)) == ["2"]
        assert sql(settings) == before
    assert index.count() == 2


def test_a_rollback_takes_the_writes_along(index: PgvectorIndex) -> None:
    with suppress(RuntimeError), transaction.atomic(using="pgvector"):
        index.write([entry(1, axis(0))])
        raise RuntimeError
    assert index.count() == 0


def test_a_connection_that_was_lost_by_another_statement_is_opened_again(index: PgvectorIndex) -> None:
    """In a service that runs on, without the requests between which Django would reopen it."""
    other = connections.create_connection("pgvector")
    try:
        with other.cursor() as cursor:
            connection = connections["pgvector"]
            cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    finally:
        other.close()
    with pytest.raises(OperationalError):
        sql("SELECT 1")
    with pytest.raises(IndexUnavailable):
        index.active()
    assert index.active()


def test_a_slow_search_ends_in_time(index: PgvectorIndex) -> None:
    """Behind a lock, which is the most reliable way to be slow."""
    index.write([entry(1, axis(0))])
    impatient = PgvectorIndex(database="pgvector", name=index.name, request_timeout=0.2)
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(using="pgvector"):
            sql(f"LOCK TABLE {table(index, 'image')} IN ACCESS EXCLUSIVE MODE")
            locked.set()
            done.wait(20)
        connections["pgvector"].close()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(20)
    started = time.monotonic()
    try:
        with pytest.raises(QueryTimeout, match="took too long"):
            impatient.search([Query(axis(0))])
        assert time.monotonic() - started < 5
    finally:
        done.set()
        thread.join()
    assert keys(impatient, Query(axis(0))) == ["1"]


def test_writers_that_delete_old_tombstones_do_not_wait_for_each_other(
    index: PgvectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.write([Removal(f"shop.product:{n}", 1) for n in range(4)])
    monkeypatch.setattr(writing, "TOMBSTONE_AGE", "0 seconds")
    meet = threading.Barrier(2)
    errors: list[Exception] = []

    def replace_one(number: int) -> None:
        try:
            with transaction.atomic(using="pgvector"):
                index.write([entry(number, axis(0), version=2)])
                meet.wait(20)
                index.write([Removal(f"shop.product:gone-{number}", 1)])
        except Exception as error:
            errors.append(error)
        finally:
            connections["pgvector"].close()

    threads = [threading.Thread(target=replace_one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert dict(index.scan()) == {"shop.product:0": 2, "shop.product:1": 2}
    assert {key for [key] in sql(f"SELECT key FROM {table(index, 'entry')} WHERE removed_at IS NOT NULL")} <= {
        "shop.product:gone-0",
        "shop.product:gone-1",
    }


@pytest.mark.parametrize("words_first", [False, True])
def test_a_search_and_the_drop_of_its_index_do_not_wait_for_each_other(
    pgvector_alias: str, monkeypatch: pytest.MonkeyPatch, words_first: bool
) -> None:
    """A drop needs all tables at once, a search needs them one after the other."""
    index = PgvectorIndex(database=pgvector_alias, name=f"test-{secrets.token_hex(4)}")
    index.promote(index.create(replace(META, texts={"name": TextSpec()})))
    index.write([entry(n, axis(0), texts={"name": ("shoe",)}, filters={"brand": "a"}) for n in range(3)])
    former, errors = index.active() or "", list[Exception]()
    keys(index, Query(axis(0)))  # counts the entries, which later searches do not

    def drop() -> None:
        try:
            index.drop(former)
        except Exception as error:
            errors.append(error)
        finally:
            connections["pgvector"].close()

    dropping = threading.Thread(target=drop)

    def later(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            found = original(*args)
            if not dropping.ident:
                dropping.start()
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                while dropping.is_alive() and sql(waiting) == [(0,)]:
                    time.sleep(0.01)
            return found

        return call

    monkeypatch.setattr(text, "_matches", later(text._matches))
    monkeypatch.setattr(searching, "estimate", later(searching.estimate))
    filters = Filters(conditions=(Condition("brand", "eq", "a"),))
    queries = [Query(axis(0), filters, exact=False), Query(axis(0), text="shoe")]
    assert [len(answer) for answer in index.search(queries[::-1] if words_first else queries)] == [3, 3]
    dropping.join()
    assert errors == []


def test_a_value_too_long_for_the_index_fails_its_entry_alone(index: PgvectorIndex) -> None:
    beside = index.create(META)
    for backing_index in (index.active(), beside):
        entries = [
            replace(entry(n, axis(n)), categories=(secrets.token_hex(half),)) for n, half in ((1, 1300), (2, 1301))
        ]
        results = index.write(entries, backing_index=backing_index)
        assert [(result.status, result.retryable) for result in results] == [("done", False), ("failed", False)]
        assert "2,602 bytes" in results[1].error
    index.make_searchable(beside)


def test_what_a_limit_of_postgresql_refuses_is_no_outage(index: PgvectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync waits for an outage to end, with all its changes; for an error, it finds the item that causes it."""
    monkeypatch.setattr(writing, "MAX_VALUE_BYTES", 8_000)
    with pytest.raises(SearchIndexError, match="index row size") as caught:
        index.write([replace(entry(1, axis(0)), categories=(secrets.token_hex(2_000),))])
    assert not isinstance(caught.value, IndexUnavailable)


def test_a_graph_is_built_without_the_time_limit_of_the_shop(index: PgvectorIndex) -> None:
    beside = index.create(META)
    index.write(scattered(1_500), backing_index=beside)
    sql("SET statement_timeout = '20ms'")
    index.make_searchable(beside)
    assert sql("SHOW statement_timeout") == [("20ms",)]


def test_an_unreachable_database_is_an_unavailable_index(index: PgvectorIndex) -> None:
    connections["pgvector"].close()
    good = connections["pgvector"].settings_dict["PORT"]
    connections["pgvector"].settings_dict["PORT"] = 9
    try:
        for ask in (index.ping, index.count, lambda: index.write([entry(1, axis(0))])):
            with pytest.raises(IndexUnavailable, match="cannot use its database"):
                ask()
    finally:
        connections["pgvector"].settings_dict["PORT"] = good
    index.ping()


def test_a_drop_that_others_keep_waiting_is_retried_as_an_outage(index: PgvectorIndex) -> None:
    """A rebuild must not fail after the swap because a worker is suspended in the middle of a write to the former
    index."""
    beside = index.create(META)
    hasty = PgvectorIndex(database="pgvector", name=index.name, request_timeout=0.02)
    other = connections.create_connection("pgvector")
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            tables.read(cursor, index.name, beside, {})
            with pytest.raises(IndexUnavailable, match="statement timeout"):
                hasty.drop(beside)
    finally:
        other.close()
    hasty.drop(beside)
    assert index.backing_indexes() == [index.active()]


def test_nothing_is_left_of_a_dropped_index(index: PgvectorIndex) -> None:
    index.write([entry(1, axis(0))])
    entries = table(index, "entry")
    prefix = entries.removesuffix("entry")
    assert sql("SELECT count(*) FROM pg_class WHERE starts_with(relname, %s)", prefix) > [(5,)]
    index.drop(index.active() or "")
    assert sql("SELECT count(*) FROM pg_class WHERE starts_with(relname, %s)", prefix) == [(0,)]


def test_a_swap_to_another_projection_is_noticed(index: PgvectorIndex) -> None:
    """A process takes the backing index of its last search for the active one."""
    index.write([entry(1, axis(0))])
    keys(index, Query(axis(0)))
    other = PgvectorIndex(database="pgvector", name=index.name)
    other.promote(other.create(replace(META, projection="fitted")))
    assert index.meta().projection == ""  # so a query is projected in the wrong way
    with pytest.raises(ModelMismatch, match="another projection"):
        index.search([Query(axis(0), fingerprint=META.fingerprint)])
    assert index.meta().projection == "fitted"
    assert keys(index, Query(axis(0))) == []


# The graph.


@pytest.mark.parametrize(
    ("pgvector_alias", "quantisation", "element"),
    [("newest", "auto", "halfvec"), ("newest", "none", "vector"), ("oldest", "auto", "vector")],
    indirect=["pgvector_alias"],
)
def test_the_graph_is_of_half_precision_where_the_server_has_it(
    index: PgvectorIndex, quantisation: Any, element: str
) -> None:
    chosen = PgvectorIndex(database="pgvector", name=index.name, quantisation=quantisation, m=8)
    chosen.promote(chosen.create(META))
    [[definition]] = sql("SELECT indexdef FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%hnsw%%'",
                         table(chosen, "image"))  # fmt: skip
    assert f"{element}_ip_ops" in definition
    assert "m='8'" in definition


@pytest.mark.parametrize("pgvector_alias", ["oldest"], indirect=True)
def test_half_precision_needs_pgvector_0_7(index: PgvectorIndex) -> None:
    with pytest.raises(ConfigurationError, match=r"'half' needs pgvector 0\.7"):
        PgvectorIndex(database="pgvector", name=index.name, quantisation="half").create(META)


def test_a_model_with_too_many_dimensions_is_refused(index: PgvectorIndex) -> None:
    with pytest.raises(ConfigurationError, match=r"takes 4,000 dimensions here, and the model has 4,001"):
        index.create(IndexMeta("m", 4_001))


def test_changes_without_new_vectors_leave_the_graph_alone(index: PgvectorIndex) -> None:
    def places() -> list[tuple[Any, ...]]:
        return sql(f"SELECT ctid::text FROM {table(index, 'image')} ORDER BY entry, position")

    index.write([entry(1, axis(0), axis(1)), entry(2, axis(2))])
    before = places()
    index.write([entry(1, axis(0), axis(1), version=2, in_stock=False), entry(2, axis(2), version=2)])
    assert index.count(Filters(in_stock=False)) == 1
    assert places() == before
    index.write([entry(2, axis(3), version=3)])
    assert places()[:2] == before[:2]
    assert places()[2:] != before[2:]
    index.write([Removal("shop.product:1", 3)])
    assert len(places()) == 1


def test_an_index_is_filled_first_and_its_graph_built_when_promoted(index: PgvectorIndex) -> None:
    backing_index = index.create(META)
    index.write(scattered(300), backing_index=backing_index)
    [[number]] = sql("SELECT id FROM imagesim_pgvector WHERE name = %s", backing_index)
    graph = f"imagesim_pgvector_{number}_graph"
    assert sql("SELECT to_regclass(%s)", graph) == [(None,)]
    index.promote(backing_index)
    assert index.search([Query(axis(0), exact=False)])[0].exact is False
    # As a killed process leaves it.
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", graph)
    index.promote(backing_index)
    assert sql("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", graph) == [(True,)]


@pytest.mark.parametrize("pgvector_alias", ["newest", "oldest"], indirect=True)
def test_the_search_is_exact_where_few_pass_the_filters(index: PgvectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "EXACT_UP_TO", 100)
    monkeypatch.setattr(searching, "break_even", lambda *_: 100)
    entries = scattered(2_000)
    index.write(entries)
    index.update_statistics()
    for prices, exact in ((100, False), (50, False), (3, True)):
        query = Query(axis(0), Filters(conditions=(Condition("price", "lt", prices),)), limit=10)
        [answer] = index.search([query])
        assert answer.exact is exact, prices
        true = {key for key, _, _ in expected(entries, query)[:10]}
        assert len(true & {match.key for match in answer.candidates}) >= 9


def test_the_filters_of_a_query_are_compiled_once(index: PgvectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Filters] = []
    original = validation.compile_filters

    def counted(filters: Filters, kinds: Any) -> Any:
        compiled.append(filters)
        return original(filters, kinds)

    index.write(scattered(20))
    monkeypatch.setattr(validation, "compile_filters", counted)
    asked = [Filters(conditions=(Condition("price", "lt", price),)) for price in (10, 50)]
    index.search([*(Query(axis(0), filters) for filters in asked), Query(axis(0), asked[0], text="red")])
    assert compiled == [*asked, asked[0]]


def test_a_narrow_filter_is_answered_by_the_graph_alone(index: PgvectorIndex) -> None:
    """The graph is read further until enough entries pass; a page that it cannot fill is answered exactly."""
    index.write(scattered(3_000))
    index.update_statistics()
    narrow = Filters(conditions=(Condition("price", "eq", 7),))
    [answer] = index.search([Query(axis(0), narrow, limit=10, exact=False)])
    assert (len(answer), answer.exact) == (10, False)
    [answer] = index.search([Query(axis(0), narrow, limit=40, exact=False)])
    assert (len(answer), answer.exact) == (30, True)


@pytest.fixture
def tenants(pgvector_alias: str) -> Iterator[tuple[str, str]]:
    """Two schemas, the first of them in front of ``public`` in the search path."""
    names = tuple(f"tenant_{secrets.token_hex(4)}" for _ in range(2))
    for name in names:
        sql(f"CREATE SCHEMA {name}")
    sql(f"SET search_path = {names[0]}, public")
    yield names  # type: ignore[misc]
    sql("RESET search_path")
    for name in names:
        sql(f"DROP SCHEMA {name} CASCADE")


def test_tables_are_those_of_the_tenant(index: PgvectorIndex, tenants: tuple[str, str]) -> None:
    for tenant in tenants:
        sql(f"SET search_path = {tenant}, public")
        index.promote(index.create(META))
        index.write([entry(tenant, axis(0))])
        # Not from pg_indexes, which fails while another test drops its tables.
        graphs = "SELECT count(*) FROM pg_class c JOIN pg_am a ON a.oid = c.relam AND a.amname = 'hnsw'"
        assert sql(f"{graphs} WHERE c.relnamespace = %s::regnamespace", tenant) == [(1,)]
    for tenant in tenants:
        sql(f"SET search_path = {tenant}, public")
        assert keys(index, Query(axis(0))) == [tenant]
        index.drop(index.active() or "")
    sql("SET search_path = public")
    assert index.count() == 0


# What is stored.


def test_old_tombstones_are_purged(index: PgvectorIndex) -> None:
    index.write([entry(1, axis(0)), Removal("shop.product:1", 2), Removal("shop.product:2", 2)])
    entries = table(index, "entry")
    assert sql(f"SELECT count(*) FROM {entries}") == [(2,)]
    sql(f"UPDATE {entries} SET removed_at = now() - interval '2 hours' WHERE key = 'shop.product:1'")
    index.write([Removal("shop.product:3", 2)])
    assert sql(f"SELECT key FROM {entries} ORDER BY key") == [("shop.product:2",), ("shop.product:3",)]


def test_a_removal_takes_along_what_another_writer_was_just_adding(
    index: PgvectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = writing._lock

    def lock(*args: Any) -> Any:
        found = original(*args)
        monkeypatch.undo()
        index.write([entry(1, axis(0))])
        return found

    monkeypatch.setattr(writing, "_lock", lock)
    assert [each.status for each in index.write([Removal("shop.product:1", 2)])] == ["done"]
    assert sql(f"SELECT count(*) FROM {table(index, 'image')}") == [(0,)]


def test_names_are_data_and_never_part_of_a_statement(pgvector_alias: str) -> None:
    bad = 'x"; DROP TABLE imagesim_pgvector; --'
    index = PgvectorIndex(database=pgvector_alias, name=bad)
    index.promote(index.create(IndexMeta("m", DIMS, {bad: "keyword", "%s": "number", "{}": "date"})))
    try:
        index.write([entry(1, axis(0), filters={bad: bad, "%s": 3, "{}": "2026-01-31"})])
        filters = Filters(conditions=(Condition(bad, "eq", bad), Condition("%s", "gte", 3)))
        assert keys(index, Query(axis(0), filters, fields=(bad, "{}"))) == ["1"]
        assert index.facets(filters, (bad,))[bad].values == ((bad, 1),)
    finally:
        index.drop(index.active() or "")


def test_words_with_signs_of_the_full_text_search(pgvector_alias: str) -> None:
    index = PgvectorIndex(database=pgvector_alias, name=f"test-{secrets.token_hex(4)}")
    index.promote(index.create(IndexMeta("m", DIMS, texts={"name": TextSpec()})))
    try:
        names = ("O'Neill's jacket", "back\\slash & pipe | star:*", "d'Orsay shoe")
        index.write([entry(n, axis(n), texts={"name": (name,)}) for n, name in enumerate(names)])
        for number, word in enumerate(("o'neill", "slash & star:*", "d'orsay")):
            assert index.search([Query(axis(0), text=word)])[0].candidates[0].key == f"shop.product:{number}"
    finally:
        index.drop(index.active() or "")


# What is missing.


def test_wrong_options() -> None:
    for options, message in (
        ({"quantisation": "int8"}, "'int8' is unknown"),
        ({"num_candidates": 0}, "from 1 to 1000"),
        ({"recall": 2}, "between 0.5 and 1"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            PgvectorIndex(**options)  # type: ignore[arg-type]


def test_the_check_names_a_database_that_is_not_postgresql() -> None:
    [message] = PgvectorIndex(database="nowhere").check()
    assert (message.id, message.level) == ("imagesim.E102", 40)
    assert "'nowhere' is not" in message.msg


@pytest.mark.parametrize("package", ["pgvector", "psycopg"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("imagesim.indexes.pgvector")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=r'pip install "django-imagesim\[pgvector\]"'):
        get_index(Backend("imagesim.indexes.pgvector.PgvectorIndex", {"name": secrets.token_hex(4)}))


def test_a_user_who_may_not_create_the_extension_is_told_who_must(pgvector_alias: str) -> None:
    name = f"limited_{secrets.token_hex(4)}"
    sql(f"CREATE ROLE {name} LOGIN")
    sql(f"CREATE DATABASE {name} OWNER {name}")
    settings = connections[pgvector_alias].settings_dict
    connections.databases["limited"] = {**settings, "NAME": name, "USER": name}
    try:
        with pytest.raises(ConfigurationError, match="let a superuser run CREATE EXTENSION vector"):
            PgvectorIndex(database="limited").create(META)
    finally:
        connections["limited"].close()
        del connections["limited"], connections.databases["limited"]
        sql(f"DROP DATABASE {name}")
        sql(f"DROP ROLE {name}")


def test_two_processes_create_the_extension_at_the_same_time(pgvector_alias: str) -> None:
    name = f"fresh_{secrets.token_hex(4)}"
    sql(f"CREATE DATABASE {name}")
    connections.databases["fresh"] = {**connections[pgvector_alias].settings_dict, "NAME": name}
    database, errors = Database("fresh", "products", 5.0), list[Exception]()

    def create() -> None:
        try:
            database.create_extension()
        except Exception as error:
            errors.append(error)
        finally:
            connections["fresh"].close()

    second = threading.Thread(target=create)
    try:
        with transaction.atomic(using="fresh"):
            database.create_extension()
            second.start()
            waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
            wait_until(lambda: sql(waiting, name), seconds=30, what="the second transaction waits for the first")
        second.join(30)
        assert not errors
    finally:
        connections["fresh"].close()
        del connections["fresh"], connections.databases["fresh"]
        sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_short_beginning_of_many_words_is_compared_once(index: PgvectorIndex, monkeypatch) -> None:
    """If each entry were compared with every word that begins so, sixteen such words would take a minute of the
    server's time."""
    sent: list[str] = []

    def rows(cursor: Any, query: Any, values: Any = None) -> Any:
        sent.append(" ".join(map(str, (values or {}).values())))
        return searching.rows(cursor, query, values)

    index.promote(index.create(replace(META, texts={"name": TextSpec()})))
    names = ["trimmer", "sofa", *(f"tri{first}{last}ow" for first in "abcdefghjk" for last in "aeioulmnrs")]
    index.write([entry(n, axis(0), texts={"name": (name,)}) for n, name in enumerate(names)])
    index.refresh()
    monkeypatch.setattr(text, "rows", rows)
    query = Query(axis(0), text="tri", limit=50)
    assert len(set(keys(index, query))) == 50
    assert len(max(sent, key=len)) < 500
    assert keys(index, replace(query, text="trimmer sofa")) == ["0", "1"]


def test_a_time_limit_that_cancels_the_building_of_a_graph_is_named(index):
    """For instance behind a pool, where it cannot be lifted. Another try would only take as long again."""
    with pytest.raises(SearchIndexError, match="statement_timeout"), index._database.autocommit() as cursor:
        cursor.execute("SET statement_timeout = 20; SELECT pg_sleep(5)")
    assert sql("SELECT current_setting('statement_timeout')") == [("0",)]
