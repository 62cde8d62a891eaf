"""Relevance: matches of words first, the floor, and no hits rather than irrelevant ones."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import ClassVar

import numpy as np
import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation
from django.utils.text import slugify

import imagesim
from demo_shop.shop.models import Category, Product
from imagesim.calibration import Background, Calibration, Curve
from imagesim.exceptions import BadQuery
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexes.validation import MAX_PAGE_END
from imagesim.indexing import calibrate as calibration
from imagesim.indexing.calibrate import calibrate
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.sync import sync
from imagesim.items.registry import get_items
from imagesim.language.word_roles import Roles
from imagesim.models import ItemImage, ItemState, StoredCalibration
from imagesim.retrieval import feedback, relevance
from imagesim.retrieval.feedback import MovedVectors
from imagesim.retrieval.relevance import Cutoff, Judge, WithLabel, WithRelevance, calibration_of
from imagesim.retrieval.retriever import WithFallback, WithMMR
from imagesim.retrieval.suggestions import Suggestion, _distinct, _kind_of
from imagesim.retrieval.words import with_text as retrieval_text
from imagesim.retrieval.words.match_rules import keys_with_other_words
from imagesim.retrieval.words.reader import QueryReader
from imagesim.retrieval.words.readings import WithSynonyms
from imagesim.retrieval.words.with_text import WithText
from imagesim.types import Candidate, Candidates, Filters, Hit, HitImage, IndexMeta, Query, TextSpec
from tests.shop import encoded, forget, picture, product, registered
from tests.test_retrieval_parts import Listed
from tests.zoo.models import Lamp, Maker, Picture, Tag

pytestmark = pytest.mark.django_db


class WithoutCategory(imagesim.Items[Product]):
    images = "photos__file"
    text: ClassVar = {"name": 1}


class Fixed:
    """A retriever with given candidates."""

    def __init__(self, *candidates: Candidate) -> None:
        self.candidates = candidates
        self.requests = 0

    def search(self, queries):
        self.requests += 1
        return [
            Candidates(
                self.candidates[query.offset : query.offset + query.limit],
                more=len(self.candidates) > query.offset + query.limit,
            )
            for query in queries
        ]


class Named(Fixed):
    """Finds the given candidates by words, and nothing by vectors."""

    def search(self, queries):
        return [Candidates(self.candidates if query.text else ()) for query in queries]


def candidate(key: str, score: float, *categories: str) -> Candidate:
    return Candidate(key, score, key, "digest", "name", categories=categories)


PLAIN = Calibration(
    curves=dict.fromkeys(("items", "photo", "region", "words"), Curve(1, 6, -6)),
    alone=dict.fromkeys(("items", "photo", "region", "words"), Curve(1, 0, -2)),
    background=dict.fromkeys(("items", "photo", "region", "words"), Background(0, 0.2)),
)


def reading(text: str, calibration: Calibration = PLAIN, languages=(), alternatives=(), spelled=()):
    """Return a text as it is read with the words of a calibration, and the calibration."""
    reader = QueryReader(calibration.roles, languages, set(spelled).__contains__)
    return reader.read_texts(text, alternatives), calibration


class TestFloor:
    def page(self, floor, *candidates, limit=3, offset=0):
        judged = WithRelevance(Fixed(*candidates), [Judge(PLAIN, "photo")], Cutoff(floor or 0.0))
        return judged.search([Query(np.ones(2, np.float32), limit=limit, offset=offset)])[0]

    def test_an_outlier_is_cut(self):
        shoes = [candidate(f"s{n}", 0.8 - n / 100, "shoes") for n in range(4)]
        found = self.page(0.5, *shoes[:2], candidate("camera", 0.785, "cameras"), *shoes[2:], limit=10)
        assert [each.key for each in found.candidates] == ["s0", "s1", "s2", "s3"]
        assert found.cut == 1
        assert all(each.relevance >= 0.5 for each in found.candidates)

    def test_without_a_floor_nothing_is_cut(self):
        found = self.page(None, candidate("a", 0.1, "x"), candidate("b", 0.0, "y"))
        assert len(found.candidates) == 2
        assert found.cut == 0

    def test_only_closest_hits(self):
        found = self.page(0.5, *(candidate(str(n), 1.0, f"c{n}") for n in range(9)))
        assert found.candidates == ()
        assert not found.more
        assert found.cut == 3
        assert len(found.closest) == 3

    def test_not_even_that_where_nothing_is_close(self):
        found = self.page(0.5, candidate("near", 1.0, "a"), *(candidate(str(n), 0.01, f"c{n}") for n in range(9)))
        assert [each.key for each in found.closest] == ["near"]
        assert self.page(0.5, candidate("far", 0.01, "a")).closest == ()

    def test_pages_follow_each_other(self):
        every = [candidate(f"{n:02}", 0.9 - n / 100, "shoes" if n % 3 else "hats") for n in range(30)]
        whole = self.page(0.5, *every, limit=20)
        assert 3 < len(whole.candidates) <= 20
        first, second = self.page(0.5, *every, limit=4), self.page(0.5, *every, limit=4, offset=4)
        assert first.more
        assert first.candidates + second.candidates == whole.candidates[:8]

    def test_the_relevance_of_a_hit_is_the_same_on_every_page(self):
        """The most similar candidate must not be less relevant than a later one of its category that only the second
        page looks at: this one would come with the second page, and move the last hit of the first page there."""
        others = [candidate(f"{n:02}", 0.75 - n / 1000, "shoes" if n == 24 else "hats") for n in range(40)]
        every = [candidate("first", 0.95, "shoes"), *others]
        first, second = self.page(0.3, *every, limit=10), self.page(0.3, *every, limit=10, offset=10)
        assert not {each.key for each in first.candidates} & {each.key for each in second.candidates}
        assert first.candidates + second.candidates == self.page(0.3, *every, limit=20).candidates

    def test_hits_among_others_are_found(self):
        """The page must not end at a candidate of another category while a third of the next ones belong to the
        answer."""
        every = [candidate(f"{n:02}", 0.7 - n / 200, "shoes" if n % 3 == 0 else "hats") for n in range(120)]
        retriever = Fixed(*every)
        judged = WithRelevance(retriever, [Judge(PLAIN, "items", frozenset({"shoes"}))], Cutoff(0.6))
        found: list[str] = []
        more = True
        while more:
            (page,) = judged.search([Query(np.ones(2, np.float32), limit=10, offset=len(found))])
            assert len(page.candidates) == 10
            found, more = found + [each.key for each in page.candidates], page.more
        assert found == [each.key for each in every if "shoes" in each.categories]

    def test_other_categories_follow_if_nothing_in_the_first_is_relevant(self):
        """A page of a fallback must not end with the last candidates of the first category, which fill its window."""
        hats = [candidate(f"h{n:02}", 0.5 - n / 1000, "hats") for n in range(40)]
        shoes = [candidate(f"s{n:02}", 0.4 - n / 1000, "shoes") for n in range(40)]
        listed = Listed(*hats, *shoes, categories={each.key: each.categories[0] for each in [*hats, *shoes]})
        judged = WithRelevance(
            WithFallback(listed, [("wider", ())]),
            [Judge(PLAIN, "items", frozenset({"shoes"}))],
            Cutoff(0.6, last_stage="wider"),
        )
        (page,) = judged.search([Query(np.ones(2, np.float32), Filters(categories=("hats",)), limit=5)])
        assert [each.key for each in page.candidates] == [f"s{n:02}" for n in range(5)]
        assert {each.stage for each in page.candidates} == {"wider"}

    def test_what_cannot_be_relevant_is_not_looked_for(self):
        """The search goes on only for candidates of the category, and only while there are any."""
        shoes = [candidate(f"s{n}", 0.9 - n / 100, "shoes") for n in range(3)]
        hats = [candidate(f"h{n:03}", 0.5 - n / 1000, "hats") for n in range(300)]
        judge = Judge(PLAIN, "items", frozenset({"shoes"}))
        for every, requests in (([*shoes, *hats], 1), ([*shoes, *hats[:20], *shoes, *hats[20:]], 2)):
            retriever = Fixed(*every)
            (page,) = WithRelevance(retriever, [judge], Cutoff(0.6)).search([Query(np.ones(2, np.float32), limit=12)])
            assert [each.key for each in page.candidates] == [each.key for each in every[:40] if each.key[0] == "s"]
            assert not page.more
            assert retriever.requests == requests

    @pytest.mark.parametrize("size", [1, 4, 12])
    def test_pages_of_varied_hits_follow_each_other(self, size):
        """Which candidates vote must not depend on how far a page looks, although they are not in the order of their
        scores."""
        numbers = np.random.default_rng(8)
        categories = numbers.integers(0, 5, 90)
        centres = numbers.normal(size=(5, 16)) + 0.6
        rows = centres[categories] + 0.9 * numbers.normal(size=(90, 16))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores = rows @ ((centres[0] + centres[1]) / np.linalg.norm(centres[0] + centres[1]))
        every = [
            Candidate(f"{n:02}", float(scores[n]), f"{n:02}", f"{n:02}", "", categories=(f"c{categories[n]}",))
            for n in np.argsort(-scores)
        ]
        varied = WithMMR(Fixed(*every), 0.6, lambda some: {each.image_digest: rows[int(each.key)] for each in some})

        def pages(size: int) -> list[str]:
            keys: list[str] = []
            more = True
            while more:
                judged = WithRelevance(varied, [Judge(Calibration(), "photo")], Cutoff(0.3, least=WithMMR.window))
                (page,) = judged.search([Query(np.ones(2, np.float32), limit=size, offset=len(keys))])
                keys, more = keys + [each.key for each in page.candidates], page.more
            return keys

        assert pages(size) == pages(60)
        assert len(pages(size)) > 12

    def test_a_single_hit_of_its_category_gets_no_vote(self):
        lone = self.page(0.5, candidate("gloves", 0.8, "sport"), *(candidate(str(n), 0.3, f"c{n}") for n in range(9)))
        assert lone.candidates == ()
        several = self.page(0.5, *(candidate(str(n), 0.8, "sport") for n in range(3)))
        assert len(several.candidates) == 3

    def test_a_single_hit_whose_category_is_called_what_the_picture_shows(self):
        others = [candidate(str(n), 0.3, f"c{n}") for n in range(9)]

        class Names:
            def relevances(self, picture, nearest, calibration):
                assert len(nearest) == 10
                return {"gloves": 0.9, "c1": 0.3}

        judge = Judge(PLAIN, "photo", names=Names())
        judged = WithRelevance(Fixed(candidate("lone", 0.3, "sport", "gloves"), *others), [judge], Cutoff(0.5))
        (page,) = judged.search([Query(np.ones(2, np.float32))])
        assert [each.key for each in page.candidates] == ["lone"]

    def test_a_label_counts_as_much_as_its_finder_is_sure(self):
        """A relevance of .60 for all of them would ignore how sure the finder is, and how unlike they are."""
        query = Query(np.ones(2, np.float32), filters=Filters(categories=("bags",)))
        bags = [candidate("a", 0.6, "bags"), candidate("b", 0.2, "bags")]

        def found(label):
            return Judge(PLAIN, "region", label=label).relevances(query, bags, [0.6, 0.2], [*bags, fruit])

        fruit = candidate("c", 0.6, "fruit")
        assert 0.9 > found(0.8)[0] > found(0.8)[1] > found(0.5)[1]
        assert found(1.0)[1] > 0.9
        assert found(0.2)[1] < 0.25

    def test_what_is_nearer_than_its_categories_speaks_against_a_label(self):
        """In a shop of groceries and clothes, peppers in a photo would be tops if only tops, of all items, were
        compared."""

        class Shop:
            requests: ClassVar[list[int]] = []

            def search(self, queries):
                self.requests.append(len(queries))
                asked = [frozenset(query.filters.categories) for query in queries]
                found = [[each for each in everything if not only or only & {*each.categories}] for only in asked]
                return [Candidates(tuple(each)) for each in found]

        class Names:
            def share(self, picture, label, labelled, nearest, calibration):
                assert label == {"bags"}
                assert [each.categories for each in labelled] == [("bags",)]
                return named

            def relevances(self, picture, nearest, calibration):
                return {}

        def best(names=None):
            query = Query(np.ones(2, np.float32), filters=Filters(categories=("bags",)))
            (bags,) = WithLabel(Shop(), Judge(PLAIN, "region", label=0.7, names=names)).search([query])
            assert {each.categories for each in bags.candidates} == {("bags",)}
            return bags.candidates[0].relevance

        bag = candidate("bag", 0.5, "bags")
        everything = [bag, *(candidate(str(n), 0.1, "fruit") for n in range(5))]
        supported = best()
        everything = [*(candidate(str(n), 0.6, "fruit") for n in range(5)), bag]
        assert supported > 0.8 > 0.4 > best()
        named = 1.0
        assert supported > best(Names()) > best()
        named = 0.0
        assert best(Names()) < best()
        assert set(Shop.requests) == {2}  # in one request

    def test_relevance_is_monotonic_within_a_category(self):
        query, scores = Query(np.ones(2, np.float32)), [0.9, 0.5, 0.1]
        each = [candidate("a", 0.9, "x"), candidate("b", 0.5, "x"), candidate("c", 0.1, "y")]
        first, second, third = Judge(PLAIN, "photo").relevances(query, each, scores, each)
        assert first >= second > third

    def test_the_category_of_a_query_item_counts(self):
        judge = Judge(PLAIN, "items", frozenset({"shoes"}), frozenset({"boots"}))
        same = [candidate("a", 0.5, "shoes"), candidate("b", 0.5, "boots"), candidate("c", 0.5, "hats")]
        found = judge.relevances(Query(np.ones(2, np.float32)), same, [0.5] * 3, same)
        assert found[0] > found[1] > found[2]


@pytest.fixture
def shop(monkeypatch):
    monkeypatch.setattr(calibration, "MIN_ITEMS", 1000)  # a test that calibrates says so
    items = {
        "Banana Juice": product("Banana Juice", picture("yellow"), category="juices"),
        "Carrot Juice": product("Carrot Juice", picture("orange"), category="juices"),
        "Blue Sneaker": product("Blue Sneaker", picture("blue")),
        "Loafer": product("Loafer", picture("navy")),
        "Red Boot": product("Red Boot", picture("red")),
    }
    for one in items.values():
        one.slug = slugify(one.name)
        one.save()
    sync()
    return items


def names(hits) -> list[str]:
    return [hit.item.name for hit in hits]


class TestWords:
    def test_matches_by_name_come_first(self, shop):
        for text, name in [("banana juice", "Banana Juice"), ("jiuce carot", "Carrot Juice"), ("boots", "Red Boot")]:
            hits = imagesim.search(text=text)
            assert names(hits)[0] == name, text
            assert hits[0].relevance > 0.8
            assert -1 <= hits[0].score <= 1

    def test_similar_looking_items_follow(self, shop):
        hits = imagesim.search(text="sneaker")
        assert names(hits)[:2] == ["Blue Sneaker", "Loafer"]  # nothing says that the loafer is blue

    def test_a_synonym_is_asked_for_where_nothing_is_called_by_the_word(self, shop):
        rebuild()  # with the roles of words
        hits = imagesim.search(text="trainers", min_relevance=0.5)
        assert names(hits)[0] == "Blue Sneaker"
        assert hits[0].relevance > 0.8
        assert names(imagesim.search(text="blue gym shoes", min_relevance=0.5))[0] == "Blue Sneaker"
        assert names(imagesim.search(text="sneaker"))[0] == "Blue Sneaker"

    def test_what_is_called_by_the_word_itself_is_shown_whatever_the_calibration_knows(self, shop):
        """A large catalogue has more words than are stored with its calibration."""
        rebuild()
        product("Trainer", picture("green"))
        sync()
        assert names(imagesim.search(text="trainers", min_relevance=0.5))[0] == "Trainer"

    def test_each_item_appears_once_across_pages(self, shop):
        whole = imagesim.search(text="blue sneaker", limit=5)
        assert sorted(names(whole)) == sorted(shop)
        first = imagesim.search(text="blue sneaker", limit=2)
        second = imagesim.search(text="blue sneaker", limit=3, offset=first.next_offset)
        assert names(first) + names(second) == names(whole)

    def test_filters_apply(self, shop):
        assert names(imagesim.search(text="juice", category="juices", limit=2)) == names(
            imagesim.search(text="juice", limit=2)
        )
        assert "Banana Juice" not in names(imagesim.search(text="banana juice", category="shoes"))

    def test_a_floor_cuts_items_that_only_look_similar(self, shop):
        hits = imagesim.search(text="banana juice", min_relevance=0.999)
        assert set(names(hits)) <= {"Banana Juice"}
        nothing = imagesim.search(text="banana juice", min_relevance=0.9999)
        assert len(nothing) == 0
        assert nothing.cut
        assert names(nothing.closest)[0] == "Banana Juice"
        assert len(nothing.closest) <= 4
        assert imagesim.search(text="asdfghjkl qwerty", min_relevance=0.999).closest == ()

    def test_a_number_is_asked_of_texts_alone(self, shop):
        """To the model of pictures a number says nothing, so it would be near to something by chance."""
        assert names(imagesim.search(text="1234567890")) == []
        assert names(imagesim.search(text="\N{SNOWMAN}")) == []
        numbered = product("501", picture("blue"))
        sync()
        assert imagesim.search(text="501")[0].item == numbered

    def test_a_change_of_name_opens_no_picture(self, shop, monkeypatch):
        loafer = shop["Loafer"]
        loafer.name = "Slipper"
        loafer.save(update_fields=["name"])
        monkeypatch.setattr("imagesim.testing.embedders.PixelEmbedder.embed_images", None)
        sync()
        assert names(imagesim.search(text="slippers"))[0] == "Slipper"

    @pytest.mark.parametrize("floor", [-0.1, 1.1, "high"])
    def test_a_floor_is_a_probability(self, shop, floor):
        with pytest.raises(BadQuery, match="min_relevance"):
            imagesim.search(text="juice", min_relevance=floor)

    @pytest.mark.slow
    def test_one_request_if_the_model_understands_the_words(self, shop):
        """Otherwise a second one, by the images of what is called so."""

        class Counting(Fixed):
            asked: ClassVar[list[int]] = []

            def search(self, queries):
                self.asked.append(len(queries))
                named = candidate("hat", 0.0, "hats")._replace(text=1.0, image_digest="hat")
                return [
                    Candidates((named,)) if query.text else super(Counting, self).search([query])[0]
                    for query in queries
                ]

        across, along = np.array([0, 1], np.float32), np.array([1, 0], np.float32)
        # Words that are near to what they name, to something else, or to everything.
        for vector, other, requests in ((along, "hats", [2]), (across, "hats", [2, 1]), (along, "paints", [2, 1])):
            Counting.asked.clear()
            retriever = Counting(candidate("hat", 0.9, "hats"), *(candidate(key, 0.9, other) for key in ("cap", "can")))
            words = WithText(retriever, *reading("Hut"), Cutoff(), lambda _candidates, known=vector: {"hat": known})
            [found] = words.search([Query(along, limit=2)])
            assert found.candidates[0].key == "hat"
            assert Counting.asked == requests

    @pytest.mark.slow
    def test_the_closest_are_called_by_what_is_sought(self, shop):
        """ "Sonnenschirm weiß" (white parasol) must show an "Ampelschirm" that is not white rather than nothing."""
        roles = Roles(things=frozenset({"ampelschirm", "weiss"}), colours=frozenset({"weiss"}))

        class Catalogue(Fixed):
            def search(self, queries):
                found = candidate("umbrella", 0.0, "garden")._replace(text=0.5, head=0.75)
                return [Candidates((found,) if query.text == "schirm weiss" else ()) for query in queries]

        texts, calibration = reading("Sonnenschirm weiß", replace(PLAIN, roles=roles), ["de"])
        words = WithText(Catalogue(), texts, calibration, Cutoff(0.4), lambda _candidates: {})
        [page] = words.search([Query(np.zeros(2, np.float32))])
        assert ([*page.candidates], [each.key for each in page.closest]) == ([], ["umbrella"])

    @pytest.mark.slow
    def test_words_asked_again_take_one_request(self, shop):
        """As long as they name the same things: a moved vector is remembered with the images that it was moved by."""
        across, along = np.array([0, 1], np.float32), np.array([1, 0], np.float32)
        asked: list[list[Query]] = []

        class Catalogue:
            """Caps lie ``across``, cans ``along``; ``named`` are called so."""

            named = ("hat",)

            def search(self, queries):
                asked.append(list(queries))
                named = [candidate(key, 0.0, "hats")._replace(text=1.0, image_digest=key) for key in self.named]
                near = {"cap": across, "can": along}
                return [
                    Candidates(tuple(named))
                    if query.text
                    else Fixed(
                        *sorted(
                            (candidate(key, float(near[key] @ query.vector), f"{key}s") for key in near),
                            key=lambda each: -each.score,
                        )
                    ).search([query])[0]
                    for query in queries
                ]

        catalogue, remembered = Catalogue(), MovedVectors()

        def search(kept: MovedVectors | None, **page: int) -> list[tuple[str, float]]:
            asked.clear()
            vectors = {"hat": (across - along) / 2**0.5, "hood": across}
            words = WithText(catalogue, *reading("Hut"), Cutoff(), lambda _candidates: vectors, remembered=kept)
            [found] = words.search([Query(along, **{"limit": 3, **page})])
            return [(each.key, each.relevance) for each in found.candidates]

        first = search(remembered)
        assert [key for key, _ in first][:2] == ["hat", "cap"]
        assert list(map(len, asked)) == [2, 1]
        assert search(remembered) == first
        assert list(map(len, asked)) == [2]
        assert search(remembered, offset=1, limit=2) == first[1:]
        assert list(map(len, asked)) == [2]
        catalogue.named = ("hat", "hood")
        changed = search(remembered)
        assert list(map(len, asked)) == [2, 1, 1]
        assert changed == search(None) != first
        catalogue.named = ()
        assert search(remembered) == search(None)
        search(remembered)
        assert list(map(len, asked)) == [2]

    def test_remembered_vectors_are_bounded_and_expire(self, monkeypatch):
        monkeypatch.setattr(feedback, "MAX_REMEMBERED", 2)
        kept, vector = MovedVectors(), np.array([1, 0], np.float32)
        queries = [Query(vector), Query(-vector), Query(vector, Filters(in_stock=True))]
        for query in queries:
            kept.set(query, vector, ())
        assert [kept.get(query) is not None for query in queries] == [False, True, True]
        assert kept.get(replace(queries[1], limit=5, offset=20)) is not None
        monkeypatch.setattr(feedback, "monotonic", lambda: monotonic() + feedback.SECONDS)
        assert kept.get(queries[1]) is None

    def test_vectors_decide_about_partial_matches(self):
        named = [
            candidate(key, 0)._replace(text=text, image_digest=key) for key, text in (("shoe", 0.7), ("glove", 0.5))
        ]

        class Both(Fixed):
            def search(self, queries):
                return [
                    Candidates(tuple(named)) if query.text else super(Both, self).search([query])[0]
                    for query in queries
                ]

        vectors = {"shoe": np.array([1, 0], np.float32), "glove": np.array([-0.6, 0.8], np.float32)}
        words = WithText(Both(candidate("shoe", 0.9)), *reading("schuhe"), Cutoff(0.5), lambda _candidates: vectors)
        [found] = words.search([Query(np.array([1, 0], np.float32), limit=2)])
        assert [each.key for each in found.candidates] == ["shoe"]
        assert found.cut == 1

    def test_what_has_more_words_comes_before_others_of_a_part(self):
        """For "white wine" in "Beer & wine", a red one must not come first because its picture looks more like wine."""
        vectors = {"white": np.array([0.2, 0.98], np.float32), "red": np.array([1, 0], np.float32)}
        matches = {"red": (0.4, 0.46), "white": (0.61, 0.46)}
        named = [
            candidate(key, 0, "drinks")._replace(text=text, head=head, image_digest=key)
            for key, (text, head) in matches.items()
        ]

        roles = Roles({"wine": ("drinks",)}, frozenset({"white"}), things=frozenset(), listed={"wine": ("drinks",)})
        texts = reading("white wine", replace(PLAIN, roles=roles), ["en"])
        words = WithText(Named(*named), *texts, Cutoff(), lambda _candidates: vectors)
        [found] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
        assert [each.key for each in found.candidates] == ["white", "red"]

    @pytest.mark.parametrize(
        ("mentioning", "roles", "certain"),
        [
            (("monitor",), Roles(), False),  # only its own image says that it is what was meant
            (("monitor", "screen"), Roles(), True),
            (("monitor",), Roles({"kaffe": ("monitors",)}), True),
            (
                ("monitor",),
                Roles({"kaffe": ("monitors",)}, listed={"kaffe": ("monitors",)}),
                False,
            ),  # of "Monitors & coffee"
        ],
    )
    def test_an_entry_is_no_evidence_for_itself(self, mentioning, roles, certain):
        """ "coffee" must not show a monitor whose description mentions it with a relevance of .97, and other
        computers."""
        images = {"monitor": (0.0, 1.0), "screen": (0.1, 0.995), "laptop": (0.1, 0.995)}
        vectors = {key: np.array(image, np.float32) for key, image in images.items()}
        named = [candidate(key, 0, "monitors")._replace(text=0.52, image_digest=key) for key in mentioning]

        class Catalogue(Fixed):
            def search(self, queries):
                return [
                    Candidates(tuple(named if query.text else (near(key, query.vector) for key in vectors)))
                    for query in queries
                ]

        def near(key, vector):
            return candidate(key, float(vectors[key] @ vector), "monitors")._replace(image_digest=key)

        calibration = replace(PLAIN, roles=replace(roles, things=frozenset()))
        words = WithText(Catalogue(), *reading("Kaffee", calibration, ["de"]), Cutoff(), lambda _candidates: vectors)
        [found] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
        relevances = {each.key: each.relevance for each in found.candidates}
        assert (relevances["monitor"] > 0.8) == certain
        assert (relevances["laptop"] > 0.6) == certain

    @pytest.mark.parametrize(
        ("match", "head", "mentioning", "moved"),
        [
            (0.52, 0.52, ("wine",), False),
            (0.52, 0.52, ("wine", "ham"), True),
            (0.8, 0.8, ("wine",), True),
            (0.52, 0.8, ("wine",), True),  # called by the word that matters
        ],
    )
    def test_a_single_mention_moves_no_vector(self, match, head, mentioning, moved):
        """ "Beef" must not show five red wines because the description of one of them recommends it with beef."""
        vectors = {"wine": np.array([0, 1], np.float32), "ham": np.array([0.1, 0.995], np.float32)}
        named = [candidate(key, 0)._replace(text=match, head=head, image_digest=key) for key in mentioning]
        asked = []

        class Catalogue(Fixed):
            def search(self, queries):
                asked.extend(query.vector.tolist() for query in queries if not query.text)
                return [Candidates(tuple(named if query.text else ())) for query in queries]

        words = WithText(Catalogue(), *reading("beef"), Cutoff(), lambda _candidates: vectors)
        [found] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
        assert {each.key for each in found.candidates} == set(mentioning)
        assert any(vector != [1, 0] for vector in asked) == moved

    def test_what_is_of_the_kind_comes_before_what_has_its_word_in_another(self):
        """ "Rote Schuhe" must not show red boxing gloves ("Boxhandschuhe") before the shoes, even if none of these is
        red."""
        found = {"sneakers": (0.29, 0.53, "shoes"), "gloves": (0.6, 0.46, "sport"), "cleats": (0.7, 0.9, "sport")}
        named = [
            candidate(key, 0, category)._replace(text=text, head=head) for key, (text, head, category) in found.items()
        ]

        roles = Roles({"schuh": ("shoes",)}, frozenset({"rot"}), things=frozenset())
        calibration = replace(PLAIN, roles=roles)
        words = WithText(Named(*named), *reading("rote Schuhe", calibration, ["de"]), Cutoff(), lambda _candidates: {})
        [found] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
        assert [each.key for each in found.candidates] == ["cleats", "sneakers", "gloves"]

    def test_what_a_list_names_comes_before_what_is_called_so_elsewhere(self):
        """ "Dog bowl" must not show the "Goldfish bowl starter kit" first in a shop with a category "Bowls &
        feeders"."""
        found = {"aquarium": (0.92, "Aquariums"), "feeder": (0.45, "Bowls & feeders")}
        named = [candidate(key, 0, category)._replace(text=text, head=text) for key, (text, category) in found.items()]

        kinds, of_dogs = {"bowl": ("Bowls & feeders",)}, {"dog": ("collars", "leads", "beds")}
        names = {("dog",): of_dogs["dog"]}
        roles = Roles(kinds | of_dogs, things=frozenset(), listed=kinds, names=names)
        texts = reading("dog bowl", replace(PLAIN, roles=roles), ["en"])
        words = WithText(Named(*named), *texts, Cutoff(), lambda _candidates: {})
        [answer] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
        assert [each.key for each in answer.candidates] == ["feeder", "aquarium"]

    def test_a_word_that_only_specifies_what_is_sold_names_nothing_there(self):
        """ "Dining table" must not show table tennis bats."""
        bat = candidate("bat", 0, "Table tennis bats")._replace(text=0.36, head=0.92)

        names = {("tabl", "tenni", "bat"): ("Table tennis bats",)}
        for named, shown in (({}, True), (names, False)):
            roles = Roles({"bat": ("Table tennis bats",)}, things=frozenset({"tabl", "tenni"}), names=named)
            texts = reading("dining table", replace(PLAIN, roles=roles), ["en"])
            words = WithText(Named(bat), *texts, Cutoff(), lambda _candidates: {})
            [answer] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
            assert (answer.candidates[0].text == 0.5) == shown

    def test_what_a_word_only_specifies_comes_after_its_kind(self):
        """ "Wine" must not show wine glasses first in a shop with departments "Red wine" and "White wine"."""
        found = {"glasses": (1.0, "Wine glasses"), "rioja": (0.58, "Rioja"), "riesling": (0.58, "Riesling")}
        named = [candidate(key, 0, category)._replace(text=text, head=text) for key, (text, category) in found.items()]

        names = {("red", "wine"): ("Rioja",), ("white", "wine"): ("Riesling",), ("wine", "glass"): ("Wine glasses",)}
        roles = Roles({"wine": ("Riesling", "Rioja")}, things=frozenset(), names=names)
        texts = reading("wine", replace(PLAIN, roles=roles), ["en"])
        words = WithText(Named(*named), *texts, Cutoff(), lambda _candidates: {})
        [answer] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
        assert [each.key for each in answer.candidates][-1] == "glasses"

    def test_what_is_called_so_elsewhere_comes_after_the_category_of_that_name(self):
        """ "Sneakers" must not hide the "Allstar Sneakers" of a category "Footwear", nor show a "Sneakers cleaning
        kit"."""
        found = {"kit": (0.93, 0.93, "Care"), "allstar": (0.95, 0.99, "Footwear"), "low": (0.73, 0.73, "Sneakers")}
        named = [
            candidate(key, 0, category)._replace(text=text, head=head) for key, (text, head, category) in found.items()
        ]

        roles = Roles({"sneaker": ("Sneakers",)}, things=frozenset(), names={("sneaker",): ("Sneakers",)})
        texts = reading("sneakers", replace(PLAIN, roles=roles), ["en"])
        words = WithText(Named(*named), *texts, Cutoff(), lambda _candidates: {})
        [answer] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
        assert [each.key for each in answer.candidates] == ["low", "allstar", "kit"]
        assert answer.candidates[1].relevance > 0.6 > 0.3 > answer.candidates[2].relevance

    def test_the_name_of_a_category_beside_another_word_calls_no_thing_of_another_category_so(self):
        """ "Mesa de roble" (oak table) must not show oak table lamps first."""
        found = {"lamp": (0.95, "Lámparas"), "table": (0.93, "Mesas"), "desk": (0.97, "Escritorios")}
        named = [candidate(key, 0, category)._replace(text=text, head=text) for key, (text, category) in found.items()]

        roles = Roles({"mes": ("Mesas",)}, frozenset({"robl"}), things=frozenset(), names={("mes",): ("Mesas",)})
        texts = reading("mesa de roble", replace(PLAIN, roles=roles), ["es"])
        words = WithText(Named(*named), *texts, Cutoff(), lambda _candidates: {})
        [answer] = words.search([Query(np.array([1, 0], np.float32), limit=3)])
        assert [each.key for each in answer.candidates] == ["desk", "table", "lamp"]
        assert answer.candidates[1].relevance > 0.9 > 0.3 > answer.candidates[2].relevance

    def test_variants_that_synonyms_name_are_one_hit_by_the_best(self):
        """The variant that matches worst must not take the place of its group."""
        by_text = {"sofa": (("a1", "a", 1.0), ("b1", "b", 0.9)), "couch": (("a2", "a", 0.5), ("b2", "b", 0.8))}

        class Both(Fixed):
            def search(self, queries):
                return [
                    Candidates(
                        tuple(
                            candidate(key, 0)._replace(group=group, text=text)
                            for key, group, text in by_text.get(query.text, ())
                        )
                    )
                    for query in queries
                ]

        words = WithText(Both(), *reading("sofa", alternatives=["couch"]), Cutoff(), lambda _candidates: {})
        for collapse, shown in ((True, ["a1", "b1"]), (False, ["a1", "b1", "b2", "a2"])):
            [found] = words.search([Query(np.array([1, 0], np.float32), limit=4, collapse=collapse)])
            assert [each.key for each in found.candidates] == shown

    def test_what_a_synonym_names_follows_what_is_called_by_the_word_itself(self):
        """For "skillet": what is called so, then other frying pans, and no rack for frying pans."""
        roles = Roles({"pan": ("pans",)}, things=frozenset({"skillet", "fri"}), names={("fri", "pan"): ("pans",)})
        texts = reading("skillet", replace(PLAIN, roles=roles), ["en"])
        found = {"skillet": [("skillet", "pans", 0.8)], "frying pan": [("pan", "pans", 0.95), ("rack", "racks", 0.9)]}

        class Both(Fixed):
            def search(self, queries):
                return [
                    Candidates(
                        tuple(
                            candidate(key, 0, category)._replace(text=text, head=text)
                            for key, category, text in found.get(query.text, ())
                        )
                    )
                    for query in queries
                ]

        words = WithText(Both(), *texts, Cutoff(0.4), lambda _candidates: {})
        [answer] = words.search([Query(np.array([1, 0], np.float32), limit=4)])
        assert [each.key for each in answer.candidates] == ["skillet", "pan"]

    @pytest.mark.parametrize(
        ("language", "typed", "stem", "match", "vector"),
        [
            ("en", "settee", "sofa", 0.0, [0, 1]),
            ("en", "settee", "sofa", 0.9, [1, 0]),
            ("de", "Couch", "sofa", 0.0, [1, 0]),  # the model reads German words as English
        ],
    )
    def test_an_english_synonym_is_asked_for_with_its_own_vector(self, language, typed, stem, match, vector):
        """For "settee", of which the model knows less than of "sofa", a desk must not be shown as well."""
        texts, _calibration = reading(typed, replace(PLAIN, roles=Roles(things=frozenset({stem}))), [language])
        called = Fixed(candidate("settee", 0)._replace(text=match))
        asked = []

        class Read(Fixed):
            def search(self, queries):
                asked.extend(queries)
                return super().search(queries)

        vectors = {"sofa": np.array([0, 1], np.float32)}
        words = WithSynonyms(called, texts, texts.with_synonyms, lambda _texts: Read(), vectors.__getitem__)
        words.search([Query(np.array([1, 0], np.float32), limit=2)])
        assert [each.vector.tolist() for each in asked] == [vector]

    @pytest.mark.parametrize(("match", "read"), [(0.5, "nail polish"), (0.9, "nail varnish")])
    def test_a_synonym_of_several_words_has_to_call_something_as_a_whole(self, match, read):
        """ "Nail polish" must not show varnish for wood in a shop with nails."""
        roles = Roles(things=frozenset({"nail", "varnish"}))
        texts, _calibration = reading("nail polish", replace(PLAIN, roles=roles), ["en"])
        assert self.read_with(texts, {"nail polish": 0.5, "nail varnish": match}) == [read]

    def test_any_of_the_synonyms_may_be_what_something_is_called(self):
        """ "Bum bag" must find something in a shop with bags, belts and waist pouches."""
        roles = Roles(things=frozenset({"belt", "bag", "waist", "pouch"}))
        texts, _calibration = reading("fanny pack", replace(PLAIN, roles=roles), ["en"])
        others = texts.with_synonyms
        assert [others.own.text, others.alternatives[0].text] == ["belt bag", "waist pouch"]
        matches = {"fanny pack": 0.4, "belt bag": 0.4, "waist pouch": 0.9, "waist bag": 0.4}
        assert self.read_with(texts, matches) == ["belt bag"]

    def test_a_synonym_may_be_the_end_of_a_compound_in_a_long_name(self):
        """ "Sokker" (socks) must find the "Uldstrømper 3-pak" of a Danish shop."""
        roles = Roles(things=frozenset({"uldstromp"}))
        texts, _calibration = reading("sokker", replace(PLAIN, roles=roles), ["da"])
        assert self.read_with(texts, {"sokker": 0.0, "strømper": 0.745}) == ["strømper"]
        assert self.read_with(texts, {"sokker": 0.0, "strømper": 0.62}) == ["sokker"]  # two misspellings

    @staticmethod
    def read_with(texts, matches):
        """Return the texts that are read if the best hit for each matches as given."""

        class Called(Fixed):
            def search(self, queries):
                return [Candidates((candidate("best", 0)._replace(text=matches[each.text]),)) for each in queries]

        read = []

        def of_texts(found):
            read.append(found.own.text)
            return Fixed()

        words = WithSynonyms(Called(), texts, texts.with_synonyms, of_texts, lambda _text: None)
        words.search([Query(np.array([1, 0], np.float32), limit=2)])
        return read

    @pytest.mark.usefixtures("without_dictionaries")
    def test_a_word_of_the_models_vocabulary_is_no_misspelling(self):
        asked = []

        class Seen(Fixed):
            def search(self, queries):
                asked.extend(query for query in queries if query.text)
                return super().search(queries)

        things = replace(PLAIN, roles=Roles({"gold": ("rings",)}, frozenset({"match"}), things=frozenset()))
        for known, heads in ((set(), (0,)), ({"watch"}, ())):
            asked.clear()
            texts = reading("gold watch", things, ["en"], spelled=known)
            words = WithText(Seen(), *texts, Cutoff(), lambda _candidates: {})
            words.search([Query(np.array([1, 0], np.float32), limit=2)])
            assert (asked[0].spelled, asked[0].heads) == (known, heads)

    def test_the_last_page_asks_for_no_more_than_an_index_returns(self):
        window = Cutoff().window_of(Query(np.array([1, 0], np.float32), limit=100, offset=MAX_PAGE_END - 100))
        assert (window.offset, window.limit) == (0, MAX_PAGE_END)

    @pytest.mark.parametrize(("match", "shown"), [(0.55, ["shoe"]), (0.4, [])])
    def test_vectors_alone_do_not_reject_a_match(self, match, shown):
        """What the model knows little of is still found where a description mentions it."""
        named = candidate("shoe", 0)._replace(text=match, image_digest="shoe")

        class Both(Fixed):
            def search(self, queries):
                return [Candidates((named,)) if query.text else Candidates(()) for query in queries]

        unlike = {"shoe": np.array([-1, 0], np.float32)}
        words = WithText(Both(), *reading("shoe"), Cutoff(0.4), lambda _candidates: unlike)
        [found] = words.search([Query(np.array([1, 0], np.float32), limit=2)])
        assert [each.key for each in found.candidates] == shown


