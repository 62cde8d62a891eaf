"""Answer text queries: find the words of the index that match those of a query, and the entries that contain them.

PostgreSQL finds the words in the table of all words (by stem, prefix, suffix or similar letters), and, with its
full-text search, the entries that contain them, in a rough order. The first of these are then scored as in every index.
The extension ``pg_trgm`` is not used, because trigrams miss typing errors in short words.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from psycopg import sql

from imagesim.indexes import text_hits
from imagesim.indexes.pgvector.database import Bound, rows
from imagesim.indexes.pgvector.searching import candidate, conditions, entry_columns
from imagesim.indexes.pgvector.tables import Generation
from imagesim.indexes.pgvector.writing import lexeme, signed
from imagesim.indexes.text import KNOWN_WORD, calls_by_compounds
from imagesim.indexes.text_scores import word_weight
from imagesim.indexes.validation import MAX_TEXT_MATCHES, CompiledFilters
from imagesim.indexes.vocabulary import LAST, letters, most_errors
from imagesim.indexes.word_matcher import COMPOUND, ENDING, STEM, WordMatcher, known_part
from imagesim.language import kana
from imagesim.language.analysis import Token, languages_of
from imagesim.language.codes import begun_codes
from imagesim.language.query_words import QueryWord, shades_of
from imagesim.types import Candidate, Candidates, Query

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

MAX_WORDS = 1_000
"""The maximum number of words of the index that are compared with a word of a query for each way to match: for prefixes
and suffixes the shortest, for typing errors those with the most similar letters."""
MANY_LONGER = 50
"""The number of longer words that begin with a word of a query above which the rough ranking asks for the beginning in
their place, with the mean of their qualities: comparing each entry with thousands of words takes seconds."""
OTHER_FORM = 2
"""How many letters a plural or singular may add to a typing error: "matratzen" to that of "matraze"."""
STEP = 0.05
"""The precision of the qualities of matches in the rough ranking."""

Matches = list[dict[str, float]]
"""For each word of a query, the matching words of the index with the qualities of the matches."""


def answer(cursor: CursorWrapper, generation: Generation, query: Query, filters: CompiledFilters) -> Candidates:
    """Answer one text query with compiled filters."""
    started = time.perf_counter()
    words = text_hits.words_of(query, generation.meta) if generation.meta.texts else []
    matches = _matches(cursor, generation, words, query) if words else []
    found: Sequence[Sequence[Any]] = ()
    size, total = text_hits.FOUND, 0
    frequencies: Mapping[str, int] = {}
    heads = query.heads or range(len(words))
    if any(matches[number] for number in heads if number < len(matches)):
        total, frequencies = _frequencies(cursor, generation, words, matches)
        ranking = _Ranking(generation, query, words, matches, total, frequencies)
        found = ranking.entries(cursor, filters, size)
        groups = {row[3] if query.collapse else row[2] for row in found}
        if text_hits.may_lack(len(found), len(groups), size, query):
            size = MAX_TEXT_MATCHES
            found = ranking.entries(cursor, filters, size)
    texts = [row[0] for row in found]
    known = text_hits.known_texts(generation.meta)
    scored = known.scores(texts, query, total=total, frequencies=frequencies) if found else []

    def made(position: int, score: float, head: float) -> Candidate:
        return candidate(found[position][2:], query, found[position][1], text=score, head=head)

    page, more = text_hits.page(scored, [(row[2], row[3]) for row in found], query, made)
    took = (time.perf_counter() - started) * 1000
    return Candidates(page, more=more, took_ms=took, exact=len(found) < size)


def _matches(cursor: CursorWrapper, generation: Generation, words: Sequence[QueryWord], query: Query) -> Matches:
    """Return the words of the index that match each word of the query."""
    bind = Bound()
    of_one = sql.SQL("(SELECT word, stems FROM {} WHERE {} ORDER BY {} LIMIT {})")
    near = [
        of_one.format(generation.table("word"), condition, order, sql.Literal(MAX_WORDS))
        for word in words
        for condition, order in _near(word, query, bind)
    ]
    found = rows(cursor, sql.SQL(" UNION ").join(near), bind.values)
    known = WordMatcher(languages_of(generation.meta))
    for word, stems in found:
        for language, _, stem in (each.partition(":") for each in stems):
            known.add(Token(word, stem), language)
    matches = known.match(words, prefix=query.typing, spelled=query.spelled)
    return [{known[number]: quality for number, quality in each.items()} for each in matches]


def _near(word: QueryWord, query: Query, bind: Bound) -> Iterator[tuple[sql.Composable, sql.Composable]]:
    """Yield conditions for words of the index that may match a word of the query, each with an order, likeliest
    first."""
    shortest = sql.SQL("length, word")
    spellings = [spelling for spelling, _stems in word.spellings]
    yield sql.SQL("word = ANY({})").format(bind(spellings, "text[]")), shortest
    yield sql.SQL("stems && {}").format(bind(text_hits.stem_keys(word), "text[]")), shortest
    if text_hits.finds_longer(word, query):
        yield _between("word", word.word, bind), shortest
    for begun in begun_codes(word.joined, word.code):
        yield _between("word", begun, bind), shortest
    for part in sorted(word.endings):
        yield _between("reversed", part[::-1], bind), shortest
    if len(word.word) >= 3 and kana.is_word(word.word):
        yield sql.SQL("position({} IN word) > 0").format(bind(word.word, "text")), shortest
    if len(word.word) >= 3 and (most := most_errors(word.word)):
        length = bind(len(word.word), "int")
        if word.word not in query.spelled:
            most += OTHER_FORM
        different = sql.SQL("bit_count((letters # {})::bit(64))").format(bind(signed(letters(word.word)), "bigint"))
        apart = sql.SQL("abs(length - {})").format(length)
        condition = sql.SQL("{} <= {} AND {} <= {}").format(apart, sql.Literal(most), different, sql.Literal(2 * most))
        yield condition, sql.SQL("{}, {}, word").format(different, apart)


def _between(column: str, start: str, bind: Bound) -> sql.Composed:
    """Return the condition that a column begins with ``start``, as a range, for which an index can be used."""
    name = sql.Identifier(column)
    return sql.SQL("({} >= {} AND {} < {})").format(name, bind(start, "text"), name, bind(start + LAST, "text"))


def _frequencies(
    cursor: CursorWrapper, generation: Generation, words: Sequence[QueryWord], matches: Matches
) -> tuple[int, dict[str, int]]:
    """Return the number of entries with texts, and for each word the number of those with the word or its stem."""
    bind = Bound()
    entry = generation.table("entry")
    counts = [
        sql.SQL("(SELECT count(*) FROM {} WHERE words @@ {})").format(entry, bind(_any(asked), "tsquery"))
        if (asked := [word for word, quality in found.items() if quality >= STEM])
        else sql.SQL("0")
        for found in matches
    ]
    everything = sql.SQL("(SELECT count(*) FROM {} WHERE words IS NOT NULL)").format(entry)
    [row] = rows(cursor, sql.SQL("SELECT {}").format(sql.SQL(", ").join([everything, *counts])), bind.values)
    return int(row[0]), {word.word: int(count) for word, count in zip(words, row[1:], strict=True)}


def _any(words: Sequence[str], letter: str = "", typed: str = "") -> str:
    """Return a ``tsquery`` for any of the words, in the fields with the weight ``letter``.

    The words that begin with ``typed`` are replaced by a query for this prefix.
    """
    parts = [f"{lexeme(word)}:{letter}" for word in words if not typed or not word.startswith(typed)]
    if len(parts) < len(words):
        parts.append(f"{lexeme(typed)}:*{letter}")
    return " | ".join(part.removesuffix(":") for part in parts)


@dataclass(frozen=True, slots=True)
class _Ranking:
    """A rough ranking of the entries for a query, by its words and what matches them in the index."""

    generation: Generation
    query: Query
    words: Sequence[QueryWord]
    matches: Matches
    total: int
    frequencies: Mapping[str, int]

    def entries(self, cursor: CursorWrapper, filters: CompiledFilters, size: int) -> Sequence[Sequence[Any]]:
        """Return (texts, first image, columns of :func:`entry_columns`) of the best entries."""
        bind = Bound()
        words, matches = self.words, self.matches
        heads = self.query.heads or range(len(words))
        asked = [
            _any(list(found), "", self._beginning(word, found)) for word, found in zip(words, matches, strict=True)
        ]
        required = [asked[number] for number in heads if number < len(words) and asked[number]]
        # OFFSET 0 keeps the subqueries apart, so that each quality is computed once per row and not once per use.
        statement = sql.SQL(
            "SELECT e.texts, e.images -> 0, {columns} FROM {entry} e "
            "CROSS JOIN LATERAL (SELECT {found} OFFSET 0) f CROSS JOIN LATERAL (SELECT {qualities} OFFSET 0) q "
            "WHERE e.words @@ {required} "
            "AND {where} ORDER BY {rough} DESC, e.key LIMIT {size}"
        ).format(
            columns=entry_columns(self.query, self.generation),
            entry=self.generation.table("entry"),
            required=bind(" | ".join(required), "tsquery"),
            where=conditions(filters, self.generation, bind),
            found=self._found(asked, bind),
            qualities=self._qualities(bind),
            rough=self._rough(),
            size=sql.Literal(size),
        )
        return rows(cursor, statement, bind.values)

    def _beginning(self, word: QueryWord, found: Mapping[str, float]) -> str:
        """Return the word of the query if it stands for all longer words that begin with it, else an empty text."""
        is_typed = self.query.typing and word.last
        is_asked = is_typed or (
            not word.word[-1].isdigit() and sum(map(_is_longer, found, repeat(word.word))) > MANY_LONGER
        )
        return word.word if is_asked else ""

    def _found(self, asked: Sequence[str], bind: Bound) -> sql.Composable:
        """Return columns that say which words of the query are matched in any field: most entries match few."""
        columns = [
            sql.SQL("{} AS {}").format(
                sql.SQL("e.words @@ {}").format(bind(each, "tsquery")) if each else sql.SQL("false"), _has(number)
            )
            for number, each in enumerate(asked)
        ]
        return sql.SQL(", ").join(columns)

    def _qualities(self, bind: Bound) -> sql.Composable:
        """Return columns with the quality of the best match of each word of the query in each class of fields."""
        columns = []
        classes = self.generation.text_classes
        kinds = {classes[name] for name, spec in self.generation.meta.texts.items() if calls_by_compounds(spec)}
        for number, (word, matching) in enumerate(zip(self.words, self.matches, strict=True)):
            beginning = self._beginning(word, matching)
            found = _with_beginning(matching, beginning) if beginning else matching
            for letter in sorted(set(classes.values())):
                tiers: dict[float, list[str]] = defaultdict(list)
                for other, quality in found.items():
                    is_kind = quality == COMPOUND and letter in kinds
                    if self.frequencies[word.word] and quality < STEM and quality != ENDING and not is_kind:
                        part = known_part(word, self.query.in_compounds)
                        quality *= part if quality == COMPOUND else KNOWN_WORD
                    tiers[round(quality / STEP) * STEP].append(other)
                cases = [
                    sql.SQL("WHEN e.words @@ {} THEN {}").format(bind(asked, "tsquery"), sql.Literal(quality))
                    for quality, others in sorted(tiers.items(), reverse=True)
                    if (asked := _any(others, letter, beginning if quality < STEM else ""))
                ]
                tests = sql.SQL("CASE WHEN NOT {} THEN 0.0 {} ELSE 0.0 END")
                value = tests.format(_has(number), sql.SQL(" ").join(cases)) if cases else sql.SQL("0.0")
                columns.append(sql.SQL("{} AS {}").format(value, _quality(number, letter)))
        return sql.SQL(", ").join(columns)

    def _rough(self) -> sql.Composable:
        """Return an expression that approximates the score of :class:`~imagesim.indexes.text.TextIndex`."""
        meta, classes, words = self.generation.meta, self.generation.text_classes, self.words
        texts, main = meta.texts, text_hits.main_texts(meta)
        top = texts[main[0]].weight
        factors = {
            classes[name]: math.sqrt(texts[name].weight / top) for name in sorted(texts, key=lambda n: texts[n].weight)
        }
        covered = []
        shades, spelled = shades_of(words, self.query.colours), self.query.spelled
        for number, word in enumerate(words):
            known = self.frequencies[word.word]
            weight = word_weight(word, self.total, known, shade=number in shades, spelled=spelled)
            best = [sql.SQL("{} * {}").format(sql.Literal(weight * f), _quality(number, c)) for c, f in factors.items()]
            covered.append(sql.SQL("greatest({})").format(sql.SQL(", ").join(best)))
        shares = [
            sql.SQL("({}) / greatest(e.lengths[{}], 1)").format(
                sql.SQL(" + ").join(_quality(number, classes[name]) for number in range(len(words))), sql.Literal(place)
            )
            for place, name in enumerate(main, 1)
        ]
        return sql.SQL("({}) * (0.9 + 0.1 * least(1, greatest({})))").format(
            sql.SQL(" + ").join(covered), sql.SQL(", ").join(shares)
        )


def _is_longer(word: str, beginning: str) -> bool:
    return len(word) > len(beginning) and word.startswith(beginning)


def _with_beginning(found: Mapping[str, float], beginning: str) -> dict[str, float]:
    """Return the matches with the same quality for all longer words that begin with ``beginning`` and match for no
    other reason."""
    longer = {
        word: quality
        for word, quality in found.items()
        if _is_longer(word, beginning) and quality < STEM and quality not in (COMPOUND, ENDING)
    }
    return {**found, **dict.fromkeys(longer, sum(longer.values()) / len(longer))} if longer else {**found}


def _has(number: int) -> sql.Identifier:
    return sql.Identifier(f"has{number}")


def _quality(number: int, letter: str) -> sql.Identifier:
    return sql.Identifier(f"word{number}{letter.lower()}")
