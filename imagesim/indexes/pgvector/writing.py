"""Write entries: rows if their version is newer, vectors with COPY, and the words of their texts.

All writers lock rows in the same order, first by word and then by key, so that they cannot deadlock.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from pgvector import Vector
from psycopg import sql

from imagesim.database import batched
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import text_hits
from imagesim.indexes.pgvector.database import rows
from imagesim.indexes.pgvector.tables import Generation
from imagesim.indexes.text import MAX_LENGTH
from imagesim.indexes.validation import TOMBSTONE_AGE, Prepared, newest, prepare_all
from imagesim.indexes.vocabulary import letters
from imagesim.types import Entry, Removal, WriteResult

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

BATCH = 200
"""The maximum number of rows of one statement."""
MAX_VALUE_BYTES = 2_600
"""The maximum size of a value in a GIN index: a third of a page, less the overhead of PostgreSQL."""
MAX_WORD_BYTES = 1_000_000
"""The maximum size of the words of an entry; PostgreSQL's ``tsvector`` holds 1,048,575 bytes. Further words are not
indexed."""
WORD_OVERHEAD = 16
"""The maximum number of bytes that PostgreSQL adds to a word."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)


def write(cursor: CursorWrapper, generation: Generation, operations: Sequence[Entry | Removal]) -> list[WriteResult]:
    """Write in the transaction of the caller; return one result per operation, in the same order."""
    valid, results = prepare_all(operations, generation.meta)
    for number, prepared in list(valid.items()):
        if isinstance(prepared, Prepared) and (error := _cannot_be_indexed(prepared)):
            results[number] = WriteResult(operations[number].key, "failed", error)
            del valid[number]
    texts = (each.texts for each in valid.values() if isinstance(each, Prepared))
    _put_words(cursor, generation, texts)
    keys = sorted({operations[number].key for number in valid})
    stored = _lock(cursor, generation, keys)
    chosen = newest(operations, valid, {key: version for key, (version, _) in stored.items()}, results)
    written: set[str] = set()
    for batch in batched(sorted(chosen), BATCH):
        put = _put(cursor, generation, {key: chosen[key] for key in batch})
        changed = [(id, chosen[key]) for key, (id, sum) in put.items() if stored.get(key, (0, None))[1] != sum]
        _put_images(cursor, generation, changed)
        written |= put.keys()
    for number, result in results.items():
        if result.status == "done" and result.key not in written:
            results[number] = WriteResult(result.key, "newer")  # another writer was first with a new key
    if any(isinstance(operation, Removal) for operation in operations):
        # Tombstones that another writer has locked are skipped: it may be waiting for this transaction.
        purge = sql.SQL(
            "DELETE FROM {entry} WHERE id = ANY(ARRAY("
            "SELECT id FROM {entry} WHERE removed_at < now() - %s::interval FOR UPDATE SKIP LOCKED))"
        )
        cursor.execute(purge.format(entry=generation.table("entry")), [str(TOMBSTONE_AGE)])
    return [results[number] for number in range(len(operations))]


def _cannot_be_indexed(prepared: Prepared) -> str:
    """Return why the GIN index cannot hold the values of the entry, or an empty string if it can."""
    values = [*prepared.categories, *(value for values in prepared.filters.values() for value in values)]
    size = max((len(value.encode()) for value in values if isinstance(value, str)), default=0)
    return (
        f"a category or filter of {size:,} bytes is longer than {MAX_VALUE_BYTES:,}." if size > MAX_VALUE_BYTES else ""
    )


