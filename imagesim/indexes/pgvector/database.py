"""Transactions on the index's database, with time limits and savepoints, and the translation of its errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from psycopg import sql

from imagesim.database import closing_lost_connections, keeps_session, sqlstate
from imagesim.exceptions import ConfigurationError, IndexUnavailable, QueryTimeout, SearchIndexError, index_missing

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

logger = logging.getLogger(__name__)

LOCK = 7_266_316_094_581_253_121
"""The advisory lock for creating the extension and for creating, activating and dropping tables: a number that no other
program is likely to use."""
OLDEST = (0, 5)
"""The first version of pgvector with HNSW."""

MISSING, CANCELLED, REFUSED, UNKNOWN = "42P01", "57014", "42501", ("0A000", "58P01")
PASSING = ("25006", "40001", "40P01", "55P03", "57P05")
"""The SQLSTATEs of a server that may only be read, as after a failover, and of conflicts with other transactions: the
same write may succeed later."""
LIMITS = "54"
"""The class of SQLSTATEs of values that are too large. The same write would fail again, although Django raises
OperationalError for some of them."""


class Bound:
    """The values of one statement. Each call binds a value and returns its placeholder, with a cast to ``type``."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __call__(self, value: Any, type: str) -> sql.Composed:
        name = f"p{len(self.values)}"
        self.values[name] = value
        return sql.SQL("{}::{}").format(sql.Placeholder(name), sql.SQL(type))