@pytest.mark.slow
class TestStored:
    def test_a_rebuild_stores_the_calibration(self, shop):
        rebuild()
        row = StoredCalibration.objects.get()
        assert row.items == 5
        assert Calibration.from_json(row.data).background["items"] != Calibration().background["items"]

    def test_the_stored_calibration_is_used(self, shop):
        from imagesim.indexes import get_index

        meta = get_index().meta()
        assert calibration_of(meta) == Calibration()
        StoredCalibration.objects.create(fingerprint=meta.fingerprint, data=PLAIN.to_json())
        forget()
        assert calibration_of(meta) == PLAIN

    def test_of_two_kinds_the_head_is_shown(self):
        """Not the dresses, although they are fewer."""
        for number in range(3):
            product(f"Dress {number}", picture((200, number, 20)), category="dresses")
        for number in range(9):
            product(f"Shoe {number}", picture((20, number, 200)), category="shoes")
        sync()
        calibrate()
        forget()
        assert {name.split()[0] for name in names(imagesim.search(text="dress shoes", limit=3))} == {"Shoe"}
        assert {name.split()[0] for name in names(imagesim.search(text="dresses", limit=3))} == {"Dress"}

    def test_rows_of_several_languages_are_of_one_kind(self):
        """For instance pages of Wagtail, each with a category in its language: otherwise, the most similar ones would
        count as unlike, and hardly anything would be relevant (1 similar product instead of 4, in a shop of 70 in two
        languages)."""
        for kind, german in (("shoes", "schuhe"), ("dresses", "kleider")):
            shown = product(kind, picture("red"), category=kind)
            product(german, picture("red"), category=german, parent=shown)
        sync()
        sample, _, _ = calibration._catalogue(get_index().meta())
        assert sorted(map(sorted, sample.categories)) == 2 * [["dresses", "kleider"]] + 2 * [["schuhe", "shoes"]]

    def test_a_category_with_one_parent_is_in_one_department(self, monkeypatch):
        items = get_items("shop.product")
        monkeypatch.setattr(items, "get_category_parents", lambda: {"boots": "attic", "hats": "cellar"}, raising=False)
        product("Boot", picture("red"), category="boots")
        sync()
        sample, _, _ = calibration._catalogue(get_index().meta())
        assert sample.departments == {"boots": {"boots"}, "hats": {"hats"}}

    def test_a_group_is_described_once_in_each_language(self):
        for name, german in (("Shoe", "Schuh"), ("Dress", "Kleid")):
            shown = product(f"Red {name}", picture("red"))
            product(f"Blue {name}", picture("blue"), parent=shown)
            product(german, picture("red"), name_de=f"Roter {german}", parent=shown)
        sync()
        _, described, written = calibration._catalogue(get_index().meta())
        assert len(described) == 4
        assert {token.word for token in written["de"]} >= {"schuh", "kleid"}

    def test_every_category_of_a_large_shop_is_read(self, monkeypatch):
        """Otherwise nothing would be called so if no tights are among the items chosen at random, and "tights" would be
        replaced by its synonym "leggings"."""
        for category in [*3 * ["tights"], *12 * ["leggings"]]:
            product(f"{category.title()} {Product.objects.count()}", picture("red"), category=category)
        monkeypatch.setattr(calibration, "MAX_ITEMS", 3)
        sync()
        calibrate()
        forget()
        sample, described, _ = calibration._catalogue(get_index().meta())
        assert sample.categories == 3 * [{"leggings"}]
        assert sum(each.categories == {"tights"} for each in described) == 2
        assert {name.split()[0] for name in names(imagesim.search(text="tights", limit=3))} == {"Tights"}

    def test_an_invalid_calibration_is_ignored(self, shop):
        from imagesim.indexes import get_index

        meta = get_index().meta()
        StoredCalibration.objects.create(fingerprint=meta.fingerprint, data={"curves": 1})
        assert calibration_of(meta) == Calibration()

    def test_the_calibration_is_fitted_again(self, shop):
        calibrate()
        product("Green Hat", picture("green"))
        sync()
        stored = calibrate()
        assert stored.items == 6
        assert StoredCalibration.objects.count() == 1

    def test_the_sync_calibrates_a_filled_or_grown_index(self, shop, monkeypatch):
        assert not StoredCalibration.objects.exists()  # too few
        monkeypatch.setattr(calibration, "MIN_ITEMS", 8)
        monkeypatch.setattr("imagesim.indexing.statistics.CHECK_SECONDS", 0.0)
        forget()
        for count, fitted in ((7, None), (8, 8), (11, 8), (12, 12)):
            self._hats(count)
            sync()
            assert self._fitted() == fitted, count

    def test_a_sync_that_fills_an_index_calibrates_it_meanwhile(self, shop, monkeypatch, settings):
        """During the hours that a first fill can take, the prior alone would judge words: "red shoes" would find red
        apples."""
        monkeypatch.setattr(calibration, "MIN_ITEMS", 8)
        monkeypatch.setattr("imagesim.indexing.statistics.CHECK_SECONDS", 0.0)
        settings.IMAGESIM = {**settings.IMAGESIM, "SYNC_BATCH_SIZE": 4}
        forget()
        self._hats(30)
        for limit, asked in ((3, 8), (12, 8), (4, 24)):
            assert sync(limit=limit).more
            row = StoredCalibration.objects.get()
            assert (row.items, row.data["queries"]["items"]) == (0, asked)
        sync()  # although it has grown by less than half
        row = StoredCalibration.objects.get()
        assert (row.items, row.data["queries"]["items"]) == (30, 30)

    def _hats(self, count: int) -> None:
        for number in range(ItemState.objects.filter(outcome="indexed").count(), count):
            product(f"hat {number}", picture((number, 90, 90)))

    def _fitted(self) -> int | None:
        return StoredCalibration.objects.values_list("items", flat=True).first()

    def test_a_catalogue_without_categories_is_calibrated_by_its_names(self):
        """The prior alone would show little of some shops and too much of others."""
        with registered(Product, WithoutCategory):
            for number in range(6):
                product(f"Red shoe {number}", picture((200, number, 20)))
                product(f"Blue hat {number}", picture((20, number, 200)))
            sync()
            assert calibrate().data["queries"]["items"] == 12

    def test_photos_and_items(self, shop):
        hits = imagesim.search(image=picture("blue"))
        assert all(0 <= hit.relevance <= 1 for hit in hits)
        hits = imagesim.similar_to(shop["Red Boot"], min_relevance=0.0)
        assert {hit.relevance for hit in hits} != {1.0}


