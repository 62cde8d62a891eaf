"""Words that the stemmer of another language takes for a form of one of its own words.

The German stem of the English "table" is that of "Tablet". An index of several languages looks words up by their stems
in all of them, because nobody knows in which language a visitor types; here the texts of a catalogue tell which stems
mislead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from imagesim.indexes.analysis import Token, stem_key, stem_of
from imagesim.indexes.query_words import QueryWord


def stem_collisions(written: Mapping[str, Collection[Token]]) -> dict[str, frozenset[str]]:
    """Return, by language, the stems of other languages (:func:`~imagesim.indexes.analysis.stem_key`) whose words it
    would take for forms of words that are none.

    ``written``: the words of the texts in each language. A word that both languages write is one of both, and so is one
    that is a form of the same word in its own language, too ("lamps" and "Lampe").
    """
    forms = {language: _forms(tokens) for language, tokens in written.items()}
    words = {language: {token.word for token in tokens} for language, tokens in written.items()}
    found: dict[str, set[str]] = {language: set() for language in written}
    for own, stems in forms.items():
        for other in written.keys() - {own}:
            for stem, spellings in stems.items():
                if words[other].isdisjoint(spellings):
                    alike = {word for each in spellings for word in forms[other].get(stem_of(each, other), ())}
                    if alike and all(stem_of(word, own) != stem for word in alike):
                        found[other].add(stem_key(own, stem))
    return {language: frozenset(stems) for language, stems in found.items() if stems}


def foreign_to(
    words: Collection[QueryWord], collisions: Mapping[str, Collection[str]], spoken: str
) -> frozenset[tuple[str, str]]:
    """Return words of a query, each with a language whose stem of it misleads. Never that which is ``spoken``."""
    return frozenset(
        (word.word, language)
        for language, stems in collisions.items()
        if language != spoken
        for word in words
        if any(stem_key(each, stem) in stems for each, stem in word.stems.items())
    )


def _forms(tokens: Collection[Token]) -> Mapping[str, set[str]]:
    """Return the words by their stems."""
    found: dict[str, set[str]] = defaultdict(set)
    for token in tokens:
        found[token.stem].add(token.word)
    return found
