"""The part of the contract of an index that concerns words."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from imagesim.indexes import BaseIndex
from imagesim.indexes.text import TextIndex
from imagesim.testing.index_samples import META, IndexFixtures, axis, entry
from imagesim.types import Candidate, Condition, Entry, Filters, Query, Removal, TextSpec

TEXT_META = replace(
    META,
    texts={
        "name": TextSpec(3.0, "en"),
        "name_de": TextSpec(3.0, "de"),
        "brand__name": TextSpec(2.0, "en"),
        "category__name": TextSpec(2.0, "en", category=True),
        "description": TextSpec(1.0, "en"),
    },
)


def described(
    pk: int, name: str, german: str = "", brand: str = "", description: str = "", category: str = "", **kwargs: Any
) -> Entry:
    """Return an entry with these texts."""
    texts = {"name": name, "name_de": german, "brand__name": brand, "category__name": category}
    texts["description"] = description
    return entry(pk, axis(pk % 16), texts={field: (text,) for field, text in texts.items() if text}, **kwargs)


SHELF = (
    described(1, "Banana Juice", "Bananensaft", "Saleor", "Ripe bananas, a squeeze of lemon.", categories=("juices",)),
    described(2, "Carrot Juice", "Karottensaft", "Saleor", "Sweet carrots with ginger.", categories=("juices",)),
    described(3, "Juice Press", "Saftpresse", "", "For bananas, carrots and oranges.", categories=("kitchen",)),
    described(4, "Featherweight Running Shoe", "Leichter Laufschuh", "Nike", filters={"price": 120, "colour": "red"}),
    described(5, "City Running Shoe", "Laufschuh für die Stadt", "Adidas", filters={"price": 60, "colour": "blue"}),
    described(6, "T-shirt, washed red", "T-Shirt, verwaschenes Rot", "Café Noir", group="tee"),
    described(7, "T-shirt, washed blue", "T-Shirt, verwaschenes Blau", "Café Noir", group="tee"),
    described(8, "Garden Chair", "Gartenstuhl", in_stock=False),
    entry(9, axis(9)),
)

ANSWERS = [
    ("banana juice", ["1", "3", "2"]),
    ("bananna juice", ["1"]),
    ("juice bananas", ["1"]),
    ("bananensaft", ["1"]),
    ("running shoes", ["4", "5"]),
    ("laufschuhe", ["4", "5"]),
    ("schuhe", ["4", "5"]),
    ("nike running shoe", ["4"]),
    ("nkie", ["4"]),
    ("tshirt blue", ["7"]),
    ("bananen saft", ["1"]),
    ("cafe noir", ["6"]),
    ("chairs", ["8"]),
    ("squeeze lemon", ["1"]),
]
"""Queries, each with the first entries of its answer, in order."""

LOOKS = ("Light", "Featherweight", "Classic", "Waterproof", "Soft", "Washed", "Organic")
KINDS = (("Running Shoe", "Laufschuh"), ("Garden Chair", "Gartenstuhl"), ("Rain Jacket", "Regenjacke"))
TONES = (("red", "rot"), ("blue", "blau"), ("green", "grün"), ("white", "weiß"), ("black", "schwarz"))
SHOWROOM = [
    described(
        n,
        f"{LOOKS[n % 7]} {TONES[n % 5][0] if n % 4 else ''} {KINDS[n % 3][0]} {'for kids' if n % 11 == 0 else ''}",
        f"{KINDS[n % 3][1]} {TONES[n % 5][1]}" if n % 2 else "",
        ("Nike", "Café Noir", "")[n % 13 % 3],
        f"A {TONES[n % 6 % 5][0]} companion of {KINDS[n % 8 % 3][0].lower()}s since {1950 + n % 70}." if n % 3 else "",
        ("Shoes & chairs", "Jackets", "")[n % 7 % 3],
        in_stock=bool(n % 9),
        group=f"shop.product:{n - n % 3}" if n % 5 == 0 else "",
    )
    for n in range(30, 900)
]
"""Many entries with similar names."""
SHOWROOM_QUERIES = (
    *("running shoe", "runing shoe", "shoe running", "running shoes", "laufschuhe", "schuhe", "green shoe"),
    *("schuh grün", "light red running shoe", "featherweigt jacket", "nike shoe", "cafe noir", "organic kids"),
    *("gartenstühle blau", "washed", "waterproof rain jacket for kids", "rain jacket", "chair black", "1984"),
    *("shoes and chairs", "cheap jackets", "what chairs do you have", "sale"),
    *("feather weight shoe", "garten stühle", "rain proof jacket"),
)


class TextContract(IndexFixtures):
    @pytest.fixture
    def shelf(self, index: BaseIndex) -> BaseIndex:
        index.promote(index.create(TEXT_META))
        assert {result.status for result in index.write(SHELF)} == {"done"}
        index.refresh()
        return index

    def test_the_fields_are_stored_with_the_index(self, shelf: BaseIndex) -> None:
        assert shelf.meta().texts == TEXT_META.texts

    def test_words_find_matching_texts(self, shelf: BaseIndex) -> None:
        for text, first in ANSWERS:
            found = answer(shelf, text)
            assert [candidate.key.partition(":")[2] for candidate in found][: len(first)] == first, text
            assert all(0 < candidate.text <= 1 for candidate in found)
            assert [candidate.text for candidate in found] == sorted((each.text for each in found), reverse=True)

    def test_other_words_find_nothing(self, shelf: BaseIndex) -> None:
        for text in ("asdfghjkl qwerty", "fro wiht", "\N{PILE OF POO}", "!?"):
            assert answer(shelf, text) == ()

    def test_the_whole_name_is_a_whole_match(self, shelf: BaseIndex) -> None:
        assert answer(shelf, "banana juice")[0].text == pytest.approx(1.0)
        assert answer(shelf, "banana juice")[1].text < 0.8

    def test_prefixes(self, shelf: BaseIndex) -> None:
        [found] = shelf.search([Query(axis(0), text="garden ch", typing=True)])
        assert found.candidates[0].key == "shop.product:8"

    def test_required_words(self, shelf: BaseIndex) -> None:
        """An entry must have at least one of the heads; the other words add to the match."""
        assert len(answer(shelf, "red washed juice")) > 3
        assert {each.key for each in answer(shelf, "red washed juice", heads=(2,))} == {
            f"shop.product:{number}" for number in (1, 2, 3)
        }
        assert [each.key for each in answer(shelf, "juice banana", heads=(1,))] == ["shop.product:1", "shop.product:3"]
        either = {each.key for each in answer(shelf, "bannana chairs", heads=(0, 1))}
        assert either >= {"shop.product:8", "shop.product:1"}
        assert answer(shelf, "juice umbrella", heads=(1,)) == ()
        [juice, *_] = answer(shelf, "red banana juice", heads=(2,))
        assert juice.text < 0.8 < juice.head
        assert all(each.head >= each.text for each in answer(shelf, "banana juice"))
        assert answer(shelf, "juice", heads=(1,)) == ()
        assert answer(shelf, "juice", heads=(0, 1)) == answer(shelf, "juice")

    def test_words_that_are_spelled_correctly(self, shelf: BaseIndex) -> None:
        """They match other words less than a misspelling does: "chain" is not "chair", nor is "run" "running"."""
        for text in ("chain", "runn"):
            misspelled, correct = answer(shelf, text)[0], answer(shelf, text, spelled=frozenset({text}))[0]
            assert misspelled.key == correct.key
            assert correct.text < 0.5 < misspelled.text
        assert answer(shelf, "chairs", spelled=frozenset({"chairs"}))[0].text > 0.9

    def test_the_first_letter_is_no_typing_error(self, shelf: BaseIndex) -> None:
        assert answer(shelf, "cheir")[0].key == "shop.product:8"
        for text in ("hair", "thair", "achair", "hcair"):
            assert answer(shelf, text) == ()

    def test_another_number_of_a_misspelled_word(self, index: BaseIndex) -> None:
        """ "Lipstik" found no lipsticks, and "Matraze" no "Matratzen": from the plural they differ by two letters."""
        index.promote(index.create(TEXT_META))
        index.write([described(1, "Lipsticks"), described(2, "Mattresses", "Matratzen"), described(3, "Slips")])
        index.refresh()
        for text, key in (("lipstik", "shop.product:1"), ("matraze", "shop.product:2")):
            assert [each.key for each in answer(index, text)] == [key]
            assert answer(index, text, spelled=frozenset({text})) == ()

    def test_filters_groups_and_pages(self, shelf: BaseIndex) -> None:
        cheap = Filters(conditions=(Condition("price", "lt", 100),))
        assert [each.key for each in answer(shelf, "running shoe", filters=cheap)] == ["shop.product:5"]
        assert [each.key for each in answer(shelf, "juice", filters=Filters(categories=("kitchen",)))] == [
            "shop.product:3"
        ]
        assert answer(shelf, "chair", filters=Filters(in_stock=True)) == ()
        assert len(answer(shelf, "washed tshirt")) == 1
        assert len(answer(shelf, "washed tshirt", collapse=False)) == 2
        pages = [shelf.search([Query(axis(0), text="juice", limit=1, offset=offset)])[0] for offset in range(3)]
        assert [page.more for page in pages] == [True, True, False]
        assert len({page.candidates[0].key for page in pages}) == 3

    def test_words_and_vectors_in_one_call(self, shelf: BaseIndex) -> None:
        by_words, by_vector = shelf.search([Query(axis(0), text="chair"), Query(axis(9))])
        assert by_words.candidates[0].key == "shop.product:8"
        assert by_vector.candidates[0].key == "shop.product:9"
        assert by_vector.candidates[0].text == 0
        assert by_words.candidates[0].image_name == "photos/8-0.jpg"

    def test_categories_of_candidates(self, shelf: BaseIndex) -> None:
        [near] = shelf.search([Query(axis(1), limit=1)])
        assert near.candidates[0].categories == ("juices",)
        assert answer(shelf, "banana juice")[0].categories == ("juices",)

    def test_texts_follow_changes(self, shelf: BaseIndex) -> None:
        changed = described(8, "Camping Stool", "Hocker")
        results = shelf.write([replace(changed, version=2), Removal("shop.product:1", 2)])
        assert {result.status for result in results} == {"done"}
        shelf.refresh()
        assert answer(shelf, "garden chair") == ()
        assert answer(shelf, "stools")[0].key == "shop.product:8"
        assert "shop.product:1" not in [each.key for each in answer(shelf, "banana juice")]

    def test_unusual_texts(self, shelf: BaseIndex) -> None:
        odd = [described(20, "\ud800 half a surrogate"), described(21, "x" * 50_000), described(22, "nul\0nul")]
        hyphens = "-".join(["hyphenated"] * 300)
        odd.append(described(23, hyphens))
        many = [" ".join(f"-word{n}x{i}" for i in range(400)) for n in range(120)]
        fields = {name: tuple(text.replace("-", name) for text in many) for name in TEXT_META.texts}
        odd.append(entry(24, axis(8), texts=fields))
        assert {result.status for result in shelf.write(odd)} == {"done"}
        shelf.refresh()
        assert [each.key for each in answer(shelf, "hyphenated")] == ["shop.product:23"]
        assert [each.key for each in answer(shelf, "nameword0x5")] == ["shop.product:24"]
        for text in (
            "surrogate",
            hyphens,
            "\ud800",
            "x" * 400,
            '"*:{}[]',
            "OR AND NOT",
            "a" * 33_000,
        ):
            answer(shelf, text)

    def test_every_index_gives_one_ranking(self, index: BaseIndex) -> None:
        """The ranking equals that of a :class:`TextIndex` of all entries, with the same scores."""
        index.promote(index.create(TEXT_META))
        without = [entry(n, axis(0)) for n in range(1000, 1200)]  # must not make a word rarer
        assert {result.status for result in index.write([*SHOWROOM, *without])} == {"done"}
        index.refresh()
        reference = TextIndex(TEXT_META.texts)
        for slot, each in enumerate(SHOWROOM):
            reference.set(slot, each.texts)
        in_stock = np.array([each.in_stock for each in SHOWROOM])
        for text in SHOWROOM_QUERIES:
            for typing in (False, True):
                for filters, mask, heads, spelled in (
                    (Filters(), None, (), ()),
                    (Filters(in_stock=True), in_stock, (), ()),
                    (Filters(), None, (0,), text.split()),
                ):
                    asked: Any = {"heads": heads, "spelled": frozenset(spelled)}
                    matches = reference.match(Query(axis(0), text=text, typing=typing, **asked), mask=mask)
                    scored = zip(matches.slots.tolist(), matches.scores.tolist(), strict=True)
                    expected = sorted((-round(score, 6), SHOWROOM[slot].key) for slot, score in scored)[:10]
                    slots = matches.slots.tolist()
                    of_heads = dict(zip((SHOWROOM[slot].key for slot in slots), matches.heads_of(slots), strict=True))
                    found = answer(index, text, typing=typing, filters=filters, collapse=False, limit=10, **asked)
                    assert [each.key for each in found] == [key for _, key in expected], (text, typing)
                    assert [each.text for each in found] == pytest.approx([-score for score, _ in expected], abs=1e-5)
                    heads_found = [each.head for each in found]
                    assert heads_found == pytest.approx([of_heads[each.key] for each in found], abs=1e-5)

    def test_a_colour_of_its_own_outweighs_a_mention_of_another(self, index: BaseIndex) -> None:
        texts = {**TEXT_META.texts, "colour:en": TextSpec(2.0, "en", colours=True)}
        index.promote(index.create(replace(TEXT_META, texts=texts)))
        assert index.meta().texts == texts
        shoes = [described(n, "Canvas shoe", description="A shoe with a white sole.") for n in range(40, 43)]
        colours: list[dict[str, tuple[str, ...]]] = [{"colour:en": ("white",)}, {"colour:en": ("black",)}, {}]
        index.write([replace(e, texts={**e.texts, **own}) for e, own in zip(shoes, colours, strict=True)])
        index.refresh()
        for text, colour in (("white shoe", 0), ("light white shoe", 1), ("shoe, white", 1)):
            found = answer(index, text, colours=(colour,))
            assert [each.key.partition(":")[2] for each in found] == ["40", "42", "41"], text
        assert len(answer(index, "white", colours=(0,))) == 2

    def test_a_compound_with_a_word_that_names_no_category(self, index: BaseIndex) -> None:
        """ "Lachs" (salmon) asks for "Räucherlachs", although cat food has the word itself."""
        index.promote(index.create(TEXT_META))
        names = [("Cat food", "Nassfutter Lachs"), ("Smoked salmon", "Räucherlachs")]
        index.write([described(n, *each) for n, each in enumerate(names, 50)])
        index.refresh()
        for asked, weaker in (({}, True), ({"in_compounds": frozenset({"lachs"})}, False)):
            found = {each.key: each.text for each in answer(index, "lachs", **asked)}
            assert (found["shop.product:51"] < 0.5) == weaker
            assert found["shop.product:51"] < found["shop.product:50"]

    def test_a_word_is_found_among_many_that_look_like_it(self, index: BaseIndex) -> None:
        index.promote(index.create(TEXT_META))
        others = ["".join(letters) for size in (5, 6) for letters in permutations("garnet", size)]
        index.write([described(n, " ".join(others[start : start + 60])) for n, start in enumerate(range(0, 1440, 60))])
        index.write([described(99, "Garnets"), described(98, "Mountain")])
        index.refresh()
        for text in ("garnets", "grnets", "mountain garnets"):
            assert "shop.product:99" in [each.key for each in answer(index, text)[:2]], text

    def test_variants_do_not_crowd_out_other_groups(self, index: BaseIndex) -> None:
        index.promote(index.create(TEXT_META))
        index.write([described(n, "Lamp", group="shop.product:lamp") for n in range(300)])
        index.write([described(300 + n, f"Lamp of the {n}th kind") for n in range(5)])
        index.refresh()
        assert len(answer(index, "lamp")) == 6

    def test_a_whole_name_comes_first_among_many(self, index: BaseIndex) -> None:
        index.promote(index.create(TEXT_META))
        index.write([described(n, f"Pine shelf for the desk lamp, number {n}", brand="Lamp") for n in range(250)])
        index.write([described(999, "Desk lamp")])
        index.refresh()
        assert answer(index, "desk lamp")[0].key == "shop.product:999"
        assert answer(index, "lmap desk")[0].key == "shop.product:999"

    @pytest.mark.parametrize(("text", "typing"), [("book shelf class", True), ("book shelf clasic", False)])
    def test_a_word_that_no_text_has_counts_among_many_matches_of_the_others(
        self, index: BaseIndex, text: str, typing: bool
    ) -> None:
        """A misspelled word, or one still being typed, is the rarest of the query."""
        index.promote(index.create(TEXT_META))
        long = "Classic book shelf of solid oak for a hall or a living room"
        index.write([described(n, "Book shelf" if n % 4 == 0 else "Desk lamp") for n in range(1_000)])
        index.write([described(n, long) for n in range(1_000, 1_040)])
        index.refresh()
        found = [each.key for each in answer(index, text, typing=typing, limit=5)]
        assert found == [f"shop.product:{n}" for n in range(1_000, 1_005)]

    def test_an_index_without_texts_finds_no_words(self, index: BaseIndex) -> None:
        index.promote(index.create(META))
        index.write([entry(1, axis(1), texts={"name": ("Lamp",)})])
        index.refresh()
        assert answer(index, "lamp") == ()


def answer(index: BaseIndex, text: str, **options: Any) -> tuple[Candidate, ...]:
    [found] = index.search([Query(axis(0), text=text, **options)])
    return found.candidates
