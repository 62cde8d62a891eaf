"""The parts of the read side by themselves: votes, variety, fallback, weights of terms, and the sequence of hits."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest

import imagesim
from demo_shop.shop.models import Product
from imagesim import events
from imagesim.embedders import get_embedder
from imagesim.exceptions import BadQuery
from imagesim.indexes.validation import MAX_PAGE_END
from imagesim.models import Event
from imagesim.retrieval import look, query_vector, regions
from imagesim.retrieval.query_image import QueryImage, read_picture, take
from imagesim.retrieval.query_vector import QueryTerm, read_terms
from imagesim.retrieval.retriever import WithFallback, WithMMR
from imagesim.types import Candidate, Candidates, Facet, Filters, Hit, HitImage, Hits, IndexMeta, Query, Region
from tests import shop
from tests.shop import encoded, picture, product


class Listed:
    """A retriever over a fixed list of candidates, which notes what it was asked for."""

    def __init__(self, *candidates: Candidate, categories: dict[str, str] | None = None) -> None:
        self.candidates = candidates
        self.categories = categories or {}
        self.queries: list[Query] = []
        self.requests: list[int] = []

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        self.queries += queries
        self.requests.append(len(queries))
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Candidates:
        wanted, filters = [], query.filters
        for each in self.candidates:
            fits = not filters.categories or self.categories.get(each.key) in filters.categories
            if fits and each.group not in filters.exclude_groups and each.key not in filters.exclude_keys:
                wanted.append(each)
        end = query.offset + query.limit
        return Candidates(tuple(wanted[query.offset : end]), more=len(wanted) > end)


def candidate(name: str, score: float, group: str = "") -> Candidate:
    return Candidate(name, score, group or name, name, f"{name}.jpg")


def query(limit: int = 12, offset: int = 0, **filters: object) -> Query:
    return Query(np.ones(2, dtype=np.float32), Filters(**filters), limit=limit, offset=offset)


def hit(name: str, score: float = 0.5, stage: str = "") -> Hit:
    return Hit(name, score, HitImage(f"{name}.jpg", name), stage)


class TestHits:
    @pytest.fixture
    def hits(self) -> Hits:
        facets = {"brand": Facet("keyword", 2)}
        known = {"more": True, "took_ms": 3.0, "exact": False, "degraded": "why", "next_offset": 9, "token": "t"}
        return Hits([hit(name) for name in "abcd"], facets=facets, **known)

    def test_a_slice_keeps_the_attributes_of_the_answer(self, hits):
        part = hits[1:3]
        assert isinstance(part, Hits)
        assert [each.item for each in part] == ["b", "c"]
        for name in ("more", "took_ms", "exact", "degraded", "next_offset", "token", "facets"):
            assert getattr(part, name) == getattr(hits, name), name
        assert [each.item for each in hits[::-1]] == ["d", "c", "b", "a"]
        assert hits[-1].item == "d"
        assert len(hits) == 4

    def test_comparison_with_lists(self, hits):
        assert Hits() == []
        assert Hits() == []
        assert hits == [hit(name) for name in "abcd"]
        assert hits[:2] != hits
        assert hits != "abcd"
        assert not Hits()
        assert "and more" in repr(hits)

    def test_hits_can_be_cached(self, hits):
        again = pickle.loads(pickle.dumps(hits))
        assert again == hits
        assert (again.token, again.facets) == (hits.token, hits.facets)


class TestMMR:
    vectors = {
        "a": np.array([1, 0], np.float32),
        "b": np.array([1, 0], np.float32),
        "c": np.array([0, 1], np.float32),
    }

    def ask(self, *candidates: Candidate, diversity: float = 1.0) -> list[str]:
        retriever = WithMMR(Listed(*candidates), diversity, lambda found: self.vectors)
        (found,) = retriever.search([query()])
        return [each.key for each in found.candidates]

    def test_half_the_best_score_is_similar_enough_to_be_moved_forward(self):
        assert self.ask(candidate("a", 0.8), candidate("b", 0.7), candidate("c", 0.4)) == ["a", "c", "b"]
        assert self.ask(candidate("a", 0.8), candidate("b", 0.7), candidate("c", 0.399)) == ["a", "b", "c"]

    def test_the_first_hundred_are_reordered(self):
        listed = Listed(candidate("a", 0.8))
        WithMMR(listed, 0.5, lambda found: self.vectors).search([query(limit=3), query(limit=3, offset=100)])
        assert [(each.offset, each.limit) for each in listed.queries] == [(0, 100), (100, 3)]

    def test_several_queries_are_answered_in_order(self):
        listed = Listed(candidate("a", 0.8), candidate("b", 0.7))
        answers = WithMMR(listed, 0.5, lambda found: self.vectors).search([query(limit=1), query(limit=1, offset=1)])
        assert [[each.key for each in found.candidates] for found in answers] == [["a"], ["b"]]
        assert [found.more for found in answers] == [True, False]

    def test_a_page_across_the_window_adds_up(self, monkeypatch):
        monkeypatch.setattr(WithMMR, "window", 2)
        listed = Listed(*(candidate(name, 1 - n / 100) for n, name in enumerate("abcde")))
        (found,) = WithMMR(listed, 0.5, lambda found: {}).search([query(limit=3, offset=1)])
        assert [each.key for each in found.candidates] == ["b", "c", "d"]
        assert found.more


class TestFallback:
    categories = {"a": "hats", "b": "caps", "c": "caps", "d": "bags"}

    def ask(self, limit: int, offset: int = 0, **groups: str) -> tuple[Candidates, Listed]:
        found = [candidate(name, 0.9 - n / 10, groups.get(name, "")) for n, name in enumerate("abcd")]
        listed = Listed(*found, categories=self.categories)
        retriever = WithFallback(listed, [("parent", ("hats", "caps")), ("wider", ())])
        (answer,) = retriever.search([query(limit, offset, categories=("hats",))])
        return answer, listed

    def test_each_stage_adds_what_the_ones_before_lack(self):
        answer, _ = self.ask(limit=12)
        assert [(each.key, each.stage) for each in answer.candidates] == [
            *(("a", ""), ("b", "parent"), ("c", "parent")),
            ("d", "wider"),
        ]
        assert not answer.more

    def test_no_more_stages_than_needed(self):
        answer, listed = self.ask(limit=2)
        assert [each.key for each in answer.candidates] == ["a", "b"]
        assert answer.more
        assert len(listed.queries) == 2

    def test_pages_follow_each_other(self):
        assert [each.key for each in self.ask(limit=2, offset=2)[0].candidates] == ["c", "d"]

    def test_the_last_page_asks_for_no_more_than_an_index_returns(self):
        _, listed = self.ask(limit=100, offset=MAX_PAGE_END - 100)
        assert max(each.offset + each.limit for each in listed.queries) == MAX_PAGE_END

    def test_a_stage_is_one_request_for_all_queries_that_lack_candidates(self):
        listed = Listed(*(candidate(name, 0.9 - n / 10) for n, name in enumerate("abcd")), categories=self.categories)
        retriever = WithFallback(listed, [("parent", ("hats", "caps")), ("wider", ())])
        queries = [query(12, categories=("hats",)), query(1, keys=("d",)), query(2, categories=("caps",))]
        answers = retriever.search(queries)
        assert [[each.key for each in answer.candidates] for answer in answers] == [
            ["a", "b", "c", "d"],
            ["a"],
            ["b", "c"],
        ]
        assert [[each.key for each in answer.candidates if each.stage] for answer in answers] == [
            ["b", "c", "d"],
            [],
            [],
        ]
        assert listed.requests == [3, 2, 1]

    def test_a_group_is_found_once(self):
        answer, _ = self.ask(limit=12, b="g", d="g")
        assert [each.key for each in answer.candidates] == ["a", "b", "c"]


@pytest.fixture
def local(db, settings, media_root):
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER}


class TestVotes:
    @pytest.mark.parametrize(
        ("scores", "voted"),
        [
            ([("shoes", 0.6), ("shoes", 0.5), ("hats", 0.3), ("hats", 0.2)], "shoes"),
            ([("shoes", 0.5), ("hats", 0.5)], ""),  # half is not a majority
            ([("shoes", 0.4), ("hats", 0.3), ("sofas", 0.3)], ""),  # the largest share, but less than half
            ([("shoes", 0.5), ("hats", -0.9)], "shoes"),  # a negative score has no vote
            ([("shoes", -0.5), ("shoes", -0.6)], ""),
            ([*[("hats", 0.1)] * 10, *[("shoes", 0.9)] * 20], "hats"),  # the first ten vote
            ([], ""),
        ],
    )
    def test_a_majority_of_the_scores_decides(self, local, scores, voted):
        made = {category: product(category, category=category) for category in dict(scores)}
        hits = Hits([Hit(made[category], score, HitImage("", "")) for category, score in scores])
        assert look._voted(hits) == voted

    def test_no_majority_decides_nothing(self, local):
        for n, category in enumerate(("shoes", "hats", "sofas")):
            product(category, picture("red", mark=n), category=category)
        shop.index()
        (drawn,) = imagesim.shop_the_look(picture("red"), regions=[(0, 0, 1, 1)], whole=False).regions
        assert drawn.categories == ()
        assert len(drawn.hits) == 3
        assert all(each.score > 0.5 for each in drawn.hits)


def test_the_smallest_region_under_a_point_is_chosen():
    coat, pocket, shoe = Region(0.1, 0.1, 0.8, 0.8), Region(0.4, 0.4, 0.1, 0.1), Region(0.4, 0.9, 0.1, 0.1)
    assert regions.region_at([coat, pocket, shoe], (0.45, 0.45), (100, 100)) == pocket
    assert regions.region_at([coat, pocket, shoe], (0.2, 0.2), (100, 100)) == coat
    square = regions.region_at([], (0.5, 0.0), (200, 100))
    assert (square.x, square.y, square.width, square.height) == pytest.approx((5 / 12, 0, 1 / 6, 1 / 3))


class TestWeights:
    def meta(self) -> IndexMeta:
        embedder = get_embedder()
        return IndexMeta(fingerprint=embedder.fingerprint, dims=embedder.dims)

    def test_the_default_weight_of_unlike(self, local):
        red, blue = get_embedder().embed_images([picture("red"), picture("blue")])
        terms = [QueryTerm(take(picture("red"))), *read_terms(None, picture("blue"))]
        expected = red - 0.5 * blue
        found = query_vector.query_vector(terms, self.meta())
        assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)

    def test_several_unlike_are_averaged(self, local):
        red, blue, lime = get_embedder().embed_images([picture("red"), picture("blue"), picture("lime")])
        terms = [QueryTerm(take(picture("red"))), *read_terms(None, [(picture("blue"), 1), (picture("lime"), 0.4)])]
        expected = red - (blue + 0.4 * lime) / 2
        found = query_vector.query_vector(terms, self.meta())
        assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)

    def test_terms_that_cancel_out_leave_the_first(self, local):
        (red,) = get_embedder().embed_images([picture("red")])
        terms = read_terms((picture("red"), 1), (picture("red"), 1))
        assert query_vector.query_vector(terms, self.meta()) == pytest.approx(red, abs=1e-5)

    @pytest.mark.parametrize("weight", [0, -1, 10.1, float("nan"), float("inf"), pytest.param(10**5000, id="long")])
    def test_weights_out_of_bounds(self, local, weight):
        with pytest.raises(BadQuery, match="must be above 0 and at most 10"):
            read_terms(("red", weight), None)

    @pytest.mark.parametrize("weight", [10, 0.001])
    def test_weights_within_bounds(self, local, weight):
        assert read_terms(("red", weight), None) == [QueryTerm("red", weight)]


class TestReadPicture:
    def test_a_picture_is_decoded_once(self, local, monkeypatch):
        first = read_picture(encoded(picture("red")))
        monkeypatch.setattr(QueryImage, "decode", lambda self, *args: pytest.fail("decoded again"))
        assert take(first) is first
        assert read_picture(first) is first

    def test_the_meta_of_the_index_is_read_once(self, local, monkeypatch):
        from imagesim.indexes import get_index

        product("shoe", picture("red"))
        shop.index()
        asked: list[int] = []
        meta = get_index().meta
        monkeypatch.setattr(get_index(), "meta", lambda *args: (asked.append(1), meta(*args))[1])
        imagesim.shop_the_look(picture("red"))
        imagesim.similar_to(Product.objects.get())
        assert len(asked) == 2


def test_grades_are_smoothed(local):
    seen = product("seen", category="shoes")
    kinds = [*[Event.Kind.VIEW] * 10, *[Event.Kind.CLICK] * 5]
    pair = {"query_key": "shop.product:1", "item_key": f"shop.product:{seen.pk}", "source": "similar", "position": 0}
    Event.objects.bulk_create(Event(request=f"{n}", kind=kind, **pair) for n, kind in enumerate(kinds))
    # Half of the views at this position led to a click: 5 clicks / (10 views + 5) in units of that half.
    assert events.judged_pairs("shop.product") == {("1", str(seen.pk)): pytest.approx(5 / (0.5 * (10 + 5)))}


def test_a_traceback_with_local_variables_holds_no_photo():
    """Error trackers send the ``repr`` of each variable of each frame, up to a megabyte."""
    photo = take(encoded(picture("red")))
    assert isinstance(photo.source, bytes)
    assert "PNG" not in repr(QueryTerm(photo))
    assert len(repr(Query(np.ones(640, dtype=np.float32)))) < 500
