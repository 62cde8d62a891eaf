"""The words of entries: analysis, matching, updates."""

from __future__ import annotations

import random
import time
import tracemalloc
from itertools import permutations

import numpy as np
import pytest

from imagesim.indexes import word_matcher
from imagesim.indexes.text import TextIndex, TextMatches
from imagesim.indexes.word_matcher import WordMatcher
from imagesim.indexing.fit_roles import kind_of
from imagesim.language.analysis import analyse, described, features, listed_stems, name_ends
from imagesim.language.codes import codes, is_article_number, with_fractions
from imagesim.language.query_words import query_words
from imagesim.types import Query, TextSpec

FIELDS = {"name": TextSpec(3), "brand": TextSpec(2), "description": TextSpec(1)}
SHOP = [
    {"name": ("Banana Juice",), "brand": ("Saleor",), "description": ("Ripe bananas, a squeeze of lemon.",)},
    {"name": ("Carrot Juice",), "brand": ("Saleor",), "description": ("Sweet carrots with a little ginger.",)},
    {"name": ("Juice Press",), "description": ("For bananas, carrots and oranges.",)},
    {"name": ("Featherweight Running Shoe",), "brand": ("Nike",)},
    {"name": ("T-shirt, washed red",), "brand": ("Café Noir",)},
    {"name": ("Polygon Polo",)},
    {"name": ("Polygon Polo, fitted",)},
]


@pytest.fixture
def index() -> TextIndex:
    index = TextIndex(FIELDS)
    for slot, texts in enumerate(SHOP):
        index.set(slot, texts)
    return index


def match(index: TextIndex, text: str, *, mask: object = None, total=None, frequencies=None, **options) -> TextMatches:
    """Match a text; ``options`` are those of a query by words."""
    query = Query(np.empty(0, np.float32), text=text, **options)
    return index.match(query, mask=mask, total=total, frequencies=frequencies)


def best(matches: TextMatches) -> list[int]:
    """The slots, best score first."""
    return matches.slots[np.lexsort((matches.slots, -matches.scores))].tolist()


def scores_of(matches: TextMatches) -> dict[int, float]:
    return dict(zip(matches.slots.tolist(), matches.scores.tolist(), strict=True))


def assert_one_word(language: str, one: str, other: str) -> None:
    """Assert that each form of a word finds an entry with the other."""
    for written, typed in ((one, other), (other, one)):
        index = TextIndex({"name": TextSpec(1, language)})
        index.set(0, {"name": (written,)})
        assert scores_of(match(index, typed))[0] > 0.9, typed


VIETNAMESE = ("Giày tây", "Giấy in", "Bộ dao", "Đảo bếp", "Khóa xe đạp", "Sofa góc")


def vietnamese(text: str, **options: object) -> set[str]:
    """Return the names that a query finds in a small Vietnamese shop, apart from those that it might mean."""
    index = TextIndex({"name": TextSpec(1, "vi")})
    for slot, name in enumerate(VIETNAMESE):
        index.set(slot, {"name": (name,)})
    return {VIETNAMESE[slot] for slot, score in scores_of(match(index, text, **options)).items() if score > 0.5}


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("giấy", {"Giấy in"}),
        ("giày", {"Giày tây"}),
        ("gìay", {"Giày tây"}),
        ("giay", {"Giày tây", "Giấy in"}),
        ("giay tay", {"Giày tây"}),
        ("khoá", {"Khóa xe đạp"}),
        ("khoa", {"Khóa xe đạp"}),
        ("dao", {"Bộ dao", "Đảo bếp"}),
        ("bộ dao", {"Bộ dao"}),
        ("SOFA", {"Sofa góc"}),
    ],
)
def test_vietnamese_accents_tell_words_apart_if_a_query_has_any(typed: str, names: set[str]) -> None:
    """ "Giấy" is paper and "giày" a shoe, but many people type "giay". The mark of a tone may be on either vowel."""
    assert vietnamese(typed) == names


def test_vietnamese_words_begin_with_and_without_accents() -> None:
    assert vietnamese("gia", typing=True) == {"Giày tây", "Giấy in"}
    assert vietnamese("giấ", typing=True) == {"Giấy in"}


def test_vietnamese_accents_tell_words_apart_beside_other_languages() -> None:
    index = TextIndex({"name_fr": TextSpec(1, "fr"), "name_vi": TextSpec(1, "vi")})
    for slot, (french, name) in enumerate([("Chaussure", "Giày tây"), ("Papier léger", "Giấy in")]):
        index.set(slot, {"name_fr": (french,), "name_vi": (name,)})
    scores = scores_of(match(index, "giấy"))
    assert scores[1] > 0.85 > 0.5 > scores[0]
    assert min(scores_of(match(index, "giay")).values()) > 0.85
    assert set(scores_of(match(index, "légers"))) == {1}
    assert set(scores_of(match(index, "lég", typing=True))) == {1}


@pytest.mark.parametrize(
    ("language", "written", "typed"),
    [
        ("ru", "Йогурт", "йогурт"),
        ("ru", "Йогурт", "йогрут"),
        ("fr", "Café moulu", "café"),
        ("fr", "Écharpe", "écharppe"),
    ],
)
def test_the_spelling_of_one_language_is_not_that_of_another(language: str, written: str, typed: str) -> None:
    """Serbian words have Latin letters in the index, and Vietnamese ones accents, but Russian and French ones have
    not, in whatever order the languages are."""
    for others in (("sr", "vi", language), (language, "vi", "sr")):
        index = TextIndex({each: TextSpec(1, each) for each in others})
        index.set(0, {language: (written,)})
        assert scores_of(match(index, typed))[0] > 0.7, others


def test_vietnamese_without_accents_may_be_misspelled() -> None:
    assert vietnamese("sofaa") == {"Sofa góc"}
    assert vietnamese("giaay") == {"Giày tây", "Giấy in"}


@pytest.mark.parametrize(
    ("typed", "written", "is_found"),
    [
        ("ร่ม", "พรมขนสัตว์", False),  # an umbrella is no rug
        ("หมวก", "หมวกกันน็อค", True),
        ("เต้นท์", "เต็นท์ 2 คน", True),
        ("ตู้", "ตู้เย็น", True),
        ("รองเท้า", "รองเท้าวิ่ง", True),
    ],
)
def test_the_characters_of_thai_have_their_vowels_and_tones(typed: str, written: str, is_found: bool) -> None:
    index = TextIndex({"name": TextSpec(1, "th")})
    index.set(0, {"name": (written,)})
    assert (max(scores_of(match(index, typed)).values(), default=0) > 0.5) == is_found


def found(index: TextIndex, text: str, **options: object) -> list[str]:
    return [SHOP[slot]["name"][0] for slot in best(match(index, text, **options))]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("banana juice", "Banana Juice"),
        ("JUICE bananas", "Banana Juice"),
        ("bananna juice", "Banana Juice"),
        ("banana jiuce", "Banana Juice"),
        ("running shoes", "Featherweight Running Shoe"),
        ("tshirt", "T-shirt, washed red"),
        ("t shirt", "T-shirt, washed red"),
        ("T-Shirt", "T-shirt, washed red"),
        ("cafe noir", "T-shirt, washed red"),
        ("nike", "Featherweight Running Shoe"),
        ("polygon polo", "Polygon Polo"),
        ("fitted polygon polo", "Polygon Polo, fitted"),
        ("the juice of a banana", "Banana Juice"),
        ("weight", "Featherweight Running Shoe"),
    ],
)
def test_finds_matching_texts(index: TextIndex, text: str, first: str) -> None:
    assert found(index, text)[0] == first


def test_other_words_find_nothing(index: TextIndex) -> None:
    assert found(index, "asdfghjkl qwerty") == []
    assert found(index, "") == []
    assert found(index, "\N{PILE OF POO}") == []


def test_rare_words_and_names_count_for_more(index: TextIndex) -> None:
    matches = match(index, "banana juice")
    scores = scores_of(matches)
    assert scores[0] > scores[2] > scores[1]
    assert scores[0] == pytest.approx(1.0)


def test_a_partial_match_scores_its_share(index: TextIndex) -> None:
    matches = match(index, "purple polo")
    assert matches.scores.max() < 0.6


def test_a_word_stands_for_one_word_of_a_query(index: TextIndex) -> None:
    """ "polx poly" must not count as two misspellings of one polo."""
    assert match(index, "polx poln").scores.max() < 0.5
    assert match(index, "polo polos").scores.max() > 0.9


@pytest.mark.parametrize(
    ("typed", "written", "other"),
    [
        ("leggings", "Legging", "Three-legged table"),
        ("shorts", "Running shorts", "Short sleeve shirt"),
        ("paintings", "Oil painting", "Wall paint"),
        ("clothing", "Clothes rack", "Cleaning cloth"),
        ("short", "Short sleeve shirt", "Running shorts"),
        ("boxes", "Box", "Boxing gloves"),
        ("pc", "Gaming PC", "Set of 11 pcs"),
    ],
)
def test_english_words_that_name_other_things_have_other_stems(typed: str, written: str, other: str) -> None:
    """ "Leggings" must not show a three-legged table."""
    index = TextIndex({"name": TextSpec(1, "en")})
    for slot, name in enumerate([written, other]):
        index.set(slot, {"name": (name,)})
    scores = scores_of(match(index, typed, spelled=frozenset({typed})))
    assert scores.get(1, 0) < 0.3 < 0.9 < scores[0]


def test_the_mask_restricts_matches(index: TextIndex) -> None:
    mask = np.zeros(len(SHOP), dtype=bool)
    mask[[1, 3]] = True
    assert found(index, "juice", mask=mask) == ["Carrot Juice"]


def test_a_word_that_is_spelled_correctly_has_no_two_typing_errors() -> None:
    index = TextIndex(FIELDS)
    index.set(1, {"name": ("Printed leggings",)})

    def slots(text: str, *spelled: str) -> list[int]:
        return match(index, text, spelled=frozenset(spelled)).slots.tolist()

    assert (slots("lodgings", "lodgings"), slots("lodgings")) == ([], [1])