class TestSuggestions:
    def test_names_and_categories_while_typing(self, shop):
        found = imagesim.suggest("banana ju")
        assert ("item", "Banana Juice") in [(each.kind, each.text) for each in found]
        assert found[0].kind == "category"
        assert found[0].text == "Juices"
        assert imagesim.suggest("xyzzy") == []
        assert async_to_sync(imagesim.asuggest)("banana ju") == found

    @pytest.mark.parametrize(
        ("language", "typed", "expected"),
        [
            ("en", "polo", ["Polo shirts"]),
            ("de", "polo", ["Poloshirts"]),
            ("en", "fr", ["Fresh"]),
            ("de", "fr", ["Fresh", "Frisches"]),
        ],
    )
    def test_categories_are_named_in_the_language_of_the_page(self, shop, language, typed, expected):
        for name, german in (("Polo shirts", "Poloshirts"), ("Drinks", "Frisches"), ("Fresh", "")):
            slug = name.lower().replace(" ", "-")
            category = Category.objects.create(name=name, name_de=german, slug=slug)
            product(f"polo-fresh-{slug}", picture("white"), category=category.slug)
        sync()
        with translation.override(language):
            found = imagesim.suggest(typed)
        assert sorted(each.text for each in found if each.kind == "category") == expected

    def test_a_category_is_suggested_for_a_character_within_its_name(self, shop):
        category = Category.objects.create(name="运动鞋", slug="sneakers-zh")
        product("Gazelle", picture("white"), category=category.slug)
        sync()
        assert [each.text for each in imagesim.suggest("鞋")] == ["运动鞋", "Gazelle"]

    @pytest.mark.parametrize("typed", ["wi-fi rou", "0066896 rou", "90 x 190 rou", "routers &"])
    def test_the_word_being_typed_is_the_last_one(self, shop, typed):
        category = Category.objects.create(name="Routers", slug="routers")
        product("Wi-Fi router 0066896, 90 x 190", picture("white"), category=category.slug)
        sync()
        assert "Routers" in [each.text for each in imagesim.suggest(typed)]

    def test_a_category_or_a_brand_is_one_whatever_its_field_is_called(self, media_root):
        class LampItems(imagesim.Items[Lamp]):
            images = "pictures__file"
            category = "tags__label"
            text: ClassVar = {"name": 3, "maker__name": 2, "tags__label": 2}

        with registered(Lamp, LampItems):
            lamp = Lamp.objects.create(name="Arc", maker=Maker.objects.create(name="Lumina", code="l"))
            lamp.tags.add(Tag.objects.create(label="Reading lights"))
            Picture.objects.create(lamp=lamp, file=ContentFile(encoded(picture("red")), "lamp.png"))
            sync()
            for typed, expected in (("lumi", ("brand", "Lumina")), ("light", ("category", "Reading lights"))):
                found = [(each.kind, each.text) for each in imagesim.suggest(typed, model=Lamp)]
                assert found == [expected, ("item", "Arc")]

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("marke__name_de", "brand"),
            ("manufacturer", "brand"),
            ("product__vendors__title", "brand"),
            ("hersteller_name", "brand"),
            ("brand", "brand"),
            ("product_brand", "brand"),
            ("maker_number", ""),
            ("manufacturer_code", ""),
            ("tags__label", ""),
            ("name", ""),
            ("categories__name", "category"),  # from a shop whose method names the categories
        ],
    )
    def test_what_fields_are_usually_called(self, path, kind):
        assert _kind_of(path, TextSpec()) == kind

    def test_a_repeated_suggestion_keeps_its_first_place(self):
        hit = Hit("item", 0.5, HitImage("a.jpg", "a"))
        given = [Suggestion(text, "brand", hit) for text in ("Adidas", "Puma", "adidas", "Nike", "PUMA")]
        assert [each.text for each in _distinct(given)] == ["Adidas", "Puma", "Nike"]

    def test_a_name_in_another_language_than_the_page_s_is_not_suggested(self, shop):
        product("Instant Camera", picture("white"), name_de="Sofortbildkamera", description="With a soft case.")
        product("Soft Rug", picture("white"), name_de="Teppich")
        product("Tulip", picture("white"), description="Red.", description_de="Fürs Sofa und Zimmer.")
        product("Sofa", picture("white"))  # without a German name
        sync()
        for typed, language, expected in (
            ("sof", "en", ["Sofa", "Soft Rug"]),
            ("sof", "de", ["Instant Camera", "Sofa"]),
            ("zimm", "en", []),
            ("zimm", "de", ["Tulip"]),
        ):
            with translation.override(language):
                assert sorted(str(each.hit.item.name) for each in imagesim.suggest(typed)) == expected

    def test_a_name_in_the_language_of_the_page_is_suggested_behind_many_in_another(self, shop):
        for number in range(30):
            product(f"Juice {number}", picture("white"), name_de=f"Saft {number}")
        product("Saffron Tea", picture("white"), name_de="Tee")
        sync()
        assert [each.text for each in imagesim.suggest("saf")] == ["Saffron Tea"]

    def test_an_item_is_suggested_behind_many_that_have_ended(self, shop):
        """For instance in a shop of auctions, between two reconciles: what has ended is still in the index."""
        ended = [product(f"Vase {number}", picture("white")) for number in range(30)]
        product("A tall and narrow vase of blue Venetian glass", picture("white"))
        sync()
        assert "A tall and narrow vase" not in str([each.text for each in imagesim.suggest("vas", limit=24)])
        Product.objects.filter(pk__in=[each.pk for each in ended]).update(active=False)  # without a signal
        assert [each.text for each in imagesim.suggest("vas")] == ["A tall and narrow vase of blue Venetian glass"]

    def test_one_request_suffices_where_little_matches_well(self, shop, monkeypatch):
        product("Crystal Vase", picture("white"))
        for number in range(30):
            product(f"Vase {number}", picture("white"))
        sync()
        asked: list[int] = []
        searching = LocalIndex.search
        monkeypatch.setattr(
            LocalIndex, "search", lambda self, queries, **given: asked.append(1) or searching(self, queries, **given)
        )
        assert [each.text for each in imagesim.suggest("crystal vase bohemia")] == ["Crystal Vase"]
        assert len(asked) == 1

    def test_what_only_mentions_the_words_is_suggested_if_nothing_is_called_so(self, shop):
        """ "Head phones" must not suggest a tripod because its description says that its head holds phones."""
        product("Wireless Headphones", picture("white"))
        product("Tripod", picture("white"), description="Its head turns. For cameras and phones.")
        product("Cable", picture("white"), brand="Phonetic")
        sync()

        def suggested(typed: str) -> set[str]:
            return {str(each.hit.item.name) for each in imagesim.suggest(typed)}

        assert suggested("head phones") == {"Wireless Headphones"}
        assert suggested("phon") == {"Cable"}  # a brand
        assert suggested("cam") == {"Tripod"}

    def test_rest_api(self, shop, client):
        answer = client.get("/api/visual/suggest/", {"q": "sneak"})
        assert answer.status_code == 200
        (one,) = answer.json()["suggestions"]
        assert one["text"] == "Blue Sneaker"
        assert one["url"].startswith("http://testserver/")
        assert one["image"]["url"]
        assert client.get("/api/visual/suggest/").status_code == 400

    @pytest.mark.parametrize("address", [lambda item: None, lambda item: "", lambda item: reverse("no-such-page")])
    def test_an_item_without_a_page_fails_no_answer(self, shop, client, monkeypatch, address):
        monkeypatch.setattr(Product, "get_absolute_url", address)
        (one,) = client.get("/api/visual/suggest/", {"q": "sneak"}).json()["suggestions"]
        assert (one["text"], one["url"]) == ("Blue Sneaker", None)

    def test_what_it_takes_it_keeps_to(self, shop, client):
        def texts(**given: str) -> list[str]:
            answer = client.get("/api/visual/suggest/", {"q": "juice", **given})
            return [each["text"] for each in answer.json()["suggestions"] if each["kind"] == "item"]

        assert sorted(texts()) == sorted(texts(category="juices")) == ["Banana Juice", "Carrot Juice"]
        assert len(texts(limit="2")) == 1  # and their category
        assert texts(category="no-such-category") == []
        assert client.get("/api/visual/suggest/", {"q": "juice", "facets": "brand"}).status_code == 400


