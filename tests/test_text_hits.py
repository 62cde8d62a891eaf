"""Texts found by a search server: scored as in an index that holds all of them, and analysed once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from imagesim.indexes import text, text_hits
from imagesim.indexes.text import TextIndex
from imagesim.types import IndexMeta, Query, TextSpec

META = IndexMeta("model", 2, texts={"name": TextSpec(3), "category": TextSpec(2, category=True)})
TEXTS = [
    {"name": ["Oak writing desk"], "category": ["Sofas & tables"]},
    {"name": ["Bedside table"], "category": ["Sofas & tables"]},
    {"name": ["Bedside tabel"]},
    {"name": ["Wall paint"], "category": ["Paints"]},
]
FREQUENCIES = {"bedside": 2, "table": 2, "paint": 1, "desk": 1}


def asked(words: str) -> Query:
    return Query(np.zeros(2, np.float32), text=words, limit=10)


def scores(texts: list[dict[str, list[str]]], words: str) -> list[tuple[int, float, float]]:
    return text_hits.known_texts(META).scores(texts, asked(words), total=4, frequencies=FREQUENCIES)


def by_index(texts: list[dict[str, list[str]]], words: str) -> list[tuple[int, float, float]]:
    index = TextIndex(META.texts)
    for slot, each in enumerate(texts):
        index.set(slot, each)
    found = index.match(asked(words), total=4, frequencies=FREQUENCIES)
    matches = zip(*(part.tolist() for part in found), strict=True)
    return [(slot, round(score, 6), round(head, 6)) for slot, score, head in matches]


@pytest.fixture
def analysed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts that were analysed for entries since the last look."""
    seen: list[str] = []
    indexed = text.indexed

    def noted(value: str, language: str) -> Any:
        seen.append(value)
        return indexed(value, language)

    monkeypatch.setattr(text, "indexed", noted)
    return seen


@pytest.mark.parametrize("words", ["table", "bedside table", "desk", "paint", "sofa", "nothing"])
def test_scores_are_those_of_an_index_whatever_was_found_before(words: str) -> None:
    scores(TEXTS, "anything")
    assert scores(TEXTS[1:3], words) == by_index(TEXTS[1:3], words)
    assert scores(TEXTS, words) == by_index(TEXTS, words)


def test_what_is_found_again_is_not_analysed_again(analysed: list[str]) -> None:
    scores(TEXTS, "table")
    assert "Bedside table" in analysed
    analysed.clear()
    assert scores(TEXTS[:3], "bedside") == by_index(TEXTS[:3], "bedside")
    analysed.clear()
    scores(TEXTS, "desk")
    assert not analysed


def test_texts_as_they_are_stored_are_unpacked_once() -> None:
    unpacked: list[str] = []

    def unpack(stored: str) -> Any:
        unpacked.append(stored)
        return json.loads(stored)

    def found(words: str) -> list[tuple[int, float, float]]:
        stored = [*map(json.dumps, TEXTS[:2]), TEXTS[2], json.dumps(TEXTS[3])]
        return text_hits.known_texts(META).scores(stored, asked(words), total=4, frequencies=FREQUENCIES, unpack=unpack)

    assert found("bedside table") == by_index(TEXTS, "bedside table")
    assert len(unpacked) == 3
    assert found("paint") == by_index(TEXTS, "paint")
    assert len(unpacked) == 3


def test_a_changed_entry_is_another() -> None:
    scores(TEXTS, "table")
    changed = [TEXTS[0], {"name": ["Bedside lamp"], "category": ["Lamps"]}]
    assert [number for number, *_ in scores(changed, "lamp")] == [1]
    assert [number for number, *_ in scores(changed, "table")] == [0]


def test_entries_with_the_same_texts_are_all_scored() -> None:
    found = scores([TEXTS[3], TEXTS[1], TEXTS[1]], "bedside table")
    assert [number for number, *_ in found] == [1, 2]
    assert found[0][1:] == found[1][1:]


def test_an_order_of_fields_makes_no_other_entry(analysed: list[str]) -> None:
    scores(TEXTS[:1], "desk")
    analysed.clear()
    assert scores([dict(reversed(TEXTS[0].items()))], "desk") == scores(TEXTS[:1], "desk")
    assert not analysed


def test_only_so_many_characters_are_kept(monkeypatch: pytest.MonkeyPatch, analysed: list[str]) -> None:
    monkeypatch.setattr(text_hits, "MAX_CHARACTERS", 100)
    known = text_hits.KnownTexts(META.texts)
    for number in range(20):
        entry = {"name": [f"Table number {number}"]}
        assert known.scores([entry], asked("table"), total=4, frequencies=FREQUENCIES)
        assert len(known._slots) <= 10
    analysed.clear()
    known.scores([{"name": ["Table number 0"]}], asked("table"), total=4, frequencies=FREQUENCIES)
    assert analysed == ["Table number 0"]


def test_threads_get_their_own_scores() -> None:
    def one(number: int) -> bool:
        texts = [{"name": [f"Chair {number} {each}"]} for each in range(20)] + [{"name": [f"Stool {number}"]}]
        return [each for each, *_ in scores(texts, f"stool {number}") if each == 20] == [20]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(200)))
