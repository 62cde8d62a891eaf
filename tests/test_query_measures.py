"""Measures, amounts and words of pointing in a query, which say nothing of what is sought."""

from __future__ import annotations

import pytest

from imagesim.language.query_words import query_words
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words.reader import QueryReader

WORDS = {"sofas", "shelf", "lamp", "wide", "size", "medium", "mattress", "similar"}


def about(typed: str, language: str) -> set[str]:
    """Return the words that say what a number measures, or how exactly."""
    return {word.word for word in query_words(typed, (language,)) if word.before_amount}


@pytest.mark.parametrize(
    ("typed", "language", "expected"),
    [
        ("sofa 80 cm wide", "en", {"wide"}),
        ("shelf 80cm high", "en", {"high"}),
        ("table at least 2,5 metres long", "en", {"least", "long"}),
        ("shelf height 90", "en", {"height"}),
        ("backpack up to 20 litres", "en", {"up"}),
        ("Regal max. 80 cm breit", "de", {"max", "breit"}),
        ("Regal Höhe 90", "de", {"hohe"}),
        ("étagère de 80 cm de large", "fr", {"large"}),
        ("estantería 80 cm de ancho", "es", {"ancho"}),
        ("scaffale largo 80 cm", "it", {"largo"}),
        ("kast 80 cm breed", "nl", {"breed"}),
        ("szafka szerokość 80 cm", "pl", {"szerokosc"}),
        ("estante com 80 cm de altura", "pt", {"altura"}),
        ("air max 90", "en", set()),
        ("phone pro max 256 gb", "en", set()),
        ("1 kg long grain rice", "en", set()),
        ("high chair", "en", set()),
        ("volume 2", "en", set()),
        ("height 90 cm", "en", set()),  # there is nothing else
    ],
)
def test_words_beside_a_number_that_say_what_it_measures(typed, language, expected):
    """ "Sofa 80 cm wide" must show sofas, and not nothing, or a wide-angle lens."""
    assert about(typed, language) == expected


@pytest.mark.parametrize("typed", ["sofas 80 cm wide", "sofas max 80 cm", "sofas 80 cm"])
def test_a_number_with_its_unit_is_not_sought(typed):
    """Even in a shop where sandpaper is called by its number, and a lens by its angle."""
    roles = Roles({"sofa": ("sofas",), "80": ("sandpaper",), "wide": ("lenses",)}, things=frozenset({"wide", "80"}))
    reading = QueryReader(roles, ["en"], WORDS.__contains__, "en").read_query(typed, ())
    assert reading.texts.own.categories == {"sofas"}


@pytest.mark.parametrize(
    ("typed", "language", "filler"),
    [
        ("sofas size medium", "en", "medium"),
        ("robe taille unique", "fr", "unique"),
        ("similar sofas", "en", "similar"),
        ("other sofas", "en", "other"),
        ("sofas pls", "en", "pls"),
        ("hey sofas", "en", "hey"),
        ("ähnliches Sofa", "de", "ahnliches"),
        ("andere Sofas", "de", "andere"),
        ("Sofa dringend", "de", "dringend"),
        ("autres canapés", "fr", "autres"),
        ("otros vestidos", "es", "otros"),
        ("riso simile", "it", "simile"),
        ("vergelijkbare hamers", "nl", "vergelijkbare"),
        ("podobne kubki", "pl", "podobne"),
        ("outros tapetes", "pt", "outros"),
    ],
)
def test_words_that_ask_for_nothing(typed, language, filler):
    assert filler in {word.word for word in query_words(typed, (language,)) if word.filler}


def test_a_size_in_words_is_one_only_after_a_word_for_sizes():
    assert not any(word.filler for word in query_words("medium sofas", ("en",)))


@pytest.mark.parametrize(
    ("typed", "language", "number"),
    [
        ("zwei Sofas", "de", "zwei"),
        ("deux canapés", "fr", "deux"),
        ("dois tapetes", "pt", "dois"),
        ("dwie", "pl", "dwie"),
    ],
)
def test_numbers_in_words_are_not_sought(typed, language, number):
    """ "Dois tapetes" (two rugs) must not show a corkscrew with two arms ("dois braços")."""
    assert [word.word for word in query_words(typed, (language,)) if word.number] == [number]


@pytest.mark.parametrize("typed", ["sofas or similar", "hey, sofas"])
def test_words_that_ask_for_nothing_are_not_missing(typed):
    """The page must not say “Nothing here is called “similar”.”"""
    roles = Roles({"sofa": ("sofas",)})
    reading = QueryReader(roles, ["en"], WORDS.__contains__, "en").read_query(typed, ())
    assert (reading.texts.own.categories, reading.lacking) == ({"sofas"}, ())
