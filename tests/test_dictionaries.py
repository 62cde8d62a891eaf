"""Words that are spelled correctly, by the dictionaries of the extra ``spelling``."""

from __future__ import annotations

import sys

import pytest
from django.utils import translation

from imagesim.language import dictionaries
from imagesim.language.dictionaries import in_dictionary
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words.reader import QueryReader
from tests.shop import picture, product, sync_and_calibrate


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dictionaries that this process has read are kept: each takes up to a second."""
    monkeypatch.setitem(sys.modules, "spellchecker", None)
    monkeypatch.setattr(dictionaries, "_hashes", dictionaries._hashes.__wrapped__)


@pytest.mark.parametrize(
    ("word", "language", "found"),
    [
        ("fisch", "de", True),
        ("stuhle", "de", True),  # "Stühle" without its accent
        ("fihsc", "de", False),
        ("plante", "fr", True),
        ("chainsaw", "en", True),
        ("fisch", "en", False),
        ("fisch", "xx", False),
        ("", "de", False),
    ],
)
def test_words_of_languages(word: str, language: str, found: bool) -> None:
    assert in_dictionary(word, language) is found


@pytest.mark.usefixtures("without_package")
def test_without_the_package_no_word_is_known() -> None:
    assert not in_dictionary("fisch", "de")


@pytest.mark.parametrize(
    ("languages", "spoken", "spelled"),
    [
        (["de"], "de", True),
        (["de"], "en", True),  # a shop without texts in the language of the page
        (["en", "de"], "de", True),
        (["en", "de"], "en", False),  # a visitor who types English makes errors that are words of other languages
    ],
)
def test_the_language_of_the_page_tells_what_is_spelled_correctly(
    languages: list[str], spoken: str, spelled: bool
) -> None:
    text = QueryReader(Roles(), languages, lambda _word: False, spoken).read_text("Waches")
    assert ("waches" in text.spelled) is spelled


@pytest.mark.django_db
def test_a_correct_word_finds_nothing_spelled_alike() -> None:
    """ "Fisch" must not show tables ("Tisch")."""
    import imagesim

    product("Oak", picture("brown"), category="furniture", name_de="Tisch aus Eiche")
    product("Lamp", picture("gray"), category="lamps", name_de="Lampe")
    sync_and_calibrate()
    with translation.override("de"):
        assert len(imagesim.search(text="Fisch", min_relevance=0.4)) == 0
        assert [hit.item.name for hit in imagesim.search(text="Tsich", min_relevance=0.4)] == ["Oak"]