@pytest.mark.slow
class TestPages:
    def test_rest_has_a_floor_and_closest_hits(self, shop, client, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "MIN_RELEVANCE": 0.9999}
        answer = client.get("/api/visual/search/", {"q": "banana juice"}).json()
        assert answer["results"] == []
        assert answer["cut"] > 0
        assert answer["closest"]
        assert client.get("/api/visual/search/", {"q": "asdfghjkl"}).json()["closest"] == []
        everything = client.get("/api/visual/search/", {"q": "asdfghjkl", "min_relevance": "0"}).json()
        assert len(everything["results"]) == 5

    def test_similar_products_stay_in_the_category(self, shop, settings):
        from django.template import Context, Template

        def shown(arguments: str) -> list[str]:
            source = "{% load imagesim %}{% similar_products product " + arguments + " %}"
            html = Template(source).render(Context({"product": shop["Blue Sneaker"]}))
            return [name for name in shop if name in html]

        settings.IMAGESIM = {**settings.IMAGESIM, "MIN_RELEVANCE": 0.5}
        assert shown("") == ["Loafer", "Red Boot"]
        assert shown("min_hits=3") == []


def test_the_demo_speaks_german(client):
    shoe = product("Running Shoe", picture("blue"), name_de="Laufschuh", description_de="Blau")
    shoe.slug = "running-shoe"
    shoe.save()
    sync()
    assert names(imagesim.search(text="laufschuhe"))[0] == "Running Shoe"
    german = client.get("/product/running-shoe/", headers={"Accept-Language": "de"}).content.decode()
    english = client.get("/product/running-shoe/").content.decode()
    assert "Laufschuh" in german
    assert "Laufschuh" not in english


