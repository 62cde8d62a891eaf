"""Which words of a catalogue name a kind of thing, and which only say what it is like: read from the catalogue.

In "yellow shoes" the shoes matter and the yellow is a wish. Grammar would tell, and needs a parser for every language;
the categories of the entries tell as well:

- a word that most entries of a category have, and hardly any other, names that category: "shoes";
- a word that stands in names beside such a word ("Yellow wall paint"), in no name at all, or in entries all over the
  catalogue says what a thing is like: it is a modifier;
- any other may be what a thing is called: "desk", where few of the tables are desks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COVERAGE = 0.6
"""The least share of a category's entries, by the weight of the field, that have a word which names the category. One
entry more is counted that has not: in a small category many words are common by chance."""

PURITY = 0.6
"""Of the entries with such a word, by the weight of the field, the least share that is in the categories it names."""

DEPARTMENTS = 2.0
"""The most departments, by their effective number (the inverse of Simpson's index), that such a word is found in. The
name of a brand covers categories too, but all over the shop."""

SPREAD = 2.5
"""The effective number of categories, by the weight of the field, from which on a word is found all over."""

FEWEST = 3
"""Entries that it needs for that."""

MOST_KINDS = 2_000
MOST_MODIFIERS = 4_000
"""Words that are stored, the most frequent first; of those left out nothing is known."""


@dataclass(frozen=True, slots=True)
class Described:
    """An entry: its categories, the stems of its words with the weight of the field that each is in, and those of its
    name.

    A weight is 0 to 1; it is 1 in the texts of the category itself, whatever these weigh in a search.
    """

    categories: frozenset[str]
    words: Mapping[str, float]
    name: frozenset[str]


@dataclass(frozen=True, slots=True)
class Roles:
    """``kinds``: the categories that a word names, by its stem; ``modifiers``: the stems of those that name nothing."""

    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modifiers: frozenset[str] = frozenset()

    def heads(self, words: Sequence[Collection[str]]) -> tuple[tuple[int, ...], frozenset[str]]:
        """Of the words of a query (the stems of each) the numbers of those that an entry has to have one of, none where
        all count alike; and the categories that the query names, if it has a word for a kind and no unknown one."""
        named = [frozenset(category for stem in stems for category in self.kinds.get(stem, ())) for stems in words]
        heads = tuple(number for number, stems in enumerate(words) if named[number] or self.modifiers.isdisjoint(stems))
        categories: frozenset[str] = frozenset()
        if heads and all(named[number] for number in heads):
            each = [named[number] for number in heads]
            categories = frozenset.intersection(*each) or frozenset.union(*each)
        return (heads if len(heads) < len(words) else ()), categories

    def to_json(self) -> dict[str, Any]:
        return {"kinds": {stem: list(names) for stem, names in self.kinds.items()}, "modifiers": sorted(self.modifiers)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Roles:
        kinds = {str(stem): tuple(map(str, names)) for stem, names in dict(data["kinds"]).items()}
        return cls(kinds, frozenset(map(str, data["modifiers"])))


def fit_roles(entries: Collection[Described], departments: Mapping[str, frozenset[str]]) -> Roles:
    """The roles of the words of a catalogue. ``departments``: each category with those under the same parents."""
    sizes: Counter[str] = Counter()
    found: dict[str, Counter[str]] = defaultdict(Counter)
    weights: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for entry in entries:
        sizes.update(entry.categories)
        for stem, weight in entry.words.items():
            found[stem].update(entry.categories)
            for category in entry.categories:
                weights[stem][category] += weight
    kinds = {stem: named for stem in found if (named := _named(weights[stem], sizes, departments))}
    alone: set[str] = set()
    for entry in entries:
        if not any(entry.categories.intersection(kinds.get(stem, ())) for stem in entry.name):
            alone |= entry.name
    everywhere = {
        stem
        for stem, count in found.items()
        if count.total() >= FEWEST and effective_number(weights[stem].values()) >= SPREAD
    }
    order = sorted(found, key=lambda stem: (-found[stem].total(), stem))
    modifiers = [stem for stem in order if stem not in kinds and (stem not in alone or stem in everywhere)]
    return Roles(
        {stem: kinds[stem] for stem in [stem for stem in order if stem in kinds][:MOST_KINDS]},
        frozenset(modifiers[:MOST_MODIFIERS]),
    )


def _named(
    weights: Mapping[str, float],
    sizes: Mapping[str, int],
    departments: Mapping[str, frozenset[str]],
) -> tuple[str, ...]:
    """The categories that a word names; none if it is found as much elsewhere."""
    covered = tuple(sorted(name for name, weight in weights.items() if weight >= COVERAGE * (sizes[name] + 1)))
    total = sum(weights.values())
    if not covered or sum(weights[name] for name in covered) < PURITY * total:
        return ()
    shares: dict[frozenset[str], float] = defaultdict(float)
    for name, weight in weights.items():
        shares[departments.get(name, frozenset({name}))] += weight
    return covered if effective_number(shares.values()) <= DEPARTMENTS else ()


def effective_number(shares: Iterable[float]) -> float:
    """The inverse of Simpson's index: how many equal shares would be as concentrated as these."""
    values = [float(share) for share in shares]
    return sum(values) ** 2 / sum(value * value for value in values) if any(values) else 0.0
