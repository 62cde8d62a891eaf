"""The text of a query, read with the words of a catalogue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imagesim.language.analysis import stem_of
from imagesim.language.query_words import query_words
from imagesim.language.stop_words import QUALIFIERS
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words import reader as reader_module
from imagesim.retrieval.words.colours import without_negated_colours
from imagesim.retrieval.words.compounds import MOST_LETTERS, divided_compound
from imagesim.retrieval.words.reader import QueryReader
from imagesim.retrieval.words.spacing import spaced
from imagesim.types import Query

CODES = frozenset({"750", "ml", "0.7", "l", "24", "2tb", "gsb", "18v", "55", "m8", "40", "m8x40"})
ROLES = Roles(
    {"stuhl": ("chairs",), "schuh": ("shoes",), "hand": ("hands",)},
    frozenset({"red", "rot"}),
    things=frozenset(
        {"skateboard", "basketbal", "basket", "ball", "schreibtischstuhl", "pin", "pinhan", "minhan"} | CODES
    ),
)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("skate board", "skateboard"),
        ("a red Skate boards ", "a red Skateboards"),
        ("skate-boards in red", "skateboards in red"),
        ("basket ball", "basket ball"),  # the catalogue has both words, too
        ("basket-ball", "basket-ball"),
        ("skate boar d", "skate boar d"),
        ("cheap ball-basket", "cheap ball-basket"),
        ("wine 750ml", "wine 750 ml"),
        ("13inch 2 tb 750cl", "13inch 2tb 750cl"),
        ("750x500", "750x500"),
        ("wine 0.7l", "wine 0.7 l"),
        ("wine 0,7ml", "wine 0,7 ml"),
        ("2.4ml", "2.4ml"),  # 24 is something else
        ("GSB18V55 in red", "GSB 18V 55 in red"),
        ("gsb18v-55", "gsb18v-55"),  # the number of a part is found, whichever way its parts are separated
        ("gsb18v56", "gsb18v56"),
        ("gsb55" * 2000, "gsb55" * 2000),  # no code is that long
        ("a bolt M8 x 40 zinc", "a bolt M8 x 40 zinc"),  # analysed as "M8x40"
        ("m8 x 50", "m8 x 50"),
        ("x 40", "x 40"),
        ("", ""),
    ],
)
def test_words_are_divided_as_in_the_catalogue(typed, asked):
    assert spaced(typed, ROLES, ["en"]) == asked


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("sofa?", "sofa"),
        (" sofa, ", "sofa"),
        ("...", "..."),
        ('24" wheel', '24" wheel'),
        ("shoes w/o laces", "shoes without laces"),
        ("case w/ strap", "case with strap"),
        ("heater 60 W/220 V", "heater 60 W/220 V"),
    ],
)
def test_marks_and_short_forms_are_no_words(typed: str, wanted: str) -> None:
    assert QueryReader(Roles(), ["en"], {"sofa"}.__contains__, "en").read_query(typed, ()).wanted == wanted


def test_two_words_are_a_kind_that_is_written_as_one() -> None:
    """ "Screw driver" must not show screws in a shop that has screwdrivers and a "drill driver"."""
    kinds = {"screw": ("screws",), "screwdriv": ("screwdrivers",), "shirt": ("shirts",), "tshirt": ("t-shirts",)}
    roles = Roles(kinds, frozenset({"t"}), things=frozenset({"driver"}), names={("t", "shirt"): ("t-shirts",)})
    for typed in ("screw driver", "screw-drivers", "screw"):
        assert spaced(typed, roles, ["en"]) == typed.replace(" ", "").replace("-", "")
    assert spaced("t shirt", roles, ["en"]) == "t shirt"  # the category has this name


@pytest.mark.parametrize("typed", ["hoge druk reiniger", "hoge-druk-reiniger", "hogedruk reiniger"])
def test_three_words_may_be_written_as_one(typed: str) -> None:
    """ "Hoge druk reiniger" must find the "Hogedrukreiniger" of a shop."""
    roles = Roles(things=frozenset({"hodrukrein"}))
    assert spaced(f"een {typed} met slang", roles, ["nl"]) == "een hogedrukreiniger met slang"


@pytest.mark.parametrize("typed", ["lord of the rings", "the rings"])
def test_words_whose_form_in_one_piece_has_another_stem_remain_two(typed: str) -> None:
    """The stem of "therings" is "there": "lord of the rings" must not show only "And Then There Were None"."""
    roles = Roles(things=frozenset({"lord", "there", "ring", "therapi"}))
    assert spaced(typed, roles, ["en", "de"]) == typed


CHINESE = Roles(
    {
        "运动": ("shoes",),
        "动鞋": ("shoes",),
        "鞋": ("shoes",),
        "椅子": ("chairs",),
        "椅": ("chairs",),
        "裙": ("dresses",),
    },
    frozenset({"红色", "白色", "白", "折叠", "运", "动", "升"}),
    things=frozenset({"汤锅", "运动", "원피", "피스", "빨강"}),
)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("白色运动鞋", "白色 运动鞋"),
        ("白运动鞋", "白 运动鞋"),
        ("白鞋", "白 鞋"),
        ("折叠椅", "折叠 椅"),
        ("红色的椅子", "红色 椅子"),
        ("我想买红色的裙子", "我想买 红色 裙"),  # fillers that the catalogue lacks
        ("3升汤锅", "3升 汤锅"),
        ("빨강원피스를 있나요", "빨강 원피스 있나요"),
        ("红色自行车", "红色自行车"),  # none is sold: nothing red is asked for
        ("自行车", "自行车"),
        ("椅子", "椅子"),
        ("鞋", "鞋"),
    ],
)
def test_text_without_spaces_is_divided_where_words_meet(typed: str, asked: str) -> None:
    """ "白色运动鞋" (white sneakers) must find something although no text has the pair 色运."""
    assert spaced(typed, CHINESE, ["ko" if typed[0] == "빨" else "zh"]) == asked


def test_thai_words_are_told_apart_between_whole_characters() -> None:
    """The vowels and the tone of a consonant are not characters of their own: "อยากซื้อหมวก" (want to buy a hat) must
    find something although no text has "กซื้" or "อห"."""
    roles = Roles(dict.fromkeys(("หม", "มว", "วก"), ("hats",)))
    assert spaced("อยากซื้อหมวก", roles, ["th"]) == "อยาก ซื้อ หมวก"


def test_a_hebrew_preposition_is_divided_from_a_word_of_the_catalogue() -> None:
    """ "שטיח לאמבטיה" is a rug for the bathroom; but a lamp ("מנורה") is not "of a bulb"."""
    roles = Roles({"שטיח": ("rugs",)}, things=frozenset({"אמבטי", "מנור", "נור"}))
    assert spaced("שטיח לאמבטיה", roles, ["he"]) == "שטיח ל אמבטיה"
    assert spaced("מנורה", roles, ["he"]) == "מנורה"
    assert [word.word for word in query_words("שטיח ל אמבטיה", ("he",))] == ["שטיח", "אמבטיה"]


@pytest.mark.parametrize("typed", ["e-bike", "e bike", "E-Bike"])
def test_a_stop_word_is_a_part_of_what_is_written_as_one(typed: str) -> None:
    """ "E-bike" must not show mountain bikes first in an Italian shop, where "e" is also the Italian "and"."""
    roles = Roles({"bik": ("mtb",)}, frozenset({"e"}), things=frozenset({"ebik"}))
    assert spaced(typed, roles, ["it"]).lower() == "ebike"
    assert spaced("bici e bike", replace(roles, things=frozenset()), ["it"]) == "bici e bike"


def test_a_qualifier_is_no_compound() -> None:
    """ "Wireless earbuds" must not show wire nails."""
    roles = Roles(things=frozenset({"wire", "less", "nail"}))
    for typed, divided in (("wireless earbuds", ""), ("nailless", "nail less")):
        assert QueryReader(roles, ["en"], lambda _word: False).read_text(typed).compounds == divided


def test_the_second_of_joined_words_is_no_inflection_of_the_first():
    """ "Silver ring" must not show every silver watch of a shop without rings: the stem of "silverring" is "silver"."""
    roles = Roles({"watch": ("watches",)}, frozenset({"silver"}), things=frozenset(), colours=frozenset({"silver"}))
    for typed in ("silver ring", "silver-ring", "watch es"):
        assert spaced(typed, roles, ["en"]) == typed
        assert spaced(typed, roles, ["en", "de"]) == typed


def test_a_number_and_its_unit_are_asked_for_in_each_way_that_the_catalogue_writes_them():
    """ "12v battery" must show the batteries of "12 V" first, even where something else has "12V"."""

    def texts(typed: str) -> list[str]:
        roles = Roles(things=frozenset({"12", "12v", "24v", "v", "batteri"}))
        found = QueryReader(roles, ["en"], lambda _word: False).read_texts(typed)
        return [each.text for each in (found.own, *found.alternatives)]

    assert texts("battery 12v") == ["battery 12v", "battery 12 v"]
    assert texts("24v  battery") == ["24v  battery"]
    assert texts("12 v") == ["12 v"]  # an index finds "12v" for it


def test_a_fraction_in_words_is_asked_for_in_digits():
    """ "Half inch valve" must find what the catalogue writes as 1/2"."""
    for languages, others in ((["en"], ["1/2 inch valve"]), (["de"], [])):
        found = QueryReader(Roles(things=frozenset({"valv"})), languages, lambda _word: False).read_texts(
            "half inch valve"
        )
        assert [each.text for each in found.alternatives] == others