@pytest.mark.slow
def test_a_page_shows_closest_hits_separately(shop, client, settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "MIN_RELEVANCE": 0.9999}
    html = client.get("/search/", {"q": "banana juice"}).content.decode()
    status = html.partition("data-imagesim-status>")[2].partition("</p>")[0]
    assert status == "No good match found."  # a message for words: no product is similar to them
    results, _, closest = html.partition("data-imagesim-closest")
    assert "Banana Juice" not in results
    assert any(name in closest for name in shop)
    settings.IMAGESIM = {**settings.IMAGESIM, "MIN_RELEVANCE": 0.9}
    everything = client.get("/search/", {"q": "banana juice"}).content.decode()
    assert "data-imagesim-closest hidden" in everything


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_of_words_neither_overlap_nor_skip(size, monkeypatch):
    """The rank of an entry found both by its words and by its looks must not depend on how far the page looks."""
    monkeypatch.setattr(relevance, "SPARE", 0)
    monkeypatch.setattr(relevance, "VOTERS", 1)
    monkeypatch.setattr(retrieval_text, "LOOKS_WINDOW", 6)
    for number in range(24):
        shade = (10 * number, 0, 255 - 10 * number)
        product(f"p{number}", picture(shade, mark=number % 8), description="a bright thing" if number % 3 else "thing")
    sync()
    whole = names(imagesim.search(text="bright purple thing", limit=24))
    paged: list[str] = []
    hits = imagesim.search(text="bright purple thing", limit=size)
    while True:
        paged += names(hits)
        if not hits.more:
            break
        hits = imagesim.search(text="bright purple thing", limit=size, offset=hits.next_offset)
    assert paged == whole
    assert len(set(paged)) == len(paged)


