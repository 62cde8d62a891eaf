"""What the words of a query mean in a catalogue, as :mod:`~imagesim.retrieval.query_reader` finds it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from imagesim.retrieval.query_requirements import Requirements
from imagesim.types import Query
from imagesim.word_roles import Interpretation


@dataclass(frozen=True, slots=True)
class QueryText:
    """A text and what its words mean in a catalogue.

    - ``meaning``: what it asks for; ``requires``: what an answer has to have.
    - ``spelled``, ``colours``, ``foreign`` and ``in_compounds``: see :class:`~imagesim.types.Query`.
    - ``compounds``: the compounds that the catalogue does not contain, each as two words: "büro stuhl" for "Bürostuhl".
    - ``is_name``: beside colours it is a single word, by which the catalogue calls something.
    - ``listed``: beside colours and departments it is a single word, which the names of its categories only list:
      "sofas" of "Sofas & tables".
    - ``known``: if the catalogue lacks some of its words, the others that tell what is sought: "nike" of "nike zoom",
      and "regal" of "Bücherregal".
    - ``specified_head``: it is a compound that asks for its head alone: "beach print". - ``narrowed``: a word other
    than the heads, which is neither a colour nor a qualifier, says which things of the kind
      are sought.
    - ``only_kind``: it asks for all things of a kind. Beside the kind it has only words that the catalogue lacks.
    - ``of_ending``: if it names no category, those that the last part of a compound names.
    - ``readings``: if it is a compound whose words name several kinds of one department, its meanings as each of them,
      that of the head first: "sandal shoes" as shoes and as sandals.
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
    known: QueryText | None = None
    specified_head: bool = False
    narrowed: bool = False
    only_kind: bool = False
    of_ending: frozenset[str] = frozenset()
    readings: tuple[QueryText, ...] = ()

    @property
    def heads(self) -> tuple[int, ...]:
        return self.meaning.heads

    @property
    def categories(self) -> frozenset[str]:
        return self.meaning.categories

    @property
    def is_part(self) -> bool:
        """Whether all of its words name a category, or a part of one."""
        return bool(self.categories) and not self.heads

    @property
    def is_whole(self) -> bool:
        """Whether all of its words together are the name of a category."""
        return self.meaning.in_full and not self.heads

    def asked(self, query: Query) -> Query:
        """Return the query with this text."""
        return replace(
            query,
            text=self.text,
            heads=self.heads,
            spelled=self.spelled,
            colours=self.colours,
            foreign=self.foreign,
            in_compounds=self.in_compounds,
        )


class QueryTexts:
    """All texts that are searched for a query.

    - ``text``: its own; ``alternatives``: texts that mean the same; ``compounds``: its own with compounds divided,
      also with synonyms of their parts.
    - ``categories``: those that any of the texts names; ``partly``: those of which each only names a part;
      ``mentioned``: those that any of them mentions.
    - ``in_other_words``: the texts with a synonym, which are searched if nothing is called by the query's own words;
      ``language``: that of the synonym, in such texts.
    - ``of_synonyms``: the categories that synonyms name, if the words themselves name none.
    """

    def __init__(
        self,
        text: QueryText,
        alternatives: Sequence[QueryText] = (),
        compounds: Sequence[QueryText] = (),
        in_other_words: QueryTexts | None = None,
        language: str = "",
        of_synonyms: frozenset[str] = frozenset(),
    ) -> None:
        self.text = text
        self.alternatives = alternatives
        self.compounds = compounds
        self.in_other_words = in_other_words
        self.language = language
        self.of_synonyms = of_synonyms
        equal = (text, *alternatives)
        self.categories = frozenset[str]().union(*(each.categories for each in equal))
        self.partly = self.categories.difference(*(each.categories - each.meaning.partly for each in equal))
        self.mentioned = frozenset[str]().union(*(each.meaning.mentioned for each in (*equal, *compounds)))

    def without(self, text: QueryText) -> QueryTexts:
        """Return these texts without ``text`` among the alternatives."""
        others = [each for each in self.alternatives if each.text != text.text]
        return QueryTexts(self.text, others, self.compounds, language=self.language, of_synonyms=self.of_synonyms)

    def beside(self, others: QueryTexts) -> QueryTexts:
        """Return these texts with the ``others`` as further alternatives."""
        known = {self.text.text, *(each.text for each in self.alternatives)}
        further = [each for each in (others.text, *others.alternatives) if each.text not in known]
        return QueryTexts(self.text, [*self.alternatives, *further], self.compounds, of_synonyms=self.of_synonyms)

    def read_as(self, text: QueryText) -> QueryTexts:
        """Return these texts with ``text``, one of the readings, as the query's own."""
        return QueryTexts(text, self.alternatives, self.compounds, of_synonyms=self.of_synonyms)


class Reading(NamedTuple):
    """What a query asks for: the text without what it excludes (``wanted``) and its meaning, the stems of the colours
    that it excludes (``unwanted``), and the words for the ``colours`` that it wants."""

    wanted: str
    texts: QueryTexts
    unwanted: frozenset[str]
    colours: tuple[str, ...]