def test_dimensions_are_not_what_is_sought():
    """ "M8x200 bolt" must find bolts if the catalogue has none in this size."""
    roles = Roles({"bolt": ("bolts",)}, frozenset({"m8", "200"}), things=frozenset({"bolt"}))
    found = QueryReader(roles, ["en"], lambda _word: False).read_text("m8x200 bolt")
    assert found.meaning.categories == {"bolts"}
    assert [query_words(found.text, ["en"])[number].word for number in found.meaning.heads] == ["bolt"]


@pytest.mark.parametrize(
    ("typed", "divided"),
    [
        ("rote Bürostühle", "buro stuhle"),
        ("Bürostühle Gartenstuhl", "buro stuhle garten stuhl"),
        ("Jagdschuhe", "jagd schuhe"),
        ("Brotball", "brot ball"),  # not a kind, but the catalogue calls something so
        (f"{'x' * 40}stuhl", ""),
        ("Schreibtischstuhl", ""),  # the catalogue has it
        ("Schreibtischstuhk", ""),  # and this is a misspelling of it
        ("Kuhstuhl", "kuh stuhl"),
        ("Ostuhl", ""),  # too little in front of it
        ("Faltstuhlkissen", ""),
        ("kurzhand", "kurz hand"),
        ("clockhands", "clock hands"),
        ("shorthand", ""),  # spelled correctly, so the model knows what it means
        ("ballhand", "ball hand"),  # but the catalogue has both parts
        ("redpin", "red pin"),  # as if the ending is short
        ("madpin", ""),
        ("handrot", ""),  # also spelled correctly
        ("pinhand", "pin hand"),  # and not a misspelled "pinhan"
        ("minhand", ""),
        ("skateboard für madhand", ""),  # nobody asks for the hand
    ],
)
def test_a_compound_that_the_catalogue_lacks_is_divided(typed, divided):
    found = QueryReader(ROLES, ["de", "en"], {"shorthand", "ballhand", "handrot"}.__contains__).read_text(typed)
    assert found.compounds == divided


def test_a_compound_is_divided_into_any_two_words_of_the_catalogue() -> None:
    """Nothing is called "red", but the catalogue has both words."""
    assert QueryReader(ROLES, ["de"], lambda _word: False).read_text("handred").compounds == "hand red"


def same_as(typed: str, *, visitor: str = "") -> list[str]:
    """Return the texts that are searched with a query in a German and English shop."""
    things = {"ledersofa", "kuchenstuhl", "wollhemd", "geburtstagskart", "armbanduhr", "uhrarmband", "ledergurtel"}
    things |= {"greenhous", "orang", "saftorang", "uhrsto"}
    modifiers = frozenset({"leder", "led", "armband", "uhr"})
    roles = Roles({"sofa": ("sofas",), "saft": ("juices",)}, modifiers, frozenset(things))
    reader = QueryReader(roles, ["de", "en"], {"green", "house"}.__contains__, visitor)
    return [each.text for each in reader.read_texts(typed).alternatives]


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ("Leder Sofa", ""),  # an index finds words in one piece
        ("Sofa Leder", "ledersofa"),
        ("braune Sofas aus dem Leder günstig", "braune ledersofas günstig"),
        ("Küche Stuhl", "küchenstuhl"),
        ("Stühle für die Küche", "küchenstühle"),
        ("Hemden Wolle", "wollhemden"),
        ("Karte zum Geburtstag", "geburtstagskarte"),
        ("Armband Uhr", ""),
        ("Uhr Armband", ""),
        ("Uhr für Armband", "armbanduhr"),
        ("Orangen Säfte", ""),  # these are juices
        ("Orangen für Säfte", "saftorangen"),
        ("Sofa ohne Leder", ""),
        ("Sofa und Leder", ""),
        ("Sofa, Leder", ""),
        ("Sofa blau Leder", ""),
        ("Sofa 3 Leder", ""),
        ("Uhr to", ""),  # the "C" of "USB C" is not a part of "USBC"
        ("LED Gürtel", ""),
        ("Sofa Holz", ""),
        (f"Sofa {'leder' * 1000}", ""),
    ],
)
def test_two_words_are_also_searched_as_the_compound_that_the_catalogue_has(typed: str, same: str) -> None:
    """ "Sofa Leder" must show the "Ledersofa" before other sofas, and "Hemd Leinen" must find the "Leinenhemd"."""
    assert same_as(typed) == ([same] if same else [])


def test_a_form_of_a_word_is_no_compound_with_it() -> None:
    """The Swedish "doftljuset" is the scented candle, and not a set of them."""
    roles = Roles(things=frozenset({stem_of("doftljus", "sv")}))
    assert QueryReader(roles, ["sv", "de"], lambda _word: False).read_texts("doftljus set").alternatives == []


def test_words_of_the_visitors_language_make_no_compound_of_another() -> None:
    """In an English shop that also has German texts, "house green" must not be taken for a greenhouse."""
    assert same_as("house green", visitor="en") == []
    assert same_as("Sofa Leder", visitor="en") == ["ledersofa"]


def test_a_compound_is_divided_after_a_word_of_the_catalogue_if_possible() -> None:
    """ "Baumwolldecke" must find a blanket of cotton in a shop that also has one of wool."""
    roles = Roles({"deck": ("blankets",)}, frozenset({"baumwoll"}), things=frozenset({"wolldeck"}))
    assert QueryReader(roles, ["de"], lambda _word: False).read_text("Baumwolldecke").compounds == "baumwoll decke"


