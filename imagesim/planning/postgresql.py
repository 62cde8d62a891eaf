"""Bytes of an index in PostgreSQL with pgvector, by the layout of its pages.

PostgreSQL's documentation, "Database Page Layout": a page has 8,192 bytes, 24 of them its header; a row has a line
pointer of 4 bytes and a header of 24, and starts at a multiple of 8. pgvector, ``src/hnsw.h``: a node of the graph is a
tuple with 72 bytes and the vector, and one with 4 bytes and six for each link: 2·m on the lowest of its levels, m on
each other, of which a node has 1 / (m - 1) on average; both are on one page, which has 8 bytes of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PAGE, PAGE_HEADER, POINTER, ROW_HEADER = 8_192, 24, 4, 24
VECTOR_HEADER = 8
WIDTHS = {"vector": 4, "halfvec": 2}
"""Bytes of a dimension in the graph."""
MAX_DIMS = {"vector": 2_000, "halfvec": 4_000}
"""Dimensions that a graph takes; as in ``indexes.pgvector.tables``, which cannot be imported without psycopg."""
MAX_PLAIN_DIMS = 1_900
"""As there: longer vectors are stored outside of the row, in pieces."""
TOAST_CHUNK = 1_996
BTREE_FILL = 0.9
BTREE_PAGE = PAGE - PAGE_HEADER - 16

ENTRY = 400
"""Of an entry's row and its two keys, beside its filters and texts, with one image, as measured: key, group, category
and name of about 20 characters each, and a digest."""
FURTHER_IMAGE = 110
"""Of the digest and the name of another image."""
FILTER = 70
"""Of a value of a filter and its index."""
FILTERS = 2
"""Values of filters of an entry."""
TEXT = 4.4
"""Of each character of an entry's texts, as measured: as they are, as words for the full text, and in its inverted
index. The table of words, of a catalogue's vocabulary, is small beside it."""
BUILD_NODE = 203
BUILD_LINK = 16
"""Of a node of the graph while it is built in memory, beside its vector, and of each of its 2·m links: as measured, by
when pgvector says that the graph no longer fits."""


def _aligned(size: float) -> int:
    return math.ceil(size / 8) * 8


def _each(size: float, room: int = PAGE - PAGE_HEADER) -> float:
    """Bytes of the page that one of so many takes, where only whole ones go on a page."""
    return PAGE / max(1, int(room // (size + POINTER)))


def graph_bytes(dims: int, element: str, m: int) -> float:
    """Bytes of a node of the graph, in ``"vector"`` or ``"halfvec"``."""
    room = PAGE - PAGE_HEADER - 8
    node = _aligned(72 + VECTOR_HEADER + WIDTHS[element] * dims)
    links = _aligned(4 + 2 * m * 6) + 6 * m / (m - 1)
    if node + POINTER + links > room - POINTER:
        return _each(node, room) + _each(links, room)
    return _each(node + POINTER + links, room)


def image_bytes(dims: int) -> float:
    """Bytes of an image's row with its vector, and of its key."""
    vector = VECTOR_HEADER + 4 * dims
    if dims <= MAX_PLAIN_DIMS:
        row = _each(_aligned(ROW_HEADER + 12 + vector))
    else:
        chunks, rest = divmod(vector, TOAST_CHUNK)  # four chunks fill a page
        row = _each(_aligned(ROW_HEADER + 10 + 18)) + chunks * PAGE / 4 + rest + ROW_HEADER + 12 + POINTER
        row += (chunks + 1) * _key_bytes(8)
    return row + _key_bytes(10)


def _key_bytes(size: int) -> float:
    """Bytes in a B-tree that is filled in the order of its keys."""
    return PAGE / int(BTREE_PAGE * BTREE_FILL // (_aligned(8 + size) + POINTER))


@dataclass(frozen=True)
class Sizes:
    """Bytes of a whole index."""

    entries: float
    texts: float
    images: float
    graph: float
    build_memory: float

    @property
    def total(self) -> float:
        return self.entries + self.texts + self.images + self.graph

    @property
    def searched(self) -> float:
        """What a search without filters reads: the graph, and the vectors to score."""
        return self.graph + self.images


def sizes(*, items: int, images: int, dims: int, element: str, m: int, characters: int) -> Sizes:
    """``characters`` are those of the texts of an item, on average."""
    return Sizes(
        entries=items * (ENTRY + FILTER * FILTERS) + (images - items) * FURTHER_IMAGE,
        texts=items * characters * TEXT,
        images=images * image_bytes(dims),
        graph=images * graph_bytes(dims, element, m),
        build_memory=images * (WIDTHS[element] * dims + BUILD_NODE + 2 * m * BUILD_LINK),
    )
