"""The version of the server, and the names, mapping and settings of backing indexes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from imagesim.exceptions import ConfigurationError, SearchIndexError, format_choices
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import validation
from imagesim.indexes.elasticsearch.selectivity import Statistics
from imagesim.indexes.statistics import STATISTICS, IndexStatistics
from imagesim.indexes.validation import MAX_IMAGES, TOMBSTONE_AGE
from imagesim.types import IndexMeta

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

Quantisation = Literal["none", "int8", "bbq"]

OLDEST = (8, 12)
"""The oldest version that answers a nested ``knn`` query."""
BBQ_FROM_DIMS = 384
"""The number of dimensions from which one bit per dimension is enough."""
INDEX_TYPES: Mapping[Quantisation, str] = {"none": "hnsw", "int8": "int8_hnsw", "bbq": "bbq_hnsw"}
META = "imagesim"
"""The key of the index's meta in ``_meta``."""
CANDIDATE = "candidate"
"""The field that repeats the data of a candidate as one value with doc values."""
CANDIDATE_TEXTS = "candidate_texts"
"""The field that likewise repeats the texts by which a candidate is scored."""
UNTEMPLATED = (
    "lifecycle.name",  # a policy may delete the index after some days, or roll over its alias
    *("sort.field", "sort.order"),  # not possible with nested documents
    *("max_result_window", "max_docvalue_fields_search", "max_terms_count", "mapping.nested_objects.limit"),
    "write.wait_for_active_shards",  # an index that is being filled has no copies for which a write could wait
)
"""Settings that keep the server's defaults, whatever a template for all indexes says."""
WORDS, STEMS = "words", "stems"
"""The fields with the words of all texts, and with their stems, each prefixed with its language."""


@dataclass(frozen=True, slots=True)
class Server:
    """The version of a server, and the capabilities that depend on it."""

    version: tuple[int, int]

    def __str__(self) -> str:
        return ".".join(map(str, self.version))

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Server:
        """Return the server that gave this answer to ``GET /``.

        :raises SearchIndexError: if the server is too old.
        """
        version = info["version"]
        if version.get("build_flavor") == "serverless":
            return cls((99, 0))
        major, minor = version["number"].split(".")[:2]
        server = cls((int(major), int(minor)))
        if server.version < OLDEST:
            raise SearchIndexError(f"Elasticsearch {version['number']} is too old; 8.12 or later is needed.")
        return server

    def quantisation(self, dims: int) -> Quantisation:
        """Return what ``quantisation="auto"`` means on this server. ``imagesim_plan`` follows the same rule."""
        return "bbq" if self.version >= (9, 1) and dims >= BBQ_FROM_DIMS else "int8"

    def supports(self, quantisation: Quantisation) -> bool:
        """Return whether the server has this quantisation. "bbq" is generally available since 8.18 and 9.0."""
        return quantisation != "bbq" or self.version >= (8, 18)

    @property
    def knn_takes_k(self) -> bool:
        """Whether a ``knn`` query takes ``k``, which then defaults to the size of the page."""
        return self.version >= (8, 15)

    @property
    def knn_rescores(self) -> bool:
        """Whether a ``knn`` query takes ``rescore_vector``."""
        return self.version >= (8, 18)

    @property
    def knn_skips_filtered(self) -> bool:
        """Whether the graph search skips entries that fail the filter (ACORN) by default, which loses recall."""
        return self.version >= (9, 1)

    @property
    def knn_may_stop_early(self) -> bool:
        """Whether the graph search can stop before its candidates are found, which newer servers do by default."""
        return self.version >= (9, 2)

    @property
    def keeps_vectors_from_source(self) -> bool:
        """Whether ``_source`` holds no vectors by default."""
        return self.version >= (9, 2)

    @property
    def takes_packed_vectors(self) -> bool:
        """Whether vectors can be written as base64, which the server reads faster (elastic/elasticsearch#137072)."""
        return self.version >= (9, 3)


@dataclass(frozen=True, slots=True)
class Storage:
    """How a new index stores its vectors, and the number of its shards."""

    quantisation: Quantisation
    m: int
    ef_construction: int
    shards: int
    whole_range: bool = True
    """Whether int8 covers the range of all values rather than of a quantile of them."""


