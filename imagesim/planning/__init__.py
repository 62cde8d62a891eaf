"""How much memory, disk and time a future catalogue needs, on each index.

Memory and disk in Elasticsearch follow Elastic's formulas ("Tune approximate kNN search", Elasticsearch guide): with d
dimensions and m links per node, one vector takes 4·d bytes in full and d + 4 (int8) or d/8 + 14 (bbq)
quantised, and its graph node 4·m. Searches are fast while quantised vectors and graph stay in
the page cache; the full vectors are read only to rescore. Shards follow "Size your shards": 10 to 50 GB and at
most 200 million documents each; a nested vector is a document of its own, and so is its item.
What PostgreSQL needs is in :mod:`imagesim.planning.postgresql`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from imagesim.exceptions import BadQuery, format_choices
from imagesim.indexes.elasticsearch.mapping import Quantisation, Server, Storage, index_options
from imagesim.planning import postgresql
from imagesim.planning.sample import Sample

GIB = 1024**3
ROW_BYTES = 200
"""Of a row of the app's own tables beside what it holds."""
REGION_BYTES = 130
"""A box with its label as JSON, about."""
METADATA_BYTES = 330
"""Keyword, numeric and id structures of one item with two filters, as measured (docs/performance.md)."""
SOURCE_BYTES = 8.44
"""Of a dimension in the source that servers before 9.2 keep of each entry until a later merge, as measured."""
TEXT_BYTES = 5.2
"""Of each character of an item's texts, as measured: stored, and indexed as words, by beginnings and by ends."""
LOCAL_ENTRY_BYTES = 400
"""Of the row of an entry in the local index and its keys, beside its vectors and texts, as measured: two filters and
one image."""
LOCAL_IMAGE_BYTES = 110
"""Of the digest and the name of another image there."""
MAX_HEAP = 31 * GIB
"""Up to this much, a Java heap has compressed pointers."""
LOCAL_LIMIT = 100_000
"""Images beyond which the exact scan takes more than some tens of milliseconds."""
SHARD_BYTES = 40 * GIB
SHARD_DOCUMENTS = 200_000_000
QUANTISED: dict[Quantisation, Callable[[int], float]] = {
    "none": lambda dims: 0.0,
    "int8": lambda dims: dims + 4.0,
    "bbq": lambda dims: dims / 8 + 14.0,
}
SERVER = (9, 5)
"""The version of Elasticsearch to plan for by default."""

Backend = Literal["auto", "local", "elasticsearch", "pgvector"]


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
    """What searches read, to be kept in memory."""
    disk_bytes: int
    """After merges."""
    rebuild_disk_bytes: int
    """While a rebuild fills another index beside it."""
    database_bytes: int
    shards: int
    nodes: int
    replicas: int
    images_per_second: float | None
    heap_bytes: int = 0
    """Of the Java heap of each node."""
    build_memory_bytes: int = 0
    """For PostgreSQL to build the graph in memory."""
    parts: dict[str, int] = field(default_factory=dict)
    """Bytes of an entry by part, where they are known."""
    regions: float = 0.0
    """Regions per image, with ``ITEM_REGIONS``."""
    region_bytes: int = 0
    searched_per_second: float | None = None
    """Images per second that the region finder searches."""
    measured_per_second: float | None = None
    """Images per second whose colours are measured, with ``Items.measured_colours``."""
    sample: Sample | None = None
    """What was measured with a small index."""

    @property
    def embedding_hours(self) -> float | None:
        return None if not self.images_per_second else self.images / self.images_per_second / 3600

    @property
    def region_hours(self) -> float | None:
        """For finding the regions and embedding each."""
        if not self.images_per_second or not self.searched_per_second:
            return None
        return self.images * (1 / self.searched_per_second + self.regions / self.images_per_second) / 3600

    @property
    def colour_hours(self) -> float | None:
        """For measuring the colours of all images."""
        return None if not self.measured_per_second else self.images / self.measured_per_second / 3600

    @property
    def fill_hours(self) -> float | None:
        """For a rebuild from stored embeddings, with all its vectors on one server like that of the sample."""
        return None if self.sample is None else self.sample.fill_seconds(self.images) / 3600

    @property
    def query_ms(self) -> float | None:
        return None if self.sample is None else self.sample.query_ms(self.images / max(self.shards, 1))

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "embedding_hours": self.embedding_hours,
            "region_hours": self.region_hours,
            "colour_hours": self.colour_hours,
            "fill_hours": self.fill_hours,
            "query_ms": self.query_ms,
        }


