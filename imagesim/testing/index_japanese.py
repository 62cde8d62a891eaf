"""The part of the contract of an index that concerns Japanese words: the language has three scripts and no spaces."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagesim.indexes import BaseIndex
from imagesim.indexes.text import TextIndex
from imagesim.testing.index_samples import META, IndexFixtures, axis, entry
from imagesim.types import Entry, Query, TextSpec

JAPANESE_META = replace(META, texts={"name": TextSpec(3.0, "ja"), "description": TextSpec(1.0, "ja")})

NAMES = (
    *(
        "スーツケース 機内持ち込み",
        "ビジネススーツ ネイビー",
        "ソファー 3人掛け",
        "レディースランニングシューズ",
        "ヴァイオリン 4/4",
    ),
    *(
        "めがね拭き",
        "ﾌｰﾄﾞﾌﾟﾛｾｯｻｰ",
        "りんごジャム",
        "リンゴジュース",
        "白スニーカー",
        "スピーカー",
        "メロンパン",
        "鉄のフライパン",
    ),
    *(
        "赤い革靴",
        "くまのぬいぐるみ",
        "消しゴム",
        "トランプ",
        "テーブルランプ",
        "ウェディングドレス",
        "木製いす",
        "ハンドバック",
    ),
    *("ヨガマット", "パンツ", "スポーツサングラス", "ワイングラス", "マットブラック"),
)

ANSWERS: dict[str, list[str]] = {
    "スーツ": ["ビジネススーツ ネイビー", "スーツケース 機内持ち込み"],
    "スーツケース": ["スーツケース 機内持ち込み"],
    "ソファ": ["ソファー 3人掛け"],
    "ｿﾌｧ": ["ソファー 3人掛け"],
    "ランニング": ["レディースランニングシューズ"],
    "シューズ": ["レディースランニングシューズ"],
    "バイオリン": ["ヴァイオリン 4/4"],
    "メガネ": ["めがね拭き"],
    "フードプロセッサ": ["ﾌｰﾄﾞﾌﾟﾛｾｯｻｰ"],
    "リンゴのジャム": ["りんごジャム", "リンゴジュース"],
    "りんごジュース": ["リンゴジュース", "りんごジャム"],
    "スニーカー": ["白スニーカー"],
    "パン": ["メロンパン"],
    "フライパン": ["鉄のフライパン"],
    "革靴": ["赤い革靴"],
    "ぬいぐるみのクマ": ["くまのぬいぐるみ"],
    "ランプ": ["テーブルランプ"],
    "ウエディングドレス": ["ウェディングドレス"],
    "イス": ["木製いす"],
    "ハンドバッグ": ["ハンドバック"],
    "ヨガ": ["ヨガマット"],
    "グラス": ["ワイングラス"],
    "サングラス": ["スポーツサングラス"],
    "ラック": [],
}
"""Queries, each with all entries of its answer, in order."""


def named(pk: int, name: str) -> Entry:
    """Return an entry with this name."""
    return entry(pk, axis(pk % 16), texts={"name": (name,)})


def names(index: BaseIndex, text: str) -> list[str]:
    """Return the names of the entries that words find."""
    [found] = index.search([Query(axis(0), text=text, limit=50)])
    return [NAMES[int(each.key.partition(":")[2])] for each in found.candidates]


class JapaneseContract(IndexFixtures):
    @pytest.fixture
    def japanese(self, index: BaseIndex) -> BaseIndex:
        index.promote(index.create(JAPANESE_META))
        index.write([named(n, name) for n, name in enumerate(NAMES)])
        index.refresh()
        return index

    def test_words_in_each_script(self, japanese: BaseIndex) -> None:
        """ "スーツ" (suit) showed suitcases, "スニーカー" (sneakers) speakers, and "メガネ" no "めがね"."""
        assert {text: names(japanese, text) for text in ANSWERS} == ANSWERS

    def test_the_scores_are_those_of_the_text_index(self, japanese: BaseIndex) -> None:
        reference = TextIndex(JAPANESE_META.texts)
        for slot, name in enumerate(NAMES):
            reference.set(slot, {"name": (name,)})
        for text in (*ANSWERS, "スー", "レディ", "ドレ", "靴"):
            for typing in (False, True):
                query = Query(axis(0), text=text, typing=typing, limit=50)
                matches = reference.match(query)
                expected = {f"shop.product:{n}": score for n, score in zip(matches.slots, matches.scores, strict=True)}
                [found] = japanese.search([query])
                assert {each.key: each.text for each in found.candidates} == pytest.approx(expected, abs=1e-5), query

    def test_a_long_text_in_hiragana_is_written(self, japanese: BaseIndex) -> None:
        [result] = japanese.write([named(len(NAMES), f"漢字{'あ' * 9_000}")])
        assert (result.status, result.error) == ("done", "")

    def test_an_accent_behind_a_character_of_a_script_without_spaces(self, japanese: BaseIndex) -> None:
        """It was taken for a word without letters, after which words found nothing in the whole index."""
        [result] = japanese.write([replace(named(0, "ソファ\u0301 漢\u0301 カ\u0301"), version=2)])
        japanese.refresh()
        assert (result.status, result.error) == ("done", "")
        assert names(japanese, "シューズ") == ["レディースランニングシューズ"]
        assert names(japanese, "漢\u0301") == names(japanese, "漢") == [NAMES[0]]

    def test_a_word_is_found_among_many_longer_ones(self, index: BaseIndex) -> None:
        index.promote(index.create(JAPANESE_META))
        index.write([named(n, f"スーツケース {n}") for n in range(250)])
        index.write([named(999, "スーツ ウール 濃紺 2ボタン 春夏"), named(998, "ブラックスーツ")])
        index.refresh()
        [found] = index.search([Query(axis(0), text="スーツ", limit=3)])
        assert [each.key for each in found.candidates][:2] == ["shop.product:999", "shop.product:998"]
