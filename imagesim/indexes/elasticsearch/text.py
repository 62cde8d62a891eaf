"""The text fields of a backing index, and the text queries that search them.

The server finds entries by the words that :mod:`imagesim.language.analysis` makes of their texts, and ranks them with
its own analysers. The first entries are then scored by :class:`~imagesim.indexes.text.TextIndex`, as with every index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imagesim.indexes import text_hits
from imagesim.indexes.elasticsearch.mapping import CANDIDATE_TEXTS, STEMS, WORDS, Quantisation, Server
from imagesim.indexes.elasticsearch.queries import (
    candidate,
    fetched,
    filter_clauses,
    lacks_column,
    name_of,
    stored_texts,
    unpack,
)
from imagesim.indexes.elasticsearch.transport import CACHED
from imagesim.indexes.text import KNOWN_WORD
from imagesim.indexes.text_hits import FOUND
from imagesim.indexes.text_scores import word_weight
from imagesim.indexes.validation import MAX_TEXT_MATCHES, CompiledFilters
from imagesim.indexes.vocabulary import TWO_ERRORS, most_errors
from imagesim.indexes.word_matcher import COMPOUND, FUZZY, SPELLED, TYPING, known_part
from imagesim.language import kana
from imagesim.language.analysis import MAX_WORD, base_language, stem_key
from imagesim.language.codes import begun_codes
from imagesim.language.query_words import QueryWord, shades_of
from imagesim.language.word_forms import SHORTEST_PART
from imagesim.language.word_roles import SHORTEST, has_digit
from imagesim.types import Candidate, Candidates, IndexMeta, Query

ANALYZERS: Mapping[str, str] = {
    "ar": "arabic", "bg": "bulgarian", "bn": "bengali", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german",
    "el": "greek", "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "gl": "galician", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "ja": "imagesim_japanese", "ko": "cjk", "lt": "lithuanian",
    "lv": "latvian", "nb": "norwegian", "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sv": "swedish", "th": "thai", "tr": "turkish", "zh": "cjk",
}  # fmt: skip
"""The default analyser of the server for each language code; ``standard`` is used for all others."""

SETTINGS: Mapping[str, Any] = {
    "analysis": {
        "analyzer": {
            "imagesim_reversed": {"tokenizer": "whitespace", "filter": ["reverse"]},
            # That of "cjk", with the spellings of :func:`imagesim.language.kana.spelled`.
            "imagesim_japanese": {
                "char_filter": ["imagesim_kana"],
                "tokenizer": "standard",
                "filter": ["cjk_width", "lowercase", "cjk_bigram"],
            },
        },
        "char_filter": {"imagesim_kana": {"type": "mapping", "mappings": kana.mappings()}},
    }
}

MAX_QUERY = 1_000
"""The maximum number of characters of a query that are passed to the analysers of the server."""

COMPOUND_BOOST = 8
"""The weight of a compound that ends with a word. It is more than that of the word in a long text, so that in a large
catalogue the tables ("Couchtische") are found before whatever mentions a table."""

ELSEWHERE = 0.6
"""The factor of a weighted word outside the fields of the largest weight."""

AMONG_WEIGHTED = 0.02
"""The weight of :meth:`CompiledText._whole` alongside weighted words."""

WITHIN = 0.5
"""The weight of a word of kana within another one, which is less than that of a word that begins with it."""

LONGER = 0.7
"""The quality of a longer word that begins with a word of the query, as if a third of its letters were missing."""

PREFIXES = {"min_chars": 2, "max_chars": 8}


def text_properties(meta: IndexMeta, analyzers: Mapping[str, str]) -> dict[str, Any]:
    """Return the mapping of the texts: the fields by which the server ranks, and one field with the words of all texts.

    The words are also indexed backwards, to find them by suffix. Prefixes and typing errors are looked up in this one
    field, instead of in each of many.
    """

    def words(analyzer: str) -> dict[str, Any]:
        return {"type": "text", "analyzer": analyzer, "norms": False, "index_prefixes": PREFIXES}

    fields = {
        name: {"type": "text", "analyzer": _analyzer(spec.language, analyzers)} for name, spec in meta.texts.items()
    }
    return {
        "texts": {"properties": fields},
        WORDS: words("whitespace") | {"fields": {"reversed": words("imagesim_reversed")}},
        STEMS: {"type": "keyword", "doc_values": False},
        CANDIDATE_TEXTS: {"type": "binary", "doc_values": True},
    }


def _analyzer(language: str, analyzers: Mapping[str, str]) -> str:
    base = base_language(language)
    return analyzers.get(language) or analyzers.get(base) or ANALYZERS.get(base, "standard")


def indexed_words(texts: Mapping[str, Sequence[str]], meta: IndexMeta) -> tuple[str, list[str]]:
    """Return the words of an entry, separated by spaces, and their stems."""
    found = text_hits.words_with_stems([texts], meta)
    return " ".join(sorted(found)), sorted(set[str]().union(*found.values()))


@dataclass(frozen=True, slots=True)
class CompiledText:
    """A checked text query for the best ``size`` entries."""

    query: Query
    filters: CompiledFilters
    meta: IndexMeta
    size: int = FOUND
    by_column: bool = False
    counts: tuple[int, ...] = ()
    """The number of entries with texts, and with each word, to weight the words by. Without them, the server ranks by
    weights of its own, which hardly count a word that no entry has: one that is misspelled, or still being typed."""

    @property
    def words(self) -> tuple[QueryWord, ...]:
        """The words of the query."""
        return text_hits.words_of(self.query, self.meta)

    def bodies(self, server: Server, quantisation: Quantisation) -> list[dict[str, Any]]:
        """Return the bodies of ``_search``: the first finds entries, the others count entries with texts and with each
        word.

        Separate queries are counted without visiting each entry, and the server caches the counts until the index
        changes. An aggregation, which leaves out nested images, would visit all entries.
        """
        words = self.words
        if not words:
            return [self._body({"match_none": {}})]
        every = [{"exists": {"field": WORDS}}, *map(self._has, words)]
        return [self._found(words), *(self._body(each) | {"track_total_hits": True} for each in every)]

    def _body(self, query: Mapping[str, Any]) -> dict[str, Any]:
        return {"size": 0, "track_total_hits": False, "query": query}

    def _found(self, words: Sequence[QueryWord]) -> dict[str, Any]:
        clauses = filter_clauses(self.filters)
        near = self._weighted(words) if self.counts else [self._near(word) for word in words]
        heads = [number for number in self.query.heads or range(len(words)) if number < len(words)]
        query = {
            "bool": {
                **clauses,
                "must": [{"bool": {"should": [near[number] for number in heads], "minimum_should_match": 1}}],
                "should": [*(each for number, each in enumerate(near) if number not in heads), *self._whole()],
            }
        }
        return self._body(query) | {
            "size": self.size,
            "sort": [{"_score": "desc"}, {"key": "asc"}],
            **fetched(self.query, self.by_column, texts=True),
            CACHED: True,
        }

    def _whole(self) -> list[dict[str, Any]]:
        """Return a query that ranks entries first that have all words in one short field.

        It uses the fields of the largest weight, as the score does (:meth:`~imagesim.indexes.text.TextIndex.match`).
        """
        text = self.query.text[:MAX_QUERY].encode(errors="replace").decode()
        fields = [f"texts.{name}^{self.meta.texts[name].weight:g}" for name in text_hits.main_texts(self.meta)]
        boost = AMONG_WEIGHTED if self.counts else 1
        return [{"multi_match": {"query": text, "fields": fields, "tie_breaker": 0.3, "boost": boost}}]

    def _weighted(self, words: Sequence[QueryWord]) -> list[dict[str, Any]]:
        """Return, for each word, a query for the entries that :meth:`_near` finds, which scores about as
        :class:`~imagesim.indexes.text.TextIndex` does."""
        total, *counts = self.counts
        shades = shades_of(words, self.query.colours)
        weights = (
            word_weight(word, total, known, shade=number in shades, spelled=self.query.spelled)
            for number, (word, known) in enumerate(zip(words, counts, strict=True))
        )
        return [
            {
                "dis_max": {
                    "queries": [_constant(query, weight * quality) for query, quality in self._qualities(word, known)]
                }
            }
            for word, known, weight in zip(words, counts, weights, strict=True)
        ]

    def _qualities(self, word: QueryWord, known: int) -> Iterator[tuple[dict[str, Any], float]]:
        """Yield the ways to match a word that ``known`` entries contain, each with the quality of the match."""
        typed, typing, is_kana = word.word, self.query.typing and word.last, kana.is_word(word.word)
        factor = SPELLED if typed in self.query.spelled else 1.0
        other = KNOWN_WORD if known else 1.0
        similar = self._similar(word)
        error, longer = other * factor * FUZZY[1], other * (TYPING if typing else factor * LONGER)
        yield self._has(word), ELSEWHERE
        for name in text_hits.main_texts(self.meta):
            if is_kana:
                stands = {"match_phrase": {f"texts.{name}": typed}}
                yield stands, longer
                yield {"bool": {"filter": [stands, self._has(word)]}}, 1.0
            else:
                yield {"match": {f"texts.{name}": typed}}, 1.0
        main = () if is_kana else text_hits.main_texts(self.meta)  # these hold pairs of kana
        for field, place in ((WORDS, ELSEWHERE), *((f"texts.{name}", 1.0) for name in main)):
            yield {"match": {field: similar}}, place * error
            if text_hits.finds_longer(word, self.query):
                yield {"prefix": {field: {"value": typed}}}, place * longer
        yield from ((query, ELSEWHERE * error) for query in self._near_stems(word) if not known)
        for begun in begun_codes(word.joined, word.code):
            yield {"prefix": {WORDS: {"value": begun}}}, ELSEWHERE * longer
        compound = COMPOUND * (known_part(word, self.query.in_compounds) if known else 1.0)
        for part in sorted(word.endings):
            yield {"prefix": {f"{WORDS}.reversed": {"value": part[::-1]}}}, ELSEWHERE * compound

    def _similar(self, word: QueryWord) -> dict[str, Any]:
        """Return the word with as many typing errors as it may have, but none in its first letter."""
        return {"query": word.word, "fuzziness": self._fuzziness(word), "prefix_length": 1}

    def _fuzziness(self, word: QueryWord) -> str:
        """Return how many typing errors the word may have."""
        most = most_errors(word.word)
        if kana.is_word(word.word) or not most:
            return str(most)
        # Two errors in a word that is spelled correctly count for nothing.
        return f"AUTO:3,{MAX_WORD + 1 if word.word in self.query.spelled else TWO_ERRORS}"

    def _near_stems(self, word: QueryWord) -> list[dict[str, Any]]:
        """Return queries for stems that differ from that of a misspelled word by one typing error."""
        if word.word in self.query.spelled or not most_errors(word.word):
            return []
        forms = {
            (language, form)
            for language, stem in word.stems.items()
            for form in (word.word, stem)
            if len(form) >= SHORTEST
        }
        return [
            {"fuzzy": {STEMS: {"value": stem_key(*each), "fuzziness": 1, "prefix_length": len(each[0]) + 2}}}
            for each in sorted(forms)
        ]

    def _has(self, word: QueryWord) -> dict[str, Any]:
        """Return a query for the entries that contain the word or its stem."""
        return {"bool": {"should": [*({"term": {WORDS: spelling}} for spelling, _ in word.spellings), *_stems(word)]}}

    def _near(self, word: QueryWord) -> dict[str, Any]:
        """Return a query for the entries with the word, a similarly spelled word, or one that begins or ends with it.

        It asks no field twice for the same entries: an entry with the word has its stem, too, and :meth:`_whole` ranks
        by where the word is.
        """
        near: list[dict[str, Any]] = [
            {"match": {WORDS: self._similar(word)}},
            *({"term": {WORDS: {"value": spelling, "boost": 3}}} for spelling, stems in word.spellings if not stems),
            *_stems(word),
            *self._near_stems(word),
        ]
        if text_hits.finds_longer(word, self.query):
            near.append({"prefix": {WORDS: {"value": word.word}}})
        if kana.is_word(word.word):
            fields = [f"texts.{name}" for name in self.meta.texts]
            within = {"multi_match": {"query": word.word, "fields": fields, "type": "phrase"}}
            near.append({"constant_score": {"filter": within, "boost": WITHIN}})
        near += [{"prefix": {WORDS: {"value": begun}}} for begun in begun_codes(word.joined, word.code)]
        near += [
            {"prefix": {f"{WORDS}.reversed": {"value": part[::-1], "boost": _boost(part)}}}
            for part in sorted(word.endings)
        ]
        return {"dis_max": {"queries": near}}

    def follow_up(self, answer: Mapping[str, Any], *counts: Mapping[str, Any]) -> CompiledText | None:
        """Return the query to ask instead of this one if its answer does not suffice for the page, otherwise None."""
        hits = answer["hits"].get("hits", ())
        if any(map(lacks_column, hits)):
            return replace(self, by_column=False)
        numbers = _numbers(counts)
        unknown = any(map(self._may_be_similar, self.words, numbers[1:]))
        to_weight = not self.counts and len(hits) >= self.size and unknown
        groups = {group if self.query.collapse else key for key, group in map(name_of, hits)}
        lacks = text_hits.may_lack(len(hits), len(groups), self.size, self.query)
        if not (to_weight or lacks):
            return None
        size = MAX_TEXT_MATCHES if lacks else self.size
        return replace(self, size=size, counts=numbers if to_weight else self.counts)

    def _may_be_similar(self, word: QueryWord, known: int) -> bool:
        """Return whether a word that no text has is a misspelling, or still being typed; a number that no text has is
        another number."""
        return not known and not (has_digit(word.word) and not (self.query.typing and word.last))

    def passing(self, *_answers: Mapping[str, Any]) -> None:
        """Return None: it is not known how many entries satisfy the filters, because those without the words are not
        counted."""

    def parse(self, answer: Mapping[str, Any], *counts: Mapping[str, Any]) -> Candidates:
        """Return the candidates of the answers."""
        hits = answer["hits"].get("hits", [])

        def made(position: int, score: float, head: float) -> Candidate:
            return candidate(hits[position], self.query, self.meta.filters, text=score, head=head)

        page, more = text_hits.page(self._scored(hits, counts), [*map(name_of, hits)], self.query, made)
        return Candidates(page, more=more, took_ms=float(answer["took"]), exact=len(hits) < self.size)

    def _scored(
        self, hits: Sequence[Mapping[str, Any]], counts: Sequence[Mapping[str, Any]]
    ) -> list[tuple[int, float, float]]:
        if not hits:
            return []
        total, *frequencies = _numbers(counts)
        words = [word.word for word in self.words]
        return text_hits.known_texts(self.meta).scores(
            map(stored_texts, hits),
            self.query,
            total=total,
            frequencies=dict(zip(words, frequencies, strict=True)),
            unpack=unpack,
        )


def _constant(query: Mapping[str, Any], score: float) -> dict[str, Any]:
    """Return a query that gives all its matches the same score, which must not be 0."""
    return {"constant_score": {"filter": query, "boost": max(score, 1e-6)}}


def _numbers(counts: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Return the numbers of entries that the server counted."""
    return tuple(int(each["hits"]["total"]["value"]) for each in counts)


def _boost(part: str) -> int:
    """Return the weight of what ends with a word. Most words that end with a short one are not compounds: "Kreis" ends
    with "Eis"."""
    return COMPOUND_BOOST if len(part) >= SHORTEST_PART or kana.is_word(part) else 1


def _stems(word: QueryWord) -> list[dict[str, Any]]:
    """Return a query for the stem of the word in each language."""
    return [{"term": {STEMS: {"value": stem, "boost": 3}}} for stem in text_hits.stem_keys(word)]
