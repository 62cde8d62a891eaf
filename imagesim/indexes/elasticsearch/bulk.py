"""Entries and removals as the lines of a bulk request, and what the server says of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagesim.exceptions import IndexMissing
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.elasticsearch.encoding import encode
from imagesim.indexes.elasticsearch.errors import BUSY, reason_of
from imagesim.indexes.validation import Prepared
from imagesim.types import IndexMeta, Removal, WriteResult

CHUNK_BYTES = 8 * 1024 * 1024
CHUNK_OPERATIONS = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One operation, ready to be sent; ``number`` is its place in what the caller gave."""

    number: int
    key: str
    data: bytes


def line(number: int, operation: Prepared | Removal, meta: IndexMeta) -> Line:
    if isinstance(operation, Removal):
        return Line(number, operation.key, _action("delete", operation.key, operation.version))
    entry = operation.entry
    source = {
        "key": entry.key,
        "model": entry.model,
        "group": operation.group,
        "categories": operation.categories,
        "in_stock": entry.in_stock,
        "filters": {
            name: FILTER_TYPES[meta.filters[name]].to_elasticsearch_values(values)
            for name, values in operation.filters.items()
        },
        "images": [
            {"vector": vector, "digest": image.digest, "name": image.name}
            for image, vector in zip(entry.images, operation.vectors, strict=True)
        ],
    }
    return Line(number, entry.key, _action("index", entry.key, entry.version) + encode(source) + b"\n")


def _action(name: str, key: str, version: int) -> bytes:
    return encode({name: {"_id": key, "version": version, "version_type": "external"}}) + b"\n"


def chunks(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Lines in portions that a server takes gladly."""
    chunk: list[Line] = []
    size = 0
    for line in lines:
        if chunk and (size + len(line.data) > CHUNK_BYTES or len(chunk) >= CHUNK_OPERATIONS):
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line.data)
    if chunk:
        yield chunk


def result(key: str, item: Mapping[str, Any]) -> WriteResult:
    """What became of one operation.

    :raises IndexMissing: if the index it was meant for is gone.
    """
    answer: Mapping[str, Any] = next(iter(item.values()))
    status = int(answer["status"])
    if status < 300 or (status == 404 and "error" not in answer):  # a removal of what is not there leaves its tombstone
        return WriteResult(key, "done")
    if status == 409:
        return WriteResult(key, "newer")
    if status == 404:
        raise IndexMissing(f"The index to write to is gone ({reason_of(answer)}); build one with imagesim_rebuild.")
    return WriteResult(
        key, "failed", f"Elasticsearch refused the entry ({status}): {reason_of(answer)}", retryable=status in BUSY
    )
