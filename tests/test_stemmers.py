"""Stems in several threads, as requested by those of a web process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from types import SimpleNamespace

import pytest
from snowballstemmer.polish_stemmer import PolishStemmer

from imagesim.language import stemmers
from imagesim.language.analysis import stem_of
from imagesim.language.letters import fold
from imagesim.language.stop_words import OWN_STEMS

WORDS = [f"{first}{last}" for first in ("garten", "tisch", "leucht", "hand") for last in ("ungen", "lampen", "schuhe")]


@pytest.fixture
def _frequent_switches() -> Iterator[None]:
    """Threads take turns after each microsecond, instead of five milliseconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_frequent_switches")
def test_threads_do_not_share_the_state_of_a_stemmer() -> None:
    """Otherwise, queries would fail, or find nothing for words whose wrong stems are cached, when two are answered at
    the same time."""
    expected = [stemmers.stem(word, "de") for word in WORDS]

    def stems(_number: int) -> list[list[str]]:
        return [[stemmers.stem(word, "de") for word in WORDS] for _ in range(30)]

    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(stems, range(8)):
            assert all(each == expected for each in found)


@pytest.mark.parametrize(("code", "language"), [("42", "en"), ("zegelring5", "nl"), ("peyote42", "id")])
def test_what_ends_with_a_digit_has_no_other_form(code: str, language: str) -> None:
    """Stemmers remove letters from the middle or the start of some, and take longer for a code than for a word."""
    assert stemmers.stem(code, language) == code


@pytest.mark.parametrize(
    ("language", "forms"),
    [
        *(("ar", each) for each in ("فستان فساتين والفساتين", "كوب أكواب الأكواب", "حذاء أحذية", "حقيبة حقائب حقيبه")),
        *(
            ("ar", each)
            for each in ("كرسي كراسي كرسى", "ساعة ساعات", "أحمر حمراء احمر", "بنطلون بناطيل", "فُسْتَان فستان")
        ),
        *(
            ("ar", each)
            for each in ("مكتبة مكتبه مكتبات المكتبه", "ستارة ستاره ستائر", "كرسي کرسی", "إلكترونيات الإلكترونيات")
        ),
        *(("he", each) for each in ("שמלה שמלות שמלת השמלות", "נעל נעליים נעלי", "אדום אדומה אדומות", "כרית כריות")),
        ("he", "כפפות וכפפות"),
        *(
            ("lv", each)
            for each in (
                "lampa lampas lampu lampām lampai",
                "krēsls krēsli krēslu krēsliem kresli",
                "nazis naži nažu nažiem nazi",
                "skapis skapji skapju skapim",
                "dēlītis dēlīši dēlīti delisi",
                "telts teltis teltīm",
                "melns melna melni melnas melnajai",
            )
        ),
        *(("sr", each) for each in ("сто столови стола столовима sto stolovi", "чизме čizme čizama", "фотеља fotelje")),
        ("es", "cámara cámaras camara camaras"),
        ("fr", "bougie bougies"),
        ("it", "camera camere"),
        ("it", "bicchiere bicchieri"),
        ("it", "fioriera fioriere"),
        ("nl", "kast kasten kastje kastjes"),
        ("pl", "skóra skóry skórze skórę skora skore"),
        ("pt", "móvel móveis moveis"),
        *(("fi", each) for each in ("tuoli tuolit tuolin tuolia tuoleja", "takki takin takkeja", "tyyny tyynyjä")),
        *(
            ("hu", each)
            for each in (
                "lámpa lámpák lámpát lámpával lámpája lámpához",
                "táska táskák táskát táskával táskája taska",
                "kanapé kanapék kanapét kanapéval kanapéja",
                "kamera kamerák kamerát kamerája",
                "télikabát télikabátok télikabátot télikabáttal télikabátja telikabat",
                "irodaszék irodaszékek irodaszéket",
                "játék játékok játékot játékkal jatekok",
                "pulóver pulóverek pulóvere",
                "telefon telefonok telefont telefonja",
                "maszk maszkok",
                "keksz kekszek",
                "cipő cipők cipője",
                "fal falak falra",
            )
        ),
        *(
            ("ru", each)
            for each in (
                "стакан стаканы стаканов стаканом",
                "бокал бокалы бокалов",
                "зеркало зеркала зеркал зеркалом",
                "диван диваны дивана",
                "сметана сметану",
            )
        ),
        *(("sv", each) for each in ("sallad sallader", "keps kepsar", "speldator speldatorer", "tapet tapeter")),
        ("pl", "biały białe białych bialych"),
        ("pl", "buty butów butow"),
        ("tr", "ayakkabı ayakkabi ayakkabılar ayakkabisi"),
        ("tr", "saat saati"),
    ],
)
def test_forms_of_a_word_have_one_stem(language: str, forms: str) -> None:
    """A search for a dress must find something in an Arabic shop with a category of dresses, even if no text has that
    form."""
    assert len({stem_of(each, language) for each in forms.split()}) == 1


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("ar", "ستائر", "سترات"),
        ("ar", "مكتب", "مكتبة"),
        ("ar", "كتاب", "مكتب"),
        ("es", "libros", "librería"),
        ("es", "batas", "baterías"),
        ("es", "telas", "tele"),
        ("es", "cámaras", "camas"),
        ("es", "bebés", "bebidas"),
        ("es", "peine", "peinado"),
        ("fr", "posters", "poste"),
        ("fr", "base", "bas"),
        ("fr", "bombers", "bombes"),
        ("fr", "boxers", "box"),
        ("fr", "fraises", "frais"),
        ("he", "דלת", "דלי"),
        ("it", "fedi", "federe"),
        ("it", "scarpe", "scarpiere"),
        ("it", "collant", "collanti"),
        ("it", "pesci", "pesche"),
        ("nl", "oortjes", "oorringen"),
        ("nl", "hakken", "gehakt"),
        ("nl", "paarse", "paarden"),
        ("pl", "rzepa", "rzep"),
        ("pl", "beżowa", "bez"),
        ("pl", "torby", "tory"),
        ("pt", "cola", "colares"),
        ("pt", "mãos", "mães"),
        ("pt", "portas", "portão"),
        ("sv", "laddare", "ladd"),
        ("cs", "hrách", "hra"),
        ("cs", "plastem", "pláště"),
        ("fi", "maton", "matoja"),
        ("pl", "waz", "węże"),
        ("hu", "élek", "életek"),
        ("hu", "táska", "tasak"),
        ("hu", "rózsák", "zsák"),
        ("hu", "csészék", "székek"),
        ("ru", "банан", "баня"),
        ("tr", "bal", "balık"),
    ],
)
def test_other_things_have_other_stems(language: str, one: str, other: str) -> None:
    assert stem_of(one, language) != stem_of(other, language)


