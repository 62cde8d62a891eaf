"""The tables behind the local index: what is written, and what a reader has not seen yet."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from django.db import router, transaction
from django.db.models import F, Max, Sum
from django.db.models.functions import Length
from django.utils import timezone

from imagesim.collation import in_code_point_order
from imagesim.exceptions import IndexMissing
from imagesim.indexes.local.columnar import Record
from imagesim.indexes.validation import Prepared
from imagesim.models import LocalEntry, LocalGeneration
from imagesim.types import IndexMeta, Removal

# A late write of an older version is refused as long as the tombstone lives; after that the writer's own look at the
# database guards against it (as with Elasticsearch's index.gc_deletes).
TOMBSTONE_AGE = timedelta(hours=1)
AT_ONCE = 500
_READ = ("key", "model", "group", "in_stock", "categories", "filters", "images", "vectors")
_WRITTEN = (*_READ[1:], "version", "seq_no", "removed_at")


class State(NamedTuple):
    """Where a generation stands now."""

    id: int
    name: str
    seq_no: int
    token: str
    purged: int


def read_alias() -> str:
    """One database for the generation and its entries, even where replicas take turns."""
    return str(router.db_for_read(LocalGeneration))


def write_alias() -> str:
    return str(router.db_for_write(LocalGeneration))


def state(index: str, backing_index: str | None, using: str) -> State:
    """:raises IndexMissing: if nothing is in service, or there is no such physical index."""
    which: dict[str, Any] = {"active": True} if backing_index is None else {"name": backing_index}
    rows = LocalGeneration.objects.using(using).filter(index=index, **which)
    found = rows.order_by("pk").values_list(*State._fields).first()
    if found is None:
        raise missing(index, backing_index)
    return State(*found)


def state_of(at: State, using: str) -> State:
    """The same generation, looked at again."""
    found = LocalGeneration.objects.using(using).filter(pk=at.id, name=at.name).values_list(*State._fields).first()
    if found is None:
        raise IndexMissing(f"The physical index {at.name!r} was dropped meanwhile; try again.")
    return State(*found)


def missing(index: str, backing_index: str | None) -> IndexMissing:
    if backing_index is None:
        return IndexMissing(f"No index {index!r} is in service yet; build it with imagesim_rebuild or imagesim_sync.")
    return IndexMissing(f"There is no physical index {backing_index!r} (any more); build one with imagesim_rebuild.")


def meta_of(index: str, backing_index: str, using: str) -> IndexMeta:
    found = LocalGeneration.objects.using(using).filter(index=index, name=backing_index).first()
    if found is None:
        raise missing(index, backing_index)
    return IndexMeta.from_stored(found.meta)


def next_seq_no(index: str, backing_index: str | None, using: str) -> State:
    """Take the generation's row lock, raise its seq_no; inside a transaction only."""
    rows = LocalGeneration.objects.using(using)
    rows = (
        rows.filter(index=index, active=True) if backing_index is None else rows.filter(index=index, name=backing_index)
    )
    if not rows.update(seq_no=F("seq_no") + 1, token=secrets.token_hex(8)):
        raise missing(index, backing_index)
    return state(index, backing_index, using)


def versions(generation: int, keys: Sequence[str], using: str) -> dict[str, int]:
    """The version of each key that the generation knows, tombstones included."""
    found: dict[str, int] = {}
    for start in range(0, len(keys), AT_ONCE):
        found.update(
            LocalEntry.objects.using(using)
            .filter(generation=generation, key__in=keys[start : start + AT_ONCE])
            .values_list("key", "version")
        )
    return found


def put(rows: Sequence[LocalEntry], using: str) -> None:
    """Insert or replace; the caller holds the generation's lock."""
    connection = transaction.get_connection(using)
    target = ["generation", "key"] if connection.features.supports_update_conflicts_with_target else None
    LocalEntry.objects.using(using).bulk_create(
        rows, batch_size=AT_ONCE, update_conflicts=True, unique_fields=target, update_fields=_WRITTEN
    )


def entry_row(at: State, prepared: Prepared) -> LocalEntry:
    entry = prepared.entry
    return LocalEntry(
        generation_id=at.id,
        key=entry.key,
        model=entry.model,
        version=entry.version,
        seq_no=at.seq_no,
        in_stock=entry.in_stock,
        group=prepared.group,
        categories=prepared.categories,
        filters=prepared.filters,
        images=[[image.digest, image.name] for image in entry.images],
        vectors=prepared.vectors.astype("<f4").tobytes(),
    )


def tombstone_row(at: State, removal: Removal) -> LocalEntry:
    return LocalEntry(
        generation_id=at.id,
        key=removal.key,
        version=removal.version,
        seq_no=at.seq_no,
        removed_at=timezone.now(),
    )


def purge(at: State, using: str) -> None:
    """Delete old tombstones; the caller holds the generation's lock."""
    old = LocalEntry.objects.using(using).filter(generation=at.id, removed_at__lt=timezone.now() - TOMBSTONE_AGE)
    newest = old.aggregate(newest=Max("seq_no"))["newest"]
    if newest is not None:
        old.delete()
        LocalGeneration.objects.using(using).filter(pk=at.id).update(purged=newest)


def changes(at: State, since: int, dims: int, using: str) -> Iterator[Record]:
    """What was written after the seq_no ``since``, as records; from 0 on without the tombstones."""
    rows = LocalEntry.objects.using(using).filter(generation=at.id)
    rows = rows.filter(seq_no__gt=since) if since else rows.filter(removed_at__isnull=True)
    for values in rows.values_list(*_READ).iterator(chunk_size=AT_ONCE):
        key, model, group, in_stock, categories, filters, images, vectors = values
        matrix = np.frombuffer(vectors, dtype="<f4").reshape(len(images), dims)
        yield Record(key, model, group, in_stock, categories, filters, images, matrix)


def images(at: State, dims: int, using: str) -> int:
    """How many vectors the entries hold."""
    entries = LocalEntry.objects.using(using).filter(generation=at.id)
    size = entries.aggregate(size=Sum(Length("vectors")))["size"]
    return int(size or 0) // (4 * dims)


def keys(at: State, batch_size: int, using: str) -> Iterator[tuple[str, int]]:
    """(key, version) of every entry in the order of the keys' code points, sorted by the database and streamed."""
    rows = LocalEntry.objects.using(using).filter(generation=at.id, removed_at__isnull=True)
    yield from in_code_point_order(rows.values_list("key", "version"), "key", itemgetter(0), chunk_size=batch_size)


def empty(backing_index: str, using: str) -> None:
    """Delete a generation's entries, a few at a time, so that nobody waits long for the database."""
    rows = LocalEntry.objects.using(using).filter(generation__name=backing_index)
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]):
        rows.model.objects.using(using).filter(pk__in=ids).delete()


def in_chunks(records: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(records)
    while chunk := list(islice(iterator, size)):
        yield chunk
