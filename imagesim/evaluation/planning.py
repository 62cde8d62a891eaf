"""Estimate how much memory, disk and time a future catalogue needs.

Memory and disk follow Elastic's formulas ("Tune approximate kNN search", Elasticsearch guide): with d
dimensions and m links per node, one vector takes 4·d bytes in full and d + 4 (int8) or d/8 + 14 (bbq)
quantised, and its graph node 4·m. Searches are fast while quantised vectors and graph stay in
the page cache; the full vectors are read only to rescore. Shards follow "Size your shards": 10 to 50 GB and at
most 200 million documents each; a nested vector is a document of its own, and so is its item.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from imagesim.exceptions import BadQuery, format_choices
from imagesim.indexes.elasticsearch.mapping import Quantisation, Server, Storage, index_options

GIB = 1024**3
METADATA_BYTES = 220  # keyword, numeric and id structures of one item, as measured (docs/performance.md)
LOCAL_LIMIT = 100_000  # images; beyond this, the exact scan takes more than some tens of milliseconds
SHARD_BYTES = 40 * GIB
SHARD_DOCUMENTS = 200_000_000
QUANTISED: dict[Quantisation, Callable[[int], float]] = {
    "none": lambda dims: 0.0,
    "int8": lambda dims: dims + 4.0,
    "bbq": lambda dims: dims / 8 + 14.0,
}
SERVER = (9, 5)
"""The version of Elasticsearch to plan for by default."""


@dataclass(frozen=True)
class Plan:
    """The resources to provide. Bytes are per copy; ``replicas`` copies are added to them."""

    items: int
    images: int
    dims: int
    backend: str
    server: str
    quantisation: str
    index_options: dict[str, Any]
    memory_bytes: int
    disk_bytes: int
    rebuild_disk_bytes: int
    database_bytes: int
    shards: int
    nodes: int
    replicas: int
    images_per_second: float | None

    @property
    def embedding_hours(self) -> float | None:
        return None if not self.images_per_second else self.images / self.images_per_second / 3600

    def as_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "embedding_hours": self.embedding_hours,
        }


def plan(
    *,
    items: int,
    images: int,
    dims: int,
    quantisation: Quantisation | Literal["auto"] = "auto",
    server: tuple[int, int] = SERVER,
    m: int = 16,
    node_memory_bytes: int = 64 * GIB,
    replicas: int = 1,
    images_per_second: float | None = None,
) -> Plan:
    """Plan for ``images`` vectors of ``items`` items in version ``server`` of Elasticsearch.

    ``node_memory_bytes`` is a node's whole memory: half of it (up to 31 GB) goes to the Java heap and the rest
    to the page cache, which holds the vectors.

    :raises BadQuery: for invalid numbers or an unknown quantisation.
    """
    if items < 1 or images < items:
        raise BadQuery(f"A plan needs at least one item and an image for each, not {items} items and {images} images.")
    if not 1 <= dims <= 4096:
        raise BadQuery(f"{dims} dimensions cannot be indexed; Elasticsearch takes 1 to 4096.")
    version = Server(server)
    if quantisation == "auto":
        quantisation = version.quantisation(dims)
    if quantisation in QUANTISED and not version.supports(quantisation):
        raise BadQuery(f"Elasticsearch {server[0]}.{server[1]} does not have the quantisation {quantisation!r}.")
    if quantisation not in QUANTISED:
        raise BadQuery(f"{quantisation!r} is not a quantisation; it can be {format_choices(['auto', *QUANTISED])}.")
    full = 4.0 * dims
    graph = 4.0 * m
    quantised = QUANTISED[quantisation](dims)
    searched = (quantised or full) + graph
    backend = "local" if images <= LOCAL_LIMIT else "elasticsearch"
    disk = images * (full + quantised + graph) + items * METADATA_BYTES
    documents = images + items
    memory = images * full if backend == "local" else images * searched
    cache = node_memory_bytes - min(node_memory_bytes / 2, 31 * GIB)
    return Plan(
        items=items,
        images=images,
        dims=dims,
        backend=backend,
        server=f"{server[0]}.{server[1]}",
        quantisation=quantisation,
        index_options=index_options(Storage(quantisation, m, ef_construction=100, shards=1)),
        memory_bytes=round(memory),
        disk_bytes=round(disk),
        rebuild_disk_bytes=round(2 * disk),
        database_bytes=round(images * (full + 200)),
        shards=max(1, math.ceil(disk / SHARD_BYTES), math.ceil(documents / SHARD_DOCUMENTS)),
        nodes=max(1, math.ceil(memory * (1 + replicas) / cache)) if backend == "elasticsearch" else 0,
        replicas=replicas,
        images_per_second=images_per_second,
    )
