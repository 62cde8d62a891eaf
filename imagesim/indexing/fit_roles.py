"""Derive the roles of the words of a catalogue from its entries, and divide the names of categories and items."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from imagesim.language import kana
from imagesim.language.analysis import head_of, listed_stems
from imagesim.language.query_words import QueryWord, query_words
from imagesim.language.stop_words import INFLECTIONS, UNITS
from imagesim.language.word_forms import SHORTEST_PART, is_other_thing, may_be_compound
from imagesim.language.word_roles import MENTION, SHORTEST_FIRST, Roles, has_digit, is_size

COVERAGE = 0.6
"""The minimum share of a category's entries, by the weight of the field, that contain a word which names the category.
One more entry without it is counted, because in a small category many words are common by chance."""

PURITY = 0.6
"""The minimum share, by the weight of the field, of the entries with such a word that are in the categories it
names."""

PURITY_OF_LISTED = 0.4
"""The same for a word that the name of a category lists: "butter" of "Butter & spreads" is no less the word for butter
because peanut butter and croissants have it in their names."""

DEPARTMENTS = 2.0
"""The maximum effective number (the inverse of Simpson's index) of departments with such a word. The name of a brand
covers categories too, but in many departments."""

SPREAD = 2.5
"""The minimum effective number of categories, by the weight of the field, for a word to be a modifier."""

FEWEST = 3
"""The minimum number of categories, counted for each entry, for a word to be such a modifier."""

MOST_KINDS = 2_000
MOST_MODIFIERS = 4_000
MOST_THINGS = 4_000
"""The maximum number of words stored, the most frequent first; other words are treated as unknown."""


@dataclass(frozen=True, slots=True)
class Described:
    """The words of an entry, by their stems.

    - ``words``: those of all texts, each with the weight of its field, 0 to 1 relative to that of the name. Words of
      the names of its categories have the weight 1, whatever that of their field.
    - ``name``: those of its name; ``heads``: those of the name that say what it is.
    - ``listed``: those that the names of its categories list, as "Sofas & tables" does; this alone does not put them in
      ``words``.
    - ``called``: the other names of its categories, as :func:`kind_of` returns them.
    """

    categories: frozenset[str]
    words: Mapping[str, float]
    name: frozenset[str]
    listed: frozenset[str] = frozenset()
    called: frozenset[tuple[str, ...]] = frozenset()
    heads: frozenset[str] = frozenset()


def fit_roles(
    entries: Collection[Described], departments: Mapping[str, frozenset[str]], colours: Collection[str] = ()
) -> Roles:
    """Derive the roles of the words of a catalogue. ``departments``: each category with its siblings under the same
    parents; ``colours``: the stems of the names of colours."""
    sizes = Counter(category for entry in entries for category in entry.categories)
    names = _names(entries, sizes)
    headed, specifying = _parts(names)
    listed = _listed(entries, headed, departments)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    weights: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    naming: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for entry in entries:
        for stem in entry.words.keys() | entry.listed:
            found[stem].update(entry.categories)
            weight = 1.0 if stem in entry.listed else entry.words[stem]
            for category in entry.categories:
                weights[stem][category] += weight
                if stem in entry.listed and category not in listed[stem]:
                    continue
                specifies = category in specifying[stem] and category not in headed[stem]
                if not (specifies and (headed[stem] or stem not in entry.name)):
                    naming[stem][category] += weight if weight >= MENTION or not headed[stem] else 0.0
    kinds = {
        stem: named
        for stem in found
        if (headed[stem] or not (stem in UNITS or has_digit(stem)))
        and (named := _named(naming[stem], sizes, departments, headed=bool(headed[stem]), listed=bool(listed[stem])))
    }
    common = {
        stem
        for stem, count in found.items()
        if count.total() >= FEWEST and effective_number(weights[stem].values()) >= SPREAD
    }
    order = sorted(found, key=lambda stem: (-found[stem].total(), stem))
    rest = [stem for stem in order if stem not in kinds]
    named_colours = [stem for stem in colours if stem not in kinds]
    things_of_names = _without_kind(entries, kinds)
    is_modifier = {
        stem: stem not in things_of_names or stem in common or stem in colours or is_size(stem) for stem in rest
    }
    modifiers = list(dict.fromkeys([*named_colours, *(stem for stem in rest if is_modifier[stem])]))
    things = [stem for stem in rest if not is_modifier[stem]]
    called = {stem for entry in entries for stem, weight in entry.words.items() if weight >= MENTION}
    kinds = {stem: kinds[stem] for stem in [stem for stem in order if stem in kinds][:MOST_KINDS]}
    return Roles(
        kinds,
        frozenset(modifiers[:MOST_MODIFIERS]),
        frozenset(things[:MOST_THINGS]),
        {stem: tuple(sorted(listed[stem].intersection(names))) for stem, names in kinds.items() if stem in listed},
        frozenset(named_colours),
        mentions=frozenset(modifiers[:MOST_MODIFIERS]).difference(called, named_colours),
        names=_with_specified(names),
        departments={name: min(siblings) for name, siblings in departments.items() if len(siblings) > 1},
        brands=_brands(entries).intersection(modifiers[:MOST_MODIFIERS]).difference(named_colours),
    )


def _listed(
    entries: Iterable[Described], headed: Mapping[str, Collection[str]], departments: Mapping[str, frozenset[str]]
) -> dict[str, set[str]]:
    """Return, by word, the categories that list it in their names, or in their department's name if no category of the
    department is called by the word."""
    listed: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        for stem in entry.listed:
            listed[stem] |= entry.categories
    for stem, categories in listed.items():
        if headed[stem]:
            listed[stem] = {
                each for each in categories if not _of_department(each, categories, headed[stem], departments)
            }
    return listed


def _without_kind(entries: Iterable[Described], kinds: Mapping[str, Collection[str]]) -> set[str]:
    """Return the words of those names that have no word for the kind of their entry: one of them says what it is."""
    found: set[str] = set()
    for entry in entries:
        if not any(entry.categories.intersection(kinds.get(stem, ())) for stem in entry.name):
            found |= entry.name
    return found


def _of_department(
    category: str, listed: Collection[str], headed: Collection[str], departments: Mapping[str, frozenset[str]]
) -> bool:
    """Return whether a category lists a word only because its department does, and another category of the department
    is called by the word: in "Clothes & shoes", the "Running shoes" are shoes, and the dresses are not."""
    siblings = departments.get(category, frozenset())
    return category not in headed and siblings.issubset(listed) and not siblings.isdisjoint(headed)


def _brands(entries: Iterable[Described]) -> frozenset[str]:
    """Return the words that mostly stand in texts between the name and a description: those of brands and authors."""
    found: Counter[str] = Counter()
    elsewhere: Counter[str] = Counter()
    for entry in entries:
        for stem, weight in entry.words.items():
            (found if MENTION <= weight < 1 else elsewhere)[stem] += 1
    return frozenset(stem for stem, count in found.items() if count >= elsewhere[stem])


def _names(entries: Iterable[Described], sizes: Mapping[str, int]) -> dict[tuple[str, ...], frozenset[str]]:
    """Return, by name, the categories of which enough entries have that name. An entry in several categories counts for
    each.

    The name of a department stands for the categories of the same name, if there are any: "TV" for the "TVs". It does
    not stand for categories that it only specifies: "Watches" for "Men's watches", but not for "Watch straps".
    """
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    alone: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for entry in entries:
        for name in entry.called:
            counts[name].update(entry.categories)
            if len(entry.called) == 1:
                alone[name].update(entry.categories)

    def enough(counted: Mapping[str, int]) -> frozenset[str]:
        return frozenset(each for each, number in counted.items() if number >= COVERAGE * sizes[each])

    found = {name: enough(alone[name]) or enough(counted) for name, counted in counts.items()}
    headed, specifying = _parts({name: categories for name, categories in found.items() if len(name) > 1})
    for name in found:
        if len(name) == 1 and headed[name[0]]:
            found[name] -= specifying[name[0]] - headed[name[0]]
    return {name: categories for name, categories in found.items() if name and categories}


def _parts(
    names: Mapping[tuple[str, ...], frozenset[str]],
) -> tuple[Mapping[str, set[str]], Mapping[str, set[str]]]:
    """Return, by word, the categories in whose names it comes last, and so says what their things are, and those in
    whose names it only specifies this."""
    headed: dict[str, set[str]] = defaultdict(set)
    specifying: dict[str, set[str]] = defaultdict(set)
    for (*others, head), categories in names.items():
        headed[head] |= categories
        for stem in others:
            specifying[stem] |= categories
    return headed, specifying


def _with_specified(names: Mapping[tuple[str, ...], frozenset[str]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the names, the longest first, with their categories and those of names that specify them further: the
    "Bar stools" are stools."""
    by_head: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for name in names:
        by_head[name[-1]].append(name)
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name in sorted(names, key=lambda name: (-len(name), name))[-MOST_KINDS:]:
        wider = (names[other] for other in by_head[name[-1]] if set(name) <= set(other))
        found[name] = tuple(sorted(frozenset[str]().union(*wider)))
    return found


def _named(
    weights: Mapping[str, float],
    sizes: Mapping[str, int],
    departments: Mapping[str, frozenset[str]],
    *,
    headed: bool,
    listed: bool,
) -> tuple[str, ...]:
    """Return the categories that a word names; empty if it is as common elsewhere.

    ``weights``: of the entries with the word, by category; ``headed``: whether the name of a category uses it to say
    what its things are; ``listed``: whether the name of a category lists it.
    """
    covered = tuple(sorted(name for name, weight in weights.items() if weight >= COVERAGE * (sizes[name] + 1)))
    total = sum(weights.values())
    purity = PURITY_OF_LISTED if listed and not headed else PURITY
    if not covered or sum(weights[name] for name in covered) < purity * total:
        return ()
    if headed or listed:  # not a brand, whatever the departments
        return covered
    shares: dict[frozenset[str], float] = defaultdict(float)
    for name, weight in weights.items():
        shares[departments.get(name, frozenset({name}))] += weight
    return covered if effective_number(shares.values()) <= DEPARTMENTS else ()


def effective_number(shares: Iterable[float]) -> float:
    """Return the inverse of Simpson's index: the number of equal shares with the same concentration."""
    values = [float(share) for share in shares]
    return sum(values) ** 2 / sum(value * value for value in values) if any(values) else 0.0


def kind_of(name: str, language: str) -> tuple[str, ...]:
    """Return the stems of the words of a category's name, with the word that says what its things are last: ("garden",
    "table") for "Garden tables", ("drawer", "chest") for "Chests of drawers", ("dam", "schuh") for "Schuhe Damen".

    The tuple is empty for a name that lists several things (:func:`listed_stems`).
    """
    if listed_stems([name], language):
        return ()
    words = query_words(name, (language,))
    ends = (number for number, word in enumerate(words) if number and not _continues(word))
    head = head_of([word.stems[language] for word in words[: next(ends, None)]], language)
    return tuple(word.stems[language] for word in (*words[:head], *words[head + 1 :], *words[head : head + 1]))


def parts_of(compound: str, stems: Collection[str], language: str) -> tuple[str, ...]:
    """Return the two parts of the stem of a compound, of which the last is the longest possible one among ``stems``:
    ("couch", "tisch") of "couchtisch". The tuple is empty if there is none, or the language does not write compounds as
    one word."""
    starts: Iterable[int]
    if language not in INFLECTIONS:
        return ()
    if kana.is_word(compound):
        starts = (end for end in range(1, len(compound)) if may_be_compound(compound, compound[end:], language))
    elif is_other_thing(compound, language):
        return ()
    else:
        starts = (end for end in range(SHORTEST_FIRST, len(compound) - SHORTEST_PART + 1))
    return next(((compound[:end], compound[end:]) for end in starts if compound[end:] in stems), ())


def _continues(word: QueryWord) -> bool:
    """Return whether a word of a name belongs to the same thing as the word before it."""
    return word.follows and not word.complement
