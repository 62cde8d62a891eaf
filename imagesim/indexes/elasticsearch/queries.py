"""Make the bodies of searches from queries, and candidates and facets from the answers.

The same form of query works with all versions since 8.12 and leaves scoring, collapsing, ordering and paging to the
server. A nested ``knn`` query, used as a filter, chooses candidates by the quantised vectors; the filters of the query
are applied while the graph is searched. A nested ``script_score`` query then scores every image of every candidate by
the full vectors. Without the ``knn`` query the search is exact.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from imagesim.filter_types import FILTER_TYPES, Canonical
from imagesim.indexes.elasticsearch.mapping import CANDIDATE, CANDIDATE_TEXTS, Quantisation, Server
from imagesim.indexes.elasticsearch.transport import decode, encode
from imagesim.indexes.validation import MAX_FACET_VALUES, MAX_IMAGES, CompiledFilters, least_score
from imagesim.types import Candidate, Candidates, Facet, FilterKind, Filters, Query, Similarity

if TYPE_CHECKING:
    from imagesim.types import EntryImage, Vector

VECTOR = "images.vector"
# Scores must not be negative. For unit vectors, the dot product is the cosine and gives the same order as l2.
COSINE = f"dotProduct(params.q, '{VECTOR}') + 1.0"
L1 = f"1.0 / (1.0 + l1norm(params.q, '{VECTOR}'))"
OVERSAMPLE = {"none": 0.0, "int8": 0.0, "bbq": 3.0}
POSITION_ONLY = {"_source": False, "stored_fields": "_none_"}
"""Options of inner hits that only return the positions of images, and no stored fields."""
FACET_SHARD_SIZE = 10 * MAX_FACET_VALUES
"""The number of values that each shard counts, so that the commonest are counted completely even with several
shards."""


def filter_clauses(compiled: CompiledFilters) -> dict[str, list[dict[str, Any]]]:
    """Return the ``filter`` and ``must_not`` clauses of a ``bool`` query."""
    filters = compiled.filters
    must: list[dict[str, Any]] = []
    must_not: list[dict[str, Any]] = []
    if filters.models:
        must.append({"terms": {"model": list(filters.models)}})
    if filters.categories:
        must.append({"terms": {"categories": list(filters.categories)}})
    if filters.in_stock is not None:
        must.append({"term": {"in_stock": filters.in_stock}})
    if filters.keys:
        must.append({"ids": {"values": list(filters.keys)}})
    for group in compiled.groups:
        field, to_values = f"filters.{group[0].field}", FILTER_TYPES[group[0].kind].to_elasticsearch_values
        if group[0].operator in ("eq", "in"):
            must.append({"terms": {field: to_values(group[0].values)}})
        else:
            must.append({"range": {field: {test.operator: to_values(test.values)[0] for test in group}}})
    if filters.exclude_keys:
        must_not.append({"ids": {"values": list(filters.exclude_keys)}})
    if filters.exclude_groups:
        must_not.append({"terms": {"group": list(filters.exclude_groups)}})
    must_not += [{"bool": filter_clauses(each)} for each in compiled.none_of]
    return {name: clauses for name, clauses in (("filter", must), ("must_not", must_not)) if clauses}


def count_body(compiled: CompiledFilters) -> dict[str, Any]:
    """Return the body of ``_search`` that counts the entries that satisfy the filters."""
    return {"size": 0, "track_total_hits": True, "query": {"bool": filter_clauses(compiled)}}


def source_fields(query: Query) -> list[str]:
    """Return the fields of ``_source`` that a candidate is made from."""
    own = ["in_stock" if name == "in_stock" else f"filters.{name}" for name in query.fields]
    return ["group", "categories", "images.digest", "images.name", *own]


def _stored_values(
    source: Mapping[str, Any], query: Query, kinds: Mapping[str, FilterKind]
) -> dict[str, tuple[Canonical, ...]]:
    """Return the value of ``Candidate.values`` from the ``_source`` of a hit."""
    stored = source.get("filters") or {}
    found: dict[str, tuple[Canonical, ...]] = {}
    for name in query.fields:
        if name == "in_stock":
            found[name] = (bool(source.get("in_stock")),)
        elif values := stored.get(name):
            found[name] = tuple(FILTER_TYPES[kinds[name]].canonical_values(values))
    return found


class Stored(NamedTuple):
    """The stored data of an entry that was found. Images are (digest, name) pairs."""

    key: str
    group: str
    categories: tuple[str, ...]
    images: Sequence[tuple[str, str]]


def fetched(query: Query, by_column: bool, *, texts: bool = False) -> dict[str, Any]:
    """Return the part of a body that says which fields of each hit are read.

    If the index has them, doc values are read instead of ``_source``: to read ``_source`` or ``_id``, the server has to
    decompress a block of stored fields for each hit.
    """
    if by_column:
        # The group has to be listed: the server does not add the field of ``collapse`` to a list of other fields.
        columns = ["group", CANDIDATE, CANDIDATE_TEXTS] if texts else ["group", CANDIDATE]
        return {"_source": False, "stored_fields": "_none_", "docvalue_fields": columns}
    return {"_source": [*source_fields(query), "texts"] if texts else source_fields(query)}


def lacks_column(hit: Mapping[str, Any]) -> bool:
    """Return whether doc values were requested that the entry does not have. This happens if the index was swapped in
    the meantime for one that an earlier version of this app made."""
    return "_source" not in hit and CANDIDATE not in hit["fields"]


def name_of(hit: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key and the group of a hit."""
    if "_source" not in hit:
        return hit["sort"][1], hit["fields"]["group"][0]
    return hit["_id"], hit["_source"]["group"]


