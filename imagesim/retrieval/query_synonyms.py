"""Words that mean the same as those of a query, where a catalogue calls its things by them: "sofa" for "settee"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from imagesim.indexes.analysis import analyse
from imagesim.indexes.query_words import MAX_TERMS, QueryWord, query_words
from imagesim.indexes.stop_words import HEAD_FIRST
from imagesim.retrieval.query_spacing import has_all, own_stems
from imagesim.word_roles import Roles

MAX_ALTERNATIVES = 2
"""The maximum number of further texts of a query: each is one more search of texts."""

LONGEST = 3
"""The maximum number of words of a phrase."""

FOLDER = Path(__file__).with_name("synonyms")
"""A file per language, with a group per line: words and phrases that shoppers use for the same thing, with commas."""


@lru_cache(maxsize=64)
def _groups(language: str) -> dict[tuple[str, ...], list[list[str]]]:
    """Return the groups of each phrase, by its stems."""
    found: dict[tuple[str, ...], list[list[str]]] = {}
    path = FOLDER / f"{language}.txt"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        group = line.split(", ")
        for stems in {_stems(phrase, language) for phrase in group}:
            found.setdefault(stems, []).append(group)
    return found


@lru_cache(maxsize=4_000)
def _stems(phrase: str, language: str) -> tuple[str, ...]:
    return tuple(token.stem for token in analyse(phrase, language))


def called(text: str, roles: Roles, languages: Sequence[str]) -> list[str]:
    """Return ``text`` with its words as the catalogue calls its things, then further texts that mean the same.

    A phrase is replaced if the catalogue calls nothing so, but something by a synonym. If it mentions the phrase, that
    is one of the further texts. A single word has to be what is sought: no "gown shoes" for "dress shoes".
    """
    words = text.split()
    head = _head(query_words(text, languages), roles, languages)
    for start, end in _windows(min(len(words), MAX_TERMS)):
        phrase = " ".join(words[start:end])
        if end - start == 1 and head not in {token.word for token in analyse(phrase, languages[0])}:
            continue
        synonyms = _synonyms(phrase, languages)
        if not synonyms or _calls(phrase, roles, languages):
            continue
        found = sorted(
            (each for each in synonyms if _calls(each, roles, languages)),
            key=lambda each: not _names_kind(each, roles, languages),
        )
        if found:
            mentioned = [phrase] if has_all(phrase, roles, languages) else []
            texts = [" ".join([*words[:start], each, *words[end:]]) for each in [*found, *mentioned]]
            return texts[: MAX_ALTERNATIVES + 1]
    return [text]


def _windows(count: int) -> Iterator[tuple[int, int]]:
    """Yield where phrases of ``count`` words may start and end, the longest first."""
    for length in range(min(LONGEST, count), 0, -1):
        yield from ((start, start + length) for start in range(count - length + 1))


def _synonyms(phrase: str, languages: Sequence[str]) -> list[str]:
    found = []
    for language in languages:
        stems = _stems(phrase, language)
        groups = _groups(language).get(stems, ())
        found += [other for group in groups for other in group if _stems(other, language) != stems]
    return list(dict.fromkeys(found))


def _head(words: Sequence[QueryWord], roles: Roles, languages: Sequence[str]) -> str:
    """Return the word that says what is sought: the last one before "for" or "with", or the first in French."""
    things = [
        word.word
        for word in words
        if not (word.filler or word.complement or word.unit) and roles.colours.isdisjoint(word.stems.values())
    ]
    return things[0 if HEAD_FIRST.issuperset(languages) else -1] if things else ""


def _calls(phrase: str, roles: Roles, languages: Sequence[str]) -> bool:
    """Whether the catalogue calls something by a phrase, or by compounds that end with it."""
    words = query_words(phrase, languages)
    if all(roles.calls(own_stems(word, roles)) for word in words):
        return bool(words)
    if len(words) == 1:
        return roles.ends_compounds(words[0].endings)
    return any(
        all(map(frozenset(name).intersection, (own_stems(word, roles) for word in words))) for name in roles.names
    )


def _names_kind(phrase: str, roles: Roles, languages: Sequence[str]) -> bool:
    words = query_words(phrase, languages)
    head = _head(words, roles, languages)
    return any(not roles.kinds.keys().isdisjoint(own_stems(word, roles)) for word in words if word.word == head)