def test_few_letters_of_a_query_are_divided(monkeypatch) -> None:
    """Sixteen long words that mean nothing must not take two seconds of processor time in a catalogue of seven
    languages."""
    asked: list[str] = []

    def divide(word: str, *args: object, **options: object) -> str:
        asked.append(word)
        return divided_compound(word, *args, **options)

    monkeypatch.setattr(reader_module, "divided_compound", divide)
    reader = QueryReader(ROLES, ["de"], lambda _word: False)
    reader.read_text(" ".join(f"{letter}bcdfghjklmnpqrstvwxzbcdfghjkl" for letter in "bcdfghjklmnpqrst"))
    assert 0 < sum(map(len, asked)) <= MOST_LETTERS
    assert reader.read_text("Handschuh rot Schuhhand Handstuhl Stuhlhand").compounds.count(" ") == 7


def test_the_last_part_of_a_compound_is_a_word() -> None:
    """ "Ledertasche" must not be read as "led ertasche" in a shop with a "Schultertasche" and LED lamps, but find the
    "Handtasche Leder"."""
    roles = Roles({"handtasch": ("bags",)}, frozenset({"led", "leder"}), things=frozenset({"schultertasch"}))
    assert QueryReader(roles, ["de"], lambda _word: False).read_text("Ledertasche").compounds == "leder tasche"


@pytest.mark.parametrize(
    ("language", "typed", "kind"),
    [
        ("es", "silla de madera", "sill"),
        ("es", "vestidos cortos", "vest"),
        ("fr", "chaises pliantes en bois", "chais"),
        ("fr", "table rectangulaire", "tabl"),
        ("it", "tavolo rotondo in legno", "tavol"),
        ("it", "scarpe comode", "scarp"),
        ("pt", "bolsa de couro", "bols"),
        ("nl", "houten tafel", "tafel"),
        ("pl", "drewniane krzesło", "krzesl"),
        ("pl", "skórzana torebka", "torebk"),
        ("ja", "木製チェア", "チエア"),
        ("ja", "子供用チェア", "チエア"),
        ("ja", "メンズ レザー ブーツ", "ブーツ"),
        ("bg", "удобни дамски ботуши", "ботуш"),
        ("el", "άνετες γυναικείες μπότες", "μποτ"),
        ("fa", "کفش راحت زنانه", "کفش"),
        ("fi", "mukavat kengät naisille", "keng"),
        ("hr", "udobne ženske čizme", "cizm"),
        ("bs", "udobne ženske čizme", "cizm"),
        ("hu", "kényelmes csizma nőknek", "csizm"),
        ("id", "jaket wanita hangat", "jaket"),
        ("ko", "여성용 부츠", "부츠"),
        ("ro", "cizme comode damă", "cizm"),
        ("sk", "pohodlné dámske čižmy", "cizm"),
        ("uk", "зручні жіночі чоботи", "чобот"),
        ("he", "מגפיים נוחים לנשים", "מגפ"),
        ("hi", "महिलाओं के आरामदायक जूते", "जूत"),
        ("lt", "patogūs moteriški batai", "bat"),
        ("lv", "ērti zābaki sievietēm", "zabak"),
        ("sr", "udobne ženske čizme", "cizm"),
        ("sr", "удобне женске чизме", "cizm"),
        ("vi", "giày đẹp cho nữ", "gìay"),
    ],
)
def test_each_language_has_qualifiers_for_what_a_thing_is_made_of_or_like(language: str, typed: str, kind: str) -> None:
    """ "Silla de madera" (wooden chair) must find chairs where no text says what a chair is made of."""
    found = QueryReader(Roles({kind: ("kind",)}, things=frozenset()), [language], lambda _word: False).read_text(typed)
    assert found.categories == {"kind"}


@pytest.mark.parametrize(("typed", "qualifies"), [("küchen regal", True), ("kuchen rezepte", False)])
def test_a_listed_word_is_another_one_without_its_accents(typed: str, qualifies: bool) -> None:
    """A cake ("Kuchen") is what shoppers look for, a kitchen is where a thing is used."""
    assert query_words(typed, ("de",))[0].qualifier == qualifies


@pytest.mark.parametrize("language", sorted(QUALIFIERS))
def test_every_listed_qualifier_is_known(language: str) -> None:
    """The end of a list that is longer than a text may be must not be ignored."""
    words = {word: query_words(word, (language,)) for word in QUALIFIERS[language].split()}
    assert [word for word, parts in words.items() if not all(part.qualifier for part in parts)] == []


@pytest.mark.parametrize(
    ("language", "typed", "kind"),
    [
        ("en", "washable sofa", "sofa"),
        ("en", "heavy-duty sofa", "sofa"),
        ("en", "second hand sofas", "sofa"),
        ("en", "comfiest sofa", "sofa"),
        ("de", "nachhaltige Schuhe", "schuh"),
        ("nl", "ecologische schoenen", "schoen"),
        ("sv", "hållbara soffor", "soff"),
        ("pl", "wygodne buty", "buty"),
        ("ru", "прочные ботинки", "ботинк"),
    ],
)
def test_an_adjective_says_what_a_thing_is_like(language: str, typed: str, kind: str) -> None:
    """ "Washable sofa" must find sofas where no text has the word."""
    found = QueryReader(Roles({kind: ("kind",)}, things=frozenset()), [language], lambda _word: False).read_text(typed)
    assert found.categories == {"kind"}


@pytest.mark.parametrize("typed", ["hot dog", "sparkling water", "artificial plant", "hand dog"])
def test_what_makes_another_thing_of_it_is_no_adjective(typed: str) -> None:
    kind = {"dog": ("kind",), "water": ("kind",), "plant": ("kind",)}
    assert not QueryReader(Roles(kind, things=frozenset()), ["en"], lambda _word: True).read_text(typed).categories