def test_prefixes(index: TextIndex) -> None:
    assert found(index, "ban", typing=True)[0] == "Banana Juice"
    assert found(index, "po", typing=True)[:2] == ["Polygon Polo", "Polygon Polo, fitted"]
    assert found(index, "po") == []


def test_changes_and_removals(index: TextIndex) -> None:
    index.set(0, {"name": ("Orange Squash",)})
    assert "Banana Juice" not in [SHOP[slot]["name"][0] for slot in best(match(index, "banana juice"))[:1]]
    assert best(match(index, "squash")) == [0]
    index.set(0, {})
    assert not len(match(index, "squash").slots)
    assert len(index) == len(SHOP) - 1
    index.set(0, {})
    assert len(index) == len(SHOP) - 1


def test_the_order_of_changes_does_not_matter() -> None:
    rng = random.Random(3)
    words = ["red", "blue", "shoe", "boots", "table", "lamp", "juice", "press", "polo", "running"]
    changed, texts = TextIndex(FIELDS), {}
    for _ in range(3000):
        slot = rng.randrange(60)
        if rng.random() < 0.3:
            changed.set(slot, {})
            texts.pop(slot, None)
        else:
            texts[slot] = {"name": (" ".join(rng.sample(words, 3)),), "description": (rng.choice(words),)}
            changed.set(slot, texts[slot])
        if rng.random() < 0.01:
            changed.pack()
    fresh = TextIndex(FIELDS)
    for slot, each in texts.items():
        fresh.set(slot, each)
    for text in ("red shoes", "lamp", "jiuce pres", "table polo blue"):
        ours, theirs = match(changed, text), match(fresh, text)
        assert best(ours) == best(theirs)
        assert np.sort(ours.scores) == pytest.approx(np.sort(theirs.scores))


def test_words_of_former_products_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, a process that runs for months would keep all of them, and take them for words of the catalogue."""
    monkeypatch.setattr("imagesim.indexes.text.UNPACKED", 3)
    changed, texts = TextIndex(FIELDS), {}
    for number in range(300):
        texts[number % 5] = {"name": (f"Item{number} Juice", "Press"), "brand": ("Nike",)}
        changed.set(number % 5, texts[number % 5])
    assert len(changed._words) < 60
    fresh = TextIndex(FIELDS)
    for slot, each in texts.items():
        fresh.set(slot, each)
    for asked in (f"item{number} juice", "pres", "nike juice", "item"):
        assert scores_of(match(changed, asked)) == pytest.approx(scores_of(match(fresh, asked)))


def test_document_frequencies_of_a_larger_catalogue(index: TextIndex) -> None:
    """A server scores only a few entries here, by how frequent their words are among all entries."""
    few = TextIndex(FIELDS)
    few.set(0, SHOP[0])
    few.set(1, SHOP[1])
    counts = {"banana": 1, "juice": 3}
    ours = match(few, "banana juice", total=len(SHOP), frequencies=counts)
    theirs = match(index, "banana juice")
    expected = scores_of(theirs)
    for slot, score in zip(ours.slots.tolist(), ours.scores.tolist(), strict=True):
        if slot == 0:
            assert score == pytest.approx(expected[slot], abs=0.02)


@pytest.mark.parametrize(
    ("language", "text", "written"),
    [
        ("de", "Schuhe", "Laufschuh, blau"),
        ("de", "blaue Schuhe", "Laufschuh, blau"),
        ("de", "MÜTZEN", "Mütze aus Wolle"),
        ("fr", "chaussures légères", "Chaussure légère"),
        ("fr", "été", "Chaussure d'été"),
        ("fr", "chaussures d’ete", "Chaussure été"),
        ("it", "olio", "Bottiglia dell'olio"),
        ("en", "oneill", "O'Neill"),
        ("en", "womens", "Women's"),
        ("pl", "krzesła ogrodowe", "Krzesło ogrodowe"),
        ("hi", "कुर्सियाँ", "कुर्सी"),
        ("ar", "كرسي", "كُرسي"),
        ("ja", "青い靴", "青い靴です"),
        ("xx", "widget", "Widget"),
    ],
)
def test_languages(language: str, text: str, written: str) -> None:
    index = TextIndex({"name": TextSpec(1, language)})
    index.set(0, {"name": (written,)})
    assert match(index, text).scores.tolist()[0] > 0.6


@pytest.mark.parametrize(
    ("language", "typed", "written"),
    [
        ("en", "shelves", "Shelf"),
        ("en", "scarf", "Scarves"),
        ("en", "mice", "Mouse"),
        ("en", "cactus", "Cacti"),
        ("en", "lenses", "Lens"),
        ("en", "buses", "Bus"),
        ("en", "501s", "501"),
        ("en", "TVs", "TV"),
        ("en", "kgs", "kg"),
        ("de", "ls", "L"),
        ("es", "luces", "Luz"),
        ("es", "ollas", "Olla"),
        ("es", "lápices", "Lápiz"),
        ("es", "jersey", "Jerséis"),
        ("fr", "yeux", "Œil"),
        ("nl", "kussens", "Kussen"),
        ("nl", "deken", "Dekens"),
        ("nl", "fietsen", "Fiets"),
        ("nl", "keukenmes", "Keukenmessen"),
        ("it", "bicchieri", "Bicchiere"),
        ("it", "asciugamani", "Asciugamano"),
        ("it", "maschere", "Maschera"),
        ("pl", "kubki", "Kubek"),
        ("pl", "farba", "Farby"),
        ("pl", "krem", "Kremy"),
        ("pl", "swetry", "Sweter"),
        ("pt", "botões", "Botão"),
        ("pt", "batons", "Batom"),
        ("pt", "azuis", "Azul"),
        ("sv", "gummistövlar", "Gummistövel"),
        ("sv", "tomatfrö", "Tomatfrön"),
        ("sv", "mörkgrönt", "Mörkgrön"),
        ("da", "cykler", "Cykel"),
        ("da", "hvidt", "Hvid"),
        ("no", "støvler", "Støvel"),
        ("no", "rødt", "Rød"),
        ("fi", "mustat", "Musta"),
        ("nl", "hangsloten", "Hangslot"),
    ],
)
def test_the_plural_of_a_word_is_the_same_word(language: str, typed: str, written: str) -> None:
    """The stems of the two differ, so one would otherwise be a misspelling of the other at best."""
    index = TextIndex({"name": TextSpec(1, language)})
    index.set(0, {"name": (written,)})
    assert match(index, typed, spelled={typed}).scores.tolist() == pytest.approx([0.97 * (0.9 + 0.1 * 0.97)])


@pytest.mark.parametrize(
    ("language", "typed", "written"),
    [
        ("en", "ladies", "Women's"),
        ("en", "womens", "Ladies"),
        ("en", "gents", "Men's"),
        ("en", "kids", "Children"),
        ("da", "damer", "Kvinder"),
        ("de", "Frauen", "Damen"),
        ("de", "Männer", "Herren"),
        ("es", "señora", "Mujer"),
        ("fr", "femme", "Dames"),
        ("it", "uomo", "Maschile"),
        ("nb", "herre", "Menn"),
        ("nl", "vrouwen", "Dames"),
        ("pt", "mulher", "Feminino"),
        ("sv", "män", "Herr"),
    ],
)
def test_words_for_the_same_people_are_equivalent(language: str, typed: str, written: str) -> None:
    """ "Ladies watch" must not show men's watches first."""
    index = TextIndex({"name": TextSpec(1, language)})
    index.set(0, {"name": (written,)})
    assert match(index, typed).scores.tolist() == pytest.approx([0.97 * (0.9 + 0.1 * 0.97)])


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("tires", "Tyre"),
        ("jewelry", "Jewellery"),
        ("gray", "Grey"),
        ("watercolor", "Watercolours"),
        ("organizers", "Organiser"),
        ("aluminium", "Aluminum"),
        ("whisky", "Whiskey"),
        ("travelers", "Traveller"),
        ("litre", "Liters"),
        ("shampooing", "Shampoing"),
        ("Jogurt", "Joghurt"),
        ("stopkontakt", "Stopcontact"),
    ],
)
def test_another_spelling_is_the_same_word(typed: str, written: str) -> None:
    """Both are spelled correctly, so one would otherwise be a weak match for the other, or none."""
    language = {"Shampoing": "fr", "Joghurt": "de", "Stopcontact": "nl"}.get(written, "en")
    index = TextIndex({"name": TextSpec(1, language)})
    index.set(0, {"name": (written,)})
    assert match(index, typed, spelled={typed}).scores.tolist() == pytest.approx([0.97 * (0.9 + 0.1 * 0.97)])


@pytest.mark.parametrize(
    ("typed", "written"), [("lampje", "Lampen"), ("pannetje", "Pan"), ("hamertjes", "Hamer"), ("kwastje", "Kwasten")]
)
def test_a_dutch_diminutive_asks_for_the_thing(typed: str, written: str) -> None:
    index = TextIndex({"name": TextSpec(1, "nl")})
    index.set(0, {"name": (written,)})
    assert match(index, typed, spelled={typed}).scores.tolist() == pytest.approx([0.97 * (0.9 + 0.1 * 0.97)])


def test_a_word_in_ss_is_no_plural() -> None:
    assert {"glas", "glasss"}.isdisjoint(dict(query_words("glass", ("en",))[0].spellings))


def test_vowel_signs_are_part_of_a_word() -> None:
    """If words in Hindi were divided at each vowel sign, any text with the same consonants would match."""
    index = TextIndex({"name": TextSpec(1, "hi")})
    index.set(0, {"name": ("कुर्सी",)})
    index.set(1, {"name": ("काला रसोई सेट",)})
    assert match(index, "कुर्सी").slots.tolist() == [0]
    assert [token.word for token in analyse("நாற்காலி שֻׁלְחָן", "xx")] == ["நாறகாலி", "שלחן"]


