"""Find the words of a catalogue that match those of a query: the same, another form, a compound, a misspelling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from imagesim.indexes.analysis import Token, stop_words
from imagesim.indexes.query_words import QueryWord
from imagesim.indexes.vocabulary import Vocabulary, consonants
from imagesim.word_roles import SHORTEST_FIRST

# The quality of a match, by kind. An exact match is 1.
STEM = 0.97
COMPOUND = 0.81
PREFIX = (0.5, 0.4)
FUZZY = {1: 0.77, 2: 0.62}
SAME_CONSONANTS = 1.1
"""The factor of a misspelling with the same consonants: "moniter" is rather a "monitor" than a "monster"."""
TYPING = 0.95
"""The quality of a word with the last word of a query, still being typed, as its prefix."""

SPELLED = 0.5
"""The factor of a match by a typing error or by the beginning, of a word that is spelled correctly: "watch" is no
"match", and a "table" no "tablet". Low enough that vectors decide. Beside other words, which match as well, a typing
error counts by its square: "grey shorts" are no grey sports shoes."""


class WordMatcher:
    """The words of a catalogue by number, with their stems in its languages. Words that were added are found after
    :meth:`sort`, or one by one until then."""

    def __init__(self, languages: Sequence[str]) -> None:
        self._languages = tuple(languages)
        self._vocabulary = Vocabulary()
        self._tokens: dict[str, dict[Token, int]] = defaultdict(dict)
        self._stems: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._known_in: dict[str, set[int]] = defaultdict(set)

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
            self._known_in[language].add(number)
        return number

    def sort(self) -> None:
        """Sort the words that were added, if there are many."""
        self._vocabulary.sort()

    def match(
        self, words: Sequence[QueryWord], *, prefix: bool = False, spelled: Collection[str] = ()
    ) -> list[dict[int, float]]:
        """Return the numbers of the catalogue's words that match each word of a query, with the qualities of the
        matches. ``prefix``: the last word is still being typed. ``spelled``: those that are spelled correctly.

        A word of the catalogue matches one word of the query, unless it is the same word or stem as several: "bar baz"
        is not two misspellings of one "bag".
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
        return [
            {number: quality for number, quality in each.items() if quality >= STEM or taken[number] == position}
            for position, each in enumerate(found)
        ]

    def _lookup(self, word: QueryWord, *, prefix: bool, factor: float, alone: bool) -> dict[int, float]:
        """Return the words of the catalogue that match a word of the query, each with the quality of the match.

        ``factor`` is that of words with typing errors, and of longer ones.
        """
        found: dict[int, float] = {}
        vocabulary, words = self._vocabulary, self._vocabulary.words

        def note(numbers: Iterable[int], quality: float) -> None:
            for number in numbers:
                if quality > found.get(number, 0.0):
                    found[number] = quality

        typed = word.word
        note([vocabulary.ids[typed]] if typed in vocabulary.ids else (), 1.0)
        for spelling, stems in word.spellings:
            note([vocabulary.ids[spelling]] if spelling in vocabulary.ids else (), STEM)
            for language, stem in stems.items():
                note(self._stems.get((language, stem), ()), STEM)
        if len(typed) < 3:
            if prefix:
                note(vocabulary.starting_with(typed), TYPING)
            return found
        for number in vocabulary.starting_with(typed):
            # Further digits make another number.
            if len(words[number]) > len(typed) and (prefix or not _goes_on(typed, words[number])):
                longer = factor * (PREFIX[0] + PREFIX[1] * len(typed) / len(words[number]))
                note([number], TYPING if prefix else longer)
        endings = word.endings
        compounds = [n for n in vocabulary.ending_with(endings) if self._is_compound(n, endings)]
        note(compounds, COMPOUND)
        if compounds:  # "Stuhl" is no misspelled "Stahl", if there is a "Gartenstuhl"
            factor = min(factor, SPELLED)
        stop = stop_words(self._languages)
        for number, distance in vocabulary.near(typed):
            if words[number] not in stop:  # "hte" is in no product's name
                alike = consonants(words[number]) == consonants(typed)
                if factor < 1 and distance > 1:
                    continue  # "lodgings" are no misspelled "leggings"
                likely = factor if alone else factor**2
                note([number], likely * FUZZY[distance] * (SAME_CONSONANTS if alike else 1.0))
        return found

    def _is_compound(self, number: int, endings: Mapping[str, Collection[str]]) -> bool:
        """Whether a word is a compound with one of these endings, in a language that it is of: in German "ginger" is a
        form of "ging", but "leggings" is no German word."""
        word = self._vocabulary.words[number]
        return any(
            word.endswith(ending)
            and len(word) - len(ending) >= SHORTEST_FIRST
            and (not languages or any(number in self._known_in[language] for language in languages))
            for ending, languages in endings.items()
        )


def _goes_on(number: str, longer: str) -> bool:
    """Whether a word that ends with a digit goes on with another: "100" in "1000" and "100.5"."""
    return number[-1].isdigit() and longer[len(number)] in "0123456789."