@pytest.mark.parametrize(
    ("typed", "languages", "asked"),
    [
        ("skateboard chair", ["en"], "chair"),
        ("skateboard chair", ["en", "de"], "chair"),
        ("skateboard with a chair", ["en"], "skateboard"),
        ("chair without arms", ["en"], "chair"),
        ("Stuhl mit Lehne aus Leder", ["de"], "stuhl"),
        ("umbrella with a chair", ["en"], "umbrella chair"),  # nothing is called an umbrella
        ("skateboard for a chair", ["en"], "skateboard"),
        ("chair for a nice basket and a skateboard", ["en"], "chair"),
        ("chair for the bedroom", ["en"], "chair"),
        ("Stuhl fürs Büro, für den Basket", ["de"], "stuhl"),
        ("chair pour skateboard", ["fr"], "chair"),
        ("looking for a skateboard basket", ["en"], "basket"),
        ("for a chair", ["en"], "chair"),
        ("something for a chair", ["en"], "chair"),
        ("etwas mit Stuhl", ["de"], "stuhl"),
        ("quelque chose de chair", ["fr"], "chair"),
        ("chair nella basket, sulle skateboard", ["it"], "chair"),
        ("chair delle chair", ["it"], "chair"),
        ("chair nas chair", ["pt"], "chair"),
        ("deze chair die", ["nl"], "chair"),
        ("cover for a chair", ["en"], "cover chair"),  # nothing is called a cover
        ("skateboard and basket chair", ["en"], "skateboard chair"),
        ("nice skateboard chair please", ["en"], "chair"),
        ("cherche chair skateboard", ["fr"], "chair"),
        ("basket skateboard", ["en"], "skateboard"),
        ("chair skateboard", ["en"], "chair skateboard"),
        ("chair skateboard", ["fr"], "chair"),
        ("chair de skateboard", ["fr"], "chair"),
        ("skateboard chair", ["fr", "en"], "skateboard chair"),  # it cannot be told which comes first
        ("chair chair", ["en"], "chair"),
        ("cheap chair", ["en"], "chair"),
        ("what chair do you have", ["en"], "chair"),
        ("günstiger Stuhl", ["de"], "stuhl"),
        ("chair size 42", ["en"], "chair"),
        ("chair sz 42", ["en"], "chair"),
        ("Stuhl Gr. 42", ["de"], "stuhl"),
        ("chair tg. 42", ["it"], "chair"),
        ("500 gr chair", ["de"], "chair"),
        ("chair gr", ["de"], "chair gr"),
        ("chair size m", ["en"], "chair"),  # although a ball is called "size 5"
        ("skateboard, taille m", ["fr"], "skateboard"),
        ("size of a chair 42", ["en"], "size chair"),
        ("chair age 5", ["en"], "chair"),
        ("chair for ages 3 to 5 years", ["en"], "chair"),
        ("Stuhl ab 3 Jahren", ["de"], "stuhl"),
        ("new age chair", ["en"], "age chair"),
        ("Größe XL Stuhl", ["de"], "stuhl"),
        ("chair under 50 euros", ["en"], "chair"),
        ("chair size 42.5", ["en"], "chair"),
        ("chair under 1,000 dollars", ["en"], "chair"),
        ("chair for less than 50 euros", ["en"], "chair"),
        ("chair à moins de 50 euros", ["fr"], "chair"),
        ("chair jusqu'à 50 euros", ["fr"], "chair"),
        ("Stuhl bis 100 Euro", ["de"], "stuhl"),
        ("chair hasta 100 euros", ["es"], "chair"),
        ("chair fino a 100 euro", ["it"], "chair"),
        ("chair tot 100 euro", ["nl"], "chair"),
        ("chair do 100 zł", ["pl"], "chair"),
        ("chair até 100 reais", ["pt"], "chair"),
        ("chair under bed", ["en"], "chair bed"),
        ("chair under a bed 42", ["en"], "chair bed"),
        ("chair 42", ["en"], "chair"),  # also a size
        ("skateboard c", ["en"], "skateboard"),  # a type or a size
        ("skateboard м", ["ru"], "skateboard"),
        ("skateboard 茶", ["zh"], "skateboard 茶"),  # a word
        ("skateboard 2tb", ["en"], "skateboard"),
        ("skateboard 5 kg", ["en"], "skateboard"),
        ("26 inches chair", ["en"], "chair"),
        ("ballon 5 litres chair", ["fr"], "ballon chair"),
        ("chair inch", ["en"], "chair inch"),
        ("do you sell a chair", ["en"], "chair"),
        ("what helps against a skateboard", ["en"], "skateboard"),
        ("when will you have skateboards", ["en"], "skateboards"),
        ("was hilft gegen Basket", ["de"], "basket"),
        ("vendez-vous chair", ["fr"], "chair"),
        ("chair na basket", ["pl"], "chair"),
        ("Stuhl zum Basket", ["de"], "stuhl"),
        ("combien coûte la chair ?", ["fr"], "chair"),
        ("est-ce que vous vendez des chair", ["fr"], "chair"),
        ("c'è una chair?", ["it"], "chair"),
        ("quanto costa la chair", ["it"], "chair"),
        ("vocês têm chair?", ["pt"], "chair"),
        ("¿cuánto cuesta la chair?", ["es"], "chair"),
        ("quiero unas chair", ["es"], "chair"),
        ("wat kost een chair", ["nl"], "chair"),
        ("chair badkamer", ["nl"], "chair"),
        ("chair badrum", ["sv"], "chair"),
        ("ile kosztuje chair", ["pl"], "chair"),
        ("führt ihr auch einen Stuhl", ["de"], "stuhl"),
        ("har ni billiga chair?", ["sv"], "chair"),
        ("chair för skateboard", ["sv"], "chair"),
        ("hvad koster en chair", ["da"], "chair"),
        ("selger dere chair uten skateboard", ["nb"], "chair"),
        ("jeg leter etter en chair", ["no"], "chair"),
        ("onko teillä chair", ["fi"], "chair"),
        ("kolik stojí chair pro basket", ["cs"], "chair"),
        ("у вас есть chair для basket?", ["ru"], "chair"),
        ("ucuz chair var mı?", ["tr"], "chair"),
        ("chair はありますか", ["ja"], "chair"),
        ("könnt ihr mir einen Stuhl empfehlen", ["de"], "stuhl"),
        ("ik ben op zoek naar een chair", ["nl"], "chair"),
        ("cheap", ["en"], ""),
        ("sale of a basket", ["en"], "sale basket"),  # the catalogue has something that is called so
        ("picture of a chair", ["en"], "chair"),
        ("chair photo", ["en"], "chair"),
        ("picture chair", ["en"], "picture chair"),  # a chair for pictures, like a "picture frame"
        ("photo de chair", ["fr"], "chair"),
        ("chair photo", ["fr"], "chair"),  # whatever "photo" is
        ("hte chair", ["en"], "chair"),
        ("teh chair", ["en"], "teh chair"),  # spelled correctly
        ("form of a skateboard", ["en"], "form skateboard"),  # the catalogue has it
    ],
)
def test_the_words_of_which_an_answer_must_have_one(typed, languages, asked):
    roles = Roles(
        {"chair": ("chairs",), "stuhl": ("chairs",)},
        things=frozenset({"skateboard", "basket", "sale", "form", "size", "taill"}),
    )
    text = QueryReader(roles, languages, {"teh"}.__contains__).read_text(typed)
    words = [word.word for word in query_words(typed, languages)]
    assert " ".join(words[number] for number in text.heads or range(len(words))) == (asked or typed)


def test_turkish_water_is_no_stop_word() -> None:
    """ "Su ısıtıcı" (kettle) must not find every heater, although "şu" means "that"."""
    assert [word.word for word in query_words("su ısıtıcı", ("tr",))] == ["su", "isitici"]


@pytest.mark.parametrize("typed", ["uñas postizas", "unas postizas"])
def test_a_word_without_its_accent_is_no_stop_word(typed: str) -> None:
    """ "Uñas postizas" (false nails) must not find false eyelashes, although "unas" means "some"."""
    roles = Roles(modifiers=frozenset({"postiz"}), things=frozenset({"unas", "pestan"}))
    assert QueryReader(roles, ["es"], lambda _word: False).read_text(typed).heads == (0,)


def test_a_plural_with_another_stem_has_the_role_of_the_singular():
    roles = Roles({"shelf": ("shelves",)}, things=frozenset())
    assert QueryReader(roles, ["en"], {"shelves"}.__contains__).read_text("shelves").categories == {"shelves"}


@pytest.mark.parametrize(("typed", "kind"), [("car", "care"), ("tub", "tube"), ("cap", "cape")])
def test_no_other_word_is_the_plural(typed, kind):
    """ "Car" must not be read as "cares", and so show the soil of a category "Soil & care"."""
    roles = Roles({kind: (kind,)}, things=frozenset())
    assert not QueryReader(roles, ["en"], lambda _word: True).read_text(typed).categories
    assert QueryReader(roles, ["en"], lambda _word: True).read_text(f"{kind}s").categories