def backing_indexes(client: Elasticsearch, name: str) -> list[str]:
    """Return the indexes that this app made under ``name``, oldest first."""
    ours = re.compile(rf"{re.escape(name)}-\d{{20}}-[0-9a-f]{{6}}")
    # Also those that are closed or hidden.
    found = client.indices.get_settings(index=f"{name}-*", name="index.creation_date", expand_wildcards="all")
    made = {each: int(of["settings"]["index"]["creation_date"]) for each, of in found.items() if ours.fullmatch(each)}
    return sorted(made, key=lambda each: (made[each], each))


def check_name(client: Elasticsearch, name: str) -> None:
    """Raise ConfigurationError if an index or a data stream has the name itself, so no alias can have it."""
    # Not a HEAD: the answer to a refused one does not say which privilege is missing.
    found = client.options(ignore_status=404).indices.get_alias(index=name)
    if found.meta.status == 404 or (found and all(name in of["aliases"] for of in found.values())):
        return
    raise ConfigurationError(
        f"Elasticsearch has an index or a data stream {name!r} that imagesim did not make: "
        "choose another name in INDEX's OPTIONS."
    )


def active(client: Elasticsearch, name: str) -> str | None:
    """Return the index that the alias points to; if there are several, the one that was made active by this app."""
    from elasticsearch import NotFoundError

    try:
        found = client.indices.get_alias(name=name)
    except NotFoundError as error:
        if isinstance(error.body, Mapping) and "error" in error.body:
            return None
        raise  # a proxy said so
    written = (index for index, of in found.items() if of["aliases"].get(name, {}).get("is_write_index"))
    return next(written, next(iter(found)))


def only(name: str, found: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the one index that the alias points to and what the server says about it, from its answer about ``name``.

    :raises SearchIndexError: if there are several: a search would answer from all of them.
    """
    if len(found) > 1:
        raise SearchIndexError(
            f"The alias {name!r} points to several indexes, {format_choices(found, '%(some)s and %(last)s')}: remove "
            "it from the others, or run `manage.py imagesim_rebuild`, which removes it from those that imagesim made."
        )
    [only] = found.items()
    return only


def check_options(name: str, quantisation: str, refresh_interval: str) -> None:
    """Raise ConfigurationError, naming the option, if one is not valid."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,199}", name):
        raise ConfigurationError(
            f"INDEX's name {name!r} cannot name an index of Elasticsearch: use small letters, digits, '.', '-' and '_'."
        )
    validation.check_choice("quantisation", quantisation, ("auto", *INDEX_TYPES))
    if not re.fullmatch(r"-1|[0-9]+(ms|s|m|h|d)", str(refresh_interval)):
        raise ConfigurationError(
            f"INDEX's refresh_interval {refresh_interval!r} is not a time; write a number and its unit, such as '1s', "
            "'500ms' or '1m', or '-1' for none."
        )


def body(name: str, meta: IndexMeta, storage: Storage, server: Server) -> dict[str, Any]:
    """Return the body of ``indices.create``."""
    return {"settings": _settings(storage, server), "mappings": _mapping(name, meta, storage, server)}


def _settings(storage: Storage, server: Server) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "number_of_shards": storage.shards,
        # The index is not searched before it is promoted; see ``serving``.
        "number_of_replicas": 0,
        "refresh_interval": "-1",
        "gc_deletes": f"{TOMBSTONE_AGE.total_seconds():.0f}s",  # the server's default is 60 s
        "max_inner_result_window": MAX_IMAGES,
        # Not those of a template for all indexes: the strict mapping would refuse the fields that they add, with every
        # entry.
        "default_pipeline": "_none",
        "final_pipeline": "_none",
        "hidden": False,  # the names of hidden indexes match no pattern
        **dict.fromkeys(UNTEMPLATED),
    }
    if server.knn_skips_filtered:
        settings["dense_vector.hnsw_filter_heuristic"] = "fanout"
    if server.knn_may_stop_early:
        settings["dense_vector.hnsw_early_termination"] = False
    return {"index": settings}


def serving(replicas: int, refresh_interval: str) -> dict[str, Any]:
    """Return the settings of an active index that differ from those of an index that is being filled."""
    return {"index": {"number_of_replicas": replicas, "refresh_interval": refresh_interval}}


