"""Finds out what the words of a query mean, from the words of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from imagesim.indexes.analysis import analyse
from imagesim.indexes.codes import HYPHEN
from imagesim.indexes.dictionaries import in_dictionary
from imagesim.indexes.query_words import (
    ENGLISH,
    QueryWord,
    foreign_to,
    is_on_a_list,
    query_words,
    shades_of,
    words_not_of,
)
from imagesim.retrieval.compounds import (
    MOST_LETTERS,
    divided_compound,
    kinds_of_ending,
    with_kinds_of_compounds,
)
from imagesim.retrieval.query_colours import named_colours, without_negated_colours
from imagesim.retrieval.query_requirements import (
    Requirements,
    called_for,
    excluded_categories,
    required_numbers,
    requirements,
)
from imagesim.retrieval.query_rewriting import (
    has_all,
    known_words,
    own_stems,
    spaced,
    units_apart,
)
from imagesim.retrieval.query_synonyms import in_other_words
from imagesim.retrieval.query_syntax import Phrase
from imagesim.retrieval.query_text import QueryText, QueryTexts, Reading
from imagesim.word_roles import Roles


class _Known(NamedTuple):
    """What the catalogue knows of a word: the stems of it as it is ``written``, those of the word that it may be
    misspelled for, and the ``parts`` of a compound, divided, which is no misspelling."""

    written: Collection[str]
    stems: Collection[str]
    parts: str


@dataclass(frozen=True, slots=True)
class QueryReader:
    """Reads queries to one catalogue.

    ``roles``: those of the catalogue's words; ``languages``: those of its texts; ``has_word``: whether the model, whose
    texts are English, knows a word; ``spoken``: the language of the visitor.
    """

    roles: Roles
    languages: Sequence[str]
    has_word: Callable[[str], bool]
    spoken: str = ""

    def read_query(self, text: str, alternatives: Sequence[str]) -> Reading:
        """Read a query and its alternatives, without the colours that it excludes ("not white")."""
        wanted, unwanted = without_negated_colours(text, self.roles, self.languages)
        texts = self.read_all(wanted, alternatives)
        return Reading(wanted, texts, unwanted, named_colours(texts.text, self.languages))

    def read_all(self, text: str, alternatives: Sequence[str] = ()) -> QueryTexts:
        """Read a text and its alternatives."""
        text = spaced(text, self.roles, self.languages)
        own, *others = map(self.read, (text, *alternatives, *units_apart(text, self.roles, self.languages)))
        languages, in_others = self._languages_of(text), None
        replaced = partial(in_other_words, roles=self.roles, languages=languages, written_in=self._written_in)
        synonyms = replaced(text)
        known = () if synonyms or own.categories else replaced(text, although_known=True)
        alike = [self.read(each) for each, _language in (*synonyms, *known)]
        of_synonyms = frozenset[str]().union(*(each.meaning.mentioned for each in alike))
        if not synonyms and (synonyms := replaced(text, beside=True)):
            alike = [self.read(each) for each, _language in synonyms]
        if synonyms:
            in_others = QueryTexts(
                alike[0], [*alike[1:], own, *others], language=synonyms[0][1], of_synonyms=of_synonyms
            )
        parts = [own.compounds] if own.compounds else []
        alike_parts = (each for one in parts for each, _language in replaced(one, although_known=True))
        # A synonym of the compound itself has no parts.
        parts += [each for each in alike_parts if len(each.split()) >= len(parts[0].split())]
        return QueryTexts(own, others, [*map(self.read, parts)], in_others, of_synonyms=of_synonyms)

    def read(self, text: str) -> QueryText:
        """Read one text."""
        languages = self.languages
        foreign = self._not_of_lists(text)
        words = query_words(text, languages, foreign)
        if misread := foreign_to(words, self.roles.collisions, self.spoken):
            foreign |= misread
            words = query_words(text, languages, foreign)
        english = frozenset(word.word for word in words if self._is_spelled(word.word))
        spelled = english.union(
            word.word for word in words if any(in_dictionary(word.word, each) for each in self._written_in)
        )
        roles = with_kinds_of_compounds(self.roles, words, except_for=english)
        known = self._look_up(words, roles, english, spelled)
        stems = [each.stems for each in known]
        colours = tuple(n for n, each in enumerate(stems) if not roles.colours.isdisjoint(each))
        shades = shades_of(words, colours)
        unshaded = [word for n, word in enumerate(words) if n not in shades]
        excluded = excluded_categories(unshaded, self.roles, languages)
        kinds = [roles.kinds_of(each) - excluded for each in stems]
        phrase = Phrase(words, stems, kinds, roles, self._written_in)
        fillers = phrase.fillers(spelled) | phrase.clothing_for_others()
        complements = phrase.complements(fillers)
        others = fillers | phrase.units() | shades | complements
        demanded = requirements(text, languages)
        # A catalogue with the word "plant" need not say of anything that it is "plant based".
        required = {
            word: each
            for word, each in demanded.items()
            if any(has_all(one, roles, languages) for one in each if word in one or " " not in one)
        }
        undivided = {n for n, each in enumerate(known) if not each.parts}
        qualifiers = phrase.qualifiers(others, colours, required, demanded, undivided)
        head, specify = phrase.compound(others | qualifiers)
        departments = phrase.departments(head, specify, others)
        meaning = roles.interpret(stems, others | departments, head, specify, qualifiers)
        asking = {*range(len(words))} - fillers
        alone = [each for n, each in enumerate(stems) if n in asking and n not in colours]
        beside = asking.difference(meaning.heads or asking)
        endings = {n: each.parts.split()[-1] for n, each in enumerate(known) if each.parts}
        ending, of_ending = endings.get(head, ""), frozenset[str]()
        if ending and not meaning.categories and not in_dictionary(words[head].word, ENGLISH):
            of_ending = kinds_of_ending(words[head], ending, self.roles, languages)
        known_text = known_words(words, [each.written for each in known], spelled, roles, endings)
        asked = QueryText(
            text=text,
            meaning=meaning._replace(categories=meaning.categories - excluded),
            requires=Requirements(
                excluded,
                *called_for(unshaded, self.roles, languages),
                required=tuple(required.values()),
                numbers=tuple(required_numbers(words)),
                unmet=len(required) < len(demanded),
            ),
            spelled=spelled,
            colours=colours,
            foreign=foreign,
            in_compounds=phrase.in_compounds(meaning.heads),
            compounds=" ".join(each.parts for n, each in enumerate(known) if each.parts and n not in complements),
            is_name=len(alone) == 1 and (meaning.in_full or roles.calls(alone[0])),
            listed=meaning.partly >= meaning.categories and len(asking - departments - {*colours}) == 1,
            known=self.read(known_text) if known_text and known_text != text else None,
            specified_head=meaning.heads == (head,),
            narrowed=not beside <= qualifiers | {*colours},
            only_kind=bool(meaning.categories) and not colours and not any(roles.has(stems[n]) for n in beside),
            of_ending=of_ending,
        )
        readings = (
            meaning._replace(heads=(number,), categories=named, mentioned=named, partly=meaning.partly & named)
            for number, named in meaning.rivals
        )
        return replace(asked, readings=tuple(replace(asked, meaning=each) for each in readings))

    def _look_up(
        self, words: Sequence[QueryWord], roles: Roles, english: Collection[str], spelled: Collection[str]
    ) -> list[_Known]:
        """Return what the catalogue knows of each word."""
        found: list[_Known] = []
        letters_left = MOST_LETTERS
        for word in words:
            own = own_stems(word, roles)
            is_known = word.filler or word.qualifier or word.word in spelled or roles.ends_compounds(word.endings)
            stems = own if is_known else roles.stems_of(word.word, own)
            is_whole = word.filler or word.qualifier or roles.is_in_names(own) or len(word.word) > letters_left
            parts = ""
            if not is_whole:
                letters_left -= len(word.word)
                known = word.word in english or roles.has(stems)  # or is a misspelling
                parts = divided_compound(word.word, roles, self.languages, known=known)
            found.append(_Known(own, own if parts else stems, parts))
        return found

    @property
    def _written_in(self) -> Sequence[str]:
        """The languages by whose grammar the query is read: that of the visitor, if the catalogue has it."""
        return (self.spoken,) if self.spoken in self.languages else self.languages

    def _languages_of(self, text: str) -> Sequence[str]:
        """Return the languages whose synonyms are used: that of the visitor alone, if it has all words of the text. For
        an English visitor "scooter" has no German synonym "Roller", which would find paint rollers."""
        spoken = self.spoken
        typed = [token.word for token in analyse(HYPHEN.sub(" ", text), spoken)]
        known = (in_dictionary(each, spoken) or (spoken == ENGLISH and self._is_spelled(each)) for each in typed)
        return (spoken,) if spoken in self.languages and all(known) else self.languages

    def _not_of_lists(self, text: str) -> frozenset[tuple[str, str]]:
        """Return words that look like those on a list of a language, but belong to another, each with the former. If
        all words are English, they belong to no other language, except to the visitor's."""
        others = [each for each in self.languages if each not in (ENGLISH, self.spoken)]
        typed = [token.word for token in analyse(HYPHEN.sub(" ", text), ENGLISH) if token.word.isalpha()]
        if not others or ENGLISH not in self.languages or not all(map(self._is_english, typed)):
            return frozenset()
        return words_not_of(text, others)

    def _is_english(self, word: str) -> bool:
        return len(word) == 1 or self._is_spelled(word) or is_on_a_list(word, ENGLISH)

    def _is_spelled(self, word: str) -> bool:
        """Whether an English word is spelled correctly: the model knows it, or the word without the "s" of a plural or
        possessive."""
        if ENGLISH not in self.languages:  # "rode" and "Rosen" are English words, too
            return False
        return self.has_word(word) or (word.endswith("s") and not word.endswith("ss") and self.has_word(word[:-1]))
