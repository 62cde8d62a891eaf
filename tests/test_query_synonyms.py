"""Words of a query that mean the same as those of the catalogue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import imagesim
from demo_shop.shop.models import Category
from imagesim.indexing.rebuild import rebuild
from imagesim.language.analysis import analyse
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words import synonyms as query_synonyms
from imagesim.retrieval.words.query_text import QueryTexts
from imagesim.retrieval.words.reader import QueryReader
from imagesim.retrieval.words.readings import WithSynonyms
from imagesim.retrieval.words.synonyms import FOLDER, LONGEST_PHRASE, MAX_SYNONYMS, replace_with_synonyms
from imagesim.types import Candidate, Candidates, Query
from tests import shop
from tests.shop import forget, picture, product

ROLES = Roles(
    {"sofa": ("sofas",), "sneaker": ("sneakers",), "turnschuh": ("sneakers",)},
    frozenset({"red", "rot", "trainer", "soft", "pet"}),
    things=frozenset(
        {"strap", "watch", "bike", "helmet", "drink", "lamp", "gartenstuhl", "ecksofa", "tie", "wallet", "notebook"}
    ),
    colours=frozenset({"red", "rot"}),
    names={("sneaker",): ("sneakers",), ("mobil", "phone"): ("phones",)},
)


@pytest.mark.parametrize(
    ("typed", "language", "first"),
    [
        ("settee", "en", "sofa"),
        ("red settee", "en", "red sofa"),
        ("settees for two", "en", "sofa for two"),
        ("watch band", "en", "watch strap"),
        ("bicycle", "en", "bike"),
        ("bicycle helmet", "en", "bike helmet"),
        ("cell phone", "en", "mobile phone"),  # a category has this name
        ("Couch", "de", "sofa"),
        ("Turnschuhe rot", "de", ""),  # already a kind
        ("billfold", "en", "wallet"),
    ],
)
def test_a_query_is_asked_in_the_words_of_the_catalogue(typed: str, language: str, first: str) -> None:
    assert replace_with_synonyms(typed, ROLES, [language])[:1] == ([(first, language)] if first else [])


@pytest.mark.parametrize(
    "typed",
    [
        "sofa",
        "lamp",  # something is called so, and nothing is called a light
        "settee cover",  # what is sought is a cover
        "necktie rack",
        "gown",  # nobody sells a dress
        "laptop",  # the notebooks of a stationer are not laptops
        "",
        "!?",
    ],
)
def test_other_words_stay(typed: str) -> None:
    assert replace_with_synonyms(typed, ROLES, ["en"]) == []


@pytest.mark.parametrize("typed", ["tire pump", "tyre pump"])
def test_either_spelling_of_a_phrase_is_replaced(typed: str) -> None:
    """A list has one of them."""
    roles = Roles({"inflat": ("pumps",)}, things=frozenset({"tyre", "inflat"}))
    assert replace_with_synonyms(typed, roles, ["en"])[:1] == [("tyre inflator", "en")]


def test_either_number_of_a_phrase_is_replaced() -> None:
    """ "Bookshelves" must find the bookcases of a shop, although it has a different stem from "bookshelf"."""
    roles = Roles(things=frozenset({"bookcas"}))
    for typed in ("bookshelf", "bookshelves", "oak bookshelves"):
        [(text, language)] = replace_with_synonyms(typed, roles, ["en"])
        assert (text.split()[-1], language) == ("bookcase", "en")


def test_what_is_sought_may_stand_before_those_it_is_for() -> None:
    """ "Settee leather" and "sneakers women" must be asked for in other words, although the last word is what is
    sought."""
    assert replace_with_synonyms("settee leather", ROLES, ["en"])[:1] == [("sofa leather", "en")]
    assert replace_with_synonyms("gym shoes women", ROLES, ["en"])[:1] == [("sneakers women", "en")]


def test_a_word_that_only_specifies_other_kinds_is_replaced_by_one_that_names_one() -> None:
    """ "Backpack" must not show "Backpacking tents" in a shop of rucksacks."""
    names = {("backpack", "tent"): ("tents",), ("rucksack",): ("rucksacks",)}
    roles = Roles({"tent": ("tents",), "rucksack": ("rucksacks",)}, frozenset({"backpack"}), names=names)
    assert replace_with_synonyms("backpack", roles, ["en"])[:1] == [("rucksack", "en")]
    called = replace(roles, things=frozenset({"backpack"}))
    assert replace_with_synonyms("backpack", called, ["en"]) == []


def test_a_word_that_only_descriptions_have_is_replaced() -> None:
    """ "Trainers" must not show only the one product whose description has the word."""
    mentioned = replace(ROLES, mentions=frozenset({"trainer"}))
    assert replace_with_synonyms("red trainers", mentioned, ["en"]) == [("red sneakers", "en")]
    assert replace_with_synonyms("red trainers", ROLES, ["en"]) == []  # not only descriptions have it


@pytest.mark.parametrize("typed", ["pin board", "pinboard", "pin-board"])
def test_a_phrase_may_be_written_in_one_piece(typed: str) -> None:
    """ "Pin board" must find something in a shop with noticeboards, although the list has a "pinboard"."""
    assert replace_with_synonyms(typed, Roles(things=frozenset({"noticeboard"})), ["en"]) == [("noticeboard", "en")]


@pytest.mark.parametrize("typed", ["goma de pelo", "goma pelo", "gomas para el pelo", "gomas del pelo"])
def test_stop_words_within_a_phrase_may_differ(typed: str) -> None:
    """ "Goma pelo" must find the "coleteros", although the list has a "goma de pelo"."""
    roles = Roles(things=frozenset({"coleter"}))
    assert replace_with_synonyms(typed, roles, ["es"]) == [("coletero", "es")]
    assert replace_with_synonyms(f"{typed} para niña", roles, ["es"]) == [("coletero para niña", "es")]
    assert replace_with_synonyms("goma sin pelo", roles, ["es"]) == []


@pytest.mark.parametrize(
    ("typed", "language", "things"),
    [("curtain with rod", "en", {"pol", "pole", "curtain"}), ("náramek k hodinkám", "cs", {"hodin", "hodink"})],
)
def test_a_phrase_with_stop_words_is_not_the_one_without(typed: str, language: str, things: set[str]) -> None:
    """A curtain with a rod is not a curtain pole ("curtain rod"), nor a watch strap a watch ("náramkové hodinky")."""
    assert replace_with_synonyms(typed, Roles(things=frozenset(things)), [language]) == []


def test_a_word_with_a_synonym_in_the_catalogue_is_no_misspelling() -> None:
    """ "Rimel" must not find what the brand "Rimmel" makes, but mascara."""
    for things, spelled in (({"rimmel"}, set()), ({"rimmel", "mascara", "pestan"}, {"rimel"})):
        reader = QueryReader(Roles(things=frozenset(things)), ["es"], lambda _word: False)
        assert reader.read_text("rimel").spelled == spelled


def test_a_word_with_another_meaning_replaces_nothing() -> None:
    """ "Sunglasses" must not show the lampshades of a home shop, nor "baseball cap" the swimming caps of a sports
    shop."""
    roles = Roles({"lampshad": ("lampshades",)}, things=frozenset({"shade", "cap"}))
    assert replace_with_synonyms("sunglasses", roles, ["en"]) == []
    assert replace_with_synonyms("baseball cap", roles, ["en"]) == []
    assert replace_with_synonyms("shades", Roles(things=frozenset({"sunglass"})), ["en"]) == [("sunglasses", "en")]


def test_a_phrase_is_known_if_a_category_is_called_so() -> None:
    """ "Shaving cream" must not show hand creams because the shop also has a category for shaving."""
    roles = Roles({"shave": ("shaving",)}, things=frozenset({"foam", "cream"}))
    assert replace_with_synonyms("shaving cream", roles, ["en"]) == [("shaving foam", "en")]
    named = replace(roles, names={("shave", "cream"): ("shaving",)})
    assert replace_with_synonyms("shaving cream", named, ["en"]) == []


def test_a_word_beside_the_name_of_a_category_may_be_what_is_sought() -> None:
    """ "Nail varnish" must find the nail polish in a shop's category "Nails"."""
    roles = Roles({"nail": ("nails",)}, frozenset({"polish"}))
    assert replace_with_synonyms("nail varnish", roles, ["en"]) == [("nail polish", "en")]
    assert replace_with_synonyms("nail varnish", replace(roles, mentions=frozenset({"polish"})), ["en"]) == []


