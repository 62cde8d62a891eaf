"""Words of one language that are taken for forms of a word of another."""

from __future__ import annotations

import pytest

import imagesim
from imagesim.language.analysis import analyse
from imagesim.language.query_words import foreign_to, query_words
from imagesim.language.stem_collisions import stem_collisions
from tests.shop import picture, product, sync_and_calibrate


def collisions(**texts: str) -> dict[str, set[str]]:
    written = {language: set(analyse(text, language)) for language, text in texts.items()}
    return {language: set(stems) for language, stems in stem_collisions(written).items()}


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ({"en": "table", "de": "Tablet"}, {"de": {"en:tabl"}}),
        ({"en": "tables", "de": "Tablet Tisch"}, {"de": {"en:tabl"}}),
        ({"en": "table", "de": "Tablet Table"}, {}),  # a word of both languages
        ({"en": "lamp", "de": "Lampe"}, {}),  # the same word
        ({"en": "chair", "de": "Stuhl"}, {}),
        ({"en": "table"}, {}),
        ({"en": "planter plants", "de": ""}, {"de": {"en:planter"}}),
        ({"en": "planter plants", "de": "Planter"}, {"de": {"en:plant"}}),
        ({"en": "lamp lamps", "de": ""}, {}),
        ({}, {}),
    ],
)
def test_stems_that_mislead(texts, found):
    assert collisions(**texts) == found


@pytest.mark.parametrize(
    ("text", "spoken", "foreign"),
    [
        ("oak table", "en", {("table", "de")}),
        ("tables", "fr", {("tables", "de")}),
        ("table", "de", set()),  # a visitor who reads German may mean the German word
        ("tablet", "en", set()),
        ("Tisch", "en", set()),
    ],
)
def test_words_that_are_foreign_to_a_language(text, spoken, foreign):
    words = query_words(text, ["en", "de"])
    assert foreign_to(words, {"de": frozenset({"en:tabl"})}, spoken) == foreign
    for word in query_words(text, ["en", "de"], foreign):
        assert ("de" in word.stems) == ((word.word, "de") not in foreign)


@pytest.mark.slow
@pytest.mark.django_db
def test_a_table_is_no_tablet():
    """ "Tables" must not show tablets as certainly as tables."""
    for number in range(2):
        product(f"Oak table {number}", picture("brown"), category="furniture")
        product(f"Tablet {number}", picture("black"), category="computers", name_de=f"Tablet {number}")
    sync_and_calibrate()
    found = {hit.item.name: hit.relevance for hit in imagesim.search(text="tables", min_relevance=0)}
    assert found["Oak table 0"] > 0.95
    assert found["Tablet 0"] < 0.9