def test_a_stem_of_another_language_that_misleads_names_no_kind() -> None:
    """ "Planter" must not be read as "plants", of which it is the German stem, but show planters."""
    roles = Roles({"plant": ("plants",)}, things=frozenset({"planter"}), collisions={"de": frozenset({"en:planter"})})
    reader = QueryReader(roles, ["en", "de"], lambda _word: False)
    assert not reader.read_text("planter").categories
    assert reader.read_text("plants").categories == {"plants"}


def test_another_spelling_has_the_role_of_the_word():
    roles = Roles({"tyre": ("tyres",)}, frozenset({"microfibr"}), things=frozenset())
    assert QueryReader(roles, ["en"], {"tires"}.__contains__).read_text("tires").categories == {"tyres"}
    assert spaced("micro fiber tires", roles, ["en"]) == "microfiber tires"


@pytest.mark.parametrize(
    ("typed", "asked", "categories"),
    [
        ("dog coat", "coat", set()),
        ("waterproof dog coat", "coat", set()),
        ("coat for dogs", "coat", set()),
        ("something for dogs", "dogs", {"beds", "food", "toys"}),
        ("dog", "", {"beds", "food", "toys"}),
        ("red dog", "dog", {"beds", "food", "toys"}),
        ("dog red", "dog", {"beds", "food", "toys"}),
        ("dog 42", "dog", {"beds", "food", "toys"}),
        ("dog trousers", "", set()),  # the catalogue lacks it
        ("dog bed", "", {"beds"}),
        ("dog shoe", "shoe", {"boots", "sandals", "slippers"}),
        ("shoe coat", "shoe", {"boots", "sandals", "slippers"}),  # slippers are called house shoes
        ("cat coat", "cat", {"litter", "trees"}),  # not enough for a department
        ("winter coat", "coat", set()),
        ("sports coat", "coat", set()),
        ("winter sports", "", {"skis", "sleds", "skates"}),
        ("winter", "", {"skis", "sleds", "skates"}),
        ("water coat", "water", {"skis", "sleds", "skates", "bottles"}),  # not only in names of departments
    ],
)
def test_the_name_of_a_department_specifies_what_stands_behind_it(typed, asked, categories):
    """ "Dog coats" must not show beds and food of the "Dogs" after the coats, nor "winter hat" skis of the "Winter
    sports" before any hat."""
    of_dogs, shoes, of_cats = ("beds", "food", "toys"), ("boots", "sandals", "slippers"), ("litter", "trees")
    winter, games = ("skis", "sleds", "skates"), ("rackets", "balls", "nets")
    names = {
        ("dog", "bed"): ("beds",),
        ("hous", "shoe"): ("slippers",),
        ("cat",): of_cats,
        ("dog",): of_dogs,
        ("shoe",): shoes,
        ("winter", "sport"): winter,
        ("racket", "sport"): games,
        ("water", "sport"): winter,
    }
    modifiers = frozenset({"coat", "red", "waterproof"})
    kinds = {"dog": of_dogs, "cat": of_cats, "shoe": shoes, "bed": ("beds",)}
    kinds |= {"winter": winter, "sport": (*winter, *games), "racket": games, "water": (*winter, "bottles")}
    roles = Roles(kinds, modifiers, things=frozenset(), colours=frozenset({"red"}), names=names)
    text = QueryReader(roles, ["en"], lambda _word: False).read_text(typed)
    assert " ".join(query_words(typed, ["en"])[number].word for number in text.heads) == asked
    assert text.categories == categories


@pytest.mark.parametrize(
    ("typed", "languages", "asked", "categories"),
    [
        ("mens chair", ["en"], "chair", {"chairs"}),
        ("women's red chairs", ["en"], "chairs", {"chairs"}),
        ("chair for the kitchen", ["en"], "chair", {"chairs"}),
        ("small modern office chair", ["en"], "chair", {"chairs"}),
        ("beach chair", ["en"], "chair", {"chairs"}),
        ("striped cotton chair", ["en"], "chair", {"chairs"}),
        ("full length v-neck chair", ["en"], "chair", {"chairs"}),
        ("chair half sleeve", ["en"], "chair", {"chairs"}),
        ("gestreifter Stuhl", ["de"], "stuhl", {"chairs"}),
        ("vintage chair", ["en"], "chair", {"chairs"}),  # any chair, or anything else, is called so
        ("vintage", ["en"], "", set()),
        ("garden chair", ["en"], "chair", {"chairs"}),  # although the word alone names plants
        ("desk chair", ["en"], "desk chair", set()),  # perhaps of another kind: an ice cream is not a cream
        ("modern desk", ["en"], "desk", set()),  # not sold
        ("chair office", ["en"], "chair", {"chairs"}),
        ("chair eu 42", ["en"], "chair", {"chairs"}),
        ("chair xl", ["en"], "chair", {"chairs"}),
        ("chair l", ["en"], "chair", {"chairs"}),
        ("moderner Stuhl", ["de"], "stuhl", {"chairs"}),
        ("mens chair", ["de"], "mens chair", set()),
        ("chaise de bureau", ["fr"], "chaise", {"chairs"}),
        ("bureau noyer", ["fr"], "bureau", set()),  # a desk of walnut
        ("chaise pelucheuse", ["fr"], "chaise", {"chairs"}),  # whatever it means, what follows says what it is like
        ("chaise de jardinier", ["fr"], "chaise jardinier", set()),
        ("bureau", ["fr"], "", set()),
    ],
)
def test_a_qualifier_never_says_what_a_thing_is(typed, languages, asked, categories):
    """ "Mens shoes" and "office chair" must find things of the kind even where no text has the qualifier."""
    kinds = dict.fromkeys(("chair", "stuhl", "chais"), ("chairs",)) | {"garden": ("plants",)}
    roles = Roles(kinds, frozenset({"red"}), things=frozenset({"vintag", "bureau"}), colours=frozenset({"red"}))
    text = QueryReader(roles, languages, lambda _word: False).read_text(typed)
    words = [word.word for word in query_words(typed, languages)]
    assert " ".join(words[number] for number in text.heads or range(len(words))) == (asked or typed)
    assert text.categories == categories


SEVERAL = Roles(
    {
        "dress": ("dresses",),
        "rob": ("dresses",),
        "shoe": ("pumps", "boots"),
        "chaussur": ("pumps", "boots"),
        "boot": ("boots",),
        "sandal": ("sandals",),
        "bag": ("bags",),
        "sac": ("bags",),
        "juic": ("juices",),
    },
    frozenset({"red"}),
    frozenset(),
    colours=frozenset({"red"}),
    departments={"pumps": "boots", "boots": "boots", "sandals": "boots", "dresses": "dresses", "shirts": "dresses"},
)


@pytest.mark.parametrize(
    ("typed", "languages", "heads", "categories"),
    [
        ("dress shoes", ["en"], (1,), {"pumps", "boots"}),
        ("red dress shoes", ["en"], (2,), {"pumps", "boots"}),
        ("dress shoes bag", ["en"], (2,), {"bags"}),
        ("sac robe", ["fr"], (0,), {"bags"}),
        ("dress and shoes", ["en"], (), {"dresses", "pumps", "boots"}),
        ("dress shoes", ["en", "fr"], (), {"dresses", "pumps", "boots"}),
        ("juice bag", ["en"], (1,), {"bags"}),
        ("sandal shoes", ["en"], (1,), {"pumps", "boots"}),
    ],
)
def test_of_words_for_several_kinds_the_head_says_what_is_sought(typed, languages, heads, categories):
    """ "Dress shoes" must not show dresses because fewer entries have the word."""
    text = QueryReader(SEVERAL, languages, lambda _word: False).read_text(typed)
    assert (text.heads, text.categories) == (heads, categories)


