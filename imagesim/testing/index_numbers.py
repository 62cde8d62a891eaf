"""The part of the contract of an index that concerns the numbers of articles and parts."""

from __future__ import annotations

from imagesim.indexes import BaseIndex
from imagesim.testing.index_samples import IndexFixtures, axis
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
"""Queries for numbers of articles and parts with all entries of their answers, in order."""


class NumberContract(IndexFixtures):
    def test_numbers_of_parts(self, index: BaseIndex) -> None:
        """They are found in whichever parts they are written, and no other number for one that there is not."""
        index.promote(index.create(TEXT_META))
        index.write(PARTS)
        index.refresh()
        for text, keys in NUMBERS:
            assert [each.key.partition(":")[2] for each in answer(index, text)] == keys, text
        [begun] = index.search([Query(axis(0), text="dhp1", typing=True)])
        assert [each.key for each in begun.candidates] == ["shop.product:7"]
        # Beside other words it leaves out what has another one.
        assert [each.key for each in answer(index, "brake pads 0986 714 727")] == ["shop.product:1"]
