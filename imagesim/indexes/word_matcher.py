"""Find the words of a catalogue that match those of a query: equal words, other forms, compounds, misspellings.

The words are kept in a vocabulary, in which they are found by prefix, by suffix or in spite of typing errors.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from imagesim.indexes.vocabulary import Vocabulary, consonants, shortest_beginning
from imagesim.language import kana
from imagesim.language.analysis import Token, stop_words
from imagesim.language.codes import begun_codes, may_begin_code
from imagesim.language.letters import UNACCENTED
from imagesim.language.query_words import QueryWord
from imagesim.language.stop_words import FORMS_BY_NUMBER, INFLECTIONS, UNITS
from imagesim.language.word_forms import is_made_so, may_be_compound
from imagesim.language.word_roles import SHORTEST, SHORTEST_FIRST

if TYPE_CHECKING:
    import numpy.typing as npt

# The quality of each kind of match, between 0 and 1, which is that of the exact word.
STEM = 0.97
COMPOUND = 0.81
KNOWN_PART = 0.6
"""The factor of a compound, if the catalogue contains the word itself: a boxing glove ("Boxhandschuh") is not a shoe
("Schuh") if there are shoes."""
ENDING = 0.49
"""The quality of a word that ends with the word of the query, in languages that do not write compounds as one word: a
raincoat is a coat, but headphones are not a phone. It is low enough that the vectors decide."""
PREFIX = (0.5, 0.4)
SPECIFIES = 0.8
"""The factor of a longer word of Japanese kana that begins with the word of the query, or has it within: a suitcase
("スーツケース") is less a suit ("スーツ") than a "ビジネススーツ" is."""
FUZZY = {1: 0.77, 2: 0.62}
SAME_CONSONANTS = 1.1
"""The factor of a misspelling with the same consonants: "moniter" is more likely "monitor" than "monster"."""
WITH_UNIT = 0.8
"""The quality of a number with a unit, if the query has only the number: "22 elbow" for a 22mm elbow. A single digit is
more often a model or a quantity."""
TYPING = 0.95
"""The quality of a word that begins with the last word of the query, which is still being typed."""

SPELLED = 0.5
"""The factor of a match by typing error or by prefix if the word of the query is spelled correctly: "watch" is not
"match", and "table" is not "tablet". It is low enough that the vectors decide. In a query of several words, which match
as well, the factor of a typing error is squared: "grey shorts" are not grey sports shoes."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")

MAX_REMEMBERED = 100_000
"""The number of matches of query words that are remembered together, some 10 MB. The beginning of many words has
thousands, and a visitor can type each of them."""

OWN_SIZE = 5
"""How many matches take as much memory as a remembered word without any, such as each of those that programs type."""


def known_part(word: QueryWord, in_compounds: Collection[str]) -> float:
    """Return the factor of a compound that ends with a word that the catalogue contains, too. ``in_compounds``: those
    of ``Query``."""
    return 1.0 if word.word in in_compounds else KNOWN_PART


