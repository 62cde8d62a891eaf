"""What a query requires, and what is not an answer to it, whatever it looks like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import imagesim
from demo_shop.shop.models import Category
from imagesim.indexes.validation import MAX_TEXT_MATCHES
from imagesim.indexing.rebuild import rebuild
from imagesim.language.analysis import analyse
from imagesim.language.query_words import query_words
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words.reader import QueryReader
from imagesim.retrieval.words.requirements import (
    MAX_ASKED,
    WORDS,
    Admission,
    called_for,
    excluded_categories,
    requirements,
)
from imagesim.types import Candidate, Candidates, Query
from tests import shop
from tests.shop import forget, picture, product

ENGLISH = Roles(
    names={
        ("women", "shoe"): ("womens-shoes",),
        ("men", "shoe"): ("mens-shoes",),
        ("kid", "shoe"): ("kids-shoes",),
        ("women",): ("womens-shoes", "dresses", "bags"),  # a department
        ("dress",): ("dresses",),
        ("kitchen", "scale"): ("kitchen-scales",),
        ("kitchen",): ("kitchen-scales", "pots", "plates"),  # a department
        ("pot",): ("pots",),
    }
)
GERMAN = Roles(names={("herrenschuh",): ("herrenschuhe",), ("kuchenwaag",): ("kuechenwaagen",)})


@pytest.mark.parametrize(
    ("typed", "excluded"),
    [
        ("shoes", set()),
        ("mens shoes", {"womens-shoes", "kids-shoes", "dresses", "bags"}),
        ("ladies shoes", {"mens-shoes", "kids-shoes"}),
        ("shoes for men and women", {"kids-shoes"}),
        ("shoes for kids", {"womens-shoes", "mens-shoes", "dresses", "bags"}),
        ("boys shoes", {"womens-shoes", "mens-shoes", "dresses", "bags"}),
        ("girls dress", {"mens-shoes"}),  # in shops for adults, girls may be women
        ("bathroom scales", {"kitchen-scales"}),  # the department says little: pots may stand in bathrooms
        ("dining scales", set()),
        ("red scales", set()),
    ],
)
def test_categories_for_others_are_excluded(typed, excluded):
    assert excluded_categories(query_words(typed, ["en"]), ENGLISH, ["en"]) == excluded


@pytest.mark.parametrize(
    ("typed", "own", "others"),
    [
        ("shoes", set(), set()),
        ("mens shoes", {"for men"}, {"for girl", "for women", "for boy", "for kid"}),
        ("boys shoes", {"for boy", "for kid"}, {"for girl", "for men", "for women"}),
        ("bathroom scales", {"for bath"}, {"for kitchen"}),
    ],
)
def test_names_are_for_people_and_places(typed, own, others):
    """Only words that the catalogue has are looked for, each in one of its forms."""
    roles = Roles(things=frozenset({"men", "women", "boy", "girl", "kid", "bath", "kitchen"}))
    assert tuple(map(set, called_for(query_words(typed, ["en"]), roles, ["en"]))) == (own, others)


@pytest.mark.parametrize(
    ("language", "typed", "of_men", "of_women"),
    [
        ("cs", "dámské boty", "pánské", "dámské"),
        ("fi", "naisten kengät", "miesten", "naisten"),
        ("ja", "レディース スニーカー", "メンズ", "レディース"),
        ("ru", "женские ботинки", "мужские", "женские"),
        ("tr", "kadın ayakkabı", "erkek", "kadın"),
        ("bg", "дамски обувки", "мъжки", "дамски"),
        ("el", "γυναικεία παπούτσια", "ανδρικά", "γυναικεία"),
        ("fa", "کفش زنانه", "مردانه", "زنانه"),
        ("he", "נעליים לנשים", "לגברים", "לנשים"),
        ("hi", "महिलाओं के जूते", "पुरुषों", "महिलाओं"),
        ("hr", "ženske cipele", "muške", "ženske"),
        ("hu", "női cipő", "férfi", "női"),
        ("id", "sepatu wanita", "pria", "wanita"),
        ("lt", "moteriški batai", "vyriški", "moteriški"),
        ("lv", "sieviešu apavi", "vīriešu", "sieviešu"),
        ("ro", "pantofi damă", "bărbătești", "damă"),
        ("sk", "dámske topánky", "pánske", "dámske"),
        ("sr", "ženske cipele", "мушке", "женске"),
        ("uk", "жіноче взуття", "чоловіче", "жіноче"),
        ("vi", "giày nữ", "nam", "nữ"),
    ],
)
def test_names_are_for_people_in_other_languages(language, typed, of_men, of_women):
    def stem(word: str) -> str:
        return analyse(word, language)[0].stem

    roles = Roles(things=frozenset({stem(of_men), stem(of_women)}))
    own, others = called_for(query_words(typed, [language]), roles, [language])
    assert [[stem(each.split()[-1]) for each in texts] for texts in (own, others)] == [[stem(of_women)], [stem(of_men)]]


@pytest.mark.parametrize(
    ("language", "typed", "required"),
    [
        ("cs", "chléb bez lepku", "lepku"),
        ("ru", "хлеб без глютена", "глютена"),
        ("fi", "gluteeniton leipä", "gluteeniton"),
        ("tr", "glutensiz ekmek", "glutensiz"),
    ],
)
def test_substances_are_required_in_other_languages(language, typed, required):
    assert requirements(typed, [language]) == {required: (required,)}


@pytest.mark.parametrize(
    ("typed", "excluded"),
    [("damen schuhe", {"herrenschuhe"}), ("herren schuhe", set()), ("waage badezimmer", {"kuechenwaagen"})],
)
def test_so_are_those_that_are_called_by_a_compound(typed, excluded):
    assert excluded_categories(query_words(typed, ["de"]), GERMAN, ["de"]) == excluded


def test_a_shade_is_for_nobody():
    """ "Baby blue" excludes no clothes for adults, nor does the "man" in "Isle of Man"."""
    reader = QueryReader(ENGLISH, ["en"], {"baby", "blue", "shoe", "shoes"}.__contains__)
    assert reader.read_text("baby blue shoes").requires.excluded == frozenset()


@pytest.mark.parametrize(
    ("typed", "language", "required"),
    [
        ("bread", "en", ()),
        ("gluten free bread", "en", (("gluten free",),)),
        ("gluten-free bread", "en", (("gluten free",),)),
        ("sugar free drinks", "en", (("sugar",),)),  # "no added sugar" is enough
        ("juice without sugar", "en", (("sugar",),)),
        ("free delivery", "en", ()),
        ("hands free kit", "en", ()),
        ("vegan cheese", "en", (("vegan", "plant based"),)),
        ("vegetarian burger", "en", (("vegetarian", "veggie", "vegan", "plant based"),)),
        ("veggie peeler", "en", ()),  # for vegetables
        ("gluten free vegan cake", "en", (("gluten free",), ("vegan", "plant based"))),
        ("glutenfreies Brot", "de", (("glutenfreies",),)),
        ("Nudeln ohne Gluten", "de", (("gluten",),)),
        ("freie Schuhe", "de", ()),
        ("pasta senza glutine", "it", (("glutine",),)),
        ("pan sin gluten", "es", (("gluten",),)),
        ("pan con gluten", "es", ()),
        ("glutenvrije pasta", "nl", (("glutenvrije",),)),
    ],
)
def test_diets_and_substances_are_required(typed, language, required):
    assert tuple(requirements(typed, [language]).values()) == required


def test_the_words_that_the_index_is_asked_for_are_bounded() -> None:
    """Otherwise, a query that lists all allergens would ask the index for each of them, a hundred queries in one
    request."""
    languages = ["en", "de", "fr", "es", "it", "nl", "pl"]
    found = requirements(
        " ".join(f"{each} free" for name in ("allergens", "substances") for each in WORDS[name]["en"][0].split()),
        languages,
    )
    assert 10 < len({word for texts in found.values() for text in texts for word in text.split()}) <= MAX_ASKED
    assert len(requirements("vegan gluten free cheese", ["en", "de"])) == 2
    assert {"vegan", "plant based", "veganes", "plantaardig"} <= {*requirements("vegan", languages)["vegan"]}


@pytest.mark.parametrize(("typed", "heads"), [("vegan sausages", (1,)), ("sausages vegan", (0,)), ("vegan", ())])
def test_what_is_required_is_not_what_is_sought(typed, heads):
    roles = Roles({"sausag": ("sausages",)}, things=frozenset({"vegan"}))
    text = QueryReader(roles, ["en"], {"vegan", "sausages", "sausage"}.__contains__).read_text(typed)
    assert (text.heads, text.requires.required) == (heads, (("vegan", "plant based"),))
    unknown = QueryReader(Roles({"sausag": ("sausages",)}), ["en"], {"vegan", "sausages"}.__contains__).read_text(typed)
    assert (unknown.categories, unknown.requires.required, unknown.requires.unmet) == (frozenset(), (), True)


def test_what_is_plant_based_is_not_known_of_plants():
    roles = Roles({"juic": ("juices",), "plant": ("plants",)}, modifiers=frozenset({"base"}))
    text = QueryReader(roles, ["en"], {"vegan", "juice"}.__contains__).read_text("vegan juice")
    assert (text.requires.required, text.requires.unmet) == ((), True)


def test_an_index_is_asked_for_as_many_entries_as_it_ranks_by_words(monkeypatch):
    """Any further entries would count as lacking what is required."""

    class Asked:
        def search(self, queries):
            assert all(len(query.filters.keys) <= MAX_TEXT_MATCHES for query in queries)
            return [
                Candidates(tuple(candidate(key)._replace(text=0.5) for key in query.filters.keys if key != "7"))
                for query in queries
            ]

    def candidate(key: str) -> Candidate:
        return Candidate(key, 0.5, "", key, "")

    text = QueryReader(Roles(things=frozenset({"vegan"})), ["en"], {"vegan"}.__contains__).read_text("vegan")
    admission = Admission(text.requires, Query(np.ones(3), limit=10), Asked())
    found = admission.admitted([candidate(str(n)) for n in range(1_200)])
    assert {each.key for each in found} == {str(n) for n in range(1_200)} - {"7"}


def test_an_index_is_asked_once_for_each_entry():
    """ "Boys shorts" must not take up to eight more requests, two for each time that a page looks further."""
    requests = []

    class Shop:
        def search(self, queries):
            requests.append([(query.text, query.filters.keys) for query in queries])
            return [
                Candidates(tuple(candidate(key)._replace(text=0.9) for key in query.filters.keys if key in query.text))
                for query in queries
            ]

    def candidate(key: str) -> Candidate:
        return Candidate(key, 0.5, "", key, "")

    roles = Roles(things=frozenset({"boy", "men", "short"}))
    text = QueryReader(roles, ["en"], {"boys", "men", "shorts"}.__contains__).read_text("boys shorts")
    admission = Admission(text.requires, Query(np.ones(3), limit=10), Shop())
    boys, men, plain = candidate("boy"), candidate("men"), candidate("x")
    assert admission.admitted([boys, men]) == [boys]
    assert admission.admitted([boys, men, plain]) == [boys, plain]
    assert [keys for asked in requests for _text, keys in asked] == [("boy", "men")] * 2 + [("x",)] * 2


@pytest.mark.django_db
@pytest.mark.slow
class TestAnswers:
    @pytest.fixture(params=shop.TWO_DAILY, autouse=True)
    def _shop(self, request, settings, media_root) -> Iterator[None]:
        """A shop whose pictures are similar within their category."""
        index = shop.index_for(request, request.param)
        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER, "INDEX": index}
        things = {
            "bread": ("red", ("Rustic", "Stone baked."), ("Toast", "Contains gluten."), ("Loaf", "Gluten free.")),
            "sausages": (
                "blue",
                ("Cumberland", "Pork."),
                ("Chorizo", "Hot."),
                ("Shroom", "Plant-based."),
                ("Tofu", "Vegan."),
            ),
            "womens-shoes": ("green", ("Pump", ""), ("Ballerina", ""), ("Stiletto", ""), ("Men's mule", "")),
            "watches": (
                "black",
                ("Diver for men", ""),
                ("Ladies chronograph", ""),
                ("Field", "Women's favourite."),
                ("Womens and mens solar", ""),
            ),
            "mens-shirts": ("yellow", ("Poplin", ""), ("Oxford", ""), ("Denim", "")),
        }
        for category, (colour, *called) in things.items():
            for number, (name, description) in enumerate(called):
                product(name, picture(colour, mark=number), category=category, description=description)
        Category.objects.filter(slug="womens-shoes").update(name="Women's shoes")
        Category.objects.filter(slug="mens-shirts").update(name="Men's shirts")
        rebuild()
        forget()
        yield
        shop.drop_index()

    def shown(self, text: str) -> set[str]:
        hits = imagesim.search(text=text, min_relevance=0.4)
        return {hit.item.name for hit in (*hits, *hits.closest)}

    def test_what_lacks_the_required_is_neither_shown_nor_the_closest(self):
        """ "Gluten free bread" must not show wheat bread, nor "vegan sausages" those of pork."""
        assert self.shown("gluten free bread") == {"Loaf"}
        assert self.shown("vegan sausages") == {"Tofu", "Shroom"}
        assert self.shown("vegan bread") == set()
        assert self.shown("sausages") == {"Cumberland", "Chorizo", "Shroom", "Tofu"}

    @pytest.mark.parametrize("text", ["halal sausages", "alcohol free sausages"])
    def test_of_what_no_text_mentions_the_kind_is_the_closest(self, text):
        """All may be halal in a shop that does not say so for each. "Alcohol free wine" must not show red wine."""
        hits = imagesim.search(text=text, min_relevance=0.4)
        assert not hits
        assert {hit.item.name for hit in hits.closest} <= {"Cumberland", "Chorizo", "Shroom", "Tofu"}
        assert hits.closest

    def test_what_is_for_others_is_neither(self):
        """ "Mens shoes" must not show women's shoes in a shop that has hardly any others. What is called so is an
        answer, however it is filed: it must be found when its name is typed."""
        shoes = {"Pump", "Ballerina", "Stiletto", "Men's mule"}
        assert self.shown("ladies shoes") == shoes - {"Men's mule"}
        assert self.shown("shoes") == shoes
        assert shoes & self.shown("mens shoes") == {"Men's mule"}
        assert self.shown("mens mule") == {"Men's mule"}

    def test_of_one_category_what_is_called_so_is_for_others(self):
        """ "Womens watch" must not show men's watches that a shop has filed with the others."""
        assert self.shown("watches") == {"Diver for men", "Ladies chronograph", "Field", "Womens and mens solar"}
        assert self.shown("womens watch") == {"Ladies chronograph", "Field", "Womens and mens solar"}
        assert self.shown("watch for men") == {"Diver for men", "Field", "Womens and mens solar"}
        assert not {"Poplin", "Oxford", "Denim"} & self.shown("womens shirts")
