"""Count the entries of an index and measure the recall of its answers, and store both in its meta.

Both are written with one request when they are complete, so that a killed process leaves the previous ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import validation
from imagesim.indexes.elasticsearch import mapping
from imagesim.indexes.elasticsearch.queries import CompiledQuery
from imagesim.indexes.elasticsearch.selectivity import (
    EXACT_UP_TO,
    PERCENTS,
    Statistics,
    exact_up_to,
    parse_statistics,
    statistics_body,
)
from imagesim.indexes.elasticsearch.transport import Connection
from imagesim.indexes.recall import DEFAULT_CANDIDATES, Ask, Measurement, Scope, chosen_scopes
from imagesim.indexes.statistics import IndexStatistics, Probe, RecallReport, with_statistics
from imagesim.types import Candidates, Condition, FilterKind, Filters, Query

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


def count_entries(connection: Connection, backing_index: str, kinds: Mapping[str, FilterKind]) -> None:
    """Count the values of all fields and store the counts. An index of up to ``EXACT_UP_TO`` entries needs none."""
    [answer] = connection.search(backing_index, [statistics_body(kinds)], slow=True)
    if answer["hits"]["total"]["value"] > EXACT_UP_TO:
        _store(connection.slow, backing_index, parse_statistics(answer))


def read_statistics(client: Elasticsearch, index: str, target: float | None) -> IndexStatistics:
    """Return the stored statistics. A recall that was measured for another target counts as not measured."""
    [found] = client.indices.get_mapping(index=index).body.values()
    return mapping.statistics_of(found["mappings"])[1].for_target(target)


def measure(
    connection: Connection,
    server: mapping.Server,
    backing_index: str,
    probes: Sequence[Probe],
    target: float,
    fixed: int | None,
    progress: Callable[[], None],
) -> RecallReport | None:
    """Measure and store the recall. If ``fixed`` is given, only this number of candidates is measured.

    Return None if the index is searched exactly, or if nothing could be measured.
    """
    client = connection.slow
    mappings = _mappings(client, backing_index)
    counted, known = mapping.statistics_of(mappings)
    entries = int(client.count(index=backing_index)["count"])
    if entries <= EXACT_UP_TO:
        return None
    scopes = filtered_scopes(counted, mapping.meta_of(backing_index, mappings).filters, entries)
    measurement = Measurement(_asking(connection, server, backing_index, mappings), progress)
    report = measurement.run(
        probes, scopes, target, backing_index=backing_index, entries=entries, known=known.recall, fixed=fixed
    )
    if report is not None:
        _store(client, backing_index, {"recall": asdict(report)})
    return report


def _asking(connection: Connection, server: mapping.Server, backing_index: str, mappings: Mapping[str, Any]) -> Ask:
    """Return a function that answers queries in one request, one after the other, each in as long as a write takes."""
    kinds = mapping.meta_of(backing_index, mappings).filters
    quantisation, columns = mapping.quantisation_of(mappings), mapping.CANDIDATE in mapping.fields_of(mappings)

    def ask(queries: Sequence[Query], candidates: int) -> list[Candidates]:
        compiled = [
            CompiledQuery(
                query,
                validation.unit_vector(query.vector),
                validation.compile_filters(query.filters, kinds),
                kinds,
                "cosine",
                candidates,
                by_column=columns,
            )
            for query in queries
        ]
        bodies = [each.bodies(server, quantisation)[0] for each in compiled]
        answers = connection.search(backing_index, bodies, slow=True, max_concurrent_searches="1")
        return [each.parse(answer) for each, answer in zip(compiled, answers, strict=True)]

    return ask


def _mappings(client: Elasticsearch, backing_index: str) -> dict[str, Any]:
    found: dict[str, Any] = client.indices.get_mapping(index=backing_index)[backing_index]["mappings"]
    return found


def _store(client: Elasticsearch, backing_index: str, statistics: Mapping[str, Any]) -> None:
    meta = _mappings(client, backing_index)["_meta"]
    changed = {**meta, mapping.META: with_statistics(meta[mapping.META], statistics)}
    client.indices.put_mapping(index=backing_index, meta=changed)


def filtered_scopes(statistics: Statistics, kinds: Mapping[str, FilterKind], entries: int) -> list[Scope]:
    """Return some of the conditions on common values: the narrowest that the graph answers, the widest and the
    middle."""
    fewest = exact_up_to(entries, DEFAULT_CANDIDATES) / max(entries, 1)
    return chosen_scopes(_conditions(statistics.shares, kinds), fewest)


def _conditions(shares: Mapping[str, Any], kinds: Mapping[str, FilterKind]) -> list[Scope]:
    found = []
    for path, counted in shares.items():
        name = path.removeprefix("filters.")
        if path == "in_stock":
            found.append(Scope("in_stock", float(counted["share"]), Filters(in_stock=True)))
        elif path == "categories":
            found += [Scope.of(Condition("category", "eq", v), float(s)) for v, s in counted["values"].items()]
        elif name not in kinds:
            continue
        elif "quantiles" in counted:
            for percent in (10, 25, 50):
                edge = FILTER_TYPES[kinds[name]].restore(counted["quantiles"][PERCENTS.index(percent)])
                found.append(Scope.of(Condition(name, "lte", edge), float(counted["share"]) * percent / 100))
        else:
            for value, share in counted["values"].items():
                condition = Condition(name, "eq", value == "1" if kinds[name] == "boolean" else value)
                found.append(Scope.of(condition, float(share)))
    return found
