"""``QueryReader``: finds out what the words of a query mean, from the words of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from imagesim.language.analysis import analyse
from imagesim.language.codes import HYPHEN, with_fractions
from imagesim.language.dictionaries import in_dictionary
from imagesim.language.letters import spelled, written_out
from imagesim.language.query_words import (
    QueryWord,
    foreign_to,
    query_words,
    shades_of,
    words_not_of,
)
from imagesim.language.word_lists import ENGLISH, is_on_a_list
from imagesim.language.word_roles import Interpretation, Roles, has_digit
from imagesim.retrieval.words.clauses import clauses_of, joined_parts, joining_word, says_everything
from imagesim.retrieval.words.colours import named_colours, without_negated_colours
from imagesim.retrieval.words.compounds import MOST_LETTERS, divided_compound, kinds_of_ending
from imagesim.retrieval.words.latin_names import with_latin_name
from imagesim.retrieval.words.lookup import has_all, known_words, own_stems
from imagesim.retrieval.words.query_text import QueryText, QueryTexts, Reading
from imagesim.retrieval.words.requirements import (
    Requirements,
    called_for,
    excluded_categories,
    required_numbers,
    requirements,
)
from imagesim.retrieval.words.spacing import spaced, with_compound, with_divided_units
from imagesim.retrieval.words.synonyms import replace_with_synonyms, replaced_word
from imagesim.retrieval.words.syntax import Phrase

MARKS = " ?!.,;:*"
"""What is ignored before and after a query: models find other things for "sofa?" than for "sofa"."""

SHORTEST = 3
"""The minimum number of letters of a word that is sought beside others."""


class _KnownWord(NamedTuple):
    """What the catalogue has of one word of a query.

    ``typed``: the stems of the word as typed; ``stems``: the same or, if the catalogue lacks the word, the stems of the
    words that it may be a misspelling of. ``parts``: if it is a compound that the catalogue lacks, its two words,
    divided by a space; such a word is not taken for a misspelling.
    """

    typed: Collection[str]
    stems: Collection[str]
    parts: str


@dataclass(frozen=True, slots=True)
class QueryReader:
    """Reads queries to one catalogue.

    ``roles``: those of the catalogue's words; ``languages``: those of its texts; ``has_word``: whether the model, whose
    texts are English, knows a word; ``visitor_language``: the language of the visitor, or an empty text.
    """

    roles: Roles
    languages: Sequence[str]
    has_word: Callable[[str], bool]
    visitor_language: str = ""

    def read_query(self, text: str, alternatives: Sequence[str]) -> Reading:
        """Read a query, without what it excludes ("not white", "but no cacti"), and its alternatives."""
        text = written_out(text).strip(MARKS) or text
        coloured, unwanted = without_negated_colours(text, self.roles, self.languages)
        known = tuple(sorted({*self.languages, self.visitor_language, ENGLISH} - {""}))
        wanted, excluded = clauses_of(coloured, known, self.roles)
        texts = self.read_texts(wanted, alternatives)
        had, lacking = ([], []) if texts.own.is_whole else self._things(wanted)
        others = f" {joining_word(self._grammar)} ".join(each.own.text for each in had) if had else ""
        things = None
        if had and not lacking:
            together = self.read_texts(others, alternatives)
            if all(each.categories and each.categories <= together.categories for each in had):
                wanted, texts, others = others, together, ""
            else:
                things = self.read_texts(others, (*(each.own.text for each in had), *alternatives))
        return Reading(
            wanted,
            texts,
            unwanted,
            named_colours(texts.own, self.languages),
            excluded=tuple(map(self.read_texts, excluded)),
            whole=self.read_texts(text, alternatives) if unwanted or excluded else None,
            is_all=says_everything(wanted, known, self.roles),
            things=things,
            lacking=tuple(each.own for each in lacking),
            others=others,
        )

    def _things(self, text: str) -> tuple[list[QueryTexts], list[QueryTexts]]:
        """Return the joined parts of a text, those that the catalogue has and those that it seems to lack: the "shoes"
        and the "bags" of "shoes and bags".

        Empty if the catalogue has none of them, or if one is not a single word: nobody who asks for "salt and vinegar
        crisps" wants salt.
        """
        had: list[QueryTexts] = []
        lacking: list[QueryTexts] = []
        for part in joined_parts(text, tuple(self._grammar)):
            words, _foreign = self._words_of(part)
            read = self.read_texts(part)
            telling = [
                word
                for n, word in enumerate(words)
                if not (word.filler or word.qualifier or word.complement or n in read.own.colours)
            ]
            longest = max(telling, key=lambda word: len(word.word), default=None)
            is_single = len(telling) == 1 or " " not in part  # "t-shirt" is one
            if not (longest and is_single) or len(longest.word) < SHORTEST or any(has_digit(w.word) for w in telling):
                return [], []
            if read.categories or read.own.is_name:
                had.append(read)
            elif len(telling) > 1 or self._may_have(longest, read):
                return [], []
            else:
                lacking.append(read)
        return (had, lacking) if had else ([], [])

    def _may_have(self, word: QueryWord, read: QueryTexts) -> bool:
        """Return whether the catalogue has a word, another one for it, or one that it may be a misspelling of."""
        own = own_stems(word, self.roles)
        stems = own if word.word in read.own.spelled else self.roles.stems_of(word.word, own)
        return bool(self.roles.has(stems) or read.with_synonyms or read.kind_synonyms or read.compounds)

    def read_texts(self, text: str, alternatives: Sequence[str] = ()) -> QueryTexts:
        """Read a text and all that is searched with it: the alternatives, compounds, and synonyms."""
        text = spaced(text, self.roles, self.languages)
        languages = self._own_languages(text)
        same = [
            *alternatives,
            *with_divided_units(text, self.roles, self.languages),
            *(with_fractions(text) if ENGLISH in self.languages else ()),
            *with_compound(text, self.roles, languages),
            *with_latin_name(text, self.roles),
        ]
        own, *others = map(self.read_text, (text, *same))
        replaced = partial(replace_with_synonyms, roles=self.roles, languages=languages, grammar=self._grammar)
        synonyms = replaced(text)
        known = () if synonyms or own.categories else replaced(text, even_if_known=True)
        read = [self.read_text(each) for each, _language in (*synonyms, *known)]
        # "Flares" are trousers, but other trousers are no answer to it, as other sofas are to "settee".
        whole = (each.categories for each in read if each.meaning.in_full or not each.narrowed)
        categories = frozenset[str]().union(*whole)
        # In a shop with nappies, "diapers" means these, even if it has a "Diaper Backpack".
        kind_synonyms = [each for each in read if each.is_part] if known else []
        in_place = None
        of_head = any(self._replaces_head(text, each, languages) for each in (read if synonyms else ()))
        if not synonyms and (synonyms := replaced(text, beside=True)):
            read = [self.read_text(each) for each, _language in synonyms]
        if synonyms:
            in_place = QueryTexts(
                read[0],
                [*read[1:], own, *others],
                language=synonyms[0][1],
                synonym_categories=categories,
                of_head=of_head,
                kind_synonyms=kind_synonyms,
            )
        parts = [own.compounds] if own.compounds else []
        with_synonyms = (each for one in parts for each, _language in replaced(one, even_if_known=True))
        # A synonym of the compound itself has no parts.
        parts += [each for each in with_synonyms if len(each.split()) >= len(parts[0].split())]
        compounds = [*map(self.read_text, parts)]
        return QueryTexts(own, others, compounds, in_place, synonym_categories=categories, kind_synonyms=kind_synonyms)

    def _replaces_head(self, text: str, other: QueryText, languages: Sequence[str]) -> bool:
        """Return whether ``other`` is ``text`` with a synonym of the word that says what is sought."""
        if not (synonym := replaced_word(text, other.text, languages)):
            return False
        words, _foreign = self._words_of(other.text)
        return spelled(synonym, *languages) in {words[number].word for number in other.heads}

    def read_text(self, text: str) -> QueryText:
        """Return what one text means in the catalogue."""
        words, foreign = self._words_of(text)
        english = frozenset(word.word for word in words if self._is_english_word(word.word))
        spelled = english.union(
            word.word
            for word in words
            if any(in_dictionary(word.word, language) for language in self._grammar)
            # "rimel" is no misspelling of a brand "Rimmel" if the catalogue has a "máscara de pestañas".
            or replace_with_synonyms(word.word, self.roles, self._grammar)
        )
        roles = self.roles
        known = self._look_up(words, english, spelled)
        stems = [each.stems for each in known]
        colours = tuple(n for n, each in enumerate(stems) if not roles.colours.isdisjoint(each))
        shades = shades_of(words, colours)
        unshaded = [word for n, word in enumerate(words) if n not in shades]
        excluded = excluded_categories(unshaded, roles, self.languages)
        kinds = [roles.kinds_of(each) - excluded for each in stems]
        demanded = requirements(text, self.languages)
        required = self._requirements_met(demanded)
        undivided = {n for n, each in enumerate(known) if not each.parts}
        phrase = Phrase(words, stems, kinds, roles, self._grammar)
        syntax = phrase.parse(spelled, colours, shades, required, demanded, undivided)
        head, qualifiers = syntax.head, syntax.qualifiers
        meaning = roles.interpret(stems, syntax.aside, head, syntax.specify, qualifiers)
        telling = {*range(len(words))} - syntax.fillers
        alone = [each for n, each in enumerate(stems) if n in telling and n not in colours]
        beside_heads = telling.difference(meaning.heads or telling)
        compounds = [each.parts for n, each in enumerate(known) if each.parts and n not in syntax.complements]
        endings = {n: each.parts.split()[-1] for n, each in enumerate(known) if each.parts}
        ending = endings.get(head, "")
        known_text = known_words(words, [each.typed for each in known], spelled, roles, endings)
        return QueryText(
            text=text,
            meaning=meaning._replace(categories=meaning.categories - excluded),
            requires=Requirements(
                excluded,
                *called_for(unshaded, roles, self.languages),
                required=tuple(required.values()),
                numbers=tuple(required_numbers(words)),
                unmet=len(required) < len(demanded),
            ),
            spelled=spelled,
            colours=colours,
            foreign=foreign,
            in_compounds=phrase.in_compounds(meaning.heads),
            compounds=" ".join(compounds),
            is_name=len(alone) == 1 and (meaning.in_full or roles.calls(alone[0])),
            listed=meaning.partly >= meaning.categories and len(telling - syntax.departments - {*colours}) == 1,
            read_known=partial(self.read_text, known_text) if known_text and known_text != text else None,
            specified_head=meaning.heads == (head,),
            narrowed=not beside_heads <= qualifiers | {*colours},
            only_kind=bool(meaning.categories) and not colours and not any(roles.has(stems[n]) for n in beside_heads),
            ending_categories=self._ending_categories(words[head], ending, meaning) if ending else frozenset(),
        )

    def _words_of(self, text: str) -> tuple[Sequence[QueryWord], frozenset[tuple[str, str]]]:
        """Return the words of a text, and, as (word, language) pairs, the languages to which some of them do not
        belong."""
        foreign = self._not_of_lists(text)
        words = query_words(text, self.languages, foreign)
        if misread := foreign_to(words, self.roles.collisions, self.visitor_language):
            foreign |= misread
            words = query_words(text, self.languages, foreign)
        return words, foreign

    def _look_up(
        self, words: Sequence[QueryWord], english: Collection[str], spelled: Collection[str]
    ) -> list[_KnownWord]:
        """Return what the catalogue has of each word."""
        roles = self.roles
        found: list[_KnownWord] = []
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
            found.append(_KnownWord(own, own if parts else stems, parts))
        return found

    def _requirements_met(self, demanded: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Return the requirements that some text of the catalogue may meet, because it has all words of one of their
        texts. A catalogue with the word "plant" need not say of anything that it is "plant based"."""
        return {
            word: texts
            for word, texts in demanded.items()
            if any(has_all(each, self.roles, self.languages) for each in texts if word in each or " " not in each)
        }

    def _ending_categories(self, head: QueryWord, ending: str, meaning: Interpretation) -> frozenset[str]:
        """Return the categories that the last part of a compound names, if the text names none."""
        if meaning.categories or in_dictionary(head.word, ENGLISH):
            return frozenset()
        return kinds_of_ending(head, ending, self.roles, self.languages)

    @property
    def _grammar(self) -> Sequence[str]:
        """The languages by whose grammar a query is read: that of the visitor, if the catalogue has it, or all."""
        return (self.visitor_language,) if self.visitor_language in self.languages else self.languages

    def _own_languages(self, text: str) -> Sequence[str]:
        """Return the languages whose synonyms and compounds are used: that of the visitor alone, if it has all words of
        the text. For an English visitor "scooter" has no German synonym "Roller", which would find paint rollers."""
        own = self.visitor_language
        typed = [token.word for token in analyse(HYPHEN.sub(" ", text), own)]
        known = (in_dictionary(each, own) or (own == ENGLISH and self._is_english_word(each)) for each in typed)
        return (own,) if own in self.languages and all(known) else self.languages

    def _not_of_lists(self, text: str) -> frozenset[tuple[str, str]]:
        """Return the words of an English text that are also on a list of another language, each with that language:
        (word, language) pairs. Empty if the text has a word that is not English; the visitor's language is never
        included."""
        others = [each for each in self.languages if each not in (ENGLISH, self.visitor_language)]
        typed = [token.word for token in analyse(HYPHEN.sub(" ", text), ENGLISH) if token.word.isalpha()]
        if not others or ENGLISH not in self.languages or not all(map(self._is_english, typed)):
            return frozenset()
        return words_not_of(text, others)

    def _is_english(self, word: str) -> bool:
        """Return whether a word may be English: a single letter, a known word, or one on a list of the language."""
        return len(word) == 1 or self._is_english_word(word) or is_on_a_list(word, ENGLISH)

    def _is_english_word(self, word: str) -> bool:
        """Return whether the model knows a word, or the word without the "s" of a plural or possessive. False in a
        catalogue without English texts, whose words may look English: "rode" is Dutch, and "Rosen" German."""
        if ENGLISH not in self.languages:
            return False
        return self.has_word(word) or (word.endswith("s") and not word.endswith("ss") and self.has_word(word[:-1]))
