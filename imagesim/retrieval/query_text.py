"""The text of a query, as it was read with the words of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from imagesim.types import Query


@dataclass(frozen=True, slots=True)
class QueryText:
    """A text and what its words mean in a catalogue.

    ``heads``, ``spelled``, ``colours``, ``foreign`` and ``in_compounds`` are those of
    :class:`~imagesim.types.Query`, ``categories``, ``mentioned``, ``partly``, ``in_full`` and ``specified`` those
    of :class:`~imagesim.word_roles.Interpretation`. ``compounds`` are those that the catalogue lacks, divided
    before a word that it calls something by: "büro stuhl" for "Bürostuhl". ``is_name``: it is one word, which the
    catalogue calls things by, and colours. ``listed``: it has one word beside these and departments, which is only
    listed in the names of the categories. ``readings``: those of a compound whose words name several kinds of one
    department, that of its head first; of "sandal shoes", as shoes and as sandals. ``known``: its words that tell
    what is sought, without those that the catalogue lacks: "nike" of "nike zoom", and "regal" of "Bücherregal"; empty
    if it lacks none.
    ``specified_head``: it asks for its last word, or its first in French, which others specify: "beach print".
    ``narrowed``: a word beside its heads, which is no colour and no qualifier, says which of the kind.
    ``only_kind``: it asks for all of a kind, with at most qualifiers that the catalogue lacks beside it: "shoes",
    "mens shoes". ``of_ending``: if it names no kind, the categories that are called by the end of a compound that
    the catalogue lacks. ``excluded``, ``called_for``, ``for_others``, ``required``, ``numbers``: see
    :mod:`~imagesim.retrieval.query_requirements`. ``unmet``: it requires what no text of the catalogue mentions.
    """

    text: str
    heads: tuple[int, ...]
    spelled: frozenset[str]
    colours: tuple[int, ...]
    foreign: frozenset[tuple[str, str]]
    in_compounds: frozenset[str]
    categories: frozenset[str]
    mentioned: frozenset[str]
    partly: frozenset[str]
    compounds: str
    is_name: bool
    in_full: bool
    listed: bool
    specified: frozenset[str]
    known: str = ""
    specified_head: bool = False
    narrowed: bool = False
    only_kind: bool = False
    of_ending: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    called_for: tuple[str, ...] = ()
    for_others: tuple[str, ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    numbers: tuple[tuple[str, ...], ...] = ()
    unmet: bool = False
    readings: tuple[QueryText, ...] = ()

    @property
    def is_part(self) -> bool:
        """Whether all of its words name a category, or what the name of one lists."""
        return bool(self.categories) and not self.heads

    @property
    def is_whole(self) -> bool:
        """Whether all of its words are the name of a category."""
        return self.in_full and not self.heads

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
    """The texts that a query asks for: its own, ``alternatives`` that mean the same, and the ``compounds`` of its own,
    divided; the categories that they name, name only ``partly`` (none of the texts as a whole), or mention; and those
    ``in_other_words``, which are asked for if nothing is called by its own. Of these, ``language`` is that of the
    synonym in their text. ``of_synonyms``: the categories that synonyms of its words name, if its own
    name none."""

    def __init__(
        self,
        text: QueryText,
        alternatives: Sequence[QueryText] = (),
        compounds: QueryText | None = None,
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
        self.partly = self.categories.difference(*(each.categories - each.partly for each in equal))
        self.mentioned = frozenset[str]().union(
            *(each.mentioned for each in equal), compounds.mentioned if compounds else ()
        )

    def without(self, text: QueryText) -> QueryTexts:
        """Return the same without this text among the alternatives."""
        others = [each for each in self.alternatives if each.text != text.text]
        return QueryTexts(self.text, others, self.compounds, language=self.language, of_synonyms=self.of_synonyms)

    def beside(self, others: QueryTexts) -> QueryTexts:
        """Return the same with those ``in_other_words`` among the alternatives."""
        known = {self.text.text, *(each.text for each in self.alternatives)}
        further = [each for each in (others.text, *others.alternatives) if each.text not in known]
        return QueryTexts(self.text, [*self.alternatives, *further], self.compounds, of_synonyms=self.of_synonyms)

    def read_as(self, text: QueryText) -> QueryTexts:
        """Return the same with one of the readings of the text."""
        return QueryTexts(text, self.alternatives, self.compounds, of_synonyms=self.of_synonyms)


class Reading(NamedTuple):
    """What a query asks for: the text that is ``wanted``, what it means, the stems of the colours that are not, and the
    words of the ``colours`` in which a kind is."""

    wanted: str
    texts: QueryTexts
    unwanted: frozenset[str]
    colours: tuple[str, ...]
