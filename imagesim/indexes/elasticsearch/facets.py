"""From fields to aggregations, and from the answer to facets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagesim.indexes.elasticsearch.queries import filter_clauses
from imagesim.indexes.validation import MAX_FACET_VALUES, Test, moment
from imagesim.types import Facet, FilterKind, Filters

SHARD_SIZE = 10 * MAX_FACET_VALUES
"""Values each shard counts, so that with several shards too the commonest are counted in full."""


def body(filters: Filters, tests: Sequence[Test], kinds: Mapping[str, FilterKind]) -> dict[str, Any]:
    """What ``_search`` takes."""
    aggregations: dict[str, Any] = {}
    for name, kind in kinds.items():
        if name == "in_stock":
            # By the inverted index: the field has no doc values, which is what ``terms`` counts.
            values = {"true": {"term": {"in_stock": True}}, "false": {"term": {"in_stock": False}}}
            aggregations[name] = {"filters": {"filters": values}}
            continue
        field = "categories" if name == "category" else f"filters.{name}"
        if kind in ("number", "date"):
            of: dict[str, Any] = {"range": {"stats": {"field": field}}}
        else:
            order = [{"_count": "desc"}, {"_key": "asc"}]
            of = {"values": {"terms": {"field": field, "size": MAX_FACET_VALUES + 1, "order": order}}}
            of["values"]["terms"]["shard_size"] = SHARD_SIZE
        aggregations[name] = {"filter": {"exists": {"field": field}}, "aggs": of}
    return {
        "size": 0,
        "track_total_hits": False,
        "query": {"bool": filter_clauses(filters, tests)},
        "aggs": aggregations,
    }


def facets(answer: Mapping[str, Any], kinds: Mapping[str, FilterKind]) -> dict[str, Facet]:
    return {name: _facet(kind, answer["aggregations"][name]) for name, kind in kinds.items()}


def _facet(kind: FilterKind, found: Mapping[str, Any]) -> Facet:
    if "buckets" in found:
        counted = [(name == "true", int(bucket["doc_count"])) for name, bucket in found["buckets"].items()]
        values = sorted((each for each in counted if each[1]), key=lambda each: (-each[1], each[0]))
        return Facet(kind, sum(number for _, number in values), tuple(values))
    count = int(found["doc_count"])
    if kind in ("number", "date"):
        least, most = found["range"]["min"], found["range"]["max"]
        if least is None:
            return Facet(kind)
        if kind == "date":
            return Facet(kind, count, minimum=moment(int(least)), maximum=moment(int(most)))
        return Facet(kind, count, minimum=float(least), maximum=float(most))
    buckets = found["values"]["buckets"]
    values = [(bool(b["key"]) if kind == "boolean" else b["key"], int(b["doc_count"])) for b in buckets]
    return Facet(kind, count, tuple(values[:MAX_FACET_VALUES]), more=len(values) > MAX_FACET_VALUES)
