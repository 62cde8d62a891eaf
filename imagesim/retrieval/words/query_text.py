"""What the words of a query mean in a catalogue, as determined by :mod:`~imagesim.retrieval.words.reader`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from imagesim.language.word_roles import Interpretation
from imagesim.retrieval.words.requirements import Requirements
from imagesim.types import Query


@dataclass(frozen=True, slots=True)
class QueryText:
    """A text and what its words mean in a catalogue.

    - ``meaning``: what the text asks for; ``requires``: what an answer has to have.
    - ``spelled``, ``colours``, ``foreign`` and ``in_compounds``: see :class:`~imagesim.types.Query`.
    - ``compounds``: the compounds that the catalogue lacks, each as two words: "büro stuhl" for "Bürostuhl".
    - ``is_name``: except for colours, the text is a single word by which the catalogue calls something.
    - ``listed``: except for colours and departments, the text is a single word, and every category that it names only
      lists this word in its name, as "Sofas & tables" does with "sofas". Always true of a single word that names no
      category.
    - ``read_known``: if the catalogue lacks some of the words, reads the others that tell what is sought: "nike" of
      "nike zoom", and "regal" of "Bücherregal" (bookcase). Otherwise None.
    - ``specified_head``: the text asks only for the head of a compound: for the "print" of "beach print".
    - ``narrowed``: a word other than the heads that is neither a colour nor a qualifier says which things of the kind
      are sought.
    - ``only_kind``: the text asks for all things of a kind. Besides the kind, it has only words that the catalogue
      lacks.
    - ``ending_categories``: if the text names no category, those that the last part of a compound names.
    """

    text: str
    meaning: Interpretation
    requires: Requirements
    spelled: frozenset[str] = frozenset()
    colours: tuple[int, ...] = ()
    foreign: frozenset[tuple[str, str]] = frozenset()
    in_compounds: frozenset[str] = frozenset()
    compounds: str = ""
    is_name: bool = False
    listed: bool = False
    read_known: Callable[[], QueryText] | None = None
    specified_head: bool = False
    narrowed: bool = False
    only_kind: bool = False
    ending_categories: frozenset[str] = frozenset()

    @property
    def heads(self) -> tuple[int, ...]:
        """The numbers of the words of which an entry must contain one; empty if any word suffices."""
        return self.meaning.heads

    @property
    def categories(self) -> frozenset[str]:
        """The categories that the text names."""
        return self.meaning.categories

    @property
    def is_part(self) -> bool:
        """Whether the text names categories, or parts of them, by all of its words."""
        return bool(self.categories) and not self.heads

    @property
    def is_whole(self) -> bool:
        """Whether all words of the text together are the name of a category."""
        return self.meaning.in_full and not self.heads

    def applied_to(self, query: Query) -> Query:
        """Return ``query`` with this text and what its words mean."""
        return replace(
            query,
            text=self.text,
            heads=self.heads,
            spelled=self.spelled,
            colours=self.colours,
            foreign=self.foreign,
            in_compounds=self.in_compounds,
        )


@dataclass(frozen=True, eq=False)
class QueryTexts:
    """The texts that are searched for one query.

    - ``own``: the text of the query; ``alternatives``: texts with the same meaning; ``kind_synonyms``: synonyms
      that name categories, if the words of the query are in names and name none; ``compounds``: the compounds that the
      catalogue lacks, divided, and the same with synonyms of their parts.
    - ``categories``: those that any of these but the compounds names; ``partly``: the ones of which each text names
      only a part, such as the sofas of "Sofas & tables"; ``mentioned``: those that any of the texts mentions.
    - ``with_synonyms``: the texts to search in place of these if nothing is named by the words of the query, with
      synonyms of these words; None if there are no synonyms. In these texts, ``language`` is that of the synonym.
    - ``synonym_categories``: the categories that synonyms name. Where the words themselves name a category, those of
      synonyms are included only if the catalogue calls nothing by the words.
    - ``of_head``: these are synonyms of the one word that says what is sought.
    """

    own: QueryText
    alternatives: Sequence[QueryText] = ()
    compounds: Sequence[QueryText] = ()
    with_synonyms: QueryTexts | None = None
    language: str = ""
    synonym_categories: frozenset[str] = frozenset()
    of_head: bool = False
    kind_synonyms: Sequence[QueryText] = ()

    @property
    def _equal(self) -> Sequence[QueryText]:
        return (self.own, *self.alternatives, *self.kind_synonyms)

    @cached_property
    def categories(self) -> frozenset[str]:
        return frozenset[str]().union(*(each.categories for each in self._equal))

    @cached_property
    def partly(self) -> frozenset[str]:
        return self.categories.difference(*(each.categories - each.meaning.partly for each in self._equal))

    @cached_property
    def mentioned(self) -> frozenset[str]:
        return frozenset[str]().union(*(each.meaning.mentioned for each in (*self._equal, *self.compounds)))

    def without(self, text: QueryText) -> QueryTexts:
        """Return these texts without the alternative that equals ``text``."""
        others = [each for each in self.alternatives if each.text != text.text]
        return replace(self, alternatives=others, with_synonyms=None)

    def with_alternatives(self, others: QueryTexts) -> QueryTexts:
        """Return these texts with those of ``others`` as further alternatives."""
        known = {self.own.text, *(each.text for each in self.alternatives)}
        further = [each for each in (others.own, *others.alternatives) if each.text not in known]
        return replace(self, alternatives=[*self.alternatives, *further], with_synonyms=None)


class Reading(NamedTuple):
    """What a query asks for.

    - ``wanted``: the query without what it excludes; ``texts``: the texts to search, with their meaning.
    - ``unwanted``: the stems of the excluded colours; ``excluded``: the other things that it excludes.
    - ``colours``: the words for the wanted colours, as typed.
    - ``whole``: the texts of the whole query, if it excludes anything; None otherwise.
    - ``is_all``: the query asks for whatever there is.
    - ``things``: the texts by which each of several things is found, if nothing is called by all of the words. None if
      all together name the categories of each, because ``texts`` then find these.
    - ``lacking``: those of the things that the catalogue seems to lack; ``others``: the query for the others.
    """

    wanted: str
    texts: QueryTexts
    unwanted: frozenset[str]
    colours: tuple[str, ...]
    excluded: tuple[QueryTexts, ...] = ()
    whole: QueryTexts | None = None
    is_all: bool = False
    things: QueryTexts | None = None
    lacking: tuple[QueryText, ...] = ()
    others: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the words of the catalogue alone tell what the query means, without asking the index."""
        return not (self.whole or self.things or self.lacking)
