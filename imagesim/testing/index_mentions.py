"""The part of the contract of an index that concerns the difference between what a text calls an entry and what it only
mentions."""

from __future__ import annotations

from imagesim.indexes import BaseIndex
from imagesim.testing.index_samples import IndexFixtures
from imagesim.testing.index_text import TEXT_META, answer, described


class MentionContract(IndexFixtures):
    def test_a_description_that_only_mentions_a_thing_does_not_call_the_entry_so(self, index: BaseIndex) -> None:
        """A shop without sofas showed a mirror to hang over one."""
        index.promote(index.create(TEXT_META))
        index.write([described(20, "Mirror", description="Looks good over the sofa."), described(21, "Sofa cover")])
        index.refresh()
        cover, mirror = answer(index, "sofa")
        assert (cover.key, mirror.key) == ("shop.product:21", "shop.product:20")
        assert mirror.text < 0.3

    def test_a_name_that_ends_with_the_word_calls_the_entry_so(self, index: BaseIndex) -> None:
        """The length of the name still counts for the rank."""
        index.promote(index.create(TEXT_META))
        index.write([described(20, "Allstar Zoom Sneakers 42"), described(21, "Sneakers Cleaning Kit")])
        index.refresh()
        found = {each.key: each for each in answer(index, "sneakers")}
        shoe, kit = found["shop.product:20"], found["shop.product:21"]
        assert shoe.text < 0.96 <= shoe.head
        assert kit.text == kit.head < 0.96

    def test_a_query_for_a_purpose_asks_for_what_serves_it(self, index: BaseIndex) -> None:
        """ "Something for a headache" showed nothing in a shop with tablets "for headaches and fever", nor did
        "headache", which no shop sells."""
        index.promote(index.create(TEXT_META))
        index.write([described(20, "Soluble tablets", description="Good for headaches and visitors.")])
        index.refresh()
        (purpose,) = answer(index, "something for visitors")
        (thing,) = answer(index, "visitors")
        (problem,) = answer(index, "headache")
        assert purpose.key == thing.key == problem.key == "shop.product:20"
        assert purpose.text > 1.8 * thing.text > 0
        assert problem.text > 1.8 * thing.text
