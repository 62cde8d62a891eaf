"""The hook for reranking: what a plan changes, on every face, and that nothing changes without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model

import imagesim
from imagesim.indexes import get_index
from imagesim.indexes.validation import MAX_NONE_OF
from imagesim.items.registry import key_of, registry
from imagesim.pages.widgets import similar_hits
from imagesim.retrieval import rerank
from imagesim.retrieval.rerank import Pin, Plan, Question
from imagesim.retrieval.suggestions import suggest
from imagesim.types import Filters, Hits, Message
from tests import shop
from tests.shop import encoded, picture

pytestmark = pytest.mark.django_db


@pytest.fixture(params=shop.LOCAL_DAILY)
def index_kind(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _index(index_kind, request, settings, media_root) -> Iterator[None]:
    throttles = {"similar": None, "search": None, "look": None, "refused": None}
    with shop.with_index(request, settings, index_kind, MIN_RELEVANCE=0.0, REST_THROTTLES=throttles):
        yield


@pytest.fixture
def shelf() -> dict[str, Any]:
    return shop.shelf(with_texts=True)


class Fixed:
    """Gives the same plan for every question, and remembers the questions."""

    def __init__(self, plan: Plan | None) -> None:
        self.fixed, self.version = plan, "1"
        self.label_categories: dict[str, tuple[str, ...]] = {}
        self.variants: tuple[str, ...] = ()
        self.questions: list[Question] = []

    def plan(self, question: Question) -> Plan | None:
        self.questions.append(question)
        return self.fixed


def names(hits: Hits) -> list[str]:
    return [hit.item.name for hit in hits]


def faces(shelf: dict[str, Any], **arguments: Any) -> dict[str, Hits]:
    """Return the answer of every face for something red."""
    photo = encoded(picture("red"))
    look = imagesim.shop_the_look(photo, regions=[(0, 0, 1, 1)], **arguments)
    return {
        "similar": imagesim.similar_to(shelf["red"], **arguments),
        "words": imagesim.search(text="red", **arguments),
        "photo": imagesim.search(image=photo, **arguments),
        "look": look.hits,
        "region": look.regions[0].hits,
    }


def backwards(judged: Any, placed: Any) -> Any:
    return [each.moved_by("backwards") for each in reversed(judged)]


def test_what_is_left_out_is_on_no_face(shelf):
    none_of = (Filters(categories=("hats",)), Filters(conditions=registry_condition("brand", "zeta")))
    asked = Fixed(Plan(none_of=none_of))
    with rerank.replaced_by(asked):
        for face, hits in faces(shelf).items():
            assert set(names(hits)) & {"hat", "navy", "dark"} == set(), face
            assert {"orange", "blue"} <= set(names(hits)), face
        assert [each.text for each in suggest("hat")] == []
        facets = imagesim.search(text="red", facets=["category"]).facets
        assert dict(facets["category"].values) == {"shoes": 3}
    assert {question.where for question in asked.questions} == {"similar", "words", "photo", "look"}
    (similar,) = [question for question in asked.questions if question.where == "similar"]
    assert (similar.item, similar.key, similar.categories) == (shelf["red"], key_of(shelf["red"]), ("shoes",))
    assert "hat" in [each.text for each in suggest("hat")]


def test_exclusions_beside_a_filter_of_the_request_are_as_many_as_an_index_takes(shelf):
    none_of = tuple(Filters(categories=(f"none {number}",)) for number in range(MAX_NONE_OF))
    with rerank.replaced_by(Fixed(Plan(none_of=none_of))):
        found = names(imagesim.similar_to(shelf["red"], filters={"brand__not_in": ["zeta"]}))
    assert found == ["hat", "orange", "navy", "blue"]
    assert "dark" in names(imagesim.similar_to(shelf["red"]))


def registry_condition(name: str, value: str) -> Any:
    from imagesim.retrieval.filters import build_conditions

    return build_conditions({name: value}, tuple(registry))


def test_pins_hold_their_place_on_every_page_and_obey_filters(shelf):
    pins = (Pin(key_of(shelf["navy"]), 0, "first"), Pin(key_of(shelf["blue"]), 2, "third"))
    with rerank.replaced_by(Fixed(Plan(pins=pins))):
        for face, hits in faces(shelf).items():
            assert names(hits)[2] == "blue", face
            assert len(set(names(hits))) == len(hits), face
            if face == "region":  # of shoes
                continue
            assert names(hits)[0] == "navy", face
            assert (hits[0].rules, hits[1].rules, hits[2].rules) == (("first",), (), ("third",)), face
        paged = [name for offset in range(6) for name in names(imagesim.search(text="red", limit=1, offset=offset))]
        assert paged == names(imagesim.search(text="red"))
        assert "navy" not in names(imagesim.search(text="red", in_stock=True))
        assert "navy" not in names(imagesim.search(text="red", category="shoes"))


@pytest.mark.parametrize("arguments", [{}, {"same_category": True, "fallback": True}, {"diversity": 0.5}])
def test_pins_are_no_request_more(shelf, monkeypatch, arguments):
    def requests() -> int:
        count = 0
        index = get_index()
        search = index.search

        def counting(queries: Any, **given: Any) -> Any:
            nonlocal count
            count += 1
            return search(queries, **given)

        monkeypatch.setattr(index, "search", counting)
        imagesim.similar_to(shelf["red"], **arguments)
        monkeypatch.undo()
        return count

    usual = requests()
    with rerank.replaced_by(Fixed(Plan(pins=(Pin(key_of(shelf["navy"]), 0),)))):
        assert requests() == usual
        assert names(imagesim.similar_to(shelf["red"], **arguments))[0] == "navy"


def test_an_arrangement_is_cut_into_pages_and_named(shelf):
    plain = faces(shelf)
    with rerank.replaced_by(Fixed(Plan(arrange=backwards, fields=("brand", "in_stock")))):
        for face, hits in faces(shelf).items():
            if face != "region":
                assert names(hits) == names(plain[face])[::-1], face
            assert {hit.rules for hit in hits} == {("backwards",)}, face
        for limit in (1, 2, 4):
            pages = [imagesim.similar_to(shelf["red"], limit=limit, offset=n) for n in range(0, 5, limit)]
            assert [name for page in pages for name in names(page)] == names(plain["similar"])[::-1]


def test_other_words_and_alternatives(shelf):
    with rerank.replaced_by(Fixed(Plan(text="blue"))):
        assert names(imagesim.search(text="couch"))[0] == "blue"
    with rerank.replaced_by(Fixed(Plan(alternatives=("navy",)))):
        assert {"blue", "navy"} == set(names(imagesim.search(text="blue"))[:2])


def test_messages_and_rules_in_rest_are_for_whom_they_are(shelf, client):
    plan = Plan(pins=(Pin(key_of(shelf["navy"]), 0, "Navy first"),), messages=(Message("Sale!", "/sale/"),))
    rerank.register(Fixed(plan))
    answer = client.get("/api/visual/search/?q=red").json()
    assert answer["messages"] == [{"text": "Sale!", "url": "/sale/"}]
    assert "rules" not in answer["results"][0]
    client.force_login(get_user_model().objects.create_superuser("boss"))
    answer = client.get("/api/visual/search/?q=red").json()
    assert [each["rules"] for each in answer["results"][:2]] == [["Navy first"], []]
    look = client.post("/api/visual/look/", {"image": file()}).json()
    assert look["messages"] == [{"text": "Sale!", "url": "/sale/"}]
    rerank.register(None)
    assert client.get("/api/visual/search/?q=red").json()["messages"] == []


def file() -> Any:
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile("red.png", encoded(picture("red")))


def test_a_cached_answer_is_that_of_the_rules_in_force(shelf):
    first = Fixed(Plan(messages=(Message("one"),)))
    rerank.register(first)
    assert similar_hits(shelf["red"], timeout=60).messages == (Message("one"),)
    first.fixed = None
    assert similar_hits(shelf["red"], timeout=60).messages == (Message("one"),)
    first.version = "2"
    assert similar_hits(shelf["red"], timeout=60).messages == ()


def test_no_plan_changes_nothing(shelf):
    def plain(hits: Hits) -> list[Any]:
        return [(hit.item.pk, hit.score, hit.relevance, hit.rules) for hit in hits]

    usual = {face: plain(hits) for face, hits in faces(shelf).items()}
    for plan in (None, Plan()):
        with rerank.replaced_by(Fixed(plan)):
            assert {face: plain(hits) for face, hits in faces(shelf).items()} == usual


def test_what_a_rule_puts_there_is_not_found_by_looks(shelf):
    with rerank.replaced_by(Fixed(Plan(pins=(Pin(key_of(shelf["navy"]), 0, "first"),)))):
        hits = imagesim.search(text="scarlet")
    assert names(hits)[0] == "navy"
    assert not hits.messages


def test_pins_where_the_model_knows_no_words(shelf, settings):
    settings.IMAGESIM = settings.IMAGESIM | {"EMBEDDER": shop.EMBEDDER | {"OPTIONS": {"supports_texts": False}}}
    with rerank.replaced_by(Fixed(Plan(pins=(Pin(key_of(shelf["navy"]), 0, "first"),)))):
        hits = imagesim.search(text="hat")
    assert names(hits)[:2] == ["navy", "hat"]
