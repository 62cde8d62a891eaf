"""The tables of the index: one that lists all backing indexes, and three for each of them.

``imagesim_pgvector`` lists the backing indexes. For the one with the id n, ``imagesim_pgvector_<n>_entry`` has a row
for each entry (a tombstone for a removed one), ``…_image`` a row for each image with its vector, and ``…_word`` a row
for each word of the texts. Tables are found by the search path of the connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from imagesim.exceptions import IndexMissing, index_missing
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.pgvector.database import Database, lock, rows, set_local
from imagesim.indexes.validation import stored_meta
from imagesim.types import IndexMeta

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

REGISTRY = sql.Identifier("imagesim_pgvector")
KINDS = ("entry", "image", "word")
MAX_PLAIN_DIMS = 1_900
"""The number of dimensions up to which vectors are stored in the row itself; longer ones are moved to TOAST tables."""
MAX_DIMS = {"vector": 2_000, "halfvec": 4_000}
"""The maximum number of dimensions of an HNSW graph, by the type of its vectors."""
MAX_INDEX_COLUMNS = 32
"""The maximum number of columns of an index of PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One backing index. ``element`` is the type of the vectors in the graph, ``vector`` or ``halfvec``."""

    id: int
    name: str
    meta: IndexMeta
    element: str

    def table(self, kind: str) -> sql.Identifier:
        """Return the name of the table of one of ``KINDS``."""
        return sql.Identifier(f"imagesim_pgvector_{self.id}_{kind}")

    def column(self, filter_name: str, part: str = "") -> sql.Identifier:
        """Return the column with all values of a filter or, with ``part``, the ``"_min"`` or ``"_max"`` of a number or
        date."""
        return sql.Identifier(f"filter{list(self.meta.filters).index(filter_name)}{part}")

    def graph_vector(self, *table: str) -> sql.Composed:
        """Return the expression on which the graph is built."""
        vector = sql.Identifier(*table, "vector")
        return sql.SQL("{}" if self.element == "vector" else "({}::{})").format(vector, self.graph_type)

    @property
    def graph_type(self) -> sql.SQL:
        """The type of the vectors in the graph, with the number of dimensions."""
        return sql.SQL(f"{self.element}({int(self.meta.dims)})")

    @property
    def text_classes(self) -> dict[str, str]:
        """The weight of each text field in a ``tsvector``. There are four, so the fields of least weight share D."""
        order = sorted(self.meta.texts, key=lambda name: -self.meta.texts[name].weight)
        return {name: "ABCD"[min(number, 3)] for number, name in enumerate(order)}


def read(cursor: CursorWrapper, index: str, backing_index: str | None, known: dict[str, Generation]) -> Generation:
    """Return a backing index, by default the active one. ``known`` caches backing indexes by name; they never change.

    The index is not dropped before the end of the transaction (see :func:`drop`).

    :raises IndexMissing: if there is none.
    :raises SearchIndexError: if its meta is invalid.
    """
    which = sql.SQL("active" if backing_index is None else "name = %(name)s")
    query = sql.SQL(
        "SELECT id, name, meta, element, pg_advisory_xact_lock_shared(tableoid::int4, id::int4) FROM {} "
        "WHERE index = %(index)s AND {}"
    ).format(REGISTRY, which)
    found = rows(cursor, query, {"index": index, "name": backing_index})
    if not found:
        raise index_missing(index, backing_index)
    id, name, meta, element, _lock = found[0]
    generation = known.get(name)
    if generation is None or generation.id != id:
        generation = known[name] = Generation(id, name, stored_meta(name, meta), element)
    return generation


def names(database: Database, condition: str = "true") -> list[str]:
    """Return the names of the backing indexes, oldest first; an empty list if there is no table yet."""
    query = sql.SQL("SELECT name FROM {} WHERE index = %(index)s AND {} ORDER BY id").format(
        REGISTRY,
        sql.SQL(condition),
    )
    try:
        with database.reading() as cursor:
            return [row[0] for row in rows(cursor, query, {"index": database.name})]
    except IndexMissing:
        return []


def create(cursor: CursorWrapper, index: str, name: str, meta: IndexMeta, element: str) -> None:
    """Create the tables of a backing index. The indexes of these tables are built later, by :func:`build_indexes`."""
    lock(cursor)
    cursor.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, index text NOT NULL, "
            "name text NOT NULL UNIQUE, meta text NOT NULL, element text NOT NULL, "
            "active boolean NOT NULL DEFAULT false)"
        ).format(REGISTRY)
    )
    insert = sql.SQL("INSERT INTO {} (index, name, meta, element) VALUES (%s, %s, %s, %s) RETURNING id")
    [[id]] = rows(cursor, insert.format(REGISTRY), [index, name, json.dumps(asdict(meta)), element])
    for statement in _tables(Generation(id, name, meta, element)):
        cursor.execute(statement)


def _tables(generation: Generation) -> Iterator[sql.Composed]:
    columns: list[sql.Composable] = [sql.SQL(each) for each in _ENTRY]
    for name, kind in generation.meta.filters.items():
        filter_type = FILTER_TYPES[kind]
        collation = ' COLLATE "C"' if filter_type.is_text else ""
        values = sql.SQL(f"{filter_type.postgresql}[]{collation} NOT NULL DEFAULT '{{}}'")
        columns.append(sql.SQL("{} {}").format(generation.column(name), values))
        if filter_type.is_range:
            for part in ("_min", "_max"):
                one = sql.SQL(filter_type.postgresql)
                columns.append(sql.SQL("{} {}").format(generation.column(name, part), one))
    yield sql.SQL("CREATE TABLE {} ({}) WITH (fillfactor = 90)").format(
        generation.table("entry"), sql.SQL(", ").join(columns)
    )
    image, dims = generation.table("image"), sql.SQL(str(int(generation.meta.dims)))
    yield sql.SQL(
        "CREATE TABLE {} (entry bigint NOT NULL, position smallint NOT NULL, vector vector({}) NOT NULL, "
        "PRIMARY KEY (entry, position))"
    ).format(image, dims)
    if generation.meta.dims <= MAX_PLAIN_DIMS:
        # From 512 dimensions on, the vector would be stored elsewhere, where reading it takes several times as long.
        yield sql.SQL("ALTER TABLE {} ALTER COLUMN vector SET STORAGE PLAIN").format(image)
    yield sql.SQL(
        'CREATE TABLE {} (word text COLLATE "C" PRIMARY KEY, reversed text COLLATE "C" NOT NULL, '
        "stems text[] NOT NULL, letters bigint NOT NULL, length smallint NOT NULL)"
    ).format(generation.table("word"))


_ENTRY = (
    "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    'key text COLLATE "C" NOT NULL UNIQUE',
    "version bigint NOT NULL",
    "removed_at timestamptz",
    "checksum bytea NOT NULL",
    "model text NOT NULL",
    'grp text COLLATE "C" NOT NULL',
    'categories text[] COLLATE "C" NOT NULL',
    "in_stock boolean NOT NULL",
    "images json NOT NULL",
    "texts json",
    "words tsvector",
    "lengths smallint[]",
)


def build_indexes(database: Database, generation: Generation, graph: dict[str, int], memory: str) -> None:
    """Build those indexes of the tables that do not exist yet, including the graph of the vectors.

    They are built concurrently, so that writes can continue, unless the tables are empty or the caller is in a
    transaction.
    """
    definitions = dict(_indexes(generation, graph))
    with database.reading() as cursor:
        query = "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        own = [generation.table(kind).as_string(None) for kind in KINDS]
        cursor.execute(query + "WHERE i.indrelid = ANY(%s::regclass[])", [own])
        there = dict(cursor.fetchall())
        empty = not rows(cursor, sql.SQL("SELECT 1 FROM {} LIMIT 1").format(generation.table("entry")))
    wanted = {name: definition for name, definition in definitions.items() if not there.get(name)}
    if not wanted:
        return
    if empty or database.connection.in_atomic_block:
        with database.writing(seconds=0) as cursor:
            set_local(cursor, maintenance_work_mem=memory)
            for name, definition in wanted.items():
                cursor.execute(_named(name, definition))
        return
    with database.autocommit(maintenance_work_mem=memory) as cursor:
        for name, definition in wanted.items():
            if name in there:  # it is invalid, because a process was killed while building it
                cursor.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
            cursor.execute(_named(name, definition, "CONCURRENTLY "))


def _named(name: str, definition: sql.Composed, how: str = "") -> sql.Composed:
    return sql.SQL("CREATE INDEX {}{} ON {}").format(sql.SQL(how), sql.Identifier(name), definition)


def _indexes(generation: Generation, graph: dict[str, int]) -> Iterator[tuple[str, sql.Composed]]:
    prefix = f"imagesim_pgvector_{generation.id}"
    entry, kinds = generation.table("entry"), generation.meta.filters
    parameters = [sql.SQL("{} = {}").format(sql.Identifier(n), sql.Literal(int(value))) for n, value in graph.items()]
    operators = sql.SQL(f"{generation.element}_ip_ops")
    yield (
        f"{prefix}_graph",
        sql.SQL("{} USING hnsw (({}) {}) WITH ({})").format(
            generation.table("image"), generation.graph_vector(), operators, sql.SQL(", ").join(parameters)
        ),
    )
    arrays = [sql.Identifier("categories")]
    arrays += [generation.column(name) for name, kind in kinds.items() if FILTER_TYPES[kind].is_text]
    for start in range(0, len(arrays), MAX_INDEX_COLUMNS):
        some = sql.SQL(", ").join(arrays[start : start + MAX_INDEX_COLUMNS])
        yield f"{prefix}_values{start or ''}", sql.SQL("{} USING gin ({})").format(entry, some)
    for number, (name, kind) in enumerate(kinds.items()):
        for part in ("_min", "_max") if FILTER_TYPES[kind].is_range else ():
            yield f"{prefix}_filter{number}{part}", sql.SQL("{} ({})").format(entry, generation.column(name, part))
    yield f"{prefix}_removed", sql.SQL("{} (removed_at) WHERE removed_at IS NOT NULL").format(entry)
    if generation.meta.texts:
        word = generation.table("word")
        yield f"{prefix}_words", sql.SQL("{} USING gin (words)").format(entry)
        yield f"{prefix}_reversed", sql.SQL("{} (reversed)").format(word)
        yield f"{prefix}_stems", sql.SQL("{} USING gin (stems)").format(word)


def activate(cursor: CursorWrapper, index: str, backing_index: str) -> None:
    """Make a backing index the active one. The caller has to commit.

    :raises IndexMissing: if it does not exist.
    """
    lock(cursor)
    query = sql.SQL("UPDATE {} SET active = (name = %(name)s) WHERE index = %(index)s RETURNING name").format(REGISTRY)
    found = rows(cursor, query, {"name": backing_index, "index": index})
    if (backing_index,) not in found:
        raise index_missing(index, backing_index)


def drop(cursor: CursorWrapper, index: str, backing_index: str) -> None:
    """Drop the tables of a backing index, and, after the last backing index, also the table that lists them.

    This waits until nobody uses it. Otherwise its users, which lock its tables one after the other, could wait for this
    transaction while it waits for them.
    """
    lock(cursor)
    if not rows(cursor, sql.SQL("SELECT to_regclass('imagesim_pgvector')"))[0][0]:
        return
    query = sql.SQL(
        "SELECT id, pg_advisory_xact_lock(tableoid::int4, id::int4) FROM {} WHERE index = %s AND name = %s"
    ).format(REGISTRY)
    for [id, _lock] in rows(cursor, query, [index, backing_index]):
        cursor.execute(sql.SQL("DELETE FROM {} WHERE id = %s").format(REGISTRY), [id])
        for kind in KINDS:
            table = sql.Identifier(f"imagesim_pgvector_{id}_{kind}")
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
    if not rows(cursor, sql.SQL("SELECT 1 FROM {} LIMIT 1").format(REGISTRY)):
        cursor.execute(sql.SQL("DROP TABLE {}").format(REGISTRY))


def analyse(cursor: CursorWrapper, generation: Generation) -> None:
    """Update PostgreSQL's statistics, on which its planner and the choice between exact and approximate search
    depend."""
    for kind in ("entry", "image"):
        cursor.execute(sql.SQL("ANALYZE {}").format(generation.table(kind)))
