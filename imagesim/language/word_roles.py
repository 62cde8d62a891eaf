"""Roles of words in a catalogue: words that name a category, and modifiers, derived from the catalogue.

In "yellow shoes", "shoes" is essential and "yellow" is optional. A parser could tell, but each language needs its own;
the categories of the entries tell as well:

- a word that most entries of a category have, and hardly any others, names that category: "shoes";
- so does the word for its things in the category's own name: "table" names "Coffee tables" and "Garden tables",
  whatever their departments, but not "Table lamps". Someone who types the whole name asks for that category;
- a word next to such a word in names ("Yellow wall paint"), in no name at all, or in entries of many categories is a
  modifier; but one that only descriptions have is sought where it is the head of a compound: a "paint brush" is not
  paint, although a paint says "apply with a brush";
- of two words that name categories, the order tells which is sought: "dress shoes" are shoes;
- any other word can name a thing: "desk", if few of the tables are desks. Names of colours and numbers never do.

A word that is not in the catalogue has the role of those that differ from it by one typing error.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from imagesim.language import kana

DEPARTMENT = 3
"""The minimum number of categories whose common name is that of a department."""

MENTION = 0.5
"""The weight of a field below which its text only mentions words: that of a description, not that of a brand. It is
relative to the weight of the name."""

SHORTEST = 4
"""The minimum number of letters of a misspelled word, and of the last part of a compound that calls something: shorter
ones are close to too many others."""

SHORTEST_FIRST = 3
"""The minimum number of letters before the last part of a compound."""


class Interpretation(NamedTuple):
    """What a query asks for. Words are given by their numbers, categories by their keys."""

    heads: tuple[int, ...]
    """The words of which an entry must contain one; empty if any word suffices."""
    categories: frozenset[str]
    """The categories that the query names, if its other words are modifiers."""
    mentioned: frozenset[str]
    """The categories that it names, whatever its other words mean."""
    partly: frozenset[str]
    """The categories of which it names a part: "sofas" of "Sofas & tables"."""
    in_full: bool = False
    """Whether it has the whole name of a category, or several words that name the same one, and otherwise only
    modifiers."""
    specified: frozenset[str] = frozenset()
    """Other categories, in whose names a head comes before the word for their things: "Watch straps" for "watch"."""


@dataclass(frozen=True)
class Roles:
    """The roles of the words of a catalogue. Words are given by their stems."""

    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The categories that a word names."""
    modifiers: frozenset[str] = frozenset()
    """The words that name nothing."""
    things: frozenset[str] | None = None
    """All other words; None if they were not stored."""
    listed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The categories that a word names and that only list it in their names, as "Sofas & tables" does."""
    colours: frozenset[str] = frozenset()
    """The modifiers that name a colour."""
    collisions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """See :func:`~imagesim.language.stem_collisions.stem_collisions`."""
    names: Mapping[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """The categories that have a whole name, as returned by :func:`~imagesim.indexing.fit_roles.kind_of`, or one with
    further words before its last: those called "Bar stools" for "stools"."""
    departments: Mapping[str, str] = field(default_factory=dict)
    """The department of each category that has siblings: the key of one of them."""
    mentions: frozenset[str] = frozenset()
    """The modifiers that only descriptions contain."""
    brands: frozenset[str] = frozenset()
    """The words that mostly occur in texts such as that of a brand or an author: neither the name nor the category, but
    more than a description."""

    @cached_property
    def _called(self) -> frozenset[str]:
        """The stems of the words by which a category or a thing is called."""
        return frozenset((*self.kinds, *(self.things or ()), *(name[0] for name in self.names if len(name) == 1)))

    @cached_property
    def known(self) -> frozenset[str]:
        """The stems of the words that the catalogue has."""
        return self._called | self.modifiers

    @cached_property
    def _called_words(self) -> str:
        return " ".join((*self.kinds, *(self.things or ()), ""))

    @cached_property
    def _specifiers(self) -> frozenset[str]:
        """The stems that are the name of a department, or a part of the names of some and name nothing else.
        Those by which categories are called are left out: the "shoes" of "Running shoes"."""
        departments = {name for name, categories in self.names.items() if len(categories) >= DEPARTMENT}
        below: dict[str, set[str]] = defaultdict(set)
        for name in departments:
            for stem in name:
                below[stem].update(self.names[name])
        called = {name[-1] for name in self.names if len(name) > 1 and name not in departments}
        return frozenset(
            stem
            for stem, categories in below.items()
            if stem not in called and ((stem,) in departments or categories.issuperset(self.kinds.get(stem, ())))
        )

    @cached_property
    def stems_of_categories(self) -> Mapping[str, frozenset[str]]:
        """The stems of the words by which each category, or a department of it, is called."""
        found: dict[str, set[str]] = defaultdict(set)
        for name, categories in self.names.items():
            for category in categories:
                found[category].update(name)
        return {category: frozenset(stems) for category, stems in found.items()}

    @cached_property
    def specifiers_of_categories(self) -> Mapping[str, frozenset[str]]:
        """The stems of the words that specify what each category is called, or of a name of one word."""
        found: dict[str, set[str]] = defaultdict(set)
        for name, categories in self.names.items():
            for category in categories if len(categories) < DEPARTMENT else ():
                found[category].update(name[:-1] or name)
        return {category: frozenset(stems) for category, stems in found.items()}

    def has(self, stems: Collection[str]) -> bool:
        """Return whether a word of the catalogue has one of these stems."""
        return not self.known.isdisjoint(stems)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.known)

    def has_beginning(self, text: str) -> bool:
        """Return whether a word of the catalogue has a stem that begins with ``text``."""
        at = bisect_left(self._sorted, text)
        return at < len(self._sorted) and self._sorted[at].startswith(text)

    def calls(self, stems: Collection[str]) -> bool:
        """Return whether the catalogue calls a category or a thing by a word with one of these stems."""
        return not self._called.isdisjoint(stems)

    def names_kind(self, stems: Collection[str]) -> bool:
        """Return whether a word with one of these stems names a category."""
        return not self.kinds.keys().isdisjoint(stems)

    def is_category(self, stems: Collection[str]) -> bool:
        """Return whether a word with one of these stems is the whole name of a category."""
        return any((stem,) in self.names for stem in stems)

    def identifies(self, stems: Collection[str]) -> bool:
        """Return whether a word with one of these stems tells what is sought: a thing, or its brand."""
        return self.calls(stems) or not self.brands.isdisjoint(stems)

    def is_written(self, stems: Collection[str]) -> bool:
        """Return whether names, brands or the like have the word, and it is neither a colour nor a number."""
        return self.is_in_names(stems) and self._may_name(stems)

    def is_in_names(self, stems: Collection[str]) -> bool:
        """Return whether the catalogue has the word, and not in descriptions alone."""
        return self.has(stems) and not self.only_mentions(stems)

    def only_mentions(self, stems: Collection[str]) -> bool:
        """Return whether the catalogue has the word in descriptions only."""
        return not self.mentions.isdisjoint(stems) and not self.calls(stems)

    def ends_compounds(self, endings: Iterable[str], *, others: Callable[[str], Iterable[str]] | None = None) -> bool:
        """Return whether the catalogue calls something by a compound with one of these endings: "stuhl", if it has only
        a "Gartenstuhl". ``others``: returns the longer endings of words that are not such compounds."""
        words = self._called_words
        for ending in endings:
            shortest = shortest_before(ending)
            if shortest and f"{ending} " in words:
                unlike = "".join(f"(?<!{re.escape(each)})" for each in (others(ending) if others else ()))
                if re.search(rf"\S{{{shortest}}}{re.escape(ending)}{unlike} ", words):
                    return True
        return False

    def may_specify(self, stems: Collection[str], head: Collection[str]) -> bool:
        """Return whether a word only says which kind of a ``head`` is meant, although it names a department, or is a
        part of the name of one: someone who types "dog coat" wants coats, and not all of the department "Dogs". It does
        not if the categories of the department are called by it, as the "Running shoes" of "Shoes", or if both words
        name one category, as "men" and "shoes"."""
        if self._specifiers.isdisjoint(stems) or not self.has(head) or not self._may_name(head):
            return False
        return not self.kinds_of(stems) & self.kinds_of(head)

    def stems_of(self, word: str, stems: Collection[str]) -> Collection[str]:
        """Return the stems of a word of a query, or, if the catalogue has none of them, those that differ from it by
        one typing error. Short stems of long words are not compared, because many of them do: the Spanish "suet" (a
        sweater) is not "sujet" (a bra).

        With two errors, a third of the words that a catalogue lacks would be taken for one that it has; with one, an
        eighth.
        """
        shortest = kana.SHORTEST_MISSPELLED if kana.is_word(word) else SHORTEST
        if self.things is None or len(word) < shortest or has_digit(word) or self.has(stems):
            return stems
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        found = {
            stem
            for form in (word, *(stem for stem in stems if len(stem) > SHORTEST or len(word) <= len(stem) + 1))
            for stem, _, _ in process.extract(form, self._sorted, scorer=OSA.distance, score_cutoff=1, limit=None)
            if len(stem) >= SHORTEST - 1
        }
        return found or stems

    def interpret(
        self,
        words: Sequence[Collection[str]],
        fillers: Collection[int] = (),
        head: int = 0,
        specify: Collection[int] = (),
        qualifiers: Collection[int] = (),
    ) -> Interpretation:
        """Interpret the words of a query, given as the stems of each.

        :param fillers: the numbers of the words that ask for nothing.
        :param head: the number of the word that those of ``specify`` make specific: "chair" in "gaming chair".
        :param qualifiers: the numbers of the words that never say what a thing is: "modern".
        """
        named = [frozenset[str]() if n in qualifiers else self.kinds_of(stems) for n, stems in enumerate(words)]
        if specify and not named[head]:  # "glass" in "wine glass", even if it is common elsewhere
            named[head] = self._with_name(words[head])
        mention = head if specify and self.only_mentions(words[head]) and head not in qualifiers else None
        told = specify
        # Without categories, nothing tells a kind: Harry Potter comes before other books for "harry potter book".
        specify = specify if specify and self.kinds and self.calls(words[head]) else ()
        specifying = {n for n in specify if not named[n] and self.calls(words[n])}
        modifying = {n for n, stems in enumerate(words) if n != mention and not self.modifiers.isdisjoint(stems)}
        name_none = {*specifying, *modifying, *qualifiers}
        heads = [n for n, kinds in enumerate(named) if n not in fillers and (kinds or n not in name_none)]
        mentioned = frozenset[str]().union(*(named[n] for n in heads))
        if not heads:
            may_name = [n for n, stems in enumerate(words) if n not in fillers and self._may_name(stems)]
            heads = [n for n in may_name if n not in qualifiers] or may_name
        found = Interpretation(tuple(heads), frozenset(), mentioned, frozenset())
        if mentioned and all(named[n] for n in heads) and not specifying:
            found = self._by_kinds(named, heads, head, specify)
        if found.heads == (head,) and found.categories == named[head]:
            # If there is a category "Frames", the others of a department "Framing" are not frames.
            own = self._with_name(words[head]) & found.categories
            found = found._replace(categories=own or found.categories)
        if any(self._are_of_another(found.categories, words[n], words[head]) for n in set(told) - set(qualifiers)):
            found = found._replace(categories=frozenset())
        # A "food scale" is no food if there are "Kitchen scales".
        is_last = bool(told) and any(len(name) > 1 and name[-1] in words[head] for name in self.names)
        sought = {head} if told and (named[head] or is_last) and head not in qualifiers else set[int]()
        whole, categories = self._in_full(words, {*fillers, *qualifiers}, specify, mention, sought)
        if whole:
            found = Interpretation(tuple(whole), categories, found.mentioned | categories, frozenset(), in_full=True)
        if not found.categories:  # for "history books", a category "History" is as close as "Picture books"
            beside = [n for n in told if n not in fillers and n not in qualifiers]
            close = (kinds for n in beside for kinds in (named[n], self._with_name(words[n])))
            found = found._replace(mentioned=found.mentioned.union(*close))
        parts = Counter(n for stems in words for n in {name for stem in stems for name in self.listed.get(stem, ())})
        specified = self._specified_by(stem for number in found.heads for stem in words[number])
        return found._replace(
            heads=found.heads if len(found.heads) < len(words) else (),
            partly=frozenset(name for name, count in parts.items() if count == 1),
            specified=specified - found.categories,
        )

    def _by_kinds(
        self, named: Sequence[frozenset[str]], heads: Sequence[int], head: int, specify: Collection[int]
    ) -> Interpretation:
        """Return the categories that all ``heads`` name together; if there are none and the others specify the head of
        the query, those of this head."""
        mentioned = frozenset[str]().union(*(named[number] for number in heads))
        common = frozenset.intersection(*(named[number] for number in heads))
        if common or not named[head] or not {head, *specify}.issuperset(heads):
            in_full = bool(common) and common != mentioned
            return Interpretation(tuple(heads), common or mentioned, mentioned, frozenset(), in_full)
        return Interpretation((head,), named[head], named[head], frozenset())

    def _are_of_another(self, kinds: Collection[str], stems: Collection[str], head: Collection[str]) -> bool:
        """Return whether all categories of a kind are named after something other than the word that specifies it,
        which names other categories: for "dog cage", there are only "Hamster cages". What is called "Coats" may be for
        dogs."""
        own = {*self._with_name(stems), *(name for stem in stems for name in self.listed.get(stem, ()))}
        own |= {n for name, each in self.names.items() if own and not set(name).isdisjoint(stems) for n in each}
        if not own or not kinds or not own.isdisjoint(kinds) or self.is_category(head):
            return False
        specified = {n for name, each in self.names.items() if len(name) > 1 and name[-1] in head for n in each}
        return specified.issuperset(kinds)

    def _specified_by(self, stems: Iterable[str]) -> frozenset[str]:
        """Return the categories in whose names the word for a kind only says what other things are for."""
        heads = set(stems)
        specified = (categories for name, categories in self.names.items() if not heads.isdisjoint(name[:-1]))
        return frozenset[str]().union(*specified)

    def kinds_of(self, stems: Collection[str]) -> frozenset[str]:
        """Return the categories that a word names."""
        return frozenset(category for stem in stems for category in self.kinds.get(stem, ()))

    def _with_name(self, stems: Collection[str]) -> frozenset[str]:
        """Return the categories whose whole name is a word with one of these stems."""
        return frozenset(category for stem in stems for category in self.names.get((stem,), ()))

    def departments_of(self, categories: Collection[str]) -> set[str]:
        """Return the departments of these categories, as far as they are known."""
        return {self.departments[name] for name in categories if name in self.departments}

    def _may_name(self, stems: Collection[str]) -> bool:
        """Return whether a modifier may be what is sought, if there is nothing else."""
        return self.colours.isdisjoint(stems) and not any(map(is_size, stems))

    def _in_full(
        self,
        words: Sequence[Collection[str]],
        fillers: Collection[int],
        specify: Collection[int],
        mention: int | None,
        sought: Collection[int],
    ) -> tuple[list[int], frozenset[str]]:
        """Return the numbers of the words that are the longest whole name of a category, and the categories with a name
        that these words may mean: "thirts" may be shirts or T-shirts. Nothing is found if the query asks for anything
        else; but a name of several words may be specified further, as in "Italian red wine".

        :param sought: the numbers of the words for a kind, all of which the name must have: a "bike chain" is not a
            bike.
        """
        asked = [number for number in range(len(words)) if number not in fillers]
        further = [number for number in specify if self.calls(words[number])]
        longest: set[int] = set()
        categories: set[str] = set()
        for name in filter(frozenset[str]().union(*words).issuperset, self.names):
            found = {next(number for number, stems in enumerate(words) if stem in stems) for stem in name}
            # A word that is common elsewhere names a category only alone or with a colour: "glasses", but not "glass
            # table".
            beside = self.modifiers if len(name) > 1 or name[0] in self.kinds else self.colours
            told = len(found) == len(name) and not found.isdisjoint(asked)  # "buty do biegania" are "shoes for running"
            told = told and found.issuperset(sought)
            others = found.union(further) if len(name) > 1 else found
            if told and all(n in others or (n != mention and not beside.isdisjoint(words[n])) for n in asked):
                longest = longest or found
                categories.update(self.names[name] if found == longest else ())
        return sorted(longest), frozenset(categories)

    def to_json(self) -> dict[str, Any]:
        kinds, listed = ({stem: list(names) for stem, names in each.items()} for each in (self.kinds, self.listed))
        sets = {"modifiers": self.modifiers, "things": self.things, "colours": self.colours}
        sets |= {"mentions": self.mentions, "brands": self.brands}
        return {
            "kinds": kinds,
            "listed": listed,
            "collisions": {language: sorted(stems) for language, stems in self.collisions.items()},
            "names": [[list(name), list(categories)] for name, categories in self.names.items()],
            "departments": dict(self.departments),
            **{name: sorted(stems) for name, stems in sets.items() if stems is not None},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Roles:
        kinds, listed = (
            {str(stem): tuple(map(str, names)) for stem, names in dict(each).items()}
            for each in (data["kinds"], data.get("listed", {}))
        )
        names = ("modifiers", "things", "colours", "mentions", "brands")
        collisions = {
            str(language): frozenset(map(str, stems)) for language, stems in dict(data.get("collisions", {})).items()
        }
        sets: dict[str, Any] = {name: frozenset(map(str, data[name])) for name in names if name in data}
        whole = {tuple(map(str, name)): tuple(map(str, each)) for name, each in data.get("names", ())}
        departments = {str(name): str(other) for name, other in dict(data.get("departments", {})).items()}
        return cls(kinds, listed=listed, collisions=collisions, names=whole, departments=departments, **sets)


def shortest_before(ending: str) -> int:
    """Return the minimum number of letters of a compound before its last part; 0 if this is too short."""
    if kana.is_word(ending):
        return kana.shortest_before(ending)
    return SHORTEST_FIRST if len(ending) >= SHORTEST else 0


def has_digit(word: str) -> bool:
    """Return whether the word has a digit: it is, or contains, a number, a size or a code."""
    return any(map(str.isdigit, word))


def is_size(stem: str) -> bool:
    """Return whether a stem may be a size, a quantity or the number of a model, which say nothing about what a thing
    is."""
    return stem[:1].isdigit()