def test_all_languages_divide_a_text_in_the_same_way() -> None:
    text = "L'eau d'été, O'Neill's t-shirt: कुर्सी 青い靴"
    assert len({tuple(word.word for word in analyse(text, code)) for code in ("en", "fr", "it", "hi", "xx")}) == 1
    assert [word.word for word in query_words("l'eau d'ete", ["fr", "en"])] == ["eau", "ete"]


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Fuß\u00adball\u00adschuhe", "fußballschuhe"),
        ("Pendentif cœur", "COEUR"),
        ("Łóżko", "lozko"),
        ("Rød sko", "rod"),
        ("Ærø", "aero"),
        ("Straße", "STRASSE"),
        ("WEIẞ", "weiss"),
        ("IŞIK", "ışık"),
        ("İpek", "ipek"),
        ("قمـــيص", "قميص"),
    ],
)
def test_the_same_word_in_other_letters(written: str, typed: str) -> None:
    assert {token.word for token in analyse(typed, "de")} <= {token.word for token in analyse(written, "de")}


def test_an_arabic_line_between_words_is_no_word() -> None:
    assert [token.word for token in analyse("حذاء ـ أسود", "ar")] == ["حذاء", "اسود"]


def test_words_of_which_the_stemmer_leaves_nothing_are_different_words() -> None:
    assert [token.stem for token in analyse("ιου ους", "el")] == ["ιου", "ουσ"]


@pytest.mark.parametrize("typed", ["t-shirt", "t\uff0dshirt", "t-\u00adshirt"])
def test_the_parts_of_a_hyphenated_word_are_asked_for(typed: str) -> None:
    assert [word.word for word in query_words(typed, ["en"])] == ["t", "shirt"]


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Un'agenda per quest'anno", "it", "un agenda per quest anno"),
        ("Sant'Angelo, coll'olio", "it", "sant angelo coll olio"),
        ("quelqu'un, aujourd'hui", "fr", "quelqu un aujourdhui"),
        ("O'Neill, kids' and men's", "en", "oneill kids and men"),
    ],
)
def test_elided_words_are_words(text: str, language: str, words: str) -> None:
    assert " ".join(token.word for token in analyse(text, language)) == words


def test_long_texts_are_truncated() -> None:
    assert len(analyse("word " * 10_000, "en")) <= 401
    assert len(query_words(" ".join(f"word{n}" for n in range(1000)), ["en"])) == 16


@pytest.mark.parametrize(
    "text", ["a" * 9_999 + "-", "㌖" * 4_000 + "-", "汉字" * 4_999 + "-", "a-" * 5_000, "क्" * 5_000]
)
def test_a_very_long_word_takes_linear_time(text: str) -> None:
    def seconds(number: int) -> float:
        new = f"{number} {text}"  # the analyses of the last texts are cached
        begun = time.process_time()
        analyse(new, "en")
        query_words(new, ["en", "de"])
        return time.process_time() - begun

    assert min(seconds(number) for number in range(3)) < 0.1


@pytest.mark.parametrize("text", ["." * 9_000 + "a", "!" * 9_000 + "1", "…\n" * 4_500])
def test_a_description_of_many_marks_takes_linear_time(text: str) -> None:
    def seconds(number: int) -> float:
        begun = time.process_time()
        described([f"{number} {text}"], "en")
        return time.process_time() - begun

    assert min(seconds(number) for number in range(3)) < 0.1


@pytest.mark.slow
def test_a_prefix_of_many_words_costs_about_as_much_as_one_word() -> None:
    """Where each entry has its own number, a single character that is being typed begins a word of every entry."""
    index = TextIndex(FIELDS)
    for slot in range(10_000):
        index.set(slot, {"name": (f"sku{slot} common",)})

    def seconds(text: str) -> float:
        begun = time.process_time()
        assert len(match(index, text, typing=True).slots) == 10_000
        return time.process_time() - begun

    many, one = (min(seconds(text) for _ in range(5)) for text in ("sku", "common"))
    assert many < 6 * one + 0.04  # 0.08 if each entry were scored alone; traces and garbage of other tests take 0.02


def test_fuzzy_words_equal_a_full_comparison() -> None:
    """Whether words are sorted in, sorted in later or not yet sorted: those excluded by letters and lengths are not
    near."""
    from rapidfuzz.distance import OSA

    rng = random.Random(5)
    words = sorted({"".join(rng.choices("abcdeé", k=rng.randint(3, 9))) for _ in range(2_500)})
    rng.shuffle(words)
    index = TextIndex({"name": TextSpec(1, "xx")})
    asked = [*words[:20], *("".join(rng.choices("abcde", k=rng.randint(6, 9))) for _ in range(20))]
    for start in (0, 1_200, 2_200):
        batch = words[start : start + 1_100]
        for number, word in enumerate(batch, start):
            index.add(number, {"name": (word,)})
        index.settle()
        vocabulary = index._words._vocabulary
        for typed in asked:
            most = 1 if len(typed) < 8 else 2
            expected = {word: OSA.distance(typed, word) for word in vocabulary.words if word[0] == typed[0]}
            found = {vocabulary.words[number]: distance for number, distance in vocabulary.near(typed)}
            assert found == {word: distance for word, distance in expected.items() if 0 < distance <= most}


def test_a_part_of_a_compound_scores_less_than_the_word() -> None:
    index = TextIndex({"name": TextSpec(1, "de")})
    names = ["Schuhe aus Leder", "Laufschuhe", "Boxhandschuhe"]
    for slot, name in enumerate(names):
        index.set(slot, {"name": (name,)})
    matches = match(index, "schuhe")
    assert best(matches)[0] == 0
    scores = scores_of(matches)
    assert scores[0] - scores[1] > 0.2
    assert 2 not in scores  # gloves are not shoes
    assert scores[1] < 0.5  # not evidence by itself: where the kind is known, the category is
    without = TextIndex({"name": TextSpec(1, "de")})
    without.set(0, {"name": ("Laufschuhe",)})
    assert match(without, "schuhe").scores[0] > scores[1]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("t-shirt", "White Tshirt"),
        ("t shirts", "White Tshirt"),
        ("skate board", "Cruiser Skateboard"),
        ("basket balls", "Basketball"),
        ("basket with a ball", "Fern basket"),
        ("2 tb", "Drive 2TB"),
    ],
)
def test_two_words_find_what_is_written_as_one(typed: str, first: str) -> None:
    names = ["White Tshirt", "White shirt", "Shirt", "Cruiser Skateboard", "Wall board", "Ice skates", "Basketball"]
    names += ["Fern basket", "Tennis ball", "Drive 2TB", "Drive 2"]
    index = TextIndex({"name": TextSpec(1)})
    for slot, name in enumerate(names):
        index.set(slot, {"name": (name,)})
    matches = match(index, typed)
    assert names[best(matches)[0]] == first
    assert (matches.scores.max() > 0.9) == (first != "Fern basket")


def test_two_words_are_not_a_form_of_the_first() -> None:
    """ "Weisses T-Shirt" must not find white things by "weissest" as well."""
    index = TextIndex({"name": TextSpec(1, "de")})
    index.set(0, {"name": ("Weißer Hocker",)})
    index.set(1, {"name": ("T-Shirt",)})
    scores = scores_of(match(index, "weisses T-Shirt"))
    assert scores[1] > 0.5 > scores[0]


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("c'è l'olio d’oliva", "it", "olio oliva"),
        ("C'est de L'Oréal", "fr", "oreal"),
        ("t'shirt", "fr", "t shirt"),  # no vowel follows
        ("usb c", "fr", "usb c"),
        ("l'", "fr", "l"),
    ],
)
def test_what_is_elided_asks_for_nothing(text: str, language: str, words: str) -> None:
    """If the "c" of "c'è il torrone?" (is there nougat?) asked for something, no entry would match all of the query."""
    assert " ".join(word.word for word in query_words(text, (language,))) == words


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("sv", "jacka", "jackan"), ("sv", "skor", "skorna"), ("sv", "röd", "rött"), ("sv", "gympasko", "gympaskor"),
        ("sv", "kokbok", "kokböcker"), ("sv", "dator", "datorer"), ("pt", "cão", "caes"), ("da", "skrue", "skruer"),
        ("da", "kasket", "kasketter"), ("da", "gaffel", "gafler"), ("nb", "sykkel", "sykler"), ("nb", "sofa", "sofaer"),
        ("no", "tre", "trær"),
        ("nb", "genser", "gensere"), ("cs", "stůl", "stoly"), ("cs", "křeslo", "křesel"), ("cs", "čepice", "čepic"),
        ("fi", "takki", "takit"), ("fi", "kenkä", "kengät"), ("fi", "paita", "paidat"), ("fi", "pöytä", "pöydät"),
        ("fi", "älypuhelin", "älypuhelimet"), ("fi", "lautanen", "lautaset"), ("fi", "saapas", "saappaat"),
        ("fi", "rannerengas", "rannerenkaat"), ("fi", "veitsi", "veitset"), ("fi", "sormus", "sormukset"),
        ("ru", "чашка", "чашек"), ("ru", "носки", "носок"), ("ru", "кресло", "кресел"), ("ru", "туфля", "туфель"),
        ("ru", "кольцо", "колец"), ("ru", "окно", "окон"), ("sv", "tand", "tänder"), ("sv", "datormus", "datormöss"),
        ("nb", "håndkle", "håndklær"), ("nb", "gulrot", "gulrøtter"), ("da", "fod", "fødder"),
        ("fi", "kello", "kelloja"), ("fi", "matot", "mattoja"), ("fi", "pyyhe", "pyyhkeitä"),
        ("fi", "kengät", "kenkiä"), ("hu", "tükör", "tükrök"), ("hu", "sátor", "sátrak"), ("et", "tool", "toolid"),
        ("el", "ρολόι", "ρολόγια"), ("el", "δαχτυλίδι", "δαχτυλίδια"), ("el", "καλώδιο", "καλώδια"),
        ("ro", "masă", "mese"), ("ro", "cort", "corturi"), ("ro", "telefon", "telefoane"), ("ro", "geantă", "genți"),
        ("ro", "negru", "neagră"), ("ro", "tricou", "tricouri"), ("uk", "стілець", "стільці"),
        ("uk", "подушка", "подушки"), ("uk", "стіл", "столи"), ("uk", "чорна", "чорні"),
        ("sk", "stolička", "stoličky"), ("sk", "hrnček", "hrnčeky"), ("sk", "rukavica", "rukavice"),
        ("hr", "stolica", "stolice"), ("hr", "nož", "noževi"), ("bs", "jastuk", "jastuci"),
        ("sl", "kozarec", "kozarci"), ("sl", "majica", "majice"), ("bg", "маса", "маси"), ("bg", "стол", "столове"),
        ("bg", "часовник", "часовници"), ("gl", "zapato", "zapatos"), ("gl", "pantalón", "pantalóns"),
        ("fa", "مبل", "مبل\u200cها"), ("fa", "تیشرت", "تی\u200cشرت"), ("fa", "تی شرت", "تی\u200cشرت"),
        ("nn", "sykkel", "sykkelen"),
        ("he", "מחבת", "מחבתות"), ("he", "כיסא", "כסאות"), ("he", "שק", "שקי"), ("hi", "तकिया", "तकिए"),
        ("hi", "तंबू", "तम्बू"), ("hi", "कुर्सियाँ", "कुर्सियां"), ("hi", "कड़ाही", "कढ़ाई"), ("sr", "ранац", "ранчеви"),
        ("sr", "нож", "noževi"), ("sr", "Џемпер", "dzemper"),
    ],
)  # fmt: skip
def test_another_form_has_the_stem_that_the_stemmer_does_not_find(language: str, one: str, other: str) -> None:
    assert_one_word(language, one, other)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("白Tシャツ", ["白", "t", "シャツ"]),
        ("USBケーブル 2m", ["usb", "ケーブル", "2m"]),
        ("2025年手帳", ["2025", "年手", "手帳"]),
        ("ｔシャツ", ["t", "シャツ"]),
        ("折りたたみテーブル", ["折り", "りた", "たた", "たみ", "テーブル"]),
    ],
)
def test_scripts_without_spaces_are_divided_from_others(text: str, words: list[str]) -> None:
    """If "白Tシャツ" were a single word, "Tシャツ" would not match it."""
    assert [token.word for token in analyse(text, "ja")] == words


