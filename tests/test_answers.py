"""Mixed queries, diversity, fallback, facets and the token of an answer, on both indexes."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.core import signing
from django.core.cache import cache
from django.utils.translation import override

import imagesim
from demo_shop.shop.models import Category, Product
from imagesim import events, images
from imagesim.embedders import get_embedder
from imagesim.exceptions import BadImage, BadQuery, NotIndexed
from imagesim.indexes import get_index
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.models import ItemImage
from imagesim.retrieval import query_vector, retriever
from imagesim.types import Candidate, Facet, Hits
from tests import shop
from tests.shop import encoded, picture, product

pytestmark = pytest.mark.django_db


@pytest.fixture(params=shop.TWO_DAILY)
def index_kind(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _index(index_kind, request, settings, media_root) -> Iterator[None]:
    with shop.with_index(request, settings, index_kind):
        yield


@pytest.fixture
def shelf() -> dict[str, Product]:
    return shop.shelf()


def names(hits: Hits) -> list[str]:
    return [hit.item.name for hit in hits]


def angles(hits: Hits) -> dict[str, float]:
    return {hit.item.name: hit.score for hit in hits}


class TestMixedQueries:
    def test_several_pictures_search_their_mean(self, shelf):
        hits = imagesim.search(like=[picture("red"), picture("blue")])
        vectors = get_embedder().embed_images([picture("red"), picture("blue")])
        middle = vectors.sum(axis=0) / np.linalg.norm(vectors.sum(axis=0))
        assert angles(hits)["red"] == pytest.approx(float(middle @ vectors[0]), abs=1e-3)
        assert names(imagesim.search(image=picture("red"), like=picture("blue"))) == names(hits)
        assert names(imagesim.search(like=(picture("red"), picture("blue")))) == names(hits)

    def test_weights_shift_the_results(self, shelf):
        assert names(imagesim.search(like=[(picture("red"), 3), picture("blue")], limit=1)) == ["red"]
        assert names(imagesim.search(like=[(picture("red"), 0.2), picture("blue")], limit=1)) == ["blue"]
        assert names(imagesim.search(like=["red^3", "blue"], limit=1)) == ["red"]
        assert names(imagesim.search(like=("blue", 0.5), limit=1)) == ["blue"]

    def test_pictures_words_and_items_combine(self, shelf):
        mixed = imagesim.search(
            like=[encoded(picture("red")), BytesIO(encoded(picture("tomato"))), "blue", shelf["navy"]]
        )
        assert len(mixed) == 6
        by_key = imagesim.search(like=f"shop.product:{shelf['navy'].pk}", limit=1)
        assert names(by_key) == ["navy"]
        assert names(imagesim.search(like=f"Shop.Product:{shelf['navy'].pk}^2", limit=1)) == ["navy"]
        assert angles(by_key)["navy"] == pytest.approx(1, abs=1e-3)

    def test_unlike_an_item(self, shelf):
        plain = imagesim.similar_to(shelf["red"])
        for unlike in ("orange", shelf["orange"], picture("orange"), [(shelf["orange"], 0.5)], ["orange^0.5"]):
            assert angles(imagesim.similar_to(shelf["red"], unlike=unlike))["orange"] < angles(plain)["orange"] - 0.1
        far = imagesim.similar_to(shelf["red"], unlike=[(shelf["orange"], 2)])
        near = imagesim.similar_to(shelf["red"], unlike=[(shelf["orange"], 0.1)])
        assert angles(far)["orange"] < angles(near)["orange"]

    def test_an_item_with_another_colour(self, shelf):
        assert names(imagesim.similar_to(shelf["red"], like="blue^4", limit=1)) == ["blue"]

    def test_terms_that_cancel_out_leave_the_first(self, shelf):
        hits = imagesim.search(like=shelf["red"], unlike=(shelf["red"], 1), limit=1)
        assert (names(hits), round(hits[0].score, 3)) == (["red"], 1.0)

    def test_a_hidden_item_is_unknown(self, shelf):
        key = f"shop.product:{shelf['navy'].pk}"
        Product.objects.filter(name="navy").update(active=False)
        with pytest.raises(BadQuery, match=f"There is no item '{key}'") as caught:
            imagesim.search(like=key)
        assert caught.value.field == "like"

    def test_an_item_without_an_embedding(self, shelf):
        with pytest.raises(NotIndexed):
            imagesim.search(text="red", like=product("bare"))

    @pytest.mark.parametrize("index_kind", ["local"], indirect=True)
    @pytest.mark.parametrize(
        ("arguments", "message", "field"),
        [
            ({"like": 7}, "'like' holds an object of type int; it can hold pictures, words and items", "like"),
            ({"like": [["red", 2]]}, "'like' holds an object of type list", "like"),
            ({"like": {"red": 1}}, "'like' holds an object of type dict", "like"),
            ({"unlike": [None]}, "'unlike' holds an object of type NoneType", "unlike"),
            ({"like": ""}, "empty", "like"),
            ({"like": "x" * 600}, "at most 500", "like"),
            ({"like": "red\0"}, "no text can hold", "like"),
            ({"like": "red^0"}, "weight 0.0 in 'like' must be above 0 and at most 10", "like"),
            ({"unlike": "red^11"}, "weight 11.0 in 'unlike'", "unlike"),
            ({"like": ("red", -1)}, "weight -1 in 'like'", "like"),
            ({"like": ("red", float("nan"))}, "weight nan", "like"),
            ({"like": "shop.product:999999"}, "no item", "like"),
            ({"like": "shop.product:x"}, "no item", "like"),
            ({"like": "shop.nothing:1"}, "not a registered model", "like"),
            ({"like": Category(pk=1)}, "not registered", "like"),
            ({"like": ["red"] * 11}, "at most 10", "like"),
            ({"unlike": "red"}, "The query is empty", "image"),
            ({"like": []}, "The query is empty", "image"),
            ({"text": "red", "components": {"colour": 0}}, "no component 'colour'; it has nothing", "components"),
            ({"text": "red", "components": "colour"}, "weights such as", "components"),
            ({"text": "red", "components": {"colour": float("inf")}}, "weights such as", "components"),
            ({"text": "red", "components": {"colour": True}}, "weights such as", "components"),
            ({"text": "red", "components": 3}, "weights such as", "components"),
            ({"text": "red", "components": "colour^99"}, "weights such as", "components"),
            ({"text": "red", "diversity": 1.1}, "number from 0 to 1", "diversity"),
            ({"text": "red", "diversity": True}, "number from 0 to 1", "diversity"),
            ({"text": "red", "diversity": float("nan")}, "number from 0 to 1", "diversity"),
            ({"text": "red", "fallback": "up"}, "'fallback' has no 'up'; it can have 'parent' or 'wider'", "fallback"),
            ({"text": "red", "fallback": 1}, "True, False or a list", "fallback"),
            ({"text": "red", "facets": ["size"]}, "'facets' has no 'size'", "facets"),
        ],
    )
    def test_invalid_arguments_are_named(self, shelf, arguments, message, field):
        with pytest.raises(BadQuery, match=message) as caught:
            imagesim.search(**arguments)
        assert caught.value.field == field

    def test_one_bad_picture_of_several(self, shelf):
        with pytest.raises(BadImage):
            imagesim.search(like=[picture("red"), b"hello"])

    def test_words_are_embedded_once(self, shelf, monkeypatch):
        seen = []
        embed = get_embedder().embed_texts
        monkeypatch.setattr(get_embedder(), "embed_texts", lambda texts: (seen.append(list(texts)), embed(texts))[1])
        first = imagesim.search(text="red", like="blue^0.1")
        again = imagesim.search(text=" red ", like="blue^0.1")
        assert (names(first), seen) == (names(again), [["red", "blue"]])

    def test_the_cache_of_text_vectors_is_bounded(self, monkeypatch):
        monkeypatch.setattr(query_vector, "CACHED_TEXTS", 2)
        seen, embed = [], get_embedder().embed_texts
        monkeypatch.setattr(get_embedder(), "embed_texts", lambda texts: (seen.extend(texts), embed(texts))[1])
        for word in ("red", "blue", "red", "green", "red", "blue"):
            query_vector.text_vectors(get_embedder(), [word])
        assert seen == ["red", "blue", "green", "blue"]

    def test_vectors_of_images_are_read_once(self, shelf, django_assert_num_queries, monkeypatch):
        monkeypatch.setattr(query_vector, "CACHED_IMAGES", 3)
        read = query_vector.image_vectors
        meta = get_index().meta()
        digests = set(ItemImage.objects.exclude(digest="").values_list("digest", flat=True))
        first, second = sorted(digests)[:2]
        with django_assert_num_queries(1):
            assert read([first], meta).keys() == {first}
        with django_assert_num_queries(1):
            both = read([first, second], meta)
        with django_assert_num_queries(0):
            again = read([first, second], meta)
        assert all(np.array_equal(again[digest], both[digest]) for digest in (first, second))
        every = read(digests, meta)
        assert len(every) == len(digests) > 3
        assert all(vector.base is None for vector in every.values())  # no views, which would keep other vectors
        with django_assert_num_queries(1):  # more than the index keeps
            assert read(digests, meta).keys() == digests
        assert read(["none"], meta) == {}

    def test_a_query_is_decoded_like_the_catalogue(self, shelf, monkeypatch):
        asked = []
        decode = images.decode
        monkeypatch.setattr(images, "decode", lambda data, **how: (asked.append(how), decode(data, **how))[1])
        imagesim.search(image=encoded(picture("red")))
        assert asked == [{"min_decode_side": get_embedder().min_decode_side}]


class TestComponents:
    @pytest.fixture
    def composed(self, settings, monkeypatch) -> dict[str, Product]:
        embedder = {"BACKEND": "tests.embedders.PartsEmbedder", "OPTIONS": {}}
        monkeypatch.setattr(shop, "EMBEDDER", embedder)
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": embedder}
        made = {
            "same": product("same", picture("red", mark=1)),
            "shape": product("shape", picture("blue", mark=1)),
            "colour": product("colour", picture("red", mark=6)),
        }
        shop.index()
        return made

    def test_the_same_shape_in_any_colour(self, composed):
        assert names(imagesim.similar_to(composed["same"], components={"colour": 0}, limit=1)) == ["shape"]
        assert names(imagesim.similar_to(composed["same"], components={"shape": 0}, limit=1)) == ["colour"]
        assert names(imagesim.similar_to(composed["same"], components="colour^-0.5", limit=1)) == ["shape"]
        assert names(imagesim.search(image=picture("red", mark=1), components={"shape": 0, "colour": 1}, limit=2))[
            -1
        ] in (
            "same",
            "colour",
        )

    def test_weights_of_the_shop_apply_by_default(self, composed, settings, monkeypatch):
        embedder = {"BACKEND": "tests.embedders.PartsEmbedder", "OPTIONS": {"weights": {"colour": 0.0}}}
        monkeypatch.setattr(shop, "EMBEDDER", embedder)
        settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": embedder}
        shop.index()
        assert names(imagesim.similar_to(composed["same"], limit=1)) == ["shape"]
        assert names(imagesim.similar_to(composed["same"], components={"colour": 3}, limit=1)) == ["colour"]

    def test_an_unknown_component(self, composed):
        with pytest.raises(BadQuery, match="no component 'size'; it has 'colour' or 'shape'"):
            imagesim.similar_to(composed["same"], components={"size": 1})
        with override("de"), pytest.raises(BadQuery, match="keine Komponente 'size'; es hat 'colour' oder 'shape'"):
            imagesim.similar_to(composed["same"], components={"size": 1})


class TestDiversity:
    @pytest.fixture
    def many(self) -> dict[str, Product]:
        made = {f"red{n}": product(f"red{n}", picture((250 - n, 0, 0))) for n in range(4)}
        made |= {"orange": product("orange", picture("orange")), "olive": product("olive", picture("olive"))}
        shop.index()
        return made

    def test_diverse_results_after_the_best(self, many):
        plain, varied = imagesim.search(text="red"), imagesim.search(text="red", diversity=0.7)
        assert names(plain)[0] == names(varied)[0]
        assert set(names(plain)[:4]) == {"red0", "red1", "red2", "red3"}
        assert not names(varied)[1].startswith("red")
        assert sorted(names(plain)) == sorted(names(varied))
        assert angles(plain) == pytest.approx(angles(varied), abs=1e-3)
        assert names(imagesim.search(text="red", diversity=0)) == names(plain)

    @pytest.mark.parametrize("window", [100, 6, 3])
    def test_pages_are_slices_of_one_order(self, many, monkeypatch, window):
        monkeypatch.setattr(retriever.WithMMR, "window", window)
        whole = names(imagesim.search(text="red", diversity=0.6, limit=12))
        cut: list[str] = []
        offset, more = 0, True
        while more:
            page = imagesim.search(text="red", diversity=0.6, limit=2, offset=offset)
            cut, offset, more = cut + names(page), page.next_offset, page.more
        assert cut == whole
        assert len(set(cut)) == 6

    def test_much_less_similar_items_are_not_promoted(self, many):
        product("cyan", picture("cyan"))
        shop.index()
        varied = imagesim.search(text="red", diversity=1)
        assert names(varied)[-1] == "cyan"

    def test_items_without_embedding_count_as_dissimilar(self, many):
        from imagesim.models import Embedding

        item = many["red0"]
        Embedding.objects.all().delete()
        assert len(imagesim.search(text="red", diversity=0.5)) == 6
        assert item.name in names(imagesim.search(text="red", diversity=0.5))


def test_mmr_follows_the_paper():
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((20, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[0] + 0.1
    query /= np.linalg.norm(query)
    scores = vectors @ query
    ranked = sorted(range(20), key=lambda n: -scores[n])
    candidates = [Candidate(f"k{n}", float(scores[n]), f"k{n}", f"d{n}", "") for n in ranked]
    for diversity in (0.0, 0.3, 0.8, 1.0):
        chosen = [ranked[0]]
        while len(chosen) < 20:
            rest = [n for n in ranked if n not in chosen]
            chosen.append(
                max(
                    rest,
                    key=lambda n: (
                        (1 - diversity) * scores[n] - diversity * max(vectors[n] @ vectors[c] for c in chosen)
                    ),
                )
            )
        found = retriever.mmr(candidates, {f"d{n}": vectors[n] for n in range(20)}, diversity)
        assert [candidate.key for candidate in found] == [f"k{n}" for n in chosen]


class TestFallback:
    @pytest.fixture
    def tree(self) -> dict[str, Product]:
        footwear = Category.objects.create(name="Footwear", slug="footwear")
        for slug in ("boots", "sandals"):
            Category.objects.create(name=slug, slug=slug, parent=footwear)
        made = {
            "boot": product("boot", picture("red"), category="boots"),
            "boot2": product("boot2", picture("navy"), category="boots"),
            "sandal": product("sandal", picture("darkred"), category="sandals"),
            "sandal2": product("sandal2", picture("blue"), category="sandals"),
            "hat": product("hat", picture("tomato"), category="hats"),
        }
        shop.index()
        return made

    def stages(self, hits: Hits) -> list[tuple[str, str]]:
        return [(hit.item.name, hit.stage) for hit in hits]

    EVERYTHING: list[tuple[str, str]] = [
        ("boot2", ""),
        ("sandal", "parent"),
        ("sandal2", "parent"),
        ("hat", "wider"),
    ]

    def test_own_category_then_its_parents_then_all_categories(self, tree):
        hits = imagesim.similar_to(tree["boot"], same_category=True, fallback=True)
        assert self.stages(hits) == self.EVERYTHING
        assert (hits.more, hits.degraded) == (False, "")
        assert self.stages(imagesim.similar_to(tree["boot"], same_category=True)) == self.EVERYTHING[:1]

    def test_chosen_stages(self, tree):
        only = imagesim.similar_to(tree["boot"], same_category=True, fallback=["parent"])
        assert self.stages(only) == self.EVERYTHING[:3]
        wider = imagesim.similar_to(tree["boot"], same_category=True, fallback="wider")
        assert self.stages(wider)[0] == ("boot2", "")
        assert {stage for _name, stage in self.stages(wider)[1:]} == {"wider"}
        assert sorted(names(wider)) == ["boot2", "hat", "sandal", "sandal2"]

    def test_a_search_falls_back_only_when_necessary(self, tree):
        hits = imagesim.search(text="red", category="boots", fallback=True, limit=2)
        assert self.stages(hits) == [("boot", ""), ("boot2", "")]
        assert hits.more
        assert self.stages(imagesim.search(text="red", category="hats", fallback=True, limit=2))[1][1] == "wider"

    def test_pages_continue_through_the_stages(self, tree):
        found, offset, more = [], 0, True
        while more:
            hits = imagesim.similar_to(tree["boot"], same_category=True, fallback=True, limit=1, offset=offset)
            found += self.stages(hits)
            offset, more = hits.next_offset, hits.more
        assert found == self.EVERYTHING

    def test_no_fallback_without_a_category(self, tree):
        assert {stage for _name, stage in self.stages(imagesim.search(text="red", fallback=True))} == {""}

    def test_filters_and_groups_apply_in_every_stage(self, tree):
        product("boot3", picture("maroon"), category="hats", parent=tree["boot2"], price="10")
        product("cap", picture("maroon"), category="hats", price="500")
        shop.index()
        hits = imagesim.similar_to(tree["boot"], same_category=True, fallback=True, filters={"price__lt": 100})
        assert self.stages(hits) == self.EVERYTHING
        every = imagesim.similar_to(tree["boot"], same_category=True, fallback=True, collapse=False)
        assert sorted(names(every)) == ["boot2", "boot3", "cap", "hat", "sandal", "sandal2"]

    def test_diversity_within_each_stage(self, tree):
        hits = imagesim.similar_to(tree["boot"], same_category=True, fallback=True, diversity=0.5)
        assert [stage for _name, stage in self.stages(hits)] == ["", "parent", "parent", "wider"]

    def test_a_shop_can_define_the_category_tree(self, tree, monkeypatch):
        items = registry.for_model(Product)
        monkeypatch.setattr(items, "get_category_parents", lambda: {"boots": ["attic"], "hats": "attic"}, raising=False)
        cache.clear()
        hits = imagesim.similar_to(tree["boot"], same_category=True, fallback="parent")
        assert self.stages(hits) == [("boot2", ""), ("hat", "parent")]

    def test_without_a_tree_the_fallback_is_all_categories(self, tree, monkeypatch):
        monkeypatch.setattr(type(registry.for_model(Product)), "category_parent", "")
        cache.clear()
        hits = imagesim.similar_to(tree["boot"], same_category=True, fallback=True)
        assert [stage for _name, stage in self.stages(hits)] == ["", "wider", "wider", "wider"]
        assert Items(Product).get_category_parents() == {}


class TestFacets:
    def test_an_empty_text_is_not_a_facet_value(self, shelf):
        product("bare", picture("red"), colour="", brand="")
        shop.index()
        hits = imagesim.search(text="red", facets=["brand", "colour"])
        assert hits.facets["brand"] == Facet("keyword", 6, (("acme", 5), ("zeta", 1)))
        assert hits.facets["colour"].count == 6

    def test_facets_count_matches_without_their_own_condition(self, shelf):
        hits = imagesim.search(text="red", category="shoes", filters={"colour": "red", "price__lte": 40}, facets=True)
        assert set(names(hits)) == {"red", "dark"}
        assert list(hits.facets) == ["category", "in_stock", "brand", "colour", "price"]
        assert hits.facets["category"] == Facet("keyword", 3, (("shoes", 2), ("hats", 1)))
        assert hits.facets["colour"] == Facet("keyword", 3, (("red", 2), ("orange", 1)))
        assert hits.facets["price"] == Facet("number", 2, minimum=10.0, maximum=20.0)
        assert hits.facets["brand"] == Facet("keyword", 2, (("acme", 1), ("zeta", 1)))
        assert hits.facets["in_stock"] == Facet("boolean", 2, ((True, 2),))

    def test_what_is_excluded_is_not_counted_in_its_own_facet_either(self, shelf):
        hits = imagesim.search(text="red", filters={"colour__not_in": ["blue"]}, facets=["colour", "brand"])
        assert hits.facets["colour"] == Facet("keyword", 4, (("red", 3), ("orange", 1)))
        assert hits.facets["brand"] == Facet("keyword", 4, (("acme", 3), ("zeta", 1)))

    def test_only_requested_facets_are_counted(self, shelf):
        hits = imagesim.similar_to(shelf["red"], in_stock=True, facets=["in_stock", "brand"])
        assert hits.facets == {
            "in_stock": Facet("boolean", 5, ((True, 3), (False, 2))),
            "brand": Facet("keyword", 3, (("acme", 2), ("zeta", 1))),
        }
        assert imagesim.similar_to(shelf["red"]).facets == {}


class TestToken:
    def test_no_token_while_events_are_disabled(self, shelf):
        assert imagesim.search(text="red").token == ""

    def test_the_token_describes_the_query(self, shelf, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}
        hits = imagesim.similar_to(shelf["red"], same_category=True)
        said: dict[str, Any] = signing.loads(hits.token, salt=events.SALT)
        assert (said["s"], said["q"], said["c"]) == ("similar", f"shop.product:{shelf['red'].pk}", "shoes")
        other = signing.loads(imagesim.search(text="red").token, salt=events.SALT)
        assert (other["s"], other["q"], other["c"]) == ("search", "", "")
        assert other["r"] != said["r"]


def test_a_hit_names_the_matching_picture_and_its_score(shelf):
    item = product("two", picture("blue", mark=2), picture("green", mark=5))
    shop.index()
    (hit,) = imagesim.search(image=picture("green", mark=5), limit=1)
    assert (hit.item, hit.image.name) == (item, item.photos.get(position=1).file.name)
    assert hit.score == pytest.approx(1, abs=1e-3)
