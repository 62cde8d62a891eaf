"""Japanese words in their scripts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagesim.indexes.text import TextIndex
from imagesim.indexing.fit_roles import parts_of
from imagesim.items.measured_colours import colours_by_stem
from imagesim.language import kana
from imagesim.language.analysis import MAX_WORD, analyse, indexed
from imagesim.language.letters import fold
from imagesim.language.stop_words import OTHER_THINGS
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words.spacing import spaced
from imagesim.retrieval.words.synonyms import replace_with_synonyms
from imagesim.types import TextSpec
from tests.test_text import best, match, scores_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ソファ", "ソファー"),
        ("ｿﾌｧｰ", "ソファー"),
        ("コンピュータ", "コンピューター"),
        ("ヴァイオリン", "バイオリン"),
        ("ヴィンテージ", "ビンテージ"),
        ("ウェア", "ウエア"),
        ("ボディソープ", "ボディーソープ"),
        ("めがね", "メガネ"),
        ("らーめん", "ラーメン"),
        ("くまのぬいぐるみ", "クマ ヌイグルミ"),
        ("ヨガのマット", "ヨガ マット"),
        ("ウールの靴下", "ウール 靴下"),
        ("おしゃれなランプ", "オシャレ ランプ"),
        ("さかなフライ", "サカナ フライ"),
        ("カフェのれん", "カフェ のれん"),
        ("りんごのジュース", "リンゴ ジュース"),
        ("きものハンガー", "キモノ ハンガー"),
    ],
)
def test_a_word_has_one_spelling(one: str, other: str) -> None:
    assert [token.stem for token in analyse(one, "ja")] == [token.stem for token in analyse(other, "ja")]


@pytest.mark.parametrize(
    ("one", "other"),
    [("カバ", "カバー"), ("ビル", "ビール"), ("ハット", "バット"), ("ベスト", "ペスト"), ("スーツ", "スーツケース")],
)
def test_other_words_are_others(one: str, other: str) -> None:
    assert analyse(one, "ja") != analyse(other, "ja")


def test_a_spelling_is_spelled_so() -> None:
    """The words of a query are read again, like those of a text."""
    for word in ("ソファー", "コーヒーメーカー", "ヴィンテージ", "ボディーソープ", "ファー", "キー"):
        assert kana.spelled(kana.spelled(word)) == kana.spelled(word)


def test_the_marks_of_voiced_letters_are_no_accents() -> None:
    """ "が" in a list of words must not become "か"."""
    assert fold("バッグ が") == "バッグ が"
    assert fold("Été バッグ") == "ete バッグ"


def test_words_in_hiragana_are_found_beside_chinese_characters() -> None:
    words = {token.word for token in indexed("めがね拭き", "ja")}
    assert {"メガネ", "めが", "がね", "拭"} <= words
    assert "め" not in words


def test_a_word_in_hiragana_is_cut_off_as_others_are() -> None:
    """PostgreSQL does not accept a word of more than 2,046 bytes, so the entry would not be written."""
    assert max(len(token.word) for token in indexed(f"漢字{'あ' * 1000}", "ja")) == MAX_WORD


def test_the_server_is_told_the_spellings() -> None:
    rules = dict(rule.split(" => ") for rule in kana.mappings())
    assert rules["ヴァ"] == rules["ゔぁ"] == "バ"
    assert (rules["ィ"], rules["ァー"], rules["め"]) == ("イ", "ア", "メ")
    assert "メ" not in rules


def test_another_syllable_is_no_typing_error_of_a_short_word() -> None:
    """ "スニーカー" (sneakers) must not show speakers, nor "スカート" (skirt) a skate."""
    index = TextIndex({"name": TextSpec(1, "ja")})
    for slot, name in enumerate(["スピーカー", "スケート", "ハンドバック"]):
        index.set(slot, {"name": (name,)})
    assert not best(match(index, "スニーカー"))
    assert not best(match(index, "スカート"))
    assert best(match(index, "ハンドバッグ")) == [2]


def test_compounds_of_katakana() -> None:
    index = TextIndex({"name": TextSpec(1, "ja")})
    names = [
        "スーツケース",
        "ビジネススーツ",
        "メンズスーツ上下",
        "フライパン",
        "メロンパン",
        "スパイス",
        "ガーデンイス",
    ]
    for slot, name in enumerate(names):
        index.set(slot, {"name": (name,)})
    assert best(match(index, "スーツ")) == [1, 2, 0]
    assert best(match(index, "パン")) == [4]
    assert best(match(index, "イス")) == [6]
    index.set(7, {"name": ("スーツ ウール",)})
    found = scores_of(match(index, "スーツ"))
    assert found[7] > 0.9 > 0.5 > found[0]
    assert best(match(index, "スーツケース")) == [0]


@pytest.mark.parametrize(
    ("typed", "other", "own"),
    [
        ("グラス", "スポーツサングラス", "ワイングラス"),
        ("ラック", "マットブラック", "ブラックスチールラック"),
        ("イス", "バニラアイス", "パイプイス"),
        ("いす", "カレースパイス", "パイプイス"),
        ("リング", "イヤリング", "シルバーリング"),
        ("ドア", "アウトドア", "キャビネットドア"),
        ("フライパン", "ソースパン", "セラミックフライパン"),
        ("サングラス", "ワイングラス", "スポーツサングラス"),
        ("ブラック", "スチールラック", "マットブラック"),
    ],
)
def test_compounds_that_are_no_kind_of_what_they_end_with(typed: str, other: str, own: str) -> None:
    """ "グラス" (glass) must not show sunglasses, nor "ラック" (rack) black things."""
    index = TextIndex({"name": TextSpec(1, "ja")})
    for slot, name in enumerate([other, own]):
        index.set(slot, {"name": (name,)})
    assert best(match(index, typed)) == [1]


def test_other_things_are_spelled_as_words_are_compared() -> None:
    assert [each for each in OTHER_THINGS["ja"].split() if kana.spelled(each) != each] == []


def test_what_is_typed_within_a_compound_begins_no_syllable_behind_the_first() -> None:
    assert kana.is_within("ランニング", "メンズランニングシューズ")
    assert not kana.is_within("ライト", "フライトジャケット")
    assert not kana.is_within("シューズ", "ランニングシューズ")  # it ends with the word


def test_the_name_of_a_category_is_divided_into_its_parts() -> None:
    assert parts_of("ランニングシューズ", {"シューズ"}, "ja") == ("ランニング", "シューズ")
    assert parts_of("ポロシャツ", {"シャツ"}, "ja") == ("ポロ", "シャツ")
    assert parts_of("フライパン", {"パン"}, "ja") == ()


ROLES = Roles(
    {"ソックス": ("socks",), "スニーカ": ("sneakers",)},
    frozenset({"赤い", "リンゴ"}),
    things=frozenset({"ブランケット", "ランニングシューズ", "リンゴ"}),
)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("赤いスニーカー", "赤い スニーカー"),
        ("防水スニーカー", "防水 スニーカー"),
        ("赤いりんご", "赤い りんご"),
        ("ヨガのマット", "ヨガ マット"),
        ("スニーカー", "スニーカー"),
        ("メンズスニーカー", "メンズ スニーカー"),
        ("子供用スニーカー", "子供用 スニーカー"),
    ],
)
def test_a_query_is_divided_where_katakana_begins(typed: str, asked: str) -> None:
    assert spaced(typed, ROLES, ["ja"]) == asked


def test_a_typing_error_in_kana_has_no_role_of_a_short_word() -> None:
    assert ROLES.stems_of("スピーカ", ["スピーカ"]) == ["スピーカ"]
    roles = replace(ROLES, things=frozenset({"ハンドバック"}))
    assert roles.stems_of("ハンドバッグ", ["ハンドバッグ"]) == {"ハンドバック"}


def test_a_compound_of_kana_calls_something() -> None:
    assert ROLES.ends_compounds(["シューズ"])
    assert not ROLES.ends_compounds(["ズ"])


def test_what_is_no_compound_calls_nothing() -> None:
    """ "コップ" (cups) must not show the sunglasses of a shop without glasses, nor "チェア" (chairs) its ice cream."""
    roles = Roles(things=frozenset({"スポーツサングラス", "バニラアイス"}))
    assert replace_with_synonyms("コップ", roles, ["ja"]) == replace_with_synonyms("チェア", roles, ["ja"]) == []
    roles = Roles(things=frozenset({"スポーツサングラス", "ワイングラス", "パイプイス"}))
    assert replace_with_synonyms("コップ", roles, ["ja"])[:1] == [("グラス", "ja")]
    assert replace_with_synonyms("チェア", roles, ["ja"])[:1] == [("いす", "ja")]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("白い靴下", "白い ソックス"),
        ("くつした", "ソックス"),
        ("運動靴", "スニーカー"),
        ("毛布", "ブランケット"),
        ("電気毛布", "電気 ブランケット"),
        ("子供用靴下", "子供用 ソックス"),
        ("レディース 靴下", "レディース ソックス"),
        ("ソックス", ""),
    ],
)
def test_the_end_of_a_query_without_spaces_is_replaced(typed: str, first: str) -> None:
    """ "白い靴下" (white socks) must find something in a shop of "ソックス"."""
    found = replace_with_synonyms(typed, ROLES, ["ja"])
    assert found[:1] == ([(first, "ja")] if first else [])


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("黒い", "ブラック"),
        ("ホワイト", "白"),
        ("黄色", "イエロー"),
        ("グレー", "灰色"),
        ("紺色", "ネイビー"),
        ("赤色", "レッド"),
    ],
)
def test_a_colour_has_a_word_in_each_script(typed: str, written: str) -> None:
    """ "黒いスニーカー" must show a "スニーカー ブラック" before a white one."""
    index = TextIndex({"name": TextSpec(1, "ja")})
    index.set(0, {"name": (f"スニーカー {written}",)})
    assert scores_of(match(index, f"スニーカー {typed}"))[0] > 0.9


def test_the_words_for_a_colour_in_each_script_are_colours() -> None:
    """Socks that are "ホワイト" must be white ones for "白い"."""
    known = colours_by_stem(("ja", "sv"))
    assert known["白"] == known["白い"] == known["ホワイト"] == "white"
    assert known["rott"] == "red"


@pytest.mark.parametrize(("typed", "written"), [("メンズ", "紳士"), ("レディース", "婦人"), ("女性", "レディース")])
def test_those_whom_a_thing_is_for_have_several_words(typed: str, written: str) -> None:
    index = TextIndex({"name": TextSpec(1, "ja")})
    index.set(0, {"name": (f"{written} 靴",)})
    assert scores_of(match(index, f"{typed} 靴"))[0] > 0.9


def test_what_a_visitor_types_is_found_by_its_beginning() -> None:
    index = TextIndex({"name": TextSpec(1, "ja")})
    index.set(0, {"name": ("ソファー",)})
    for typed in ("ソ", "ソフ", "ソファ", "ソファー", "そふ"):
        assert best(match(index, typed, typing=True)) == [0], typed
