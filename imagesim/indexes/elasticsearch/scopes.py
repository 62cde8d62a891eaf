"""Filters to measure the recall under: those of the catalogue's own commonest values, as they were counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.elasticsearch.selectivity import PERCENTS, Statistics, exact_up_to
from imagesim.indexes.recall import DEFAULT_CANDIDATES, Scope, chosen_scopes
from imagesim.types import Condition, FilterKind, Filters


def filtered_scopes(statistics: Statistics, kinds: Mapping[str, FilterKind], entries: int) -> list[Scope]:
    """Of the conditions on the commonest values: the narrowest that the graph answers, the widest and the middle."""
    fewest = exact_up_to(entries, DEFAULT_CANDIDATES) / max(entries, 1)
    return chosen_scopes(_conditions(statistics.shares, kinds), fewest)


def _conditions(shares: Mapping[str, Any], kinds: Mapping[str, FilterKind]) -> list[Scope]:
    found = []
    for path, counted in shares.items():
        name = path.removeprefix("filters.")
        if path == "in_stock":
            found.append(Scope("in_stock", float(counted["share"]), Filters(in_stock=True)))
        elif path == "categories":
            found += [Scope(f"category={v}", float(s), Filters(categories=(v,))) for v, s in counted["values"].items()]
        elif name not in kinds:
            continue
        elif "quantiles" in counted:
            for percent in (10, 25, 50):
                edge = FILTER_TYPES[kinds[name]].restore(counted["quantiles"][PERCENTS.index(percent)])
                condition = Condition(name, "lte", edge)
                scope = Scope(f"{name}<={edge}", float(counted["share"]) * percent / 100, _where(condition))
                found.append(scope)
        else:
            for value, share in counted["values"].items():
                condition = Condition(name, "eq", value == "1" if kinds[name] == "boolean" else value)
                found.append(Scope(f"{name}={value}", float(share), _where(condition)))
    return found


def _where(condition: Condition) -> Filters:
    return Filters(conditions=(condition,))
