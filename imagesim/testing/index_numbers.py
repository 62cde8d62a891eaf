"""The part of the contract of an index that concerns article and part numbers."""

from __future__ import annotations

from imagesim.indexes import BaseIndex
from imagesim.testing.index_samples import IndexFixtures, axis, entry
from imagesim.testing.index_text import TEXT_META, answer, described
from imagesim.types import Query

PARTS = (
    described(1, "Brake pads 0 986 714 727"),
    described(2, "Brake pads 0 986 959 294", description="Fits 0 986 714 700, too."),
    described(3, "Oil filter OC 517.96"),
    described(4, "Oil filter W 416/92"),
    described(5, "Bearing 6204-2RS/C3"),
    described(6, "Bearing 6000-2RS/C3"),
    described(7, "Drill DHP180RTJ"),
    described(8, "Valve G1/2", "Ventil G1/2"),
    described(9, "Nut M12", description="Article 0066896"),
    described(10, "Screw M8x40 DIN 912"),
    described(11, "Valve 1 1/2", "Ventil 1½"),
    described(12, "Wedge belt SPA 1250"),
    described(13, "Wedge belt SPB 1250"),
    described(14, "Wedge belt SPA 1600"),
)

NUMBERS = [
    ("0 986 714 727", ["1"]),
    ("0986714727", ["1"]),
    ("0-986-714-727", ["1"]),
    ("986714727", ["1"]),
    ("0986 714 727 ", ["1"]),
    ("0 986 714 728", []),
    ("0986714728", []),
    ("0986959", ["2"]),
    ("0 986 959", ["2"]),
    ("oc51796", ["3"]),
    ("OC 517 96", ["3"]),
    ("OC-517.96", ["3"]),
    ("w416/92", ["4"]),
    ("W 416-92", ["4"]),
    ("6204 2rs c3", ["5"]),
    ("62042RSC3", ["5"]),
    ("6204-2RS/C4", []),
    ("DHP 180", ["7"]),
    ("1/2", ["8"]),
    ("valve ½", ["8", "11"]),
    ("1-1/2", ["11"]),
    ("1½", ["11"]),
    ("66896", ["9"]),
    ("00000066896", ["9"]),
    ("006689", ["9"]),
    ("66897", []),
    ("M8*40", ["10"]),
    ("SPA 1250", ["12"]),
    ("spa1250", ["12"]),
    ("belt SPB 1250", ["13"]),
]
"""Queries for numbers of articles and parts, each with all entries of its answer, in order."""


# From a list of the articles that something fits: more words than a text field usually has.
MANY = [f"{first}{second}{n}" for first in "abcdefghij" for second in "abcdefghij" for n in range(100, 1_000)]
LISTS = tuple(" ".join(MANY[start : start + 1_600]) for start in range(0, 80_000, 1_600))


class NumberContract(IndexFixtures):
    def test_a_name_of_very_many_numbers(self, index: BaseIndex) -> None:
        """Such an entry could not be written, or words found nothing in the whole index after it."""
        index.promote(index.create(TEXT_META))
        results = index.write([entry(1, axis(1), texts={"name": LISTS}), described(2, "Brake pads")])
        assert [result.status for result in results] == ["done", "done"]
        index.refresh()
        assert [each.key for each in answer(index, "brake pads")] == ["shop.product:2"]
        assert [each.key for each in answer(index, MANY[0])] == ["shop.product:1"]

    def test_numbers_of_parts(self, index: BaseIndex) -> None:
        """They are found however their parts are separated, and a number that does not exist finds no other."""
        index.promote(index.create(TEXT_META))
        index.write(PARTS)
        index.refresh()
        for text, keys in NUMBERS:
            assert [each.key.partition(":")[2] for each in answer(index, text)] == keys, text
        [begun] = index.search([Query(axis(0), text="dhp1", typing=True)])
        assert [each.key for each in begun.candidates] == ["shop.product:7"]
        # Together with other words, a number leaves out entries with a different number.
        assert [each.key for each in answer(index, "brake pads 0986 714 727")] == ["shop.product:1"]
