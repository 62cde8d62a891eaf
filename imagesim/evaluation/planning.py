"""How much memory, disk and time a future catalogue needs, on each index.

Memory and disk in Elasticsearch follow Elastic's formulas ("Tune approximate kNN search", Elasticsearch guide): with d
dimensions and m links per node, one vector takes 4·d bytes in full and d + 4 (int8) or d/8 + 14 (bbq)
quantised, and its graph node 4·m. Searches are fast while quantised vectors and graph stay in
the page cache; the full vectors are read only to rescore. Shards follow "Size your shards": 10 to 50 GB and at
most 200 million documents each; a nested vector is a document of its own, and so is its item.

An index in PostgreSQL follows the layout of its pages. Its documentation, "Database Page Layout": a page has 8,192
bytes, 24 of them its header; a row has a line pointer of 4 bytes and a header of 24, and starts at a multiple of 8.
pgvector, ``src/hnsw.h``: a node of the graph is a tuple with 72 bytes and the vector, and one with 4 bytes and six
for each link: 2·m on the lowest of its levels, m on each other, of which a node has 1 / (m - 1) on average; both are
on one page, which has 8 bytes of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from imagesim.exceptions import BadQuery, format_choices
from imagesim.indexes.elasticsearch.mapping import Quantisation, Server, Storage, index_options

GIB = 1024**3
ROW_BYTES = 200
"""Bytes of a row of the app's own tables, besides what it holds."""
REGION_BYTES = 130
"""Bytes of a box with its label as JSON, approximately."""
METADATA_BYTES = 330
"""Bytes of the keyword, numeric and id structures of one item with two filters, as measured (docs/performance.md)."""
SOURCE_BYTES = 8.44
"""Bytes of a dimension in the source that servers before 9.2 keep of each entry until a later merge, as measured."""
TEXT_BYTES = 5.2
"""Bytes of each character of an item's texts, as measured: stored, and indexed as words, by beginnings and by ends."""
LOCAL_ENTRY_BYTES = 400
"""Bytes of the row of an entry in the local index and its keys, besides its vectors and texts, as measured: two filters
and one image."""
LOCAL_IMAGE_BYTES = 110
"""Bytes of the digest and the name of another image there."""
LOCAL_MEMORY_BYTES = 1_300
"""Bytes of an entry of the local index in each process, besides its vectors and texts, as measured: its key, its images
and its values of five filters."""
LOCAL_WORD_BYTES = 9.5
"""Bytes of each character of an item's texts in a process that was asked for words, as measured."""
MAX_HEAP = 31 * GIB
"""Up to this many bytes, a Java heap has compressed pointers."""
LOCAL_LIMIT = 100_000
"""The number of images beyond which the exact scan takes more than a few tens of milliseconds."""
SHARD_BYTES = 40 * GIB
SHARD_DOCUMENTS = 200_000_000
QUANTISED: dict[Quantisation, Callable[[int], float]] = {
    "none": lambda dims: 0.0,
    "int8": lambda dims: dims + 4.0,
    "bbq": lambda dims: dims / 8 + 14.0,
}
MAX_ELASTICSEARCH_DIMS = 4_096
SERVER = (9, 5)
"""The version of Elasticsearch to plan for by default."""

Backend = Literal["auto", "local", "elasticsearch", "pgvector"]


@dataclass(frozen=True)
class Sample:
    """Seconds that ``entries`` took to be written and their graph to be built, and milliseconds of a query, of which
    ``overhead`` do not depend on the index. ``exact``: it has no graph, and a query scans all.

    Those of a large index are derived from them. An exact scan takes time in proportion to the number of vectors. A
    graph takes each vector by a search among those before it, which takes time in proportion to the logarithm of their
    number; so does a query, apart from its overhead.
    """

    entries: int
    seconds: float
    milliseconds: float
    overhead: float = 0.0
    exact: bool = False

    def fill_seconds(self, entries: float) -> float:
        return self.seconds * entries / self.entries * (1.0 if self.exact else self._depth(entries))

    def query_ms(self, entries: float) -> float:
        growth = entries / self.entries if self.exact else self._depth(entries)
        return self.overhead + max(self.milliseconds - self.overhead, 0.0) * growth

    def _depth(self, entries: float) -> float:
        return math.log(max(entries, 2)) / math.log(self.entries)


@dataclass(frozen=True)
class Plan:
    """The resources to provide. Bytes are per copy; ``replicas`` copies are added to them."""

    items: int
    images: int
    dims: int
    backend: str
    memory_bytes: int
    """What searches read, to be kept in memory."""
    disk_bytes: int
    """After merges."""
    rebuild_disk_bytes: int
    """While a rebuild fills another index alongside it."""
    database_bytes: int
    parts: dict[str, int]
    """Bytes of an entry by part, where they are known."""
    server: str = ""
    quantisation: str = "none"
    index_options: dict[str, Any] = field(default_factory=dict)
    shards: int = 1
    nodes: int = 0
    replicas: int = 0
    heap_bytes: int = 0
    """Of the Java heap of each node."""
    build_memory_bytes: int = 0
    """For PostgreSQL to build the graph in memory."""
    regions: float = 0.0
    """Regions per image, with ``ITEM_REGIONS``."""
    region_bytes: int = 0
    images_per_second: float | None = None
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
        computed = ("embedding_hours", "region_hours", "colour_hours", "fill_hours", "query_ms")
        return asdict(self) | {name: getattr(self, name) for name in computed}