@pytest.mark.parametrize(
    ("typed", "language", "other", "thing"),
    [
        ("Außenlampe", "de", "Außenleuchte", "aussenleucht"),
        ("weiße Außenlampen", "de", "weiße Außenleuchte", "aussenleucht"),
        ("Couchkissen", "de", "sofakissen", "sofakiss"),
        ("Außenlampe", "de", "", "gartenleucht"),  # nothing is called by the whole
        ("outdoor lamp", "en", "", "outdoorlight"),  # English compounds are several words
    ],
)
def test_a_part_of_a_compound_is_replaced(typed: str, language: str, other: str, thing: str) -> None:
    """ "Außenlampe" must find the category "Außenleuchten": not only whole words have synonyms."""
    found = replace_with_synonyms(typed, Roles(things=frozenset({thing})), [language])
    assert found == ([(other, language)] if other else [])


def test_a_compound_of_the_dictionary_has_a_meaning_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A "Kinderwagen" (pram) is not a "Kinderauto" (toy car), although a "Wagen" may be a car."""
    monkeypatch.setattr(query_synonyms, "_groups_of", lambda phrase, _language: [["auto"]] if phrase == "wagen" else [])
    query_synonyms._replacements.cache_clear()
    roles = Roles(things=frozenset({"kinderauto", "einkaufsauto"}))
    assert replace_with_synonyms("Einkaufswagen", roles, ["de"]) == [("Einkaufsauto", "de")]
    assert replace_with_synonyms("Kinderwagen", roles, ["de"]) == []
    query_synonyms._replacements.cache_clear()


def test_parts_of_a_compound_are_searched_with_their_synonyms() -> None:
    """ "Solarlampe" must find "Solar-Wegeleuchten" in a shop that also has lamps."""
    roles = Roles(things=frozenset({"stehlamp", "wegeleucht", "solar"}))
    texts = QueryReader(roles, ["de"], lambda _word: False).read_texts("Solarlampe")
    assert [each.text for each in texts.compounds] == ["solar lampe", "solar leuchte"]


def test_a_word_is_known_by_compounds_of_its_own_language_only() -> None:
    """ "Phone" must find the telephones of a shop with some German texts."""
    roles = Roles({"telephon": ("telephones",)})
    assert replace_with_synonyms("phone", roles, ["en", "de"]) == [("telephone", "en")]


def test_a_compound_of_the_catalogue_is_known() -> None:
    only_compounds = Roles(things=frozenset({"ecksofa"}))
    assert replace_with_synonyms("Couch", only_compounds, ["de"]) == [("sofa", "de")]
    assert replace_with_synonyms("Sofa", only_compounds, ["de"]) == []


@pytest.mark.parametrize(
    ("language", "typed", "first", "thing"),
    [
        ("en", "brinjal", "aubergine", "aubergin"),
        ("en", "red toboggan", "red sledge", "sledg"),
        ("it", "sellino da donna", "sella da donna", "sell"),
        ("it", "telefonino rosso", "cellulare rosso", "cellulare"),
        ("nl", "bbq", "barbecue", "barbecuen"),
        ("nl", "houten zitbank", "houten bank", "bank"),
        ("es", "mesa de estudio", "escritorio", "escritori"),
        ("es", "cortadora de pasto", "cortacésped", "cortacesp"),
        ("it", "pulitrice ad alta pressione", "idropulitrice", "idropulitr"),
        ("it", "stendipanni grande", "stendino grande", "stendin"),
        ("it", "bicicletta a pedalata assistita rossa", "ebike rossa", "ebik"),
        ("pt", "berbequim", "furadeira", "furadeir"),
        ("pl", "kaloryfer", "grzejnik", "grzejnik"),
        ("sv", "röda gympaskor", "röda sneakers", "sneaker"),
        ("sv", "köksfläkt", "spisfläkt", "spisflak"),
        ("da", "morgenkåbe", "badekåbe", "badekab"),
        ("da", "sort mavetaske", "sort bæltetaske", "baeltetask"),
        ("nb", "olabukse", "jeans", "jean"),
        ("no", "olabukse", "jeans", "jean"),  # the code for either form of Norwegian
        ("fi", "punainen kännykkä", "punainen älypuhelin", "alypuhel"),
        ("fi", "tiskikone", "astianpesukone", "astianpesukon"),
        ("cs", "černý gauč", "černý pohovka", "pohovk"),
        ("cs", "foťák", "fotoaparát", "fotoaparat"),
        ("tr", "kırmızı bavul", "kırmızı valiz", "val"),
        ("tr", "elbise dolabı", "gardırop", "gardirop"),
        ("ru", "серый лэптоп", "серый ноутбук", "ноутбук"),
        ("ru", "сережки", "серьги", "серьг"),
        ("ja", "白い スマホ", "白い スマートフォン", "スマートフオン"),
        ("ja", "めがね", "眼鏡", "眼鏡"),
        ("ja", "背広", "スーツ", "スーツ"),
        ("ja", "照明", "ペンダントライト", "ペンダントライト"),
        ("ja", "自転車", "クロスバイク", "クロスバイク"),
        ("fr", "skate", "skateboard", "skateboard"),
        ("fr", "planche à roulettes", "skateboard", "skateboard"),
        ("de", "Kekse", "plätzchen", "platzch"),
        ("fi", "lamppu", "valaisin", "valais"),
        ("pl", "lampa", "oświetlenie", "oswietlen"),
    ],
)
def test_each_language_has_its_words(language: str, typed: str, first: str, thing: str) -> None:
    assert replace_with_synonyms(typed, Roles(things=frozenset({thing})), [language])[:1] == [(first, language)]


@pytest.mark.parametrize(
    ("language", "typed", "sold"),
    [
        ("en", "dried plum", "pruning saw"),
        ("en", "houseplant", "plant pot"),
        ("en", "sunglasses", "sunny"),
        ("en", "mineral water", "water bottle"),
        ("fi", "takki", "peitto"),  # a coat, while a "täkki" is a blanket
        ("fi", "sukka", "sukkahousut"),
        ("sv", "byggklossar", "bromskloss"),
        ("cs", "med", "medvídek"),  # honey, while a "méďa" is a teddy bear
        ("cs", "krájecí deska", "záchodové prkénko"),
        ("da", "porcelæn", "cykelstel"),
        ("da", "byggeklodser", "bremseklodser"),
        ("nb", "halssmykke", "kjede"),  # perhaps of a bicycle
        ("nb", "blandebatteri", "lysarmatur"),
        ("es", "cinturón", "cinta"),
        ("es", "televisor", "tela"),
        ("it", "maglione", "golf"),
        ("pt", "sorvete", "gel de banho"),
        ("pl", "taśma miernicza", "metr"),
        ("ja", "鍋つかみ", "ミトン"),
        ("ja", "ペンダントライト", "シーリングライト"),  # another of the things that "照明" (lighting) stands for
        ("ja", "ロードバイク", "クロスバイク"),
    ],
)
def test_what_only_has_the_stem_or_another_meaning_of_a_phrase_replaces_nothing(
    language: str, typed: str, sold: str
) -> None:
    things = frozenset(token.stem for token in analyse(sold, language))
    assert replace_with_synonyms(typed, Roles(things=things), [language]) == []


def test_few_texts_are_searched() -> None:
    things = frozenset(
        {"trouser", "slack"}
        | {
            stem
            for word in ("sneakers", "shoes", "gym", "tennis", "athletic", "sports")
            for stem in [analyse(word, "en")[0].stem]
        }
    )
    assert len(replace_with_synonyms("trainers", Roles(things=things), ["en"])) == MAX_SYNONYMS


def test_a_language_that_the_texts_lack_is_not_read() -> None:
    assert replace_with_synonyms("sillón", Roles(things=frozenset({"butac"})), ["en"]) == []
    assert replace_with_synonyms("sillón", Roles(things=frozenset({"butac"})), ["en", "es"]) == [("butaca", "es")]


LISTS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_the_groups_of_a_list_are_in_order(path) -> None:
    groups = path.read_text("utf-8").splitlines()
    assert groups == sorted(set(groups))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_each_group_has_several_phrases(path) -> None:
    for line in path.read_text("utf-8").splitlines():
        group = line.split(", ")
        stems = [tuple(token.stem for token in analyse(phrase, path.stem)) for phrase in group]
        assert len(group) > 1, line
        assert line == line.strip().lower(), line
        assert all(stems), line
        assert max(len(phrase.split()) for phrase in group) <= LONGEST_PHRASE, line
        assert len(stems) == len(set(stems)), line  # words that stemming would not find anyway
        assert any(not phrase.startswith("?") for phrase in group), line


def test_the_index_tells_whether_something_is_called_by_all_words_of_a_synonym() -> None:
    """For "soft drink" as a synonym of "soda": "drink" is known, and the index decides whether anything is called a
    soft one."""
    assert replace_with_synonyms("soda", ROLES, ["en"])[:1] == [("soft drink", "en")]


@pytest.mark.django_db
@pytest.mark.parametrize("index_kind", shop.TWO_DAILY)
def test_a_phrase_means_the_category_that_its_synonym_is_the_name_of(index_kind, request, settings, media_root) -> None:
    """ "Drum set" must not show sticks and cymbals instead of drum kits because they are in a department "Drums"."""
    index = shop.index_for(request, index_kind)
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER, "INDEX": index}
    for slug, colour in {"drum-kits": "red", "electronic-drums": "blue", "drumsticks": "green"}.items():
        for number in range(3):
            product(f"{slug[-4:]} {number}", picture(colour, mark=number), category=slug)
    Category.objects.filter(slug="drum-kits").update(name="Drum kits")
    Category.objects.filter(slug="electronic-drums").update(name="Electronic drums")
    rebuild()
    forget()
    try:
        found = {hit.item.category.slug for hit in imagesim.search(text="drum set", min_relevance=0.4)}
        assert found == {"drum-kits"}
    finally:
        shop.drop_index()


@pytest.mark.parametrize(
    ("typed", "synonyms"),
    [
        ("diapers", ["nappy"]),
        ("red diapers", []),  # what has both words comes first, and the nappies by their looks
        ("wallet", []),  # "billfold" names no category
    ],
)
def test_a_word_of_some_names_also_means_the_category_that_its_synonym_names(typed: str, synonyms: list[str]) -> None:
    """Otherwise a shop with nappies and a "Diaper Backpack" shows only the latter for "diapers"."""
    roles = Roles(
        {"nappi": ("nappies",)}, frozenset({"red"}), things=frozenset({"diaper", "backpack", "wallet", "billfold"})
    )
    texts = QueryReader(roles, ["en"], lambda _word: False).read_texts(typed)
    assert texts.with_synonyms is None
    assert [each.text for each in texts.kind_synonyms] == synonyms
    assert texts.categories == ({"nappies"} if synonyms else set())


def test_a_phrase_means_what_a_category_lists_by_its_synonym() -> None:
    """ "Bin liners" must find something in a shop with a category "Bin bags, foil & wrap"."""
    kinds = {"bin": ("bags",), "bag": ("bags",)}
    roles = Roles(kinds, listed=kinds, things=frozenset())
    texts = QueryReader(roles, ["en"], lambda _word: False).read_texts("bin liners")
    match = Candidate("roll", 0.0, "roll", "digest", "name", categories=("bags",), text=0.6, head=0.6)
    asked = []

    class Catalogue:
        def search(self, queries):
            return [Candidates((match,)) for _query in queries]

    def read(texts):
        asked.append(texts.own.text)
        return Catalogue()

    vector = np.zeros(2, np.float32)
    WithSynonyms(Catalogue(), texts, texts.with_synonyms, read, lambda _text: vector).search([Query(vector)])
    assert asked == ["bin bag"]


@pytest.mark.parametrize(
    ("typed", "thing", "asked"),
    [
        ("settee washable", "sofa", "sofa washable"),
        ("nail polish", "varnish", "nail polish"),  # a varnish for wood
        ("gown hanger", "hanger", "gown hanger"),  # what is sought is called so
    ],
)
def test_what_is_called_by_a_synonym_need_not_have_the_other_words(typed: str, thing: str, asked: str) -> None:
    """ "Settee washable" must show the sofas of a shop that says of none that it is washable."""
    roles = Roles(things=frozenset({thing, "dress"}), modifiers=frozenset({"nail", "washabl"}))
    texts = QueryReader(roles, ["en"], lambda _word: False).read_texts(typed)
    read: list[str] = []

    class Catalogue:
        def search(self, queries: list[Query]) -> list[Candidates]:
            heads = (0.9 if thing in query.text else 0.0 for query in queries)
            return [Candidates((Candidate("a", 0.0, "a", "digest", "name", text=0.6, head=head),)) for head in heads]

    def reads(texts: QueryTexts) -> Catalogue:
        read.append(texts.own.text)
        return Catalogue()

    assert texts.with_synonyms
    vector = np.zeros(2, np.float32)
    WithSynonyms(Catalogue(), texts, texts.with_synonyms, reads, lambda _text: vector).search([Query(vector)])
    assert read == [asked]


def test_jumpers_are_the_knitwear_of_a_shop() -> None:
    """ "Sweater" must find the category "Knitwear" of a shop that calls only a raincoat "Puddle Jumper"."""
    roles = Roles({"knitwear": ("knitwear",)}, things=frozenset({"jumper"}), names={("knitwear",): ("knitwear",)})
    assert replace_with_synonyms("sweater", roles, ["en"])[0] == ("knitwear", "en")


@pytest.mark.django_db
@pytest.mark.parametrize("index_kind", shop.TWO_DAILY)
def test_what_is_called_by_the_words_is_shown_beside_a_category_of_that_meaning(
    index_kind, request, settings, media_root
) -> None:
    """ "Running shoes" must show not only the sneakers, but also the "Trail running shoe" of another category."""
    index = shop.index_for(request, index_kind)
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER, "INDEX": index}
    for number in range(3):
        product(f"low {number}", picture("red", mark=number), category="sneakers")
        product(f"tent {number}", picture("blue", mark=number), category="outdoor")
    product("trail running shoe", picture("green"), category="outdoor")
    rebuild()
    forget()
    try:
        found = {hit.item.name for hit in imagesim.search(text="running shoes", min_relevance=0.4)}
        assert found >= {"trail running shoe", "low 0", "low 1", "low 2"}
    finally:
        shop.drop_index()


def test_a_synonym_that_says_more_than_a_category_does_not_mean_all_of_it() -> None:
    """After flares, other trousers must not follow by their looks, as sofas do after a settee."""
    roles = Roles({"trouser": ("trousers",), "sofa": ("sofas",)}, things=frozenset({"flare", "sette"}))
    reader = QueryReader(roles, ["en"], lambda _word: True)
    assert reader.read_texts("flares").synonym_categories == frozenset()
    assert reader.read_texts("settee").synonym_categories == {"sofas"}
    roles = Roles({"jacket": ("jackets",)}, frozenset({"dinner"}), things=frozenset({"tuxedo"}))
    assert QueryReader(roles, ["en"], lambda _word: True).read_texts("tuxedo").synonym_categories == frozenset()


def test_a_word_beside_what_is_sought_is_replaced_on_demand() -> None:
    """ "Hängelampe Esstisch" (hanging lamp dining table) must find the "Pendelleuchte Esstisch"."""
    assert replace_with_synonyms("settee cover", ROLES, ["en"], beside=True) == [("sofa cover", "en")]
    roles = Roles(things=frozenset({"pendelleucht", "esstisch"}))
    assert replace_with_synonyms("Hängelampe Esstisch", roles, ["de"]) == []
    assert ("pendelleuchte Esstisch", "de") in replace_with_synonyms("Hängelampe Esstisch", roles, ["de"], beside=True)


@pytest.mark.parametrize(("match", "asked"), [(0.9, "sofa cover"), (0.6, "settee cover")])
def test_a_word_beside_what_is_sought_is_replaced_if_something_has_all_words(match: float, asked: str) -> None:
    """Otherwise, "dress shoes" would find what is not a dress shoe by "gown shoes"."""
    texts = QueryReader(ROLES, ["en"], lambda _word: False).read_texts("settee cover")
    assert texts.synonym_categories == frozenset()  # sofas are not covers, whatever they look like
    read: list[str] = []

    class Catalogue:
        def search(self, queries: list[Query]) -> list[Candidates]:
            found = Candidate("a", 0.0, "a", "digest", "name", text=match, head=match)
            return [Candidates((found,) if query.text == "sofa cover" else ()) for query in queries]

    def reads(texts: QueryTexts) -> Catalogue:
        read.append(texts.own.text)
        return Catalogue()

    vector = np.zeros(2, np.float32)
    WithSynonyms(Catalogue(), texts, texts.with_synonyms, reads, lambda _text: vector).search([Query(vector)])
    assert read == [asked]


@pytest.mark.parametrize(("language", "typed"), [("en", "settee"), ("de", "Couch"), ("nl", "vuilzak")])
def test_few_phrases_of_a_list_are_stemmed(language: str, typed: str) -> None:
    """Otherwise, the first query of a process would stem a whole list, which takes up to three seconds."""
    for cached in (query_synonyms._listed, query_synonyms._groups_with, query_synonyms._stems):
        cached.cache_clear()
    assert query_synonyms._groups_of(typed, language)
    assert query_synonyms._stems.cache_info().misses < 150


@pytest.mark.parametrize(("typed", "listed"), [("oelofen", "ölofen"), ("tshirt", "t-shirt"), ("T Shirt", "t-shirt")])
def test_spellings_of_a_phrase_begin_alike(typed: str, listed: str) -> None:
    assert query_synonyms._beginning(typed) == query_synonyms._beginning(listed)