def stored(hit: Mapping[str, Any]) -> Stored:
    """Return the stored data of a hit, from its doc values or its ``_source``."""
    if "_source" not in hit:
        return Stored(*name_of(hit), *_unpacked_candidate(hit["fields"][CANDIDATE][0]))
    source = hit["_source"]
    images = [(image["digest"], image["name"]) for image in source["images"]]
    return Stored(*name_of(hit), tuple(source.get("categories", ())), images)


def candidate(
    hit: Mapping[str, Any],
    query: Query,
    kinds: Mapping[str, FilterKind],
    position: int = 0,
    *,
    score: float = 0.0,
    text: float = 0.0,
    head: float = 0.0,
) -> Candidate:
    """Return the candidate of a hit with the image at ``position``."""
    key, group, categories, images = stored(hit)
    digest, name = images[position]
    values = _stored_values(hit["_source"], query, kinds) if query.fields else {}
    return Candidate(key, score, group, digest, name, categories=categories, text=text, head=head, values=values)


def stored_texts(hit: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | str:
    """Return the stored texts of a hit by the name of the field, or the value that :func:`unpack` decodes to them."""
    if "_source" in hit:
        return hit["_source"].get("texts") or {}
    column: Sequence[str] = hit["fields"].get(CANDIDATE_TEXTS)
    return column[0] if column else {}


def pack_candidate(categories: Sequence[str], images: Iterable[EntryImage]) -> str:
    """Return the value of the field :data:`CANDIDATE`: the data of a candidate except its key and group."""
    return pack([categories, *((image.digest, image.name) for image in images)])


@lru_cache(maxsize=1_000)  # each hit is unpacked twice, first to see whether the answer is enough
def _unpacked_candidate(column: str) -> tuple[tuple[str, ...], Sequence[tuple[str, str]]]:
    categories, *images = unpack(column)
    return tuple(categories), images


def pack(value: Any) -> str:
    """Encode a value for a field of the type ``binary``."""
    return base64.b64encode(encode(value)).decode()


def unpack(column: str) -> Any:
    """Decode the value of a field of the type ``binary``."""
    return decode(base64.b64decode(column))


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A checked query.

    ``vector`` has unit length. ``candidates`` is the number of entries that a shard scores in full, 0 for all that
    satisfy the filters. ``which_image`` asks the server which image of an entry is the best; this takes time and is not
    needed if each entry has only one. For ``by_column`` see :func:`fetched`.
    """

    query: Query
    vector: Vector = field(repr=False)
    filters: CompiledFilters
    kinds: Mapping[str, FilterKind]
    similarity: Similarity
    candidates: int
    which_image: bool = True
    by_column: bool = False

    def bodies(self, server: Server, quantisation: Quantisation) -> list[dict[str, Any]]:
        """Return the bodies of ``_search``; a vector query has only one."""
        query, vector = self.query, self.vector
        clauses: dict[str, Any] = filter_clauses(self.filters)
        if self.candidates:
            knn = self._knn(clauses, server, quantisation)
            clauses = {"filter": [{"nested": {"path": "images", "score_mode": "max", "query": {"knn": knn}}}]}
        # The scripts fail for an image without a vector, and with them the whole search.
        images: dict[str, Any] = {"exists": {"field": VECTOR}}
        body: dict[str, Any] = {
            "sort": [{"_score": "desc"}, {"key": "asc"}],
            "from": query.offset,
            "size": query.limit + 1,  # one more, to know whether anything follows
            "track_total_hits": True,
            **fetched(query, self.by_column),
        }
        if query.collapse:
            body["collapse"] = {"field": "group"}
        least = least_score(query)
        lowest = None if least is None else max(least + 1.0, 0.0)
        if self.similarity == "l1":
            if lowest is not None:
                images = {"script_score": {**_scored(images, COSINE, vector), "min_score": lowest}}
            # The hits are ordered by the distance l1, but their score is the cosine.
            cosine = _nested(images, COSINE, vector, {"size": MAX_IMAGES, "name": "cosine", **POSITION_ONLY})
            must = [_nested(images, L1, vector, {"size": 1, **POSITION_ONLY}), {**cosine, "boost": 0}]
        else:
            if lowest is not None:
                body["min_score"] = lowest
            must = [_nested(images, COSINE, vector, {"size": 1, **POSITION_ONLY} if self.which_image else None)]
        body["query"] = {"bool": {**clauses, "must": [{"nested": clause} for clause in must]}}
        return [body]

    def _knn(self, clauses: dict[str, Any], server: Server, quantisation: Quantisation) -> dict[str, Any]:
        knn: dict[str, Any] = {"field": VECTOR, "query_vector": self.vector, "num_candidates": self.candidates}
        if clauses:
            # The filter must match entries only: must_not alone would also match their nested images.
            knn["filter"] = [{"exists": {"field": "group"}}, {"bool": clauses}]
        if server.knn_takes_k:
            knn["k"] = self.candidates
        if server.knn_rescores and OVERSAMPLE[quantisation]:
            knn["rescore_vector"] = {"oversample": OVERSAMPLE[quantisation]}
        return knn

    def follow_up(self, answer: Mapping[str, Any]) -> CompiledQuery | None:
        """Return the query to ask instead of this one if its answer does not suffice, otherwise None."""
        hits = answer["hits"].get("hits", ())
        full = self.candidates and answer["hits"]["total"]["value"] >= self.candidates
        # The candidates may be variants of too few products to fill the page.
        lacks_entries = full and len(hits) <= self.query.limit
        lacks_columns = any(map(lacks_column, hits))
        lacks_images = not (self.which_image or lacks_columns) and any(len(stored(hit).images) > 1 for hit in hits)
        if not (lacks_entries or lacks_columns or lacks_images):
            return None
        return replace(
            self,
            candidates=0 if lacks_entries else self.candidates,
            which_image=self.which_image or lacks_images,
            by_column=self.by_column and not lacks_columns,
        )

    def passing(self, answer: Mapping[str, Any]) -> int | None:
        """Return how many entries satisfy the filters, or None if the answer does not say."""
        full = not self.candidates or answer["hits"]["total"]["value"] < self.candidates
        return answer["hits"]["total"]["value"] if full and self.query.min_score is None else None

    def parse(self, answer: Mapping[str, Any]) -> Candidates:
        """Return the candidates of an answer."""
        hits = answer["hits"].get("hits", [])
        limit = self.query.limit
        found = tuple(self._candidate(hit) for hit in hits[:limit])
        return Candidates(found, more=len(hits) > limit, took_ms=float(answer["took"]), exact=not self.candidates)

    def _candidate(self, hit: Mapping[str, Any]) -> Candidate:
        inner = hit.get("inner_hits")
        position = _positions(inner["images"])[0][0] if inner else 0
        score = dict(_positions(inner["cosine"]))[position] if inner and "cosine" in inner else hit["_score"]
        return candidate(hit, self.query, self.kinds, position, score=max(-1.0, min(1.0, score - 1.0)))


def _positions(inner: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Return (position among the images of the entry, score) of each inner hit, best first."""
    return [(hit["_nested"]["offset"], hit["_score"]) for hit in inner["hits"]["hits"]]


def _nested(images: dict[str, Any], script: str, vector: Any, inner_hits: dict[str, Any] | None) -> dict[str, Any]:
    """Return a ``nested`` clause that scores an entry by its best image. ``inner_hits`` ask which image that is."""
    query = {"script_score": _scored(images, script, vector)}
    named = {} if inner_hits is None else {"inner_hits": inner_hits}
    return {"path": "images", "score_mode": "max", "query": query, **named}


def _scored(images: dict[str, Any], script: str, vector: Any) -> dict[str, Any]:
    return {"query": images, "script": {"source": script, "params": {"q": vector}}}


def facets_body(compiled: CompiledFilters, kinds: Mapping[str, FilterKind]) -> dict[str, Any]:
    """Return the body of ``_search`` that counts all fields in one request.

    The query has the conditions on fields that are not counted. Each aggregation adds the conditions on the other
    counted fields.
    """
    return {
        "size": 0,
        "track_total_hits": False,
        "query": {"bool": filter_clauses(compiled.without(kinds))},
        "aggs": {name: _aggregation(name, kind, compiled, kinds) for name, kind in kinds.items()},
    }


def _aggregation(
    name: str, kind: FilterKind, compiled: CompiledFilters, kinds: Mapping[str, FilterKind]
) -> dict[str, Any]:
    counted = Filters(
        categories=compiled.filters.categories if "category" in kinds else (),
        in_stock=compiled.filters.in_stock if "in_stock" in kinds else None,
    )
    conditions = tuple(each for each in compiled.conditions if each.field in kinds)
    beside = filter_clauses(CompiledFilters(counted, conditions).without((name,)))
    field = {"category": "categories", "in_stock": "in_stock"}.get(name, f"filters.{name}")
    has_value: dict[str, Any] = {"exists": {"field": field}}
    if name == "in_stock":
        # Count with queries: the field lacks the doc values that a ``terms`` aggregation needs.
        values = {"true": {"term": {"in_stock": True}}, "false": {"term": {"in_stock": False}}}
        of: dict[str, Any] = {"values": {"filters": {"filters": values}}}
    elif FILTER_TYPES[kind].is_range:
        of = {"range": {"stats": {"field": field}}}
    else:
        order = [{"_count": "desc"}, {"_key": "asc"}]
        terms = {"field": field, "size": MAX_FACET_VALUES + 1, "shard_size": FACET_SHARD_SIZE, "order": order}
        if FILTER_TYPES[kind].is_text:
            terms["exclude"] = [""]
            has_value = {"range": {field: {"gt": ""}}}
        of = {"values": {"terms": terms}}
    return {"filter": {"bool": {"filter": [has_value, *beside.get("filter", [])]}}, "aggs": of}


def parse_facets(answer: Mapping[str, Any], kinds: Mapping[str, FilterKind]) -> dict[str, Facet]:
    """Return the facets by field from the answer to :func:`facets_body`."""
    return {name: _facet(kind, answer["aggregations"][name]) for name, kind in kinds.items()}


def _facet(kind: FilterKind, found: Mapping[str, Any]) -> Facet:
    count = int(found["doc_count"])
    restore = FILTER_TYPES[kind].restore
    if FILTER_TYPES[kind].is_range:
        least, most = found["range"]["min"], found["range"]["max"]
        if least is None:
            return Facet(kind)
        return Facet(kind, count, minimum=restore(least), maximum=restore(most))
    buckets = found["values"]["buckets"]
    if isinstance(buckets, Mapping):  # in_stock
        counted = [(name == "true", int(bucket["doc_count"])) for name, bucket in buckets.items()]
        return Facet(kind, count, tuple(sorted((each for each in counted if each[1]), key=lambda e: (-e[1], e[0]))))
    values = [(restore(b["key"]), int(b["doc_count"])) for b in buckets]
    return Facet(kind, count, tuple(values[:MAX_FACET_VALUES]), more=len(values) > MAX_FACET_VALUES)
