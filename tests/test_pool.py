"""PostgreSQL behind a real PgBouncer that pools by transaction: each statement may reach another session."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from demo_shop import environment
from demo_shop.shop.models import Category, Product
from imagesim import database
from imagesim.indexes.pgvector import PgvectorIndex
from imagesim.indexing import outbox
from imagesim.models import Embedding, ItemState, Scope
from imagesim.testing.index_samples import META, axis, entry, keys
from imagesim.types import Query
from tests.missing import missing
from tools import servers
from tools.system import Failure

SESSIONS = 3
MEMORY = "93MB"


@contextmanager
def pooled(direct: BaseDatabaseWrapper, alias: str) -> Iterator[str]:
    """Have the alias reach the same database through a pool whose sessions answer one after the other."""
    settings = direct.settings_dict
    user = ":".join(settings[part] for part in ("USER", "PASSWORD") if settings[part])
    url = f"postgres://{user}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    with tempfile.TemporaryDirectory(prefix="imagesim-pool-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        try:
            pool, through = servers.pgbouncer(Path(name), url)
        except Failure as failure:
            missing(str(failure))
        stack.callback(pool.kill)
        pool.start().wait_until_it_answers()
        made = [direct.copy(alias) for _ in range(SESSIONS)]
        for each in made:
            stack.callback(each.close)
            each.settings_dict |= environment.postgres(through)
            each.set_autocommit(False)
            with each.cursor() as cursor:
                cursor.execute("SELECT 1")
        for each in made:
            each.rollback()
            each.set_autocommit(True)
        connections[alias] = made[0]
        try:
            yield alias
        finally:
            del connections[alias]


@pytest.fixture
def pool(transactional_db: None, postgres: str) -> Iterator[str]:
    """An alias of the test database, through the pool."""
    with pooled(connections["default"], "pooled") as alias:
        yield alias


def processes(alias: str) -> set[int]:
    """The processes of the server that answer the next statements."""
    found = set()
    for _ in range(4 * SESSIONS):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            found.add(cursor.fetchone()[0])
    return found


def test_a_pool_is_recognised(pool: str) -> None:
    assert len(processes(pool)) == SESSIONS
    assert not database.keeps_session(connections[pool])
    assert database.keeps_session(connection)


@pytest.mark.parametrize("in_order", [False, True])
def test_rows_are_streamed_without_a_cursor_that_outlives_its_statement(pool: str, in_order: bool) -> None:
    """Django opens one unless DISABLE_SERVER_SIDE_CURSORS is set; the pool may continue it in another session."""
    made = [f"{n}" for n in range(7)]
    Embedding.objects.bulk_create(Embedding(digest=digest, fingerprint="f", vector=b"") for digest in made)
    rows = Embedding.objects.using(pool).values_list("digest", flat=True)
    if in_order:
        read = list(database.in_code_point_order(rows, "digest", str, chunk_size=2))
    else:
        read = list(database.stream(rows.order_by("digest"), chunk_size=2))
    assert read == made


def test_items_in_a_database_behind_a_pool_are_recorded(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their keys are read there, while the changes are written to another database."""
    monkeypatch.setattr(outbox, "CHUNK", 2)
    category = Category.objects.create(name="Shoes", slug="shoes")
    Product.objects.bulk_create(Product(name=f"{n}", slug=f"{n}", category=category, price=1) for n in range(7))
    label = Product._meta.label_lower
    assert outbox.record(label, Product.objects.using(pool).all(), scope=Scope.ALL, using=pool) == 7
    assert ItemState.objects.count() == 7


@pytest.fixture
def index(pgvector_alias: str, django_db_blocker: Any) -> Iterator[PgvectorIndex]:
    """An index that is reached through the pool."""
    direct = connections[pgvector_alias]
    with django_db_blocker.unblock(), pooled(direct, pgvector_alias):
        made = PgvectorIndex(database=pgvector_alias, name=f"pool-{secrets.token_hex(4)}", build_memory=MEMORY)
        made.promote(made.create(META))
        yield made
        for backing_index in made.backing_indexes():
            made.drop(backing_index)
    connections[pgvector_alias] = direct


def settings_of_sessions(alias: str) -> set[tuple[str, str]]:
    found = set()
    for _ in range(4 * SESSIONS):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_setting('maintenance_work_mem'), current_setting('statement_timeout')")
            found.add(cursor.fetchone())
    return found


def test_a_graph_is_built_and_no_setting_stays_with_others(index: PgvectorIndex, caplog) -> None:
    before = settings_of_sessions("pgvector")
    filled = index.create(META)
    index.write([entry(f"p{n}", axis(n % 3)) for n in range(9)], backing_index=filled)
    index.promote(filled)
    assert settings_of_sessions("pgvector") == before
    assert len(keys(index, Query(vector=axis(0), limit=3))) == 3
    assert "maintenance_work_mem" in caplog.text