def _lock(cursor: CursorWrapper, generation: Generation, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Lock the rows of these keys; return (version, checksum) by key for those that exist."""
    query = sql.SQL("SELECT key, version, checksum FROM {} WHERE key = ANY(%s) ORDER BY key FOR UPDATE")
    found = rows(cursor, query.format(generation.table("entry")), [list(keys)])
    return {key: (version, bytes(checksum)) for key, version, checksum in found}


def _put(
    cursor: CursorWrapper, generation: Generation, batch: Mapping[str, Prepared | Removal]
) -> dict[str, tuple[int, bytes]]:
    """Insert rows, or replace them if they are newer; return (id, checksum) by key of those that were written."""
    made = [_row(generation, each) for each in batch.values()]
    names = [sql.Identifier(name) for name in _columns(generation)]
    row = sql.SQL("({})").format(sql.SQL(", ").join([sql.SQL("%s")] * len(names)))
    entry = generation.table("entry")
    statement = sql.SQL(
        "INSERT INTO {entry} AS old ({names}) VALUES {rows} ON CONFLICT (key) DO UPDATE SET ({names}) = ({new}) "
        "WHERE old.version < EXCLUDED.version RETURNING key, id, checksum"
    ).format(
        entry=entry,
        names=sql.SQL(", ").join(names),
        rows=sql.SQL(", ").join([row] * len(made)),
        new=sql.SQL(", ").join(sql.SQL("EXCLUDED.{}").format(name) for name in names),
    )
    found = rows(cursor, statement, [value for row in made for value in row])
    return {key: (id, bytes(checksum)) for key, id, checksum in found}


def _columns(generation: Generation) -> list[str]:
    names = ["key", "version", "removed_at", "checksum", "model", "grp", "categories", "in_stock", "images"]
    names += ["texts", "words", "lengths"]
    for number, kind in enumerate(generation.meta.filters.values()):
        names.append(f"filter{number}")
        if FILTER_TYPES[kind].is_range:
            names += [f"filter{number}_min", f"filter{number}_max"]
    return names


def _row(generation: Generation, prepared: Prepared | Removal) -> list[Any]:
    kinds = generation.meta.filters
    if isinstance(prepared, Removal):
        row: list[Any] = [prepared.key, prepared.version, timezone.now()]
        row += [b"", "", "", [], False, "[]", None, None, None]
        filters: Mapping[str, list[Any]] = {}
    else:
        entry, filters = prepared.entry, prepared.filters
        images = json.dumps([[image.digest, image.name] for image in entry.images])
        texts = {name: [text.replace("\0", " ") for text in each] for name, each in prepared.texts.items()}
        words, lengths = _words(generation, texts) if texts else (None, None)
        row = [entry.key, entry.version, None, _checksum(prepared), entry.model, prepared.group, prepared.categories]
        row += [entry.in_stock, images, json.dumps(texts) if texts else None, words, lengths]
    for name, kind in kinds.items():
        values = filters.get(name, [])
        row.append(values)
        if FILTER_TYPES[kind].is_range:
            row += [min(values), max(values)] if values else [None, None]
    return row


def _checksum(prepared: Prepared) -> bytes:
    """Return a checksum of the vectors: if it is unchanged, as after a change of stock or price, they are not
    rewritten."""
    return hashlib.blake2b(prepared.vectors.tobytes(), digest_size=16).digest()


def _put_images(
    cursor: CursorWrapper, generation: Generation, changed: Sequence[tuple[int, Prepared | Removal]]
) -> None:
    image = generation.table("image")
    cursor.execute(sql.SQL("DELETE FROM {} WHERE entry = ANY(%s)").format(image), [[id for id, _ in changed]])
    copy = sql.SQL("COPY {} (entry, position, vector) FROM STDIN (FORMAT BINARY)").format(image)
    with cursor.db.wrap_database_errors, cursor.cursor.copy(copy) as stream:
        stream.write(_HEADER)
        for id, prepared in changed:
            if isinstance(prepared, Prepared):
                for position, vector in enumerate(prepared.vectors):
                    value = Vector(vector).to_binary()
                    stream.write(struct.pack(">hiqihi", 3, 8, id, 2, position, len(value)) + value)
        stream.write(_TRAILER)


# Words.


def _words(generation: Generation, texts: Mapping[str, Sequence[str]]) -> tuple[str, list[int]]:
    """Return the words of an entry as a ``tsvector``, and the number of words of each main field.

    The weights of a word in the ``tsvector`` (A to D) say which fields contain it.
    """
    classes = generation.text_classes
    found: dict[str, set[str]] = {}
    lengths: dict[str, int] = {}
    size = 0
    for name, values in texts.items():
        words = {token.word for token in text_hits.tokens_of(name, values, generation.meta)}
        lengths[name] = min(len(words), MAX_LENGTH)
        for word in sorted(words):
            size += 0 if word in found else len(word.encode()) + WORD_OVERHEAD
            if size <= MAX_WORD_BYTES:
                found.setdefault(word, set()).add(classes[name])
    vector = " ".join(
        f"{lexeme(word)}:{','.join(f'{n}{letter}' for n, letter in enumerate(sorted(of), 1))}"
        for word, of in found.items()
    )
    return vector, [lengths.get(name, 0) for name in text_hits.main_texts(generation.meta)]


def lexeme(word: str) -> str:
    """Return a word quoted for PostgreSQL's ``tsvector`` and ``tsquery``."""
    quoted = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'"


def _put_words(cursor: CursorWrapper, generation: Generation, texts: Iterable[Mapping[str, Sequence[str]]]) -> None:
    """Add the words to the table of all words. Words that no entry contains any more remain until a rebuild."""
    found = text_hits.words_with_stems(texts, generation.meta)
    statement = sql.SQL(
        "INSERT INTO {} AS old (word, reversed, stems, letters, length) VALUES {} ON CONFLICT (word) DO UPDATE SET "
        "stems = array(SELECT DISTINCT unnest(old.stems || EXCLUDED.stems)) WHERE NOT old.stems @> EXCLUDED.stems"
    )
    for batch in batched(sorted(found), BATCH):
        places = sql.SQL(", ").join([sql.SQL("(%s, %s, %s, %s, %s)")] * len(batch))
        made = [(word, word[::-1], sorted(found[word]), signed(letters(word)), len(word)) for word in batch]
        query = statement.format(generation.table("word"), places)
        cursor.execute(query, [value for row in made for value in row])


def signed(bits: int) -> int:
    """Return an unsigned number of 64 bits as the signed one with the same bits, for PostgreSQL's ``bigint``."""
    return bits - (1 << 64) if bits >> 63 else bits
