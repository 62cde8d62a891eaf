"""Roles of words in a catalogue: words that name a category, and modifiers, derived from the catalogue.

In "yellow shoes", "shoes" is essential and "yellow" is optional. A parser could tell, but each language needs its own;
the categories of the entries tell as well:

- a word that most entries of a category have, and hardly any other, names that category: "shoes";
- a word beside such a word in names ("Yellow wall paint"), in no name at all, or in entries of many categories is a
  modifier;
- any other word can name a thing: "desk", if few of the tables are desks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COVERAGE = 0.6
"""The minimum share of a category's entries, by the weight of the field, that contain a word which names the category.
One more entry without it is counted, because in a small category many words are common by chance."""

PURITY = 0.6
"""The minimum share, by the weight of the field, of the entries with such a word that are in the categories it
names."""

DEPARTMENTS = 2.0
"""The maximum effective number (the inverse of Simpson's index) of departments with such a word. The name of a brand
covers categories too, but in many departments."""

SPREAD = 2.5
"""The effective number of categories, by the weight of the field, from which on a word is a modifier."""

FEWEST = 3
"""The minimum number of entries for that."""

MOST_KINDS = 2_000
MOST_MODIFIERS = 4_000
"""The maximum number of words stored, the most frequent first; others are unknown."""


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
        """Return the numbers of the query's words (stems of each) of which an entry must contain one, empty if any word
        suffices; and the categories that the query names, if it has a word for a category and no unknown word."""
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
    """Derive the roles of the words of a catalogue. ``departments``: each category with its siblings under the same
    parents."""
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
    """Return the categories that a word names; empty if it is as common elsewhere."""
    covered = tuple(sorted(name for name, weight in weights.items() if weight >= COVERAGE * (sizes[name] + 1)))
    total = sum(weights.values())
    if not covered or sum(weights[name] for name in covered) < PURITY * total:
        return ()
    shares: dict[frozenset[str], float] = defaultdict(float)
    for name, weight in weights.items():
        shares[departments.get(name, frozenset({name}))] += weight
    return covered if effective_number(shares.values()) <= DEPARTMENTS else ()


def effective_number(shares: Iterable[float]) -> float:
    """Return the inverse of Simpson's index: the number of equal shares with the same concentration."""
    values = [float(share) for share in shares]
    return sum(values) ** 2 / sum(value * value for value in values) if any(values) else 0.0
