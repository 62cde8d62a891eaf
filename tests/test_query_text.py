"""The text of a query, read with the words of a catalogue."""

from __future__ import annotations

import pytest

from imagesim.retrieval import query_text
from imagesim.word_roles import Roles

ROLES = Roles(
    {"stuhl": ("chairs",), "schuh": ("shoes",), "hand": ("hands",)},
    frozenset({"red", "rot"}),
    things=frozenset({"skateboard", "basketbal", "basket", "ball", "schreibtischstuhl"}),
)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("skate board", "skateboard"),
        ("a red Skate boards ", "a red Skateboards"),
        ("basket ball", "basket ball"),  # the catalogue has both, too
        ("skate boar d", "skate boar d"),
        ("", ""),
    ],
)
def test_words_are_joined_that_the_catalogue_writes_as_one(typed, asked):
    assert query_text.joined(typed, ROLES, ["en"]) == asked


@pytest.mark.parametrize(
    ("typed", "endings"),
    [
        ("rote Bürostühle", "stuhle"),
        ("Bürostühle Gartenstuhl", "stuhle stuhl"),
        ("Jagdschuhe", "schuhe"),
        (f"{'x' * 40}stuhl", ""),
        ("Schreibtischstuhl", ""),  # the catalogue has it
        ("Schreibtischstuhk", ""),  # and this is a misspelling
        ("Kuhstuhl", "stuhl"),
        ("Ostuhl", ""),  # too little before it
        ("Faltstuhlkissen", ""),
        ("kurzhand", "hand"),
        ("clockhands", "hands"),
        ("shorthand", ""),  # spelled correctly, so that the model knows what it means
    ],
)
def test_a_compound_that_the_catalogue_lacks_ends_with_a_kind(typed, endings):
    found = query_text.read(typed, ROLES, ["de"], {"shorthand"}.__contains__)
    assert found.endings == endings