@pytest.mark.parametrize(
    ("typed", "languages", "asked"),
    [
        ("Herrenschuhe", ["de"], "Herren schuhe"),
        ("rote Küchenstühle", ["en", "de"], "rote Küchen stühle"),
        ("Sportschuhe", ["de"], "Sport schuhe"),
        ("Herrenhand", ["de"], "Herren hand"),
        ("Herrenuhr", ["de"], "Herrenuhr"),  # not sold
        ("Gartenschuhe", ["de"], "Gartenschuhe"),  # the catalogue has some
        ("Herren", ["de"], "Herren"),
        ("mensschuh", ["en"], "mensschuh"),  # not a compound in this language
    ],
)
def test_a_qualifier_is_a_word_of_its_own(typed, languages, asked):
    roles = Roles(ROLES.kinds, ROLES.modifiers, things=frozenset({"gartenschuh"}))
    assert spaced(typed, roles, languages) == asked


def test_the_name_of_a_department_and_a_kind_name_a_category_together():
    of_men = ("mens-shoes", "mens-shirts", "mens-coats")
    names = {("man",): of_men, ("shoe",): ("mens-shoes", "womens-shoes")}
    roles = Roles({"man": of_men, "shoe": names[("shoe",)]}, things=frozenset(), names=names)
    assert QueryReader(roles, ["en"], lambda _word: False).read_text("man shoes").categories == {"mens-shoes"}


@pytest.mark.parametrize(
    ("typed", "languages", "asked"),
    [
        ("avete del parmigiano?", ["it"], "parmigiano"),
        ("Ich suche Leder", ["de"], "leder"),
        ("svete parmigiano", ["it"], "svete parmigiano"),  # not a word of asking, so it may be vinegar
    ],
)
def test_a_word_of_asking_is_no_misspelling(typed, languages, asked):
    """ "Avete" must not be taken for "aceto", which would ask for vinegar."""
    roles = Roles(things=frozenset({"acet", "svet", "parmig", "tuch", "leder"}))
    text = QueryReader(roles, languages, set().__contains__).read_text(typed)
    words = [word.word for word in query_words(typed, languages)]
    assert " ".join(words[number] for number in text.heads or range(len(words))) == asked


@pytest.mark.parametrize(
    ("typed", "languages", "spoken", "asked"),
    [
        ("red hat", ["en", "de"], "en", "hat"),  # not the German "hat" (has)
        ("red hats", ["en", "de"], "en", "hats"),
        ("red hat", ["en", "de"], "de", ""),
        ("red hut hat", ["en", "de"], "en", "hut"),  # not every word is English
        ("fur", ["de", "en"], "en", "fur"),  # "für" (for) without its accent
        ("red fur", ["de", "en"], "en", "fur"),
        ("red fur", ["de", "en"], "de", ""),
        ("red case", ["it", "en"], "en", "case"),  # "case" means houses
        ("potato", ["it"], "it", "potato"),  # its stem is that of "potete" (you can)
        ("red shorts", ["en"], "en", "shorts"),
        ("short red shorts", ["en"], "en", "shorts"),
        ("blue games", ["en"], "en", "blue games"),  # not like "gaming"
        ("red lights", ["en"], "en", "lights"),  # the shade is "light red"
    ],
)
def test_a_word_of_a_list_is_one_of_its_language(typed, languages, spoken, asked):
    """ "Red hat" must not show all that is red in a shop that is also German, nor "white shorts" everything white."""
    known = {"red", "hat", "fur", "case", "blue", "short", "game", "light"}
    roles = Roles(modifiers=frozenset({"red"}), things=frozenset({"chair"}), colours=frozenset({"red"}))
    text = QueryReader(roles, languages, known.__contains__, spoken).read_text(typed)
    words = [word.word for word in query_words(typed, languages, text.foreign)]
    assert " ".join(words[number] for number in text.heads or (range(len(words)) if asked else ())) == asked


def test_a_word_that_ends_compounds_is_no_misspelling():
    """ "Stuhl" must not be taken for "Stahl" if the catalogue has only a "Gartenstuhl"."""
    roles = Roles(modifiers=frozenset({"stahl"}), things=frozenset({"gartenstuhl", "grill"}))
    text = QueryReader(roles, ["de"], set().__contains__).read_text("Grill Stuhl")
    assert text.heads == ()
    assert QueryReader(roles, ["de"], set().__contains__).read_text("Grill Stoahl").heads == (0,)


@pytest.mark.parametrize(
    ("typed", "divided"),
    [
        ("Klappstuhl", "klapp stuhl"),
        ("Klappstühle", "klapp stuhle"),
        ("Balkonbank", "balkon bank"),  # before the end of another compound: no "balko nbank" as in "Gartenbank"
        ("Teakstuh", ""),
        ("Teakbett", ""),  # what is called a "tbett" is not a compound of a bed
    ],
)
def test_a_compound_is_divided_before_the_end_of_another(typed, divided):
    """For "Klappstuhl", a "Gartenstuhl" must at least be the closest."""
    roles = Roles({"gartenstuhl": ("chairs",)}, things=frozenset({"gartenbank", "bank", "tbett"}))
    assert QueryReader(roles, ["de"], set().__contains__).read_text(typed).compounds == divided


def test_a_compound_is_divided_before_another_form_of_a_word():
    """The stems of "shelf" and "shelves" differ."""
    roles = Roles({"shelf": ("shelves",)}, things=frozenset())
    assert QueryReader(roles, ["en"], set().__contains__).read_text("wallshelves").compounds == "wall shelves"


@pytest.mark.usefixtures("without_dictionaries")
@pytest.mark.parametrize(("languages", "spelled"), [(["nl"], set()), (["nl", "en"], {"rode"}), (["en"], {"rode"})])
def test_the_words_of_a_model_are_english(languages, spelled):
    """ "Rode fiets" (red bicycle) and "Rosen" must find something in a shop without English texts, although the model
    knows these words as English ones."""
    texts = QueryReader(Roles(), languages, {"rode"}.__contains__, "nl").read_texts("rode fiets", ["rode"])
    assert texts.own.spelled == texts.alternatives[0].spelled == spelled


def test_what_a_thing_is_made_of_is_not_sought():
    """ "Bank van leer" (leather sofa) must find sofas although many texts mention a sofa that things stand next to."""
    roles = Roles(
        {"stoel": ("stoelen",)}, frozenset({"bank"}), things=frozenset({"trein"}), names={("bank",): ("banken",)}
    )
    text = QueryReader(roles, ["nl"], set().__contains__).read_text("bank van leer")
    assert (text.heads, text.categories) == ((0,), {"banken"})


def test_without_categories_every_word_may_be_what_is_sought():
    """ "harry potter book" must not show other books and nothing of Harry Potter."""
    roles = Roles(things=frozenset({"book", "harri", "potter"}))
    assert QueryReader(roles, ["en"], set().__contains__).read_text("harry potter book").heads == ()


@pytest.mark.parametrize(("typed", "categories"), [("mens", ()), ("men's", ()), ("nens", ("x",)), ("lenss", ("x",))])
def test_the_possessive_of_a_word_is_spelled_correctly(typed, categories):
    """ "mens" must not count as a misspelling of "lens"."""
    roles = Roles({"lens": ("x",)}, things=frozenset())
    text = QueryReader(roles, ["en"], {"men", "lens"}.__contains__).read_text(typed)
    assert text.categories == frozenset(categories)


