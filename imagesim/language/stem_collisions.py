"""Stems that two languages of a catalogue have in common by chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from imagesim.language.analysis import Token, stem_key, stem_of


def stem_collisions(written: Mapping[str, Collection[Token]]) -> dict[str, frozenset[str]]:
    """Return, for each language, the stems of other languages whose words it would take for forms of its own words.

    The German stemmer gives the English "table" the stem of "Tablet". An index with several languages looks words up by
    their stems in all of them, because the language of a query is not known. The texts of the catalogue show which of
    these stems are misleading.

    ``written`` are the words of the texts in each language; stems are in the form of :func:`stem_key`. Words that occur
    in the texts of both languages do not collide, nor do words that their own language takes for forms of the same
    word, too ("lamps" and "Lampe"). A word whose stem in the other language is that of another word of its own language
    collides, too: a "planter" is not a plant, but German gives it the stem of one.
    """
    forms = {language: _forms(tokens) for language, tokens in written.items()}
    words = {language: {token.word for token in tokens} for language, tokens in written.items()}
    found: dict[str, set[str]] = {language: set() for language in written}
    for own, stems in forms.items():
        for other in written.keys() - {own}:
            for stem, spellings in stems.items():
                if words[other].isdisjoint(spellings):
                    misread = {stem_of(each, other) for each in spellings}
                    alike = {word for each in misread for word in forms[other].get(each, ())}
                    alike = alike or {word for each in misread - {stem} for word in stems.get(each, ())}
                    if alike and all(stem_of(word, own) != stem for word in alike):
                        found[other].add(stem_key(own, stem))
    return {language: frozenset(stems) for language, stems in found.items() if stems}


def _forms(tokens: Collection[Token]) -> Mapping[str, set[str]]:
    """Return the set of words of each stem."""
    found: dict[str, set[str]] = defaultdict(set)
    for token in tokens:
        found[token.stem].add(token.word)
    return found
