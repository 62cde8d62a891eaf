"""The mapping and the settings of a physical index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imagesim.exceptions import SearchIndexError
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.elasticsearch.versions import Quantisation, Server
from imagesim.indexes.validation import MAX_IMAGES
from imagesim.types import IndexMeta

META = "imagesim"
"""Where in ``_meta`` the index says what it is."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How a new index keeps its vectors and is spread over the cluster."""

    quantisation: Quantisation
    m: int
    ef_construction: int
    shards: int
    whole_range: bool = True
    """Whether int8 is to span every value, where the server can be told."""


def body(name: str, meta: IndexMeta, storage: Storage, server: Server) -> dict[str, Any]:
    """What ``indices.create`` takes."""
    return {"settings": _settings(storage, server), "mappings": _mapping(name, meta, storage)}


def _settings(storage: Storage, server: Server) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "number_of_shards": storage.shards,
        # Until it serves, nobody searches it: see ``serving``.
        "number_of_replicas": 0,
        "refresh_interval": "-1",
        # A late write of an older version is refused for so long after a removal (the server's default: 60 s).
        "gc_deletes": "1h",
        "max_inner_result_window": MAX_IMAGES,
    }
    if server.knn_skips_filtered:
        settings["dense_vector.hnsw_filter_heuristic"] = "fanout"
    return {"index": settings}


def serving(replicas: int, refresh_interval: str) -> dict[str, Any]:
    """The settings of an index in service, where they differ from those of one being filled."""
    return {"index": {"number_of_replicas": replicas, "refresh_interval": refresh_interval}}


def _mapping(name: str, meta: IndexMeta, storage: Storage) -> dict[str, Any]:
    from elasticsearch import dsl

    vector = dsl.DenseVector(
        dims=meta.dims,
        index=True,
        similarity="dot_product",  # of unit vectors: the cosine, without dividing
        index_options=_index_options(storage),
    )
    shown = dsl.Keyword(index=False, doc_values=False)  # never asked for
    types = {name: FILTER_TYPES[kind].elasticsearch for name, kind in meta.filters.items()}
    filters = {name: dsl.field.construct_field(each) for name, each in types.items()}
    mapping = dsl.Mapping()
    mapping.meta("dynamic", "strict")
    # The vectors stand in the graph's own file; in _source they would be a second time, as text.
    mapping.meta("_source", excludes=["images.vector"])
    mapping.meta("_meta", **{META: {"index": name, **asdict(meta)}})
    mapping.field("key", dsl.Keyword(index=False))
    mapping.field("model", dsl.Keyword(doc_values=False))
    mapping.field("group", dsl.Keyword())
    mapping.field("categories", dsl.Keyword())  # counted by facets
    mapping.field("in_stock", dsl.Boolean(doc_values=False))
    mapping.field("filters", dsl.Object(properties=filters))
    mapping.field(
        "images",
        dsl.Nested(properties={"vector": vector, "digest": shown, "name": shown}),
    )
    made: dict[str, Any] = mapping.to_dict()
    return made


def _index_options(storage: Storage) -> dict[str, Any]:
    options = {"type": _types[storage.quantisation], "m": storage.m, "ef_construction": storage.ef_construction}
    if storage.quantisation == "int8" and storage.whole_range:
        # The default leaves out what lies outside of a quantile. Embeddings of pictures have a few dimensions that
        # matter most and reach furthest: without their ends the nearest are no longer among the candidates.
        options["confidence_interval"] = 1.0
    return options


_types: Mapping[Quantisation, str] = {"none": "hnsw", "int8": "int8_hnsw", "bbq": "bbq_hnsw"}


def meta_of(backing_index: str, mapping: Mapping[str, Any]) -> IndexMeta:
    """What an index of this app says of itself.

    :raises SearchIndexError: if the index is another's.
    """
    found = mapping.get("_meta", {}).get(META)
    try:
        return IndexMeta.from_stored(found)
    except ValueError:
        raise SearchIndexError(
            f"The index {backing_index!r} was not made by imagesim; choose another name in INDEX."
        ) from None


def quantisation_of(mapping: Mapping[str, Any]) -> Quantisation:
    """How the index keeps its vectors, whatever the settings say now."""
    options = mapping["properties"]["images"]["properties"]["vector"].get("index_options", {})
    return next((name for name, of in _types.items() if of == options.get("type")), "none")
