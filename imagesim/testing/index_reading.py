"""The part of the contract of an index that concerns searches and counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesim.exceptions import BadQuery, ModelMismatch
from imagesim.filter_types import FILTER_TYPES
from imagesim.indexes import BaseIndex
from imagesim.testing.index_filters import FilterContract
from imagesim.testing.index_samples import DIMS, META, assert_answers, axis, catalogue, entry, expected, keys, queries
from imagesim.types import SIMILARITIES, Condition, Filters, FilterValue, Query, Removal


class ReadingContract(FilterContract):
    def test_best_first_and_scores_are_cosines(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            entry("same", axis(0)),
            entry("near", axis(0, towards=1, share=0.5)),
            entry("across", axis(1)),
            entry("opposite", -axis(0)),
        )
        [answer] = index.search([Query(axis(0))])
        assert [match.key.partition(":")[2] for match in answer.candidates] == ["same", "near", "across", "opposite"]
        assert [match.score for match in answer.candidates] == pytest.approx([1, 0.8944, 0, -1], abs=1e-3)
        assert all(-1 <= match.score <= 1 and type(match.score) is float for match in answer.candidates)

    def test_an_item_scores_by_its_best_image(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(1), axis(0), axis(2)), entry(2, axis(0, towards=3, share=0.3)))
        [answer] = index.search([Query(axis(0))])
        assert [match.image_name for match in answer.candidates] == ["photos/1-1.jpg", "photos/2-0.jpg"]
        assert keys(index, Query(axis(2))) == ["1", "2"]

    def test_one_candidate_per_group(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            entry("red", axis(0, towards=1, share=0.1), group="shirt"),
            entry("blue", axis(0), group="shirt", in_stock=False),
            entry("hat", axis(0, towards=2, share=0.5)),
            entry("cap", axis(0, towards=2, share=0.6), group="hat"),
        )
        assert keys(index, Query(axis(0))) == ["blue", "hat", "cap"]
        assert keys(index, Query(axis(0), collapse=False)) == ["blue", "red", "hat", "cap"]
        assert keys(index, Query(axis(0), Filters(in_stock=True))) == ["red", "hat", "cap"]

    def test_items_without_a_group_are_not_collapsed(self, filled: Callable[..., BaseIndex]) -> None:
        """But a parent product and its variants, whose group is the parent, are collapsed."""
        index = filled(
            entry("parent", axis(0)), entry("small", axis(0, towards=1, share=0.1), group="shop.product:parent")
        )
        assert keys(index, Query(axis(0))) == ["parent"]
        assert keys(index, Query(axis(0), Filters(exclude_groups=("shop.product:parent",)))) == []

    def test_ties_are_ordered_by_key_and_pages_are_stable(self, filled: Callable[..., BaseIndex]) -> None:
        names = [f"{n:03}" for n in range(60)]
        shuffled = np.random.default_rng(3).permutation(names)
        index = filled(*(entry(name, axis(0), axis(1)) for name in shuffled))
        paged = [key for offset in range(0, 70, 7) for key in keys(index, Query(axis(0), limit=7, offset=offset))]
        assert paged == names
        index.write([entry("007", axis(0), version=2), Removal("shop.product:030", 2)])
        index.refresh()
        assert keys(index, Query(axis(0), limit=60)) == [name for name in names if name != "030"]

    def test_more_tells_whether_further_candidates_follow(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(*(entry(n, axis(0, towards=1, share=n / 10)) for n in range(5)))
        pages = index.search([Query(axis(0), limit=2, offset=offset) for offset in (0, 2, 4, 6)])
        assert [len(page) for page in pages] == [2, 2, 1, 0]
        assert [page.more for page in pages] == [True, True, False, False]
        assert [page.more for page in index.search([Query(axis(0), limit=n) for n in (0, 4, 5)])] == [True, True, False]

    def test_min_score(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(
            entry(1, axis(0)), entry(2, axis(0, towards=1, share=0.5)), entry(3, axis(1)), entry(4, -axis(0))
        )
        assert keys(index, Query(axis(0), min_score=0.5)) == ["1", "2"]
        assert keys(index, Query(axis(0), min_score=-0.5)) == ["1", "2", "3"]
        assert keys(index, Query(axis(0), min_score=-1.0)) == ["1", "2", "3", "4"]
        [page] = index.search([Query(axis(0), min_score=0.5, limit=1)])
        assert (len(page), page.more) == (1, True)
        [page] = index.search([Query(axis(0), min_score=0.5, limit=2)])
        assert (len(page), page.more) == (2, False)

    def test_an_equal_image_has_the_highest_score(self, filled: Callable[..., BaseIndex]) -> None:
        vectors = np.random.default_rng(1).standard_normal((40, DIMS)).astype(np.float32)
        index = filled(*(entry(f"{n:02}", vector) for n, vector in enumerate(vectors)))
        for similarity in SIMILARITIES:
            found = index.search([Query(vector, min_score=1.0, similarity=similarity) for vector in vectors])
            assert [[each.key for each in answer.candidates] for answer in found] == [
                [f"shop.product:{n:02}"] for n in range(40)
            ]

    def test_several_queries_are_answered_in_order(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(*(entry(n, axis(n), in_stock=n % 2 == 0) for n in range(8)))
        queries = [Query(axis(n), Filters(in_stock=None if n < 4 else True), limit=1 + n % 2) for n in range(8)]
        answers = index.search(queries)
        assert [answer.candidates[0].key for answer in answers[:4]] == [f"shop.product:{n}" for n in range(4)]
        for query, answer in zip(queries, answers, strict=True):
            assert answer.candidates == index.search([query])[0].candidates

    def test_words_of_any_language(self, filled: Callable[..., BaseIndex]) -> None:
        names = ["Žluťoučký kůň", "商品/七", "👗", "a b+c?d=e&f#g%h", "'; DROP TABLE x; --", '"\\\n', "İstanbul", "ß"]
        index = filled(
            *(
                entry(name, axis(n), group=f"group {name}", categories=(name,), filters={"brand": name})
                for n, name in enumerate(names)
            )
        )
        for n, name in enumerate(names):
            key = f"shop.product:{name}"
            filters = Filters(categories=(name,), conditions=(Condition("brand", "in", (name,)),))
            [answer] = index.search([Query(axis(n), filters)])
            assert [(match.key, match.group) for match in answer.candidates] == [(key, f"group {name}")]
            assert (
                index.count(Filters(exclude_keys=(key,), exclude_groups=(f"group {names[n - 1]}",))) == len(names) - 2
            )
        assert [key for key, _ in index.scan()] == sorted(f"shop.product:{name}" for name in names)
        assert {r.status for r in index.write([Removal(f"shop.product:{name}", 2) for name in names])} == {"done"}
        index.refresh()
        assert index.count() == 0

    def test_candidates_include_the_requested_values(self, filled: Callable[..., BaseIndex]) -> None:
        """Values have their canonical form on every index, for searches by vector and by words."""
        values: dict[str, FilterValue] = {
            "brand": "acme",
            "colour": ("red", "blue"),
            "price": Decimal("9.99"),
            "sale": True,
            "added": date(1950, 5, 5),
        }
        index = filled(
            entry("a", axis(0), filters=values),
            entry("b", axis(0, towards=1, share=0.5), in_stock=False, filters={"brand": None}),
        )
        fields = (*values, "in_stock")
        full, bare = index.search([Query(axis(0), fields=fields)])[0].candidates
        added = FILTER_TYPES["date"].canonical(date(1950, 5, 5))
        given = {"brand": ("acme",), "colour": ("red", "blue"), "price": (9.99,), "sale": (True,), "added": (added,)}
        assert dict(full.values) == given | {"in_stock": (True,)}
        assert dict(bare.values) == {"in_stock": (False,)}
        assert index.search([Query(axis(0))])[0].candidates[0].values == {}
        with pytest.raises(BadQuery, match="brnd"):
            index.search([Query(axis(0), fields=("brnd",))])

    def test_an_invalid_query_is_rejected(self, filled: Callable[..., BaseIndex]) -> None:
        index = filled(entry(1, axis(0)))
        for query in (
            Query(axis(0), limit=-1),
            Query(axis(0), offset=-1),
            Query(axis(0), limit=10**6),
            Query(axis(0), min_score=1.5),
            Query(np.zeros(DIMS, dtype=np.float32)),
            Query(np.full(DIMS, np.nan, dtype=np.float32)),
        ):
            with pytest.raises(BadQuery):
                index.search([query])

    @pytest.mark.parametrize(
        "query",
        [Query(np.ones(DIMS + 1, dtype=np.float32)), Query(axis(0), fingerprint="another-model")],
    )
    def test_a_query_of_another_model_is_rejected(self, filled: Callable[..., BaseIndex], query: Query) -> None:
        with pytest.raises(ModelMismatch, match="embed it by the model"):
            filled(entry(1, axis(0))).search([query])

    def test_the_fingerprint_of_the_right_model_passes(self, filled: Callable[..., BaseIndex]) -> None:
        assert keys(filled(entry(1, axis(0))), Query(axis(0), fingerprint=META.fingerprint)) == ["1"]

    # Exact and approximate.

    def test_exact_and_approximate_search_agree(self, filled: Callable[..., BaseIndex]) -> None:
        rng = np.random.default_rng(5)
        index = filled(
            *(
                entry(n, *rng.standard_normal((1 + n % 3, DIMS)).astype(np.float32), group=f"g{n // 2}")
                for n in range(600)
            )
        )
        assert index.supports_approximate == self.approximate
        hits = total = 0
        for _ in range(20):
            vector = rng.standard_normal(DIMS).astype(np.float32)
            exact, approximate = index.search([Query(vector, limit=10, exact=exact) for exact in (True, False)])
            assert exact.exact
            assert approximate.exact == (not self.approximate)
            hits += len({m.key for m in exact.candidates} & {m.key for m in approximate.candidates})
            total += 10
            truth = {match.key: match.score for match in exact.candidates}
            assert all(truth.get(m.key, m.score) == pytest.approx(m.score, abs=1e-5) for m in approximate.candidates)
        assert hits / total >= 0.99

    def test_a_page_is_filled_if_the_nearest_are_variants_of_few_products(
        self, filled: Callable[..., BaseIndex]
    ) -> None:
        rng = np.random.default_rng(6)
        variants = [
            entry(f"v{n:03}", axis(0) + 0.05 * rng.standard_normal(DIMS).astype(np.float32), group="one")
            for n in range(500)
        ]
        others = [entry(f"other{n}", axis(1) + 0.01 * n * axis(2)) for n in range(5)]
        index = filled(*variants, *others)
        [answer] = index.search([Query(axis(0), limit=4, exact=False)])
        assert answer.candidates[0].group == "one"
        assert len({match.group for match in answer.candidates}) == 4
        assert answer.more

    def test_answers_equal_the_reference(self, index: BaseIndex) -> None:
        entries = catalogue()
        index.promote(index.create(META))
        assert {result.status for result in index.write(entries)} == {"done"}
        index.refresh()

        @settings(
            max_examples=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
        )
        @given(st.lists(queries(), min_size=1, max_size=4))
        def check(asked: list[Query]) -> None:
            for query, answer in zip(asked, index.search(asked), strict=True):
                assert_answers(answer, entries, query)
                assert index.count(query.filters) == len(
                    expected(entries, Query(query.vector, query.filters, collapse=False))
                )

        check()

    def test_similarities_order_and_the_score_is_the_cosine(self, filled: Callable[..., BaseIndex]) -> None:
        """The nearest by L1 distance differs from the nearest by cosine."""
        spread = np.ones(DIMS, dtype=np.float32)
        spread[0] = 12
        index = filled(entry("far", axis(5)), entry("even", spread), entry("turned", axis(0, towards=1, share=0.75)))
        by = {s: keys(index, Query(axis(0), similarity=s)) for s in SIMILARITIES}
        assert by["cosine"] == by["dot_product"] == by["l2"] == ["even", "turned", "far"]
        assert by["l1"] == ["turned", "even", "far"]
        [answer] = index.search([Query(axis(0), similarity="l1", min_score=0.5)])
        assert [match.score for match in answer.candidates] == pytest.approx([0.8, 0.9515], abs=1e-3)
        with pytest.raises(BadQuery, match=r"'cosine', 'dot_product', 'l1' or 'l2'"):
            index.search([Query(axis(0), similarity="hamming")])  # type: ignore[arg-type]

    def test_l1_agrees_with_float64(self, filled: Callable[..., BaseIndex]) -> None:
        rng = np.random.default_rng(8)
        entries = [entry(n, *rng.standard_normal((1 + n % 3, DIMS)).astype(np.float32)) for n in range(300)]
        index = filled(*entries)
        for exact in (None, True):
            query = rng.standard_normal(DIMS)
            query /= np.linalg.norm(query)
            true = sorted(
                entries,
                key=lambda e: min(np.abs(i.vector / np.linalg.norm(i.vector) - query).sum() for i in e.images),
            )
            asked = Query(query.astype(np.float32), similarity="l1", exact=exact, limit=20, offset=5)
            [answer] = index.search([asked])
            assert [match.key for match in answer.candidates] == [each.key for each in true[5:25]]
            for match, each in zip(answer.candidates, true[5:25], strict=True):
                image = next(i for i in each.images if i.digest == match.image_digest)
                assert match.score == pytest.approx(
                    float(image.vector @ query / np.linalg.norm(image.vector)), abs=1e-4
                )
