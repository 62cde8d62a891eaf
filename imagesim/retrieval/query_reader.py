"""Reads the text of a query with the words of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from imagesim.indexes.analysis import analyse
from imagesim.indexes.codes import HYPHEN
from imagesim.indexes.dictionaries import in_dictionary
from imagesim.indexes.query_words import (
    ENGLISH,
    foreign_to,
    is_on_a_list,
    query_words,
    shades_of,
    words_not_of,
)
from imagesim.indexes.stop_words import HEAD_FIRST
from imagesim.retrieval.compounds import (
    MOST_LETTERS,
    divided_compound,
    kinds_of_ending,
    with_kinds_of_compounds,
)
from imagesim.retrieval.query_colours import named_colours, without_negated_colours
from imagesim.retrieval.query_requirements import (
    called_for,
    excluded_categories,
    required_numbers,
    requirements,
)
from imagesim.retrieval.query_rewriting import (
    has_all,
    in_other_words,
    known_words,
    own_stems,
    spaced,
    units_apart,
)
from imagesim.retrieval.query_syntax import clothing_for_others, complements_of, compound_of, is_filler, is_sought
from imagesim.retrieval.query_text import QueryText, QueryTexts, Reading
from imagesim.word_roles import Roles


@dataclass(frozen=True, slots=True)
class QueryReader:
    """Reads the texts of queries to a catalogue: with the ``roles`` of its words, in the ``languages`` of its texts.
    ``has_word`` tells which words the model knows, which are English; ``spoken`` is the visitor's language."""

    roles: Roles
    languages: Sequence[str]
    has_word: Callable[[str], bool]
    spoken: str = ""

    def read_query(self, text: str, alternatives: Sequence[str]) -> Reading:
        """Read the text of a query without the colours that it excludes, and its alternatives."""
        wanted, unwanted = without_negated_colours(text, self.roles, self.languages)
        texts = self.read_all(wanted, alternatives)
        return Reading(wanted, texts, unwanted, named_colours(texts.text, self.languages))

    def read_all(self, text: str, alternatives: Sequence[str] = ()) -> QueryTexts:
        """Read the text of a query and its alternatives."""
        text = spaced(text, self.roles, self.languages)
        own, *others = map(self.read, (text, *alternatives, *units_apart(text, self.roles, self.languages)))
        compounds = self.read(own.compounds) if own.compounds else None
        languages, in_others = self._languages_of(text), None
        replaced = partial(in_other_words, text, self.roles, languages, written_in=self._written_in)
        synonyms = replaced()
        known = () if synonyms or own.categories else replaced(although_known=True)
        alike = [self.read(each) for each, _language in (*synonyms, *known)]
        of_synonyms = frozenset[str]().union(*(each.mentioned for each in alike))
        if synonyms:
            in_others = QueryTexts(
                alike[0], [*alike[1:], own, *others], language=synonyms[0][1], of_synonyms=of_synonyms
            )
        return QueryTexts(own, others, compounds, in_others, of_synonyms=of_synonyms)

    def read(self, text: str) -> QueryText:
        """Read one text."""
        languages = self.languages
        foreign = self._not_of_lists(text)
        words = query_words(text, languages, foreign)
        if misread := foreign_to(words, self.roles.collisions, self.spoken):
            foreign |= misread
            words = query_words(text, languages, foreign)
        english = frozenset(word.word for word in words if self._is_spelled(word.word))
        roles = with_kinds_of_compounds(self.roles, words, except_for=english)
        written_in = self._written_in
        spelled = english.union(
            word.word for word in words if any(in_dictionary(word.word, each) for each in written_in)
        )
        written: list[Collection[str]] = []
        meant: list[Collection[str]] = []
        divided: list[str] = []
        letters_left = MOST_LETTERS
        for word in words:
            own = own_stems(word, roles)
            written.append(own)
            is_known = word.filler or word.qualifier or word.word in spelled or roles.ends_compounds(word.endings)
            stems = own if is_known else roles.stems_of(word.word, own)
            known = word.word in english or roles.has(stems)  # or is a misspelling
            is_whole = word.filler or word.qualifier or roles.is_in_names(own) or len(word.word) > letters_left
            letters_left -= 0 if is_whole else len(word.word)
            divided.append("" if is_whole else divided_compound(word.word, roles, languages, known=known))
            meant.append(own if divided[-1] else stems)
        fillers = {n for n, word in enumerate(words) if is_filler(word, meant[n], spelled, roles)}
        colours = tuple(n for n, stems in enumerate(meant) if not roles.colours.isdisjoint(stems))
        units = {n for n, word in enumerate(words) if word.unit or (word.number and not roles.names_kind(meant[n]))}
        shades = shades_of(words, colours)
        unshaded = [word for n, word in enumerate(words) if n not in shades]
        excluded = excluded_categories(unshaded, self.roles, languages)
        for_these, for_others = called_for(unshaded, self.roles, languages)
        kinds = [roles.kinds_of(stems) - excluded for stems in meant]
        fillers |= clothing_for_others(words, meant, kinds, roles)
        complements = complements_of(words, meant, fillers, roles)
        others = fillers | units | shades | complements
        head, specify = compound_of(words, others, written_in)
        demanded = requirements(text, languages)
        # Plants say nothing of what is "plant based".
        required = {
            word: each
            for word, each in demanded.items()
            if any(has_all(one, roles, languages) for one in each if word in one or " " not in one)
        }
        named = {n for n, word in enumerate(words) if not word.qualifier} - others - {*colours}
        qualifiers = {
            n
            for n, word in enumerate(words)
            if word.word in required
            or (
                word.qualifier
                and word.word not in demanded
                and not is_sought(n, head, words, meant, kinds, roles, named)
            )
        }
        if HEAD_FIRST.issuperset(written_in) and head not in qualifiers and meant and roles.calls(meant[head]):
            # "Acqua minerale" is water, also where nobody knows of minerals: no noun follows another without a word.
            qualifiers |= {n for n in specify if words[n].follows and not (divided[n] or roles.has(meant[n]))}
        if qualifiers:
            head, specify = compound_of(words, others | qualifiers, written_in)
        things = [n for n, word in enumerate(words) if not word.complement and n not in others]
        said_of = [(n, thing) for n, word in enumerate(words) if word.complement for thing in things]
        # What names a department, but says here what another thing is for: "dog" in "dog coat" or "coat for dogs".
        pairs = (*((n, head) for n in specify), *said_of)
        departments = {n for n, thing in pairs if roles.may_specify(meant[n], meant[thing])}
        meaning = roles.interpret(meant, others | departments, head, specify, qualifiers)
        asking = {*range(len(words))} - fillers
        alone = [stems for n, stems in enumerate(meant) if n in asking and n not in colours]
        beside = asking.difference(meaning.heads or asking)
        in_compounds = frozenset(
            word.word
            for n, (word, stems) in enumerate(zip(words, meant, strict=True))
            if roles.kinds
            and (not word.complement or (n in meaning.heads and roles.calls(stems)))
            and roles.has(stems)
            and not roles.names_kind(stems)
        )
        of_ending = frozenset[str]()
        ending = divided[head].split()[-1] if words and divided[head] else ""
        if ending and not meaning.categories and not in_dictionary(words[head].word, ENGLISH):
            of_ending = kinds_of_ending(words[head], ending, self.roles, languages)
        is_name = len(alone) == 1 and (meaning.in_full or roles.calls(alone[0]))
        asked = QueryText(
            text=text,
            heads=meaning.heads,
            spelled=spelled,
            colours=colours,
            foreign=foreign,
            in_compounds=in_compounds,
            categories=meaning.categories - excluded,
            mentioned=meaning.mentioned,
            partly=meaning.partly,
            compounds=" ".join(parts for n, parts in enumerate(divided) if parts and n not in complements),
            is_name=is_name,
            in_full=meaning.in_full,
            listed=meaning.partly >= meaning.categories and len(asking - departments - {*colours}) == 1,
            specified=meaning.specified,
            known=known_words(words, written, spelled, roles) or ending,
            specified_head=meaning.heads == (head,),
            narrowed=not beside <= qualifiers | {*colours},
            only_kind=bool(meaning.categories) and not colours and not any(roles.has(meant[n]) for n in beside),
            excluded=excluded,
            called_for=for_these,
            for_others=for_others,
            required=tuple(required.values()),
            numbers=tuple(required_numbers(words)),
            unmet=len(required) < len(demanded),
            of_ending=of_ending,
        )
        readings = (
            replace(asked, heads=(number,), categories=named, mentioned=named, partly=meaning.partly & named)
            for number, named in meaning.rivals
        )
        return replace(asked, readings=tuple(readings))

    @property
    def _written_in(self) -> Sequence[str]:
        """The languages whose order of words counts."""
        return (self.spoken,) if self.spoken in self.languages else self.languages

    def _languages_of(self, text: str) -> Sequence[str]:
        """Return the languages whose synonyms count: that of the page alone, if it has all words. An English "scooter"
        is no German "Roller", nor a paint roller."""
        spoken = self.spoken
        typed = [token.word for token in analyse(HYPHEN.sub(" ", text), spoken)]
        known = (in_dictionary(each, spoken) or (spoken == ENGLISH and self._is_spelled(each)) for each in typed)
        return (spoken,) if spoken in self.languages and all(known) else self.languages

    def _not_of_lists(self, text: str) -> frozenset[tuple[str, str]]:
        """Return the words of a query that the lists of a language do not mean, each with the language: if all words
        are English, those of the other languages, except the one that is ``spoken``."""
        others = [each for each in self.languages if each not in (ENGLISH, self.spoken)]
        typed = [token.word for token in analyse(HYPHEN.sub(" ", text), ENGLISH) if token.word.isalpha()]
        if not others or ENGLISH not in self.languages or not all(map(self._is_english, typed)):
            return frozenset()
        return words_not_of(text, others)

    def _is_english(self, word: str) -> bool:
        return len(word) == 1 or self._is_spelled(word) or is_on_a_list(word, ENGLISH)

    def _is_spelled(self, word: str) -> bool:
        """Whether it is a known word, or its plural or possessive: "mens"."""
        if ENGLISH not in self.languages:  # "rode" and "Rosen" are English words, too
            return False
        return self.has_word(word) or (word.endswith("s") and not word.endswith("ss") and self.has_word(word[:-1]))