class Database:
    """The database of an index named ``name``; a search may take ``timeout`` seconds."""

    def __init__(self, alias: str, name: str, timeout: float) -> None:
        self.alias, self.name, self.timeout = alias, name, timeout
        self.known_version: tuple[int, int] | None = None
        """The version of pgvector, or None if it has not been read yet."""

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.alias]

    @contextmanager
    def reading(self, seconds: float | None = None, **settings: object) -> Iterator[CursorWrapper]:
        """Provide a cursor for reading, with a time limit, inside or outside a transaction of the caller.

        The transaction or savepoint is always rolled back. So the caller's transaction survives a failed statement,
        and its own time limit and planner settings are restored. ``settings`` are those of :func:`set_local`.
        """
        with self._translated_errors(), transaction.atomic(using=self.alias):
            with self.connection.cursor() as cursor:
                set_local(cursor, statement_timeout=_milliseconds(seconds or self.timeout), **settings)
                yield cursor
            transaction.set_rollback(True, using=self.alias)

    @contextmanager
    def writing(self, seconds: float | None = None) -> Iterator[CursorWrapper]:
        """Provide a cursor for writing, in a transaction, or in a savepoint of the caller's.

        The time limit is ``seconds``, or ten times that of a search; 0 stands for no limit.
        """
        nested = self.connection.in_atomic_block
        with (
            self._translated_errors(of_query=False),
            transaction.atomic(using=self.alias),
            self.connection.cursor() as cursor,
        ):
            before = ""
            if nested:
                cursor.execute("SELECT current_setting('statement_timeout')")
                [before] = cursor.fetchone()
            set_local(cursor, statement_timeout=_milliseconds(10 * self.timeout if seconds is None else seconds))
            yield cursor
            if nested:
                set_local(cursor, statement_timeout=before)

    @contextmanager
    def autocommit(self, **settings: str) -> Iterator[CursorWrapper]:
        """Provide a cursor without a time limit, and with ``settings``, for statements that cannot be part of a
        transaction.

        Behind a pool by transaction, nothing is set, because other clients would get it: the server's own settings
        apply.

        :raises SearchIndexError: if the server cancels a statement.
        """
        with self._translated_errors(of_query=False), self.connection.cursor() as cursor:
            wanted = {"statement_timeout": "0", **settings}
            if not keeps_session(self.connection):
                self._warn_of_limits(cursor, wanted)
                wanted = {}
            before = {}
            for name, value in wanted.items():
                cursor.execute("SELECT current_setting(%s)", [name])
                [before[name]] = cursor.fetchone()
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
            try:
                yield cursor
            except OperationalError as error:
                if sqlstate(error) != CANCELLED:
                    raise
                raise SearchIndexError(
                    f"PostgreSQL cancelled what builds the index {self.name!r}: {str(error).strip()}. Behind a pool, "
                    "the database's or its user's statement_timeout must be long enough, or 0 (docs/howto-pgvector.md)."
                ) from error
            finally:
                for name, value in before.items():
                    cursor.execute("SELECT set_config(%s, %s, false)", [name, value])

    def _warn_of_limits(self, cursor: CursorWrapper, wanted: dict[str, str]) -> None:
        cursor.execute("SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [list(wanted)])
        there = {name: value for name, value in cursor.fetchall() if value != wanted[name]}
        if there:
            logger.warning(
                "The graph of the index %r is built with the server's own settings (%s), because the database %r is "
                "reached through a pool.",
                self.name,
                ", ".join(f"{name} = {value}" for name, value in sorted(there.items())),
                self.alias,
            )

    def create_extension(self) -> None:
        """Create the extension in this database, unless it exists.

        :raises ConfigurationError: if it cannot be created.
        """
        try:
            with self.writing() as cursor:
                cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
                if cursor.fetchone() is None:
                    lock(cursor)  # IF NOT EXISTS fails if another transaction creates it at the same time
                    # Not in the schema of a tenant, which comes first in the search path.
                    cursor.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        except SearchIndexError as error:
            state = sqlstate(error.__cause__)
            if state == REFUSED:
                raise ConfigurationError(
                    f"The database {self.alias!r} has no pgvector, and its user may not create it: let a superuser run "
                    "CREATE EXTENSION vector in it."
                ) from error
            if state in UNKNOWN:
                raise ConfigurationError(
                    f"The server of the database {self.alias!r} has no pgvector: install it there (on Debian the "
                    "package postgresql-17-pgvector, for PostgreSQL 17), then try again."
                ) from error
            raise

    def version(self, cursor: CursorWrapper) -> tuple[int, int]:
        """Return the version of pgvector in this database.

        :raises ConfigurationError: if it is not installed or too old.
        """
        if self.known_version is None:
            cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
            row = cursor.fetchone()
            if row is None:
                raise ConfigurationError(f"The database {self.alias!r} has no pgvector; run imagesim_rebuild.")
            major, minor = row[0].split(".")[:2]
            if (int(major), int(minor)) < OLDEST:
                raise ConfigurationError(f"pgvector {row[0]} is too old; 0.5 or later is needed.")
            self.known_version = int(major), int(minor)
        return self.known_version

    @contextmanager
    def _translated_errors(self, *, of_query: bool = True) -> Iterator[None]:
        """Translate errors. A query that took too long fails alone; a write can succeed when others have ended."""
        try:
            with closing_lost_connections():
                yield
        except DatabaseError as error:
            raise self._translated(error, of_query) from error
        except InterfaceError as error:
            raise IndexUnavailable(f"The index cannot reach its database: {error}") from error

    def _translated(self, error: DatabaseError, of_query: bool) -> Exception:
        state = sqlstate(error)
        if state == MISSING:
            return index_missing(self.name, None)
        if state == CANCELLED and of_query:
            return QueryTimeout("PostgreSQL took too long for this query; ask for less, or with fewer terms.")
        refused = (state or "").startswith(LIMITS)
        if state in PASSING or (isinstance(error, OperationalError) and not refused):
            return IndexUnavailable(f"The index cannot use its database: {str(error).strip()}")
        return SearchIndexError(f"PostgreSQL refused a statement of the index ({state}): {str(error).strip()}")


def lock(cursor: CursorWrapper) -> None:
    """Take the advisory lock until the end of the transaction."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def set_local(cursor: CursorWrapper, **settings: object) -> None:
    """Change settings until the end of the transaction or savepoint; ``__`` in a name stands for a dot."""
    calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
    values = [text for name, value in settings.items() for text in (name.replace("__", "."), str(value))]
    cursor.execute(f"SELECT {calls}", values)


def rows(cursor: CursorWrapper, query: sql.Composable, values: Any = None) -> Sequence[tuple[Any, ...]]:
    """Execute a statement and return its rows."""
    cursor.execute(query, values)
    found: Sequence[tuple[Any, ...]] = cursor.fetchall()
    return found


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(1000 * seconds)) if seconds else 0)