def test_a_character_of_a_script_without_spaces_is_found() -> None:
    """ "鞋" (shoe) must find "运动鞋" (sports shoe), whose pairs are 运动 and 动鞋."""
    index = TextIndex({"name": TextSpec(1, "zh")})
    for slot, name in enumerate(["运动鞋", "面包刀", "包"]):
        index.set(slot, {"name": (name,)})
    assert best(match(index, "鞋"))[0] == 0
    assert best(match(index, "包"))[:2] == [2, 1]
    assert best(match(index, "运动鞋")) == [0]
    assert [word.word for word in query_words("运动鞋 包", ("zh",))] == ["运动", "动鞋", "包"]


@pytest.mark.parametrize("written", ["J. R. R. Tolkien", "J.R.R. Tolkien", "JRR Tolkien"])
@pytest.mark.parametrize("typed", ["jrr tolkien", "j.r.r. tolkien", "J. R. R. Tolkien", "jrr"])
def test_initials_are_one_word(written: str, typed: str) -> None:
    """ "jrr tolkien" must find the books of "J. R. R. Tolkien"."""
    index = TextIndex({"name": TextSpec(1, "en")})
    index.set(0, {"name": (written,)})
    assert scores_of(match(index, typed)).get(0, 0.0) > 0.9


@pytest.mark.parametrize(
    ("text", "words"),
    [("V.S.O.P", "vsop"), ("U. S. A.", "usa"), ("Plan B. Not 5. 6.", "plan b not 5 6"), ("A. B", "a b")],
)
def test_what_are_initials(text: str, words: str) -> None:
    assert " ".join(word.word for word in query_words(text, ("nl",))) == words


def test_the_grammar_of_japanese_asks_for_nothing() -> None:
    """In "手帳が欲しい" (I would like a notebook), four of the five pairs of letters are in no text."""
    index = TextIndex({"name": TextSpec(1, "ja")})
    for slot, name in enumerate(["手帳 革カバー", "湯呑み 青", "ボールペン 青", "電子レンジ"]):
        index.set(slot, {"name": (name,)})
    assert scores_of(match(index, "手帳が欲しい"))[0] > 0.75
    assert best(match(index, "青い湯呑み"))[0] == 1
    assert scores_of(match(index, "電子手帳"))[0] < 0.7  # all of these are content
    assert max(match(index, "赤いくつ").scores, default=0.0) < 0.5  # as are shoes in hiragana


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("masa", "masası"), ("yastık", "yastığı"), ("yastık", "yastıkları"), ("fincanı", "fincanları"),
        ("örtüsü", "örtüleri"), ("elbisesi", "elbiseler"), ("kırmızı", "KIRMIZI"), ("IŞIK", "ışığı"),
        ("İPEK", "ipekler"),
    ],
)  # fmt: skip
def test_turkish_words_are_found_in_another_form(one: str, other: str) -> None:
    """ "Kahve fincanları" must find "Kahve fincanı", although the stem of a stem may be a different one."""
    assert_one_word("tr", one, other)


@pytest.mark.parametrize(
    "text",
    [
        *("15,6İNÇ laptop", "15,6I\u0307NÇ laptop", "QUI PUISQU'K", "İ" * 40 + "กขคง" * 10),
        *("4 INCH x 6 INCH", "12LITRI 500", "HOSE 5INCH 301", "鞋\u0302", "鞋\u0302\u0323"),
    ],
)
def test_every_language_divides_a_text_alike(text: str) -> None:
    counts = {language: len(analyse(text, language)) for language in ("en", "tr", "fr", "vi")}
    assert len(set(counts.values())) == 1, counts
    assert len({len(query_words(text, languages)) for languages in permutations(("en", "tr", "vi"), 2)}) == 1


def test_the_listed_words_of_turkish_capitals_have_the_stems_of_the_words() -> None:
    name = "AYAKKABI & YASTIKLAR"
    words = {token.stem for token in analyse(name, "tr")}
    assert listed_stems([name], "tr") == words


@pytest.mark.long
def test_the_analysis_of_many_texts_takes_little_memory() -> None:
    """Such as a flood of distinct queries in a script without spaces, in which each pair of characters is a word."""
    analyse.cache_clear()
    tracemalloc.start()
    try:
        for number in range(1_500):
            letters = [chr(0x4E00 + (number * 401 + n * n) % 20_000) for n in range(400)]
            analyse(" ".join("".join(letters[start : start + 50]) for start in range(0, 400, 50)), "ja")
        assert tracemalloc.get_traced_memory()[0] < 60_000_000
    finally:
        tracemalloc.stop()
        analyse.cache_clear()


def test_a_turkish_stem_has_three_letters() -> None:
    """The stemmer leaves "ça" of "çanta" (bag) and of "çadır" (tent)."""
    index = TextIndex({"name": TextSpec(1, "tr")})
    index.set(0, {"name": ("omuz çantası",)})
    assert not len(match(index, "çadır").slots)
    assert scores_of(match(index, "çanta"))[0] > 0.9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rood", "rode"), ("geel", "gele"), ("blauw", "blauwe"), ("groen", "groene"), ("grijs", "grijze"),
        ("wit", "witte"), ("warm", "warme"), ("dun", "dunne"), ("elektrisch", "elektrische"), ("breed", "brede"),
        ("jas", "jassen"), ("pan", "pannen"), ("kaas", "kazen"), ("druif", "druiven"), ("schroef", "schroeven"),
        ("fiets", "fietsen"), ("tomaat", "tomaten"), ("kussen", "kussens"), ("laars", "laarzen"), ("slot", "sloten"),
    ],
)  # fmt: skip
def test_dutch_words_are_found_in_another_form(one: str, other: str) -> None:
    """ "Rode" must have the stem of "rood", and "blauwe" that of "blauw": otherwise, "blauwe jas" would have no known
    colour."""
    assert_one_word("nl", one, other)


def test_an_indonesian_shirt_is_not_a_table() -> None:
    """The stemmer takes the beginning of "kemeja" for a prefix of "meja"."""
    index = TextIndex({"name": TextSpec(1, "id")})
    index.set(0, {"name": ("Meja kopi",)})
    assert scores_of(match(index, "kemeja")).get(0, 0.0) < 0.5


@pytest.mark.parametrize(
    ("one", "other"), [("boom", "bom"), ("kam", "kan"), ("maan", "man"), ("pot", "poot"), ("raam", "ram")]
)
def test_dutch_words_that_are_alike_are_others(one: str, other: str) -> None:
    index = TextIndex({"name": TextSpec(1, "nl")})
    index.set(0, {"name": (one,)})
    assert scores_of(match(index, other)).get(0, 0.0) < 0.9


@pytest.mark.parametrize(
    ("language", "typed", "written"),
    [
        ("de", "Lampen", "Hängelampe"),
        ("de", "Taschen", "Handtasche"),
        ("de", "Tasche", "Handtaschen"),
        ("de", "Schuh", "Laufschuhe"),
        ("de", "Stühle", "Gartenstuhl"),
        ("nl", "lampen", "hanglamp"),
        ("sv", "lampor", "taklampa"),
        ("sv", "stövlar", "gummistövel"),
        ("da", "cykel", "løbecykler"),
        ("nb", "støvler", "gummistøvel"),
        ("nl", "sloten", "hangslot"),
        ("fi", "tuolit", "Nojatuoli"),
        ("fi", "tuoli", "Nojatuolit"),
        ("fi", "kuppeja", "Kahvikuppi"),
        ("fi", "sukkia", "Villasukat"),
        ("fi", "pyyhkeet", "Froteepyyhe"),
        ("fi", "lamppu", "Pöytälamput"),
        ("hu", "táskák", "Kézitáska"),
        ("hu", "táska", "Kézitáskák"),
        ("hu", "székeket", "Irodaszék"),
        ("hu", "szék", "Irodaszékek"),
        ("hu", "cipőt", "Futócipők"),
        ("et", "toolid", "Kontoritool"),
        ("et", "tool", "Kontoritoolid"),
    ],
)
def test_a_compound_is_found_by_other_forms_of_its_end(language: str, typed: str, written: str) -> None:
    index = TextIndex({"name": TextSpec(1, language)})
    index.set(0, {"name": (written,)})
    assert match(index, typed).scores.tolist() == pytest.approx([0.8], abs=0.09)


