"""The facets of a look: the values of fields among the relevant candidates of its queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imagesim.conf import get_settings
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes.validation import MAX_FACET_VALUES
from imagesim.retrieval.relevance import Cutoff, Judge, WithRelevance
from imagesim.types import Candidate, Candidates, Facet, FilterKind, Filters, Query

if TYPE_CHECKING:
    from imagesim.retrieval.retriever import Retriever


@dataclass(frozen=True, slots=True)
class WithFacets:
    """Computes relevance as :class:`~imagesim.retrieval.relevance.WithRelevance` does, and counts the values of the
    fields in ``kinds`` among the relevant candidates, of at least the first ``MAX_LIMIT``.

    A field is counted without its own condition, by a further query of the same request. Another one, without the
    conditions on all these fields, decides what is relevant: what was counted is shown when its value is chosen. What
    is relevant there is the ``relevant`` of the answer.
    """

    retriever: Retriever
    judges: Sequence[Judge]
    cutoff: Cutoff
    kinds: Mapping[str, FilterKind]

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        fields = [name for name in self.kinds if name != "category"]  # a candidate always has its categories
        queries = [replace(query, fields=tuple(dict.fromkeys((*query.fields, *fields)))) for query in queries]
        chosen = tuple(name for name in self.kinds if self._without((name,), queries) != list(queries))
        asked: list[Query] = []
        judges: list[Judge] = []
        starts = {}
        for left_out in dict.fromkeys([(), chosen, *((name,) for name in chosen)]):
            starts[left_out] = start = len(asked)
            asked += self._without(left_out, queries)
            for number, judge in enumerate(self.judges):
                beside = None if judge.beside is None else start + judge.beside
                judges.append(replace(judge, beside=beside, unfiltered=len(queries) + number if chosen else None))
        cutoff = replace(self.cutoff, least=max(self.cutoff.least, get_settings().MAX_LIMIT))
        answers = WithRelevance(self.retriever, judges, cutoff).search(asked)
        counted = {name: answers[starts[(name,) if name in chosen else ()] :] for name in self.kinds}
        return [
            replace(
                answer,
                relevant=answers[starts[chosen] + number].relevant,
                facets={n: count_values(n, kind, counted[n][number].relevant) for n, kind in self.kinds.items()},
            )
            for number, answer in enumerate(answers[: len(queries)])
        ]

    def _without(self, names: Collection[str], queries: Sequence[Query]) -> list[Query]:
        """Return the queries without the visitor's conditions on some fields."""
        return [
            # Those with fewer conditions are only counted: their pages need not be full.
            query if filters == query.filters else replace(query, filters=filters, limit=1)
            for query, judge in zip(queries, self.judges, strict=True)
            for filters in [_without(names, query.filters, of_label=judge.label is not None)]
        ]


def _without(names: Collection[str], filters: Filters, *, of_label: bool) -> Filters:
    """Return filters without the conditions on some fields. ``of_label``: their categories are those of a label."""
    return replace(
        filters,
        categories=() if "category" in names and not of_label else filters.categories,
        in_stock=None if "in_stock" in names else filters.in_stock,
        conditions=tuple(each for each in filters.conditions if each.field not in names),
    )


def count_values(name: str, kind: FilterKind, candidates: Sequence[Candidate]) -> Facet:
    """Count the values of a field as an index does, without the empty text, which means "no value" in Django."""
    values: list[set[Any]] = []
    for each in candidates:
        own = {*(each.categories if name == "category" else each.values.get(name, ()))} - {""}
        if own:
            values.append(own)
    if not values:
        return Facet(kind)
    restore = FILTER_TYPES[kind].restore
    if FILTER_TYPES[kind].is_range:
        every = set.union(*values)
        return Facet(kind, len(values), minimum=restore(min(every)), maximum=restore(max(every)))
    counts = Counter(value for own in values for value in own)
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    pairs = tuple((restore(value), count) for value, count in ordered[:MAX_FACET_VALUES])
    return Facet(kind, len(values), pairs, more=len(ordered) > MAX_FACET_VALUES)
