"""The text of a query, read with the words of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from imagesim.indexes.analysis import MAX_TERMS, query_words
from imagesim.types import Query
from imagesim.word_roles import SHORTEST, Roles

LONGEST = 32
"""The maximum number of letters of a compound whose endings are looked up."""


@dataclass(frozen=True, slots=True)
class QueryText:
    """A text and what its words mean in a catalogue.

    ``heads`` and ``spelled`` are those of :class:`~imagesim.types.Query`, ``categories`` and ``mentioned`` those of
    :class:`~imagesim.word_roles.Interpretation`. ``endings`` are the words for kinds with which compounds end that the
    catalogue lacks: "Stuhl" for "Bürostuhl".
    """

    text: str
    heads: tuple[int, ...]
    spelled: frozenset[str]
    categories: frozenset[str]
    mentioned: frozenset[str]
    endings: str

    def asked(self, query: Query) -> Query:
        """Return the query with this text."""
        return replace(query, text=self.text, heads=self.heads, spelled=self.spelled)


def read(text: str, roles: Roles, languages: Sequence[str], has_word: Callable[[str], bool]) -> QueryText:
    """Read a text in these languages. ``has_word`` tells which words are spelled correctly."""
    words = query_words(text, languages)
    spelled = frozenset(word.word for word in words if has_word(word.word))
    meant, endings = [], []
    for word in words:
        own = frozenset(word.stems.values())
        stems = own if word.word in spelled else roles.stems_of(word.word, own)
        meant.append(stems)
        if word.word not in spelled and not roles.has(stems):
            endings.append(_kind_ending(word.word, roles, languages))
    heads, categories, mentioned = roles.interpret(meant)
    return QueryText(text, heads, spelled, categories, mentioned, " ".join(filter(None, endings)))


def _kind_ending(word: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return the longest ending of a word that names a kind: "stühle" of "bürostühle"; empty if there is none."""
    if len(word) <= LONGEST:
        for start in range(SHORTEST - 1, len(word) - SHORTEST + 1):
            for ending in query_words(word[start:], languages):
                if not roles.kinds.keys().isdisjoint(ending.stems.values()):
                    return ending.word
    return ""


def joined(text: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return ``text`` with those neighbouring words in one that the catalogue writes so, and not apart: "skate board"
    asks for a skateboard."""

    def has(word: str) -> bool:
        return any(roles.has(frozenset(each.stems.values())) for each in query_words(word, languages))

    words = given = text.split()
    for end in range(min(len(words), MAX_TERMS), 1, -1):
        pair = words[end - 2 : end]
        if has("".join(pair)) and not all(map(has, pair)):
            words = [*words[: end - 2], "".join(pair), *words[end:]]
    return text if words is given else " ".join(words)
