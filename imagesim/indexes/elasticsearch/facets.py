"""From fields to aggregations, and from the answer to facets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.elasticsearch.queries import filter_clauses
from imagesim.indexes.validation import MAX_FACET_VALUES, CompiledFilter, without
from imagesim.types import Facet, FilterKind, Filters

SHARD_SIZE = 10 * MAX_FACET_VALUES
"""Values each shard counts, so that with several shards too the commonest are counted in full."""


def body(filters: Filters, tests: Sequence[CompiledFilter], kinds: Mapping[str, FilterKind]) -> dict[str, Any]:
    """What ``_search`` takes: one request, whatever is asked of the fields that are counted.

    The query holds what is asked of other fields; each field then adds what is asked of those counted beside it.
    """
    return {
        "size": 0,
        "track_total_hits": False,
        "query": {"bool": filter_clauses(*without(filters, tests, kinds))},
        "aggs": {name: _aggregation(name, kind, filters, tests, kinds) for name, kind in kinds.items()},
    }


def _aggregation(
    name: str, kind: FilterKind, filters: Filters, tests: Sequence[CompiledFilter], kinds: Mapping[str, FilterKind]
) -> dict[str, Any]:
    counted = Filters(
        categories=filters.categories if "category" in kinds else (),
        in_stock=filters.in_stock if "in_stock" in kinds else None,
    )
    beside = filter_clauses(*without(counted, [test for test in tests if test.field in kinds], (name,)))
    field = {"category": "categories", "in_stock": "in_stock"}.get(name, f"filters.{name}")
    if name == "in_stock":
        # By the inverted index: the field has no doc values, which is what ``terms`` counts.
        values = {"true": {"term": {"in_stock": True}}, "false": {"term": {"in_stock": False}}}
        of: dict[str, Any] = {"values": {"filters": {"filters": values}}}
    elif FILTER_TYPES[kind].is_range:
        of = {"range": {"stats": {"field": field}}}
    else:
        order = [{"_count": "desc"}, {"_key": "asc"}]
        terms = {"field": field, "size": MAX_FACET_VALUES + 1, "shard_size": SHARD_SIZE, "order": order}
        of = {"values": {"terms": terms}}
    return {"filter": {"bool": {"filter": [{"exists": {"field": field}}, *beside.get("filter", [])]}}, "aggs": of}


def facets(answer: Mapping[str, Any], kinds: Mapping[str, FilterKind]) -> dict[str, Facet]:
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
    if isinstance(buckets, Mapping):  # of ``in_stock``
        counted = [(name == "true", int(bucket["doc_count"])) for name, bucket in buckets.items()]
        return Facet(kind, count, tuple(sorted((each for each in counted if each[1]), key=lambda e: (-e[1], e[0]))))
    values = [(restore(b["key"]), int(b["doc_count"])) for b in buckets]
    return Facet(kind, count, tuple(values[:MAX_FACET_VALUES]), more=len(values) > MAX_FACET_VALUES)