@pytest.mark.parametrize(
    ("language", "typed", "written"),
    [
        ("en", "shelves", "Bookshelf"),
        ("en", "shelf", "Bookshelves"),
    ],
)
def test_a_word_ends_with_the_other_number_of_another(language: str, typed: str, written: str) -> None:
    index = TextIndex({"name": TextSpec(1, language)})
    index.set(0, {"name": (written,)})
    assert match(index, typed).scores.tolist() == pytest.approx([0.465], abs=0.01)


@pytest.mark.parametrize(
    ("language", "typed", "written", "no_compounds"),
    [
        ("de", "Uhr", "Armbanduhr", ["Zufuhr", "Gebühr"]),
        ("de", "Tee", "Früchtetee", ["Komitee"]),
        ("de", "Hut", "Sonnenhüte", ["Obhut"]),
        ("de", "Eis", "Speiseeis", ["Kreis", "Hinweis"]),
        ("de", "Bar", "Bar", ["waschbar", "wunderbar"]),
        ("nl", "tas", "handtas", ["fantas"]),
        ("da", "sko", "løbesko", ["frisko"]),
        ("hu", "ágy", "Franciaágy", ["Nagy"]),
        ("hu", "tok", "Tok", ["Kabátok"]),
        ("hu", "ing", "Ing", ["Kemping"]),
    ],
)
def test_a_compound_is_found_by_a_short_last_part(
    language: str, typed: str, written: str, no_compounds: list[str]
) -> None:
    """ "Uhr" must find "Armbanduhr", and "sko" "løbesko", although three letters end many words that are not
    compounds."""
    index = TextIndex({"name": TextSpec(1, language)})
    for slot, name in enumerate([written, *no_compounds]):
        index.set(slot, {"name": (name,)})
    scores = scores_of(match(index, typed))
    assert scores.pop(0) > 0.7
    assert max(scores.values(), default=0.0) < 0.5


def test_a_finnish_fabric_is_not_the_wool_that_its_word_ends_with() -> None:
    """Cotton is "puuvilla", and wool "villa"."""
    index = TextIndex({"name": TextSpec(1, "fi")})
    index.set(0, {"name": ("Merinovilla",)})
    index.set(1, {"name": ("Luomupuuvilla",)})
    scores = scores_of(match(index, "villa"))
    assert scores.pop(0) > 0.7
    assert max(scores.values(), default=0.0) < 0.5


def test_english_has_no_short_compounds() -> None:
    index = TextIndex({"name": TextSpec(1, "en")})
    index.set(0, {"name": ("Office",)})
    assert scores_of(match(index, "ice")) == {}


def test_a_compound_comes_before_what_is_spelled_alike() -> None:
    """For "Stuhl", a steel bowl ("Stahl") must not come before chairs, even if the catalogue has only compounds of the
    word."""
    index = TextIndex({"name": TextSpec(1, "de")})
    for slot, name in enumerate(["Feuerschale Stahl", "Gartenstuhl klappbar Akazie", "Liegestuhl"]):
        index.set(slot, {"name": (name,)})
    scores = scores_of(match(index, "Stuhl"))
    assert scores[0] < 0.5 < min(scores[1], scores[2])
    assert scores_of(match(index, "Stohl"))[0] > 0.5  # not part of a compound, so it is a misspelling


def test_a_compound_has_the_forms_of_its_own_language() -> None:
    index = TextIndex({"name": TextSpec(1, "en"), "name_de": TextSpec(1, "de")})
    index.set(0, {"name": ("Leggings",)})
    index.set(1, {"name_de": ("Handtaschen",)})
    assert best(match(index, "ginger")) == []  # "ging" in German
    assert best(match(index, "tasche")) == [1]


@pytest.mark.parametrize("written", ["adjustable", "vegetable", "drinking", "trekking"])
def test_a_word_is_no_part_of_one_whose_stem_lacks_it(written: str) -> None:
    """ "King size bed" must not show a drinking glass or a rocking chair."""
    index = TextIndex({"name": TextSpec(1, "en")})
    for slot, name in enumerate([written, "worktable"]):
        index.set(slot, {"name": (name,)})
    assert best(match(index, "king")) == []
    assert scores_of(match(index, "table")) == {1: pytest.approx(0.46, abs=0.01)}


@pytest.mark.parametrize(
    ("language", "written", "typed", "least", "most"),
    [
        ("en", "Headphone", "phone", 0.4, 0.5),
        ("en", "Outdoor", "door", 0.4, 0.5),
        ("en", "Raincoat", "coat", 0.4, 0.5),
        ("de", "Regenmantel", "Mantel", 0.75, 0.85),
        ("sv", "Regnjacka", "jacka", 0.75, 0.85),
    ],
)
def test_what_ends_with_a_word_need_not_be_one_in_languages_without_compounds(
    language: str, written: str, typed: str, least: float, most: float
) -> None:
    """ "Ball" must not show football socks. Whether headphones are a phone, or a raincoat a coat, is decided by the
    vectors."""
    index = TextIndex({"name": TextSpec(1, language)})
    index.set(0, {"name": (written,)})
    assert least < scores_of(match(index, typed))[0] < most
    index.set(1, {"name": (typed,)})
    assert scores_of(match(index, typed))[0] < 0.5 < scores_of(match(index, typed))[1]


def test_a_compound_is_of_its_last_part_if_its_category_is_called_so() -> None:
    """ "Tisch" must find the tables, although their names are compounds, and not only texts that mention a table."""
    fields = {"name": TextSpec(3, "de"), "category": TextSpec(2, "de", category=True), "text": TextSpec(1, "de")}
    index = TextIndex(fields)
    index.set(0, {"name": ("Couchtisch Alvik",), "category": ("Couchtische",)})
    index.set(1, {"name": ("Beistelltisch",), "category": ("Regale",)})
    index.set(2, {"name": ("Teelicht",), "text": ("Ein Tisch mit Licht.",)})
    scores = scores_of(match(index, "Tisch"))
    assert scores[0] > 0.7 > scores[2] > scores[1]


def test_a_word_that_begins_compounds_is_no_misspelling() -> None:
    """ "Blumen" must not show "Blusen" where the catalogue has flowers only in compounds, such as pots for them."""
    index = TextIndex({"name": TextSpec(1, "de")})
    for slot, name in enumerate(["Blumentopf", "Zwei Blusen"]):
        index.set(slot, {"name": (name,)})
    scores = scores_of(match(index, "Blumen"))
    assert scores[0] > 0.6 > 0.5 > scores[1]
    alone = TextIndex({"name": TextSpec(1, "de")})
    alone.set(0, {"name": ("Zwei Blusen",)})
    assert match(alone, "Blumen").scores[0] > 0.5


def test_what_was_done_to_a_thing_is_no_other_thing() -> None:
    """ "Hammer" must not show a bracelet of hammered brass, nor "paint" a house of painted wood."""
    index = TextIndex({"name": TextSpec(1)})
    for slot, name in enumerate(["Hammered bracelet", "Flower bed", "Knitted jumper"]):
        index.set(slot, {"name": (name,)})
    assert scores_of(match(index, "hammer", spelled={"hammer"}))[0] < 0.5
    assert scores_of(match(index, "hammered"))[0] > 0.9
    assert scores_of(match(index, "beds"))[1] > 0.9
    assert scores_of(match(index, "knit jumper"))[2] > 0.9  # next to another word, it says what that is like


def test_a_compound_with_another_word_of_the_same_stem_is_none_with_the_word() -> None:
    """ "Schal" (scarf) must not show bowls, nor "Kochbuch" things made of beech ("Buche")."""
    index = TextIndex({"name": TextSpec(1, "de")})
    for slot, name in enumerate(["Obstschale", "Blutbuche", "Wollschal", "Kochbücher"]):
        index.set(slot, {"name": (name,)})
    assert scores_of(match(index, "Schal")).keys() == {2}
    assert scores_of(match(index, "Buch")).keys() == {3}


def test_german_plurals_and_words_with_one_stem() -> None:
    index = TextIndex({"name": TextSpec(1, "de")})
    names = ["Sofas", "Schal", "Schalen", "LED-Lampe", "Kuchen", "Küche", "Laptop", "Pumpe"]
    for slot, name in enumerate([*names, "Kekse", "Seelachs", "Gänse", "Buchse"]):
        index.set(slot, {"name": (name,)})

    def found(typed: str) -> set[int]:
        return {slot for slot, score in scores_of(match(index, typed)).items() if score > 0.9}

    assert [found(typed) for typed in ("Sofa", "Schals", "Schale", "Laptops")] == [{0}, {1}, {2}, {6}]
    assert [found(typed) for typed in ("Leder", "Küche", "Pumps")] == [set(), {5}, set()]
    assert [found(typed) for typed in ("Keks", "Seelachse", "Gans", "Buchs")] == [{8}, {9}, {10}, set()]


def test_polish_words_that_are_forms_of_others_but_for_an_accent() -> None:
    """A garden hose ("wąż") is no vase ("wazy"), and a teddy bear no bowl."""
    index = TextIndex({"name": TextSpec(1, "pl")})
    for slot, name in enumerate(["Wazy", "Misy", "Myszy", "Kosze"]):
        index.set(slot, {"name": (name,)})

    def found(typed: str) -> set[int]:
        return {slot for slot, score in scores_of(match(index, typed)).items() if score > 0.9}

    assert [found(typed) for typed in ("wąż", "miś", "mysz", "kosz")] == [set(), set(), {2}, {3}]


def test_a_stop_word_is_no_form_of_a_word() -> None:
    """ "Pere" (pears) must not find flour "per pizza", although "per" (for) has the same stem."""
    index = TextIndex({"name": TextSpec(1, "it")})
    index.set(0, {"name": ("Farina per pizza",)})
    index.set(1, {"name": ("Pera Abate",)})
    assert scores_of(match(index, "pere")).keys() == {1}