def test_a_calibration_reads_the_pictures_of_its_sample_alone(monkeypatch, settings):
    """Of a million items, it needs a few thousand; for the others it holds only a number."""
    settings.IMAGESIM = {"SYNC": "manual"}
    monkeypatch.setattr(calibration, "MAX_ITEMS", 3)
    ItemState.objects.bulk_create(ItemState(model="shop.product", object_pk=str(pk)) for pk in range(10))
    ItemImage.objects.bulk_create(
        ItemImage(state=state, digest=str(state.pk), position=0) for state in ItemState.objects.all()
    )
    with CaptureQueriesContext(connection) as asked:
        assert not list(calibration._items(get_items("shop.product"), IndexMeta("test", 8)))
    whole = [query["sql"] for query in asked if " IN (" not in query["sql"]]
    assert len(whole) == 2  # the numbers, and two items of every category
    assert "digest" not in whole[0].partition(" FROM ")[0]
    assert "GROUP BY" in whole[1]


def test_of_a_kind_what_has_the_other_words_too_is_told_from_the_rest() -> None:
    """ "Beach print" must not show prints that only look like prints before the one described as of a beach."""
    found = {"beach": (0.557, 0.713), "in the name": (0.18, 0.925), "described": (0.101, 0.52)}
    candidates = [candidate(name, 0.5)._replace(text=text, head=head) for name, (text, head) in found.items()]
    assert keys_with_other_words(candidates) == {"beach"}
    assert keys_with_other_words(candidates[1:]) == set()
    assert keys_with_other_words([candidate("nothing", 0.5)]) == set()
