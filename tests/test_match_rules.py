"""What is shown after entries that have all words of a query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.db.models import Value
from django.db.models.functions import Replace

import imagesim
from demo_shop.shop.models import Category
from imagesim.indexing.rebuild import rebuild
from imagesim.language.word_roles import Roles
from imagesim.retrieval.fusion import BY_NAME, KIND_MATCH
from imagesim.retrieval.words.match_rules import (
    HARDLY,
    LOOKALIKE,
    OTHER_CATEGORY,
    lower_lookalikes,
    lower_other_categories,
    lower_other_departments,
    names_entries,
    raise_heads,
)
from imagesim.retrieval.words.query_text import QueryTexts
from imagesim.retrieval.words.reader import QueryReader
from imagesim.types import Candidate
from tests import shop
from tests.shop import forget, picture, product

SHOWN = 0.15
"""A floor that what looks alike passes in these shops of few pictures."""

ROLES = Roles(
    {"bike": ("children", "racing"), "sofa": ("sofas",), "jack": ("jackets",), "headtorch": ("headtorches",)},
    frozenset({"blue", "modern", "balanc"}),
    things=frozenset({"starry", "night", "settee", "lederjack", "torch", "coat"}),
    colours=frozenset({"blue"}),
    names={("sofa",): ("sofas",), ("jack",): ("jackets",), ("headtorch",): ("headtorches",)},
)


def read(text: str, roles: Roles = ROLES, language: str = "en") -> QueryTexts:
    words = {"balance", "starry", "night", "settee", "torch", "bike", "blue", "modern"} if language == "en" else set()
    return QueryReader(roles, [language], words.__contains__).read_texts(text)


def candidate(key: str, category: str, text: float = 0.0) -> Candidate:
    return Candidate(key, 0.5, "", key, "", categories=(category,), text=text, relevance=0.9)


@pytest.mark.django_db
@pytest.mark.slow
class TestAnswers:
    @pytest.fixture(params=shop.TWO_DAILY)
    def index_kind(self, request) -> str:
        return request.param

    @pytest.fixture(autouse=True)
    def _index(self, index_kind, request, settings, media_root) -> Iterator[None]:
        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER, "INDEX": shop.index_for(request, index_kind)}
        yield
        shop.drop_index()

    @pytest.fixture
    def everything(self) -> None:
        """Products whose pictures are similar within their category."""
        things = {
            "paintings": ("red", "Starry Night", "Water Lilies", "Mona Lisa", "The Scream", "The Kiss", "Sunflowers"),
            "sofas": ("blue", "Velvet Settee", "Oslo Modular", "Nina Corner", "Malmo Two Seats", "Bergen", "Aarhus"),
            "juices": ("green", "Apple", "Carrot", "Tomato", "Orange", "Cherry", "Grape"),
            "childrens-bikes": ("yellow", "Balance Bike", "Puky", "Woom", "Early Rider"),
            "racing-bikes": ("black", "Tarmac", "Ultimate", "Emonda", "Propel"),
        }
        for category, (colour, *called) in things.items():
            for number, name in enumerate(called):
                product(name, picture(colour, mark=number), category=category)
        Category.objects.update(name=Replace("name", Value("-"), Value(" ")))
        rebuild()
        forget()

    def shown(self, text: str, floor: float = SHOWN) -> list[str]:
        return [hit.item.name for hit in imagesim.search(text=text, min_relevance=floor)]

    def test_what_only_looks_like_what_is_called_so_is_no_answer(self, everything):
        """A shop of posters must not show eight other paintings after the requested one."""
        assert self.shown("starry night") == ["Starry Night"]
        assert self.shown("stary nigth")[0] == "Starry Night"
        assert self.shown("starry night", 0.0)[0] == "Starry Night"
        assert len(self.shown("starry night", 0.0)) > 6

    def test_in_a_category_that_a_synonym_names_it_is_one(self, everything):
        found = self.shown("settee")
        assert found[0] == "Velvet Settee"
        assert {"Oslo Modular", "Nina Corner", "Bergen"} < set(found)
        assert "Starry Night" not in found

    def test_what_has_all_words_tells_which_category_of_the_kind_is_meant(self, everything):
        """After the only balance bike, racing bikes must not be shown."""
        racing = {"Tarmac", "Ultimate", "Emonda", "Propel"}
        found = self.shown("balance bike", 0.4)
        assert found[0] == "Balance Bike"
        assert {"Puky", "Woom", "Early Rider"} < set(found)
        assert racing.isdisjoint(found)
        for text in ("bikes", "do you have bikes", "modern bikes"):
            assert racing < set(self.shown(text, 0.4)), text

    @pytest.mark.parametrize("text", ["bikes", "gym bikes", "heavy-duty bikes"])
    def test_all_of_a_kind_are_an_answer_whatever_they_look_like(self, everything, text):
        """ "Mens shoes" must not show only one of eight shoes because no text says who they are for."""
        assert {"Tarmac", "Ultimate", "Emonda", "Propel", "Puky", "Woom"} < set(self.shown(text, 0.6))


@pytest.mark.parametrize(
    ("text", "only_kind"),
    [
        ("sofas", True),
        ("do you have modern sofas", False),  # the catalogue has the word: what is called so is a different answer
        ("mens sofa", True),
        ("washable sofa", True),
        ("blue sofa", False),
        ("balance bike", False),
        ("starry night", False),
        ("velvet settee", False),
    ],
)
def test_all_of_a_kind_are_asked_for(text, only_kind):
    assert read(text).own.only_kind is only_kind


class TestOtherDepartments:
    ROLES = Roles(
        {"sofa": ("sofas",)},
        names={("sofa",): ("sofas",)},
        departments={"sofas": "sofas", "chairs": "sofas", "shirts": "shirts", "hats": "shirts"},
    )
    EVERY = tuple(candidate(name, name) for name in ("sofas", "chairs", "shirts", "paints"))

    def test_what_is_in_others_than_the_kind_is_no_answer_by_its_looks(self):
        """A tin of paint must not be shown for "clothing", between shirts."""
        found = lower_other_departments(self.EVERY, read("sofa", self.ROLES), self.ROLES)
        assert [each.relevance for each in found] == pytest.approx([0.9, 0.9, *[LOOKALIKE * 0.9] * 2])

    @pytest.mark.parametrize(("text", "roles"), [("starry night", ROLES), ("sofa", replace(ROLES, departments={}))])
    def test_without_a_kind_or_departments(self, text, roles):
        assert lower_other_departments(self.EVERY, read(text, roles), roles) == [*self.EVERY]


class TestLookalikes:
    def test_of_what_the_words_name_no_kind_of(self):
        named, hardly = candidate("starry night", "paintings", 0.9), candidate("any", "paintings", HARDLY - 0.01)
        assert names_entries(read("starry night"), [named, hardly], ROLES)
        assert not names_entries(read("starry night"), [hardly], ROLES)
        assert not names_entries(read("balance bike"), [named], ROLES)  # all bikes are of the kind
        assert not names_entries(read("starry night", Roles()), [named], Roles())  # nothing tells what is one

    def test_only_what_has_hardly_any_of_the_words(self):
        every = [candidate("a", "paintings", 0.9), candidate("b", "paintings", HARDLY), candidate("c", "paintings")]
        lowered = lower_lookalikes(every, read("starry night"))
        assert [each.relevance for each in lowered] == pytest.approx([0.9, 0.9, LOOKALIKE * 0.9])
        assert [each.text for each in lowered] == [each.text for each in every]

    @pytest.mark.parametrize(
        ("text", "language", "category"),
        [
            ("settee", "en", "sofas"),
            ("velvet settee", "en", "sofas"),
            ("Lederjacke", "de", ""),
            ("starry night", "en", ""),
            ("Couch", "de", "sofas"),
            ("jack", "fr", "jackets"),
        ],
    )
    def test_words_mean_categories_that_they_do_not_name(self, text, language, category):
        texts = read(text, language=language)
        meant = texts.synonym_categories | texts.categories
        meant |= texts.with_synonyms.categories if texts.with_synonyms else frozenset()
        assert meant == ({category} - {""})

    def test_these_are_an_answer(self):
        texts = read("settee")
        assert not texts.categories
        [sofa, painting] = lower_lookalikes([candidate("sofa", "sofas"), candidate("any", "paintings")], texts)
        assert sofa.relevance == 0.9
        assert painting.relevance == pytest.approx(LOOKALIKE * 0.9)


class TestOtherCategories:
    EVERY = (
        candidate("balance bike", "children", 0.85),
        candidate("another", "children", KIND_MATCH),
        candidate("racer", "racing", KIND_MATCH),
        candidate("described as balanced", "racing", 0.6),
        candidate("tyre", "racing", 0.1),
    )

    def test_what_has_all_words_tells_the_category(self):
        found = lower_other_categories(self.EVERY, read("balance bike"))
        assert [each.text for each in found] == [0.85, KIND_MATCH, OTHER_CATEGORY, 0.6, 0.1]

    @pytest.mark.parametrize("text", ["bike", "do you have bikes", "blue bike", "modern bike", "starry night"])
    def test_without_a_word_that_says_which_of_the_kind(self, text):
        assert lower_other_categories(self.EVERY, read(text)) == list(self.EVERY)

    def test_where_nothing_has_all_words(self):
        assert lower_other_categories(self.EVERY[1:], read("balance bike")) == list(self.EVERY[1:])


class TestHeads:
    """For "night torch", any torch is an answer if nothing is called a night torch."""

    TORCH = candidate("torch", "", 0.4)._replace(head=BY_NAME)

    def raised(self, *others: Candidate, text: str = "night torch") -> list[float]:
        return [each.text for each in raise_heads([self.TORCH, *others], read(text))]

    def test_what_has_the_head_in_its_name(self):
        assert self.raised() == [KIND_MATCH]
        assert self.raised(self.TORCH._replace(head=BY_NAME - 0.01)) == [KIND_MATCH, 0.4]
        assert self.raised(self.TORCH._replace(text=0.6)) == [KIND_MATCH, 0.6]

    def test_where_something_has_all_words(self):
        assert self.raised(candidate("night torch", "", BY_NAME)) == [0.4, BY_NAME]

    def test_where_the_words_name_a_category_in_full(self):
        assert self.raised(text="sofa") == [0.4]