@pytest.mark.parametrize(
    ("language", "typed", "asked", "written", "other"),
    [
        ("fr", "Dés à jouer", "dés jouer", "Lot de six dés", "Jus des îles"),
        ("fr", "dés", "dés", "Dé pour joueurs", "Jeu de cartes"),
        ("pt", "nó", "nó", "Livro do nó", "Chá no saco"),
    ],
)
def test_dice_and_knots_are_no_stop_words(language: str, typed: str, asked: str, written: str, other: str) -> None:
    """ "Dés" must not find everything "des …", nor "dés à jouer" everything that is played."""
    for languages in ((language,), ("en", language)):
        index = TextIndex({each: TextSpec(1, each) for each in languages})
        index.set(0, {language: (other,)})
        index.set(1, {language: (written,)})
        assert scores_of(match(index, typed)).keys() == {1}
        assert " ".join(word.word for word in query_words(typed, (language,))) == asked


@pytest.mark.parametrize(
    ("language", "typed", "asked"),
    [("es", "lámpara que dé luz", "lampara luz"), ("nl", "dé jas voor de winter", "jas winter")],
)
def test_what_is_dice_in_french_is_a_stop_word_in_spanish_and_dutch(language: str, typed: str, asked: str) -> None:
    for languages in ((language,), ("en", language)):
        assert " ".join(word.word for word in query_words(typed, languages)) == asked


def test_a_word_of_a_list_in_the_name_of_a_category_scores_less_than_one_of_the_entry() -> None:
    index = TextIndex({"name": TextSpec(3), "category": TextSpec(2, "en", category=True)})
    index.set(1, {"name": ["Oak Desk"], "category": ["Sofas & desks"]})
    index.set(2, {"name": ["Saddle Leather"], "category": ["Sofas"]})
    index.set(3, {"name": ["Grey Sofa"], "category": ["Sofas & desks"]})
    scores = scores_of(match(index, "sofa"))
    assert scores[3] > 0.9 > scores[2] > 0.7 > 0.5 > scores[1]
    index.set(1, {"name": ["Oak Desk"], "category": ["Sofas"]})
    assert scores_of(match(index, "sofa"))[1] == pytest.approx(scores[2])


def test_a_compound_is_of_the_part_that_the_name_of_its_category_lists() -> None:
    """In "Sofas & Tische", "Tisch" must find the desks but not the sofas."""
    index = TextIndex({"name": TextSpec(3, "de"), "category": TextSpec(2, "de", category=True)})
    index.set(1, {"name": ["Tisch"], "category": ["Sofas & Tische"]})
    index.set(2, {"name": ["Schreibtisch"], "category": ["Sofas & Tische"]})
    index.set(3, {"name": ["Sofa"], "category": ["Sofas & Tische"]})
    index.set(4, {"name": ["Nachtisch"], "category": ["Kochen"]})
    index.set(5, {"name": ["Misch"], "category": ["Sofas & Tische"]})  # a misspelling is not a compound
    scores = scores_of(match(index, "Tische"))
    assert scores[1] > 0.9 > scores[2] > 0.75 > 0.5 > max(scores[3], scores[4], scores[5])


@pytest.mark.parametrize(
    ("name", "language", "mentioned"),
    [
        ("Baby monitor with camera", "en", {"camera"}),
        ("Baby monitor w/ camera", "en", {"camera"}),
        ("Baby monitor w/Camera", "en", {"camera"}),
        ("Heater 60 W/220 V", "en", set()),
        ("Verkäufer (m/w/d)", "de", set()),
        ("Mesa c/ 4 cadeiras", "pt", {"4", "cadeiras"}),
        ("Organizador p/cozinha", "pt", {"cozinha"}),
        ("Vestido s/ mangas", "es", {"mangas"}),
        ("Cable c/u", "es", set()),
        ("Bottle steriliser for 6 bottles", "en", {"6", "bottles"}),
        ("With love: card for friends", "en", {"friends"}),
        ("Trimmer for men cordless hair clippers", "en", {"men"}),
        ("Camera for kids with 3 rolls", "en", {"kids", "with", "3", "rolls"}),
        ("Gift for women and men", "en", {"women", "and", "men"}),
        ("Women bag with zip", "en", {"zip"}),
        ("Uhr für Herren", "de", {"herren"}),
        ("Kitchen", "en", set()),
        ("Dishwasher-safe mug", "en", {"dishwasher"}),
        ("T-shirt with print", "en", {"print"}),
        ("Safe", "en", set()),
        ("Schrank mit Spiegel", "de", {"spiegel"}),
        ("Armoire avec miroir", "fr", {"miroir"}),
        ("Armario con espejo", "es", {"espejo"}),
        ("Armadio con specchio", "it", {"specchio"}),
        ("Armário com espelho", "pt", {"espelho"}),
        ("Kast met spiegel", "nl", {"spiegel"}),
        ("Szafa z lustrem", "pl", {"lustrem"}),
    ],
)
def test_what_a_name_says_that_the_thing_has(name: str, language: str, mentioned: set[str]) -> None:
    assert {token.word for token in features([name], language)} == mentioned


@pytest.mark.parametrize(
    ("text", "language", "mentioned"),
    [
        ("Full of flavour. Good for coffee, tea and chocolate. Keep it cold.", "en", "coffee tea and chocolate"),
        ("For bananas", "en", "bananas"),
        ("A lamp for desks. The desks are heavy.", "en", ""),
        ("Ein Hocker für die Bar", "de", "die bar"),
        ("8.5 W, with a socket", "en", "a socket"),
        ("Over the sofa, desk or bed.", "en", "the sofa desk or bed"),
        ("Microwave and dishwasher safe mug. Batteries not included.", "en", "microwave dishwasher batteries not"),
        ("Do smażenia ryb. Wisząca nad stołem.", "pl", "smazenia ryb stolem"),
        ("In red. Dishwasher safe. Safe.", "en", "dishwasher"),  # and not a dishwasher
        ("with, without; for", "en", "without"),
        ("", "en", ""),
    ],
)
def test_what_a_description_says_that_the_thing_has(text: str, language: str, mentioned: str) -> None:
    assert {token.word for token in described([text], language)[1]} == set(mentioned.split())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Written by J. R. R. Tolkien. Hardback.", "jrr"),
        ("Aged in oak. V. S. O. P. Cognac.", "vsop"),
        ("For mattresses of 90\nx 190 cm. Of beech.", "90x190"),
    ],
)
def test_descriptions_are_found_by_words_with_what_else_ends_a_sentence(text: str, word: str) -> None:
    assert word in {token.word for token in described([text], "en")[0]}


def test_long_descriptions_are_found_by_the_words_at_their_beginning() -> None:
    index = TextIndex(FIELDS)
    index.set(0, {"name": ("Thing",), "description": (" ".join(f"Part{n} of it." for n in range(200)),)})
    assert best(match(index, "part99")) == [0]
    assert not best(match(index, "part199"))


def test_each_sentence_is_analysed_once() -> None:
    """Most of the time until a process has answered its first query by words is that of the analysis."""
    analyse.cache_clear()
    index = TextIndex(FIELDS)
    index.set(0, {"name": ("Thing",), "description": ("Full of flavour. Good for coffee and tea. From Peru.",)})
    assert analyse.cache_info().misses == 5  # with what follows the last sentence


def test_the_name_of_a_brand_is_read_once(monkeypatch) -> None:
    """Although each product has a description of its own."""
    read: list[object] = []
    monkeypatch.setattr("imagesim.indexes.text.described", lambda *given: read.append(given[0]) or described(*given))
    monkeypatch.setattr("imagesim.indexes.text.MAX_SEEN", 10)
    index = TextIndex(FIELDS)
    for slot in range(20):
        index.add(slot, {"brand": ("Saleor",), "description": (f"Number {slot}",)})
    assert read.count(("Saleor",)) == 1


def test_a_description_that_mentions_a_feature_does_not_call_the_thing_so() -> None:
    """For "coffee", a grocery shop must not show milk that is good for coffee, and then whatever looks like milk."""
    index = TextIndex(FIELDS)
    index.set(0, {"name": ("Milk",), "description": ("Extra good for coffee and tea.",)})
    index.set(1, {"name": ("Ground beans",), "description": ("Coffee from Peru.",)})
    scores = scores_of(match(index, "coffee"))
    assert scores[1] > 0.5 > 0.3 > scores[0]
    assert scores_of(match(index, "milk coffee"))[0] > 0.6


def test_a_name_that_mentions_a_feature_does_not_call_the_thing_so() -> None:
    """For "camera", a shop without cameras must not show a baby monitor, and then whatever looks like one."""
    index = TextIndex(FIELDS)
    index.set(0, {"name": ("Baby monitor with camera",), "description": ("The camera sees in the dark.",)})
    index.set(1, {"name": ("Video camera",)})
    index.set(2, {"name": ("Camera with camera bag",)})
    index.set(3, {"name": ("Baby monitor",), "description": ("Without a camera.",)})
    scores = scores_of(match(index, "camera"))
    assert min(scores[1], scores[2]) > 0.9
    assert max(scores[0], scores[3]) < 0.55
    scores = scores_of(match(index, "baby monitor with camera"))
    assert scores[0] > 0.95
    assert scores[0] > scores[3] > scores[1]


def test_a_feature_counts_in_full_beside_what_the_thing_is() -> None:
    index = TextIndex(FIELDS)
    index.set(0, {"name": ("Shampoo for dogs",)})
    index.set(1, {"name": ("Dog shampoo",)})
    index.set(2, {"name": ("Nail clippers for dogs",)})
    scores = scores_of(match(index, "dog shampoo", heads=(1,)))
    assert scores[0] > 0.95
    assert set(scores) == {0, 1}
    assert scores_of(match(index, "dog shampoo"))[2] < 0.3