@dataclass(frozen=True)
class _Catalogue:
    items: int
    images: int
    dims: int
    characters: int


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
    regions: float | None = None,
    **measured: Any,
) -> Plan:
    """Plan for ``images`` vectors of ``items`` items, by default on the index for that number.

    ``server`` is the version of Elasticsearch. ``node_memory_bytes`` is a node's whole memory: half of it (up to 31 GB)
    goes to the Java heap and the rest to the page cache, which holds the vectors. ``characters`` is the mean length of
    an item's texts that are searched by words. ``regions`` is the mean number of regions per image, None without
    ``ITEM_REGIONS``. ``measured`` are the last four fields of :class:`Plan`.

    :raises BadQuery: for invalid numbers or an unknown quantisation.
    """
    if items < 1 or images < items:
        raise BadQuery(f"A plan needs at least one item and an image for each, not {items} items and {images} images.")
    if regions is not None and regions < 0:
        raise BadQuery(f"An image cannot have {regions} regions.")
    if dims < 1 or m < 2 or replicas < 0 or characters < 0 or node_memory_bytes < 1:
        raise BadQuery("A plan needs a dimension, two links per node, some memory, and no negative numbers.")
    if backend == "auto":
        backend = "local" if images <= LOCAL_LIMIT else "elasticsearch"
    of = _Catalogue(items, images, dims, characters)
    if backend == "pgvector":
        needed = _in_postgresql(of, quantisation, m)
    elif backend == "local":
        _quantisation(quantisation, Server(server), dims)  # checked, although it has none
        needed = _in_the_database(of)
    else:
        needed = _in_elasticsearch(of, quantisation, Server(server), m, node_memory_bytes, replicas)
    return Plan(
        items=items,
        images=images,
        dims=dims,
        backend=backend,
        database_bytes=round(images * (4 * dims + ROW_BYTES)),
        regions=regions or 0.0,
        # A row for each image that was searched, and another with the vectors for each that shows several things.
        region_bytes=0 if regions is None else round(images * (2 * ROW_BYTES + regions * (4 * dims + REGION_BYTES))),
        **measured,
        **needed,
    )


def _quantisation(quantisation: str, server: Server, dims: int) -> Quantisation:
    """Return the quantisation that an option means.

    :raises BadQuery: if there is none of this name, or the server does not have it.
    """
    if quantisation == "auto":
        return server.quantisation(dims)
    known = next((each for each in QUANTISED if each == quantisation), None)
    if known is None:
        raise BadQuery(f"{quantisation!r} is not a quantisation; it can be {format_choices(['auto', *QUANTISED])}.")
    if not server.supports(known):
        raise BadQuery(f"Elasticsearch {server} does not have the quantisation {quantisation!r}.")
    return known


def _in_elasticsearch(
    of: _Catalogue, option: str, server: Server, m: int, node_memory_bytes: int, replicas: int
) -> dict[str, Any]:
    quantisation = _quantisation(option, server, of.dims)
    if of.dims > MAX_ELASTICSEARCH_DIMS:
        raise BadQuery(f"{of.dims} dimensions cannot be indexed; Elasticsearch takes 1 to {MAX_ELASTICSEARCH_DIMS}.")
    full, quantised, graph = 4.0 * of.dims, QUANTISED[quantisation](of.dims), 4.0 * m
    entry = METADATA_BYTES + TEXT_BYTES * of.characters
    disk = of.images * (full + quantised + graph) + of.items * entry
    sources = 0 if server.keeps_vectors_from_source else of.images * SOURCE_BYTES * of.dims
    memory = of.images * ((quantised or full) + graph)
    heap = min(node_memory_bytes / 2, MAX_HEAP)
    return {
        "server": str(server),
        "quantisation": quantisation,
        "index_options": index_options(Storage(quantisation, m, ef_construction=100, shards=1)),
        "memory_bytes": round(memory),
        "disk_bytes": round(disk),
        "rebuild_disk_bytes": round(2 * disk + sources),
        "shards": max(1, math.ceil(disk / SHARD_BYTES), math.ceil((of.images + of.items) / SHARD_DOCUMENTS)),
        "nodes": max(1 + replicas, math.ceil(memory * (1 + replicas) / (node_memory_bytes - heap))),  # one copy each
        "replicas": replicas,
        "heap_bytes": round(heap),
        "parts": {"vector": round(full), "quantised": round(quantised), "graph": round(graph), "entry": round(entry)},
    }