@pytest.mark.parametrize("language", sorted(filter(OWN_STEMS.get, OWN_STEMS)))
def test_no_stem_of_a_words_own_is_that_of_another_listed_word(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stem that one form of the word already has may be one: that of "papel" (paper), for the plural "papéis"."""
    listed = dict(stemmers._LISTED[language])
    monkeypatch.setitem(stemmers._LISTED, language, {})
    found = {word: fold(stemmers.stem(word, language)) for word in listed}
    for word, own in listed.items():
        assert found[word] != fold(own)  # otherwise, it would not have to be listed
        assert listed.get(own, own) == own
        assert own not in listed or fold(own) not in {found[other] for other in listed if listed[other] != own}
        assert all(fold(each) != fold(own) for each in listed.values() if each != own)


@pytest.mark.parametrize("word", ["ا", "ال", "و", "ة", "ه", "اا", "אא", "ה", "הה", "י", "ـ", "ًٌ"])
def test_what_is_no_word_has_a_stem(word: str) -> None:
    assert all(isinstance(stemmers.stem(word, language), str) for language in ("ar", "he"))


@pytest.mark.parametrize(("version", "is_used"), [("2.0.1", False), ("same", True)])
def test_pystemmer_is_used_if_its_stems_are_the_same(
    version: str, is_used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """snowballstemmer uses an older one as well, which raises KeyError for Polish."""
    made = []

    class Stemmer(PolishStemmer):  # type: ignore[misc]
        def __init__(self, name: str, cached: int) -> None:
            made.append(name)
            super().__init__()

    version = metadata.version("snowballstemmer") if version == "same" else version
    monkeypatch.setitem(sys.modules, "Stemmer", SimpleNamespace(version=lambda: version, Stemmer=Stemmer))
    monkeypatch.setattr(stemmers, "_of_thread", SimpleNamespace())
    stemmers._compiled.cache_clear()
    try:
        assert stemmers.stem("krzesłami", "pl") == "krzesł"
    finally:
        stemmers._compiled.cache_clear()
    assert made == ["polish"] * is_used