@pytest.mark.parametrize(
    ("typed", "languages", "asked"),
    [
        ("lamp, not white", ["en"], "lamp,"),
        ("no White shoes", ["en"], "shoes"),
        ("shoes but not in white, please", ["en"], "shoes but please"),
        ("red lamp without white or black", ["en"], "red lamp"),
        ("lamp, not white but black", ["en"], "lamp, but black"),
        ("no white lamp, black", ["en"], "lamp, black"),
        ("Lampe ohne Weiß", ["de"], "Lampe"),
        ("keine weißen Schuhe", ["de", "en"], "Schuhe"),
        ("chaussures pas de noir", ["fr"], "chaussures"),
        ("sapatos, não black", ["pt"], "sapatos,"),
        ("lamp, not white / black", ["en"], "lamp,"),
        ("milk without lactose", ["en"], "milk without lactose"),
        ("a lamp not for white rooms", ["en"], "a lamp rooms"),
        ("lamp not so white", ["en"], "lamp not so white"),
        ("not white", ["en"], "not white"),
        ("lamp not", ["en"], "lamp not"),
        ("no white\u00a0lamp", ["en"], "lamp"),
        ("no white-black lamp", ["en"], "lamp"),
        ("white lamp ", ["en"], "white lamp "),
    ],
)
def test_a_colour_that_is_not_wanted_is_not_asked_for(typed, languages, asked):
    """ "Lamp, not white" must not show the white ones first."""
    roles = Roles(colours=frozenset({"white", "black", "weiss", "noir"}))
    found, unwanted = without_negated_colours(typed, roles, languages)
    assert found == asked
    assert bool(unwanted) == (asked != typed)
    assert unwanted <= roles.colours


@pytest.mark.parametrize(
    ("typed", "languages", "read", "asked"),
    [
        ("light blue chair", ["en"], "light blue chair", "chair"),
        ("hellblauer Stuhl", ["de"], "hell blauer Stuhl", "stuhl"),
        ("Stuhl, Dunkelblau", ["de", "en"], "Stuhl, Dunkel blau", "stuhl"),
        ("chaise bleu clair", ["fr"], "chaise bleu clair", "chaise"),
        ("light chair", ["en"], "light chair", "light chair"),
        ("light and blue chair", ["en"], "light and blue chair", "light chair"),
        ("hellen Stuhl", ["de"], "hellen Stuhl", "hellen stuhl"),
        ("helles Stuhl", ["en"], "helles Stuhl", "helles stuhl"),
    ],
)
def test_a_shade_is_a_part_of_the_name_of_a_colour(typed, languages, read, asked):
    kinds = {"chair": ("chairs",), "stuhl": ("chairs",), "chais": ("chairs",)}
    roles = Roles(
        kinds, frozenset({"blue", "blau", "bleu"}), things=frozenset(), colours=frozenset({"blue", "blau", "bleu"})
    )
    assert spaced(typed, roles, languages) == read
    text = QueryReader(roles, languages, {"blue"}.__contains__).read_text(read)
    words = query_words(read, languages)
    assert [words[number].word for number in text.colours] in (["blue"], ["blauer"], ["blau"], ["bleu"], [])
    assert " ".join(words[number].word for number in text.heads or range(len(words))) == asked


@pytest.mark.usefixtures("without_dictionaries")
def test_an_index_is_told_what_the_words_are():
    roles = Roles(
        {"tabl": ("tables",)},
        frozenset({"white"}),
        things=frozenset(),
        colours=frozenset({"white"}),
        collisions={"de": frozenset({"en:tabl"})},
    )
    text = QueryReader(roles, ["en", "de"], {"white"}.__contains__, visitor_language="en").read_text("white tables")
    query = text.applied_to(Query(np.zeros(1, np.float32)))
    assert (query.text, query.heads, query.spelled, query.colours) == ("white tables", (1,), {"white"}, (0,))
    assert query.foreign == {("tables", "de")}


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("1 l shampoo", "shampoo"),
        ("red shampoo 500", "shampoo"),
        ("soft shampoo", "shampoo"),
        ("soft", ""),
        ("red 500", ""),
        ("5 l", ""),
    ],
)
def test_of_modifiers_alone_no_number_colour_or_qualifier_is_what_is_sought(typed, asked):
    """ "1 l shampoo" must not show everything sold in litres, nor "stainless steel pan" everything made of steel."""
    modifiers = frozenset({"shampoo", "soft", "red", "l", "1", "5", "500"})
    roles = Roles({"car": ("car",)}, modifiers, things=frozenset(), colours=frozenset({"red"}))
    text = QueryReader(roles, ["en"], lambda _word: False).read_text(typed)
    assert " ".join(query_words(typed, ["en"])[number].word for number in text.heads) == asked


def test_a_stop_word_is_no_part_of_a_word_whose_plural_has_its_stem() -> None:
    """ "Tasse à café" must not be read as "tasseà café" because the verb "tasseas" would have the stem of "tasse"."""
    roles = Roles({"tass": ("cups",)}, frozenset({"caf"}))
    assert spaced("tasse à café", roles, ["fr"]) == "tasse à café"


def test_french_words_whose_forms_have_several_stems() -> None:
    """ "Boucher" must not ask for mouths, and "blanche" must be as well known as "blanc"."""
    roles = Roles(
        {"boucher": ("butchers",)}, frozenset({"blanc"}), things=frozenset({"bouch"}), colours=frozenset({"blanc"})
    )
    text = QueryReader(roles, ["fr"], lambda _word: False).read_text("boucher blanche")
    assert (text.categories, text.colours) == ({"butchers"}, (1,))


def test_the_language_of_the_page_says_which_word_is_the_head() -> None:
    """With texts in German and French: one language has the head last, the other first."""
    roles = Roles({"chais": ("chairs",), "bois": ("wood",)})
    for spoken, categories in (("fr", {"chairs"}), ("de", {"wood"}), ("", {"chairs", "wood"})):
        assert (
            QueryReader(roles, ["fr", "de"], lambda _word: False, spoken).read_text("chaise bois").categories
            == categories
        )


def test_the_language_of_the_page_says_which_word_a_synonym_stands_for() -> None:
    """ "Divan zyx" must find the "canapé" although some texts are in German, where the head is the last word."""
    roles = Roles({stem_of("canape", "fr"): ("sofas",)})
    for spoken, meant in (("fr", {"sofas"}), ("de", set())):
        texts = QueryReader(roles, ["fr", "de"], lambda _word: False, spoken).read_texts("divan zyx")
        assert texts.synonym_categories == meant


def test_a_word_of_the_page_has_the_synonyms_of_its_language_alone() -> None:
    """On an English page, "scooter" has no German synonyms."""
    roles = Roles(things=frozenset({stem_of("tretroller", "de")}))
    for spoken, others in (("en", []), ("de", ["tretroller"])):
        reader = QueryReader(roles, ["en", "de"], lambda word: word == "scooter", visitor_language=spoken)
        texts = reader.read_texts("scooter").with_synonyms
        assert [each.own.text for each in (texts,) if each] == others


def test_a_word_for_how_many_there_are_is_not_what_is_sought() -> None:
    """ "Knife set" must not ask for any set, such as measuring cups or pepper mills."""
    roles = Roles({"knive": ("knives",), "knife": ("knives",)}, things=frozenset({"set", "pack"}))
    text = QueryReader(roles, ["en"], {"knife", "set", "pack"}.__contains__).read_text("knife set")
    assert (text.heads, text.categories) == ((0,), {"knives"})
    alone = QueryReader(roles, ["en"], {"set"}.__contains__).read_text("set")
    assert alone.heads == ()
    called = replace(roles, kinds={**roles.kinds, "set": ("cookware-sets",)})
    assert "cookware-sets" in QueryReader(called, ["en"], {"set"}.__contains__).read_text("set").categories


