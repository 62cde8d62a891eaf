"""Search for words on a server: the server finds a few entries, which this process then scores as all indexes do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain

import numpy as np

from imagesim.indexes.text import TextIndex
from imagesim.indexes.validation import MAX_TEXT_MATCHES
from imagesim.indexes.vocabulary import shortest_beginning
from imagesim.language.analysis import Token, base_language, indexed, languages_of, stem_key
from imagesim.language.query_words import QueryWord, query_words
from imagesim.runtime import runtime
from imagesim.types import Candidate, IndexMeta, Query, TextSpec

FOUND = 100
"""The number of entries that the server returns for scoring. If they may not fill the page, ``MAX_TEXT_MATCHES`` are
requested."""

Texts = Mapping[str, Sequence[str]] | str
"""The texts of an entry by the name of the field, or as the server stores them."""

Unpack = Callable[[str], Mapping[str, Sequence[str]]]

MAX_CHARACTERS = 3_000_000
"""The number of characters of texts whose words a process keeps in memory: about a few thousand entries."""


def words_of(query: Query, meta: IndexMeta) -> tuple[QueryWord, ...]:
    """Return the words of the query, each with its stems in the languages of the index."""
    return query_words(query.text, languages_of(meta), query.foreign)


def main_texts(meta: IndexMeta) -> list[str]:
    """Return the fields of text with the largest weight; only their numbers of words affect the score."""
    top = max((spec.weight for spec in meta.texts.values()), default=0.0)
    return [name for name, spec in meta.texts.items() if spec.weight == top]


def stem_keys(word: QueryWord) -> list[str]:
    """Return the stems of the word, each prefixed with its language, as a server stores those of all languages in one
    field."""
    return [stem_key(language, stem) for _word, stems in word.spellings for language, stem in stems.items()]


def finds_longer(word: QueryWord, query: Query) -> bool:
    """Return whether longer words that begin with a word of the query are found."""
    return len(word.word) >= (1 if query.typing and word.last else shortest_beginning(word.word))


def tokens_of(name: str, values: Iterable[str], meta: IndexMeta) -> set[Token]:
    """Return the words of the values of a field of text."""
    language = base_language(meta.texts[name].language)
    return {token for value in values for token in indexed(value, language)}


def words_with_stems(texts: Iterable[Mapping[str, Sequence[str]]], meta: IndexMeta) -> dict[str, set[str]]:
    """Return the words of texts, each with its stems in the form of :func:`stem_keys`.

    They are stored on the server because its own analysers keep accents that this app removes, and tokenise
    differently.
    """
    found: dict[str, set[str]] = {}
    for each in texts:
        for name, values in each.items():
            language = base_language(meta.texts[name].language)
            for token in tokens_of(name, values, meta):
                found.setdefault(token.word, set()).add(stem_key(language, token.stem))
    return found


def known_texts(meta: IndexMeta) -> KnownTexts:
    """Return the cache of this process for indexes with these fields of text."""
    return runtime.get(("words of found texts", *meta.texts.items()), partial(KnownTexts, meta.texts))


class KnownTexts:
    """A cache of the analysed texts of entries that a server has found.

    Analysing long texts takes longer than the server needs to find them. Entries are identified by their texts, so that
    a changed entry is analysed again. Texts that are given as the server stores them are unpacked once. The whole cache
    is dropped when it becomes too large. It is thread-safe.
    """

    def __init__(self, specs: Mapping[str, TextSpec]) -> None:
        self._specs = specs
        self._lock = threading.Lock()
        self._drop()

    def _drop(self) -> None:
        self._index = TextIndex(self._specs)
        self._slots: dict[Hashable, int] = {}
        self._characters = 0

    def scores(
        self,
        texts: Iterable[Texts],
        query: Query,
        *,
        total: int,
        frequencies: Mapping[str, int],
        unpack: Unpack = json.loads,
    ) -> list[tuple[int, float, float]]:
        """Return (position, score, score of the head words) of each of ``texts`` that matches; for ``total`` and
        ``frequencies`` see :meth:`~imagesim.indexes.text.TextIndex.match`. ``unpack`` reads those that are given as
        they are stored."""
        with self._lock:
            slots = self._slots_of(texts, unpack)
            mask = np.zeros(len(self._slots), dtype=bool)
            mask[slots] = True
            found = self._index.match(query, mask=mask, total=total, frequencies=frequencies)
        matches = {
            slot: (round(score, 6), round(head, 6))
            for slot, score, head in zip(*(part.tolist() for part in found), strict=True)
        }
        return [(number, *matches[slot]) for number, slot in enumerate(slots) if slot in matches]

    def _slots_of(self, texts: Iterable[Texts], unpack: Unpack) -> list[int]:
        if self._characters > MAX_CHARACTERS:
            self._drop()
        slots = []
        for each in texts:
            key = each if isinstance(each, str) else tuple(tuple(each.get(name, ())) for name in self._specs)
            slot = self._slots.get(key)
            if slot is None:
                slot = len(self._slots)
                values = unpack(each) if isinstance(each, str) else each
                self._index.add(slot, values)
                self._slots[key] = slot
                self._characters += sum(map(len, chain(*values.values())))
            slots.append(slot)
        self._index.settle()
        return slots


def may_lack(found: int, groups: int, size: int, query: Query) -> bool:
    """Return whether this page could lack entries, if the server was asked for ``size`` entries and returned ``found``,
    which belong to ``groups`` groups."""
    return size <= found < MAX_TEXT_MATCHES and groups <= query.offset + query.limit


def page(
    scored: Iterable[tuple[int, float, float]],
    names: Sequence[tuple[str, str]],
    query: Query,
    candidate: Callable[[int, float, float], Candidate],
) -> tuple[tuple[Candidate, ...], bool]:
    """Return the candidates of the query's page, and whether more follow. With ``collapse``, only the best of each
    group counts.

    ``scored`` is the answer of :meth:`KnownTexts.scores`, and ``names`` the (key, group) of each position;
    ``candidate`` makes a candidate from a position, its score, and that of its head words.
    """
    best: dict[str, tuple[int, float, float]] = {}
    for each in sorted(scored, key=lambda each: (-each[1], names[each[0]][0])):
        key, group = names[each[0]]
        best.setdefault(group if query.collapse else key, each)
    end = query.offset + query.limit
    return tuple(candidate(*each) for each in list(best.values())[query.offset : end]), len(best) > end