def plan(
    *,
    items: int,
    images: int,
    dims: int,
    backend: Backend = "auto",
    quantisation: Quantisation | Literal["auto", "half"] = "auto",
    server: tuple[int, int] = SERVER,
    m: int = 16,
    node_memory_bytes: int = 64 * GIB,
    replicas: int = 1,
    characters: int = 0,
    images_per_second: float | None = None,
    regions: float | None = None,
    searched_per_second: float | None = None,
    measured_per_second: float | None = None,
    sample: Sample | None = None,
) -> Plan:
    """Plan for ``images`` vectors of ``items`` items, by default on the index for so many.

    ``server`` is the version of Elasticsearch. ``node_memory_bytes`` is a node's whole memory: half of it (up to 31 GB)
    goes to the Java heap and the rest to the page cache, which holds the vectors. ``characters`` is the mean length of
    an item's texts that are searched by words. ``regions`` is the mean number of regions per image, None without
    ``ITEM_REGIONS``.

    :raises BadQuery: for invalid numbers or an unknown quantisation.
    """
    if items < 1 or images < items:
        raise BadQuery(f"A plan needs at least one item and an image for each, not {items} items and {images} images.")
    if regions is not None and regions < 0:
        raise BadQuery(f"An image cannot have {regions} regions.")
    if m < 2 or replicas < 0 or characters < 0 or node_memory_bytes < 1:
        raise BadQuery("A plan needs two links per node, some memory, and no negative numbers.")
    if backend == "auto":
        backend = "local" if images <= LOCAL_LIMIT else "elasticsearch"
    of_index: dict[str, Any]
    if backend == "pgvector":
        of_index = _in_postgresql(items, images, dims, quantisation, m, characters)
    else:
        of_index = _in_elasticsearch(
            items, images, dims, quantisation, server, m, node_memory_bytes, replicas, characters
        )
        if backend == "local":
            of_index |= _in_the_database(items, images, dims, characters)
    return Plan(
        items=items,
        images=images,
        dims=dims,
        backend=backend,
        database_bytes=round(images * (4 * dims + ROW_BYTES)),
        images_per_second=images_per_second,
        regions=regions or 0.0,
        # A row for each image that was searched, and another with the vectors for each that shows several things.
        region_bytes=0 if regions is None else round(images * (2 * ROW_BYTES + regions * (4 * dims + REGION_BYTES))),
        searched_per_second=searched_per_second,
        measured_per_second=measured_per_second,
        sample=sample,
        **of_index,
    )


def _in_elasticsearch(
    items: int,
    images: int,
    dims: int,
    quantisation: Quantisation | Literal["auto", "half"],
    server: tuple[int, int],
    m: int,
    node_memory_bytes: int,
    replicas: int,
    characters: int,
) -> dict[str, Any]:
    if not 1 <= dims <= 4096:
        raise BadQuery(f"{dims} dimensions cannot be indexed; Elasticsearch takes 1 to 4096.")
    version = Server(server)
    if quantisation == "auto":
        quantisation = version.quantisation(dims)
    if quantisation not in QUANTISED:
        raise BadQuery(f"{quantisation!r} is not a quantisation; it can be {format_choices(['auto', *QUANTISED])}.")
    if not version.supports(quantisation):
        raise BadQuery(f"Elasticsearch {server[0]}.{server[1]} does not have the quantisation {quantisation!r}.")
    full, quantised, graph = 4.0 * dims, QUANTISED[quantisation](dims), 4.0 * m
    entry = METADATA_BYTES + TEXT_BYTES * characters
    disk = images * (full + quantised + graph) + items * entry
    sources = 0 if version.keeps_vectors_from_source else images * SOURCE_BYTES * dims
    memory = images * ((quantised or full) + graph)
    heap = min(node_memory_bytes / 2, MAX_HEAP)
    return {
        "server": f"{server[0]}.{server[1]}",
        "quantisation": quantisation,
        "index_options": index_options(Storage(quantisation, m, ef_construction=100, shards=1)),
        "memory_bytes": round(memory),
        "disk_bytes": round(disk),
        "rebuild_disk_bytes": round(2 * disk + sources),
        "shards": max(1, math.ceil(disk / SHARD_BYTES), math.ceil((images + items) / SHARD_DOCUMENTS)),
        "nodes": max(1 + replicas, math.ceil(memory * (1 + replicas) / (node_memory_bytes - heap))),  # one copy each
        "replicas": replicas,
        "heap_bytes": round(heap),
        "parts": {"vector": round(full), "quantised": round(quantised), "graph": round(graph), "entry": round(entry)},
    }


def _in_the_database(items: int, images: int, dims: int, characters: int) -> dict[str, Any]:
    """What differs for the local index, whose entries hold their vectors beside the stored embeddings."""
    vectors = images * 4 * dims
    disk = vectors + items * (LOCAL_ENTRY_BYTES + characters) + (images - items) * LOCAL_IMAGE_BYTES
    return {
        "server": "",
        "quantisation": "none",
        "index_options": {},
        "memory_bytes": vectors,
        "disk_bytes": disk,
        "rebuild_disk_bytes": 2 * disk,
        "shards": 1,
        "nodes": 0,
        "replicas": 0,
        "heap_bytes": 0,
        "parts": {"vector": 4 * dims, "entry": LOCAL_ENTRY_BYTES + characters},
    }


def _in_postgresql(
    items: int,
    images: int,
    dims: int,
    quantisation: Quantisation | Literal["auto", "half"],
    m: int,
    characters: int,
) -> dict[str, Any]:
    if quantisation not in ("auto", "half", "none"):
        raise BadQuery(f"pgvector has no quantisation {quantisation!r}; it can be 'auto', 'half' or 'none'.")
    element = "vector" if quantisation == "none" else "halfvec"
    if not 1 <= dims <= postgresql.MAX_DIMS[element]:
        raise BadQuery(
            f"{dims} dimensions cannot be indexed; pgvector takes 1 to {postgresql.MAX_DIMS[element]:,} here."
        )
    sizes = postgresql.sizes(items=items, images=images, dims=dims, element=element, m=m, characters=characters)
    return {
        "server": "",
        "quantisation": "none" if element == "vector" else "half",
        "index_options": {"type": "hnsw", "m": m, "ef_construction": 100},
        "memory_bytes": round(sizes.searched),
        "disk_bytes": round(sizes.total),
        "rebuild_disk_bytes": round(2 * sizes.total),
        "shards": 1,
        "nodes": 1,
        "replicas": 0,
        "build_memory_bytes": round(sizes.build_memory),
        "parts": {
            "entry": round(sizes.entries / items),
            "texts": round(sizes.texts / items),
            "image": round(sizes.images / images),
            "graph": round(sizes.graph / images),
        },
    }