class WordMatcher:
    """The numbered words of a catalogue, with their stems in its languages. Added words are found at once, but faster
    after :meth:`sort`."""

    def __init__(self, languages: Sequence[str]) -> None:
        self._languages = tuple(languages)
        self._vocabulary = Vocabulary()
        self._stem_vocabulary = Vocabulary()
        self._tokens: dict[str, dict[Token, int]] = defaultdict(dict)
        self._stems: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._known_in: dict[str, set[int]] = defaultdict(set)
        self._found: dict[Hashable, Mapping[int, float]] = {}
        self._remembered = 0

    def __len__(self) -> int:
        return len(self._vocabulary.words)

    def __getitem__(self, number: int) -> str:
        return self._vocabulary.words[number]

    def add(self, token: Token, language: str) -> int:
        """Add a word of a text in this language, if it is new; return its number."""
        known = self._tokens[language]
        number = known.get(token)
        if number is None:
            number = known[token] = self._vocabulary.add(token.word)
            self._stems[language, token.stem].add(number)
            self._stem_vocabulary.add(token.stem)
            self._known_in[language].add(number)
            self._found, self._remembered = {}, 0
        return number

    def numbers(self, tokens: Iterable[Token], language: str) -> dict[Token, int]:
        """Return the numbers of the words of texts in this language, which are added if they are new."""
        known = self._tokens[language]
        return {token: known[token] if token in known else self.add(token, language) for token in tokens}

    def only(self, numbers: Collection[int]) -> tuple[WordMatcher, npt.NDArray[np.int64]]:
        """Return a matcher of these words alone, and the new number of each by its number here."""
        kept, wanted = WordMatcher(self._languages), frozenset(numbers)
        new = np.zeros(len(self), dtype=np.int64)
        for language, tokens in self._tokens.items():
            for token, number in tokens.items():
                if number in wanted:
                    new[number] = kept.add(token, language)
        return kept, new

    def sort(self, *, all_words: bool = False) -> None:
        """Sort the words again if many were added, or whenever some were with ``all_words``."""
        self._vocabulary.sort(all_words=all_words)
        self._stem_vocabulary.sort(all_words=all_words)

    def match(
        self, words: Sequence[QueryWord], *, prefix: bool = False, spelled: Collection[str] = ()
    ) -> list[dict[int, float]]:
        """Return, for each word of a query, the numbers of the matching words of the catalogue with their qualities.

        ``prefix`` says that the last word is still being typed; ``spelled`` are the words that are spelled correctly.
        A word of the catalogue matches only one word of the query, unless several are the same word or have the same
        stem: "bar baz" is not two misspellings of one "bag".
        """
        found = [
            self._lookup(
                word,
                prefix=prefix and word.last,
                factor=SPELLED if word.word in spelled else 1.0,
                alone=len(words) == 1,
            )
            for word in words
        ]
        taken: dict[int, int] = {}
        for position, each in enumerate(found):
            for number, quality in each.items():
                best = taken.setdefault(number, position)
                if quality > found[best][number]:
                    taken[number] = position

        def matches_both(number: int, position: int) -> bool:
            """Return whether it is a compound that begins with the word and ends with the next one: a
            "Cijferhangslot"."""
            ends = position + 1 == taken[number] and found[position + 1][number] == COMPOUND
            return ends and self._vocabulary.words[number].startswith(words[position].word)

        return [
            {
                number: quality
                for number, quality in each.items()
                if quality >= STEM or taken[number] == position or matches_both(number, position)
            }
            for position, each in enumerate(found)
        ]

    def with_code(self, code: str, *, typing: bool) -> list[int]:
        """Return the numbers of the words that are this part number, or begin with what was typed of it."""
        if typing or may_begin_code(code):
            return self._vocabulary.starting_with(code)
        return [self._vocabulary.ids[code]] if code in self._vocabulary.ids else []

    def _lookup(self, word: QueryWord, *, prefix: bool, factor: float, alone: bool) -> Mapping[int, float]:
        """Return the numbers of the words that match a word of the query, each with the quality of the match, which are
        remembered until words are added.

        ``factor`` is multiplied with the quality of matches by typing error and by prefix; ``alone`` says that the
        query has no other words.
        """
        asked = (word.word, tuple(word.stems.items()), word.joined, word.code, prefix, factor, alone)
        found = self._found.get(asked)
        if found is None:
            found = self._find(word, prefix=prefix, factor=factor, alone=alone)
            self._remembered += OWN_SIZE + len(found)
            if self._remembered > MAX_REMEMBERED:
                self._found, self._remembered = {}, OWN_SIZE + len(found)
            self._found[asked] = found
        return found

    def _find(self, word: QueryWord, *, prefix: bool, factor: float, alone: bool) -> dict[int, float]:
        typed, vocabulary = word.word, self._vocabulary
        found: dict[int, float] = {}

        def note(matches: Iterable[tuple[int, float]]) -> None:
            for number, quality in matches:
                if quality > found.get(number, 0.0):
                    found[number] = quality

        note(self._forms(word, alone=alone))
        for begun in begun_codes(word.joined, word.code):
            note(self._longer(begun, vocabulary.starting_with(begun), prefix=prefix))
        if len(typed) > 1 and _NUMBER.fullmatch(typed) and UNITS.isdisjoint(each[len(typed) :] for each in word.joined):
            note((vocabulary.ids[each], WITH_UNIT) for unit in UNITS if (each := typed + unit) in vocabulary.ids)
        if len(typed) < shortest_beginning(typed):
            if prefix:
                note(self._longer(typed, vocabulary.starting_with(typed), prefix=True))
            return found
        words, starting = vocabulary.words, vocabulary.starting_with(typed)
        if kana.is_word(typed):
            note(self._longer(typed, vocabulary.containing(typed), factor=factor))
            starting = [number for number in starting if prefix or kana.may_begin(typed, words[number])]
        longer = (number for number in starting if len(words[number]) > len(typed))
        longer = (number for number in longer if prefix or words[number][-1] != UNACCENTED)
        # A number with further digits is another number, not a longer word.
        longer = (number for number in longer if prefix or not _goes_on(typed, words[number]))
        note(self._longer(typed, longer, prefix=prefix, factor=factor))
        endings = word.endings
        compounds = {n: self._compound_quality(n, endings) for n in vocabulary.ending_with(endings)}
        note(compounds.items())
        # "Stuhl" is not a misspelling of "Stahl" if the catalogue has a "Gartenstuhl", nor "Blumen" of "Blusen" if it
        # has a "Blumentopf".
        if any(compounds.values()) or any(len(words[number]) >= len(typed) + SHORTEST_FIRST for number in starting):
            factor = min(factor, SPELLED)
        note(self._similar(typed, factor, alone=alone))
        if factor == 1.0 and not any(quality >= STEM for quality in found.values()):
            note((number, STEM * FUZZY[1]) for number in self._of_near_stems(word))
        return found

    def _forms(self, word: QueryWord, *, alone: bool) -> Iterator[tuple[int, float]]:
        """Yield the word, its other spellings and forms, and the words with the stem of one, each with its quality."""
        ids, words = self._vocabulary.ids, self._vocabulary.words
        if word.word in ids:
            yield ids[word.word], 1.0
        spellings = word.spellings_among(self._has_beginning)
        forms = {spelling for spelling, _stems in spellings}
        is_known = any(form in ids for form in forms)
        for spelling, stems in spellings:
            if spelling in ids:
                yield ids[spelling], STEM
            for language, stem in stems.items():
                no_forms = stop_words((language,))  # the Italian "pere" are pears, and not "per"
                for number in self._stems.get((language, stem), ()):
                    if words[number] in no_forms:
                        continue
                    # A "Self levelling compound" is not a level if something is called that.
                    is_other = is_known and language in FORMS_BY_NUMBER and words[number] not in forms
                    only_stem = alone and (is_other or is_made_so(words[number], stem, spelling, language))
                    yield number, ENDING if only_stem else STEM

    def _longer(
        self, part: str, numbers: Iterable[int], *, prefix: bool = False, factor: float = 1.0
    ) -> Iterator[tuple[int, float]]:
        """Yield the words ``numbers``, which begin with a part or have it within, each with its quality."""
        specifies = SPECIFIES if kana.is_word(part) else 1.0
        for number in numbers:
            share = PREFIX[1] * len(part) / len(self._vocabulary.words[number])
            yield number, TYPING if prefix else factor * ((PREFIX[0] + share) * specifies)

    def _similar(self, typed: str, factor: float, *, alone: bool) -> Iterator[tuple[int, float]]:
        """Yield the words of which a word may be a misspelling; none with two errors if ``factor`` is less than 1."""
        words, stop = self._vocabulary.words, stop_words(self._languages)
        likely = factor if alone else factor**2
        for number, distance in self._vocabulary.near(typed):
            # "hte" is a misspelled stop word, which describes no product; "lodgings" is not a misspelling of "leggings"
            if words[number] not in stop and (factor == 1 or distance == 1):
                alike = consonants(words[number]) == consonants(typed)
                yield number, likely * FUZZY[distance] * (SAME_CONSONANTS if alike else 1.0)

    def _has_beginning(self, text: str) -> bool:
        """Return whether a word, or its stem, begins with ``text``."""
        return bool(self._vocabulary.starting_with(text) or self._stem_vocabulary.starting_with(text))

    def _of_near_stems(self, word: QueryWord) -> set[int]:
        """Return the numbers of the words whose stem differs from that of a word of a query by one typing error: those
        of which it may be a plural, singular or another form, misspelled."""
        languages = word.stems.keys() & self._known_in.keys()
        typed = {(language, form) for language in languages for form in (word.word, word.stems[language])}
        return {
            number
            for language, form in typed
            for near, distance in self._stem_vocabulary.near(form)
            if distance == 1 and len(stem := self._stem_vocabulary.words[near]) > SHORTEST
            for number in self._stems.get((language, stem), ())
        }

    def _compound_quality(self, number: int, endings: Mapping[str, Collection[str]]) -> float:
        """Return the quality of a match with a word that may be a compound with one of these endings, in a language of
        the texts that contain it; 0 if it is not one.

        The German stem of "ginger" is "ging", so its compounds may end with "gings", but "leggings" is not German.
        """
        word = self._vocabulary.words[number]
        known = [language for language, numbers in self._known_in.items() if number in numbers]
        qualities = (
            COMPOUND if language in INFLECTIONS else ENDING
            for ending, languages in endings.items()
            if word.endswith(ending)
            for language in known
            if (not languages or language in languages) and may_be_compound(word, ending, language)
        )
        return max(qualities, default=0.0)


def _goes_on(number: str, longer: str) -> bool:
    """Return whether ``longer`` continues a number with a digit or a fraction, as "1000" and "100.5" continue "100".
    Long ones are the numbers of articles, which may be typed in part."""
    return number[-1].isdigit() and longer[len(number)] in "0123456789." and not may_begin_code(number)