def _in_the_database(of: _Catalogue) -> dict[str, Any]:
    """Plan for the local index, whose entries hold their vectors in addition to the stored embeddings."""
    vectors, entry = 4 * of.dims, LOCAL_ENTRY_BYTES + of.characters
    disk = of.images * vectors + of.items * entry + (of.images - of.items) * LOCAL_IMAGE_BYTES
    return {
        "memory_bytes": round(of.images * vectors + of.items * (LOCAL_MEMORY_BYTES + LOCAL_WORD_BYTES * of.characters)),
        "disk_bytes": disk,
        "rebuild_disk_bytes": 2 * disk,
        "parts": {"vector": vectors, "entry": entry},
    }


# PostgreSQL.

PAGE, PAGE_HEADER, POINTER, ROW_HEADER = 8_192, 24, 4, 24
VECTOR_HEADER = 8
WIDTHS = {"vector": 4, "halfvec": 2}
"""Bytes of a dimension in the graph."""
MAX_DIMS = {"vector": 2_000, "halfvec": 4_000}
"""Dimensions that a graph takes; as in ``indexes.pgvector.tables``, which cannot be imported without psycopg."""
MAX_PLAIN_DIMS = 1_900
"""As in that module: longer vectors are stored outside the row, in pieces."""
TOAST_CHUNK = 1_996
BTREE_FILL = 0.9
BTREE_PAGE = PAGE - PAGE_HEADER - 16

ENTRY = 400
"""Bytes of an entry's row and its two keys, besides its filters and texts, with one image, as measured: key, group,
category and name of about 20 characters each, and a digest."""
FURTHER_IMAGE = 110
"""Bytes of the digest and the name of another image."""
FILTER = 70
"""Bytes of a value of a filter and its index."""
FILTERS = 2
"""The number of filter values of an entry."""
TEXT = 4.4
"""Bytes of each character of an entry's texts, as measured: as they are, as words for the full-text search, and in its
inverted index. The table of words, with the catalogue's vocabulary, is small in comparison."""
BUILD_NODE = 203
BUILD_LINK = 16
"""Bytes of a node of the graph while it is built in memory, besides its vector, and of each of its 2·m links, as
measured by when pgvector says that the graph no longer fits."""


def _aligned(size: float) -> int:
    return math.ceil(size / 8) * 8


def _each(size: float, room: int = PAGE - PAGE_HEADER) -> float:
    """Return the bytes of a page that a thing of ``size`` bytes takes, if only whole things go on a page."""
    return PAGE / max(1, int(room // (size + POINTER)))


def graph_bytes(dims: int, element: str, m: int) -> float:
    """Return the bytes of a node of the graph, in ``"vector"`` or ``"halfvec"``."""
    room = PAGE - PAGE_HEADER - 8
    node = _aligned(72 + VECTOR_HEADER + WIDTHS[element] * dims)
    links = _aligned(4 + 2 * m * 6) + 6 * m / (m - 1)
    if node + POINTER + links > room - POINTER:
        return _each(node, room) + _each(links, room)
    return _each(node + POINTER + links, room)


def image_bytes(dims: int) -> float:
    """Return the bytes of an image's row with its vector, and of its key."""
    vector = VECTOR_HEADER + 4 * dims
    if dims <= MAX_PLAIN_DIMS:
        row = _each(_aligned(ROW_HEADER + 12 + vector))
    else:
        chunks, rest = divmod(vector, TOAST_CHUNK)  # four chunks fill a page
        row = _each(_aligned(ROW_HEADER + 10 + 18)) + chunks * PAGE / 4 + rest + ROW_HEADER + 12 + POINTER
        row += (chunks + 1) * _key_bytes(8)
    return row + _key_bytes(10)


def _key_bytes(size: int) -> float:
    """Return the bytes of a key in a B-tree that is filled in the order of its keys."""
    return PAGE / int(BTREE_PAGE * BTREE_FILL // (_aligned(8 + size) + POINTER))


def _in_postgresql(of: _Catalogue, quantisation: str, m: int) -> dict[str, Any]:
    if quantisation not in ("auto", "half", "none"):
        raise BadQuery(f"pgvector has no quantisation {quantisation!r}; it can be 'auto', 'half' or 'none'.")
    element = "vector" if quantisation == "none" else "halfvec"
    if of.dims > MAX_DIMS[element]:
        raise BadQuery(f"{of.dims} dimensions cannot be indexed; pgvector takes 1 to {MAX_DIMS[element]:,} here.")
    entry, text = ENTRY + FILTER * FILTERS, of.characters * TEXT
    entries = of.items * entry + (of.images - of.items) * FURTHER_IMAGE
    image, graph = image_bytes(of.dims), graph_bytes(of.dims, element, m)
    disk = entries + of.items * text + of.images * (image + graph)
    return {
        "quantisation": "none" if element == "vector" else "half",
        "index_options": {"type": "hnsw", "m": m, "ef_construction": 100},
        # A search without filters reads the graph, and the vectors to score.
        "memory_bytes": round(of.images * (graph + image)),
        "disk_bytes": round(disk),
        "rebuild_disk_bytes": round(2 * disk),
        "nodes": 1,
        "build_memory_bytes": round(of.images * (WIDTHS[element] * of.dims + BUILD_NODE + 2 * m * BUILD_LINK)),
        "parts": {
            "entry": round(entries / of.items),
            "texts": round(text),
            "image": round(image),
            "graph": round(graph),
        },
    }