@pytest.mark.parametrize(
    ("name", "language", "listed"),
    [
        ("Sofas & tables", "en", {"sofa", "tabl"}),
        ("Bikes, boards and outdoor", "en", {"bike", "board", "outdoor"}),
        ("Women's shirts/tops", "en", {"shirt", "top"}),
        ("Running shoes", "en", set()),
        ("Running shoes & walking shoes", "en", set()),
        ("Stühle und Hocker", "de", {"stuhl", "hock"}),
        ("Byxor & jeans dam", "sv", {"byx", "jean"}),
        ("Chemises et tops femme", "fr", {"chemis", "top"}),
        ("Sand and Land", "xx", {"sand", "land"}),
        ("ספות וכורסאות", "he", {"ספ", "כורסא"}),
        ("Столови и столице", "sr", {"sto", "stolic"}),
        ("Stolovi i stolice", "sr", {"sto", "stolic"}),
        ("ผ้าและหมอน", "th", {"ผ้า", "หม"}),
        ("Bàn và ghế", "vi", {"bàn", "ghế"}),
        ("Wi-Fi routers & modems", "en", {"router", "modem"}),
        ("T-shirts et polos", "fr", {"tshirt", "polos"}),
        (" & ", "en", set()),
        ("", "en", set()),
    ],
)
def test_what_the_name_of_a_category_lists(name: str, language: str, listed: set[str]) -> None:
    assert listed_stems([name], language) == listed


@pytest.mark.parametrize(
    ("name", "language", "words"),
    [
        ("Allstar Sneakers 42 for men", "en", "sneakers"),
        ("Wi-Fi Router", "en", "router"),
        ("J. R. R. Tolkien Calendar", "en", "calendar"),
        ("Cotton T-Shirt", "en", "shirt tshirt"),
        ("Bluetooth-Lautsprecher", "de", "bluetoothlautsprecher lautsprecher"),
        ("T-shirt blanc", "fr", "t tshirt"),
    ],
)
def test_what_a_name_ends_with(name: str, language: str, words: str) -> None:
    assert " ".join(sorted(token.word for token in name_ends([name], language))) == words


def test_a_name_with_a_hyphenated_word_ends_with_its_last_word() -> None:
    index = TextIndex({"name": TextSpec(1, "en")})
    for slot, name in enumerate(["Allstar Sneakers", "Slip-on Sneakers", "Sneakers brush"]):
        index.set(slot, {"name": (name,)})
    allstar, slip_on, brush = match(index, "sneakers").heads.tolist()
    assert allstar == slip_on > brush


@pytest.mark.parametrize(
    ("name", "language", "kind"),
    [
        ("Garden tables", "en", ("garden", "tabl")),
        ("Chests of drawers", "en", ("drawer", "chest")),
        ("The best gifts for women", "en", ("best", "women", "gift")),
        ("Sofa-beds", "en", ("sofa", "bed")),
        ("Stools", "en", ("stool",)),
        ("Sofas & tables", "en", ()),
        ("Hosen für Kinder", "de", ("kind", "hos")),
        ("Schuhe Damen", "de", ("dam", "schuh")),
        ("Schoko Kuchen", "de", ("schoko", "kuch")),
        ("Damen", "de", ("dam",)),
        ("Färg utomhus", "sv", ("utomhus", "farg")),
        ("Levende lys", "nb", ("lev", "lys")),
        ("Brosses à cheveux", "fr", ("cheveux", "bross")),
        ("Mesas de comedor", "es", ("comedor", "mesa")),
        ("Γυναικεία παπούτσια", "el", ("γυναικει", "παπουτσ")),
        ("Καρέκλες γραφείου", "el", ("γραφει", "καρεκλ")),
        ("", "en", ()),
    ],
)
def test_what_the_things_of_a_category_are(name: str, language: str, kind: tuple[str, ...]) -> None:
    assert kind_of(name, language) == kind


def test_many_fields() -> None:
    index = TextIndex({f"name_{number}": TextSpec(category=True) for number in range(300)})
    index.set(0, {"name_299": ("Sofas & tables",)})
    index.set(1, {"name_1": ("Lamp",)})
    for text, slot in (("sofa", 0), ("table", 0), ("lamp", 1)):
        assert match(index, text).slots.tolist() == [slot], text


def test_what_a_card_says_is_no_filler() -> None:
    """ "Thank you cards" must not show blank cards before those that say so; "thanks" at the end of a question is a
    filler."""
    assert not query_words("thank you cards", ["en"])[0].filler
    assert query_words("do you have cards, thanks", ["en"])[-1].filler


def test_a_filler_word_counts_only_between_equals() -> None:
    index = TextIndex({"name": TextSpec(3)})
    for slot, name in enumerate(["Order Tee", "New Order Tee", "Plain Tee"]):
        index.set(slot, {"name": [name]})
    assert best(match(index, "new order tee")) == [1, 0, 2]
    cheap, plain = (match(index, text).scores.max() for text in ("cheap plain tee", "plain tee"))
    assert plain * 0.95 < cheap < plain


def test_the_size_asked_for_comes_first() -> None:
    """ "Gloves size 10" must not show the size 9 first because it, too, says "size". If no entry says its size, a
    size hardly lowers the match."""
    index = TextIndex({"name": TextSpec(3)})
    names = ["Gloves blue size 9", "Gloves blue sz 10", "Gloves blue XL", "Tape size 10", "Tape red", "Tape blue"]
    for slot, name in enumerate(names):
        index.set(slot, {"name": [name]})
    assert best(match(index, "gloves size 10", heads=(0,)))[0] == 1
    assert best(match(index, "xl gloves", heads=(1,)))[0] == 2
    assert scores_of(match(index, "gloves size 10", heads=(0,)))[0] < 0.95 * scores_of(match(index, "gloves"))[0]
    assert scores_of(match(index, "gloves age 12", heads=(0,)))[0] > 0.85 * scores_of(match(index, "gloves"))[0]


COLOURED = [
    {"name": ("Canvas shoe",), "colour:en": ("white",), "description": ("Easy to slip on.",)},
    {"name": ("Knit shoe",), "colour:en": ("black",), "description": ("With a white sole.",)},
    {"name": ("Linen shoe",), "description": ("In white, with a sole of rope.",)},
    {"name": ("White tea",), "colour:en": ("green",), "shelf": ("White teas and grey goods",)},
    {"name": ("Rope sole",), "colour:en": ("brown",), "shelf": ("Light blue goods",)},
]


@pytest.fixture
def coloured() -> TextIndex:
    index = TextIndex(
        {
            "name": TextSpec(3),
            "colour:en": TextSpec(2, colours=True),
            "shelf": TextSpec(1, category=True),
            "description": TextSpec(1),
        }
    )
    for slot, texts in enumerate(COLOURED):
        index.set(slot, texts)
    return index


def test_a_mention_of_a_colour_says_nothing_about_what_has_another(coloured: TextIndex) -> None:
    """ "White shoes" must not show a black pair with a white sole first."""
    scores = scores_of(match(coloured, "white shoe", colours=(0,)))
    assert scores[0] > scores[2] > scores[1]
    assert sorted(match(coloured, "white", colours=(0,)).slots) == [0, 2, 3]
    assert sorted(match(coloured, "white").slots) == [0, 1, 2, 3]  # not known to be a colour
    assert match(coloured, "grey", colours=(0,)).slots.tolist() == [3]  # the name of a category is not a mention


def test_of_several_colours_one_may_be_mentioned(coloured: TextIndex) -> None:
    assert best(match(coloured, "black and white shoe", colours=(0, 1)))[0] == 1


def test_the_shade_of_a_colour_is_a_part_of_it() -> None:
    """ "Light blue chair" must not show a light chair."""
    index = TextIndex({"name": TextSpec(3)})
    for slot, name in enumerate(["Light chair", "Blue chair", "Light blue chair", "Dark blue chair"]):
        index.set(slot, {"name": [name]})
    assert best(match(index, "light blue chair", colours=(1,))) == [2, 1, 3, 0]
    scores = match(index, "light blue chair", colours=(1,)).scores
    assert scores[1] > 0.75
    assert scores[0] < 0.6
    assert best(match(index, "light chair with blue", colours=(2,)))[:2] == [2, 0]