def test_a_container_is_not_what_is_sought() -> None:
    """ "Bottle of champagne" must not show a bucket for two bottles, nor "case of beer" nothing."""
    roles = Roles({"champagn": ("sparkling",)}, things=frozenset({"bottl", "opener", "box"}))
    read = QueryReader(roles, ["en"], lambda _word: True).read_text
    assert (read("bottle of champagne").heads, read("case of champagne").categories) == ((1,), {"sparkling"})
    assert read("champagne bottle").heads != (0,)
    called = replace(roles, kinds={**roles.kinds, "box": ("boxes",)})
    assert QueryReader(called, ["en"], lambda _word: True).read_text("box of champagne").heads != (1,)


def test_what_is_done_about_a_problem_is_not_sought() -> None:
    """ "Headache tablets" must not show tablet computers, nor "thrush treatment" one for warts."""
    kinds = {"tablet": ("computers",)}
    roles = Roles(kinds, things=frozenset({"headach", "treatment", "thrush", "hair"}))
    read = QueryReader(roles, ["en"], lambda _word: True).read_text
    assert (read("headache tablets").heads, read("headache tablets").categories) == ((0,), frozenset())
    assert read("thrush treatment").heads == (0,)
    assert 1 in (read("hair treatment").heads or (1,))
    assert 1 in (read("migraine tablets").heads or (1,))  # no text mentions one


def test_a_short_stem_of_a_long_word_is_no_misspelling() -> None:
    """The Spanish "suéter" must not show bras: its stem differs by one letter from that of "sujetadores"."""
    roles = Roles({"sujet": ("bras",), "sandali": ("sandals",)}, frozenset({"plat"}), things=frozenset({"body"}))
    reader = QueryReader(roles, ["es"], lambda _word: False)
    assert reader.read_text("suéter").categories == frozenset()
    assert reader.read_text("sujeta").categories == {"bras"}
    assert reader.read_text("sandalas").categories == {"sandals"}
    assert reader.read_text("sandalias planas").categories == {"sandals"}  # and not those of silver ("plata")


@pytest.mark.parametrize(
    ("text", "heads"),
    [
        ("sleeping bags winter", (0, 1)),
        ("winter sleeping bags", (1, 2)),
        ("bag office", (0,)),
        ("bag sleeve", ()),  # the catalogue calls things so: perhaps a sleeve for bags
        ("winter", ()),
    ],
)
def test_behind_a_kind_a_season_or_a_place_is_not_sought(text, heads) -> None:
    """ "Sleeping bags winter" must not show trousers that are called "Winter Softshell"."""
    roles = Roles(
        {"sleep": ("sleeping-bags",), "bag": ("sleeping-bags",)}, things=frozenset({"winter", "offic", "sleev"})
    )
    assert QueryReader(roles, ["en"], lambda _word: True).read_text(text).heads == heads


def test_a_department_for_people_is_sought_beside_what_it_has() -> None:
    """ "Wallet men" must not show men's shirts."""
    kinds = {"wallet": ("wallets",), "boot": ("mens-boots", "womens-boots"), "men": ("mens-shirts", "mens-boots")}
    names = {("wallet",): ("wallets",), ("men",): kinds["men"], ("cover", "bed"): ("covers",)}
    reader = QueryReader(Roles(kinds | {"cover": ("covers",)}, names=names), ["en"], lambda _word: True)
    assert reader.read_text("wallet men").categories == {"wallets"}
    assert reader.read_text("men wallet").categories == {"wallets"}
    assert reader.read_text("boots men").categories == {"mens-boots"}
    assert reader.read_text("men").categories == {"mens-shirts", "mens-boots"}


def test_the_end_of_a_compound_is_what_the_catalogue_has_of_it() -> None:
    """For "Bücherregal", a shop with shelves must show these, at least as the closest."""
    roles = Roles(things=frozenset({"regal", "buch"}))
    reader = QueryReader(roles, ["de"], lambda _word: False)
    known = reader.read_text("Bücherregal").read_known
    assert known is not None
    assert (known().text, reader.read_text("Regal").read_known) == ("regal", None)


def test_what_follows_fillers_is_found_in_compounds() -> None:
    """For the Danish "what do you have of black dresses", a flowered dress must not come before a black one whose name
    is a single word."""
    roles = Roles({"toj": ("clothes",)}, things=frozenset({"kjol"}), modifiers=frozenset({"sort"}))
    read = QueryReader(roles, ["da"], lambda _word: False).read_text
    assert "kjoler" in read("hvad har I af sorte kjoler").in_compounds & read("sorte kjoler").in_compounds


def test_a_department_for_people_is_not_sought_beside_an_unknown_thing() -> None:
    """ "Mens hovercraft" must not show everything that is for men."""
    kinds = {"men": ("mens-shirts", "mens-boots"), "cloth": ("baby-clothes",)}
    names = {("men",): kinds["men"], ("babi", "cloth"): ("baby-clothes",)}
    reader = QueryReader(
        Roles(kinds, frozenset({"red"}), colours=frozenset({"red"}), names=names), ["en"], lambda _word: True
    )
    for asked in ("mens hovercraft", "hovercraft men"):
        assert reader.read_text(asked).categories == frozenset()
        assert reader.read_text(asked).heads == (asked.split().index("hovercraft"),)
    assert reader.read_text("red men size 42").categories == {*kinds["men"]}


def test_a_letter_and_a_word_are_one_if_the_kind_is_called_so() -> None:
    """ "Mens t shirts" must not be the "Men's shirts"."""
    names = {("men", "shirt"): ("mens-shirts",), ("kid", "t", "shirt"): ("kids-t-shirts",)}
    kinds = {"tshirt": ("t-shirts", "kids-t-shirts"), "shirt": ("mens-shirts",)}
    reader = QueryReader(Roles(kinds, names=names), ["en"], {"shirts", "shirt", "mens"}.__contains__)
    assert reader.read_texts("mens t shirts").own.categories == {"t-shirts"}
    assert reader.read_texts("mens shirts").own.categories == {"mens-shirts"}


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("Pumpe Keller", "pumpe"),  # as the last part of a compound
        ("Sonnenschirm groß", "schirm"),  # the end of a compound next to another unknown word
        ("Sonnenschirm Pumpe", "schirm pumpe"),
        ("Schnabel Keller", None),
    ],
)
def test_what_the_catalogue_has_as_a_part_of_compounds_is_known(typed: str, known: str | None) -> None:
    """ "Pumpe Keller" and "Sonnenschirm weiß" must show something as the closest in a shop with pumps and sunshades."""
    roles = Roles(things=frozenset({"tauchpump", "ampelschirm"}))
    read = QueryReader(roles, ["de"], lambda _word: False).read_text(typed).read_known
    assert (read and read().text) == known


def test_the_end_of_a_compound_is_a_word() -> None:
    """ "Elektrisch" must not be divided into "elektr isch", as "Esstisch" ends so, with magnetic things as the
    closest."""
    roles = Roles(things=frozenset({"esstisch", "waschtisch", "elektr"}))
    read = QueryReader(roles, ["de"], lambda _word: False).read_text
    assert (read("elektrisch").compounds, read("Elektrotisch").compounds) == ("", "elektro tisch")