def _mapping(name: str, meta: IndexMeta, storage: Storage, server: Server) -> dict[str, Any]:
    from elasticsearch import dsl

    vector = dsl.DenseVector(
        dims=meta.dims,
        index=True,
        similarity="dot_product",  # for unit vectors this is the cosine, without a division
        index_options=index_options(storage),
    )
    stored = dsl.Keyword(index=False, doc_values=False)  # never queried
    filters = {each: dsl.field.construct_field(FILTER_TYPES[kind].elasticsearch) for each, kind in meta.filters.items()}
    mapping = dsl.Mapping()
    mapping.meta("dynamic", "strict")
    # The server's default. Explicit, it contradicts a template that requires a routing, so that the index is refused
    # rather than every write.
    mapping.meta("_routing", required=False)
    if not server.keeps_vectors_from_source:
        # The vectors are stored in files of their own; _source would hold them a second time, as text.
        mapping.meta("_source", enabled=True, excludes=["images.vector", CANDIDATE, CANDIDATE_TEXTS, WORDS, STEMS])
    mapping.meta("_meta", **{META: {"index": name, **asdict(meta)}})
    mapping.field("key", dsl.Keyword(index=False))
    mapping.field("model", dsl.Keyword(doc_values=False))
    mapping.field("group", dsl.Keyword())
    mapping.field("categories", dsl.Keyword())  # counted by facets
    mapping.field("in_stock", dsl.Boolean(doc_values=False))
    mapping.field("filters", dsl.Object(properties=filters))
    mapping.field(
        "images",
        dsl.Nested(properties={"vector": vector, "digest": stored, "name": stored}),
    )
    mapping.field(CANDIDATE, dsl.Binary(doc_values=True))
    made: dict[str, Any] = mapping.to_dict()
    return made


def index_options(storage: Storage) -> dict[str, Any]:
    """Return the ``index_options`` of the vectors."""
    options = {"type": INDEX_TYPES[storage.quantisation], "m": storage.m, "ef_construction": storage.ef_construction}
    if storage.quantisation == "int8" and storage.whole_range:
        # The default clips values outside a quantile. Embeddings of pictures have a few dimensions with the largest
        # values, which matter most: if they are clipped, the nearest are no longer among the candidates.
        options["confidence_interval"] = 1.0
    return options


def meta_of(backing_index: str, mapping: Mapping[str, Any]) -> IndexMeta:
    """Return the meta stored with an index of this app.

    :raises SearchIndexError: if another program made the index.
    """
    found = mapping.get("_meta", {}).get(META)
    try:
        return IndexMeta.from_stored(found)
    except ValueError:
        raise SearchIndexError(
            f"The index {backing_index!r} was not made by imagesim; choose another name in INDEX."
        ) from None


def fields_of(mapping: Mapping[str, Any]) -> frozenset[str]:
    """Return the fields of entries, some of which are missing in indexes of earlier versions."""
    return frozenset(mapping["properties"])


def statistics_of(mapping: Mapping[str, Any]) -> tuple[Statistics, IndexStatistics]:
    """Return the stored statistics of the values of fields, and of the number of entries and the recall."""
    stored = mapping["_meta"][META].get(STATISTICS)
    return Statistics.from_stored(stored), IndexStatistics.from_stored(stored)


def quantisation_of(mapping: Mapping[str, Any]) -> Quantisation:
    """Return the quantisation with which the index was created."""
    options = mapping["properties"]["images"]["properties"]["vector"].get("index_options", {})
    return next((name for name, of in INDEX_TYPES.items() if of == options.get("type")), "none")


def check_analyzers(given: Mapping[str, str]) -> dict[str, str]:
    """Return the option ``analyzers``.

    :raises ConfigurationError: if it does not map language codes to names.
    """
    if not isinstance(given, Mapping) or not all(
        isinstance(each, str) and each for pair in given.items() for each in pair
    ):
        raise ConfigurationError(
            "INDEX's analyzers must map codes of languages to analyzers of the server, such as "
            f"{{'ja': 'kuromoji'}}, not {given!r}."
        )
    return dict(given)
