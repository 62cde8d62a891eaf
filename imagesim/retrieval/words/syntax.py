"""How the words of a query belong together: which of them says what is sought, and what the others say about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from imagesim.language.codes import are_dimensions, is_article_number
from imagesim.language.query_words import QueryWord
from imagesim.language.stop_words import HEAD_FIRST
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words.requirements import is_circumstance, is_for_people


class Syntax(NamedTuple):
    """What the words of a query do in it; all words are given by their numbers.

    ``fillers``, ``complements``, ``qualifiers`` and ``departments``: see the methods of :class:`Phrase`; ``head`` and
    ``specify``: see :meth:`Phrase.compound`. ``aside``: all words that name nothing that is sought: the fillers, the
    complements and the departments, units, and shades of colours.
    """

    fillers: set[int]
    complements: set[int]
    qualifiers: set[int]
    departments: set[int]
    head: int
    specify: Sequence[int]
    aside: set[int]


@dataclass(frozen=True, slots=True)
class Phrase:
    """The words of a query, with what the catalogue knows about each. Methods return words by their numbers.

    ``stems``: those of each word or, of a word that the catalogue lacks, those of the words that it may be a
    misspelling of. ``kinds``: the categories that each word names, without those that the query excludes; ``grammar``:
    the languages by whose grammar the query is read.
    """

    words: Sequence[QueryWord]
    stems: Sequence[Collection[str]]
    kinds: Sequence[frozenset[str]]
    roles: Roles
    grammar: Sequence[str]

    def parse(
        self,
        spelled: Collection[str],
        colours: Collection[int],
        shades: Collection[int],
        required: Collection[str],
        demanded: Collection[str],
        undivided: Collection[int],
    ) -> Syntax:
        """Find out what each word does in the query.

        ``spelled``: the words that are spelled correctly; ``colours`` and ``shades``: the words that name a colour or
        its shade. For the others see :meth:`qualifiers`.
        """
        fillers = self.fillers(spelled)
        complements = self.complements(fillers)
        others = fillers.union(self.units(), shades, complements)
        qualifiers = self.qualifiers(others, colours, required, demanded, undivided)
        head, specify = self.compound(others | qualifiers)
        departments = self.departments(head, specify, others)
        return Syntax(fillers, complements, qualifiers, departments, head, specify, others | departments)

    def fillers(self, spelled: Collection[str]) -> set[int]:
        """Return the words that say nothing about what is sought, such as "buy" or "cheap". A number or a single letter
        is one of them, being a size, a quantity or a type ("USB C"), unless the catalogue contains it or the number may
        be an article number; and so is what is done about a problem that the catalogue knows: the tablets for a
        headache, even in a shop with tablet computers."""

        def is_filler(word: QueryWord, stems: Collection[str]) -> bool:
            if word.filler and (word.before_amount or not self.roles.calls(stems)):
                return True
            is_number = word.word[0].isdigit() or are_dimensions(word.word)
            is_amount = is_number and not (word.code or is_article_number(word.word))
            # A character of Chinese or Japanese, which have no capitals, can be a word.
            is_letter = len(word.word) == 1 and word.word.upper() != word.word
            unknown = is_amount or is_letter or (word.slip and word.word not in spelled)
            return unknown and not self.roles.has(stems)

        remedies = {n for n, word in enumerate(self.words) if word.remedy and self.roles.has(self.stems[n - 1])}
        return remedies.union(n for n, word in enumerate(self.words) if is_filler(word, self.stems[n]))

    def units(self) -> set[int]:
        """Return the units of numbers ("5 kg") with these numbers, and words for a number ("set") that name no kind
        here."""
        units = {n for n, word in enumerate(self.words) if word.unit}
        measured = {n - 1 for n in units if n and self.words[n - 1].word[0].isdigit()}
        counting = (n for n, word in enumerate(self.words) if word.number)
        return units.union(measured, (n for n in counting if not self.roles.names_kind(self.stems[n])))

    def complements(self, fillers: Collection[int]) -> set[int]:
        """Return the words that say what another thing is for ("coat for dogs"), if the catalogue has that thing."""
        is_called = any(
            self.roles.calls(self.stems[n])
            for n, word in enumerate(self.words)
            if not word.complement and n not in fillers
        )
        return {n for n, word in enumerate(self.words) if word.complement and is_called}

    def compound(self, others: Collection[int]) -> tuple[int, Sequence[int]]:
        """Return the head of the compound that the words form without the ``others``, and the words that specify it.

        The head is the last word of "office chair", and the first of "silla de oficina". If the languages differ in
        this, or no words are left, the head is 0 and nothing specifies it.
        """
        numbers = [number for number in range(len(self.words)) if number not in others]
        head_first = {language in HEAD_FIRST for language in self.grammar}
        if not numbers or len(head_first) != 1:
            return 0, ()
        if head_first == {True}:
            return numbers[0], numbers[1:]
        start = len(numbers) - 1
        while start and self.words[numbers[start]].follows:
            start -= 1
        return numbers[-1], numbers[start:-1]

    def is_sought(self, number: int, head: int, named: Collection[int]) -> bool:
        """Return whether a qualifier, which usually says what a thing is like, here says what is sought: the French
        "bureau" is an office or a desk.

        A word for people, a place or a season is not sought alongside a word for a kind, unless it names one itself:
        "sleeping bags winter" asks for sleeping bags. A word for people is not sought either

        - alongside the name of a category that has nothing for them: "wallet men" asks for wallets, although the shop
          has "Men's shirts";
        - alongside words that may name a thing (``named``) that the catalogue does not know: "mens hovercraft".
        """
        word, own = self.words[number], self.kinds[number]
        others = [stems for n, stems in enumerate(self.stems) if n != number]
        beside = [each for n, each in enumerate(self.kinds) if each and n != number]
        if beside and is_circumstance(word) and not own:
            return False
        if named and not beside and is_for_people(word):
            return False
        if is_for_people(word) and any(map(self.roles.is_category, others)) and all(map(own.isdisjoint, beside)):
            return False
        return bool(own) or (number == head and self.roles.calls(self.stems[number]))

    def qualifiers(
        self,
        others: Collection[int],
        colours: Collection[int],
        required: Collection[str],
        demanded: Collection[str],
        undivided: Collection[int],
    ) -> set[int]:
        """Return the words that say what the thing sought is like, and never what it is.

        ``others``: words with another role, which are not considered; ``demanded``: words that an answer has to have
        ("vegan"); ``required``: those that the catalogue knows, which alone count as qualifiers; ``undivided``: words
        that are not compounds of words of the catalogue.
        """
        named = {n for n, word in enumerate(self.words) if not word.qualifier}.difference(others, colours)
        head, specify = self.compound(others)
        found = {
            n
            for n, word in enumerate(self.words)
            if word.word in required
            or (word.qualifier and word.word not in demanded and not self.is_sought(n, head, named))
        }
        if not HEAD_FIRST.issuperset(self.grammar) or head in found or not self.stems:
            return found
        if self.roles.calls(self.stems[head]):
            # "Acqua minerale" is water, even if the catalogue lacks "minerale": two Italian nouns in a row are rare.
            found.update(
                n for n in specify if self.words[n].follows and n in undivided and not self.roles.has(self.stems[n])
            )
        return found

    def in_compounds(self, heads: Collection[int]) -> frozenset[str]:
        """Return the value of ``Query.in_compounds``: the words of the query that the catalogue has, and that name no
        category. ``heads``: the words that say what is sought."""
        return frozenset(
            word.word
            for n, (word, stems) in enumerate(zip(self.words, self.stems, strict=True))
            if self.roles.kinds
            and (not word.complement or (n in heads and self.roles.calls(stems)))
            and self.roles.has(stems)
            and not self.roles.names_kind(stems)
        )

    def departments(self, head: int, specify: Collection[int], others: Collection[int]) -> set[int]:
        """Return the words that on their own name a department, but here say what a thing is for: the "dog" of "dog
        coat" and "coat for dogs"."""
        complements = [n for n, word in enumerate(self.words) if word.complement]
        things = [n for n, word in enumerate(self.words) if not word.complement and n not in others]
        pairs = (*((n, head) for n in specify), *((n, thing) for n in complements for thing in things))
        return {n for n, thing in pairs if self.roles.may_specify(self.stems[n], self.stems[thing])}
