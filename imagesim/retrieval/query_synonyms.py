"""Words that mean the same as those of a query, where a catalogue calls its things by them: "sofa" for "settee"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from imagesim.indexes.analysis import analyse
from imagesim.indexes.query_words import MAX_TERMS, QueryWord, query_words
from imagesim.indexes.stop_words import HEAD_FIRST, INFLECTIONS
from imagesim.retrieval.query_spacing import own_stems
from imagesim.word_roles import Roles

MAX_SYNONYMS = 2
"""The maximum number of synonyms of a query: each is one more search of texts."""

FOLDER = Path(__file__).with_name("synonyms")
"""A file per language, with a group per line: words and phrases that shoppers use for the same thing, with commas. One
after "?" is replaced by the others and replaces none of them, because a shop may well call something else so: the
"shades" of lamps are no sunglasses."""


@lru_cache(maxsize=64)
def _groups(language: str) -> dict[tuple[str, ...], list[list[str]]]:
    """Return the groups of each phrase, by its stems; of each group what may replace it."""
    found: dict[tuple[str, ...], list[list[str]]] = {}
    path = FOLDER / f"{language}.txt"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        group = line.split(", ")
        unmistakable = [phrase for phrase in group if not phrase.startswith("?")]
        for stems in {_stems(phrase, language) for phrase in group}:
            found.setdefault(stems, []).append(unmistakable)
    return found


@lru_cache(maxsize=64)
def _longest(language: str) -> int:
    """Return the number of words of the longest phrase."""
    return max(map(len, _groups(language)), default=0)


@lru_cache(maxsize=4_000)
def _stems(phrase: str, language: str) -> tuple[str, ...]:
    return tuple(token.stem for token in analyse(phrase, language))


def in_other_words(text: str, roles: Roles, languages: Sequence[str]) -> list[tuple[str, str]]:
    """Return ``text`` in the words by which the catalogue calls its things, each with the language of the synonym;
    nothing if it calls some by those of ``text``, or none by a synonym.

    One phrase is replaced. A single word has to be what is sought: no "gown shoes" for "dress shoes".
    """
    words = text.split()
    head = _head(query_words(text, languages), roles, languages)
    longest = max(map(_longest, languages), default=0)
    for start, end in _windows(min(len(words), MAX_TERMS), longest):
        phrase = " ".join(words[start:end])
        if not any(_stems(phrase, language) in _groups(language) for language in languages):
            continue
        if end - start == 1 and not any(token.word == head for each in languages for token in analyse(phrase, each)):
            continue
        if any(_is_known(phrase, roles, language) for language in languages):
            continue
        found: dict[str, str] = {}
        for language in languages:
            for synonym in _synonyms(phrase, roles, language):
                found.setdefault(synonym, language)
        if found:
            others = [*found.items()][:MAX_SYNONYMS]
            return [(" ".join([*words[:start], other, *words[end:]]), language) for other, language in others]
    return []


def _windows(count: int, longest: int) -> Iterator[tuple[int, int]]:
    """Yield where phrases of up to ``longest`` of ``count`` words may start and end, the longest first."""
    for length in range(min(longest, count), 0, -1):
        yield from ((start, start + length) for start in range(count - length + 1))


def _head(words: Sequence[QueryWord], roles: Roles, languages: Sequence[str]) -> str:
    """Return the word that says what is sought: the last one before "for" or "with", or the first in French."""
    things = [
        word.word
        for word in words
        if not (word.filler or word.complement or word.unit) and roles.colours.isdisjoint(word.stems.values())
    ]
    return things[0 if HEAD_FIRST.issuperset(languages) else -1] if things else ""


def _is_known(phrase: str, roles: Roles, language: str) -> bool:
    """Whether something is called by a single word, or more than descriptions have it; or a category by the phrase.

    Whether anything is called by several words together, the index has to tell: "shaving" and "cream" may stand in
    different names.
    """
    words = query_words(phrase, (language,))
    if len(words) != 1:
        return _is_category(words, roles)
    return _calls(phrase, roles, language) or _is_in_names(words[0], roles)


def _synonyms(phrase: str, roles: Roles, language: str) -> list[str]:
    """Return the synonyms by which something is called, those that name a kind first."""
    stems = _stems(phrase, language)
    others = [other for group in _groups(language).get(stems, ()) for other in group]
    found = [each for each in others if _stems(each, language) != stems and _calls(each, roles, language)]
    return sorted(found, key=lambda each: not _names_kind(each, roles, language))


def _calls(phrase: str, roles: Roles, language: str) -> bool:
    """Whether something is called by a phrase: by each of its words, by a compound that ends with the only one, or a
    category by all of them. The word that says what the thing is may stand beside the other in names alone: the
    "polish" of "Nail polish" in a category "Nails"."""
    words = query_words(phrase, (language,))
    called = [roles.calls(own_stems(word, roles)) for word in words]
    if words and all(called):
        return True
    if len(words) == 1:
        return language in INFLECTIONS and roles.ends_compounds(words[0].endings)
    head = 0 if language in HEAD_FIRST else -1
    if words and not called.pop(head) and all(called) and _is_in_names(words[head], roles):
        return True
    return _is_category(words, roles)


def _is_category(words: Sequence[QueryWord], roles: Roles) -> bool:
    stems = [own_stems(word, roles) for word in words]
    return any(all(map(frozenset(name).intersection, stems)) for name in roles.names)


def _is_in_names(word: QueryWord, roles: Roles) -> bool:
    """Whether the catalogue has a word, and not in descriptions alone."""
    stems = own_stems(word, roles)
    return roles.has(stems) and not roles.only_mentions(stems)


def _names_kind(phrase: str, roles: Roles, language: str) -> bool:
    words = query_words(phrase, (language,))
    head = _head(words, roles, (language,))
    return any(not roles.kinds.keys().isdisjoint(own_stems(word, roles)) for word in words if word.word == head)
