"""The part of the contract of an index that concerns the languages of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from imagesim.indexes import BaseIndex
from imagesim.indexes.text import TextIndex
from imagesim.testing.index_samples import META, IndexFixtures, axis, entry
from imagesim.testing.index_text import TEXT_META, answer, described
from imagesim.types import Query, TextSpec

LANGUAGES = {
    "ar": (("كُرسي حديقة", "شاي أخضر", "فساتين"), ("كرسي", "كُرسي", "شاي", "فستان")),
    "da": (("Rødt øl glas", "Æblekage", "Løbesko"), ("øl", "rødt", "rød", "æbl", "sko")),
    "de": (
        ("Straßenschuh weiß", "Handtaschen, Größe XL", "Wanduhr"),
        ("strassen", "weiss", "grösse", "han", "tasche", "uhr"),
    ),
    "el": (("Πράσινο τσάι", "Καρέκλα κήπου"), ("τσάι", "τσαι", "καρ")),
    "en": (
        (
            *(
                "Book shelf",
                "Garden mouse",
                "Bed 90 x 190 cm",
                "Bookshelves 80x120",
                "Water 1.50 l",
                "J. R. R. Tolkien",
            ),
            *("Brake disc 5Q0 615 301 F", "Rotor 5Q0615301G", "Buds WH-1000XM4", "Chain CN-HG601-11"),
            *("Tyre 205/55 R16 91V", "Irish Whiskey", "Mini dress 60s"),
        ),
        (
            *("shelves", "mice", "bed 90", "90x190", "80 × 120cm", "1,5 litres", "jrr", "J.R.R. Tolkien"),
            *("5q0615301f", "5Q0 615 301 G", "wh 1000 xm4", "wh1000xm4", "cnhg601", "cn hg 601"),
            *("205 55 16", "Ireland", "1960s"),
        ),
    ),
    "es": (("Lápiz rojo", "Olla roja"), ("lápices", "ollas")),
    "fr": (("L'eau de cœur", "Chaussure d'été"), ("eau", "cœur", "été", "chaussures")),
    "he": (("שמלות ערב", "כיסא גן"), ("שמלה", "הכיסא", "כיסאות")),
    "hi": (("लाल जूते", "कुर्सी"), ("जूते", "जूता", "कुर्सी")),
    "ja": (("ガーデンチェア", "緑茶"), ("チェア", "緑茶")),
    "ko": (("빨간 운동화", "녹차"), ("운동화", "녹차")),
    "lv": (("Zils nazis", "Apaļi galdiņi"), ("naži", "galdins")),
    "nl": (("Blauw kussen", "Wollen deken"), ("kussens", "dekens")),
    "pl": (("Łóżko drewniane", "Żółta łyżka"), ("łóżko", "lozko", "łyż", "łóż")),
    "ru": (("Йогурт клубничный", "Чай зелёный"), ("йогурт", "чай", "зеленый", "йог")),
    "sr": (("Плава кошуља", "Сто и столица"), ("кошуље", "kosulja", "столови", "koš")),
    "sv": (("Gummistövel grön", "Hög bokhylla"), ("stövlar", "gummistövlar", "hyllor")),
    "th": (("รองเท้าวิ่ง", "ชาเขียว"), ("รองเท้า", "ชาเขียว")),
    "tr": (("Kırmızı ışık", "İpek gömlek"), ("kırmızı", "ipek", "İpek", "kır")),
    "vi": (
        ("Áo sơ mi trắng", "Đèn bàn", "Giày đen", "Giấy in"),
        ("áo", "đèn", "đè", "giấy", "giay", "gìay", "giày den"),
    ),
    "zh": (("白色运动鞋", "面包刀"), ("鞋", "刀", "运动鞋", "白")),
}
"""Names and queries in several languages."""


SPELLED = {
    "hi": ("कुरसी", "जूतेे"),
    "sr": ("kosulja", "kosulaj", "столци", "кош", "ko"),
    "th": ("รองเท่า", "ชาเขี"),
    "vi": ("giay", "giaay", "gia", "giấ", "giãy", "den ban", "áo trắgn"),
}
"""Further queries in languages that spell words differently in a catalogue without others: with typing errors, and with
what has been typed of a word."""


def assert_ranked_alike(index: BaseIndex, languages: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    """Assert that an index of these names, of which each language has some, gives the scores of :class:`TextIndex` for
    the queries, and finds something for each that is still being typed."""
    texts = {f"name_{code}": TextSpec(language=code) for code in languages}
    index.promote(index.create(replace(META, texts=texts)))
    reference = TextIndex(texts)
    named = [(f"name_{code}", name) for code, (names, _) in languages.items() for name in names]
    entries = [entry(n, axis(n % 16), texts={field: (name,)}) for n, (field, name) in enumerate(named)]
    assert {result.status for result in index.write(entries)} == {"done"}
    index.refresh()
    for slot, each in enumerate(entries):
        reference.set(slot, each.texts)
    asked = [(text, typing) for _, queries in languages.values() for text in queries for typing in (False, True)]
    queries = [Query(axis(0), text=text, typing=typing, limit=50) for text, typing in asked]
    for query, found in zip(queries, index.search(queries), strict=True):
        matches = reference.match(query)
        expected = {entries[slot].key: score for slot, score in zip(matches.slots, matches.scores, strict=True)}
        assert {each.key: each.text for each in found.candidates} == pytest.approx(expected, abs=1e-5), query
        assert expected or not query.typing, query


class LanguageContract(IndexFixtures):
    def test_a_word_of_one_language_is_no_form_of_a_word_of_another(self, index: BaseIndex) -> None:
        """The German stem of "table" is that of "Tablet"."""
        index.promote(index.create(TEXT_META))
        names = ["Oak table", "Tablet", "Two tables", "Tafel"]
        index.write([described(n, name, f"{name} (neu)") for n, name in enumerate(names, 50)])
        index.refresh()
        found = {each.key: each.text for each in answer(index, "table", spelled=frozenset({"table"}))}
        assert found["shop.product:51"] > 0.75
        foreign = frozenset({("table", "de")})
        found = {each.key: each.text for each in answer(index, "table", spelled=frozenset({"table"}), foreign=foreign)}
        assert found["shop.product:50"] > found["shop.product:52"] > 0.75
        assert found["shop.product:51"] < 0.5

    def test_a_word_is_found_in_the_texts_of_its_languages(self, index: BaseIndex) -> None:
        """ "Hat" is a form of the German "haben" (have)."""
        index.promote(index.create(TEXT_META))
        index.write([described(50, "Straw hat", "Strohhut"), described(51, "Lamp", "Lampe hat Schirm")])
        index.refresh()
        foreign = frozenset({("hat", "de")})
        assert len(answer(index, "hat")) == 2
        assert [each.key for each in answer(index, "hat", foreign=foreign)] == ["shop.product:50"]

    def test_words_of_every_language(self, index: BaseIndex) -> None:
        assert_ranked_alike(index, LANGUAGES)

    @pytest.mark.parametrize("language", sorted(SPELLED))
    def test_words_of_a_language_with_a_spelling_of_its_own(self, index: BaseIndex, language: str) -> None:
        names, queries = LANGUAGES[language]
        assert_ranked_alike(index, {language: (names, (*queries, *SPELLED[language]))})