@pytest.mark.parametrize(
    ("typed", "found"),
    [("Brille", []), ("beanie", []), ("jacket", []), ("pokket", ["Pocket"]), ("sneekars", ["Sneakers"])],
)
def test_a_short_word_has_one_error_at_the_most(typed: str, found: list[str]) -> None:
    """ "Brille" must not show balls, nor "beanie" juices."""
    names = ["Bälle", "Bean", "Pocket", "Sneakers"]
    index = TextIndex({"name": TextSpec(3, "de")})
    for slot, name in enumerate(names):
        index.set(slot, {"name": [name]})
    assert [names[slot] for slot in best(match(index, typed))] == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Bulb 8.5W, 1,5 l", "bulb 8.5w 1.5 l"),
        ("2.4GHz 29x2.25", "2.4ghz 29 2.25 29x2.25"),
        ("EU 38,39,40", "eu 38 39 40"),
        ("+1.50 2,00m 0.750 l", "1.5 2m 0.75 l"),  # as "1.5", "2m" and "0.75"
        ("1,000 pieces, 1.300W", "1000 pieces 1300w"),
        ("1.000,50", "1 000 50"),
        ("No.5 v2.0", "no 5 v2 0"),
        ("Torx.5 W. 5", "torx 5 w 5"),
        ("١٫٥ ٤٢ ۴۲ ١٬٠٠٠", "1.5 42 42 1000"),  # Arabic and Persian digits, and the Arabic separators
    ],
)
def test_a_decimal_is_one_word(text: str, words: str) -> None:
    assert [token.word for token in analyse(text, "en")] == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Bed 90x190 cm", "bed 90 190 cm 90x190"),
        ("bolt M8 × 40", "bolt m8 40 m8x40"),
        ("0,5x0,7m", "0.5 0.7 m 0.5x0.7"),
        ("90cm x 190cm", "90 190 cm 90x190"),
        ("Tyre 205/55 R16 91V", "tyre 205 55 16 r16 91v 205x55x16"),
        ("205 55 16", "205 55 16 r16 205x55x16"),
        ("Tyre 205/55 R16, winter.", "tyre 205 55 16 r16 winter 205x55x16"),
        ("P205/55R16.", "205 55 16 r16 205x55x16"),
        ("205/55 R16.5", "205 55 r16 5 20555"),  # another diameter
        ("215/60/16C", "215 60 16 r16 215x60x16"),
        ("120/70zr17", "120 70 17 r17 120x70x17"),
        ("210 60 16", "210 60 16 2106016"),  # without slashes, only a width that ends with 5 is that of a tyre
        ("40*30*20 cm", "40 30 20 cm 40x30x20"),
        ("4x4 tyres", "4 4 tyres 4x4"),
        ("x 40, 3x, RAV4 x 4", "x 40 3x rav4 x 4"),
        ("NYM-J 3G1,5 mm²", "nym j 3 1.5 mm2 nymj 3x1.5"),
        ("4G 64GB", "4g 64gb"),
    ],
)
def test_the_numbers_of_dimensions_are_words(text: str, words: str) -> None:
    assert [token.word for token in analyse(text, "en")] == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Brake disc 5Q0 615 301 F 312 mm", "5q0615301f"),
        ("Chain CN-HG601-11 11-speed", "cnhg601 cnhg60111 hg60111"),
        ("0 986 494 123", "0986494123"),
        ("part 0 986 494 123 in stock", "0986494123"),
        ("OC 517.96", "oc51796 51796"),
        ("W 416/92, HT-4/40", "w41692 41692 ht440"),
        ("6204-2RS/C3 13.0460-0624.2", "62042rsc3 13046006242"),
        ("OE 53A 726 061 B.", "oe53a726061b 53a726061b"),
        ("978-3-16-148410-0", "9783161484100"),
        ("No.5 v2.0, 18V 55Ah, 1.250.000, 99.90", ""),
        ("iPhone 13 128 GB, i5 16GB 1TB, 40 EU", ""),
        ("sizes 36 37 38 39 40 41", ""),
        ("2026-11-27", ""),
    ],
)
def test_the_numbers_of_parts_are_words_in_one_piece(text: str, words: str) -> None:
    assert {joined for code in codes(text.lower()) for joined in code.joined} == set(words.split())
    assert {token.word for token in analyse(text, "en")} >= set(words.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('Valve 1/2"', "valve 1/2"),
        ('1 1/4" and 1-1/4', "1-1/4 and 1-1/4"),
        ("½ 1½ G1/2", "1/2 1-1/2 g 1/2"),
        ("Elbow 90 3/4", "elbow 90 3/4"),
        ("4/64GB 1/2/2026 24/7", "4 64gb 1 2 2026 24 7"),
        ("0066896, 007", "0066896 007 66896"),
    ],
)
def test_fractions_are_words_and_zeros_in_front_may_be_missing(text: str, words: str) -> None:
    """ "1/2" must not find an M12 nut."""
    assert [token.word for token in analyse(text, "en")] == words.split()


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("half inch valve", "1/2 inch valve"),
        ("Half-inch valve", "1/2 inch valve"),
        ("hose of half an inch", "hose of 1/2 inch"),
        ("three quarter inch elbow", "3/4 inch elbow"),
        ("three quarters of an inch", "3/4 inch"),
        ("a quarter inch drive", "1/4 inch drive"),
        ("one and a half inches", "1 1/2 inches"),
        ("2 and three eighths inch", "2 3/8 inch"),
        ("half mask, 3/4 inch", None),
        ("quarter of a pinch", None),
    ],
)
def test_fractions_of_an_inch_in_words_are_also_asked_for_in_digits(typed: str, written: str | None) -> None:
    assert with_fractions(typed) == ([] if written is None else [written])


def test_a_number_of_an_article_is_no_size_and_no_year() -> None:
    numbers = ("6204", "60316", "4000143175524")
    assert [each for each in (*numbers, "42", "500", "1500", "2026", "100000", "m8x40") if is_article_number(each)] == [
        *numbers
    ]


def test_two_numbers_are_not_one() -> None:
    """ "7 13" must not find the number 418 713."""
    assert [word.joined for word in query_words("7 13", ["en"])] == [(), ()]
    assert [word.joined for word in query_words("1 000", ["en"])] == [("1000",), ("1000",)]


@pytest.mark.parametrize("written", ["5Q0 615 301 F", "5Q0615301F", "5Q0-615-301-F"])
def test_the_number_of_a_part_is_found_in_each_way_that_it_is_written(written: str) -> None:
    index = TextIndex({"name": TextSpec(3)})
    for slot, name in enumerate([f"Brake disc {written}", "Brake disc 5Q0 615 301 G", "Brake disc 1K0 615 301"]):
        index.set(slot, {"name": [name]})
    for typed in ("5Q0 615 301 F", "5q0615301f", "5Q0-615-301-F", "disc 5Q0 615 301F"):
        scores = scores_of(match(index, typed))
        assert best(match(index, typed))[0] == 0, typed
        assert scores[0] > max(0.9, scores.get(1, 0.0) + 0.1), typed


@pytest.mark.parametrize("written", ["90x190", "90 x 190 cm", "90×190", "90cm x 190cm", "90 X 190cm"])
def test_dimensions_are_found_in_each_way_that_they_are_written(written: str) -> None:
    """ "Bed 90" must find "90x190", and so must "90 x 190"."""
    index = TextIndex({"name": TextSpec(3)})
    for slot, name in enumerate([f"Bed {written}", "Bed 140x190", "Bed 190 x 90", "Bed oak"]):
        index.set(slot, {"name": [name]})
    for typed in ("bed 90x190", "bed 90 x 190", "bed 90×190 cm", "90cm x 190 bed"):
        assert best(match(index, typed))[0] == 0
        assert scores_of(match(index, typed))[0] > 0.9
    assert scores_of(match(index, "bed 90"))[0] > 0.9


def test_the_unit_of_a_number_counts_for_little() -> None:
    index = TextIndex({"name": TextSpec(3)})
    for slot, name in enumerate(["Water 1.5 l", "Water 0.5 l", "Water", "Pot"]):
        index.set(slot, {"name": [name]})
    assert scores_of(match(index, "water 1,5 litres"))[0] > 0.75


def test_dimensions_that_no_entry_has_are_asked_for_by_their_numbers() -> None:
    """ "Bed 90x200" must find beds, those with one of the numbers first."""
    index = TextIndex({"name": TextSpec(3)})
    for slot, name in enumerate(["Bed 140x190", "Bed 90x190", "Bed oak", "Lamp"]):
        index.set(slot, {"name": [name]})
    scores = scores_of(match(index, "bed 90x200", heads=(0,)))
    assert scores[1] > scores[0] + 0.25
    assert scores[1] > 0.35


def test_a_number_without_its_unit_finds_the_number_with_one() -> None:
    """ "22 elbow" must find the elbow of 22 mm first, but not "22 kg", nor a single digit everything that begins with
    it."""
    index = TextIndex({"name": TextSpec(3)})
    for slot, name in enumerate(["Elbow 15mm brass", "Elbow 22mm brass", "Elbow 2.5mm brass", "Elbow 5mm brass"]):
        index.set(slot, {"name": [name]})
    assert best(match(index, "22 elbow", heads=(1,)))[0] == 1
    assert best(match(index, "elbow 2.5", heads=(0,)))[0] == 2
    for typed in ("22", "2.5"):
        assert len(match(index, typed).slots) == 1
    assert len(match(index, "5").slots) == len(match(index, "22 kg", heads=(0,)).slots) == 0


def test_another_number_is_no_misspelling_of_one() -> None:
    """ "5w" must not find a bulb of 8.5 watts, nor "100ml" things of 180 or 1000 ml."""
    index = TextIndex({"name": TextSpec(3)})
    names = ["Bulb 8.5W", "Bulb 5W", "Glue 180ml", "Glue 100ml", "Glue 1000 ml"]
    for slot, name in enumerate(names):
        index.set(slot, {"name": [name]})

    def found(text: str, **options: bool) -> list[str]:
        return sorted(names[slot] for slot in match(index, text, **options).slots.tolist())

    assert found("5w") == ["Bulb 5W"]
    assert found("8,5w") == ["Bulb 8.5W"]
    assert found("100ml") == ["Glue 100ml"]
    assert found("100") == ["Glue 100ml"]
    assert found("100", typing=True) == ["Glue 1000 ml", "Glue 100ml"]


@pytest.mark.parametrize(("typed", "first"), [("moniter", 1), ("munster", 0), ("tabel", 3), ("lether", 4)])
def test_a_misspelling_has_the_same_consonants_rather_than_others(typed: str, first: int) -> None:
    """ "Moniter" must not show beer of the brand "Sea Monster" before the monitors."""
    index = TextIndex({"name": TextSpec(3)})
    for slot, name in enumerate(["Monster", "Monitor", "Cabel", "Table", "Leather", "Lather jar"]):
        index.set(slot, {"name": [name]})
    matches = match(index, typed)
    assert best(matches)[0] == first
    assert matches.scores.max() > 0.75


def test_the_matches_that_are_remembered_are_limited(monkeypatch):
    """The beginnings of a word each have different matches, and visitors choose what they type."""
    monkeypatch.setattr(word_matcher, "MAX_REMEMBERED", 100)
    matcher = WordMatcher(["en"])
    for number in range(200):
        for token in analyse(f"part{number:03}x", "en"):
            matcher.add(token, "en")
    typed = [f"part{number:02}" for number in range(20)] * 2
    found = [matcher.match(query_words(text, ["en"]), prefix=True) for text in typed]
    assert [len(each[0]) for each in found] == [10] * 40
    assert found[:20] == found[20:]
    assert sum(map(len, matcher._found.values())) <= 100
    for number in range(100):
        assert not matcher.match(query_words(f"unknown{number:02}", ["en"]), prefix=False)[0]
    assert len(matcher._found) <= 20  # a word without matches takes memory, too


@pytest.mark.parametrize(("language", "typed", "other"), [("en", "level", "Levelling"), ("es", "silla", "Sillo")])
def test_another_word_with_the_stem_of_one_that_the_catalogue_has(language: str, typed: str, other: str) -> None:
    """For "level", a self levelling compound must not come before the spirit levels."""
    index = TextIndex({"name": TextSpec(3, language)})
    index.set(0, {"name": [f"{other} compound"]})
    assert scores_of(match(index, typed))[0] > 0.8
    index.set(1, {"name": [f"Spirit {typed}s"]})
    scores = scores_of(match(index, typed))
    assert scores[1] > 0.8
    assert scores[0] < 0.6
